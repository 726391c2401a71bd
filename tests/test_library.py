"""Examples from the sources of the reader's own Python: what is taken, the same every time, and from the cache."""

from __future__ import annotations

import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tinygrad_rnn.data import TextError, library, library_examples
from tinygrad_rnn.data.library import library_files
from tinygrad_rnn.data.library_examples import KINDS, PACKAGES, library_identifiers, package_docstrings

CODE = '''
class _BigThing(Exception):
    """One two three."""
    LIMIT_ = 1
    TOO_MANY, other = 2, 3

    async def _read_all(self, /, size, *rest, **Named):
        if size:
            INNER = Both = 4
        def both(big_thing): pass

class Again: pass
def again(x): pass
'''


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library with a package of each name, and an empty cache."""
    folder = tmp_path / "library"
    for name in PACKAGES:
        (folder / name / "test").mkdir(parents=True)
        text = f'"""What {name} is\n    and does.\n\nThe rest of it."""\n' + CODE.replace("three", name)
        (folder / name / "__init__.py").write_text(text, encoding="utf-8")
        (folder / name / "test" / "hidden.py").write_text('"""This must not be found."""', encoding="utf-8")
    (folder / "other.py").write_text('"""A module of no package."""\ndef listen(): "Not three"', encoding="utf-8")
    (folder / "broken.py").write_bytes(b"def (")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "cache")
    return folder


def test_docstrings_are_those_of_the_packages_on_a_line_each(small: Path) -> None:
    texts = "What {} is and does. The rest of it.", "One two {}."
    expected = [(text.format(name), name) for name in PACKAGES for text in texts]
    assert package_docstrings() == expected


def test_a_text_that_stands_in_two_packages_is_there_once(small: Path) -> None:
    for name in PACKAGES[:2]:
        (small / name / "more.py").write_text('"""Said in both of them."""', encoding="utf-8")
    assert [name for text, name in package_docstrings() if text.startswith("Said")] == [PACKAGES[0]]


def test_identifiers_are_taken_that_name_one_kind_of_thing(small: Path) -> None:
    found = library_identifiers(np.random.default_rng(0))
    assert sorted(found, key=lambda pair: (KINDS.index(pair[1]), pair)) == [
        ("bigthing", "class"),  # written otherwise than the parameter big_thing
        ("inner", "constant"),
        ("limit", "constant"),
        ("both", "function"),
        ("listen", "function"),
        ("read_all", "function"),
        ("big_thing", "parameter"),
        ("named", "parameter"),
        ("rest", "parameter"),
        ("self", "parameter"),
        ("size", "parameter"),
    ]


def test_of_identifiers_as_many_of_each_kind_are_drawn_by_the_generator_alone(small: Path) -> None:
    def drawn(seed: int) -> list[tuple[str, str]]:
        return library_identifiers(np.random.default_rng(seed), 1)

    assert Counter(kind for _, kind in drawn(0)) == dict.fromkeys(KINDS, 1)
    assert drawn(0) == drawn(0) and len({tuple(drawn(seed)) for seed in range(9)}) > 1


def test_the_library_is_read_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = package_docstrings(), library_identifiers(np.random.default_rng(0))
    monkeypatch.setattr(library_examples, "parsed", None)
    monkeypatch.setattr(library_examples, "docstrings", None)
    assert (package_docstrings(), library_identifiers(np.random.default_rng(0))) == first


def test_a_library_without_a_package_or_without_sources_says_so(small: Path) -> None:
    (small / "tkinter" / "__init__.py").unlink()
    sentence = r"this Python comes without the sources of tkinter: name a file of examples with --data instead"
    with pytest.raises(TextError, match=sentence):
        package_docstrings()
    for path in library_files(small):
        path.unlink()
    with pytest.raises(TextError, match=r"without the sources of its standard library"):
        library_identifiers(np.random.default_rng(0))


def test_the_files_of_the_library_are_in_the_order_of_their_paths(small: Path) -> None:
    found = [path.relative_to(small).as_posix() for path in library_files(small)]
    assert found == sorted(found) and "other.py" in found and not any("test" in name.split("/") for name in found)
    assert [path.parent.name for path in library_files(small, "email", "asyncio")] == ["asyncio", "email"]


@pytest.mark.slow
def test_this_python_s_library_has_enough_of_every_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path)
    docstrings, names = package_docstrings(), library_identifiers(np.random.default_rng(0))
    for found, labels, least in ((docstrings, PACKAGES, 100), (names, KINDS, 1000)):
        counts = Counter(label for _, label in found)
        assert counts.keys() == {*labels} and min(counts.values()) > least
        assert len({text for text, _ in found}) == len(found)
