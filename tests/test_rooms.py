"""The house: which room may import which, read from the source of every module; and what names may be called."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent

DIRECTIONS = """
    backend surroundings pictures frames forks interrupts disk < cache threads engines libraries row_sums < openblas
    openblas < sums machine < changes rowsparse buffers < blas < tape
    tape < ops < tensor < transforms loops
    transforms loops < inspection < models < checks derivation training < tasks < comparison selfcheck < cli
    checks < selfcheck
    backend cache < data < baselines < training tasks
    changes rowsparse blas < optim < ranks < training
    tensor < ranks
    backend < metrics < models training
"""
"""A room may import what stands before it. The engine lies flat: there each module is a room of its own."""

OPTIONAL = {*"h5py matplotlib cupy cupyx nltk sacrebleu joblib dask distributed ray mpi4py".split()}
"""What may be imported within a function: it may be missing, or it takes half a second that not everybody needs."""


def files() -> Iterator[tuple[str, Path]]:
    """Every module of the package by its name, through the links ops/ and models/ as well."""
    for folder, _, names in sorted(os.walk(PACKAGE, followlinks=True)):
        for path in sorted(Path(folder, name) for name in names if name.endswith(".py")):
            stem = () if path.stem == "__init__" else (path.stem,)
            yield ".".join(("tinygrad_rnn", *path.parent.relative_to(PACKAGE).parts, *stem)), path


MODULES = dict(files())
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}

# --- What a module imports -------------------------------------------------------------------------------------

Import = ast.Import | ast.ImportFrom


def statements(node: ast.AST, place: str = "top") -> Iterator[tuple[Import, str]]:
    """The imports below a node, and where each stands: at the "top", "within" a function, or for type checkers alone
    ("types"), where it never runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Import):
            yield child, place
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            negated = isinstance(child.test, ast.UnaryOp)
            for body, seen in ((child.body, not negated), (child.orelse, negated)):
                yield from statements(ast.Module(body, []), "types" if seen else place)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from statements(child, "within" if inside and place == "top" else place)


def targets(statement: Import) -> list[str]:
    """The modules that a statement imports: `from package import module` is that module."""
    if isinstance(statement, ast.Import):
        return [name.name for name in statement.names]
    assert statement.module and not statement.level, "imports are absolute"
    whole = [f"{statement.module}.{name.name}" for name in statement.names]
    return [name if name in MODULES else statement.module for name in whole]


@cache
def imported(name: str) -> list[tuple[str, str]]:
    return [(target, place) for statement, place in statements(TREES[name]) for target in targets(statement)]


def imports(name: str, *places: str) -> list[str]:
    return [target for target, place in imported(name) if place in places]


def own(found: list[str]) -> set[str]:
    return {target for target in found if target.partition(".")[0] == "tinygrad_rnn"}


def test_every_module_is_seen() -> None:
    walked = {found.name for found in pkgutil.walk_packages(tinygrad_rnn.__path__, "tinygrad_rnn.")}
    assert set(MODULES) - {"tinygrad_rnn"} == walked
    assert len(MODULES) > 100 and {"tinygrad_rnn.loops.merging", "tinygrad_rnn.models.variants.grus"} <= walked


def test_imports_are_seen_in_functions_and_behind_type_checking() -> None:
    tree = ast.parse(
        "import a\ndef f():\n  if x:\n    from b import c\nif TYPE_CHECKING:\n  import d\nelse:\n  import e"
    )
    found = [(targets(s), place) for s, place in statements(tree)]
    assert found == [(["a"], "top"), (["b"], "within"), (["d"], "types"), (["e"], "top")]


def test_imports_within_functions_are_of_optional_packages_alone() -> None:
    late = [f"{name}: {target}" for name in MODULES for target in imports(name, "within")]
    ours = [each for each in late if each.partition(": ")[2].partition(".")[0] not in OPTIONAL]
    assert ours == [  # on LLVM, which is optional
        "tinygrad_rnn.blas: tinygrad_rnn.machine.calls",
        "tinygrad_rnn.loops.executing: tinygrad_rnn.loops.machine.running",
    ]


# --- Rooms -----------------------------------------------------------------------------------------------------


def lower_rooms(directions: str) -> dict[str, set[str]]:
    """For each room those that it may import: all that come before it, however far."""
    below: dict[str, set[str]] = defaultdict(set)
    for line in directions.strip().splitlines():
        groups = [group.split() for group in line.split("<")]
        for lower, higher in pairwise(groups):
            for room in higher:
                below[room].update(lower)
    found: dict[str, set[str]] = {}
    for room in TopologicalSorter(below).static_order():
        found[room] = below[room].union(*(found[lower] for lower in below[room]))
    return found


LOWER = lower_rooms(DIRECTIONS)


def room_of(name: str) -> str:
    """The room in which a module lies; "" for the package's own file, which stands above all."""
    return "cli" if name == "tinygrad_rnn.__main__" else name.partition(".")[2].partition(".")[0]


