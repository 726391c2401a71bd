"""What a class made with Cell must keep to, and the sentence that leads to the line where it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import CellError, Parameter, Tensor, check_cell, ops, trace
from tinygrad_rnn.models import Cell, EncoderDecoder, GRUCell, Linear, LSTMCell, Recurrent
from tinygrad_rnn.models.variants import SRUCell

HERE = Path(__file__).name
XS = np.random.default_rng(0).standard_normal((4, 2, 2)).astype(np.float32)


class Plain(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h))


class Pair(Cell):
    gates = "n"
    state = "h c"

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return ops.tanh(self.n(x, h)), c + h


def line_of(function: Callable[..., Any], marker: str) -> int:
    """The number of the first line of a function's source that has the marker."""
    code = function.__code__
    lines = Path(code.co_filename).read_text(encoding="utf-8").splitlines()
    return next(n for n in range(code.co_firstlineno, len(lines) + 1) if marker in lines[n - 1])


def layer_says(cell: type[Cell]) -> str:
    with pytest.raises((TypeError, ValueError, AttributeError)) as raised:
        Recurrent(cell, 2, 3)(XS)
    return str(raised.value)


def check_says(cell: type[Cell]) -> str:
    with pytest.raises(CellError) as raised:
        check_cell(cell, show=False)
    return str(raised.value)


# --- Output reads x --------------------------------------------------------------------------------------------


class SkipsOver(Plain):
    def output(self, x: Tensor, h: Tensor) -> Tensor:
        return h * x.sum(axis=-1, keepdims=True)


class OfAStateCalledX(Cell):
    state = "x v"

    def output(self, x: Tensor, v: Tensor) -> Tensor:
        return x + 2.0 * v

    def step(self, u: Tensor, x: Tensor, v: Tensor) -> Any:
        drive = u.sum(axis=-1, keepdims=True)
        return x + 0.1 * v + drive, v - 0.1 * x


def test_an_output_whose_first_parameter_is_called_x_reads_the_input() -> None:
    layer, plain = Recurrent(SkipsOver, 2, 3), Recurrent(Plain, 2, 3)
    plain.load_state_dict(layer.state_dict())
    lengths = np.array([4, 2])
    for given in (None, lengths):
        expected = plain(XS, lengths=given)[0].numpy() * XS.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(layer(XS, lengths=given)[0].numpy(), expected, rtol=1e-6)


@pytest.mark.slow
def test_an_output_may_read_x_in_layers_and_directions_and_passes_the_battery() -> None:
    layer = Recurrent(SkipsOver, 2, 3, 2, bidirectional=True)
    assert layer(XS)[0].shape == (4, 2, 6)
    assert check_cell(SkipsOver, show=False).passed


class Sums(Cell):
    """An output that is made of the states before the step, and is none itself."""

    gates = "k:x"
    state = "total"
    kept = "total"
    output = "y"

    def step(self, x: Tensor, total: Tensor) -> Any:
        k = self.k(x)
        return total + k, ops.tanh(total + 2.0 * k)


class SumsByAState(Cell):
    gates = "k:x"
    state = "y total"
    kept = "y total"

    def step(self, x: Tensor, y: Tensor, total: Tensor) -> Any:
        k = self.k(x)
        return ops.tanh(total + 2.0 * k), total + k


@pytest.mark.parametrize("lengths", [None, [4, 1]])
@pytest.mark.parametrize("options", [{}, {"zoneout": 0.5}, {"num_layers": 2, "bidirectional": True}])
def test_what_a_step_returns_as_its_output_is_that_of_a_state_that_nobody_reads(lengths: Any, options: Any) -> None:
    outputs, gradients = [], []
    for kind in (Sums, SumsByAState):
        layer = Recurrent(kind, 2, 3, rng=np.random.default_rng(1), **options)
        xs = Tensor(XS, requires_grad=True)
        ys, state = layer(xs, lengths=lengths)
        assert len(state) == len(kind.state.split())
        (ys * np.cos(np.arange(ys.size)).astype(np.float32).reshape(ys.shape)).sum().backward()
        outputs.append(ys.numpy())
        gradients.append([p.grad for p in (xs, *layer.parameters())])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_output_that_a_step_returns_passes_the_battery_is_traced_and_may_be_decoded_with() -> None:
    assert check_cell(Sums, show=False).passed
    layer = Recurrent(Sums, 2, 3)
    with trace() as tr:
        ys, _ = layer(XS)
    np.testing.assert_array_equal(tr["0.forward.y"], ys.numpy())
    model = EncoderDecoder(7, 6, 4, 4, cell=SRUCell, attention="additive")
    assert np.isfinite(model.loss(np.ones((3, 2), int), [3, 2], np.zeros((2, 2), int), np.ones((2, 2), int)).item())


