"""The corpus of a language model: the texts that its settings name, in tokens, read bit by bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tinygrad_rnn.data.corpus import standard_library
from tinygrad_rnn.data.identifiers import library_names
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.readers import all_files, csv_texts, read_parts
from tinygrad_rnn.data.tokenized import TokenizedText
from tinygrad_rnn.data.tokenizers import TokenizerFacts, tokenizer_facts
from tinygrad_rnn.data.tokens import token_runs, word_units
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.tasks.language.dealt_text import dealt_text
from tinygrad_rnn.tasks.language.held_out import LineOrder
from tinygrad_rnn.tasks.language.options import LanguageOptions


@dataclass(frozen=True)
class Corpus:
    """Sentences of tokens, and where they are from; those that validate, where they are a text of their own."""

    name: str
    text: TokenizedText
    sha256: str
    valid: TokenizedText | None = None
    parts: list[tuple[str, int]] = field(default_factory=list)
    """The texts by name, and their numbers of characters."""
    sorted: bool = False
    """Whether the lines stand nearly in alphabetical order."""
    tokenizer: TokenizerFacts = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """The number of tokens, sentence marks not counted."""
        return len(self.text.sentences.flat)


def read_corpus(settings: LanguageOptions, note: Note, ranks: Ranks = ONE_PROCESS) -> Corpus:
    """The corpus that the settings name, in tokens, read bit by bit; `ranks` share out finding its words. Raises
    TextError."""
    lines, names = settings.lines, list[str]()
    texts: Iterable[Iterable[str]]
    if settings.csv is not None:
        texts, name = _csv(settings, settings.csv), settings.csv
    elif settings.text:
        names, name = all_files(settings.text, note), ", ".join(settings.text)
        texts = (read_parts(each, settings.encoding) for each in names)
    else:
        library = library_names(note=note) if settings.corpus == "identifiers" else standard_library(note=note)
        # One sentence a line: Punkt has split it already.
        texts, name, lines = [["\n".join(library.sentences)]], library.name, not settings.unbroken
    seen, order = SeenTexts(), LineOrder()
    passing = seen.passing(texts, order if settings.unbroken else None)
    text = _tokenized(settings, passing, lines, note, ranks, order)
    valid, sizes = None, list(zip(names, seen.sizes, strict=False))
    if settings.valid is not None:
        lines, own = settings.lines, settings.valid
        name = f"{name}; to validate on {own}"
        files = [] if settings.csv is not None else all_files([own], note)
        texts = _csv(settings, own) if settings.csv is not None else (read_parts(f, settings.encoding) for f in files)
        seen.digest.update(b"\x00\x00")
        valid = _tokenized(settings, seen.passing(texts), lines, note, ranks)
    facts = tokenizer_facts(settings.level, lines)
    return Corpus(name, text, seen.digest.hexdigest(), valid, sizes, order.nearly_sorted, facts)


def _csv(settings: LanguageOptions, path: str) -> Iterator[list[str]]:
    found = csv_texts(path, settings.column, settings.encoding, settings.skip_initial_space)
    return ([each] for each in found)


def _tokenized(
    settings: LanguageOptions,
    texts: Iterable[Iterable[str]],
    lines: bool,
    note: Note,
    ranks: Ranks,
    order: LineOrder | None = None,
) -> TokenizedText:
    """Texts in tokens, whose sentences `order` sees, unless the text is unbroken."""
    if ranks.size > 1 and settings.level == "word":
        found = dealt_text(*word_units(texts, lines, settings.lowercased, note), ranks)
        for sentence in found.to_lists() if order is not None else ():
            order.see(" ".join(sentence))  # type: ignore[union-attr]  # there is one
        return found
    runs = token_runs(texts, settings.level, lines, settings.lowercased, note)
    if order is None or settings.unbroken:
        return TokenizedText.of(runs)
    between = "" if settings.level == "char" else " "

    def seen() -> Iterator[tuple[list[str], bool]]:
        for tokens, ended in runs:
            order.see(between.join(tokens))
            yield tokens, ended

    return TokenizedText.of(seen())


class SeenTexts:
    """What is known of texts that were passed on in parts: a hash of all, and the characters of each."""

    def __init__(self) -> None:
        self.digest, self.sizes = hashlib.sha256(), list[int]()

    def passing(self, texts: Iterable[Iterable[str]], order: LineOrder | None = None) -> Iterator[Iterator[str]]:
        """The texts, each to be read to its end before the next; `order` sees their lines."""
        for number, parts in enumerate(texts):
            self.digest.update(b"\x00" if number else b"")
            self.sizes.append(0)
            yield self._parts(parts, order)

    def _parts(self, parts: Iterable[str], order: LineOrder | None) -> Iterator[str]:
        for part in parts:
            self.digest.update(part.encode())
            self.sizes[-1] += len(part)
            for line in part.split("\n") if order is not None else ():
                order.see(line)  # type: ignore[union-attr]  # there is one
            yield part
