"""Tokens that are not those that a model was trained with are noticed, although the text is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nltk.tokenize
import numpy as np
import pytest
from click.testing import CliRunner
from small_runs import language_run

from tinygrad_rnn.cli import main
from tinygrad_rnn.data.corpus import Prose
from tinygrad_rnn.data.tokenizers import tokenizer_facts
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.tasks.language import corpus
from tinygrad_rnn.tasks.language.corpus import read_corpus
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.split_identity import split_change, split_digest
from tinygrad_rnn.training.options import OptionError


class EnglishModel:
    """Stands for NLTK's data: cuts where the model that is learnt from the text does not."""

    def __init__(self, language: str) -> None:
        assert language == "english"

    def tokenize(self, text: str) -> list[str]:
        return [part.strip() for part in text.split(",")]


def no_data(language: str) -> Any:
    raise LookupError(language)


def nothing(text: str) -> None:
    """A note that nobody reads."""


@pytest.fixture
def settings(tmp_path: Path) -> LanguageOptions:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"One {word}, and two." for word in "ash elm fir oak yew".split()), encoding="utf-8")
    return LanguageOptions(text=(str(path),), layers=1, hidden=2, embedding=2, batch_size=2, steps=3, epochs=1)


@pytest.fixture
def saved(settings: LanguageOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was begun without NLTK's data."""
    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", no_data)
    language_run(settings).save(tmp_path / "last.safetensors")
    return tmp_path / "last.safetensors"


def test_data_for_sentences_that_was_installed_since_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resume_run(saved, nothing)
    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", EnglishModel)
    told = "5 sentences of 30 tokens then, 10 sentences of 25 tokens now .*Punkt data.* has been installed since"
    with pytest.raises(OptionError, match=told):
        resume_run(saved, nothing)
    result = CliRunner().invoke(main, ["evaluate", str(saved)])
    assert result.exit_code == 1 and "Punkt data" in result.output and "--text" in result.output
    assert "has been installed since" in " ".join(result.output.split())


def test_a_checkpoint_that_knows_sizes_alone_is_compared_by_them(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = checkpoint.load(saved)
    for key in ("split_sha256", "tokenizer"):
        del held.meta["data"][key]
    checkpoint.save(saved, held.arrays, held.meta)
    assert "split_sha256" in resume_run(saved, nothing).data.about
    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", EnglishModel)
    with pytest.raises(OptionError, match=r"5 sentences of 30 tokens then, 10 .*another NLTK, or its Punkt data"):
        resume_run(saved, nothing)


def test_another_nltk_that_gives_the_same_tokens_is_welcome_and_one_that_does_not_is_named(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = nltk.__version__
    monkeypatch.setattr(nltk, "__version__", "99.0")
    resume_run(saved, nothing)
    monkeypatch.setattr(nltk.tokenize.NLTKWordTokenizer, "tokenize", lambda self, text: text.split(" "))
    with pytest.raises(OptionError, match=f"NLTK was {version} and is 99.0"):
        resume_run(saved, nothing)


def test_why_tokens_differ_is_said_as_far_as_it_can_be_told() -> None:
    about = {"sentences": 2, "tokens": 1500, "split_sha256": "a", "tokenizer": {"nltk": "1", "punkt_data": True}}
    assert split_change(about, dict(about)) == ""
    other = {**about, "split_sha256": "b"}
    assert "2 sentences of 1,500 tokens then and now, not the same ones" in split_change(about, other)
    assert "why cannot be told" in split_change(about, other)
    gone = split_change(about, {**other, "tokenizer": {"nltk": "2", "punkt_data": False}})
    assert "was installed and is not found now and NLTK was 1 and is 2" in gone


def test_what_makes_the_tokens_is_known() -> None:
    assert tokenizer_facts("char", lines=False) == tokenizer_facts("char", lines=True) == {}
    assert tokenizer_facts("word", lines=True) == {"nltk": nltk.__version__}


def test_whether_data_for_sentences_was_there_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for double, there in ((no_data, False), (EnglishModel, True)):
        monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", double)
        assert tokenizer_facts("word", lines=False) == {"nltk": nltk.__version__, "punkt_data": there}


def test_the_digest_of_a_split_is_of_the_ids_and_of_where_sentences_and_parts_end() -> None:
    one, two, three = (np.array(ids) for ids in ([1, 2], [3], [1, 2, 3]))
    splits = [([one, two], [one]), ([three], [one]), ([one], [two, one]), ([two, one], [one]), ([one, two], [])]
    assert len({split_digest(*split) for split in splits}) == len(splits)
    assert split_digest([one], [two]) == split_digest([one.astype(np.int32)], [two.astype(">i8")])


def test_of_the_default_corpus_sentences_are_found_already_and_of_a_text_to_validate_on_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prose = Prose(["One ash.", "Two elms."], "prose", 4, "")
    monkeypatch.setattr(corpus, "standard_library", lambda note: prose)
    monkeypatch.setattr(nltk.tokenize, "PunktTokenizer", no_data)
    (tmp_path / "own.txt").write_text("One yew.", encoding="utf-8")
    assert "punkt_data" not in read_corpus(LanguageOptions(), nothing).tokenizer
    assert read_corpus(LanguageOptions(valid=str(tmp_path / "own.txt")), nothing).tokenizer["punkt_data"] is False
