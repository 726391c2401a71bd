"""The command line, as a user meets it: what it prints and leaves behind, and one sentence for every mistake."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner
from commands import fails, invoke, parent_context, works
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import engines
from tinygrad_rnn.cli import inspect_command, main
from tinygrad_rnn.cli.options import seconds
from tinygrad_rnn.data import TextError
from tinygrad_rnn.engines import ENGINES, Engine
from tinygrad_rnn.loops import compiling, scanning
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.language import task as language_task
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.options import OptionError

SMALL = "--layers 1 --hidden 6 --embedding 6 --epochs 2 --batch-size 8 --steps 10 --sentences 2".split()
CELLS = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Plain(Cell):
    gates = "n"
    def step(self, x, h):
        return tanh(self.n(x, h))

class Broken(Cell):
    gates = "n"
    def step(self, x, h):
        return tanh(self.nothing(x, h))

class Misshapen(Cell):
    gates = "n"
    def step(self, x, h):
        return tanh(self.n(x, h))[:, :1]

class Greedy(Cell):
    state = "h c"
    gates = "n"
    def step(self, x, h, c):
        return tanh(self.n(x, h))

class Gateless(Cell):
    def step(self, x, h):
        return h

class Later(Cell):
    gates = "n"
    def step(self, x, h):
        if x.shape[0] > 1:
            raise KeyError("a batch")
        return tanh(self.n(x, h))

class Unfinished(Cell):
    gates = "n"

class Unmade(Cell):
    def setup(self):
        raise RuntimeError("not today")

NotACell = 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, broken and whole, cells and word vectors."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    nouns, verbs = "cat dog naïve 词 tree river".split(), "sees hears finds".split()
    lines = [f"The {rng.choice(nouns)} {rng.choice(verbs)} a {rng.choice(nouns)}." for _ in range(80)]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "other.txt").write_text("\n".join(lines[:7]) + "\nA word unheard of.\n", encoding="utf-8")
    (folder / "line.txt").write_text(lines[0], encoding="utf-8")
    rows = [f'{i},"{line}",x' for i, line in enumerate(lines)]
    (folder / "table.csv").write_text("\n".join(["id,body,tag", *rows]), encoding="utf-8")
    (folder / "ragged.csv").write_text("id,body\n1\n2\n", encoding="utf-8")
    (folder / "binary.bin").write_bytes(bytes(range(256)))
    (folder / "latin.txt").write_bytes("Über".encode("latin-1"))
    (folder / "empty.txt").write_text("", encoding="utf-8")
    (folder / "letter.txt").write_text("a", encoding="utf-8")
    (folder / "word.txt").write_text("word", encoding="utf-8")
    (folder / "nothing").mkdir()
    (folder / "cells.py").write_text(CELLS, encoding="utf-8")
    (folder / "syntax.py").write_text("class (\n", encoding="utf-8")
    (folder / "vectors.txt").write_text("cat 1 2 3 4 5 6\ntree 6 5 4 3 2 1\n", encoding="utf-8")
    (folder / "short.txt").write_text("cat 1 2 3\n", encoding="utf-8")
    (folder / "foreign.safetensors").write_bytes(safetensors.numpy.save({"w": np.ones(2)}))
    checkpoint.save(folder / "other-task.safetensors", {}, {"task": "something else"})
    checkpoint.save(folder / "half.safetensors", {}, {"task": "language model"})
    return folder


def strictly(line: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"not JSON: {constant}")

    record: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return record


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a log, without its first line, which says which run it is of, and without what the clock says."""
    first, *records = [strictly(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert first["event"] == "run"
    for record in records:
        record.pop("seconds", None)
    return records


def contents(path: Path) -> Any:
    """What is in a checkpoint but for the id of its run, which is another each time."""
    saved = checkpoint.load(path)
    del saved.meta["run"]
    return {name: array.tobytes() for name, array in saved.arrays.items()}, saved.meta


@pytest.fixture(scope="module")
def words(place: Path) -> Path:
    """A trained model of words in streams."""
    out = place / "words"
    works("train", "--text", place / "text.txt", "--lines", "--batching", "stream", *SMALL, "--out", out)
    return out / "best.safetensors"


@pytest.fixture(scope="module")
def sentences(place: Path) -> Path:
    """A trained model of single sentences, with a vocabulary so small that the unknown token is the most likely."""
    out = place / "sentences"
    options = "--batching sentences --vocab-size 7 --lr 0.05".split()
    works("train", "--text", place / "text.txt", "--lines", *SMALL, *options, "--out", out)
    return out / "best.safetensors"


@pytest.fixture(scope="module")
def characters(place: Path) -> Path:
    """A trained model of one unbroken text of characters."""
    works("train", "--text", place / "text.txt", "--level", "char", *SMALL, "--out", place / "characters")
    return place / "characters" / "best.safetensors"


# --- Options ---------------------------------------------------------------------------------------------------

GIVEN: dict[str, tuple[str, Any]] = {
    "corpus": ("--corpus identifiers --level char", "identifiers"),
    "text": ("--text a --text b", ("a", "b")),
    "csv": ("--csv a", "a"),
    "column": ("--column body", "body"),
    "skip_initial_space": ("--skip-initial-space", True),
    "encoding": ("--encoding cp1252", "cp1252"),
    "lines": ("--lines", True),
    "level": ("--level char", "char"),
    "lowercase": ("--no-lowercase", False),
    "vocab_size": ("--vocab-size 9", 9),
    "valid": ("--valid v", "v"),
    "valid_fraction": ("--valid-fraction 0.3", 0.3),
    "shuffle": ("--batching sentences --shuffle", True),
    "cell": ("--cell lstm", "lstm"),
    "layers": ("--layers 3", 3),
    "embedding": ("--embedding 7", 7),
    "hidden": ("--hidden 8", 8),
    "tied": ("--untied", False),
    "softmax": ("--softmax two-level", "two-level"),
    "residual": ("--residual", True),
    "norm": ("--norm rms", "rms"),
    "penalty": ("--penalty ponder=0.01", ("ponder=0.01",)),
    "init": ("--init wildml", "wildml"),
    "dtype": ("--dtype float64", "float64"),
    "vectors": ("--vectors v", "v"),
    "dropout": ("--dropout 0.7", 0.7),
    "recurrent_dropout": ("--recurrent-dropout 0.3", 0.3),
    "zoneout": ("--zoneout 0.15", 0.15),
    "optimizer": ("--optimizer adam", "adam"),
    "lr": ("--lr 0.3", 0.3),
    "momentum": ("--optimizer sgd --momentum 0.5", 0.5),
    "decay": ("--decay 0.8", 0.8),
    "weight_decay": ("--weight-decay 0.25", 0.25),
    "clip_norm": ("--clip-norm 2", 2.0),
    "clip_value": ("--clip-value 0.5", 0.5),
    "schedule": ("--schedule cosine", "cosine"),
    "batching": ("--batching sentences", "sentences"),
    "batch_size": ("--batch-size 5", 5),
    "steps": ("--steps 6", 6),
    "epochs": ("--epochs 4", 4),
    "warm_up": ("--warm-up 30", 30),
    "evaluate_every": ("--evaluate-every 50", 50),
    "patience": ("--patience 2", 2),
    "seed": ("--seed 11", 11),
    "threads": ("--threads 2", 2),
    "engine": ("--engine numpy", "numpy"),
    "split_optimizer": ("--split-optimizer", True),
}


def settings_from(monkeypatch: pytest.MonkeyPatch, out: Path, *args: str) -> LanguageOptions:
    """The settings that a command line comes to, but for an engine and threads that it does not name."""
    seen: list[LanguageOptions] = []

    def stop(settings: LanguageOptions, *_: Any) -> Any:
        seen.append(settings)
        raise TextError("far enough")

    monkeypatch.setattr(language_task, "read_corpus", stop)
    assert fails("train", *args, "--out", out) == "far enough\n"
    assert seen[0].engine in ENGINES
    found = seen[0] if "--engine" in args else seen[0].changed(engine=None)
    return found if "--threads" in args else found.changed(threads=None)


def test_every_setting_has_an_option() -> None:
    names = {field.name for field in fields(LanguageOptions)}
    assert {*GIVEN, "init_from"} == names  # which brings others with it: see test_transfer.py
    assert names <= {option.name for option in main.commands["train"].params}


@pytest.mark.parametrize("name", GIVEN)
def test_every_option_reaches_its_setting_and_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line, value = GIVEN[name]
    found = settings_from(monkeypatch, tmp_path, *line.split()).to_json()
    expected = LanguageOptions(epochs=LanguageOptions.USUAL_EPOCHS).to_json() | {name: value}
    if name == "momentum":
        expected["optimizer"] = "sgd"
    if name == "shuffle":
        expected["batching"] = "sentences"
    if name == "corpus":
        expected["level"] = "char"
    assert found == expected and found[name] != LanguageOptions().to_json()[name]


def test_without_options_everything_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert settings_from(monkeypatch, tmp_path) == LanguageOptions(epochs=LanguageOptions.USUAL_EPOCHS)
    assert settings_from(monkeypatch, tmp_path, "--time-budget", "5") == LanguageOptions(epochs=None)


@pytest.mark.parametrize("command", ["train", "evaluate", "score", "generate", "inspect", "predict"])
def test_every_option_has_help_and_every_line_fits(command: str) -> None:
    for parameter in main.commands[command].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.name
    for flag in ("--help", "-h"):
        text = works(command, flag)
        assert max(map(len, text.splitlines())) <= 110
    commands = works("--help").partition("Commands:")[2]
    assert f"  {command} " in commands and "..." not in commands


@pytest.mark.slow
def test_help_has_its_texts_where_python_is_told_to_drop_docstrings() -> None:
    code = "; ".join(
        [
            "from tinygrad_rnn.cli import main",
            "from click.testing import CliRunner",
            "print(*(CliRunner().invoke(main, [*name, '--help'], terminal_width=110).output"
            " for name in [[], *([name] for name in sorted(main.commands))]), sep='', end='')",
        ]
    )
    run = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    names = [[], *([name] for name in sorted(main.commands))]
    assert run.stdout == "".join(works(*name, "--help") for name in names)
    for command in (main, *main.commands.values()):
        assert command.help and command.callback and not command.callback.__doc__, "a docstring that may be dropped"


def test_defaults_are_shown() -> None:
    text = " ".join(works("train", "--help").split())
    for name in ("hidden", "dropout", "optimizer", "seed"):
        assert re.search(rf"--{name} .*?\[default: {getattr(LanguageOptions(), name)}\]", text), name


README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="README.md is in the checkout, which is not here")
def test_the_commands_of_the_readme_are_ones_that_there_are() -> None:
    found = re.findall(r"^ {4}.*?tinygrad-rnn ([a-z].*?)(?: #.*)?$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(found) > 5
    for line in found:
        name, *arguments = shlex.split(line)
        if name != "check":  # a command of the cells' own
            main.commands[name].make_context(name, arguments, parent=parent_context())


def test_version_and_module() -> None:
    assert "0.1.0" in works("--version")
    run = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("tinygrad-rnn")


@pytest.mark.parametrize(
    "text, expected", [("90", 90), ("90s", 90), ("20m", 1200), ("1.5h", 5400), ("0.5S", 0.5), ("1e2", 100)]
)
def test_times_are_read_in_seconds_minutes_and_hours(text: str, expected: float) -> None:
    assert seconds(text) == expected


@given(st.text(max_size=5) | st.sampled_from(["", "s", "-1", "0", "0m", "nan", "inf", "1e999", "5d", "1h30m"]))
def test_other_times_are_refused(text: str) -> None:
    try:
        assert 0 < seconds(text) < float("inf")
    except OptionError as error:
        assert repr(text) in str(error)


# --- The engine ------------------------------------------------------------------------------------------------

NAMES = "--lines --layers 1 --hidden 4 --embedding 4 --epochs 1 --sentences 0".split()


def engines_that_ran(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Fills up with the engines that compiled the loops, for whatever is run from now on."""
    seen: set[str] = set()
    real = compiling.compiled_program

    def watched(program: Any, needs: Any, engine: Engine) -> Any:
        seen.add(engine)
        return real(program, needs, engine)

    monkeypatch.setattr(scanning, "compiled_program", watched)
    return seen


@pytest.mark.parametrize("engine", ENGINES)
def test_a_whole_command_runs_by_the_engine_that_it_is_told_and_the_run_goes_on_by_it(
    engine: Engine, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not engines.is_installed(engine):
        pytest.skip("llvmlite is not installed")
    (other,) = {*ENGINES} - {engine}
    monkeypatch.setattr(engines.switch, "default", other)
    seen = engines_that_ran(monkeypatch)
    text = works("train", "--text", place / "text.txt", *NAMES, "--engine", engine, "--out", tmp_path)
    assert seen == {engine} and ("float32 on cpu, machine code" in text) == (engine == "machine")
    last = tmp_path / "last.safetensors"
    assert checkpoint.load(last).meta["settings"]["engine"] == engine
    seen.clear()
    works("train", "--resume", last, "--epochs", 2)
    assert seen == {engine} and engines.engine_in_force() == other
    works("train", "--text", place / "text.txt", *NAMES, "--engine", engine, "--epochs", 2, "--out", tmp_path / "whole")
    assert contents(last)[0] == contents(tmp_path / "whole" / last.name)[0]


def test_a_run_that_goes_on_has_the_products_of_its_checkpoint(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = pytest.importorskip("tinygrad_rnn.machine.calls")
    monkeypatch.setattr(calls, "products_found", lambda dtype: {"shallow": True, "deep": False})
    line, last = ("train", "--text", place / "text.txt", *NAMES), tmp_path / "last.safetensors"
    works(*line, "--engine", "machine", "--out", tmp_path)
    assert checkpoint.load(last).meta["products"] == {"shallow": True, "deep": False}
    monkeypatch.setattr(calls, "products_found", lambda dtype: {"shallow": False, "deep": True})
    works("train", "--resume", last, "--epochs", 2)
    assert checkpoint.load(last).meta["products"] == {"shallow": True, "deep": False}
    assert engines.products_choice.get() is None
    works("train", "--resume", last, "--epochs", 3, "--engine", "numpy")
    assert checkpoint.load(last).meta["products"] is None
    works("train", "--resume", last, "--epochs", 4, "--engine", "machine")
    assert checkpoint.load(last).meta["products"] == {"shallow": False, "deep": True}
    saved = checkpoint.load(last)
    checkpoint.save(last, saved.arrays, {**saved.meta, "products": {"shallow": 1, "deep": True}})
    assert "products.shallow must be true or false, got 1" in fails("train", "--resume", last, "--epochs", 5)


def test_a_command_that_uses_a_model_has_the_engine_that_it_is_told(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works("train", "--text", place / "text.txt", *NAMES, "--out", tmp_path)
    best, seen = tmp_path / "best.safetensors", engines_that_ran(monkeypatch)
    for engine in filter(engines.is_installed, ENGINES):
        seen.clear()
        works("evaluate", best, "--engine", engine)
        assert seen == {engine} and engines.engine_in_force() != "machine"
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    for command in ("evaluate", "score", "generate", "predict"):
        expected = f"--engine machine needs llvmlite, which is not installed: {engines.INSTALL}\n"
        assert fails(command, best, "--engine", "machine") == expected


def test_where_llvmlite_is_missing_a_run_says_once_what_would_make_it_faster(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.switch, "default", True)
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    line = ["train", "--text", place / "text.txt", *NAMES]
    text = works(*line, "--out", tmp_path / "a")
    assert [line for line in text.splitlines() if "tinygrad-rnn[fast]" in line] == [
        f"note      Loops run as NumPy calls; as machine code they are faster: {engines.INSTALL}"
    ]
    assert checkpoint.load(tmp_path / "a" / "last.safetensors").meta["settings"]["engine"] == "numpy"
    assert "[fast]" not in works(*line, "--out", tmp_path / "b", "--quiet")
    assert "[fast]" not in works(*line, "--out", tmp_path / "c", "--engine", "numpy")
    monkeypatch.setattr(engines.switch, "default", "numpy")  # as compiled("numpy") has it, which is meant so
    assert "[fast]" not in works(*line, "--out", tmp_path / "d")


def test_machine_code_without_llvmlite_is_refused_before_anything_is_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    expected = f"--engine machine needs llvmlite, which is not installed: {engines.INSTALL}\n"
    for task in ([], ["classify"]):
        assert fails("train", *task, "--engine", "machine", "--out", tmp_path / "new") == expected
    works("train", "--text", place / "text.txt", *NAMES, "--out", tmp_path / "run")
    last = tmp_path / "run" / "last.safetensors"
    assert fails("train", "--resume", last, "--engine", "machine", "--epochs", 2) == expected


# --- Training --------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_files_and_says_what_it_is_worth(words: Path, place: Path) -> None:
    out = place / "again"
    text = works("train", "--text", place / "text.txt", "--lines", "--batching", "stream", *SMALL, "--out", out)
    for name in ("best.safetensors", "last.safetensors", "log.jsonl"):
        assert (out / name).is_file() and str(out / name) in text
    assert contents(out / "best.safetensors") == contents(words)
    model, vocabulary, _, meta = load_language_model(words)
    assert f"vocabulary {len(vocabulary)}" in text and f"{model.size:,} parameters" in text
    assert meta["data"]["sha256"][:12] in text
    assert re.search(r"unigram \d\.\d+ .*bigram .*trigram ", text, re.DOTALL) and "nats per token" in text
    assert len(re.findall(r"^epoch +\d", text, re.MULTILINE)) == 2
    assert len(re.findall(r"^  \S", text, re.MULTILINE)) == 2, "two sentences"
    assert sorted(p.name for p in out.iterdir() if p.suffix != ".png") == [
        "best.safetensors",
        "last.safetensors",
        "log.jsonl",
        "result.json",
    ]


@pytest.mark.usefixtures("pictures")
def test_a_picture_is_drawn_where_matplotlib_is(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = works("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path)
    assert str(tmp_path / "loss.png") in text
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("pictures")
def test_without_matplotlib_there_is_no_picture_and_no_complaint(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = works("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path)
    assert "loss.png" not in text and not (tmp_path / "loss.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "--text text.txt --lines",
        "--text text.txt --text other.txt --valid line.txt",
        "--text text.txt --level char --batching sentences --lines",
        "--csv table.csv --column body",
        "--csv table.csv --column 1 --level char",
        "--text text.txt --lines --cell cells.py:Plain --recurrent-dropout 0.1 --zoneout 0.1",
        "--text text.txt --lines --vectors vectors.txt",
        "--text text.txt --lines --batch-size 1 --steps 1 --epochs 1 --evaluate-every 100",
        "--text text.txt --lines --schedule cosine --evaluate-every 4 --optimizer sgd --momentum 0.9",
        "--text text.txt --lines --no-lowercase --tied --init wildml --dtype float64 --valid-fraction 0.5",
        "--text text.txt --lines --softmax adaptive",
        "--text text.txt --lines --softmax two-level",
    ],
)
def test_what_can_be_trained_can_be_evaluated_continued_and_spoken(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    monkeypatch.chdir(place)
    text = works("train", *SMALL, *options.split(), "--out", tmp_path)
    assert "result" in text and "note" not in text.replace("note      NLTK", "")
    cell = ["--trust"] if "--cell" in options else []
    file = tmp_path / "best.safetensors"
    works("evaluate", file, *cell)
    works("evaluate", file, *cell, "--text", "other.txt", "--text", "line.txt")
    works("inspect", file, *cell)
    assert len(works("generate", file, *cell, "--count", 1, "--max-length", 9).splitlines()) == 1
    assert len(works("score", file, *cell, "other.txt").splitlines()) == 8
    works("evaluate", tmp_path / "last.safetensors", *cell)
    works("train", "--resume", tmp_path / "last.safetensors", *cell, "--epochs", 3, "--sentences", 0)


def test_a_corpus_may_be_a_folder_packed_or_in_another_encoding_and_the_checkpoint_says_how_to_read_it(
    place: Path, tmp_path: Path
) -> None:
    folder, text = tmp_path / "folder", (place / "text.txt").read_text(encoding="utf-8").replace("词", "ß")
    folder.mkdir()
    (folder / "a.txt").write_bytes(text.encode("cp1252"))
    (folder / "b.gz").write_bytes(gzip.compress(text.encode("cp1252")))
    said = works("train", "--text", folder, "--encoding", "cp1252", "--lines", *SMALL, "--out", tmp_path / "run")
    assert "2 from a.txt to b.gz" in " ".join(said.split())
    file = tmp_path / "run" / "last.safetensors"
    works("evaluate", file)
    works("train", "--resume", file, "--epochs", 3)
    nats = nats_and_tokens(works("evaluate", file, "--text", folder / "a.txt", "--encoding", "cp1252"))
    assert nats == nats_and_tokens(works("evaluate", file, "--text", "-", text=text))


def test_a_corpus_from_standard_input_is_asked_for_again_there(place: Path, tmp_path: Path) -> None:
    text = (place / "text.txt").read_text(encoding="utf-8")
    works("train", "--text", "-", "--lines", *SMALL, "--out", tmp_path, text=text)
    again = ("train", "--resume", tmp_path / "last.safetensors", "--epochs", 3)
    assert "name it with --text" in fails(*again, text=text)
    assert "changed" in fails(*again, "--text", "-", text=text + "More.")
    works(*again, "--text", "-", text=text)


def test_a_checkpoint_of_a_csv_from_before_spaces_were_kept_goes_on_without_them(place: Path) -> None:
    values = LanguageOptions(csv="table.csv").to_json()
    assert not LanguageOptions.from_json(values).skip_initial_space
    del values["skip_initial_space"], values["encoding"]
    assert LanguageOptions.from_json(values) == LanguageOptions(csv="table.csv", skip_initial_space=True)
    assert LanguageOptions.from_json(values | {"csv": None}) == LanguageOptions()


def test_the_log_has_one_record_a_step_and_one_an_evaluation(words: Path) -> None:
    records = log_of(words.parent)
    steps = [r for r in records if r["event"] == "step"]
    assert [r["step"] for r in steps] == list(range(1, len(steps) + 1))
    assert {"epoch", "loss", "tokens", "gradient_norm", "lr", "applied"} <= steps[0].keys()
    assert [r["step"] for r in records if r["event"] == "evaluation"] == [len(steps) // 2, len(steps)]


def test_resuming_gives_the_run_that_was_not_interrupted_and_its_log(place: Path, tmp_path: Path) -> None:
    arguments = ["train", "--text", place / "text.txt", "--lines", *SMALL, "--zoneout", "0.2", "--layers", "2"]
    works(*arguments, "--epochs", 4, "--out", tmp_path / "a")
    works(*arguments, "--epochs", 1, "--out", tmp_path / "b")
    text = works("train", "--resume", tmp_path / "b" / "last.safetensors", "--epochs", 4)
    assert str(tmp_path / "b" / "best.safetensors") in text, "it goes on where it was"
    for name in ("last.safetensors", "best.safetensors"):
        assert contents(tmp_path / "a" / name) == contents(tmp_path / "b" / name)
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")
    again = works("train", "--resume", tmp_path / "b" / "last.safetensors")
    assert "4 epochs done already" in " ".join(again.split())
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")


def test_a_log_that_was_cut_off_or_ran_ahead_is_mended(place: Path, tmp_path: Path) -> None:
    works("train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 1, "--out", tmp_path)
    before = log_of(tmp_path)
    ahead = [{"event": "step", "step": before[-1]["step"] + 1, "loss": 0}, {"step": 1}, {"other": 1}, 3]
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(record) + "\n" for record in ahead) + '{"event": "st')
    works("train", "--resume", tmp_path / "last.safetensors", "--epochs", 2)
    steps = [r["step"] for r in log_of(tmp_path) if r["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1)) and log_of(tmp_path)[: len(before)] == before


def test_resuming_refuses_other_options_and_a_changed_corpus(place: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes((place / "text.txt").read_bytes())
    works("train", "--text", text, "--lines", *SMALL, "--out", tmp_path)
    file = tmp_path / "last.safetensors"
    sentence = fails("train", "--resume", file, "--hidden", 9, "--untied", "--epochs", 9)
    assert "--hidden, --tied" in sentence and "only --epochs, --patience, --threads" in sentence
    text.write_text(text.read_text(encoding="utf-8") + "\nMore.", encoding="utf-8")
    assert "changed" in fails("train", "--resume", file, "--epochs", 9)
    assert "changed" in fails("evaluate", file)
    text.unlink()
    assert "No such file" in fails("train", "--resume", file, "--epochs", 9)
    assert "No such file" in fails("evaluate", file)
    works("inspect", file)


def test_word_vectors_are_read_once_and_not_needed_again(place: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_bytes((place / "vectors.txt").read_bytes())
    small = [*SMALL, "--optimizer", "sgd", "--lr", "1e-30"]
    works("train", "--text", place / "text.txt", "--lines", *small, "--vectors", vectors, "--out", tmp_path)
    vectors.unlink()
    model, vocabulary, _, _ = load_language_model(tmp_path / "best.safetensors")
    row = model.embedding.weight.numpy()[vocabulary.encode(["tree"])[0]]
    np.testing.assert_allclose(row, [6, 5, 4, 3, 2, 1])
    works("evaluate", tmp_path / "best.safetensors")
    works("train", "--resume", tmp_path / "last.safetensors", "--epochs", 3)


@pytest.mark.parametrize("level", [("--lines",), ("--level", "char")])
def test_samples_while_training_change_none_of_its_numbers(level: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    args = ("train", "--text", place / "text.txt", *level, *SMALL, "--epochs", 1, "--sentences", 0)
    plain = works(*args, "--out", tmp_path / "plain")
    text = works(*args, "--sample-every", 8, "--out", tmp_path / "sampled")
    steps = len([record for record in log_of(tmp_path / "plain") if record["event"] == "step"])
    marks = re.findall(r"^--- step (\d+) ---$|^sample  ", text, re.MULTILINE)
    assert len(marks) == steps // 8 > 0 and "\nsample  " not in plain and "step 8 ---" not in plain
    assert contents(tmp_path / "plain" / "last.safetensors") == contents(tmp_path / "sampled" / "last.safetensors")
    assert log_of(tmp_path / "plain") == log_of(tmp_path / "sampled")


def test_keep_every_keeps_the_evaluations_and_a_new_run_replaces_them(place: Path, tmp_path: Path) -> None:
    args = ("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path)
    text = works(*args, "--keep", "every")
    steps = [record["step"] for record in log_of(tmp_path) if record["event"] == "evaluation"]
    names = [path.name for path in sorted(tmp_path.glob("step-*"))]
    assert names == [f"step-{step:07}.safetensors" for step in steps] and len(names) == 2
    assert f"{tmp_path / names[0]} to {names[1]} (2)" in " ".join(text.split())
    earlier = ("train", "--resume", tmp_path / names[0], "--epochs", 3, "--out", tmp_path)
    assert "is further on" in fails(*earlier)
    text = works(*earlier, "--overwrite")
    assert "epoch 2" in text and "epoch 1" not in text
    works(*args, "--overwrite")
    assert not [*tmp_path.glob("step-*")]


def test_that_the_training_loss_is_with_dropout_is_said_where_it_is(place: Path, tmp_path: Path) -> None:
    args = ("train", "--text", place / "text.txt", "--level", "char", *SMALL, "--time-budget", 1e-3)
    for number, (noise, said) in enumerate(
        [((), True), (("--dropout", 0), False), (("--dropout", 0, "--zoneout", 0.1), True)]
    ):
        text = " ".join(works(*args, *noise, "--sentences", 0, "--out", tmp_path / str(number)).split())
        assert ("its own loss is with dropout" in text) == said
        nats, bits = re.findall(r"result ([\d.]+) nats per character .* ([\d.]+) bits per character", text)[0]
        assert float(bits) == pytest.approx(float(nats) / np.log(2), abs=0.006)


def test_other_numbers_on_resume_are_named_and_in_use(place: Path, tmp_path: Path) -> None:
    works("train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 1, "--out", tmp_path)
    args = ("train", "--resume", tmp_path / "last.safetensors")
    text = works(*args, "--epochs", 2, "--lr", 0.03, "--dropout", 0.5, "--batch-size", 4, "--sentences", 0)
    said = " ".join(text.split())
    assert "With another --lr and --dropout and --batch-size the run is no longer bit for bit" in said
    assert "rmsprop, lr 0.03, batches of 4, seed 0" in said
    assert [record["lr"] for record in log_of(tmp_path) if record["event"] == "step"][-1] == 0.03
    found = load_language_model(tmp_path / "last.safetensors")[2]
    assert (found.lr, found.dropout, found.batch_size) == (0.03, 0.5, 4)
    assert "no longer" not in works(*args, "--epochs", 3, "--lr", 0.03, "--sentences", 0)


def test_quiet_prints_the_result_alone(place: Path, tmp_path: Path) -> None:
    text = works("train", "--text", place / "text.txt", *SMALL, "--quiet", "--sentences", 0, "--out", tmp_path)
    labels = [line.split()[0] for line in text.splitlines() if not line.startswith(" ")]
    assert labels == ["result", "baseline", "files"]


def test_a_time_budget_ends_a_run(place: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    text = works(
        *("train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 10**6, "--time-budget", "0.3s"),
        *("--out", tmp_path),
    )
    assert "time budget" in text and time.monotonic() - began < 30


def test_a_loss_that_is_no_number_is_said_and_logged_as_json(place: Path, tmp_path: Path) -> None:
    options = "--optimizer sgd --lr 1e300".split()
    result = invoke("train", "--text", place / "text.txt", "--lines", *SMALL, *options, "--out", tmp_path)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "no model" in result.output and "skipped" in result.output
    assert f"files     {tmp_path / 'last.safetensors'}, {tmp_path / 'log.jsonl'}" in " ".join(
        result.output.split("\n          ")
    )
    assert all(r["valid_nats"] is None for r in log_of(tmp_path) if r["event"] == "evaluation")
    assert "not a finite number" in works("inspect", tmp_path / "last.safetensors")


def test_a_loss_beyond_all_bounds_is_printed_in_few_characters(place: Path, tmp_path: Path) -> None:
    options = "--optimizer sgd --lr 1e30 --sentences 0".split()
    text = works("train", "--text", place / "text.txt", "--lines", *SMALL, *options, "--out", tmp_path)
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) < 200
    works("evaluate", tmp_path / "last.safetensors")


def hear_ctrl_c() -> None:
    """In the new process: a shell's background jobs, and what they start, are born deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def popen(*args: object, **options: Any) -> subprocess.Popen[str]:
    if sys.platform != "win32":
        options.setdefault("preexec_fn", hear_ctrl_c)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "tinygrad_rnn", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding=options.pop("encoding", "utf-8"),
        env=environment,
        **options,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_ctrl_c_saves_and_ends_with_a_summary_and_the_run_can_be_resumed(place: Path, tmp_path: Path) -> None:
    run = popen("train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 10**6, "--out", tmp_path)
    log = tmp_path / "log.jsonl"
    end = time.monotonic() + 60
    while not (log.is_file() and len(log.read_text(encoding="utf-8").splitlines()) > 5) and time.monotonic() < end:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert "(interrupted)" in out and "files" in out and errors == ""
    steps = [r["step"] for r in log_of(tmp_path) if r["event"] == "step"]
    saved = checkpoint.load(tmp_path / "last.safetensors").meta["progress"]["step"]
    assert saved == steps[-1] == len(steps)
    works("train", "--resume", tmp_path / "last.safetensors", "--time-budget", "0.2")
    steps = [r["step"] for r in log_of(tmp_path) if r["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > saved


# --- One run, one folder ---------------------------------------------------------------------------------------


def test_the_folder_of_another_run_is_refused_unless_it_is_to_be_overwritten(place: Path, tmp_path: Path) -> None:
    arguments = ["train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 1, "--out", tmp_path]
    works(*arguments)
    names = ("best.safetensors", "last.safetensors", "log.jsonl")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    assert "holds another run" in fails(*arguments, "--seed", 1)
    assert before == {name: (tmp_path / name).read_bytes() for name in names}
    (tmp_path / "mine.txt").touch()
    works(*arguments, "--seed", 1, "--overwrite")
    assert load_language_model(tmp_path / "best.safetensors")[2].seed == 1
    assert len(log_of(tmp_path)) < 20 and (tmp_path / "mine.txt").exists()
    assert "--out" in fails("train", "--text", place / "text.txt", "--overwrite")


def test_the_best_file_that_an_overwritten_run_left_is_not_shown_as_the_new_one_s(place: Path, tmp_path: Path) -> None:
    arguments = ["train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path]
    works(*arguments)
    result = invoke(*arguments, "--overwrite", "--optimizer", "sgd", "--lr", "1e300")
    assert result.exit_code == 1 and "no model" in result.output and "perplexity 1" not in result.output[-300:]
    assert not (tmp_path / "best.safetensors").exists()


def test_a_run_goes_on_in_another_folder_and_not_in_that_of_another_run(place: Path, tmp_path: Path) -> None:
    one, other, new = tmp_path / "one", tmp_path / "other", tmp_path / "new"
    works("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", one)
    works("train", "--text", place / "other.txt", "--lines", *SMALL, "--epochs", 1, "--vocab-size", 7, "--out", other)
    before = [path.read_bytes() for path in sorted(other.iterdir())]
    assert "holds another run" in fails("train", "--resume", one / "last.safetensors", "--epochs", 3, "--out", other)
    assert before == [path.read_bytes() for path in sorted(other.iterdir())]
    text = works("train", "--resume", one / "last.safetensors", "--out", new)
    expected = works("evaluate", one / "best.safetensors")
    assert nats_and_tokens(expected)[0] == pytest.approx(float(re.findall(r"result +([\d.]+)", text)[0]), abs=1e-3)
    assert str(new / "best.safetensors") in text and log_of(new) == log_of(one)
    works("train", "--resume", one / "last.safetensors", "--epochs", 3, "--out", other, "--overwrite")
    assert log_of(other)[: len(log_of(one))] == log_of(one) and load_language_model(other / "best.safetensors")


def test_a_run_whose_best_model_is_not_at_hand_says_so_and_shows_the_last(place: Path, tmp_path: Path) -> None:
    works("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path)
    (tmp_path / "best.safetensors").unlink()
    text = works("train", "--resume", tmp_path / "last.safetensors")
    assert "The best model" in text and "is of the last one" in " ".join(text.split())
    assert f"{tmp_path / 'best.safetensors'}" not in text


def test_without_out_each_run_gets_a_folder_and_commands_take_the_newest_that_they_can_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no run in runs" in fails("generate")
    for seed, folder in enumerate(("runs/lm", "runs/lm-2")):
        text = works("train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 1, "--seed", seed)
        assert f"This run goes to {Path(folder)}." in text and str(Path(folder) / "best.safetensors") in text
    best = Path("runs/lm-2/best.safetensors")
    os.utime("runs/lm/best.safetensors", (1, 1))
    for command in (["generate"], ["score"], ["evaluate"], ["inspect"], ["inspect", "--html", "-"]):
        result = CliRunner().invoke(main, command, input="the cat\n")
        named = CliRunner().invoke(main, [command[0], str(best), *command[1:]], input="the cat\n")
        assert (result.exit_code, result.stdout) == (0, named.stdout)
        assert result.stderr == f"model     {best}\n" and named.stderr == ""
    best.write_bytes(b"damaged")
    result = CliRunner().invoke(main, ["generate", "--count", "1"])
    assert result.exit_code == 0 and result.stderr.endswith(f"model     {Path('runs/lm/best.safetensors')}\n")
    assert result.stderr.startswith("note      Passed over: ")


def test_a_log_is_not_written_over_a_text(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes((place / "text.txt").read_bytes())
    out = ["--out", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(language_task, "read_corpus", None)  # it is told before
        assert "something else than a log" in fails("train", "--text", text, "--lines", *SMALL, *out, "--log", text)
    assert text.read_bytes() == (place / "text.txt").read_bytes()
    log = tmp_path / "deeper" / "log"
    printed = works("train", "--text", text, "--lines", *SMALL, *out, "--log", log)
    assert str(log) in printed and not (tmp_path / "out" / "log.jsonl").exists()
    works("train", "--resume", tmp_path / "out" / "last.safetensors", "--epochs", 3, "--log", log)
    evaluations = [line for line in log.read_text(encoding="utf-8").splitlines() if '"evaluation"' in line]
    assert len(evaluations) == 3


def test_a_log_on_standard_output_is_printed_and_not_read(place: Path, tmp_path: Path) -> None:
    arguments = ["--quiet", "--sentences", 0, "--out", tmp_path, "--log", "-"]
    text = works("train", "--text", place / "text.txt", "--lines", *SMALL, *arguments)
    records = [strictly(line) for line in text.splitlines() if line.startswith("{")]
    assert sum(each["event"] == "evaluation" for each in records) == 2
    assert not (tmp_path / "loss.png").exists() and "matplotlib" not in text


def wait_for_lines(log: Path, count: int) -> None:
    end = time.monotonic() + 60
    while not (log.is_file() and log.read_bytes().count(b"\n") > count) and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signals for another process")
def test_a_second_run_in_a_folder_ends_with_a_sentence_and_sigterm_ends_the_first_saved(
    place: Path, tmp_path: Path
) -> None:
    arguments = ["train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 10**6, "--out", tmp_path]
    run = popen(*arguments)
    wait_for_lines(tmp_path / "log.jsonl", 15)
    for second in ([*arguments, "--overwrite"], ["train", "--resume", tmp_path / "last.safetensors", "--epochs", 9]):
        assert "another run is writing into this folder" in fails(*second)
    run.terminate()
    out, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (143, "") and "Ended by SIGTERM" in out and "result" not in out
    steps = [r["step"] for r in log_of(tmp_path) if r["event"] == "step"]
    saved = checkpoint.load(tmp_path / "last.safetensors").meta["progress"]["step"]
    assert saved == steps[-1] == len(steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "last.safetensors", "log.jsonl"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_ctrl_c_at_any_moment_prints_no_traceback(place: Path, tmp_path: Path) -> None:
    arguments = ["train", "--text", place / "text.txt", "--lines", *SMALL, "--epochs", 10**6]
    began, first = time.monotonic(), popen(*arguments, "--out", tmp_path / "first", env={"PYTHONUNBUFFERED": "1"})
    wait_for_lines(tmp_path / "first" / "log.jsonl", 1)
    whole = time.monotonic() - began
    first.send_signal(signal.SIGINT)
    time.sleep(0.001)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert "Traceback" not in errors and first.returncode in (0, -signal.SIGINT)
    for part in np.linspace(0.3, 0.95, 8):  # before that it is Python that starts, and not yet the program
        run = popen(*arguments, "--out", tmp_path / f"{part}")
        time.sleep(part * whole)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
        assert errors == "" and run.returncode in (0, -signal.SIGINT)


# --- Evaluating and scoring ------------------------------------------------------------------------------------


def nats_and_tokens(text: str) -> tuple[float, int]:
    found = re.search(r"result +([\d.]+) nats per (?:token|character) on ([\d,]+) (?:token|character)s", text)
    assert found, text
    return float(found[1]), int(found[2].replace(",", ""))


@pytest.mark.parametrize("model", ["words", "sentences", "characters"])
def test_evaluate_says_what_the_log_says_of_the_best(model: str, request: pytest.FixtureRequest) -> None:
    file: Path = request.getfixturevalue(model)
    best = min((r for r in log_of(file.parent) if r["event"] == "evaluation"), key=lambda r: r["valid_nats"])
    assert best["best"]
    text = works("evaluate", file)
    nats, tokens = nats_and_tokens(text)
    assert nats == pytest.approx(best["valid_nats"], abs=1e-4) and tokens == best["tokens"]
    assert "baseline" in text and re.search(r"sha256 [0-9a-f]{12}", text)
    perplexity = re.search(r"perplexity ([\d.]+)", text)
    assert perplexity and float(perplexity[1]) == pytest.approx(np.exp(best["valid_nats"]), rel=0.02)
    baselines = json.loads((file.parent / "result.json").read_text(encoding="utf-8"))["baselines"]
    found = re.findall(r"\): (beaten|level|not reached)(?: by|,) ([\d.]+)", " ".join(text.split()))
    assert found == [(each["verdict"], f"{abs(each['gain']):.3f}") for each in baselines]
    assert ("±" in text) is any(each["error"] is not None for each in baselines)


def test_evaluate_of_another_text_counts_all_of_it(sentences: Path, place: Path) -> None:
    lines = (place / "other.txt").read_text(encoding="utf-8").splitlines()
    _, tokens = nats_and_tokens(works("evaluate", sentences, "--text", place / "other.txt"))
    assert tokens == sum(len(re.findall(r"\w+|\.", line)) + 1 for line in lines)
    _, tokens = nats_and_tokens(works("evaluate", sentences, "--text", place / "line.txt"))
    assert tokens == 7, "one sentence is enough"


def scores(text: str) -> list[tuple[float, int, str]]:
    """log p, tokens and the sentence; the third column is the number of unknown tokens."""
    rows = [line.split("\t", 3) for line in text.splitlines()]
    return [(float(logprob), int(count), line) for logprob, count, _, line in rows]


def test_scores_add_up_to_what_evaluate_says_of_the_same_sentences(sentences: Path, place: Path) -> None:
    nats, tokens = nats_and_tokens(works("evaluate", sentences, "--text", place / "other.txt"))
    found = scores(works("score", sentences, place / "other.txt"))
    assert sum(count for _, count, _ in found) == tokens
    assert sum(logprob for logprob, _, _ in found) == pytest.approx(-nats * tokens, abs=1e-4 * tokens)


def test_the_score_of_a_line_of_characters_is_that_of_the_line_as_a_text(characters: Path, place: Path) -> None:
    nats, tokens = nats_and_tokens(works("evaluate", characters, "--text", place / "line.txt"))
    ((logprob, count, _),) = scores(works("score", characters, place / "line.txt"))
    assert count == tokens and logprob == pytest.approx(-nats * tokens, abs=1e-3 * tokens)


def test_score_reads_standard_input_and_leaves_blank_lines_out(words: Path, place: Path) -> None:
    text = (place / "other.txt").read_text(encoding="utf-8")
    assert (
        works("score", words, text=text)
        == works("score", words, place / "other.txt")
        == works("score", words, "-", text="\ufeff" + text.replace("\n", "\r\n\r\n  \r\n"))
    )
    (row,) = scores(works("score", words, text="naïve 词 ☃\n"))
    assert row[1:] == (4, "naïve 词 ☃") and row[0] < 0
    assert works("score", words, text="") == ""


def test_score_treats_standard_input_like_a_file(words: Path, place: Path, tmp_path: Path) -> None:
    """Lone carriage returns, NUL bytes, packed texts and other encodings."""
    lines = (place / "other.txt").read_text(encoding="utf-8").splitlines()[:3]
    expected = works("score", words, text="\n".join(lines))
    for raw in ("\r".join(lines).encode(), gzip.compress("\r\n".join(lines).encode())):
        (tmp_path / "some").write_bytes(raw)
        found = invoke("score", words, text=raw)
        assert (found.exit_code, found.output) == (0, expected) and works("score", words, tmp_path / "some") == expected
    (tmp_path / "some").write_bytes(b"The \0 cat.")
    assert (
        fails("score", words, tmp_path / "some").partition("some: ")[2]
        == (fails("score", words, text=b"The \0 cat.").partition("standard input: ")[2])
    )
    (tmp_path / "latin").write_bytes("The naïve cat.".encode("latin-1"))
    row = works("score", words, tmp_path / "latin", "--encoding", "latin-1")
    assert row == works("score", words, text="The naïve cat.")


def test_the_score_of_characters_counts_the_spaces_at_both_ends(characters: Path) -> None:
    found = scores(works("score", characters, text="The cat.\n The cat.  \n   \n"))
    assert [row[1:] for row in found] == [(7, "The cat."), (10, " The cat.  ")]


# --- Generating and inspecting ---------------------------------------------------------------------------------


def test_generate_says_the_same_with_the_same_seed_and_other_things_with_another(words: Path) -> None:
    first = works("generate", words, "--seed", 1)
    assert first == works("generate", words, "--seed", 1) != works("generate", words, "--seed", 2)
    assert len(first.splitlines()) == 10


def test_temperature_zero_and_the_one_most_likely_token_are_the_same_whatever_the_seed(words: Path) -> None:
    greedy = works("generate", words, "--temperature", 0, "--count", 2)
    assert greedy == works("generate", words, "--temperature", 0, "--count", 2, "--seed", 7)
    assert greedy == works("generate", words, "--top-k", 1, "--count", 2, "--seed", 8)
    assert greedy == works("generate", words, "--top-p", "1e-9", "--count", 2, "--seed", 9)
    assert len(set(greedy.splitlines())) == 1


def test_a_beam_says_the_best_sentences_the_best_first_and_no_more_than_it_is_wide(
    words: Path, characters: Path
) -> None:
    options = ("--beam", 3, "--min-length", 2, "--max-length", 8, "--prompt", "the")
    best = works("generate", words, *options)
    assert best == works("generate", words, *options, "--seed", 7, "--count", 3)
    assert len(set(best.splitlines())) == 3 and all(line.startswith("the") for line in best.splitlines())
    assert works("generate", words, *options, "--count", 1) == best.splitlines()[0] + "\n"
    text = works("generate", characters, "--beam", 2, "--max-length", 9)
    assert re.findall("--- . ---", text) == ["--- 1 ---", "--- 2 ---"]
    assert "---" not in works("generate", characters, "--beam", 1, "--max-length", 9)


@pytest.mark.parametrize("option", ["--temperature 0.8", "--top-k 3", "--top-p 0.5"])
def test_a_beam_draws_nothing_by_chance_and_is_told_so(words: Path, option: str) -> None:
    sentence = fails("generate", words, "--beam", 3, *option.split())
    assert f"--beam and {option.partition(' ')[0]} cannot both be given" in sentence


def test_a_prompt_begins_every_sentence(words: Path, characters: Path) -> None:
    for prompt, shown in (("The naïve", "the naïve"), (" the \n naïve ", "the naïve"), ("", "")):
        text = works("generate", words, "--prompt", prompt, "--count", 5)
        assert all(line.startswith(shown) for line in text.splitlines())
    text = works("generate", characters, "--prompt", "The cat", "--count", 3, "--max-length", 5)
    assert "".join(text.split("The cat")).strip() and text.count("The cat") == 3


def test_a_prompt_may_come_from_a_file_or_from_standard_input(words: Path, characters: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    for model, prompt in ((words, "The naïve"), (characters, "The cat\nThe")):
        expected = works("generate", model, "--prompt", prompt, "--max-length", 12, "--count", 1)
        for newline in ("\n", "\r\n"):  # an editor ends a file with one, which is not meant
            file.write_bytes((prompt + "\n").replace("\n", newline).encode())
            assert works("generate", model, "--prompt-file", file, "--max-length", 12, "--count", 1) == expected
        assert (
            works("generate", model, "--prompt-file", "-", "--max-length", 12, "--count", 1, text=prompt + "\n")
            == expected
        )


def test_samples_of_several_lines_are_told_apart_by_their_numbers(characters: Path, words: Path) -> None:
    text = works("generate", characters, "--count", 3, "--max-length", 60)
    assert re.findall(r"^--- (\d) ---$", text, re.MULTILINE) == ["1", "2", "3"] and text.startswith("--- 1 ---\n")
    assert "---" not in works("generate", characters, "--count", 1)
    assert "---" not in works("generate", words, "--count", 3), "a sentence is a line"


def test_a_prompt_with_an_unknown_word_is_refused_by_name(words: Path, characters: Path) -> None:
    assert "'aardvark', '☃'" in fails("generate", words, "--prompt", "the aardvark ☃")
    sentence = fails("generate", words, "--prompt", 'the "cat"')
    assert "know: '\"', '\"'\n" in sentence, "the quotes as they were typed"
    assert "'☃'" in fails("generate", characters, "--prompt", "The ☃")


def test_sentences_are_as_long_as_told(words: Path, characters: Path) -> None:
    text = works("generate", words, "--min-length", 12, "--max-length", 12, "--count", 4)
    assert all(len(re.findall(r"\w+|\.", line)) == 12 for line in text.splitlines())
    short = works("generate", words, "--max-length", 2, "--count", 4)
    assert all(len(line.split()) <= 2 for line in short.splitlines()), "below the usual minimum"
    assert len(works("generate", characters, "--max-length", 30, "--count", 1)) == 31


def test_the_unknown_token_and_the_marks_are_never_said(sentences: Path, words: Path) -> None:
    for file in (sentences, words):
        for temperature in (0, 1, 50):
            text = works("generate", file, "--temperature", temperature, "--count", 6, "--min-length", 10)
            assert not re.search("UNKNOWN|SENTENCE|PADDING", text, re.IGNORECASE)


def test_inspect_says_where_a_model_is_from_and_what_it_weighs(words: Path) -> None:
    text = works("inspect", words)
    model, _, _, meta = load_language_model(words)
    assert meta["data"]["sha256"] in text and "hidden=6" in text and f"{meta['best']:.4f}" in text
    for name, parameter in model.named_parameters():
        assert re.search(rf"{re.escape(name)} +{'x'.join(map(str, parameter.shape))} ", text)


def test_what_inspect_prints_of_the_weights_fits_eighty_columns_and_is_in_the_model_s_unit(characters: Path) -> None:
    text = works("inspect", characters)
    assert max(len(line) for line in text.partition("\nweights")[2].splitlines()) <= 80
    assert "nats per character" in text and "per token" not in text


# --- Mistakes --------------------------------------------------------------------------------------------------

TEXT = "train --text text.txt --lines "

MISTAKES = {
    "train --text missing.txt": "missing.txt",
    "train --text .": ": UTF-8 text was expected, got ",
    "train --text nothing": "nothing: a folder of texts was expected",
    "train --csv .": "cannot be read",
    "train --encoding klingon": "'klingon'",
    "train --text latin.txt --encoding ascii": "ASCII",
    "train --text binary.bin": "NUL",
    "train --text latin.txt": "UTF-8",
    "train --text empty.txt": "empty",
    "train --text word.txt": "got 1 (1 tokens): --lines where each line is one, or --level char for a model of char",
    "train --text line.txt --lines": "line.txt: at least 2 sentences were expected, one to train and one to validate",
    "train --text word.txt --lines --level char": "got 1 (4 tokens)\n",
    "train --text letter.txt --level char": "at least 2 tokens, got 1",
    "train text.txt": "--text text.txt",
    "train --text text.txt line.txt table.csv": "--text line.txt --csv table.csv",
    "train words/last.safetensors": "--resume words/last.safetensors",
    "evaluate words/best.safetensors text.txt": "--text text.txt",
    "generate words/best.safetensors once upon": "--prompt 'once upon'",
    "inspect words/best.safetensors page.html": "--html page.html",
    "score words/best.safetensors text.txt line.txt": "line.txt",
    "train --csv missing.csv": "missing.csv",
    "train --csv empty.txt": "empty",
    "train --csv binary.bin": "UTF-8",
    "train --csv ragged.csv --column body": "line 2",
    "train --csv table.csv --column text": "'id', 'body', 'tag'",
    "train --csv table.csv --column 7": "'id', 'body', 'tag'",
    "train --csv table.csv --text text.txt": "--csv",
    TEXT + "--vocab-size 9999": "size of the vocabulary",
    TEXT + "--vocab-size 3": "size of the vocabulary",
    TEXT + "--vocab-size 0": "vocab_size",
    TEXT + "--valid-fraction 1": "valid_fraction",
    TEXT + "--lr -1": "lr",
    TEXT + "--lr 0": "lr",
    TEXT + "--lr nan": "lr",
    TEXT + "--lr inf": "lr",
    TEXT + "--lr fast": "--lr",
    TEXT + "--clip-norm 0": "clip_norm",
    TEXT + "--clip-norm inf": "clip_norm",
    TEXT + "--clip-value -1": "clip_value",
    TEXT + "--dropout 1": "dropout",
    TEXT + "--dropout nan": "dropout",
    TEXT + "--zoneout -0.1": "zoneout",
    TEXT + "--recurrent-dropout 1.5": "recurrent_dropout",
    TEXT + "--momentum 0.9": "sgd",
    TEXT + "--optimizer sgd --momentum 1": "momentum",
    TEXT + "--optimizer adam --decay 0.9": "decay",
    TEXT + "--weight-decay inf": "weight_decay",
    TEXT + "--optimizer lbfgs": "lbfgs",
    TEXT + "--layers 0": "layers",
    TEXT + "--hidden -5": "hidden",
    TEXT + "--hidden 6.5": "--hidden",
    TEXT + "--hidden 99999999999": "hidden",
    TEXT + "--batch-size 0": "batch_size",
    TEXT + "--batch-size 9999999999999999999999 --batching sentences": "batch_size",
    TEXT + "--steps 0": "steps",
    TEXT + "--epochs 0": "epochs",
    TEXT + "--evaluate-every 0": "evaluate_every",
    TEXT + "--patience 0": "patience",
    TEXT + "--seed -1": "seed",
    TEXT + "--sentences -1": "sentences",
    TEXT + "--tied --hidden 6 --embedding 7": "tied",
    TEXT + "--tied --softmax adaptive": "tied needs a full softmax, and the softmax is adaptive",
    TEXT + "--softmax sparse": "'sparse'",
    TEXT + "--schedule cosine --time-budget 5": "epochs",
    TEXT + "--time-budget soon": "'soon'",
    TEXT + "--time-budget 0": "'0'",
    TEXT + "--vectors short.txt --embedding 6": "vectors of 6 numbers were expected, the file has vectors of 3: "
    "--embedding 3 takes them",
    TEXT + "--vectors short.txt --tied --hidden 6": "--embedding 3 --hidden 3 takes them",
    TEXT + "--vectors missing.txt": "missing.txt",
    TEXT + "--vectors binary.bin": "binary.bin",
    TEXT + "--vectors vectors.txt --level char": "level",
    TEXT + "--device tpu": "'tpu'",
    TEXT + "--out text.txt": "text.txt",
    TEXT + "--out text.txt/deeper": "text.txt",
    TEXT + "--log .": "directory",
    TEXT + "--unheard-of": "--unheard-of",
    TEXT + "--cell elman": "cell must be rnn, gru, lstm,",
    TEXT + "--cell rnnn": "there is no cell 'rnnn': did you mean rnn?",
    TEXT + "--cell LTSM": "did you mean lstm?",
    TEXT + "--cell peephole": "did you mean peephole-lstm?",
    TEXT + "--cell missing.py:Plain": "missing.py",
    TEXT + "--cell cells.py": "FILE.py:Class",
    TEXT + "--cell cells.py:Absent": "Absent",
    TEXT + "--cell cells.py:NotACell": "NotACell",
    TEXT + "--cell text.txt:Plain": "not a Python file",
    TEXT + "--cell syntax.py:Plain": "SyntaxError",
    TEXT + "--cell cells.py:Broken": "cells.py, line 13: AttributeError",
    TEXT + "--cell cells.py:Misshapen": "Misshapen.step must return h as a Tensor of float32",
    TEXT + "--cell cells.py:Greedy": "must return 2 state(s)",
    TEXT + "--cell cells.py:Gateless --recurrent-dropout 0.5": "needs a gate that reads h",
    TEXT + "--cell cells.py:Later": "cells.py, line 34: KeyError",
    TEXT + "--cell cells.py:Unfinished": "must define step",
    TEXT + "--cell cells.py:Unmade": "cells.py, line 42: RuntimeError: not today",
    "train --resume missing.safetensors": "no such file",
    "train --resume text.txt": "not a checkpoint",
    "train --resume .": "folder",
    "train --resume foreign.safetensors": "not a checkpoint",
    "evaluate missing.safetensors": "no such file",
    "evaluate empty.txt": "not a checkpoint",
    "evaluate binary.bin": "not a checkpoint",
    "evaluate foreign.safetensors": "not a checkpoint",
    "evaluate other-task.safetensors": "settings",
    "evaluate half.safetensors": "incomplete",
    "evaluate words/best.safetensors --text missing.txt": "missing.txt",
    "evaluate words/best.safetensors --device tpu": "'tpu'",
    "score missing.safetensors": "no such file",
    "score words/best.safetensors missing.txt": "missing.txt",
    "score words/best.safetensors binary.bin": "NUL",
    "score words/best.safetensors .": "cannot be read",
    "score words/best.safetensors text.txt --encoding klingon": "'klingon'",
    "evaluate words/best.safetensors --text text.txt --encoding klingon": "'klingon'",
    "generate foreign.safetensors": "not a checkpoint",
    "generate words/best.safetensors --prompt-file missing.txt": "missing.txt: cannot be read",
    "generate words/best.safetensors --prompt-file nothing": "nothing: cannot be read",
    "generate words/best.safetensors --prompt-file latin.txt": "UTF-8",
    "generate words/best.safetensors --prompt-file line.txt --prompt the": "--prompt and --prompt-file cannot both",
    TEXT + "--sample-every 0": "sample-every",
    TEXT + "--keep none": "--keep",
    "generate words/best.safetensors --temperature -1": "temperature",
    "generate words/best.safetensors --temperature nan": "temperature",
    "generate words/best.safetensors --temperature inf": "temperature",
    "generate words/best.safetensors --top-k 0": "top-k",
    "generate words/best.safetensors --top-p 0": "top-p",
    "generate words/best.safetensors --top-p nan": "top_p",
    "generate words/best.safetensors --count 0": "count",
    "generate words/best.safetensors --beam 0": "beam",
    "generate words/best.safetensors --seed -1": "seed",
    "generate words/best.safetensors --max-length 0": "max-length",
    "inspect missing.safetensors": "no such file",
    "inspect text.txt": "not a checkpoint",
    "unheard-of": "unheard-of",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_every_mistake_is_answered_with_one_sentence_that_names_it(
    line: str, place: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    arguments = line.split()
    if arguments[0] == "train":
        small = ["--embedding", "6", *SMALL[:4], *SMALL[6:]]
        new = [] if "--resume" in arguments else small if "--time-budget" not in arguments else SMALL[:6]
        out = [] if "--out" in arguments or "--resume" in arguments else ["--out", str(tmp_path)]
        arguments = ["train", *new, *out, *arguments[1:]]
    assert MISTAKES[line] in fails(*arguments)


@pytest.mark.parametrize("command", ["evaluate", "score", "generate", "inspect", "train --resume"])
@pytest.mark.parametrize("length", [0, 7, 300, -1])
def test_a_truncated_checkpoint_is_refused_by_every_command(
    command: str, length: int, words: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cut.safetensors"
    file.write_bytes(words.read_bytes()[:length])
    assert str(file) in fails(*command.split(), file, text="a line")


def test_cuda_without_cupy_is_said(place: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = place / "text.txt"
    for line in (["train", "--text", text, "--out", tmp_path], ["evaluate", words], ["generate", words]):
        assert "CuPy" in fails(*line, "--device", "cuda")


def test_a_folder_that_cannot_be_written_to_is_said_before_training(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert str(tmp_path) in fails("train", "--text", place / "text.txt", *SMALL, "--out", tmp_path)


def test_a_full_disk_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in fails("train", "--text", place / "text.txt", "--lines", *SMALL, "--out", tmp_path)


def test_standard_input_that_is_no_text_is_said(words: Path) -> None:
    assert re.search("0xff .* at byte 2, line 2", fails("score", words, text=b"a\n\xff\xfe"))


def test_too_little_memory_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise MemoryError("Unable to allocate 71 PiB")

    monkeypatch.setattr(language_task, "read_corpus", fail)
    assert "not enough memory: Unable" in fails("train", "--text", place / "text.txt", "--out", tmp_path)


def test_an_error_that_is_no_user_s_mistake_is_not_hidden(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(inspect_command, "with_weights", fail)
    assert isinstance(invoke("inspect", words).exception, ZeroDivisionError)


numbers = st.sampled_from([*"0 1 2 3 -1 0.5 0.99 1e-300 1e300 1e999 nan inf -inf 7 1_0 ٣ x".split(), "", " "])


@pytest.mark.slow
@part_of_the_examples(0.4)  # each is a run
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                "--vocab-size --valid-fraction --embedding --hidden --layers --dropout --recurrent-dropout --zoneout "
                "--lr --momentum --decay --weight-decay --clip-norm --clip-value --batch-size --steps "
                "--evaluate-every --patience --seed --sentences --column".split()
            ),
            numbers,
        ),
        max_size=4,
    ),
    st.sampled_from(["sgd", "adagrad", "adadelta", "rmsprop", "adam"]),
    st.sampled_from(["stream", "sentences"]),
    st.sampled_from(["word", "char"]),
)
def test_no_numbers_in_the_options_make_a_traceback(
    place: Path, options: list[tuple[str, str]], optimizer: str, batching: str, level: str
) -> None:
    result = invoke(
        *("train", "--text", place / "other.txt", *SMALL, "--epochs", 1, "--out", place / "any", "--quiet"),
        "--overwrite",
        *("--optimizer", optimizer, "--batching", batching, "--level", level, "--time-budget", "0.3"),
        *(part for option in options for part in option),
    )
    assert result.exit_code in (0, 1, 2) and isinstance(result.exception, SystemExit | None), result.output


# --- Pipes and terminals ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise")
def test_a_reader_who_has_seen_enough_is_no_error(words: Path) -> None:
    run = popen("generate", words, "--count", 3000)
    assert run.stdout is not None and run.stderr is not None
    assert run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    run.stderr.close()
    run.wait(timeout=60)


@pytest.mark.slow
def test_a_terminal_that_cannot_show_a_character_gets_its_number(words: Path) -> None:
    run = popen("generate", words, "--prompt", "naïve 词", env={"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    out, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "") and out.startswith("naïve \\u8bcd")


@pytest.mark.slow
def test_the_default_corpus_trains_with_no_data_at_all(tmp_path: Path) -> None:
    text = works(
        *("train", "--hidden", 16, "--embedding", 16, "--layers", 1, "--epochs", 1, "--out", tmp_path),
    )
    assert "standard library" in text and "unigram" in text
    works("evaluate", tmp_path / "best.safetensors")


def test_the_output_is_tied_where_the_cells_output_has_the_embeddings_size(place: Path, tmp_path: Path) -> None:
    for cell, tied in (("gru", True), ("scrn", False)):
        out = tmp_path / cell
        sizes = "--layers 1 --hidden 6 --embedding 6 --epochs 1 --vocab-size 16".split()
        trained = invoke("train", "--text", place / "text.txt", "--lines", "--cell", cell, *sizes, "--out", out)
        assert trained.exit_code == 0, trained.output
        assert ("(tied)" in trained.output) == tied
        assert invoke("evaluate", out / "best.safetensors").exit_code == 0
