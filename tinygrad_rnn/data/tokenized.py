"""A text as numbers: its sentences of tokens, each token as the number of its type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.ragged import Ragged, RaggedWriter
from tinygrad_rnn.data.tokens import NO_TOKEN
from tinygrad_rnn.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenizedText:
    """The different tokens, in the order in which they appear first, and sentences of their numbers. It takes four
    bytes a token, and of a very long text a file has them."""

    types: list[str]
    sentences: Ragged

    @classmethod
    def of(cls, runs: Iterable[tuple[list[str], bool]]) -> TokenizedText:
        """What `token_runs` gives, without empty sentences. Raises TextError where there is no token."""
        numbers: dict[str, int] = {}
        writer, some = RaggedWriter(), False
        for tokens, ended in runs:
            if tokens:
                writer.extend([numbers.setdefault(token, len(numbers)) for token in tokens])
                some = True
            if ended and some:
                writer.end()
                some = False
        if not numbers:
            raise TextError(NO_TOKEN)
        return cls(list(numbers), writer.finish())

    def __len__(self) -> int:
        return len(self.sentences)

    def to_lists(self) -> list[list[str]]:
        """The sentences as lists of tokens."""
        return [[self.types[i] for i in sentence] for sentence in self.sentences]

    def counts(self, part: Ragged) -> dict[str, int]:
        """How often each token occurs in a part of the sentences, in the order in which they first appear in it."""
        total = np.zeros(len(self.types), dtype=np.int64)
        order: dict[int, None] = {}
        for block in part.blocks():
            found, first = np.unique(block, return_index=True)
            order.update(dict.fromkeys(found[np.argsort(first)].tolist()))
            total += np.bincount(block, minlength=len(total))
        return {self.types[i]: int(total[i]) for i in order}

    def encoded(self, part: Ragged, vocabulary: Vocabulary, marked: bool) -> Ragged:
        """The ids of the tokens in a part of the sentences; where `marked`, between START and END."""
        table = vocabulary.encode(self.types).astype(np.int32)
        return part.translated(table, *((vocabulary.start, vocabulary.end) if marked else ()))
