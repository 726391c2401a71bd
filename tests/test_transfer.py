"""A run that begins with the weights of a model of another text: what is kept, what is told, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from small_runs import language_run

from tinygrad_rnn.cli import main
from tinygrad_rnn.data.vocabulary import SPECIALS
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.task import Language
from tinygrad_rnn.tasks.language.transfer import OF_THE_MODEL, settings_and_cell
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import FileNotRun
from tinygrad_rnn.training.runs import Run

FIRST = "a cat sat .\nthe dog ran .\nthe cat saw a dog .\n" * 8
SECOND = "the cow ran .\na cat ate the green grass .\n" * 10
COMMON = {"a", "cat", "the", "ran", "."}
NEW = {"cow", "ate", "green", "grass"}
CELL = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Own(Cell):
    gates = "n"
    def step(self, x, h):
        return tanh(self.n(x, h))
"""
TINY: dict[str, Any] = {"embedding": 3, "hidden": 3, "layers": 1}
BRIEF: dict[str, Any] = {"lines": True, "batch_size": 8, "epochs": 1}


def run_with(text: Path, trust: bool = False, **options: Any) -> Run:
    settings, cell = settings_and_cell({"text": (str(text),), **BRIEF, **options}, trust, print)
    return language_run(settings, cell)


def language(run: Run) -> Language:
    assert isinstance(run.task, Language)
    return run.task


