"""How many of the tokens that a model is asked for are unknown to it. They all count as one token, a common one, and
so a text full of them looks easy to foretell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tinygrad_rnn.data.batches import Batch
from tinygrad_rnn.data.ragged import Ragged
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary


@dataclass(frozen=True)
class UnknownTokens:
    """`count` of `total` tokens that are asked for."""

    count: int
    total: int

    @property
    def most(self) -> bool:
        """Whether they are more than half."""
        return 2 * self.count > self.total

    def __str__(self) -> str:
        return f"{self.count:,} ({self.count / max(self.total, 1):.1%})".replace("%", " %")


def count_unknown(sentences: Iterable[Ids]) -> UnknownTokens:
    """The unknown ones among the tokens that count, as `stream` and `bucketed` count them: all but START, and but the
    first of an unbroken text."""
    text, count, total = Ragged.of(sentences), 0, 0
    for number, block in enumerate(text.blocks()):
        asked = block if number else block[1:]
        count += int((asked == Vocabulary.unknown).sum())
        total += int((asked != Vocabulary.start).sum())
    return UnknownTokens(count, total)


def without_unknown(batch: Batch) -> Batch:
    """The batch, in which unknown targets do not count. They are read all the same."""
    return replace(batch, weights=batch.weights * (batch.targets != Vocabulary.unknown))
