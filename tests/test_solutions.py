"""Every exercise of the tutorial has a solution, which is a program that runs and checks itself."""

from __future__ import annotations

import ast
import builtins
import re
import runpy
import sys
import warnings
from pathlib import Path
from symtable import symtable

import pytest

TUTORIAL = Path(__file__).parents[1] / "examples" / "tutorial"
CHAPTERS = sorted(TUTORIAL.glob("[0-9]*.py"))
SOLUTIONS = sorted((TUTORIAL / "solutions").glob("[0-9]*.py"))
SLOW = {"05_2", "06_1", "06_2", "06_3", "06_5", "07_4", "08_2", "08_4", "09_1", "09_2", "09_3"}
"""Those of more than a second."""

pytestmark = pytest.mark.skipif(not SOLUTIONS, reason="the tutorial is not beside these tests")


def exercises_of(chapter: Path) -> dict[str, str]:
    """The titles of its exercises by their numbers, "00_1"."""
    section = re.search(
        r"^# Exercises\n# -+\n(.*?)(?=^# -{4,}$|\Z)", chapter.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    if section is None:
        return {}
    found = re.findall(r"^# (\d)\. \*\*(.+?)\.?\*\*", section[1], re.MULTILINE)
    return {f"{chapter.name[:2]}_{number}": title for number, title in found}


def programs() -> list[object]:
    """All solutions, the longer ones marked."""
    return [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem[:4] in SLOW else [])
        for path in SOLUTIONS
    ]


def split(solution: Path) -> tuple[str, str]:
    """What it takes over from its chapter, and what is shown."""
    before, shown = solution.read_text(encoding="utf-8").split("\n# %%\n")
    return before, shown


def names_made(program: str) -> set[str]:
    """What is imported, defined or assigned anywhere in it."""
    made = set()
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            made |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
    return made


def names_used(program: str) -> set[str]:
    """What is read in it, wherever it is from; arguments are their function's own."""
    tables, used = [symtable(program, "", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        whole = table.get_type() == "module"
        used |= {
            each.get_name() for each in table.get_symbols() if each.is_referenced() and (whole or each.is_global())
        }
    return used


def test_every_exercise_has_one_solution_by_its_title_and_every_solution_its_exercise() -> None:
    asked = {number: title for chapter in CHAPTERS for number, title in exercises_of(chapter).items()}
    solved = [(path.stem[:4], split(path)[0].split('"""')[1]) for path in SOLUTIONS]
    assert solved == [(number, f"{int(number[:2])}.{number[3]} {title}") for number, title in asked.items()]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_has_three_to_five_exercises_numbered_from_1(chapter: Path) -> None:
    numbers = [int(number[3]) for number in exercises_of(chapter)]
    assert numbers == list(range(1, len(numbers) + 1)) and 3 <= len(numbers) <= 5


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_has_something_to_say_and_checks_it(solution: Path) -> None:
    _, shown = split(solution)
    assert "assert " in shown and "taken(" not in shown


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_uses_what_its_chapter_has_and_what_it_makes_itself(solution: Path) -> None:
    (chapter,) = (path for path in CHAPTERS if path.name[:2] == solution.name[:2])
    there = names_made(chapter.read_text(encoding="utf-8")) | set(dir(builtins))
    for each in (path for path in SOLUTIONS if path.name[:2] == solution.name[:2] and path <= solution):
        there |= names_made(split(each)[1])  # an exercise may go on from those before it
    assert names_used(split(solution)[1]) - there == set()


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_go_on_where_their_chapter_ends(
    chapter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    there: dict[str, object] = {"__name__": chapter.stem}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # figures that are shown where there is no screen
        exec(compile(chapter.read_text(encoding="utf-8"), chapter, "exec"), there)
    for solution in (path for path in SOLUTIONS if path.name[:2] == chapter.name[:2]):
        exec(compile(split(solution)[1], solution, "exec"), there)
    pyplot.close("all")


@pytest.mark.parametrize("solution", programs())
def test_a_solution_runs_by_itself(
    solution: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(solution.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(solution), run_name="__main__")
    sys.modules.pop("chapters", None)