class ReturnsNoOutput(Sums):
    def step(self, x: Tensor, total: Tensor) -> Any:
        return total + self.k(x)


class NamesAState(Sums):
    output = "total"

    def step(self, x: Tensor, total: Tensor) -> Any:
        return total, total


def test_an_output_that_is_not_returned_or_has_a_states_name_is_told() -> None:
    assert "step must return 2 values, its states (total) and its output y, got a Tensor" in layer_says(ReturnsNoOutput)
    assert "which no state or gate has, got 'total'" in layer_says(NamesAState)


def test_a_state_that_is_called_x_is_no_input() -> None:
    layer = Recurrent(OfAStateCalledX, 2, 3)
    _, states = layer(XS, (Tensor(np.ones((1, 2, 3), np.float32)), Tensor(np.ones((1, 2, 3), np.float32))))
    outputs, _ = layer(XS[:1], (np.ones((1, 2, 3), np.float32), np.ones((1, 2, 3), np.float32)))
    drive = XS[0].sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(outputs.numpy()[0], np.broadcast_to(1.1 + drive + 2 * 0.9, (2, 3)), rtol=1e-6)
    assert len(states) == 2


def test_a_decoder_may_be_made_of_a_cell_whose_output_reads_x() -> None:
    for attention in ("none", "additive", "dot", "general"):
        model = EncoderDecoder(7, 6, 4, 4, cell=SkipsOver, attention=attention)
        source = np.arange(6).reshape(3, 2)
        loss = model.loss(source, np.array([3, 2]), np.zeros((2, 2), int), np.ones((2, 2), int))
        loss.backward()
        assert np.isfinite(loss.item())
        written = model.decode(source, np.array([3, 2]), 0, 1, max_length=4)
        assert written.ids.shape[1] == 2


# --- Initial states --------------------------------------------------------------------------------------------


class Begins(Pair):
    """h begins with what is learned, c with ones."""

    def setup(self) -> None:
        self.h0 = Parameter(np.full(self.hidden_size, 0.5))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        shape = (batch_size, self.hidden_size)
        return ops.broadcast_to(self.h0, shape), Tensor(np.ones(shape))


@pytest.mark.slow
def test_a_learned_initial_state_passes_the_battery_and_is_trained() -> None:
    assert "as the cell says" in str(check_cell(Begins, show=False))
    layer = Recurrent(Begins, 2, 3)
    layer(XS)[0].sum().backward()
    assert layer.cells[0].h0.grad.any()


def test_a_float64_constant_as_an_initial_state_takes_the_dtype_of_the_cell() -> None:
    layer = Recurrent(Begins, 2, 3)
    assert [s.dtype for s in layer(XS)[1]] == [np.float32, np.float32]


def test_a_layers_initial_state_is_where_its_sequences_begin_and_resets_rows() -> None:
    layer = Recurrent(Begins, 2, 3, num_layers=2, bidirectional=True)
    fresh = layer.initial_state(2)
    assert [s.shape for s in fresh] == [(4, 2, 3), (4, 2, 3)]
    np.testing.assert_array_equal(layer(XS, fresh)[0].numpy(), layer(XS)[0].numpy())
    _, carried = layer(XS)
    mixed = tuple(ops.where(np.array([True, False])[:, None], f, s) for f, s in zip(fresh, carried, strict=True))
    outputs = layer(XS, mixed)[0].numpy()
    np.testing.assert_allclose(outputs[:, 0], layer(XS)[0].numpy()[:, 0], rtol=1e-6)
    np.testing.assert_allclose(outputs[:, 1], layer(XS, carried)[0].numpy()[:, 1], rtol=1e-6)


class Squares(Cell):
    """A state that is a matrix, and one that is a row."""

    gates = "n:x"
    state = "h S"
    kept = "S"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.hidden_size, self.hidden_size)]

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        h, S = super().initial_state(batch_size)
        return h + 0.25, S

    def step(self, x: Tensor, h: Tensor, S: Tensor) -> Any:
        h = ops.tanh(self.n(x) + ops.einsum("bi,bij->bj", h, S))
        return h, S + h[:, :, None] * h[:, None, :]


