"""A program that was started several times over, by mpiexec say: rank 0 alone speaks, and all end together."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from tinygrad_rnn.ranks.by_mpi import RanksError, everyone, launched
from tinygrad_rnn.ranks.ending import ending_together
from tinygrad_rnn.ranks.processes import ONE_PROCESS


@contextmanager
def speaking_alone() -> Iterator[None]:
    """Within it what ranks above 0 print is not seen; but where one of them fails and the others do not, its sentence
    is, and the program ends for all."""
    rank, size = launched()
    if size == 1:
        yield
        return
    try:
        ranks = everyone()
    except RanksError:  # which the command will tell: each of them has this mistake
        ranks = ONE_PROCESS
    said = _Said()
    with open(os.devnull, "w") as nothing, ending_together(ranks, said.latest):
        if rank:
            with redirect_stdout(nothing), redirect_stderr(said):
                yield
        else:
            yield


class _Said(io.StringIO):
    """Keeps what was said last."""

    def write(self, text: str, /) -> int:
        if self.tell() > 1 << 20:
            self.seek(0)
            self.truncate()
        return super().write(text)

    def latest(self) -> str:
        """The sentence at the end, without how the command is used."""
        _, begin, sentence = self.getvalue().rpartition("Error: ")
        return begin + sentence


def refuse_several(command: str | None) -> None:
    """Raises RanksError where several processes were started for another command than `train`."""
    if (size := everyone().size) > 1 and command != "train":
        raise RanksError(f"{size} processes were started, and {command} is the work of one: start it without mpiexec")
