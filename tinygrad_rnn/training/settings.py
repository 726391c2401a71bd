"""What a training run can be told, with sensible defaults; saved in every checkpoint."""

from __future__ import annotations

import difflib
import importlib.util
import math
import sys
import traceback
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tinygrad_rnn.frames import CELL_FILE, owner
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.language import CELLS
from tinygrad_rnn.optim.formulas import SGD, AdaDelta, AdaGrad, Adam, RMSprop
from tinygrad_rnn.optim.optimizer import Optimizer


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it, what was expected and what came."""


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "adadelta": AdaDelta,
    "rmsprop": RMSprop,
    "adam": Adam,
}
LEARNING_RATES = {"sgd": 1.0, "adagrad": 0.02, "adadelta": 1.0, "rmsprop": 5e-3, "adam": 2e-3}
"""Where a run does not say; for SGD with the gradient's norm clipped."""

SCHEDULES = ("halve", "cosine", "exponential", "constant")
LARGEST = 2**31 - 1
"""Of a size."""


@dataclass(frozen=True)
class Settings:
    """A run of `tinygrad-rnn train`. Sizes are counted in units, rates are probabilities, `steps` is the length of a
    window of truncated BPTT. None means "what suits the data and the other settings". Raises SettingsError."""

    # the text
    text: tuple[str, ...] = ()
    csv: str | None = None
    column: str = "0"
    lines: bool = False
    level: str = "word"
    lowercase: bool | None = None
    vocab_size: int | None = None
    valid_fraction: float = 0.1
    # the model
    cell: str = "gru"
    layers: int = 2
    embedding: int = 160
    hidden: int = 160
    tied: bool | None = None
    init: str = "default"
    dtype: str = "float32"
    vectors: str | None = None
    # noise
    dropout: float = 0.2
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    # the optimiser
    optimizer: str = "rmsprop"
    lr: float | None = None
    momentum: float = 0.0
    decay: float | None = None
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    clip_value: float | None = None
    schedule: str = "halve"
    # the run
    batching: str | None = None
    batch_size: int = 32
    steps: int = 24
    epochs: int | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("layers", "embedding", "hidden", "batch_size", "steps"):
            value = getattr(self, name)
            _need(name, value, 1 <= value <= LARGEST, f"from 1 to {LARGEST}")
        for name in ("vocab_size", "epochs", "evaluate_every", "patience"):
            value = getattr(self, name)
            _need(name, value, value is None or value >= 1, "at least 1")
        for name in ("dropout", "recurrent_dropout", "zoneout"):
            _need(name, getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("lr", "clip_norm", "clip_value"):
            value = getattr(self, name)
            _need(name, value, value is None or 0 < value < math.inf, "above 0 and finite")
        for name in ("momentum", "decay"):
            value = getattr(self, name)
            _need(name, value, value is None or 0 <= value < 1, "at least 0 and below 1")
        _need("valid_fraction", self.valid_fraction, 0 < self.valid_fraction < 1, "above 0 and below 1")
        _need("weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "at least 0 and finite")
        _need("seed", self.seed, self.seed >= 0, "at least 0")
        _choice("level", self.level, ("word", "char"))
        _choice("optimizer", self.optimizer, tuple(OPTIMIZERS))
        _choice("schedule", self.schedule, SCHEDULES)
        _choice("batching", self.batching, ("stream", "sentences", None))
        _choice("dtype", self.dtype, ("float32", "float64"))
        _choice("init", self.init, ("default", "wildml"))
        if self.text and self.csv:
            raise SettingsError("--text and --csv cannot both be given: one corpus was expected")
        if self.momentum and self.optimizer != "sgd":
            raise SettingsError(f"momentum is an option of sgd, and the optimizer is {self.optimizer}")
        if self.decay is not None and self.optimizer not in ("rmsprop", "adadelta"):
            raise SettingsError(f"decay is an option of rmsprop and adadelta, and the optimizer is {self.optimizer}")
        if self.tied and self.embedding != self.hidden:
            raise SettingsError(f"tied needs embedding == hidden, got {self.embedding} and {self.hidden}")
        if self.vectors and self.level != "word":
            raise SettingsError("vectors are for words, and the level is char")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """What `to_json` gave. Raises SettingsError for names of another version."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise SettingsError(f"the checkpoint has settings that this version does not know: {sorted(unknown)}")
        return cls(**{**values, "text": tuple(values["text"])})

    @property
    def unbroken(self) -> bool:
        """Whether the corpus is one text without sentence marks, as character models read it."""
        return self.level == "char" and not self.lines and self.csv is None

    @property
    def streams(self) -> bool:
        """Whether batches are windows of contiguous streams, the state carried from one to the next."""
        return self.batching != "sentences"

    @property
    def lowercased(self) -> bool:
        """Whether text is lower-cased: words are, characters are not, unless told."""
        return self.level == "word" if self.lowercase is None else self.lowercase

    @property
    def learning_rate(self) -> float:
        """The initial learning rate."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr


def make_optimizer(settings: Settings, parameters: Any) -> Optimizer:
    """The optimiser that the settings name, over (name, Parameter) pairs."""
    options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        options["momentum"] = settings.momentum
    if settings.decay is not None:
        options["decay"] = settings.decay
    return OPTIMIZERS[settings.optimizer](parameters, **options)


def find_cell(name: str) -> type[Cell]:
    """The cell called "rnn", "gru", "lstm" or "FILE.py:Class". Raises SettingsError where there is none."""
    if name.lower() in CELLS:
        return CELLS[name.lower()]
    path, colon, attribute = name.rpartition(":")
    if not colon or not attribute:
        file, meant = name.removesuffix(":"), difflib.get_close_matches(name.lower(), CELLS, 1)
        hint = f"FILE.py:Class with the name of the class in {file}" if file.endswith(".py") else ""
        hint = hint or f"{meant[0] if meant else ', '.join(CELLS)} or FILE.py:Class"
        raise SettingsError(f"cell must be {hint}, got {name!r}")
    if not Path(path).is_file():
        raise SettingsError(f"cell {name!r}: there is no file {path}")
    if (folder := str(Path(path).resolve().parent)) not in sys.path:
        sys.path.append(folder)  # for what it imports from beside it
    spec = importlib.util.spec_from_file_location(f"{CELL_FILE}{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"cell {name!r}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SettingsError(f"cell {name!r}: {path} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise SettingsError(f"cell {name!r}: {path} has no class {attribute} made with Cell")
    return found


def blame(error: BaseException) -> str:
    """ "FILE.py, line N: TypeError: ..." where the error comes from within a user's own cell, and otherwise ""."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [f"{frame.f_code.co_filename}, line {line}" for frame, line in frames if owner(frame) == "cell file"]
    return f"{lines[-1]}: {type(error).__name__}: {error}" if lines else ""


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


def _need(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise SettingsError(f"{name} must be {expected}, got {value!r}")


def _choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(str(a) for a in allowed if a)}, got {value!r}")
