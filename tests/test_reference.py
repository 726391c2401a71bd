"""The reference: every public name stands in it once, is an object that the search finds, and every page builds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from reference_names import DOCS, NAMES, PROGRAM, found
from test_public_names import PROMISED, ROOMS, exported

ENTRANCES = ["tinygrad_rnn", "tinygrad_rnn.ops", *(f"tinygrad_rnn.{room}" for room in ROOMS.split())]

pytestmark = pytest.mark.skipif(not NAMES, reason="docs/ is not beside these tests")


def public() -> dict[int, list[str]]:
    """By what they stand for, the names under which public things are known; rooms are none."""
    names = [f"{module}.{name}" for module in ENTRANCES for name in exported(import_module(module))]
    names += [f"{module}.{name}" for module, promised in PROMISED.items() for name in promised.split()]
    known: dict[int, list[str]] = {}
    for name in names:
        thing = found(name)
        if not isinstance(thing, ModuleType):
            known.setdefault(id(thing), []).append(name)
    return known


COMMAND_LINE = "tinygrad_rnn.cli.main"
"""It has a page of its own, made of what --help says."""


def test_every_public_name_stands_in_the_reference_once() -> None:
    known = public()
    listed = Counter(id(found(name)) for name in NAMES)
    missing = [names[0] for thing, names in known.items() if listed[thing] != 1 and COMMAND_LINE not in names]
    assert missing == []


def test_the_reference_names_nothing_that_is_not_public() -> None:
    known = {name for names in public().values() for name in names}
    internal = [name for name in NAMES if name not in known]
    assert internal == [name for name in internal if ".checkpoint." in name or ".conversions." in name]


def test_every_public_name_says_what_it_is() -> None:
    assert [name for name in NAMES if not (found(name).__doc__ or "").strip()] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`x` * y | z", r"``x`` \* y \| z"),
        ("see `scan`", "see :py:obj:`scan <tinygrad_rnn.scan>`"),
        ("see `ops.tanh`, `tanh`", "see :py:obj:`ops.tanh <tinygrad_rnn.ops.tanh>`, ``tanh``"),
        ("the `y`s of x_", "the ``y``\\ s of x\\_"),
        ("As:\n\n    a * b\n\nand *c*.", "As:\n\n::\n\n    a * b\n\nand \\*c\\*."),
        ("Example:\n    >>> a * b\n    6\n\nA * B.", "Example:\n    >>> a * b\n    6\n\nA \\* B."),
        ("Args:\n    x: 2 * y,\n        and `z`.", "Args:\n    x: 2 \\* y,\n        and ``z``."),
    ],
)
def test_a_docstring_becomes_restructured_text(text: str, expected: str) -> None:
    assert PROGRAM["as_rst"](text, PROGRAM["links"](DOCS / "reference")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Returns:\n    What was found: text.\n    More.", "Returns:\n    ..\n\n    What was found: text.\n    More."),
        ("Args:\n    size: H.\n    rate: Adam.", "Args:\n    size: \\H.\n    rate: Adam."),
    ],
)
def test_a_sentence_with_a_colon_is_no_type_and_a_letter_no_list(text: str, expected: str) -> None:
    assert PROGRAM["as_napoleon_reads_it"](text) == expected


def test_the_overview_has_every_name() -> None:
    text = PROGRAM["overview"](DOCS / "reference")
    assert [name for name in NAMES if f"<{name}>`" not in text] == []


def test_a_parameter_is_no_link() -> None:
    own = PROGRAM["links"](DOCS / "reference")
    assert PROGRAM["as_rst"]("`scan`", own, frozenset({"scan"})) == "``scan``"


CONF = """import sys
sys.path.insert(0, {docs!r})
extensions = ["sphinx.ext.autodoc", "docstrings", "sphinx.ext.napoleon"]
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_param = False
default_role = "name"
suppress_warnings = ["ref.doc", "toc.not_readable"]  # links to the rest of the documentation
"""


@pytest.mark.slow
def test_the_pages_build_without_a_warning_and_the_search_finds_every_name(tmp_path: Path) -> None:
    inventory = pytest.importorskip("sphinx.util.inventory")
    source, out = tmp_path / "docs", tmp_path / "html"
    shutil.copytree(DOCS / "reference", source / "reference")
    (source / "conf.py").write_text(CONF.format(docs=str(DOCS)), encoding="utf-8")
    (source / "index.rst").write_text("Index\n=====\n\n.. toctree::\n\n   reference/index\n", encoding="utf-8")
    (source / "reference" / "command_line.rst").write_text("The command line\n================\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(source), str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (built.stderr, built.returncode) == ("", 0)
    objects = inventory.InventoryFile.loads((out / "objects.inv").read_bytes(), uri="").data
    indexed = {name for kind, names in objects.items() if kind.startswith("py:") for name in names}
    assert "tinygrad_rnn.ops.tanh" in objects["py:function"] and set(NAMES) - indexed == set()
    assert '"tanh"' in (out / "searchindex.js").read_text(encoding="utf-8")
