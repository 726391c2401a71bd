"""Module: finds Parameters by walking an object's attributes, lists and dicts. Nothing is registered."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from tinygrad_rnn.backend import Array, HostArray, as_array, device_of, to_device, to_host
from tinygrad_rnn.pictures import table
from tinygrad_rnn.tensor import Parameter, Tensor


class Buffer(Tensor):
    """A Tensor that a model keeps and saves beside its Parameters, and does not train: a random matrix that stays as it
    was drawn, say. Other Tensors among a model's attributes are cast and moved with the Parameters too, and not saved:
    they are made again with the model.

    Args:
        value, dtype: as for a Tensor.

    Example:
        >>> class Scaled(models.Module):
        ...     def __init__(self):
        ...         self.scale = models.Buffer([2.0])
        >>> Scaled().state_dict()
        {'scale': array([2.], dtype=float32)}
        >>> Scaled().parameters()
        []
    """

    __slots__ = ()

    def __init__(self, value: Any, dtype: Any = None) -> None:
        super().__init__(value, dtype=dtype)

    @classmethod
    def wrap(cls, data: Array, node: Any) -> Any:
        """Results of ops on a Buffer are Tensors."""
        return Tensor.wrap(data, node)


class Module:
    """Anything with Parameters among its attributes. There is no constructor to call and no mode to set: a model called
    with `rng=` trains (its dropout draws from it), without it evaluates.

    Example:
        >>> class Affine(models.Module):
        ...     def __init__(self):
        ...         self.a, self.b = Parameter([1.0, 2.0]), Parameter([0.0])
        ...
        ...     def __call__(self, x):
        ...         return self.a * x + self.b
        >>> [name for name, _ in Affine().named_parameters()], Affine().size
        (['a', 'b'], 3)
    """

    _dtype: Any

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every Parameter once, under the path to it (`cells.0.z.U`), in the order in which it was set. One that has no
        name of its own gets that path as its name, by which messages, `explain` and the printed tape call it."""
        for path, value in _everything(self, _WALKED):
            if isinstance(value, Parameter):
                value.name = value.name or path
                yield path, value

    def _saved(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        """What `state_dict` holds: every Parameter and Buffer once, under the path to it."""
        yield from self.named_parameters()
        yield from ((path, value) for path, value in _everything(self, _WALKED) if isinstance(value, Buffer))

    def _change_constants(self, change: Callable[[Array], Array]) -> None:
        """Puts others in the places of the Tensors that are no Parameters: they may be shared with a model
        that is not changed."""
        found = [value for _, value in _everything(self, _WALKED) if _is_constant(value)]
        if not found:
            return
        others = {}
        for constant in found:
            others[id(constant)] = other = copy.copy(constant)
            other.data = change(constant.data)
        for _, holder in [*_everything(self, _HOLDERS)]:
            if not isinstance(holder, tuple):
                held = vars(holder) if isinstance(holder, Module) else holder
                for key, part in [*_items(holder)]:
                    if id(part) in others:
                        held[key] = others[id(part)]
                    elif isinstance(part, tuple):
                        held[key] = replaced(part, others)

    def _weight(self) -> Tensor | None:
        """The first Parameter, or where all have been replaced (see `with_values`) the first Tensor of numbers."""
        first = None
        for value in _within(self, _WALKED):
            if isinstance(value, Parameter):
                return value
            if first is None and isinstance(value, Tensor) and value.dtype.kind == "f":
                first = value
        return first

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
        """The weights by name, and the Buffers, as NumPy arrays (copies)."""
        return {name: np.array(to_host(p.data)) for name, p in self._saved()}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Sets every weight and Buffer, in this model's dtypes and on its device. Raises ValueError naming what is
        missing, unexpected or of another shape, TypeError for what is no real number, before anything is changed."""
        parameters = dict(self._saved())
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
        """Casts every weight in place, and all other Tensors, and returns the model. Raises TypeError unless `dtype` is
        a floating one."""
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"weights must be of a floating dtype, got {np.dtype(dtype)}")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        self._change_constants(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)
        for module in within(self):
            if "_dtype" in vars(module):  # where there are no Parameters to tell it
                module._dtype = np.dtype(dtype)
        return self

    def to(self, device: str) -> Self:
        """Moves every weight to "cpu" or "cuda" in place, and all other Tensors, and returns the model. Raises
        DeviceUnavailable where there is no such device."""
        for parameter in self.parameters():
            parameter.data = to_device(parameter.data, device)
            parameter.grad = None
        self._change_constants(lambda array: to_device(array, device))
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


# --- Walking: every object once, however deep, and whatever holds itself ---------------------------------------


def _is_constant(value: Any) -> bool:
    """A Tensor that is not trained."""
    return isinstance(value, Tensor) and not isinstance(value, Parameter)


def _items(thing: Any) -> Iterable[tuple[Any, Any]]:
    """What a Module, a dictionary, a list or a tuple holds, by the key that a path has for it."""
    if isinstance(thing, Module):
        return vars(thing).items()
    return thing.items() if isinstance(thing, dict) else enumerate(thing)


def _everything(thing: Any, kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """All that is of these kinds, Modules and containers among them, in attributes, lists, dictionaries and so on, each
    once and with the path to it: `thing` first, and all in the order in which they were set."""
    seen: set[int] = set()
    waiting = [("", thing)]
    while waiting:
        path, value = waiting.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield path, value
            if isinstance(value, _HOLDERS):
                before = f"{path}." if path else ""
                parts = [(f"{before}{key}", part) for key, part in _items(value) if isinstance(part, kinds)]
                waiting += reversed(parts)


def constants_by_path(thing: Any) -> Iterator[tuple[str, Tensor]]:
    """Every Tensor that is not trained, once, under the path to it."""
    return ((path, value) for path, value in _everything(thing, (*_HOLDERS, Tensor)) if _is_constant(value))


def within(thing: Any) -> Iterator[Module]:
    """Every Module in attributes, lists and dicts, `thing` too, each once."""
    return (value for value in _within(thing, _HOLDERS) if isinstance(value, Module))


def modules_by_path(thing: Any) -> Iterator[tuple[str, Module]]:
    """The same, with the path to each ("Q.0"); that of `thing` is empty."""
    return ((path, value) for path, value in _everything(thing, _HOLDERS) if isinstance(value, Module))


def _within(thing: Any, kinds: tuple[type, ...]) -> Iterator[Any]:
    """What `_everything` tells, without the paths: a layer asks at every call."""
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        value = waiting.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield value
            if isinstance(value, _HOLDERS):
                waiting += [part for _, part in _items(value) if isinstance(part, kinds)][::-1]


def replaced(thing: Any, values: dict[int, Any]) -> Any:
    """`thing`, with the values in place of the objects with these ids: a copy of as much as holds one of them."""
    holders = _holders(thing, values)
    new = dict(values)
    for number, holder in holders.items():  # first all that can be filled later, so that one may hold itself
        if not isinstance(holder, tuple):
            new[number] = copy.copy(holder)
    for holder in holders.values():
        if isinstance(holder, tuple):
            _renew_tuple(holder, new, holders)
    for number, holder in holders.items():
        if not isinstance(holder, tuple):
            clone = vars(new[number]) if isinstance(holder, Module) else new[number]
            for key, value in _items(holder):
                if id(value) in new:
                    clone[key] = new[id(value)]
    return new.get(id(thing), thing)


def _holders(thing: Any, values: dict[int, Any]) -> dict[int, Any]:
    """The Modules and containers within `thing` that hold, directly or not, an object with one of these ids: by id."""
    holders_of: dict[int, list[Any]] = {}
    waiting, seen = [thing], set(values)
    while waiting:
        holder = waiting.pop()
        if id(holder) not in seen and isinstance(holder, _HOLDERS):
            seen.add(id(holder))
            for _, part in _items(holder):
                if isinstance(part, _WALKED):
                    holders_of.setdefault(id(part), []).append(holder)
                    waiting.append(part)
    found: dict[int, Any] = {}
    reached = [*values]
    while reached:
        for holder in holders_of.get(reached.pop(), ()):
            if id(holder) not in found:
                found[id(holder)] = holder
                reached.append(id(holder))
    return found


def _renew_tuple(thing: Any, new: dict[int, Any], holders: dict[int, Any]) -> None:
    """Makes a tuple of the new parts, after those of its parts that are tuples too."""
    waiting = [thing]
    while waiting:
        last = waiting[-1]
        if missing := [part for part in last if id(part) in holders and id(part) not in new]:
            waiting += missing
            continue
        waiting.pop()
        parts = [new.get(id(part), part) for part in last]
        new[id(last)] = last._make(parts) if hasattr(last, "_make") else type(last)(parts)


_HOLDERS = (Module, dict, list, tuple)
_WALKED = (*_HOLDERS, Tensor)
