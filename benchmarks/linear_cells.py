"""Forward and backward of one layer of cells without a product in their loop, beside PyTorch and JAX: minGRU and SRU,
and S4D and Mamba's selective state space, whose states are wide, (B,H,16).

    python benchmarks/linear_cells.py [--cells mingru sru s4d mamba] [--threads 1 2] [--rounds N] [--json FILE]
    python benchmarks/linear_cells.py --hidden 64 --batch 4 --steps 50 --rounds 2 --anyway      # whether it works

All of the layer's time goes into products for all steps at once and into a loop over single entries, which a Python
loop pays with a call for each op of each step. The loss is the sum of the squared outputs; gradients are those of all
weights and biases and of the inputs, float32. Peers are what is installed of: PyTorch as a Python loop over the steps,
JAX as one jitted function with `lax.scan`, and for minGRU, whose state is a weighted sum with weights that do not
depend on it, with `lax.associative_scan`, which takes the steps as a tree. All have the products before their loop.

First their losses and gradients are compared, and nothing is timed where they differ by more than rounding. Then they
are timed in turn (`training_step/timing.py`), for 1 and 2 threads, with malloc as it is. Medians of many steps; a
machine that is busy is refused. Targets are meant for the sizes that are the default.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "training_step"))
import timing

if "--order" in sys.argv:  # before NumPy is imported: the threads of its BLAS stay on the cores that they begin on
    timing.bind(json.loads(sys.argv[-1])["threads"])

from agreement import DisagreementError, Trace, check
from commandline import KERNEL, Parser
from linear_peers import TITLES, Case, Contestant, InJax, InTorch, Ours
from worker import WorkerError, answer_of

import tinygrad_rnn as tg

SIZES = {
    "mingru": {"hidden": 512, "batch": 16, "steps": 1000},
    "sru": {"hidden": 512, "batch": 16, "steps": 1000},
    "s4d": {"hidden": 64, "batch": 16, "steps": 64},
    "mamba": {"hidden": 64, "batch": 16, "steps": 64},
}
"""Unless told."""
AIMED_AT = ("mingru", "sru")
"""The cells that the targets are of."""


@dataclass(frozen=True)
class Peer:
    """Who takes part: the class and its options, for which cells, and the ratios ours / theirs, by threads, that the
    project aims at."""

    title: str
    make: Callable[..., Contestant]
    options: dict[str, Any]
    targets: dict[int, float]
    cells: tuple[str, ...] = tuple(TITLES)


PEERS = {
    "ours": Peer("tinygrad_rnn, machine code", Ours, {"engine": "machine"}, {}),
    "numpy": Peer("tinygrad_rnn, NumPy calls", Ours, {"engine": "numpy"}, {}),
    "torch": Peer("PyTorch, a loop over steps", InTorch, {}, {1: 0.5, 2: 0.4}),
    "jax": Peer("JAX, jit and scan", InJax, {}, {1: 0.6, 2: 0.7}),
    "tree": Peer("JAX, jit and associative_scan", InJax, {"associative": True}, {1: 0.45, 2: 0.35}, ("mingru",)),
}
"""Ours first: the others are compared with it."""


# --- The process that measures -----------------------------------------------------------------------------------


def measure(case: Case) -> dict[str, Any]:
    """Compares the contestants, and times them in turn. Raises DisagreementError."""
    warnings.simplefilter("error", tg.ScanWarning)  # a loop that is not compiled is not what is measured here
    arrays, contestants, notes, found = case.arrays(), {}, [], {}
    reference: Trace | None = None
    for name, peer in PEERS.items():
        if case.cell not in peer.cells:
            continue
        try:
            contestants[name] = peer.make(case, arrays, **peer.options)
        except ImportError as error:
            notes.append(f"{peer.title} is left out: {error}")
            continue
        trace = contestants[name].trace()
        reference = reference or trace
        differences = check(f"{TITLES[case.cell]} in {peer.title}", reference, trace)
        found[name] = {kind: differences[kind] for kind in ("losses", "gradients")}
    seconds = timing.round_robin(contestants, case.rounds)
    return {
        "left_out": notes,
        "differences": found,
        "times": {name: timing.summary(each) for name, each in seconds.items()},
        "load": os.getloadavg()[0],
    }


def ask(case: Case) -> dict[str, Any]:
    """Has a process of its own measure it. Raises WorkerError saying what it died of."""
    return answer_of([str(Path(__file__)), "--order", json.dumps(asdict(case))], case.threads)


def answer(order: str) -> int:
    """Does what it is asked; the last line of its output is the result as JSON."""
    try:
        print(json.dumps(measure(Case(**json.loads(order)))))
    except DisagreementError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


# --- The command -------------------------------------------------------------------------------------------------


def options() -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="linear_cells", description=__doc__.splitlines()[0])
    cells = list(TITLES)
    parser.add_argument(
        "--cells", nargs="+", choices=cells, default=cells, metavar="CELL", help=f"of {', '.join(cells)}"
    )
    for name in ("hidden", "batch", "steps"):
        parser.add_argument(f"--{name}", type=int, metavar="N", help="unless told as suits the cell")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="10 by default")
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help="1 and 2 where there are so many cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--anyway", action="store_true", help="also on a busy machine, and with a slower BLAS kernel than it has"
    )
    chosen = parser.parse_args()
    for name in ("hidden", "batch", "steps", "rounds"):
        if (number := getattr(chosen, name)) is not None and number < 1:
            parser.error(f"--{name} must be at least 1, got {number}")
    chosen.threads = chosen.threads or [n for n in (1, 2) if n <= timing.cores()]
    for n in chosen.threads:
        if not 1 <= n <= timing.cores():
            parser.error(f"--threads must lie between 1 and {timing.cores()}, the cores that there are, got {n}")
    if chosen.json and not chosen.json.parent.is_dir():
        parser.error(f"--json needs a folder that is there, and {chosen.json.parent} is not")
    if not chosen.anyway:
        parser.refuse_what_slows()
    return chosen


def print_row(case: Case, row: dict[str, Any]) -> None:
    """The table of a case."""
    print(f"\n{TITLES[case.cell]} (H {case.hidden}, B {case.batch}, T {case.steps})")
    heading = f"{case.threads} thread{'s' * (case.threads > 1)}"
    print(f"{KERNEL:14}  {heading:30} {'ms':>9}  {'quartiles':>19}  {'ours / it':>9}  target")
    for name, each in row["times"].items():
        low, high = each["quartiles_ms"]
        line = f"{KERNEL:14}  {PEERS[name].title:30} {each['median_ms']:9.2f}  {low:9.2f} {high:9.2f}"
        if name != "ours" and (ratio := row["ratios"].get(name)):
            line += f"  {ratio:9.2f}"
            if target := row["targets"].get(name):
                line += f"  {target:6.2f} {'met' if ratio <= target else 'missed'}"
        print(line)
    worst = {kind: max(each[kind] for each in row["differences"].values()) for kind in ("losses", "gradients")}
    sizes = ", ".join(f"{kind} {size:.0e}" for kind, size in worst.items())
    print(f"{KERNEL:14}  largest relative differences: {sizes}", flush=True)
    for sentence in row["left_out"]:
        print(f"  {sentence}", flush=True)


def main() -> int:
    """Prints the tables; writes them as JSON where asked."""
    chosen = options()
    machine = timing.machine() | {"kernel": KERNEL}
    report: dict[str, Any] = {"machine": machine, "rows": []}
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    print(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {versions}", flush=True)
    for cell in chosen.cells:
        for threads in chosen.threads:
            told = {name: getattr(chosen, name) for name in SIZES[cell] if getattr(chosen, name) is not None}
            case = Case(cell=cell, rounds=chosen.rounds, threads=threads, **{**SIZES[cell], **told})
            try:
                row = ask(case)
            except WorkerError as error:
                print(f"linear_cells: {error}", file=sys.stderr)
                return 1
            ours = row["times"].get("ours", {}).get("median_ms")
            row["ratios"] = {name: ours / each["median_ms"] for name, each in row["times"].items() if ours}
            aimed = {name: PEERS[name].targets.get(threads) for name in row["times"]}
            row["targets"] = aimed if cell in AIMED_AT else {}
            print_row(case, row)
            report["rows"].append(asdict(case) | row)
            if chosen.json:
                chosen.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(answer(sys.argv[-1]) if "--order" in sys.argv else main())
