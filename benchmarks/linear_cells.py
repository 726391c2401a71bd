"""Forward and backward of one layer of cells without a product in their loop, minGRU and SRU, beside PyTorch and JAX.

    python benchmarks/linear_cells.py [--cells mingru sru] [--threads 1 2] [--rounds N] [--json FILE]
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
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "training_step"))
import timing

if "--order" in sys.argv:  # before NumPy is imported: the threads of its BLAS stay on the cores that they begin on
    timing.bind(json.loads(sys.argv[-1])["threads"])

import numpy as np
from agreement import DisagreementError, Trace, check
from commandline import KERNEL, Parser
from worker import WorkerError, answer_of
from works import Arrays

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS

TITLES = {"mingru": "minGRU", "sru": "SRU"}
IN_LAYER = "cells.0."
"""What the names of the cell's weights begin with in the layer, and not here."""


@dataclass(frozen=True)
class Case:
    """What one process measures. As many inputs as hidden units."""

    cell: str
    hidden: int
    batch: int
    steps: int
    rounds: int
    threads: int

    def layer(self) -> Recurrent:
        """Of our framework."""
        return Recurrent(CELLS[self.cell], self.hidden, self.hidden, rng=np.random.default_rng(0))

    def arrays(self) -> Arrays:
        """What there are gradients of: the weights of our layer by their names in the cell (`z.U`, `z.b`), and the
        inputs `xs` (T,B,H). A mistake about a weight that is 0 would not be seen: those that begin so are drawn."""
        rng = np.random.default_rng(1)
        found: Arrays = {name.removeprefix(IN_LAYER): w for name, w in self.layer().state_dict().items()}
        for weight in found.values():
            if not weight.any():
                weight[...] = rng.uniform(-0.5, 0.5, weight.shape)
        return found | {"xs": rng.standard_normal((self.steps, self.batch, self.hidden), np.float32)}


# --- Contestants -------------------------------------------------------------------------------------------------


class Contestant:
    """One way of computing a case."""

    def compute(self) -> tuple[float, dict[str, Any]]:
        """The loss, and its gradients by the names of `Case.arrays`, in arrays of the contestant's own."""
        raise NotImplementedError

    def step(self) -> float:
        """What is timed."""
        return self.compute()[0]

    def trace(self) -> Trace:
        """What is compared. No weight moves here: the gradients stand for that, too. Raises DisagreementError."""
        loss, found = self.compute()
        if absent := [name for name, gradient in found.items() if gradient is None]:
            raise DisagreementError(f"{type(self).__name__} has no gradient of {', '.join(absent)}: it does not use it")
        gradients = {name: np.array(gradient) for name, gradient in found.items()}
        return Trace([loss], gradients, gradients)


class Ours(Contestant):
    """In tinygrad_rnn, as a user writes it. `engine` as `tg.compiled` takes it."""

    def __init__(self, case: Case, arrays: Arrays, engine: str) -> None:
        with tg.compiled(engine):  # raises ImportError where it is not installed
            self.engine = engine
        self.layer = case.layer()
        self.layer.load_state_dict({f"{IN_LAYER}{name}": w for name, w in arrays.items() if name != "xs"})
        self.xs = tg.Tensor(arrays["xs"], requires_grad=True)
        self.leaves: dict[str, Any] = {"xs": self.xs}
        self.leaves |= {name.removeprefix(IN_LAYER): p for name, p in self.layer.named_parameters()}

    def compute(self) -> tuple[float, dict[str, Any]]:
        for leaf in self.leaves.values():
            leaf.grad = None
        with tg.compiled(self.engine):
            y, _ = self.layer(self.xs)
            loss = ops.sum(y * y)
            loss.backward()
        return float(loss.item()), {name: leaf.grad for name, leaf in self.leaves.items()}


