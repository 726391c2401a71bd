"""Sequences end to end, in memory or in a file, and texts that are larger than memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.baselines import ngram
from tinygrad_rnn.baselines.ngram import ngram_nats_by_order
from tinygrad_rnn.data import ragged, readers
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.ragged import Ragged
from tinygrad_rnn.data.readers import read_parts, read_text
from tinygrad_rnn.data.splits import ragged_split, train_valid_split
from tinygrad_rnn.data.tokenized import TokenizedText
from tinygrad_rnn.data.tokens import token_runs, tokenize
from tinygrad_rnn.data.vocabulary import Vocabulary

sequences = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=8)


def lists(found: Any) -> list[list[int]]:
    return [each.tolist() for each in found]


@given(sequences, st.booleans(), st.data())
def test_sequences_end_to_end_are_what_the_lists_are_in_memory_and_in_a_file(
    given_lists: list[list[int]], in_a_file: bool, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ragged, "IN_MEMORY", 3 if in_a_file else 1000)
        patch.setattr(ragged, "AT_A_TIME", data.draw(st.integers(1, 5)))
        found = Ragged.of(np.array(each, dtype=np.int64) for each in given_lists)
        assert isinstance(found.flat, np.memmap) == (in_a_file and sum(map(len, given_lists)) > 3)
        assert lists(found) == given_lists and found.lengths.tolist() == [len(each) for each in given_lists]
        assert all(each.dtype == np.int64 for each in found) and len(found) == len(given_lists)
        assert [i for block in found.blocks() for i in block.tolist()] == [i for each in given_lists for i in each]
        begin, end = sorted(data.draw(st.lists(st.integers(-9, 9), min_size=2, max_size=2)))
        assert lists(found[begin:end]) == given_lists[begin:end] and lists(found[::-2]) == given_lists[::-2]
        if given_lists:
            place = data.draw(st.integers(-len(given_lists), len(given_lists) - 1))
            assert found[place].tolist() == given_lists[place]
        cut = data.draw(st.integers(0, sum(map(len, given_lists))))
        whole = [i for each in given_lists for i in each]
        head, rest = found.cut(cut)
        assert [i for each in lists(head) for i in each] == whole[:cut]
        assert [i for each in lists(rest) for i in each] == whole[cut:]
        table = np.array([9, 8, 7, 6, 5, 4], dtype=np.int32)
        assert lists(found.translated(table, 1, 2)) == [[1, *(9 - i for i in each), 2] for each in given_lists]
        assert lists(found.translated(table)) == [[9 - i for i in each] for each in given_lists]


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), min_size=1, max_size=9),
    st.floats(0.05, 0.95),
    st.sampled_from(["cut", "unbroken", "drawn"]),
)
def test_a_text_is_split_and_counted_as_its_lists_are(text: list[list[str]], fraction: float, way: str) -> None:
    whole = TokenizedText.of((tokens, True) for tokens in text)
    assert whole.to_lists() == text
    options: list[Any] = [
        {"unbroken": way == "unbroken", "rng": np.random.default_rng(0) if way == "drawn" else None} for _ in range(2)
    ]
    try:
        expected = train_valid_split(text, fraction, **options[0])
    except TextError as error:
        with pytest.raises(TextError) as caught:
            ragged_split(whole.sentences, fraction, **options[1])
        assert str(caught.value) == str(error)
        return
    found = ragged_split(whole.sentences, fraction, **options[1])
    for part, same in zip(found, expected, strict=True):
        assert TokenizedText(whole.types, part).to_lists() == same
    vocabulary = Vocabulary.of_counts(whole.counts(found[0]))
    assert vocabulary == Vocabulary.build(expected[0])
    assert lists(whole.encoded(found[1], vocabulary, marked=True)) == lists(
        map(vocabulary.encode_sentence, expected[1])
    )


@given(
    st.text(st.sampled_from("ab. \n\r\u2028é"), min_size=1, max_size=60).filter(str.strip), st.integers(1, 9), st.data()
)
def test_a_text_in_parts_of_whole_lines_has_the_tokens_of_the_text(text: str, size: int, data: st.DataObject) -> None:
    lines = [f"{line}\n" for line in text.split("\n")]
    parts = ["".join(lines[i : i + size]) for i in range(0, len(lines), size)]
    parts[-1] = parts[-1][:-1]
    # Of words in lines alone: else Punkt learns from the text, which takes long.
    level, rest = data.draw(st.sampled_from([("char", False), ("char", True), ("word", True)]))
    whole = [[each] for each in (text, text)]
    in_parts = [parts, parts]
    assert (
        TokenizedText.of(token_runs(in_parts, level, rest, None)).to_lists()
        == TokenizedText.of(token_runs(whole, level, rest, None)).to_lists()
        == tokenize([text, text], level, rest)
    )


def test_sentences_that_punkt_finds_are_the_same_in_parts() -> None:
    text = "The first\nsentence. The second\n one, by Mr. Smith.\n\n \nAnother paragraph.\nIts end.\n" * 3
    parts = text.splitlines(keepends=True)
    runs = token_runs([parts, ["And a text without a line end"]], "word", False, None)
    assert [tokens for tokens, _ in runs] == tokenize([text, "And a text without a line end"])


@given(
    st.text(st.sampled_from("ab\n\ré"), max_size=40).filter(str.strip), st.sampled_from(["utf-8", "utf-16", "cp1252"])
)
def test_the_parts_of_a_file_are_its_text(text: str, encoding: str) -> None:
    raw = text.encode(encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "_chunks", lambda path: [raw[i : i + 3] for i in range(0, len(raw), 3)])
        assert "".join(read_parts("a.txt", encoding)) == read_text("a.txt", encoding)


def test_n_grams_are_the_same_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, rng = Vocabulary(list("abc")), np.random.default_rng(0)
    train, valid = ([rng.integers(4, 7, rng.integers(1, 9)) for _ in range(n)] for n in (4, 30))
    marked = [[np.array([vocabulary.start, *ids, vocabulary.end]) for ids in part] for part in (train, valid)]
    for one, other in (marked, ([np.concatenate(train)], [np.concatenate(valid)])):
        expected = ngram_nats_by_order(one, other, 4, vocabulary)
        with monkeypatch.context() as patch:
            patch.setattr(ngram, "MOST_COUNTED", sum(map(len, one)))
            assert ngram_nats_by_order(one, other, 4, vocabulary) == pytest.approx(expected, rel=1e-12)
            # Of a longer training part the beginning is counted.
            patch.setattr(ngram, "MOST_COUNTED", 5)
            short = ngram_nats_by_order([np.concatenate(one)[:5]], other, 4, vocabulary)
            assert ngram_nats_by_order(one, other, 4, vocabulary) == pytest.approx(short, rel=1e-12)


PROGRAM = """
import json, resource, sys
import tinygrad_rnn as tg
from tinygrad_rnn.baselines import ngram
from tinygrad_rnn.data import ragged
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.beginning import new_run

