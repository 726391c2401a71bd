"""What an option may be: the types that the command line and a checkpoint can hold, and the names that are free."""

from __future__ import annotations

import inspect
import reprlib
from dataclasses import Field, fields, is_dataclass
from os import PathLike, fspath
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np

LARGEST = 2**31 - 1
"""Of a size."""

OF_THE_PROGRAM = frozenset("device help keep log note out overwrite quiet resume task time_budget trust".split())
"""Options of training that are not saved with a run: no field can be called so."""

_KINDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple[str, ...]: "a list of texts",
    NoneType: "null",
}
_OF_KINDS = (
    "the option {name} must be of the type str, bool, int, float or tuple[str, ...], or one of these and None, "
    "got {got}"
)


def kinds_of(annotation: Any) -> tuple[Any, ...]:
    """The types that an option may have: of `int | None`, int and NoneType."""
    inner = get_args(annotation)
    return inner if NoneType in inner else (annotation,)


def as_kind(name: str, value: Any, annotation: Any) -> Any:
    """A value as the type that an option has, also where it is a path, or a number of NumPy's. Raises TypeError where
    it is of another."""
    kinds = kinds_of(annotation)
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, PathLike):
        value = fspath(value)
    if isinstance(value, list | tuple) and tuple[str, ...] in kinds:
        value = tuple(fspath(each) if isinstance(each, PathLike) else each for each in value)
        if all(isinstance(each, str) for each in value):
            return value
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds and abs(value) < LARGEST:
        return value
    if type(value) not in kinds:
        raise TypeError(f"{name} must be {' or '.join(_KINDS[each] for each in kinds)}, got {reprlib.repr(value)}")
    return value


def check_names(options: type, base: type) -> None:
    """Raises TypeError where a class of options, which is no dataclass yet, has a field of a name that is taken, or a
    value that was meant to be one. `base` is the class that all options are derived from."""
    typed = inspect.get_annotations(options)
    for name in typed:
        if isinstance(vars(options).get(name), list | dict | set):
            raise TypeError(_OF_KINDS.format(name=name, got=type(vars(options)[name]).__name__))
    above = {name for each in options.__mro__[1:] for name in inspect.get_annotations(each)}
    for name in typed:
        if name in OF_THE_PROGRAM:
            flag = name.replace("_", "-")
            raise TypeError(f"the option {name} must have another name: --{flag} is one of the program's own")
        if name not in above and (hasattr(base, name) or name.startswith("_")):
            raise TypeError(f"the option {name} must have another name: this one has a meaning for all options")
    inherited = {each.name for parent in options.__mro__[1:] if is_dataclass(parent) for each in fields(parent)}
    for name, value in vars(options).items():
        untyped = name not in typed and (name in inherited or (name not in above and not name.startswith("_")))
        if untyped and (value is None or isinstance(value, str | bool | int | float | tuple | Field)):
            kind = "TYPE" if value is None or isinstance(value, Field) else type(value).__name__
            raise TypeError(f"the option {name} must have a type: {name}: {kind} = ...")


def check_kinds(options: type) -> None:
    """Raises TypeError for a field whose type, or whose default, the command line or a checkpoint could not hold."""
    hints = get_type_hints(options)
    for each in fields(options):
        kinds = {*kinds_of(hints[each.name])}
        if not kinds <= {*_KINDS} or len(kinds - {NoneType}) != 1:
            raise TypeError(_OF_KINDS.format(name=each.name, got=hints[each.name]))
        as_kind(f"the default of the option {each.name}", each.default, hints[each.name])
