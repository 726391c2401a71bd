"""The equations of published cells, each in its paper's own symbols and in plain NumPy: a function of the weights by
name, the input, and the states. `of` registers one; the tests of cells compare each step with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.notes import notes_of_step

F8 = NDArray[np.float64]
Weights = dict[str, F8]
Formula = Callable[..., tuple[F8, ...]]
B, I, H = 3, 4, 6  # noqa: E741  (the field's letters: batch, input features, hidden units)


def logistic(a: F8) -> F8:
    squashed: F8 = 0.5 + 0.5 * np.tanh(a / 2)
    return squashed


def softmax(a: F8) -> F8:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    shares: F8 = e / e.sum(axis=-1, keepdims=True)
    return shares


def affine(w: Weights, gate: str, x: F8 | None = None, h: F8 | None = None) -> F8:
    """W x + R h + b, of the parts that there are; and the parts that there are must all be used."""
    assert (f"{gate}.U" in w) == (x is not None)
    assert (f"{gate}.W" in w) == (h is not None)
    total = w[f"{gate}.b"]
    if x is not None:
        total = total + x @ w[f"{gate}.U"]
    if h is not None:
        total = total + h @ w[f"{gate}.W"]
    return total


def rows(results: Sequence[tuple[F8, ...]]) -> tuple[F8, ...]:
    """The results of each row of a batch, as those of the batch."""
    return tuple(np.stack(parts) for parts in zip(*results, strict=True))


FORMULAS: dict[type[Cell], Formula] = {}
MORE_CASES: list[tuple[type[Cell], int, dict[str, Any]]] = []
"""Cells with other numbers of inputs, and options, than those by which every one is tried."""


def of(kind: type[Cell]) -> Callable[[Formula], Formula]:
    def keep(formula: Formula) -> Formula:
        FORMULAS[kind] = formula
        return formula

    return keep


# --- Cells to compare with them ---


def drawn(kind: type[Cell], features: int = I, hidden: int = H, seed: int = 0, **options: Any) -> Any:
    """A cell in float64, all weights drawn, and scattered enough that gates are open, shut and between."""
    cell = kind(features, hidden, dtype=np.float64, **options)
    rng = np.random.default_rng(seed)
    for name, p in cell.named_parameters():
        p.data = rng.uniform(0.1, 1.0, p.shape) if name == "share" else rng.standard_normal(p.shape)
    return cell


def given(cell: Cell, seed: int = 0, batch: int = B) -> tuple[F8, list[F8]]:
    """An input and the states."""
    rng = np.random.default_rng([seed, 1])
    x = rng.standard_normal((batch, cell.input_size))
    drawing: dict[str, Callable[[tuple[int, ...]], F8]] = {
        "phase": lambda shape: rng.uniform(0, 1, shape),
        "den": lambda shape: rng.uniform(0, 1, shape),
        "time": lambda shape: rng.integers(0, 16, shape).astype(float),
    }
    states = [
        drawing.get(name, rng.standard_normal)((batch, *shape))
        for name, shape in zip(cell.states, cell.state_shapes, strict=True)
    ]
    return x, states


def stepped(cell: Cell, x: F8, states: list[F8]) -> tuple[F8, ...]:
    """The new states, the output where the step returns it, and what is noted."""
    with notes_of_step(True) as notes:
        new, y = cell.stepped(Tensor(x), tuple(map(Tensor, states)))
    return tuple(s.numpy() for s in (*new, *(() if y is None else (y,)), *notes.values()))


def close(ours: Any, theirs: Any, tolerance: float = 1e-12) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def sequence(cell: Cell, xs: F8) -> list[tuple[F8, ...]]:
    """What each step gives, from zeros: see `stepped`."""
    states = [s.numpy() for s in cell.initial_state(xs.shape[1])]
    found = []
    for x in xs:
        found.append(stepped(cell, x, states))
        states = [*found[-1][: len(states)]]
    return found


def holds_in_single_precision(kind: type[Cell], xs: F8) -> None:
    """A layer over xs in single precision: nothing overflows, and outputs, states and gradients are finite."""
    layer = Recurrent(kind, xs.shape[-1], H)
    leaf_xs = Tensor(xs.astype(np.float32), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"), tg.compiled("numpy"):
        outputs, state = layer(leaf_xs)
        outputs.sum().backward()
    for part in (outputs, *state):
        assert np.isfinite(part.numpy()).all()
    for leaf in (leaf_xs, *layer.parameters()):
        assert leaf.grad is not None and np.isfinite(leaf.grad).all()
