"""The options of a task: what a field may be, and what a value."""

from __future__ import annotations

import inspect
import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import click
import numpy as np
import pytest
from commands import parent_context

import tinygrad_rnn as tg
from tinygrad_rnn.cli.train_command import command_of
from tinygrad_rnn.tasks import Task, TrainingOptions, option
from tinygrad_rnn.tasks.classify import Classify
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.option_kinds import OF_THE_PROGRAM
from tinygrad_rnn.training.options import LEARNING_RATES, OptionError


def test_the_fields_of_a_task_s_options_are_options_and_are_checked() -> None:
    class Options(TrainingOptions):
        hidden: int = 4
        kind: str = option(default="plain", help="Which.", choices=("plain", "fancy"))

    assert (
        Options(hidden=3).to_json()["hidden"] == 3
        and Options.from_json(Options(kind="fancy").to_json()).kind == "fancy"
    )
    for wrong, message in (
        ({"hidden": 0}, "hidden must be from 1"),
        ({"kind": "odd"}, "kind must be one of plain, fancy, got 'odd'"),
        ({"patience": -1}, "patience must be at least 0"),
        ({"valid_fraction": 1.0}, "valid_fraction must be above 0 and below 1"),
        ({"encoding": "utf-9"}, "encoding must be an encoding"),
    ):
        with pytest.raises(OptionError, match=message):
            Options(**wrong)
    with pytest.raises(OptionError, match=r"does not know: .'fancy'"):
        Options.from_json({"fancy": 1})
    with pytest.raises(OptionError, match="hidden must be a whole number, got 'many'"):
        Options.from_json({"hidden": "many"})
    with pytest.raises(TypeError, match="non-default argument 'size' follows default argument"):
        type("Without", (TrainingOptions,), {"__annotations__": {"size": "int"}})


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("out: str = 'x'", "the option out must have another name: --out is one of the program's own"),
        ("time_budget: int = 3", "--time-budget is one of the program's own"),
        ("learning_rate: float = 0.1", "learning_rate must have another name: this one has a meaning for all options"),
        ("_size: int = 3", "_size must have another name"),
        ("hidden = 12", "hidden must have a type: hidden: int = "),
        ("size = option(default=3)", "size must have a type: size: TYPE = "),
        ("lr = 0.1", "lr must have a type: lr: float = "),
        ("sizes: list[int] = [1, 2]", "sizes must be of the type str, bool, int, float or tuple.*, got list"),
        ("PROBLEMS = ['easy']", "PROBLEMS must be values of options by the names of problems"),
        ("PROBLEMS = {'easy': {'hiden': 3}}", "PROBLEMS: 'hiden' of the problem 'easy' is no option"),
        ("sizes: tuple[int, ...] = (1, 2)", "sizes must be of the type str, bool, int, float or tuple"),
        ("kind: Literal['a', 'b'] = 'a'", "kind must be of the type .*, got typing.Literal"),
        ("size: int | float = 3", "size must be of the type .*, got int | float"),
        ("size: int = 'many'", "the default of the option size must be a whole number, got 'many'"),
        ("size: int", "non-default argument 'size' follows default argument"),
    ],
)
@pytest.mark.parametrize("future", [True, False])
def test_a_field_that_could_not_be_an_option_is_refused_where_it_is_declared(
    field: str, message: str, future: bool
) -> None:
    lines = ["from __future__ import annotations"] if future else []
    lines += ["from typing import Literal", f"class Options(Base):\n    {field}"]
    names: dict[str, Any] = {"Base": Classify.Options, "option": option, "__name__": "own"}
    module = types.ModuleType("own")
    module.__dict__.update(names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "own", module)
        with pytest.raises(TypeError, match=message):
            exec("\n".join(lines), module.__dict__)


def test_the_names_that_are_taken_are_those_of_the_program() -> None:
    command = command_of(find_task("classify"))
    told = {
        (each.name or "").removeprefix("_click_default_")
        for each in command.get_params(click.Context(command, parent=parent_context()))
    }
    given = {*inspect.signature(tg.tasks.train).parameters} - {"options"}
    assert (told | given) - {each.name for each in Classify.Options.all_about()} == OF_THE_PROGRAM


