"""The page of results: `python docs/results.py` makes docs/results.md, and tables of pages, of docs/results/*.json.

    python docs/results.py tag dates               # trains these, with the seeds 0, 1 and 2, and keeps their results
    python docs/results.py --seeds 0 --data . tag  # with one seed, and the folder where files of data are
    python docs/results.py --list                  # what there is

A run is a command of `tinygrad-rnn train`; its result is the file result.json that it leaves. Of seed 0 the picture
that `tinygrad-rnn inspect --plot` draws is kept as well, where a page shows it.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tinygrad_rnn.tasks.language.telling import ORDERS

HERE = Path(__file__).parent
KEPT, PAGE, TASKS = HERE / "results", HERE / "results.md", HERE / "tasks"

Result = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A run: what follows `tinygrad-rnn train`; what its metric should reach, None where that is only reported; what is
    to be said of it; whether it needs a file that does not come with the project; whether a page shows its picture."""

    arguments: str
    target: float | None = None
    note: str = ""
    real: bool = False
    drawn: bool = False

    @property
    def task(self) -> str:
        """The name of its task."""
        first = self.arguments.partition(" ")[0]
        return first if first and not first.startswith("-") else "language"


RUNS: dict[str, Wanted] = {
    "language": Wanted(""),
    "order": Wanted("classify", 0.99),
    "packages": Wanted("classify --problem packages", 0.80, drawn=True),
    "tag": Wanted("tag", 0.98, drawn=True),
    "dates": Wanted("translate", 0.99, drawn=True),
    "grammar": Wanted("translate --problem grammar", 1.0),
    "grammar-none": Wanted("translate --problem grammar --attention none", None, "what attention is worth"),
    "reversal": Wanted("translate --problem reversal", 0.98),
    "reversal-dot": Wanted("translate --problem reversal --attention dot"),
    "reversal-none": Wanted("translate --problem reversal --attention none"),
    "caption": Wanted("caption", 0.98),
    "speech": Wanted("speech", 0.02, drawn=True),
    "forecast": Wanted("forecast", 0.01, drawn=True),
    "adding": Wanted("memory", 0.01),
    "temporal-order": Wanted("memory --problem order", 1.0),
    "reber": Wanted("memory --problem reber", 0.015),
    "embedded-reber": Wanted("memory --problem embedded-reber", 0.015, drawn=True),
    "dyck": Wanted("memory --problem dyck", 0.025),
    "adding-200": Wanted("memory --length 200"),
    "copy": Wanted("memory --problem copy"),
    "anbn": Wanted("memory --problem anbn"),
    "names": Wanted("names", drawn=True),
    "shakespeare": Wanted(
        "--text tinyshakespeare.txt --level char --cell lstm --layers 1 --hidden 256 --embedding 64 --untied"
        " --time-budget 25m",
        1.669,
        real=True,
    ),
    "names-lines": Wanted(
        "--text names.txt --lines --level char --layers 1 --hidden 96 --embedding 48 --untied --dropout 0.1 --epochs 3",
        2.30,
        real=True,
    ),
    "polarity": Wanted("classify --data polarity.tsv", 0.75, real=True),
    "polarity-mean": Wanted("classify --data polarity.tsv --pooling mean", real=True),
    "polarity-last": Wanted("classify --data polarity.tsv --pooling last", real=True),
    "polarity-attention": Wanted("classify --data polarity.tsv --pooling attention", real=True),
    "polarity-forward": Wanted("classify --data polarity.tsv --forward-only", real=True),
    "polarity-no-dropout": Wanted("classify --data polarity.tsv --dropout 0", real=True),
    "subjectivity": Wanted("classify --data subjectivity.tsv", 0.91, real=True),
    "movie-reviews": Wanted("classify --data movie_reviews.tsv --max-length 400", real=True),
    "treebank": Wanted("tag --data treebank.conll", 0.970, real=True),
    "sunspots": Wanted("forecast --data sunspots.csv --column SUNACTIVITY", real=True, drawn=True),
    "co2": Wanted("forecast --data co2.csv --season 12", real=True),
    "male-female": Wanted("names --data male_female.tsv", 0.80, real=True),
}
"""By name."""


