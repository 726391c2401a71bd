"""Whose code a frame runs, and what is said of it: the lines of a user's own, and the names that a step gives."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.frames import is_ours, owner, user_lines
from tinygrad_rnn.loops import ScanWarning
from tinygrad_rnn.loops.value_names import named_recording
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.variants import VARIANTS
from tinygrad_rnn.training.cell_files import open_cell

XS = Tensor(np.zeros((3, 2, 4), np.float32))


def frame_of(module: str) -> types.FrameType:
    """A frame whose code belongs to a module of that name."""
    scope: dict[str, object] = {"__name__": module, "sys": sys}
    exec("def here():\n    return sys._getframe()", scope)
    frame = scope["here"]()  # type: ignore[operator]  # made just now
    assert isinstance(frame, types.FrameType)
    return frame


@pytest.mark.parametrize(
    ("module", "whose"),
    [
        ("tinygrad_rnn", "engine"),
        ("tinygrad_rnn.models.recurrent", "engine"),
        ("tinygrad_rnn.models.cell", "engine"),
        ("tinygrad_rnn.models.cells", "shipped cell"),
        ("tinygrad_rnn.models.variants.grus", "shipped cell"),
        ("tinygrad_rnn_user_cell_mycells", "user's file"),
        ("tinygrad_rnn_extras", "user"),
        ("__main__", "user"),
        ("numpy", "user"),
    ],
)
def test_a_frame_has_one_owner(module: str, whose: str) -> None:
    frame = frame_of(module)
    assert owner(frame) == whose
    assert is_ours(frame) == (whose in ("engine", "shipped cell"))


def test_the_lines_of_an_error_are_the_users_own_the_innermost_last() -> None:
    def outer() -> None:
        ops.reshape(Tensor(np.zeros(3)), (2, 2))

    with pytest.raises(ValueError) as told:
        outer()
    lines = user_lines(told.value)
    start = outer.__code__.co_firstlineno
    assert [line for path, line in lines if path == __file__] == [start + 4, start + 1]
    assert not any("tinygrad_rnn" in Path(path).parts for path, _ in lines)


CELL = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Looking(Cell):
    gates = "n"

    def step(self, x, h):
        total = self.n(x, h)
        return tanh(total) if total.numpy().max() > 1 else total
"""


def test_a_cell_found_in_a_file_keeps_its_line_in_the_warning_of_a_scan(tmp_path: Path) -> None:
    (tmp_path / "looking.py").write_text(CELL, encoding="utf-8")
    layer = Recurrent(open_cell(f"{tmp_path / 'looking.py'}:Looking").cell, 4, 3)
    with pytest.warns(ScanWarning, match=r"looking\.py:10: return tanh\(total\) if total\.numpy"):
        layer(XS)


def test_explain_calls_the_values_of_a_shipped_variant_as_its_step_does(capsys: pytest.CaptureFixture[str]) -> None:
    tg.explain(Recurrent(VARIANTS["mgu"], 4, 3), XS)
    assert " f = sigmoid(f.sum)" in capsys.readouterr().out


class Pair(NamedTuple):
    """A state with names."""

    position: Tensor
    speed: Tensor


def test_making_a_named_tuple_gives_no_names_to_a_steps_values() -> None:
    zeros = Tensor(np.zeros(3))

    def step(state: Pair, x: Tensor) -> tuple[Pair, Tensor]:
        faster = state.speed + x
        return Pair(state.position + faster, faster), x

    program, names = named_recording(step, Pair(zeros, zeros), Tensor(np.ones((4, 3))))
    assert [names[v] for v in (*program.states, *program.xs)] == ["state0", "state1", "x"]
    assert names[program.new_states[1]] == "faster"  # as the step calls it, not the field that it is put into
    (last, _) = tg.scan(step, Pair(zeros, zeros), Tensor(np.ones((4, 3))))
    assert isinstance(last, Pair) and last.position.numpy().tolist() == [10.0, 10.0, 10.0]
