"""The default corpus, which every reader has: the English docstrings of their own Python's standard library.

A docstring goes through `paragraphs` and `prose_sentences`, which keep what reads as English sentences and drop
code, doctests, tables, option lists, signatures and addresses. A sentence that has been said before is dropped too, so
that what validates a model is nothing it has learnt by heart. What comes out depends on the library's sources alone.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinygrad_rnn.cache import text_digest
from tinygrad_rnn.data.library import library_files, library_text, parsed, statements_of
from tinygrad_rnn.data.messages import Note, TextError

CACHE_FORMAT = 1
"""Changes whenever the rules below do, so that no cache of another version is read."""
LEAST_WORDS = 10_000


@dataclass(frozen=True)
class Prose:
    """English sentences, in an order in which any part is a fair sample, those of a docstring together.

    words: separated by spaces; sha256: of the sentences, one a line, in UTF-8."""

    sentences: list[str]
    name: str
    words: int
    sha256: str


def standard_library(cache: str | os.PathLike[str] | None = None, note: Note | None = None) -> Prose:
    """The sentences in the docstrings of this Python's standard library, about 110,000 words.

    Reading them takes some seconds, once; they are then kept in the folder `cache` (by default the user's own cache
    folder). `note` is told what takes time and what cannot be kept. Raises TextError where this Python comes without
    the sources of its library."""

    def read(library: Path) -> str:
        if note is not None:
            note("The docstrings of the Python standard library are read, once, as the default corpus.")
        text = "\n".join(library_sentences(library))
        if len(text.split()) < LEAST_WORDS:
            raise TextError(
                f"{library}: this Python has no sources of its standard library to read; name a text instead"
            )
        return text

    text = library_text(str(CACHE_FORMAT), read, cache, note, called="The default corpus")
    name = f"docstrings of the Python {platform.python_version()} standard library"
    return Prose(text.split("\n"), name, len(text.split()), text_digest(text))


# --- Docstrings ------------------------------------------------------------------------------------------------


def library_sentences(library: Path) -> list[str]:
    """The sentences of the docstrings below a folder, each once, by docstring in the order of the docstrings' hashes:
    shuffled, and the same on every machine."""
    found = {text for path in library_files(library) for text in docstrings(path)}
    ordered = sorted(found, key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    once: dict[str, str] = {}
    for text in ordered:
        for paragraph in paragraphs(text):
            for sentence in prose_sentences(paragraph):
                once.setdefault(sentence.lower(), sentence)
    return list(once.values())


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module and of all its classes and functions; none where it cannot be read."""
    tree = parsed(path)
    for node in () if tree is None else statements_of(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


BULLET = re.compile(r"\s*(?:[-*+o]|\(?\d+[.)]|\(?[a-z]\))\s+")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a docstring, each as one line: they end at a blank line, an item of a list, or where the
    indentation changes, so that code and tables do not run into the prose around them."""
    block: list[str] = []
    indent = 0
    for line in [*text.expandtabs().split("\n"), ""]:
        body, bullet = line.strip(), BULLET.match(line)
        inset = len(line) - len(line.lstrip())
        if block and (not body or bullet or inset != indent):
            yield " ".join(block)
            block = []
        if body:
            indent = bullet.end() if bullet else inset
            block.append(line[indent:].strip())


# Markup whose words stay: :func:`open`, ``open``, `open`, **open**, *open*.
ROLE = re.compile(r":[a-z:]+:`([^`]+)`")
MARKED = re.compile(r"(``|`|\*\*|\*)(?=\S)([^`*]+?)(?<=\S)\1")
ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "Mr.", "Dr.", "No.", "Fig.", "v.")
BOUNDARY = re.compile(
    "".join(rf"(?<!\b{re.escape(each)})" for each in ABBREVIATIONS)
    + r"(?<!\b[A-Z]\.)(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+(?=[\"'(]?[A-Z])"
)
SYMBOLS = re.compile(r"[][=<>{}|\\^~@#$*`+&_/]|::|--|\.\.|\w:\w|www\.")
PLAIN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*|\d+(?:\.\d+)*|e\.g|i\.e")
GLUED = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)(?<!vs)\. ['\"]?[a-z]|^\S+ - ")
ENDS = re.compile(r"[A-Za-z0-9)\"'][.!?][\"')]?$")


def prose_sentences(paragraph: str) -> list[str]:
    """The English sentences of a paragraph, as they stand, without markup. A rule finds their ends, not Punkt, so that
    they do not depend on what is installed."""
    plain = MARKED.sub(r"\2", ROLE.sub(r"\1", paragraph))
    found = (" ".join(sentence.split()) for sentence in BOUNDARY.split(plain))
    return [sentence for sentence in found if is_prose(sentence)]


def is_prose(sentence: str) -> bool:
    """Whether it reads as an English sentence: from a capital to a full stop, 4 to 60 words of letters or numbers and
    none of code, few of them in capitals, and brackets and quotation marks that are closed."""
    if not (sentence.isascii() and sentence[:1].isupper() and ENDS.search(sentence)):
        return False
    if SYMBOLS.search(sentence) or GLUED.search(sentence):
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2:
        return False
    words = sentence.split()
    shouted = sum(len(word) > 1 and word.isupper() for word in words)
    return (
        4 <= len(words) <= 60
        and shouted <= 0.3 * len(words)
        and all(PLAIN.fullmatch(word.strip(".,;:!?\"'()")) for word in words if word != "-")
    )
