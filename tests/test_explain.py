"""explain shows what really runs, by the names of the step."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from garbage import nothing_left_for_the_collector

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.loops import compiling
from tinygrad_rnn.loops.local_names import watched_locals
from tinygrad_rnn.models import GRU, LSTM, RNN, Cell, LanguageModel, Recurrent
from tinygrad_rnn.tensor import Parameter, Tensor

XS = np.zeros((3, 2, 5), np.float32)


def shown(capsys: pytest.CaptureFixture[str], *args: Any) -> str:
    tg.explain(*args)
    return capsys.readouterr().out


def section(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0]


def test_the_step_is_shown_with_the_names_that_it_gives_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, LSTM(5, 4), XS).split())
    for line in (
        "given x (2, 5), h (2, 4), c (2, 4)",
        "t1 = x @ i.U (2, 4)",
        "f = sigmoid(f.sum) (2, 4)",
        "hands on h', c'; puts out h'",
    ):
        assert line in text


def test_input_products_come_before_the_loop_and_weight_gradients_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, LSTM(5, 4), XS)
    before = section(text, "before the loop", "in the loop")
    assert "x @ [i.U f.U o.U g.U]" in before
    loop = section(text, "in the loop", "after the loop")
    assert loop.count("matmul(") == 1 and "i_U" not in loop
    sums = section(text, "sums over time", "\n\n")
    assert all(f"d{gate}.U = Σ xᵀ @ " in sums and f"d{gate}.W = Σ hᵀ @ " in sums for gate in "ifog")


def test_the_sources_that_are_shown_are_programs_of_both_loops(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, GRU(5, 4, reset="before"), XS)
    sources = [part.split("\nafter the loop")[0] for part in text.split("operations a step\n")[1:]]
    assert len(sources) == 2
    for source, reverse in zip(sources, (False, True), strict=True):
        (function,) = ast.parse("\n".join(line[4:] for line in source.split("\n"))).body
        assert isinstance(function, ast.FunctionDef)
        used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        assert {"h", "n", "matmul", "multiply"} <= used
        assert ("[::-1]" in source) == reverse


class Peephole(Cell):
    gates = "i g"
    state = "h c"

    def setup(self) -> None:
        self.p = Parameter(np.ones(self.hidden_size), name="p")

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> Any:
        keep = ops.sigmoid(self.i(x, h) + self.p * c)
        c = keep * c + (1 - keep) * ops.tanh(self.g(x, h))
        return ops.tanh(c), c


def test_a_cell_of_ones_own_is_shown_with_its_own_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, Recurrent(Peephole, 5, 4), XS)
    assert "p * c" in text and "keep = sigmoid(" in text and "dp = Σ" in text


def test_layers_that_run_the_same_program_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, RNN(5, 5, 3), XS).count("The step, as recorded") == 1
    assert shown(capsys, RNN(5, 4, 2), XS).count("The step, as recorded") == 2


def test_a_scan_of_ones_own_and_a_whole_model_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    def step(total: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        total = total + x
        return total, total * 2.0

    text = shown(capsys, tg.scan, step, Tensor(np.zeros(3)), Tensor(np.ones((4, 3))))
    assert "total' = total + x" in text and "y = total' * 2.0" in text
    model = LanguageModel(11, 5, 4, cell="rnn")
    assert "hands on h'; puts out h'" in shown(capsys, model, np.zeros((3, 2), int))


def test_names_longer_than_a_line_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    weights = [Parameter(np.ones(3)) for _ in range(30)]  # w, w', w'', ...

    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        for w in weights:
            s = s * w
        return s + x, x

    assert "_new" * 29 in shown(capsys, tg.scan, step, Tensor(np.ones(3)), Tensor(np.ones((4, 3))))


def test_explaining_changes_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    layer = GRU(5, 4)
    xs = np.random.default_rng(0).standard_normal(XS.shape).astype(np.float32)
    before = layer(xs)[0].numpy()
    shown(capsys, layer, xs)
    np.testing.assert_array_equal(layer(xs)[0].numpy(), before)


def looks_of_it() -> dict[str, Any]:
    layer = LSTM(5, 4)

    def traced() -> None:
        with tg.trace() as seen:
            layer(XS)[0].sum().backward()
        assert seen.gradients

    def plain_tape() -> None:
        with tg.compiled(False):
            tape = tg.Tape(layer(XS)[0].sum())
        assert str(tape) and tape.to_dot()

    return {
        "explain": lambda: tg.explain(layer, XS),
        "trace": traced,
        "a printed tape": lambda: print(tg.Tape(layer(XS)[0].sum())),
        "a plain loop's": plain_tape,
    }


@pytest.mark.parametrize("name", looks_of_it())
def test_looking_leaves_nothing_for_the_garbage_collector(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    look = looks_of_it()[name]
    look()  # what is kept from the first time on is no garbage
    with nothing_left_for_the_collector():
        look()


def test_a_program_that_the_cache_forgets_is_no_garbage() -> None:
    layer = LSTM(5, 4)
    layer(XS)[0].sum().backward()
    with nothing_left_for_the_collector():
        compiling._cache.clear()


def halting(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return (s if x.item() > 0 else s * 2.0), s


def test_a_step_that_cannot_be_recorded_is_said_to_run_as_a_plain_loop(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = shown(capsys, tg.scan, halting, Tensor(1.0), Tensor(np.ones(2)))
    assert "runs as a plain loop: the step looks at the numbers" in text


def test_what_scans_nothing_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match=r"a function that scans was expected .* and sum does not"):
        tg.explain(ops.sum, np.ones(3))


# --- Names are seen by a profiler, for a moment ----------------------------------------------------------------


@pytest.fixture
def profiler() -> Iterator[object]:
    """One that was there before."""

    def mine(*_: object) -> None: ...

    before = sys.getprofile()
    sys.setprofile(mine)
    yield mine
    sys.setprofile(before)


def test_a_profiler_is_put_back_whether_the_step_can_be_recorded_or_not(
    profiler: object, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(capsys, LSTM(5, 4), XS)
    assert sys.getprofile() is profiler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown(capsys, tg.scan, halting, Tensor(1.0), Tensor(np.ones(2)))
    assert sys.getprofile() is profiler


def test_variables_are_seen_of_every_function_but_the_engines() -> None:
    seen: list[tuple[str, object]] = []

    def inner(given: int) -> int:
        made = given + 1
        return made

    with watched_locals(lambda name, value: seen.append((name, value))):
        inner(1)
        Tensor(2.0) + 3.0
    assert {("given", 1), ("made", 2)} <= {(name, value) for name, value in seen if isinstance(value, int)}
    assert not any(isinstance(value, Tensor) for _, value in seen)
    count = len(seen)
    inner(5)
    assert len(seen) == count


def test_training_never_asks_for_a_profiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(_: object) -> None:
        raise AssertionError("setprofile")

    monkeypatch.setattr(sys, "setprofile", asked)
    LSTM(5, 4)(XS)[0].sum().backward()


def test_what_no_line_of_the_step_names_is_called_by_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, GRU(5, 4), XS, None, np.array([3, 1])).split())
    assert "given x (2, 5), x' (2, 1), s (2, 4)" in text  # x' tells which rows are within their length


def test_the_source_remarks_which_array_is_that_of_the_step_before(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, GRU(5, 4), XS)
    assert "# h_new of one step is h of the next" in text.partition("── Backward")[0]