def train(name: str, seed: int, data: Path) -> Result:
    """The result of a run, with the command that gave it."""
    typed = f"train {RUNS[name].arguments}"
    with tempfile.TemporaryDirectory() as folder:
        line = [*shlex.split(typed), "--seed", str(seed), "--out", folder, "--quiet"]
        subprocess.run([sys.executable, "-m", "tinygrad_rnn", *line], check=True, cwd=data)
        result: Result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        if RUNS[name].drawn and seed == 0:
            draw(Path(folder) / "best.safetensors", name, data)
    left = {key: value for key, value in result.items() if key not in ("confusion", "labels", "F1")}
    return {"command": f"tinygrad-rnn {typed}".strip(), **left}


def draw(checkpoint: Path, name: str, data: Path) -> None:
    """Keeps the picture of a run."""
    target = (TASKS / "images" / f"{name}.png").resolve()
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    line = [sys.executable, "-m", "tinygrad_rnn", "inspect", str(checkpoint), "--plot", str(target)]
    subprocess.run(line, check=True, cwd=data)


def keep(name: str, results: list[Result]) -> None:
    """Writes the results of a run, by seed, beside those of other seeds that are there."""
    path = KEPT / f"{name}.json"
    there = {each["seed"]: each for each in (json.loads(path.read_text()) if path.is_file() else [])}
    there |= {each["seed"]: each for each in results}
    KEPT.mkdir(exist_ok=True)
    path.write_text(json.dumps([there[seed] for seed in sorted(there)], indent=1) + "\n", encoding="utf-8")


# --- The page --------------------------------------------------------------------------------------------------

HEAD = ("command", "result", "simple methods")
WIDTHS = (34, 33, 33)
INTRO = """\
Made by `python docs/results.py` of the files in `docs/results/`, which are what runs wrote: the mean over the
seeds 0, 1 and 2, in brackets the least and the most, of the best model on examples that it was not trained
on. A simple method is *beaten* where the model is better by more than twice the standard error of the
difference on the same examples, *level* where the difference is less than that, and *not reached* otherwise.
Examples are those to train on, to validate on and for the result. Seconds are of training steps, on one
thread of a busy machine: yours will differ."""

SOURCES = """\
The files: `polarity.tsv`, `subjectivity.tsv`, `movie_reviews.tsv` and `male_female.tsv` have a label, a tab and a
text on each line, of NLTK's corpora sentence_polarity, subjectivity, movie_reviews and names; `treebank.conll` is
NLTK's treebank with universal tags; `sunspots.csv` and `co2.csv` (means of months, gaps filled by straight lines) are
data sets of statsmodels; `tinyshakespeare.txt` is that of char-rnn, `names.txt` that of makemore."""


def mean_text(values: list[float]) -> str:
    """The mean of several runs, and how far they are apart."""
    mean = fmean(values)
    digits = 4 if abs(mean) < 10 else 2
    said, least, most = (f"{value:.{digits}f}" for value in (mean, min(values), max(values)))
    return said if least == most else f"{said} ({least} to {most})"


def target_text(target: float | None, results: list[Result]) -> str:
    """Whether the target is reached, by the mean."""
    if target is None:
        return ""
    value, higher = fmean(each["value"] for each in results), results[0]["higher_is_better"]
    met = value >= target if higher else value <= target
    return f"; {'≥' if higher else '≤'} {target:g}: {'reached' if met else 'not reached'}"


