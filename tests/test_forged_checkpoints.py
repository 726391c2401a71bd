"""Checkpoints with a valid hash that no run has saved: each is refused in one sentence, before memory is taken."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinygrad_rnn import Parameter
from tinygrad_rnn.cli import main
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.models import Cell, LanguageModel, checkpoint
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.checkpoint import CheckpointError
from tinygrad_rnn.tasks.finding import find_task, resume_run, saved_task, with_weights
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.saved_sizes import check_sizes
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.description import check_description
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.saved_runs import load_run

TEXT = "\n".join(f"the {noun} {verb} ." for noun in "cat dog bird tree".split() for verb in "sees hears".split()) * 3
SMALL = "--lines --layers 2 --hidden 3 --embedding 3 --batch-size 2 --steps 5 --sentences 0 --quiet --untied".split()
STRANGE: list[Any] = [
    *(None, True, -1, 2**31 - 1, 2**63, 10**400, 0.5, 1e308, "", "x", "\x1b[2J", "\ud800", "a\0b"),
    *([], [[[[1]]]], [None], {}, {"a": [1]}, {"\x1b": "x"}),
]


def edit(path: Path, change: Callable[[dict[str, Any], checkpoint.Arrays], Any], target: Path) -> Path:
    """A copy of a checkpoint, changed, with a hash that is right."""
    saved = checkpoint.load(path)
    meta, arrays = copy.deepcopy(saved.meta), dict(saved.arrays)
    change(meta, arrays)
    checkpoint.save(target, arrays, meta)
    return target


def vocabulary_of(meta: dict[str, Any]) -> list[str]:
    """The tokens that it names."""
    found: list[str] = meta["tables"]["vocabulary"]["Vocabulary"]
    return found


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run that was stopped within an epoch, so that everything is in it: a carried state, rows that
    wait for their decay."""
    folder = tmp_path_factory.mktemp("forged")
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    line = [
        "train",
        "--text",
        text,
        *SMALL,
        "--batching",
        "stream",
        "--epochs",
        1,
        "--evaluate-every",
        3,
        "--out",
        folder / "run",
    ]
    result = CliRunner().invoke(main, [*map(str, line)])
    assert result.exit_code == 0, result.output
    run = resume_run(folder / "run" / "last.safetensors", print)
    for record in run.steps():
        if record.step % 3 == 0 and not record.last_of_epoch:
            break
    run.save(folder / "run" / "last.safetensors")
    saved = checkpoint.load(folder / "run" / "last.safetensors")
    assert saved.part("state") and any(name.startswith("last.") for name in saved.part("optimizer"))
    return folder / "run" / "last.safetensors"


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a JSON value, of lists to the first alone."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, part in inner:
        yield from paths(part, (*path, key))


