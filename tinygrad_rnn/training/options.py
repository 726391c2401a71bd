"""What a run can be told: a frozen dataclass, whose fields are the options of the command line and are saved in every
checkpoint."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import wraps
from typing import Any, ClassVar, Self, dataclass_transform, get_type_hints

from tinygrad_rnn.data.readers import is_encoding
from tinygrad_rnn.engines import ENGINES
from tinygrad_rnn.training.option_kinds import LARGEST, as_kind, check_kinds, check_names
from tinygrad_rnn.training.penalties import are_penalties


class OptionError(ValueError):
    """An option that makes no sense; the message names it, what was expected and what came."""


LEARNING_RATES = {"sgd": 1.0, "adagrad": 0.02, "adadelta": 1.0, "rmsprop": 5e-3, "adam": 2e-3}
"""By the name of the optimiser, where a run does not say; for SGD with the gradient's norm clipped."""

SCHEDULES = ("halve", "cosine", "exponential", "constant")
"""Of the learning rate."""

# --- A field ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ValueRule:
    """What a value must be: whether it is `good`, and how that is said."""

    expected: str
    good: Callable[[Any], bool]


SIZE = ValueRule(f"from 1 to {LARGEST}", lambda value: 1 <= value <= LARGEST)
COUNT = ValueRule(f"from 0 to {LARGEST}", lambda value: 0 <= value <= LARGEST)
AT_LEAST_1 = ValueRule("at least 1", lambda value: value >= 1)
AT_LEAST_0 = ValueRule("at least 0", lambda value: value >= 0)
POSITIVE = ValueRule("above 0 and finite", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = ValueRule("at least 0 and finite", lambda value: 0 <= value < math.inf)
RATE = ValueRule("at least 0 and below 1", lambda value: 0 <= value < 1)
FRACTION = ValueRule("above 0 and below 1", lambda value: 0 < value < 1)
PENALTIES = ValueRule("NAME=WEIGHT, as in ponder=0.001, each name once", are_penalties)
ENCODING = ValueRule("an encoding that Python knows, such as utf-8, cp1252 or utf-16", is_encoding)


def option(
    *,
    default: Any,
    help: str = "",
    rule: ValueRule | None = None,
    choices: tuple[str, ...] = (),
    metavar: str | None = None,
    off: str | None = None,
) -> Any:
    """A field of options.

    Args:
        default: its value unless told.
        help: what `--help` says of it.
        rule: what a value must be (None is allowed where it is the default).
        choices: of values, where there are few.
        metavar: stands for a value in the help.
        off: the name of the switch that says no.
    """
    return field(
        default=default, metadata={"help": help, "rule": rule, "choices": choices, "metavar": metavar, "off": off}
    )


_USUAL: dict[str, tuple[str, ValueRule]] = {
    "layers": ("Recurrent layers.", SIZE),
    "embedding": ("Size of the word vectors.", SIZE),
    "hidden": ("Hidden units per layer.", SIZE),
    "dropout": ("Probability that a unit is left out while training.", RATE),
}
"""What fields of these names are, wherever they do not say: help, and rule."""


@dataclass(frozen=True)
class About:
    """What is known of a field: see `option`."""

    name: str
    default: Any
    help: str
    rule: ValueRule | None
    choices: tuple[str, ...]
    metavar: str | None
    off: str | None

    @property
    def flag(self) -> str:
        """As it is typed."""
        return f"--{self.name.replace('_', '-')}"


def about(each: Field[Any]) -> About:
    """What is known of a field of a class of options."""
    help, rule = _USUAL.get(each.name, ("", None))
    told = {"help": help, "rule": rule, "choices": (), "metavar": None, "off": None, **each.metadata}
    return About(
        each.name, each.default, **{name: told[name] for name in ("help", "rule", "choices", "metavar", "off")}
    )


def _rate_help(rates: Mapping[str, float]) -> str:
    return f"Learning rate (unless told: {', '.join(f'{name} {rate:g}' for name, rate in rates.items())})."


# --- The options of every run ----------------------------------------------------------------------------------


@dataclass_transform(frozen_default=True, field_specifiers=(option,))
@dataclass(frozen=True)
class RunOptions:
    """What every run can be told. Rates are probabilities. None means "what suits the data and the other options". A
    subclass is made a frozen dataclass by itself. Raises OptionError."""

    FILES: ClassVar[tuple[str, ...]] = ()
    """The fields that name files to read: a text, several, or none."""
    USUAL_EPOCHS: ClassVar[int | None] = None
    """Of a run that is told neither how many nor how long."""
    PROBLEMS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Where a task has several kinds of examples of its own: the name of each, the usual one first, and the values of
    options that suit it better than their defaults. Such a class has a field `problem`, one of these names; None where
    the examples are from files."""

    cell: str = option(
        default="gru",
        help="rnn, gru, lstm, a variant (mgu, janet, peephole-lstm...), or your own: FILE.py:Class; its options in "
        'brackets: "gru(reset=before)".',
        metavar="CELL",
    )
    dtype: str = option(default="float32", help="Type of the numbers.", choices=("float32", "float64"))
    optimizer: str = option(default="rmsprop", help="Which optimiser.", choices=tuple(LEARNING_RATES))
    lr: float | None = option(default=None, help=_rate_help(LEARNING_RATES), rule=POSITIVE)
    momentum: float = option(default=0.0, help="For sgd.", rule=RATE)
    decay: float | None = option(default=None, help="For rmsprop and adadelta (0.9 and 0.95 unless told).", rule=RATE)
    weight_decay: float = option(default=0.0, help="Decoupled weight decay.", rule=NOT_NEGATIVE)
    clip_norm: float = option(default=1.0, help="Largest norm of the whole gradient.", rule=POSITIVE)
    clip_value: float | None = option(default=None, help="Largest entry of the gradient.", rule=POSITIVE)
    penalty: tuple[str, ...] = option(
        default=(),
        help="Adds to the loss of training what the cell notes under a name, with a weight: ponder=0.001. May be given "
        "several times.",
        rule=PENALTIES,
        metavar="NAME=WEIGHT",
    )
    schedule: str = option(
        default="halve", help="Of the learning rate; halve: when the validation loss rises.", choices=SCHEDULES
    )
    batch_size: int = option(default=32, help="Examples side by side.", rule=SIZE)
    epochs: int | None = option(default=None, help="Passes over the training part.", rule=AT_LEAST_1)
    evaluate_every: int | None = option(
        default=None, help="Steps between evaluations (an epoch unless told).", rule=AT_LEAST_1
    )
    patience: int | None = option(
        default=None, help="Stop after that many evaluations without a better one.", rule=AT_LEAST_1
    )
    seed: int = option(default=0, help="Same seed, same machine, same numbers.", rule=AT_LEAST_0)
    threads: int | None = option(
        default=None,
        help="Of machine code (unless told: one for each processor, up to 4) or of BLAS (1: on products this small "
        "two are little faster, and on a busy machine far slower).",
        rule=SIZE,
    )
    engine: str | None = option(
        default=None,
        help="What runs the loops: machine code, which needs llvmlite, or NumPy calls (the best that is installed, "
        "unless told).",
        choices=ENGINES,
    )

    split_optimizer: bool = option(
        default=False,
        help="Of several processes each keeps a part of the optimiser's state, and updates that part of the weights.",
    )

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        check_names(cls, RunOptions)
        _keep_help(cls)
        if "PROBLEMS" in vars(cls):
            if not (isinstance(cls.PROBLEMS, Mapping) and all(isinstance(v, Mapping) for v in cls.PROBLEMS.values())):
                raise TypeError("PROBLEMS must be values of options by the names of problems: {'easy': {'hidden': 8}}")
            _add_problem(cls)
        dataclass(frozen=True)(cls)
        _suit_values(cls)
        check_kinds(cls)
        for problem, values in cls.PROBLEMS.items():
            if unknown := sorted(values.keys() - {each.name for each in cls.all_about()}):
                raise TypeError(f"PROBLEMS: {unknown[0]!r} of the problem {problem!r} is no option")
            cls(problem=problem)  # type: ignore[call-arg]  # a field of such a class; this raises for values that are none

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for each in self.all_about():
            try:
                value = as_kind(each.name, getattr(self, each.name), kinds[each.name])
            except TypeError as error:
                raise OptionError(str(error)) from None
            object.__setattr__(self, each.name, value)
            if each.choices and not (value in each.choices or (value is None and each.default is None)):
                raise OptionError(f"{each.name} must be one of {', '.join(each.choices)}, got {value!r}")
            if each.rule is not None and not ((value is None and each.default is None) or each.rule.good(value)):
                raise OptionError(f"{each.name} must be {each.rule.expected}, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(f"{each.name} must be a finite number, got {value!r}")
        if self.momentum and self.optimizer != "sgd":
            raise OptionError(f"momentum is an option of sgd, and the optimizer is {self.optimizer}")
        if self.decay is not None and self.optimizer not in ("rmsprop", "adadelta"):
            raise OptionError(f"decay is an option of rmsprop and adadelta, and the optimizer is {self.optimizer}")

    @classmethod
    def all_about(cls) -> list[About]:
        """What is known of each of the fields."""
        return [about(each) for each in fields(cls)]

    @property
    def noisy(self) -> bool:
        """Whether anything is drawn while training that is not in validation."""
        return any(getattr(self, name, 0) > 0 for name in ("dropout", "recurrent_dropout", "zoneout"))

    @property
    def learning_rate(self) -> float:
        """The initial learning rate."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr

    @property
    def differing(self) -> dict[str, Any]:
        """What was named, and the values that are not what they are unless told, as JSON values by name."""
        named = {"problem", *self.FILES}
        said: dict[str, Any] = {name: value for name, value in self.to_json().items() if name in named and value}
        usual = type(self)(**said).to_json()
        return {name: value for name, value in self.to_json().items() if name in said or value != usual[name]}

    def changed(self, **changes: Any) -> Self:
        """The options with some of them changed. Raises OptionError."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises OptionError for names of another version, and values of another type."""
        unknown = values.keys() - {each.name for each in cls.all_about()}
        if unknown:
            raise OptionError(f"the checkpoint has settings that this version does not know: {sorted(unknown)}")
        # A checkpoint that does not say so is of a time when there was no machine code.
        return cls(**{"engine": "numpy", **values})

    def named_files(self) -> list[tuple[str, str]]:
        """The files that the options name, and the options that did."""
        found = []
        for each in self.FILES:
            value = getattr(self, each)
            names = [] if value is None else [value] if isinstance(value, str) else list(value)
            found += [(name, f"--{each.replace('_', '-')}") for name in names]
        return found

    def with_files_at(self, places: Mapping[str, str], anew: frozenset[str] = frozenset()) -> Self:
        """The options, by which files are read where `places` says that they are, but for those of the fields in
        `anew`."""
        there: dict[str, Any] = {}
        for each in self.FILES:
            value = getattr(self, each)
            if value is not None and each not in anew:
                there[each] = (
                    places.get(value, value)
                    if isinstance(value, str)
                    else tuple(places.get(name, name) for name in value)
                )
        return self.changed(**there)


def _keep_help(options: type[RunOptions]) -> None:
    """Gives fields of a class of options, which is no dataclass yet, that only have another default than above what is
    said there of them: help, rule, choices."""
    above = {each.name: each for each in fields(options.__mro__[1])}
    for name in inspect.get_annotations(options):
        default = vars(options).get(name, MISSING)
        if name in above and default is not MISSING and not isinstance(default, Field):
            told = dict(above[name].metadata)
            if name == "lr" and default is not None:
                usual = vars(options).get("optimizer", above["optimizer"].default)
                told["help"] = _rate_help({**LEARNING_RATES, usual: default})
            setattr(options, name, field(default=default, metadata=told))


def _add_problem(options: type[RunOptions]) -> None:
    """Gives a class of options, which is no dataclass yet, the field `problem`."""
    names = tuple(options.PROBLEMS)
    options.__annotations__ = {"problem": str | None, **inspect.get_annotations(options)}
    help = f"Which of its own examples ({names[0]} unless told)."
    options.problem = option(default=None, help=help, choices=names)  # type: ignore[attr-defined]  # a field from now on


def _suit_values(options: type[RunOptions]) -> None:
    """Lets a class of options begin with the values that suit its problem, and a learning rate that suits the
    optimiser: the class's own, and a problem's, are for its usual one."""
    plain: Callable[..., None] = options.__init__
    usual, rate = (next(each.default for each in fields(options) if each.name == name) for name in ("optimizer", "lr"))

    @wraps(plain)
    def begin(self: Any, **given: Any) -> None:
        suiting = _of_problem(options, given) if options.PROBLEMS else {}
        optimizer = given.get("optimizer", usual)
        if suiting.get("lr", rate) is not None and optimizer != usual and optimizer in [*LEARNING_RATES]:
            suiting = {**suiting, "lr": LEARNING_RATES[optimizer]}
        plain(self, **{**suiting, **given})

    options.__init__ = begin  # type: ignore[assignment, method-assign]  # in the place of the one that was made just now


def _of_problem(options: type[RunOptions], given: Mapping[str, Any]) -> dict[str, Any]:
    """The problem, and the values that suit it. Raises OptionError."""
    problem = given.get("problem")
    if given.get("data") is None:
        problem = next(iter(options.PROBLEMS)) if problem is None else problem
    elif problem is not None:
        raise OptionError(f"problem is of the task's own examples, and data names others; got {problem!r}")
    return {**options.PROBLEMS.get(problem or "", {}), "problem": problem}


class TrainingOptions(RunOptions):
    """What a run of a task on examples can be told."""

    FILES: ClassVar[tuple[str, ...]] = ("data", "valid", "test")

    data: str | None = option(default=None, help="The examples; without it the task's own.", metavar="FILE")
    valid: str | None = option(
        default=None, help="Examples to validate on; without it a part of those of --data.", metavar="FILE"
    )
    test: str | None = option(
        default=None,
        help="Examples for the result; without it a part of those of --data, or with --valid none: then the result is "
        "that of validation.",
        metavar="FILE",
    )
    encoding: str = option(
        default="utf-8",
        help="Of the file, as Python calls it: cp1252, utf-16, shift-jis...",
        rule=ENCODING,
        metavar="NAME",
    )
    valid_fraction: float = option(
        default=0.1, help="The part of the examples that is kept for validation.", rule=FRACTION
    )
    test_fraction: float = option(
        default=0.1, help="The part of the examples that is kept for the result.", rule=FRACTION
    )
    optimizer: str = option(default="adam", help="Which optimiser.", choices=tuple(LEARNING_RATES))
    schedule: str = option(
        default="constant", help="Of the learning rate; halve: when the validation loss rises.", choices=SCHEDULES
    )
    patience: int | None = option(
        default=5, help="Stop after that many evaluations without a better one (0: never).", rule=AT_LEAST_0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("valid", "test"):
            if getattr(self, name) is not None and self.data is None:
                raise OptionError(f"--{name} goes with --data: the task's own examples are split by themselves")

    def of_file(self, path: str, encoding: str) -> Self:
        """The options, by which all examples are those in a file. Raises OptionError."""
        problem = {"problem": None} if self.PROBLEMS else {}
        return self.changed(data=path, valid=None, test=None, encoding=encoding, **problem)
