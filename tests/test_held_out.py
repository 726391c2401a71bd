"""What validates a model, and how: lines that stand alone, streams that are warmed up, a text of one's own; and runs
that were begun before there was any of this."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinygrad_rnn.cli import main
from tinygrad_rnn.data import TextError, Vocabulary
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.tasks.language.corpus import read_corpus
from tinygrad_rnn.tasks.language.held_out import LONG_SENTENCE, LineOrder, remarks_on_split
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.text_data import TextData, measure_sentences, prepare
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.options import OptionError

SMALL = "--layers 1 --hidden 3 --embedding 3 --epochs 1 --batch-size 8 --sentences 0".split()


def works(*args: object) -> str:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def nothing(text: str) -> None:
    """A note that nobody reads."""


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """100 names, in order."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"{a}{b}a" for a in "abcdefghij" for b in "abcdefghij"), encoding="utf-8")
    return path


def data_of(settings: LanguageOptions) -> TextData:
    return prepare(settings, read_corpus(settings, nothing))


def spelled_out(data: TextData, part: str) -> list[str]:
    return ["".join(data.vocabulary.decode(ids[1:-1])) for ids in getattr(data, part)]


# --- Streams that are warmed up --------------------------------------------------------------------------------


def model_of(cell: str | type[Cell] = "gru") -> LanguageModel:
    return LanguageModel(9, 4, 6, cell=cell, dtype=np.float64, rng=np.random.default_rng(1))


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("marks", [True, False])
def test_the_validation_of_streams_does_not_depend_on_how_many_there_are(marks: bool, cell: str) -> None:
    rng, model = np.random.default_rng(0), model_of(cell)
    text = rng.integers(Vocabulary.end + 1, 9, 3500)
    ids = [np.array([Vocabulary.start, *part, Vocabulary.end]) for part in np.split(text, 500)] if marks else [text]

    def nats(batch_size: int, **options: Any) -> tuple[float, int]:
        found = measure_sentences(model, LanguageOptions(batch_size=batch_size, steps=200, **options), ids)
        return found.loss, found.count

    (alone, tokens), (cold, counted) = nats(1), nats(32, warm_up=0)
    assert counted == tokens and abs(cold - alone) > 2e-6, "the test must be able to see it"
    for batch_size in (2, 8, 32):
        found, counted = nats(batch_size)
        assert counted == tokens and found == pytest.approx(alone, abs=abs(cold - alone) / 10)
    assert nats(1, warm_up=0) == (alone, tokens), "the first stream has nothing before it"


# --- Lines that stand alone ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "streams", "shuffled"),
    [
        ({}, True, False),
        ({"level": "char"}, True, False),
        ({"lines": True}, False, True),
        ({"csv": "a.csv"}, False, True),
        ({"csv": "a.csv", "level": "char"}, False, True),
        ({"lines": True, "batching": "stream"}, True, False),
        ({"lines": True, "shuffle": False}, False, False),
        ({"batching": "sentences"}, False, False),
        ({"batching": "sentences", "shuffle": True}, False, True),
    ],
)
def test_lists_stand_alone_and_are_shuffled_and_other_texts_are_read_in_order(
    options: dict[str, Any], streams: bool, shuffled: bool
) -> None:
    settings = LanguageOptions(**options)
    assert (settings.streams, settings.shuffled) == (streams, shuffled)
    assert LanguageOptions.from_json(settings.to_json()) == settings


def test_the_validation_part_of_a_list_is_drawn_from_all_of_it_by_the_seed(names: Path) -> None:
    def part(**options: Any) -> list[str]:
        return spelled_out(data_of(LanguageOptions(text=(str(names),), lines=True, level="char", **options)), "valid")

    drawn = part()
    assert len(drawn) == 10 and len({name[0] for name in drawn}) > 4
    assert drawn == part() != part(seed=1)
    assert part(shuffle=False) == part(batching="stream") == [f"j{b}a" for b in "abcdefghij"]


def test_a_list_is_measured_line_by_line(names: Path, tmp_path: Path) -> None:
    works("train", "--text", names, "--lines", "--level", "char", *SMALL, "--out", tmp_path / "run")
    model, vocabulary, settings, meta = load_language_model(tmp_path / "run" / "best.safetensors")
    valid = data_of(settings).valid
    alone = [measure_sentences(model, settings, [ids]) for ids in valid]
    total = sum(found.loss * found.count for found in alone) / sum(found.count for found in alone)
    assert meta["best"] == pytest.approx(total, rel=1e-5)
    assert vocabulary.start in valid[0] and len({len(ids) for ids in valid}) == 1
    text = works("evaluate", tmp_path / "run" / "best.safetensors")
    assert f"{meta['best']:.4f} nats per {settings.unit}" in text


