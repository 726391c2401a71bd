"""Text to batches: nothing is lost on the way, nothing counts twice, and mistakes are one sentence."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import nltk.tokenize
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import (
    Batch,
    TextError,
    Vocabulary,
    bucketed,
    detokenize,
    read_csv,
    read_text,
    stream,
    tokenize,
    train_valid_split,
)
from tinygrad_rnn.data.readers import read_texts
from tinygrad_rnn.data.tokens import characters, sentences, words, words_and_marks
from tinygrad_rnn.data.vocabulary import SPECIALS, Ids

START, END = Vocabulary.start, Vocabulary.end
PLAIN = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
TOKENS = PLAIN | st.sampled_from(SPECIALS)
corpora = st.lists(st.lists(TOKENS, min_size=1, max_size=8), min_size=1, max_size=12)
small = st.integers(1, 6)


def encoded(corpus: list[list[str]]) -> tuple[Vocabulary, list[Ids]]:
    vocabulary = Vocabulary.build(corpus)
    return vocabulary, [vocabulary.encode_sentence(sentence) for sentence in corpus]


def counted(batches: list[Batch]) -> Counter[int]:
    """The targets that count, in all batches."""
    return Counter(int(i) for batch in batches for i in batch.targets[batch.weights > 0])


# --- The vocabulary --------------------------------------------------------------------------------------------


@given(corpora)
def test_what_a_whole_vocabulary_encodes_it_decodes(corpus: list[list[str]]) -> None:
    vocabulary = Vocabulary.build(corpus)
    for sentence in corpus:
        ids = vocabulary.encode(sentence)
        assert ids.dtype == np.int64
        assert vocabulary.decode(ids) == sentence
        assert vocabulary.encode_sentence(sentence).tolist() == [START, *ids, END]


@given(corpora)
def test_no_token_of_a_text_is_taken_for_a_special(corpus: list[list[str]]) -> None:
    vocabulary = Vocabulary.build(corpus)
    for sentence in [*corpus, list(SPECIALS)]:
        for token, id in zip(sentence, vocabulary.encode(sentence), strict=True):
            assert (id >= len(SPECIALS)) == (token in vocabulary)
            assert id >= len(SPECIALS) or id == vocabulary.unknown


@given(corpora, st.data())
def test_a_vocabulary_has_the_most_common_tokens_and_of_equals_the_first(
    corpus: list[list[str]], data: st.DataObject
) -> None:
    flat = [token for sentence in corpus for token in sentence]
    order = sorted(dict.fromkeys(flat), key=lambda token: (-flat.count(token), flat.index(token)))
    size = data.draw(st.integers(1, len(order)))
    vocabulary = Vocabulary.build(corpus, size + len(SPECIALS))
    assert vocabulary.tokens == [*SPECIALS, *order[:size]]
    assert len(vocabulary) == size + len(SPECIALS)
    assert all((token in vocabulary) == (token in order[:size]) for token in order)


@given(corpora)
def test_a_vocabulary_comes_back_from_its_list(corpus: list[list[str]]) -> None:
    vocabulary = Vocabulary.build(corpus)
    again = Vocabulary.from_list(vocabulary.to_list())
    assert again == vocabulary
    assert [again.encode(s).tolist() for s in corpus] == [vocabulary.encode(s).tolist() for s in corpus]
    assert vocabulary != Vocabulary([*vocabulary.tokens[len(SPECIALS) :], "one more token"])


def test_rare_tokens_are_unknown_where_a_least_count_is_asked_for() -> None:
    vocabulary = Vocabulary.build([["a", "b"], ["a", "c", "c"]], min_count=2)
    assert vocabulary.tokens == [*SPECIALS, "a", "c"]
    assert vocabulary.encode(["a", "b", "never"]).tolist() == [4, vocabulary.unknown, vocabulary.unknown]
    assert (vocabulary.padding, vocabulary.unknown, vocabulary.start, vocabulary.end) == (0, 1, 2, 3)


# --- Batches ---------------------------------------------------------------------------------------------------


def check_batch(batch: Batch) -> None:
    assert batch.inputs.shape == batch.targets.shape == batch.weights.shape
    assert batch.inputs.dtype == batch.targets.dtype == np.int64
    assert batch.weights.dtype == np.float32
    assert set(np.unique(batch.weights)) <= {0.0, 1.0}
    assert batch.tokens == batch.weights.sum()


@given(corpora, small, small)
def test_in_a_stream_every_token_counts_once_and_no_start_does(
    corpus: list[list[str]], batch_size: int, steps: int
) -> None:
    _, ids = encoded(corpus)
    batches = list(stream(ids, batch_size, steps, start=START))
    for batch in batches:
        check_batch(batch)
        assert batch.inputs.shape[0] <= steps
        assert batch.inputs.shape[1] <= batch_size
        assert batch.lengths is None
    assert counted(batches) == Counter(int(i) for sentence in ids for i in sentence[1:])


@given(corpora, small, small)
def test_the_rows_of_a_stream_are_the_text_cut_into_contiguous_parts(
    corpus: list[list[str]], batch_size: int, steps: int
) -> None:
    """Read row after row, inputs and targets are the text and the text one token on."""
    _, ids = encoded(corpus)
    text = np.concatenate(ids)
    batches = list(stream(ids, batch_size, steps, start=START))
    inputs, targets = (np.concatenate([getattr(b, name) for b in batches]) for name in ("inputs", "targets"))
    lengths = np.diff(np.arange(inputs.shape[1] + 1) * (len(text) - 1) // inputs.shape[1])
    assert lengths.max() - lengths.min() <= 1
    assert len(inputs) == lengths.max()
    assert np.concatenate([inputs[:n, b] for b, n in enumerate(lengths)]).tolist() == text[:-1].tolist()
    assert np.concatenate([targets[:n, b] for b, n in enumerate(lengths)]).tolist() == text[1:].tolist()
    assert all((targets[n:, b] == START).all() for b, n in enumerate(lengths))


@given(st.lists(PLAIN, min_size=2, max_size=40), small, small)
def test_of_an_unbroken_text_all_but_the_first_token_counts(text: list[str], batch_size: int, steps: int) -> None:
    vocabulary = Vocabulary.build([text])
    batches = list(stream([vocabulary.encode(text)], batch_size, steps, start=START))
    assert counted(batches) == Counter(vocabulary.encode(text[1:]).tolist())


@given(corpora, small, st.none() | small, st.none() | st.integers(0, 9))
def test_in_buckets_every_token_counts_once(
    corpus: list[list[str]], batch_size: int, max_length: int | None, seed: int | None
) -> None:
    _, ids = encoded(corpus)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = list(bucketed(ids, batch_size, padding=0, rng=rng, max_length=max_length))
    assert counted(batches) == Counter(int(i) for sentence in ids for i in sentence[1:])
    assert max_length is None or max(len(batch.inputs) for batch in batches) <= max_length


@given(corpora, small, st.none() | st.integers(0, 9))
def test_the_rows_of_a_bucket_are_whole_sentences_and_their_padding_does_not_count(
    corpus: list[list[str]], batch_size: int, seed: int | None
) -> None:
    _, ids = encoded(corpus)
    rng = None if seed is None else np.random.default_rng(seed)
    found = []
    for batch in bucketed(ids, batch_size, padding=7, rng=rng):
        check_batch(batch)
        assert batch.inputs.shape[1] <= batch_size
        assert batch.lengths is not None
        assert batch.lengths.max() == len(batch.inputs)
        for b, n in enumerate(batch.lengths):
            assert batch.inputs[1:n, b].tolist() == batch.targets[: n - 1, b].tolist()
            assert batch.weights[:, b].tolist() == [1.0] * n + [0.0] * (len(batch.inputs) - n)
            assert {*batch.inputs[n:, b], *batch.targets[n:, b]} <= {7}
            found.append((int(batch.inputs[0, b]), *batch.targets[:n, b].tolist()))
    assert sorted(found) == sorted(tuple(sentence.tolist()) for sentence in ids)


@given(st.lists(st.integers(2, 20), min_size=1, max_size=60), small)
def test_buckets_pad_less_than_a_batch_of_the_longest(lengths: list[int], batch_size: int) -> None:
    """Sorted, the batches' ranges of length do not overlap, so the padding is less than one batch of the longest."""
    ids = [np.full(n, 5, dtype=np.int64) for n in lengths]
    batches = list(bucketed(ids, batch_size, rng=np.random.default_rng(0)))
    assert sum(batch.weights.size - batch.tokens for batch in batches) < batch_size * max(lengths)


