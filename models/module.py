"""Module: finds Parameters by walking an object's attributes, lists and dicts. Nothing is registered."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, as_array, device_of, to_device, to_host
from tinygrad_rnn.pictures import table
from tinygrad_rnn.tensor import Parameter


class Module:
    """Anything with Parameters among its attributes. There is no constructor to call and no mode to set: a model
    called with `rng=` trains (its dropout draws from it), without it evaluates."""

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every Parameter once, under the path to it (`cells.0.z.U`), in the order in which it was set."""
        seen: set[int] = set()
        yield from _walk(self, "", seen)

    def parameters(self) -> list[Parameter]:
        """Every Parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def size(self) -> int:
        """The number of trained numbers."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def device(self) -> str:
        """Where the Parameters are: `"cpu"` or `"cuda"`."""
        return next((device_of(p.data) for p in self.parameters()), "cpu")

    def state_dict(self) -> dict[str, HostArray]:
        """The weights by name, as NumPy arrays (copies)."""
        return {name: np.array(to_host(p.data)) for name, p in self.named_parameters()}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Sets every weight, in this model's dtypes and on its device. Raises ValueError naming what is missing,
        unexpected or of another shape, TypeError for what is no real number, before anything is changed."""
        parameters = dict(self.named_parameters())
        missing, unexpected = (
            sorted(parameters.keys() - state.keys()),
            sorted(state.keys() - parameters.keys()),
        )
        if missing or unexpected:
            raise ValueError(f"load_state_dict: missing {missing}, unexpected {unexpected}")
        values = {}
        for name, parameter in parameters.items():
            values[name] = np.array(to_host(as_array(state[name])), dtype=parameter.dtype)
            if values[name].shape != parameter.shape:
                raise ValueError(
                    f"load_state_dict: {name} must have the shape {parameter.shape}, got {values[name].shape}"
                )
        for name, parameter in parameters.items():
            parameter.data = to_device(values[name], device_of(parameter.data))

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The model as a function of its Parameters: a copy that computes with `values`, Tensors by name, in the places
        of some, and shares everything else. Raises KeyError for a name that no Parameter has."""
        parameters = dict(self.named_parameters())
        found: Self = replaced(self, {id(parameters[name]): value for name, value in values.items()})
        return found

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def astype(self, dtype: Any) -> Self:
        """Casts every weight in place and returns the model. Raises TypeError unless `dtype` is a floating one."""
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"weights must be of a floating dtype, got {np.dtype(dtype)}")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        return self

    def to(self, device: str) -> Self:
        """Moves every weight to "cpu" or "cuda" in place and returns the model. Raises DeviceUnavailable where there
        is no such device."""
        for parameter in self.parameters():
            parameter.data = to_device(parameter.data, device)
            parameter.grad = None
        return self

    def __repr__(self) -> str:
        lines = [f"  {name} {tuple(p.shape)}" for name, p in self.named_parameters()]
        return "\n".join([f"{type(self).__name__}: {self.size:,} parameters", *lines])

    def _repr_html_(self) -> str:
        """In a notebook: its Parameters as a table."""
        rows = [
            (name, " x ".join(map(str, p.shape)), str(p.dtype), f"{p.numpy().mean():+.3f}", f"{p.numpy().std():.3f}")
            for name, p in self.named_parameters()
        ]
        listed = table(("parameter", "shape", "dtype", "mean", "deviation"), rows)
        return f"<div><b>{type(self).__name__}</b>: {self.size:,} parameters</div>{listed}"


def replaced(thing: Any, values: dict[int, Any]) -> Any:
    """`thing`, with the values in place of the objects with these ids: a copy of as much as holds one of them."""
    if id(thing) in values:
        return values[id(thing)]
    if isinstance(thing, list | tuple):
        items = [replaced(value, values) for value in thing]
        return thing if all(map(operator.is_, items, thing)) else type(thing)(items)
    if not isinstance(thing, Module | dict):
        return thing
    old = vars(thing) if isinstance(thing, Module) else thing
    new = {key: replaced(value, values) for key, value in old.items()}
    if all(new[key] is old[key] for key in old):
        return thing
    if isinstance(thing, dict):
        return new
    clone = copy.copy(thing)
    vars(clone).update(new)
    return clone


def within(thing: Any) -> Iterator[Module]:
    """Every Module in attributes, lists and dicts, `thing` too."""
    if isinstance(thing, Module):
        yield thing
        thing = vars(thing)
    if isinstance(thing, dict | list | tuple):
        for value in thing.values() if isinstance(thing, dict) else thing:
            yield from within(value)


def _walk(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Parameter]]:
    if isinstance(thing, Parameter | Module | list | tuple | dict):
        if id(thing) in seen:
            return
        seen.add(id(thing))
    if isinstance(thing, Parameter):
        yield path, thing
    elif isinstance(thing, Module | dict):
        for key, value in (vars(thing) if isinstance(thing, Module) else thing).items():
            yield from _walk(value, f"{path}.{key}" if path else str(key), seen)
    elif isinstance(thing, list | tuple):
        for i, value in enumerate(thing):
            yield from _walk(value, f"{path}.{i}" if path else str(i), seen)
