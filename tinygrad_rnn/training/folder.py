"""The folder of a run: what lies in it, whose it is, and the lock that a run holds while it writes there."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.whole_files import remove_parts, write_whole
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.result_file import RESULT
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import id_of_run, load_run

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

BEST, LAST, LOG, PICTURE = "best.safetensors", "last.safetensors", "log.jsonl", "loss.png"
"""The model that did best, the run as it stands, a line for every step, and the curve of the losses."""


def of_step(step: int) -> str:
    """The name of a checkpoint that is kept beside these."""
    return f"step-{step:07}.safetensors"


_OF_A_STEP = r"step-\d{7,}\.safetensors"


def kept_evaluations(folder: Path) -> list[Path]:
    """The checkpoints of evaluations that lie in the folder, by their steps. Other programs name files so too: those
    are none."""
    named = [path for path in folder.glob("step-*") if re.fullmatch(_OF_A_STEP, path.name)]
    there = [path for path in named if checkpoint.is_checkpoint(path)]
    return sorted(there, key=lambda path: (len(path.name), path.name))


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of runs that lie in the folder."""
    first = [path for path in (folder / BEST, folder / LAST) if os.path.lexists(path)]
    return [*first, *kept_evaluations(folder)]


def files_of_a_run(folder: Path) -> list[Path]:
    """Those files of a run that lie in the folder: a new run would overwrite them."""
    return [*_checkpoints(folder), *(path for name in (LOG, PICTURE, RESULT) if os.path.lexists(path := folder / name))]


# --- The lock --------------------------------------------------------------------------------------------------


class FolderInUse(OptionError):
    """Another run is writing into the folder."""


@contextmanager
def held(folder: Path, note: Note) -> Iterator[None]:
    """Within it no other run writes into the folder, which is made where there is none. The lock is the system's, and
    ends with the process, also where that is killed. What killed runs left half written is removed. A file system
    without locks is noted, and does without. Raises FolderInUse, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "this folder cannot be written to", str(folder))
    path = folder / ".lock"
    file = _open_locked(path)
    if file is None:
        note(f"{folder} lies on a file system without locks: see to it that no other run writes there.")
        yield
        return
    try:
        remove_parts(folder, *map(re.escape, (BEST, LAST, LOG, RESULT)), _OF_A_STEP)
        yield
    finally:
        if sys.platform == "win32":  # where a file that is open cannot be removed
            file.close()
        with suppress(OSError):
            path.unlink()
        file.close()


def _open_locked(path: Path) -> BinaryIO | None:
    """The file, open and locked; None where there are no locks. Raises FolderInUse, OSError."""
    while True:
        file = path.open("ab")
        try:
            _lock(file.fileno())
            # Whoever held it before may have removed it since it was opened: then this is the lock of nothing.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError as error:
            file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
                raise FolderInUse(
                    f"{path.parent}: another run is writing into this folder; wait for it, or give another with --out"
                ) from None
            path.unlink(missing_ok=True)
            return None
        file.close()


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def free_folder(first: Path, note: Note) -> Iterator[Path]:
    """The first of `first`, `first`-2, `first`-3, ... in which there is no run, held. Raises OSError."""
    for number in count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        with suppress(FolderInUse):
            if files_of_a_run(folder):
                continue
            with held(folder, note):
                if not files_of_a_run(folder):  # which may have come before it was held
                    yield folder
                    return


# --- Whose files they are --------------------------------------------------------------------------------------


def refuse_other_runs(folder: Path, run: Run | None = None) -> None:
    """Raises OptionError where the folder has files of another run than this one, or of this one's later steps; for a
    new run, any."""
    if run is None:
        other = files_of_a_run(folder)
    else:
        other = [path for path in _checkpoints(folder) if is_of_another(path, run)]
    if other:
        raise OptionError(
            f"--out: {folder} holds another run ({other[0].name}); give another folder, or --overwrite to replace it"
        )
    # The best file may be ahead where a kill came between saving that and the last one.
    if run is not None and (ahead := [path for path in _later(folder, run) if path.name != BEST]):
        raise OptionError(
            f"--out: {ahead[0]} is further on than the checkpoint of step {run.progress.step:,} to go on from; give "
            "another folder, or --overwrite to replace what came after it"
        )


def remove_other_runs(folder: Path, run: Run) -> None:
    """Removes the files of other runs than this one, and of this one's later steps. Raises OSError."""
    checkpoints = _checkpoints(folder)
    if all(is_of_another(path, run) for path in checkpoints):
        for name in (PICTURE, RESULT):
            (folder / name).unlink(missing_ok=True)
    for path in checkpoints:
        if is_of_another(path, run):
            path.unlink()
    for path in _later(folder, run):
        path.unlink()


def _later(folder: Path, run: Run) -> list[Path]:
    """The checkpoints of this run in the folder that it had not come to where it goes on from."""
    return [path for path in _checkpoints(folder) if (saved := own_checkpoint(path, run)) and _is_later(saved, run)]


def _is_later(saved: checkpoint.Checkpoint, run: Run) -> bool:
    return bool(saved.meta["progress"]["step"] > run.progress.step)


def is_of_another(path: Path, run: Run) -> bool:
    """Whether there is a file that is no checkpoint of this run."""
    return os.path.lexists(path) and own_checkpoint(path, run) is None


def own_checkpoint(path: Path, run: Run) -> checkpoint.Checkpoint | None:
    """The checkpoint there, if it is one of this run."""
    try:
        saved = load_run(path)
    except checkpoint.CheckpointError:
        return None
    return saved if id_of_run(saved.meta) == run.id else None


def bring_best(source: Path, folder: Path, run: Run) -> None:
    """Copies the best model of a run that goes on in another folder, which has none; not one that it had not come to
    where it goes on from. Raises OSError."""
    saved = None if (folder / BEST).exists() else own_checkpoint(source / BEST, run)
    if saved is not None and not _is_later(saved, run):
        write_whole(folder / BEST, (source / BEST).read_bytes())


def newest_best(runs: Path, refuse: Callable[[Path, checkpoint.Checkpoint], object], note: Note) -> Path:
    """The best file of the newest run below a folder that can be read; newer ones that cannot, or that `refuse` raises
    an error about, are noted. Raises OptionError where there is none."""
    for path in sorted(runs.glob(f"*/{BEST}"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            refuse(path, load_run(path))
        except (checkpoint.CheckpointError, OptionError) as error:
            note(f"Passed over: {error}.")
        else:
            return path
    raise OptionError(f"CHECKPOINT: there is no run in {runs} to read; name a checkpoint, or train one")
