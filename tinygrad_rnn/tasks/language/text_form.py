"""How a language model reads and writes texts: its vocabulary, and what its tokens are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.joining import as_typed
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.tokens import tokenize
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.tasks.language.options import LanguageOptions


@dataclass(frozen=True)
class TextForm:
    """The `level` of tokens ("word", "char"), whether they are lower-cased, whether the text is one without sentence
    marks (`unbroken`), and whether sentences follow one another (`streams`)."""

    vocabulary: Vocabulary
    level: str
    lowercased: bool
    unbroken: bool
    streams: bool

    @classmethod
    def of(cls, vocabulary: Vocabulary, options: LanguageOptions) -> TextForm:
        """That of a model trained with these options."""
        return cls(vocabulary, options.level, options.lowercased, options.unbroken, options.streams)

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text, as those of one sentence."""
        if self.level == "char":
            return list(text.lower() if self.lowercased else text)
        one_line = " ".join(text.split())
        return tokenize(one_line, level="word", lines=True, lowercase=self.lowercased)[0] if one_line else []

    def sentence_tokens(self, line: str) -> list[str]:
        """The tokens of a line that is not blank, as the model was trained to read them; of characters all, the spaces
        at both ends too."""
        if self.level == "char":
            return self.tokens(line)
        return tokenize(line, level="word", lines=True, lowercase=self.lowercased)[0]

    @property
    def lead(self) -> list[int]:
        """What stands before a sentence. In streams a sentence follows another: a model that was trained on them hardly
        ever saw one begin from a state of zeros, so it is shown two ends first and is then at home."""
        start, end = self.vocabulary.start, self.vocabulary.end
        return [end, start] * 2 if self.streams else [start]

    @property
    def first(self) -> int:
        """What an unbroken text begins after: a line's end, or else the most common character, which is the first after
        the special tokens."""
        return int(self.vocabulary.encode(["\n"])[0]) if "\n" in self.vocabulary else self.vocabulary.end + 1

    def led(self, ids: Sequence[int]) -> tuple[HostArray, int]:
        """The ids of a sentence, from START to END, after what stands before one, and how many of these there are."""
        return np.concatenate([self.lead, ids[1:]]), len(self.lead)

    def spelled(self, text: str) -> tuple[HostArray, int, list[str]]:
        """The ids of a text as the model reads it, how many of them are given and not asked for, and how the text
        spells them, unknown ones too. Raises TextError for a text without tokens."""
        tokens, vocabulary = self.tokens(text), self.vocabulary
        if not tokens:
            raise TextError("the text has no tokens")
        ids, typed = vocabulary.encode(tokens), as_typed(tokens, text)
        if self.unbroken:
            return ids, 1, typed
        whole, lead = self.led([vocabulary.start, *ids, vocabulary.end])
        return whole, lead, [*vocabulary.decode(whole[:lead]), *typed, *vocabulary.decode(whole[-1:])]
