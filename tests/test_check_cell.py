"""check_cell passes what is right, and says what is wrong with what is not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from looking import LooksAtNumbers

import tinygrad_rnn as tg
from tinygrad_rnn import CellError, CellReport, Parameter, Tensor, check_cell, ops
from tinygrad_rnn.checks.battery import BEGINNING, CHECKS
from tinygrad_rnn.checks.rows import row_of
from tinygrad_rnn.checks.subject import Subject, reasons_noted
from tinygrad_rnn.cli import main
from tinygrad_rnn.models import Cell, GRUCell, LSTMCell, RNNCell


def verdicts(report: CellReport) -> dict[str, bool | None]:
    return {row.what: row.held for row in report.rows}


def figure(cell: type[Cell], what: str, **options: Any) -> str:
    """One check alone, made as `check_cell` makes it: its verdict and its figure."""
    subject = Subject(cell, 2, 3, 0, options)
    with reasons_noted():
        assert row_of(BEGINNING, subject.begin).held
        row = row_of(what, partial(CHECKS[what], subject))
    return f"{row.held} {row.figure}"


@pytest.mark.parametrize("cell", [RNNCell, GRUCell, pytest.param(LSTMCell, marks=pytest.mark.slow)])
def test_the_classic_cells_pass(cell: type[Cell]) -> None:
    report = check_cell(cell, 1, 2, show=False)
    assert report.passed
    assert {what for what, held in verdicts(report).items() if held is None} <= {"GPU = CPU"}
    assert len(report.rows) == 19


@pytest.mark.slow
def test_options_of_the_cell_are_passed_on() -> None:
    report = check_cell(GRUCell, 1, 2, show=False, reset="before", gate="hard_sigmoid")
    assert report.passed
    assert report.title.startswith("GRUCell(1, 2)")
    with pytest.raises(CellError, match="it can be built and run: ValueError: reset must be one of"):
        check_cell(GRUCell, reset="never", show=False)


@pytest.mark.parametrize("option", [{"num_layers": 2}, {"bidirectional": True}, {"dtype": np.float32}])
def test_options_of_the_layer_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"options are the cell's; of the layer is {next(iter(option))}"):
        check_cell(GRUCell, **option)


@pytest.mark.slow
def test_the_table_is_printed_unless_it_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    report = check_cell(RNNCell)
    assert capsys.readouterr().out == f"{report}\n"
    assert str(report).startswith("RNNCell(2, 3): gates n; states h; 18 weights\n  ok    the step depends on")
    check_cell(RNNCell, 1, 1, show=False)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table() -> None:
    first, again, other = (str(check_cell(RNNCell, 1, 1, show=False, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


@tg.primitive
def softsign(x: Any) -> Any:
    return x / (1 + abs(x))


softsign.vjp(lambda g, out, x: g * (1 - abs(out)))  # it is (1 - |out|)**2


class WrongRule(Cell):
    gates = "z n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.sigmoid(self.z(x, h)) * h + softsign(self.n(x, h))


def test_a_wrong_derivative_is_told_with_gate_parameter_and_entry() -> None:
    with pytest.raises(CellError, match=r"WrongRule: first derivatives") as failure:
        check_cell(WrongRule, 1, 1, show=False)
    assert "the derivative by parameter U of gate z, entry [" in str(failure.value)
    assert "so is that by the inputs, state h, parameter W of gate z" in str(failure.value)


class WrongForOneParameter(Cell):
    gates = "n"

    def setup(self) -> None:
        self.peep = Parameter(np.zeros(self.hidden_size))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) + softsign(self.peep))


class WrongForOneGate(Cell):
    gates = "n z"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) + softsign(self.z.b))


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (WrongForOneParameter, r"the derivative by parameter peep, entry \[\d\]: the rules give"),
        (WrongForOneGate, r"the derivative by parameter b of gate z, entry \[\d\]: the rules give"),
    ],
)
def test_what_the_wrong_derivative_is_of_is_named(cell: type[Cell], told: str) -> None:
    with pytest.raises(CellError, match=told):
        check_cell(cell, 1, 1, show=False)


@tg.primitive
def cube(x: Any) -> Any:
    return x**3


cube.vjp(lambda g, out, x: g * 3.0 * (x.detach() if isinstance(x, Tensor) else x) ** 2)  # constant, to order two


class WrongSecondDerivative(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return cube(ops.tanh(self.n(x, h)))


@tg.primitive
def twice(x: Any) -> Any:
    return 2 * x


@tg.primitive
def twice_wrongly_differentiated(x: Any) -> Any:
    return 2 * x


twice.vjp(lambda g, out, x: twice_wrongly_differentiated(g))
twice_wrongly_differentiated.vjp(lambda g, out, x: 1.5 * g)


class WrongByItsCotangent(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h))

    def output(self, h: Tensor) -> Any:
        return twice(h)


class BatchMean(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        total = self.n(x, h)
        return ops.tanh(total - total.mean(axis=0, keepdims=True))


class Impatient(Cell):
    """Squashes all rows where one of them is large."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        total = self.n(x, h)
        return ops.tanh(total) if abs(total.numpy()).max() > 4 else total * 0.5


