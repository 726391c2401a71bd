"""A vocabulary: tokens as ids, and ids as tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError

PADDING = "PADDING"
UNKNOWN_TOKEN = "UNKNOWN_TOKEN"
SENTENCE_START = "SENTENCE_START"
SENTENCE_END = "SENTENCE_END"
SPECIALS = (PADDING, UNKNOWN_TOKEN, SENTENCE_START, SENTENCE_END)

Ids = HostArray
"""A sequence of token ids, (T,) int64."""


class Vocabulary:
    """Tokens and their ids: four specials, then the tokens of a corpus, the most common first.

    A token of the corpus that is spelled like a special gets an id of its own, so that no text can end a sentence by
    saying SENTENCE_END; `encode` never gives a special's id but `unknown`.

    Args:
        tokens: without the specials, all different; `Vocabulary.build` counts those of sentences.

    Attributes:
        padding, unknown, start, end: the ids of the specials, 0 to 3.

    Raises:
        TextError: a token is named twice.

    Example:
        >>> sentences = [["a", "rose", "is", "a", "rose"], ["a", "tulip"]]
        >>> vocabulary = data.Vocabulary.build(sentences, size=6)
        >>> vocabulary.to_list()[4:]
        ['a', 'rose']
        >>> vocabulary.encode_sentence(["a", "tulip"])
        array([2, 4, 1, 3])
    """

    padding, unknown, start, end = range(len(SPECIALS))

    def __init__(self, tokens: Iterable[str]) -> None:
        """The vocabulary of these tokens, to which the specials are added. Raises TextError for a token named twice."""
        self.tokens: list[str] = [*SPECIALS, *tokens]
        self._ids = {token: id for id, token in enumerate(self.tokens[len(SPECIALS) :], len(SPECIALS))}
        if len(self._ids) != len(self.tokens) - len(SPECIALS):
            twice = next(token for token, count in Counter(self.tokens[len(SPECIALS) :]).items() if count > 1)
            raise TextError(f"the tokens of a vocabulary must differ, got {twice!r} twice")

    @classmethod
    def build(cls, sentences: Iterable[Sequence[str]], size: int | None = None, *, min_count: int = 1) -> Vocabulary:
        """The vocabulary of the most common tokens, of equally common ones the first to appear.

        Args:
            sentences: lists of tokens.
            size: the specials included; None: all tokens.
            min_count: rarer tokens are left out.

        Raises:
            TextError: there are not that many.
        """
        return cls.of_counts(Counter(chain.from_iterable(sentences)), size, min_count=min_count)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], size: int | None = None, *, min_count: int = 1) -> Vocabulary:
        """What `build` gives for tokens that occur so often, in the order of `counts`."""
        common = sorted(counts.items(), key=lambda each: -each[1])  # a stable sort
        tokens = [token for token, count in common if count >= min_count]
        if not tokens:
            raise TextError(f"a vocabulary needs a token that occurs {min_count} times or more, got none")
        if size is None:
            return cls(tokens)
        least, most = len(SPECIALS) + 1, len(SPECIALS) + len(tokens)
        if not least <= size <= most:
            raise TextError(
                f"the size of the vocabulary must be from {least} to {most:,}, got {size:,}: it counts {len(SPECIALS)} "
                f"specials, and the text has {len(tokens):,} different tokens"
                + (f" that occur {min_count} times or more" if min_count > 1 else "")
            )
        return cls(tokens[: size - len(SPECIALS)])

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Whether a text's token has an id of its own."""
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return self.tokens == other.tokens if isinstance(other, Vocabulary) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by its tokens, a list that one may look at and change

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} tokens)"

    def encode(self, tokens: Iterable[str]) -> Ids:
        """The ids (T,) int64; `unknown` for tokens that the vocabulary does not have."""
        return np.array([self._ids.get(token, self.unknown) for token in tokens], dtype=np.int64)

    def encode_sentence(self, tokens: Iterable[str]) -> Ids:
        """START, the ids of the tokens, END: (T + 2,) int64."""
        return np.concatenate(([self.start], self.encode(tokens), [self.end]))

    def decode(self, ids: Iterable[Any]) -> list[str]:
        """The tokens of ids. Raises TextError for an id that the vocabulary does not have."""
        numbers = [int(id) for id in ids]
        for id in numbers:
            if not 0 <= id < len(self):
                raise TextError(f"an id from 0 to {len(self) - 1:,} was expected, got {id:,}")
        return [self.tokens[id] for id in numbers]

    def to_list(self) -> list[str]:
        """All tokens in the order of their ids, specials first."""
        return list(self.tokens)

    @classmethod
    def from_list(cls, tokens: Sequence[str]) -> Vocabulary:
        """What `to_list` gave. Raises TextError where it does not begin with the specials."""
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise TextError(f"a vocabulary begins with {', '.join(SPECIALS)}; got {list(tokens[: len(SPECIALS)])}")
        return cls(tokens[len(SPECIALS) :])
