"""Machine code that was compiled before is read from the user's folder, whole and nobody else's, or compiled anew."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from tinygrad_rnn import cache, compiled
from tinygrad_rnn.loops import compiling
from tinygrad_rnn.loops.machine import running
from tinygrad_rnn.machine import multiplying, object_files, target
from tinygrad_rnn.models import RNN

LAYER, XS = RNN(3, 5, rng=np.random.default_rng(0)), np.random.default_rng(1).standard_normal((4, 2, 3)).astype("f")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(object_files, "cache_folder", lambda: tmp_path)
    return tmp_path / "machine-code"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Runs a layer as if no process had before, and tells how often LLVM compiled."""
    count: list[int] = []
    compile_it = target.object_code

    def counted(module: Any) -> bytes:
        count.append(1)
        return compile_it(module)

    monkeypatch.setattr(object_files, "object_code", counted)
    with compiled(False):
        expected = LAYER(XS)[0].numpy()

    def run() -> int:
        count.clear()
        compiling._cache.clear()
        multiplying.product_functions.cache_clear()
        with compiled("machine"):
            found = LAYER(XS)[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        return len(count)

    return run


def test_what_was_compiled_once_is_not_compiled_again(folder: Path, made: Any) -> None:
    first = made()
    files = sorted(folder.iterdir())
    assert first == len(files) >= 2  # the product of matrices, and the loops
    assert made() == 0
    assert sorted(folder.iterdir()) == files


def test_a_damaged_file_is_compiled_again_and_replaced(folder: Path, made: Any) -> None:
    count = made()
    for damage in (
        lambda b: b[:-1],
        lambda b: b"",
        lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:],
        lambda b: b + b"x",
    ):
        for path in folder.iterdir():
            path.write_bytes(damage(path.read_bytes()))
        assert made() == count
        assert made() == 0


@pytest.mark.slow
def test_a_file_that_is_another_program_s_is_compiled_again(folder: Path, made: Any) -> None:
    count = made()
    files = sorted(folder.iterdir())
    contents = [path.read_bytes() for path in files]
    for path, other in zip(files, contents[1:] + contents[:1], strict=True):
        path.write_bytes(other)
    assert made() == count


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owners here")
@pytest.mark.parametrize("mode", [0o702])
def test_from_a_folder_that_others_may_write_to_nothing_is_run(folder: Path, made: Any, mode: int) -> None:
    count = made()
    folder.chmod(mode)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert made() == count
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    folder.chmod(0o700)
    assert made() == 0


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owners here")
def test_from_a_folder_of_another_user_nothing_is_run(folder: Path, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    count = made()
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    assert made() == count


def test_the_folder_is_the_users_alone(folder: Path, made: Any) -> None:
    made()
    assert os.name == "nt" or stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.slow
def test_without_a_folder_or_where_it_cannot_be_made_it_is_compiled(
    folder: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_files, "cache_folder", lambda: None)
    count = made()
    assert count
    monkeypatch.setattr(object_files, "cache_folder", lambda: folder.parent)
    folder.write_text("a file where the folder should be")
    assert made() == count


@pytest.mark.slow
def test_what_cannot_be_read_is_compiled(folder: Path, made: Any) -> None:
    count = made()
    for path in [*folder.iterdir()]:
        path.unlink()
        path.mkdir()  # reading it fails, whoever asks
    assert made() == count


def test_other_sources_or_another_processor_are_another_version(folder: Path, made: Any) -> None:
    count = made()
    version = object_files.version
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_files, "version", lambda: version() + "newer")
        assert made() == count
    assert made() == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_files, "processor", lambda: ("another", "", ""))
        assert version.__wrapped__() != version()
    written_by = Path(running.__file__).parent / "loop_code.py"
    read = Path.read_bytes
    for path in (written_by, Path(object_files.__file__).parent / "product.py"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda self, path=path: read(self) + b"\n" * (self == path))
            assert version.__wrapped__() != version()


PROCESS = """
import sys, numpy as np
from tinygrad_rnn import compiled
from tinygrad_rnn.machine import object_files
from tinygrad_rnn.models import RNN

compile_it, count = object_files.object_code, []
object_files.object_code = lambda module: (count.append(1), compile_it(module))[1]
xs = np.random.default_rng(1).standard_normal((4, 2, 3)).astype("f")
layer = RNN(3, 5, rng=np.random.default_rng(0))
with compiled("machine"):
    ys, _ = layer(xs)
    ys.sum().backward()
print(len(count), float(ys.sum().data), float(layer.cells[0].parameters()[0].grad.sum()))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_two_at_once_agree(tmp_path: Path) -> None:
    home = {"XDG_CACHE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "HOME": str(tmp_path)}
    environment = {**os.environ, **home}

    def begin() -> Any:
        return subprocess.Popen([sys.executable, "-c", PROCESS], env=environment, stdout=subprocess.PIPE, text=True)

    both = [process.communicate(timeout=100)[0].split() for process in (begin(), begin())]
    again = begin().communicate(timeout=100)[0].split()
    # Either may have found what the other one had compiled just before.
    assert sum(int(each[0]) for each in both) > 0 and both[0][1:] == both[1][1:] == again[1:]
    assert again[0] == "0"
    assert cache.cache_folder() is not None
