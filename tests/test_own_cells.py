"""Cells from a user's own files, and the checkpoints that name them: no file is run that the user did not name."""

from __future__ import annotations

import os
import py_compile
import re
import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tinygrad_rnn.cli import main
from tinygrad_rnn.models import Recurrent, checkpoint
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.training.cell_files import open_cell
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.own_sources import OwnSources
from tinygrad_rnn.training.permits import FileNotRun, Permit

CELL = """
import pathlib
from tinygrad_rnn.models import Cell
from own_helper import squash

pathlib.Path(__file__).with_name("was-run").touch()

class Plain(Cell):
    gates = "n"
    def setup(self, gain: float = 1.0) -> None:
        self.gain = gain
    def step(self, x, h):
        return squash(self.n(x, h)) * self.gain
"""
HELPER = "from tinygrad_rnn.ops import tanh as squash\n"
TEXT = "\n".join(f"the {noun} {verb} ." for noun in "cat dog bird tree".split() for verb in "sees hears".split()) * 3
SMALL = "--lines --layers 1 --hidden 3 --embedding 3 --epochs 1 --batch-size 2 --steps 5 --sentences 0".split()
OPENING = {
    "inspect": [],
    "score": ["text.txt"],
    "generate": ["--count", "1"],
    "evaluate": [],
    "train --resume": ["--epochs", "2", "--sentences", "0"],
}


def invoke(*args: object) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args], terminal_width=110)


