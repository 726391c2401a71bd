"""A user's own cell, from the file that they name, and which line of it an error comes from."""

from __future__ import annotations

import difflib
import importlib.util
import sys
import traceback
from pathlib import Path

from tinygrad_rnn.frames import CELL_FILE, owner
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.language import CELLS
from tinygrad_rnn.training.settings import SettingsError


def find_cell(name: str) -> type[Cell]:
    """The cell called "rnn", "gru", "lstm" or "FILE.py:Class". Raises SettingsError where there is none."""
    if name.lower() in CELLS:
        return CELLS[name.lower()]
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute:
        file, meant = name.removesuffix(":"), difflib.get_close_matches(name.lower(), CELLS, 1)
        hint = f"FILE.py:Class with the name of the class in {file}" if file.endswith(".py") else ""
        hint = hint or f"{meant[0] if meant else ', '.join(CELLS)} or FILE.py:Class"
        raise SettingsError(f"cell must be {hint}, got {name!r}")
    if not Path(path).is_file():
        raise SettingsError(f"cell {name!r}: there is no file {path}")
    if (folder := str(Path(path).resolve().parent)) not in sys.path:
        sys.path.append(folder)  # for what it imports from beside it
    spec = importlib.util.spec_from_file_location(f"{CELL_FILE}{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"cell {name!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SettingsError(f"cell {name!r}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise SettingsError(f"cell {name!r}: {path} has no class {attribute} made with Cell")
    return found


def blame(error: BaseException) -> str:
    """ "FILE.py, line N: TypeError: ..." where the error comes from within a user's own cell, and otherwise ""."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [f"{frame.f_code.co_filename}, line {line}" for frame, line in frames if owner(frame) == "cell file"]
    return f"{lines[-1]}: {type(error).__name__}: {error}" if lines else ""
