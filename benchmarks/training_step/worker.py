"""What one process measures, for `__main__.py` and `memory.py`, which start it with the threads and the allocator
in its environment:

    python worker.py '{"task": "time", "work": "W1", "peers": ["ours", "hand"], "rounds": 3, "threads": 1}'
    python worker.py '{"task": "memory", "work": "W5", "peer": "ours", "steps": 5, "threads": 1}'

The last line of its output is the result as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import timing


class WorkerError(Exception):
    """A worker process ended without a result: one sentence."""


def ask(order: dict[str, Any], allocator: str = "default") -> dict[str, Any]:
    """Has a process of its own do it. Raises WorkerError saying what it died of."""
    device = order.get("device", "cpu")
    return answer_of([str(Path(__file__)), json.dumps(order)], order["threads"], allocator, device)


def answer_of(script: list[str], threads: int, allocator: str = "default", device: str = "cpu") -> dict[str, Any]:
    """What a script with its arguments prints last, as JSON: in a process of its own, with so many threads. Raises
    WorkerError saying what it died of."""
    done = subprocess.run(
        [sys.executable, *script],
        env=timing.environment(threads, allocator, device),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WorkerError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def time_work(order: dict[str, Any]) -> dict[str, Any]:
    """Compares the contestants of a work, and times them in turn."""
    import agreement  # noqa: PLC0415  (a measurement of memory must not import it)
    from contestants import PEERS, left_out  # noqa: PLC0415
    from threadpoolctl import threadpool_info  # noqa: PLC0415
    from works import works_on  # noqa: PLC0415

    work = works_on(order.get("device", "cpu"))[order["work"]]
    weights = work.weights()
    contestants, notes, found, reference = {}, [], {}, None
    for name in order["peers"]:
        peer = PEERS[name]
        try:
            make = peer.load()
            contestants[name] = make(work, {key: w.copy() for key, w in weights.items()})
        except ImportError as error:
            notes.append(left_out(name, error))
            continue
        if peer.agrees:
            trace = agreement.trace(make, work, weights)
            if reference is None:
                reference = trace
            found[name] = agreement.check(peer.title, reference, trace)
    seconds = timing.round_robin(contestants, order["rounds"])
    pools = [{key: pool[key] for key in ("user_api", "prefix", "version", "num_threads")} for pool in threadpool_info()]
    return {
        "left_out": notes,
        "differences": found,
        "gradient_norm": agreement.norm(reference.gradients) if reference else None,
        "times": {name: timing.summary(each) for name, each in seconds.items()},
        "peak_gflops": timing.peak_gflops(work.dtype, work.device),
        "launches": _launches(contestants) if work.device == "cuda" else {},
        "load": os.getloadavg()[0],
        "pools": pools,
    }


def _launches(contestants: dict[str, Any]) -> dict[str, int]:
    """How many kernels a step of each starts on a GPU, as PyTorch's profiler sees those of the whole process; nothing
    without PyTorch."""
    try:
        torch: Any = import_module("torch")  # a peer, which may be missing
    except ImportError:
        return {}
    found = {}
    for name, contestant in contestants.items():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            contestant.step()
        kinds = torch.autograd.DeviceType.CUDA
        found[name] = sum(1 for event in profile.events() if event.device_type == kinds)
    return found


def measure_memory(order: dict[str, Any]) -> dict[str, Any]:
    """The peak memory of a few training steps, and what the first one takes more than a later one: recording and
    emitting, or compiling."""
    from contestants import PEERS, left_out  # noqa: PLC0415
    from works import works_on  # noqa: PLC0415

    work = works_on(device := order.get("device", "cpu"))[order["work"]]
    try:
        make = PEERS[order["peer"]].load()
        contestant = make(work, work.weights(), **order.get("options", {}))
    except ImportError as error:
        return {"left_out": left_out(order["peer"], error)}
    before, seconds = timing.peak_memory(device), []
    for _ in range(order["steps"]):
        start = time.perf_counter()
        contestant.step()
        seconds.append(time.perf_counter() - start)
    later = statistics.median(seconds[1:])
    return {
        "peak_mib": timing.peak_memory(device),
        "before_mib": before,
        "first_step_more_ms": 1e3 * (seconds[0] - later),
        "later_step_ms": 1e3 * later,
    }


def main() -> int:
    """Does what it is asked."""
    order = json.loads(sys.argv[1])
    timing.bind(order["threads"])
    result = {"time": time_work, "memory": measure_memory}[order["task"]](order)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