def works(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return str(result.output)


def fails(*args: object) -> str:
    """The one sentence of a command that fails."""
    result = invoke(*args)
    assert isinstance(result.exception, SystemExit) and result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    sentence = str(result.output.partition("Error: ")[2])
    assert sentence.count("\n") == 1
    return sentence


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text, a cell, what it imports from beside it, and a model trained with it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    (folder / "own.py").write_text(CELL, encoding="utf-8")
    (folder / "own_helper.py").write_text(HELPER, encoding="utf-8")
    here = Path.cwd()
    os.chdir(folder)
    try:
        works("train", "--text", "text.txt", *SMALL, "--cell", "own.py:Plain", "--out", "run")
    finally:
        os.chdir(here)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to stand in, in which the cell has not been run."""
    for name in ("text.txt", "own.py", "own_helper.py", "run/last.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    saved = checkpoint.load(tmp_path / "run/last.safetensors")
    saved.meta["cell"]["file"] = str(tmp_path / "own.py")
    saved.meta["files"] = {"text.txt": str(tmp_path / "text.txt")}
    checkpoint.save(tmp_path / "run/last.safetensors", saved.arrays, saved.meta)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(command: str, file: Path, *cell: object) -> list[object]:
    return [*command.split(), file, *OPENING[command], *cell]


def changed(place: Path, **meta: Any) -> Path:
    """The checkpoint with another description; None leaves a part out."""
    file = place / "run" / "last.safetensors"
    saved = checkpoint.load(file)
    parts = {name: value for name, value in {**saved.meta, **meta}.items() if value is not None}
    checkpoint.save(file, saved.arrays, parts)
    return file


def was_run(place: Path) -> bool:
    return (place / "was-run").exists()


# --- Opening a checkpoint --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", OPENING)
def test_opening_a_checkpoint_does_not_run_the_file_that_it_names(command: str, place: Path) -> None:
    file, path = place / "run" / "last.safetensors", list(sys.path)
    said = works(*opened(command, file)) if command == "inspect" else fails(*opened(command, file))
    assert not was_run(place) and sys.path == path
    assert "Plain" in said and str(place / "own.py") in said
    typed = re.search("tinygrad-rnn .*", said)
    assert typed, "the command that runs it is printed"
    works(*shlex.split(typed[0])[1:])
    assert was_run(place) and sys.path == path


def test_the_command_to_type_is_quoted(place: Path, tmp_path: Path) -> None:
    folder = place / "a folder; with 'quotes'"
    folder.mkdir()
    for name in ("own.py", "own_helper.py"):
        (place / name).rename(folder / name)
    cell = {**checkpoint.load(place / "run/last.safetensors").meta["cell"], "file": str(folder / "own.py")}
    typed = re.search("tinygrad-rnn .*", fails("generate", changed(place, cell=cell), "--prompt", "the cat"))
    assert typed
    assert works(*shlex.split(typed[0])[1:]).startswith("the cat") and was_run(folder)


@pytest.mark.parametrize("command", OPENING)
def test_trust_runs_the_recorded_file_and_no_other(command: str, place: Path) -> None:
    file = place / "run" / "last.safetensors"
    (place / "own.py").write_text(CELL + "\n# another file\n", encoding="utf-8")
    assert "has changed since the model was saved (own.py)" in fails(*opened(command, file, "--trust"))
    assert not was_run(place)
    (place / "own.py").write_text(CELL, encoding="utf-8")
    works(*opened(command, file, "--trust"))
    assert was_run(place)


def test_trust_covers_what_the_cell_imports_from_beside_it(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    (place / "own_helper.py").write_text("raise SystemExit('not the one')", encoding="utf-8")
    assert "own_helper beside it" in fails("generate", file, "--trust")
    (place / "own_helper.py").unlink()
    assert "own_helper beside it" in fails("generate", file, "--trust")
    assert not was_run(place)


def test_an_older_checkpoint_has_no_hash_and_takes_the_cell_by_its_name(place: Path) -> None:
    file = changed(place, cell=None, files=None)
    assert "no hash" in fails("generate", file, "--trust")
    assert "--trust" not in fails("generate", file)
    assert not was_run(place)
    for command in OPENING:
        works(*opened(command, file, "--cell", "own.py:Plain"))


def test_a_page_needs_the_cell_and_says_so(place: Path) -> None:
    file, page = place / "run" / "last.safetensors", place / "page.html"
    assert "--cell" in fails("inspect", file, "--html", page) and not page.exists()
    works("inspect", file, "--html", page, "--trust")
    assert page.is_file()


def test_inspect_without_the_cell_shows_the_weights_as_with_it(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    (place / "own.py").unlink()
    without = works("inspect", file)
    assert "there is no file" in " ".join(without.split()) and "FILE.py:Plain" in without
    (place / "own.py").write_text(CELL, encoding="utf-8")
    assert without.startswith(works("inspect", file, "--cell", "own.py:Plain"))


def test_a_cell_of_another_kind_is_refused(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    assert "got 'gru'" in fails("generate", file, "--cell", "gru")
    works("train", "--text", "text.txt", *SMALL, "--out", "other")
    for name in ("lstm", "own.py:Plain"):
        assert f"the model's cell is gru, got '{name}'" in fails("generate", "other/best.safetensors", "--cell", name)
    works("generate", "other/best.safetensors", "--cell", "gru")
    assert "--resume" in fails("train", "--text", "text.txt", *SMALL, "--trust", "--out", "third")


def test_a_cell_that_no_longer_fits_its_weights_is_said(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    (place / "own.py").write_text(CELL.replace('gates = "n"', 'gates = "n m"'), encoding="utf-8")
    for command in OPENING:
        assert "do not fit" in fails(*opened(command, file, "--cell", "own.py:Plain"))


# --- An edited cell --------------------------------------------------------------------------------------------


def test_an_edited_cell_is_told_by_every_command_and_stops_resuming_until_it_is_named(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    (place / "own.py").write_text(CELL.replace("* self.gain", "* self.gain * 0.5"), encoding="utf-8")
    assert "has changed since the model was saved" in fails(*opened("train --resume", file))
    for command in OPENING:
        assert "has changed since the model was saved: own.py" in " ".join(
            works(*opened(command, file, "--cell", "own.py:Plain")).split()
        )
    assert "has changed" not in works(*opened("generate", file, "--trust")), "the run goes on with the new one"


def test_a_warning_is_no_line_of_the_results(place: Path) -> None:
    (place / "own.py").write_text(CELL + "\n", encoding="utf-8")
    result = invoke(*opened("score", place / "run" / "last.safetensors", "--cell", "own.py:Plain"))
    assert "has changed" in result.stderr and len(result.stdout.splitlines()) == len(TEXT.splitlines())


def test_load_model_warns_of_an_edited_cell_and_runs_none_unasked(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    with pytest.raises(FileNotRun, match="only where you name it"):
        load_language_model(file)
    assert not was_run(place)
    load_language_model(file, permit=Permit(trust=True))
    (place / "own.py").write_text(CELL + "\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"has changed since the model was saved: own\.py"):
        load_language_model(file, permit=Permit("own.py:Plain"))


def test_the_options_of_a_cell_are_those_that_it_was_trained_with(place: Path) -> None:
    file = place / "run" / "last.safetensors"
    assert checkpoint.load(file).meta["cell"]["options"] == {"gain": 1.0}
    (place / "own.py").write_text(CELL.replace("gain: float = 1.0", "gain: float = 9.0"), encoding="utf-8")
    assert open_cell("own.py:Plain").cell(2, 3).gain == 9
    notes: list[str] = []
    run = resume_run(file, notes.append, permit=Permit("own.py:Plain"))
    assert run.model.recurrent.cells[0].gain == 1 and "has changed" in notes[-1]
    run.save(file)
    assert checkpoint.load(file).meta["cell"]["options"] == {"gain": 1.0}


def test_a_cell_that_comes_with_the_package_leaves_no_record(place: Path) -> None:
    assert open_cell("lstm").record is None
    works("train", "--text", "text.txt", *SMALL, "--out", "other")
    assert "cell" not in checkpoint.load(Path("other/best.safetensors")).meta


def test_a_run_with_a_cell_of_one_s_own_resumes_bit_for_bit(place: Path) -> None:
    arguments = ["train", "--text", "text.txt", *SMALL, "--cell", "own.py:Plain"]
    works(*arguments, "--epochs", 3, "--out", "a")
    works(*arguments, "--epochs", 1, "--out", "b")
    works("train", "--resume", "b/last.safetensors", "--trust", "--epochs", 3)
    whole, resumed = (checkpoint.load(f"{run}/last.safetensors") for run in "ab")
    assert whole.meta | {"run": resumed.meta["run"]} == resumed.meta
    assert whole.arrays.keys() == resumed.arrays.keys()
    assert all(array.tobytes() == resumed.arrays[name].tobytes() for name, array in whole.arrays.items())


# --- The files of a cell ---------------------------------------------------------------------------------------


def test_what_a_cell_imports_is_read_with_it_packages_too_and_what_is_installed_is_not(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import own_package.part, numpy, os\nimport own_single\n", encoding="utf-8")
    (tmp_path / "own_single.py").write_text("def late():\n    import own_third\n", encoding="utf-8")
    (tmp_path / "own_third.py").write_text("import main\n(", encoding="utf-8")
    (tmp_path / "numpy.py").write_text("raise SystemExit", encoding="utf-8")
    (tmp_path / "os.py").write_text("raise SystemExit", encoding="utf-8")
    (tmp_path / "own_package" / "inner").mkdir(parents=True)
    for name in ("__init__", "part", "inner/__init__", "inner/leaf"):
        (tmp_path / f"own_package/{name}.py").write_text("", encoding="utf-8")
    found = OwnSources.read(tmp_path / "main.py", "cell")
    package = "own_package own_package.inner own_package.inner.leaf own_package.part".split()
    assert list(found.beside) == [*package, "own_single", "own_third"]


def test_a_helper_that_a_step_imports_late_is_found_and_is_the_one_that_was_read(tmp_path: Path) -> None:
    source = CELL.replace("from own_helper import squash\n", "").replace(
        "        return squash", "        from late_helper import squash\n        return squash"
    )
    (tmp_path / "own.py").write_text(source, encoding="utf-8")
    (tmp_path / "late_helper.py").write_text(HELPER, encoding="utf-8")
    before = list(sys.path)
    cell = open_cell(f"{tmp_path / 'own.py'}:Plain").cell
    (tmp_path / "late_helper.py").write_text("raise SystemExit", encoding="utf-8")
    assert Recurrent(cell, 2, 3)([[[1.0, 2.0]]])[0].shape == (1, 1, 3) and sys.path == before


def test_a_cell_that_is_read_again_is_run_as_it_is_now_with_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CELL, encoding="utf-8")
    for name in ("tanh", "sigmoid"):
        (tmp_path / "own_helper.py").write_text(HELPER.replace("tanh", name), encoding="utf-8")
        cell = open_cell(f"{tmp_path / 'own.py'}:Plain").cell
        assert cell.step.__globals__["squash"].__name__ == name


def test_a_compiled_file_beside_the_source_is_never_what_runs(tmp_path: Path) -> None:
    helper = tmp_path / "own_helper.py"
    helper.write_text("raise SystemExit(1)", encoding="utf-8")
    cached = py_compile.compile(str(helper), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert cached and Path(cached).is_file()
    helper.write_text(HELPER, encoding="utf-8")
    (tmp_path / "own.py").write_text(CELL, encoding="utf-8")
    assert open_cell(f"{tmp_path / 'own.py'}:Plain").cell.__name__ == "Plain"


def test_the_lines_of_a_cell_are_in_its_tracebacks(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CELL + "\nraise ValueError('no')\n", encoding="utf-8")
    (tmp_path / "own_helper.py").write_text(HELPER, encoding="utf-8")
    with pytest.raises(OptionError, match=r"own\.py cannot be imported: .*own\.py, line \d+: ValueError: no") as told:
        open_cell(f"{tmp_path / 'own.py'}:Plain")
    assert told.value.__cause__ is not None
    assert "raise ValueError('no')" in "".join(traceback.format_exception(told.value.__cause__))
