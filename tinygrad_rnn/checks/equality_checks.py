"""The checks of check_cell that are about what must be equal: the same in two ways."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.checks.rows import Remark, agreement, require, suspected
from tinygrad_rnn.checks.subject import (
    BATCH,
    STEPS,
    Subject,
    name_in_cell,
    reasons_noted,
    told,
)
from tinygrad_rnn.loops import compiled
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.contexts import as_read, context_of
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.transforms import grad

CALLS = 40
"""Of a step with the same values, among others: it must not count them."""

_DIFFERS = "the step does something else each time it is called"


def step_is_a_function(subject: Subject) -> str:
    """The same call gives the same result, whatever was called before, and in another layer."""
    other = subject.made()
    drawn, again = subject.layer.state_dict(), other.state_dict()
    for name in drawn:
        alike = np.array_equal(drawn[name], again[name], equal_nan=True)
        what = told(name_in_cell(name))
        require(alike, f"{what} begins otherwise in two cells of one seed: in setup numbers are drawn with self.rng")
    with suspected(f"one row fails, and {BATCH} do not; is a number of rows written in the step?"):
        subject.called(other.cells[0], 1)
    for call in range(CALLS):
        for layer in (subject.layer, other):
            cell = layer.cells[0]
            same = zip(subject.called(cell, BATCH), subject.first_call, strict=True)
            require(
                all(np.array_equal(a, b, equal_nan=True) for a, b in same),
                "the same call gave two results: the step remembers something, or draws random numbers",
            )
            if call % 3 == 0:
                subject.called(cell, 1 + call % 5)
    return f"{CALLS} calls of each of two layers"


def compiled_as_plain_loop(subject: Subject) -> str:
    """The compiled scan, and that there is one."""

    def found() -> list[Any]:
        return [*subject.run(subject.layer, subject.xs, subject.start), *subject.gradients().values()]

    with reasons_noted() as noted:
        fast = found()
    with compiled(False):
        plain = found()
    figure = agreement(fast, plain, "compiled and as a plain loop")
    require(not any(_DIFFERS in reason for reason in noted), _DIFFERS)
    if noted:
        raise Remark("; ".join(sorted(set(noted))))
    return figure


def halves_as_whole(subject: Subject) -> str:
    """Half the steps, and the rest from the states that those left."""
    outputs, *last = subject.run(subject.layer, subject.xs, subject.start)
    cut = STEPS // 2
    first, *between = subject.run(subject.layer, subject.xs[:cut], subject.start)
    second, *end = subject.run(subject.layer, subject.xs[cut:], between)
    return agreement([np.concatenate([first, second]), *end], [outputs, *last], "in two halves and as a whole")


def rows_alone(subject: Subject) -> str:
    """Each row of a batch, by itself: rows that are alike, and small ones beside large ones."""
    layer, together, apart = subject.layer, [], []
    for factors in np.ones(BATCH), np.geomspace(1e-3, 1e1, BATCH), np.geomspace(1e1, 1e-3, BATCH):
        xs = subject.xs * factors[:, None]
        start = [s * np.minimum(factors, 1).reshape(-1, *[1] * (s.ndim - 2)) for s in subject.start]
        together += subject.run(layer, xs, start)
        with suspected(f"one row fails, and {BATCH} do not; is a number of rows written in the step?"):
            rows = [subject.run(layer, *_row(subject, xs, start, b)) for b in range(BATCH)]
        apart += [np.concatenate(parts, axis=1) for parts in zip(*rows, strict=True)]
    context = [part[:2] for part in subject.context]
    pair = subject.run(layer, subject.xs[:, :2], [s[:, :2] for s in subject.start], context)
    whole = subject.run(layer, subject.xs, subject.start)
    return agreement([*apart, *pair], [*together, *(a[:, :2] for a in whole)], "row by row and as a batch")


def _row(subject: Subject, xs: Any, start: list[Any], b: int, length: int | None = None) -> tuple[Any, Any, Any]:
    """One row of a batch, its first `length` steps, the states it starts from, and its context: a batch of one."""
    return xs[:length, b : b + 1], [s[:, b : b + 1] for s in start], [part[b : b + 1] for part in subject.context]


def beginnings(subject: Subject) -> str:
    """Where a sequence begins does not depend on how many do."""
    cell = subject.layer.cells[0]
    alone, *others = ([s.numpy() for s in cell.beginning(batch)] for batch in (1, 2, BATCH, 0))
    for batch in others:
        for name, one, all_rows in zip(cell.states, alone, batch, strict=True):
            same = np.array_equal(all_rows, np.broadcast_to(one, all_rows.shape))
            require(same, f"{name} begins with other numbers in a batch of {len(all_rows)} than in one of 1 row")
    own = type(cell).initial_state is not Cell.initial_state
    return "as the cell says" if own else "zeros"


# --- Padding ---------------------------------------------------------------------------------------------------


def padding_unseen(subject: Subject) -> str:
    """Rows of different lengths, whatever stands after their end: outputs, states and gradients."""
    lengths = np.arange(BATCH) * STEPS // max(BATCH - 1, 1)
    results, figure = _whatever_the_padding(subject, lengths)
    _padded_as_rows(subject, results, lengths)
    _padded_gradients_as_rows(subject, lengths)
    return figure


def _whatever_the_padding(subject: Subject, lengths: Any) -> tuple[list[Any], str]:
    """Outputs and states of the padded batch; what stands in the padding does not change them."""
    found = []
    for filler in (0.0, 1e3):
        xs = np.where(np.arange(STEPS)[:, None, None] < lengths[:, None], subject.xs, filler)
        found.append(subject.run(subject.layer, xs, subject.start, lengths=lengths))
    return found[0], agreement(found[0], found[1], "with zeros and with other padding")


def _padded_as_rows(subject: Subject, results: list[Any], lengths: Any) -> None:
    """Each row of the padded batch is what it is by itself, and 0 after its end."""
    all_outputs, *all_last = results
    for b, length in enumerate(lengths):
        alone = subject.run(subject.layer, *_row(subject, subject.xs, subject.start, b, length))
        outputs, last, _ = _row(subject, all_outputs, all_last, b, length)
        agreement([outputs, *last], alone, f"of a row of {length} steps, padded and not")
        require(not all_outputs[length:, b].any(), "outputs past the length are not 0")


def _padded_gradients_as_rows(subject: Subject, lengths: Any) -> None:
    """The gradient of the padded batch is the sum of those of its rows."""
    together = _gradient_by_weights(subject, subject.xs, subject.start, subject.context, lengths)
    apart = [
        _gradient_by_weights(subject, *_row(subject, subject.xs, subject.start, b, length))
        for b, length in enumerate(lengths)
    ]
    for name, gradient in together.items():
        what = f"the derivative by {told(name)}"
        require(np.isfinite(gradient).all(), f"{what} is not finite where there is padding")
        agreement([gradient], [sum(each[name] for each in apart)], f"({what}), padded and not")


def _gradient_by_weights(
    subject: Subject, xs: Any, start: Any, context: list[Any], lengths: Any = None
) -> dict[str, Any]:
    """The gradient of the sum of all outputs by the Parameters."""
    weights = {name: p.data for name, p in subject.layer.named_parameters()}
    found: Any = [np.zeros(w.shape) for w in weights.values()]

    def total(*values: Tensor) -> Tensor:
        layer = subject.layer.with_values(dict(zip(weights, values, strict=True)))
        return layer(Tensor(xs), tuple(map(Tensor, start)), lengths, context=as_read(context))[0].sum()

    if weights and len(xs):
        gradients = grad(total, tuple(range(len(weights))))(*map(Tensor, weights.values()))
        found = [g.numpy() for g in gradients]
    return {name_in_cell(name): g for name, g in zip(weights, found, strict=True)}


# --- Other layers ----------------------------------------------------------------------------------------------


def both_directions(subject: Subject) -> str:
    """The backward half of a bidirectional layer is a forward layer on the reversed inputs; layers stack."""
    layer = subject.made(num_layers=2, bidirectional=True)
    outputs, *_ = subject.run(layer, subject.xs)
    single, xs = subject.made(), subject.xs
    for number in range(2):
        if number:
            single = Recurrent(subject.cell, xs.shape[2], subject.sizes[1], dtype=np.float64, **subject.options)
        halves = []
        for direction in range(2):
            single.cells[0] = layer.cells[2 * number + direction]
            ys, *_ = subject.run(single, xs[::-1] if direction else xs)
            halves.append(ys[::-1] if direction else ys)
        xs = np.concatenate(halves, axis=2)
    return agreement([outputs], [xs], "of a layer of two and of its parts")


def other_sizes(subject: Subject) -> str:
    """Nothing is made for one size."""
    sizes = subject.sizes[0] + 2, subject.sizes[1] + 2
    try:
        layer = Recurrent(subject.cell, *sizes, dtype=np.float64, **subject.options)
    except ValueError as error:
        raise Remark(f"not tried: {error}") from None
    context = context_of(layer.cells[0], 2, subject.rng)
    with suspected(f"{sizes[0]} inputs and {sizes[1]} units fail; is a size written as a number?"):
        outputs, *_ = subject.run(layer, subject.rng.standard_normal((STEPS, 2, sizes[0])), context=context)
    require(np.isfinite(outputs).all(), "outputs are not finite")
    return f"{sizes[0]} and {sizes[1]}"


def dropout_reproducible(subject: Subject) -> str:
    """The same generator gives the same numbers, another one others."""
    masked = any("h" in gate.reads for gate in subject.layer.cells[0].all_gates())
    kinds: dict[str, Any] = {"dropout": 0.5, "zoneout": 0.5} | ({"recurrent_dropout": 0.5} if masked else {})
    layer = subject.made(num_layers=2, **kinds)
    first, again, other = (subject.run(layer, subject.xs, rng=np.random.default_rng(seed))[0] for seed in (5, 5, 6))
    require(np.isfinite(first).all(), "outputs are not finite")
    require(np.array_equal(first, again), "one seed gave two results")
    if np.array_equal(first, other):
        raise Remark("outputs do not depend on the noise")
    return ", ".join(kinds)


def single_precision(subject: Subject) -> str:
    """In float32 throughout."""
    wide = subject.run(subject.layer, subject.xs, subject.start)
    layer = subject.made(np.float32)
    for p, other in zip(layer.parameters(), subject.layer.parameters(), strict=True):
        p.data = other.data.astype(np.float32)
    context = [part.astype(np.float32) if part.dtype.kind == "f" else part for part in subject.context]
    start = [s.astype(np.float32) for s in subject.start]
    narrow = subject.run(layer, subject.xs.astype(np.float32), start, context)
    kept = {str(a.dtype) for a in narrow}
    require(kept == {"float32"}, f"a float32 layer returned {', '.join(sorted(kept))}")
    return agreement(narrow, wide, "in float32 and in float64", 1e-4)


def weights_from_a_file(subject: Subject) -> str:
    """To a file and into another layer."""
    other = Recurrent(subject.cell, *subject.sizes, dtype=np.float64, **subject.options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        checkpoint.save(path, subject.layer.state_dict(), {})
        other.load_state_dict(checkpoint.load(path).arrays)
    here, there = (subject.run(layer, subject.xs, subject.start) for layer in (subject.layer, other))
    equal = all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    require(equal, "the cell holds numbers that are not in its Parameters or Buffers")
    return "bit for bit"


def gpu_as_cpu(subject: Subject) -> str:
    """Where there is a GPU."""
    try:
        cupy = cuda_namespace()
    except DeviceUnavailable:
        raise Remark("not tried: there is no GPU here") from None
    here = subject.run(subject.layer, subject.xs, subject.start)
    layer = subject.made().to("cuda")
    start, context = ([cupy.asarray(part) for part in parts] for parts in (subject.start, subject.context))
    there = subject.run(layer, cupy.asarray(subject.xs), start, context)
    return agreement(there, here, "on the GPU and on the CPU", 1e-8)