@given(corpora, small, st.integers(0, 9))
def test_the_same_seed_gives_the_same_batches(corpus: list[list[str]], batch_size: int, seed: int) -> None:
    _, ids = encoded(corpus)
    runs = [list(bucketed(ids, batch_size, rng=np.random.default_rng(seed))) for _ in range(2)]
    for one, two in zip(*runs, strict=True):
        for name in ("inputs", "targets", "weights", "lengths"):
            assert np.array_equal(getattr(one, name), getattr(two, name))


def test_shuffling_shuffles_equal_lengths_and_the_order_of_batches() -> None:
    ids = [np.array([START, i, END] + [END] * (i % 3)) for i in range(4, 64)]
    plain, mixed = list(bucketed(ids, 4)), list(bucketed(ids, 4, rng=np.random.default_rng(1)))
    steps = [[len(batch.inputs) for batch in batches] for batches in (plain, mixed)]
    firsts = [[batch.inputs[1].tolist() for batch in batches] for batches in (plain, mixed)]
    assert steps[0] == sorted(steps[1]) != steps[1]
    assert all(row == sorted(row) for row in firsts[0])
    assert sorted(chain(*firsts[0])) == sorted(chain(*firsts[1]))
    assert sorted(firsts[0]) != sorted(map(sorted, firsts[1]))


