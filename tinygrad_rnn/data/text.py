"""Text to batches: text -> sentences -> tokens -> Vocabulary -> ids -> batches. NLTK does the linguistics.

Every step is a plain function, so that one can stop, look and go on by oneself:

    sentences = tokenize(read_text("book.txt"))             # lists of tokens
    train, valid = train_valid_split(sentences)
    vocabulary = Vocabulary.build(train, size=4000)
    ids = [vocabulary.encode_sentence(s) for s in train]    # START w1 ... wn END
    for batch in stream(ids, batch_size=32, steps=24, start=vocabulary.start): ...

Batches are time-major, (T,B), and stand one token ahead of themselves: `targets[t]` follows `inputs[t]`. A weight
of 1 marks the targets that count, which are the same whatever the batching: every token but START.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any, Literal

import numpy as np

from tinygrad_rnn.backend import to_device

PADDING = "PADDING"
UNKNOWN_TOKEN = "UNKNOWN_TOKEN"
SENTENCE_START = "SENTENCE_START"
SENTENCE_END = "SENTENCE_END"
SPECIALS = (PADDING, UNKNOWN_TOKEN, SENTENCE_START, SENTENCE_END)

Ids = np.ndarray[Any, Any]
"""A sequence of token ids, (T,) int64."""
Level = Literal["word", "char"]
Note = Callable[[str], None]


class TextError(ValueError):
    """A user's mistake about text, in one sentence."""


# --- Reading ---------------------------------------------------------------------------------------------------


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, with or without a byte order mark; line ends become \\n.

    Raises TextError for a file that is missing, empty, binary or in another encoding."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise TextError(f"{name}: cannot be read: {error.strerror or error}") from None
    bad, what = raw.find(b"\0"), "a NUL byte"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if bad < 0 or error.start < bad:
            bad, what = error.start, f"the byte 0x{raw[error.start]:02x} (a file in another encoding?)"
    if bad >= 0:
        line = raw.count(b"\n", 0, bad) + 1
        raise TextError(f"{name}: UTF-8 text was expected, got {what} at byte {bad:,}, line {line:,}")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise TextError(f"{name}: some text was expected, got an empty file")
    return text


def read_csv(path: str | os.PathLike[str], column: str | int = 0) -> list[str]:
    """The texts in a column of a CSV file whose first row names the columns; empty fields are left out.

    `column` is a name, or an index from 0 as a number or a string; a name wins. Raises TextError."""
    name = os.fspath(path)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True, strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # a field may be a whole article; the module's default is 128 KiB
    try:
        header = [field.strip() for field in next(row for row in reader if row)]
        index = _column(name, header, str(column))
        texts = []
        for row in reader:
            if row and len(row) <= index:
                raise TextError(
                    f"{name}, line {reader.line_num:,}: column {header[index]!r} (number {index}) was expected, got "
                    f"only {len(row)} columns"
                )
            if row and row[index].strip():
                texts.append(row[index])
    except csv.Error as error:
        raise TextError(f"{name}, line {reader.line_num:,}: CSV was expected: {error}") from None
    finally:
        csv.field_size_limit(limit)
    if not texts:
        raise TextError(f"{name}: texts below the header {header[index]!r} were expected, got none")
    return texts


def _column(name: str, header: list[str], column: str) -> int:
    if column in header:
        return header.index(column)
    if column.isdecimal() and int(column) < len(header):
        return int(column)
    raise TextError(
        f"{name}: there is no column {column!r}; its {len(header)} columns are {', '.join(map(repr, header))}"
    )


# --- Sentences and tokens --------------------------------------------------------------------------------------


