"""Whether a training run has the same numbers wherever it is started: other hash seeds, locales, time zones, folders.

    python benchmarks/same_numbers.py

Small runs of the command line, on a text with letters of several languages, are trained in processes that differ in
one thing each. Compared bit for bit with the first: the arrays of the best and the last checkpoint, what else these
say, the log but for the clock, and what is printed, sentences included. Ends with 1 where anything differs.
"""

from __future__ import annotations

import json
import locale
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinygrad_rnn.models import checkpoint

SMALL = "--layers 1 --hidden 8 --embedding 8 --batch-size 8 --steps 8 --sentences 5 --quiet".split()
KINDS = {
    "words": [],
    "characters": ["--level", "char", "--cell", "lstm", "--optimizer", "adam"],
    "lines": ["--lines", "--recurrent-dropout", "0.1"],
}
SENTENCE = 'The cat of “{}” sees İstanbul, the dog ISINS straße and naïve Ω at {} o\'clock; "YES" to item {} then.'
LOCALES = ("C", "POSIX", "C.UTF-8", "en_US.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8")
OWN = ("PYTHONHASHSEED", "LC_ALL", "LANG", "TZ", "PYTHONUTF8", "PYTHONCOERCECLOCALE", "PYTHONIOENCODING")
"""Variables that the processes have only as they are told here."""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""Where files without an encoding of their own would be read as ASCII."""


def is_installed(name: str) -> bool:
    """Whether the system has a locale."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_ALL, before)
    return True


def surroundings() -> dict[str, tuple[list[str], dict[str, str], str]]:
    """By what tells them apart: options of Python, variables, and a folder to stand in."""
    found: dict[str, tuple[list[str], dict[str, str], str]] = {"first": ([], {"PYTHONHASHSEED": "0"}, ".")}
    for seed in ("1", "2", "4294967295", "random"):
        found[f"hash seed {seed}"] = ([], {"PYTHONHASHSEED": seed}, ".")
    for name in filter(is_installed, LOCALES):
        found[f"locale {name}"] = ([], {"LC_ALL": name}, ".")
    found["ASCII"] = ([], ASCII, ".")
    found["UTF-8 mode"] = ([], {"PYTHONUTF8": "1"}, ".")
    for zone in ("Pacific/Auckland", "America/New_York"):
        found[f"time zone {zone}"] = ([], {"TZ": zone}, ".")
    found["another folder"] = ([], {}, "elsewhere/büro")
    found["python -OO"] = (["-OO"], {}, ".")
    return found


def contents(path: Path) -> Any:
    """What is in a checkpoint but for the run's id and where its text lies."""
    saved = checkpoint.load(path)
    for name in ("run", "files"):
        del saved.meta[name]
    return {name: (array.dtype.str, array.tobytes()) for name, array in saved.arrays.items()}, saved.meta


def outcome(kind: str, place: Path, number: int, how: tuple[list[str], dict[str, str], str]) -> dict[str, Any]:
    """Trains, and returns what is to be the same."""
    options, variables, stand = how
    folder, out = place / stand, place / f"{kind}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    # How a text is written down is kept in the checkpoint as it was typed: here always the whole path.
    command = ["-m", "tinygrad_rnn", "train", "--text", str(place / "text.txt"), *SMALL, "--epochs", "3"]
    known = {name: value for name, value in os.environ.items() if name not in OWN}
    done = subprocess.run(
        [sys.executable, *options, *command, *KINDS[kind], "--out", str(out)],
        cwd=folder,
        env={**known, "PYTHONIOENCODING": "utf-8", **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"a run failed: {done.stderr}")
    log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "best": contents(out / "best.safetensors"),
        "last": contents(out / "last.safetensors"),
        "log": [{k: v for k, v in each.items() if k not in ("seconds", "run")} for each in log],
        "printed": done.stdout.replace(str(out), "OUT").split(),
    }


def main() -> int:
    ways, different = surroundings(), 0
    absent = [name for name in LOCALES if not is_installed(name)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        lines = [SENTENCE.format(chr(0x3B1 + i % 17), i % 12 + 1, i % 29) for i in range(90)]
        (place / "text.txt").write_text("\n".join(lines), encoding="utf-8")
        for kind in KINDS:
            first = outcome(kind, place, 0, ways["first"])
            differs = []
            for number, (name, how) in enumerate(ways.items()):
                found = outcome(kind, place, number + 1, how)
                parts = [part for part in first if first[part] != found[part]]
                if parts:
                    differs.append(f"{name} ({', '.join(parts)})")
            different += len(differs)
            arrays = len(first["last"][0]) + len(first["best"][0])
            names = f": {'; '.join(differs)}" if differs else ""
            print(
                f"{kind:12} {len(ways)} processes, {arrays} arrays, {len(first['log'])} lines of log, "
                f"{len(first['printed'])} printed words: {len(differs)} differ{names}"
            )
    print(f"in these: {'; '.join(ways)}")
    print(f"not installed here: {', '.join(absent) or 'none'}")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
