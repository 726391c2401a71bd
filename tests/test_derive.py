"""What `derive` writes out is what the tape computes: its program, its equations as they stand in print, and both of
cells that nobody foresaw."""

from __future__ import annotations

import ast
import re
import xml.dom.minidom
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from example_counts import part_of_the_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import LooksAtNumbers
from op_table import TABLE, UNDIFFERENTIABLE
from test_compiled_cells import random_cells
from test_context import Attending, Conditioned

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops, primitive
from tinygrad_rnn.cli import main
from tinygrad_rnn.derivation.both_steps import DerivationError
from tinygrad_rnn.derivation.numpy_module import PROGRAM_WIDTH
from tinygrad_rnn.derivation.numpy_notation import HELPERS, NumPy
from tinygrad_rnn.loops.differentiating import differentiate
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.loops.written.expressions import Call, lines_of
from tinygrad_rnn.loops.written.plain import Plain
from tinygrad_rnn.loops.written.symbols import Symbol
from tinygrad_rnn.models import Cell, GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.contexts import as_read, context_of

Program = dict[str, Any]
WRITTEN = sorted(CELLS.keys() - {"adaptive-time"})
"""How many steps that one takes depends on numbers."""


def run(source: str) -> Program:
    names: Program = {}
    exec(source, names)
    return names


def cell_of(kind: type[Cell], sizes: tuple[int, int] = (8, 16), seed: int = 0, **options: Any) -> Cell:
    """A cell that no weight of is 0."""
    rng = np.random.default_rng(seed)
    cell = kind(*sizes, dtype=np.float64, rng=rng, **options)
    for p in cell.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    return cell


class Work:
    """Inputs, states, and gradients of a loss for a cell, and what the tape makes of them."""

    def __init__(self, cell: Cell, steps: int = 4, rows: int = 3, seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        self.cell, self.rng = cell, rng
        self.xs = rng.standard_normal((steps, rows, cell.input_size))
        self.start = [0.4 * rng.standard_normal(s.shape) for s in cell.beginning(rows)]
        self.context = context_of(cell, rows, rng)

    def by_tape(self) -> list[Any]:
        """Outputs, last states; the gradients of xs, of the first states, of the weights and of the context, when those
        of outputs and last states are drawn."""
        xs, start = Tensor(self.xs, requires_grad=True), [Tensor(s, requires_grad=True) for s in self.start]
        context = [Tensor(c, requires_grad=c.dtype.kind == "f") for c in self.context]
        state, outputs = tuple(start), []
        for x in ops.unstack(xs):
            state, y = self.cell.stepped(x, state, as_read(context))
            outputs.append(self.cell.put_out(x, state, y))
        ys = ops.stack(outputs)
        self.d_ys = self.rng.standard_normal(ys.shape)
        self.d_last = [self.rng.standard_normal(s.shape) for s in state]
        loss = (ys * self.d_ys).sum() + sum((s * d).sum() for s, d in zip(state, self.d_last, strict=True))
        leaves = [xs, *start, *self.cell.parameters(), *context]
        for p in self.cell.parameters():
            p.grad = None
        if loss.requires_grad:
            loss.backward()
        gradients = [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad for leaf in leaves]
        return [ys.numpy(), *(s.numpy() for s in state), *gradients]

    def by_program(self, program: Program) -> list[Any]:
        """The same by a program; `by_tape` comes first."""
        names = [name for name, _ in self.cell.named_parameters()]
        weights = {name: p.data for name, p in self.cell.named_parameters()}
        called = [f"context_{i}" if i else "context" for i in range(len(self.context))]
        weights |= dict(zip(called, self.context, strict=True))
        ys, last, saved = program["forward"](weights, self.xs, *self.start)
        of_weights, d_xs, d_start = program["backward"](weights, saved, self.d_ys, *self.d_last)
        of_weights = {name: np.zeros(value.shape) for name, value in weights.items()} | of_weights
        return [ys, *last, d_xs, *d_start, *(of_weights[name] for name in (*names, *called))]


def agree(found: Sequence[Any], expected: Sequence[Any], tolerance: float = 1e-12) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, float(np.abs(b).max(initial=0.0))))


# --- The program -----------------------------------------------------------------------------------------------


