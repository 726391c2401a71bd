"""Cells that nobody thought of, compiled, in every layer: the plain loop's values and derivatives."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.buffers import SMALLEST
from tinygrad_rnn.loops import ScanWarning, compiling, splitting, unroll
from tinygrad_rnn.models import GRU, LSTM, Cell, LSTMCell, Recurrent
from tinygrad_rnn.tensor import Parameter, Tensor

Step = Callable[[Any, Any], tuple[Any, Any]]
Values = list[Any]


def close(a: Any, b: Any, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def all_close(first: Values, second: Values, tolerance: float = 1e-10) -> None:
    for a, b in zip(first, second, strict=True):
        close(a, b, tolerance)


def leaves_of(tree: Any) -> list[Any]:
    """The Tensors in nested tuples."""
    return [leaf for part in tree for leaf in leaves_of(part)] if isinstance(tree, tuple) else [tree]


def gradients(results: list[Any], leaves: list[Any], seed: int = 0) -> Values:
    """Those of the leaves, each result weighted at random."""
    for leaf in leaves:
        leaf.grad = None
    rng = np.random.default_rng(seed)
    loss = sum((r * rng.standard_normal(r.shape)).sum() for r in results)
    if isinstance(loss, Tensor) and loss.requires_grad:
        loss.backward()
    return [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in leaves]


def both(work: Callable[[], Values], quiet: bool = True) -> None:
    """What `work` returns is the same, compiled and as a plain loop; and it is compiled without a word."""
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("error", ScanWarning)
        fast = work()
    with tg.compiled(False):
        plain = work()
    all_close(fast, plain)


# --- Random cells ----------------------------------------------------------------------------------------------


class RandomCell(Cell):
    """A random expression over gates, states and Parameters of its own."""

    plan: tuple[tuple[int, int, int], ...] = ()
    ends: tuple[int, ...] = ()
    product_out = False

    def setup(self) -> None:
        rng, size = self.rng, self.hidden_size
        assert rng is not None
        self.peep, self.gain, self.shift = (Parameter(rng.standard_normal(size)) for _ in range(3))
        self.mix = Parameter(0.5 * rng.standard_normal((size, size)))

    def value(self, kind: int, x: Tensor, a: Any, b: Any, gates: list[Any], number: int) -> Any:
        first, second = gates[number % len(gates)], gates[(number + 1) % len(gates)]
        if kind == 0:
            return ops.sigmoid(first(x, a))
        if kind == 1:  # a gate of a gated state
            return ops.tanh(first(x, ops.sigmoid(second(x, b)) * a))
        if kind == 2:
            return ops.sigmoid(first(x, a) + self.peep * b)
        if kind == 3:  # layer norm
            v = first(x, a)
            v = v - v.mean(axis=-1, keepdims=True)
            return ops.tanh(v / ops.sqrt((v * v).mean(axis=-1, keepdims=True) + 0.1) * self.gain + self.shift)
        if kind == 4:
            return ops.tanh(a * b + self.shift)
        if kind == 5:
            z = ops.sigmoid(first(x, a))
            return (1 - z) * ops.tanh(second(x, b)) + z * b
        if kind == 6:
            return ops.where(a > self.shift, b, 0.3 * a)
        if kind == 7:
            return ops.softmax(first(x, a) - second(x, b))
        if kind == 8:
            half = self.hidden_size // 2
            return ops.concatenate([b[:, half:], ops.tanh(a)[:, :half]], axis=1)
        if kind == 9:
            return ops.tanh(first(x, a) + second(x, b) + a @ self.mix)
        if kind == 10:  # two products of one sum, and one of the input alone
            return ops.tanh(first.recurrent(ops.tanh(a)) + second.recurrent(ops.tanh(b * 2)) + first.input(x))
        return ops.tanh(ops.einsum("bh,h->bh", ops.clip(a, -0.7, 0.7), self.gain) - ops.square(b))

    def step(self, x: Tensor, *state: Tensor) -> Any:
        gates = [getattr(self, name) for name in self.gates.split()]
        pool = list(state)
        for number, (kind, i, j) in enumerate(self.plan):
            pool.append(self.value(kind, x, pool[-1 - i % len(pool)], pool[-1 - j % len(pool)], gates, number))
        return tuple(pool[-1 - end % len(pool)] for end in self.ends)

    def output(self, *state: Tensor) -> Tensor:
        return state[0] * state[-1] if self.product_out else state[-1]


@st.composite
def random_cells(draw: st.DrawFn) -> type[Cell]:
    """A class of cells."""
    line = st.tuples(st.integers(0, 11), st.integers(0, 9), st.integers(0, 9))
    count = draw(st.integers(1, 3))
    return type(
        "Random",
        (RandomCell,),
        {
            "gates": " ".join("pqrs"[: draw(st.integers(1, 4))]),
            "state": " ".join("hcm"[:count]),
            "plan": tuple(draw(st.lists(line, min_size=1, max_size=6))),
            "ends": tuple(draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))),
            "product_out": draw(st.booleans()),
        },
    )


@dataclass
class Case:
    """A layer of random cells and what it is called with."""

    cell: type[Cell]
    sizes: tuple[int, int, int, int]
    layers: int
    directions: int
    lengths: Any
    carried: bool
    seed: int

    def layer(self, **options: Any) -> Recurrent:
        rng = np.random.default_rng(self.seed)
        _, _, features, hidden = self.sizes
        sizes = (self.cell, features, hidden, self.layers, self.directions == 2)
        if self.layers == 1:  # it stands between layers
            options.pop("dropout", None)
        return Recurrent(*sizes, dtype=np.float64, rng=rng, **options)

    def inputs(self) -> tuple[Tensor, Any]:
        rng = np.random.default_rng(self.seed + 1)
        steps, batch, features, hidden = self.sizes
        xs = Tensor(rng.standard_normal((steps, batch, features)), requires_grad=True)
        shape = (self.layers * self.directions, batch, hidden)
        names = self.cell.state.split()
        state = tuple(Tensor(rng.standard_normal(shape), requires_grad=True) for _ in names)
        return xs, state if self.carried else None

    def run(self, layer: Recurrent, noise: int | None = None) -> Values:
        """Outputs, last states, and the gradients of inputs, initial states and all Parameters."""
        xs, state = self.inputs()
        outputs, last = layer(xs, state, self.lengths, None if noise is None else np.random.default_rng(noise))
        results = [outputs, *leaves_of(last)]
        leaves = [xs, *(state or ()), *layer.parameters()]
        return [r.numpy() for r in results] + gradients(results, leaves)


@st.composite
def cases(draw: st.DrawFn, most: int = 5, directions: int = 2, layers: int = 2, ragged: bool = True) -> Case:
    sizes = draw(st.tuples(st.integers(1, most), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)))
    lengths = None
    if ragged and draw(st.booleans()):
        lengths = np.array(draw(st.lists(st.integers(0, sizes[0]), min_size=sizes[1], max_size=sizes[1])))
    return Case(
        draw(random_cells()),
        sizes,
        draw(st.integers(1, layers)),
        draw(st.integers(1, directions)),
        lengths,
        draw(st.booleans()),
        draw(st.integers(0, 10**6)),
    )


options = st.fixed_dictionaries(
    {},
    optional={
        "residual": st.just(True),
        "dropout": st.just(0.4),
        "recurrent_dropout": st.just(0.4),
        "zoneout": st.just(0.3),
    },
)


@part_of_the_examples(0.5)
@given(cases(), options, st.none() | st.integers(0, 99))
def test_a_layer_of_random_cells_is_that_of_the_plain_loop(case: Case, options: Any, noise: int | None) -> None:
    layer = case.layer(**options)
    both(lambda: case.run(layer, noise))


@part_of_the_examples(0.5)
@given(cases(most=6), st.integers(1, 7), st.integers(1, 7), st.none() | st.integers(0, 9), st.booleans())
def test_checkpoints_change_neither_values_nor_gradients(
    case: Case, every: int, k: int, noise: int | None, cut: bool
) -> None:
    truncate = k if cut else None
    plain = case.layer(zoneout=0.2, truncate=truncate)
    spare = case.layer(zoneout=0.2, truncate=truncate, checkpoint_every=every)
    all_close(case.run(plain, noise), case.run(spare, noise))
    both(lambda: case.run(spare, noise))


# --- What a layer must be, whatever its cell -------------------------------------------------------------------


@part_of_the_examples(0.5)
@given(cases(directions=1), st.integers(1, 4))
def test_two_halves_with_the_carried_state_have_the_values_and_gradients_of_the_whole(case: Case, cut: int) -> None:
    cut = min(cut, case.sizes[0])
    layer, lengths = case.layer(), case.lengths

    def halves() -> Values:
        xs, state = case.inputs()
        early, middle = layer(xs[:cut], state, None if lengths is None else np.minimum(lengths, cut))
        late, last = layer(xs[cut:], middle, None if lengths is None else np.maximum(lengths - cut, 0))
        results = [ops.concatenate([early, late]), *last]
        return [r.numpy() for r in results] + gradients(results, [xs, *(state or ()), *layer.parameters()])

    all_close(case.run(layer), halves())


@given(cases())
def test_a_row_of_a_batch_of_random_cells_knows_nothing_of_the_others(case: Case) -> None:
    layer = case.layer()
    xs, state = case.inputs()
    outputs, last = layer(xs, state, case.lengths)
    slopes = gradients([(outputs * outputs).sum()], [xs])[0]
    for row in range(case.sizes[1]):
        part = slice(row, row + 1)
        alone = Tensor(xs.numpy()[:, part], requires_grad=True)
        own = None if state is None else tuple(s.detach()[:, part] for s in state)
        out, end = layer(alone, own, None if case.lengths is None else case.lengths[part])
        close(out.numpy(), outputs.numpy()[:, part])
        all_close([e.numpy() for e in end], [s.numpy()[:, part] for s in last])
        close(gradients([(out * out).sum()], [alone])[0], slopes[:, part])


@part_of_the_examples(0.5)
@given(cases(), st.sampled_from([np.nan, np.inf, -1e300, 7.0]))
def test_whatever_stands_in_the_padding_random_cells_do_not_see_it(case: Case, rubbish: float) -> None:
    steps, batch, features, _ = case.sizes
    case.lengths = lengths = np.arange(batch) % (steps + 1) if case.lengths is None else case.lengths
    layer = case.layer()
    padding = np.broadcast_to((np.arange(steps)[:, None] >= lengths)[..., None], (steps, batch, features))
    clean = case.run(layer)
    assert not clean[1 + len(case.cell.state.split())][padding].any()

    def dirty() -> tuple[Tensor, Any]:
        xs, state = Case.inputs(case)
        xs.data[padding] = rubbish
        return xs, state

    case.inputs = dirty  # type: ignore[method-assign]
    for found, expected in zip(case.run(layer), clean, strict=True):
        np.testing.assert_array_equal(found, expected)


# --- Truncation ------------------------------------------------------------------------------------------------


def chunked(step: Step, state: Any, xs: Tensor, k: int) -> tuple[Any, Any]:
    """The plain loop, written out, with a detached state at every k-th step."""
    ys = []
    for t, x in enumerate(ops.unstack(xs)):
        if t and t % k == 0:
            state = tuple(s.detach() for s in state)
        state, y = step(state, x)
        ys.append(y)
    return state, ops.stack(ys)


@given(st.integers(1, 7), st.integers(1, 9), st.none() | st.integers(1, 9), st.integers(0, 99))
def test_a_truncated_scan_is_a_loop_in_which_every_kth_state_is_detached(
    steps: int, k: int, every: int | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    cell = LSTMCell(2, 3, dtype=np.float64, rng=rng)
    xs = Tensor(rng.standard_normal((steps, 2, 2)), requires_grad=True)
    state = tuple(Tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(2))

    def step(old: Any, x: Any) -> Any:
        new = cell.advance(x, old)
        return new, new[0] * old[1]

    def results(run: Callable[[], tuple[Any, Any]]) -> Values:
        last, ys = run()
        return [r.numpy() for r in (*last, ys)] + gradients([*last, ys], [xs, *state, *cell.parameters()])

    expected = results(lambda: chunked(step, state, xs, k))
    for on in (True, False):
        with tg.compiled(on):
            all_close(results(lambda: tg.scan(step, state, xs, truncate=k, checkpoint_every=every)), expected)


@part_of_the_examples(0.5)
@given(cases(most=6, directions=1), st.integers(1, 7))
def test_a_truncated_layer_is_one_that_is_called_chunk_by_chunk_with_detached_states(case: Case, k: int) -> None:
    layer = case.layer()

    def chunks() -> Values:
        xs, state = case.inputs()
        parts: list[Tensor] = []
        last = state
        for start in range(0, case.sizes[0], k):
            if start:  # the last state of a row that has ended keeps its gradient, as if the row were alone
                goes_on = np.ones(case.sizes[1], bool) if case.lengths is None else case.lengths > start
                last = tuple(ops.where(goes_on[:, None], s.detach(), s) for s in last)
            part = xs[start : start + k]
            lengths = None if case.lengths is None else np.clip(case.lengths - start, 0, len(part))
            ys, last = layer(part, last, lengths)
            parts.append(ys)
        results = [ops.concatenate(parts), *last]
        return [r.numpy() for r in results] + gradients(results, [xs, *(state or ()), *layer.parameters()])

    truncated = case.layer(truncate=k)
    all_close(case.run(truncated), chunks())
    both(lambda: case.run(truncated))


@pytest.mark.parametrize("option", ["truncate", "checkpoint_every"])
@pytest.mark.parametrize("k", [0, -1, 2.0, "2"])
def test_a_part_without_steps_is_refused(option: str, k: Any) -> None:
    xs = Tensor(np.ones((3, 1)))
    with pytest.raises(ValueError, match=f"{option} must be a whole number"):
        tg.scan(lambda s, x: (s + x, s), Tensor(np.zeros(1)), xs, **{option: k})
    with pytest.raises(ValueError, match=option):
        GRU(2, 3, **{option: k})


def test_checkpoints_take_the_memory_of_a_few_states_and_of_one_part() -> None:
    layer = LSTM(4, 32, dtype=np.float64)
    xs = np.random.default_rng(0).standard_normal((64, 8, 4))

    def saved(every: int | None) -> int:
        layer.checkpoint_every = every
        node = layer(xs)[0].node
        assert node is not None
        found: dict[int, int] = {}
        waiting = [node.parents[0].saved]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                waiting += value.values()
            elif isinstance(value, tuple | list):
                waiting += value
            elif isinstance(value, np.ndarray):
                found[id(value)] = value.nbytes
        return sum(found.values())

    assert saved(8) < saved(None) / 4


# --- Derivatives of derivatives, and of a part -----------------------------------------------------------------


@given(cases(most=4, directions=1, ragged=False), st.integers(0, 99))
def test_second_derivatives_of_layers_of_random_cells_are_those_of_the_plain_loop(case: Case, seed: int) -> None:
    layer = case.layer()
    xs = case.inputs()[0].detach()
    direction = np.random.default_rng(seed).standard_normal(xs.shape)

    def loss(x: Tensor) -> Any:
        return (layer(x)[0] ** 2).sum()

    def slopes() -> Values:
        layer.zero_grad()
        steepness = (tg.grad(loss)(xs) ** 2).sum()
        if steepness.requires_grad:
            steepness.backward()
        parameters = [np.zeros(p.shape) if p.grad is None else p.grad for p in layer.parameters()]
        return [tg.hvp(loss, xs, direction).numpy(), *parameters]

    both(slopes)


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("extra", [{}, {"truncate": 2}, {"checkpoint_every": 2}])
def test_the_hessian_of_a_layer_times_a_vector_is_the_difference_of_two_gradients(
    kind: Any, extra: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    layer = kind(2, 3, 2, dtype=np.float64, rng=rng, **extra)
    xs, v = rng.standard_normal((2, 4, 2, 2))
    if "truncate" in extra:
        both(lambda: [tg.hvp(lambda x: (layer(x)[0] ** 2).sum(), xs, v).numpy()])
        return
    slope = tg.grad(lambda x: (layer(x)[0] ** 2).sum())
    numeric = (slope(Tensor(xs + 1e-5 * v)).numpy() - slope(Tensor(xs - 1e-5 * v)).numpy()) / 2e-5
    close(tg.hvp(lambda x: (layer(x)[0] ** 2).sum(), xs, v).numpy(), numeric, 1e-6)


def test_a_gradient_asked_for_by_one_thing_alone_is_the_one_among_all() -> None:
    rng = np.random.default_rng(0)
    layer = LSTM(2, 3, dtype=np.float64, rng=rng)
    data = rng.standard_normal((4, 2, 2))
    xs = Tensor(data, requires_grad=True)
    (layer(xs)[0] ** 2).sum().backward()
    close(tg.grad(lambda x: (layer(x)[0] ** 2).sum())(Tensor(data)).numpy(), xs.grad)
    cell = layer.cells[0]
    for name in "ifog":
        for weight in "UWb":
            gate = getattr(cell, name)
            whole = getattr(gate, weight)
            # Everything else is frozen: `whole` alone is on the tape.
            frozen = [p for p in layer.parameters() if p is not whole]
            nodes = [p.node for p in frozen]
            expected, whole.grad = whole.grad, None
            for p in frozen:
                p.node = None
            try:
                (layer(data)[0] ** 2).sum().backward()
            finally:
                for p, node in zip(frozen, nodes, strict=True):
                    p.node = node
            close(whole.grad, expected)


def test_gradients_of_captured_values_that_are_on_the_tape_reach_what_they_were_made_from() -> None:
    rng = np.random.default_rng(0)
    raw, v = (Parameter(rng.standard_normal((3, 3))) for _ in range(2))
    frozen = Parameter(rng.standard_normal(3))
    xs, start = rng.standard_normal((4, 2, 3)), rng.standard_normal((2, 3))

    def run() -> Values:
        tied = ops.tanh(raw @ v) * 0.5  # made outside, on the tape, and used twice
        seen = Tensor(xs)

        def step(s: Any, x: Any) -> Any:
            new = ops.tanh(s @ tied + x @ tied.T + frozen.detach())
            return new, new * v[0]

        last, ys = tg.scan(step, Tensor(start), seen)
        return [last.numpy(), ys.numpy(), *gradients([last, ys, tied], [raw, v, frozen])]

    both(run)
    assert not run()[-1].any()


def test_without_a_tape_nothing_is_saved_and_the_numbers_are_the_same() -> None:
    layer = LSTM(2, 3, 2, True, dtype=np.float64)
    xs = np.random.default_rng(0).standard_normal((5, 2, 2))
    with tg.no_grad():
        outputs, state = layer(xs)
    assert not any(t.requires_grad for t in (outputs, *state))
    again, last = layer(xs)
    all_close([outputs.numpy(), *(s.numpy() for s in state)], [again.numpy(), *(s.numpy() for s in last)])


# --- Steps that run as a plain loop ----------------------------------------------------------------------------


def heard(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = work()
    return result, [str(w.message) for w in caught if w.category is ScanWarning]


def halting(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    out = s + x
    while float(out.sum()) > 2.0:  # as often as the numbers want
        out = out * 0.5
    return out, out


@pytest.mark.parametrize("extra", [{}, {"truncate": 2}, {"checkpoint_every": 2}])
def test_control_flow_on_numbers_runs_as_a_plain_loop_and_names_its_line_once(extra: dict[str, Any]) -> None:
    steps = 3 + len(str(extra))  # another message for each: shapes are not part of it
    xs = Tensor(np.linspace(0.5, 3.0, steps)[:, None], requires_grad=True)

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return halting(s, x)

    step.__qualname__ = f"step_with_{extra}"

    def work() -> Values:
        last, ys = tg.scan(step, Tensor(np.zeros(1)), xs, **extra)
        return [last.numpy(), ys.numpy(), *gradients([last, ys], [xs])]

    found, first = heard(work)
    _, second = heard(work)
    assert len(first) == 1
    assert "as often as the numbers want" in first[0]
    assert not second
    with tg.compiled(False):
        all_close(found, work())


def test_a_python_number_for_an_output_is_an_array_of_it() -> None:
    xs = Tensor(np.ones((3, 2)))
    (last, ys), said = heard(lambda: tg.scan(lambda s, x: (s + x, 1.5), Tensor(np.zeros(2)), xs))
    assert not said
    close(last.numpy(), [3.0, 3.0])
    close(ys.numpy(), [1.5, 1.5, 1.5])


def test_a_python_number_for_a_state_runs_as_a_plain_loop() -> None:
    xs = Tensor(np.arange(3.0))
    (last, ys), said = heard(lambda: tg.scan(lambda s, x: (0.5, s + x), Tensor(np.zeros(())), xs))
    assert len(said) == 1
    assert last == 0.5
    close(ys.numpy(), [0.0, 1.5, 2.5])


@pytest.mark.parametrize("error", [KeyError("mine"), ZeroDivisionError("mine"), AttributeError("mine")])
def test_an_error_of_a_cell_comes_through_as_it_is(error: Exception) -> None:
    class Wrong(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            raise error

    with pytest.raises(type(error), match="mine"):
        Recurrent(Wrong, 2, 3)(np.ones((2, 1, 2), np.float32))


def test_an_error_in_a_late_step_is_raised_where_it_happens() -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if float(x) > 1.5:
            raise OverflowError("too large")
        return s + x, s

    with pytest.raises(OverflowError, match="too large"):
        heard(lambda: tg.scan(step, Tensor(np.zeros(())), Tensor(np.arange(4.0))))


def test_a_step_of_the_wrong_shape_says_what_the_plain_loop_says() -> None:
    class Grows(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.concatenate([h, h], axis=1)

    layer, xs = Recurrent(Grows, 2, 3), np.ones((2, 1, 2), np.float32)
    for on in (True, False):
        with tg.compiled(on), pytest.raises(TypeError, match=r"Grows.step must return h as a Tensor"):
            layer(xs)


# --- What earlier calls gave, stays ----------------------------------------------------------------------------

SHAPES = [(1, 1, 1, 1), (3, 2, 1, 2), (5, 4, 3, 8), (2, 64, 4, 32), (9, 40, 3, 40), (9, 40, 3, 41)]


@pytest.mark.slow
@pytest.mark.parametrize("every", [None, 2])
def test_results_and_gradients_of_earlier_calls_never_change(every: int | None) -> None:
    assert 9 * 40 * 40 * 8 > SMALLEST  # some lie in memory that is used again
    rng = np.random.default_rng(0)
    held: list[tuple[Any, Any]] = []
    layers = [(LSTM(i, h, 2, True, dtype=np.float64, checkpoint_every=every), t, b, i) for t, b, i, h in SHAPES]
    for _ in range(3):
        for layer, steps, batch, features in layers:
            xs = Tensor(rng.standard_normal((steps, batch, features)), requires_grad=True)
            outputs, state = layer(xs)
            layer.zero_grad()
            (outputs * outputs).sum().backward()
            mine = [outputs.numpy(), *(s.numpy() for s in state), xs.grad, *(p.grad for p in layer.parameters())]
            held += [(array, array.copy()) for array in mine]
    gc.collect()
    for layer, steps, batch, features in layers:
        layer(rng.standard_normal((steps, batch, features)))[0].sum().backward()
    for array, before in held:
        np.testing.assert_array_equal(array, before)


def test_backward_passes_add_up_and_a_retained_tape_can_be_walked_again() -> None:
    rng = np.random.default_rng(0)
    layer = GRU(2, 3, 2, dtype=np.float64, rng=rng)
    xs = Tensor(rng.standard_normal((4, 2, 2)), requires_grad=True)
    leaves = [xs, *layer.parameters()]
    outputs, (last,) = layer(xs)
    loss, other = (outputs * outputs).sum(), (last * 3.0).sum()
    loss.backward(retain=True)
    first = [leaf.grad.copy() for leaf in leaves]
    kept = [leaf.grad for leaf in leaves]
    loss.backward(retain=True)
    all_close([leaf.grad for leaf in leaves], [2 * g for g in first])
    all_close(kept, first)
    other.backward(retain=True)
    twice = [leaf.grad - 2 * g for leaf, g in zip(leaves, first, strict=True)]
    gradients([], leaves)
    (layer(xs)[1][0] * 3.0).sum().backward()
    all_close(twice, [leaf.grad for leaf in leaves])
    loss.backward()
    with pytest.raises(tg.FreedTapeError):
        loss.backward()


def test_gradients_are_arrays_that_the_user_may_change() -> None:
    layer = LSTM(2, 3, dtype=np.float64)
    xs = Tensor(np.random.default_rng(0).standard_normal((4, 2, 2)), requires_grad=True)
    layer(xs)[0].sum().backward()
    grads = [xs.grad, *(p.grad for p in layer.parameters())]
    before = [g.copy() for g in grads]
    for i in range(len(grads)):
        grads[i] += 1.0
        for j, other in enumerate(grads):
            close(other, before[j] + (1.0 if j <= i else 0.0))


def test_buffers_of_a_call_are_let_go_with_it() -> None:
    layer = LSTM(3, 40, dtype=np.float64)
    outputs, _ = layer(np.ones((5, 40, 3)))
    array = weakref.ref(outputs.data)
    outputs.sum().backward()
    del outputs
    assert array() is None


# --- Parameters and Tensors in more than one place -------------------------------------------------------------


def test_a_parameter_that_two_gates_share_gets_both_gradients() -> None:
    class Shared(Cell):
        gates = "a b"

        def setup(self) -> None:
            self.b.W = self.a.W

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            out: Tensor = ops.tanh(self.a(x, h)) * ops.sigmoid(self.b(x, h)) + self.a.b
            return out

    layer = Recurrent(Shared, 2, 3, 2, True, dtype=np.float64)
    xs = np.random.default_rng(0).standard_normal((4, 2, 2))
    both(lambda: gradients([layer(xs)[0]], layer.parameters()))


def test_one_cell_in_both_layers_and_directions_gets_all_gradients() -> None:
    layer = Recurrent(LSTMCell, 3, 3, 3, dtype=np.float64)
    layer.cells = [layer.cells[0]] * 3
    xs = np.random.default_rng(0).standard_normal((4, 2, 3))
    assert len(layer.parameters()) == 12
    both(lambda: gradients([layer(xs)[0]], layer.parameters()))


def test_one_tensor_may_be_inputs_state_and_captured() -> None:
    rng = np.random.default_rng(0)
    both_ = Tensor(rng.standard_normal((3, 3)), requires_grad=True)

    def step(s: Any, x: Any) -> Any:
        new = ops.tanh(s @ both_ + x)
        return new, (new, both_ * s)

    def run() -> Values:
        last, ys = tg.scan(step, both_, ops.stack([both_, both_.T]))
        return [last.numpy(), *(y.numpy() for y in ys), *gradients([last, *ys], [both_])]

    both(run)

    def square() -> Values:  # the very same array for both
        last, ys = tg.scan(lambda s, x: (ops.tanh(s * x.sum()), s * x), both_, both_.reshape((3, 3)))
        return [last.numpy(), ys.numpy(), *gradients([last, ys], [both_])]

    both(square)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::2],
        np.asfortranarray,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
def test_inputs_need_not_lie_in_one_piece(view: Callable[[Any], Any]) -> None:
    layer = GRU(2, 3, dtype=np.float64)
    data = np.random.default_rng(0).standard_normal((4, 4, 2))
    xs, copied = (Tensor(x, requires_grad=True) for x in (view(data), np.array(view(data), order="C")))
    results = [[layer(x)[0].numpy(), *gradients([layer(x)[0]], [x, *layer.parameters()])] for x in (xs, copied)]
    all_close(results[0], results[1])
    both(lambda: gradients([layer(xs)[0]], [xs, *layer.parameters()]))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float16, 1e-2)])
def test_small_floats_stay_what_they_are(dtype: Any, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    layer = LSTM(3, 4, 2, True, zoneout=0.1, dtype=dtype, rng=rng)
    xs = Tensor(rng.standard_normal((5, 2, 3)).astype(dtype), requires_grad=True)
    results = []
    for on in (True, False):
        with tg.compiled(on):
            outputs, state = layer(xs, None, [5, 3])
            layer.zero_grad()
            xs.grad = None
            (outputs * outputs).sum().backward()
            found = [outputs.numpy(), *(s.numpy() for s in state), xs.grad, *(p.grad for p in layer.parameters())]
            assert {x.dtype for x in found} == {np.dtype(dtype)}
            results.append(found)
    all_close(results[0], results[1], tolerance)


def test_states_may_be_numbers_and_vectors() -> None:
    rng = np.random.default_rng(0)
    w, m = Parameter(rng.standard_normal(3)), Parameter(rng.standard_normal((3, 3)))
    xs = Tensor(rng.standard_normal((5, 3)), requires_grad=True)
    number, vector = (Tensor(rng.standard_normal(s), requires_grad=True) for s in ((), (3,)))

    def step(state: Any, x: Any) -> Any:
        a, v = state
        v = ops.tanh(v @ m + m @ x + a)
        return (ops.tanh(a + v @ w), v), (a * 2, v * x, (v @ x,))

    def run() -> Values:
        last, ys = tg.scan(step, (number, vector), xs)
        results = [*last, *leaves_of(ys)]
        return [r.numpy() for r in results] + gradients(results, [number, vector, w, m, xs])

    both(run)


def test_inputs_may_be_whole_numbers_truths_and_tuples_within_tuples() -> None:
    rng = np.random.default_rng(0)
    w = Parameter(rng.standard_normal((2, 3)))
    whole, truths = Tensor(rng.integers(0, 5, (4, 2, 3))), Tensor(rng.random((4, 2, 1)) > 0.5)
    floats = Tensor(rng.standard_normal((4, 2, 3)), requires_grad=True)
    start, counter = Tensor(rng.standard_normal((2, 3)), requires_grad=True), Tensor(np.zeros((2, 1), np.int64))

    def step(state: Any, inputs: Any) -> Any:
        h, (seen,) = state
        n, (f, (b,)), () = inputs
        new = ops.where(b, ops.tanh(h * w + n * 0.1 + f), h)
        seen = seen + b
        return (new, (seen,)), ((new * seen,), h)

    def run() -> Values:
        last, ys = tg.scan(step, (start, (counter,)), (whole, (floats, (truths,)), ()))
        results = leaves_of((last[0], ys))
        assert last[1][0].dtype == np.int64
        return [last[1][0].numpy(), *(r.numpy() for r in results), *gradients(results, [floats, start, w])]

    both(run)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 3, 2, 4), (6, 1, 1, 1), (3, 0, 2, 2), (1, 0, 1, 1)])
@pytest.mark.parametrize("every", [None, 1])
def test_layers_of_the_smallest_sizes_work(sizes: tuple[int, int, int, int], every: int | None) -> None:
    steps, batch, features, hidden = sizes
    layer = LSTM(features, hidden, 2, True, checkpoint_every=every, dtype=np.float64)
    xs = Tensor(np.random.default_rng(0).standard_normal((steps, batch, features)), requires_grad=True)

    def run() -> Values:
        outputs, last = layer(xs, None, [steps] * batch if batch else None)
        results = [outputs, *last]
        return [r.numpy() for r in results] + gradients(results, [xs, *layer.parameters()])

    both(run)


# --- What is read anew -----------------------------------------------------------------------------------------


def test_closures_over_arrays_and_numbers_are_read_anew_at_every_call() -> None:
    scale, shift, axis = np.ones(3), [1.0], [0]
    xs = Tensor(np.arange(12.0).reshape(2, 2, 3))

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = ops.tanh(s * scale + x * shift[0])
        return new, new.sum(axis=axis[0], keepdims=True)

    def run() -> Values:
        last, ys = tg.scan(step, Tensor(np.zeros((2, 3))), xs)
        return [last.numpy(), ys.numpy()]

    both(run)
    scale *= 2.0
    both(run)
    shift[0] = -0.5
    both(run)
    axis[0] = 1
    both(run)


def test_rebinding_weights_between_forward_and_backward_changes_no_gradient() -> None:
    layer = GRU(2, 3, dtype=np.float64)
    xs = np.random.default_rng(0).standard_normal((4, 2, 2))
    expected = [g.copy() for g in gradients([layer(xs)[0]], layer.parameters())]
    outputs, _ = layer(xs)
    for p in layer.parameters():
        p.data = p.data * 100.0
    all_close(gradients([outputs], layer.parameters()), expected)


def test_anomalies_in_a_compiled_layer_are_found_step_by_step() -> None:
    class Roots(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h)) + ops.sqrt(x).sum()

    layer = Recurrent(Roots, 2, 3, dtype=np.float64)
    xs = np.ones((4, 2, 2))
    layer(xs)
    xs[2] = -1.0
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match=r"sqrt produced NaN .*step 2"):
        layer(xs)


def test_scans_within_scans_are_right_when_both_carry_gradients() -> None:
    rng = np.random.default_rng(0)
    w = Parameter(rng.standard_normal((3, 3)))
    inner = Tensor(rng.standard_normal((2, 2, 3)), requires_grad=True)
    xs = Tensor(rng.standard_normal((3, 2, 3)), requires_grad=True)

    def step(s: Any, x: Any) -> Any:
        last, ys = tg.scan(lambda a, b: (ops.tanh(a @ w + b * x), a), s, inner)
        return last, ys.sum(axis=0)

    def run() -> Values:
        last, ys = tg.scan(step, Tensor(np.zeros((2, 3))), xs)
        return [last.numpy(), ys.numpy(), *gradients([last, ys], [w, inner, xs])]

    both(run)


@given(cases(most=4, layers=1, directions=1), st.data())
def test_a_layer_agrees_with_a_loop_over_its_cell_that_knows_no_scan(case: Case, data: st.DataObject) -> None:
    case.lengths = None
    layer = case.layer()
    cell = layer.cells[0]

    def loop() -> Values:
        xs, state = case.inputs()
        now = cell.initial_state(case.sizes[1]) if state is None else tuple(s[0] for s in state)
        ys = []
        for x in ops.unstack(xs):
            now = cell.advance(x, now)
            ys.append(cell.put_out(x, now))
        results = [ops.stack(ys), *(s.reshape((1, *s.shape)) for s in now)]
        return [r.numpy() for r in results] + gradients(results, [xs, *(state or ()), *layer.parameters()])

    all_close(case.run(layer), loop())


def test_the_plain_loop_ignores_checkpoints() -> None:
    step: Step = lambda s, x: (ops.tanh(s + x), s)  # noqa: E731
    xs, start = (Tensor(np.random.default_rng(0).standard_normal(s), requires_grad=True) for s in ((5, 2), (2,)))
    last, ys = unroll(step, start, xs)
    expected = [last.numpy(), ys.numpy(), *gradients([last, ys], [xs, start])]
    for every in (1, 3, 99):
        for on in (True, False):
            last, ys = tg.scan(step, start, xs, compiled=on, checkpoint_every=every)
            all_close([last.numpy(), ys.numpy(), *gradients([last, ys], [xs, start])], expected)


# --- What the merging of operations must leave apart -----------------------------------------------------------

R = np.random.default_rng(3)
A, B, C, D = (Parameter(R.standard_normal((3, 3)) * 0.6) for _ in range(4))
ROW, WIDE = Parameter(R.standard_normal((1, 3))), Parameter(R.standard_normal((3, 5)))
TALL, NARROW = Parameter(R.standard_normal((5, 3)) * 0.5), Parameter(R.standard_normal((3, 1)))


def sums_of_products(s: Any, x: Any, left: Any, right: Any) -> Any:
    """Products of values made in the loop, beside each other."""
    a, b = ops.tanh(s[0]), ops.tanh(s[1] + x)
    return a @ left + b @ right


APART: dict[str, Step] = {
    "functions with other options": lambda s, x: (
        (
            ops.tanh(ops.clip(s[0] @ A, -0.3, 0.3) + ops.clip(s[0] @ B, -0.2, 0.2)),
            ops.clip(s[0] @ C, -0.5, 0.5) + ops.clip(s[0] @ D, -0.1, 0.1) + x,
        ),
        s[1],
    ),
    "functions of each other": lambda s, x: (
        (ops.tanh((p := ops.tanh(s[0] @ A)) * (s[0] @ B)), ops.tanh(ops.tanh(p) + s[0] @ B + s[1])),
        ops.tanh(s[0] @ C + p) * x,
    ),
    "slices that are read by each other in turn": lambda s, x: (
        (
            ops.tanh(s[0] @ A + (q := ops.tanh(s[0] @ B + (r := ops.tanh(s[0] @ C + x)))) * r),
            ops.sigmoid(s[0] @ D) * ops.sigmoid(q),
        ),
        r - q,
    ),
    "products of one shape and a sum of another": lambda s, x: (
        (ops.tanh(ops.tanh(s[0][:1]) @ A + ops.tanh(s[1][:1]) @ B + x), s[0] * 0.5 + s[1] @ C),
        s[0],
    ),
    "sums that are repeated along an axis of a sum": lambda s, x: (
        (ops.tanh((ops.tanh(s[0][:1]) @ A + ops.tanh(s[1][:1]) @ B) + ops.tanh(s[1]) @ C), s[0] * x),
        s[0],
    ),
    "products over different sizes": lambda s, x: (
        (ops.tanh(ops.tanh(s[0]) @ A + ops.tanh(s[1] @ WIDE) @ TALL + ops.sigmoid(s[1]) @ B), s[0] * x),
        s[0],
    ),
    "one left operand twice in a sum of three": lambda s, x: (
        (ops.tanh((a := ops.tanh(s[0] * x)) @ A + ops.tanh(s[1]) @ B + (a @ C) * 0.5 + a @ D), a * s[1]),
        a,
    ),
    "products with what changes": lambda s, x: (
        (ops.tanh(s[0] @ (m := x.T @ x) + s[0] @ (m * 2.0)), ops.tanh(s[1] @ ops.tanh(s[0].T @ s[1]))),
        s[0] @ m,
    ),
    "arguments of fewer axes": lambda s, x: (
        (
            ops.tanh((s[0] @ A) * ROW + x[0] * (s[0] @ B)),
            ops.tanh((s[0] @ C) * s[1].sum(axis=0) + (s[0] @ D) * x.mean(axis=0)),
        ),
        (s[0] @ C) * ROW[0],
    ),
    "arguments in columns": lambda s, x: (
        (
            ops.tanh((s[0] @ A) * (k := s[1] @ NARROW) + (s[0] @ B) * ops.tanh(k)),
            ops.tanh((s[0] @ C) * x[:, :1] + (s[0] @ D) * x[:, 1:2]),
        ),
        s[1],
    ),
    "a slice with itself": lambda s, x: (
        (ops.tanh((p := s[0] @ A) * (q := s[0] @ B) + x), ops.tanh(p * p) + ops.tanh(q * q) - p * q),
        p - q,
    ),
    "slices some of which are asked for": lambda s, x: (
        (ops.tanh(s[0] @ A) * ops.sigmoid(f := s[0] @ B) + x, ops.tanh(s[0] @ C) * ops.sigmoid(s[0] @ D + s[1])),
        (f, ops.tanh(f)),
    ),
    "sums over rows of slices": lambda s, x: (
        (ops.tanh(s[0] @ A + ROW) * ops.sigmoid(s[0] @ B + ROW[0]), ops.tanh(s[1] + ROW * x)),
        ROW * NARROW.T + s[0][:1],
    ),
    "values of one step in the next": lambda s, x: (
        (ops.tanh(sums_of_products(s, x, A, B)), ops.tanh(sums_of_products(s, x, C, A))),
        s[0] * s[1],
    ),
    "indices that are arrays": lambda s, x: (
        (ops.tanh(s[0] @ A)[:, [2, 0, 0]], s[1] + x[[1, 0]]),
        (x[[0, 0, 1], [2, 1, 1]], x[:, [0, 2]]),
    ),
    "what is the same at every step": lambda s, x: (
        (ops.tanh(s[0] + ROW), s[1] * 0.5),
        (ops.concatenate([ROW, x, NARROW.T], axis=0), ops.stack([ROW[0], x[0]]), A @ B, ROW, A.sum(0) * 1.0),
    ),
}


@pytest.mark.parametrize("small", [1, 2048])
@pytest.mark.parametrize("name", APART)
def test_what_may_not_be_done_at_once_is_not(name: str, small: int) -> None:
    leaves = [A, B, C, D, ROW, WIDE, TALL, NARROW]
    xs = Tensor(R.standard_normal((4, 2, 3)), requires_grad=True)
    state = tuple(Tensor(R.standard_normal((2, 3)), requires_grad=True) for _ in range(2))

    def run() -> Values:
        last, ys = tg.scan(APART[name], state, xs)
        results = [*last, *leaves_of(ys)]
        return [r.numpy() for r in results] + gradients(results, [*state, xs, *leaves])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "SINKS_FROM", small)  # from how many entries on work goes into the loop
        patch.setattr(compiling, "_cache", type(compiling._cache)())
        both(run)


@part_of_the_examples(0.5)
@given(cases(most=4), options)
def test_work_that_is_moved_into_the_loop_is_the_same_work(case: Case, extra: Any) -> None:
    layer = case.layer(**extra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "SINKS_FROM", 1)
        patch.setattr(compiling, "_cache", type(compiling._cache)())
        both(lambda: case.run(layer, 0))
