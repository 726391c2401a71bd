"""explain shows what really runs, by the names of the step."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from garbage import nothing_left_for_the_collector

import tinygrad_rnn as tg
from tinygrad_rnn import engines, ops
from tinygrad_rnn.loops import compiling, executing
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
    assert all(f"d{gate}.U = Σ_t xᵀ @ " in sums and f"d{gate}.W = Σ_t hᵀ @ " in sums for gate in "ifog")


def test_the_sources_that_are_shown_are_programs_of_both_loops(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, GRU(5, 4, reset="before"), XS)
    sources = [part.split("\nas machine code")[0] for part in text.split("operations a step\n")[1:]]
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
    assert "p * c" in text and "keep = sigmoid(" in text and "dp = Σ_t" in text


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

    def outer(first: int) -> Tensor:
        own = inner(first)
        return Tensor(own)

    with watched_locals(lambda name, value: seen.append((name, value))):
        tg.scan(lambda state, _: (state + outer(1), None), Tensor(0.0), None, length=1)
        Tensor(2.0) + 3.0
    numbers = {(name, value) for name, value in seen if isinstance(value, int)}
    assert {("made", 2), ("own", 2)} <= numbers and not {"given", "first"} & {name for name, _ in numbers}
    assert "state" in {name for name, _ in seen}
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


# --- Machine code ----------------------------------------------------------------------------------------------

B, H = 2, 6
W, U = (Parameter(np.random.default_rng(seed).standard_normal((H, H)), name=name) for seed, name in enumerate("WU"))
scale, offset = (Parameter(np.arange(float(H)) - i, name=name) for i, name in enumerate(("scale", "offset")))


def gated(h: Tensor, x: Tensor) -> Tensor:
    z = ops.sigmoid(h @ W + x)
    return (1 - z) * h + z * ops.tanh(h @ U - x)


def normalized(h: Tensor, x: Tensor) -> Tensor:
    rest = h - ops.mean(h, -1, True)
    return rest / ops.sqrt(ops.mean(ops.square(rest), -1, True) + 0.1) * scale + x


def bracketed(h: Tensor, x: Tensor) -> Tensor:
    return ops.where(h > x, -(h - (x - h)) / (h * h + 2) - (h + x) * -2.5, -h) ** 2 % (1 / (h * h))


def biased(h: Tensor, x: Tensor) -> Tensor:
    return ops.sigmoid(h @ W + scale) * ops.tanh(h @ U + offset) + x


def weighed(h: Tensor, x: Tensor) -> Tensor:
    return ops.softmax(h * x, -1) * ops.softplus(h)


def seen_otherwise(h: Tensor, x: Tensor) -> Tensor:
    first = ops.concatenate([h[:, 1::2], ops.flip(h[:, :3], -1)], -1)
    parts = ops.swapaxes((h * 2).reshape(B, 2, 3), 1, 2)
    return first * x + parts.reshape(B, H) * ops.exp(parts[:, 1, 1:] - 5)


def outer(h: Tensor, x: Tensor) -> Tensor:
    table = h[:, :, None] * ops.tanh(h)[:, None, :]
    return (table @ h[:, :, None]).reshape(B, H) + ops.sum(table) + x


def across(h: Tensor, x: Tensor) -> Tensor:
    return (ops.exp(h.reshape(H, B)) * 0.1).reshape(B, H) + x


class Entries(dict[Any, Any]):
    """Memory that is written entry by entry."""

    def __missing__(self, index: Any) -> float:
        return 0.0

    @property
    def flat(self) -> list[Any]:
        return [self[index] for index in sorted(self)]

    def array(self) -> Any:
        return np.reshape(self.flat, np.max([*self], 0) + 1)

    def __add__(self, other: Any) -> Any:
        return 0.0 + other  # a single number, which has no index

    def __matmul__(self, other: Any) -> Any:
        return self.array() @ other


def calculated(loop: str, **given: Any) -> dict[str, Any]:
    """What a step comes to, whose text is run as a program."""
    program = re.sub(r"for (.*) in (\(.*\)):", r"for (\1,) in ndindex\2:", re.sub("   +[(].*", "", loop))
    functions = {name: getattr(np, name) for name in "exp tanh sqrt square where maximum abs log1p ndindex".split()}
    functions["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))
    values: dict[str, Any] = defaultdict(Entries, given, **functions)
    exec(program, {}, values)
    return values


@pytest.mark.parametrize("step", [gated, normalized, bracketed, biased, weighed, seen_otherwise, outer, across])
def test_the_entries_that_are_shown_come_to_what_the_step_does(step: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def scanned(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (step(h, x),) * 2

    h, x = np.random.default_rng(0).standard_normal((2, B, H))
    tg.explain(tg.scan, scanned, Tensor(h), Tensor(np.stack([x, x])), form="entries")
    loop = section(capsys.readouterr().out, "for each step, first to last:\n", "\nas machine code")
    found = calculated(textwrap.dedent(loop), h=h, x=x, W=W.data, U=U.data, scale=scale.data, offset=offset.data)
    np.testing.assert_allclose(found["h_new"].array(), step(Tensor(h), Tensor(x)).numpy(), rtol=1e-12)


def test_a_loop_is_shown_as_a_textbook_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    tg.explain(GRU(5, 4), XS, form="entries")
    text = capsys.readouterr().out
    assert section(text, "from the first step on: ", "after the loop") == (
        """12 operations a step
    for each step, first to last:
        t3 = h @ z_W                                              (2, 4) @ (4, 4)
        t6 = h @ r_W                                              (2, 4) @ (4, 4)
        n_sum = h @ n_W                                           (2, 4) @ (4, 4)
        for b, j in (2, 4):
            z[b, j] = sigmoid(t1[b, j] + z_b[j] + t3[b, j])
            r[b, j] = sigmoid(t4[b, j] + r_b[j] + t6[b, j])
            n[b, j] = tanh(t7[b, j] + n_b[j] + r[b, j] * n_sum[b, j])
            h_new[b, j] = (1 - z[b, j]) * n[b, j] + z[b, j] * h[b, j]
