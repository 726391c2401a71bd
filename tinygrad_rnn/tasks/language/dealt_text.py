"""A text in tokens, read by several ranks: each splits its share into words, and all have the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.tokenized import TokenizedText
from tinygrad_rnn.ranks.processes import Ranks

CHARACTERS_DEALT = 1 << 17
"""Characters, about, that a rank splits before all exchange what they have found."""

_Block = tuple[list[str], HostArray, HostArray]
"""Of a part of a text: its different tokens, in the order in which they appear first in it, the number of each token
(N,), and the number of tokens of each sentence."""


def dealt_text(units: Iterable[str], sentences_of: Callable[[str], Iterable[list[str]]], ranks: Ranks) -> TokenizedText:
    """What `TokenizedText.of` makes of the sentences of units, one after the other. Every rank passes over all units,
    which are to be read, and splits every so many blocks of them.

    Args:
        units: parts of a text that have nothing to do with each other, such as paragraphs.
        sentences_of: the sentences of tokens in one.
        ranks: those that share the work.

    Raises:
        TextError: there is no token.
    """

    def runs() -> Iterator[tuple[list[str], bool]]:
        ended = False
        blocks = _blocks(units)
        while not ended:
            own: _Block = [], np.zeros(0, np.int32), np.zeros(0, np.int64)
            for rank in range(ranks.size):
                block = next(blocks, None)
                ended = ended or block is None
                if block is not None and rank == ranks.rank:
                    own = _numbered(sentence for unit in block for sentence in sentences_of(unit))
            for types, numbers, lengths in ranks.allgather(own):
                begin = 0
                for length in lengths.tolist():
                    yield [types[i] for i in numbers[begin : begin + length].tolist()], True
                    begin += length

    return TokenizedText.of(runs())


def _blocks(units: Iterable[str]) -> Iterator[list[str]]:
    """The units in lists of about CHARACTERS_DEALT characters."""
    block: list[str] = []
    size = 0
    for unit in units:
        block.append(unit)
        size += len(unit)
        if size >= CHARACTERS_DEALT:
            yield block
            block, size = [], 0
    if block:
        yield block


def _numbered(sentences: Iterable[list[str]]) -> _Block:
    numbers: dict[str, int] = {}
    ids, lengths = list[int](), list[int]()
    for sentence in sentences:
        ids += [numbers.setdefault(token, len(numbers)) for token in sentence]
        lengths.append(len(sentence))
    return list(numbers), np.array(ids, np.int32), np.array(lengths, np.int64)