def test_a_stream_by_hand() -> None:
    ids = [np.array([START, 10, 11, END]), np.array([START, 12, END]), np.array([START, 13, 14, 15, END])]
    one, two = stream(ids, 2, 4, start=START)
    assert one.inputs.T.tolist() == [[START, 10, 11, END], [12, END, START, 13]]
    assert one.targets.T.tolist() == [[10, 11, END, START], [END, START, 13, 14]]
    assert one.weights.T.tolist() == [[1, 1, 1, 0], [1, 0, 1, 1]]
    assert two.inputs.T.tolist() == [[START, START], [14, 15]]  # the shorter row ends a step before the other
    assert two.targets.T.tolist() == [[12, START], [15, END]]
    assert two.weights.T.tolist() == [[1, 0], [1, 1]]


def test_a_text_too_short_for_the_batch_gets_fewer_streams() -> None:
    (batch,) = stream([np.arange(4, 15)], 32, 5, start=START)
    assert batch.inputs.shape == (5, 2)


@given(corpora, small, small, st.integers(0, 15))
def test_warming_streams_up_changes_nothing_about_what_counts(
    corpus: list[list[str]], batch_size: int, steps: int, warm_up: int
) -> None:
    _, ids = encoded(corpus)
    batches = list(stream(ids, batch_size, steps, start=START, warm_up=warm_up))
    for batch in batches:
        check_batch(batch)
    assert batches[0].inputs.shape[1] <= batch_size
    assert counted(batches) == Counter(int(i) for sentence in ids for i in sentence[1:])


@given(st.integers(2, 120), st.integers(1, 8), st.integers(1, 9), st.integers(0, 15))
def test_every_stream_but_the_first_reads_on_from_so_many_tokens_before_its_own(
    length: int, batch_size: int, steps: int, warm_up: int
) -> None:
    batches = list(stream([np.arange(4, length + 4)], batch_size, steps, start=START, warm_up=warm_up))
    inputs, weights = (np.concatenate([getattr(b, name) for b in batches]) for name in ("inputs", "weights"))
    assert inputs.shape[1] == 1 or inputs.shape[1] * max(warm_up, steps) < length, "too short for so many"
    own = []
    for row, counts in zip(inputs.T, weights.T, strict=True):
        read = row[row != START]
        assert read.tolist() == list(range(read[0], read[0] + len(read)))
        assert len(inputs) - len(read) <= 1, "streams of one length"
        first = int(np.argmax(counts))
        assert first == (warm_up if read[0] > 4 else 0)
        assert counts[first : len(read)].all()
        own.append(read[first:].tolist())
    assert list(chain(*own)) == list(range(4, length + 3))


# --- Splitting -------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(PLAIN, min_size=1, max_size=6), min_size=2, max_size=30), st.floats(0.01, 0.99))
def test_a_split_loses_nothing_and_leaves_no_part_empty(corpus: list[list[str]], fraction: float) -> None:
    train, valid = train_valid_split(corpus, fraction)
    assert train + valid == corpus
    assert train
    assert abs(len(valid) - fraction * len(corpus)) <= 1
    assert valid


