"""What the page of the zoo shows: a table from the files of the models, and what their commands print."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tinygrad_rnn.models.zoo import file_of, zoo_names
from tinygrad_rnn.tasks.language.telling import ORDERS
from tinygrad_rnn.training.saved_runs import load_run

FOLDER = Path(__file__).parent / "zoo"
COMMANDS: dict[str, tuple[str, str]] = {
    "generate_identifiers": ("generate zoo:identifiers", ""),
    "prompt": ("generate zoo:identifiers --prompt get_ --count 5 --temperature 0.5", ""),
    "score": ("score zoo:identifiers", "readlines\nread_lines\nzqxj\n"),
    "generate_docstrings": ("generate zoo:docstrings --count 5 --max-length 16", ""),
    "dates": ("predict zoo:dates", "3rd of May 2021\nthe 3rd of may 2021\nThursday, 28 June 1962\n07/12/1999\n"),
    "roles": (
        "predict zoo:roles",
        'return open ( name )\nfor line in text . split ( "" ) :\ndef open ( self , mode = 0 ) :\n',
    ),
}
"""By the name of the file with what is shown: the command, and what it reads."""

UNBROKEN = "\xa0"
"""A space at which no line is broken."""

METRICS = {"valid_nats": "nats", "exact": "exact match", "names": "of the names right"}
"""What is told of a model first, by what its file calls it: the last of these that it has."""


def shown(command: str, read: str) -> str:
    """A command as it is typed, and what it prints."""
    program = [sys.executable, "-m", "tinygrad_rnn", *shlex.split(command)]
    said = subprocess.run(program, input=read, capture_output=True, text=True, check=True, cwd=FOLDER).stdout
    lines = read.splitlines()
    if not lines:
        typed = f"$ tinygrad-rnn {command}"
    else:
        typed = "\n".join([f"$ tinygrad-rnn {command} <<END", *lines, "END"])
    return f"{typed}\n{said}"


def row(name: str) -> list[str]:
    """What a table says of a model."""
    path = file_of(name)
    saved = load_run(path)
    weights = sum(values.size for values in saved.part("model").values())
    return [f"``{name}``", f"{weights:,}", f"{path.stat().st_size / 1e6:.2f}{UNBROKEN}MB", *worth(saved.meta)]


def worth(meta: dict[str, Any]) -> list[str]:
    """What a model reaches on examples that it was not trained on, and the best of the simple methods."""
    result, simple = meta["result"], meta["data"]["baselines"]
    metric = [key for key in METRICS if key in result][-1]
    lower = metric == "valid_nats"
    best = (min if lower else max)(simple, key=lambda method: float(simple[method]))
    called = ORDERS.get(best, best)
    unit = METRICS[metric]
    if lower:
        unit = f"nats per {'character' if meta['settings']['level'] == 'char' else 'token'}"
    return [f"{result[metric]:.3f} {unit}", f"{called}: {simple[best]:.3f}"]


def write() -> None:
    """Writes the table and what the commands print."""
    FOLDER.mkdir(exist_ok=True)
    rows = [["name", "weights", "file", "on new examples", "the best simple method"], *map(row, zoo_names())]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    lines += [f"   {'*' if i == 0 else ' '} - {cell}" for cells in rows for i, cell in enumerate(cells)]
    (FOLDER / "table.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, (command, read) in COMMANDS.items():
        (FOLDER / f"{name}.txt").write_text(shown(command, read), encoding="utf-8")


if __name__ == "__main__":
    write()