def equations_of(derivation: Any) -> list[tuple[str, str]]:
    """The sides of what is printed, each in one line."""
    text = re.sub(r"\n {5,}(?=[+−] )", " ", derivation.text)
    return re.findall(r"^ {4}(\S+) += (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_program_of_every_shipped_cell_gives_the_numbers_of_the_tape_and_its_equations_are_well_formed(
    name: str,
) -> None:
    cell = cell_of(CELLS[name])
    derivation = tg.derive(cell)
    source = derivation.source
    imported = {
        alias.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported <= {"numpy", "math"} and "ImportFrom" not in ast.dump(ast.parse(source))
    assert max(map(len, source.split("\n"))) <= PROGRAM_WIDTH
    program = run(source)
    for steps, rows in ((4, 3), (1, 1)):
        sequence = Work(cell, steps, rows)
        expected = sequence.by_tape()
        agree(sequence.by_program(program), expected)
    latex = derivation.latex
    assert latex.count("{") == latex.count("}") and latex.count(r"\left") == latex.count(r"\right")
    assert latex.count(r"\begin") == latex.count(r"\end") and "1009" not in latex + derivation.text
    xml.dom.minidom.parseString(derivation.html)
    assert "<script" not in derivation.html and "http" not in derivation.html
    told = [left for left, _ in equations_of(derivation)]
    assert len(told) == len({*told}), "a name stands for two values"
    assert max(map(len, derivation.text.split("\n"))) < 80, "it is wider than a terminal"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (RNNCell, {"nonlinearity": "relu"}),
        (GRUCell, {"reset": "before", "update": "write"}),
        (GRUCell, {"recurrent_bias": True, "gate": "hard_sigmoid"}),
    ],
    ids=str,
)
def test_so_do_those_with_options(kind: type[Cell], options: Any) -> None:
    sequence = Work(cell_of(kind, **options))
    expected = sequence.by_tape()
    agree(sequence.by_program(run(tg.derive(sequence.cell).source)), expected)


@settings(part_of_the_examples(1.0))
@given(random_cells(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 9999))
def test_so_do_those_of_random_cells(kind: type[Cell], i: int, h: int, steps: int, rows: int, seed: int) -> None:
    sequence = Work(cell_of(kind, (i, h), seed), steps, rows, seed)
    expected = sequence.by_tape()
    agree(sequence.by_program(run(tg.derive(sequence.cell).source)), expected)


@pytest.mark.parametrize("kind", [Attending, Conditioned])
def test_a_context_is_read_among_the_weights_and_has_its_gradient_there(kind: type[Cell]) -> None:
    sequence = Work(cell_of(kind, (2, 4)))
    expected = sequence.by_tape()
    agree(sequence.by_program(run(tg.derive(sequence.cell).source)), expected)


