"""What the tape costs per op: forward and backward of 8x8 ops through it, beside NumPy's own time for the same forward
and the same rule arithmetic.

    python benchmarks/per_op.py [--json FILE]

The two are interleaved, round by round, and their results compared first; medians of many rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blas_kernel
import numpy as np

from tinygrad_rnn import Tensor, ops

LENGTH = 1000  # ops in a chain: what a whole backward pass costs beside its ops is spread over them
ROUNDS = 60


def tape_chain(op: Callable[[Any], Any], x: np.ndarray[Any, Any], seed: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A chain of ops on the tape, and its backward pass."""
    leaf = Tensor(x, requires_grad=True)
    y = leaf
    for _ in range(LENGTH):
        y = op(y)
    y.backward(seed)
    return np.asarray(leaf.grad)


def numpy_tanh(x: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same by hand."""
    saved = []
    for _ in range(LENGTH):
        x = np.tanh(x)
        saved.append(x)
    for y in reversed(saved):
        g = g * (1 - y * y)
    return g


CONSTANT = np.full((8, 8), 0.01)


def numpy_add(x: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same by hand: the gradient of a sum is passed on as it is."""
    for _ in range(LENGTH):
        x = x + CONSTANT
    return g.copy()


def once(work: Callable[[], object]) -> float:
    """µs per op of one chain."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / LENGTH * 1e6


def main() -> int:
    """Prints the table; writes it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--anyway", action="store_true", help="also with a slower BLAS kernel than the processor has")
    options = parser.parse_args()
    kernel = blas_kernel.running()
    if not options.anyway and (sentence := blas_kernel.below_the_processors(kernel)):
        parser.error(sentence)
    rng = np.random.default_rng(0)
    x, seed = rng.uniform(-1, 1, (8, 8)), rng.uniform(-1, 1, (8, 8))
    cases: dict[str, tuple[Callable[[Any], Any], Callable[..., Any]]] = {
        "tanh": (ops.tanh, numpy_tanh),
        "add": (lambda t: t + CONSTANT, numpy_add),
    }
    rows = []
    what = f"(8x8, forward + backward, median of {ROUNDS})"
    print(f"{kernel:14} {'op':6} {'tape µs':>9} {'NumPy µs':>9} {'more µs':>9}   {what}")
    for name, (op, by_hand) in cases.items():
        np.testing.assert_allclose(tape_chain(op, x, seed), by_hand(x, seed), rtol=1e-12)
        pairs = [
            (once(lambda: tape_chain(op, x, seed)), once(lambda: by_hand(x, seed)))  # noqa: B023  (run at once)
            for _ in range(ROUNDS)
        ]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        rows.append({"op": name, "tape_us": ours, "numpy_us": theirs, "more_us": ours - theirs})
        print(f"{kernel:14} {name:6} {ours:9.2f} {theirs:9.2f} {ours - theirs:9.2f}")
    if options.json:
        options.json.write_text(
            json.dumps({"kernel": kernel, "numpy": np.__version__, "python": sys.version, "rows": rows}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
