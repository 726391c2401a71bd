"""A training run that is killed again and again, and what it lost: `python benchmarks/kills.py --kills 50`.

The same small run is trained twice by the command line: once to the end, and once killed without warning (SIGKILL) at
random moments, from the imports to some epochs on, and resumed each time; a language model, or with `--task` a model of
another task. Printed is what differs in the end, which is to be nothing. Exits with 1 otherwise."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tinygrad_rnn.models import checkpoint

SIZES = "--hidden 6 --embedding 6 --batch-size 8 --dropout 0.2".split()
SMALL = {
    "language": [*SIZES, *"--lines --layers 1 --steps 10 --sentences 0".split()],
    "classify": [*SIZES, *"--patience 0".split()],
}


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tinygrad_rnn", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(*arguments: object) -> None:
    run = started(*arguments)
    _, errors = run.communicate()
    if run.returncode:
        raise SystemExit(f"a run failed: {errors}")


def killed_after_an_epoch(*arguments: object) -> float:
    """Starts a run, and kills it when its first evaluation is told; returns the seconds that this took."""
    began, run = time.monotonic(), started(*arguments)
    for line in run.stdout or ():
        if line.startswith("epoch"):
            break
    run.kill()
    run.communicate()
    return time.monotonic() - began


def killed(moment: float, *arguments: object) -> None:
    """Starts a run, and kills it so many seconds later."""
    run = started(*arguments)
    try:
        _, errors = run.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        run.kill()
        run.communicate()
    else:
        raise SystemExit(f"a run ended before it was killed: {errors}")


def contents(path: Path) -> Any:
    """What is in a checkpoint but for the id of its run, and the epochs that it was told when it was saved."""
    saved = checkpoint.load(path)
    del saved.meta["run"], saved.meta["settings"]["epochs"]
    return {name: array.tobytes() for name, array in saved.arrays.items()}, saved.meta


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The log but for the run's id and the clock's part; a line that is no JSON is an error."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in each.items() if name not in ("seconds", "run")} for each in records]


def evaluations_in(folder: Path) -> int:
    """How many evaluations stand in the lines of a log that are whole: a kill may cut the last one."""
    whole, _, _ = (folder / "log.jsonl").read_text(encoding="utf-8").rpartition("\n")
    return sum(json.loads(line)["event"] == "evaluation" for line in whole.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=tuple(SMALL), default="language")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text, straight, parts = folder / "text.txt", folder / "straight", folder / "parts"
        names = "cat dog tree river".split()
        lines = [f"the {rng.choice(names)} sees a {rng.choice(names)} ." for _ in range(80)]
        if options.task == "classify":
            lines = [f"{rng.choice(names)}\t{line}" for line in lines]
        text.write_text("\n".join(lines))
        data = "--text" if options.task == "language" else "--data"
        new = [options.task, data, text, *SMALL[options.task], "--epochs", 10**6]
        lost = unreadable = 0
        start = killed_after_an_epoch(*new, "--out", parts)
        for _ in range(options.kills - 1):
            before = evaluations_in(parts)
            killed(rng.uniform(0.5, 2) * start, "--resume", parts / "last.safetensors")
            lost += max(0, before - evaluations_in(parts))
            for name in ("best", "last"):
                try:
                    checkpoint.load(parts / f"{name}.safetensors")
                except checkpoint.CheckpointError:
                    unreadable += 1
        left = sum(path.suffix == ".part" for path in parts.iterdir())
        epochs = checkpoint.load(parts / "last.safetensors").meta["progress"]["epoch"] + 1
        finished("--resume", parts / "last.safetensors", "--epochs", epochs)
        finished(*new, "--epochs", epochs, "--out", straight)
        one, other = lines_of(straight), lines_of(parts)
        names = ["best.safetensors", "last.safetensors"]
        files = [contents(straight / name) == contents(parts / name) for name in names]
        remaining = sorted(path.name for path in parts.iterdir() if path.name[0] == ".")
        print(f"{options.kills} kills over {epochs} epochs, {len(one)} lines of log")
        print(f"checkpoints that could not be read after a kill   {unreadable}")
        print(f"evaluations that a resumed run's log lost         {lost}")
        print(
            f"lines of the log that differ from the whole run's {sum(a != b for a, b in zip(one, other, strict=False))}"
        )
        print(f"lines of the log too many or too few              {abs(len(one) - len(other))}")
        print(f"checkpoints that differ from the whole run's      {files.count(False)}")
        print(f"half-written files: {left} after the last kill, {len(remaining)} left in the end")
        if unreadable or lost or one != other or not all(files) or remaining:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
