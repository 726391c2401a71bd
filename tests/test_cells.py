"""Each cell against its paper's equations in plain NumPy, its derivatives against finite differences, and the
promises that a cell of the user's own relies on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from substitution import gradcheck_of_everything, randomised

from tinygrad_rnn import Parameter, Tape, Tensor, ops
from tinygrad_rnn.models import Cell, Gate, GRUCell, LSTMCell, Recurrent, RNNCell
from tinygrad_rnn.models.variants import HighwayRNNCell
from tinygrad_rnn.ops import sigmoid, tanh

F8 = NDArray[np.float64]
B, I, H = 4, 3, 5  # noqa: E741  (the field's letters: batch, input features, hidden units)

GRU_OPTIONS: list[dict[str, Any]] = [
    {"reset": reset, "update": update, "recurrent_bias": bias, "gate": gate}
    for reset, update, bias, gate in itertools.product(
        ["after", "before"], ["keep", "write"], [False, True], ["sigmoid", "hard_sigmoid"]
    )
]
CELLS: list[tuple[type[Cell], dict[str, Any]]] = [
    (RNNCell, {}),
    (RNNCell, {"nonlinearity": "relu"}),
    *((GRUCell, options) for options in GRU_OPTIONS),
    (LSTMCell, {}),
]
every_cell = pytest.mark.parametrize(
    ("kind", "options"), CELLS, ids=[f"{kind.__name__} {' '.join(map(str, o.values()))}" for kind, o in CELLS]
)


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def make(kind: type[Cell], seed: int = 0, **options: Any) -> Any:
    return randomised(kind(I, H, dtype=np.float64, **options), seed)


# --- The equations ------------------------------------------------------------------------------------------


def logistic(a: F8) -> F8:
    squashed: F8 = 1 / (1 + np.exp(-a))
    return squashed


def hard(a: F8) -> F8:
    squashed: F8 = np.minimum(np.maximum(0.2 * a + 0.5, 0), 1)
    return squashed


def split(gate: Gate) -> tuple[F8, F8, F8]:
    return gate.U.data, gate.W.data, gate.b.data


@pytest.mark.parametrize(("name", "squash"), [("tanh", np.tanh), ("relu", lambda a: a * (a > 0))])
def test_the_rnn_is_elmans_equation(name: str, squash: Callable[[F8], F8]) -> None:
    cell, x, h = make(RNNCell, nonlinearity=name), draw(B, I), draw(B, H)
    U, W, b = split(cell.n)
    expected = squash(x @ U + h @ W + b)
    np.testing.assert_allclose(cell.step(Tensor(x), Tensor(h)).numpy(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("options", GRU_OPTIONS, ids=lambda o: " ".join(map(str, o.values())))
def test_the_gru_is_its_papers_equations_in_every_variant(options: dict[str, Any]) -> None:
    cell, x, h = make(GRUCell, **options), draw(B, I), draw(B, H)
    squash = {"sigmoid": logistic, "hard_sigmoid": hard}[options["gate"]]
    (Uz, Wz, bz), (Ur, Wr, br), (Un, Wn, bn) = split(cell.z), split(cell.r), split(cell.n)
    c = cell.n.c.data if options["recurrent_bias"] else 0.0
    z, r = squash(x @ Uz + h @ Wz + bz), squash(x @ Ur + h @ Wr + br)
    if options["reset"] == "before":  # Cho et al. 2014, eq. 8
        n = np.tanh(x @ Un + (r * h) @ Wn + bn + c)
    else:  # as in cuDNN
        n = np.tanh(x @ Un + bn + r * (h @ Wn + c))
    old, new = (z, 1 - z) if options["update"] == "keep" else (1 - z, z)
    expected = old * h + new * n
    np.testing.assert_allclose(cell.step(Tensor(x), Tensor(h)).numpy(), expected, rtol=1e-13, atol=1e-15)


def test_the_lstm_is_its_papers_equations() -> None:
    cell, x, h, c = make(LSTMCell), draw(B, I), draw(B, H), draw(B, H, seed=2)
    a = {name: x @ U + h @ W + b for name in "ifog" for U, W, b in [split(getattr(cell, name))]}
    memory = logistic(a["f"]) * c + logistic(a["i"]) * np.tanh(a["g"])
    expected = logistic(a["o"]) * np.tanh(memory), memory
    for ours, theirs in zip(cell.step(Tensor(x), Tensor(h), Tensor(c)), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-13, atol=1e-15)


def test_the_forget_bias_is_a_stored_value_and_nothing_is_added_later() -> None:
    np.testing.assert_array_equal(LSTMCell(I, H).f.b.data, np.ones(H))
    np.testing.assert_array_equal(LSTMCell(I, H, forget_bias=2.5).state_dict()["f.b"], np.full(H, 2.5))
    for gate in "iog":
        np.testing.assert_array_equal(getattr(LSTMCell(I, H), gate).b.data, np.zeros(H))
    cell = LSTMCell(I, H, dtype=np.float64)
    for p in cell.parameters():
        p.data = np.zeros(p.shape)
    zeros = Tensor(np.zeros((B, H)))
    _, c = cell.step(Tensor(np.zeros((B, I))), zeros, zeros + 1)
    np.testing.assert_array_equal(c.numpy(), np.full((B, H), 0.5))  # a forget gate of sigmoid(0)


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_a_gate_that_is_shut_keeps_the_state_and_one_that_is_open_writes(gate: str) -> None:
    for update, bias in itertools.product(["keep", "write"], [-50.0, 50.0]):
        cell, x, h = make(GRUCell, gate=gate, update=update), draw(B, I), draw(B, H)
        cell.z.b.data = np.full(H, bias)
        kept = np.allclose(cell.step(Tensor(x), Tensor(h)).numpy(), h, atol=1e-9)
        assert kept == ((update == "keep") == (bias > 0))


def held(cell: Any, **values: int) -> None:
    """Fixes gates at 0 or 1, whatever they read."""
    for name, value in values.items():
        gate = getattr(cell, name)
        gate.U.data, gate.W.data = np.zeros((I, H)), np.zeros((H, H))
        gate.b.data = np.full(H, 1e3 if value else -1e3)


def shared(cell: Any, gate: str, plain: Any) -> None:
    """Gives a gate of the cell the weights of the plain network."""
    for part in "UWb":
        getattr(getattr(cell, gate), part).data = getattr(plain.n, part).data.copy()


@pytest.mark.parametrize("reset", ["after", "before"])
def test_a_gru_with_reset_gate_one_and_update_gate_zero_is_the_plain_network(reset: str) -> None:
    plain, gru, x, h = make(RNNCell), make(GRUCell, reset=reset), draw(B, I), draw(B, H)
    held(gru, r=1, z=0)
    shared(gru, "n", plain)
    expected = plain.step(Tensor(x), Tensor(h)).numpy()
    np.testing.assert_array_equal(gru.step(Tensor(x), Tensor(h)).numpy(), expected)


def test_an_lstm_with_input_and_output_gates_one_and_forget_gate_zero_squashes_the_plain_network_once_more() -> None:
    plain, lstm, x, h, c = make(RNNCell), make(LSTMCell), draw(B, I), draw(B, H), draw(B, H, seed=2)
    held(lstm, i=1, f=0, o=1)
    shared(lstm, "g", plain)
    once = plain.step(Tensor(x), Tensor(h)).numpy()
    found = lstm.step(Tensor(x), Tensor(h), Tensor(c))[0].numpy()
    np.testing.assert_array_equal(found, np.tanh(once))
    assert np.abs(found - once).max() > 0.1


# --- Derivatives --------------------------------------------------------------------------------------------


@every_cell
def test_derivatives_by_every_weight_input_and_state_are_right(kind: type[Cell], options: dict[str, Any]) -> None:
    small: Any = randomised(kind(1, 2, dtype=np.float64, **options), seed=3)
    states = [draw(2, 2, seed=4 + i) for i in range(len(small.states))]
    gradcheck_of_everything(small, lambda cell, x, *s: cell.advance(x, s), draw(2, 1), *states, order=2)


# --- Sizes and initial weights ------------------------------------------------------------------------------


def test_parameter_counts_are_those_of_one_bias_per_gate() -> None:
    assert RNNCell(32, 32).size == 2080
    assert GRUCell(32, 32).size == 6240
    assert GRUCell(32, 32, recurrent_bias=True).size == 6240 + 32
    assert LSTMCell(32, 32).size == 8320


def test_weights_are_named_by_gate_and_shaped_from_inputs_to_units() -> None:
    shapes = {name: p.shape for name, p in LSTMCell(I, H).named_parameters()}
    assert shapes == {
        f"{gate}.{name}": shape for gate in "ifog" for name, shape in [("U", (I, H)), ("W", (H, H)), ("b", (H,))]
    }
    assert [name for name, _ in GRUCell(I, H, recurrent_bias=True).named_parameters()][-1] == "n.c"
    assert LSTMCell(I, H).f.W.name == "f.W"


@every_cell
def test_recurrent_weights_start_orthogonal_input_weights_glorot_uniform_and_biases_zero(
    kind: type[Cell], options: dict[str, Any]
) -> None:
    cell = kind(40, 60, dtype=np.float64, **options)
    limit = math.sqrt(6 / (40 + 60))
    for name in cell.gates.split():
        gate = getattr(cell, name)
        np.testing.assert_allclose(gate.W.data.T @ gate.W.data, np.eye(60), atol=1e-13)
        assert 0.99 * limit < np.abs(gate.U.data).max() <= limit
        assert abs(gate.U.data.std() / (limit / math.sqrt(3)) - 1) < 0.05
        np.testing.assert_array_equal(gate.b.data, float(kind is LSTMCell and name == "f"))
    drawn = [p.data for p in cell.parameters() if p.data.ndim == 2]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(drawn, 2))


def test_the_tutorials_initial_weights_stay_within_one_over_the_root_of_the_fan_in() -> None:
    cell = GRUCell(40, 60, init="wildml", dtype=np.float64)
    for gate in (cell.z, cell.r, cell.n):
        for weight, fan_in in [(gate.U.data, 40), (gate.W.data, 60)]:
            assert 0.99 / math.sqrt(fan_in) < np.abs(weight).max() <= 1 / math.sqrt(fan_in)


@every_cell
def test_the_same_generator_gives_the_same_weights_in_every_dtype(kind: type[Cell], options: dict[str, Any]) -> None:
    one, two = (kind(I, H, rng=np.random.default_rng(7), dtype=d, **options) for d in (np.float32, np.float64))
    other = kind(I, H, rng=np.random.default_rng(8), **options)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert (a.dtype, b.dtype) == (np.dtype("f4"), np.dtype("f8"))
        np.testing.assert_array_equal(a.data, b.data.astype(np.float32))
    assert not np.array_equal(one.parameters()[0].data, other.parameters()[0].data)


def test_the_initial_state_is_zeros_in_the_dtype_of_the_weights() -> None:
    states = LSTMCell(I, H, dtype=np.float64).initial_state(B)
    assert [(s.shape, s.dtype, bool(s.numpy().any())) for s in states] == [((B, H), np.dtype("f8"), False)] * 2


# --- Cells of the user's own --------------------------------------------------------------------------------


class Peephole(Cell):
    """Gers & Schmidhuber 2000: the gates see the cell; and a third state that counts."""

    gates = "i f o g"
    state = "h c count"

    def setup(self, scale: float = 0.1) -> None:
        assert self.rng is not None
        for name in ("pi", "pf", "po"):
            setattr(self, name, Parameter(scale * self.rng.standard_normal(self.hidden_size)))

    def step(self, x: Tensor, h: Tensor, c: Tensor, count: Tensor) -> tuple[Tensor, ...]:
        i, f = sigmoid(self.i(x, h) + self.pi * c), sigmoid(self.f(x, h) + self.pf * c)
        c = f * c + i * tanh(self.g(x, h))
        o = sigmoid(self.o(x, h) + self.po * c)
        return o * tanh(c), c, count + 1

    def output(self, *state: Tensor) -> Tensor:
        return state[0] * 2


def test_a_users_cell_has_its_own_parameters_options_states_and_output() -> None:
    cell = Peephole(I, H, scale=0.5, dtype=np.float64)
    names = [name for name, _ in cell.named_parameters()]
    assert names[-3:] == ["pi", "pf", "po"]
    assert {p.dtype for p in cell.parameters()} == {np.dtype(np.float64)}  # what setup made in float64, float32...
    assert {p.dtype for p in Peephole(I, H).parameters()} == {np.dtype(np.float32)}  # ... is cast to the cell's
    assert cell.rng is None  # the generator is for the initial weights alone
    assert cell.states == ["h", "c", "count"]
    state = cell.advance(Tensor(draw(B, I)), cell.initial_state(B))
    np.testing.assert_array_equal(state[2].numpy(), np.ones((B, H)))
    np.testing.assert_array_equal(cell.output(*state).numpy(), 2 * state[0].numpy())
    assert cell.output_size == H


@pytest.mark.parametrize("order", [1, 2])
def test_a_users_cell_is_differentiated_like_a_built_in_one(order: int) -> None:
    cell = randomised(Peephole(2, 2, dtype=np.float64))
    states = [draw(2, 2, seed=i) for i in range(3)]
    gradcheck_of_everything(cell, lambda cell, x, *s: cell.advance(x, s), draw(2, 2), *states, order=order)


def test_a_step_may_return_its_only_state_bare_or_in_a_tuple() -> None:
    class InTuple(RNNCell):
        def step(self, x: Tensor, h: Tensor) -> Any:
            return (tanh(self.n(x, h)),)

    x, h = Tensor(draw(B, I)), Tensor(draw(B, H))
    bare, in_tuple = (kind(I, H, dtype=np.float64).advance(x, (h,)) for kind in (RNNCell, InTuple))
    assert len(bare) == len(in_tuple) == 1
    np.testing.assert_array_equal(bare[0].numpy(), in_tuple[0].numpy())


def test_a_mask_multiplies_the_state_where_gates_read_it_and_nowhere_else() -> None:
    cell, x, h = make(GRUCell, reset="before"), draw(B, I), draw(B, H)
    masks = [(draw(B, H, seed=seed) > 0) / 0.5 for seed in (9, 10, 11)]
    (Uz, Wz, bz), (Ur, Wr, br), (Un, Wn, bn) = split(cell.z), split(cell.r), split(cell.n)
    z, r = logistic(x @ Uz + (masks[0] * h) @ Wz + bz), logistic(x @ Ur + (masks[1] * h) @ Wr + br)
    expected = (1 - z) * np.tanh(x @ Un + (masks[2] * r * h) @ Wn + bn) + z * h
    before = cell.step(Tensor(x), Tensor(h)).numpy()
    masked = cell.masked([Tensor(mask) for mask in masks])
    np.testing.assert_allclose(masked.step(Tensor(x), Tensor(h)).numpy(), expected, rtol=1e-13)
    np.testing.assert_array_equal(cell.step(Tensor(x), Tensor(h)).numpy(), before)  # the cell itself is untouched
    assert all(a is b for a, b in zip(masked.parameters(), cell.parameters(), strict=True))


def test_every_op_of_a_gate_carries_the_gates_name() -> None:
    out = LSTMCell(I, H).step(*(Tensor(np.ones((B, n), np.float32)) for n in (I, H, H)))[0]
    printed = str(Tape(out))
    assert all(f"gate {name}" in printed or f"gate={name}" in printed for name in "ifog")


# --- Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RNNCell, {"nonlinearity": "sine"}, "nonlinearity must be one of tanh, relu, got 'sine'"),
        (GRUCell, {"reset": "never"}, "reset must be one of after, before, got 'never'"),
        (GRUCell, {"update": "both"}, "update must be one of keep, write, got 'both'"),
        (GRUCell, {"gate": "tanh"}, "gate must be one of sigmoid, hard_sigmoid, got 'tanh'"),
        (LSTMCell, {"init": "zeros"}, "init must be one of default, wildml, got 'zeros'"),
    ],
)
def test_an_option_with_an_unknown_value_is_refused_with_the_values_it_has(
    kind: type[Cell], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(I, H, **options)


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell])
def test_an_unknown_option_is_refused_by_name(kind: type[Cell]) -> None:
    with pytest.raises(TypeError, match=rf"{kind.__name__}: its options are .*; got .* 'peepholes'"):
        kind(I, H, peepholes=True)


@pytest.mark.parametrize(
    ("declared", "error", "told"),
    [
        ({"gates": ["n"]}, TypeError, r"Odd.gates must be a string of names, got \['n'\]"),
        ({"gates": "step n"}, ValueError, "Odd.gates: 'step' is an attribute of every cell"),
        ({"gates": "n rng"}, ValueError, "Odd.gates: 'rng' is an attribute of every cell"),
        ({"gates": "n n:x"}, ValueError, "Odd.gates: 'n' is twice"),
        ({"gates": "n-1"}, ValueError, "Odd.gates: 'n-1' is not a name"),
        ({"gates": "n", "state": "h h"}, ValueError, "Odd.state: 'h' is twice"),
        ({"gates": "n:q"}, ValueError, "gate 'n' must read xh, x or h, got 'q'"),
    ],
)
def test_names_that_gates_and_states_cannot_have_are_refused(declared: Any, error: Any, told: str) -> None:
    with pytest.raises(error, match=told):
        type("Odd", (Cell,), declared)(I, H)


def test_a_cell_without_parameters_begins_in_its_dtype() -> None:
    class Bare(Cell):
        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(h * 0.5 + x.sum(axis=1, keepdims=True))

    assert Bare(I, H, dtype=np.float64).initial_state(B)[0].dtype == np.float64
    assert Bare(I, H).astype(np.float64).initial_state(B)[0].dtype == np.float64
    outputs, _ = Recurrent(Bare, I, H, dtype=np.float64)(Tensor(draw(3, B, I)))
    assert outputs.shape == (3, B, H)


def test_a_gate_that_reads_some_rows_cannot_have_a_mask_for_all_and_says_so() -> None:
    class RowByRow(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.concatenate([ops.tanh(self.n(x[b : b + 1], h[b : b + 1])) for b in range(len(x))])

    layer = Recurrent(RowByRow, I, H, dtype=np.float64, recurrent_dropout=0.5)
    with pytest.raises(ValueError, match="gate 'n': with recurrent dropout it must read the whole batch of 4 rows"):
        layer(Tensor(draw(3, B, I)), rng=np.random.default_rng(0))


def test_a_mistake_inside_setup_is_shown_as_it_is() -> None:
    class Careless(Cell):
        def setup(self) -> None:
            self.three = "three" + 3  # type: ignore[operator]  # the mistake

    with pytest.raises(TypeError, match="concatenate"):
        Careless(I, H)


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 5), "input_size"), ((3, -1), "hidden_size"), ((3, 2.0), "hidden_size")]
)
def test_a_size_below_one_or_not_whole_is_refused_by_name(sizes: tuple[Any, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got"):
        GRUCell(*sizes)


def test_a_seed_in_the_place_of_a_generator_is_refused() -> None:
    with pytest.raises(TypeError, match=r"rng must be a numpy\.random\.Generator.*got int"):
        GRUCell(I, H, rng=3)  # type: ignore[arg-type]  # the mistake


def test_a_cell_without_a_step_says_which_method_it_needs() -> None:
    class Empty(Cell):
        state = "h c"

    with pytest.raises(TypeError, match=r"Empty must define step\(self, x, h, c\)"):
        Empty(I, H).advance(Tensor(draw(B, I)), (Tensor(draw(B, H)),) * 2)


@pytest.mark.parametrize("returned", [1, 3])
def test_a_step_that_returns_another_number_of_states_is_refused(returned: int) -> None:
    class Wrong(Cell):
        state = "h c"

        def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
            return h if returned == 1 else (h,) * returned

    with pytest.raises(TypeError, match=rf"Wrong.step must return 2 state\(s\) \(h c\), got {returned}"):
        Wrong(I, H).advance(Tensor(draw(B, I)), (Tensor(draw(B, H)),) * 2)


def test_a_mask_needs_a_gate_to_work_in() -> None:
    class Leaky(Cell):
        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return 0.9 * h + ops.sum(x, axis=-1, keepdims=True)

    deep = HighwayRNNCell(2, 3, depth=3)
    masked = deep.masked([Tensor(np.zeros((1, 3), np.float32))] * 6)
    assert [gate.mask is not None for gate in masked.all_gates()] == [True] * 6
    assert all(gate.mask is None for gate in deep.all_gates())
    assert masked.deeper[0][0].W is deep.deeper[0][0].W
    with pytest.raises(ValueError, match="recurrent_dropout needs a gate that reads h, and Leaky has none"):
        Leaky(I, H).masked([])


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (lambda h: h.numpy(), "ndarray"),
        (lambda h: h[:1], r"float32 of \(1, 4\)"),
        (lambda h: h * np.ones(4), r"float64 of \(2, 4\)"),
        (lambda h: None, "NoneType"),
    ],
)
def test_a_step_that_returns_no_tensor_of_the_states_shape_and_dtype_is_told_so(wrong: Any, got: str) -> None:
    class Wrong(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Any:
            return wrong(self.n(x, h))

    with pytest.raises(TypeError, match=rf"Wrong.step must return h as a Tensor of float32 of \(2, 4\), got {got}"):
        Recurrent(Wrong, 3, 4)(np.ones((1, 2, 3), np.float32))


@pytest.mark.parametrize("cell", [RNNCell, GRUCell, LSTMCell])
def test_a_cell_called_step_by_step_is_the_layer(cell: type[Cell]) -> None:
    rng = np.random.default_rng(0)
    layer, xs = Recurrent(cell, 2, 3, dtype=np.float64, rng=rng), rng.standard_normal((4, 2, 2))
    outputs, last = layer(xs)
    own = layer.cells[0]
    state: Any = ()
    for x, expected in zip(map(Tensor, xs), outputs.numpy(), strict=True):
        found = own(x, *state)
        state = found if isinstance(found, tuple) else (found,)
        np.testing.assert_allclose(state[0].numpy(), expected, rtol=1e-12)
    for a, b in zip(state, last, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy()[0], rtol=1e-12)


def test_a_cell_called_with_another_number_of_states_says_how_many_it_has() -> None:
    with pytest.raises(TypeError, match=r"LSTMCell: 2 state\(s\) \(h c\), or none to begin with, got 1"):
        LSTMCell(2, 3)(Tensor(np.ones((1, 2))), Tensor(np.ones((1, 3))))
