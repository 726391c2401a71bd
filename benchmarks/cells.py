"""Every shipped cell: its speed beside the LSTM's, and what it learns on two tasks whose best score is known.

    python benchmarks/cells.py docs/cells.json        # ten minutes on one core

Adding (Hochreiter & Schmidhuber 1997): the sum of two marked numbers among 100; who always says 1 has a mean squared
error of 0.167. Dyck-(2,3) (Hewitt et al. 2020): two kinds of brackets, nested three deep at most. The entropy is 1.2761
bits per token, and 1.7497 for who does not remember which kind of bracket is open; in pieces of 61 tokens that begin
outside all brackets, as here, 1.2907 and 1.7504.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import blas_kernel
import numpy as np

from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.models import Embedding, Linear, Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.optim import Adam, clip_by_norm

OPEN, CLOSE, DEEPEST, END = (0, 1), (2, 3), 3, 4
STOP_AT_DEPTH_0 = 0.25

ADDING_STEPS, DYCK_STEPS = 800, 500


def adding(rng: np.random.Generator, steps: int = 100, batch: int = 50) -> tuple[Any, Any]:
    """Sequences (T,B,2) of numbers and marks, and the sums (B,)."""
    numbers, marks = rng.random((steps, batch)), np.zeros((steps, batch))
    for first, last in ((0, steps // 2), (steps // 2, steps)):
        marks[rng.integers(first, last, batch), np.arange(batch)] = 1
    sums = (numbers * marks).sum(axis=0)
    return np.stack([numbers, marks], axis=2).astype(np.float32), sums.astype(np.float32)


def brackets(rng: np.random.Generator, steps: int = 61, batch: int = 50) -> Any:
    """Words of Dyck-(2,3), each with its END, one after another: ids (T,B)."""
    ids = np.empty((steps, batch), np.int64)
    for column in range(batch):
        stack: list[int] = []
        for t in range(steps):
            chance = STOP_AT_DEPTH_0 if not stack else 1.0 if len(stack) == DEEPEST else 0.5
            if rng.random() >= chance:
                stack.append(int(rng.integers(2)))
                ids[t, column] = OPEN[stack[-1]]
            else:
                ids[t, column] = CLOSE[stack.pop()] if stack else END
    return ids


def learn_to_add(cell: Any, options: dict[str, Any]) -> float:
    """The mean squared error over the last fifty batches."""
    rng = np.random.default_rng(0)
    layer = Recurrent(cell, 2, 32, rng=rng, **options)
    output, losses = Linear(layer.output_size, 1, rng=rng), []
    optimizer = Adam([*layer.parameters(), *output.parameters()], lr=0.01)
    for _ in range(ADDING_STEPS):
        xs, sums = adding(rng)
        loss = ops.mse(output(layer(Tensor(xs))[0][-1]).reshape((-1,)), sums)
        optimizer.zero_grad()
        loss.backward()
        clip_by_norm(optimizer.parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-50:]))


def learn_brackets(cell: Any, options: dict[str, Any]) -> float:
    """Bits per token over the last fifty batches."""
    rng = np.random.default_rng(0)
    embedding = Embedding(5, 8, rng=rng)
    layer = Recurrent(cell, 8, 24, rng=rng, **options)
    output, losses = Linear(layer.output_size, 5, rng=rng), []
    optimizer = Adam([*embedding.parameters(), *layer.parameters(), *output.parameters()], lr=0.01)
    for _ in range(DYCK_STEPS):
        ids = np.concatenate([np.full((1, 50), END), brackets(rng)])
        loss = ops.softmax_cross_entropy(output(layer(embedding(ids[:-1]))[0]), ids[1:])
        optimizer.zero_grad()
        loss.backward()
        clip_by_norm(optimizer.parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-50:]) / np.log(2))


def speed(cells: dict[str, tuple[Any, dict[str, Any]]]) -> dict[str, float]:
    """Median seconds of forward and backward over 64 steps, batch 32, 32 inputs, H 128, in turn."""
    xs = Tensor(np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32))
    layers = {name: Recurrent(cell, 32, 128, **options) for name, (cell, options) in cells.items()}
    times: dict[str, list[float]] = {name: [] for name in cells}
    for _ in range(9):
        for name, layer in layers.items():
            start = time.perf_counter()
            layer(xs)[0].sum().backward()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in times.items()}


def shipped() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Every cell by name, with its options."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {name: (cell, {}) for name, cell in CELLS.items()}
    found["gru, reset before"] = (CELLS["gru"], {"reset": "before"})
    return found


def main() -> None:
    """Measures everything and writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, metavar="FILE", help="where the figures go, as JSON")
    parser.add_argument("--anyway", action="store_true", help="also with a slower BLAS kernel than the processor has")
    chosen = parser.parse_args()
    kernel = blas_kernel.running()
    if not chosen.anyway and (sentence := blas_kernel.below_the_processors(kernel)):
        parser.error(sentence)
    cells, target = shipped(), chosen.target
    seconds = speed(cells)
    results = {}
    for name, (cell, options) in cells.items():
        results[name] = {
            "time": round(seconds[name] / seconds["lstm"], 2),
            "adding": round(learn_to_add(cell, options), 4),
            "dyck": round(learn_brackets(cell, options), 4),
        }
        print(kernel, name, results[name], flush=True)
        target.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
