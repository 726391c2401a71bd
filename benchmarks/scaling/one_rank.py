"""What one rank does: steps of training with its rows of each batch.

    mpiexec -n 2 python benchmarks/scaling/one_rank.py --work words --batch 64
    mpiexec -n 2 python benchmarks/scaling/one_rank.py --work words --batch 64 --gigabits 1

Rank 0 prints what they took, as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from estimate import LATENCY, allreduce_seconds

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data import Batch
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.optim import RMSprop, clip_by_norm
from tinygrad_rnn.ranks.by_mpi import everyone
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Pending, Ranks
from tinygrad_rnn.ranks.summing import CHUNK, GradientSum
from tinygrad_rnn.threads import limited_to

WHOLE = 1 << 62
"""A chunk of so many bytes is all there is: its sum begins when the backward pass is nearly done."""


@dataclass(frozen=True)
class Model:
    """A language model: V, E, H, its layers and cell, and the steps T of a batch."""

    vocabulary: int
    embedding: int
    hidden: int
    layers: int
    cell: str
    steps: int

    def made(self) -> LanguageModel:
        sizes = self.vocabulary, self.embedding, self.hidden, self.layers
        return LanguageModel(*sizes, cell=self.cell, rng=np.random.default_rng(0))

    def batches(self, batch: int, count: int = 4) -> list[Batch]:
        """Batches of ids drawn by Zipf's law (Mandelbrot 1953), as in text."""
        rng = np.random.default_rng([1, self.vocabulary, batch])
        chances = 1 / (np.arange(self.vocabulary) + 2.7)
        text = rng.choice(self.vocabulary, (count, self.steps + 1, batch), p=chances / chances.sum())
        return [Batch(ids[:-1], ids[1:], np.ones((self.steps, batch), np.float32)) for ids in text]


MODELS = {
    "words": Model(8000, 48, 128, 2, "gru", 24),
    "characters": Model(96, 64, 256, 1, "lstm", 64),
}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=MODELS, default="words")
    parser.add_argument("--batch", type=int, default=32, help="rows of all ranks together")
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--apart", action="store_true", help="each rank trains its rows by itself, at the same time")
    parser.add_argument("--gigabits", type=float, help="a second, of a network that the ranks are to seem to have")
    parser.add_argument("--sums", nargs="*", type=int, default=[], help="times the sum of arrays of so many bytes")
    told = parser.parse_args(arguments)
    ranks = everyone()
    if told.gigabits is not None:
        ranks = Slowed(ranks, told.gigabits)
    with limited_to(1):
        if told.sums:
            found = sums(ranks, told.sums)
        else:
            found = steps(ranks, MODELS[told.work], told.batch, told.steps, told.apart)
    if not ranks.rank:
        print(json.dumps(found))


def steps(ranks: Ranks, model: Model, batch: int, count: int, apart: bool) -> dict[str, Any]:
    """Medians over steps, in seconds, of the slowest rank: of all, and of its parts; and bytes a step. Sums that begin
    during the backward pass, and those that begin after it, take turns."""
    training = ONE_PROCESS if apart else ranks
    kinds = {"early": Trained(training, model, CHUNK), "late": Trained(training, model, WHOLE)}
    batches = [each.rows(slice(ranks.rank, None, ranks.size)) for each in model.batches(batch)]
    for i in range(3):
        for trained in kinds.values():
            trained.step(batches[i])
    taken: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    for i in range(count):
        for kind, trained in kinds.items():
            ranks.allgather_numbers([0.0])  # they begin together
            taken[kind].append(trained.step(batches[i % len(batches)]))
    found: dict[str, Any] = {"ranks": ranks.size, "batch": batch}
    for kind, of_steps in taken.items():
        # Of the ranks the slowest in each part; the time of the whole is the same for all.
        slowest = np.max([ranks.allgather_numbers(each) for each in of_steps], axis=1)
        names = ("seconds", "passes", "copying", "waiting", "stepping", "dense_bytes", "row_bytes")
        found[kind] = {n: statistics.median(column) for n, column in zip(names, slowest.T.tolist(), strict=True)}
    return found


class Trained:
    """A model that is trained by ranks."""

    def __init__(self, ranks: Ranks, model: Model, chunk: int) -> None:
        self.ranks, self.model = ranks, model.made()
        self.optimizer = RMSprop(self.model.named_parameters(), lr=1e-3)
        self.summed = GradientSum(ranks, self.optimizer.parameters, chunk)

    def step(self, batch: Batch | None) -> list[float]:
        """One step, as `fit` makes it: seconds of all, of the forward and the backward pass, of copying, of waiting, of
        clipping and the update; bytes of dense sums, and of rows."""
        before = list(vars(self.summed.traffic).values())
        begin = time.perf_counter()
        loss, tokens, _ = self.model.batch_loss(batch, None, None, "sum") if batch is not None else (None, 0, None)
        self.optimizer.zero_grad()
        self.summed.backward(loss)
        passed = time.perf_counter()
        told = [0.0 if loss is None else loss.item(), tokens]
        total = self.summed.exchange(told).sum(axis=0)[1]
        self.summed.finish(1 / total)
        summed = time.perf_counter()
        clip_by_norm(self.optimizer.parameters, 1.0)
        self.optimizer.step()
        end = time.perf_counter()
        after = list(vars(self.summed.traffic).values())
        dense, rows, copying, _ = (new - old for new, old in zip(after, before, strict=True))
        return [end - begin, passed - begin - copying, copying, summed - passed, end - summed, dense, rows]


class Slowed(Ranks):
    """Ranks whose sums are ready no sooner than a network of so many gigabits a second would have them, one after the
    other, with LATENCY; all else is as fast as it is."""

    def __init__(self, ranks: Ranks, gigabits: float) -> None:
        self.ranks, self.bytes_a_second = ranks, gigabits * 1e9 / 8
        self.rank, self.size, self.beside = ranks.rank, ranks.size, ranks.beside
        self.allgather, self.allgather_numbers = ranks.allgather, ranks.allgather_numbers  # type: ignore[method-assign]  # as they are
        self.allgather_rows, self.broadcast = ranks.allgather_rows, ranks.broadcast  # type: ignore[method-assign]  # the same
        self.free = 0.0
        """When the network has sent all that it was given."""

    def begin_allreduce(self, numbers: HostArray) -> Pending:
        takes = allreduce_seconds(self.size, numbers.nbytes, LATENCY, self.bytes_a_second)
        self.free = max(self.free, time.perf_counter()) + takes
        return _Late(self.ranks.begin_allreduce(numbers), self.free)


class _Late:
    """A sum that is ready at a certain time at the earliest."""

    def __init__(self, pending: Pending, ready: float) -> None:
        self.pending, self.ready = pending, ready

    def test(self) -> bool:
        return self.pending.test() and time.perf_counter() >= self.ready

    def wait(self) -> None:
        self.pending.wait()
        time.sleep(max(0.0, self.ready - time.perf_counter()))


def sums(ranks: Ranks, sizes: list[int]) -> dict[str, float]:
    """Seconds, medians, of the sum over ranks of an array of each size in bytes."""
    found = {}
    for size in sizes:
        numbers, taken = np.ones(max(size // 4, 1), np.float32), []
        for _ in range(30):
            ranks.allgather_numbers([0.0])
            begin = time.perf_counter()
            ranks.begin_allreduce(numbers).wait()
            taken.append(time.perf_counter() - begin)
            numbers[...] = 1.0
        found[str(size)] = float(np.max(ranks.allgather_numbers([statistics.median(taken)])))
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
