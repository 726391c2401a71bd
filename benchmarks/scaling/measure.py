"""Strong and weak scaling of training on this machine's cores, where the time goes, and what a model makes of it.

    python benchmarks/scaling/measure.py               # measures, prints, and keeps the figures in scaling.json
    python benchmarks/scaling/measure.py --picture     # draws docs/images/scaling.png from them

One thread a rank. The model (estimate.py) is fitted to ranks that exchange nothing, with several batch sizes, and to
one network that seems slow; and held against what it was not fitted to: two ranks as they are, and other networks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estimate import LATENCY, NETWORKS, Fitted, line, power
from one_rank import MODELS

HERE = Path(__file__).parent
KEPT, PICTURE = HERE / "scaling.json", HERE.parents[1] / "docs" / "images" / "scaling.png"
BATCHES = (8, 16, 32, 64)
"""Rows of one rank, to which the model is fitted."""
FITTED_TO, HELD_BACK = 1, (4, 10)
"""Gigabits a second of seeming networks."""
ROUNDS = 3


def measured(ranks: int, *arguments: object) -> dict[str, Any]:
    """What one_rank.py prints."""
    mpiexec = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
    if mpiexec is None:
        sys.exit("scaling: no mpiexec was found: pip install mpi4py mpich")
    command = [mpiexec, "-n", str(ranks), sys.executable, str(HERE / "one_rank.py"), *map(str, arguments)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def median_of(ranks: int, *arguments: object) -> dict[str, Any]:
    """Medians over rounds."""
    every = [measured(ranks, *arguments) for _ in range(ROUNDS)]
    kinds = "early", "late"
    middle = {kind: {n: statistics.median(each[kind][n] for each in every) for n in every[0][kind]} for kind in kinds}
    return {**every[0], **middle}


def measure() -> dict[str, Any]:
    """All that is measured, by work."""
    found: dict[str, Any] = {"sums": measured(2, "--sums", 8, 10_000, 100_000, 1_000_000, 4_000_000, 16_000_000)}
    for work in MODELS:
        of_work = found[work] = {}
        of_work["one"] = {str(b): median_of(1, "--work", work, "--batch", b) for b in BATCHES}
        of_work["apart"] = {str(2 * b): median_of(2, "--work", work, "--batch", 2 * b, "--apart") for b in BATCHES}
        of_work["two"] = {str(2 * b): median_of(2, "--work", work, "--batch", 2 * b) for b in BATCHES}
        of_work["slow"] = {
            str(g): median_of(2, "--work", work, "--batch", 64, "--gigabits", g) for g in (FITTED_TO, *HELD_BACK)
        }
    return found


def fitted(of_work: dict[str, Any], work: str, beside: str = "one") -> Fitted:
    """The model of a work: compute and bytes from ranks without exchange ("one" by itself, or two "apart" on one
    machine); what is hidden from one seeming network."""
    rows = [b * (2 if beside == "apart" else 1) for b in BATCHES]
    known = [of_work[beside][str(b)]["early"] for b in rows]
    c0, c1 = line(BATCHES, [each["seconds"] for each in known])
    rows0, rows1 = power(BATCHES, [each["row_bytes"] for each in known])
    slow = of_work["slow"][str(FITTED_TO)]
    saved = slow["late"]["seconds"] - slow["early"]["seconds"]
    hidden = min(1.0, max(0.0, saved / (c1 * 32)))
    model = MODELS[work]
    return Fitted(c0, c1, hidden, known[0]["dense_bytes"], model.vocabulary * model.embedding * 4.0, rows0, rows1)


def told(found: dict[str, Any]) -> Iterator[str]:
    """What was measured, and what the model says of what it was not fitted to."""
    for work in MODELS:
        of_work = found[work]
        yield from _scaling(work, of_work)
        yield from _overlap(of_work)
        yield from _held_back(work, found)
        yield from _estimates(work, of_work)


def _scaling(work: str, of_work: dict[str, Any]) -> Iterator[str]:
    one, two, apart = ({b: each["early"] for b, each in of_work[n].items()} for n in ("one", "two", "apart"))
    sent = two["64"]
    yield f"{work}: {sent['dense_bytes'] / 1e6:.1f} MB of sums a step, and {sent['row_bytes'] / 1e3:.0f} kB of rows"
    yield f"  64 rows: one rank {_ms(one['64'])} ms, two {_ms(two['64'])}: {_ratio(one['64'], two['64'])} times as fast"
    weak = _ratio(one["32"], two["64"])
    yield f"  32 rows each: one rank {_ms(one['32'])} ms, two {_ms(two['64'])}: {weak} as efficient"
    yield f"     of two that exchange nothing, {_ms(apart['64'])} ms: {_ratio(apart['64'], two['64'])}"
    parts = ", ".join(f"{name} {_ms(two['64'], name)}" for name in ("passes", "copying", "waiting", "stepping"))
    yield f"     of two, ms, the slower one's: {parts}"


def _overlap(of_work: dict[str, Any]) -> Iterator[str]:
    for gigabits, each in of_work["slow"].items():
        late, early = (each[kind]["waiting"] for kind in ("late", "early"))
        hidden = f"{max(0.0, 1 - early / late):.0%} of it is hidden"
        yield f"  at {gigabits} Gbit/s: waiting {late * 1e3:.1f} ms; sums that begin early {early * 1e3:.1f}: {hidden}"


def _held_back(work: str, found: dict[str, Any]) -> Iterator[str]:
    of_work, shared = found[work], found["sums"]["16000000"] / 16e6
    known = fitted(of_work, work, "apart")
    ratios = [
        each["early"]["seconds"] / known.seconds(2, int(b), found["sums"]["8"], 1 / shared)
        for b, each in of_work["two"].items()
    ]
    yield f"  measured / model, this machine, {', '.join(of_work['two'])} rows: {', '.join(f'{r:.2f}' for r in ratios)}"
    for gigabits in HELD_BACK:
        slow = of_work["slow"][str(gigabits)]
        ratios = [
            slow[kind]["seconds"] / known.seconds(2, 64, LATENCY, gigabits * 1e9 / 8, late=kind == "late")
            for kind in ("early", "late")
        ]
        yield f"  measured / model, {gigabits} Gbit/s, sums early and late: {', '.join(f'{r:.2f}' for r in ratios)}"


def _estimates(work: str, of_work: dict[str, Any]) -> Iterator[str]:
    known = fitted(of_work, work)
    for gigabits, latency in NETWORKS.items():
        of_ranks = [f"{n}: {known.efficiency(n, 32, latency, gigabits * 1e9 / 8):.2f}" for n in (2, 8, 64, 1024)]
        yield f"  estimated at {gigabits} Gbit/s, 32 rows a rank, efficiency of ranks: {', '.join(of_ranks)}"


def _ms(of_step: dict[str, Any], name: str = "seconds") -> str:
    return f"{of_step[name] * 1e3:.1f}"


def _ratio(one: dict[str, Any], other: dict[str, Any]) -> str:
    return f"{one['seconds'] / other['seconds']:.2f}"


def draw(found: dict[str, Any], path: Path) -> None:
    """Weak scaling by ranks, a panel for each work and a line for each network."""
    import matplotlib  # noqa: PLC0415  # for this picture alone

    matplotlib.use("agg")
    from matplotlib import pyplot  # noqa: PLC0415  # the same

    ranks = [2**k for k in range(11)]
    figure, panels = pyplot.subplots(1, len(MODELS), figsize=(9, 3.6), sharey=True, layout="constrained")
    for panel, (work, model) in zip(panels, MODELS.items(), strict=True):
        known = fitted(found[work], work)
        for (gigabits, latency), style in zip(NETWORKS.items(), (":", "--", "-"), strict=True):
            ys = [known.efficiency(n, 32, latency, gigabits * 1e9 / 8) for n in ranks]
            panel.plot(ranks, ys, style, marker="o", markersize=3, label=f"{gigabits} Gbit/s")
        two = found[work]["one"]["32"]["early"]["seconds"] / found[work]["two"]["64"]["early"]["seconds"]
        panel.plot([2], [two], "k*", markersize=9, label="measured: two cores of one machine")
        title = f"{work}: {model.layers} x {model.cell.upper()} {model.hidden}, {known.dense / 1e6:.1f} MB of gradients"
        panel.set_title(title, fontsize=10)
        panel.set_xscale("log", base=2)
        panel.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
        panel.set_xlabel("ranks, 32 rows each")
        panel.set_ylim(0, 1.05)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("part of a step that is a rank's own work")
    panels[1].legend(fontsize=8, loc="lower left")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", action="store_true", help="draw what scaling.json has")
    if parser.parse_args(arguments).picture:
        draw(json.loads(KEPT.read_text(encoding="utf-8")), PICTURE)
        return
    found = measure()
    KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(told(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
