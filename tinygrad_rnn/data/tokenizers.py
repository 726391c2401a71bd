"""With what a text was made into tokens: another version of it may split the same text otherwise."""

from __future__ import annotations

from tinygrad_rnn.data.tokens import Level

TokenizerFacts = dict[str, str | bool]
"""As JSON: "nltk" is its version, "punkt_data" whether NLTK's English model was there to find sentences. A key that is
not there says that the thing was not needed."""


def tokenizer_facts(level: Level | str, lines: bool) -> TokenizerFacts:
    """What `tokenize` uses here for a text of this level, with `lines` or without: nothing for characters."""
    if level == "char":
        return {}
    import nltk.tokenize  # noqa: PLC0415  (takes half a second, and characters do not need it)

    facts: TokenizerFacts = {"nltk": nltk.__version__}
    if not lines:
        try:
            nltk.tokenize.PunktTokenizer("english")
        except LookupError:
            facts["punkt_data"] = False
        else:
            facts["punkt_data"] = True
    return facts
