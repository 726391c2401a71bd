"""A text that several ranks read: the text that one process reads, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import nothing
from thread_ranks import on_ranks

from tinygrad_rnn.data import TextError
from tinygrad_rnn.data.tokenized import TokenizedText
from tinygrad_rnn.data.tokens import token_runs, word_units
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.language import dealt_text as dealing
from tinygrad_rnn.tasks.language.corpus import read_corpus
from tinygrad_rnn.tasks.language.dealt_text import dealt_text

TEXTS = st.lists(st.text(alphabet="ab .\n'", max_size=60), min_size=1, max_size=5)


def as_one(texts: list[str], lines: bool) -> TokenizedText | None:
    try:
        return TokenizedText.of(token_runs(([text] for text in texts), "word", lines, None))
    except TextError:
        return None


@settings(deadline=None)
@given(TEXTS, st.integers(2, 4), st.sampled_from([1, 7, 10**6]))
def test_ranks_find_the_words_that_one_process_finds(texts: list[str], size: int, block: int) -> None:
    expected = as_one(texts, True)

    def work(ranks: Ranks) -> TokenizedText | None:
        try:
            return dealt_text(*word_units(([text] for text in texts), True, None), ranks)
        except TextError:
            return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dealing, "CHARACTERS_DEALT", block)
        for found in on_ranks(size, work):
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                assert found.types == expected.types
                np.testing.assert_array_equal(found.sentences.flat, expected.sentences.flat)
                np.testing.assert_array_equal(found.sentences.ends, expected.sentences.ends)


def test_each_rank_splits_its_blocks_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(dealing, "CHARACTERS_DEALT", 1)
    units = [f"word{i} and more" for i in range(10)]

    def work(ranks: Ranks) -> tuple[list[str], TokenizedText]:
        seen: list[str] = []

        def sentences_of(unit: str) -> list[list[str]]:
            seen.append(unit)
            return [unit.split()]

        return seen, dealt_text(units, sentences_of, ranks)

    found = on_ranks(3, work)
    assert [seen for seen, _ in found] == [units[rank::3] for rank in range(3)]
    assert all(text.to_lists() == [unit.split() for unit in units] for _, text in found)


@pytest.mark.parametrize("lines", [True, False])
def test_the_corpus_of_ranks_is_that_of_one_process(tmp_path: Path, lines: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(dealing, "CHARACTERS_DEALT", 50)
    rng = np.random.default_rng(0)
    words = "Ada Bob sees doesn't the cat , and Mr. Smith".split()
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "valid.txt")]
    for path in paths:
        rows = (" ".join(rng.choice(words, rng.integers(3, 9))) + "." for _ in range(30))
        path.write_text("\n\n".join(rows))
    Options: Any = find_task("language").task.Options
    options = Options(text=(str(paths[0]), str(paths[1])), valid=str(paths[2]), lines=lines)
    expected = read_corpus(options, nothing)
    for found in on_ranks(3, lambda ranks: read_corpus(options, nothing, ranks)):
        assert found.text.to_lists() == expected.text.to_lists() and found.text.types == expected.text.types
        assert found.valid is not None and expected.valid is not None
        assert found.valid.to_lists() == expected.valid.to_lists()
        assert (found.sha256, found.parts, found.sorted) == (expected.sha256, expected.parts, expected.sorted)
        assert (found.name, found.tokenizer, found.tokens) == (expected.name, expected.tokenizer, expected.tokens)


def test_one_process_exchanges_nothing() -> None:
    found = dealt_text(["a b", "c"], lambda unit: [unit.split()], ONE_PROCESS)
    assert found.to_lists() == [["a", "b"], ["c"]]