class Unsaved(Cell):
    gates = "n"

    def setup(self) -> None:
        assert self.rng is not None
        self.scale = float(self.rng.uniform(0.5, 1.5))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.scale * self.n(x, h))


class Counting(Cell):
    gates = "n"

    def setup(self) -> None:
        self.calls = 0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        self.calls += 1
        return ops.tanh(self.n(x, h) / float(self.calls))


class Clocked(Cell):
    """What is written at a step depends on how large all steps before it were: a state that no state holds."""

    gates = "n"

    def setup(self) -> None:
        self.last: Any = 0.0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        with tg.no_grad():
            now = float(x.numpy().sum())
        result = ops.tanh(self.n(x, h) + self.last)
        self.last = now
        return result


class Alternating(Cell):
    gates = "n"

    def setup(self) -> None:
        self.calls = 0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        self.calls += 1
        return ops.tanh(self.n(x, h) * (1.0 + self.calls % 2))


class OfTheFirstBatch(Cell):
    gates = "n"

    def setup(self) -> None:
        self.rows = 0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        self.rows = self.rows or len(x)
        return ops.tanh(self.n(x, h) / float(self.rows))


class Keeping(Cell):
    gates = "n"

    def setup(self) -> None:
        self.before: Any = 0.0

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        before, self.before = self.before, x.sum()
        return ops.tanh(self.n(x, h) + before)


@tg.primitive
def capped(x: Any) -> Any:
    return np.where(x > 3.0, 3.0, x)


capped.vjp(lambda g, out, x: g)  # it is 0 where x > 3


