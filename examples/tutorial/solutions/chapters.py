"""What a solution takes over from its chapter, so that it runs by itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from symtable import symtable
from typing import Any


def taken(chapter: str, *names: str) -> list[Any]:
    """What the names mean in a chapter, such as "00". Of its program only the statements that
    define them run, and those that define what these need. Raises KeyError for one it lacks."""
    (path,) = Path(__file__).parents[1].glob(f"{chapter}_*.py")
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    wanted, size = set(names), 0
    while len(wanted) > size:
        size = len(wanted)
        needed = [each for each in statements if wanted & set(_defines(each))]
        wanted |= {name for each in needed for name in _reads(each)}
    defined: dict[str, Any] = {"__name__": path.stem}
    exec(compile(ast.Module(needed, []), path, "exec"), defined)
    return [defined[name] for name in names]


def _defines(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.If):
        for each in ast.walk(statement):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                yield each.id


def _reads(statement: ast.stmt) -> Iterator[str]:
    tables = [symtable(ast.unparse(statement), "", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        whole = table.get_type() == "module"
        for each in table.get_symbols():
            if each.is_referenced() and (whole or each.is_global()):
                yield each.get_name()
