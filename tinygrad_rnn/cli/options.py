"""What commands share: the settings of a run as options, checkpoint and device, lengths of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from tinygrad_rnn.backend import cuda_namespace
from tinygrad_rnn.training.settings import LEARNING_RATES, SCHEDULES, Settings, SettingsError

DEFAULT_OUT = Path("runs/lm")
DEFAULT_EPOCHS = 8
DEFAULT_BUDGET = 130.0
"""Seconds of training, where neither they nor epochs are asked for."""


checkpoint_argument = click.argument(
    "checkpoint", type=click.Path(path_type=Path), default=DEFAULT_OUT / "best.safetensors"
)
encoding_option = click.option(
    "--encoding", default="utf-8", show_default=True, metavar="NAME", help="Of that text, as Python calls it: cp1252..."
)
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with CuPy.")


def check_device(device: str) -> None:
    """Raises SettingsError for a device that does not exist, DeviceUnavailable for one that is not at hand."""
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda":
        cuda_namespace()


def seconds(text: str) -> float:
    """A length of time: "90", "90s", "20m" or "1.5h" in seconds. Raises SettingsError for anything else."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:].lower())
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SettingsError(f"a time such as 90, 90s, 20m or 1.5h was expected, got {text!r}")
    return value


_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _setting(name: str, help: str, **options: Any) -> Callable[[Any], Any]:
    """An option for one of the Settings. It is None unless given, so that a resumed run can tell what was asked for."""
    default = _DEFAULTS[name]
    shown = "" if default is None or default is False or default == () else f"  [default: {default}]"
    flag = f"--{name.replace('_', '-')}"
    if off := options.pop("switch", None):
        flag, options["is_flag"] = f"{flag}/{off}", True
    elif "type" not in options:
        options["type"] = type(default) if default not in (None, ()) else str
    return click.option(flag, name, default=None, help=help + shown, **options)


_SETTINGS_OPTIONS = [
    click.option(
        "--text",
        "text",
        multiple=True,
        metavar="FILE",
        help="A text file, .gz too, a folder of them, or - for standard input; may be given several times. Without it "
        "(and --csv) the docstrings of your Python's standard library.",
    ),
    _setting("csv", "A CSV file with a column of texts.", metavar="FILE"),
    _setting("column", "The CSV's column, by name or number (from 0).", metavar="NAME"),
    _setting(
        "skip_initial_space",
        "Leave out the spaces that a CSV's plain field begins with.",
        switch="--keep-initial-space",
    ),
    _setting("encoding", "Of the text, as Python calls it: cp1252, utf-16, shift-jis...", metavar="NAME"),
    _setting("lines", "One sentence (or name) a line, instead of splitting sentences.", switch="--no-lines"),
    _setting("level", "Model words or characters.", type=click.Choice(["word", "char"])),
    _setting("lowercase", "Lower-case the text (words: yes, characters: no, unless told).", switch="--no-lowercase"),
    _setting(
        "vocab_size",
        "Number of tokens, special ones included (words: 4000 unless told; characters: all).",
        type=int,
    ),
    _setting("valid_fraction", "The last part of the text, kept for validation."),
    _setting(
        "cell", "rnn, gru, lstm, a variant (mgu, janet, peephole-lstm...), or your own: FILE.py:Class.", metavar="CELL"
    ),
    _setting("layers", "Recurrent layers."),
    _setting("embedding", "Size of the word vectors."),
    _setting("hidden", "Hidden units per layer."),
    _setting(
        "tied",
        "Use the embedding table for the output too (where the sizes are equal, unless told).",
        switch="--untied",
    ),
    _setting("init", "Initial weights.", type=click.Choice(["default", "wildml"])),
    _setting("dtype", "Type of the numbers.", type=click.Choice(["float32", "float64"])),
    _setting("vectors", "Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"),
    _setting("dropout", "On embeddings, between layers and before the output."),
    _setting("recurrent_dropout", "On the state that gates read, one mask a sequence and gate."),
    _setting("zoneout", "Probability that a unit keeps its old state."),
    _setting("optimizer", "Which optimiser.", type=click.Choice(list(LEARNING_RATES))),
    _setting(
        "lr",
        f"Learning rate (unless told: {', '.join(f'{name} {rate:g}' for name, rate in LEARNING_RATES.items())}).",
        type=float,
    ),
    _setting("momentum", "For sgd."),
    _setting("decay", "For rmsprop and adadelta (0.9 and 0.95 unless told).", type=float),
    _setting("weight_decay", "Decoupled weight decay."),
    _setting("clip_norm", "Largest norm of the whole gradient."),
    _setting("clip_value", "Largest entry of the gradient.", type=float),
    _setting(
        "schedule",
        "Of the learning rate; halve: when the validation loss rises.",
        type=click.Choice(SCHEDULES),
    ),
    _setting(
        "batching",
        "Contiguous streams with carried state, or single sentences by length (stream unless told).",
        type=click.Choice(["stream", "sentences"]),
    ),
    _setting("batch_size", "Streams, or sentences, side by side."),
    _setting("steps", "Time steps of truncated back-propagation (streams)."),
    _setting(
        "epochs",
        f"Passes over the training part ({DEFAULT_EPOCHS} unless told, without end where --time-budget is given).",
        type=int,
    ),
    _setting("evaluate_every", "Steps between evaluations (an epoch unless told).", type=int),
    _setting("patience", "Stop after that many evaluations without a better one.", type=int),
    _setting("seed", "Same seed, same machine, same numbers."),
]


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command an option for each of the Settings, by its name."""
    for option in reversed(_SETTINGS_OPTIONS):
        command = option(command)
    return command