class InTorch(Contestant):
    """A Python loop over the steps. What does not read the state is computed for all steps before it, each gate's
    product by itself: with the gates side by side it was not faster."""

    def __init__(self, case: Case, arrays: Arrays) -> None:
        self.torch: Any = import_module("torch")  # typed or not, by version: the same to us
        self.w: dict[str, Any] = {name: self.torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
        self.run: Callable[[], Any] = {"mingru": self._mingru, "sru": self._sru}[case.cell]

    def compute(self) -> tuple[float, dict[str, Any]]:
        for w in self.w.values():
            w.grad = None
        y = self.run()
        loss = (y * y).sum()
        loss.backward()
        return float(loss.item()), {name: w.grad for name, w in self.w.items()}

    def _gate(self, name: str) -> Any:
        """x @ U + b for all steps: (T,B,H)."""
        xs = self.w["xs"]
        return self.torch.addmm(self.w[f"{name}.b"], xs.flatten(0, 1), self.w[f"{name}.U"]).view(xs.shape)

    def _mingru(self) -> Any:
        torch, xs = self.torch, self.w["xs"]
        zs, ns = torch.sigmoid(self._gate("z")), self._gate("n")
        h, hs = xs.new_zeros(xs.shape[1:]), []
        for z, n in zip(zs.unbind(0), ns.unbind(0), strict=True):
            h = torch.lerp(h, n, z)
            hs.append(h)
        return torch.stack(hs)

    def _sru(self) -> Any:
        torch, xs = self.torch, self.w["xs"]
        f_own, r_own = self.w["f_own"], self.w["r_own"]
        steps = (each.unbind(0) for each in (xs, self._gate("n"), self._gate("f"), self._gate("r")))
        c, hs = xs.new_zeros(xs.shape[1:]), []
        for x, n, f_of_x, r_of_x in zip(*steps, strict=True):
            f = torch.sigmoid(torch.addcmul(f_of_x, f_own, c))
            r = torch.sigmoid(torch.addcmul(r_of_x, r_own, c))
            c = torch.lerp(n, c, f)
            hs.append(torch.lerp(x, c, r))
        return torch.stack(hs)


class InJax(Contestant):
    """One jitted function, with `lax.scan` over the steps, or `associative`. Each gate's product by itself, before:
    with the gates side by side it was not faster."""

    def __init__(self, case: Case, arrays: Arrays, associative: bool = False) -> None:
        self.jax: Any = import_module("jax")  # typed or not, by version: the same to us
        self.w: dict[str, Any] = {name: self.jax.numpy.array(a) for name, a in arrays.items()}
        scans = {"mingru": self._mingru_as_tree if associative else self._mingru, "sru": self._sru}
        run: Callable[[dict[str, Any]], Any] = scans[case.cell]

        def loss(w: dict[str, Any]) -> Any:
            y = run(w)
            return (y * y).sum()

        self.function: Any = self.jax.jit(self.jax.value_and_grad(loss))

    def compute(self) -> tuple[float, dict[str, Any]]:
        loss, gradients = self.jax.block_until_ready(self.function(self.w))
        return float(loss), gradients

    def _gate(self, w: dict[str, Any], name: str) -> Any:
        """x @ U + b for all steps: (T,B,H)."""
        return w["xs"] @ w[f"{name}.U"] + w[f"{name}.b"]

    def _scan(self, step: Callable[[Any, Any], tuple[Any, Any]], inputs: tuple[Any, ...]) -> Any:
        """The outputs of all steps, from a state of zeros."""
        return self.jax.lax.scan(step, self.jax.numpy.zeros_like(inputs[0][0]), inputs)[1]

    def _mingru(self, w: dict[str, Any]) -> Any:
        def step(h: Any, inputs: Any) -> tuple[Any, Any]:
            z, n = inputs
            h = (1 - z) * h + z * n
            return h, h

        return self._scan(step, (self.jax.nn.sigmoid(self._gate(w, "z")), self._gate(w, "n")))

    def _mingru_as_tree(self, w: dict[str, Any]) -> Any:
        def joined(first: Any, second: Any) -> tuple[Any, Any]:
            """Of h -> a h + b and another such, the two one after the other: it is of that form, too."""
            (a, b), (c, d) = first, second
            return c * a, c * b + d

        z = self.jax.nn.sigmoid(self._gate(w, "z"))
        return self.jax.lax.associative_scan(joined, (1 - z, z * self._gate(w, "n")))[1]

    def _sru(self, w: dict[str, Any]) -> Any:
        sigmoid = self.jax.nn.sigmoid

        def step(c: Any, inputs: Any) -> tuple[Any, Any]:
            x, n, f, r = inputs
            f, r = sigmoid(f + w["f_own"] * c), sigmoid(r + w["r_own"] * c)
            c = f * c + (1 - f) * n
            return c, r * c + (1 - r) * x

        return self._scan(step, (w["xs"], *(self._gate(w, name) for name in "nfr")))


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
    for name, default in (("hidden", 512), ("batch", 16), ("steps", 1000), ("rounds", 10)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{default} by default")
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help="1 and 2 where there are so many cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument(
        "--anyway", action="store_true", help="also on a busy machine, and with a slower BLAS kernel than it has"
    )
    chosen = parser.parse_args()
    for name in ("hidden", "batch", "steps", "rounds"):
        if (number := getattr(chosen, name)) < 1:
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
            case = Case(cell, chosen.hidden, chosen.batch, chosen.steps, chosen.rounds, threads)
            try:
                row = ask(case)
            except WorkerError as error:
                print(f"linear_cells: {error}", file=sys.stderr)
                return 1
            ours = row["times"].get("ours", {}).get("median_ms")
            row["ratios"] = {name: ours / each["median_ms"] for name, each in row["times"].items() if ours}
            row["targets"] = {name: PEERS[name].targets.get(threads) for name in row["times"]}
            print_row(case, row)
            report["rows"].append(asdict(case) | row)
            if chosen.json:
                chosen.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(answer(sys.argv[-1]) if "--order" in sys.argv else main())
