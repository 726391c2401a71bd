"""The default corpus: English sentences, the same ones every time, from the cache or not."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import TextError
from tinygrad_rnn.data import corpus as module
from tinygrad_rnn.data.corpus import Prose, docstrings, is_prose, paragraphs, prose_sentences, standard_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Prose:
    return standard_library(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of two files, and no more words asked for."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "one.py").write_text('"""The first module says something."""\n', encoding="utf-8")
    (folder / "two.py").write_text('def f():\n    """The second one says more."""\n', encoding="utf-8")
    monkeypatch.setattr(module, "LEAST_WORDS", 1)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
    return folder


# --- Sentences -------------------------------------------------------------------------------------------------


pieces = st.sampled_from(
    ["The cat ", "sat there. ", "\n", "\n\n", "    ", "- ", "`", "**", "(", ")", '"', "e.g. ", "= "]
)


@given(st.text() | st.lists(pieces).map("".join))
def test_whatever_a_docstring_says_what_is_kept_is_prose_on_one_line(text: str) -> None:
    for paragraph in paragraphs(text):
        for sentence in prose_sentences(paragraph):
            assert sentence == " ".join(sentence.split())
            assert is_prose(sentence)


@given(st.lists(st.sampled_from(["The cat sat there.", "Is it so?", "It is (as they say) so.", "No, it is not!"])))
def test_plain_sentences_are_found_one_by_one(sentences: list[str]) -> None:
    assert prose_sentences(" ".join(sentences)) == [each for each in sentences if len(each.split()) >= 4]


DOCSTRING = """Open the file and read it.

The *mode* is ``text``, e.g. for a book, and :func:`open` is called. A second
sentence follows (in brackets, too).

    >>> open("The file is here.")
    The result is shown here.

===========  =================================
Column       What stands in the table here.
===========  =================================

- The first item of a list is a whole
  sentence of two lines.
- item: this is an option and no sentence

open(file, mode) -> a file object is returned here.
See https://example.org/page for the rest of it.
    x = f(y)

What is indented does not belong
    to the sentence that stands above it.

