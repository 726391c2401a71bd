"""What a long sequence costs: 1,000 steps beside 100 of the same network, in time and in memory.

    python benchmarks/training_step/memory.py [--json FILE]

Both ought to be ten times as much: anything that grows faster in T, such as a gradient of the size of the whole
sequence for every step, is seen at once. Each is measured in a process of its own; its memory is what the training
steps take beyond the process as it was when the model stood.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import timing
from commandline import KERNEL, Parser
from worker import WorkerError, ask
from works import WORKS

LONG, SHORT = "W5", "W5s"
STEPS = 5
CHECKPOINTS = (10, 32, 100)
"""`checkpoint_every` of the runs that keep the state of every so many steps alone and compute the rest again."""


def measure(work: str, threads: int, **options: Any) -> dict[str, Any]:
    """Of our framework: MiB and ms of a training step."""
    order = {"task": "memory", "work": work, "peer": "ours", "steps": STEPS, "threads": threads, "options": options}
    row = ask(order)
    return row | {"work": work, "options": options, "steps_mib": row["peak_mib"] - row["before_mib"]}


def main() -> int:
    """Prints the table; writes it as JSON where asked."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--anyway", action="store_true", help="also on a busy machine, and with a slower BLAS kernel than it has"
    )
    chosen = parser.parse_args()
    if not chosen.anyway:
        parser.refuse_what_slows()
    try:
        rows = [measure(SHORT, 1), measure(LONG, 1), *(measure(LONG, 1, checkpoint_every=k) for k in CHECKPOINTS)]
    except WorkerError as error:
        print(f"memory.py: {error}", file=sys.stderr)
        return 1
    times = WORKS[LONG].steps / WORKS[SHORT].steps
    print(f"{KERNEL:14}  {'T':>5}  {'checkpoint_every':>16}  {'MiB of the steps':>16}  {'ms a step':>10}")
    for row in rows:
        memory, duration = (row[key] / rows[0][key] for key in ("steps_mib", "later_step_ms"))
        every = row["options"].get("checkpoint_every", "-")
        print(
            f"{KERNEL:14}  {WORKS[row['work']].steps:5}  {every:>16}  {row['steps_mib']:16.1f}"
            f"  {row['later_step_ms']:10.1f}   {memory:.1f} x the memory, {duration:.1f} x the time"
        )
    print(f"{KERNEL:14}  {times:g} x the steps")
    if chosen.json:
        chosen.json.write_text(
            json.dumps({"machine": timing.machine() | {"kernel": KERNEL}, "rows": rows}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
