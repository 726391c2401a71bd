"""A disk without space: the error names the file."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinygrad_rnn.cli import main
from tinygrad_rnn.data import corpus
from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.whole_files import write_whole

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full, the device that is always full")
SMALL = "--lines --epochs 1 --layers 1 --hidden 4 --embedding 4 --sentences 0 --quiet".split()


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a small model."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "text.txt").write_text("the cat sat .\na dog ran .\n" * 8, encoding="utf-8")
    found = CliRunner().invoke(main, ["train", "--text", str(folder / "text.txt"), *SMALL, "--out", str(folder)])
    assert found.exit_code == 0, found.output
    return folder


def test_an_error_without_a_file_gets_one_and_others_stay_as_they_are() -> None:
    with pytest.raises(OSError, match=r"No space left on device: 'some\.txt'") as caught, named_errors("some.txt"):
        full()
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(FileNotFoundError, match="nowhere"), named_errors("some.txt"):
        Path("nowhere").read_text(encoding="utf-8")
    with pytest.raises(OSError, match=r"^no number$"), named_errors("some.txt"):
        raise OSError("no number")
    with pytest.raises(BrokenPipeError), named_errors("some.txt"):
        raise OSError(errno.EPIPE, "closed")


def test_a_file_that_is_to_become_another_is_called_by_that_one_s_name(tmp_path: Path) -> None:
    path = tmp_path / "run" / "some.log"
    path.parent.mkdir()
    path.mkdir()
    with pytest.raises(OSError, match=re.escape(f": '{path}'") + "$"):
        write_whole(path, b"a folder is in the way")
    assert [each.name for each in path.parent.iterdir()] == ["some.log"]


def test_a_checkpoint_that_does_not_fit_is_named_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.safetensors"
    checkpoint.save(path, {"a": np.ones(2)}, {})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=re.escape(f"No space left on device: '{path}'")):
        checkpoint.save(path, {"a": np.zeros(2)}, {})
    assert checkpoint.load(path).arrays["a"].tolist() == [1, 1]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@needs_full
def test_a_log_and_a_page_that_do_not_fit_are_named(run: Path, tmp_path: Path) -> None:
    train = ["train", "--text", str(run / "text.txt"), *SMALL, "--out", str(tmp_path), "--log", str(FULL)]
    for arguments in (train, ["inspect", str(run / "best.safetensors"), "--html", str(FULL)]):
        found = CliRunner().invoke(main, arguments)
        assert (found.exit_code, found.output) == (1, "Error: /dev/full: No space left on device\n")


@pytest.mark.slow
@needs_full
def test_output_that_does_not_fit_is_called_so(run: Path) -> None:
    command = [sys.executable, "-m", "tinygrad_rnn", "inspect", str(run / "best.safetensors")]
    with FULL.open("w") as file:
        found = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False)
    assert (found.returncode, found.stderr) == (1, "Error: standard output: No space left on device\n")


def test_a_picture_that_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    monkeypatch.setattr(figures.Figure, "savefig", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*loss\.png'"):
        loss_curve([{"event": "step", "step": 1, "loss": 1.0, "tokens": 3}], tmp_path / "loss.png")


def test_a_default_corpus_that_does_not_fit_into_the_cache_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(corpus, "library_sentences", lambda library: ["word"] * corpus.LEAST_WORDS)
    monkeypatch.setattr(os, "replace", full)
    corpus.standard_library(tmp_path, notes.append)
    assert f"No space left on device: '{tmp_path}'" in notes[-1]
