"""The state that a run carries from batch to batch, as arrays of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tinygrad_rnn.backend import HostArray, to_host, xp
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.tensor import Tensor, as_tensor

_EXACT = "tree."
"""What the names of a state begin with that is not of the usual form."""


def is_state(value: Any) -> bool:
    """Whether it can be carried: a tuple of Tensors and of such tuples, none of them empty."""
    return isinstance(value, tuple) and bool(value) and all(isinstance(e, Tensor) or is_state(e) for e in value)


def state_arrays(state: tuple[Any, ...]) -> dict[str, HostArray]:
    """The arrays of a state by name. Usually its parts are Tensors (`i.0`) or tuples of at least two (`i.j`); in any
    other the numbers are the way through the tuples."""
    parts = [each if isinstance(each, tuple) else (each,) for each in state]
    alone = [isinstance(each, tuple) and len(each) == 1 for each in state]
    if any(alone) or any(isinstance(each, tuple) for part in parts for each in part):
        return {f"{_EXACT}{name}": array for name, array in _leaves(state, ())}
    return {f"{i}.{j}": to_host(each.data) for i, part in enumerate(parts) for j, each in enumerate(part)}


def _leaves(state: Any, way: tuple[int, ...]) -> Iterator[tuple[str, HostArray]]:
    if isinstance(state, tuple):
        for i, each in enumerate(state):
            yield from _leaves(each, (*way, i))
    else:
        yield ".".join(map(str, way)), to_host(state.data)


def state_of(arrays: Arrays, model: Any) -> Any:
    """The state that `state_arrays` gave, on the model's device; None for no arrays. Raises ValueError."""
    if not arrays:
        return None
    exact = all(name.startswith(_EXACT) for name in arrays)
    like, tree = model.parameters()[0].data, dict[int, Any]()
    for name in arrays:
        way = name.removeprefix(_EXACT) if exact else name
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,99}" if exact else r"\d{1,9}\.\d{1,9}", way, re.ASCII):
            raise ValueError(f"a state must be called by numbers, got {name!r}")
        *before, last = map(int, way.split("."))
        place = tree
        for number in before:
            place = place.setdefault(number, {})
            if not isinstance(place, dict):
                raise ValueError(f"a state must be called by the way to it, got {name!r}")
        if last in place:
            raise ValueError(f"a state must be called by the way to it, got {name!r}")
        place[last] = as_tensor(xp(like).asarray(arrays[name]))
    state = _tuples(tree)
    return state if exact else tuple(part[0] if len(part) == 1 else part for part in state)


def _tuples(tree: Any) -> Any:
    return tuple(_tuples(tree[i]) for i in sorted(tree)) if isinstance(tree, dict) else tree
