"""How a run names a cell: "lstm", "FILE.py:Class", and with options "phased-lstm(leak=0.01)"."""

from __future__ import annotations

import ast
import re
from typing import Any

from tinygrad_rnn.training.options import OptionError

_WITH_OPTIONS = re.compile(r"(?P<name>.*?[\w\-]+)\s*\((?P<options>.*)\)\s*", re.DOTALL)
_FILE = re.compile(r"\.py:", re.IGNORECASE)


def name_and_options(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a cell without its options, and these by name. Values are Python's numbers, strings, tuples, lists,
    True, False and None; a bare word is a string. Raises OptionError for options that are none."""
    begins = _FILE.search(text)
    at = begins.end() if begins else 0  # a folder may have brackets in its name
    found = _WITH_OPTIONS.fullmatch(text[at:])
    if found is None and "(" not in text[at:]:
        return text, {}
    try:
        call = None if found is None else ast.parse(f"f({found['options']})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if found is None or not isinstance(call, ast.Call) or call.args or not all(each.arg for each in call.keywords):
        raise OptionError(f"cell: options are as in phased-lstm(leak=0.01), got {text!r}")
    named = [str(each.arg) for each in call.keywords]
    if twice := [name for i, name in enumerate(named) if name in named[:i]]:
        raise OptionError(f"cell: option {twice[0]!r} is there twice in {text!r}")
    return text[:at] + found["name"], {str(each.arg): _value(each.value, text) for each in call.keywords}


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        what = f"numbers, words, tuples, lists, True, False and None, got {ast.unparse(node)!r} in {text!r}"
        raise OptionError(f"cell: values of options are {what}") from None
