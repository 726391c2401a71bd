"""Machine code that was compiled before, in a folder of the user's own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from tinygrad_rnn.cache import cache_folder, keep, kept
from tinygrad_rnn.machine.target import object_code, processor


@cache
def version() -> str:
    """Of all that decides what is compiled from a program: the sources that write code, LLVM, the processor."""
    here = Path(__file__).parent
    written_by = [*sorted(here.glob("*.py")), *sorted((here.parent / "loops" / "machine").glob("*.py"))]
    sources = b"".join(path.read_bytes() for path in written_by)
    made_with = f"{hashlib.sha256(sources).hexdigest()} {llvmlite.__version__} {llvm.llvm_version_info} {processor()}"
    return hashlib.sha256(made_with.encode()).hexdigest()


def object_code_of(program: str, made: Callable[[], ir.Module]) -> bytes:
    """The object code of a program, which its text tells from all others: from the cache, or of the module that is then
    made, and kept for the next time."""
    name = f"{hashlib.sha256(f'{version()} {program}'.encode()).hexdigest()}.o"
    folder = private_folder()
    code = None if folder is None else kept(folder, name)
    if code is None:
        code = object_code(made())
        if folder is not None:
            with suppress(OSError):  # what cannot be kept is compiled again
                keep(folder, name, code)
    return code


def private_folder() -> Path | None:
    """Where code is kept; None where another user could have put it there, since it will be run."""
    folder = cache_folder()
    if folder is None:
        return None
    folder = folder / "machine-code"
    try:
        status = folder.stat()
    except OSError:
        return folder  # it is made when something is kept
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        return None
    return folder