@given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_sentences_that_are_drawn_to_validate_are_as_many_and_both_parts_keep_their_order(
    count: int, fraction: float, seed: int
) -> None:
    corpus = [[str(i)] for i in range(count)]
    parts = train_valid_split(corpus, fraction, unbroken=False, rng=np.random.default_rng(seed))
    assert [len(part) for part in parts] == [len(part) for part in train_valid_split(corpus, fraction, unbroken=False)]
    assert sorted(chain(*parts), key=lambda sentence: int(sentence[0])) == corpus
    assert all(part == sorted(part, key=lambda sentence: int(sentence[0])) for part in parts)


def test_a_seed_draws_the_sentences_that_validate() -> None:
    corpus = [[str(i)] for i in range(100)]
    one, again, other = (train_valid_split(corpus, rng=np.random.default_rng(seed))[1] for seed in (1, 1, 2))
    assert one == again != other
    assert one != corpus[90:]


@given(st.lists(st.lists(PLAIN, max_size=9), min_size=1, max_size=5), st.floats(0.01, 0.99))
def test_an_unbroken_text_is_split_within(corpus: list[list[str]], fraction: float) -> None:
    total = sum(map(len, corpus))
    if total < 2:
        return
    train, valid = train_valid_split(corpus, fraction, unbroken=True)
    assert all(train)
    assert all(valid)
    assert list(chain(*train, *valid)) == list(chain(*corpus))
    assert abs(sum(map(len, valid)) - fraction * total) <= 1


def test_the_last_tenth_validates() -> None:
    corpus = [[str(i)] for i in range(100)]
    assert train_valid_split(corpus) == (corpus[:90], corpus[90:])
    text = list("x" * 90 + "y" * 10)
    assert train_valid_split([text]) == ([text[:90]], [text[90:]])


# --- Sentences and tokens --------------------------------------------------------------------------------------


@given(st.text(max_size=60), st.booleans())
def test_no_character_of_an_unbroken_text_is_lost(text: str, several: bool) -> None:
    if text:
        assert tokenize([text, text] if several else text, level="char") == [characters(text)] * (1 + several)
        assert detokenize(characters(text), "char") == text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=9), max_size=9))
def test_with_lines_every_line_that_has_something_is_a_sequence(lines: list[str]) -> None:
    expected = [list(line.strip()) for line in lines if line.strip()]
    if expected:
        assert tokenize("\n".join(lines), level="char", lines=True) == expected


@given(st.lists(st.sampled_from(["The cat sat.", "Is it so?", "No!", "\n\n", "\n"]), max_size=12))
def test_sentences_lose_no_word(parts: list[str]) -> None:
    text = " ".join(parts)
    found = sentences(text)
    assert all(sentence and sentence == sentence.strip() for sentence in found)
    assert " ".join(found).split() == text.split()


def test_words_are_those_of_the_penn_treebank() -> None:
    assert words("Don't say \"no\", Mr. O'Neil (now).") == [
        *("do", "n't", "say", "``", "no", "''", ",", "mr.", "o'neil", "(", "now", ")", ".")
    ]
    assert words("Don't", lowercase=False) == ["Do", "n't"]


@pytest.mark.parametrize(
    "sentence", ["don't say \"never\", he'll be (very) cross; it costs $ 5.50: ok?", '"yes!" she said.', "it's a b-c."]
)
def test_detokenize_gives_a_readable_sentence_back(sentence: str) -> None:
    plain = detokenize(words(sentence))
    assert plain.replace("$5.50", "$ 5.50") == sentence
    assert words(plain) == words(sentence)


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not() -> None:
    assert sentences("A heading\n\nThe first\nsentence. The second one.\n \nLast") == [
        *("A heading", "The first sentence.", "The second one.", "Last")
    ]


@given(st.text() | st.text("ab'-.\u2019 \u3002"))
def test_of_words_and_marks_nothing_but_spaces_is_lost(text: str) -> None:
    found = words_and_marks(text)
    assert "".join(found) == re.sub(r"\s", "", text) and all(found)


