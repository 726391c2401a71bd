"""Loops whose entries do not meet, as one kernel: by the host's compiler of C++, with several threads for the steps of
an entry wherever their states are linear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from host_cuda import COMPILER, HostDevice, on_host
from hypothesis import given
from hypothesis import strategies as st
from machine_code import close, made_by

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops.cuda.cuda_loop import CudaLoop
from tinygrad_rnn.loops.cuda.one_kernel import InOneKernel, parts_of_time
from tinygrad_rnn.loops.cuda.one_kernel_source import LINEAR_TO, PARTS_TO
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.tensor import Tensor

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no g++")

LINEAR = {"mingru", "minlstm", "lru", "s4d", "mamba", "rg-lru", "gla", "qrnn"}
"""Cells whose forward loops are shared out over time; the backward loops of these and of `APART` are."""
APART = {"indrnn", "sru"}
"""Those whose entries do not meet, but which are not linear."""


@contextmanager
def loops_seen() -> Iterator[list[Any]]:
    """What runs each loop that is run meanwhile."""
    found: list[Any] = []

    def noted(run: Any) -> Any:
        def noting(body: Any, *args: Any) -> None:
            found.append(body)
            run(body, *args)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        for kind in (InOneKernel, CudaLoop):
            patch.setattr(kind, "run", noted(kind.run))
        yield found


def weighted(gates: tuple[Any, ...], states: tuple[Tensor, ...]) -> list[Tensor]:
    """Each new state a sum of multiples of the old ones and something of the input."""
    rows = [gates[i * (len(states) + 1) : (i + 1) * (len(states) + 1)] for i in range(len(states))]
    return [sum((f * s for f, s in zip(row[1:], states, strict=True)), row[0]) for row in rows]


@given(
    T=st.integers(1, 40),
    count=st.integers(1, LINEAR_TO),
    kind=st.sampled_from(["sums", "chosen", "divided", "before"]),
    dtype=st.sampled_from([np.float64, np.float32]),
    shape=st.sampled_from([(1, 1), (2, 3), (3, 1), (1, 7), (2, 1, 3)]),
    back=st.booleans(),
    kept=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_states_that_are_linear_have_the_numbers_of_the_plain_loop(
    T: int, count: int, kind: str, dtype: Any, shape: Any, back: bool, kept: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape).astype(dtype) / count, requires_grad=True)

    gates = tuple(drawn(T, *(shape if rng.random() < 0.7 else (shape[-1],))) for _ in range(count * (count + 1)))
    starts = tuple(drawn(*shape) for _ in range(count))

    def step(states: Any, x: Any) -> Any:
        *states, before = states
        first = x[0] if kind != "before" else ops.sigmoid(before) * x[0]
        new = weighted((first, *x[1:]), tuple(states))
        if kind == "chosen":
            new[0] = ops.where(x[0] > 0, states[0], new[0])
        if kind == "divided":
            new[-1] = 2 - (1 - new[-1]) / (1 + ops.square(x[-1]))
        return (*new, x[0] + ops.zeros_like(before)), new[0] * x[0] if kept else ops.tanh(new[-1])

    leaves = [*starts, *gates]
    state = (*starts, Tensor(np.ones(shape, dtype)))
    with loops_seen() as seen:
        found = made_by("cuda", step, state, gates, leaves, back)
    close(found, made_by(False, step, state, gates, leaves, back), 5e-4 if dtype is np.float32 else 1e-9)
    forward, backward = seen
    many = kind == "before" and count == LINEAR_TO  # whose gradient may be one more state
    assert forward.is_linear and (backward.is_linear or many)


def test_the_loops_of_cells_whose_entries_do_not_meet_are_started_once() -> None:
    for name, cell in CELLS.items():
        if name not in LINEAR | APART | {"gru", "mlstm", "deltanet"}:
            continue
        with loops_seen() as seen, on_host(Nothing()), np.errstate(all="ignore"):
            layer = Recurrent(cell, 3, 4)
            layer(Tensor(np.ones((2, 2, 3), np.float32), requires_grad=True))[0].sum().backward()
        linear = [getattr(body, "is_linear", None) for body in seen]
        assert linear == ([True, True] if name in LINEAR else [False, True] if name in APART else [None, None]), name


class Nothing(HostDevice):
    """It calculates nothing."""

    def compiled(self, source: str, count: int) -> list[Any]:
        return [None] * count

    def start(self, *_: Any) -> None:
        pass

    def run(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(
    "step",
    [
        lambda h, x: h[:, ::-1] * x,
        lambda h, x: h.T * x,
        lambda h, x: h[:, :1] * x + h,
        lambda h, x: h * x + h.sum(axis=0),
    ],
)
def test_entries_that_meet_are_not_taken_apart(step: Any) -> None:
    rng = np.random.default_rng(0)
    h, xs = (Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 3), (5, 3, 3)))

    def both(h: Tensor, x: Tensor) -> Any:
        new = step(h, x)
        return new, new

    close(made_by("cuda", both, h, xs, [h, xs]), made_by(False, both, h, xs, [h, xs]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_a_product_of_factors_is_no_number_an_entry_goes_step_by_step(dtype: Any) -> None:
    """Its factors overflow, and it does not, for a while: it is zero. Its neighbours are shared out as ever."""
    large = float(np.finfo(dtype).max) ** 0.75
    a = np.full((24, 1, 3), 0.5, dtype)
    a[:, :, 1] = large
    b = np.zeros((24, 1, 3), dtype)
    b[:, :, 0], b[:, :, 2], b[22, :, 1] = 1, np.arange(24)[:, None], 1
    xs, start = (Tensor(a), Tensor(b)), Tensor(np.zeros((1, 3), dtype))
    step = lambda h, x: (x[0] * h + x[1],) * 2  # noqa: E731
    found, expected = (made_by(way, step, start, xs) for way in ("cuda", False))
    close(found, expected)
    assert np.isfinite(expected[1]).all() and expected[1][-1, 0, 1] == np.asarray(large, dtype)


def test_states_of_nonlinear_cells_become_whatever_they_become() -> None:
    xs, start = Tensor(np.full((9, 1, 2), 800.0)), Tensor(np.array([[0.0, np.nan]]))
    step = lambda h, x: (ops.exp(h) - x,) * 2  # noqa: E731
    close(made_by("cuda", step, start, xs), made_by(False, step, start, xs))


@pytest.mark.parametrize(
    ("steps", "entries", "parts"),
    [(1000, 8192, 16), (1000, 8193, 8), (1000, 1 << 17, 1), (64, 8192, 8), (15, 10, 1), (16, 10, 2), (10**6, 1, 16)],
)
def test_threads_share_the_steps_where_they_are_many_and_entries_few(steps: int, entries: int, parts: int) -> None:
    assert parts_of_time(steps, entries) == parts
    assert parts <= PARTS_TO


def test_the_steps_are_shared_as_evenly_as_the_sizes_of_blocks_allow() -> None:
    """More entries than blocks and lanes at a time, steps that no number of threads divides."""
    rng = np.random.default_rng(0)
    gates = tuple(Tensor(rng.uniform(-1, 1, (37, 5, 11)), requires_grad=True) for _ in range(2))
    start = Tensor(rng.standard_normal((5, 11)), requires_grad=True)
    step = lambda h, x: (x[0] * h + x[1],) * 2  # noqa: E731
    close(made_by("cuda", step, start, gates, [start, *gates]), made_by(False, step, start, gates, [start, *gates]))
    with tg.no_grad():
        close(made_by("cuda", step, start, gates), made_by(False, step, start, gates))