as machine code: 1 pass, 3 products, 784 bytes a step read or written
"""
    )
    assert "for each step, last to first:\n" in text.partition("── Backward")[2]

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return h * 0.5 + ops.softplus((h + x).detach()), h

    tg.explain(tg.scan, step, Tensor(np.zeros((2, 3))), Tensor(np.ones((4, 2, 3))), form="entries")
    lines = ["t2 = h[b, j] + x[b, j]", "h_new[b, j] = h[b, j] * 0.5 + (maximum(t2, 0.0) + log1p(exp(-abs(t2))))"]
    assert "\n            ".join(["", *lines, ""]).rstrip() in capsys.readouterr().out


def test_an_index_has_the_name_of_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    given = Tensor(np.ones((2, 3)))

    def step(s: dict[str, Tensor], x: Tensor) -> Any:
        b, k = s["b"] + x, s["k"] * x
        return {"b": b, "k": k}, b

    tg.explain(tg.scan, step, {"b": given, "k": given}, Tensor(np.ones((4, 2, 3))), form="entries")
    loop = section(capsys.readouterr().out, "for each step", "as machine code")
    (letters,) = re.findall(r"for (\w+, \w+) in \(2, 3\):", loop)
    assert letters == "j, l" and "b[j, l] = " in loop and "k[j, l] = " in loop


def test_beside_the_source_stands_what_runs_as_machine_code(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, RNN(5, 4), XS)
    # h @ W and back: 32 + 64 + 32 bytes. Then the pass: that, the part of x, the bias and h'.
    assert "\nas machine code: 1 pass, 1 product, 240 bytes a step read or written\n" in text
    assert text.count("as machine code: ") == 2 and text.count("def loop(") == 2

    def step(total: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return total + x, ops.sum(total * x, -1)

    text = shown(capsys, tg.scan, step, Tensor(np.zeros((2, 3))), Tensor(np.ones((4, 2, 3))))
    assert "as machine code: 1 pass, 0 products, 160 bytes a step" in section(text, "── Forward", "── Backward")


def test_of_a_loop_that_stays_with_numpy_the_reason_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def step(s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (s + x)[:, [2, 0, 1]], s

    for form in (None, "entries"):
        tg.explain(tg.scan, step, Tensor(np.zeros((2, 3))), Tensor(np.ones((4, 2, 3))), form=form)
        text = section(capsys.readouterr().out, "── Forward", "── Backward")
        assert (
            "\nthe loop runs as NumPy calls, because reading at an array of indices is not done in machine code\n"
            in text
        )
        assert "def loop(" in text and "as machine code:" not in text


@pytest.mark.parametrize("form", [None, "entries"])
def test_machine_code_is_explained_without_llvm(
    form: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with tg.compiled("numpy"):
        tg.explain(GRU(5, 4), XS, form=form)
        there = capsys.readouterr().out

        def opened(*_: Any) -> Any:
            raise AssertionError("this would open LLVM")

        monkeypatch.setattr(executing, "_machine_loop", opened)
        monkeypatch.setattr(engines, "_is_there", lambda module: False)
        tg.explain(GRU(5, 4), XS, form=form)
    missing = capsys.readouterr().out
    assert missing.count(f"as machine code (with llvmlite: {engines.INSTALL}): 1 pass, ") == 1
    assert missing.replace(f" (with llvmlite: {engines.INSTALL})", "") == there


def test_the_form_is_explain_s_own_and_one_that_there_is() -> None:
    forms: list[Any] = ["entry", "", 3, True]
    for form in forms:
        with pytest.raises(ValueError, match=f'explain: form must be "entries", "latex" or None, got {form!r}'):
            tg.explain(GRU(5, 4), XS, form=form)
