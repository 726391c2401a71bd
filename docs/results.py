"""The page of results, made from what runs wrote: `python docs/results.py` writes docs/results.md from docs/results/*.json.

    python docs/results.py tag translate-dates     # trains these, with the seeds 0, 1 and 2, and keeps their results
    python docs/results.py --seeds 0 tag           # with one seed
    python docs/results.py --list                  # what there is

A run is a command of `tinygrad-rnn train`; its result is the file result.json that it leaves. Runs on data that does not
come with the project name a file in DATA (an environment variable), and are left out where it is not there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "results", HERE / "results.md"


@dataclass(frozen=True)
class Wanted:
    """A run: what follows `tinygrad-rnn train`, with {data} for the folder of data; what its metric should reach, None
    where that is only reported; and what is to be said of it."""

    arguments: str
    target: float | None = None
    note: str = ""


RUNS: dict[str, Wanted] = {}
"""By name; those on the reader's own data, which needs no download, first."""


def train(name: str, seed: int, data: str) -> dict[str, Any]:
    """The result of a run, with the command that gave it."""
    typed = f"train {RUNS[name].arguments}"
    with tempfile.TemporaryDirectory() as folder:
        line = [*shlex.split(typed.replace("{data}", data)), "--seed", str(seed), "--out", folder, "--quiet"]
        subprocess.run([sys.executable, "-m", "tinygrad_rnn", *line], check=True)
        result: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    result["command"] = f"tinygrad-rnn {typed.replace('{data}/', '')}"
    for label in ("confusion", "labels", "F1"):
        result.pop(label, None)
    return result


def keep(name: str, results: list[dict[str, Any]]) -> None:
    """Writes the results of a run, by seed, beside those that are there of others."""
    path = KEPT / f"{name}.json"
    there = {each["seed"]: each for each in (json.loads(path.read_text()) if path.is_file() else [])}
    there |= {each["seed"]: each for each in results}
    KEPT.mkdir(exist_ok=True)
    path.write_text(json.dumps([there[seed] for seed in sorted(there)], indent=1) + "\n", encoding="utf-8")


# --- The page --------------------------------------------------------------------------------------------------


def mean_text(values: list[float]) -> str:
    """The mean of several runs, and how far they are apart."""
    mean = statistics.fmean(values)
    digits = 4 if abs(mean) < 10 else 2
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def reached(wanted: Wanted, results: list[dict[str, Any]]) -> str:
    """Whether the target is, by the mean."""
    if wanted.target is None:
        return ""
    value, higher = statistics.fmean(each["value"] for each in results), results[0]["higher_is_better"]
    sign = "≥" if higher else "≤"
    met = value >= wanted.target if higher else value <= wanted.target
    return f"{sign} {wanted.target:g}: {'reached' if met else 'not reached'}"


def verdicts(results: list[dict[str, Any]]) -> str:
    """What each baseline reaches, and the verdicts on it, the best baseline first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for each in result["baselines"]:
            found.setdefault(each["name"], []).append(each)
    higher = results[0]["higher_is_better"]
    ordered = sorted(found.items(), key=lambda item: statistics.fmean(e["value"] for e in item[1]), reverse=higher)
    words = []
    for name, each in ordered:
        counts = {
            verdict: sum(one["verdict"] == verdict for one in each) for verdict in ("beaten", "level", "not reached")
        }
        said = ", ".join(
            verdict if count == len(each) else f"{verdict} in {count} of {len(each)}"
            for verdict, count in counts.items()
            if count
        )
        words.append(f"{name} {statistics.fmean(one['value'] for one in each):.4f}: {said}")
    return "<br>".join(words)


def row(name: str, results: list[dict[str, Any]]) -> list[str]:
    """A line of the table."""
    first, wanted = results[0], RUNS[name]
    other = [
        f"{key} {mean_text([each['metrics'][key] for each in results])}"
        for key in first["metrics"]
        if key != first["metric"]
    ]
    value = f"**{first['metric']} {mean_text([each['value'] for each in results])}**"
    return [
        f"`{first['command']}`",
        "<br>".join([value, *other]),
        reached(wanted, results),
        verdicts(results),
        f"{first['examples']['training']:,} / {first['examples']['validation']:,} / {first['examples']['test']:,}",
        f"{first['parameters']:,}",
        f"{math.ceil(statistics.fmean(each['seconds'] for each in results)):,} s",
    ]


HEAD = ["command", "result", "target", "simple methods", "examples", "parameters", "training"]


def render() -> str:
    """The page."""
    results = {
        name: json.loads((KEPT / f"{name}.json").read_text()) for name in RUNS if (KEPT / f"{name}.json").is_file()
    }
    own = {name: each for name, each in results.items() if "{data}" not in RUNS[name].arguments}
    real = {name: each for name, each in results.items() if name not in own}
    lines = [
        "# Results",
        "",
        "Made by `python docs/results.py` from the files in `docs/results/`, which are what runs of the commands wrote:",
        "the mean over the seeds 0, 1 and 2, in brackets the least and the most, of the best model on examples that it was",
        "not trained on. A simple method is *beaten* where the model is better by more than twice the standard error of the",
        "difference on the same examples, *level* where the difference is less than that, and *not reached* otherwise.",
        "Examples are those to train on, to validate on and for the result. Seconds are of training steps, on one thread of",
        "a shared machine: yours will differ.",
    ]
    for title, some in (("Without a data set", own), ("On data of others", real)):
        if not some:
            continue
        lines += ["", f"## {title}", "", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
        for name, each in some.items():
            lines.append(f"| {' | '.join(row(name, each))} |")
        notes = [f"- `{each[0]['command']}`: {RUNS[name].note}" for name, each in some.items() if RUNS[name].note]
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="runs to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--list", action="store_true", help="print the names of all runs")
    given = parser.parse_args()
    if given.list:
        for name, wanted in RUNS.items():
            print(f"{name:24} train {wanted.arguments}")
        return
    data = os.environ.get("DATA", "data")
    if strange := [name for name in given.names if name not in RUNS]:
        parser.error(f"there is no run {strange[0]!r}; --list names those that there are")
    for name in given.names:
        keep(name, [train(name, seed, data) for seed in given.seeds])
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
