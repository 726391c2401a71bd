"""What is compared: contestants, each a cell with options of the task, all with the same seeds."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, get_type_hints

from tinygrad_rnn.training.option_kinds import kinds_of
from tinygrad_rnn.training.options import OptionError, RunOptions

OptionValues = dict[str, Any]
"""Options of a task by name."""


@dataclass(frozen=True)
class Contestant:
    """A cell, by the name that a run has for it, or the class; the options of its runs; and what it is called."""

    label: str
    cell: Any
    options: OptionValues

    def changed(self, **options: Any) -> Contestant:
        """The same with other options."""
        return Contestant(self.label, self.cell, {**self.options, **options})


@dataclass(frozen=True)
class Range:
    """An option that is to be searched for: one of the values, or where they are `numbers`, any from the first to the
    second, with `log` as likely between 1 and 10 as between 10 and 100."""

    name: str
    values: tuple[Any, ...]
    numbers: bool = False
    log: bool = False


@dataclass(frozen=True)
class Contest:
    """A comparison: of which contestants, on what, with which seeds, and how long each run may take; and what is
    searched for first, in how many draws."""

    task: str
    contestants: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    time_budget: float | None
    search: tuple[Range, ...] = ()
    trials: int = 0

    def runs(self) -> Iterable[tuple[Contestant, int]]:
        """Each contestant with each seed; all contestants with the first seed come first, so that a comparison that was
        stopped has runs of all."""
        return ((contestant, seed) for seed in self.seeds for contestant in self.contestants)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; a class stands by its name."""
        told = [
            {"label": each.label, "cell": text_of_cell(each.cell), "options": each.options} for each in self.contestants
        ]
        return {
            "task": self.task,
            "contestants": told,
            "seeds": list(self.seeds),
            "time_budget": self.time_budget,
            "search": [asdict(each) for each in self.search],
            "trials": self.trials,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Contest:
        """What `to_json` gave; classes are names now. Raises KeyError, TypeError for anything else."""
        contestants = tuple(Contestant(**each) for each in told["contestants"])
        search = tuple(Range(**{**each, "values": tuple(each["values"])}) for each in told["search"])
        return cls(told["task"], contestants, tuple(told["seeds"]), told["time_budget"], search, told["trials"])


def text_of_cell(cell: Any) -> str:
    """What a cell is called."""
    return cell if isinstance(cell, str) else str(cell.__name__)


def contestants_of(cells: Sequence[Any], settings: Mapping[str, Sequence[Any]]) -> tuple[Contestant, ...]:
    """Every cell with every combination of the settings; those of several values are part of what it is called. Raises
    OptionError for a cell that is there twice, or none."""
    names = [
        text_of_cell(cell).rpartition(":")[2] if ".py:" in text_of_cell(cell) else text_of_cell(cell) for cell in cells
    ]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise OptionError(f"cell {twice[0]!r} is to be compared with itself: each must be there once")
    if not cells:
        raise OptionError("cells to compare were expected, such as lstm gru, got none")
    several = [name for name, values in settings.items() if len(values) > 1]
    found = []
    for (cell, name), *values in itertools.product(zip(cells, names, strict=True), *settings.values()):
        options = dict(zip(settings, values, strict=True))
        parts = [name, *(f"{each}={options[each]}" for each in several)]
        found.append(Contestant(" ".join(parts), cell, options))
    return tuple(found)


def folder_of(contestant: Contestant, seed: int) -> str:
    """The name of the folder of a run: readable, and another for other options."""
    readable = re.sub(r"[^\w.=-]+", "-", contestant.label).strip("-")[:60]
    told = json.dumps([text_of_cell(contestant.cell), contestant.options], sort_keys=True, default=str)
    return f"{readable}-{hashlib.sha256(told.encode()).hexdigest()[:8]}-seed{seed}"


# --- Texts as options ------------------------------------------------------------------------------------------


def settings_of(texts: Iterable[str], options: type[RunOptions]) -> dict[str, list[Any]]:
    """Of texts such as "hidden=64,128" the values by name, of the types that the options of a task have. Raises
    OptionError."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise OptionError(f"--set: NAME=VALUE was expected, or NAME=VALUE,VALUE, got {text!r}")
        found[name] = [as_option(name, value.strip(), options) for value in values.split(",")]
    return found


def as_option(name: str, text: str, options: type[RunOptions]) -> Any:
    """A text as the value of an option of a task. Raises OptionError for one that there is not, or another type."""
    hints = get_type_hints(options)
    known = [each.name for each in options.all_about()]
    if name in ("cell", "seed"):
        raise OptionError(f"--set: {name} is what is compared, or repeated: name cells first, and --seeds")
    if name not in known:
        raise OptionError(f"--set: there is no option {name!r}; there are {', '.join(known)}")
    kinds = [kind for kind in kinds_of(hints[name]) if kind is not NoneType]
    if kinds == [bool]:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"--set: {name} must be true or false, got {text!r}")
        return text.lower() == "true"
    try:
        return (text,) if kinds == [tuple[str, ...]] else kinds[0](text)
    except ValueError:
        raise OptionError(f"--set: {name} must be of the type {kinds[0].__name__}, got {text!r}") from None
