"""What the ranks of a run agree on after each step: whether to end."""

from __future__ import annotations

from dataclasses import dataclass

from tinygrad_rnn.ranks.processes import Ranks


@dataclass(frozen=True)
class Asked:
    """What has been asked of a run: the signal that came, or 0; whether what is told of it failed; and by the clock,
    whether it is late, and whether it has waited long for an evaluation."""

    signal: int = 0
    failed: bool = False
    late: bool = False
    waited: bool = False


def agreed(ranks: Ranks, own: Asked) -> Asked:
    """What has been asked of any of the ranks. The clock is that of rank 0."""
    if ranks.size == 1:
        return own
    first = ranks.rank == 0
    told = [own.signal, own.failed, own.late and first, own.waited and first]
    signal, *asked = ranks.allgather_numbers(told).max(axis=0).tolist()
    return Asked(int(signal), *map(bool, asked))