class WrongWhereLarge(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(0.3 * capped(self.n(x, h)))


class NoNumberAtZero(Cell):
    """The slope of the root is infinite at 0."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) / ops.sqrt((x * x).sum(axis=1, keepdims=True)))


class Unfound(Cell):
    gates = "n"
    scale = Parameter(np.ones(3), dtype=np.float64)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) * self.scale)


class MadeOfItsWeights(Cell):
    gates = "n"

    def setup(self) -> None:
        self.logarithm = Parameter(np.zeros(self.hidden_size))
        self.rate = -ops.exp(self.logarithm)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) * self.rate)


class NoNumbers(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) + ops.log(h * h - 9)  # what makes none


class OneMatrix(Cell):
    """No gate reads its state, and a matrix multiplies it."""

    gates = "n:x"

    def setup(self) -> None:
        self.M = Parameter(np.eye(self.hidden_size))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x) + h @ self.M)


class ForThree(Cell):
    gates = "n"

    def setup(self) -> None:
        self.scale = Parameter(np.ones(3))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) * self.scale)


class Beginning(Cell):
    """Its initial state is learned."""

    gates = "n"

    def setup(self) -> None:
        self.h0 = Parameter(np.ones(self.hidden_size))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        return (ops.broadcast_to(self.h0, (batch_size, self.hidden_size)),)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h))


class WrongBeginning(Beginning):
    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        return (ops.broadcast_to(softsign(self.h0), (batch_size, self.hidden_size)),)


class Stepless(Cell):
    gates = "n"


class Flat(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)).sum(axis=1)


class Shapeless(Stepless):
    state = "h c"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(3,)]


class Optional(Cell):
    gates = "n"

    def setup(self, depth: int) -> None:
        self.depth = depth


class Delay(Cell):
    """One of its states is as wide as the input."""

    gates = "n"
    state = "h last"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (self.input_size,)]

    def step(self, x: Tensor, h: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        return ops.tanh(self.n(last, h)), x


class Bare(Cell):
    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(h * 0.5 + x.sum(axis=1, keepdims=True))


class Kinked(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.maximum(self.n(x, h), 0.1 * h) - abs(h - 0.3)


@pytest.mark.parametrize(
    ("cell", "seeds"),
    [
        (Delay, 1),
        (Beginning, 1),
        (Bare, 1),
        pytest.param(Kinked, 2, marks=pytest.mark.slow),
        pytest.param(NoNumberAtZero, 2, marks=pytest.mark.slow),
    ],
)
def test_unusual_cells_pass(cell: type[Cell], seeds: int) -> None:
    for seed in range(seeds):  # where kinks lie depends on it
        report = check_cell(cell, 1, 2, show=False, seed=seed)
        notes = {what for what, held in verdicts(report).items() if held is None}
        assert notes <= {"GPU = CPU", "another number of inputs and units"} | ({ZONEOUT} if cell is Delay else set())


class DrawsInSetup(Cell):
    gates = "n"

    def setup(self) -> None:
        self.P = Parameter(np.random.default_rng().standard_normal(self.hidden_size))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) + self.P)


class LooksAtItsInput(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h)) if float(x.max()) > 0 else h


@pytest.mark.parametrize(
    ("cell", "failing"),
    [
        (BatchMean, "batch rows are independent"),
        (Impatient, "batch rows are independent"),
        (Unsaved, "weights come back from a file"),
        (Alternating, "the step depends on its arguments alone: the same call gave two results"),
        (OfTheFirstBatch, "the step depends on its arguments alone: the same call gave two results"),
        (Keeping, "CannotRecord: the step keeps a Tensor of one call for another: make it a state"),
        (WrongWhereLarge, "first derivatives = finite differences: the derivative by parameter U of gate n"),
        (MadeOfItsWeights, "every parameter takes part: 'rate', a Tensor of the shape (3,) asks"),
        (
            Unfound,
            "every parameter takes part: 'scale', a Tensor of the shape (3,) asks for a gradient and is no Parameter",
        ),
        (ForThree, "another number of inputs and units: ValueError"),
        (WrongByItsCotangent, "second derivatives = finite differences: the second derivative by "),
        (WrongBeginning, "first derivatives = finite differences: the derivative by parameter h0"),
        (Stepless, "it can be built and run: TypeError: Stepless must define step(self, x, h)"),
        (Flat, "it can be built and run: TypeError: Flat.step must return h as a Tensor of float64 of (3, 3)"),
        (
            Shapeless,
            "it can be built and run: TypeError: Shapeless.state_shapes must have a tuple of numbers for each",
        ),
        (Optional, "it can be built and run: TypeError: Optional: its options are depth; missing a required"),
        (
            DrawsInSetup,
            "the step depends on its arguments alone: parameter P begins otherwise in two cells of one seed",
        ),
        (LooksAtItsInput, "(note) compiled = plain loop, values and gradients: "),
    ],
)
def test_what_a_cell_must_not_do_fails_by_name(cell: type[Cell], failing: str) -> None:
    what, _, told = failing.partition(": ")
    if what in CHECKS:
        assert re.match(f"False .*{re.escape(told)}", figure(cell, what))
    else:
        with pytest.raises(CellError, match=re.escape(failing)):
            check_cell(cell, show=False)


class Overflows(Cell):
    gates = "n:x"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        e = ops.exp(self.n(x))
        return 0.5 * h + e / (1 + e)


class Steep(Cell):
    gates = "n:x"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        a = ops.sigmoid(self.n(x))
        return a * h + ops.sqrt(1 - a * a)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Overflows, "with inputs of 1000 results are not: the line is told by tg.detect_anomaly()"),
        (Steep, "with inputs of 1000 the gradient is not, by the inputs, "),
    ],
)
def test_what_is_not_finite_where_inputs_are_large_is_told_and_is_no_failure(cell: type[Cell], said: str) -> None:
    assert figure(cell, "all is finite where inputs are large").startswith(f"None {said}")
    assert figure(GRUCell, "all is finite where inputs are large") == "True with inputs of 1000"


class Ring(Cell):
    """States of the last steps, in places that are written in turn: what is read depends on a count, in jumps."""

    gates = "n"
    state = "h ring count"
    kept = "ring count"

    def setup(self) -> None:
        self.places = np.arange(6.0)

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (6, self.hidden_size), ()]

    def step(self, x: Tensor, h: Tensor, ring: Tensor, count: Tensor) -> Any:
        here = (self.places == (count % 6)[:, None])[..., None]
        filled = (self.places < count[:, None])[..., None]
        h = ops.tanh(self.n(x, h) + ops.where(filled, ring, 0.0).mean(axis=1))
        return h, ops.where(here, h[:, None], ring), count + 1


@tg.primitive
def wrong_by_a_tenth(x: Any) -> Any:
    return x


wrong_by_a_tenth.vjp(lambda g, out, x: 1.1 * g)


class WronglyByItsRing(Ring):
    def step(self, x: Tensor, h: Tensor, ring: Tensor, count: Tensor) -> Any:
        return super().step(x, h, wrong_by_a_tenth(ring), count)


@pytest.mark.slow
def test_a_state_that_counts_is_no_point_for_differences_and_the_others_are() -> None:
    assert figure(Ring, "first derivatives = finite differences").endswith("; not by count, which counts")
    assert "state ring" in figure(WronglyByItsRing, "first derivatives = finite differences")


@pytest.mark.parametrize("cell", [Counting, Clocked])
def test_a_cell_that_remembers_outside_its_states_fails(cell: type[Cell]) -> None:
    with pytest.raises(CellError):
        check_cell(cell, 1, 1, show=False)


class Wide(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) * np.ones(self.hidden_size))


class Noisy(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) + np.random.default_rng().standard_normal(h.shape).astype(h.dtype))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (Wide, r"float32 = float64 but for rounding: TypeError: Wide.step must return h as a Tensor of float32"),
        (Noisy, "first derivatives = finite differences"),
    ],
)
def test_an_error_within_a_check_is_a_row_of_the_table_too(
    cell: type[Cell], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CellError, match=told):
        check_cell(cell, 1, 1)
    assert "FAIL" in capsys.readouterr().out


class Idle(Cell):
    gates = "n k"

    def setup(self) -> None:
        self.spare = Parameter(np.zeros(2))

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.n(x, h) + self.k.input(x))


def test_a_parameter_that_nothing_depends_on_is_told_and_is_no_failure() -> None:
    report = check_cell(Idle, 1, 1, show=False)
    (row,) = [row for row in report.rows if row.what == "every parameter takes part"]
    assert row.held is None
    assert row.figure == "declared, and never reaches the loss: parameter W of gate k, parameter spare"


def test_a_step_that_cannot_be_compiled_is_told_with_its_line_and_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_cell(LooksAtNumbers, 1, 1, show=False)
    (row,) = [row for row in report.rows if row.what.startswith("compiled")]
    assert row.held is None
    assert "LooksAtNumbers.step: runs as a plain loop" in row.figure
    assert "return ops.tanh(total) if total.numpy().size else total" in row.figure


ZONEOUT, RECURRENT_DROPOUT = "zoneout is on units alone", "recurrent dropout is on all that is multiplied"


class Steps(Cell):
    """Counts its steps, a number for each row."""

    gates = "n"
    state = "h count"

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [(self.hidden_size,), (1,)]

    def step(self, x: Tensor, h: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        return ops.tanh(self.n(x, h) / (1 + count)), count + 1


class StepsThatAreKept(Steps):
    kept = "count"


def test_a_state_that_is_no_row_of_units_is_told_unless_it_is_kept() -> None:
    assert figure(Steps, ZONEOUT) == "None it is on count (3, 1), not (3, 3): list in `kept` what counts or sums"
    assert figure(StepsThatAreKept, ZONEOUT) == "True on h, not on count"
    assert figure(LSTMCell, ZONEOUT) == "True on h c"


class Scaled(Cell):
    """A Parameter that is a number."""

    gates = "n"

    def setup(self) -> None:
        self.scale = Parameter(1.0)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(self.scale * self.n(x, h))


def test_a_cell_with_a_parameter_of_shape_nothing_passes() -> None:
    assert check_cell(Scaled, 1, 1, show=False).passed


class PastGates(Cell):
    """Reads the state by gates and past them, in one of several ways."""

    gates = "z n"

    def setup(self, way: str) -> None:
        self.way = way
        self.q = {"Q": Parameter(np.eye(self.hidden_size))}

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        z, n = ops.sigmoid(self.z(x, h)), self.n(x, h)
        Q = self.q["Q"]
        ways: dict[str, Callable[[], Any]] = {
            "plain": lambda: h @ Q,
            "from the left": lambda: (Q.T @ h.T).T,
            "of the changed state": lambda: (2 * h + x.sum(axis=1, keepdims=True)) @ ops.tanh(Q),
            "by a sum of products": lambda: ops.einsum("bh,hk->bk", h, Q),
            "by a gate's weights": lambda: h @ self.z.W + h @ Q * 0,
            "of what gates made": lambda: ops.tanh(n) @ Q,
            "of inputs": lambda: ops.broadcast_to(x.sum(axis=1, keepdims=True), h.shape) @ Q,
            "entry by entry": lambda: h * Q.sum(axis=0),
        }
        more = ways[self.way]()
        return z * h + (1 - z) * ops.tanh(n + more)


@pytest.mark.parametrize(
    ("way", "missed"),
    [
        ("plain", "parameter q.Q"),
        ("from the left", "parameter q.Q"),
        ("of the changed state", "parameter q.Q"),
        ("by a sum of products", "parameter q.Q"),
        ("by a gate's weights", "parameter W of gate z, parameter q.Q"),
        ("of what gates made", None),
        ("of inputs", None),
        ("entry by entry", None),
    ],
)
def test_what_recurrent_dropout_does_not_reach_is_told(way: str, missed: str | None) -> None:
    told = figure(PastGates, RECURRENT_DROPOUT, way=way)
    if missed is None:
        assert told == "True 2 gates"
    else:
        assert told == f"None the step multiplies states by {missed} past the gates, where no mask is put"


def test_a_cell_whose_gates_read_no_state_has_no_recurrent_dropout_to_check() -> None:
    assert figure(Bare, RECURRENT_DROPOUT) == "True nothing multiplies a state"
    told = figure(OneMatrix, RECURRENT_DROPOUT)
    assert told == "None the step multiplies states by parameter M past the gates, where no mask is put"
    assert figure(LooksAtNumbers, RECURRENT_DROPOUT).startswith("None not tried: the step looks at the numbers")


def test_a_step_that_makes_no_numbers_is_told_with_the_op_and_its_line_and_nothing_else() -> None:
    with pytest.raises(CellError) as caught:
        check_cell(NoNumbers, show=False)
    said = str(caught.value)
    assert said.startswith(f"NoNumbers: {BEGINNING}: its outputs are no numbers: log produced NaN in the forward pass")
    assert said.endswith("# what makes none")


def test_anything_but_a_cell_is_refused() -> None:
    with pytest.raises(TypeError, match="cell must be a class made with Cell, got 3"):
        check_cell(3)  # type: ignore[arg-type]  # on purpose


OWN = '''
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Own(Cell):
    """Elman 1990."""
    gates = "n"
    def step(self, x, h):
        return tanh(self.n(x, h))

class Mixed(Own):
    def step(self, x, h):
        return tanh(self.n(x, h) - h.mean())
'''


def test_the_command_prints_the_table_and_exits_with_0_or_1_or_2(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    fine = CliRunner().invoke(main, ["check", f"{path}:Own"])
    assert (fine.exit_code, fine.stderr) == (0, "")
    assert fine.stdout.startswith("Own(2, 3): gates n; states h; 18 weights\n")
    assert re.search(r"1[78] checks passed\n$", fine.stdout)  # one more where there is a GPU
    wrong = CliRunner().invoke(main, ["check", f"{path}:Mixed", "--input-size", "1", "--hidden-size", "1"])
    assert wrong.exit_code == 1
    assert "FAIL  batch rows are independent" in wrong.stdout
    assert wrong.stderr.startswith("Error: Mixed: batch rows are independent: results row by row and as a batch differ")
    for missing in (f"{path}:Other", "other.py:Own", "nothing"):
        assert CliRunner().invoke(main, ["check", missing]).exit_code == 2


def test_a_second_derivative_that_is_wrong_is_found() -> None:
    with pytest.raises(CellError, match="second derivatives = finite differences: the second derivative by"):
        check_cell(WrongSecondDerivative, 1, 1, show=False)
