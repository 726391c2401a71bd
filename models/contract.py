"""What every cell must keep to, and what is said where one does not: the declarations of its class, and what its
methods return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.frames import user_lines
from tinygrad_rnn.loops.recorder import Recorder
from tinygrad_rnn.surroundings import recording_with
from tinygrad_rnn.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_rnn.models.cell import Cell

_PROPERTIES = ("states", "output_size", "state_shapes", "context_shapes", "noise_shapes")
_READ = ("context", "noise")
"""What a step may read beside its input and states, by the name of its parameter."""


def place_of(function: Any) -> str:
    """Where a method was written, as the end of a sentence; nothing where that is not known."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return "" if code is None else f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"


# --- The class -------------------------------------------------------------------------------------------------


def check_declarations(cell: type[Cell]) -> None:
    """Raises TypeError, ValueError where a class made with Cell names its gates and states in a way that cannot be, or
    a method of it cannot be called as it will be."""
    _check_names(cell)
    for name in _PROPERTIES:
        declared = inspect.getattr_static(cell, name)
        if callable(declared):
            place = place_of(declared)
            raise TypeError(f"{cell.__name__}.{name} must be a property: write @property above it{place}")
    states = cell.state.split()
    _check_order(cell)
    read = {name: None for name in _READ if name in inspect.signature(cell.step).parameters}
    _check_call(cell, "step", ["x", *states], read)
    if isinstance(cell.output, str):
        if not cell.output.isidentifier() or cell.output in (*states, *declared_gates(cell)):
            kind = "the name of what the step returns after its states, which no state or gate has"
            raise ValueError(f"{cell.__name__}.output must be a method, or {kind}, got {cell.output!r}")
    else:
        _check_call(cell, "output", ["x", *states] if reads_x(cell) else states, {})
    _check_call(cell, "initial_state", ["batch_size"], {})


def check_attribute(cell: Cell, name: str, value: Any, base: type[Cell]) -> None:
    """Raises TypeError where `setup` puts an attribute in the place of what every cell has, of a property, or of a gate
    that is no gate itself."""
    own = type(cell)
    declared = inspect.getattr_static(own, name, None)
    what = ""
    if isinstance(declared, property) and declared.fset is None:
        what = "a property"
    elif hasattr(base, name) and callable(declared):
        what = "a method of every cell"
    elif name in ("gates", "state", "kept", "output") and not isinstance(value, str):
        what = "declared with names"
    elif name in declared_gates(own) and not callable(value):
        what = "a gate"
    elif name in ("rng", "input_size", "hidden_size"):
        what = "the constructor's"
    if what:
        raise TypeError(f"{own.__name__}: {name!r} is {what}, and cannot be set: give the attribute another name")


def declared_gates(cell: type[Cell]) -> list[str]:
    """The names in `gates`."""
    return [each.partition(":")[0] for each in cell.gates.split()]


def check_constructor(cell: type[Cell]) -> None:
    """Raises TypeError where a class made with Cell has a constructor of its own that cannot be called as Cell's is."""
    try:
        inspect.signature(cell).bind(1, 1, dtype=None, rng=None)
    except TypeError as error:
        own = f"{cell.__name__}.__init__ must take what Cell's takes, (input_size, hidden_size, *, dtype, rng, ...)"
        told = "options and Parameters are for setup(self, ...), which Cell's constructor calls"
        raise TypeError(f"{own}; {told}; {error}{place_of(cell.__init__)}") from None


def _check_call(cell: type[Cell], name: str, given: list[str], read: dict[str, None]) -> None:
    method = inspect.getattr_static(cell, name)
    itself = [] if isinstance(method, staticmethod | classmethod) else ["self"]
    try:
        inspect.signature(getattr(cell, name)).bind(*itself, *given, **read)
    except TypeError as error:
        told = f"{name}({', '.join(['self', *given, *read])})"
        if name == "output" and given[:1] != ["x"]:
            told += f", or {name}({', '.join(['self', 'x', *given])})"
        raise TypeError(f"{cell.__name__}.{name} must be {told}; {error}{place_of(getattr(cell, name))}") from None