tg.compiled("numpy")  # LLVM takes memory to compile, of which nothing is asked here
ngram.MOST_COUNTED = 100_000
found = find_task("language")
given = dict(text=(sys.argv[1],), level="char", layers=1, hidden=8, embedding=8, valid_fraction=0.001, cell="rnn")
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]), -1))
run = new_run(found.new(found.task.Options(**given)), lambda text: None)
losses = [record.loss for _, record in zip(range(3), run.steps())]
print(json.dumps([losses, run.data.about["tokens"], run.data.about["split_sha256"]]))
"""


def trained(text: Path, room: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(text), str(room)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory that counts no files is Linux's")
def test_a_text_larger_than_the_memory_there_is_trains_a_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    line = "".join(rng.choice(list("abcdefgh "), 99)) + "\n"
    (tmp_path / "large.txt").write_text(line * 500_000, encoding="ascii")
    size, room = (tmp_path / "large.txt").stat().st_size, 40 << 20
    assert size > room
    found = trained(tmp_path / "large.txt", room)
    assert found.returncode == 0, found.stderr
    losses, tokens, _ = json.loads(found.stdout)
    assert tokens == size and np.isfinite(losses).all()
    too_little = trained(tmp_path / "large.txt", 4 << 20)
    assert too_little.returncode != 0 and "MemoryError" in too_little.stderr
