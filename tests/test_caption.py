"""Captions: scenes, the model that writes about a vector, files, and what a linear method can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import LinearWords
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.scenes import FEATURES, scene
from tinygrad_rnn.models import Captioner
from tinygrad_rnn.tasks.finding import find_task


def seen(vector: Any) -> str:
    """The caption of a scene without noise, read off its vector."""
    things = []
    for slot in vector.reshape(2, -1):
        if slot[10]:
            words = "circle square triangle star red blue green yellow small large".split()
            shape, colour, size = (word for word, there in zip(words, slot, strict=False) if there)
            things.append((float(slot[11]), float(slot[12]), f"a {size} {colour} {shape}"))
    things.sort()
    between = " above " if len(things) == 2 and things[0][1] > things[1][1] else " below "
    return between.join(thing[2] for thing in things)


@given(st.integers(0, 10_000))
def test_the_caption_of_a_scene_is_what_its_vector_shows_from_left_to_right(seed: int) -> None:
    vector, text = scene(np.random.default_rng(seed), noise=0.0)
    assert vector.shape == (FEATURES,) and vector.dtype == np.float32 and seen(vector) == text
    noisy, same = scene(np.random.default_rng(seed))
    assert same == text and np.abs(noisy - vector).max() < 0.4 and (noisy != vector).any()


def test_no_caption_is_tested_that_was_learnt() -> None:
    found = find_task("caption")
    task = found.new(found.task.Options())
    parts = task.split([scene(np.random.default_rng(i)) for i in range(300)])
    texts = [{text for _, text in part} for part in parts]
    assert all(texts) and not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])
    assert sum(map(len, parts)) == 300
    with pytest.raises(TextError, match="three different texts were expected, one for each part, got 2"):
        task.split([(np.zeros(1), text) for text in ("a", "b", "a")])


def model_of(**options: Any) -> Captioner:
    return Captioner(3, 6, 4, 5, dtype=np.float64, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_caption_is_written_word_by_word_as_it_is_read(layers: int) -> None:
    model, vectors = model_of(num_layers=layers), np.random.default_rng(1).normal(size=(3, 3))
    found = model.write(vectors, 2, 3, max_length=4)
    for row, ids in enumerate(found.sequences):
        said = model(np.array([[2, *ids]]).T, vectors[[row]]).numpy()[:, 0].argmax(axis=-1)
        assert said[: len(ids)].tolist() == [int(i) for i in ids]
    wide = model.write(vectors, 2, 3, beam=6, max_length=4)
    assert (wide.scores >= found.scores - 1e-12).all()


def test_gradients_of_the_captioner_are_those_of_finite_differences() -> None:
    model, ids = model_of(), np.array([[2, 2], [4, 5]])
    tg.gradcheck(lambda vectors: tg.ops.sum(model(ids, vectors) ** 2), np.random.default_rng(1).normal(size=(2, 3)))


def test_a_linear_method_says_what_stands_at_each_place() -> None:
    vectors = np.eye(3)
    texts = ["a b", "a c d", "b"]
    assert LinearWords().fit(vectors, texts).predict([*vectors, vectors[1] * 0.9]) == [*texts, "a c d"]
    with pytest.raises(TextError, match=r"of one size, got \[\(1,\), \(2,\)\]"):
        LinearWords().fit([np.zeros(1), np.zeros(2)], ["a", "b"])


def test_captions_are_learnt_from_lines_of_json_and_faults_are_told(tmp_path: Path) -> None:
    rng, data = np.random.default_rng(0), tmp_path / "scenes.jsonl"
    pairs = [scene(rng) for _ in range(60)]
    data.write_text("\n".join(json.dumps({"vector": v.tolist(), "text": t}) for v, t in pairs), encoding="utf-8")
    options = "--epochs 1 --quiet --hidden 4 --embedding 3".split()
    works("train", "caption", "--data", data, *options, "--out", tmp_path / "run")
    best, line = tmp_path / "run" / "best.safetensors", json.dumps(pairs[0][0].tolist())
    said = works("predict", best, text=f"{line}\n")
    assert said.count("\n") == 1 and works("predict", best, "--beam", 2, text=f"{line}\n").count("\n") == 1
    assert works("predict", best, text=json.dumps({"vector": pairs[0][0].tolist()})) == said
    for text, message in (
        ("[1]\n", f"the vector: {FEATURES} numbers were expected, as in the others, got 1"),
        ("a\n", "a line of JSON was expected"),
        ("[[1], [2, 3]]\n", "a list of numbers was expected"),
        ("[1e99]\n", "none beyond 1e+30"),
        ("null\n", "a list of numbers was expected"),
    ):
        assert message in fails("predict", best, text=text)
    for lines, message in (
        ([{"vector": [1, 2], "text": "a"}, {"vector": [1], "text": "b"}], "example 2: 2 numbers were expected"),
        ([{"vector": [1], "text": 3}], "example 1: a text was expected, got 3"),
        ([{"vector": [1], "text": "a"}], "three different texts were expected"),
        ([{"vector": "x", "text": "a"}], "example 1: a list of numbers was expected"),
    ):
        data.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        assert message in fails("train", "caption", "--data", data, "--out", tmp_path / "other")


def test_the_words_of_a_caption_are_as_likely_as_the_model_says() -> None:
    found = find_task("caption")
    options: Any = found.task.Options
    task = found.new(options(hidden=4, embedding=3, dtype="float64"))
    examples = [scene(np.random.default_rng(i)) for i in range(9)]
    task.tables = task.prepare(examples)
    model: Any = task.build(np.random.default_rng(0))
    model.output.bias.data[task.tables["words"].encode(["a"])] += 1  # which it is to write
    views: Any = task.views(model, examples)
    for view, (vector, text) in zip(views, examples[:3], strict=True):
        (said,) = task.predict(model, task.collate([(vector, None)]))
        assert view.title == repr(text) and list(view.columns) == [*said.split(), "."]
        assert (view.values.sum(axis=0) <= 1 + 1e-9).all() and view.values.max() > 0.05
        first = [view.rows[i] for i in view.values.argmax(axis=0)]
        assert first[: len(said.split())] == said.split()


@pytest.mark.slow
def test_captions_of_scenes_are_true_where_a_linear_method_s_are_not() -> None:
    found = tg.tasks.train("caption", epochs=7, lr=4e-3)
    assert found.result.metrics["exact"] >= 0.9
