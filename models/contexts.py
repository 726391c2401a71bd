"""What a step reads beside x and the states, drawn where nobody gives it: for checks, and for a look at the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.tensor import as_tensor


def context_of(cell: Any, batch: int, rng: np.random.Generator) -> list[Any]:
    """What a step of the cell reads beside x and the states, drawn for so many rows. Raises TypeError where the cell
    does not tell."""
    if not cell.needs_context and not cell.context_shapes:
        return []
    if not cell.context_shapes:
        told = "context_shapes must have the shape of a row of each Tensor of the context that its step reads"
        raise TypeError(f"{type(cell).__name__}.{told}, got {cell.context_shapes!r}")
    return [_drawn(rng, batch, each) for each in cell.context_shapes]


def _drawn(rng: np.random.Generator, batch: int, told: Any) -> Any:
    shape, dtype = told if len(told) == 2 and isinstance(told[0], tuple) else (told, np.float64)
    drawn = rng.standard_normal((batch, *shape))
    if np.dtype(dtype).kind != "b":
        return drawn if np.dtype(dtype).kind == "f" else (abs(drawn) < 1).astype(dtype)
    drawn.reshape(batch, -1)[:, :1] = 1  # of a mask at least one entry holds
    return drawn > 0


def as_read(context: list[Any]) -> Any:
    """The context as a step reads it: None, a Tensor, or a tuple of them."""
    parts = tuple(map(as_tensor, context))
    return None if not parts else parts[0] if len(parts) == 1 else parts
