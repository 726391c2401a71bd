"""The check of a user's own machine: it passes here, finds what is broken, and tells what it ran on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from commands import fails, invoke, works

from tinygrad_rnn import ops
from tinygrad_rnn.checks.rows import Row
from tinygrad_rnn.cli import selfcheck_command
from tinygrad_rnn.optim import Adam
from tinygrad_rnn.selfcheck import about_machine as about
from tinygrad_rnn.selfcheck import battery


def test_everything_works_here_and_is_told_with_what_it_ran_on() -> None:
    said = works("selfcheck")
    lines = said.splitlines()
    labels = [line.split()[0] for line in lines if not line.startswith(" ")]
    first = "package Python system processor NumPy NLTK beside GPU loops cache variables".split()
    assert labels[: len(first)] == first
    assert set(labels[len(first) : -1]) == {"ok", "note"} and labels.count("ok") >= 8
    assert lines[-1].startswith("result    all is well, ")
    assert np.__version__ in said and sys.version.split()[0] in said
    assert max(map(len, lines)) <= 110


def rows() -> dict[str, Row]:
    return {row.what: row for row in battery.checks("cpu")}


@pytest.fixture
def wrong_sine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an op that no cell uses: programs of their loops are kept, and would have it after this test."""
    monkeypatch.setattr(ops.sin, "rules", (lambda g, y, x: g * (1 - y),))


@pytest.mark.usefixtures("wrong_sine")
def test_a_wrong_rule_is_found_and_the_command_fails() -> None:
    result = invoke("selfcheck")
    assert result.exit_code == 1 and "Traceback" not in result.output
    failed = [line for line in result.output.splitlines() if line.startswith("FAILED")]
    assert any("derivatives of ops" in line for line in failed)
    assert " failed, " in result.output.splitlines()[-1]


def test_an_optimiser_that_forgets_its_state_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = battery._memory_run("cpu")
    kind = type(run.optimizer)
    monkeypatch.setattr(kind, "load_state_dict", lambda self, saved: None)
    row = rows()["a run that stops goes on, bit for bit"]
    assert row.held is False and "is another one after going on" in row.figure


def test_an_optimiser_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Adam, "step", lambda self: True)
    row = rows()["optimisers step alike"]
    assert row.held is False and row.figure == "adam: a step changed nothing"


def test_what_cannot_be_found_out_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise OSError("no such thing")

    monkeypatch.setattr(about, "processors", broken)
    monkeypatch.setattr(about, "cache_folder", lambda: None)
    told = dict(about.about_machine("cpu"))
    assert told["processor"] == "could not be found out: OSError: no such thing"
    assert told["cache"] == "there is no cache folder"


def test_variables_that_change_what_is_calculated_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    told = dict(about.about_machine("cpu"))["variables"]
    assert "OPENBLAS_CORETYPE=Haswell" in told and "OMP_NUM_THREADS=3" in told and "SECRET" not in told


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy" in fails("selfcheck", "--device", "cuda")
    assert "CuPy" in dict(about.about_machine("cuda"))["GPU"]


def test_without_machine_code_there_is_less_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battery, "is_installed", lambda engine: engine == "numpy")
    found = rows()
    assert found["loops = plain loops"].figure.startswith("NumPy calls, 8 cells")
    assert found["several threads = one, bit for bit"].held is None


def test_the_command_is_the_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Row("a", True, "x"), Row("b", None, "y"), Row("c", False, "z"), Row("d", False, "w")]
    monkeypatch.setattr(selfcheck_command, "checks", lambda device: iter(made))
    result = invoke("selfcheck")
    assert result.exit_code == 1
    assert result.output.splitlines()[-5:-1] == ["ok        a: x", "note      b: y", "FAILED    c: z", "FAILED    d: w"]
    assert result.output.splitlines()[-1].startswith("result    2 of 4 failed, ")