def test_a_model_of_a_table_reads_another_text_sentence_by_sentence_too(tmp_path: Path) -> None:
    table, text = tmp_path / "table.csv", tmp_path / "text.txt"
    table.write_text("body\n" + "\n".join(f"{a} {b}" for a in "abcd" for b in "efgh"), encoding="utf-8")
    text.write_text("a e\n\nb f", encoding="utf-8")
    works("train", "--csv", table, *SMALL, "--out", tmp_path)
    best = tmp_path / "best.safetensors"
    scores = CliRunner().invoke(main, ["score", str(best)], input="a e\nb f\n").output.splitlines()
    assert [line.split("\t")[1] for line in scores] == ["3", "3"]
    nats = -sum(float(line.split("\t")[0]) for line in scores) / 6
    assert f"{nats:.3f}"[:-1] in works("evaluate", best, "--text", text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shuffle": True}, "shuffle is for sentences that stand alone"),
        ({"shuffle": True, "lines": True, "batching": "stream"}, "read as a stream"),
        ({"shuffle": True, "level": "char", "batching": "sentences"}, "one of characters"),
        ({"shuffle": True, "lines": True, "valid": "v.txt"}, "shuffle is for a text that is split in two"),
        ({"valid_fraction": 0.2, "valid": "v.txt"}, "valid_fraction is for a text that is split in two"),
        ({"warm_up": -1}, "warm_up must be from 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        LanguageOptions(**options)


# --- A text of one's own ---------------------------------------------------------------------------------------


def test_a_validation_text_of_one_s_own_is_used_whole_and_the_corpus_too(names: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("zoe\nbea\n", encoding="utf-8")
    arguments = ["train", "--text", names, "--lines", "--level", "char", *SMALL, "--valid", own, "--out", tmp_path]
    text = works(*arguments)
    assert "100 training and 2 validation sentences" in text and str(own) in text
    best = tmp_path / "best.safetensors"
    _, vocabulary, settings, meta = load_language_model(best)
    data = data_of(settings)
    assert spelled_out(data, "valid")[1] == "bea" and "z" not in vocabulary
    assert meta["data"]["sha256"] == data.about["sha256"]
    assert f"{meta['best']:.4f} nats" in works("evaluate", best)
    whole = works("evaluate", best, "--text", own)
    assert f"{meta['best']:.4f} nats" in whole
    own.write_text("zoe\nbea\nada\n", encoding="utf-8")
    assert "changed" in CliRunner().invoke(main, ["evaluate", str(best)]).output
    own.unlink()
    works("evaluate", best, "--text", names)


def test_a_validation_table_has_the_column_of_the_other_and_a_missing_one_is_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"id,body\n1,one {name}\n2,two {name}\n", encoding="utf-8")
    settings = LanguageOptions(csv=str(tmp_path / "a.csv"), column="body", valid=str(tmp_path / "b.csv"))
    valid = read_corpus(settings, nothing).valid
    assert valid is not None and valid.to_lists() == [["one", "b"], ["two", "b"]]
    with pytest.raises(TextError, match=r"missing\.csv: cannot be read"):
        read_corpus(LanguageOptions(csv=str(tmp_path / "a.csv"), valid=str(tmp_path / "missing.csv")), nothing)


# --- What is remarked ------------------------------------------------------------------------------------------

LINES = [[f"{a}{b}"] for a in "abcdefgh" for b in "abcdefgh"]
PROSE = [
    [word]
    for word in (
        "the a of to and in that it is was for on with as be at by this had not are but from "
        "or have an they which one you were all her she there would their we him been"
    ).split()
]


def remarks(settings: LanguageOptions, parts: list[tuple[str, int]], lines: list[list[str]]) -> list[str]:
    """On a corpus of these sentences."""
    order = LineOrder()
    for tokens in lines:
        for line in "".join(tokens).split("\n") if settings.unbroken else [" ".join(tokens)]:
            order.see(line)
    return remarks_on_split(settings, parts, max(map(len, lines)), order.nearly_sorted)


@pytest.mark.parametrize("lines", [LINES, LINES[::-1], [["Aa"], *LINES], [*LINES, ["mm"]]])
def test_a_sorted_list_whose_end_would_validate_is_remarked(lines: list[list[str]]) -> None:
    (remark,) = remarks(LanguageOptions(lines=True, shuffle=False), [("a", 9)], lines)
    assert "alphabetical" in remark and "--valid FILE" in remark and "--shuffle" in remark
    (remark,) = remarks(LanguageOptions(lines=True, batching="stream"), [("a", 9)], lines)
    assert "--shuffle" not in remark, "which streams do not have"
    assert remarks(LanguageOptions(lines=True), [("a", 9)], lines) == []
    assert remarks(LanguageOptions(valid="v.txt"), [("a", 9)], lines) == []
    whole = [list("\n".join(line[0] for line in lines))]
    assert "alphabetical" in remarks(LanguageOptions(level="char"), [("a", 9)], whole)[0]


def test_other_texts_are_not_remarked() -> None:
    for lines in (PROSE, LINES[:5], [["same"]] * 50):
        assert remarks(LanguageOptions(), [("a", 9)], lines) == []


@pytest.mark.parametrize(
    ("sizes", "named"),
    [([50, 50], "of b alone"), ([90, 10], "of b alone"), ([95, 5], "of a and b"), ([4, 4, 92], "of c alone")],
)
def test_of_several_texts_those_that_the_validation_part_is_from_are_named(sizes: list[int], named: str) -> None:
    parts = list(zip("abc", sizes, strict=False))
    (remark,) = remarks(LanguageOptions(), parts, PROSE)
    assert f"{named} (" in remark and "--valid FILE" in remark
    assert remarks(LanguageOptions(lines=True), parts, PROSE) == []


def test_a_sentence_so_long_that_it_takes_memory_is_remarked() -> None:
    long = [["a"] * (LONG_SENTENCE + 1), ["b"]]
    assert "1,001 tokens" in remarks(LanguageOptions(lines=True), [], long)[0]
    assert remarks(LanguageOptions(), [], long) == []


def test_remarks_reach_whoever_trains(names: Path, tmp_path: Path) -> None:
    text = works("train", "--text", names, "--lines", "--no-shuffle", *SMALL, "--vocab-size", 50, "--out", tmp_path)
    assert "note" in text and "alphabetical" in text
    assert "alphabetical" not in works("evaluate", tmp_path / "best.safetensors")


# --- Runs from before ------------------------------------------------------------------------------------------

BEFORE = Path(__file__).parent / "checkpoints"
"""A run of `train --text trees.txt --lines --layers 1 --hidden 2 --embedding 2 --batch-size 4 --steps 5 --epochs 2` by
a version for which that meant streams in the order of the text, not warmed up; and its text."""
HISTORY = [2.2820340156555177, 2.2401570796966555, 2.205531454086304, 2.178099036216736]
"""Of that version's run of four epochs."""


@pytest.fixture
def run_from_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in BEFORE.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lines_in_streams.safetensors"


def test_a_run_from_before_goes_on_with_its_own_batching_order_split_and_validation(run_from_before: Path) -> None:
    run = resume_run(run_from_before, nothing, epochs=4)
    assert (run.options.streams, run.options.shuffled, run.options.warm_up) == (True, False, 0)
    last = (run_from_before.parent / "trees.txt").read_text(encoding="utf-8").split("\n")[-4:]
    assert [" ".join(run.task.tables["vocabulary"].decode(ids[1:-1])) for ids in run.data.valid] == last
    assert run.validate().loss == pytest.approx(run.best, rel=1e-6)
    train_run(run, run_from_before.parent / "run", Listener())
    assert [each["valid_nats"] for each in run.history] == pytest.approx(HISTORY, rel=1e-6)
    again = resume_run(run_from_before.parent / "run" / "last.safetensors", nothing)
    assert again.options == run.options and math.isclose(again.best, HISTORY[-1], rel_tol=1e-6)


def test_a_run_from_before_is_evaluated_as_it_was_and_says_so(run_from_before: Path) -> None:
    text = works("evaluate", run_from_before)
    assert f"{HISTORY[1]:.4f} nats per token on 20 tokens" in text
    assert "4 streams without a warm-up" in text


def test_sentences_from_before_stay_sentences_in_the_order_of_the_text() -> None:
    saved = LanguageOptions(lines=True, batching="sentences").to_json()
    for name in ("warm_up", "shuffle", "valid"):
        del saved[name]
    settings = LanguageOptions.from_json(saved)
    assert not settings.streams and not settings.shuffled
