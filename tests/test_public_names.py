"""Public names: they are where they are promised, and importing the engine brings nothing that it does not need."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import tinygrad_rnn

PACKAGE = Path(tinygrad_rnn.__file__).parent

PROMISED = {
    "tinygrad_rnn": """Tensor Parameter RowSparse Tape no_grad detect_anomaly ops grad value_and_grad vjp jvp jacobian
        hvp gradcheck check_cell scan explain compiled""",
    "tinygrad_rnn.models": """Module Linear Embedding Dropout LayerNorm Cell Gate Recurrent RNN GRU LSTM RNNCell GRUCell
        LSTMCell LanguageModel perplexity""",
    "tinygrad_rnn.optim": "SGD AdaGrad AdaDelta RMSprop Adam clip_by_norm clip_by_value CosineDecay HalveOnRise",
    "tinygrad_rnn.data": "Vocabulary tokenize train_valid_split stream bucketed read_text read_csv",
    "tinygrad_rnn.training": "fit evaluate Progress Record Evaluation",
    "tinygrad_rnn.models.checkpoint": "save load Checkpoint CheckpointError",
    "tinygrad_rnn.models.sampling": "generate draw",
    "tinygrad_rnn.training.settings": "Settings SettingsError",
    "tinygrad_rnn.training.runs": "Run train load_model",
    "tinygrad_rnn.cli": "main",
}

OPTIONAL = {"h5py", "matplotlib", "cupy", "cupyx", "nltk"}
"""What may be imported within a function: it may be missing, or it takes half a second that not everybody needs."""


def files() -> Iterator[tuple[str, Path]]:
    """Every module of the package by its name, through the links ops/ and models/ as well."""
    for folder, _, names in sorted(os.walk(PACKAGE, followlinks=True)):
        for path in sorted(Path(folder, name) for name in names if name.endswith(".py")):
            stem = () if path.stem == "__init__" else (path.stem,)
            yield ".".join(("tinygrad_rnn", *path.parent.relative_to(PACKAGE).parts, *stem)), path


MODULES = dict(files())


def statements(node: ast.AST, inside: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The imports that run, and whether each stands in a function. What is for type checkers alone does not run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, inside
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            negated = isinstance(child.test, ast.UnaryOp)
            for statement in child.body if negated else child.orelse:
                yield from statements(ast.Module([statement], []), inside)
        else:
            yield from statements(child, inside or isinstance(child, ast.FunctionDef | ast.Lambda))


def targets(statement: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that a statement imports: `from package import module` is that module."""
    if isinstance(statement, ast.Import):
        return [name.name for name in statement.names]
    assert statement.module and not statement.level, "imports are absolute"
    whole = [f"{statement.module}.{name.name}" for name in statement.names]
    return [name if name in MODULES else statement.module for name in whole]


def imports(name: str) -> list[tuple[str, bool]]:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    return [(target, inside) for statement, inside in statements(tree) for target in targets(statement)]


def own(targets: list[tuple[str, bool]]) -> set[str]:
    return {target for target, _ in targets if target.split(".")[0] == "tinygrad_rnn"}


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names_are_importable_from_where_they_are_promised(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PROMISED[module].split() if not hasattr(found, name)] == []


def test_the_walk_over_imports_sees_all_modules_and_what_stands_in_functions() -> None:
    assert {"tinygrad_rnn", "tinygrad_rnn.tape", "tinygrad_rnn.ops.arithmetic", "tinygrad_rnn.models.cell"} <= set(
        MODULES
    )
    tree = ast.parse(
        "import a\ndef f():\n  if x:\n    from b import c\nif TYPE_CHECKING:\n  import d\nelse:\n  import e"
    )
    assert [(targets(s), inside) for s, inside in statements(tree)] == [(["a"], False), (["b"], True), (["e"], False)]


def test_modules_import_each_other_in_one_direction() -> None:
    # A package's own file comes after the modules that it names; those who import a module also run that file.
    graph = {name: own(imports(name)) - {name} for name in MODULES if MODULES[name].stem != "__init__"}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")
    place = {name: number for number, name in enumerate(order)}
    assert place["tinygrad_rnn.tape"] < place["tinygrad_rnn.tensor"] < place["tinygrad_rnn.models.cell"]
    assert (
        place["tinygrad_rnn.models.cell"] < place["tinygrad_rnn.training.fitting"] < place["tinygrad_rnn.cli.commands"]
    )


LAYERS = {
    "the tape and the arrays": "tape backend buffers",
    "the ops": "ops",
    "the tensor": "tensor rowsparse",
    "transforms, loops and inspection": "transforms loops inspection",
    "the models": "models",
    "training": "checks data baselines training tasks cli __main__",
}


def layer_of(name: str) -> int:
    stem = name.partition(".")[2].partition(".")[0]
    return next((number for number, stems in enumerate(LAYERS.values()) if stem in stems.split()), -1)


@pytest.mark.parametrize("name", [name for name in MODULES if layer_of(name) in (1, 4) or name == "tinygrad_rnn.tape"])
def test_the_engine_knows_nothing_of_models_and_models_nothing_of_training(name: str) -> None:
    higher = [target for target in own(imports(name)) if "." in target and layer_of(target) > layer_of(name)]
    # Row-sparse gradients are arrays of a kind, and ops make them.
    assert [target for target in higher if target != "tinygrad_rnn.rowsparse"] == []


def test_imports_within_functions_are_of_optional_packages_alone() -> None:
    late = [
        f"{name}: {target}"
        for name in MODULES
        for target, inside in imports(name)
        if inside and target.split(".")[0] not in OPTIONAL
    ]
    assert late == []


def test_no_module_has_the_name_of_a_public_function() -> None:
    modules = {name.rpartition(".")[2] for name in MODULES}
    promised = {each for names in PROMISED.values() for each in names.split()} - {"ops"}
    exported = {name for name in vars(tinygrad_rnn) if not name.startswith("_") and name not in modules}
    assert modules & (promised | exported) == set()


@pytest.mark.parametrize(
    "module, absent",
    [
        ("tinygrad_rnn", "nltk click tqdm safetensors cupy matplotlib torch tinygrad_rnn.models tinygrad_rnn.data"),
        ("tinygrad_rnn.models", "nltk click tqdm safetensors cupy matplotlib torch tinygrad_rnn.data"),
        ("tinygrad_rnn.training", "nltk click tqdm safetensors cupy matplotlib torch tinygrad_rnn.data.corpus"),
        ("tinygrad_rnn.cli", "nltk cupy matplotlib torch"),
    ],
)
def test_importing_brings_nothing_that_is_not_needed(module: str, absent: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {absent.split()} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [] and run.stderr == ""
