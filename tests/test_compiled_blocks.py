"""A backward loop that makes large values runs in blocks of steps: the same gradients, with room for a block."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import buffers, engines, ops
from tinygrad_rnn.loops import segments
from tinygrad_rnn.loops.compiling import BackwardLoop, compile_program
from tinygrad_rnn.loops.contractions import Contraction
from tinygrad_rnn.loops.lifting import lifted
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.loops.scanning import listener
from tinygrad_rnn.loops.segments import LARGE, blocks_of, room_for_large_values
from tinygrad_rnn.loops.totals import Term
from tinygrad_rnn.models import AdditiveAttention, Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.sums import SUMMED_AT_ONCE
from tinygrad_rnn.tensor import Parameter, Tensor

B, S, M, H, A = 2, 20, 2, 3, 17


class Scene:
    """A step that attends to a memory of many entries, and all that it depends on."""

    def __init__(self, steps: int, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(0)

        def leaf(*shape: int) -> Tensor:
            return Parameter(0.5 * rng.standard_normal(shape), dtype=dtype)

        self.attention = AdditiveAttention(H, M, A, dtype=dtype, rng=rng)
        self.memory, self.W, self.back, self.gain = leaf(B, S, M), leaf(H, H), leaf(M, H), leaf(S, 1)
        self.h, self.x = leaf(B, H), leaf(steps, B, H)
        self.leaves: list[Any] = [self.memory, self.W, self.back, self.gain, self.h, self.x]
        self.leaves += self.attention.parameters()

    def step(self, h: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        found, weights = self.attention(h, self.memory * self.gain)
        return ops.tanh(h @ self.W + x + found @ self.back), (found, weights)

    def loss(self, on: bool, asked: tuple[bool, ...] = (True, True, True), every: int | None = None) -> Tensor:
        with tg.compiled(on):
            last, ys = tg.scan(self.step, self.h, self.x, checkpoint_every=every)
        ends = [end for end, wanted in zip((last, *ys), asked, strict=True) if wanted]
        return ops.stack([(ops.sin(end + 0.1) * end).sum() for end in ends]).sum()

    def gradients(self, on: bool, *args: Any) -> list[Any]:
        for leaf in self.leaves:
            leaf.grad = None
        self.loss(on, *args).backward()
        return [leaf.grad for leaf in self.leaves]

    def backward(self) -> BackwardLoop:
        return backward_of(self.step, self.h, self.x)


def backward_of(step: Any, state: Any, xs: Any, lift: bool = True) -> BackwardLoop:
    program, _, _ = record_step(step, state, xs)
    program = lifted(program)[0] if lift else program
    count = len(program.captured) + len(program.states) + len(program.xs)
    backward = compile_program(program, (True,) * count, "numpy").backward
    assert backward is not None
    return backward


@given(
    steps=st.integers(2, 6),
    most=st.integers(1, 2),
    asked=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any),
    every=st.sampled_from([None, 2, 3]),
)
def test_in_blocks_of_any_length_the_gradients_are_those_of_the_plain_loop(
    steps: int, most: int, asked: tuple[bool, ...], every: int | None
) -> None:
    scene = Scene(steps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "BLOCK_BYTES", most * scene.backward().room)
        found = scene.gradients(True, asked, every)
    for a, b in zip(found, scene.gradients(False, asked), strict=True):
        np.testing.assert_allclose(0.0 if a is None else a, 0.0 if b is None else b, rtol=1e-10, atol=1e-12)


def test_derivatives_to_second_order_agree_with_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(3)
    attention = scene.attention
    monkeypatch.setattr(segments, "BLOCK_BYTES", 1)

    def loss(gain: Tensor, v: Tensor) -> Tensor:
        scene.gain, scene.attention = gain, attention.with_values({"v": v})
        return scene.loss(True)

    tg.gradcheck(loss, Tensor(scene.gain.data), Tensor(attention.v.data), order=2)


@pytest.mark.slow
def test_float32_stays_within_a_hundred_thousandth_of_the_plain_loop_over_many_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", 1)
    scene = Scene(300, dtype=np.float32)
    for a, b in zip(scene.gradients(True), scene.gradients(False), strict=True):
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_sums_of_float16_are_added_up_in_float32_over_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    w = Parameter(np.zeros((100, 1)), dtype=np.float16)
    state, xs = Tensor(np.zeros(1, np.float16)), Tensor(np.ones((256, 1), np.float16))
    for block in (1, segments.BLOCK_BYTES):
        monkeypatch.setattr(segments, "BLOCK_BYTES", block)
        w.grad = None
        _, ys = tg.scan(lambda h, x: (h, (ops.tanh(w * x) * 10.1).sum()), state, xs)
        ys.sum().backward()
        assert w.grad.dtype == np.float16
        np.testing.assert_array_equal(w.grad, np.full((100, 1), 256 * np.float16(10.1)))


# --- What it is for --------------------------------------------------------------------------------------------


def test_going_back_over_attention_needs_no_room_for_its_large_values_of_all_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "best_engine", lambda: "numpy")  # machine code makes most of them one by one
    monkeypatch.setattr(buffers, "SMALLEST", 1 << 62)  # memory that is used again would not be counted
    steps = 64
    scene = Scene(steps)
    room, values = scene.backward().room, 8 * steps * B * S * A
    assert room > 0
    peaks = []
    for most in (2, steps):
        monkeypatch.setattr(segments, "BLOCK_BYTES", most * room)
        scene.gradients(True)
        loss = scene.loss(True)
        tracemalloc.start()
        try:
            loss.backward()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[0] < 0.5 * values and peaks[1] > 1.5 * values


def test_explain_says_of_what_runs_in_blocks_that_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene(2)
    room = scene.backward().room
    tg.explain(tg.scan, scene.step, scene.h, scene.x)
    assert (
        f"all of it in blocks of {segments.BLOCK_BYTES // room} steps: {room:,} bytes a step" in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_no_cell_of_gates_is_cut_into_blocks(name: str) -> None:
    layer = Recurrent(CELLS[name], 4, 4)
    heard: list[Any] = []
    token = listener.set(heard)
    try:
        layer(np.ones((2, 3, 4), np.float32))
    finally:
        listener.reset(token)
    for step, state, xs in heard:
        assert backward_of(step, state, xs).room == 0


@given(start=st.integers(0, 9), steps=st.integers(1, 2000), room=st.sampled_from([0, 1, 1 << 20, 1 << 25, 1 << 30]))
def test_blocks_are_all_the_steps_once_the_last_first_within_their_room_and_few(
    start: int, steps: int, room: int
) -> None:
    blocks = [*blocks_of(slice(start, start + steps), room)]
    assert [t for block in blocks[::-1] for t in range(block.start, block.stop)] == [*range(start, start + steps)]
    assert len(blocks) <= SUMMED_AT_ONCE
    longest = max(block.stop - block.start for block in blocks)
    assert longest * room <= segments.BLOCK_BYTES or longest <= 1 + steps // SUMMED_AT_ONCE
    assert room or len(blocks) == 1


def test_a_value_is_large_beside_the_largest_that_a_step_is_given() -> None:
    def value(*shape: int) -> Var:
        return Var(0, shape, np.dtype(np.float32))

    given_, small, large = value(2, 3), value(2, 3, LARGE - 1), value(2, 3, LARGE)
    assert room_for_large_values([small, value(5)], [given_]) == 0
    assert room_for_large_values([], [given_]) == 0
    assert room_for_large_values([large, value(5)], [given_, value()]) == 4 * (6 * LARGE + 5)


def test_a_product_with_a_matrix_that_stays_the_same_is_made_once_of_the_sum_over_time() -> None:
    memory, W, weight = (Parameter(np.ones(shape)) for shape in [(B, 3), (3, 5), (B, 5)])

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.tanh(h + (memory @ W) * x), h * weight

    backward = backward_of(step, Tensor(np.ones((B, 5))), Tensor(np.ones((4, B, 5))), lift=False)
    groups = dict(zip((v.shape for v in backward.program.captured), backward.sums, strict=True))
    assert [type(term) for term in groups[B, 3] or ()] == [Contraction]
    assert [type(term) for term in groups[B, 5] or ()] == [Term]
    parts = backward.loop.parts
    assert not any(v.shape == (B, 3) for e in (*parts.before, *parts.loop, *parts.after) for v in e.outs)