@pytest.mark.parametrize("hidden", [3, (3, 4)])
def test_in_rows_that_begin_anew_a_state_is_the_initial_one_and_in_others_as_it_was(hidden: Any) -> None:
    layer = Recurrent(Squares, 2, hidden, num_layers=2)
    rows = np.array([True, False, True])
    xs = np.random.default_rng(1).standard_normal((4, 3, 2)).astype(np.float32)  # as many rows as units
    _, state = layer(xs)
    anew = layer.begun_anew(state, rows)
    ys, _ = layer(xs, anew)
    for b in range(3):
        alone = None if rows[b] else layer(xs[:, b : b + 1])[1]
        np.testing.assert_allclose(ys.numpy()[:, b : b + 1], layer(xs[:, b : b + 1], alone)[0].numpy(), rtol=1e-5)
    with pytest.raises(ValueError, match=r"rows must be booleans \(B,\), got float32 of \(3,\)"):
        layer.begun_anew(state, [1, 0, 1])
    with pytest.raises(ValueError, match="state must be that of 2 rows, of "):
        layer.begun_anew(state, [True, False])


class Holds(Cell):
    def setup(self) -> None:
        self.inner = GRUCell(self.input_size, self.hidden_size)

    def step(self, x: Tensor, h: Tensor) -> Any:
        return self.inner(x, h)


def test_a_cell_within_a_cell_draws_from_the_generator_of_the_whole() -> None:
    def weights(seed: int) -> list[Any]:
        layer = Recurrent(Holds, 3, 3, num_layers=2, rng=np.random.default_rng(seed))
        return [cell.inner.z.U.data for cell in layer.cells]

    one, other = weights(1)
    assert not np.allclose(one, other) and not np.allclose(one, weights(2)[0])
    np.testing.assert_array_equal(one, weights(1)[0])
    np.testing.assert_array_equal(GRUCell(3, 3).z.U.data, GRUCell(3, 3).z.U.data)


@pytest.mark.slow
def test_a_gate_may_read_rows_of_another_width() -> None:
    class Wide(Cell):
        def setup(self) -> None:
            self.up = self.new_gate("up", "x", 7, bias=False)
            self.n = self.new_gate("n", "xh", x_size=7)

        def step(self, x: Tensor, h: Tensor) -> Any:
            return ops.tanh(self.n(self.up(x), h))

    assert {n: p.shape for n, p in Wide(2, 3).named_parameters()} == {
        "up.U": (2, 7), "n.U": (7, 3), "n.W": (3, 3), "n.b": (3,)}  # fmt: skip
    assert check_cell(Wide, show=False).passed


@pytest.mark.parametrize("size", [-1, 2.0, True, "3"])
def test_an_initial_state_is_for_a_whole_number_of_rows(size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 0"):
        Recurrent(Plain, 2, 3).initial_state(size)


class BeginsDifferently(Plain):
    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        rows = np.arange(batch_size, dtype=np.float64)[:, None] / max(batch_size, 1)
        return (Tensor(np.broadcast_to(rows, (batch_size, self.hidden_size)).copy()),)


@pytest.mark.slow
def test_a_state_that_begins_with_other_numbers_in_another_batch_is_told() -> None:
    assert "sequences begin alike in every batch: h begins with other numbers in a batch of 2" in check_says(
        BeginsDifferently
    )


# --- Declarations ----------------------------------------------------------------------------------------------


class ShapesByAMethod(Pair):
    def state_shapes(self) -> Any:  # type: ignore[override]  # what is wrong with it
        return [(self.hidden_size,), (self.hidden_size,)]


class TakesThemInAnotherOrder(Cell):
    gates = "n"
    state = "h c"

    def step(self, x: Tensor, c: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h)), c


class PutsThemOutInAnotherOrder(Pair):
    def output(self, c: Tensor, h: Tensor) -> Tensor:
        return h


class TakesTooFew(Cell):
    gates = "n"
    state = "h c"

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h))


class TakesSomethingElse(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor, time: Tensor) -> Any:
        return ops.tanh(self.n(x, h)) * time


class ForgetsItself(Cell):
    gates = "n"

    def step(x: Tensor, h: Tensor) -> Any:  # type: ignore[misc]  # noqa: N805  (what is wrong with it)
        return h


class OptionOfTheLayer(Plain):
    def setup(self, dropout: float = 0.1) -> None:
        self.rate = dropout


class BuildsItself(Plain):
    def __init__(self, size: int) -> None:
        self.size_of_it = size


