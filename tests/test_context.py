"""What a step reads at every time step beside its input: a memory to attend to, a vector to depend on."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import CellError, Tensor, check_cell, ops
from tinygrad_rnn.models import Cell, GRUCell, Recurrent

S, M = 3, 2


class Attending(Cell):
    """Reads a weighted mean of the memory (B,S,M) where the mask (B,S) holds."""

    gates = "z n"
    context_shapes = ((S, M), ((S,), bool))

    def setup(self) -> None:
        self.query = self.new_gate("query", "h", M)

    def step(self, x: Tensor, h: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
        memory, mask = context
        scores = ops.where(mask, ops.einsum("bm,bsm->bs", self.query(h), memory), -1e9)
        found = ops.einsum("bs,bsm->bm", ops.softmax(scores), memory)
        z = ops.sigmoid(self.z(x, h) + found.sum(axis=1, keepdims=True))
        return z * h + (1 - z) * ops.tanh(self.n(x, h))


class Conditioned(Cell):
    """Depends on a vector (B,H), or on nothing where none is given."""

    gates = "n"

    @property
    def context_shapes(self) -> Any:
        return [(self.hidden_size,)]

    def step(self, x: Tensor, h: Tensor, context: Tensor | None = None) -> Tensor:
        total = self.n(x, h)
        return ops.tanh(total if context is None else total + 0.5 * h * context)


def memory_of(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    mask = rng.random((batch, S)) < 0.6
    mask[:, 0] = True
    return Tensor(rng.standard_normal((batch, S, M)), requires_grad=True), Tensor(mask)


def built(cell: type[Cell], *sizes: Any, seed: int = 0, **options: Any) -> Recurrent:
    return Recurrent(cell, *sizes, dtype=np.float64, rng=np.random.default_rng(seed), **options)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Attending, Conditioned])
def test_a_cell_with_a_context_passes_the_battery(cell: type[Cell]) -> None:
    report = check_cell(cell, 1, 2, show=False)
    assert {row.what for row in report.rows if row.held is None} <= {"GPU = CPU"}


def test_the_battery_tells_a_wrong_rule_by_the_context() -> None:
    @tg.primitive
    def tripled(x: Any) -> Any:
        return 3.0 * x

    tripled.vjp(lambda g, out, x: 2.0 * g)

    class Wrong(Conditioned):
        def step(self, x: Tensor, h: Tensor, context: Any = None) -> Tensor:
            return ops.tanh(self.n(x, h) + tripled(context))

    with pytest.raises(CellError, match="the derivative by the context, part 0, entry"):
        check_cell(Wrong, 1, 3, show=False)


def test_the_battery_asks_for_the_shapes_of_a_context() -> None:
    class Silent(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor, context: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h) * context)

    with pytest.raises(CellError, match=r"TypeError: Silent.context_shapes must have the shape .* got \(\)"):
        check_cell(Silent, show=False)


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=3),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    noise=st.booleans(),
)
def test_the_compiled_layer_is_the_plain_loop_with_lengths_layers_directions_and_noise(
    lengths: list[int], layers: int, bidirectional: bool, noise: bool
) -> None:
    rates: dict[str, Any] = (
        {"dropout": 0.3 if layers > 1 else 0.0, "recurrent_dropout": 0.4, "zoneout": 0.2} if noise else {}
    )
    layer = built(Attending, 2, 3, num_layers=layers, bidirectional=bidirectional, **rates)
    xs = Tensor(np.random.default_rng(1).standard_normal((4, len(lengths), 2)), requires_grad=True)
    found = []
    for compiled in (True, False):
        memory, mask = memory_of(len(lengths))
        for leaf in (xs, *layer.parameters()):
            leaf.grad = None
        rng = np.random.default_rng(2) if noise else None
        with tg.compiled(compiled):
            outputs, last = layer(xs, lengths=lengths, rng=rng, context=(memory, mask))
        ((outputs**2).sum() + last[0].sum()).backward()
        found.append([outputs.numpy(), last[0].numpy(), memory.grad, xs.grad, *(p.grad for p in layer.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_each_row_reads_its_own_context_padded_or_not() -> None:
    layer, (memory, mask) = built(Attending, 2, 3), memory_of(3)
    xs, lengths = np.random.default_rng(1).standard_normal((4, 3, 2)), [4, 1, 3]
    outputs, _ = layer(xs, lengths=lengths, context=(memory, mask))
    outputs.sum().backward()
    for b, length in enumerate(lengths):
        own = Tensor(memory.data[b : b + 1], requires_grad=True)
        alone, _ = layer(xs[:length, b : b + 1], context=(own, mask[b : b + 1]))
        alone.sum().backward()
        np.testing.assert_allclose(outputs.numpy()[:length, b : b + 1], alone.numpy(), rtol=1e-12)
        np.testing.assert_allclose(memory.grad[b : b + 1], own.grad, rtol=1e-9, atol=1e-12)


def test_step_by_step_it_is_the_layer() -> None:
    layer, context = built(Attending, 2, 3), memory_of(2)
    xs = np.random.default_rng(1).standard_normal((3, 2, 2))
    outputs, _ = layer(xs, context=context)
    h = layer.cells[0](Tensor(xs[0]), context=context)
    for t in (1, 2):
        h = layer.cells[0](Tensor(xs[t]), h, context=context)
    np.testing.assert_allclose(h.numpy(), outputs.numpy()[2], rtol=1e-12)


def test_a_context_that_a_step_can_do_without_may_be_missing() -> None:
    layer = built(Conditioned, 2, 3)
    xs = np.random.default_rng(1).standard_normal((3, 2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without, zeros, ones = (layer(xs, context=c)[0].numpy() for c in (None, np.zeros((2, 3)), np.ones((2, 3))))
    np.testing.assert_allclose(without, zeros, rtol=1e-12)
    assert abs(without - ones).max() > 1e-3


def test_a_context_that_does_not_fit_says_why() -> None:
    xs = np.ones((3, 2, 2))
    with pytest.raises(TypeError, match=r"Recurrent: Attending.step reads a context: call with context=\.\.\."):
        built(Attending, 2, 3)(xs)
    with pytest.raises(TypeError, match=r"context was given, and GRUCell.step has no parameter `context`"):
        built(GRUCell, 2, 3)(xs, context=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"context must have 2 rows as xs have, got \(3, 3\)"):
        built(Conditioned, 2, 3)(xs, context=np.ones((3, 3)))
    with pytest.raises(TypeError, match=r"Attending.step reads a context, and none was given"):
        built(Attending, 2, 3).cells[0](Tensor(xs[0]))
