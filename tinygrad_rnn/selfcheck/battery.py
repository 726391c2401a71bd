"""What is checked on a machine: derivatives, engines, the device, optimisers, files, a run that resumes, texts."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import to_device, to_host
from tinygrad_rnn.checks.cell_report import check_cell
from tinygrad_rnn.checks.derivatives import gradcheck
from tinygrad_rnn.checks.rows import SAME, Remark, Row, require, row_of
from tinygrad_rnn.data.corpus import standard_library
from tinygrad_rnn.data.messages import unheard
from tinygrad_rnn.data.tokens import tokenize
from tinygrad_rnn.engines import is_installed
from tinygrad_rnn.loops.scanning import compiled
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.optim.clipping import clip_by_norm
from tinygrad_rnn.optim.optimizer import Optimizer
from tinygrad_rnn.tasks.finding import find_task, resume_run
from tinygrad_rnn.tasks.training import load_model
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.threads import limited_to, processors
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.optimizers import OPTIMIZERS
from tinygrad_rnn.training.runs import Run

CHECKED_CELLS = ("rnn", "gru", "lstm", "peephole-lstm", "minlstm")
COMPARED_CELLS = (*CHECKED_CELLS, "slstm", "mamba", "gated-deltanet")

FORMULAS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x, y: (x * y + x / (2 + y * y) - y) ** 2,
    "functions": lambda x, y: ops.exp(ops.sin(x)) * ops.sqrt(1 + y * y) + ops.log(2 + x * x),
    "activations": lambda x, y: ops.tanh(x) * ops.sigmoid(y) + ops.gelu(x) + ops.softplus(y),
    "products": lambda x, y: ops.einsum("ij,kj->ik", x, y) @ (x @ y.T),
    "reductions": lambda x, y: ops.logsumexp(x, axis=0) * ops.mean(y, axis=0) + ops.var(x, axis=0),
    "shapes": lambda x, y: ops.concatenate([x.T, y.reshape(4, 3)], axis=1)[::2, 1:],
    "indexing": lambda x, y: ops.take(x, [0, 2, 0]) * ops.where(y > 0, y, 2 * y),
    "softmaxes": lambda x, y: ops.softmax(x, axis=-1) * ops.log_softmax(y, axis=-1),
    "losses": lambda x, y: ops.softmax_cross_entropy(x, x.xp.arange(3), reduction="none") + ops.mse(y, 0.5 * x),
}
"""Of two arrays (3,4)."""


def checks(device: str) -> Iterator[Row]:
    """Each check as it has been made, on "cpu" or "cuda"."""
    battery: dict[str, Callable[[], str]] = {
        "derivatives of ops = finite differences": partial(_derivatives, device),
        "cells keep to their contract": _cells,
        "loops = plain loops": partial(_loops, device),
        "the GPU has the CPU's numbers": partial(_devices, device),
        "several threads = one, bit for bit": _threads,
        "optimisers step alike": partial(_optimisers, device),
        "a run that stops goes on, bit for bit": partial(_resumed, device),
        "a model of the package answers": partial(_zoo, device),
        "texts are found and read": _texts,
        "a training step": partial(_speed, device),
    }
    for what, check in battery.items():
        yield row_of(what, check)


def _there(array: Any, device: str) -> Any:
    return to_device(np.asarray(array), device)


def _error(one: Any, other: Any) -> float:
    """The largest difference, relative to the largest entry."""
    a, b = to_host(one), to_host(other)
    return float(np.abs(a - b).max(initial=0.0) / max(np.abs(b).max(initial=0.0), 1e-300))


def _derivatives(device: str) -> str:
    rng = np.random.default_rng(0)
    for formula in FORMULAS.values():
        x, y = (_there(rng.uniform(0.2, 1.5, (3, 4)) * rng.choice([-1, 1], (3, 4)), device) for _ in range(2))
        gradcheck(formula, x, y, order=2)
    return f"first and second, of {len(FORMULAS)} formulas"


def _cells() -> str:
    rows = [row for name in CHECKED_CELLS for row in check_cell(CELLS[name], show=False).rows]
    return f"{sum(row.held is True for row in rows)} checks of {', '.join(CHECKED_CELLS)}"


def _passed(name: str, device: str, dtype: Any = np.float64) -> list[Any]:
    """Outputs, states and gradients of a layer of two cells, with rows of different lengths."""
    rng = np.random.default_rng(1)
    layer = Recurrent(CELLS[name], 8, 8, 2, dtype=dtype, rng=rng).to(device)
    xs = Tensor(_there(rng.standard_normal((7, 4, 8)).astype(dtype), device), requires_grad=True)
    outputs, state = layer(xs, lengths=_there([7, 3, 5, 1], device))
    loss = (outputs * outputs).sum()
    for each in state:
        loss = loss + each.sum()
    loss.backward()
    return [outputs.data, *(each.data for each in state), xs.grad, *(p.grad for p in layer.parameters())]


def _agreed(of_cells: Callable[[str], tuple[list[Any], list[Any]]], what: str) -> float:
    """The largest error between two ways, over the cells. Raises AssertionError, which names the cell."""
    worst = 0.0
    for name in COMPARED_CELLS:
        for one, other in zip(*of_cells(name), strict=True):
            error = _error(one, other)
            require(error <= SAME, f"{name}: {what} differ by {error:.1e}")
            worst = max(worst, error)
    return worst


def _loops(device: str) -> str:
    ways: dict[str, Any] = {"NumPy calls": "numpy"}
    if device != "cpu":
        ways = {"kernels": True}
    elif is_installed("machine"):
        ways["machine code"] = "machine"
    worst = 0.0
    for called, engine in ways.items():

        def both(name: str, engine: Any = engine) -> tuple[list[Any], list[Any]]:
            with compiled(engine):
                fast = _passed(name, device)
            with compiled(False):
                return fast, _passed(name, device)

        worst = max(worst, _agreed(both, f"{called} and the plain loop"))
    return f"{' and '.join(ways)}, {len(COMPARED_CELLS)} cells, to {worst:.0e}"


def _devices(device: str) -> str:
    if device == "cpu":
        raise Remark("not asked for (--device cuda)")
    worst = _agreed(lambda name: (_passed(name, device), _passed(name, "cpu")), "GPU and CPU")
    return f"{len(COMPARED_CELLS)} cells, values and gradients in float64, to {worst:.0e}"


def _threads() -> str:
    if not is_installed("machine"):
        raise Remark("without llvmlite there is one thread for loops")
    several = max(2, processors())
    found = []
    for count in (1, several):
        with limited_to(count), compiled("machine"):
            found.append(_passed("lstm", "cpu", np.float32))
    same = all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
    require(same, f"1 and {several} threads gave other bits")
    return f"1 and {several} threads"


def _optimisers(device: str) -> str:
    for name, kind in OPTIMIZERS.items():
        ways = [_stepped(kind, where) for where in ("cpu", device)]
        for one, other in zip(*ways, strict=True):
            error = _error(one, other)
            require(error <= SAME, f"{name}: steps on cpu and {device} differ by {error:.1e}")
        start = _model("cpu").parameters()[0].data
        require(_error(start, ways[0][0]) > 0, f"{name}: a step changed nothing")
    return f"{len(OPTIMIZERS)} optimisers, clipped, with a row-sparse table"


def _model(device: str, dtype: Any = np.float64) -> LanguageModel:
    return LanguageModel(30, 8, 12, cell="lstm", dtype=dtype, rng=np.random.default_rng(2)).to(device)


def _stepped(kind: type[Optimizer], device: str) -> list[Any]:
    model = _model(device)
    optimizer = kind(model.named_parameters(), lr=0.01)  # type: ignore[call-arg]  # each kind has its own further ones
    ids = np.random.default_rng(3).integers(0, 30, (6, 5))
    for _ in range(3):
        loss, _ = model.loss(_there(ids[:-1], device), _there(ids[1:], device))
        optimizer.zero_grad()
        loss.backward()
        clip_by_norm(optimizer.parameters, 0.1)
        optimizer.step()
    return [to_host(p.data) for p in model.parameters()]


def _memory_run(device: str) -> Run:
    found = find_task("memory")
    given = {"problem": "reber", "examples": 60, "hidden": 8, "epochs": 9, "seed": 1}
    options, cell = found.task.options_and_cell(given, False, unheard)
    return new_run(found.new(options, cell), unheard, device)


def _train(run: Run, steps: int) -> list[float]:
    return [record.loss for _, record in zip(range(steps), run.steps(), strict=False)]


def _resumed(device: str) -> str:
    straight = _memory_run(device)
    losses = _train(straight, 8)
    require(losses[-1] < losses[0], f"the loss did not fall: {losses[0]:.4f} to {losses[-1]:.4f}")
    stopped = _memory_run(device)
    _train(stopped, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        stopped.save(path)
        size = path.stat().st_size
        resumed = resume_run(path, unheard, device)
    _train(resumed, 4)
    there = resumed.model.state_dict()
    for name, one in straight.model.state_dict().items():
        other = there[name]
        require(np.array_equal(one, other), f"{name} is another one after going on")
    return f"loss {losses[0]:.3f} to {losses[-1]:.3f}, by way of a file of {size:,} bytes"


def _zoo(device: str) -> str:
    asked, expected = "march 5, 1998", "1998-03-05"
    (said,) = load_model("zoo:dates", device=device).predict([asked])
    answer = said if isinstance(said, str) else "".join(said)
    require(answer == expected, f"zoo:dates answered {answer!r} to {asked!r}")
    return f"{asked} is {answer}"


def _texts() -> str:
    (words,) = tokenize("Mr. Smith's café isn't open, is it?", lines=True)
    require(words[-4:] == [",", "is", "it", "?"] and "café" in words, f"words are {words}")
    library = standard_library(note=unheard)
    return f"{len(library.sentences):,} sentences of this Python's docstrings"


def _speed(device: str) -> str:
    """Of an LSTM of 128 on characters."""
    rng = np.random.default_rng(4)
    model = LanguageModel(96, 64, 128, cell="lstm", rng=rng).to(device)
    ids = rng.integers(0, 96, (33, 32))
    taken = []
    with limited_to(1):
        for _ in range(12):
            begin = time.perf_counter()
            loss, _ = model.loss(ids[:-1], ids[1:])
            loss.backward()
            loss.item()
            model.zero_grad()
            taken.append(time.perf_counter() - begin)
    middle = statistics.median(taken[2:])
    return f"LSTM 128, B 32, T 32, one thread: {middle * 1e3:.1f} ms, {32 * 32 / middle:,.0f} characters/s"