def test_words_end_at_marks_wherever_they_stand() -> None:
    said = words_and_marks(
        "It's well-made. (Don\u2019t go!) --10 caf\u00e9s\u2026 \u0939\u093f\u0928\u094d\u0926\u0940\u3002"
    )
    marks = "It's well-made . ( Don\u2019t go ! ) - - 10 caf\u00e9s \u2026 \u0939\u093f\u0928\u094d\u0926\u0940 \u3002"
    assert said == marks.split()


def test_words_are_lower_cased_unless_told_and_characters_are_not() -> None:
    assert tokenize("The Cat.") == [["the", "cat", "."]]
    assert tokenize("The Cat.", lowercase=False) == [["The", "Cat", "."]]
    assert tokenize("Ab", level="char") == [["A", "b"]]
    assert tokenize("Ab", level="char", lowercase=True) == [["a", "b"]]


def test_texts_do_not_run_into_each_other() -> None:
    assert tokenize(["no full stop", "and another"]) == [["no", "full", "stop"], ["and", "another"]]


TEXT = """The cat sat on the mat. It was a fine day. She left early, e.g. at noon. Is it so? Mr. Smith went home.
He was not amused."""


def test_without_punkts_data_a_model_learns_from_the_text_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise LookupError("punkt_tab")

    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", missing)
    notes: list[str] = []
    found = sentences(TEXT, note=notes.append)
    assert len(notes) == 1
    assert notes[0].startswith("NLTK's Punkt model is not installed, so ")
    assert [sentence.split()[0] for sentence in found] == ["The", "It", "She", "Is", "Mr.", "He"]
    assert sentences("One. Two.", lines=True, note=notes.append) == ["One. Two."]
    assert len(notes) == 1


def test_with_punkts_data_nltks_model_is_used() -> None:
    try:
        nltk.tokenize.PunktTokenizer("english")
    except LookupError:
        pytest.skip("NLTK's punkt_tab is not installed")
    notes: list[str] = []
    assert sentences("Mr. Smith went to Dr. No. He left.", note=notes.append)[0].startswith("Mr. Smith went to Dr.")
    assert not notes


# --- Files -----------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff")), st.booleans())
def test_a_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, text: str, mark: bool) -> None:
    path = tmp_path_factory.mktemp("text") / "some.txt"
    path.write_bytes((codecs.BOM_UTF8 if mark else b"") + text.encode())
    if text.strip():
        assert read_text(path) == re.sub("\r\n?", "\n", text)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32", "latin-1", "UTF8"])
def test_a_text_in_another_encoding_is_read_where_it_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "some.txt").write_bytes("Über naïve\r\nCafés\r.".encode(encoding))
    assert read_text(tmp_path / "some.txt", encoding) == "Über naïve\nCafés\n."
    (tmp_path / "some.csv").write_bytes("a,b\n1,Cafés\n".encode(encoding))
    assert read_csv(tmp_path / "some.csv", "b", encoding) == ["Cafés"]


def test_a_text_packed_by_gzip_is_unpacked_whatever_it_is_called(tmp_path: Path) -> None:
    packed = gzip.compress("Über\r\nuns".encode("cp1252"), mtime=0)
    for name in ("some.txt.gz", "some.txt"):
        (tmp_path / name).write_bytes(packed)
        assert read_text(tmp_path / name, "cp1252") == "Über\nuns"
    (tmp_path / "some.gz").write_bytes(b"not packed")
    assert read_text(tmp_path / "some.gz") == "not packed"


