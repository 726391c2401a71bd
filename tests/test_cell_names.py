"""A cell by its name and options, as a run has it: on the command line, in checkpoints, and completed by the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import SUMS

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.options import complete_cell
from tinygrad_rnn.models import GRUCell, checkpoint
from tinygrad_rnn.models.variants import PhasedLSTMCell
from tinygrad_rnn.training.cell_files import open_cell
from tinygrad_rnn.training.cell_names import name_and_options
from tinygrad_rnn.training.options import OptionError

CELL = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import tanh

class Deep(Cell):
    gates = "n"
    def setup(self, depth: int = 1, scales: tuple = (1.0, 2.0), name: str = "a") -> None:
        assert isinstance(scales, tuple), scales
        self.depth, self.scales = depth, scales
        self.more = [self.new_gate(f"n{k}", "h") for k in range(depth)]
    def step(self, x, h):
        h = tanh(self.n(x, h)) * self.scales[0]
        for gate in self.more:
            h = tanh(gate(h))
        return h
"""
SMALL = ["--hidden", "4", "--epochs", "1"]
TASK = "sums.py:Sums"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(CELL, encoding="utf-8")
    Path("sums.py").write_text(SUMS, encoding="utf-8")
    return tmp_path


def invoke(*args: str) -> Any:
    return CliRunner().invoke(main, list(args), terminal_width=110)


def works(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return str(result.output)


# --- The name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("lstm", "lstm", {}),
        ("lstm()", "lstm", {}),
        ("gru(reset=before)", "gru", {"reset": "before"}),
        ("gru( reset='before', recurrent_bias=True )", "gru", {"reset": "before", "recurrent_bias": True}),
        ("phased-lstm(periods=(1, 8),leak=-1e-3)", "phased-lstm", {"periods": (1, 8), "leak": -1e-3}),
        ("a.py:Mine", "a.py:Mine", {}),
        ("my (old) cells/a.py:Mine(depth=3)", "my (old) cells/a.py:Mine", {"depth": 3}),
        ("my (old) cells/a.py:Mine", "my (old) cells/a.py:Mine", {}),
        ("a.py:Mine(x=None, y=[1, 'two)'])", "a.py:Mine", {"x": None, "y": [1, "two)"]}),
    ],
)
def test_options_stand_in_brackets_behind_the_name(text: str, name: str, options: dict[str, Any]) -> None:
    assert name_and_options(text) == (name, options)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from("abcd"), st.one_of(st.integers(), st.floats(-9, 9), st.text(), st.none())))
def test_what_python_writes_is_read_back(options: dict[str, Any]) -> None:
    written = ", ".join(f"{name}={value!r}" for name, value in options.items())
    assert name_and_options(f"a.py:Mine({written})") == ("a.py:Mine", options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gru(reset=before", "options are as in phased-lstm(leak=0.01), got 'gru(reset=before'"),
        ("gru(1)", "options are as in phased-lstm(leak=0.01), got 'gru(1)'"),
        ("gru(**x)", "options are as in"),
        ("gru(reset=)", "options are as in"),
        ("gru(reset=f(1))", "values of options are numbers, words, tuples, lists, True, False and None, got 'f(1)'"),
        ("gru(reset=before, reset=after)", "option 'reset' is there twice"),
        ("gru(rest=before)", "GRUCell has no option 'rest'; it has reset, update, recurrent_bias, gate"),
        ("mgu(a=1)", "MGUCell has no option 'a'; it has none"),
        ("gruu(a=1)", "there is no cell 'gruu': did you mean gru?"),
    ],
)
def test_what_is_no_name_with_options_is_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        open_cell(text)
    assert said in str(raised.value)


def test_nothing_in_the_brackets_is_run(place: Path) -> None:
    with pytest.raises(OptionError):
        open_cell("gru(reset=open('written', 'w'))")
    assert not Path("written").exists()


# --- Runs ------------------------------------------------------------------------------------------------------