def put(meta: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    holder: Any = meta
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value


def test_every_field_of_a_description_takes_what_a_run_saves_and_refuses_the_rest_in_one_sentence(last: Path) -> None:
    meta = checkpoint.load(last).meta
    check_description(meta)
    refused = 0
    for path in paths(meta):
        if not path or path[0] in ("task", "noise", "settings"):
            continue
        for value in STRANGE:
            forged = copy.deepcopy(meta)
            put(forged, path, value)
            try:
                check_description(forged)
            except ValueError as error:
                refused += 1
                assert str(path[0]) in str(error) and len(str(error)) < 200
    assert refused > 500


@pytest.mark.parametrize("part", LanguageOptions().to_json())
def test_every_setting_in_a_checkpoint_is_of_its_type_or_refused(part: str) -> None:
    values = LanguageOptions(text=("a",)).to_json()
    assert LanguageOptions.from_json(json.loads(json.dumps(values))) == LanguageOptions(text=("a",))
    refused = 0
    for value in STRANGE:
        try:
            found = getattr(LanguageOptions.from_json({**values, part: value}), part)
        except OptionError as error:
            refused += 1
            assert part in str(error) and len(str(error)) < 500
        else:
            assert isinstance(found, type(getattr(LanguageOptions(), part)) | str | int | float | None)
    assert refused > 5


def test_a_whole_number_stays_one_where_a_setting_is_a_number() -> None:
    assert repr(LanguageOptions.from_json(LanguageOptions(lr=40).to_json()).lr) == "40"


@pytest.mark.parametrize("missing", ["tables", "data", "settings", "noise", "best", "history"])
def test_a_part_that_is_missing_is_named(missing: str, last: Path, tmp_path: Path) -> None:
    forged = edit(last, lambda meta, arrays: meta.pop(missing), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=f"without its {missing}"):
        load_language_model(forged)


SIZES: dict[str, dict[str, Any]] = {
    "hidden": {"hidden": 10**6},
    "embedding": {"embedding": 2**31 - 1},
    "layers": {"layers": 2**31 - 1},
    "another cell": {"cell": "lstm"},
    "a cell without gates of its own": {"cell": "projected-lstm", "hidden": 10**6},
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_are_not_those_of_the_arrays_are_refused_before_memory_is_taken(
    name: str, last: Path, tmp_path: Path
) -> None:
    forged = edit(last, lambda meta, arrays: meta["settings"].update(SIZES[name]), tmp_path / "a.safetensors")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"by the settings|there is no"):
            load_language_model(forged)
        with pytest.raises(CheckpointError, match=r"by the settings|there is no"):
            resume_run(forged, print)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_vocabulary_of_another_size_is_refused(last: Path, tmp_path: Path) -> None:
    forged = edit(last, lambda meta, arrays: vocabulary_of(meta).append("more"), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"embedding\.weight must be"):
        load_language_model(forged)
    forged = edit(
        last, lambda meta, arrays: vocabulary_of(meta).__delitem__(slice(4, None)), tmp_path / "b.safetensors"
    )
    with pytest.raises(CheckpointError, match="no tokens"):
        load_language_model(forged)
    forged = edit(last, lambda meta, arrays: vocabulary_of(meta).append("the"), tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="must differ"):
        load_language_model(forged)


@pytest.mark.slow
@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("tied", [None, False])
def test_the_sizes_of_every_cell_are_its_own(cell: str, tied: bool | None) -> None:
    settings = LanguageOptions(cell=cell, hidden=4, embedding=4 if tied is None else 5, layers=2, tied=tied)
    model = LanguageModel(9, settings.embedding, 4, 2, cell, tied)
    weights = model.state_dict()
    check_sizes(settings, 9, CELLS[cell], weights)
    for wrong in ({"hidden": 8}, {"layers": 1}, {"layers": 3}, {"embedding": 6}):
        with pytest.raises(ValueError, match=r"by the settings|there is no|there are no"):
            check_sizes(LanguageOptions(**{**settings.to_json(), "tied": False, **wrong}), 9, CELLS[cell], weights)


class Changed(Cell):
    """One that makes its gate otherwise."""

    gates = "n"

    def setup(self) -> None:
        del self.n.b
        self.n.U = Parameter(np.ones((self.input_size, 1), np.float32))

    def step(self, x: Any, h: Any) -> Any:
        return h @ self.n.W + x @ self.n.U


class Bare(Cell):
    """One without gates, whose only weight is shared by all layers."""

    own = Parameter(np.ones(1, np.float32))

    def setup(self) -> None:
        self.W = Bare.own

    def step(self, x: Any, h: Any) -> Any:
        return h * self.W


def test_a_cell_of_one_s_own_may_have_weights_of_any_shape() -> None:
    for cell in (Bare, Changed):
        check_sizes(LanguageOptions(hidden=4, embedding=4), 9, cell, LanguageModel(9, 4, 4, 2, cell).state_dict())
    weights = LanguageModel(9, 4, 4, 2, Changed).state_dict()
    sizes: list[dict[str, Any]] = [{"hidden": 10**6}, {"layers": 10**6}, {"embedding": 10**6}]
    for wrong in sizes:
        with pytest.raises(ValueError, match="by the settings"):
            check_sizes(replace(LanguageOptions(hidden=4, embedding=4), **wrong), 9, Changed, weights)


STATES: dict[str, Callable[[dict[str, Any], checkpoint.Arrays], Any]] = {
    "a state of another shape": lambda meta, arrays: arrays.update({"state.0.0": np.zeros((2, 7, 3), np.float32)}),
    "a state of another dtype": lambda meta, arrays: arrays.update({"state.0.0": arrays["state.0.0"].astype(float)}),
    "a state without axes": lambda meta, arrays: arrays.update({"state.0.0": np.zeros((), np.float32)}),
    "one state too many": lambda meta, arrays: arrays.update({"state.1.0": arrays["state.0.0"]}),
    "a state by another name": lambda meta, arrays: arrays.update({"state.x": arrays["state.0.0"]}),
    "a state of sentences that stand alone": lambda meta, arrays: meta["settings"].update(
        batching="sentences", shuffle=False
    ),
    "further than the epoch": lambda meta, arrays: meta["progress"].update(batch=10**6),
    "further than any epoch": lambda meta, arrays: meta["progress"].update(batch=2**62),
    "a generator of another kind": lambda meta, arrays: meta["noise"].update(bit_generator="MT19937"),
    "a generator without its state": lambda meta, arrays: meta["noise"].update(state={}),
    "a generator of texts": lambda meta, arrays: meta["noise"]["state"].update(state="x"),
    "rows that wait since tomorrow": lambda meta, arrays: arrays.update(
        {"optimizer.last.embedding.weight": arrays["optimizer.last.embedding.weight"] + 10**6}
    ),
    "rows that wait since a fraction": lambda meta, arrays: arrays.update(
        {"optimizer.last.embedding.weight": arrays["optimizer.last.embedding.weight"] + 0.5}
    ),
    "an accumulator of another shape": lambda meta, arrays: arrays.update(
        {"optimizer.cache.output_bias": np.zeros(3, np.float32)}
    ),
    "an optimiser without its rate": lambda meta, arrays: meta["optimizer"].pop("lr"),
    "an optimiser with more than it has": lambda meta, arrays: meta["optimizer"].update(more=1),
    "another optimiser": lambda meta, arrays: meta["settings"].update(optimizer="adam"),
    "a schedule without its count": lambda meta, arrays: meta["settings"].update(schedule="exponential"),
}


@pytest.mark.parametrize("name", STATES)
def test_how_a_run_goes_on_is_refused_where_it_cannot(name: str, last: Path, tmp_path: Path) -> None:
    forged = edit(last, STATES[name], tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"^[^\n]+: a checkpoint that does not say how to go on: [^\n]+$"):
        resume_run(forged, print)
    load_language_model(forged)  # which does not go on


def test_a_description_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    nonsense: list[Any] = [[], "x", 1, None]
    for meta in nonsense:
        checkpoint.save(tmp_path / "a.safetensors", {}, meta)
        with pytest.raises(CheckpointError, match="description cannot be read"):
            load_language_model(tmp_path / "a.safetensors")


# --- What is printed -------------------------------------------------------------------------------------------

ESCAPES = "\x1b]0;evil\x07\x9b31m\u202e\r\ud800"


def test_nothing_in_a_checkpoint_reaches_the_terminal_but_text(last: Path, tmp_path: Path) -> None:
    def spoil(meta: dict[str, Any], arrays: checkpoint.Arrays) -> None:
        meta["data"].update(name=f"a{ESCAPES}", sha256=f"b{ESCAPES}")
        tokens = vocabulary_of(meta)
        tokens[4:] = [f"{token}{ESCAPES}" for token in tokens[4:]]
        meta["settings"]["column"] = ESCAPES

    forged = edit(last, spoil, tmp_path / "a.safetensors")
    page = tmp_path / "page.html"
    for line in (["inspect"], ["generate"], ["score", str(last.parents[1] / "text.txt")], ["inspect", "--html", page]):
        command, *rest = map(str, line)
        result = CliRunner().invoke(main, [command, str(forged), *rest])
        assert result.exit_code == 0, result.output
        assert not set(result.output) & set(ESCAPES) - set("0;evil]31m")
    assert "\\x1b]0;evil\\x07\\x9b31m\\u202e" in CliRunner().invoke(main, ["inspect", str(forged)]).output
    assert page.read_text(encoding="utf-8").startswith("<!doctype")


def test_nothing_in_an_error_or_the_name_of_a_file_reaches_the_terminal_but_text(tmp_path: Path) -> None:
    for line in (
        ["inspect", f"a{ESCAPES}"],
        ["inspect", "a", f"b{ESCAPES}"],
        [f"c{ESCAPES}"],
        ["score", "--x" + ESCAPES],
    ):
        result = CliRunner().invoke(main, [each.replace("\ud800", "") for each in line])
        assert result.exit_code in (1, 2) and "\\x1b]0;evil\\x07\\x9b31m\\u202e" in result.output
        assert not set(result.output) & set(ESCAPES) - set("0;evil]31m")


# --- Of other tasks --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of another task, within an epoch."""
    folder = tmp_path_factory.mktemp("forged")
    (folder / "a.tsv").write_text("".join(f"{'ab'[i % 2]}\tx {i}\n" for i in range(20)), encoding="utf-8")
    found = find_task("classify")
    options = found.task.Options(data=str(folder / "a.tsv"), batch_size=4, hidden=2, embedding=2)  # type: ignore[call-arg]  # of classify
    run = new_run(found.new(options), print)
    for _, _ in zip(range(2), run.steps(), strict=False):
        pass
    run.judge(run.validate())
    run.save(folder / "last.safetensors")
    return folder / "last.safetensors"


def opened(path: Path) -> None:
    """Opens a checkpoint as the commands do that use a model, and those that go on with a run."""
    saved = load_run(path)
    with_weights(path, saved, saved_task(path, saved))
    resume_run(path, print)


@pytest.mark.slow
def test_every_part_of_a_task_s_checkpoint_is_taken_as_it_is_or_refused_in_one_sentence(
    classifier: Path, tmp_path: Path
) -> None:
    opened(classifier)
    saved, refused = checkpoint.load(classifier), 0
    strange: list[Any] = [None, -1, 2**63, "", "a\n/../b", [], {"a": [1]}]
    forged = classifier.with_name("forged.safetensors")
    for path in paths(saved.meta):
        for value in strange:
            meta = copy.deepcopy(saved.meta)
            if not path:
                continue
            put(meta, path, value)
            checkpoint.save(forged, dict(saved.arrays), meta)
            try:
                opened(forged)
            except (CheckpointError, OptionError, TextError) as error:
                refused += 1
                assert len(str(error)) < 700, (path, value)
    assert refused > 200


@pytest.mark.parametrize("missing", ["run", "tables", "data", "settings", "progress", "optimizer", "best", "history"])
def test_a_part_that_a_task_s_checkpoint_is_without_is_named(missing: str, classifier: Path, tmp_path: Path) -> None:
    forged = edit(classifier, lambda meta, arrays: meta.pop(missing), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=f"without its {missing}"):
        load_run(forged)


TABLES: dict[str, Any] = {
    "none": {},
    "of another kind": {"words": {"Vocabulary": ["a"]}, "labels": {"JSON": 3}},
    "of texts": {"words": {"JSON": ["a"]}, "labels": {"JSON": ["b"]}},
    "changed": {"words": {"Labels": ["a"]}, "labels": {"Vocabulary": ["<unk>"]}},
    "too many labels": {"labels": {"Labels": ["a", "b", "c"]}},
    "too few": {"labels": {"Labels": ["a"]}},
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_are_none_of_the_task_are_refused(name: str, classifier: Path, tmp_path: Path) -> None:
    def change(meta: dict[str, Any], arrays: checkpoint.Arrays) -> None:
        tables = TABLES[name]
        meta["tables"] = {**meta["tables"], **tables} if len(tables) == 1 else tables

    forged = edit(classifier, change, tmp_path / "a.safetensors")
    for command in ("predict", "evaluate", "inspect"):
        result = CliRunner().invoke(main, [command, str(forged)], input="x 1\n")
        assert result.exit_code == 1 and "Traceback" not in result.output, result.output
        assert isinstance(result.exception, SystemExit), (command, result.exception)


NAMES = ["../a.py", "/", "..", ".", "", "https://a/b.py:C", "a\nb", "~/x.py:C", ":", "a:", ":a", "\0:a", "language\n"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("record", [None, {"file": "..", "class": "C", "sha256": "", "beside": {}}])
def test_a_task_of_a_strange_name_is_not_run(name: str, record: Any, classifier: Path, tmp_path: Path) -> None:
    def change(meta: dict[str, Any], arrays: checkpoint.Arrays) -> None:
        meta["task"] = name
        if record is not None:
            meta["task_file"] = record

    forged = edit(classifier, change, tmp_path / "a.safetensors")
    for command in ("predict", "evaluate", "train --resume", "inspect"):
        for trust in ([], ["--trust"]):
            result = CliRunner().invoke(main, [*command.split(), str(forged), *trust], input="x 1\n")
            assert isinstance(result.exception, SystemExit | None), (command, result.exception)
            assert result.exit_code in ((0, 1, 2) if command == "inspect" else (1, 2)), result.output


@pytest.mark.parametrize("sizes", [{"hidden": 10**6}, {"embedding": 2**31 - 1}, {"hidden": 2**31 - 1}, {"hidden": 3}])
def test_sizes_that_are_not_those_of_a_task_s_arrays_take_no_memory(
    sizes: dict[str, Any], classifier: Path, tmp_path: Path
) -> None:
    forged = edit(classifier, lambda meta, arrays: meta["settings"].update(sizes), tmp_path / "a.safetensors")
    saved = load_run(forged)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="the weights do not fit the model that it describes"):
            with_weights(forged, saved, saved_task(forged, saved))
        with pytest.raises(CheckpointError, match="the weights do not fit the model that it describes"):
            resume_run(forged, print)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