class NoBatchSize(Plain):
    def initial_state(self) -> Any:  # type: ignore[override]  # what is wrong with it
        return ()


class AnotherGate(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.m(x, h))


@pytest.mark.parametrize(
    ("cell", "said", "method"),
    [
        (ShapesByAMethod, "state_shapes must be a property: write @property above it", ShapesByAMethod.state_shapes),
        (
            TakesThemInAnotherOrder,
            "step takes its states in the order c, h, and they are given as in `state`: h, c",
            TakesThemInAnotherOrder.step,
        ),
        (PutsThemOutInAnotherOrder, "output takes its states in the order c, h", PutsThemOutInAnotherOrder.output),
        (TakesTooFew, "step must be step(self, x, h, c); too many positional arguments", TakesTooFew.step),
        (TakesSomethingElse, "step must be step(self, x, h); missing a required argument", TakesSomethingElse.step),
        (ForgetsItself, "step must be step(self, x, h)", ForgetsItself.step),
        (OptionOfTheLayer, "has an option 'dropout', which is one of the layer's", OptionOfTheLayer.setup),
        (BuildsItself, "options and Parameters are for setup(self, ...)", BuildsItself.__init__),
        (NoBatchSize, "initial_state must be initial_state(self, batch_size)", NoBatchSize.initial_state),
    ],
)
def test_what_a_class_declares_wrongly_is_told_with_the_line(cell: type[Cell], said: str, method: Any) -> None:
    for sentence in (layer_says(cell), check_says(cell)):
        assert said in sentence and f"({HERE}, line {method.__code__.co_firstlineno})" in sentence


class SlipsInAProperty(Plain):
    @property
    def state_shapes(self) -> Any:
        return [(self.haeds, 2)]


class SlipsInAnOutputSize(Plain):
    @property
    def output_size(self) -> int:
        return int(self.haeds)


@pytest.mark.parametrize("cell", [SlipsInAProperty, SlipsInAnOutputSize])
def test_a_slip_within_a_property_is_told_by_the_name_that_is_not_there(cell: type[Cell]) -> None:
    assert f"{cell.__name__} has no attribute 'haeds'; its gates are n" in layer_says(cell)
    assert f"{cell.__name__} has no attribute 'haeds'; its gates are n" in check_says(cell)


class ReplacesItsStep(Plain):
    def setup(self) -> None:
        self.step = 0.1  # type: ignore  # what is wrong with it


class ReplacesItsOutput(Plain):
    def setup(self) -> None:
        self.output = Linear(self.hidden_size, self.hidden_size)


class ReplacesItsSize(Plain):
    def setup(self) -> None:
        self.size = 5  # type: ignore[misc]  # what is wrong with it


class ReplacesItsState(Plain):
    def setup(self) -> None:
        self.state = 3  # type: ignore[assignment]  # what is wrong with it


class ReplacesItsGate(Plain):
    def setup(self) -> None:
        self.n = 3


class ReplacesItsGenerator(Plain):
    def setup(self) -> None:
        self.rng = np.random.default_rng(0)


class ReplacesItsWidth(Plain):
    def setup(self) -> None:
        self.hidden_size = 2 * self.hidden_size


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (ReplacesItsStep, "'step' is a method of every cell"),
        (ReplacesItsOutput, "'output' is a method of every cell"),
        (ReplacesItsSize, "'size' is a property"),
        (ReplacesItsState, "'state' is declared with names"),
        (ReplacesItsGate, "'n' is a gate"),
        (ReplacesItsGenerator, "'rng' is the constructor's"),
        (ReplacesItsWidth, "'hidden_size' is the constructor's"),
    ],
)
def test_what_setup_puts_in_the_place_of_a_part_is_told_with_the_line(cell: type[Cell], said: str) -> None:
    sentence = f"{cell.__name__}: {said}, and cannot be set: give the attribute another name"
    assert layer_says(cell) == sentence
    assert sentence in check_says(cell) and f"line {cell.setup.__code__.co_firstlineno + 1})" in check_says(cell)


class ReadsTheInputByAnotherName(Plain):
    def output(self, u: Tensor, h: Tensor) -> Tensor:
        return h


def test_an_output_that_reads_the_input_is_told_what_to_call_it() -> None:
    assert "output must be output(self, h), or output(self, x, h)" in layer_says(ReadsTheInputByAnotherName)