def methods_text(results: list[Result]) -> str:
    """What each baseline reaches, and the verdicts on it, the best baseline first."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for each in result["baselines"]:
            found[each["name"]].append(each)
    means = {name: fmean(each["value"] for each in some) for name, some in found.items()}
    words = []
    for name in sorted(means, key=means.__getitem__, reverse=results[0]["higher_is_better"]):
        counts = Counter(each["verdict"] for each in found[name])
        said = [f"{verdict}" if len(counts) == 1 else f"{verdict} in {count}" for verdict, count in counts.items()]
        words.append(f"{ORDERS.get(name, name)} {means[name]:.4f}: {', '.join(said)}")
    return "<br>".join(words)


def row(name: str, results: list[Result]) -> list[str]:
    """A line of the table."""
    first = results[0]
    other = [key for key in first["metrics"] if key != first["metric"]]
    figures = [f"{key} {mean_text([each['metrics'][key] for each in results])}" for key in other]
    sizes = " / ".join(f"{first['examples'][part]:,}" for part in ("training", "validation", "test")) + " examples"
    if first["task"] == "language":
        sizes = f"measured on {first['count']:,} {first['counted']}"
    seconds = math.ceil(fmean(each["seconds"] for each in results))
    named = f"{first['loss_unit']} per {first['counted'].removesuffix('s')}"
    measured = named if first["metric"] == "loss" else first["metric"]
    reached = f"**{measured} {mean_text([each['value'] for each in results])}**"
    seeds = "" if len(results) > 1 else f", seed {first['seed']} alone"
    return [
        f"`{first['command']}`<br>{sizes}<br>{first['parameters']:,} parameters<br>{seconds:,} s{seeds}",
        "<br>".join([reached + target_text(RUNS[name].target, results), *figures]),
        methods_text(results),
    ]


def kept_results() -> dict[str, list[Result]]:
    """Those that there are, by the names of their runs."""
    paths = {name: KEPT / f"{name}.json" for name in RUNS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.is_file()}


def render() -> str:
    """The page."""
    lines = ["# Results", "", *textwrap.wrap(INTRO.replace("\n", " "), 110)]
    for title, real in (("Without a data set", False), ("On data of others", True)):
        some = {name: each for name, each in kept_results().items() if RUNS[name].real == real}
        if some:
            lines += ["", f"## {title}", "", f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
            lines += [f"| {' | '.join(row(name, each))} |" for name, each in some.items()]
            notes = [f"- `{each[0]['command']}`: {RUNS[name].note}" for name, each in some.items() if RUNS[name].note]
            lines += ["", *notes] if notes else []
            lines += ["", *textwrap.wrap(SOURCES.replace("\n", " "), 110)] if real else []
    return "\n".join(lines) + "\n"


def write_numbers() -> None:
    """Writes, for the page of each task, the table of its runs."""
    results = kept_results()
    for task in {wanted.task for wanted in RUNS.values()}:
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, WIDTHS))}", ""]
        rows = [row(name, each) for name, each in results.items() if RUNS[name].task == task]
        for cells in (list(HEAD), *rows):
            lines += [f"   {'*' if i == 0 else ' '} - {_as_rst(cell)}" for i, cell in enumerate(cells)]
        (TASKS / f"numbers_{task}.rst").write_text("\n".join(lines) + "\n" if rows else "", encoding="utf-8")


def _as_rst(cell: str) -> str:
    """A cell of the page in Markdown as one in reStructuredText."""
    lines = cell.replace("`", "``").split("<br>")
    return lines[0] if len(lines) == 1 else "\n       ".join(f"| {line}" for line in lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="runs to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=Path(), help="the folder of files that runs name")
    parser.add_argument("--list", action="store_true", help="print the names of all runs")
    given = parser.parse_args()
    if given.list:
        for name, wanted in RUNS.items():
            print(f"{name:20} train {wanted.arguments}")
        return
    if strange := [name for name in given.names if name not in RUNS]:
        parser.error(f"there is no run {strange[0]!r}; --list names those that there are")
    for name in given.names:
        keep(name, [train(name, seed, given.data) for seed in given.seeds])
    PAGE.write_text(render(), encoding="utf-8")
    write_numbers()


if __name__ == "__main__":
    main()