def arrows(*places: str) -> list[tuple[str, str]]:
    """Module by module, what it imports of another room."""
    pairs = [(name, target) for name in MODULES if room_of(name) for target in sorted(own(imports(name, *places)))]
    return [(name, target) for name, target in pairs if room_of(name) != room_of(target)]


def test_every_module_lies_in_a_room_that_has_its_place() -> None:
    assert {room_of(name) for name in MODULES} - {""} == set(LOWER)


def test_rooms_import_each_other_in_one_direction() -> None:
    against = [f"{a} -> {b}" for a, b in arrows("top", "within") if room_of(b) not in LOWER[room_of(a)]]
    assert against == ["tinygrad_rnn.cli.group -> tinygrad_rnn"]  # which prints the package's version


def test_for_type_checkers_alone_tape_and_ops_name_the_tensor_and_nothing_else() -> None:
    upwards = {(room_of(a), b) for a, b in arrows("types") if room_of(b) not in LOWER[room_of(a)]}
    assert upwards == {("tape", "tinygrad_rnn.tensor"), ("ops", "tinygrad_rnn.tensor")}


@pytest.mark.parametrize("places", [("top", "within"), ("top", "within", "types")])
def test_there_is_no_cycle_between_rooms(places: tuple[str, ...]) -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for name, target in arrows(*places):
        if target != "tinygrad_rnn.tensor" or room_of(name) not in ("tape", "ops"):
            graph[room_of(name)].add(room_of(target))
    try:
        order = [*TopologicalSorter(graph).static_order()]
    except CycleError as error:
        pytest.fail(f"a cycle between rooms: {' -> '.join(error.args[1])}")
    assert order.index("tape") < order.index("ops") < order.index("models") < order.index("cli")


def test_there_is_no_cycle_between_modules() -> None:
    # A package's own file comes after the modules that it names; those who import a module also run that file.
    graph = {name: own(imports(name, "top", "within")) - {name} for name in MODULES if MODULES[name].stem != "__init__"}
    try:
        assert len([*TopologicalSorter(graph).static_order()]) >= len(graph)
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


def test_training_knows_no_model() -> None:
    """But what every model is made of, and the files that it is saved in."""
    found = {target for name, target in arrows("top", "within") if room_of(name) == "training"}
    models = {target.removeprefix("tinygrad_rnn.models.") for target in found if room_of(target) == "models"}
    assert models <= {"cell", "cells_by_name", "recurrent", "module", "checkpoint", "whole_files", "notes"}


def test_only_rooms_that_users_import_from_hand_names_on() -> None:
    # The file of a room runs for every module in it: what it imports, all of them import.
    handing = {name for name, path in MODULES.items() if path.stem == "__init__" and imports(name, "top")}
    rooms = "ops models models.variants loops optim data metrics baselines training tasks cli"
    assert handing <= {"tinygrad_rnn", *(f"tinygrad_rnn.{room}" for room in rooms.split())}


def test_the_table_of_rooms_is_complete() -> None:
    path = Path(__file__).parents[1] / "CONTRIBUTING.md"
    if not path.is_file():
        pytest.skip("the tests run without the checkout")
    text = path.read_text(encoding="utf-8")
    columns = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {room for column in columns for room in re.findall(r"[`/](\w+)/(?=`)", column)}
    rooms = {name.split(".")[1] for name, path in MODULES.items() if path.stem == "__init__" and "." in name}
    assert named - {"variants"} == rooms | {"tinygrad_rnn"}


# --- Statements ------------------------------------------------------------------------------------------------


def test_no_module_asserts_since_python_may_be_told_not_to() -> None:
    asserting = [name for name, tree in TREES.items() if any(isinstance(node, ast.Assert) for node in ast.walk(tree))]
    assert asserting == []


# --- Names -----------------------------------------------------------------------------------------------------


def defined(name: str) -> set[str]:
    """The public names that a module defines at its top."""
    found: set[str] = set()
    for node in TREES[name].body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]:
            found.update(n.id for n in ast.walk(target) if isinstance(n, ast.Name)) if target else None
    return {each for each in found if not each.startswith("_")}


def test_a_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name in MODULES:
        for each in defined(name):
            homes[each].append(name)
    assert {each: names for each, names in homes.items() if len(names) > 1} == {}


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.stem == "__init__"])
def test_no_module_has_a_name_that_its_own_package_exports(package: str) -> None:
    modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == package}
    exported = [
        alias.asname or alias.name
        for statement, place in statements(TREES[package])
        if isinstance(statement, ast.ImportFrom) and place == "top"
        for alias in statement.names
        if f"{statement.module}.{alias.name}" not in MODULES
    ]
    assert modules & set(exported) == set()


def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    assert [name for name in MODULES if name.rpartition(".")[2] in sys.stdlib_module_names] == []