class CountsInWholeNumbers(Plain):
    state = "h t"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), ()]

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        return Tensor(np.zeros((batch_size, self.hidden_size))), Tensor(np.zeros(batch_size, np.int64))

    def step(self, x: Tensor, h: Tensor, t: Tensor) -> Any:  # type: ignore[override]  # another number of states
        return ops.tanh(self.n(x, h)) * (t < 2).astype(h.dtype)[:, None], t + 1


def test_a_count_begins_as_a_number_of_the_cells_own_dtype() -> None:
    _, (_, count) = Recurrent(CountsInWholeNumbers, 2, 3)(np.ones((5, 2, 2), np.float32))
    assert count.dtype == np.float32
    np.testing.assert_array_equal(count.numpy(), np.full((1, 2), 5.0))


class TakesAwayABoolean(Plain):
    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) * (1 - (x[:, :1] > 0))


def test_a_boolean_in_arithmetic_is_told_how_to_be_cast() -> None:
    assert "reads int64 at " in layer_says(TakesAwayABoolean)
    assert "cast it with astype(x.dtype)" in layer_says(TakesAwayABoolean)


class AsksForAHalf(Cell):
    gates = "z:x"

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.z.recurrent(h))


class GivesAnotherWidth(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(ops.concatenate([x, x], axis=-1), h))


def test_a_gate_that_is_given_what_it_does_not_read_is_told_by_name() -> None:
    assert layer_says(AsksForAHalf) == "gate 'z' reads x alone: it has no W"
    assert layer_says(GivesAnotherWidth) == (
        "gate 'n' reads 2 features as x, got (2, 4); new_gate(..., x_size=) makes one that reads others"
    )


def test_a_gate_that_is_not_there_is_told_with_those_that_are() -> None:
    assert layer_says(AnotherGate) == "AnotherGate has no attribute 'm'; its gates are n"


# --- What methods return ---------------------------------------------------------------------------------------


class BeginsWithAList(Plain):
    def initial_state(self, batch_size: int) -> Any:
        return [Tensor(np.zeros((batch_size, self.hidden_size), np.float32))]


class BeginsWithATensor(Plain):
    def initial_state(self, batch_size: int) -> Any:
        return Tensor(np.zeros((batch_size, self.hidden_size), np.float32))


class BeginsWithARow(Plain):
    def initial_state(self, batch_size: int) -> Any:
        return (Tensor(np.zeros(self.hidden_size, np.float32)),)


class PutsOutMore(Plain):
    def output(self, h: Tensor) -> Tensor:
        return ops.concatenate([h, h], axis=-1)


class PutsOutAnArray(Plain):
    def output(self, h: Tensor) -> Any:
        return np.zeros((len(h), self.hidden_size), np.float32)


class ReturnsAList(Pair):
    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return [h, c]


class ReturnsAnArray(Pair):
    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        return h, np.zeros(c.shape, np.float32)


@pytest.mark.parametrize(
    ("cell", "said", "method"),
    [
        (BeginsWithAList, "must return a tuple with a Tensor for each state (h), got a list", "initial_state"),
        (BeginsWithATensor, "must return a tuple with a Tensor for each state (h), got a Tensor", "initial_state"),
        (BeginsWithARow, "must return h as a Tensor (2, 3), got (3,)", "initial_state"),
        (PutsOutMore, "(B, output_size) = (2, 3), got float32 of (2, 6): say so by a property output_size", "output"),
        (PutsOutAnArray, "(B, output_size) = (2, 3), got ndarray", "output"),
        (ReturnsAList, "step must return 2 state(s) (h c), got a list", "step"),
        (ReturnsAnArray, "step must return c as a Tensor of float32 of (2, 3), got ndarray", "step"),
    ],
)
def test_what_a_method_returns_wrongly_is_told_with_the_line(cell: type[Cell], said: str, method: str) -> None:
    place = f"({HERE}, line {getattr(cell, method).__code__.co_firstlineno})"
    assert said in layer_says(cell) and place in layer_says(cell)


