"""Tags: roles of names in code, the tagger with letters and a CRF, files in columns, and n-grams of tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import TagNgrams
from tinygrad_rnn.data import code_roles as roles_of_code
from tinygrad_rnn.data.code_roles import NAMELESS, code_roles, tagged_lines
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.models import Tagger
from tinygrad_rnn.models.tagger import NO_TAG
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.tag import Tag

SENTENCES: list[Any] = [(["a", "bb", "a"], ["X", "Y", "X"]), (["ccc"], ["Y"])]


def tag(**options: Any) -> Tag:
    found = find_task("tag")
    task = found.new(found.task.Options(**{"hidden": 4, "embedding": 3, "dtype": "float64", **options}))
    assert isinstance(task, Tag)
    return task


def test_the_roles_of_names_are_those_of_the_parser() -> None:
    source = "import os\n\nclass A(B):\n    def f(self, x=1):  # a comment\n        y = self.g(x, key='k').h\n"
    found = [dict(zip(words, roles, strict=True)) for words, roles in tagged_lines(source)]
    assert found[0] == {"import": "KEYWORD", "os": "IMPORT"}
    assert found[1]["A"] == "CLASS" and found[1]["B"] == "READ"
    roles = found[2]["f"], found[2]["self"], found[2]["x"], found[2]["0"]
    assert roles == ("FUNCTION", "PARAMETER", "PARAMETER", "NUMBER")
    line = found[3]
    roles = line["y"], line["self"], line["g"], line["x"]
    assert roles == ("STORE", "READ", "METHOD", "READ")
    assert (line["key"], line["h"], line['""']) == ("KEYWORD-ARGUMENT", "ATTRIBUTE", "STRING")


def test_lines_of_code_are_different_and_drawn_by_the_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "x = 1\ny = f(x, key='k')\ny = f(x, key='k')\nreturned(a, b)\n"
    sources = {"a": code, "again": code, "broken": "def (\n", "not_ascii": "é = f(é, é)"}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(roles_of_code, "library_text", lambda name, made: made(tmp_path))
    lines = code_roles(np.random.default_rng(0), 2)
    assert sorted(" ".join(words) for words, _ in lines) == ["returned ( a , b )", 'y = f ( x , key = "" )']
    assert all(len(words) == len(roles) and {*roles} - {*NAMELESS} for words, roles in lines)
    orders = {str(code_roles(np.random.default_rng(seed), 2)) for seed in range(9)}
    assert str(lines) == str(code_roles(np.random.default_rng(0), 2)) and len(orders) == 2
    with pytest.raises(TextError, match="without the sources of its library: name a file with --data"):
        code_roles(np.random.default_rng(0), 3)


# --- The model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"letters": False}, {"crf": True, "layers": 2}])
def test_padding_and_other_sentences_change_neither_scores_nor_tags(options: dict[str, Any]) -> None:
    task = tag(**options)
    task.tables = task.prepare(SENTENCES * 2)
    model: Any = task.build(np.random.default_rng(0))
    batch = task.collate(SENTENCES)
    together = model(*batch[:3]).numpy()
    for row, example in enumerate(SENTENCES):
        alone = task.collate([example])
        np.testing.assert_allclose(together[: len(example[0]), row], model(*alone[:3]).numpy()[:, 0], rtol=1e-10)
        assert task.predict(model, alone)[0] == task.predict(model, batch)[row]
    whole, count, _ = task.loss(model, batch, None, None)
    parts = [task.loss(model, task.collate([example]), None, None) for example in SENTENCES]
    assert whole.item() == pytest.approx(sum(part[0].item() for part in parts)) and count == 4


def test_words_are_read_as_unknown_ones_while_training_alone() -> None:
    task = tag(word_dropout=0.999, letters=False, dropout=0.0)
    task.tables = task.prepare(SENTENCES * 2)
    model: Any = task.build(np.random.default_rng(0))
    ids, lengths, spelled, tags = task.collate(SENTENCES)
    unknown = np.full_like(ids, task.tables["words"].unknown), lengths, spelled, tags
    for batch, rng in (((ids, lengths, spelled, tags), np.random.default_rng(0)), (unknown, None)):
        hidden = task.loss(model, batch, rng, None)[0].item()
        assert hidden == pytest.approx(task.loss(model, unknown, None, None)[0].item())
    assert hidden != pytest.approx(task.loss(model, (ids, lengths, spelled, tags), None, None)[0].item())


def test_gradients_reach_letters_and_the_crf_and_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    model = Tagger(6, 3, 2, 2, num_letters=5, crf=True, dtype=np.float64, rng=rng)
    ids, lengths, tags = np.array([[4, 5], [5, 0]]), np.array([2, 1]), np.array([[0, 2], [1, NO_TAG]])
    spelled = np.array([[4, 3], [2, 0]]), np.array([2, 1]), np.array([[0, 1], [1, 0]])
    model.loss(model(ids, lengths, spelled), tags, lengths).backward()
    parameters = [parameter for _, parameter in model.named_parameters()]
    gradients = [p.grad.dense() if isinstance(p.grad, tg.RowSparse) else p.grad for p in parameters]
    assert all(np.abs(gradient).max() > 1e-6 for gradient in gradients)
    directions = [rng.normal(size=p.shape) for p in parameters]
    before, values = [p.data.copy() for p in parameters], []
    for step in (1e-5, -1e-5):
        for parameter, value, direction in zip(parameters, before, directions, strict=True):
            parameter.data = value + step * direction
        values.append(model.loss(model(ids, lengths, spelled), tags, lengths).item())
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_letters_are_given_where_they_are_read() -> None:
    ids, lengths = np.zeros((1, 1), dtype=np.int64), np.array([1])
    with pytest.raises(ValueError, match="a tagger with num_letters was expected"):
        Tagger(5, 2, 2, 2)(ids, lengths, (ids, lengths, ids))
    with pytest.raises(ValueError, match="a tagger without num_letters was expected"):
        Tagger(5, 2, 2, 2, num_letters=5)(ids, lengths)


# --- The task --------------------------------------------------------------------------------------------------


def test_names_are_what_counts_in_code_and_spans_where_tags_mark_them() -> None:
    gold, said = [["KEYWORD", "READ", "CALL"]], [["OPERATOR", "READ", "READ"]]
    assert tag().metric == "names" and tag().score(gold, said) == {"accuracy": 1 / 3, "names": 0.5}
    other = tag(data="a.conll")
    assert other.metric == "accuracy" and other.score(gold, said) == {"accuracy": 1 / 3}
    spans = other.score([["B-X", "I-X", "O"], ["O"]], [["B-X", "O", "O"], ["O"]])
    assert spans == {"accuracy": 0.75, "span F1": 0.0} and "span F1" not in other.score([["O"]], [["O"]])


@pytest.mark.parametrize("options", [[], ["--crf"], ["--no-letters"]])
def test_a_tagger_learns_from_a_file_of_columns(options: list[str], tmp_path: Path) -> None:
    rows = [[f"{i}\tw{i % 7}\tO", f"{i}\tw{i % 5}\tB-X", f"{i}\tv{i % 3}\tI-X"] for i in range(40)]
    data = tmp_path / "tags.conll"
    data.write_text("\n\n".join("\n".join(row) for row in rows), encoding="utf-8")
    line = ["train", "tag", "--data", data, "--word-column", 1, *"--epochs 1 --quiet --hidden 4 --embedding 3".split()]
    works(*line, *options, "--out", tmp_path / "run")
    best = tmp_path / "run" / "best.safetensors"
    assert len(works("predict", best, text="w1 never v2\n").split()) == 3
    result = works("evaluate", best)
    assert "accuracy" in result and "span F1" in result and "gold \\ said" in result
    assert "a column of index 9 was expected" in fails(*line, "--tag-column", 9, "--out", tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "options", "columns"),
    [
        ("a.conllu", {}, (1, 3)),
        ("a.conllu", {"tag_column": 4}, (1, 4)),
        ("a.txt", {}, (0, 9)),
        ("a.txt", {"word_column": 2, "tag_column": 0}, (2, 0)),
    ],
)
def test_columns_are_those_of_the_format_unless_told(
    name: str, options: dict[str, Any], columns: tuple[int, int], tmp_path: Path
) -> None:
    rows = [[f"{line}{column}" for column in range(10)] for line in "ab"]
    (tmp_path / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    task = find_task("tag").new(Tag.Options(data=str(tmp_path / name), **options))
    assert list(task.read(str(tmp_path / name))) == [tuple([row[column] for row in rows] for column in columns)]


def test_a_tag_that_only_the_test_part_has_counts_as_wrong_and_not_in_the_loss(tmp_path: Path) -> None:
    for name, text in (("train", "a\tX\nb\tY\n\n" * 8), ("test", "a\tX\nb\tNEW\n\n" * 8)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = ["--data", tmp_path / "train", "--valid", tmp_path / "train", "--test", tmp_path / "test"]
    options = "--epochs 1 --quiet --hidden 4 --embedding 3 --min-count 1".split()
    text = works("train", "tag", *files, *options, "--out", tmp_path / "run")
    assert "on 8 test words" in text and "NEW 0.000" in text


def test_the_tag_before_decides_where_the_word_does_not() -> None:
    sentences = [
        (["x", "same"], ["X", "AFTER-X"]),
        (["y", "same"], ["Y", "AFTER-Y"]),
        (["z", "same"], ["X", "AFTER-X"]),
    ]
    inputs, outputs = zip(*sentences, strict=True)
    assert TagNgrams(2).fit(inputs, outputs).predict(inputs) == list(outputs)
    assert TagNgrams(1).fit(inputs, outputs).predict([["y", "same", "new"]]) == [["Y", "AFTER-X", "X"]]
    with pytest.raises(TextError, match="order must be at least 1, got 0"):
        TagNgrams(0)
    with pytest.raises(TextError, match="need a word, got none"):
        TagNgrams(1).fit([[]], [[]])


@pytest.mark.slow
def test_the_roles_of_names_are_learnt() -> None:
    found = tg.tasks.train("tag", epochs=1, batch_size=16)
    assert found.result.metrics["names"] >= 0.9
