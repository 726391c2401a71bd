"""The page about cells of one's own: its code runs as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "your_cells.rst"


@pytest.mark.slow
def test_the_code_of_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PAGE.is_file():
        pytest.skip(f"{PAGE.name} is not beside these tests")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text)
    assert len(blocks) >= 9
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        at = text[: text.index(block)].count("\n")
        code = "\n" * at + textwrap.dedent(block)  # so that an error names the line of the page
        exec(compile(code, str(PAGE), "exec"), names)
    assert names["h"].shape == (2, 3, 8) and names["c"].shape == (1, 3, 8)
    assert names["notes"]["energy"].shape == (1, 5, 3) and len(names["found"].outcomes) == 2
