"""The task `translate`: its pairs, its files, what it writes, and what is drawn of it."""

from __future__ import annotations

import datetime
import re
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works
from small_tasks import SMALL, nothing, same, steps

import tinygrad_rnn as tg
from tinygrad_rnn.data.translations import dates, reordered_sentences, reversals
from tinygrad_rnn.data.vocabulary import SPECIALS
from tinygrad_rnn.metrics import bleu, chrf
from tinygrad_rnn.tasks.finding import find_task, resume_run
from tinygrad_rnn.tasks.translate import Translate
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run

LINES = [(f"a{i} b{i % 3} c{' d' * (i % 2)}", f"C B{i % 3} A{i % 5}") for i in range(40)]


def translate_run(**options: Any) -> Run:
    found = find_task("translate")
    return new_run(found.new(found.task.Options(**{**SMALL, **options})), nothing)


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same pairs in one file and in two, and others."""
    folder = tmp_path_factory.mktemp("pairs")
    written(folder / "pairs.tsv", [f"{x}\t{y}\tCC BY 2.0" for x, y in LINES])
    written(folder / "all.en", [x for x, _ in LINES])
    written(folder / "all.de", [y for _, y in LINES])
    written(folder / "few.en", ["a b", "c"])
    written(folder / "few.de", ["B A", "C\tC"])
    return folder


# --- Its own pairs ---------------------------------------------------------------------------------------------


def test_every_date_is_another_day_whose_parts_are_all_in_what_is_written() -> None:
    pairs = dates(np.random.default_rng(0), 400)
    days = [datetime.date.fromisoformat("".join(y)) for _, y in pairs]
    assert len({"".join(y) for _, y in dates(np.random.default_rng(1), 3000)}) == 3000 and pairs == dates(
        np.random.default_rng(0), 400
    )
    assert len({re.sub(r"\d+", "0", re.sub("[A-Za-z]+", "a", "".join(x))) for x, _ in pairs}) >= 9, "ways to write it"
    weekdays = "monday tuesday wednesday thursday friday saturday sunday".split()
    months = "january february march april may june july august september october november december".split()
    for (x, _), day in zip(pairs, days, strict=True):
        text = "".join(x).lower()
        words, numbers = re.findall("[a-z]+", text), [int(number) for number in re.findall("[0-9]+", text)]
        assert numbers[-1] == day.year and day.day in numbers
        assert any(months[day.month - 1].startswith(word) for word in words if len(word) > 2) or numbers[1] == day.month
        said = [name for name in weekdays if any(name[:3] == word[:3] for word in words if word.endswith("day"))]
        assert said in ([], [weekdays[day.weekday()]])
        if (ordinal := re.search(r"\d(st|nd|rd|th)", text)) and day.day in (1, 2, 3, 11, 21, 22, 23, 31):
            assert ordinal[1] == {1: "st", 2: "nd", 3: "rd", 11: "th", 21: "st", 22: "nd", 23: "rd", 31: "st"}[day.day]


def german(source: list[str]) -> list[str]:
    """What a parser of the small grammar makes of an English sentence."""
    words = dict(
        zip(
            "the dog cat man bird child book tree house big red old small".split(),
            "d Hund Katz Mann Vogel Kind Buch Baum Haus grosse rote alte kleine".split(),
            strict=True,
        )
    )
    verbs = {"sees": "sieht", "eats": "isst", "loves": "liebt", "calls": "ruft an", "switches": "schaltet aus"}
    verbs["picks"] = "hebt auf"
    rest = iter([*source, ""])
    word = next(rest)

    def verb() -> list[str]:
        nonlocal word
        parts = verbs[word].split()
        if len(parts) == 2:
            next(rest)
        word = next(rest)
        return parts

    def thing() -> list[str]:
        nonlocal word
        found = []
        while word in words:
            found.append(words[word])
            word = next(rest)
        if word == "that":
            word = next(rest)
            parts = verb()
            found += [",", "der", *thing(), "".join(parts[::-1]), ","]
        return found

    subject = thing()
    first, *second = verb()
    return [*subject, first, *thing(), *second]


def test_sentences_are_reordered_as_their_grammar_says_and_symbols_reversed() -> None:
    pairs = reordered_sentences(np.random.default_rng(0), 300)
    assert len({tuple(x) for x, _ in pairs}) == 300 and all(german(x) == y for x, y in pairs)
    assert any(x.count("that") > 2 for x, _ in pairs) and pairs == reordered_sentences(np.random.default_rng(0), 300)
    backwards = reversals(np.random.default_rng(0), 300)
    assert len({tuple(x) for x, _ in backwards}) == 300 and all(x == y[::-1] for x, y in backwards)
    assert {len(x) for x, _ in backwards} == {*range(3, 13)}


# --- Files -----------------------------------------------------------------------------------------------------


def test_one_file_of_pairs_and_two_files_of_as_many_lines_are_the_same_examples(files: Path) -> None:
    one = translate_run(data=str(files / "pairs.tsv"))
    two = translate_run(data=str(files / "all.en"), target=(str(files / "all.de"),))
    assert one.data.about["sha256"] == two.data.about["sha256"] and one.data.train == two.data.train
    assert {(" ".join(x), " ".join(y)) for x, y in one.data.train} <= {*LINES}
    chars = translate_run(data=str(files / "all.en"), target=(str(files / "all.de"),), level="char")
    assert ("".join(chars.data.train[0][0]), "".join(chars.data.train[0][1])) in LINES


def test_each_file_of_sources_has_its_targets_in_the_order_of_the_files(files: Path, tmp_path: Path) -> None:
    names = {"data": "all", "valid": "few", "test": "few"}
    options: dict[str, Any] = {name: str(files / f"{file}.en") for name, file in names.items()}
    options["target"] = tuple(str(files / f"{file}.de") for file in names.values())
    run = translate_run(**options)
    assert run.data.valid == run.data.test == [(["a", "b"], ["B", "A"]), (["c"], ["C", "C"])]
    assert len(run.data.train) == 40
    steps(run, 3)
    run.save(tmp_path / "last.safetensors")
    again = resume_run(tmp_path / "last.safetensors", nothing)
    steps(run, 2)
    steps(again, 2)
    same(run, again, tmp_path)
    with pytest.raises(OptionError, match=r"--target must be there once for each file of sources \(.*few\.en"):
        translate_run(**{**options, "target": options["target"][:2]})
    assert run.options.of_file("other.tsv", "utf-8").target == ()


def test_a_column_without_text_is_passed_by_and_a_vocabulary_may_be_small(tmp_path: Path) -> None:
    lines = ["a a b\t\tx x y\tz"] * 9 + ["c a b\tx z"]
    run = translate_run(data=str(written(tmp_path / "odd.tsv", lines)), vocab_size=6, valid_fraction=0.2)
    assert run.data.train.count((["a", "a", "b"], ["x", "x", "y"])) >= 6
    assert [len(run.task.tables[side]) for side in ("source", "target")] == [6, 6]
    assert len(translate_run(data=str(tmp_path / "odd.tsv"), vocab_size=99).task.tables["source"]) <= 7


# --- The model's answers ---------------------------------------------------------------------------------------


def test_the_loss_of_a_batch_is_that_of_each_example_alone_and_counts_the_ends(files: Path) -> None:
    run = translate_run(data=str(files / "pairs.tsv"))
    part = [(["c"], ["C"]), (["a3", "b0", "c"], ["C", "B0", "A3"]), (["c", "d"], [])]
    found = [
        run.task.loss(run.model, run.task.collate(some), None, None) for some in (part, *([each] for each in part))
    ]
    assert found[0][0].item() == pytest.approx(sum(each[0].item() for each in found[1:]), rel=1e-5)
    assert [count for _, count, _ in found] == [7, 2, 4, 1]


@pytest.mark.parametrize("beam", [1, 2])
def test_no_special_token_is_ever_written_and_an_unknown_one_is_read(files: Path, beam: int) -> None:
    run = translate_run(data=str(files / "pairs.tsv"), beam=beam, attention="dot")
    task, model = run.task, run.model
    bias = np.zeros(len(task.tables["target"]), np.float32)
    bias[[i for i in range(len(SPECIALS)) if i != 3]], bias[3] = 50.0, -500.0
    model.output.bias.data = bias
    for said in task.predict(model, task.collate([(["never", "seen"], None), (["c"], None)])):
        assert len(said) == 2 * task.tables["longest"] == 6 and not {*said} & {*SPECIALS}
    bias[3] = 100.0
    assert task.predict(model, task.collate([(["c"], None)])) == [[]]


def test_a_beam_is_as_wide_as_it_is_told_to_be(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    run = translate_run(data=str(files / "pairs.tsv"), beam=3)
    decode = run.model.decode

    def heard(*args: Any, **options: Any) -> Any:
        asked.append(options.get("beam"))
        return decode(*args, **options)

    monkeypatch.setattr(run.model, "decode", heard)
    batch, task = run.task.collate([(["c"], None)]), run.task
    assert isinstance(task, Translate)
    for beam in (None, 1, 4):
        task.predict(run.model, batch, beam)
    assert asked == [3, None, 4]


def test_the_metric_is_the_one_that_was_asked_for_and_its_own_problems_are_right_or_wrong() -> None:
    cases: list[tuple[dict[str, Any], str, bool]] = [
        ({}, "exact", True),
        ({"data": "a"}, "error", False),
        ({"metric": "error"}, "error", False),
    ]
    for options, metric, higher in cases:
        task = find_task("translate").new(Translate.Options(**options))
        assert (task.metric, task.higher, task.worst) == (metric, higher, -np.inf if higher else np.inf)
    found = task.score([["a", "b"], ["c"]], [["a", "b"], ["d"]])
    assert found["exact"] == 0.5 and found["error"] == pytest.approx(1 / 3)


def test_alignments_of_the_first_examples_are_drawn_and_each_symbol_s_sum_to_1(files: Path) -> None:
    run = translate_run(data=str(files / "pairs.tsv"))
    examples, bias = [*run.data.test, *run.data.train], run.model.output.bias.data
    bias[3] = 100.0
    assert [*run.task.views(run.model, examples)] == [], "of nothing there is nothing to draw"
    bias[3] = -100.0
    views = run.task.views(run.model, examples)
    assert len(views) == 4
    for view, (source, _) in zip(views, examples, strict=False):
        assert isinstance(view, tg.inspection.views.HeatMap) and list(view.columns) == source
        np.testing.assert_allclose(view.values.sum(axis=1), 1, rtol=1e-5)
        batch = run.task.collate([(source, list(view.rows))])
        alone = run.model(*batch[:3])[1].numpy()[:-1, 0]
        np.testing.assert_allclose(view.values, alone, rtol=1e-4)
    said = run.task.predict(run.model, run.task.collate([(x, None) for x, _ in examples[:4]]))
    assert [list(view.rows) for view in views] == said  # type: ignore[union-attr]  # heat maps
    plain = translate_run(data=str(files / "pairs.tsv"), attention="none")
    assert [*plain.task.views(plain.model, examples)] == []


# --- BLEU and chrF ---------------------------------------------------------------------------------------------

RIGHT, SAID = ["the cat sat on the mat .", "there is a dog here ."], ["the cat sat on a mat .", "there is the dog ."]


def test_bleu_and_chrf_are_those_of_sacrebleu() -> None:
    pytest.importorskip("sacrebleu")
    # sacrebleu 2.6.0: corpus_bleu and corpus_chrf of these
    assert bleu(RIGHT, SAID) == pytest.approx(33.3966705, abs=1e-6)
    assert chrf(RIGHT, SAID) == pytest.approx(55.8409051, abs=1e-6)


def test_without_sacrebleu_they_say_what_to_install_and_with_it_words_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = find_task("translate").new(Translate.Options(problem="grammar"))  # type: ignore[call-arg]  # of such a class
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    for metric in (bleu, chrf):
        message = rf"{metric.__name__} needs sacrebleu, .* pip install 'tinygrad-rnn\[translate\]'"
        with pytest.raises(ModuleNotFoundError, match=message):
            metric(RIGHT, SAID)
    with pytest.raises(ValueError, match="as many entries, got 2 and 1"):
        bleu(RIGHT, SAID[:1])
    asked: list[Any] = []

    def scored(said: Any, gold: Any, force: bool = False) -> Any:
        asked.append((list(said), [list(each) for each in gold]))
        return types.SimpleNamespace(score=12.0)

    stand_in: Any = types.ModuleType("sacrebleu")
    stand_in.__spec__ = ModuleSpec("sacrebleu", None)
    stand_in.corpus_bleu = stand_in.corpus_chrf = scored
    monkeypatch.setitem(sys.modules, "sacrebleu", stand_in)
    assert task.score([["a", "b"]], [["a"]]) == {"exact": 0.0, "error": 0.5, "BLEU": 12.0, "chrF": 12.0}
    assert asked == [(["a"], [["a b"]])] * 2
    assert "BLEU" not in find_task("translate").new(Translate.Options()).score([["a"]], [["a"]])


# --- As it is typed --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_trains_evaluates_and_predicts_as_it_is_typed(files: Path, tmp_path: Path) -> None:
    small = "--hidden 4 --embedding 3 --epochs 1 --quiet --batch-size 8".split()
    data = "--data", files / "all.en", "--target", files / "all.de"
    text = works("train", "translate", *data, *small, "--softmax", "two-level", "--out", tmp_path / "run")
    assert "result    exact " in text and "nearest neighbour" in text and "word for word" in text
    best = tmp_path / "run" / "best.safetensors"
    assert "only its test part is measured" in " ".join(works("evaluate", best, "--data", files / "pairs.tsv").split())
    assert works("predict", best, "--beam", 2, text="a3 c\n\nnever seen\n").count("\n") == 3
    for line, message in (
        ([*data[:2]], r"all\.en, line 1: 2 columns with tabs between them were expected, got 1"),
        ([*data[:3], files / "few.de"], "all.en has 40 lines and .*few.de has 2 lines"),
        (["--target", files / "all.de"], r"--target must be there once for each file of sources \(none\)"),
        ([*data, "--hidden", 5], "hidden must be even and above 0, got 5"),
        ([*data, "--vocab-size", 3], "the size of the vocabulary must be from 5 to"),
    ):
        assert re.search(message, fails("train", "translate", *line, *small[2:], "--out", tmp_path / "no"))


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "epochs", "least"), [("dates", 2, 0.95), ("grammar", 3, 0.9)])
def test_translations_are_nearly_right_after_few_epochs(problem: str, epochs: int, least: float) -> None:
    assert tg.tasks.train("translate", problem=problem, epochs=epochs).result.metrics["exact"] >= least