class WideConstant(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        weights = np.linspace(0, 1, self.hidden_size)
        scaled = h * weights
        return ops.tanh(self.n(x, scaled))


def test_a_float64_constant_in_a_step_is_told_with_the_line_that_reads_it() -> None:
    said = layer_says(WideConstant)
    assert "step must return h as a Tensor of float32 of (2, 3), got float64" in said
    assert f"mul reads float64 at {HERE}, line {line_of(WideConstant.step, 'scaled = ')}" in said


# --- What the battery suspects ---------------------------------------------------------------------------------


class WritesIntoItsState(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        h.data[:, 0] = 0.0
        return ops.tanh(self.n(x, h))


class WritesIntoAnArrayOfIt(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        array = x.numpy()
        array *= 0.5
        return ops.tanh(self.n(x, h))


class WritesIntoAWeight(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        self.n.b.data += 1.0
        return ops.tanh(self.n(x, h))


@pytest.mark.parametrize(
    ("cell", "line"),
    [(WritesIntoItsState, "h.data"), (WritesIntoAnArrayOfIt, "array *="), (WritesIntoAWeight, "b.data")],
)
def test_a_step_that_writes_into_what_it_is_given_is_told_with_the_line(cell: type[Cell], line: str) -> None:
    said = check_says(cell)
    assert "the step writes into what it is given, or into a weight" in said
    assert f"{HERE}, line {line_of(cell.step, line)}" in said


class AssignsToAnEntry(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        h[:, 0] = 0.0
        return ops.tanh(self.n(x, h))


def test_an_assignment_to_an_entry_is_told_with_the_line_and_what_to_write_instead() -> None:
    said = check_says(AssignsToAnEntry)
    assert "use ops.where" in said and f"{HERE}, line {line_of(AssignsToAnEntry.step, 'h[:, 0]')}" in said


class ThreeRows(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h)).reshape((3, -1))


class ThreeUnits(Plain):
    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, h)).reshape((-1, 3))


@pytest.mark.slow
def test_a_number_of_rows_or_units_in_a_step_is_suspected() -> None:
    assert re.search(r"one row fails, and 3 do not; is a number of rows written in the step\?", check_says(ThreeRows))
    said = check_says(ThreeUnits)
    assert "4 inputs and 5 units fail; is a size written as a number?" in said
    assert f"{HERE}, line {line_of(ThreeUnits.step, 'reshape')}" in said


def test_methods_that_are_static_or_take_anything_are_as_good_as_others() -> None:
    class Static(Cell):
        @staticmethod
        def step(x: Tensor, h: Tensor) -> Any:
            return ops.tanh(h + x.sum(axis=-1, keepdims=True))

    class Anything(LSTMCell):
        def step(self, x: Tensor, *states: Tensor, **others: Any) -> Any:
            return super().step(x, *states, **others)

    assert Recurrent(Static, 2, 3)(XS)[0].shape == (4, 2, 3)
    assert Recurrent(Anything, 2, 3)(XS)[0].shape == (4, 2, 3)


# --- Gates -----------------------------------------------------------------------------------------------------


class WithoutBias(Cell):
    """A gate without a bias, and one with an antisymmetric matrix."""

    gates = "n"

    def setup(self) -> None:
        self.a, self.b = self.new_gate("a", "h", bias=False), self.new_gate("b", "x", bias=False)

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n.with_recurrent(self.n.W - self.n.W.T)(x, h) + self.a(h) * self.b(x))


@pytest.mark.slow
def test_a_cell_with_such_gates_passes_the_battery() -> None:
    assert check_cell(WithoutBias, show=False).passed


def test_a_gate_may_have_no_bias_and_another_matrix_and_keeps_its_dropout() -> None:
    layer = Recurrent(WithoutBias, 2, 3, dtype=np.float64, recurrent_dropout=0.5, rng=np.random.default_rng(0))
    names = [name for name, _ in layer.named_parameters()]
    assert "cells.0.a.W" in names and "cells.0.a.b" not in names and "cells.0.b.b" not in names
    cell: Any = layer.cells[0]
    x, h = np.random.default_rng(1).standard_normal((2, 2)), np.random.default_rng(2).standard_normal((2, 3))
    n = x @ cell.n.U.numpy() + cell.n.b.numpy() + h @ (cell.n.W.numpy() - cell.n.W.numpy().T)
    expected = np.tanh(n + (h @ cell.a.W.numpy()) * (x @ cell.b.U.numpy()))
    np.testing.assert_allclose(cell(Tensor(x), Tensor(h)).numpy(), expected, rtol=1e-12)
    masks = [Tensor(np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]])) for _ in range(2)]
    masked = cell.masked(masks)
    n = x @ cell.n.U.numpy() + cell.n.b.numpy() + (h * masks[0].numpy()) @ (cell.n.W.numpy() - cell.n.W.numpy().T)
    expected = np.tanh(n + ((h * masks[1].numpy()) @ cell.a.W.numpy()) * (x @ cell.b.U.numpy()))
    np.testing.assert_allclose(masked(Tensor(x), Tensor(h)).numpy(), expected, rtol=1e-12)
