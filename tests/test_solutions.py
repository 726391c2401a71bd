"""Every exercise of the tutorial has a solution, which is a program that runs and checks itself."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

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


@pytest.mark.parametrize("solution", programs())
def test_a_solution_runs_by_itself(
    solution: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(solution.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(solution), run_name="__main__")
    sys.modules.pop("chapters", None)
