"""How ranks are started, and how an error of one ends all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tinygrad_rnn.ranks.by_mpi import launched
from tinygrad_rnn.ranks.ending import ending_together
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, (0, 1)),
        ({"PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"PMIX_RANK": "1", "SLURM_STEP_NUM_TASKS": "3"}, (1, 3)),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, (0, 1)),
        ({"PMI_RANK": "4", "PMI_SIZE": "4"}, (0, 1)),
        ({"PMI_RANK": "x", "PMI_SIZE": "4"}, (0, 1)),
        ({"PMI_RANK": "1"}, (0, 1)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (0, 1)),
    ],
)
def test_who_starts_processes_says_how_many_they_are(told: dict[str, str], expected: tuple[int, int]) -> None:
    assert launched(told) == expected


class Ending(Ranks):
    """A rank that fails with the others, or without them."""

    def __init__(self, rank: int, together: bool) -> None:
        self.rank, self.size, self.together = rank, 2, together
        self.aborted: list[int] = []

    def all_failed(self, seconds: float) -> bool:
        return self.together

    def abort(self, code: int) -> None:
        self.aborted.append(code)


def failing(ranks: Ranks, error: BaseException, words: Callable[[], str] = str) -> None:
    with pytest.raises(type(error)), ending_together(ranks, words):
        raise error


def test_an_error_that_all_ranks_have_is_raised_in_each() -> None:
    for rank in (0, 1):
        failing(ranks := Ending(rank, True), ValueError("x"))
        assert ranks.aborted == []


def test_an_error_of_one_rank_ends_all_of_them_and_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    failing(one := Ending(1, False), SystemExit(2), lambda: "Error: the disk is full\n")
    assert one.aborted == [2] and capfd.readouterr().err == "rank 1: Error: the disk is full\n"
    failing(first := Ending(0, False), SystemExit(2))
    assert first.aborted == [2] and capfd.readouterr().err == "", "it has been told already"
    failing(one := Ending(1, False), ValueError("what is this"))
    told = capfd.readouterr().err
    assert one.aborted == [1] and told.startswith("rank 1: Traceback") and told.endswith("ValueError: what is this\n")
    failing(one := Ending(1, False), SystemExit("a text"))
    assert one.aborted == [1]


def test_a_rank_that_ends_well_or_is_done_with_the_others_ends_none() -> None:
    for code in (0, None):
        failing(ranks := Ending(1, False), SystemExit(code))
        assert ranks.aborted == []
    ranks = Ending(0, False)
    ranks.parted = True
    failing(ranks, SystemExit(1))
    assert ranks.aborted == []
    failing(ONE_PROCESS, KeyboardInterrupt())
