"""A task: everything that a training program must be told about what is learnt. A subclass in one file is enough; the
rest, runs that resume, checkpoints, the log, the command line, is the same for all tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.padding import buckets
from tinygrad_rnn.data.readers import shown_name
from tinygrad_rnn.data.splits import shuffled_split, stratified_split
from tinygrad_rnn.inspection.views import View
from tinygrad_rnn.metrics.classes import accuracy
from tinygrad_rnn.metrics.jackknife import without_each
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks, dealt
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.training.asking import number
from tinygrad_rnn.training.carried import is_state
from tinygrad_rnn.training.cell_files import FoundCell, open_cell
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import OWN, Data, Source, TaskError, digest_of
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.options import OptionError, RunOptions, TrainingOptions
from tinygrad_rnn.training.telling import Telling


class Task(Telling):
    """What is learnt, from what, and how well it is done. An example is a pair (input, output).

    A subclass says where examples are from (`default`, `read`), makes tables of the training part (`prepare`), builds
    the model (`build`), and turns examples into a batch (`collate`), a batch into a loss (`loss`) and into answers
    (`predict`). `self.options` are what the run was told, `self.tables` what `prepare` gave."""

    Options: ClassVar[type[RunOptions]] = TrainingOptions
    """A subclass of TrainingOptions, whose fields are the options of the command line."""

    metric: str = "accuracy"
    """By which the best model is chosen: one of those that `score` gives, or "loss"."""
    higher: bool = True
    """Whether more of it is better; of the loss less is, unless told."""
    loss_unit: ClassVar[str] = "nats"
    """What the loss is measured in."""
    counted: ClassVar[str] = "examples"
    """What the loss counts."""
    source_called: ClassVar[str] = "data"
    """What its examples are called together."""
    carries: bool = False
    """Whether a batch goes on from the state that `loss` gave for the one before it."""
    tried: ClassVar[bool] = True
    """Whether a new run begins with a trial of the first batch."""
    reserved: ClassVar[tuple[str, ...]] = ()
    """Options that a cell cannot have, since the model has options of these names."""
    stratified: ClassVar[bool] = False
    """Whether each part is to have its share of every output, which is a label then."""
    METHODS: ClassVar[Mapping[str, Callable[[], Baseline]]] = {}
    """What makes the simple methods, by name, whose answers `baselines` scores unless told otherwise."""
    TABLES: ClassVar[Mapping[str, type]] = {}
    """The kinds of tables by name, if a checkpoint that has others is to be refused."""
    ranks: Ranks = ONE_PROCESS
    """Those that train together, which may share out reading the examples."""
    record: Mapping[str, Any] | None = None
    """What a checkpoint says of the file that the class is from, where it does not come with the package."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        named = {name for each in cls.__mro__[: cls.__mro__.index(Task)] for name in vars(each)}
        if cls.metric == "loss" and "higher" not in named:
            cls.higher = False
        if not (isinstance(cls.METHODS, Mapping) and all(map(callable, cls.METHODS.values()))):
            raise TypeError(
                f"{cls.__name__}.METHODS must be classes by name, such as {{'most frequent': MostFrequent}}, got "
                f"{cls.METHODS!r}"
            )
        if not (isinstance(cls.Options, type) and issubclass(cls.Options, RunOptions)):
            raise TypeError(
                f"{cls.__name__}.Options must be derived from TrainingOptions: class Options(TrainingOptions)"
            )

    def __init__(self, options: Any, cell: FoundCell, name: str = "") -> None:
        self.options, self.cell = options, cell
        self.name = name or type(self).__name__
        self.tables: dict[str, Any] = {}

    # --- Examples ----------------------------------------------------------------------------------------------

    def default(self, rng: np.random.Generator) -> Iterable[tuple[Any, Any]]:
        """Examples for a run that is given none: without a download, and by chance only through `rng`."""
        raise OptionError(f"{self.name} has no examples of its own: name a file with --data")

    def read(self, path: str) -> Iterable[tuple[Any, Any]]:
        """The examples in a file. Raises TextError."""
        raise OptionError(f"{self.name} reads no files: leave out --data")

    def split(self, examples: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """The examples to train on, to validate on, and for the result; drawn by the seed unless overridden. Raises
        TextError."""
        options, rng = self.options, np.random.default_rng(self.options.seed)
        split = stratified_split if self.stratified else shuffled_split
        return split(examples, rng, options.valid_fraction, options.test_fraction)

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        """Tables of the training part by name, saved with the model: a Vocabulary, Labels, or JSON values."""
        return {}

    def batches(self, examples: Sequence[Any], size: int, rng: np.random.Generator | None) -> Sequence[Any]:
        """Parts of the examples, each for one batch. By default inputs of like length stand together.

        Args:
            examples: of a part.
            size: how many a batch has at most.
            rng: alone decides the order; without it that is always the same.
        """
        return list(buckets(examples, size, self.size, rng))

    def share(self, part: Any, ranks: Ranks) -> Any:
        """The rows of a part for one batch that are this rank's where several processes train together (`dealt`); None
        where it has none. Unless told, a part is a list of examples."""
        if not isinstance(part, list | tuple):
            raise TaskError(
                f"{self.name}.share must say which rows of a batch are a rank's, since its batches are no lists of "
                f"examples: {_short(part)}"
            )
        return dealt(part, ranks) or None

    def size(self, example: Any) -> int:
        """How long the input is: a batch takes as long as its longest."""
        return len(example[0]) if hasattr(example[0], "__len__") else 1

    # --- The model ---------------------------------------------------------------------------------------------

    def build(self, rng: np.random.Generator) -> Module:
        """The model, whose first weights `rng` draws."""
        raise NotImplementedError

    def layer_options(self, rng: np.random.Generator) -> dict[str, Any]:
        """What a recurrent layer of the model is given: the cell that the run asked for, its options, the dtype, and
        `rng`."""
        return {"cell": self.cell.cell, "dtype": np.dtype(self.options.dtype), "rng": rng, **self.cell.options}

    def collate(self, part: Sequence[Any]) -> Any:
        """A batch of examples as arrays, in a tuple or a dictionary, say; where the program is to predict, the outputs
        are None. Where the model is on a GPU the arrays are put there before `loss` gets them; of a tuple that is an
        `IdsOnHost` (`training/examples.py`) the floating-point ones alone."""
        raise NotImplementedError

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: Any) -> tuple[Tensor, int, Any]:
        """The summed loss of a batch.

        Args:
            model: what `build` made.
            batch: what `collate` made.
            rng: draws dropout; None when evaluating.
            state: what the loss of the batch before gave, where the task carries one.

        Returns:
            A scalar Tensor, how many it is the sum of, and the state to carry on from, None for a task that carries
            none.
        """
        raise NotImplementedError

    def batch_loss(
        self, model: Any, batch: Any, rng: np.random.Generator | None, state: Any, reduction: Reduction
    ) -> tuple[Tensor, int, Any]:
        """The sum that `loss` gives, or its mean."""
        found = self.loss(model, batch, rng, state)
        if not (isinstance(found, tuple) and len(found) == 3):
            raise TaskError(f"{self.name}.loss must return a sum, a count and a state (or None), got {_short(found)}")
        total, count, after = found
        if not isinstance(total, Tensor) or total.shape != ():
            raise TaskError(f"{self.name}.loss must return a scalar Tensor first, got {_short(total)}")
        # NumPy's own numbers have a dtype, which would become the loss's.
        count = count.item() if hasattr(count, "item") else count
        if not isinstance(count, int | float) or not 0 <= count < math.inf:
            raise TaskError(f"{self.name}.loss must return second how many it is the sum of, got {_short(count)}")
        if self.carries and not (after is None or is_state(after)):
            raise TaskError(f"{self.name}.loss must return a state that is a tuple of Tensors, got {_short(after)}")
        return (total / max(count, 1) if reduction == "mean" else total), count, after

    # --- Answers -----------------------------------------------------------------------------------------------

    def predict(self, model: Any, batch: Any) -> Sequence[Any]:
        """The outputs that the model gives to the inputs of a batch, one each."""
        raise NotImplementedError

    def score(self, gold: Sequence[Any], said: Sequence[Any]) -> dict[str, float]:
        """Metrics by name, of outputs that are right and those that the model gave."""
        return {"accuracy": accuracy(gold, said)}

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """By name, what simple methods that learn from `train` reach on `test`, in the task's metric: those of METHODS,
        unless told."""
        return self.reached({name: make() for name, make in self.METHODS.items()}, train, test) if self.METHODS else {}

    def metric_of(self, gold: Sequence[Any], said: Sequence[Any]) -> float:
        """The value of the metric, which is not the loss, as `score` gives it. Raises TaskError where it does not."""
        return self._metric_in(self.score(gold, said))

    def _metric_in(self, found: Mapping[str, float]) -> float:
        if not isinstance(found, Mapping):
            raise TaskError(f"{self.name}.score must give numbers by name, got {type(found).__name__}")
        if self.metric not in found:
            raise TaskError(f"{self.name}.score must give the metric {self.metric!r}, got {sorted(found)}")
        return number(self.name, "score", self.metric, found[self.metric])

    def reached(self, methods: Mapping[str, Baseline], train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """By name, what methods that are fitted to `train` reach on `test`, in the task's metric: for `baselines`.
        Nothing where that is the loss, which they have not."""
        if self.metric == "loss":
            return {}
        (inputs, outputs), (asked, gold) = (zip(*part, strict=True) for part in (train, test))
        found: dict[str, float] = {}
        for name, method in methods.items():
            if not all(callable(getattr(method, each, None)) for each in ("fit", "predict")):
                raise TaskError(
                    f"{self.name}: the method {name!r} must have fit(inputs, outputs) and predict(inputs), which "
                    f"{_short(method)} has not"
                )
            try:
                method.fit(inputs, outputs)
                said = method.predict(asked)
            except TextError as error:
                raise TextError(f"{name}: {error}") from None
            found[name] = Reached(self.metric_of(gold, said), without_each(self.metric_of, gold, said))
        return found

    def labels_in(self, outputs: Sequence[Any]) -> Iterable[Hashable]:
        """The labels in outputs, one after the other, of which F1 and confusions are told; none where outputs have
        none. Unless told, an output of a `stratified` task is a label."""
        return outputs if self.stratified else ()

    def views(self, model: Any, examples: Sequence[Any]) -> Sequence[View]:
        """What a trained model did with examples of the part for the result, to be drawn: `inspect --html` and
        `--plot` show it."""
        return ()

    def parse(self, line: str) -> Any:
        """The input that a line of text stands for. Raises TextError."""
        return line.split()

    def write(self, output: Any) -> str:
        """An output as a line of text."""
        several = isinstance(output, Iterable) and not isinstance(output, str)
        return " ".join(map(str, output)) if several else str(output)

    # --- What the program asks, and few tasks change -----------------------------------------------------------

    @classmethod
    def options_and_cell(cls, given: dict[str, Any], trust: bool, note: Note) -> tuple[Any, FoundCell]:
        """The options of a new run, of which `given` were asked for, and its cell. `trust` allows files that a
        checkpoint names, where the run begins with one; `note` is told where they are not as they were. Raises
        OptionError."""
        if trust:
            raise OptionError("--trust is for the files that a checkpoint names: say --resume as well")
        options = cls.Options(**given)
        return options, cls.with_free_names(options, open_cell(options.cell))

    @classmethod
    def with_free_names(cls, options: Any, cell: FoundCell) -> FoundCell:
        """The cell. Raises OptionError where an option of it is called as one that the model has: it could not be given
        both."""
        if taken := [name for name in cell.options if name in cls.reserved]:
            told = f"{taken[0]!r} is an option of the model, and cannot be the cell's"
            raise OptionError(f"cell {options.cell!r}: {told}")
        return cell

    def source(self, note: Note) -> Source:
        """All examples, wherever the options say that they are. Raises TextError, OptionError."""
        options = self.options
        if options.data is None:
            examples = self._checked(self.default(np.random.default_rng(options.seed)), "default")
            return Source(OWN, digest_of(examples), examples)
        named = [None if path is None else self._read(path) for path in self._files()]
        name = ", ".join(path for path in self._files() if path is not None)
        own, valid, test = named
        every = [each for part in named for each in ([] if part is None else [*part, None])]
        return Source(name, digest_of(every), own or [], valid, test)

    def _files(self) -> tuple[str | None, ...]:
        return self.options.data, self.options.valid, self.options.test

    def _three(self, parts: Any) -> Any:
        if not (isinstance(parts, tuple | list) and len(parts) == 3):
            raise TaskError(f"{self.name}.split must give three parts, train, valid and test, got {_short(parts)}")
        return parts

    def _read(self, path: str) -> list[Any]:
        """The examples in a file. Raises TextError, which names the file."""
        shown, examples = shown_name(path), list[Any]()
        try:
            given = self.read(path)
            if not isinstance(given, Iterator):
                return self._checked(given, "read")
            examples.extend(given)
        except TextError as error:
            if shown in str(error):
                raise
            raise TextError(f"{shown}, example {len(examples) + 1:,}: {error}") from None
        return self._checked(examples, "read")

    def _checked(self, given: Any, method: str) -> list[Any]:
        """Examples as a list: where the task predicts, pairs."""
        if not isinstance(given, Iterable):
            raise TaskError(f"{self.name}.{method} must give examples, got {_short(given)}")
        if not (examples := list(given)):
            raise TextError(f"{self.name}.{method} gave no examples")
        for each in examples if self.predicts else []:
            if not (isinstance(each, tuple | list) and len(each) == 2):
                raise TaskError(f"{self.name}.{method} must give pairs (input, output), got {_short(each)}")
        return examples

    def divide(self, source: Any) -> Data:
        """The examples of `source` in three parts; the tables are prepared unless there are some already. Raises
        TextError."""
        if source.valid is not None:
            train, valid, test = source.examples, source.valid, source.test or []
        else:
            train, valid, test = self._three(self.split(source.examples))
            if source.test is not None:
                train, test = [*train, *test], source.test
        for part, examples in (("training", train), ("validation", valid)):
            if not len(examples):
                raise TextError(f"{source.name}: the {part} part must have an example, got none")
        if not self.tables:
            self.tables = self.prepare(train)
            if not isinstance(self.tables, dict):
                raise TaskError(f"{self.name}.prepare must give a dictionary of tables, got {_short(self.tables)}")
            if strange := [name for name in self.tables if not isinstance(name, str)]:
                raise TaskError(f"{self.name}.prepare must give tables by names that are texts, got {strange[0]!r}")
        about = {
            "name": source.name,
            "examples": len(train) + len(valid) + len(test),
            "sha256": source.sha256,
            "split_sha256": digest_of([train, valid, test]),
        }
        return Data(train, valid, test, about)

    def change(self, saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
        """How the split of equal examples differs from the one that was saved; empty where it does not. Both are
        `Data.about`."""
        return "" if saved["split_sha256"] == now["split_sha256"] else "the examples are split in another way now"

    def begin(self, model: Any) -> None:
        """Gives a new model other first weights than `build` did, if any."""

    def check_saved(self, meta: Mapping[str, Any]) -> None:
        """Raises ValueError where the description of a checkpoint, and the tables in it, are none of this task."""
        for name, kind in self.TABLES.items():
            if not isinstance(self.tables.get(name), kind):
                found = type(self.tables[name]).__name__ if name in self.tables else "none"
                raise ValueError(f"its table {name!r} must be of the kind {kind.__name__}, got {found}")

    def check_weights(self, weights: Arrays) -> None:
        """Raises ValueError where the weights of a checkpoint are not of the sizes that the options name: asked before
        memory is taken."""

    def try_out(self, model: Any) -> None:
        """A step of training on nearly nothing, so that a cell that cannot work says so before training."""

    def value(self, found: Evaluation) -> float:
        """The metric of an evaluation; NaN where the loss is no number, and the model is good for nothing. Raises
        TaskError where `score` does not give it."""
        if self.metric == "loss" or not math.isfinite(found.loss):
            return found.loss if self.metric == "loss" else math.nan
        return self._metric_in(found.metrics)

    def better(self, value: float, other: float) -> bool:
        """Whether a value of the metric is better than another."""
        return value > other if self.higher else value < other

    @property
    def worst(self) -> float:
        """What every value of the metric is better than."""
        return -np.inf if self.higher else np.inf

    @property
    def predicts(self) -> bool:
        """Whether there are answers to score."""
        return type(self).predict is not Task.predict


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor of shape {value.shape}"
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return type(value).__name__


class TaskLearner:
    """A task and its model, as `fit` trains them."""

    def __init__(self, task: Task, model: Any) -> None:
        self.task, self.model = task, model

    def batch_loss(
        self, batch: Any, rng: np.random.Generator | None, state: Any, reduction: Reduction
    ) -> tuple[Tensor, int, Any]:
        """See `Task.batch_loss`."""
        return self.task.batch_loss(self.model, batch, rng, state, reduction)
