"""What a checkpoint of a run says beside its arrays, field by field: whatever else stands there is refused."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

FieldCheck = Callable[[Any, str], None]
"""Raises ValueError, which names the field, for a value that a run cannot have saved there."""


def check_description(meta: Mapping[str, Any]) -> None:
    """Raises ValueError naming the first field that is missing or not what a run saves; parts that it does not know are
    left alone."""
    _record(meta, "", _PARTS, _LATER_PARTS)


def _is(expected: str, good: Callable[[Any], bool]) -> FieldCheck:
    def check(value: Any, name: str) -> None:
        if not good(value):
            raise ValueError(f"{name} must be {expected}, got {reprlib.repr(value)}")

    return check


def _or_none(check: FieldCheck) -> FieldCheck:
    return lambda value, name: None if value is None else check(value, name)


def _each(check: FieldCheck) -> FieldCheck:
    """A list."""

    def check_all(values: Any, name: str) -> None:
        _list(values, name)
        for i, value in enumerate(values):
            check(value, f"{name}[{i}]")

    return check_all


def _by_name(check: FieldCheck, named: Mapping[str, FieldCheck] | None = None) -> FieldCheck:
    """A dictionary of values that are alike, but for some; those that are named by what their name begins with."""

    def check_all(values: Any, name: str) -> None:
        _dictionary(values, name)
        for key, value in values.items():
            special = (each for begin, each in (named or {}).items() if key.startswith(begin))
            next(special, check)(value, f"{name}.{key}")

    return check_all


def _of(parts: Mapping[str, FieldCheck], optional: Mapping[str, FieldCheck] | None = None) -> FieldCheck:
    """A dictionary that has these parts."""
    return lambda values, name: _record(values, name, parts, optional or {})


def _record(values: Any, name: str, parts: Mapping[str, FieldCheck], optional: Mapping[str, FieldCheck]) -> None:
    _dictionary(values, name or "its description")
    prefix = f"{name}." if name else ""
    if missing := [key for key in parts if key not in values]:
        raise ValueError(f"it is without its {', '.join(prefix + key for key in missing)}")
    for key, check in (*parts.items(), *optional.items()):
        if key in values:
            check(values[key], f"{prefix}{key}")


_LARGEST = 2**63 - 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


_list = _is("a list", lambda value: isinstance(value, list))
_dictionary = _is("a dictionary", lambda value: isinstance(value, dict))
_text = _is("a text", lambda value: isinstance(value, str))
_whole = _is(
    "a whole number of at least 0",
    lambda value: isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST,
)
_number = _is("a finite number", _is_number)
_rate = _is("a finite number of at least 0", lambda value: _is_number(value) and value >= 0)
_flag = _is("true or false", lambda value: isinstance(value, bool))
_option = _is(
    "a text, a number, true, false or null",
    lambda value: value is None or isinstance(value, str | bool) or _is_number(value),
)


def _one_table(value: Any, name: str) -> None:
    """A table by its kind."""
    _dictionary(value, name)
    if len(value) != 1:
        raise ValueError(f"{name} must have one entry, its kind, got {reprlib.repr(list(value))}")
    for kind, content in value.items():
        if kind != "JSON":
            _each(_text)(content, f"{name}.{kind}")


def _figures(value: Any, name: str) -> None:
    """An evaluation: where it was made, and its figures."""
    _record(value, name, {"step": _whole, "epoch": _whole}, {})
    _by_name(_or_none(_number))(value, name)


_PARTS: dict[str, FieldCheck] = {
    "settings": _by_name(lambda value, name: None),
    "tables": _by_name(_one_table),
    "data": _of(
        {"name": _text, "sha256": _text},
        {"split_sha256": _text, "tokenizer": _by_name(_option), "baselines": _by_name(_number)}
        | {"baselines_without": _by_name(_each(_number))}
        | dict.fromkeys(("examples", "sentences", "tokens"), _whole),
    ),
    "progress": _of({"epoch": _whole, "batch": _whole, "step": _whole}),
    "optimizer": _by_name(_whole, {"lr": _rate, "name.": _text}),
    "schedule": _by_name(_number, {"count": _whole, "lr": _rate}),
    "noise": _by_name(lambda value, name: None),
    "best": _or_none(_number),
    "trouble": _whole,
    "history": _each(_figures),
}
"""What every run saves."""

_FILE: dict[str, FieldCheck] = {"file": _text, "class": _text, "sha256": _text, "beside": _by_name(_text)}

_LATER_PARTS: dict[str, FieldCheck] = {
    "run": _text,
    "files": _by_name(_text),
    "cell": _of(_FILE | {"options": _by_name(_option)}),
    "task_file": _of(_FILE),
    "noises": _each(_by_name(lambda value, name: None)),
    "products": _or_none(_of({"shallow": _flag, "deep": _flag})),
}
"""What older checkpoints, or those of tasks and cells that come with the package, do not have."""
