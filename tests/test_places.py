"""Where the files that a checkpoint names are found, and what is said of a text that can be read only once."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tinygrad_rnn.cli import main
from tinygrad_rnn.data import TextError
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.places import candidates, found_files, pipes

TEXT = "\n".join(f"the {noun} {verb} ." for noun in "cat dog bird tree".split() for verb in "sees hears".split()) * 3
SMALL = "--lines --layers 1 --hidden 3 --embedding 3 --epochs 1 --batch-size 2 --steps 5 --sentences 0".split()


def invoke(*args: object) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args], terminal_width=110)


def works(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return " ".join(str(result.output).split())


def fails(*args: object) -> str:
    result = invoke(*args)
    assert isinstance(result.exception, SystemExit) and result.exit_code in (1, 2), result.output
    return str(result.output.partition("Error: ")[2])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with texts and a model trained on one."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "text.txt").write_text(TEXT, encoding="utf-8")
    (folder / "data" / "table.csv").write_text("body\n" + TEXT, encoding="utf-8")
    monkeypatch.chdir(folder)
    works("train", "--text", "data/text.txt", *SMALL, "--out", "runs/lm")
    return folder


def test_a_text_is_looked_for_where_it_was_then_from_here_then_from_the_checkpoint_and_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, run = tmp_path / "here", tmp_path / "above" / "run"
    for folder in (here, run):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    known, file = tmp_path / "known.txt", run / "last.safetensors"
    places = [known, here / "t.txt", run / "t.txt", run.parent / "t.txt", run / "known.txt"]
    for place in places:
        place.write_text("a", encoding="utf-8")
    found = candidates("t.txt", file, str(known))
    assert [os.path.realpath(each) for each in found] == [str(place) for place in places]
    shutil.move(known, tmp_path / "gone")
    assert candidates("t.txt", file, str(known))[0] == "t.txt"
    assert candidates("/no/such/known.txt", file) == [str(run / "known.txt")]
    assert candidates(".", file) == candidates("", file) == candidates("/", file) == []


@pytest.mark.parametrize("moved", [False, True])
def test_a_model_is_used_from_another_folder_and_after_its_project_has_moved(
    moved: bool, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    monkeypatch.chdir(other)
    if moved:
        shutil.move(project, tmp_path / "renamed")
        project = tmp_path / "renamed"
    works("evaluate", project / "runs/lm/best.safetensors")
    works("train", "--resume", project / "runs/lm/last.safetensors", "--epochs", 2, "--sentences", 0)
    saved = checkpoint.load(project / "runs/lm/last.safetensors").meta
    assert saved["files"] == {"data/text.txt": str(project / "data/text.txt")}
    assert saved["settings"]["text"] == ["data/text.txt"]


def test_an_older_checkpoint_finds_its_text_above_it(project: Path, tmp_path: Path) -> None:
    file = project / "runs/lm/best.safetensors"
    saved = checkpoint.load(file)
    del saved.meta["files"]
    checkpoint.save(file, saved.arrays, saved.meta)
    os.chdir(tmp_path)
    works("evaluate", file)


def test_a_run_that_is_resumed_elsewhere_is_the_one_that_was_not_interrupted(project: Path, tmp_path: Path) -> None:
    shutil.copytree("runs/lm", "runs/other")
    works("train", "--resume", "runs/lm/last.safetensors", "--epochs", 2)
    os.chdir(tmp_path)
    works("train", "--resume", project / "runs/other/last.safetensors", "--epochs", 2)
    assert (project / "runs/lm/last.safetensors").read_bytes() == (project / "runs/other/last.safetensors").read_bytes()


def test_the_same_text_under_another_name_is_taken_on_resume_and_another_text_is_not(project: Path) -> None:
    file = project / "runs/lm/last.safetensors"
    moved = Path("data/text.txt").rename(project / "new.txt")
    gone = fails("train", "--resume", file, "--epochs", 2)
    assert "data/text.txt: cannot be read" in gone and "name it with --text" in gone
    works("train", "--resume", file, "--epochs", 2, "--text", "new.txt")
    assert checkpoint.load(file).meta["data"]["name"] == "new.txt"
    works("train", "--resume", file, "--epochs", 3)
    moved.write_text(TEXT + "\nmore .", encoding="utf-8")
    assert "new.txt has changed" in fails("train", "--resume", file, "--epochs", 4, "--text", "new.txt")
    assert "--csv" in fails("train", "--resume", file, "--epochs", 4, "--csv", "data/table.csv")


def test_the_same_table_under_another_name_is_taken_on_resume(project: Path) -> None:
    works("train", "--csv", "data/table.csv", "--column", "body", *SMALL[1:], "--out", "table")
    Path("data/table.csv").rename("new.csv")
    assert "--csv" in fails("train", "--resume", "table/last.safetensors", "--epochs", 2)
    works("train", "--resume", "table/last.safetensors", "--epochs", 2, "--csv", "new.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_text_from_a_pipe_says_when_training_starts_that_resuming_will_not_find_it(project: Path) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_text(TEXT, encoding="utf-8"))
    writer.start()
    said = works("train", "--text", "pipe", *SMALL, "--out", "piped")
    writer.join()
    assert "pipe is a pipe: to resume or evaluate, save the text and name the file with --text" in said
    assert "came from a pipe" in fails("train", "--resume", "piped/last.safetensors", "--epochs", 2)
    assert "came from a pipe" in fails("evaluate", "piped/last.safetensors")
    said = works("train", "--resume", "piped/last.safetensors", "--epochs", 2, "--text", "data/text.txt")
    assert "is a pipe" not in said
    works("evaluate", "piped/last.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such devices")
def test_a_checkpoint_cannot_make_a_device_be_read(tmp_path: Path) -> None:
    for name in ("/dev/zero", "/dev/stdin", "/dev/fd/63", "-"):
        with pytest.raises(TextError, match="name it with --text"):
            found_files(LanguageOptions(text=(name,)), tmp_path / "a", {})
    found = pipes(LanguageOptions(text=("/dev/fd/63", "/dev/null", "missing", ".")))
    assert found == {"/dev/fd/63": "--text", "/dev/null": "--text"}