def sentences(text: str, lines: bool = False, note: Note | None = None) -> list[str]:
    """The sentences of a text, none of them empty; a blank line always ends one. `lines`: one a line.

    NLTK's Punkt (Kiss & Strunk 2006) finds them with NLTK's English model where that is installed, and otherwise
    with a model that it learns from this text itself, without labels; `note` is then told so."""
    if lines:
        return [line.strip() for line in text.split("\n") if line.strip()]
    import nltk.tokenize  # noqa: PLC0415  (takes half a second, and batches do not need it)

    punkt: Any
    try:
        punkt = nltk.tokenize.PunktTokenizer("english")
    except LookupError:
        if note is not None:
            note(
                "NLTK's Punkt model is not installed, so sentences are found by one trained on this text "
                "(python -m nltk.downloader punkt_tab installs it)."
            )
        punkt = nltk.tokenize.PunktSentenceTokenizer(text)
    paragraphs = (" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
    return [sentence for paragraph in paragraphs for sentence in punkt.tokenize(paragraph)]


def words(sentence: str, lowercase: bool = True) -> list[str]:
    """The words and punctuation marks of a sentence, by the rules of the Penn Treebank: "don't" is do, n't."""
    return list(_word_tokenizer().tokenize(sentence.lower() if lowercase else sentence))


@cache
def _word_tokenizer() -> Any:
    # What nltk.word_tokenize(..., preserve_line=True) runs; without that option it would ask for Punkt's data.
    import nltk.tokenize  # noqa: PLC0415

    return nltk.tokenize.NLTKWordTokenizer()


def characters(sentence: str) -> list[str]:
    """The characters (code points) of a sentence."""
    return list(sentence)


def tokenize(
    text: str | Iterable[str],
    level: Level | str = "word",
    lines: bool = False,
    lowercase: bool | None = None,
    note: Note | None = None,
) -> list[list[str]]:
    """Sentences of tokens, from one text or several; no sentence is empty.

    Words are lower-cased unless told otherwise, characters are not. At the character level each text stays one
    unbroken sequence, newlines included, as char-rnn reads it; with `lines` every line is a sequence of its own
    (names, say). Raises TextError where nothing is left."""
    texts = [text] if isinstance(text, str) else list(text)
    if level == "word":
        lowercase = True if lowercase is None else lowercase
        # One text for all, so that Punkt learns from all of it; the blank line keeps their sentences apart.
        found = [words(sentence, lowercase) for sentence in sentences("\n\n".join(texts), lines, note)]
    elif level == "char":
        whole = [text.lower() for text in texts] if lowercase else texts
        found = [characters(part) for part in (sentences("\n".join(whole), lines=True) if lines else whole)]
    else:
        raise TextError(f'level must be "word" or "char", got {level!r}')
    kept = [tokens for tokens in found if tokens]
    if not kept:
        raise TextError("the text must have at least one token, got none")
    return kept


def detokenize(tokens: Sequence[str], level: Level | str = "word") -> str:
    """A readable sentence from its tokens, as near to what `tokenize` was given as rules can tell."""
    if level == "char":
        return "".join(tokens)
    import nltk.tokenize  # noqa: PLC0415

    return str(nltk.tokenize.TreebankWordDetokenizer().detokenize(list(tokens)))


# --- The vocabulary --------------------------------------------------------------------------------------------


class Vocabulary:
    """Tokens and their ids: four specials, then the tokens of a corpus, the most common first.

    A token of the corpus that is spelled like a special gets an id of its own, so that no text can end a sentence
    by saying SENTENCE_END; `encode` never gives a special's id but `unknown`."""

    padding, unknown, start, end = range(len(SPECIALS))

    def __init__(self, tokens: Iterable[str]) -> None:
        """The vocabulary of these tokens, to which the specials are added. Raises TextError for a token named twice."""
        self.tokens: list[str] = [*SPECIALS, *tokens]
        self._ids = {token: id for id, token in enumerate(self.tokens[len(SPECIALS) :], len(SPECIALS))}
        if len(self._ids) != len(self.tokens) - len(SPECIALS):
            twice = next(token for token, count in Counter(self.tokens[len(SPECIALS) :]).items() if count > 1)
            raise TextError(f"the tokens of a vocabulary must differ, got {twice!r} twice")

    @classmethod
    def build(cls, sentences: Iterable[Sequence[str]], size: int | None = None, *, min_count: int = 1) -> Vocabulary:
        """The `size - 4` most common tokens (all of them by default) that occur at least `min_count` times; of
        equally common ones the first to appear. Raises TextError where there are not that many."""
        counts = Counter(chain.from_iterable(sentences))
        tokens = [token for token, count in counts.most_common() if count >= min_count]  # a stable sort
        if not tokens:
            raise TextError(f"a vocabulary needs a token that occurs {min_count} times or more, got none")
        if size is None:
            return cls(tokens)
        least, most = len(SPECIALS) + 1, len(SPECIALS) + len(tokens)
        if not least <= size <= most:
            raise TextError(
                f"the size of the vocabulary must be from {least} to {most:,}, got {size:,}: it counts {len(SPECIALS)} "
                f"specials, and the text has {len(tokens):,} different tokens"
                + (f" that occur {min_count} times or more" if min_count > 1 else "")
            )
        return cls(tokens[: size - len(SPECIALS)])

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Whether a text's token has an id of its own."""
        return token in self._ids

    def __eq__(self, other: object) -> bool:
        return self.tokens == other.tokens if isinstance(other, Vocabulary) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal by its tokens, a list that one may look at and change

    def __repr__(self) -> str:
        return f"Vocabulary({len(self):,} tokens)"

    def encode(self, tokens: Iterable[str]) -> Ids:
        """The ids (T,) int64; `unknown` for tokens that the vocabulary does not have."""
        return np.array([self._ids.get(token, self.unknown) for token in tokens], dtype=np.int64)

    def encode_sentence(self, tokens: Iterable[str]) -> Ids:
        """START, the ids of the tokens, END: (T + 2,) int64."""
        return np.concatenate(([self.start], self.encode(tokens), [self.end]))

    def decode(self, ids: Iterable[Any]) -> list[str]:
        """The tokens of ids. Raises TextError for an id that the vocabulary does not have."""
        numbers = [int(id) for id in ids]
        for id in numbers:
            if not 0 <= id < len(self):
                raise TextError(f"an id from 0 to {len(self) - 1:,} was expected, got {id:,}")
        return [self.tokens[id] for id in numbers]

    def to_list(self) -> list[str]:
        """All tokens in the order of their ids, specials first."""
        return list(self.tokens)

    @classmethod
    def from_list(cls, tokens: Sequence[str]) -> Vocabulary:
        """What `to_list` gave. Raises TextError where it does not begin with the specials."""
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise TextError(f"a vocabulary begins with {', '.join(SPECIALS)}; got {list(tokens[: len(SPECIALS)])}")
        return cls(tokens[len(SPECIALS) :])


def train_valid_split(
    sentences: Sequence[list[str]], fraction: float = 0.1, *, unbroken: bool | None = None
) -> tuple[list[list[str]], list[list[str]]]:
    """(train, valid): the last `fraction` of the sentences validates, one sentence at the least.

    `unbroken` counts tokens instead, and cuts within a sequence where the boundary falls: the default where there is
    only one. Raises TextError where a part would be empty."""
    if not 0 < fraction < 1:
        raise TextError(f"the fraction that validates must be above 0 and below 1, got {fraction}")
    if unbroken is None:
        unbroken = len(sentences) == 1
    total = sum(map(len, sentences)) if unbroken else len(sentences)
    if total < 2:
        what = "tokens" if unbroken else "sentences"
        raise TextError(f"a text to train and validate on must have at least 2 {what}, got {total}")
    cut = total - min(max(round(total * fraction), 1), total - 1)
    if not unbroken:
        return list(sentences[:cut]), list(sentences[cut:])
    train, valid = [], []
    for sequence in sentences:
        train.append(sequence[:cut])
        valid.append(sequence[cut:])
        cut = max(cut - len(sequence), 0)
    return [part for part in train if part], [part for part in valid if part]


# --- Batches ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Teacher forcing: the model reads inputs (T,B) and is asked for targets (T,B), both int64.

    weights (T,B) float32 are 1 where the target counts and 0 elsewhere; lengths (B,) int64 are the rows' own where
    they end at different steps, and None where all run through."""

    inputs: Ids
    targets: Ids
    weights: np.ndarray[Any, Any]
    lengths: Ids | None = None

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int((self.weights > 0).sum())

    def to(self, device: str) -> Batch:
        """The same batch on "cpu" or "cuda"."""
        lengths = None if self.lengths is None else to_device(self.lengths, device)
        arrays = (to_device(array, device) for array in (self.inputs, self.targets, self.weights))
        return replace(self, **dict(zip(("inputs", "targets", "weights"), arrays, strict=True)), lengths=lengths)


def bucketed(
    encoded: Iterable[Ids],
    batch_size: int,
    *,
    padding: int = 0,
    rng: np.random.Generator | None = None,
    max_length: int | None = None,
) -> Iterator[Batch]:
    """Batches of whole sentences (START ... END) of like length, padded to the longest.

    With `rng` the sentences of equal length and the batches are shuffled; without it the shortest come first. A
    sentence of more than `max_length` targets is read in pieces that each begin anew with the token that the one
    before ended with, so that every target is still asked for once. Raises TextError where there is no target."""
    _at_least_one("batch_size", batch_size)
    step = None if max_length is None else _at_least_one("max_length", max_length)
    pieces = [
        ids[begin : begin + (step or len(ids)) + 1]
        for ids in encoded
        for begin in range(0, len(ids) - 1, step or len(ids))
    ]
    if not pieces:
        raise TextError("batches need a sequence of at least 2 ids, got none")
    if rng is not None:
        pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    pieces.sort(key=len)
    begins = np.arange(0, len(pieces), batch_size)
    for begin in begins if rng is None else rng.permutation(begins):
        yield _padded(pieces[begin : begin + batch_size], padding)


def _padded(rows: list[Ids], padding: int) -> Batch:
    lengths = np.array([len(row) - 1 for row in rows], dtype=np.int64)
    ids = np.full((int(lengths.max()) + 1, len(rows)), padding, dtype=np.int64)
    for b, row in enumerate(rows):
        ids[: len(row), b] = row
    weights = (np.arange(len(ids) - 1)[:, None] < lengths).astype(np.float32)
    return Batch(np.where(weights > 0, ids[:-1], padding), ids[1:], weights, lengths)


def stream(encoded: Iterable[Ids], batch_size: int, steps: int, *, start: int) -> Iterator[Batch]:
    """All sequences end to end, laid out as `batch_size` contiguous streams and cut into windows of `steps`: the
    row of a batch goes on where the same row of the batch before ended (truncated BPTT with a carried state).

    Every token is the target of one row at one step; targets that are START do not count, and the first token of
    all has nothing before it. The streams differ by at most one token, and the shorter ones end in a target that
    does not count. The last window may be short. A text of fewer than `batch_size * steps` targets gets fewer
    streams, of `steps` at the least where it has that many. Raises TextError where there is no target."""
    _at_least_one("batch_size", batch_size)
    _at_least_one("steps", steps)
    sequences = list(encoded)
    flat = np.concatenate(sequences) if sequences else np.zeros(0, dtype=np.int64)
    if len(flat) < 2:
        raise TextError(f"a stream needs at least 2 ids, got {len(flat)}")
    total = len(flat) - 1
    rows = min(batch_size, max(total // steps, 1))
    begins = np.arange(rows + 1) * total // rows
    positions = begins[:-1] + np.arange(-(-total // rows))[:, None]  # (T,B): where in the text each input stands
    inside = positions < begins[1:]
    positions = np.minimum(positions, total - 1)
    inputs = np.where(inside, flat[positions], start)
    targets = np.where(inside, flat[positions + 1], start)
    weights = (targets != start).astype(np.float32)
    return (
        Batch(inputs[t : t + steps], targets[t : t + steps], weights[t : t + steps])
        for t in range(0, len(inputs), steps)
    )


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise TextError(f"{name} must be at least 1, got {value}")
    return value