def saved(text: Path, out: Path, **options: Any) -> Path:
    run = run_with(text, **{**TINY, **options})
    train_run(run, out, Listener())
    return out / "last.safetensors"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two texts, a cell, and models of the first text."""
    folder = tmp_path_factory.mktemp("place")
    for name, text in {"first.txt": FIRST, "second.txt": SECOND, "own.py": CELL}.items():
        (folder / name).write_text(text, encoding="utf-8")
    models: dict[str, dict[str, Any]] = {
        "words": {"tied": False},
        "tied": {"cell": "lstm", "layers": 2},
        "characters": {"level": "char", "lines": False},
        "own": {"cell": f"{folder / 'own.py'}:Own"},
        "adaptive": {"softmax": "adaptive"},
    }
    for name, options in models.items():
        saved(folder / "first.txt", folder / name, **options)
    return folder


def invoke(*args: object) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args], terminal_width=110)


def begins(place: Path, name: str, out: Path, *args: object) -> Any:
    """What `train` says on the second text, begun from a model of the first."""
    text = ("--text", place / "second.txt", "--lines", "--epochs", 1, "--batch-size", 8, "--sentences", 1)
    return invoke("train", *text, "--init-from", place / name / "last.safetensors", "--out", out, *args)


# --- Weights ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["words", "tied"])
def test_words_in_common_keep_their_rows_new_ones_begin_as_new_and_the_rest_is_the_same(place: Path, name: str) -> None:
    known = checkpoint.load(place / name / "last.safetensors")
    run = run_with(place / "second.txt", init_from=str(place / name / "last.safetensors"))
    fresh = language_run(run.options.changed(init_from=None))
    theirs, ours = known.meta["tables"]["vocabulary"]["Vocabulary"], run.task.tables["vocabulary"].to_list()
    here = {token: i for i, token in enumerate(run.task.tables["vocabulary"].tokens)}
    there = {token: i for i, token in enumerate(theirs)}
    assert len(theirs) != len(ours) and language(run).known_tokens == len(COMMON)
    by_token = {"embedding.weight": 0, "output_weight": 1, "output_bias": 0}
    for weight, values in run.model.state_dict().items():
        old, new = known.part("model")[weight], fresh.model.state_dict()[weight]
        if weight not in by_token:
            np.testing.assert_array_equal(values, old, err_msg=weight)
            continue
        for token in COMMON | {*SPECIALS}:
            ours_now = np.take(values, here[token], by_token[weight])
            np.testing.assert_array_equal(ours_now, np.take(old, there[token], by_token[weight]), f"{weight}, {token}")
        for token in NEW:
            ours_now = np.take(values, here[token], by_token[weight])
            np.testing.assert_array_equal(ours_now, np.take(new, here[token], by_token[weight]), f"{weight}, {token}")


def test_the_settings_of_the_model_are_its_own_and_others_the_new_run_s(place: Path) -> None:
    run = run_with(place / "second.txt", init_from=str(place / "tied" / "last.safetensors"), dropout=0.4, lr=0.1)
    first = LanguageOptions.from_json(checkpoint.load(place / "tied" / "last.safetensors").meta["settings"])
    assert {n: getattr(run.options, n) for n in OF_THE_MODEL} == {n: getattr(first, n) for n in OF_THE_MODEL}
    assert (run.options.cell, run.options.layers) == ("lstm", 2)
    assert (run.options.dropout, run.options.lr, run.progress.step) == (0.4, 0.1, 0)


# --- On the command line ---------------------------------------------------------------------------------------


def test_how_many_tokens_are_known_is_said_and_the_run_goes_on_without_the_first_model(
    place: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    (first / "last.safetensors").write_bytes((place / "words" / "last.safetensors").read_bytes())
    text = ("--text", place / "second.txt", "--lines", "--batch-size", 8, "--sentences", 1)
    begun = invoke("train", *text, "--epochs", 1, "--init-from", first / "last.safetensors", "--out", tmp_path / "run")
    assert begun.exit_code == 0, begun.output
    said = " ".join(begun.output.split())
    assert f"begins as {first / 'last.safetensors'}, which knows {len(COMMON)} of the tokens" in said
    (first / "last.safetensors").unlink()
    for args in (
        ("train", "--resume", tmp_path / "run" / "last.safetensors", "--epochs", 2, "--sentences", 1),
        ("evaluate", tmp_path / "run" / "best.safetensors"),
        ("inspect", tmp_path / "run" / "best.safetensors"),
    ):
        found = invoke(*args)
        assert found.exit_code == 0 and "begins as" not in found.output, found.output


def test_a_model_that_knows_none_of_the_tokens_is_warned_of(place: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("yy zz xx\nxx zz\n" * 20, encoding="utf-8")
    args = ("--text", tmp_path / "text.txt", "--lines", "--epochs", 1, "--sentences", 0, "--quiet")
    found = invoke("train", *args, "--init-from", place / "words" / "last.safetensors", "--out", tmp_path / "run")
    assert found.exit_code == 0 and "knows none of the 7 tokens" in " ".join(found.stderr.split()), found.output


@pytest.mark.parametrize(
    "name, args, expected",
    [
        ("words", ("--hidden", 4), "--hidden cannot be given"),
        ("words", ("--layers", 2, "--embedding", 3, "--untied"), "--embedding, --layers, --tied cannot be given"),
        ("words", ("--level", "char"), "the model is the one of"),
        ("words", ("--cell", "lstm"), "the model's cell is gru, got 'lstm'"),
        ("own", ("--cell", "gru"), "got 'gru'"),
        ("words", ("--vectors", "v.txt"), "--vectors and --init-from cannot both be given"),
        ("words", ("--softmax", "adaptive"), "--softmax cannot be given"),
        ("adaptive", (), "its adaptive softmax that belong to no token: a model with a full one was expected"),
        ("nowhere", (), "there is no such file"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_sentence(
    name: str, args: tuple[object, ...], expected: str, place: Path, tmp_path: Path
) -> None:
    found = begins(place, name, tmp_path / "out", *args)
    sentence = found.output.partition("Error: ")[2]
    assert found.exit_code in (1, 2) and expected in sentence and sentence.count("\n") == 1, found.output
    assert "Traceback" not in found.output and not (tmp_path / "out").exists()


def test_a_model_of_characters_makes_a_run_of_characters(place: Path) -> None:
    run = run_with(place / "second.txt", init_from=str(place / "characters" / "last.safetensors"))
    assert run.options.level == "char" and "w" in run.task.tables["vocabulary"] and language(run).known_tokens > 8


def test_damaged_and_foreign_files_are_one_sentence(place: Path, tmp_path: Path) -> None:
    whole = (place / "words" / "last.safetensors").read_bytes()
    (tmp_path / "d").mkdir()
    file = tmp_path / "d" / "last.safetensors"
    for data in (b"", b"a text", whole[:-5], *(_flipped(whole, at) for at in range(0, len(whole), len(whole) // 40))):
        file.write_bytes(data)
        with pytest.raises((checkpoint.CheckpointError, OptionError)) as error:
            settings_and_cell({"init_from": str(file)}, False, print)
        assert str(file) in str(error.value) and "\n" not in str(error.value)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def test_sizes_that_are_not_those_of_the_weights_are_refused_before_memory_is_taken(
    place: Path, tmp_path: Path
) -> None:
    whole = checkpoint.load(place / "words" / "last.safetensors")
    settings = {**whole.meta["settings"], "hidden": 2**31 - 1}
    checkpoint.save(tmp_path / "forged.safetensors", whole.arrays, {**whole.meta, "settings": settings})
    with pytest.raises(checkpoint.CheckpointError, match="the weights do not fit"):
        settings_and_cell({"init_from": str(tmp_path / "forged.safetensors")}, False, print)


# --- A cell of one's own ---------------------------------------------------------------------------------------


def test_a_model_with_a_cell_of_one_s_own_runs_its_file_only_where_that_is_named_or_trusted(
    place: Path, tmp_path: Path
) -> None:
    refused = begins(place, "own", tmp_path / "out")
    assert refused.exit_code == 1 and "the command that runs it: tinygrad-rnn train --cell" in refused.output
    assert not (tmp_path / "out").exists()
    own = f"{place / 'own.py'}:Own"
    for args in (("--cell", own), ("--trust",)):
        found = begins(place, "own", tmp_path / str(args[0]), *args)
        assert found.exit_code == 0 and "which knows 5 of the tokens" in " ".join(found.output.split()), found.output
    with pytest.raises(FileNotRun):
        settings_and_cell({"init_from": str(place / "own" / "last.safetensors")}, False, print)


def test_a_cell_that_has_changed_since_is_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CELL.replace("tanh(self.n(x, h))", "self.n(x, h)"), encoding="utf-8")
    heard: list[str] = []
    changes = {"init_from": str(place / "own" / "last.safetensors"), "cell": f"{tmp_path / 'own.py'}:Own"}
    settings, _ = settings_and_cell(changes, False, heard.append)
    assert len(heard) == 1 and "the cell has changed since the model was saved: own.py" in heard[0]
    assert settings.cell == changes["cell"]


def test_trust_without_a_checkpoint_is_refused(place: Path, tmp_path: Path) -> None:
    found = invoke("train", "--text", place / "first.txt", "--trust", "--out", tmp_path / "out")
    assert found.exit_code == 2 and "say --resume or --init-from as well" in found.output
