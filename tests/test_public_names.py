"""Public names: they are where they are promised, and importing the engine brings nothing that it does not need."""

from __future__ import annotations

import ast
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tinygrad_rnn
from tinygrad_rnn import ops, tape
from tinygrad_rnn.loops import scanning

PROMISED = {
    "tinygrad_rnn": """Tensor Parameter RowSparse Tape no_grad detect_anomaly ops grad value_and_grad vjp jvp jacobian
        hvp gradcheck check_cell scan explain compiled""",
    "tinygrad_rnn.models": """Module Linear Embedding Dropout LayerNorm Cell Gate Recurrent RNN GRU LSTM RNNCell GRUCell
        LSTMCell LanguageModel perplexity within_lengths AdditiveAttention DotAttention GeneralAttention masked_mean
        masked_max last decode Decoded FullSoftmax AdaptiveSoftmax TwoLevelSoftmax
        CRF crf_loss viterbi ctc_loss ctc_greedy ctc_beam Classifier AttentionPooling Tagger Captioner
        EncoderDecoder Forecaster quantile_loss FrameLabeller""",
    "tinygrad_rnn.optim": "SGD AdaGrad AdaDelta RMSprop Adam clip_by_norm clip_by_value CosineDecay HalveOnRise",
    "tinygrad_rnn.data": """Vocabulary tokenize train_valid_split stream bucketed read_text read_csv Labels read_lines
        read_tsv read_csv_rows read_jsonl read_labelled read_conll read_series read_frames
        read_parallel shuffled_split stratified_split buckets padded""",
    "tinygrad_rnn.baselines": """Baseline Endings MostFrequent TagFrequencies TagNgrams NaiveBayes Bag
        LogisticRegression ngram_nats NearestNeighbour WordForWord LinearWords LastValue Autoregression NearestFrame""",
    "tinygrad_rnn.metrics": """accuracy Scores label_scores macro_f1 ConfusionMatrix confusion_matrix tagged_spans
        span_scores span_f1 edit_distance label_error_rate exact_match mae mase bleu chrf""",
    "tinygrad_rnn.training": "fit evaluate Progress Record Evaluation",
    "tinygrad_rnn.models.checkpoint": "save load Checkpoint CheckpointError",
    "tinygrad_rnn.models.sampling": "generate generate_best draw",
    "tinygrad_rnn.training.options": "TrainingOptions RunOptions OptionError option",
    "tinygrad_rnn.training.runs": "Run",
    "tinygrad_rnn.tasks.language.opening": "load_language_model",
    "tinygrad_rnn.tasks.finding": "find_task TASKS resume_run",
    "tinygrad_rnn.training.driving": "train_run Listener",
    "tinygrad_rnn.cli": "main",
}

ROOMS = "tasks baselines data loops metrics models optim training"


def printed(code: str) -> str:
    """What a new Python prints, in which a warning is an error."""
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names_are_importable_from_where_they_are_promised(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PROMISED[module].split() if not hasattr(found, name)] == []


def exported(module: ModuleType) -> set[str]:
    """What a package's own file hands on, as `X as X`, those that it imports late too."""
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    found = (alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names)
    return {name for name in found if name}


def test_the_package_shows_its_public_names_and_nothing_else() -> None:
    assert tinygrad_rnn.__all__ == sorted(tinygrad_rnn.__all__)
    assert set(tinygrad_rnn.__all__) | set(ROOMS.split()) == exported(tinygrad_rnn)
    assert {name for name in dir(tinygrad_rnn) if not name.startswith("__")} == exported(tinygrad_rnn)
    assert all(hasattr(tinygrad_rnn, name) for name in dir(tinygrad_rnn))


def test_a_star_imports_the_public_names_and_nothing_else() -> None:
    names: dict[str, object] = {}
    exec("from tinygrad_rnn import *", names)
    assert set(names) - {"__builtins__"} == set(tinygrad_rnn.__all__)


def test_rooms_for_users_are_attributes_of_the_package() -> None:
    code = f"import tinygrad_rnn as tg; print(*[getattr(tg, room).__name__ for room in {ROOMS.split()}])"
    assert printed(code).split() == [f"tinygrad_rnn.{room}" for room in ROOMS.split()]


def test_a_name_that_is_in_another_room_is_told_with_the_room() -> None:
    for name, place in {"Cell": "models.Cell", "tanh": "ops.tanh"}.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; there is tinygrad_rnn.{place}$"):
            getattr(tinygrad_rnn, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'battery'"):
        tinygrad_rnn.battery  # noqa: B018  (the access is what is tested)


def test_help_shows_the_public_names() -> None:
    text = pydoc.plain(pydoc.render_doc(tinygrad_rnn))
    for name in ("class Tensor", "check_cell(", "value_and_grad("):
        assert name in text
    assert "import_module" not in text and "TYPE_CHECKING" not in text


@pytest.mark.parametrize(
    ("op", "line"),
    [
        (ops.tanh, "tanh(x)"),
        (ops.norm, "norm(x, axis=None, keepdims=False)"),
        (ops.greater, "greater(x, y)"),
        (scanning._scan, "_scan(*operands, program, every, engine)"),
    ],
)
def test_help_shows_the_signature_and_the_docstring_of_an_op(op: Any, line: str) -> None:
    title, *rest = pydoc.plain(pydoc.render_doc(op)).split("\n\n")
    assert title == f"Python Library Documentation: {type(op).__name__} in module {op.forward.__module__}"
    shown, *text = rest[0].split("\n")
    assert shown == line
    assert " ".join("".join(text).split()) == " ".join((op.__doc__ or "").split())


def test_help_shows_how_primitives_are_made() -> None:
    assert [*inspect.signature(tape.Primitive).parameters] == ["forward", "differentiable"]
    assert [*inspect.signature(tape.Joint).parameters] == ["forward"]


def test_an_op_as_an_attribute_of_a_class_takes_no_self() -> None:
    class Activated:
        squash = ops.tanh

    assert Activated().squash is ops.tanh and Activated.squash is ops.tanh


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
    assert printed(code).split() == []
