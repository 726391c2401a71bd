"""Whether a long training run keeps the memory that it has: resident memory after 1,000 steps and after 10,000.

    python benchmarks/steady_memory.py [--steps N]

A small model is trained in a process of its own for each kind of batches: contiguous streams, and single sentences,
whose lengths make batches of ever other sizes. Every step is written to the log, and every thousand steps the run is
evaluated and saved, as by the command line. Ends with 1 where a run has grown by more than ALLOWED. For Linux.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.report import Reporter

SMALL: dict[str, Any] = {"layers": 1, "hidden": 8, "embedding": 8, "batch_size": 8, "steps": 8, "epochs": None}
KINDS: dict[str, dict[str, Any]] = {
    "streams": {"batching": "stream"},
    "sentences": {"batching": "sentences"},
    "sentences, LSTM, Adam": {"batching": "sentences", "cell": "lstm", "optimizer": "adam"},
}
EVERY = 1000
"""Steps between two looks."""
ALLOWED = 2.0
"""MiB, of growth from the first look to the last."""


def resident() -> float:
    """MiB that this process has in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_text(path: Path) -> None:
    """400 sentences of 1 to 30 words."""
    rng, words = random.Random(0), [f"word{i}" for i in range(200)]
    lines = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(400)]
    path.write_text("\n".join(lines), encoding="utf-8")


def memory_of(kind: str, steps: int) -> list[float]:
    """Trains, and returns the MiB after every thousandth step."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        text, out = Path(place) / "text.txt", Path(place) / "run"
        write_text(text)
        options = LanguageOptions(text=(str(text),), lines=True, **SMALL, **KINDS[kind])
        run = new_run(find_task("language").new(options), print)
        reporter = Reporter(run, LogFile(out / "log.jsonl", run), None, quiet=True)
        for record in run.steps():
            reporter.step(record)
            if record.step % EVERY == 0:
                evaluation = run.validate()
                reporter.evaluation(record, evaluation, run.judge(evaluation))
                run.save(out / "last.safetensors")
                found.append(resident())
            if record.step >= steps:
                break
        reporter.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=10 * EVERY, help=f"a multiple of {EVERY:,}; 10,000 unless told")
    steps = parser.parse_args().steps
    if steps < 2 * EVERY or steps % EVERY:
        parser.error(f"--steps must be a multiple of {EVERY:,} from {2 * EVERY:,} on, got {steps}")
    worst = 0.0
    for kind in KINDS:
        own = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=own) as process:
            found = process.submit(memory_of, kind, steps).result()
        grown = found[-1] - found[0]
        worst = max(worst, grown)
        print(
            f"{kind:22} {found[0]:7.1f} MiB after {EVERY:,} steps, {found[-1]:7.1f} MiB after {steps:,}: {grown:+.1f}; "
            f"between them {min(found):.1f} to {max(found):.1f}"
        )
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
