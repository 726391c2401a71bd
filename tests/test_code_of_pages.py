"""The code of the README and of the pages runs as it stands, pasted block after block."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).parents[1]
CODE = {
    ".md": re.compile(r"```python\n(.*?)```", re.DOTALL),
    ".rst": re.compile(r"\.\. code-block:: python\n\n((?:[ ]+.*\n|\n)+)"),
}
TREEBANK = "".join(f"the DET\nbird{i} NOUN\nsleeps VERB\n\n" for i in range(120))
"""A file that a page speaks of."""

Names = dict[str, Any]


def of_the_readme(names: Names) -> None:
    assert names["outputs"].shape == (20, 3, 16) and names["layer"].cells[0].f.U.grad.any()
    assert names["tr"]["0.forward.f"].shape == (20, 3, 8) and names["found"].result.metrics


def of_your_cells(names: Names) -> None:
    assert names["h"].shape == (2, 3, 8) and names["c"].shape == (1, 3, 8)
    steps = names["tg"].derive(names["MGUCell"]).text.partition("The step")[2].partition("The gradients")[0]
    assert textwrap.indent(steps.rstrip(), "    ", lambda line: bool(line.strip())) in page("docs/your_cells.rst")
    assert names["notes"]["energy"].shape == (1, 5, 3) and len(names["found"].outcomes) == 2


def of_tagging(names: Names) -> None:
    assert len(names["said"]) > 0


def of_coming(names: Names) -> None:
    assert names["h"].shape == names["c"].shape == (1, 8, 32) and names["loss"].item() < 4.7


def of_the_zoo(names: Names) -> None:
    assert len(names["ids"]) > 0 and names["about"]["run"] == "zoo identifiers"


PAGES: dict[str, tuple[int, Callable[[Names], None]]] = {
    "README.md": (4, of_the_readme),
    "docs/your_cells.rst": (10, of_your_cells),
    "docs/tasks/tag.rst": (1, of_tagging),
    "docs/coming_from.rst": (1, of_coming),
    "docs/zoo.rst": (1, of_the_zoo),
}
"""By the page how many blocks it has, and what they leave."""


def page(name: str) -> str:
    if not (HOME / name).is_file():
        pytest.skip(f"{name} is not beside these tests")
    return (HOME / name).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page(name)
    monkeypatch.chdir(tmp_path)
    Path("treebank.conll").write_text(TREEBANK, encoding="utf-8")
    blocks = CODE[Path(name).suffix].findall(text)
    count, check = PAGES[name]
    assert len(blocks) == count
    names: Names = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks:
            at = text[: text.index(block)].count("\n")
            code = textwrap.dedent(block).replace("time_budget=130", "time_budget=2")
            exec(compile("\n" * at + code, name, "exec"), names)  # so that an error names the line of the page
    check(names)


def test_every_page_with_code_is_run() -> None:
    page("docs/your_cells.rst")
    pages = [HOME / "README.md", *(HOME / "docs").glob("*.rst"), *(HOME / "docs" / "tasks").glob("*.rst")]
    code = {path for path in pages if CODE[path.suffix].search(path.read_text(encoding="utf-8"))}
    made = HOME / "docs" / "cells.rst"  # of the cells' own code
    assert code - {made} == {HOME / name for name in PAGES}


def test_the_picture_of_the_readme_is_what_the_table_says() -> None:
    page("benchmarks/README.md")
    program = runpy.run_path(str(HOME / "benchmarks" / "speed_picture.py"))
    found = program["figures"](page("benchmarks/README.md"))
    assert len(found) == 6 and found["a user's cell"] == {"PyTorch cell loop": 0.65, "JAX": 0.38}
    assert program["drawn"](found) == page("benchmarks/speed.svg")
