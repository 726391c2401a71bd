"""The tasks of texts and their labels: formats of files, how a text is read, and what is shown of a model."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import SMALL, nothing

import tinygrad_rnn as tg
from tinygrad_rnn.data import TextError, library, read_labelled
from tinygrad_rnn.inspection.views import HeatMap
from tinygrad_rnn.tasks.classify import SHOWN_TEXTS, Classify
from tinygrad_rnn.tasks.finding import FoundTask, find_task
from tinygrad_rnn.tasks.looking import confusions
from tinygrad_rnn.tasks.names import ClassifyNames
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run

TEXTS = [("good", "What a film!"), ("bad", "It's NOT a film."), ("good", "A film, a song")] * 4


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content.encode(), mtime=0) if name.endswith(".gz") else content.encode())
    return path


def lines(pairs: list[tuple[str, str]]) -> str:
    return "".join(f"{label}\t{text}\n" for label, text in pairs)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    return written(tmp_path, "reviews.tsv", lines(TEXTS))


def task_of(**options: Any) -> Classify:
    return Classify(Classify.Options(**options), find_task("classify").new(Classify.Options()).cell, "classify")


def run_of(task: type[Classify] = Classify, **options: Any) -> Run:
    return new_run(FoundTask("own", task).new(task.Options(**{**SMALL, "min_count": 1, **options})), nothing)


# --- Files -----------------------------------------------------------------------------------------------------

texts = st.text("ab ,\"'\u00e9\u4e2d", min_size=1, max_size=8).map(str.strip).filter(bool)
label_texts = st.lists(st.text("ab,\"'\u00e9\u4e2d", min_size=1, max_size=4), min_size=1, max_size=3).map(" ".join)


@given(st.lists(st.tuples(label_texts, texts), min_size=1, max_size=4))
def test_the_same_examples_are_read_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    with (folder / "a.CSV").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("id", "text", "label"), *((i, text, label) for i, (label, text) in enumerate(pairs))]
        )
    objects = "\n".join(json.dumps({"text": text, "label": label, "id": [1]}) for label, text in pairs)
    names = {"a.txt": lines(pairs), "a.tsv.gz": lines(pairs), "a.jsonl": objects, "b.jsonl.gz": objects}
    for path in (folder / "a.CSV", *(written(folder, name, content) for name, content in names.items())):
        assert list(read_labelled(path)) == pairs, path


def test_columns_and_fields_are_found_by_their_names_and_numbers_are_labels(tmp_path: Path) -> None:
    rows = written(tmp_path, "a.csv", "stars,review\n5,fine\n 1 ,dull\n")
    objects = written(tmp_path, "a.jsonl", '{"stars": 5, "review": "fine"}\n{"stars": true, "review": 1.5}\n')
    found = [list(read_labelled(path, label="stars", text="review")) for path in (rows, objects)]
    assert found == [[("5", "fine"), ("1", "dull")], [("5", "fine"), ("true", "1.5")]]
    assert list(read_labelled(rows, label="0", text="1")) == found[0]
    assert list(read_labelled(written(tmp_path, "b.csv", 'label,text\n"a\nb",c\n'))) == [("a b", "c")]
    told = task_of(
        data=str(rows),
        label_column="stars",
        text_column="review",
    )
    assert list(told.read(str(rows))) == [(["fine"], "5"), (["dull"], "1")]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tsv", "", "a.tsv: some text was expected, got an empty file"),
        ("a.tsv", "good\ta\nbad b\n", "a.tsv, line 2: 2 columns with tabs between them were expected, got 1"),
        ("a.tsv", "good\t \n", "a.tsv, line 1: column 2 is empty"),
        ("a.csv", "label,body\nx,y\n", "a.csv: there is no column 'text'; its 2 columns are 'label', 'body'"),
        ("a.csv", "label,text\n", "a.csv: rows below the header were expected, got none"),
        ("a.csv", "label,text\nx,y,z\n", "a.csv, line 2: 2 columns were expected, as in the first row, got 3"),
        ("a.jsonl", '{"label": "x"}', "a.jsonl, line 1: there is no field 'text'; its fields are 'label'"),
        ("a.jsonl", '{"label": "x", "text": ["a"]}', """a.jsonl, line 1: field 'text' must be a text, got ["a"]"""),
        ("a.jsonl", '{"label": null, "text": "a"}', "a.jsonl, line 1: field 'label' is empty"),
        ("a.tsv", "x\ty\n", "3 parts must have an example each, got 1 examples"),
        ("a.tsv", "a\tone\nb\ttwo\na\tthree\nb\tfour\n", "a vocabulary needs a token that occurs 2 times or more"),
        ("a.tsv", "a\tx x\nb\tx x\nc\tx\nd\tx\n", "the training part must have every label"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    path = written(tmp_path, name, content)
    assert sentence in fails("train", "classify", "--data", path, "--epochs", 1, "--out", tmp_path / "run")


def test_labels_and_texts_in_one_column_are_none() -> None:
    with pytest.raises(TextError, match=r"a\.csv: labels and texts stand in two columns, got 'x' for both"):
        list(read_labelled("a.csv", label="x", text="x"))


# --- How a text is read ----------------------------------------------------------------------------------------


def test_words_are_lower_cased_and_characters_are_not_unless_told() -> None:
    assert task_of().parse("It's NOT a film.") == ["it's", "not", "a", "film", "."]
    assert task_of(lowercase=False).parse("A film") == ["A", "film"]
    assert task_of(level="char").parse(" Ab c\n") == list("Ab c")
    assert task_of(level="char", lowercase=True).parse("ABC") == list("abc")
    assert task_of().parse("") == [] == task_of(level="char").parse("  ")


def test_what_occurs_too_seldom_is_unknown(tmp_path: Path) -> None:
    path = str(written(tmp_path, "a.tsv", "a\tx x y\nb\tx y\n" * 10))
    tables = [run_of(data=path, min_count=least).task.tables["words"] for least in (1, 17, 20)]
    assert [table.tokens[4:] for table in tables] == [["x", "y"], ["x"], ["x"]]
    assert tables[1].encode(["y"]).tolist() == [tables[1].unknown]


def test_a_problem_is_read_as_the_options_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_rnn.tasks.classify.package_docstrings", lambda: [("One two. " * 30, "email")])

    def first(**options: Any) -> Any:
        return next(iter(task_of(**options).default(np.random.default_rng(0))))

    words, verdict = first()
    assert {"the", "was", "but"} <= {*words} and verdict in ("negative", "positive")
    assert first(level="char") == (list(" ".join(words)), verdict)
    assert first(problem="packages") == (["one", "two", "."] * 30, "email")
    assert first(problem="packages", level="char")[0][:5] == list("One t")


def test_of_a_long_text_the_model_reads_the_first_tokens_and_baselines_all(tmp_path: Path) -> None:
    pairs = [(f"l{i % 2}", f"x y x l{i % 2}") for i in range(40)]
    run = run_of(data=str(written(tmp_path, "long.tsv", lines(pairs))), max_length=3, pooling="attention")
    ids, lengths, _ = run.task.collate([("x y".split(), "l0"), ("x y x l1".split(), "l1")])
    assert lengths.tolist() == [2, 3] and ids.shape == (3, 2)
    assert run.data.about["baselines"]["logistic regression"] == 1.0
    views: Any = run.task.views(run.model, [("x y x l1".split(), "l1"), (["x"], "l0")])
    assert [list(view.columns) for view in views] == [["x", "y", "x"], ["x"]]


def test_one_direction_and_every_pooling_are_options(reviews: Path) -> None:
    for options in ({"bidirectional": False}, {"pooling": "attention"}, {"layers": 2}):
        model: Any = run_of(data=str(reviews), **options).model
        assert model.recurrent.directions == (1 if "bidirectional" in options else 2)
        assert model.pooling == options.get("pooling", "max")
        assert len(model.recurrent.cells) == model.recurrent.directions * options.get("layers", 1)


def test_word_vectors_of_a_file_are_the_first_ones(reviews: Path, tmp_path: Path) -> None:
    vectors = written(tmp_path, "vectors.txt", "film 1 2 3\nunheard 4 5 6\n")
    run = run_of(data=str(reviews), vectors=str(vectors))
    row = run.task.tables["words"].encode(["film"])
    assert run.model.embedding.weight.data[row].tolist() == [[1, 2, 3]]
    size = len(run.task.tables["words"])
    assert run.task.about_beginning() == [("vectors", f"{vectors}: 1 row of the embedding's {size}")]
    with pytest.raises(OptionError, match=r"--embedding 3 takes them"):
        run_of(data=str(reviews), vectors=str(vectors), embedding=4)
    with pytest.raises(OptionError, match="vectors are for words, and the level is char"):
        ClassifyNames.Options(vectors="v.txt")
    other = run_of(data=str(reviews), vectors=str(written(tmp_path, "other.txt", "unheard 4 5 6\n")))
    assert other.task.about_beginning() == []
    assert "has no vector of any of the" in other.task.warnings()[0] and run.task.warnings() == []


# --- What it is compared with, and what is shown ----------------------------------------------------------------


def test_baselines_know_neighbours_and_of_names_their_ends(tmp_path: Path) -> None:
    order = ["not good", "good not", "not bad", "bad not"] * 8
    pairs = [("no" if text in ("not good", "bad not") else "yes", text) for text in order]
    found = run_of(data=str(written(tmp_path, "a.tsv", lines(pairs)))).data.about["baselines"]
    assert found["logistic regression of 1..2-grams"] == found["naive Bayes of 1..2-grams"] == 1.0
    assert found["logistic regression"] < 1.0 and len(found) == 5
    # The last letter tells all, and which letters there are, and beside which, tells next to nothing.
    drawn = ["".join(row) for row in np.random.default_rng(0).choice(["a", "b"], (200, 7))]
    names = [("f" if name[-1] == "a" else "m", name) for name in drawn]
    path = str(written(tmp_path, "names.tsv", lines(names)))
    found = run_of(ClassifyNames, data=path).data.about["baselines"]
    assert found["endings"] == found["logistic regression of 1..3-grams"] == 1.0 and len(found) == 6
    assert found["logistic regression"] < 1.0


def test_where_attention_was_is_shown_and_what_was_taken_for_what_is_with_every_task_of_labels(reviews: Path) -> None:
    for pooling, views in (("max", 0), ("attention", SHOWN_TEXTS)):
        run = run_of(data=str(reviews), pooling=pooling)
        run.model.output.bias.data = np.array([0, 9], np.float32)
        examples: Any = list(run.task.read(str(reviews)))
        found: Any = run.task.views(run.model, examples)
        assert len(found) == views and all(type(view) is HeatMap for view in found)
        for view, (tokens, _) in zip(found, examples, strict=False):
            assert list(view.columns) == tokens and list(view.rows) == ["good"]
            np.testing.assert_allclose(view.values.sum(), 1, rtol=1e-5)
        (taken,) = confusions(run.task, run.measured(examples))
        assert isinstance(taken, HeatMap) and list(taken.rows) == ["bad", "good"]
        assert taken.values.tolist() == [[0, 4], [0, 8]]


def test_a_model_of_names_reads_a_line_as_it_was_trained(tmp_path: Path) -> None:
    names = [("f" if i % 3 else "m", f"{'an'[i % 2]}{'bcd'[i % 3]} {i % 7}") for i in range(40)]
    data = written(tmp_path, "names.csv", "kind,name\n" + "".join(f"{kind},{name}\n" for kind, name in names))
    columns = "--label-column kind --text-column name".split()
    small = "--hidden 3 --embedding 2 --epochs 1 --pooling attention --forward-only --quiet".split()
    works("train", "names", "--data", data, *columns, *small, "--out", tmp_path / "run")
    model = tg.tasks.load_model(tmp_path / "run" / "best.safetensors")
    assert model.predict(["ab 1", list("ab 1"), ""])[0] == model.predict([list("ab 1")])[0]
    assert "accuracy" in works("evaluate", tmp_path / "run" / "best.safetensors")


# --- Trained ---------------------------------------------------------------------------------------------------


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of the library is not kept in the user's cache folder."""
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_docstrings_are_told_by_their_package() -> None:
    found = tg.tasks.train("classify", problem="packages", epochs=4)
    assert found.result.metrics["accuracy"] >= 0.6
    assert Counter(y for _, y in found.task.default(np.random.default_rng(0))).keys() == {*found.tables["labels"]}


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_letters_tell_what_an_identifier_names() -> None:
    assert tg.tasks.train("names", epochs=3).result.metrics["accuracy"] >= 0.45
