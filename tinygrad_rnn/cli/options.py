"""What commands share: the settings of a run as options, checkpoint and device, lengths of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from tinygrad_rnn.backend import cuda_namespace
from tinygrad_rnn.cli.saying import echo
from tinygrad_rnn.models.softmaxes import SOFTMAXES
from tinygrad_rnn.training.cell_permits import CellPermit
from tinygrad_rnn.training.display import entry
from tinygrad_rnn.training.folder import newest_best
from tinygrad_rnn.training.settings import LEARNING_RATES, SCHEDULES, Settings, SettingsError

DEFAULT_OUT = Path("runs/lm")
DEFAULT_EPOCHS = 8
DEFAULT_BUDGET = 130.0
"""Seconds of training, where neither they nor epochs are asked for."""


def checkpoint_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the argument `checkpoint`. Where it is left out, it is the best file of the newest run, which is
    named on standard error, since standard output may be data."""

    @wraps(command)
    def with_checkpoint(checkpoint: Path | None, **rest: Any) -> Any:
        if checkpoint is None:
            checkpoint = newest_best(DEFAULT_OUT.parent, lambda text: echo(entry("note", text), err=True))
            echo(entry("model", str(checkpoint)), err=True)
        return command(checkpoint=checkpoint, **rest)

    return click.argument("checkpoint", type=click.Path(path_type=Path), required=False)(with_checkpoint)


trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Run the file of a cell of one's own that the checkpoint names, if it is as it was when the model was saved.",
)


def cell_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command that opens a checkpoint the options by which a cell of the user's own may be run; it gets them as
    `permit`."""

    @wraps(command)
    def with_permit(cell: str | None, trust: bool, **given: Any) -> Any:
        return command(permit=CellPermit(cell, trust), **given)

    named = click.option(
        "--cell", metavar="FILE.py:Class", help="The cell of a model with one of your own: the file is run."
    )
    return named(trust_option(with_permit))


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
    _setting("valid", "A text to validate on, read as the other is; without it a part of that.", metavar="FILE"),
    _setting("valid_fraction", "The part of the text that is kept for validation."),
    _setting(
        "shuffle",
        "Draw the sentences that validate, by --seed, instead of taking the last ones (--lines and --csv: yes, unless "
        "they are read as a stream).",
        switch="--no-shuffle",
    ),
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
    _setting(
        "softmax",
        "Over the vocabulary; the last two are many times faster for many thousands of tokens.",
        type=click.Choice(list(SOFTMAXES)),
    ),
    _setting("init", "Initial weights.", type=click.Choice(["default", "wildml"])),
    _setting("dtype", "Type of the numbers.", type=click.Choice(["float32", "float64"])),
    _setting("vectors", "Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"),
    _setting(
        "init_from",
        "Begin with the weights of a model of another text, which are matched by word.",
        metavar="CHECKPOINT",
    ),
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
        "Contiguous streams with carried state, or single sentences by length (--lines and --csv: sentences, other "
        "texts: stream, unless told).",
        type=click.Choice(["stream", "sentences"]),
    ),
    _setting("batch_size", "Streams, or sentences, side by side."),
    _setting("steps", "Time steps of truncated back-propagation (streams)."),
    _setting(
        "epochs",
        f"Passes over the training part ({DEFAULT_EPOCHS} unless told, without end where --time-budget is given).",
        type=int,
    ),
    _setting("warm_up", "Tokens that each validation stream reads before those that count (streams)."),
    _setting("evaluate_every", "Steps between evaluations (an epoch unless told).", type=int),
    _setting("patience", "Stop after that many evaluations without a better one.", type=int),
    _setting("seed", "Same seed, same machine, same numbers."),
    _setting("threads", "Of BLAS. On products this small two are little faster, and on a busy machine far slower."),
]


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command an option for each of the Settings, by its name."""
    for option in reversed(_SETTINGS_OPTIONS):
        command = option(command)
    return command
