"""A step that is asked for again and again, as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.loops import repeated
from tinygrad_rnn.loops.repeated import RepeatedStep
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import generate, generate_best
from tinygrad_rnn.tensor import Parameter

W = Parameter(np.random.default_rng(0).standard_normal((4, 4)) * 0.5)


def step(state: Any, x: Any) -> Any:
    h, count = state["h"], state["n"]
    h = ops.tanh(h @ W + x)
    return {"h": h, "n": count + 1}, (h.sum(axis=-1), h * x)


def start(rows: int = 2) -> Any:
    return {"h": Tensor(np.zeros((rows, 4))), "n": Tensor(np.zeros(rows))}


def test_it_gives_what_the_step_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return step(*given)

    xs = np.random.default_rng(1).standard_normal((6, 2, 4))
    with tg.compiled("machine"), tg.no_grad():
        fast, a, b = RepeatedStep(counted), start(), start()
        for x in xs:
            a, found = fast(a, Tensor(x))
            b, expected = step(b, Tensor(x))
            for left, right in zip((a["h"], a["n"], *found), (b["h"], b["n"], *expected), strict=True):
                np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-12, atol=1e-14)
    assert len(calls) == 1, "it is recorded once"


def test_what_machine_code_cannot_hold_runs_before_and_after_it() -> None:
    def with_positions(h: Any, x: Any) -> Any:
        h = ops.tanh(h @ W + ops.take(W, ops.argmax(x, axis=1), axis=0))
        return h, (ops.argmax(h, axis=1), ops.take(W, ops.argmax(h, axis=1), axis=0))

    with tg.compiled("machine"), tg.no_grad():
        fast, a = RepeatedStep(with_positions), Tensor(np.zeros((3, 4)))
        for x in np.random.default_rng(2).standard_normal((4, 3, 4)):
            (b, expected), (a, found) = with_positions(a, Tensor(x)), fast(a, Tensor(x))
            for left, right in zip((a, *found), (b, *expected), strict=True):
                np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-12, atol=1e-14)
        parts = fast._compiled.loop.parts if fast._compiled else pytest.fail("it was not compiled")
        assert {"argmax"} <= {e.primitive.name for e in parts.before} & {e.primitive.name for e in parts.after}


def test_what_it_gave_stays_as_it_was() -> None:
    with tg.compiled("machine"), tg.no_grad():
        fast = RepeatedStep(step)
        first, y = fast(start(), Tensor(np.ones((2, 4))))
        kept = [first["h"].numpy().copy(), y[0].numpy().copy()]
        fast(first, Tensor(np.full((2, 4), 7.0)))
        np.testing.assert_array_equal(first["h"].numpy(), kept[0])
        np.testing.assert_array_equal(y[0].numpy(), kept[1])


def test_other_shapes_are_recorded_anew() -> None:
    with tg.compiled("machine"), tg.no_grad():
        fast = RepeatedStep(step)
        for rows in (2, 3, 2):
            new, _ = fast(start(rows), Tensor(np.ones((rows, 4))))
            assert new["h"].shape == (rows, 4)


def test_a_step_that_looks_at_numbers_runs_as_it_is() -> None:
    def looking(state: Any, x: Any) -> Any:
        return state + (x if x.item() > 1 else -x), state

    with tg.compiled("machine"), tg.no_grad():
        fast, state = RepeatedStep(looking), Tensor(0.0)
        for x in (1.0, 2.0, 3.0):
            state, _ = fast(state, Tensor(x))
    assert state.item() == 4.0


def test_what_is_on_the_tape_stays_on_it() -> None:
    x = Parameter(np.ones((2, 4)))
    with tg.compiled("machine"):
        _, (y, _) = RepeatedStep(step)(start(), x)
        y.sum().backward()
    assert x.grad is not None and np.abs(x.grad).min() > 0


def test_where_somebody_watches_or_traces_the_step_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_compiled", lambda *_: pytest.fail("compiled"))
    model = LanguageModel(30, 8, 9, cell="gru")
    with tg.compiled("machine"):
        with tg.detect_anomaly():
            generate(model, [1], np.random.default_rng(0), max_length=4)
        with tg.trace() as trace:
            generate(model, [1], np.random.default_rng(0), max_length=4)
    assert trace["0.forward.z"].shape == (1, 1, 9)


@pytest.mark.parametrize("engine", ["numpy", False])
def test_without_machine_code_nothing_is_compiled(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_compiled", lambda *_: pytest.fail("compiled"))
    with tg.compiled(engine), tg.no_grad():
        RepeatedStep(step)(start(), Tensor(np.ones((2, 4))))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"cell": "lstm", "num_layers": 2}, {"cell": "gru", "softmax": "two-level"}])
def test_a_model_generates_the_same(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for engine in ("machine", "numpy"):
        model = LanguageModel(30, 8, 9, dtype=np.float64, rng=np.random.default_rng(0), **options)
        with tg.compiled(engine):
            drawn = generate(model, [1, 2], np.random.default_rng(3), stop=0, max_length=12, temperature=2.0)
            found.append([drawn, generate_best(model, [1], beam=3, count=2, max_length=5)])
    assert found[0] == found[1]


def test_a_model_s_step_needs_no_call_of_python_s_but_for_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = repeated._compiled

    def seen(*given: Any) -> Any:
        made.append(real(*given))
        return made[-1]

    monkeypatch.setattr(repeated, "_compiled", seen)
    with tg.compiled("machine"):
        generate(LanguageModel(30, 8, 9, cell="gru"), [1], np.random.default_rng(0), max_length=4)
    (one,) = made
    assert not one.loop.parts.after and "take" in [e.primitive.name for e in one.loop.parts.before]
    assert all(e.primitive.name in ("take", "within", "getitem") for e in one.loop.parts.before)
