"""How far back the outputs of a trained layer reach: the gradient's norm against the distance in time."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.notes import notes_of_layers
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.surroundings import no_grad, recording
from tinygrad_rnn.tensor import Tensor

MOST_ROWS, MOST_STEPS = 16, 256
"""Of a batch, those that are looked at."""


def reach(model: Module, loss: Any) -> list[float]:
    """For each distance d = 0, 1, ... the norm of the gradient of a layer's output by its input d steps before, a mean
    over rows; of the first recurrent layer that `loss()`, a loss of the model on a batch, calls, on what it was given
    there. The output at the last step is weighed at random, always the same way. Empty where the model has no such
    layer, or a batch of one step."""
    with no_grad(), notes_of_layers() as calls:
        loss()
    for call in calls:
        layer, inputs, lengths = call.call
        if isinstance(layer, Recurrent):
            return _of_layer(layer, _rows_of_one_length(inputs, lengths))
    return []


def _rows_of_one_length(inputs: Tensor, lengths: Any) -> HostArray:
    """The rows that are at least as long as the median, cut to its length: (T,B,I)."""
    xs = to_host(inputs.data)
    lengths = np.full(xs.shape[1], len(xs)) if lengths is None else np.asarray(lengths)
    steps = min(int(np.median(lengths)), MOST_STEPS) if len(lengths) else 0
    return np.ascontiguousarray(xs[:steps, lengths >= steps][:, :MOST_ROWS])


def _of_layer(layer: Recurrent, xs: HostArray) -> list[float]:
    if len(xs) < 2 or not xs.shape[1]:
        return []
    reads_context = any(cell.needs_context for cell in layer.cells)
    if reads_context:
        return []
    leaf = Tensor(xs, requires_grad=True)
    forward = layer.cells[(layer.num_layers - 1) * layer.directions].output_size
    weights = np.random.default_rng(0).standard_normal(forward).astype(xs.dtype)
    with recording(True):
        outputs, _ = layer(leaf)
        total = (outputs[-1, :, :forward] * (weights / np.linalg.norm(weights))).sum()
    kept = {id(p): p.grad for p in layer.parameters()}
    total.backward()
    for p in layer.parameters():
        p.grad = kept[id(p)]
    norms = np.sqrt(np.square(to_host(leaf.grad).astype(np.float64)).sum(axis=-1)).mean(axis=1)
    return [float(norm) for norm in norms[::-1]]


def effective_memory(norms: list[float], share: float = 0.9) -> int | None:
    """The number of latest steps from which that share of the gradient's norm comes; None where there is no gradient,
    or it is no number."""
    total = float(np.sum(norms))
    if not norms or not np.isfinite(total) or total <= 0:
        return None
    return int(np.searchsorted(np.cumsum(norms), share * total)) + 1