The last line has no end"""


def test_a_docstring_keeps_its_prose_and_loses_the_rest() -> None:
    assert [sentence for paragraph in paragraphs(DOCSTRING) for sentence in prose_sentences(paragraph)] == [
        "Open the file and read it.",
        "The mode is text, e.g. for a book, and open is called.",
        "A second sentence follows (in brackets, too).",
        "The first item of a list is a whole sentence of two lines.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "no capital begins this sentence.",
        "Too short.",
        "There is no full stop here",
        "Return the value a[i] of it.",
        "Return the some_name of this object.",
        "Return the os.path of this object.",
        "There is (a bracket that is not closed.",
        'There is a "quotation that is not closed.',
        "THIS IS A HEADING.",
        "The end. and then it goes on.",
        "Name - the name of a thing.",
        "Über alles there is a sentence.",
    ],
)
def test_this_is_not_an_english_sentence(sentence: str) -> None:
    assert not is_prose(sentence)


def test_docstrings_are_those_of_modules_classes_and_functions_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        '"""Module."""\nx = """Not one."""\ntry:\n    class A:\n        """Class."""\n'
        '        async def f(self):\n            """Method."""\nexcept E:\n    def g():\n        "Function."\n',
        encoding="utf-8",
    )
    assert sorted(filter(None, docstrings(path))) == ["Class.", "Function.", "Method.", "Module."]


@pytest.mark.parametrize("content", [b"def (", b"\xff\xfe", b"x = '\0'"])
def test_a_file_that_is_not_python_has_no_docstrings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.py").write_bytes(content)
    assert list(docstrings(tmp_path / "bad.py")) == []


# --- The corpus ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_standard_library_has_a_hundred_thousand_words(library: Prose) -> None:
    assert 90_000 <= library.words <= 140_000
    assert library.words == sum(len(sentence.split()) for sentence in library.sentences)
    assert library.sha256 == hashlib.sha256("\n".join(library.sentences).encode()).hexdigest()


@pytest.mark.slow
def test_every_sentence_is_there_once_and_reads_as_prose(library: Prose) -> None:
    assert len({sentence.lower() for sentence in library.sentences}) == len(library.sentences)
    assert all(is_prose(sentence) for sentence in library.sentences)


@pytest.mark.slow
def test_the_last_tenth_is_a_fair_sample(library: Prose) -> None:
    """As many of its words are new as in any other tenth."""
    sentences = [re.findall("[a-z]+", sentence.lower()) for sentence in library.sentences]
    size = len(sentences) // 10

    def new(begin: int) -> float:
        known = set(chain.from_iterable(sentences[:begin] + sentences[begin + size :]))
        words = list(chain.from_iterable(sentences[begin : begin + size]))
        return sum(word not in known for word in words) / len(words)

    others = [new(tenth * size) for tenth in range(9)]
    assert 0.7 * min(others) < new(len(sentences) - size) < 1.3 * max(others)


@pytest.mark.slow
def test_another_process_with_another_hash_seed_finds_the_same(library: Prose, tmp_path: Path) -> None:
    program = "import sys; from tinygrad_rnn.data.corpus import *; print(standard_library(sys.argv[1]).sha256)"
    for seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(tmp_path / seed)]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        assert done.stdout.decode().strip() == library.sha256


@pytest.mark.slow
def test_hash_seed_and_order_of_files_change_nothing(small: Path) -> None:
    names = [f"The number {word} is here." for word in ("one", "two", "three", "four", "five", "six", "seven")]
    for folder in ("a", "b"):
        (small / folder).mkdir()
        for i, name in enumerate(names if folder == "a" else reversed(names)):
            (small / folder / f"m{i}.py").write_text(f'"""{name}"""', encoding="utf-8")
    program = "import sys; from tinygrad_rnn.data.corpus import *; print(library_sentences(Path(sys.argv[1])))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(small / folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for folder in ("a", "b")
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_what_is_installed_or_tests_the_library_does_not_belong_to_it(small: Path) -> None:
    for folder in ("site-packages", "test", "idle_test"):
        (small / "x" / folder).mkdir(parents=True)
        (small / "x" / folder / "m.py").write_text('"""This must not be found."""', encoding="utf-8")
    assert set(module.library_sentences(small)) == {"The first module says something.", "The second one says more."}


# --- The cache -------------------------------------------------------------------------------------------------


def test_the_cache_is_read_the_second_time(small: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    first = standard_library(tmp_path / "cache", notes.append)
    (small / "one.py").unlink()
    assert standard_library(tmp_path / "cache", notes.append) == first
    assert len(notes) == 1


def _flip(raw: bytes) -> bytes:
    return raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-5], _flip, lambda raw: b"", lambda raw: b"\xff\xfe", lambda raw: b"Hello\nworld"]
)
def test_a_damaged_cache_is_made_anew(small: Path, tmp_path: Path, damage: object) -> None:
    first = standard_library(tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))  # type: ignore[operator]
    assert standard_library(tmp_path / "cache") == first
    assert kept.read_bytes() == whole


def test_a_cache_of_another_python_or_of_other_rules_is_not_read(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard_library(tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(module, "CACHE_FORMAT", 999)
    kept.rename(kept.with_name(kept.name.replace("-1-", "-999-")))
    notes: list[str] = []
    standard_library(tmp_path / "cache", notes.append)
    assert len(notes) == 1


def test_a_folder_that_cannot_be_written_is_a_note_and_no_failure(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    notes: list[str] = []
    assert standard_library(tmp_path / "file" / "cache", notes.append).words == 10
    assert len(notes) == 2
    assert notes[1].startswith("The default corpus could not be kept for the next time: ")


def test_a_write_that_fails_leaves_nothing_behind(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert standard_library(tmp_path / "cache").words == 10
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_users_own_cache_folder_is_the_default(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME", str(tmp_path / "mine"))
    standard_library()
    assert len(list((tmp_path / "mine" / "tinygrad_rnn").iterdir())) == 1


def test_a_python_without_the_sources_of_its_library_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(
        TextError, match="this Python has no sources of its standard library to read; name a text instead"
    ):
        standard_library(tmp_path / "cache")
