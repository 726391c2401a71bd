"""What a run of a language model can be told, with sensible defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from tinygrad_rnn.models.recurrent import NORMS
from tinygrad_rnn.models.softmaxes import SOFTMAXES
from tinygrad_rnn.training.options import (
    AT_LEAST_1,
    COUNT,
    ENCODING,
    FRACTION,
    RATE,
    SIZE,
    OptionError,
    RunOptions,
    option,
)


class LanguageOptions(RunOptions):
    """A run of `tinygrad-rnn train`. Sizes are counted in units, `steps` is the length of a window of truncated BPTT.
    Raises OptionError."""

    FILES = ("text", "csv", "valid")
    USUAL_EPOCHS = 8

    # the text
    text: tuple[str, ...] = option(
        default=(),
        help="A text file, .gz too, a folder of them, or - for standard input; may be given several times. Without it "
        "(and --csv) the docstrings of your Python's standard library.",
        metavar="FILE",
    )
    corpus: str = option(
        default="docstrings",
        help="What is read of that library: its docstrings, or its identifiers, a list for --level char.",
        choices=("docstrings", "identifiers"),
    )
    csv: str | None = option(default=None, help="A CSV file with a column of texts.", metavar="FILE")
    column: str = option(default="0", help="The CSV's column, by name or number (from 0).", metavar="NAME")
    skip_initial_space: bool = option(
        default=False, help="Leave out the spaces that a CSV's plain field begins with.", off="--keep-initial-space"
    )
    encoding: str = option(
        default="utf-8",
        help="Of the text, as Python calls it: cp1252, utf-16, shift-jis...",
        rule=ENCODING,
        metavar="NAME",
    )
    lines: bool = option(
        default=False, help="One sentence (or name) a line, instead of splitting sentences.", off="--no-lines"
    )
    level: str = option(default="word", help="Model words or characters.", choices=("word", "char"))
    lowercase: bool | None = option(
        default=None, help="Lower-case the text (words: yes, characters: no, unless told).", off="--no-lowercase"
    )
    vocab_size: int | None = option(
        default=None,
        help="Number of tokens, special ones included (words: 4000 unless told; characters: all).",
        rule=AT_LEAST_1,
    )
    valid: str | None = option(
        default=None, help="A text to validate on, read as the other is; without it a part of that.", metavar="FILE"
    )
    valid_fraction: float = option(default=0.1, help="The part of the text that is kept for validation.", rule=FRACTION)
    shuffle: bool | None = option(
        default=None,
        help="Draw the sentences that validate, by --seed, instead of taking the last ones (--lines and --csv: yes, "
        "unless they are read as a stream).",
        off="--no-shuffle",
    )
    # the model
    layers: int = 2
    embedding: int = 160
    hidden: int = 160
    tied: bool | None = option(
        default=None,
        help="Use the embedding table for the output too (where the sizes are equal, unless told).",
        off="--untied",
    )
    softmax: str = option(
        default="full",
        help="Over the vocabulary; the last two are many times faster for many thousands of tokens.",
        choices=tuple(SOFTMAXES),
    )
    residual: bool = option(
        default=False, help="Add what a layer reads to what it puts out, where the sizes agree.", off="--no-residual"
    )
    norm: str | None = option(
        default=None, help="Normalise what each layer reads, and the sum of a residual stack.", choices=tuple(NORMS)
    )
    init: str = option(default="default", help="Initial weights.", choices=("default", "wildml"))
    vectors: str | None = option(
        default=None, help="Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"
    )
    init_from: str | None = option(
        default=None,
        help="Begin with the weights of a model of another text, which are matched by word.",
        metavar="CHECKPOINT",
    )
    # noise
    dropout: float = option(default=0.2, help="On embeddings, between layers and before the output.", rule=RATE)
    recurrent_dropout: float = option(
        default=0.0, help="On the state that gates read, one mask a sequence and gate.", rule=RATE
    )
    zoneout: float = option(default=0.0, help="Probability that a unit keeps its old state.", rule=RATE)
    # the run
    epochs: int | None = option(
        default=None,
        help=f"Passes over the training part ({USUAL_EPOCHS} unless told, without end where --time-budget is given).",
        rule=AT_LEAST_1,
    )
    # batches
    batching: str | None = option(
        default=None,
        help="Contiguous streams with carried state, or single sentences by length (--lines and --csv: sentences, "
        "other texts: stream, unless told).",
        choices=("stream", "sentences"),
    )
    batch_size: int = option(default=32, help="Streams, or sentences, side by side.", rule=SIZE)
    steps: int = option(default=24, help="Time steps of truncated back-propagation (streams).", rule=SIZE)
    warm_up: int = option(
        default=100, help="Tokens that each validation stream reads before those that count (streams).", rule=COUNT
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text and self.csv:
            raise OptionError("--text and --csv cannot both be given: one corpus was expected")
        if self.corpus != "docstrings" and (self.text or self.csv):
            raise OptionError("--corpus is for the standard library's texts, and --text or --csv names another")
        if self.corpus == "identifiers" and self.level != "char":
            raise OptionError("--corpus identifiers is to be read by --level char: each is a word of its own")
        if self.valid is not None and (self.shuffle or self.valid_fraction != LanguageOptions.valid_fraction):
            name = "shuffle" if self.shuffle else "valid_fraction"
            raise OptionError(f"{name} is for a text that is split in two, and valid is {self.valid}")
        if self.shuffle and (self.streams or self.unbroken):
            raise OptionError(
                "shuffle is for sentences that stand alone (--batching sentences, --lines, --csv), and the text is "
                + ("one of characters" if self.unbroken else "read as a stream")
            )
        if self.tied and self.softmax != "full":
            raise OptionError(f"tied needs a full softmax, and the softmax is {self.softmax}")
        if self.tied and self.embedding != self.hidden:
            raise OptionError(f"tied needs embedding == hidden, got {self.embedding} and {self.hidden}")
        if self.vectors and self.init_from:
            raise OptionError("--vectors and --init-from cannot both be given: one set of first weights was expected")
        if self.vectors and self.level != "word":
            raise OptionError("vectors are for words, and the level is char")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave, this version's or an older one's, which meant the same by what it did not name."""
        if "warm_up" not in values:
            values = {**values, **_BEFORE_WARM_UP, "batching": values.get("batching") or "stream"}
        # A checkpoint that does not say so is of a time when the spaces were always skipped.
        return super().from_json({"skip_initial_space": values.get("csv") is not None, **values})

    @property
    def unbroken(self) -> bool:
        """Whether the corpus is one text without sentence marks, as character models read it."""
        return self.level == "char" and not self._independent

    @property
    def unit(self) -> str:
        """What a token is called."""
        return "character" if self.level == "char" else "token"

    @property
    def streams(self) -> bool:
        """Whether batches are windows of contiguous streams, the state carried from one to the next."""
        return self.batching == "stream" or (self.batching is None and not self._independent)

    @property
    def shuffled(self) -> bool:
        """Whether the sentences that validate are drawn, and are not the end of the text: a list's are, unless told."""
        return not self.streams and self._independent if self.shuffle is None else self.shuffle

    @property
    def _independent(self) -> bool:
        """Whether the corpus is a list of texts that have nothing to do with each other."""
        return self.lines or self.csv is not None or self.corpus == "identifiers"

    @property
    def lowercased(self) -> bool:
        """Whether text is lower-cased: words are, characters are not, unless told."""
        return self.level == "word" if self.lowercase is None else self.lowercase


_BEFORE_WARM_UP: dict[str, Any] = {"warm_up": 0, "shuffle": False, "valid": None}
"""What options meant that were saved before there were these; and without a batching they meant streams."""