def test_of_a_folder_all_files_are_read_in_order_but_hidden_ones_and_a_note_says_which(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/10.txt", "b c.txt", "a.txt", ".hidden", ".git/config", "b/.#lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}", encoding="utf-8")
    notes: list[str] = []
    found = read_texts([str(tmp_path), str(tmp_path / "a.txt")], note=notes.append)
    names = ("a.txt", "b/10.txt", "b/2.txt", "b c.txt", "a.txt")
    assert found == [(str(tmp_path / name), f"text of {name}") for name in names]
    assert notes == [f"{tmp_path}: all files of this folder are read, 4 from a.txt to b c.txt, and 3 hidden passed by."]
    (tmp_path / "b" / "bad").write_bytes(b"\xff")
    with pytest.raises(TextError, match=re.escape(str(tmp_path / "b" / "bad"))):
        read_texts([str(tmp_path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TextError, match="empty: a folder of texts was expected, and it has no file"):
        read_texts([str(tmp_path / "empty")])


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffa\r\nü".encode())))
    assert read_texts(["-"]) == [("-", "a\nü")]
    with pytest.raises(TextError, match="standard input: some text was expected"):
        read_text("-")  # read to its end already
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TextError, match="standard input: a text was expected, and it is closed"):
        read_text("-")


@given(st.lists(st.tuples(*[st.text("ab ,\"'\n\t;", max_size=9)] * 2), min_size=1, max_size=6))
def test_a_csv_field_is_read_as_it_was_written_with_the_spaces_at_its_ends(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "some.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("first", "second"), *rows])
    for i, column in enumerate(("first", "second")):
        if expected := [row[i] for row in rows if row[i].strip()]:
            assert read_csv(path, column) == expected


def test_a_csv_field_in_quotation_marks_may_stand_after_spaces_and_others_keep_theirs_unless_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "some.csv").write_text('a, b\n  one,  "two, \n  too"\n "three",   four "4" \n', encoding="utf-8")
    assert read_csv(tmp_path / "some.csv", "a") == ["  one", "three"]
    assert read_csv(tmp_path / "some.csv", "b") == ["two, \n  too", '   four "4" ']
    assert read_csv(tmp_path / "some.csv", "b", skip_initial_space=True) == ["two, \n  too", 'four "4" ']


ANOTHER = "(a file in another encoding? --encoding cp1252, say)"
CSV = 'id, "body",Other\n1, "Hello, you.\nSecond line.",x\n\n2,  ,y\n3,Last one,z\n'


@pytest.mark.parametrize("column", ["body", 1, "1"])
def test_a_csv_column_is_found_by_name_or_number(tmp_path: Path, column: str | int) -> None:
    (tmp_path / "some.csv").write_text(CSV, encoding="utf-8-sig")
    assert read_csv(tmp_path / "some.csv", column) == ["Hello, you.\nSecond line.", "Last one"]


def test_a_csv_field_may_be_long_and_the_modules_limit_stays(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text("body\n" + "long " * 100_000, encoding="utf-8")
    assert len(read_csv(tmp_path / "some.csv", "body")[0]) == 500_000
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"one\ntwo \xff",
            f"UTF-8 text was expected, got the byte 0xff {ANOTHER} at byte 8, line 2",
        ),
        (b"\xef\xbb\xbfa\n\n\0b", "UTF-8 text was expected, got a NUL byte at byte 6, line 3"),
        (b"\0\xff", "UTF-8 text was expected, got a NUL byte at byte 0, line 1"),
        (
            b"\xff\0",
            f"UTF-8 text was expected, got the byte 0xff {ANOTHER} at byte 0, line 1",
        ),
        (b"", "some text was expected, got an empty file"),
        (b" \n\t\n", "some text was expected, got an empty file"),
    ],
)
def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(TextError) as caught:
        read_text(tmp_path / "bad.txt")
    assert str(caught.value) == f"{tmp_path / 'bad.txt'}: {sentence}"


@pytest.mark.parametrize(
    ("content", "column", "sentence"),
    [
        ("a,b\n1,2\n", "c", ": there is no column 'c'; its 2 columns are 'a', 'b'"),
        ("a,b\n1,2\n", 2, ": there is no column '2'; its 2 columns are 'a', 'b'"),
        ("a,b\n1,2\n", -1, ": there is no column '-1'; its 2 columns are 'a', 'b'"),
        ("a,b\n1,2\n3\n", "b", ", line 3: column 'b' (number 1) was expected, got only 1 columns"),
        ("a,b\n", "b", ": texts below the header 'b' were expected, got none"),
        ('a,b\n1,"x\n', "b", ", line 2: CSV was expected: unexpected end of data"),
    ],
)
def test_a_csv_that_does_not_fit_is_one_sentence(
    tmp_path: Path, content: str, column: str | int, sentence: str
) -> None:
    (tmp_path / "bad.csv").write_text(content, encoding="utf-8")
    with pytest.raises(TextError) as caught:
        read_csv(tmp_path / "bad.csv", column)
    assert str(caught.value) == f"{tmp_path / 'bad.csv'}{sentence}"


