"""Files of examples: what is read is what was written, one by one, and what does not fit says where."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import (
    TextError,
    read_conll,
    read_csv,
    read_csv_rows,
    read_jsonl,
    read_lines,
    read_parallel,
    read_text,
    read_tsv,
    readers,
)
from tinygrad_rnn.data.series import read_series

some_text = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff\r\n\t"), min_size=1, max_size=8)
said = some_text.filter(lambda text: bool(text.strip()))
field = st.text("ab ,\"'\n\t;", max_size=9).filter(lambda text: bool(text.strip()))
Reader = Callable[..., Iterator[Any]]


def written(folder: Path, content: str | bytes, name: str = "some.txt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def blocks_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda size: monkeypatch.setattr(readers, "BYTES_AT_A_TIME", size)


# --- Lines -----------------------------------------------------------------------------------------------------

ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be", "utf-32", "shift_jis", "gb18030", "utf-7", "cp500"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_those_of_the_text_whatever_the_blocks_in_which_they_are_read(
    tmp_path: Path, blocks_of: Callable[[int], None], encoding: str, size: int, packed: bool
) -> None:
    blocks_of(size)
    text = (
        "one\r\n\nthree\u20ac and more\rfour" if encoding in ("cp1252", "utf-8", "utf-16") else "one\r\n\nthree\rfour"
    )
    raw = text.encode(encoding)
    if packed:  # in two members, with what a tape leaves behind them
        raw = gzip.compress(raw[:7], mtime=0) + gzip.compress(raw[7:], mtime=0) + bytes(9)
    path = written(tmp_path, raw)
    expected = text.replace("\r\n", "\n").replace("\r", "\n")
    assert list(read_lines(path, encoding)) == expected.split("\n")
    assert read_text(path, encoding) == expected


@given(st.lists(some_text | st.just(""), min_size=1, max_size=6).filter(lambda lines: any(map(str.strip, lines))))
def test_lines_are_read_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = written(tmp_path_factory.mktemp("lines"), "\n".join(lines) + "\n")
    assert list(read_lines(path)) == lines


def test_only_the_first_mark_of_byte_order_is_none_of_the_text(
    tmp_path: Path, blocks_of: Callable[[int], None]
) -> None:
    blocks_of(4)
    assert list(read_lines(written(tmp_path, "\ufeffone\n\ufefftwo\n"))) == ["one", "\ufefftwo"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"one\ntwo\nthree \xff",
            "got the byte 0xff (a file in another encoding? --encoding cp1252, say) at byte 14, line 3",
        ),
        (b"one\n\ntwo\0", "got a NUL byte at byte 8, line 3"),
        (gzip.compress(b"one\ntwo\nthree", mtime=0)[:-9], "a damaged gzip file: it ends within what was packed"),
        (b"\x1f\x8b\x08no", "a damaged gzip file: "),
        (b" \n\n\t\n", "some text was expected, got an empty file"),
        (b"", "some text was expected, got an empty file"),
    ],
)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_a_fault_within_a_file_is_said_with_its_place_and_what_stands_before_is_read(
    tmp_path: Path, blocks_of: Callable[[int], None], content: bytes, sentence: str, size: int
) -> None:
    blocks_of(size)
    path = written(tmp_path, content)
    with pytest.raises(TextError) as caught:
        list(read_lines(path))
    assert str(caught.value).startswith(f"{path}: ") and sentence in str(caught.value)
    if content.startswith(b"one") and size == 3:
        assert next(read_lines(path)) == "one"


def test_of_a_file_no_more_than_a_block_is_in_memory(tmp_path: Path, blocks_of: Callable[[int], None]) -> None:
    blocks_of(1 << 10)
    path = written(tmp_path, gzip.compress(b"no words but these\n" * 50_000, mtime=0))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(path)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Piped(io.BytesIO):
        """What somebody types: a line at a time."""

        def read1(self, size: int | None = -1, /) -> bytes:
            return self.readline()

    typed = Piped(b"one\ntwo\nthree")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(typed))
    lines = read_lines("-")
    assert [next(lines), typed.tell(), next(lines), typed.tell()] == ["one", 4, "two", 8]
    assert list(lines) == ["three"]
    with pytest.raises(TextError, match=r"^standard input: some text was expected"):
        list(read_lines("-"))


# --- Records ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(said, said), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_a_tsv_file_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str
) -> None:
    path = written(tmp_path_factory.mktemp("tsv"), "".join(f"{a}\t{b}{end}" for a, b in rows))
    assert list(read_tsv(path)) == rows


def test_a_tab_within_a_text_is_a_part_of_it(tmp_path: Path) -> None:
    path = written(tmp_path, "good\ta\tb\tc\n")
    assert list(read_tsv(path)) == [("good", "a\tb\tc")]
    assert list(read_tsv(path, 3)) == [("good", "a", "b\tc")]
    assert list(read_tsv(path, 1)) == [("good\ta\tb\tc",)]
    assert list(read_tsv(written(tmp_path, "\t\n\ta\n\n"), empty=True)) == [("", ""), ("", "a")]


@given(st.lists(st.tuples(field, field, field), min_size=2, max_size=5), st.sampled_from(",;\t|"))
def test_csv_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "some.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    assert list(read_csv_rows(path, header=False, delimiter=delimiter)) == rows
    assert list(read_csv_rows(path, delimiter=delimiter)) == rows[1:]
    assert list(read_csv_rows(path, [2, 0], delimiter=delimiter)) == [(row[2], row[0]) for row in rows[1:]]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_stand_between_the_marks_of_the_first_row(tmp_path: Path, mark: str) -> None:
    path, others = tmp_path / "rows.csv", {",": ";", ";": ",", "\t": ","}
    rows = [["label", "text"], ["a", f"one{others[mark]} two"], ["b", "three"]]
    path.write_text("".join(f"{mark.join(row)}\n" for row in [*rows, ["", " "]]), encoding="utf-8")
    assert [list(row) for row in read_csv_rows(path, ["text", "label"])] == [row[::-1] for row in rows[1:]]
    assert read_csv(path, "text") == [row[1] for row in rows[1:]]
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"\n day{mark}value\n1{mark}2.5\n2{mark}3.5{mark}\n", encoding="utf-8")
    assert read_series(numbers).tolist() == [2.5, 3.5]


def test_a_row_of_more_columns_than_the_first_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text\nfine\nindeed, the film\n", encoding="utf-8")
    message = "rows.csv, line 3: 1 columns were expected, as in the first row, got 2"
    with pytest.raises(TextError, match=message):
        read_csv(path)
    path.write_text("value\n10\n10,963\n", encoding="utf-8")
    with pytest.raises(TextError, match=message):
        read_series(path)


def test_csv_columns_are_found_by_name_in_the_order_asked_for_and_a_field_may_be_long(tmp_path: Path) -> None:
    path = written(tmp_path, 'id, label ,text\r\n1,yes,"two\r\nlines"\r\n\r\n2,no,' + "long " * 40_000)
    assert list(read_csv_rows(path, ["text", "label"])) == [("two\nlines", "yes"), ("long " * 40_000, "no")]
    assert csv.field_size_limit() == 131_072
    assert list(read_csv_rows(written(tmp_path, 'a*b\n  1*"2*3"'), delimiter="*")) == [("  1", "2*3")]


@given(st.lists(st.tuples(said, st.integers() | said | st.lists(st.integers())), min_size=1, max_size=5), st.booleans())
def test_json_lines_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], ascii_only: bool
) -> None:
    lines = (json.dumps({"a": a, "b": b}, ensure_ascii=ascii_only) for a, b in rows)
    path = written(tmp_path_factory.mktemp("jsonl"), "\n\n".join(lines))
    assert list(read_jsonl(path, ["a", "b"])) == rows
    assert list(read_jsonl(path, ["b"])) == [(b,) for _, b in rows]


def test_values_of_json_are_texts_where_these_are_wanted_and_a_list_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 5}\n{"a": true}\n{"a": null}\n{"a": "b"}\n\n{"a": [1]}')
    found = read_jsonl(path, ["a"], empty=True, texts=True)
    assert [next(found) for _ in range(4)] == [("5",), ("true",), ("",), ("b",)]
    with pytest.raises(TextError, match=rf"^{path}, line 6: field 'a' must be a text, got \[1\]$"):
        next(found)


@given(st.lists(st.tuples(said, said), min_size=1, max_size=5))
def test_parallel_files_are_read_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("parallel")
    source = written(folder, "\n\n".join(a for a, _ in pairs), "a")
    target = written(folder, "\r\n\r\n".join(b for _, b in pairs) + "\n\n\n", "b")
    assert list(read_parallel(source, target)) == pairs


def test_a_line_beside_an_empty_one_is_a_pair_where_that_is_wanted(tmp_path: Path) -> None:
    source, target = written(tmp_path, "a\n\n\nd\n", "a"), written(tmp_path, "x\ny\n\n\n", "b")
    assert list(read_parallel(source, target, empty=True)) == [("a", "x"), ("", "y"), ("d", "")]


@pytest.mark.parametrize("read", [read_tsv, read_csv_rows, read_jsonl, read_conll])
def test_of_a_folder_all_files_are_read_and_a_note_says_which(tmp_path: Path, read: Reader) -> None:
    one = {"read_jsonl": '{"a": 1}\n', "read_csv_rows": "a,b\n1,2\n"}.get(read.__name__, "a\tb\n")
    for name in ("b", "a", ".c"):
        written(tmp_path, one, name)
    arguments = [["a"]] if read is read_jsonl else []
    notes: list[str] = []
    assert len(list(read(str(tmp_path), *arguments, note=notes.append))) == 2
    assert notes == [f"{tmp_path}: all files of this folder are read, 2 from a to b, and 1 hidden passed by."]


@pytest.mark.parametrize("read", [read_tsv, read_csv_rows, read_jsonl, read_conll])
def test_an_example_is_there_before_the_fault_behind_it(tmp_path: Path, read: Reader) -> None:
    good = {"read_jsonl": '{"a": 1}\n', "read_csv_rows": "a,b\n1,2\n"}.get(read.__name__, "a\tb\n\n")
    path = written(tmp_path, codecs.BOM_UTF8 + f"{good}bad".encode())
    examples = read(path, *([["a"]] if read is read_jsonl else []))
    assert len(next(examples)) in (1, 2)
    with pytest.raises(TextError, match=rf"^{path}, line \d"):
        next(examples)


# --- Columns of CoNLL ------------------------------------------------------------------------------------------

CONLL_2003 = """-DOCSTART- -X- O O