def test_what_a_script_gives_becomes_what_a_checkpoint_keeps_or_is_refused(digits: Path) -> None:
    class Options(TrainingOptions):
        size: Optional[int] = None  # noqa: UP045  # as it was written before Python 3.10
        scale: float = 1
        names: tuple[str, ...] = ()

    values: dict[str, Any] = {"data": digits, "size": np.int64(3), "scale": np.float32(0.5), "names": [digits]}
    kept = Options(**values).to_json()
    assert json.loads(json.dumps(kept)) == {**kept, "names": [str(digits)], "penalty": []} and type(kept["size"]) is int
    assert kept["data"] == str(digits) and kept["names"] == (str(digits),) and Options(scale=2).scale == 2
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"size": "4"}, "size must be a whole number or null, got '4'"),
        ({"epochs": 2.0}, "epochs must be a whole number or null, got 2.0"),
        ({"scale": float("nan")}, "scale must be a finite number, got nan"),
        ({"names": "a"}, "names must be a list of texts, got 'a'"),
        ({"seed": True}, "seed must be a whole number, got True"),
    ]
    for given, message in wrong:
        with pytest.raises(OptionError, match=message):
            Options(**given)


def test_a_field_with_another_default_keeps_its_help_its_rule_and_its_choices() -> None:
    class Options(TrainingOptions):
        lr: float | None = 0.5
        schedule: str = "halve"
        patience: int = option(default=3, help="Own.")

    told, usual = ({each.name: each for each in kind.all_about()} for kind in (Options, TrainingOptions))
    as_above = replace(told["lr"], default=None, help=usual["lr"].help)
    assert as_above == usual["lr"] and "adam 0.5)" in told["lr"].help and "adam 0.002)" in usual["lr"].help
    assert replace(told["schedule"], default="constant") == usual["schedule"] and told["schedule"].help
    assert (told["lr"].default, told["patience"].help, told["patience"].rule) == (0.5, "Own.", None)
    for given, message in (({"lr": -1.0}, "lr must be above 0"), ({"schedule": "odd"}, "schedule must be one of")):
        with pytest.raises(OptionError, match=message):
            Options(**given)


def test_a_rate_that_a_class_or_a_problem_has_is_for_its_usual_optimiser() -> None:
    class Options(TrainingOptions):
        PROBLEMS = {"easy": {}, "hard": {"lr": 0.5}}  # noqa: RUF012  # which nothing changes
        lr: float | None = 0.25

    made: Any = Options
    assert (made().learning_rate, made(problem="hard").learning_rate) == (0.25, 0.5)
    for problem in ("easy", "hard"):
        assert made(problem=problem, optimizer="sgd").learning_rate == LEARNING_RATES["sgd"]
        assert made(problem=problem, optimizer="sgd", lr=0.1).learning_rate == 0.1
        assert made(problem=problem, optimizer="adam").learning_rate == made(problem=problem).learning_rate
    kept = made(optimizer="rmsprop")
    assert Options.from_json(kept.to_json()) == kept and kept.changed(lr=0.1).learning_rate == 0.1
    with pytest.raises(OptionError, match=r"optimizer must be one of sgd, .*, got 'odd'"):
        made(optimizer="odd")


def test_a_problem_brings_the_values_that_suit_it_and_the_first_is_the_usual_one() -> None:
    class Options(TrainingOptions):
        PROBLEMS = {"easy": {}, "hard": {"hidden": 64, "lr": 0.5}}  # noqa: RUF012  # which nothing changes
        hidden: int = 8

    class Derived(Options):
        size: int = 3

    made: Any = Options
    assert (made().problem, made().hidden) == ("easy", 8) and made(problem="hard").hidden == 64
    assert made(problem="hard", hidden=2).hidden == 2 and made(problem="hard", hidden=2).learning_rate == 0.5
    of_derived: Any = Derived
    derived = of_derived(problem="hard")
    assert derived.hidden == 64 and derived.differing == {"problem": "hard"}
    assert Options.from_json(made(problem="hard").to_json()) == made(problem="hard")
    # Examples of a file are of no problem: the defaults are for them.
    other = derived.of_file("own.tsv", "utf-8")
    assert other.problem is None and other.hidden == 64 and made(data="own.tsv").hidden == 8
    for given, message in (
        ({"problem": "odd"}, "problem must be one of easy, hard, got 'odd'"),
        ({"problem": "hard", "data": "own.tsv"}, "problem is of the task's own examples, and data names others"),
    ):
        with pytest.raises(OptionError, match=message):
            made(**given)
    for values, kind in (({"hiden": 3}, TypeError), ({"hidden": 0}, OptionError)):
        with pytest.raises(kind, match="hid"):
            type(
                "Wrong",
                (TrainingOptions,),
                {"PROBLEMS": {"one": values}, "__annotations__": {"hidden": int}, "hidden": 3},
            )


def test_the_options_of_a_task_are_derived_from_those_of_all() -> None:
    with pytest.raises(TypeError, match=r"Own\.Options must be derived from TrainingOptions"):
        type("Own", (Task,), {"Options": type("Options", (), {"hidden": 3})})