@pytest.mark.parametrize(
    ("content", "encoding", "sentence"),
    [
        (b"one", "klingon", "encoding must be one that Python knows, such as utf-8 or cp1252, got 'klingon'"),
        (b"one", "hex", "encoding must be one that Python knows, such as utf-8 or cp1252, got 'hex'"),
        (b"one\n\x81", "cp1252", "CP1252 text was expected, got the byte 0x81 (.*) at byte 4, line 2"),
        (b"a\0b", "cp1252", "CP1252 text was expected, got a NUL byte at byte 1, line 1"),
        (b"a\0\0\0", "utf-16-le", "UTF-16-LE text was expected, got a NUL character"),
        (
            codecs.BOM_UTF16_LE + b"a\0",
            "utf-8",
            r"UTF-8 text .* \(a file in another encoding\? --encoding utf-16, say\)",
        ),
        (gzip.compress(b"some text", mtime=0)[:-9], "utf-8", "a damaged gzip file: "),
        (b"\x1f\x8bno", "utf-8", "a damaged gzip file: "),
    ],
)
def test_what_is_not_in_the_encoding_or_badly_packed_is_one_sentence(
    tmp_path: Path, content: bytes, encoding: str, sentence: str
) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(TextError, match=sentence):
        read_text(tmp_path / "bad.txt", encoding)


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"none\.txt: cannot be read: No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(TextError, match="cannot be read"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tokenize(" \n "), "the text must have at least one token, got none"),
        (lambda: tokenize([], level="char"), "the text must have at least one token, got none"),
        (lambda: tokenize("a", level="byte"), 'level must be "word" or "char", got \'byte\''),
        (lambda: train_valid_split([["one"]]), "a text to train and validate on must have at least 2 tokens, got 1"),
        (lambda: train_valid_split([]), "a text to train and validate on must have at least 2 sentences, got 0"),
        (
            lambda: train_valid_split([["a", "b"]], 1.0),
            "the fraction that validates must be above 0 and below 1, got 1.0",
        ),
        (
            lambda: train_valid_split([["a", "b"]], rng=np.random.default_rng()),
            "rng draws sentences, and this text is unbroken: its end validates",
        ),
        (lambda: Vocabulary.build([]), "a vocabulary needs a token that occurs 1 times or more, got none"),
        (
            lambda: Vocabulary.build([["a"]], min_count=2),
            "a vocabulary needs a token that occurs 2 times or more, got none",
        ),
        (
            lambda: Vocabulary.build([["a", "b"]], 8000),
            "the size of the vocabulary must be from 5 to 6, got 8,000: it counts 4 specials, and the text has 2 "
            "different tokens",
        ),
        (
            lambda: Vocabulary.build([["a", "b", "a"]], 4, min_count=2),
            "the size of the vocabulary must be from 5 to 5, got 4: it counts 4 specials, and the text has 1 different "
            "tokens that occur 2 times or more",
        ),
        (lambda: Vocabulary(["a", "b", "a"]), "the tokens of a vocabulary must differ, got 'a' twice"),
        (
            lambda: Vocabulary.from_list(["a", "b"]),
            "a vocabulary begins with PADDING, UNKNOWN_TOKEN, SENTENCE_START, SENTENCE_END; got ['a', 'b']",
        ),
        (lambda: Vocabulary(["a"]).decode([4, 5]), "an id from 0 to 4 was expected, got 5"),
        (lambda: Vocabulary(["a"]).decode([-1]), "an id from 0 to 4 was expected, got -1"),
        (lambda: list(bucketed([], 2)), "batches need a sequence of at least 2 ids, got none"),
        (lambda: list(bucketed([np.array([START, END])], 0)), "batch_size must be at least 1, got 0"),
        (lambda: list(bucketed([np.array([START, END])], 1, max_length=0)), "max_length must be at least 1, got 0"),
        (lambda: list(stream([], 2, 2, start=START)), "a stream needs at least 2 ids, got 0"),
        (lambda: list(stream([np.array([4])], 2, 2, start=START)), "a stream needs at least 2 ids, got 1"),
        (lambda: list(stream([np.array([4, 5])], 2, 0, start=START)), "steps must be at least 1, got 0"),
        (
            lambda: list(stream([np.array([4, 5])], 2, 2, start=START, warm_up=-1)),
            "warm_up must be at least 0, got -1",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        call()
    assert str(caught.value) == sentence