def _check_names(cell: type[Cell]) -> None:
    """Gates, states and the states that are kept are names, each once; a gate's is no attribute that a cell has."""
    for what in ("gates", "state", "kept"):
        declared = getattr(cell, what)
        if not isinstance(declared, str):
            raise TypeError(f"{cell.__name__}.{what} must be a string of names, got {declared!r}")
        names = declared_gates(cell) if what == "gates" else declared.split()
        for i, name in enumerate(names):
            taken = what == "gates" and (hasattr(cell, name) or name in ("rng", "input_size", "hidden_size"))
            if not name.isidentifier() or name in names[:i] or taken:
                kind = "twice" if name in names[:i] else "an attribute of every cell" if taken else "not a name"
                raise ValueError(f"{cell.__name__}.{what}: {name!r} is {kind}")
            if what == "kept" and name not in cell.state.split():
                raise ValueError(f"{cell.__name__}.kept: {name!r} is none of its states ({cell.state})")


def _check_order(cell: type[Cell]) -> None:
    """The states are given to `step` in the order of `state`: its parameters of these names must stand in it."""
    states = cell.state.split()
    for name in ("step", "output"):
        method = getattr(cell, name)
        if isinstance(method, str):
            continue
        named = positional(method)[name == "step" :]
        taken = [each for each in named if each in states]
        if taken != [each for each in states if each in taken]:
            order = f"{', '.join(taken)}, and they are given as in `state`: {', '.join(states)}"
            raise ValueError(f"{cell.__name__}.{name} takes its states in the order {order}{place_of(method)}")


def reads_x(cell: type[Cell]) -> bool:
    """Whether `output` reads the input: its first parameter is called x, and no state is."""
    return callable(cell.output) and positional(cell.output)[:1] == ["x"] and "x" not in cell.state.split()


