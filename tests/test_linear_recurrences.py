"""Steps that are linear in their states are recognised from their recording, and said so by explain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.loops.linear import LinearRecurrence, linear_recurrence
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS

B, I, H = 2, 3, 4  # noqa: E741  (the field's letters)

LINEAR: dict[str, tuple[set[str], set[str]]] = {
    "mingru": ({"h"}, set()),
    "minlstm": ({"h"}, set()),
    "lru": ({"re", "im"}, set()),
    "s4d": ({"re", "im"}, set()),
    "mamba": ({"h"}, set()),
    "rg-lru": ({"h"}, set()),
    "gla": ({"S"}, set()),
    "qrnn": ({"c"}, {"n_before", "f_before", "o_before"}),
}
"""By the name of a cell the states that are linear, and those that are known beforehand. (SRU's gates read theirs.)"""


def found_in(cell: Cell) -> LinearRecurrence | None:
    def step(state: Any, x: Any) -> Any:
        new, y = cell.stepped(x, state)
        return new, cell.put_out(x, new, y)

    program, _, _ = record_step(step, cell.initial_state(B), Tensor(np.ones((2, B, I), np.float32)))
    found = linear_recurrence(program)
    names.update(zip(program.states, cell.states, strict=True))
    return found


names: dict[Any, str] = {}


@pytest.mark.parametrize("name", CELLS)
def test_the_cells_that_are_linear_in_their_states_are_known_and_no_others(name: str) -> None:
    found = found_in(CELLS[name](I, H))
    if name not in LINEAR:
        assert found is None
        return
    linear, known = LINEAR[name]
    assert found is not None
    assert ({names[v] for v in found.linear}, {names[v] for v in found.known}) == (linear, known)


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_called_linear_is_so(name: str) -> None:
    """Where states are linear, the mean of two steps is the step of the mean, whatever the input."""
    cell = CELLS[name](I, H, dtype=np.float64)
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((B, I)))
    _, known = LINEAR[name]
    first, second = ([rng.standard_normal(s.shape) for s in cell.initial_state(B)] for _ in range(2))
    for i, state in enumerate(cell.states):
        second[i] = first[i] if state in known else second[i]
    mean = [0.25 * a + 0.75 * b for a, b in zip(first, second, strict=True)]
    one, other, between = (cell.advance(x, tuple(map(Tensor, states))) for states in (first, second, mean))
    for a, b, c in zip(one, other, between, strict=True):
        np.testing.assert_allclose(0.25 * a.numpy() + 0.75 * b.numpy(), c.numpy(), rtol=1e-10, atol=1e-12)


def recorded(step: Any, *states: Any) -> LinearRecurrence | None:
    shapes = states or ((B, H),)
    state = tuple(Tensor(np.ones(shape)) for shape in shapes)
    return linear_recurrence(record_step(lambda s, x: (step(x, *s), x), state, Tensor(np.ones((2, B, H))))[0])


@pytest.mark.parametrize(
    "step",
    [
        lambda x, h: (x * h + ops.tanh(x),),
        lambda x, h: (-(h / (1 + ops.square(x))) - x,),
        lambda x, h: (ops.where(x > 0, h, x * h),),
        lambda x, h: (h - 0.5 * (h - x),),
    ],
)
def test_sums_and_multiples_of_a_state_are_linear(step: Any) -> None:
    assert recorded(step) is not None


@pytest.mark.parametrize(
    "step",
    [
        lambda x, h: (x * h * h,),
        lambda x, h: (x / h,),
        lambda x, h: (ops.tanh(h) + x,),
        lambda x, h: (ops.where(h > 0, h, x),),
        lambda x, h: (ops.flip(h, 1) * x,),
        lambda x, h: (h * h.sum(),),
        lambda x, h: (h[:, :1] * x,),
        lambda x, h: (h @ np.eye(H) + x,),
    ],
)
def test_what_multiplies_states_moves_entries_or_bends_them_is_not(step: Any) -> None:
    assert recorded(step) is None


def test_a_step_that_carries_nothing_but_its_inputs_has_nothing_to_be_linear_in() -> None:
    assert recorded(lambda x, before: (ops.tanh(x),)) is None
    found = recorded(lambda x, h, before: (ops.tanh(before) * h + x, x), (B, H), (B, H))
    assert found is not None and len(found.known) == 1 and len(found.linear) == 1


def test_explain_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def said(name: str) -> str:
        tg.explain(Recurrent(CELLS[name], I, H), np.ones((3, B, I), np.float32))
        return capsys.readouterr().out

    assert "h: linear in the state, entry by entry\n    h' = a h + c, with all of the input\n" in said("mingru")
    assert "re, im: linear in the state" in (text := said("lru")) and "re' = a re + b im + c, with all" in text
    assert "known beforehand, of the inputs alone: " in said("qrnn")
    with tg.compiled("numpy"):
        assert said("lru").count("in one pass over all of them") == 2  # forward and backward
        assert "in one pass" not in said("lstm")
    assert "linear in the state" not in said("gru")
