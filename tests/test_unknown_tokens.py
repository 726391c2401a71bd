"""Unknown tokens are counted and said, so that a text full of them does not pass for an easy one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.cli import main
from tinygrad_rnn.data import Vocabulary, bucketed, stream
from tinygrad_rnn.data.vocabulary import Ids
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.speaking import sentence_score
from tinygrad_rnn.tasks.language.text_data import measure_sentences
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.tasks.language.unknown_tokens import count_unknown

UNKNOWN, START, END = Vocabulary.unknown, Vocabulary.start, Vocabulary.end
SMALL = "--lines --layers 1 --hidden 3 --embedding 3 --epochs 1 --batch-size 4 --sentences 0".split()

bodies = st.lists(st.lists(st.sampled_from([UNKNOWN, 4, 5]), min_size=1, max_size=6), min_size=1, max_size=6)


def marked(bodies: list[list[int]]) -> list[Ids]:
    return [np.array([START, *body, END]) for body in bodies]


def invoke(*args: object, text: str | None = None) -> tuple[str, str]:
    """What a command that succeeds prints, and what it prints on standard error."""
    result = CliRunner().invoke(main, [str(arg) for arg in args], input=text)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout, result.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty lines, of which the model knows the words a and b."""
    folder = tmp_path_factory.mktemp("unknown")
    (folder / "text.txt").write_text("\n".join(["a b a c", "b a b d"] * 10), encoding="utf-8")
    (folder / "other.txt").write_text("a b x y\nx y z\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(place: Path) -> str:
    return invoke("train", "--text", place / "text.txt", *SMALL, "--vocab-size", 6, "--out", place / "run")[0]


@given(bodies)
def test_the_tokens_among_which_unknown_ones_are_counted_are_those_that_count(bodies: list[list[int]]) -> None:
    ids, unbroken = marked(bodies), [np.array([4, *body]) for body in bodies]
    for sentences, batches in (
        (ids, [*bucketed(ids, 2)]),
        (ids, [*stream(ids, 2, 3, start=START, warm_up=2)]),
        (unbroken, [*stream(unbroken, 2, 3, start=START)]),
    ):
        found = count_unknown(sentences)
        assert found.total == sum(batch.tokens for batch in batches)
        assert found.count == sum(((b.targets == UNKNOWN) & (b.weights > 0)).sum() for b in batches)


@pytest.mark.parametrize("batching", ["stream", "sentences"])
def test_without_the_unknown_tokens_the_others_are_asked_for_as_before(batching: str) -> None:
    model = LanguageModel(6, 3, 3, dtype=np.float64, rng=np.random.default_rng(0))
    ids = marked([[4, UNKNOWN, 5], [UNKNOWN, UNKNOWN, 4, 5]])
    text = [np.concatenate(ids)] if batching == "stream" else ids
    expected = []
    for sentence in text:
        logits = model(sentence[:-1, None])[0].numpy()[:, 0]
        nats = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), sentence[1:]]
        expected += [n for n, target in zip(nats, sentence[1:], strict=True) if target not in (UNKNOWN, START)]
    settings = LanguageOptions(batching=batching, batch_size=1, steps=3)
    found = measure_sentences(model, settings, ids, known_only=True)
    assert found.count == len(expected) == 6
    assert found.loss == pytest.approx(np.mean(expected))


def test_train_says_how_many_tokens_of_both_parts_are_unknown(trained: str) -> None:
    assert "unknown tokens: 18 (20.0 %) in training, 2 (20.0 %) in validation" in trained


def test_evaluate_gives_perplexity_with_and_without_the_unknown_tokens(place: Path, trained: str) -> None:
    best = place / "run" / "best.safetensors"
    text, _ = invoke("evaluate", best, "--text", place / "other.txt")
    model, vocabulary, settings, _ = load_language_model(best)
    ids = [vocabulary.encode_sentence(sentence) for sentence in ("abxy", "xyz")]
    whole, known = measure_sentences(model, settings, ids), measure_sentences(model, settings, ids, known_only=True)
    assert (whole.count, known.count) == (9, 4)
    assert f"unknown   5 (55.6 %) of the tokens: perplexity {whole.perplexity:.1f} with them, " in text
    assert f"{known.perplexity:.1f} on the 4 others" in text and "Most of the text is unknown" in text
    (place / "known.txt").write_text("a b\nb a a\n", encoding="utf-8")
    text, _ = invoke("evaluate", best, "--text", place / "known.txt")
    assert "unknown   none of the tokens" in text and "Most of the text" not in text


def test_of_a_text_without_a_known_token_that_is_said(place: Path, tmp_path: Path) -> None:
    (tmp_path / "strange.txt").write_text("xyz", encoding="utf-8")
    options = [each for each in SMALL if each != "--lines"]
    invoke("train", "--text", place / "text.txt", "--level", "char", *options, "--out", tmp_path)
    best = tmp_path / "best.safetensors"
    assert "unknown   all of the tokens" in invoke("evaluate", best, "--text", tmp_path / "strange.txt")[0]
    # The first character of an unbroken text is given.
    assert invoke("score", best, text="xay")[0].split("\t")[1:] == ["2", "1", "xay\n"]


def test_score_has_a_column_of_unknown_tokens_before_the_sentence(place: Path, trained: str) -> None:
    text, _ = invoke("score", place / "run" / "best.safetensors", text="a b\nx\ty a\n")
    assert [line.split("\t", 3)[1:] for line in text.splitlines()] == [["3", "0", "a b"], ["4", "2", "x\ty a"]]


def test_the_score_of_nothing_has_no_unknown_token() -> None:
    model = LanguageModel(5, 3, 3)
    assert sentence_score(model, TextForm.of(Vocabulary("a"), LanguageOptions(level="char")), ["x"]) == (0.0, 0, 0)


# --- Word vectors ----------------------------------------------------------------------------------------------


def test_train_says_how_many_rows_the_word_vectors_set(place: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("a 1 2 3\nzebra 1 2 3\n", encoding="utf-8")
    line = ["train", "--text", place / "text.txt", *SMALL, "--vectors", vectors, "--out", tmp_path]
    out, errors = invoke(*line)
    assert f"vectors {vectors}: 1 row of the embedding's 8" in " ".join(out.split()) and errors == ""
    again, errors = invoke("train", "--resume", tmp_path / "last.safetensors", "--epochs", 2)
    assert "embedding's" not in again and errors == "", "they gave weights to begin with"


def test_word_vectors_of_no_word_are_a_warning_even_where_little_is_said(place: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("zebra 1 2 3\n", encoding="utf-8")
    line = ["train", "--text", place / "text.txt", *SMALL, "--vectors", vectors]
    for options in ([], ["--quiet"]):
        errors = " ".join(invoke(*line, "--out", tmp_path / f"run{len(options)}", *options)[1].split())
        assert errors.startswith("warning") and "has no vector of any of the 8 tokens" in errors
