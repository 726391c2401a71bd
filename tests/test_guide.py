"""The task that CONTRIBUTING.md leads through: it is as short as is promised, and it learns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import works

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def written() -> str:
    """The code of the guide's task."""
    if not GUIDE.is_file():
        pytest.skip(f"{GUIDE.name} is not beside these tests")
    (code,) = re.findall(r"```python\n(.*?class Where.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


def test_the_task_of_the_guide_is_at_most_25_lines() -> None:
    lines = [line for line in written().splitlines() if line.strip()]
    assert len(lines) <= 25 and max(map(len, lines)) <= 120


@pytest.mark.slow
def test_the_task_of_the_guide_learns_what_no_bag_of_words_tells_and_answers(tmp_path: Path) -> None:
    (tmp_path / "where.py").write_text(written(), encoding="utf-8")
    task, run = f"{tmp_path / 'where.py'}:Where", tmp_path / "run"
    text = works("train", task, "--lr", "5e-3", "--time-budget", "90s", "--quiet", "--out", run)
    found = re.search(r"result +accuracy (0\.\d+)", text)
    assert found and float(found[1]) > 0.9 and "logistic regression 0.3" in text and "beaten" in text
    question = "ann in hall , sue in attic , joe in porch , where is sue\n"
    assert works("predict", run / "best.safetensors", "--task", task, text=question) == "attic\n"