def positional(method: Callable[..., Any]) -> list[str]:
    """The parameters of a method of a class that can be given by position, but for `self` and what is read by name."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [each.name for each in inspect.signature(method).parameters.values() if each.kind in kinds]
    return [name for name in named[1:] if name not in _READ]


# --- What its methods return -----------------------------------------------------------------------------------


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int | np.integer) for n in value)


def checked_rows(cell: Cell, name: str, shapes: Any, count: int | None = None) -> list[tuple[int, ...]]:
    """What `state_shapes` or `noise_shapes` says: shapes of rows, `count` of them where that is known. Raises TypeError
    where it is anything else."""
    many = isinstance(shapes, list | tuple) and count in (None, len(shapes))
    if many and all(map(_is_shape, shapes)):
        return list(shapes)
    of_what = f"each of its states ({', '.join(cell.states)})" if name == "state_shapes" else "each Tensor"
    raise TypeError(f"{type(cell).__name__}.{name} must have a tuple of numbers for {of_what}, got {shapes!r}")


def checked_beginning(cell: Cell, batch_size: int, dtype: Any, states: Any) -> tuple[Tensor, ...]:
    """What `initial_state` returned, in the dtype of the cell. Raises TypeError unless it is a tuple with a Tensor of
    the right shape for each state."""
    own, place = f"{type(cell).__name__}.initial_state", place_of(type(cell).initial_state)
    if not isinstance(states, tuple) or len(states) != len(cell.states):
        got = f"{len(states)} of them" if isinstance(states, tuple) else f"a {type(states).__name__}"
        named = ", ".join(cell.states)
        raise TypeError(f"{own} must return a tuple with a Tensor for each state ({named}), got {got}{place}")
    for name, shape, value in zip(cell.states, cell.state_shapes, states, strict=True):
        expected = (batch_size, *shape)
        if not isinstance(value, Tensor) or value.shape != expected:
            got = f"{value.shape}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise TypeError(f"{own} must return {name} as a Tensor {expected}, got {got}{place}")
    return tuple(s if s.dtype == dtype else s.astype(dtype) for s in states)


def without_output(cell: Cell, result: Any) -> tuple[Any, Any]:
    """What a step returned whose last value is its output: the states, and that. Raises TypeError for another number of
    values."""
    count = len(cell.states) + 1
    if isinstance(result, tuple) and len(result) == count:
        return result[:-1], result[-1]
    got = len(result) if isinstance(result, tuple) else f"a {type(result).__name__}"
    told = f"must return {count} values, its states ({cell.state}) and its output {cell.output}, got {got}"
    raise TypeError(f"{type(cell).__name__}.step {told}{place_of(type(cell).step)}")


def checked_states(cell: Cell, old: Sequence[Tensor], result: Any, again: Callable[[], Any]) -> tuple[Tensor, ...]:
    """What `step` returned, as a tuple of states. Raises TypeError unless there is one Tensor for each of them, of the
    shapes and dtypes that they had. `again` makes the same step once more."""
    own = f"{type(cell).__name__}.step must return"
    new = result if isinstance(result, tuple) else (result,)
    if len(new) != len(old) or isinstance(result, list):
        got = "a list" if isinstance(result, list) else len(new)
        raise TypeError(f"{own} {len(old)} state(s) ({cell.state}), got {got}{place_of(type(cell).step)}")
    for name, before, after in zip(cell.states, old, new, strict=True):
        if isinstance(after, Tensor) and after.shape == before.shape and after.dtype == before.dtype:
            continue
        got = f"{after.dtype} of {after.shape}" if isinstance(after, Tensor) else type(after).__name__
        told = f"{own} {name} as a Tensor of {before.dtype} of {before.shape}, got {got}"
        if isinstance(after, Tensor) and after.dtype != before.dtype and after.dtype.kind == "f":
            told += _first_of_another(before.dtype, again)
        raise TypeError(told if " at " in told else f"{told}{place_of(type(cell).step)}")
    return new


def checked_output(cell: Cell, x: Tensor, y: Any) -> Tensor:
    """What `output` returned. Raises TypeError unless it is a Tensor (B, output_size) of the dtype of x."""
    expected = (len(x), cell.output_size)
    if isinstance(y, Tensor) and y.shape == expected and y.dtype == x.dtype:
        return y
    own = f"{type(cell).__name__}.output must return a Tensor of {x.dtype} of (B, output_size) = {expected}"
    got = f"{y.dtype} of {y.shape}" if isinstance(y, Tensor) else type(y).__name__
    width = isinstance(y, Tensor) and y.ndim == 2 and y.shape[1] != cell.output_size
    hint = ": say so by a property output_size" if width else ""
    method = type(cell).output
    if isinstance(method, str):
        method = type(cell).step
    elif method.__module__ == "tinygrad_rnn.models.cell":  # Cell's own
        method = type(cell).step
        hint = f": it is the first state, {cell.states[0]}, unless output(self, {', '.join(cell.states)}) makes it"
    raise TypeError(f"{own}, got {got}{hint}{place_of(method)}")


class _Another(Exception):
    """An op gave another dtype than the cell's."""


class _Suspicious(Recorder):
    """A recorder that stops at the first op whose result is of another floating dtype than `dtype`."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype

    def __call__(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        made = super().__call__(primitive, args, params)
        for each in made if isinstance(made, tuple) else (made,):
            if each.dtype.kind == "f" and each.dtype != self.dtype:
                others = {np.dtype(a.dtype) for a in args if getattr(a, "dtype", self.dtype) != self.dtype}
                cure = "it is cast with the weights where it is among the cell's attributes"
                if others and all(dtype.kind != "f" for dtype in others):
                    cure = "cast it with astype(x.dtype)"
                raise _Another(f"{primitive.name} reads {' and '.join(sorted(map(str, others))) or each.dtype}", cure)
        return made


def _first_of_another(dtype: Any, again: Callable[[], Any]) -> str:
    """The line in which a step leaves the dtype of its cell, as the end of a sentence."""
    try:
        with recording_with(_Suspicious(dtype)):
            again()
    except _Another as error:
        file, line = (user_lines(error) or [("", 0)])[-1]
        where = f" at {Path(file).name}, line {line}" if file else ""
        what, cure = error.args
        return f": {what}{where}; {cure}"
    except Exception:  # the message without the line is better than another error
        return ""
    return ""
