"""What Sphinx needs for the reference: single backquotes are code, and links where they name what the reference has.

A docstring is written to be read where it stands: stars are stars, a block that is indented is code, and arguments
stand in sections (Args, Returns, Raises, Example) that Sphinx's napoleon reads after this. On pages single backquotes
are the same, and `.. overview::` lists the names that each page of the reference has.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

PACKAGE = "tinygrad_rnn"
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Example|Note):$")
RESULT = re.compile(r"^((?:Returns|Yields):\n)( +)(?=\S)", re.MULTILINE)
LETTER = re.compile(r"(?:(?<=: )|^)(?=[A-Z]\.$)", re.MULTILINE)
NAMED = re.compile(r"\.\. (?:auto(?:function|class|exception)|py:data|currentmodule):: +(\S+)")
SPAN = re.compile(r"(?P<quotes>`+)(?P<code>.+?)(?P=quotes)|(?P<special>[*|\\]|(?<=\w)_(?![\w`]))", re.DOTALL)


def named(pages: Path, which: str = "*.rst") -> Iterator[str]:
    """The full names of what the pages in a folder have, in their order."""
    for page in sorted(pages.glob(which)):
        module = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := NAMED.match(line):
                if "currentmodule" in line:
                    module = found[1]
                else:
                    yield f"{module}.{found[1]}"


def links(pages: Path) -> dict[str, str]:
    """By how a docstring may call them, the full names: ops.tanh, tg.grad. A bare name is one of the package's own, or
    is spelled so that it means nothing else."""
    found: dict[str, str] = {}
    for name in named(pages):
        room, short = name.split(".")[1:-1], name.split(".")[-1]
        found[name] = found[".".join([*room[-1:], short])] = name
        if not room:
            found[f"tg.{short}"] = name
        if not room or "_" in short or short != short.lower():
            found.setdefault(short, name)
    return found


def as_rst(text: str, own: dict[str, str], parameters: frozenset[str] = frozenset()) -> str:
    """A docstring as reStructuredText; of names that are its own `parameters` none is a link."""

    def marked(match: re.Match[str]) -> str:
        if match["special"]:
            return "\\" + match["special"]
        code = " ".join(match["code"].split())
        name = own.get(code.removesuffix("()"))
        role = f":py:obj:`{code} <{name}>`" if name and code not in parameters else f"``{code}``"
        return role + ("\\ " if match.string[match.end() :][:1].isalnum() else "")  # `y`s

    parts = []
    for is_code, lines in _parts(text.split("\n")):
        part = "\n".join(lines)
        parts.append(part if is_code else SPAN.sub(marked, part).replace(" -> ", " → "))
    return "\n".join(parts)


def _parts(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines that are code, or are not. Before a block that is indented, its mark."""
    base, blank, kept, code = 0, True, [], 0
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line.strip():
            blank = True
            kept.append(line)
            continue
        if code and indent < code:
            yield True, kept
            kept, code = [], 0
        if not code:
            base = 4 if SECTION.match(line) else 0 if not indent else base
            prompt = line.lstrip().startswith(">>>")
            if prompt or (blank and indent >= base + 4):
                yield False, kept
                kept = [] if prompt else [" " * base + "::", ""]
                code = indent
        elif blank and indent == code and line.lstrip()[:3] not in (">>>", "...") and kept[0].lstrip()[:3] == ">>>":
            yield True, kept  # words after an example
            kept, code = [], 0
        blank = False
        kept.append(line)
    yield bool(code), kept


def as_napoleon_reads_it(text: str) -> str:
    """What it returns is a sentence, also with a colon: after a comment napoleon takes its beginning for no type. And
    "H." says what an argument is: it begins no list."""
    return LETTER.sub(r"\\", RESULT.sub(r"\1\2..\n\n\2", text))


def options_of(thing: Any) -> list[str]:
    """What `--help` says of the fields of a class of options, as a section of its docstring."""
    if not is_dataclass(thing):
        return []
    said = [f"    {each.name}: {each.metadata['help']}" for each in fields(thing) if each.metadata.get("help")]
    return ["", "Attributes:", *said] if said else []


def with_colons(document: Any) -> None:
    """An argument, a colon, what it is: for the two hyphens that Sphinx puts between them."""
    from docutils import nodes  # noqa: PLC0415  (there where Sphinx is)

    for text in [*document.findall(nodes.Text)]:
        if text.startswith(" -- ") and isinstance(text.parent.parent, nodes.field_body | nodes.list_item):
            text.parent.replace(text, nodes.Text(": " + text.removeprefix(" -- ")))


def breakable(document: Any) -> None:
    """Long names in a table of names may go on in the next line, after a dot or an underscore."""
    from docutils import nodes  # noqa: PLC0415

    tables = (table for table in document.findall(nodes.table) if "names" in table["classes"])
    for text in [
        text for table in tables for name in table.findall(nodes.literal) for text in name.findall(nodes.Text)
    ]:
        parts = re.split(r"(?<=[._])(?=\w)", text)
        pieces = [piece for part in parts for piece in (nodes.raw("", "<wbr>", format="html"), nodes.Text(part))]
        text.parent.replace(text, pieces[1:])


def overview(pages: Path) -> str:
    """A list of the pages, in the order of the index, each with links to its names."""
    order = re.findall(r"^   (\w+)$", (pages / "index.rst").read_text(encoding="utf-8"), re.MULTILINE)
    lines = []
    for page in order:
        names = named(pages, f"{page}.rst")
        shown = " ".join(f":py:obj:`{name.rpartition('.')[2]} <{name}>`" for name in names)
        lines.append(f"* :doc:`{page}`" + (f": {shown}" if shown else ""))
    return "\n".join(lines)


def setup(app: Any) -> dict[str, Any]:
    """Tells Sphinx."""
    from docutils import nodes  # noqa: PLC0415  (there where Sphinx is)
    from sphinx.domains.python import PyXRefRole  # noqa: PLC0415
    from sphinx.util.docutils import SphinxDirective, SphinxRole  # noqa: PLC0415

    pages = Path(app.srcdir) / "reference"
    own = links(pages)

    class Name(SphinxRole):
        def run(self) -> Any:
            name = own.get(self.text)
            if name is None:
                return [nodes.literal(self.rawtext, self.text)], []
            place = (self.lineno, self.inliner)
            return PyXRefRole()("py:obj", self.rawtext, f"{self.text} <{name}>", *place)

    class Overview(SphinxDirective):
        def run(self) -> list[Any]:
            return self.parse_text_to_nodes(overview(pages))

    def mark(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        try:
            parameters = frozenset(inspect.signature(thing).parameters)
        except (TypeError, ValueError):
            parameters = frozenset()
        here, _, last = name.rpartition(".")
        near = {full.rpartition(".")[2]: full for full in own.values() if full.rpartition(".")[0] == here}
        lines += options_of(thing)
        if what in ("property", "attribute"):  # to napoleon "A name: what it is" would be a type and what it is
            lines[:0] = ["..", ""]
        text = as_rst("\n".join(lines), own | near | {last: ""}, parameters)
        lines[:] = as_napoleon_reads_it(text).split("\n")

    app.add_role("name", Name())
    app.add_directive("overview", Overview)
    app.connect("autodoc-process-docstring", mark, priority=400)  # before napoleon, at 500
    app.connect("doctree-read", lambda app, document: with_colons(document))
    app.connect("doctree-read", lambda app, document: breakable(document))
    return {"parallel_read_safe": True}
