"""The models that come with the package: found by name wherever a checkpoint's path stands, small, as good as told."""

from __future__ import annotations

import json
import re
import runpy
import sysconfig
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from commands import fails, works
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.options import complete_checkpoint
from tinygrad_rnn.data import corpus, identifiers, library
from tinygrad_rnn.data.code_roles import tagged_lines
from tinygrad_rnn.data.identifiers import library_names
from tinygrad_rnn.data.translations import all_dates
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.zoo import file_of, zoo_names
from tinygrad_rnn.tasks import tag
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.training.saved_runs import load_run
from tinygrad_rnn.training.trained_on import TRAINED_ON, fingerprints, not_trained_on

HOME = Path(__file__).parents[1]
NAMES = ["zoo:dates", "zoo:docstrings", "zoo:identifiers", "zoo:roles"]
SPEAKING = ["zoo:docstrings", "zoo:identifiers"]
ANSWERING = {
    "zoo:dates": ("3rd of May 2021\nThursday, 28 June 1962\n", "2021-05-03\n1962-06-28\n"),
    "zoo:roles": ("return open ( name )\n", "KEYWORD CALL OPERATOR READ OPERATOR\n"),
}


def program(path: str) -> dict[str, Any]:
    """What a program of the checkout defines."""
    if not (HOME / path).is_file():
        pytest.skip(f"{path} is not beside these tests")
    return runpy.run_path(str(HOME / path))


# --- Files -----------------------------------------------------------------------------------------------------


def test_the_zoo_has_the_models_that_it_has_recipes_for() -> None:
    assert zoo_names() == NAMES
    assert sorted(f"zoo:{name}" for name in program("zoo/make.py")["RECIPES"]) == NAMES


def test_each_is_smaller_than_a_megabyte_and_all_than_two() -> None:
    sizes = [file_of(name).stat().st_size for name in NAMES]
    assert max(sizes) < 1_000_000 and sum(sizes) < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_file_tells_nothing_of_the_machine_that_made_it_and_keeps_nothing_to_go_on_with(name: str) -> None:
    saved = load_run(Path(name))
    assert saved.meta["files"] == saved.meta["optimizer"] == saved.meta["noise"] == {}
    assert "/" not in json.dumps({key: value for key, value in saved.meta.items() if key != "tables"})
    assert {key.partition(".")[0] for key in saved.arrays} <= {"model", TRAINED_ON}


# --- Commands --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPEAKING)
def test_the_same_seed_makes_up_the_same_and_another_something_else(name: str) -> None:
    said = [works("generate", name, "--count", 3, "--seed", seed) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2] and said[0].count("\n") == 3


@pytest.mark.parametrize("name", ANSWERING)
def test_lines_are_answered(name: str) -> None:
    asked, answered = ANSWERING[name]
    assert works("predict", name, text=asked) == answered


def test_a_likely_name_scores_better_than_letters_at_random() -> None:
    lines = works("score", "zoo:identifiers", text="read_lines\nrqaxjlqnes\n").splitlines()
    likely, unlikely = (float(line.split()[0]) for line in lines[-2:])
    assert likely > unlikely + 10


@pytest.mark.parametrize("name", NAMES)
def test_what_is_in_a_model_is_told_under_its_name(name: str) -> None:
    assert works("inspect", name).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["zoo:identifiers", pytest.param("zoo:dates", marks=pytest.mark.slow)])
def test_a_model_has_a_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text("this is no log of it", encoding="utf-8")
    text = ["--text", "read_lines"] if name in SPEAKING else []
    works("inspect", name, "--html", "page.html", *text)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert name in page and "a model of the zoo comes without its log" in page


def test_from_python_a_name_stands_where_a_path_does() -> None:
    assert tg.tasks.load_model("zoo:dates").predict(["7 July 1907"]) == [list("1907-07-07")]
    model, vocabulary, options, about = load_language_model("zoo:identifiers")
    assert "_" in vocabulary and model.size > 200_000 and options.level == "char" and about["run"] == "zoo identifiers"


