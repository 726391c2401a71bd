"""`train TASK`, `evaluate`, `predict` and `inspect` of tasks: those that come with the package, and the user's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import fails, invoke, works

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.finding import TASKS
from tinygrad_rnn.training.saved_runs import load_run

BRACKETS = Path(__file__).parents[1] / "examples" / "brackets.py"
SMALL = "--hidden 4 --batch-size 8 --epochs 2".split()
TEXT = "\n".join(f"{'a' if i % 3 else 'b'}\t{'x ' * (i % 5)}{'y' if i % 3 else 'z'}" for i in range(60))
OWN = """
from tinygrad_rnn.tasks.classify import Classify

class Own(Classify):
    class Options(Classify.Options):
        embedding: int = 2

    def predict(self, model, batch, beam=None):
        return [f"{said}{beam or ''}" for said in super().predict(model, batch)]

class Failing(Classify):
    def collate(self, part):
        return {}["missing"]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples, a task of the user's own, and a model of each task."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "text.tsv").write_text(TEXT, encoding="utf-8")
    (folder / "other.tsv").write_text("a\tx y\nb\tz\n", encoding="utf-8")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    data = ["--data", folder / "text.tsv", *SMALL]
    works("train", "classify", *data, "--embedding", 3, "--out", folder / "runs" / "classify")
    works("train", f"{folder / 'own.py'}:Own", *data, "--out", folder / "runs" / "own")
    (folder / "words.txt").write_text("the cat sees the dog .\n" * 20, encoding="utf-8")
    line = "--lines --layers 1 --hidden 2 --embedding 2 --epochs 1 --batch-size 4 --quiet --sentences 0".split()
    works("train", "--text", folder / "words.txt", *line, "--out", folder / "runs" / "lm")
    return folder


@pytest.fixture
def classifier(place: Path) -> Path:
    return place / "runs" / "classify" / "best.safetensors"


@pytest.fixture
def own(place: Path) -> Path:
    return place / "runs" / "own" / "best.safetensors"


# --- train -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pictures")
def test_train_says_what_it_learns_what_simple_methods_reach_and_what_came_out(place: Path, tmp_path: Path) -> None:
    text = works("train", "classify", "--data", place / "text.tsv", *SMALL, "--out", tmp_path / "run")
    for part in (
        "text.tsv: 60 examples, sha256 ",
        "split     48 training, 6 validation and 6 test examples",
        "baseline  most frequent 0.",
        "model     gru, layers 1, embedding 64, hidden 4:",
        "training  adam, lr 0.002",
        " accuracy  examples/s ",
        "result    accuracy ",
        " nats on 6 test examples (2 epochs done)",
        "naive Bayes ",
    ):
        assert part in text, part
    assert "loss.png" in text or "no picture of the losses" in text
    assert max(map(len, text.splitlines())) <= 110


def test_help_shows_the_options_of_the_task_alone() -> None:
    text = works("train", "classify", "--help")
    assert "--data" in text and "--embedding" in text and "train classify" in text
    assert not {"--text", "--vocab-size", "--sentences", "--batching"} & {*text.split()}
    language = works("train", "--help")
    assert language == works("train", "language", "--help") and "--data " not in language and "classify" in language
    own = works("train", f"{BRACKETS}:Brackets", "--help")
    assert "whether the brackets" in own and "--hidden INTEGER" in own and "--embedding" not in own


def test_an_option_of_a_task_may_be_called_as_one_of_the_language_model_s(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from tinygrad_rnn.tasks.classify import Classify\nclass Own(Classify):\n"
        "    class Options(Classify.Options):\n        count: int = 30\n        sample_every: int = 2\n"
        "        found: bool = True\n        text: str = 'x'\n"
        "    def default(self, rng):\n        return [(['x'], 'ab'[i % 2]) for i in range(self.options.count)]\n"
        "    def baselines(self, train, test):\n        return {}\n",
        encoding="utf-8",
    )
    line = f"--count 40 --sample-every 3 --no-found --text y --out {tmp_path / 'run'} --quiet".split()
    works("train", f"{tmp_path / 'own.py'}:Own", *SMALL, *line)
    settings = load_run(tmp_path / "run" / "best.safetensors").meta["settings"]
    assert [settings[name] for name in ("count", "sample_every", "found", "text")] == [40, 3, False, "y"]