U.N. NNP I-NP I-ORG
# NN I-NP O

# is the number sign here .
# NN I-NP O
1\u00a00 CD  I-NP O
"""

CONLL_U = """# sent_id = 1
# text = Don't.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\t_\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\t_\t_\t1\tadvmod\t_\t_
2.1\tit\tit\tPRON\t_\t_\t_\t_\t_\t_
3\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_


# a comment of no sentence

1\tNo break space\tx\tX\t_\t_\t0\troot\t_\t_
"""


def test_words_and_tags_are_read_from_the_columns_that_are_chosen(tmp_path: Path) -> None:
    path = written(tmp_path, CONLL_2003)
    assert list(read_conll(path)) == [(["U.N.", "#"], ["I-ORG", "O"]), (["#", "1\u00a00"], ["O", "O"])]
    assert list(read_conll(path, [1])) == [(["NNP", "NN"],), (["NN", "CD"],)]
    path = written(tmp_path, CONLL_U.replace("\n", "\r\n"))
    expected = [(["Do", "n't", "."], ["AUX", "PART", "PUNCT"]), (["No break space"], ["X"])]
    assert list(read_conll(path, [1, 3])) == expected
    assert [row[0] for row in read_conll(path, [0])] == [["1-2", "1", "2", "2.1", "3"], ["1"]]


@given(st.lists(st.lists(st.tuples(said, said), min_size=1, max_size=4), min_size=1, max_size=4))
def test_sentences_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]]
) -> None:
    stripped = [[(word.strip(" "), tag.strip(" ")) for word, tag in sentence] for sentence in sentences]
    lines = "\n\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in sentence) for sentence in sentences)
    path = written(tmp_path_factory.mktemp("conll"), lines)
    found = [list(zip(*columns, strict=True)) for columns in read_conll(path)]
    assert found == [sentence for sentence in stripped if [w for w, _ in sentence] != ["-DOCSTART-"]]


# --- Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "arguments", "content", "sentence"),
    [
        (read_tsv, (), "a\tb\n\nno tab", ", line 3: 2 columns with tabs between them were expected, got 1"),
        (read_tsv, (), "a\t \n", ", line 1: column 2 is empty"),
        (
            read_csv_rows,
            (),
            'a,b\n1,2\n1,"x\ny",2\n',
            ", line 4: 2 columns were expected, as in the first row, got 3 (a text with the mark that stands between "
            "columns needs quotation marks)",
        ),
        (read_csv_rows, (), "a,b\n1\n", ", line 2: 2 columns were expected, as in the first row, got 1"),
        (read_csv_rows, (), "a,b\n1,\n", ", line 2: column 'b' is empty"),
        (read_csv_rows, (), "a,b\n", ": rows below the header were expected, got none"),
        (read_csv_rows, (["c"],), "a,b\n1,2\n", ": there is no column 'c'; its 2 columns are 'a', 'b'"),
        (read_csv_rows, (), 'a,b\n1,"x" y\n', ", line 2: CSV was expected: ',' expected after '\"'"),
        (
            read_jsonl,
            (["a"],),
            '{"a": 1}\n{"b": 2, "c": 3}',
            ", line 2: there is no field 'a'; its fields are 'b', 'c'",
        ),
        (read_jsonl, (["a"],), "{}", ", line 1: there is no field 'a'; its fields are none"),
        (read_jsonl, (["a"],), '\n{"a" 1}', ", line 2, column 6: JSON was expected: Expecting ':' delimiter"),
        (read_jsonl, (["a"],), '{"a": NaN}', ", line 1: JSON was expected: NaN is no number of JSON"),
        (read_jsonl, (["a"],), '{"a": "\\uD800"}', ", line 1: JSON was expected: \\u escapes half a character"),
        (read_jsonl, (["a"],), "[1, 2]", """, line 1: an object {"name": value} was expected, got '[1, 2]'"""),
        (read_jsonl, (["a"],), '{"a": null}', ", line 1: field 'a' is empty"),
        (read_jsonl, (["a"],), '{"a": ""}', ", line 1: field 'a' is empty"),
        (
            read_conll,
            (),
            "a\tB\nb\n",
            ", line 2: 2 columns with tabs between them were expected, as in the first row, got 1",
        ),
        (
            read_conll,
            (),
            "a B\nb B B\n",
            ", line 2: 2 columns with spaces between them were expected, as in the first row, got 3",
        ),
        (read_conll, ((0, 2),), "\na B\n", ", line 2: a column of index 2 was expected, got 2 columns"),
        (read_conll, (), "a\tB\nb\t\n", ", line 2: column 1 is empty"),
        (read_conll, (), "# only a comment\n", ": sentences were expected, a word a line, got none"),
        (read_conll, (), "-DOCSTART-\n", ": sentences were expected, a word a line, got none"),
        *(
            (read, (), " \n\n", ": some text was expected, got an empty file")
            for read in (read_tsv, read_csv_rows, read_conll)
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence_with_file_and_line(
    tmp_path: Path, read: Reader, arguments: tuple[Any, ...], content: str, sentence: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(TextError) as caught:
        list(read(path, *arguments))
    assert str(caught.value) == f"{path}{sentence}"


def test_numbers_and_lists_that_python_refuses_are_one_sentence(tmp_path: Path) -> None:
    for content in ("[" * 100_000, '{"a": ' + "9" * 5000 + "}"):
        with pytest.raises(TextError, match=r"some\.txt, line 1: JSON was expected: "):
            list(read_jsonl(written(tmp_path, content), ["a"]))


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("a\nb\nc\n", "x\ny\n", "a has 3 lines and b has 2 lines: parallel files have as many"),
        ("a\n\n", "x\n\n\ny\nz", "a has 2 lines and b has 5 lines: parallel files have as many"),
        ("a\nb\n", "x\n \n", "b, line 2: a text was expected beside that of a, got an empty line"),
        ("a\n\n", "x\ny\n", "a, line 2: a text was expected beside that of b, got an empty line"),
        ("a\n", "", "b: some text was expected, got an empty file"),
    ],
)
def test_parallel_files_that_do_not_fit_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, source, "a")
    written(tmp_path, target, "b")
    with pytest.raises(TextError) as caught:
        list(read_parallel("a", "b"))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: read_tsv("nowhere"), "nowhere: cannot be read: No such file or directory"),
        (lambda: read_tsv("nowhere", 0), "columns must be at least 1, got 0"),
        (lambda: read_csv_rows("nowhere", "text"), "columns must be a list of names, got 'text': ['text'] is one"),
        (lambda: read_jsonl("nowhere", "text"), "fields must be a list of names, got 'text': ['text'] is one"),
        (
            lambda: read_csv_rows("nowhere", delimiter=", "),
            "delimiter must be one character and no quotation mark, space or line end, got ', '",
        ),
        (lambda: read_parallel("-", "-"), "of two parallel files only one can be standard input"),
        (
            lambda: read_lines("nowhere", "klingon"),
            "encoding must be one that Python knows, such as utf-8 or cp1252, got 'klingon'",
        ),
    ],
)
def test_a_mistake_about_files_of_examples_is_one_sentence(call: Callable[[], Iterator[Any]], sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        next(islice(call(), 1))
    assert str(caught.value) == sentence