@pytest.mark.slow
def test_a_new_run_begins_with_the_weights_of_one(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the file is open .\nthe name is read .\n" * 20, encoding="utf-8")
    said = works(
        *("train", "--text", text, "--lines", "--init-from", "zoo:docstrings", "--epochs", 1, "--sentences", 0),
        *("--out", tmp_path / "run"),
    )
    assert "begins as zoo:docstrings" in " ".join(said.split())


# --- Names -----------------------------------------------------------------------------------------------------


def test_a_name_that_the_zoo_does_not_have_is_answered_with_those_that_it_has() -> None:
    assert fails("generate", "zoo:rhymes") == f"the zoo has no model 'rhymes': there are {', '.join(NAMES)}\n"
    assert fails("predict", "zoo:") == f"the zoo is asked for a model by its name: there are {', '.join(NAMES)}\n"
    with pytest.raises(checkpoint.CheckpointError, match=r"there are zoo:dates, .*zoo:roles"):
        tg.tasks.load_model("zoo:../zoo/dates")


def test_a_model_of_another_task_is_refused_by_its_name() -> None:
    assert fails("generate", "zoo:dates").startswith("zoo:dates: a checkpoint of a language model was expected")
    assert fails("predict", "zoo:docstrings").startswith("zoo:docstrings: a language model has no answers to predict")


@pytest.mark.parametrize("name", ["zoo:dates", "zoo:docstrings"])
def test_a_model_of_the_zoo_is_not_gone_on_from(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = file_of(name).read_bytes()
    said = fails("train", "--resume", name)
    assert said.startswith(f"{name} cannot be gone on from: it has its weights, and not the state of its run")
    assert ("--init-from zoo:docstrings" in said) == (name == "zoo:docstrings")
    assert not [*tmp_path.iterdir()] and file_of(name).read_bytes() == before


def test_a_file_of_that_name_is_opened_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        Path("zoo:dates").write_bytes(file_of("zoo:roles").read_bytes())
    except OSError:
        pytest.skip("no file can be called so here")
    assert works("inspect", "zoo:dates").startswith("zoo:dates: translate")
    assert f"{tmp_path / 'zoo:dates'}: tag" in works("inspect", tmp_path / "zoo:dates").replace("\n", "")


@pytest.mark.parametrize(
    ("typed", "offered"), [("zo", NAMES), ("zoo:d", ["zoo:dates", "zoo:docstrings"]), ("", [""]), ("runs/", ["runs/"])]
)
def test_the_shell_offers_the_names_and_otherwise_files(typed: str, offered: list[str]) -> None:
    found = complete_checkpoint(click.Context(main), click.Argument(["checkpoint"]), typed)
    assert [each.value for each in found] == offered
    assert {each.type for each in found} == ({"plain"} if len(offered) > 1 else {"file"})


@pytest.mark.parametrize("command", ["evaluate", "generate", "score", "predict", "inspect"])
def test_each_command_that_takes_a_checkpoint_offers_them(command: str) -> None:
    (taken,) = (each for each in main.commands[command].params if each.name == "checkpoint")
    with click.Context(main.commands[command]) as context:
        assert [each.value for each in taken.shell_complete(context, "zoo:r")] == ["zoo:roles"]


# --- What they are worth ---------------------------------------------------------------------------------------


def test_new_dates_are_written_as_they_should_be() -> None:
    asked = all_dates(np.random.default_rng(7), 60)
    said = tg.tasks.load_model("zoo:dates").predict([source for source, _ in asked])
    assert np.mean([a == b for a, (_, b) in zip(said, asked, strict=True)]) > 0.97


def test_the_roles_in_code_of_others_are_found() -> None:
    code = (
        "def total(self, values, start=0):\n    found = sum(values, start=start)\n    return self.scale(found.real)\n"
    )
    lines = list(tagged_lines(code))
    said = tg.tasks.load_model("zoo:roles").predict([words for words, _ in lines])
    assert said == [roles for _, roles in lines]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_on_what_they_were_not_trained_on_they_are_as_good_as_their_files_say(name: str) -> None:
    told = load_run(Path(name)).meta["result"]
    said = works("evaluate", name)
    if name in SPEAKING:
        found = re.search(r"([\d.]+) nats per", said)
        assert found and float(found[1]) < told["valid_nats"] + 0.15
    else:
        metric = "exact" if name == "zoo:dates" else "names"
        found = re.search(rf"{metric} ([\d.]+)", said)
        assert found and float(found[1]) > told[metric] - 0.01


# --- Another Python --------------------------------------------------------------------------------------------

CODE = '''"""Nobody has said this sentence before today."""
def unheard_of(self, quaint_word):
    """Nor this other one."""
'''


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library of one module, and an empty cache."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "one.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(folder))
    monkeypatch.setattr(library, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(corpus, "LEAST_WORDS", 1)
    monkeypatch.setattr(identifiers, "FEW", 1)
    return folder


def test_identifiers_are_the_names_of_all_that_has_one_each_once(another: Path) -> None:
    (another / "two.py").write_text("class Big(a.b.Base):\n    x = set_it(lambda every: every.bit)\n", encoding="utf-8")
    found = library_names()
    assert sorted(found.sentences) == ["Base", "Big", "bit", "every", "quaint_word", "self", "set_it", "unheard_of"]
    assert found.words == 8 and library_names() == found


@pytest.mark.parametrize(("name", "count"), [("zoo:docstrings", 2), ("zoo:identifiers", 2)])
def test_with_another_library_a_language_model_is_measured_on_what_is_new(name: str, count: int, another: Path) -> None:
    said = " ".join(works("evaluate", name).split())
    total = {"zoo:docstrings": 2, "zoo:identifiers": 3}[name]  # it was trained on "self"
    assert f"measured on the {count} of the {total} sentences here that it was not trained on" in said
    assert "nats per" in said and "beaten" not in said


def test_with_another_library_a_page_shows_a_language_model_reading_what_is_new(another: Path) -> None:
    page = another / "page.html"
    works("inspect", "zoo:identifiers", "--html", page)
    html = page.read_text(encoding="utf-8")
    assert "standard library, which is not what the model was trained on; this is new to it" in html


def test_with_another_library_a_tagger_is_measured_on_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [*tagged_lines("def unheard_of(self, quaint_word):\n    return quaint_word.of(self)\n")]
    monkeypatch.setattr(tag, "code_roles", lambda rng: lines)
    said = " ".join(works("evaluate", "zoo:roles").split())
    assert "measured on the 2 of the 2 examples here that it was not trained on" in said and "beaten" not in said
    page = tmp_path / "page.html"
    works("inspect", "zoo:roles", "--html", page)
    assert "measured on the 2 of the 2 examples here" in page.read_text(encoding="utf-8")


def test_where_a_checkpoint_does_not_say_what_it_was_trained_on_it_is_not_measured(another: Path) -> None:
    saved = load_run(Path("zoo:docstrings"))
    path = another / "without.safetensors"
    checkpoint.save(path, {key: each for key, each in saved.arrays.items() if key != TRAINED_ON}, saved.meta)
    assert "has changed since the model was trained" in fails("evaluate", path)


pairs = st.lists(st.tuples(st.text("ab", max_size=3), st.lists(st.integers(0, 1), max_size=2)), max_size=6)


@given(pairs, pairs)
def test_what_was_trained_on_is_told_from_what_was_not(seen: list[Any], new: list[Any]) -> None:
    arrays = {TRAINED_ON: fingerprints(seen)}
    assert not_trained_on(arrays, [*seen, *new]) == [each for each in new if each not in seen]
    assert not_trained_on({}, new) is None


# --- The corpus of identifiers ---------------------------------------------------------------------------------


def test_identifiers_are_for_models_of_characters_and_no_other_text() -> None:
    assert "--corpus identifiers is to be read by --level char" in fails("train", "--corpus", "identifiers")
    assert "--text or --csv names another" in fails(
        "train", "--corpus", "identifiers", "--level", "char", "--text", "a.txt"
    )


# --- How they are made, and their page -------------------------------------------------------------------------


@pytest.mark.slow
def test_one_machine_makes_the_same_file_twice(tmp_path: Path) -> None:
    made = program("zoo/make.py")
    made["RECIPES"]["dates"][1]["epochs"] = 1
    first, second = (made["make"]("dates", tmp_path / each).read_bytes() for each in ("one", "two"))
    assert first == second


def test_the_program_that_makes_them_says_what_it_can_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["make.py", "rhymes"])
    with pytest.raises(SystemExit):
        program("zoo/make.py")["main"]()


def test_the_page_shows_all_that_is_made_for_it_and_names_every_model() -> None:
    made = program("docs/zoo.py")
    page = (HOME / "docs" / "zoo.rst").read_text(encoding="utf-8")
    assert re.findall(r"literalinclude:: zoo/(\w+)\.txt", page) == [*made["COMMANDS"]]
    assert all(name in page for name in NAMES) and len(NAMES) == 4 and page.count("Four trained models") == 1
    assert "the 2,500 most common" in page and len(load_language_model("zoo:docstrings")[1]) == 2500
    assert [made["row"](name)[0] for name in NAMES] == [f"``{name}``" for name in NAMES]


@pytest.mark.slow
def test_what_the_page_shows_is_made(tmp_path: Path) -> None:
    made = program("docs/zoo.py")
    made["shown"].__globals__["FOLDER"] = tmp_path
    for command, read in made["COMMANDS"].values():
        assert made["shown"](command, read).startswith(f"$ tinygrad-rnn {command}")
