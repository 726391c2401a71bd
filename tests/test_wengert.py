"""The printed tape and its drawing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tinygrad_rnn import FreedTapeError, Parameter, Tape, Tensor, compiled, grad, no_grad, ops
from tinygrad_rnn.loops import unroll
from tinygrad_rnn.models import GRU, LanguageModel


def lines(tape: Tape) -> list[str]:
    return str(tape).splitlines()[2:]


def test_a_line_tells_number_op_operands_shape_dtype_bytes_and_name() -> None:
    w, x = Parameter(np.ones((2, 3)), name="w"), Tensor(np.ones((4, 2), np.float32))
    tape = Tape(ops.tanh(x @ w) * 2.0)
    leaf, product, activation, scaled = (re.split(r"\s{2,}", line.strip()) for line in lines(tape))
    assert leaf[1:] == ["leaf", "(2, 3)", "float64", "48", "w"]
    assert product[1:] == ["matmul", f"float32[4, 2], #{leaf[0]}", "(4, 3)", "float64", "96"]
    assert activation[1:3] == ["tanh", f"#{product[0]}"]
    assert scaled[1:3] == ["mul", f"#{activation[0]}, 2.0"]
    assert len(tape) == 3


def test_ops_stand_in_the_order_in_which_they_were_done_and_each_once() -> None:
    x = Tensor(2.0, requires_grad=True)
    y = x * x
    numbers = [int(line.split()[0]) for line in lines(Tape(y * y + y))]
    assert numbers == [1, 2, 3, 4]  # the leaf, the square, its square, the sum


def test_layer_cell_gate_and_time_step_stand_beside_the_ops_of_a_network() -> None:
    with compiled(False):
        outputs, _ = GRU(2, 3)(np.ones((3, 1, 2), np.float32))
    text = str(Tape(outputs.sum()))
    for step in range(3):
        assert f"layer 0, cell GRUCell, step {step}, gate z" in text
    assert re.search(r"leaf .* z\.U$", text, re.M)


def test_collapsed_the_tape_of_a_long_sequence_is_as_long_as_that_of_a_short_one() -> None:
    def length(steps: int) -> int:
        with compiled(False):
            outputs, _ = GRU(2, 3)(np.ones((steps, 1, 2), np.float32))
        return len(lines(Tape(outputs.sum(), collapse=True)))

    assert length(5) == length(50)
    with compiled(False):
        outputs, _ = GRU(2, 3)(np.ones((50, 1, 2), np.float32))
    assert "49 more steps" in str(Tape(outputs, collapse=True))
    assert len(lines(Tape(outputs))) > 50 * 15


def test_uncollapsed_every_op_of_every_step_has_its_line() -> None:
    _, ys = unroll(lambda s, x: (s + x, s), Tensor(0.0, requires_grad=True), Tensor(np.ones(3, np.float32)))
    text = str(Tape(ys))
    assert all(f"step {t}" in text for t in range(2))
    assert "more steps" not in text


def test_one_of_several_results_is_named_by_its_place() -> None:
    x = Tensor(np.ones((3, 2)), requires_grad=True)
    _, second, _ = ops.unstack(x)
    text = str(Tape(second * 2.0))
    assert re.search(r"unstack .* 3 x \(2,\)", text)
    assert re.search(r"mul +#\d+\[1\], 2\.0", text)


def test_a_variable_of_a_derivative_is_called_one() -> None:
    seen: list[str] = []

    def f(x: Tensor) -> Tensor:
        y = x * x
        seen.append(str(Tape(y)))
        return y

    grad(f)(Tensor(1.0))
    assert re.search(r"^ *\d+ +variable ", seen[0], re.M)


def test_the_drawing_is_a_graph_with_an_arrow_from_every_operand() -> None:
    x, w = Tensor(np.ones(2), requires_grad=True), Parameter(np.ones(2), name="w")
    dot = Tape((x * w).sum()).to_dot()
    assert dot.startswith("digraph tape {")
    assert dot.endswith("}")
    assert dot.count("->") == 3
    assert "w\\n(2,)" in dot
    assert dot.count("shape=box") == 2


def test_a_model_is_drawn_and_printed_whole() -> None:
    loss, _ = LanguageModel(7, 3, 4, num_layers=2).loss(np.ones((2, 1), int), np.ones((2, 1), int))
    tape = Tape(loss)
    assert tape.to_dot().count("label=") >= len(tape)
    assert "linear_cross_entropy" in str(tape)


def test_what_is_not_on_a_tape_cannot_be_shown() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        Tape(Tensor(1.0))
    x = Tensor(1.0, requires_grad=True)
    with no_grad(), pytest.raises(ValueError, match="nothing was recorded"):
        Tape(x * x)
    y = x * x
    y.backward()
    with pytest.raises(FreedTapeError, match="retain=True"):
        Tape(y)