def test_a_run_keeps_the_options_of_its_cell_and_goes_on_with_them(place: Path) -> None:
    own = "own.py:Deep(depth=2, scales=(0.5, 1))"
    works("train", TASK, *SMALL, "--cell", own, "--out", "run")
    saved = checkpoint.load(Path("run/last.safetensors"))
    assert saved.meta["settings"]["cell"] == own and "model.recurrent.cells.0.more.1.W" in saved.arrays
    for allowed in (["--trust"], ["--cell", "own.py:Deep"], ["--cell", own]):
        works("evaluate", "run/last.safetensors", "--task", TASK, *allowed)
    works("train", TASK, "--resume", "run/last.safetensors", "--trust", "--epochs", "2")
    refused = invoke("evaluate", "run/last.safetensors", "--task", TASK, "--cell", "own.py:Deep(depth=1)")
    assert refused.exit_code == 1 and "run/last.safetensors" in refused.output


def test_a_variant_with_options_is_trained_evaluated_and_loaded(place: Path) -> None:
    works("train", TASK, *SMALL, "--cell", "phased-lstm(periods=(1, 8), leak=0.1)", "--out", "run")
    works("evaluate", "run/best.safetensors", "--task", TASK)
    model = tg.tasks.load_model("run/best.safetensors", task=TASK).model
    cells = [each for each in tg.models.module.within(model) if isinstance(each, PhasedLSTMCell)]
    assert cells and all(cell.leak == 0.1 for cell in cells)
    refused = invoke("evaluate", "run/best.safetensors", "--task", TASK, "--cell", "phased-lstm(leak=0.2)")
    assert "the model's cell is phased-lstm(periods=(1, 8), leak=0.1)" in refused.output


def test_a_language_model_may_have_a_cell_with_options_but_not_with_those_of_the_model(place: Path) -> None:
    Path("text.txt").write_text("the cat sees the dog .\n" * 20, encoding="utf-8")
    small = ["--text", "text.txt", "--lines", "--layers", "1", "--hidden", "3", "--embedding", "3", "--epochs", "1"]
    said = works("train", *small, "--sentences", "0", "--cell", "gru(reset=before,update=write)", "--out", "run")
    assert "1 x gru(reset=before,update=write) 3" in said
    Path("own.py").write_text(CELL.replace("depth: int", "tied: bool = False, depth: int"), encoding="utf-8")
    refused = invoke("train", *small, "--cell", "own.py:Deep(tied=True)")
    assert refused.exit_code == 2 and "'tied' is an option of the model, and cannot be the cell's" in refused.output


@pytest.mark.slow
def test_check_takes_options_too(place: Path) -> None:
    assert "gates n more.0 more.1" in works("check", "own.py:Deep(depth=2)")
    assert "checks passed" in works("check", "gru(reset=before)")


def test_from_python_a_name_may_have_options_as_well(place: Path) -> None:
    found = tg.tasks.train(TASK, epochs=1, hidden=4, cell="gru(reset=before)", out="run")
    cells = [each for each in tg.models.module.within(found.model) if isinstance(each, GRUCell)]
    assert cells and all(cell.reset == "before" for cell in cells)


# --- The shell -------------------------------------------------------------------------------------------------


def offered(incomplete: str) -> list[str]:
    context = click.Context(main)
    return [each.value for each in complete_cell(context, click.Argument(["cell"]), incomplete)]


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("layern", ["layernorm-lstm", "layernorm-gru"]),
        ("gru(", ["gru(reset=", "gru(update=", "gru(recurrent_bias=", "gru(gate="]),
        (
            "gru(reset=before,",
            ["gru(reset=before,update=", "gru(reset=before,recurrent_bias=", "gru(reset=before,gate="],
        ),
        ("gru(reset=before, up", ["gru(reset=before, update="]),
    ],
)
def test_the_shell_offers_names_and_options(incomplete: str, expected: list[str]) -> None:
    assert offered(incomplete) == expected


def test_the_shell_offers_files_where_no_name_begins_so() -> None:
    (item,) = complete_cell(click.Context(main), click.Argument(["cell"]), "./ce")
    assert (item.value, item.type) == ("./ce", "file")


@pytest.mark.parametrize("words", [["train", "--cell", "jan"], ["check", "jan"], ["train", "tag", "--cell", "jan"]])
def test_every_command_that_names_a_cell_completes_it(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDS", " ".join(["tinygrad-rnn", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    result = CliRunner().invoke(main, prog_name="tinygrad-rnn", env={"_TINYGRAD_RNN_COMPLETE": "bash_complete"})
    assert result.output == "plain,janet\n"
