"""Examples in docstrings: each is run, and those who look a name up find one."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference_names import NAMES, PAGES, found

import tinygrad_rnn
from tinygrad_rnn import Parameter, Tensor, baselines, data, metrics, models, ops, optim, tasks, training

OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def documented(name: str) -> dict[str, str]:
    """The docstrings of a public name, and of its own methods, by name."""
    thing = found(name)
    texts = {name: inspect.getdoc(thing) or ""}
    for method, value in vars(thing).items() if isinstance(thing, type) else ():
        if callable(value) or isinstance(value, property | classmethod | staticmethod):
            texts[f"{name}.{method}"] = inspect.getdoc(value) or ""
    return texts


def known() -> dict[str, Any]:
    """The names that docs/reference/index.rst says examples begin with."""
    rooms = {room.__name__.rpartition(".")[2]: room for room in (baselines, data, metrics, models, ops, optim)}
    rooms |= {"tasks": tasks, "training": training}
    return {"np": np, "tg": tinygrad_rnn, "Tensor": Tensor, "Parameter": Parameter, **rooms}


def run(name: str, text: str) -> str:
    """Runs the examples of a docstring; what is said of those that fail."""
    test = doctest.DocTestParser().get_doctest(text, known() | {"rng": np.random.default_rng(0)}, name, name, 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=said.append)
    return "".join(said)


SLOW = [f"tinygrad_rnn.{name}" for name in ("check_cell", "tasks.train", "baselines.TagNgrams")]
EACH = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES]


@pytest.mark.parametrize("name", EACH)
def test_examples_of_a_public_name_run_and_give_what_they_say(name: str) -> None:
    for place, text in documented(name).items():
        assert run(place, text) == ""


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_examples_of_a_page_run_and_give_what_they_say(page: Path) -> None:
    assert run(page.name, page.read_text(encoding="utf-8")) == ""


def arguments(text: str) -> list[str]:
    """The arguments that a docstring says something of."""
    lines = text.partition("\nArgs:\n")[2].partition("\n\n")[0].split("\n")
    entries = (line.partition(":")[0].strip() for line in lines if line.startswith("    ") and line[4:5].strip())
    return [name for entry in entries for name in entry.split(", ")]


@pytest.mark.parametrize("name", NAMES)
def test_where_arguments_stand_one_by_one_all_do_and_no_others(name: str) -> None:
    thing = found(name)
    own = vars(thing).values() if isinstance(thing, type) else ()
    for called in (thing, *filter(inspect.isfunction, own)):
        if named := arguments(inspect.getdoc(called) or ""):
            assert sorted(named) == sorted(set(inspect.signature(called).parameters) - {"self"})


def test_most_functions_of_several_arguments_tell_them_one_by_one() -> None:
    told = [name for name in NAMES if arguments(inspect.getdoc(found(name)) or "")]
    assert len(told) > 100 or not NAMES
