"""What damaged and forged files do to the program: each must be used, or refused in one sentence.

    python benchmarks/fuzz_files.py --minutes 10

Every bit of a small checkpoint is flipped; then, until the time is up, checkpoints are forged with a valid hash (a
field or an array replaced by what a run never saves) and given to every command that opens one, and logs of nonsense
are drawn. Prints how many there were of each; ends with 1 where one made a traceback, which is printed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from tinygrad_rnn.cli import main
from tinygrad_rnn.models import checkpoint

TEXT = "\n".join(f"the {noun} {verb} ." for noun in "cat dog bird tree".split() for verb in "sees hears".split()) * 3
SMALL = "--lines --layers 1 --hidden 3 --embedding 3 --epochs 1 --batch-size 2 --steps 5 --sentences 0 --quiet".split()
KINDS = {
    "rmsprop": [],
    "adam": ["--optimizer", "adam", "--schedule", "cosine", "--cell", "lstm", "--untied"],
    "characters": ["--level", "char", "--no-lines", "--optimizer", "adadelta", "--schedule", "exponential"],
    "sentences": ["--batching", "sentences", "--optimizer", "sgd", "--momentum", "0.5", "--cell", "mgu"],
}
STRANGE: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        7,
        2**31 - 1,
        2**31,
        2**63,
        2**64,
        -(2**70),
        10**400,
        0.5,
        -0.5,
        1e-320,
        1e308,
        -1e308,
    ),
    *(
        "",
        "x",
        "1",
        "nan",
        "\x1b[2J\x1b]0;title\x07",
        "\x9b31m",
        "\u202eevil",
        "\ud800",
        "a\0b",
        "/dev/zero",
        "../../x.py:C",
    ),
    *([], [[]], [None], [[[[[[1]]]]]], {}, {"a": 1}, {"a": {"b": [1]}}, ["x"], [1, 2], "x" * 10**5),
]
COMMANDS: dict[str, list[str]] = {
    "inspect": [],
    "generate": ["--count", "1", "--max-length", "5"],
    "score": ["text.txt"],
    "evaluate": [],
    "train --resume": ["--epochs", "2", "--sentences", "1", "--out", "out"],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a JSON value, of long lists to the first and last alone."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in sorted({0, len(value) - 1} if value else set()):
            yield from places(value[i], (*path, i))


def forged_meta(meta: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A description in which one to three parts are strange, missing or new."""
    meta = copy.deepcopy(meta)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice([p for p in places(meta) if p])
        holder = meta
        for key in path[:-1]:
            holder = holder[key]
        what = rng.random()
        if what < 0.75:
            holder[path[-1]] = copy.deepcopy(rng.choice(STRANGE))
        elif what < 0.9:
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[rng.choice(["x", "\x1b[31m", "steps.x", "count", *holder])] = copy.deepcopy(rng.choice(STRANGE))
    return meta


def forged_arrays(arrays: checkpoint.Arrays, rng: random.Random) -> checkpoint.Arrays:
    """Arrays of which one is of another shape, dtype or name, full of NaN, or gone."""
    arrays = dict(arrays)
    name = rng.choice(sorted(arrays))
    array = arrays.pop(name)
    new: list[Any] = [
        *(array * np.nan, array * 1e38, -array, array.T, array[:0], array[None], array.astype(np.float64)),
        *(array.astype(np.int8), array.astype(bool), np.zeros(()), np.zeros(3, np.float16), np.full((2**20, 1), 1.0)),
    ]
    what = rng.randrange(len(new) + 2)
    if what < len(new):
        arrays[name] = new[what]
    elif what == len(new):
        arrays[
            rng.choice(["state.x", "state.0", "state.0.9", "state.0.0.0", "optimizer.last.x", "model.\x1b[2J", "x"])
        ] = array
    return arrays


def forged_log(rng: random.Random) -> str:
    """Lines of a log, some of them nonsense."""
    lines = []
    for _ in range(rng.randrange(8)):
        keys = ["event", "step", "loss", "gradient_norm", "tokens", "valid_nats", "epoch"]
        record = {
            "event": rng.choice(["step", "evaluation"]),
            "step": rng.randrange(5),
            "loss": 10 ** rng.uniform(-320, 3),
        }
        record |= {rng.choice(keys): copy.deepcopy(rng.choice(STRANGE)) for _ in range(rng.randrange(3))}
        lines.append(json.dumps(record))
    return "\n".join(
        [*lines, rng.choice(["", "NaN", "[" * 10**5, '{"event": "st', "1" * 5000, '{"event": "step", "step": 1e999}'])]
    )


def outcome(arguments: list[str]) -> tuple[str, str]:
    """How a command ended, and what is wrong with that."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return "traceback", "".join(traceback.format_exception(result.exception))
    if hidden := set(result.output) & {chr(i) for i in (*range(9), *range(11, 32), *range(127, 160), 0x202E)}:
        return "control characters", repr(sorted(hidden)) + result.output
    return ("used" if result.exit_code == 0 else "refused"), ""


def flipped(path: Path, folder: Path, end: float) -> Counter[str]:
    """Every bit of a file, flipped, loaded."""
    data, found, target = path.read_bytes(), Counter[str](), folder / "flipped.safetensors"
    for bit in range(8 * len(data)):
        if time.monotonic() > end:
            break
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        target.write_bytes(changed)
        try:
            checkpoint.load(target)
            found["bits not noticed"] += 1
        except checkpoint.CheckpointError:
            found["bits noticed"] += 1
    return found


def fuzz(minutes: float, seed: int) -> tuple[Counter[str], list[str]]:
    """What came of all of it, and the wrongs with the arguments that made them."""
    rng, end, wrong = random.Random(seed), time.monotonic() + 60 * minutes, []
    Path("text.txt").write_text(TEXT, encoding="utf-8")
    for kind, options in KINDS.items():
        made = CliRunner().invoke(main, ["train", "--text", "text.txt", *SMALL, *options, "--out", kind])
        assert made.exit_code == 0, made.output
    saved = {kind: checkpoint.load(f"{kind}/last.safetensors") for kind in KINDS}
    small = Path("small.safetensors")
    checkpoint.save(small, {"a": np.arange(4.0)}, {"task": "language model"})
    found = flipped(small, Path(), end)
    target = Path("forged/last.safetensors")
    while time.monotonic() < end:
        kind = rng.choice(sorted(saved))
        arrays, meta = saved[kind].arrays, saved[kind].meta
        if what := rng.random() < 0.75:
            meta = forged_meta(meta, rng)
        else:
            arrays = forged_arrays(arrays, rng)
        try:
            checkpoint.save(target, arrays, meta)
        except (ValueError, TypeError):
            continue  # what JSON cannot hold
        target.with_name("log.jsonl").write_text(forged_log(rng), encoding="utf-8")
        command = rng.choice([*COMMANDS, "inspect --html page.html"])
        name, *more = command.split()
        arguments = [name, *more, str(target), *COMMANDS.get(command, [])]
        ended, why = outcome(arguments)
        found[f"{'descriptions' if what else 'arrays'} {ended}"] += 1
        if why:
            wrong.append(f"{kind}: {' '.join(arguments)}\n{why}")
    return found, wrong


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found, wrong = fuzz(given.minutes, given.seed)
        os.chdir("/")
    for name, count in sorted(found.items()):
        print(f"{name:32} {count:8,}")
    for each in wrong[:20]:
        print(each)
    print(f"{len(wrong)} of {sum(found.values()):,} went wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(run())
