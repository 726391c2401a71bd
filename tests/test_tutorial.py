"""What the tutorial says of its chapters is so. (That they run, the build of the pages shows.)"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
CHAPTERS = sorted((HOME / "examples" / "tutorial").glob("[0-9]*.py"))
NUMBERS = ("zero one two three four five six seven eight nine ten eleven twelve").split()

pytestmark = pytest.mark.skipif(not CHAPTERS, reason="the tutorial is not beside these tests")


def read(name: str) -> str:
    if not (HOME / name).is_file():
        pytest.skip(f"{name} is not beside these tests")
    return (HOME / name).read_text(encoding="utf-8")


def chapter(beginning: str) -> str:
    (path,) = (path for path in CHAPTERS if path.name.startswith(beginning))
    return path.read_text(encoding="utf-8")


def code_lines(source: str, *nodes: ast.AST) -> int:
    """How many lines of code they have, without docstrings, comments and what is empty."""
    counted: set[int] = set()
    for node in nodes:
        assert isinstance(node, ast.stmt)
        counted |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    for each in (each for node in nodes for each in ast.walk(node)):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
            counted -= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    lines = source.split("\n")
    return sum(1 for number in counted if lines[number - 1].strip() and not lines[number - 1].strip().startswith("#"))


def is_of_the_engine(node: ast.stmt) -> bool:
    """What operations, arrays and the walk are made of, in chapter 0."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name in ("op", "Array", "gradients", "fitted", "summed", "scattered")
    made = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return isinstance(made, ast.Call) and isinstance(made.func, ast.Name) and made.func.id == "op"


def test_the_index_lists_every_chapter_in_order_by_its_title() -> None:
    listed = re.findall(r":doc:`(.*) <tutorial/(\d\d_\w+)>`", read("docs/index.rst"))
    assert [name for _, name in listed] == [path.stem for path in CHAPTERS]
    for number, (title, name) in enumerate(listed):
        assert chapter(name).startswith(f'"""\n{number}. {title}\n===')


@pytest.mark.parametrize(
    "name", ["docs/index.rst", "examples/tutorial/GALLERY_HEADER.rst", "README.md", "CHANGELOG.md"]
)
def test_all_who_say_how_many_chapters_there_are_say_the_same(name: str) -> None:
    said = re.findall(r"(\w+) (?:short programs|chapters, which are programs)", read(name))
    assert [each.lower() for each in said] == [NUMBERS[len(CHAPTERS)]]


def test_the_engine_of_chapter_0_has_some_sixty_lines() -> None:
    source = chapter("00")
    parts = [node for node in ast.parse(source).body if is_of_the_engine(node)]
    assert len(parts) == 6 + 15
    assert 55 <= code_lines(source, *parts) <= 65
    assert "some sixty lines in all" in source


def test_chapter_0_needs_nothing_of_the_library_before_its_last_section() -> None:
    before, last = chapter("00").split("# What ours does beyond yours\n")
    assert "import tinygrad_rnn" not in before and "from tinygrad_rnn" not in before
    assert "import tinygrad_rnn as tg" in last


def test_the_cell_of_chapter_6_has_under_ten_lines() -> None:
    source = chapter("06")
    (cell,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    assert code_lines(source, cell) < 10 and "variant in under ten lines" in source
