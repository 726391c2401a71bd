"""What the last layer of a model of many words costs: the full, the adaptive and the two-level softmax, beside the full
and the adaptive one of PyTorch.

    pip install torch && python benchmarks/softmaxes.py [--classes V] [--rows N] [--hidden H] [--json FILE]

Loss and gradients, of the hidden units too, for targets by Zipf's law, on one thread: medians of its CPU time,
all in turn, in milliseconds. That the adaptive one is PyTorch's with the same weights is tested in tests/test_torch.py.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blas_kernel
import numpy as np
import torch

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import AdaptiveSoftmax
from tinygrad_rnn.models.softmaxes import SOFTMAXES, Softmax

Work = Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], None]
"""A loss of hidden units (N,H) and targets (N,), and its gradients."""

ROUNDS = 11


def ours(softmax: Softmax) -> Work:
    """One of the package's."""

    def work(hidden: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> None:
        softmax.zero_grad()
        softmax.loss(Tensor(hidden, requires_grad=True), targets).backward()

    return work


def theirs(module: Any, loss: Callable[[Any, Any], Any]) -> Work:
    """One of PyTorch's."""

    def work(hidden: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> None:
        module.zero_grad()
        loss(torch.tensor(hidden, requires_grad=True), torch.tensor(targets)).backward()

    return work


def contestants(hidden: int, classes: int) -> dict[str, Work]:
    """All that are measured, by name."""
    found = {name: ours(make(hidden, classes)) for name, make in SOFTMAXES.items()}
    cutoffs = AdaptiveSoftmax(1, classes).cutoffs[:-1]
    full = torch.nn.Linear(hidden, classes)
    adaptive = torch.nn.AdaptiveLogSoftmaxWithLoss(hidden, classes, [*cutoffs], head_bias=True)
    found["PyTorch full"] = theirs(full, lambda x, y: torch.nn.functional.cross_entropy(full(x), y))
    found["PyTorch adaptive"] = theirs(adaptive, lambda x, y: adaptive(x, y).loss)
    return found


def measured(rows: int, hidden: int, classes: int) -> dict[str, float]:
    """Milliseconds by name: medians of rounds in which all take their turn, after one that does not count."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, classes + 1)
    units = rng.standard_normal((rows, hidden)).astype(np.float32)
    works = contestants(hidden, classes)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS + 1):
        targets = rng.choice(classes, rows, p=chances / chances.sum())
        for name, work in works.items():
            start = time.process_time()
            work(units, targets)
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=100_000, metavar="V")
    parser.add_argument("--rows", type=int, default=768, metavar="N")
    parser.add_argument("--hidden", type=int, default=128, metavar="H")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{asked.rows} rows of {asked.hidden} units, {asked.classes:,} classes, BLAS kernel {blas_kernel.running()}")
    found = measured(asked.rows, asked.hidden, asked.classes)
    for name, ms in found.items():
        print(f"  {name:18} {ms:8.1f} ms   {found['full'] / ms:5.1f} times as fast as full")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
