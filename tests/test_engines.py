"""Which emitter writes the loops: what `compiled` takes, and in which thread it holds."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import engines
from tinygrad_rnn.engines import best_engine, engine_in_force
from tinygrad_rnn.models import GRU

needs_llvm = pytest.mark.skipif(not engines.is_installed("machine"), reason="llvmlite is not installed")


@pytest.fixture
def without_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_is_there", lambda module: False)


@pytest.fixture(autouse=True)
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is where no tests run, which have one engine as the best (conftest.py)."""
    monkeypatch.setattr(engines, "best_engine", best_engine)


def test_what_compiled_takes_is_in_force_within_its_block() -> None:
    before = engine_in_force()
    for value, meant in ((True, best_engine()), (False, None), ("numpy", "numpy")):
        with tg.compiled(value):
            assert engine_in_force() == meant
        assert engine_in_force() == before


@needs_llvm
def test_the_best_there_is_is_machine_code() -> None:
    assert best_engine() == "machine"
    with tg.compiled("machine"):
        assert engine_in_force() == "machine"


@pytest.mark.parametrize("value", ["jit", "", "Machine", None, 1, 0, 2.0, ["numpy"], np.True_])
def test_any_other_value_is_refused_in_one_sentence_and_changes_nothing(value: Any) -> None:
    before = engine_in_force()
    with pytest.raises(ValueError, match=r'compiled: True, False, "machine" or "numpy" was expected, got ') as found:
        tg.compiled(value)
    assert repr(value) in str(found.value) and "\n" not in str(found.value)
    assert engine_in_force() == before


@pytest.mark.usefixtures("without_llvm")
def test_without_llvmlite_machine_code_says_what_to_install_and_the_best_is_numpy() -> None:
    with pytest.raises(
        ImportError, match=r"needs llvmlite, which is not installed: pip install 'tinygrad-rnn\[fast\]'"
    ):
        tg.compiled("machine")
    assert best_engine() == "numpy"
    with tg.compiled(True):
        assert engine_in_force() == "numpy"


@pytest.mark.usefixtures("without_llvm")
def test_without_llvmlite_and_where_nothing_is_said_loops_are_numpy() -> None:
    assert engine_in_force() == "numpy"
    layer, xs = GRU(2, 3, rng=np.random.default_rng(0)), np.ones((4, 2, 2), np.float32)
    found = layer(xs)[0].numpy()
    with tg.compiled(False):
        np.testing.assert_allclose(found, layer(xs)[0].numpy(), rtol=1e-5)


def test_another_thread_begins_with_the_best_there_is() -> None:
    seen: list[Any] = []
    with tg.compiled(False):
        thread = threading.Thread(target=lambda: seen.append(engine_in_force()))
        thread.start()
        thread.join()
    assert seen == [best_engine()]


def test_blocks_stand_within_each_other_and_an_error_ends_them() -> None:
    before = engine_in_force()
    with tg.compiled("numpy"):
        with tg.compiled(False):
            assert engine_in_force() is None
            with tg.compiled(True):
                assert engine_in_force() == best_engine()
            assert engine_in_force() is None
        assert engine_in_force() == "numpy"
        with pytest.raises(KeyError), tg.compiled(False):
            raise KeyError
        assert engine_in_force() == "numpy"
    assert engine_in_force() == before


@needs_llvm
def test_one_step_is_compiled_by_both_and_each_is_remembered() -> None:
    from tinygrad_rnn.loops import compiling  # noqa: PLC0415

    layer, xs = GRU(2, 3, rng=np.random.default_rng(0)), np.ones((4, 2, 2), np.float32)
    compiling._cache.clear()
    kinds = []
    for engine in ("machine", "numpy", "machine"):
        with tg.compiled(engine):
            layer(xs)
        kinds.append([type(made.forward.body).__name__ for made in compiling._cache.values()])
    assert [sorted(each) for each in kinds] == [["MachineLoop"], ["Emitted", "MachineLoop"], ["Emitted", "MachineLoop"]]