def test_a_weight_may_be_called_as_the_context_is() -> None:
    class Both(Cell):
        gates = "n"
        context_shapes = ((3,), (3,))

        def setup(self) -> None:
            self.context_1 = Parameter(np.full(3, 0.4))

        def step(self, x: Tensor, h: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
            return ops.tanh(self.n(x, h) * self.context_1) + context[0] * h * context[1]

    weights = run(tg.derive(Both, 2, 3).source)["WEIGHTS"]
    assert weights["context_1"] == (3,) and weights["read_context_1"] == ("B", 3) == weights["read_context"]


def test_a_program_serves_weights_that_are_trained_later_and_both_dtypes() -> None:
    program = run(tg.derive(LSTMCell, 3, 5).source)
    for seed in (1, 2):
        sequence = Work(cell_of(LSTMCell, (3, 5), seed))
        expected = sequence.by_tape()
        agree(sequence.by_program(program), expected)
    single = Work(cell_of(LSTMCell, (3, 5)).astype(np.float32))
    single.xs, single.start = single.xs.astype(np.float32), [s.astype(np.float32) for s in single.start]
    expected = single.by_tape()
    assert expected[0].dtype == np.float32
    assert (
        program["forward"]({n: p.data for n, p in single.cell.named_parameters()}, single.xs, *single.start)[0].dtype
        == np.float32
    )


class Awkward(Cell):
    """Its own names are those of the program, or Python's."""

    gates = "t x"
    state = "saved weights"

    def setup(self) -> None:
        self.np = Parameter(np.full(self.hidden_size, 0.3))
        self.ones = np.linspace(0.5, 1.5, self.hidden_size)

    def step(self, x: Tensor, saved: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        dys = ops.sigmoid(self.t(x, saved))
        xs = ops.tanh(self.x(x, weights)) * self.np
        dsaved = dys * xs * self.ones
        ys = dsaved + dys * saved
        return ys, xs


class Still(Cell):
    """One state stays as it is, one is the other's, one is the input, and the output reads x."""

    gates = ""
    state = "a b c"

    def setup(self) -> None:
        self.w = Parameter(np.full(self.hidden_size, 0.7))

    def step(self, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Any:
        new = ops.tanh(self.w * c + b)
        return a, new, new

    def output(self, x: Tensor, *state: Tensor) -> Tensor:
        return state[1] * x.sum(axis=1, keepdims=True) * state[0]


class Adding(Cell):
    """The gradient of one weight is what that of another is made of."""

    gates = "n"

    def setup(self) -> None:
        self.u, self.v = (Parameter(np.full(self.hidden_size, value)) for value in (0.3, 0.6))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) * (self.u + self.v * ops.exp(self.v))


class Anonymous(Cell):
    """Arrays that nobody has named, one of them anew at each step."""

    gates = "n"

    def setup(self) -> None:
        self.scales = [np.linspace(0.5, 1.0, self.hidden_size), np.linspace(1.0, 0.5, self.hidden_size)]

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        n = ops.tanh(self.n(x, h) * np.arange(1.0, 1.0 + self.hidden_size))
        return n * np.full(self.hidden_size, 0.7) + self.scales[0] * h - self.scales[1]


class Means(Cell):
    """Means over rows and units, and a number that is none of rows."""

    gates = "n m"

    def setup(self) -> None:
        self.scale = 1009

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        n = ops.tanh(self.n(x, h) + h.mean() + h * self.scale * 1e-3)
        return n + ops.norm(1 - n, axis=-1, keepdims=True) * n - ops.sigmoid(self.m(x, h)).mean(axis=0)


class Written(Cell):
    """What it puts out has a name that is also the gradient's, and its gradient other parts."""

    gates = "n"
    output = "y"

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y = ops.tanh(self.n(x, h))
        return ops.tanh(y * h + ops.exp(y)), y * h


class OfRows(Cell):
    """Slices, pads and picks: of rows as many as there are, and by indices."""

    gates = "n:h"

    def setup(self) -> None:
        self.order = np.random.default_rng(0).permutation(self.hidden_size)
        self.mask = np.array([0.0, -np.inf, *[0.0] * (self.hidden_size - 2)])

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        wide = ops.pad(x, ((0, 0), (0, self.hidden_size - self.input_size)))
        picked: Tensor = ops.tanh(self.n(h) + wide)[:, self.order]
        return picked * ops.softmax(h[: len(h)] + self.mask)


class Builtins(Cell):
    """Locals and weights called as what the program calls."""

    gates = "n"

    def setup(self) -> None:
        self.WEIGHTS = Parameter(np.full(self.hidden_size, 0.4))
        self.forward = np.linspace(0.5, 1.0, self.hidden_size)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        len = ops.tanh(self.n(x, h))
        range = len * self.WEIGHTS + self.forward
        t1 = range * h
        return ops.tanh(t1 * len) + t1 * ops.sigmoid(t1)


class Detached(Cell):
    """No gradient goes through one of its values."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) * ops.sigmoid(h).detach()


@pytest.mark.parametrize("kind", [Awkward, Still, Adding, Anonymous, Means, Written, OfRows, Builtins, Detached])
def test_so_do_those_of_cells_with_names_and_states_that_nobody_expects(kind: type[Cell]) -> None:
    sequence = Work(cell_of(kind, (2, 3)))
    expected = sequence.by_tape()
    derivation = tg.derive(sequence.cell)
    agree(sequence.by_program(run(derivation.source)), expected)
    told = [left for left, _ in equations_of(derivation)]
    assert len(told) == len({*told}) and "1013" not in derivation.text + derivation.latex
    xml.dom.minidom.parseString(derivation.html)


@pytest.mark.parametrize("hidden", [1009, 2026])
def test_a_size_that_is_a_recording_s_number_of_rows_is_none(hidden: int) -> None:
    class Reshaped(Cell):
        gates = "n:x"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            whole = ops.reshape(ops.reshape(h, (len(x), self.hidden_size, 1)), (len(x), self.hidden_size))
            return ops.tanh(self.n(x)) + whole * h.mean(axis=1, keepdims=True)

    sequence = Work(cell_of(Reshaped, (2, hidden)), steps=2)
    expected = sequence.by_tape()
    agree(sequence.by_program(run(tg.derive(sequence.cell).source)), expected)


def test_what_cannot_be_written_for_any_number_of_rows_is_refused() -> None:
    other = Parameter(np.ones(3))

    class Ones(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h)) + Tensor(np.ones(h.shape))

    class Foreign(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h)) * other

    class Cut(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            cut: Tensor = self.n(x, h)[:, :2]
            return cut

    for kind, said in ((Ones, "as many rows as the batch"), (Foreign, "no attribute of the cell"), (Cut, "step fails")):
        with pytest.raises(DerivationError, match=said):
            tg.derive(kind, 2, 3)


def test_numbers_of_a_product_are_told_as_one() -> None:
    class Scaled(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h)) + 1e-5 * h * 2

    derivation = tg.derive(Scaled, 2, 3)
    assert "+ 2e-05 h" in derivation.text and r"2 \cdot 10^{-5} \, h_{t-1}" in derivation.latex


def test_lines_of_a_program_name_the_line_of_the_step_that_they_come_from() -> None:
    source = tg.derive(Awkward, 2, 3).source
    assert "# test_derive.py, line " in source and ": dys = ops.sigmoid(self.t(x, saved))" in source


# --- Each op ---------------------------------------------------------------------------------------------------

WITHOUT_A_FORM = {"linear_cross_entropy", "softmax_cross_entropy", "binary_cross_entropy_with_logits", "dropout"}
"""Losses and noise, which no step has."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TABLE.keys() - WITHOUT_A_FORM))
@settings(part_of_the_examples(0.4))
@given(data=st.data())
def test_every_op_and_its_rules_have_a_form_in_numpy(name: str, data: Any) -> None:
    call = data.draw(TABLE[name])
    function = call.function()

    def step(state: Any, x: Any) -> Any:
        found = function(*state)
        return state, tuple(found) if isinstance(found, tuple | list) else (found,)

    inputs = [np.asarray(x) for x in call.inputs]
    state, xs = tuple(map(Tensor, inputs)), Tensor(np.zeros((1, 1)))
    program, _, _ = record_step(step, state, xs)
    equations, ends = list(program.equations), list(program.ys)
    operands = dict(zip(program.captured, program.operands, strict=True))
    seeds: dict[Var, Any] = {}
    if name not in UNDIFFERENTIABLE:
        active = {*program.states}
        for e in equations:
            if e.graded and not active.isdisjoint(e.reads):
                active.update(out for out in e.outs if out.dtype.kind == "f")
        pattern = (False,) * len(program.states) + (True,) * len(program.ys)
        backward = differentiate(program, {*program.states}, active, pattern)
        rng = np.random.default_rng(0)
        seeds = {v: rng.standard_normal(v.shape) for v in (*backward.g_ys, *backward.g_new_states)}
        operands |= zip(backward.constants, backward.operands, strict=True)
        equations += backward.equations
        ends += [g for g in backward.g_states if g is not None]
    known = dict(zip(program.states, inputs, strict=True)) | seeds | operands
    everything = {*known, *(out for e in equations for out in e.outs)}
    notation = NumPy({v: Symbol(f"v{v.number}") for v in everything}, [])
    lines = lines_of(equations, lambda v: v in ends, {})
    by_op: dict[Var, Any] = {v: a.data if isinstance(a, Tensor) else a for v, a in known.items()}
    env = run("import math\nimport numpy as np\n" + "\n".join(HELPERS.values()))
    env |= {notation.name(notation.symbols[v]): a for v, a in by_op.items()}
    with np.errstate(all="ignore"):
        for e in equations:
            out = e.primitive.forward(*(by_op[a] if isinstance(a, Var) else a for a in e.args), **e.params)
            by_op |= zip(e.outs, out if e.several else (out,), strict=True)
        for line in lines:
            out = eval(notation.written(line.made), env)  # as a program would
            for v, value in zip(line.outs, out if line.several else (out,), strict=True):
                env[notation.name(notation.symbols[v])] = value
        for v in ends:
            np.testing.assert_allclose(env[notation.name(notation.symbols[v])], by_op[v], rtol=1e-9, atol=1e-11)


def test_an_op_of_the_user_s_own_is_named() -> None:
    @primitive
    def bell(x: Any) -> Any:
        return np.exp(-x * x)

    bell.vjp(lambda g, out, x: g * out * x * -2)

    class Bell(Cell):
        gates = "n"

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return bell(self.n(x, h))

    derivation = tg.derive(Bell, 2, 3)
    assert "bell(" in derivation.text
    with pytest.raises(DerivationError, match="op 'bell' has no form in NumPy"):
        derivation.source  # noqa: B018


# --- The equations ---------------------------------------------------------------------------------------------


def test_the_equations_of_an_lstm_are_the_textbook_s() -> None:
    said = tg.derive(LSTMCell, 2, 3).text
    blocks = re.findall(r"((?:^ {4}.*\n?)+)", said, re.MULTILINE)
    forward, backward, sums = ([" ".join(line.split()) for line in block.strip().split("\n")] for block in blocks)
    assert forward == [
        "i = σ(x U_i + b_i + h W_i)",
        "f = σ(x U_f + b_f + h W_f)",
        "o = σ(x U_o + b_o + h W_o)",
        "g = tanh(x U_g + b_g + h W_g)",
        "c' = f ⊙ c + i ⊙ g",
        "h' = o ⊙ tanh(c')",
    ]
    assert backward == [
        "∂h' = ∂⁺h' + ∂y",
        "∂c' = ∂⁺c' + ∂h' ⊙ o ⊙ (1 − tanh(c')²)",
        "δg = ∂c' ⊙ i ⊙ (1 − g²)",
        "∂⁺c = ∂c' ⊙ f",
        "δo = ∂h' ⊙ tanh(c') ⊙ o ⊙ (1 − o)",
        "δf = ∂c' ⊙ c ⊙ f ⊙ (1 − f)",
        "δi = ∂c' ⊙ g ⊙ i ⊙ (1 − i)",
        "∂⁺h = δg W_gᵀ + δo W_oᵀ + δf W_fᵀ + δi W_iᵀ",
        "∂x = δg U_gᵀ + δo U_oᵀ + δf U_fᵀ + δi U_iᵀ",
    ]
    assert sums[:3] == ["∂U_i = Σ_t xᵀ δi", "∂b_i = Σ_t δi", "∂W_i = Σ_t hᵀ δi"] and len(sums) == 12


_SIGN = re.compile(
    r"(?P<name>(?:∂⁺|∂|δ)?[A-Za-z][A-Za-z0-9_.]*'?)|(?P<number>\d+\.?\d*)|(?P<sign>[⊙+−/()|])|(?P<after>[ᵀ²])|(?P<root>√)|(?P<sum>Σ_t)"
)


def calculated(text: str, values: dict[str, Any]) -> Any:
    """An equation's right side as a person would calculate it: what stands side by side is multiplied, and Σ_t of a
    step is that step's part of a sum, over its rows."""
    python, ended = "", False
    functions = {"σ": "sigmoid", "tanh": "tanh", "exp": "exp", "max": "maximum", "softplus": "softplus", "relu": "relu"}
    text = re.sub(r"σ(?=\()", "sigmoid", text)
    for found in _SIGN.finditer(text):
        kind, token = found.lastgroup, found[0]
        begins = kind in ("name", "number", "root") or token == "("
        called = python.endswith(tuple(functions.values())) and token == "("
        if begins and ended and not called:
            python += " * " if re.search(r"(?<![\w'\].*])[\d.]+$", python) else " @ "
        if kind == "name":
            python += (
                token if token in functions.values() and text[found.end() : found.end() + 1] == "(" else f"V[{token!r}]"
            )
        elif kind == "after":
            python += ".T" if token == "ᵀ" else "**2"
        elif kind != "sum":
            python += {"⊙": "*", "−": "-", "√": "sqrt"}.get(token, token)
        ended = kind in ("name", "number", "after") or token == ")"
    names = {"V": values, "sigmoid": ops.sigmoid.forward, "softplus": ops.softplus.forward, "relu": ops.relu.forward}
    return eval(python, names | {name: getattr(np, name) for name in ("tanh", "exp", "maximum", "sqrt")})


LEAVES = {name: np.random.default_rng(i).uniform(-1, 1, (3, 3)) for i, name in enumerate("abc")}
LETTERS = {name: Var(i, (3, 3), np.dtype(float)) for i, name in enumerate(LEAVES)}


def made(op: Any, *args: Any) -> Call:
    return Call(op, args, {}, (3, 3))


def trees() -> st.SearchStrategy[Any]:
    """Expressions of three matrices and of numbers."""
    leaf = st.sampled_from([*LETTERS.values()])
    numbers = st.sampled_from([2, 0.5, -1.5])

    def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        two = st.sampled_from([ops.add, ops.sub, ops.mul, ops.matmul])
        products = st.sampled_from([ops.mul, ops.matmul])
        return (
            st.builds(made, two, inner, inner)
            | st.builds(lambda a, b: made(ops.div, a, made(ops.add, made(ops.square, b), 1)), inner, inner)
            | st.builds(lambda a: made(ops.div, 0.5, made(ops.mul, made(ops.exp, a), made(ops.exp, a))), leaf)
            | st.builds(made, st.sampled_from([ops.neg, ops.square, ops.tanh]), inner)
            | st.builds(lambda op, a, b: made(op, made(ops.neg, a), made(ops.neg, b)), products, inner, inner)
            | st.builds(lambda a: made(ops.swapaxes, a, -1, -2), inner)
            | st.builds(made, st.sampled_from([ops.add, ops.sub, ops.mul]), inner, numbers)
            | st.builds(made, st.sampled_from([ops.add, ops.sub, ops.mul]), numbers, inner)
            | st.builds(
                lambda g, a, b, op: made(op, made(ops.mul, g, a), made(ops.mul, g, b)),
                leaf,
                inner,
                inner,
                st.sampled_from([ops.add, ops.sub]),
            )
        )

    return st.recursive(leaf, larger, max_leaves=8)


def by_ops(value: Any) -> Any:
    if isinstance(value, Call):
        return value.primitive.forward(*map(by_ops, value.args), **value.params)
    return next((LEAVES[name] for name, var in LETTERS.items() if var is value), value)


@settings(part_of_the_examples(20.0))
@given(trees())
def test_brackets_and_signs_stand_where_they_must(tree: Any) -> None:
    symbols = {var: Symbol(name) for name, var in LETTERS.items()}
    expected = by_ops(tree)
    agree([eval(NumPy(symbols, []).written(tree), {"np": np} | LEAVES)], [expected], 1e-10)
    agree([calculated(Plain(symbols).written(tree), LEAVES)], [expected], 1e-10)


IN_PRINT = """rnn gru lstm peephole-lstm coupled-lstm lstm-nig lstm-nfg lstm-nog lstm-niaf lstm-noaf lstm-np
    projected-lstm multiplicative-lstm mgu mut1 mut2 mut3 ugrnn janet ran highway-rnn lem cornn mogrifier-lstm mi-lstm
    antisymmetric-rnn fastgrnn""".split()
"""Cells whose values are all (B,...) and whose weights are matrices and rows: print leaves out how others lie."""


@pytest.mark.parametrize("name", IN_PRINT)
def test_the_printed_equations_calculated_as_they_stand_give_the_tape_s_numbers(name: str) -> None:
    sequence = Work(cell_of(CELLS[name], (3, 4)), steps=1)
    cell = sequence.cell
    ys, *rest = sequence.by_tape()
    states, (d_x, *gradients) = rest[: len(sequence.start)], rest[len(sequence.start) :]
    derivation = tg.derive(cell)
    values: dict[str, Any] = {"x": sequence.xs[0], "∂y": sequence.d_ys[0], "∂output": sequence.d_ys[0]}
    values |= dict(zip(cell.states, sequence.start, strict=True))
    values |= {f"∂⁺{state}'": d for state, d in zip(cell.states, sequence.d_last, strict=True)}
    for path, p in cell.named_parameters():
        gate, _, own = path.rpartition(".")
        values[f"{own}_{gate}" if gate else own] = p.data
    for var, array in derivation.both.constants.items():
        values[derivation.both.symbols[var].name] = array.data
    for left, right in equations_of(derivation):
        found = calculated(right, values)
        values[left] = found.sum(axis=0) if left.startswith("∂") and right.startswith("Σ_t δ") else found
    printed = {state: values[f"{state}'"] for state in cell.states}
    agree([*printed.values(), values["∂x"]], [*states, d_x[0]])
    agree([values[f"∂⁺{state}"] for state in cell.states], gradients[: len(states)])
    assert ys.shape[0] == 1


def test_a_notebook_shows_the_equations_of_a_cell_and_its_weights() -> None:
    shown = RNNCell(2, 3)._repr_html_()
    assert "<math" in shown and "n.U" in shown and "<mi>tanh</mi>" in shown
    assert "<math" not in LooksAtNumbers(2, 3)._repr_html_()


def test_explain_prints_a_step_for_tex(capsys: pytest.CaptureFixture[str]) -> None:
    layer = tg.models.GRU(2, 3, num_layers=2)
    tg.explain(layer, Tensor(np.zeros((2, 1, 2), np.float32)), form="latex")
    said = capsys.readouterr().out
    assert said.count(r"\begin{aligned}") == 2
    assert r"z_{t} &= \sigma\left(x_{t} \, U_{z} + b_{z} + h_{t-1} \, W_{z}\right)" in said
    assert r"h_{t} &= \left(1 - z_{t}\right) \odot n_{t} + z_{t} \odot h_{t-1}" in said


# --- What is refused, and the command --------------------------------------------------------------------------


def test_what_is_no_cell_and_what_has_no_equations_is_refused() -> None:
    wrongs: list[Any] = [3, int, "lstm", tg.models.GRU(2, 3)]
    for wrong in wrongs:
        with pytest.raises(TypeError, match="a cell or a class made with Cell was expected"):
            tg.derive(wrong)
    with pytest.raises(TypeError, match="options are for a class"):
        tg.derive(GRUCell(2, 3), reset="before")
    with pytest.raises(DerivationError, match="LooksAtNumbers has no one backward step: the step looks at the numbers"):
        tg.derive(LooksAtNumbers)


def test_a_program_is_saved_and_nothing_is_written_over(tmp_path: Path) -> None:
    derivation = tg.derive(RNNCell, 2, 3)
    derivation.save(tmp_path / "rnn.py")
    assert (tmp_path / "rnn.py").read_text(encoding="utf-8") == derivation.source
    with pytest.raises(FileExistsError):
        derivation.save(tmp_path / "rnn.py")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, ["derive", *map(str, args)])


def test_the_command_prints_the_equations_and_writes_the_program(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from tinygrad_rnn.models import Cell\nfrom tinygrad_rnn.ops import tanh\n\n\nclass MyCell(Cell):\n"
        "    gates = 'n'\n\n    def step(self, x, h):\n        return tanh(self.n(x, h)) + 0.5 * h\n"
    )
    done = typed("mine.py:MyCell")
    assert done.exit_code == 0, done.output
    assert "δn  = ∂h' ⊙ (1 − n²)" in done.output and "mycell_bptt.py" in done.output
    source = (tmp_path / "mycell_bptt.py").read_text(encoding="utf-8")
    assert "# mine.py, line 9: return tanh(self.n(x, h)) + 0.5 * h" in source
    assert run(source)["WEIGHTS"] == {"n.U": (4, 8), "n.b": (8,), "n.W": (8, 8)}
    again = typed("mine.py:MyCell")
    assert again.exit_code == 2 and "mycell_bptt.py is there already" in again.output
    assert typed("mine.py:MyCell", "--overwrite", "--form", "latex").output.startswith("% The step")
    assert typed("lstm", "--form", "html", "--out", "a.py").output.startswith('<div class="derivation">')
    assert typed("phased-lstm(leak=0.01)", "--out", "b.py").exit_code == 0


def test_a_mistake_is_one_sentence_and_nothing_is_written(typed: Any, tmp_path: Path) -> None:
    looking = Path(__file__).with_name("looking.py")
    for args, said in (
        ((f"{looking}:LooksAtNumbers",), "LooksAtNumbers has no one backward step"),
        (("nothing",), "cell"),
    ):
        done = typed(*args)
        assert done.exit_code in (1, 2) and said in done.output and "Traceback" not in done.output
    assert not [*tmp_path.iterdir()]
