"""A training step beside its peers: forward, backward, clipping by norm and RMSprop, from the same weights.

    python benchmarks/training_step [--works W1 W3] [--peers hand jax] [--threads 1] [--quick] [--json FILE]
    python benchmarks/training_step --memory [--works W5]
    python benchmarks/training_step --device cuda [--works W2 W6]

Peers are what is installed of: the same by hand in NumPy, its matrix products alone, PyTorch (its own layers, and a
Python loop over cells), JAX (one jitted function), HIPS autograd, and for the tutorial's network the NumPy of 2015.
First their losses, gradients and weights after a few steps are compared, and nothing is timed where they differ by
more than rounding. Then they are timed in turn (`timing.py`), for 1 and 2 threads, with malloc as it is and once more
where freed memory stays with the process. Medians of many steps; a machine that is busy is refused.

With --memory: the peak memory of a few training steps in a process of its own, and what the first step takes more than
a later one: recording and emitting the program of the scan, or compiling.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import timing
from commandline import KERNEL, Parser
from contestants import PEERS
from worker import WorkerError, ask
from works import Work, works_on

ROUNDS, QUICK = 30, 3
MEMORY_PEERS, MEMORY_STEPS = ("ours", "torch", "torch-cell", "jax"), 5
PER_TOKEN = 1.1  # target of W5's time per token beside W5s's


def options() -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="training_step", description=__doc__.splitlines()[0])
    every = {**works_on("cpu"), **works_on("cuda")}
    parser.add_argument("--works", nargs="+", choices=list(every), metavar="W", help=_listed(every))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: on a GPU, on one thread")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), metavar="PEER", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help="1 and 2 where there are so many cores")
    parser.add_argument("--malloc", nargs="+", choices=list(timing.ALLOCATORS), help="both by default")
    parser.add_argument("--rounds", type=int, help=f"turns of every contestant: {ROUNDS} by default, {QUICK} if quick")
    parser.add_argument("--quick", action="store_true", help="a few rounds on one thread with malloc as it is")
    parser.add_argument("--memory", action="store_true", help="peak memory and the first step instead of times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--anyway", action="store_true", help="also on a busy machine, and with a slower BLAS kernel than it has"
    )
    chosen = parser.parse_args()
    there = works_on(chosen.device)
    chosen.works = chosen.works or list(there)
    if other := [name for name in chosen.works if name not in there]:
        parser.error(f"--works on {chosen.device} are {', '.join(there)}, got {other[0]}")
    if chosen.device == "cuda":
        chosen.threads, chosen.malloc = chosen.threads or [1], chosen.malloc or ["default"]
    if chosen.rounds is None:
        chosen.rounds = QUICK if chosen.quick else ROUNDS
    if chosen.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {chosen.rounds}")
    if chosen.threads is None:
        chosen.threads = [n for n in (1, 2) if n <= timing.cores()][: 1 if chosen.quick or chosen.memory else 2]
    for n in chosen.threads:
        if not 1 <= n <= timing.cores():
            parser.error(f"--threads must lie between 1 and {timing.cores()}, the cores that there are, got {n}")
    if chosen.malloc is None:
        chosen.malloc = ["default"] if chosen.quick or chosen.memory else list(timing.ALLOCATORS)
    if chosen.json and not chosen.json.parent.is_dir():
        parser.error(f"--json needs a folder that is there, and {chosen.json.parent} is not")
    if not chosen.anyway and chosen.device == "cpu":
        parser.refuse_what_slows()
    return chosen


def _listed(works: dict[str, Work]) -> str:
    return "; ".join(f"{work.name}: {work.title}" for work in works.values())


def main() -> int:
    """Prints the tables; writes them as JSON where asked."""
    chosen = options()
    report: dict[str, Any] = {"machine": timing.machine() | {"kernel": KERNEL}, "rounds": chosen.rounds, "rows": []}
    machine = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    print(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {versions}")
    try:
        for threads in chosen.threads:
            for allocator in chosen.malloc:
                (memory if chosen.memory else times)(chosen, threads, allocator, report)
    except WorkerError as error:
        print(f"training_step: {error}", file=sys.stderr)
        return 1
    return 0


def times(chosen: argparse.Namespace, threads: int, allocator: str, report: dict[str, Any]) -> None:
    """All works for one number of threads and one allocator."""
    medians: dict[str, float] = {}
    for work in (works_on(chosen.device)[name] for name in chosen.works):
        peers = [name for name in _in_order(chosen.peers or PEERS) if PEERS[name].does(work)]
        order = {"task": "time", "work": work.name, "peers": peers, "rounds": chosen.rounds, "threads": threads}
        order["device"] = work.device
        row = ask(order, allocator) | {"work": work.name, "threads": threads, "malloc": allocator}
        ours = row["times"].get("ours", {}).get("median_ms")
        row["ratios"] = {name: ours / each["median_ms"] for name, each in row["times"].items() if ours}
        row["targets"] = work.targets | (work.on_one_thread if threads == 1 else {})
        print_row(work, row)
        if ours:
            medians[work.name] = ours / work.tokens
        report["rows"].append(row)
        _save(chosen.json, report)
    if {"W5", "W5s"} <= medians.keys():
        ratio = medians["W5"] / medians["W5s"]
        report.setdefault("per_token", []).append({"threads": threads, "malloc": allocator, "W5/W5s": ratio})
        verdict = "met" if ratio <= PER_TOKEN else "missed"
        target = f"(target {PER_TOKEN}: {verdict})"
        print(f"\n{KERNEL:14}  1,000 steps cost {ratio:.2f} times as much per token as 100 {target}")
        _save(chosen.json, report)


def _in_order(names: Any) -> list[str]:
    """Ours first: the others are compared with it."""
    return [name for name in PEERS if name in names or name == "ours"]


def print_row(work: Work, row: dict[str, Any]) -> None:
    """The table of a work."""
    sizes = f"V {work.vocabulary}, E {work.embedding}, H {work.hidden}, B {work.batch}, T {work.steps}"
    print(f"\n{work.name} {work.title} ({sizes})")
    heading = f"{row['threads']} thread{'s' * (row['threads'] > 1)}, malloc: {row['malloc']}"
    print(
        f"{KERNEL:14}  {heading:30} {'ms':>9}  {'quartiles':>19}  {'GF/s':>5} {'of peak':>7}  {'ours / it':>9}  target"
    )
    for name, each in row["times"].items():
        low, high = each["quartiles_ms"]
        line = f"{KERNEL:14}  {PEERS[name].title:30} {each['median_ms']:9.2f}  {low:9.2f} {high:9.2f}"
        speed = 1e-6 * work.flops / each["median_ms"]  # of its products, in the time of the whole step
        line += f"  {speed:5.0f} {speed / row['peak_gflops']:7.0%}"
        if work.device == "cuda":
            line += f"  {1e3 * work.tokens / each['median_ms']:,.0f} tokens/s"
            if launches := row["launches"].get(name):
                line += f", {launches:,} launches"
        if name != "ours" and (ratio := row["ratios"].get(name)):
            line += f"  {ratio:9.2f}"
            if target := row["targets"].get(name):
                line += f"  {target:6.2f} {'met' if ratio <= target else 'missed'}"
        print(line, flush=True)
    if row["differences"]:
        worst = {
            kind: max(each[kind] for each in row["differences"].values()) for kind in ("losses", "gradients", "moves")
        }
        print(
            f"{KERNEL:14}  largest relative differences: "
            + ", ".join(f"{kind} {size:.0e}" for kind, size in worst.items())
        )
    for sentence in row["left_out"]:
        print(f"  {sentence}")


def memory(chosen: argparse.Namespace, threads: int, allocator: str, report: dict[str, Any]) -> None:
    """Peak memory and the first step of every work, each contestant in a process of its own."""
    print(
        f"\n{threads} thread{'s' * (threads > 1)}, malloc: {allocator}: {MEMORY_STEPS} training steps in a new process"
    )
    print(f"{KERNEL:14}  {'':36} {'peak MiB':>9}  {'of the steps':>12}  {'first step more, ms':>19}  {'later, ms':>9}")
    for work in (works_on(chosen.device)[name] for name in chosen.works):
        for name in _in_order(chosen.peers or MEMORY_PEERS):
            if not PEERS[name].does(work):
                continue
            order = {"task": "memory", "work": work.name, "peer": name, "steps": MEMORY_STEPS, "threads": threads}
            order["device"] = work.device
            row = ask(order, allocator) | {"work": work.name, "peer": name, "threads": threads, "malloc": allocator}
            report["rows"].append(row)
            _save(chosen.json, report)
            if "left_out" in row:
                print(f"  {row['left_out']}")
                continue
            steps = row["peak_mib"] - row["before_mib"]
            print(
                f"{KERNEL:14}  {work.name:4} {PEERS[name].title:31} {row['peak_mib']:9.0f}  {steps:12.0f}  "
                f"{row['first_step_more_ms']:19.1f}  {row['later_step_ms']:9.1f}",
                flush=True,
            )


def _save(file: Path | None, report: dict[str, Any]) -> None:
    if file:
        file.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