def test_a_task_that_there_is_not_is_told_with_the_one_that_is_meant(place: Path) -> None:
    assert "there is no task 'clasify': did you mean classify?" in fails("train", "clasify")
    assert f"task must be {', '.join(TASKS)} or FILE.py:Class, got 'xyz'" in fails("train", "xyz")
    assert "with the name of the class in" in fails("train", place / "own.py")
    assert "there is no file here" in fails("train", "here:Own")
    assert "has no class Missing made with Task" in fails("train", f"{place / 'own.py'}:Missing")
    assert "--text" in fails("train", place / "words.txt")


def test_runs_go_to_a_folder_of_their_task(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        works("train", "classify", "--data", place / "text.tsv", *SMALL, "--quiet")
    works("train", f"{place / 'own.py'}:Own", "--data", place / "text.tsv", *SMALL, "--quiet")
    assert {path.name for path in Path("runs").iterdir()} == {"classify", "classify-2", "own"}


def test_a_run_is_gone_on_with_by_its_checkpoint_alone(classifier: Path, tmp_path: Path) -> None:
    last = classifier.with_name("last.safetensors")
    text = works("train", "--resume", last, "--epochs", 3, "--out", tmp_path / "a")
    assert "3 epochs done" in text and load_run(tmp_path / "a" / "last.safetensors").meta["progress"]["epoch"] == 3
    assert works("train", "classify", "--resume", last, "--epochs", 3, "--out", tmp_path / "b", "--quiet")
    one, other = (checkpoint.load(tmp_path / name / "last.safetensors") for name in "ab")
    assert one.meta == other.meta and all((array == other.arrays[name]).all() for name, array in one.arrays.items())
    with_text = invoke("train", "--resume", last, "--text", "x.txt")
    assert with_text.exit_code == 2 and "No such option" in with_text.output and "--text" in with_text.output
    changeable = "--epochs, --patience, --threads, --engine, --split-optimizer, --lr, --dropout, --batch-size"
    assert f"only {changeable} can be changed, got --hidden" in fails("train", "--resume", last, "--hidden", 5)


def test_a_language_model_is_gone_on_with_as_one(place: Path, tmp_path: Path) -> None:
    last = place / "runs" / "lm" / "last.safetensors"
    assert "the model's task is language" in fails("train", "classify", "--resume", last)
    works("train", "language", "--resume", last, "--epochs", 2, "--out", tmp_path / "run", "--quiet")


@pytest.mark.slow
def test_the_parts_may_be_files_of_their_own(place: Path, tmp_path: Path) -> None:
    data, other = place / "text.tsv", place / "other.tsv"
    line = ["train", "classify", "--data", data, *SMALL, "--out"]
    for number, (options, split, result) in enumerate(
        (
            (["--valid", other], "60 training, 2 validation and 0 test", "2 validation examples"),
            (["--test", other], "54 training, 6 validation and 2 test", "2 test examples"),
            (["--valid", other, "--test", other], "60 training, 2 validation and 2 test", "2 test examples"),
        )
    ):
        out = tmp_path / str(number)
        text = works(*line, out, *options)
        assert split in text and result in text
        assert result in works("evaluate", out / "best.safetensors")
        assert works("train", "--resume", out / "last.safetensors", "--epochs", 3, "--quiet")
    assert "--valid goes with --data" in fails("train", "classify", "--valid", other)


# --- A task of the user's own ----------------------------------------------------------------------------------


def test_a_checkpoint_s_task_is_run_only_where_it_is_named_or_trusted(place: Path, own: Path, tmp_path: Path) -> None:
    name = f"{place / 'own.py'}:Own"
    for command in ("evaluate", "predict"):
        sentence = fails(command, own)
        assert "which is run only where you name it or say --trust" in sentence
        assert f"tinygrad-rnn {command} --task {name}" in sentence
        assert works(command, own, "--task", name, text="x y\n") and works(command, own, "--trust", text="x y\n")
    shown = works("inspect", own)
    assert "the file was not run" in shown and f"--task {name}" in shown and "embedding.weight" in shown
    assert "the file was not run" not in works("inspect", own, "--trust")
    last = own.with_name("last.safetensors")
    sentence = fails("train", "--resume", last, "--epochs", 3, "--out", tmp_path / "a")
    assert f"tinygrad-rnn train {name} --resume" in sentence and not (tmp_path / "a").exists()
    works("train", "--resume", last, "--trust", "--epochs", 3, "--out", tmp_path / "b", "--quiet")
    works("train", name, "--resume", last, "--epochs", 3, "--out", tmp_path / "c", "--quiet")


def test_a_task_that_was_edited_is_not_trusted_and_is_told_where_it_is_named(
    place: Path, own: Path, tmp_path: Path
) -> None:
    shutil.copytree(place / "runs" / "own", tmp_path / "run")
    saved = load_run(tmp_path / "run" / "best.safetensors")
    file = tmp_path / "own.py"
    file.write_text(OWN + "\nclass Other(Own):\n    pass\n", encoding="utf-8")
    meta = {**saved.meta, "task": "own.py:Own", "task_file": {**saved.meta["task_file"], "file": str(file)}}
    checkpoint.save(tmp_path / "run" / "best.safetensors", saved.arrays, meta)
    best = tmp_path / "run" / "best.safetensors"
    assert "which has changed since the model was saved (own.py)" in fails("predict", best, "--trust", text="x\n")
    found = invoke("predict", best, "--task", f"{file}:Own", text="x\n")
    assert found.exit_code == 0 and "the task has changed since the model was saved: own.py" in found.stderr
    assert "the model's task is own.py:Own, got 'classify'" in fails("predict", best, "--task", "classify", text="x\n")
    other = invoke("predict", best, "--task", f"{file}:Other", text="x\n")
    assert other.exit_code == 0 and "saved with the task Own, and this is Other" in " ".join(other.stderr.split())


def test_an_error_in_a_task_is_told_with_its_line(place: Path, tmp_path: Path) -> None:
    sentence = fails("train", f"{place / 'own.py'}:Failing", "--data", place / "text.tsv", "--out", tmp_path / "run")
    assert sentence == f"the task failed: {place / 'own.py'}, line 13: KeyError: 'missing'\n"
    (tmp_path / "broken.py").write_text("1 / 0", encoding="utf-8")
    assert "broken.py, line 1: ZeroDivisionError: division by zero" in fails("train", f"{tmp_path / 'broken.py'}:Own")


def test_a_task_takes_a_cell_of_the_user_s_own_too(place: Path, tmp_path: Path) -> None:
    cell = tmp_path / "cells.py"
    cell.write_text(
        "from tinygrad_rnn.models import Cell\nimport tinygrad_rnn.ops as ops\n\nclass Plain(Cell):\n    gates = 'n'\n"
        "    def step(self, x, h):\n        return ops.tanh(self.n(x, h))\n\nclass Wrong(Cell):\n    gates = 'n'\n"
        "    def step(self, x, h):\n        return ops.tanh(self.q(x, h))\n",
        encoding="utf-8",
    )
    line = ["train", "classify", "--data", place / "text.tsv", *SMALL, "--quiet", "--out"]
    works(*line, tmp_path / "run", "--cell", f"{cell}:Plain")
    best = tmp_path / "run" / "best.safetensors"
    assert "--cell" in fails("predict", best, text="x\n") and works("predict", best, "--trust", text="x\n")
    assert "cells.py, line 12" in fails(*line, tmp_path / "wrong", "--cell", f"{cell}:Wrong")


# --- evaluate --------------------------------------------------------------------------------------------------


def test_evaluate_measures_the_test_part_or_a_file(place: Path, classifier: Path) -> None:
    trained = works("train", "--resume", classifier.with_name("last.safetensors"), "--epochs", 2)
    result = next(line for line in trained.splitlines() if line.startswith("result"))
    text = works("evaluate", classifier)
    assert text.splitlines()[0] == result.partition(" (")[0] and "baseline  " in text
    other = works("evaluate", classifier, "--data", place / "other.tsv")
    assert "on 2 given examples" in other and "baseline" not in other
    assert "--text is for language models, and this one's task is classify" in fails(
        "evaluate", classifier, "--text", "a"
    )
    lm = place / "runs" / "lm" / "best.safetensors"
    assert "--data is for models of other tasks" in fails("evaluate", lm, "--data", place / "other.tsv")
    assert "other labels" not in text
    (place / "strange.tsv").write_text("c\tx\n", encoding="utf-8")
    assert "'c'" in fails("evaluate", classifier, "--data", place / "strange.tsv")


def test_evaluate_tells_where_the_examples_have_changed(place: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.tsv"
    data.write_text(TEXT, encoding="utf-8")
    works("train", "classify", "--data", data, *SMALL, "--out", tmp_path / "run", "--quiet")
    data.write_text(TEXT.replace("z", "w"), encoding="utf-8")
    assert "has changed since the run was saved" in fails("evaluate", tmp_path / "run" / "best.safetensors")
    data.unlink()
    assert "name it with --data" in fails("evaluate", tmp_path / "run" / "best.safetensors")


def test_the_file_that_a_model_is_from_is_measured_on_what_it_was_not_trained_on(tmp_path: Path) -> None:
    data, moved, best = tmp_path / "data.tsv", tmp_path / "moved.tsv", tmp_path / "run" / "best.safetensors"
    data.write_text(TEXT, encoding="utf-8")
    works("train", "classify", "--data", data, *SMALL, "--out", tmp_path / "run", "--quiet")
    before = works("evaluate", best)
    data.rename(moved)
    found = works("evaluate", best, "--data", moved)
    note, _, rest = found.partition("result")
    assert "only its test part is measured" in " ".join(note.split()) and f"result{rest}" == before
    moved.write_text(TEXT.replace("z", "w"), encoding="utf-8")
    assert "given examples" in works("evaluate", best, "--data", moved)


# --- predict ---------------------------------------------------------------------------------------------------


def test_predict_answers_each_line_with_a_line(place: Path, classifier: Path, tmp_path: Path) -> None:
    lines = ["x y", "", "x x z", "never seen"]
    text = works("predict", classifier, text="\n".join(lines) + "\n")
    assert [line in ("a", "b") for line in text.split("\n")] == [True, False, True, True, False]
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert works("predict", classifier, file) == text
    found = [json.loads(line) for line in works("predict", classifier, file, "--json").splitlines()]
    assert [each["input"] for each in found] == lines and found[1]["output"] is None
    assert [each["output"] or "" for each in found] == text.split("\n")[:4]
    assert works("predict", classifier, text="") == ""


def test_predict_answers_what_comes_before_a_line_on_which_the_task_fails(place: Path, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "import numpy as np\nfrom tinygrad_rnn.tasks.classify import Classify\n\n\n"
        "class Failing(Classify):\n"
        "    def parse(self, line):\n        return [str(float(line))]\n\n"
        "    def predict(self, model, batch):\n"
        "        return [np.float32('nan'), np.arange(2)][: len(batch[1])]\n\n"
        "    def score(self, gold, said):\n        return {'accuracy': 0.5}\n\n"
        "    def labels_in(self, outputs):\n        return ()\n\n"
        "    def baselines(self, train, test):\n        return {}\n",
        encoding="utf-8",
    )
    named, out = f"{tmp_path / 'failing.py'}:Failing", tmp_path / "run"
    data = tmp_path / "numbers.tsv"
    data.write_text("".join(f"{'ab'[i % 2]}\t{i % 7}\n" for i in range(40)), encoding="utf-8")
    works("train", named, "--data", data, "--epochs", 1, *SMALL, "--batch-size", 2, "--out", out, "--quiet")
    lines = tmp_path / "lines.txt"
    lines.write_text("1\n2\n3\nx\n", encoding="utf-8")
    result = invoke("predict", out / "last.safetensors", "--task", named, lines, "--json")
    assert result.exit_code == 1 and "ValueError: could not convert" in result.stderr
    # What is no finite number has no JSON, and what is NumPy's becomes a number or a list.
    assert [json.loads(line)["output"] for line in result.stdout.splitlines()] == [None, [0, 1], None]


@pytest.mark.slow
def test_predict_answers_before_the_next_line_is_typed(classifier: Path) -> None:
    line = [sys.executable, "-m", "tinygrad_rnn", "predict", str(classifier)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None and running.stdout is not None
        for _ in range(3):
            running.stdin.write("x y\n")
            running.stdin.flush()
            assert running.stdout.readline() in ("a\n", "b\n")
        running.stdin.close()


def test_a_beam_reaches_tasks_that_decode_alone(place: Path, classifier: Path, own: Path) -> None:
    assert "--beam is for tasks that decode, and classify does not" in fails(
        "predict", classifier, "--beam", 3, text="x\n"
    )
    assert works("predict", own, "--trust", "--beam", 3, text="x\n") in ("a3\n", "b3\n")


def test_a_run_of_another_task_than_the_one_named_is_not_gone_on_with(classifier: Path, own: Path) -> None:
    last = classifier.with_name("last.safetensors")
    assert "the model's task is classify, got 'language'" in fails("train", "language", "--resume", last)
    sentence = fails("train", "classify", "--trust", "--resume", own.with_name("last.safetensors"))
    assert "own.py:Own, got 'classify'" in sentence


def test_a_language_model_answers_nothing_and_no_other_model_speaks(place: Path, classifier: Path) -> None:
    assert "`generate` and `score` use it" in fails("predict", place / "runs" / "lm" / "best.safetensors")
    for command in ("generate", "score"):
        sentence = fails(command, classifier)
        assert "a checkpoint of a language model was expected, and it is of the task classify" in sentence


def test_without_a_checkpoint_the_newest_run_is_used_that_the_command_can_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for age, name in enumerate(["lm", "own", "classify"]):
        os.utime(place / "runs" / name / "best.safetensors", (2000 - age, 2000 - age))
    assert "runs/lm/best.safetensors" in invoke("evaluate").stderr
    assert "runs/own/best.safetensors" in invoke("predict", "--trust", text="x\n").stderr
    assert "runs/lm/best.safetensors" in invoke("generate", "--count", 1).stderr


# --- inspect ---------------------------------------------------------------------------------------------------


def test_inspect_lists_settings_in_the_order_of_the_help(classifier: Path) -> None:
    text = works("inspect", classifier)
    assert text.index("batch_size=8") < text.index("epochs=2") < text.index("embedding=3") < text.index("hidden=4")


def test_inspect_shows_what_is_in_the_checkpoint_of_a_task(classifier: Path) -> None:
    text = works("inspect", classifier)
    assert ": classify, 1 x gru 4\n" in text and "60 examples, sha256" in text and "best      accuracy" in text
    assert "hidden=4" in text and "labels    2: 'a' 'b'" in text and "words " in text and "output.weight" in text
    assert "step      6  accuracy" in text and ", valid_nats " in text


@pytest.mark.slow
def test_the_example_learns_and_answers(tmp_path: Path) -> None:
    """As the file says itself; a few steps of it."""
    works("train", f"{BRACKETS}:Brackets", "--epochs", 1, "--hidden", 4, "--out", tmp_path / "run", "--quiet")
    text = works("predict", tmp_path / "run" / "best.safetensors", "--trust", text="([])\n")
    assert text in ("yes\n", "no\n")


def test_examples_are_read_as_the_task_reads_them(place: Path, tmp_path: Path) -> None:
    bad: dict[str, tuple[Any, str]] = {
        "one column": ("a\tx\nb\n", "bad.tsv, line 2"),
        "nothing": ("", "bad.tsv"),
        "one example": ("a\tx\n", "3 parts must have an example each, got 1"),
    }
    for name, (content, message) in bad.items():
        path = tmp_path / "bad.tsv"
        path.write_text(content, encoding="utf-8")
        assert message in fails("train", "classify", "--data", path, "--out", tmp_path / "run"), name


def test_lines_before_one_that_is_wrong_are_answered(place: Path, tmp_path: Path) -> None:
    (tmp_path / "strict.py").write_text(
        "from tinygrad_rnn.data import TextError\nfrom tinygrad_rnn.tasks.classify import Classify\n\n"
        "class Strict(Classify):\n    def parse(self, line):\n        if '!' in line:\n"
        "            raise TextError('no ! was expected')\n        return line.split()\n",
        encoding="utf-8",
    )
    name = f"{tmp_path / 'strict.py'}:Strict"
    works("train", name, "--data", place / "text.tsv", *SMALL, "--out", tmp_path / "run", "--quiet")
    lines = tmp_path / "lines.txt"
    lines.write_text("x\n\ny z\nwrong !\nx\n", encoding="utf-8")
    found = invoke("predict", tmp_path / "run" / "best.safetensors", lines, "--trust")
    assert found.exit_code == 1 and found.stderr == f"Error: {lines}, line 4: no ! was expected\n"
    assert [line in ("a", "b") for line in found.stdout.split("\n")] == [True, False, True, False]


def test_what_fails_at_once_leaves_no_run_behind(place: Path, tmp_path: Path) -> None:
    line = ["train", f"{place / 'own.py'}:Failing", "--data", place / "text.tsv", "--out", tmp_path / "run"]
    assert fails(*line) == fails(*line) and [*(tmp_path / "run").iterdir()] == []


def test_a_run_that_has_ended_does_not_go_on_by_itself(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    works(
        "train", "classify", "--data", place / "text.tsv", "--hidden", 2, "--lr", "1e-9", "--patience", 1, "--out", out
    )
    last = out / "last.safetensors"
    before = last.read_bytes()
    assert "(no better for an evaluation already)" in works("train", "--resume", last) and last.read_bytes() == before
    assert "no better in 3 evaluations" in works("train", "--resume", last, "--patience", 3)


def test_the_line_of_an_error_is_that_of_the_file_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "helping_module.py").write_text("x = 1\nx.y\n", encoding="utf-8")
    (tmp_path / "own.py").write_text("import helping_module\n", encoding="utf-8")
    sentence = fails("train", f"{tmp_path / 'own.py'}:Own")
    assert f"{tmp_path / 'helping_module.py'}, line 2: AttributeError" in sentence
    (tmp_path / "wrong.py").write_text("x = 1\nundefined\n", encoding="utf-8")
    assert f"{tmp_path / 'wrong.py'}, line 2: NameError" in fails("train", f"{tmp_path / 'wrong.py'}:Own")


def test_the_right_form_is_told(place: Path) -> None:
    task = f"{place / 'own.py'}:Own"
    assert f"the task is named first: tinygrad-rnn train {task} ..." in fails("train", "--epochs", 1, task)
    assert "has no class Owm made with Task: it has Own, Failing" in fails("train", f"{place / 'own.py'}:Owm")
    assert "--resume runs/classify/last.safetensors" in works("train", "classify", "--help")


def test_a_task_whose_file_has_gone_is_not_taken_for_another_of_that_name(place: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "runs").mkdir(parents=True)
    own = tmp_path / "deep" / "mine.py"
    own.write_text(OWN, encoding="utf-8")
    out = tmp_path / "deep" / "runs" / "own"
    works("train", f"{own}:Own", "--data", place / "text.tsv", *SMALL, "--out", out, "--quiet")
    own.unlink()
    (tmp_path / "mine.py").write_text("raise SystemExit\n", encoding="utf-8")
    saved = load_run(out / "best.safetensors")
    checkpoint.save(out / "best.safetensors", saved.arrays, {**saved.meta, "task": "mine.py:Own"})
    sentence = fails("predict", out / "best.safetensors", "--trust", text="x\n")
    assert f"there is no file any more; {tmp_path / 'mine.py'} is another" in sentence
