"""Frames that nobody has cut into symbols: made up and from files, what a simple method hears, and the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import NearestFrame
from tinygrad_rnn.data import TextError, read_frames
from tinygrad_rnn.data.frames import SPOKEN, MovingSpectra, fits
from tinygrad_rnn.metrics import label_error_rate
from tinygrad_rnn.models import FrameLabeller, ctc_beam, ctc_greedy, ctc_loss
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.speech import Speech


def utterances(count: int, features: int = 3) -> list[Any]:
    rng = np.random.default_rng(0)
    spectra = MovingSpectra(rng, features=features)
    return [spectra.draw(rng) for _ in range(count)]


def speech(examples: list[Any], **options: Any) -> tuple[Speech, Any]:
    """The task, its tables prepared, and an untrained model."""
    found = find_task("speech")
    task = found.new(found.task.Options(**{"hidden": 3, **options}))
    assert isinstance(task, Speech)
    task.tables = task.prepare(examples)
    return task, task.build(np.random.default_rng(0))


def saved(path: Path, examples: list[Any], **more: Any) -> Path:
    named = {
        f"{name}_{i}": part
        for i, pair in enumerate(examples)
        for name, part in zip(("frames", "text"), pair, strict=True)
    }
    np.savez(path, **named, **more)
    return path


# --- Frames ----------------------------------------------------------------------------------------------------


def test_frames_move_from_symbol_to_symbol_at_a_speed_that_differs() -> None:
    spectra = MovingSpectra(np.random.default_rng(0), noise=0.0)
    frames, text = spectra.draw(np.random.default_rng(1))
    assert frames.dtype == np.float32 and frames.shape[1] == 12 and 3 <= len(text) <= 8 and {*text} <= {*SPOKEN}
    start, end = spectra.ends[SPOKEN.index(text[0])]
    spoken = frames[np.abs(frames).sum(axis=1) > 0]
    np.testing.assert_allclose(spoken[0], start, rtol=1e-6)
    taken = int(np.flatnonzero(np.isclose(spoken, end, atol=1e-5).all(axis=1))[0]) + 1
    assert 3 <= taken <= 8
    np.testing.assert_allclose(np.diff(spoken[:taken], n=2, axis=0), 0, atol=1e-5)
    assert len({len(spectra.draw(np.random.default_rng(i))[0]) for i in range(20)}) > 5


@part_of_the_examples(0.3)
@given(text=st.text("ab", max_size=5), count=st.integers(1, 8))
def test_frames_fit_a_text_where_ctc_gives_it_a_probability(text: str, count: int) -> None:
    targets = np.array([["ab".index(symbol) + 1] for symbol in text], dtype=np.int64).reshape(-1, 1)
    loss = ctc_loss(np.zeros((count, 1, 3)), targets, reduction="sum")
    assert fits(np.zeros((count, 2)), text) == np.isfinite(loss.item())


def test_utterances_are_read_as_they_lie_in_a_file_or_a_folder(tmp_path: Path) -> None:
    examples = utterances(4)
    one = [*read_frames(saved(tmp_path / "all.npz", examples))]
    (tmp_path / "each").mkdir()
    for i, (frames, text) in enumerate(examples):
        np.savez(tmp_path / "each" / f"{i}.npz", frames=frames.astype(np.float64), text=text)
    notes: list[str] = []
    several = [*read_frames(tmp_path / "each", notes.append)]
    for found in (one, several):
        assert [text for _, text in found] == [text for _, text in examples]
        for (frames, _), (right, _) in zip(found, examples, strict=True):
            np.testing.assert_array_equal(frames, right)
            assert frames.dtype == np.float32
    assert "4 from 0.npz to 3.npz" in notes[0]
    np.savez(tmp_path / "ends.npz", frames_b=[[1]], frames_10=[[2]], text_10="日x", text_b="")
    assert [(frames.tolist(), text) for frames, text in read_frames(tmp_path / "ends.npz")] == [
        ([[1]], ""),
        ([[2]], "日x"),
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones(2)}, r"arrays called frames_0, text_0, frames_1 and so on were expected, got x"),
        ({}, r"were expected, got none"),
        ({"frames_0": np.ones(2), "text_0": "a"}, r"frames_0 must be numbers \(T,F\), .* got float64 \(2,\)"),
        ({"frames_0": np.ones((0, 2)), "text_0": "a"}, r"frames_0 must be numbers \(T,F\), .* \(0, 2\)"),
        ({"frames_0": np.full((2, 2), 1j), "text_0": "a"}, r"frames_0 must be numbers \(T,F\), .* got complex128"),
        ({"frames_0": np.full((2, 2), np.nan), "text_0": "a"}, r"frames_0 must be finite .*, got nan"),
        ({"frames_0": np.full((2, 2), 1e39), "text_0": "a"}, r"frames_0 must be finite .*, got 1e\+39"),
        ({"frames_0": np.ones((2, 2))}, r"text_0 must be a text, got none"),
        ({"frames_0": np.ones((2, 2)), "text_0": b"a"}, r"text_0 must be a text, got \|S1 \(\)"),
        ({"frames_0": np.ones((2, 2)), "text_0": "a\n"}, r"text_0 must be a text of one line, got 'a\\n'"),
        ({"frames_0": np.array([None]), "text_0": "a"}, r"an npz file of numbers and texts was expected: Object"),
        (
            {"frames_0": np.ones((2, 2)), "text_0": "a", "frames_1": np.ones((2, 3)), "text_1": "b"},
            r"frames_1 must have 2 features as those before, got 3",
        ),
    ],
)
def test_what_is_no_utterance_is_told_with_its_file_and_array(arrays: Any, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(TextError, match=rf"wrong\.npz.*{message}"):
        [*read_frames(tmp_path / "wrong.npz")]


def test_a_text_has_any_letters_and_what_joins_them(tmp_path: Path) -> None:
    texts = ["a\xa0b", "\u0645\u06cc\u200c\u062e", "soft\xadhyphen", "\U0001f469\u200d\U0001f52c"]
    path = saved(tmp_path / "all.npz", [(np.ones((9, 2)), text) for text in texts])
    assert [text for _, text in read_frames(path)] == texts


def test_what_is_no_npz_file_is_told(tmp_path: Path) -> None:
    for content in (b"nothing of the kind", b""):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(TextError, match=r"x\.npz: an npz file was expected, as numpy\.savez writes it"):
            [*read_frames(tmp_path / "x.npz")]
    with pytest.raises(TextError, match="cannot be read: No such file"):
        [*read_frames(tmp_path / "missing.npz")]


# --- A simple method -------------------------------------------------------------------------------------------


def test_the_nearest_frame_says_each_symbol_once_and_learns_what_silence_is() -> None:
    rng, silence = np.random.default_rng(0), np.full((4, 3), 5.0)
    spoken = {symbol: np.repeat(row, 4, axis=0) for symbol, row in zip("abc", np.eye(3)[:, None] * 50, strict=True)}

    def said(text: str) -> Any:
        parts = [silence, *(each for symbol in text for each in (spoken[symbol], silence))]
        return np.concatenate(parts) + rng.normal(size=(4 * len(parts), 3))

    texts = ["".join(rng.choice([*"abc"], 4)) for _ in range(20)]
    method = NearestFrame(label_error_rate).fit(map(said, texts), texts)
    assert method.predict([said("abcb"), said("aa"), said("")]) == ["abcb", "aa", ""]
    means = dict(zip(method.symbols, method.means * method.scale, strict=True))
    for symbol, right in {"": silence, **spoken}.items():
        np.testing.assert_allclose(means[symbol], right[0], atol=1)
    flicker = np.concatenate([said("a"), spoken["b"][:1], said("c")])
    for method.width, method.run, heard in ((1, 1, "abc"), (1, 2, "ac"), (3, 1, "ac")):
        assert method.predict([flicker]) == [heard]
    with pytest.raises(TextError, match="texts must have a symbol, got empty ones alone"):
        NearestFrame(label_error_rate).fit([said("")], [""])


def test_the_nearest_frame_looks_at_as_many_neighbours_as_make_the_fewest_errors() -> None:
    inputs, texts = zip(*utterances(20, features=12), strict=True)
    method = NearestFrame(label_error_rate).fit(inputs, texts)
    reached = label_error_rate(texts, method.predict(inputs))
    for method.width, method.run in ((1, 1), (3, 2), (5, 4)):
        assert reached <= label_error_rate(texts, method.predict(inputs))


# --- The task --------------------------------------------------------------------------------------------------


def test_padding_does_not_change_what_is_said_in_frames() -> None:
    model = FrameLabeller(2, 3, 4, dtype=np.float64, rng=np.random.default_rng(0))
    frames = np.random.default_rng(1).normal(size=(5, 2, 2))
    together = model(frames, np.array([5, 3])).numpy()
    np.testing.assert_allclose(together[:3, [1]], model(frames[:3, [1]], np.array([3])).numpy(), rtol=1e-12)
    assert together.shape == (5, 2, 4)


@part_of_the_examples(0.2)
@given(st.lists(st.sampled_from(["ab", "", "zz", "a" * 40]), min_size=1, max_size=4))
def test_what_cannot_be_learnt_counts_for_nothing(texts: list[str]) -> None:
    examples = utterances(8)
    task, model = speech(examples, dtype="float64")
    part = [(frames[:9], text) for (frames, _), text in zip(examples, texts, strict=False)]
    good = [pair for pair in part if pair[1] in ("ab", "")]  # there is no z, and 40 symbols have not room in 9 frames
    loss, count, _ = task.loss(model, task.collate(part), None, None)
    assert count == sum(len(text) for _, text in good)
    right = task.loss(model, task.collate(good), None, None)[0].item() if good else 0.0
    assert loss.item() == pytest.approx(right, rel=1e-9)


def test_features_may_be_in_any_unit() -> None:
    examples = utterances(8)
    task, _ = speech(examples)
    other, _ = speech([(frames * [1, 1000, 0.01] + 7, text) for frames, text in examples])
    moved = [(frames * [1, 1000, 0.01] + 7, text) for frames, text in examples]
    np.testing.assert_allclose(task.collate(examples)[0], other.collate(moved)[0], atol=1e-4)
    still, _ = speech([(frames * [1, 0, 1], text) for frames, text in examples])
    assert not still.collate([(frames * [1, 0, 1], text) for frames, text in examples])[0][..., 1].any()


def test_frames_are_read_greedily_or_by_a_beam_whatever_the_model_says() -> None:
    examples = utterances(6)
    task, model = speech(examples)
    batch = task.collate([(frames, None) for frames, _ in examples])
    logits, names = model(*batch).numpy(), task.tables["symbols"].names
    for found, right in (
        (task.predict(model, batch), ctc_greedy(logits, batch[1])[0]),
        (task.predict(model, batch, beam=3), ctc_beam(logits, batch[1], 3)[0]),
    ):
        assert found == ["".join(names[symbol - 1] for symbol in row) for row in right]
    model.output.bias.data[:2] = np.nan, np.inf
    assert len(task.predict(model, batch)) == len(task.predict(model, batch, beam=2)) == 6


def test_silence_alone_is_scored_by_what_is_said_in_it() -> None:
    task, _ = speech(utterances(4))
    assert task.score(["ab", ""], ["b", ""]) == {"label error": 0.5, "exact": 0.5}
    assert task.score(["", ""], ["b", ""]) == {"label error": 1.0, "exact": 0.5}


def test_a_view_shows_how_likely_each_symbol_is_in_each_frame() -> None:
    examples = utterances(6)
    task, model = speech(examples)
    found = task.views(model, examples)
    assert len(found) == 3
    for view, (frames, text) in zip(found, examples, strict=False):
        assert view.values.shape == (len(view.rows), len(frames)) and view.rows[0] == "blank"
        assert view.title.startswith(f"{text!r} is heard as ")
        np.testing.assert_allclose(view.values.sum(axis=0), 1, atol=0.2)
    model.output.weight.data[:] = 0
    model.output.bias.data[:] = np.where(np.arange(len(model.output.bias.data)) == 2, 9, 0)
    assert task.views(model, examples)[0].rows == ["blank", task.tables["symbols"].names[1]]


def test_speech_is_learnt_from_a_file_and_read_greedily_and_by_a_beam(tmp_path: Path) -> None:
    examples = utterances(40)
    examples[0] = examples[0][0][:2], examples[0][1]
    data, run = saved(tmp_path / "frames.npz", examples), tmp_path / "run"
    told = works("train", "speech", "--data", data, "--hidden", 4, "--epochs", 1, "--out", run)
    assert "1 of 40 utterances have too few frames to say their text: nothing is learnt from them." in " ".join(
        told.split()
    )
    best, line = run / "best.safetensors", json.dumps(examples[1][0].tolist())
    for options in ([], ["--beam", 3]):
        assert {*works("predict", best, *options, text=f"{line}\n")} <= {*SPOKEN, "\n"}
    assert "label error" in works("evaluate", best)
    wrong = "frames were expected, lists of as many finite numbers each"
    for text, message in (
        ("[[1]]", "line 1: frames of 3 features were expected, got 1"),
        ("[[1,2,3],[1]]", wrong),
        ("[[1,2,NaN]]", wrong),
        (f"[[1,2,{'9' * 400}]]", wrong),
        ("[]", wrong),
        ("a", "a line of JSON was expected, a list of frames"),
    ):
        assert message in fails("predict", best, text=f"{text}\n")
    others = saved(tmp_path / "others.npz", utterances(4, features=2))
    assert "frames of 3 features were expected, got 2" in fails("evaluate", best, "--data", others)
    silent = saved(tmp_path / "silent.npz", [(frames, "") for frames, _ in examples])
    assert "must have a text with a symbol, got empty ones alone" in fails("train", "speech", "--data", silent)


@pytest.mark.slow
def test_symbols_are_told_in_frames_of_varying_speed() -> None:
    found = tg.tasks.train("speech", epochs=4)
    assert found.result.metrics["label error"] < 0.05
