"""What a training run can be told, with sensible defaults; saved in every checkpoint."""

from __future__ import annotations

import math
import reprlib
from dataclasses import asdict, dataclass, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from tinygrad_rnn.data.readers import is_encoding
from tinygrad_rnn.models.softmaxes import SOFTMAXES


class SettingsError(ValueError):
    """A setting that makes no sense; the message names it, what was expected and what came."""


LEARNING_RATES = {"sgd": 1.0, "adagrad": 0.02, "adadelta": 1.0, "rmsprop": 5e-3, "adam": 2e-3}
"""By the name of the optimiser, where a run does not say; for SGD with the gradient's norm clipped."""

SCHEDULES = ("halve", "cosine", "exponential", "constant")
"""Of the learning rate."""
LARGEST = 2**31 - 1
"""Of a size."""


@dataclass(frozen=True)
class Settings:
    """A run of `tinygrad-rnn train`. Sizes are counted in units, rates are probabilities, `steps` is the length of a
    window of truncated BPTT, `threads` are those of BLAS. None means "what suits the data and the other settings".
    Raises SettingsError."""

    # the text
    text: tuple[str, ...] = ()
    csv: str | None = None
    column: str = "0"
    skip_initial_space: bool = False
    encoding: str = "utf-8"
    lines: bool = False
    level: str = "word"
    lowercase: bool | None = None
    vocab_size: int | None = None
    valid: str | None = None
    valid_fraction: float = 0.1
    shuffle: bool | None = None
    # the model
    cell: str = "gru"
    layers: int = 2
    embedding: int = 160
    hidden: int = 160
    tied: bool | None = None
    softmax: str = "full"
    init: str = "default"
    dtype: str = "float32"
    vectors: str | None = None
    init_from: str | None = None
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
    warm_up: int = 100
    evaluate_every: int | None = None
    patience: int | None = None
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("layers", "embedding", "hidden", "batch_size", "steps", "threads"):
            value = getattr(self, name)
            _need(name, value, 1 <= value <= LARGEST, f"from 1 to {LARGEST}")
        _need("warm_up", self.warm_up, 0 <= self.warm_up <= LARGEST, f"from 0 to {LARGEST}")
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
        expected = "an encoding that Python knows, such as utf-8, cp1252 or utf-16"
        _need("encoding", self.encoding, is_encoding(self.encoding), expected)
        _choice("level", self.level, ("word", "char"))
        _choice("optimizer", self.optimizer, tuple(LEARNING_RATES))
        _choice("schedule", self.schedule, SCHEDULES)
        _choice("batching", self.batching, ("stream", "sentences", None))
        _choice("dtype", self.dtype, ("float32", "float64"))
        _choice("init", self.init, ("default", "wildml"))
        if self.text and self.csv:
            raise SettingsError("--text and --csv cannot both be given: one corpus was expected")
        if self.valid is not None and (self.shuffle or self.valid_fraction != Settings.valid_fraction):
            name = "shuffle" if self.shuffle else "valid_fraction"
            raise SettingsError(f"{name} is for a text that is split in two, and valid is {self.valid}")
        if self.shuffle and (self.streams or self.unbroken):
            raise SettingsError(
                "shuffle is for sentences that stand alone (--batching sentences, --lines, --csv), and the text is "
                + ("one of characters" if self.unbroken else "read as a stream")
            )
        if self.momentum and self.optimizer != "sgd":
            raise SettingsError(f"momentum is an option of sgd, and the optimizer is {self.optimizer}")
        if self.decay is not None and self.optimizer not in ("rmsprop", "adadelta"):
            raise SettingsError(f"decay is an option of rmsprop and adadelta, and the optimizer is {self.optimizer}")
        _choice("softmax", self.softmax, tuple(SOFTMAXES))
        if self.tied and self.softmax != "full":
            raise SettingsError(f"tied needs a full softmax, and the softmax is {self.softmax}")
        if self.tied and self.embedding != self.hidden:
            raise SettingsError(f"tied needs embedding == hidden, got {self.embedding} and {self.hidden}")
        if self.vectors and self.init_from:
            raise SettingsError("--vectors and --init-from cannot both be given: one set of first weights was expected")
        if self.vectors and self.level != "word":
            raise SettingsError("vectors are for words, and the level is char")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """What `to_json` gave, this version's or an older one's, which meant the same by what it did not name. Raises
        SettingsError for names of another version, and values of another type."""
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise SettingsError(f"the checkpoint has settings that this version does not know: {sorted(unknown)}")
        if "warm_up" not in values:
            values = {**values, **_BEFORE_WARM_UP, "batching": values.get("batching") or "stream"}
        # A checkpoint that does not say so is of a time when the spaces were always skipped.
        values = {"skip_initial_space": values.get("csv") is not None, **values}
        kinds = get_type_hints(cls)
        return cls(**{name: _of_kind(name, value, kinds[name]) for name, value in values.items()})

    @property
    def unbroken(self) -> bool:
        """Whether the corpus is one text without sentence marks, as character models read it."""
        return self.level == "char" and not self.lines and self.csv is None

    @property
    def noisy(self) -> bool:
        """Whether anything is drawn while training that is not in validation."""
        return max(self.dropout, self.recurrent_dropout, self.zoneout) > 0

    @property
    def unit(self) -> str:
        """What a token is called."""
        return "character" if self.level == "char" else "token"

    @property
    def streams(self) -> bool:
        """Whether batches are windows of contiguous streams, the state carried from one to the next."""
        return self.batching == "stream" or (self.batching is None and not self._independent)

    @property
    def shuffled(self) -> bool:
        """Whether the sentences that validate are drawn, and are not the end of the text: a list's are, unless told."""
        return not self.streams and self._independent if self.shuffle is None else self.shuffle

    @property
    def _independent(self) -> bool:
        """Whether the corpus is a list of texts that have nothing to do with each other."""
        return self.lines or self.csv is not None

    @property
    def lowercased(self) -> bool:
        """Whether text is lower-cased: words are, characters are not, unless told."""
        return self.level == "word" if self.lowercase is None else self.lowercase

    @property
    def learning_rate(self) -> float:
        """The initial learning rate."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr


_BEFORE_WARM_UP: dict[str, Any] = {"warm_up": 0, "shuffle": False, "valid": None}
"""What settings meant that were saved before there were these; and without a batching they meant streams."""


def _of_kind(name: str, value: Any, kind: Any) -> Any:
    """A JSON value as the type that a setting has. Raises SettingsError where it is of another."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if isinstance(value, list | tuple) and tuple[str, ...] in kinds and all(isinstance(each, str) for each in value):
        return tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds and abs(value) < LARGEST:
        return value
    if type(value) not in kinds:
        expected = " or ".join(_KINDS.get(each, "a list of texts") for each in kinds)
        raise SettingsError(f"{name} must be {expected}, got {reprlib.repr(value)}")
    return value


_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", NoneType: "null"}


def _need(name: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise SettingsError(f"{name} must be {expected}, got {value!r}")


def _choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(str(a) for a in allowed if a)}, got {value!r}")
