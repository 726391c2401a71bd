"""Sphinx: behind each exercise of the tutorial its solution, hidden until somebody clicks; in notebooks too, which
have the titles of pages instead of links.

A solution is a program, `examples/tutorial/solutions/CHAPTER_EXERCISE_*.py`. It begins with its title, and with what it
takes over from the chapter; what is shown comes after `# %%`, and goes on where the chapter ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx_gallery import gen_rst

DOCS = Path(__file__).parent
FOLDER = DOCS.parent / "examples" / "tutorial" / "solutions"


def solutions(chapter: str) -> list[Path]:
    """Those of a chapter ("00"), in the order of its exercises."""
    return sorted(FOLDER.glob(f"{chapter}_*.py"))


def shown(path: Path) -> str:
    """The part of a solution that a reader would write."""
    return path.read_text(encoding="utf-8").split("\n# %%\n", 1)[1].strip()


def on_page(app: Sphinx, document: nodes.document) -> None:
    """Puts the solutions into a chapter's page."""
    number = re.match(r"tutorial/(\d\d)_", app.env.docname)
    for section in document.findall(nodes.section):
        if number and section[0].astext() == "Exercises":
            (exercises,) = (each for each in section if isinstance(each, nodes.enumerated_list))
            for exercise, path in zip(exercises, solutions(number[1]), strict=True):
                app.env.note_dependency(str(path))
                exercise.append(_html('<details class="solution"><summary>A solution</summary>'))
                exercise.extend(_in_turn(shown(path)))
                exercise.append(_html("</details>"))


def _in_turn(program: str) -> Iterator[nodes.Element]:
    """Its remarks as paragraphs, which fit a phone, and the code between them."""
    for i, part in enumerate(re.split(r"((?:^# .*\n?)+)", program, flags=re.MULTILINE)):
        if i % 2:
            remark = " ".join(line.removeprefix("# ") for line in part.splitlines())
            kinds = cycle((nodes.Text, lambda name: nodes.literal(name, name)))  # `names` are code
            yield nodes.paragraph("", "", *(kind(each) for kind, each in zip(kinds, remark.split("`"), strict=False)))
        elif code := part.strip():
            yield nodes.literal_block(code, code, language="python")


def _html(text: str) -> nodes.raw:
    return nodes.raw("", text, format="html")


def in_notebook(blocks: Any, settings: Any, target: Any) -> dict[str, Any]:
    """A notebook as sphinx-gallery makes it, with the titles of pages and the solutions below the exercises."""
    notebook: dict[str, Any] = _notebook(blocks, settings, target)
    for place, cell in enumerate([*notebook["cells"]]):
        if cell["cell_type"] == "markdown":
            cell["source"] = [text := _titled("".join(cell["source"]))]
            if text.startswith("## Exercises"):
                below = {"cell_type": "markdown", "metadata": {}, "source": [_folded(blocks, text)]}
                notebook["cells"].insert(place + 1, below)
    return notebook


def _titled(text: str) -> str:
    """Links to pages, which a notebook does not have, as their titles."""
    return re.sub(r":doc:`/(.+?)`", lambda link: f"*{_title(DOCS / f'{link[1]}.rst')}*", text)


def _title(page: Path) -> str:
    found = re.search(r"^(.+)\n==", page.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"no title in {page}")
    return found[1]


def _folded(blocks: Any, exercises: str) -> str:
    """Markdown in which each solution is under the title of its exercise."""
    titles = re.findall(r"^\d\. \*\*(.+?)\*\*", exercises, re.MULTILINE)
    chapter = re.search(r"^(\d)\. ", blocks[0].content, re.MULTILINE)
    if chapter is None:
        raise ValueError(f"no number of a chapter in {blocks[0].content[:80]!r}")
    pairs = zip(titles, solutions(f"0{chapter[1]}"), strict=True)
    return "\n".join(
        f"<details><summary>A solution of {i}: {escape(title.rstrip('.'))}</summary>\n\n"
        f"```python\n{shown(path)}\n```\n\n</details>\n"
        for i, (title, path) in enumerate(pairs, 1)
    )


_notebook = gen_rst.jupyter_notebook


def setup(app: Sphinx) -> ExtensionMetadata:
    """Sphinx calls this. (sphinx-gallery has no door for what a notebook gets beside its program.)"""
    gen_rst.jupyter_notebook = in_notebook
    app.connect("doctree-read", on_page)
    return {"parallel_read_safe": True}
