"""Everything on a GPU as on the CPU: each test computes on both and compares. Where there is no GPU, the stand-in for
CuPy takes its place; where there is one, both are tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from click.testing import CliRunner
from example_counts import part_of_the_examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_table import TABLE, UNDIFFERENTIABLE
from test_context import Attending
from test_optim import OPTIMIZERS
from thread_ranks import on_ranks

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, RowSparse, Tensor, backend, ops, scan
from tinygrad_rnn.checks import equality_checks
from tinygrad_rnn.checks.subject import Subject
from tinygrad_rnn.cli import main
from tinygrad_rnn.data import bucketed, stream
from tinygrad_rnn.data.messages import unheard
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.surfaces import loss_surface
from tinygrad_rnn.models import (
    AdditiveAttention,
    AttentionPooling,
    Cell,
    DotAttention,
    Dropout,
    Embedding,
    GeneralAttention,
    GRUCell,
    LanguageModel,
    LayerNorm,
    Linear,
    LSTMCell,
    Recurrent,
    RNNCell,
    checkpoint,
    decode,
    last,
    masked_max,
    masked_mean,
)
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.sampling import generate, generate_best
from tinygrad_rnn.optim import Adam, clip_by_norm, clip_by_value
from tinygrad_rnn.ranks.processes import Ranks
from tinygrad_rnn.ranks.summing import GradientSum
from tinygrad_rnn.sums import total
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.language.reading import read
from tinygrad_rnn.training import Progress, evaluate, fit
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.transforms import grad, hvp, jacobian, jvp, vjp

pytestmark = pytest.mark.filterwarnings("ignore:.*:tinygrad_rnn.ScanWarning")

T, B, I, H, V = 5, 3, 4, 4, 7  # noqa: E741  (the field's letters: steps, rows, features, hidden units, classes)
LENGTHS = np.array([5, 0, 3])


class Side:
    """One of the two devices."""

    def __init__(self, device: str) -> None:
        self.device = device

    def array(self, x: Any) -> Any:
        return backend.to_device(np.array(x), self.device)

    def tensor(self, x: Any, requires_grad: bool = False) -> Tensor:
        return Tensor(self.array(x), requires_grad=requires_grad)

    def plain(self, value: Any) -> Iterator[Any]:
        """The numbers in Tensors, gradients and whatever holds them, as NumPy arrays; they must be on this device."""
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, tuple | list):
            for part in value:
                yield from self.plain(part)
        elif isinstance(value, RowSparse):
            yield from self.plain(value.dense())
        elif isinstance(value, Tensor) or backend.is_array(value):
            array = value.data if isinstance(value, Tensor) else value
            assert backend.device_of(array) == self.device
            yield backend.to_host(array)
        elif value is not None:
            yield np.asarray(value)


SIDES = Side("cpu"), Side("cuda")


def agree(run: Callable[[Side], Any], tolerance: float = 1e-10) -> list[Any]:
    """What `run` gives on the CPU; on the GPU it must give the same."""
    here, there = (list(side.plain(run(side))) for side in SIDES)
    assert len(here) == len(there)
    for a, b in zip(here, there, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
    return here


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def of_model(model: Module) -> dict[str, Any]:
    """The gradients of a model, by name."""
    return {name: p.grad for name, p in model.named_parameters()}


def backward(*results: Any) -> None:
    """From a number that depends on all of them, each entry in its own way."""
    parts = [ops.square(ops.tanh(r)).sum() * (i + 1) for i, r in enumerate(results)]  # some begin as huge numbers
    loss = sum(parts[1:], parts[0])
    if loss.requires_grad:
        loss.backward()


# --- Ops -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", sorted(TABLE))
@settings(part_of_the_examples(0.15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_op_and_its_first_and_second_derivatives(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])

    def run(side: Side) -> Any:
        f = call.function(side.array)
        inputs = [side.array(x) for x in call.inputs]
        found = f(*map(Tensor, inputs))
        if name in UNDIFFERENTIABLE:
            return found

        def loss(*xs: Any) -> Any:
            results = f(*xs)
            parts = [(r * r).sum() for r in (results if isinstance(results, tuple | list) else [results])]
            return sum(parts[1:], parts[0])

        def of_first(*xs: Any) -> Any:
            parts = [(g * g).sum() for g in grad(loss, positions)(*xs)]
            return sum(parts[1:], parts[0])

        positions = tuple(range(len(inputs)))
        leaves = [Tensor(x, requires_grad=True) for x in inputs]
        backward(loss(*leaves))
        by_backward = [
            np.zeros(x.shape) if leaf.grad is None else leaf.grad for x, leaf in zip(inputs, leaves, strict=True)
        ]
        by_backward = [side.array(g) if isinstance(g, np.ndarray) else g for g in by_backward]
        return found, by_backward, grad(loss, positions)(*inputs), grad(of_first, positions)(*inputs)

    try:
        agree(run, 1e-9)
    except ValueError as error:
        if "Unsupported dtype float128" not in str(error):  # CuPy has no numbers of more than 8 bytes
            raise


EDGES = np.array([-np.inf, -1e300, -745.0, -1.0, -1e-300, -0.0, 0.0, 1e-300, 0.5, 1.0, 745.0, 1e300, np.inf, np.nan])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "name",
    "abs cos elu erf exp expm1 floor gelu hard_sigmoid leaky_relu log log1p log_sigmoid logsumexp log_softmax max min "
    "neg norm reciprocal relu sigmoid sign sin softmax softplus sqrt square tanh cumsum".split(),
)
def test_what_is_infinite_or_no_number_goes_the_same_way(name: str) -> None:
    def run(side: Side) -> Any:
        results = []
        for x in (EDGES, EDGES[:-1], EDGES[1:-2], EDGES[:0], EDGES[:1]):
            if not x.size and name in ("max", "min"):
                continue
            leaf = side.tensor(x, requires_grad=True)
            out = getattr(ops, name)(leaf)
            out.sum().backward()
            results += [out, leaf.grad]
        return results

    with np.errstate(all="ignore"):
        agree(run, 1e-12)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", "add sub mul div pow maximum minimum mod floor_divide equal less".split())
def test_pairs_of_such_numbers_too(name: str) -> None:
    def run(side: Side) -> Any:
        x = side.tensor(EDGES[:, None], requires_grad=True)
        y = side.tensor(EDGES, requires_grad=True)
        out = getattr(ops, name)(x, y)
        if out.dtype.kind == "f" and name not in ("pow", "div", "mod", "floor_divide"):
            out.sum().backward()
        return out, x.grad, y.grad

    with np.errstate(all="ignore"):
        agree(run, 1e-12)


@pytest.mark.usefixtures("library")
@given(st.lists(st.tuples(*[st.floats(-1e30, 1e30) | st.sampled_from([0.1, 1.0, 0.3, -0.1, 1e17])] * 2), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_quotients_are_rounded_down_from_what_they_are(pairs: list[tuple[float, float]]) -> None:
    x, y = np.array(pairs).reshape(-1, 2).T

    def run(side: Side) -> Any:
        a, b = side.tensor(x), side.tensor(y)
        return a % b, a // b, a % 0.1, a // 0.1, 1.0 % b, 1.0 // b

    with np.errstate(all="ignore"):
        agree(run, 1e-15)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "name", "sigmoid tanh softmax log_softmax gelu erf logsumexp mean var norm cumsum square".split()
)
def test_other_dtypes_stay_what_they_are(name: str, dtype: Any) -> None:
    def run(side: Side) -> Any:
        x = side.tensor(numbers(3, 4).astype(dtype), requires_grad=True)
        out = getattr(ops, name)(x)
        (out * 2.0 + 1).sum().backward()
        assert out.dtype == x.grad.dtype == dtype
        return out, x.grad

    agree(run, 4e-3 if dtype == np.float16 else 1e-5)


@pytest.mark.usefixtures("library")
def test_numbers_beside_arrays_take_their_dtype() -> None:
    def run(side: Side) -> Any:
        x = side.tensor(np.linspace(-1, 1, 3, dtype=np.float32))
        one: Any = np.float64(1.0)
        found = [
            x + 1,
            2.0 * x,
            x / 3,
            1 - x,
            x**2,
            x**0.5,
            one + x,
            x * one,
            ops.where(x > 0, x, 0.0),
            ops.clip(x, -0.5, 0.5),
        ]
        found += [
            ops.maximum(x, 0),
            ops.maximum(0.0, x),
            ops.where(True, x, 0.0),
            ops.where(False, 1.0, x),
            x // 2,
            x % 2,
        ]
        assert all(each.dtype == np.float32 for each in found)
        return found

    with np.errstate(invalid="ignore"):
        agree(run, 1e-6)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", "i1 u1 i4 i8 u8 ?".split())
def test_integers_and_booleans_add_up_at_an_index(dtype: str) -> None:
    index, updates = np.array([0, 2, 0, -1, 2]), np.array([1, 0, 1, 100, 100]).astype(dtype)

    def run(side: Side) -> Any:
        at = side.array(index)
        return [
            ops.scatter(side.tensor(updates), at, (3,)),
            ops.scatter(side.tensor(-updates if dtype[0] == "i" else updates), at, (3,)),
            ops.sum(side.tensor(updates)),
            ops.cumsum(side.tensor(updates)),
        ]

    agree(run)


@pytest.mark.usefixtures("library")
def test_indices_of_every_kind() -> None:
    x = numbers(4, 5, 3)
    rows, mask = np.array([[3, 0], [-1, 3]]), numbers(4, 5) > 0
    kinds: list[Callable[[Side], Any]] = [
        lambda side: side.array(rows),
        lambda side: (slice(None), side.array(np.array([4, 0, 4]))),
        lambda side: (side.array(rows), side.array(rows)),
        lambda side: (side.array(rows), slice(None), side.array(np.abs(rows) % 3)),
        lambda side: side.array(mask),
        lambda side: (side.array(mask), 1),
        lambda side: (side.array(mask[:, 0]), slice(1, None, 2)),
        lambda side: (Ellipsis, None, side.array(np.array([2, 2, 0]))),
        lambda side: [1, 1, -2],
        lambda side: (slice(None, None, -2), 1),
        lambda side: (np.int64(2), side.array(np.array([1, 1]))),
        lambda side: side.tensor(rows),
    ]

    def run(side: Side) -> Any:
        found = []
        for kind in kinds:
            leaf = side.tensor(x, requires_grad=True)
            part = leaf[kind(side)]
            backward(part)
            found += [part, leaf.grad]
        return found

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("cuts", [(1,), (-1, 9), (3, 1), (-3,), (-9,), (2, -9, 1)], ids=str)
def test_cuts_may_lie_outside(cuts: tuple[int, ...]) -> None:
    def run(side: Side) -> Any:
        x = side.tensor(numbers(2, 3), requires_grad=True)
        parts = ops.split(x, cuts, axis=1)
        backward(*parts)
        return parts, x.grad

    agree(run)


# --- Sums ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_of_a_table_is_not_lost_beside_those_before_it(library: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 40, 3000)
    values = rng.standard_normal((3000, 3)).astype(dtype) * np.where(indices < 20, 1e6, 1e-6)[:, None].astype(dtype)
    exact = np.zeros((40, 3))
    np.add.at(exact, indices, values.astype(np.float64))
    found = RowSparse.from_indices(library.asarray(indices), library.asarray(values), (40, 3)).dense()
    sizes = np.zeros((40, 3))
    np.add.at(sizes, indices, np.abs(values.astype(np.float64)))
    assert (np.abs(backend.to_host(found) - exact) / sizes).max() < 8 * np.finfo(dtype).eps


def test_what_is_infinite_in_one_row_of_a_table_stays_there(library: Any) -> None:
    values = np.ones((6, 2))
    values[1, 0], values[2, 1] = np.inf, np.nan
    found = RowSparse.from_indices(library.asarray([0, 0, 1, 2, 2, 2]), library.asarray(values), (3, 2)).values
    np.testing.assert_array_equal(backend.to_host(found), [[np.inf, 2], [1, np.nan], [3, 3]])


@pytest.mark.parametrize("shape, axis", [((10**6, 2), 0), ((10**6,), None), ((2, 10**6), 1)])
def test_a_long_sum_of_float32_is_right_to_a_hundred_thousandth(library: Any, shape: Any, axis: Any) -> None:
    found = backend.to_host(total(library.full(shape, 0.1, dtype=np.float32), axis))
    np.testing.assert_allclose(found, 1e6 * float(np.float32(0.1)), rtol=1e-5)


# --- Layers ----------------------------------------------------------------------------------------------------


def layer_of(cell: type[Cell], side: Side, **options: Any) -> Recurrent:
    rng = np.random.default_rng(1)
    layer = Recurrent(cell, I, H, dtype=options.pop("dtype", np.float64), rng=rng, **options)
    for p in layer.parameters():
        p.data = (p.data + 0.1 * rng.standard_normal(p.shape)).astype(p.dtype)
    return layer.to(side.device)


def through(layer: Recurrent, side: Side, **call: Any) -> Any:
    """Outputs, states, and the gradients of inputs and weights."""
    xs = side.tensor(numbers(T, B, I).astype(layer.dtype), requires_grad=True)
    outputs, state = layer(xs, **call)
    parts = [part for each in state for part in (each if isinstance(each, tuple) else (each,))]
    backward(outputs, *parts)
    return outputs, state, xs.grad, of_model(layer)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", [*CELLS])
def test_a_cell_over_rows_of_different_lengths(name: str) -> None:
    agree(lambda side: through(layer_of(CELLS[name], side), side, lengths=LENGTHS))


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", [*CELLS])
def test_a_cell_that_is_evaluated(name: str) -> None:
    def run(side: Side) -> Any:
        layer = layer_of(CELLS[name], side, zoneout=0.1)
        with tg.no_grad():
            return layer(side.tensor(numbers(T, B, I)), lengths=side.array(LENGTHS))

    agree(run)


OPTIONS: dict[str, dict[str, Any]] = {
    "both directions, two layers": {"num_layers": 2, "bidirectional": True},
    "dropout between layers": {"num_layers": 2, "dropout": 0.5},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "zoneout": {"zoneout": 0.4, "bidirectional": True},
    "residual": {"num_layers": 2, "residual": True},
    "truncated": {"truncate": 2},
    "checkpointed": {"checkpoint_every": 2},
    "all noise": {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.3},
}


@pytest.mark.slow
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("cell", [RNNCell, GRUCell, LSTMCell])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
def test_a_layer_with_every_option(cell: type[Cell], options: dict[str, Any], lengths: Any) -> None:
    """Masks are drawn on the host, so that both sides have the same."""

    def run(side: Side) -> Any:
        layer = layer_of(cell, side, **options)
        states = 2 if cell is LSTMCell else 1
        rows = layer.num_layers * layer.directions
        start = tuple(side.tensor(0.3 * numbers(rows, B, H, seed=i), requires_grad=True) for i in range(states))
        found = through(layer, side, state=start, lengths=lengths, rng=np.random.default_rng(2))
        return found, [s.grad for s in start]

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("cell", [GRUCell, LSTMCell])
def test_a_layer_in_single_precision(cell: type[Cell]) -> None:
    agree(lambda side: through(layer_of(cell, side, dtype=np.float32), side, lengths=LENGTHS), 1e-4)


@pytest.mark.usefixtures("library")
def test_a_batch_in_which_nobody_has_a_step() -> None:
    agree(lambda side: through(layer_of(GRUCell, side), side, lengths=np.zeros(B, int)))


@pytest.mark.usefixtures("library")
def test_a_cell_with_a_context() -> None:
    memory, mask = numbers(B, 3, 2), np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0]], bool)

    def run(side: Side) -> Any:
        read = side.tensor(memory, requires_grad=True)
        return through(layer_of(Attending, side), side, context=(read, side.tensor(mask)), lengths=LENGTHS), read.grad

    agree(run)


@pytest.mark.usefixtures("library")
def test_a_plain_loop_is_what_it_is_on_the_cpu() -> None:
    def run(side: Side) -> Any:
        with tg.compiled(False):
            return through(layer_of(LSTMCell, side), side)

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("made", [Linear, LayerNorm, Dropout, Embedding], ids=lambda kind: kind.__name__)
def test_layers_without_time(made: Any) -> None:
    def run(side: Side) -> Any:
        rng = np.random.default_rng(0)
        if made is Embedding:
            table = Embedding(V, H, padding=2, dtype=np.float64).to(side.device)
            ids = np.array([[0, 2, 6], [6, 6, 1]])
            found = [table(form) for form in (side.array(ids), Tensor(side.array(ids)), ids, Tensor(ids), ids.tolist())]
            backward(*found)
            assert isinstance(table.weight.grad, RowSparse)
            return *found, table.weight.grad, table.weight.grad.rows
        x = side.tensor(numbers(B, I), requires_grad=True)
        if made is Dropout:
            y = Dropout(0.5)(x, rng)
            backward(y)
            return y, x.grad
        layer = (Linear(I, H, dtype=np.float64) if made is Linear else LayerNorm(I, dtype=np.float64)).to(side.device)
        y = layer(x)
        backward(y)
        return y, x.grad, of_model(layer)

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", [AdditiveAttention, DotAttention, GeneralAttention], ids=lambda kind: kind.__name__)
def test_attention(kind: Any) -> None:
    mask = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]], bool)

    def run(side: Side) -> Any:
        sizes = {AdditiveAttention: (I, I, 3), GeneralAttention: (I, I)}.get(kind, ())
        attention = kind(*sizes, **({"dtype": np.float64} if sizes else {})).to(side.device)
        query, memory = side.tensor(numbers(3, I), True), side.tensor(numbers(3, 4, I), True)
        found = [attention(query, memory), attention(query, memory, side.array(mask))]
        backward(*found[0], *found[1])
        return found, query.grad, memory.grad, of_model(attention)

    agree(run)


@pytest.mark.usefixtures("library")
def test_pooling() -> None:
    def run(side: Side) -> Any:
        outputs = side.tensor(numbers(T, B, 2 * H), requires_grad=True)
        found = [masked_mean(outputs, LENGTHS), masked_max(outputs, side.array(LENGTHS)), last(outputs, LENGTHS, 2)]
        attended = AttentionPooling(2 * H, dtype=np.float64).to(side.device)
        found += attended(outputs, LENGTHS)
        backward(*found)
        return found, outputs.grad, of_model(attended)

    agree(run)


# --- Loops -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"truncate": 2}, {"checkpoint_every": 2}], ids=str)
def test_a_scan(options: dict[str, Any]) -> None:
    def run(side: Side) -> Any:
        W, xs = side.tensor(numbers(H, H), True), side.tensor(numbers(T, B, H), True)

        def step(h: Any, x: Any) -> Any:
            h = ops.tanh(h @ W + x)
            return h, (h, h.sum(axis=1))

        state, ys = scan(step, side.tensor(numbers(B, H, seed=1)), xs, **options)
        backward(state, *ys)
        return state, ys, W.grad, xs.grad

    agree(run)


@pytest.mark.usefixtures("library")
def test_a_scan_without_inputs_that_reads_its_own_ids() -> None:
    def run(side: Side) -> Any:
        table = Embedding(V, H, dtype=np.float64).to(side.device)
        cell = GRUCell(H, H, dtype=np.float64).to(side.device)
        out = Parameter(numbers(H, V))
        out.data = side.array(out.data)

        def step(state: Any, _: Any) -> Any:
            h, ids = state
            h = cell(table(ids), h)
            scores = h @ out
            return (h, scores.argmax(axis=-1)), (scores, ops.softmax_cross_entropy(scores, ids, reduction="none"))

        start = side.tensor(numbers(B, H)), side.tensor(np.array([0, 1, 2]))
        (h, ids), (scores, losses) = scan(step, start, None, length=T)
        backward(h, scores, losses)
        return h, ids, scores, losses, of_model(table), of_model(cell), out.grad

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("cell", [GRUCell, LSTMCell, Attending])
def test_the_row_of_the_battery_that_says_so(cell: type[Cell]) -> None:
    subject = Subject(cell, 2, 3, 0, {})
    subject.begin()
    assert "allowed" in equality_checks.gpu_as_cpu(subject)


# --- Losses ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("kind", ["all", "weights", "ignored", "both"])
@pytest.mark.parametrize("blocks", [False, True], ids=["one block", "several blocks"])
def test_cross_entropies(reduction: Any, kind: str, blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import tinygrad_rnn.ops.losses as losses  # noqa: PLC0415

    if blocks:
        monkeypatch.setattr(losses, "BLOCK_ENTRIES", 16)
        monkeypatch.setattr(losses, "DEEP_ENOUGH", 1)
    rows = 40
    targets = np.random.default_rng(0).integers(0, V, rows)
    weights = np.abs(numbers(rows)) * (np.arange(rows) % 3 > 0)

    def run(side: Side) -> Any:
        h, W, b = side.tensor(numbers(rows, H), True), side.tensor(numbers(H, V), True), side.tensor(numbers(V), True)
        options: dict[str, Any] = {"reduction": reduction}
        if kind in ("weights", "both"):
            options["weights"] = side.array(weights)
        if kind in ("ignored", "both"):
            options["ignore_index"] = 3
        found = [
            ops.linear_cross_entropy(h, W, b, side.array(targets), **options),
            ops.softmax_cross_entropy(h @ W + b, side.array(targets), **options),
        ]
        np.testing.assert_allclose(found[0].numpy(), found[1].numpy(), rtol=1e-10)
        backward(*found)
        return found, h.grad, W.grad, b.grad

    agree(run)


@pytest.mark.usefixtures("library")
def test_a_table_that_is_read_and_asked_for_gets_both_gradients() -> None:
    """The dense one comes first, and the rows are added to it in place."""

    def run(side: Side) -> Any:
        table, ids = side.tensor(numbers(V, V), True), side.array([0, 2, 2])
        ops.linear_cross_entropy(ops.take(table, ids), table, None, ids).backward()
        return table.grad

    agree(run)


@pytest.mark.usefixtures("library")
def test_other_losses() -> None:
    def run(side: Side) -> Any:
        x, t = side.tensor(numbers(B, H), True), side.array(numbers(B, H, seed=1))
        weights = side.array(np.arange(B)[:, None] % 2)
        found = [ops.mse(x, t), ops.mse(x, t, weights), ops.binary_cross_entropy_with_logits(x, t > 0)]
        found += [ops.binary_cross_entropy_with_logits(x, abs(t) / 4, weights, reduction="none")]
        backward(*found)
        return found, x.grad

    agree(run)


# --- Derivatives -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
def test_transforms() -> None:
    def f(x: Any) -> Any:
        return (ops.tanh(x) * x).sum()

    def run(side: Side) -> Any:
        x, v = side.array(numbers(3)), side.array(numbers(3, seed=1))
        value, pullback = vjp(ops.exp, x)
        tg.gradcheck(lambda x: ops.tanh(x) * x, Tensor(x), order=2)
        return value, pullback(v), jvp(ops.sin, (x,), (v,)), hvp(f, x, v), jacobian(ops.softmax)(x), grad(f)(x)

    agree(run)


@pytest.mark.usefixtures("library")
def test_the_second_derivative_of_a_layer() -> None:
    def run(side: Side) -> Any:
        layer = layer_of(GRUCell, side)

        def loss(xs: Any) -> Any:
            return ops.square(layer(xs, lengths=LENGTHS)[0]).sum()

        return hvp(loss, side.tensor(numbers(T, B, I)), side.tensor(numbers(T, B, I, seed=1)))

    agree(run)


# --- Optimisers ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_an_optimiser_of_dense_and_row_sparse_gradients(make: Any) -> None:
    """Rows wait for their decay, are touched again, and are caught up with by a dense step; what is no number leaves
    everything as it was, in rows and in whole arrays, at the very first step too."""
    rows = [[0, 3], [0, 3], [3, 1, 3], [1, 2], None, None, [4], [0]]
    unusable = {0: 1, 3: 0, 5: 1}

    def run(side: Side) -> Any:
        table, weight = Parameter(side.array(numbers(5, 3))), Parameter(side.array(numbers(3, 2)))
        optimizer = make([table, weight])
        for n, touched in enumerate(rows):
            x = table[:] if touched is None else ops.take(table, side.array(touched))
            backward(x @ weight)
            if n in unusable:
                bad = (table, weight)[unusable[n]]
                bad.grad = bad.grad * math.nan
            clip_by_norm(optimizer.parameters, 1.0)
            if n == 6:
                clip_by_value(optimizer.parameters, 0.1)
            assert optimizer.step() == (n not in unusable)
            optimizer.zero_grad()
            if n == 6:  # as after a break
                saved = optimizer.state_dict()
                optimizer = make([table, weight])
                optimizer.load_state_dict(saved)
        return table, weight, {k: v for k, v in optimizer.state_dict().items() if not isinstance(v, np.ndarray)}

    agree(run)


@pytest.mark.usefixtures("library")
def test_clipping_returns_the_norm_and_a_gradient_without_numbers_is_skipped() -> None:
    def run(side: Side) -> Any:
        p, q = Parameter(side.array(numbers(4, 3))), Parameter(side.array(numbers(3, 4).T))
        backward(p.T @ q, q.T, p)
        norm = clip_by_norm([p, q], 0.5)
        found = [norm, p.grad, q.grad]
        p.grad = p.grad * math.nan
        optimizer = Adam([p, q])
        assert not optimizer.step() and optimizer.skipped == 1
        big = Parameter(side.array(np.full(3, 1e200)))
        backward(big * 1e50)
        return [*found, clip_by_norm([big], 1.0), big.grad]

    with np.errstate(over="ignore"):
        agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("bad", range(4))
def test_a_gradient_without_numbers_of_any_dtype_is_found_and_the_norm_is_of_all(bad: int) -> None:
    side, dtypes = Side("cuda"), (np.float32, np.float64, np.float16, np.float32)
    values = [numbers(3, n + 1).astype(dtype) for n, dtype in enumerate(dtypes)]
    parameters = [Parameter(side.array(value)) for value in values]
    sum(((p * p).sum().astype(np.float64) for p in parameters), start=Tensor(side.array(0.0))).backward()
    exact = math.sqrt(sum((4 * value.astype(np.float64) ** 2).sum() for value in values))
    assert clip_by_norm(parameters, 0.5) == pytest.approx(exact, rel=1e-3)
    assert clip_by_norm(parameters, math.inf) == pytest.approx(0.5, rel=1e-3)
    optimizer, gradient = Adam(parameters, eps=1e-3), parameters[bad].grad
    parameters[bad].grad = gradient * math.inf
    with np.errstate(all="ignore"):  # on a device the formula runs all the same, and what it did is put back
        assert not optimizer.step() and optimizer.last_skip == str(bad)
    assert all((p.numpy() == value).all() for p, value in zip(parameters, values, strict=True))
    parameters[bad].grad = gradient
    assert optimizer.step()
    assert all((p.numpy() != value).all() for p, value in zip(parameters, values, strict=True))


@pytest.mark.usefixtures("library")
def test_ranks_add_up_the_gradients_of_parameters_on_both_devices() -> None:
    def work(ranks: Ranks) -> Any:
        here, there = (Parameter(side.array(numbers(3, 2))) for side in (Side("cpu"), Side("cuda")))
        named = {"there": there, "here": here}
        summed = GradientSum(ranks, named)
        for p in named.values():
            p.grad = None
        summed.backward((here * here).sum() * float((there * there).sum().item()))
        summed.exchange([0.0])
        summed.finish(0.5)
        return here.grad, there.grad

    for here, there in on_ranks(2, work, gpus=True):
        assert isinstance(here, np.ndarray) and there is None
        np.testing.assert_allclose(here, 2 * numbers(3, 2) * (numbers(3, 2) ** 2).sum(), rtol=1e-12)


@pytest.mark.usefixtures("library")
def test_parameters_may_lie_on_both_devices() -> None:
    here, there = (Parameter(side.array(numbers(3, 2))) for side in (Side("cpu"), Side("cuda")))
    for p in (here, there):
        (p * p).sum().backward()
    optimizer = Adam([here, there])
    assert clip_by_norm([here, there], 0.5) == pytest.approx(2 * math.sqrt(2 * (numbers(3, 2) ** 2).sum()))
    assert optimizer.step()
    np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=1e-12)
    there.grad = there.grad * math.nan
    assert not optimizer.step() and optimizer.last_skip == "1"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("where", ["host", "device"])
def test_what_stands_in_rows_that_do_not_count_reaches_nothing_wherever_the_targets_are(where: str) -> None:
    def run(side: Side) -> Any:
        place = side.array if where == "device" else np.asarray
        logits = numbers(4, 5)
        logits[1], logits[3] = np.nan, np.inf
        x, W = side.tensor(logits, True), side.tensor(numbers(5, 6), True)
        targets, weights = place(np.array([0, 4, 2, 1])), place(np.array([1.0, 0.0, 0.5, 0.0]))
        losses = [
            ops.softmax_cross_entropy(x, targets, weights),
            ops.softmax_cross_entropy(x, place(np.array([0, 4, 2, 4])), None, 4, reduction="none").sum(),
            ops.linear_cross_entropy(x, W, None, targets, weights, reduction="sum"),
        ]
        sum(losses[1:], losses[0]).backward()
        return *losses, x.grad, W.grad

    agree(run)


# --- The language model ----------------------------------------------------------------------------------------


def language_model(side: Side, **options: Any) -> LanguageModel:
    options = {"dtype": np.float64, "rng": np.random.default_rng(3), **options}
    return LanguageModel(V, H, H, 2, **options).to(side.device)


def sentences(count: int = 12) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, V, rng.integers(2, 9)) for _ in range(count)]


def batches(side: Side) -> Any:
    return lambda epoch: bucketed(sentences(), 4, rng=np.random.default_rng(epoch))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "options", [{}, {"tied": True}, {"cell": "lstm", "dropout": 0.4, "recurrent_dropout": 0.2}], ids=str
)
def test_the_loss_of_a_language_model(options: dict[str, Any]) -> None:
    def run(side: Side) -> Any:
        model = language_model(side, **options)
        (batch, *_) = batches(side)(0)
        loss, state = model.loss(
            batch.inputs, batch.targets, batch.weights, lengths=batch.lengths, rng=np.random.default_rng(0)
        )
        loss.backward()
        return loss, state, of_model(model), model(batch.inputs)

    agree(run)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["nesterov", "rmsprop", "adamw"])
def test_training_goes_the_same_way(name: str) -> None:
    def run(side: Side) -> Any:
        model = language_model(side, dropout=0.3)
        optimizer = OPTIMIZERS[name](dict(model.named_parameters()))
        steps = fit(model, optimizer, batches(side), rng=np.random.default_rng(0), clip_norm=1.0, clip_limit=0.5)
        records = list(islice(steps, 4))
        held_out = evaluate(model, list(batches(side)(9)))
        return [(r.loss, r.gradient_norm) for r in records], held_out.loss, model.parameters()

    agree(run, 1e-8)


@pytest.mark.usefixtures("library")
def test_training_on_one_text_carries_the_state() -> None:
    def run(side: Side) -> Any:
        model = language_model(side)
        ids = [np.random.default_rng(0).integers(0, V - 1, 60)]
        windows = lambda epoch: stream(ids, 3, 5, start=V - 1)  # noqa: E731
        progress = Progress()
        steps = fit(model, Adam(model.parameters()), windows, progress=progress, carry=True, clip_norm=1.0)
        return [record.loss for record in islice(steps, 6)], progress.state, model.parameters()

    agree(run, 1e-8)


@pytest.mark.usefixtures("library")
def test_what_is_generated() -> None:
    def run(side: Side) -> Any:
        model = language_model(side)
        rng = np.random.default_rng(0)
        best = generate_best(model, [1, 2], beam=3, count=2, stop=0, max_length=6)
        return [
            np.array(generate(model, [1, 2], rng, stop=0, max_length=6, top_k=4, top_p=0.9)),
            *map(np.array, best),
        ]

    for side in SIDES:
        language_model(side)
    here, there = (run(side) for side in SIDES)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("how", ["greedy", "sample", "beam"])
def test_decoding_of_a_batch(how: Any) -> None:
    def found(side: Side) -> Any:
        cell, table = GRUCell(H, H, dtype=np.float64).to(side.device), Embedding(V, H, dtype=np.float64).to(side.device)

        def step(h: Any, ids: Any) -> Any:
            h = cell(table(ids), h)
            return h, (h @ table.weight.T) * 9

        options: dict[str, Any] = {"rng": np.random.default_rng(0)} if how == "sample" else {}
        start = side.array([1, 2, 3])
        return decode(step, side.tensor(numbers(B, H)), start, 0, how, max_length=5, never=[6], **options)

    here, there = map(found, SIDES)
    np.testing.assert_array_equal(here.ids, there.ids)
    np.testing.assert_allclose(here.scores, there.scores, rtol=1e-10)


# --- Moving ----------------------------------------------------------------------------------------------------


def test_a_model_moves_and_keeps_its_numbers(library: Any, tmp_path: Path) -> None:
    model = language_model(SIDES[0])
    before = model.state_dict()
    assert model.to("cuda") is model and model.device == "cuda"
    assert all(isinstance(p.data, library.ndarray) or library.__name__ == "cupy" for p in model.parameters())
    there = model.state_dict()
    other = language_model(SIDES[0], rng=np.random.default_rng(9))
    other.load_state_dict(there)
    model.load_state_dict({name: value + 1 for name, value in before.items()})
    assert model.device == "cuda" and other.device == "cpu"
    for name, value in before.items():
        np.testing.assert_array_equal(there[name], value)
        np.testing.assert_array_equal(other.state_dict()[name], value)
        np.testing.assert_array_equal(model.state_dict()[name], value + 1)
    assert model.to("cpu").device == "cpu"
    assert model.to("cuda").astype(np.float32).device == "cuda"
    assert repr(model) and model._repr_html_() and repr(model.output_bias)


def test_a_tape_on_the_gpu_is_drawn_with_its_gradients_and_a_loss_over_a_plane_computed(library: Any) -> None:
    here, there = Parameter(np.arange(6.0).reshape(2, 3), name="w"), Parameter(np.zeros(1), name="w")
    there.data = backend.to_device(here.data, "cuda")
    pictures = [tg.Tape((ops.tanh(w) * w).sum())._repr_html_() for w in (here, there)]
    assert pictures[0] == pictures[1] and "∂ 2 x 3, norm" in pictures[0]
    plane, steps = ([np.ones((2, 3))], [np.eye(2, 3)]), np.linspace(-1, 1, 3)
    values = [loss_surface((w * w).sum, [w], plane, steps, steps).values for w in (here, there)]
    np.testing.assert_allclose(values[0], values[1])


def test_a_parameter_on_the_gpu_gets_its_gradient_there(library: Any) -> None:
    p = Parameter(np.ones(3, np.float32))
    p.data = backend.to_device(p.data, "cuda")
    assert backend.device_of(p.data) == "cuda"
    (p * p).sum().backward()
    assert backend.device_of(p.grad) == "cuda"
    np.testing.assert_array_equal(backend.to_host(p.grad), [2.0, 2.0, 2.0])


def test_arrays_of_both_sides_are_not_mixed_in_silence(library: Any) -> None:
    x = library.asarray([1.0, 2.0])
    t = Tensor(x, requires_grad=True)
    for mixed in (
        lambda: t * np.ones(2),
        lambda: np.ones(2) * t,
        lambda: ops.where(np.array([True, False]), t, 0.0),
        lambda: np.asarray(x),
        lambda: x * np.ones(2),
        lambda: np.ones(2) * x,
        lambda: library.where(np.array([True, False]), x, x),
        lambda: library.add(x, Tensor(x)),
    ):
        with pytest.raises(TypeError):
            mixed()
    factor: Any = np.float64(2.0)
    np.testing.assert_array_equal(backend.to_host(factor * (x * factor)), [4.0, 8.0])
    for product in (x * t, t * x):
        np.testing.assert_array_equal(product.numpy(), [1.0, 4.0])


@pytest.mark.usefixtures("library")
def test_anomalies_are_told_there_too() -> None:
    for side in SIDES:
        x = side.tensor([1.0, 0.0], requires_grad=True)
        with pytest.raises(tg.AnomalyError, match=r"log|div"), np.errstate(all="ignore"), tg.detect_anomaly():
            ops.log(x).sum().backward()


@pytest.mark.usefixtures("library")
def test_a_trace_is_of_the_same_numbers() -> None:
    def run(side: Side) -> Any:
        layer = layer_of(LSTMCell, side)
        with tg.trace() as found:
            layer(side.tensor(numbers(T, B, I)), lengths=LENGTHS)
        return [np.asarray(found[name]) for name in sorted(found)]

    here, there = map(run, SIDES)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


# --- The command line ------------------------------------------------------------------------------------------


def works(*args: object) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args], terminal_width=110)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return str(result.output)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    nouns, verbs = "cat dog tree river".split(), "sees hears finds".split()
    lines = [f"the {rng.choice(nouns)} {rng.choice(verbs)} a {rng.choice(nouns)}" for _ in range(40)]
    path = tmp_path_factory.mktemp("gpu") / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


TINY = "--embedding 4 --hidden 4 --batch-size 8 --layers 1 --lines --quiet --seed 1 --sentences 1 --log -".split()
THERE = "--device", "cuda"


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_a_run_on_the_gpu_is_resumed_bit_for_bit_and_is_the_run_on_the_cpu(text: Path, tmp_path: Path) -> None:
    whole, parts, here = (tmp_path / name for name in ("whole", "parts", "here"))
    works("train", "--text", text, "--out", whole, "--epochs", 2, *THERE, *TINY)
    works("train", "--text", text, "--out", parts, "--epochs", 1, *THERE, *TINY)
    works("train", "--resume", parts / "last.safetensors", "--epochs", 2, "--quiet", "--log", "-", *THERE)
    works("train", "--text", text, "--out", here, "--epochs", 2, *TINY)
    a, b, c = (checkpoint.load(folder / "last.safetensors").arrays for folder in (whole, parts, here))
    assert a.keys() == b.keys() == c.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)
        np.testing.assert_allclose(value, c[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_a_run_moves_between_the_devices(text: Path, tmp_path: Path) -> None:
    command = "train", "--out", tmp_path, "--text", text, "--dtype", "float64", *TINY
    resume = "train", "--resume", tmp_path / "last.safetensors", "--quiet", "--log", "-", "--epochs"
    found = []
    for device in ("cpu", "cuda"):
        works(*command, "--overwrite", "--epochs", 1, "--device", device)
        works(*resume, 2, "--device", "cuda" if device == "cpu" else "cpu")
        found.append(checkpoint.load(tmp_path / "last.safetensors").arrays)
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.usefixtures("library")
def test_what_a_model_reads_for_its_page() -> None:
    def run(side: Side) -> Any:
        found = read(language_model(side), Vocabulary("a b c d".split()), np.array([1, 4, 5, 6, 4, 2]))
        return [found.nats, found.depends, *(np.array(found.units[name]) for name in sorted(found.units))]

    here, there = map(run, SIDES)
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_commands_use_a_model_on_the_gpu(text: Path, tmp_path: Path) -> None:
    works("train", "--text", text, "--out", tmp_path, "--epochs", 1, "--dtype", "float64", *TINY)
    best = tmp_path / "best.safetensors"
    for command in (
        ("evaluate", best),
        ("evaluate", best, "--text", text),
        ("generate", best, "--count", 2),
        ("generate", best, "--beam", 2, "--count", 2, "--prompt", "the cat"),
        ("score", best, text),
    ):
        assert works(*command, *THERE) == works(*command)


@pytest.mark.slow
@pytest.mark.usefixtures("library")
def test_the_selfcheck_passes_on_the_gpu() -> None:
    said = works("selfcheck", *THERE)
    assert "all is well" in said and "values and gradients in float64" in said


# --- Ranks -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("way", ["by way of the host", "from GPU to GPU", "split"])
def test_ranks_on_the_gpu_give_the_run_of_one_process_on_the_cpu(text: Path, library: Any, way: str) -> None:
    split, gpus = way == "split", way.endswith("to GPU")
    if gpus and library is not stand_in.device:
        pytest.skip("threads carry the stand-in's arrays")
    found = find_task("language")
    sizes = {"hidden": 4, "embedding": 4, "layers": 1, "batch_size": 8, "dropout": 0.0, "epochs": 9}
    given = {"text": (str(text),), "lines": True, "dtype": "float64", "split_optimizer": split, **sizes}

    def work(ranks: Ranks, device: str) -> Any:
        options, cell = found.task.options_and_cell(given, False, unheard)
        run = new_run(found.new(options, cell), unheard, device, ranks)
        stand_in.waits.clear()
        ranks.allgather(None)
        for _, _ in zip(range(6), run.steps(), strict=False):
            pass
        waits = ranks.allgather(list(stand_in.waits))
        assert not gpus or all("get" not in each for each in waits), "a gradient went by way of the host"
        assert all(backend.device_of(p.data) == device for p in run.model.parameters())
        return run.model.state_dict(), run.validate().loss

    ((expected, loss),) = on_ranks(1, lambda ranks: work(ranks, "cpu"))
    for weights, own_loss in on_ranks(2, lambda ranks: work(ranks, "cuda"), gpus):
        assert own_loss == pytest.approx(loss, rel=1e-10)
        for name, array in expected.items():
            np.testing.assert_allclose(weights[name], array, rtol=1e-9, atol=1e-11, err_msg=name)
