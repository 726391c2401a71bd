"""The classic problems of long memory: what stood many steps back decides. Each is a task, which `--problem` names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.baselines.frequencies import MostFrequent
from tinygrad_rnn.baselines.logistic import LogisticRegression
from tinygrad_rnn.baselines.ngram import token_nats_by_order
from tinygrad_rnn.baselines.places import AtPlaces
from tinygrad_rnn.baselines.regression import LinearRegression, MeanOutput
from tinygrad_rnn.data.grammars import GRAMMARS, STRING_END
from tinygrad_rnn.data.long_memory import DISTRACTING, RECALLED, TELLING, adding, counting, temporal_order, to_copy
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.views import Chart, HeatMap, View
from tinygrad_rnn.metrics.classes import accuracy
from tinygrad_rnn.metrics.jackknife import mean_without_each, without_each
from tinygrad_rnn.models.layers import Linear
from tinygrad_rnn.models.module import Module
from tinygrad_rnn.models.pooling import last
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.training.comparing import Reached
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.options import SIZE, OptionError, TrainingOptions, option
from tinygrad_rnn.training.task import Task

NEAR = 0.04
"""A sum that is no farther off is right (Hochreiter & Schmidhuber 1997)."""
LIKELY = 0.1
"""What is at least as probable is among the symbols that `predict` says."""
LARGEST_NUMBER = float(np.finfo(np.float32).max)
"""That `predict` takes."""
FAST = {"lr": 5e-3, "schedule": "halve"}
"""Of problems that stay learnt at such steps."""


class FrameReader(Module):
    """A recurrent layer that reads frames (T,B,I), and a linear output of what it then knows."""

    def __init__(self, inputs: int, hidden: int, outputs: int, **layer: Any) -> None:
        self.recurrent = Recurrent(input_size=inputs, hidden_size=hidden, **layer)
        self.output = Linear(self.recurrent.output_size, outputs, dtype=layer["dtype"], rng=layer["rng"])

    def at_each_step(self, xs: Any, lengths: Any) -> Tensor:
        """(T,B,O)."""
        return self.output(self.recurrent(xs, lengths=lengths)[0])

    def at_end(self, xs: Any, lengths: Any) -> Tensor:
        """(B,O), after each row's own last step."""
        return self.output(last(self.recurrent(xs, lengths=lengths)[0], lengths))


class Memory(Task):
    """Train a recurrent network on a classic problem of long memory: the sum of two numbers that were marked, the order
    of two symbols, strings of a grammar, a copy after a delay, a^n b^n. `predict` takes numbers between spaces, two of
    them marked (0.5*), or a line of symbols."""

    class Options(TrainingOptions):
        PROBLEMS = {  # noqa: RUF012  # which nothing changes
            "adding": {"hidden": 32, "examples": 12500, "epochs": 8, **FAST},
            "order": {"examples": 6500, "valid_fraction": 0.2, "patience": 3, **FAST, "lr": 2e-3},
            "reber": {"hidden": 48, "patience": 3, **FAST},
            "embedded-reber": {"hidden": 48, "patience": 4, **FAST},
            "dyck": {"hidden": 48, "patience": 4, **FAST},
            "copy": {"length": 10, "examples": 20000, **FAST},
            "anbn": {"length": 40, "examples": 1000, "hidden": 8, "lr": 1e-2, "epochs": 150, "patience": 40},
        }

        cell: str = option(
            default="lstm", help="rnn, gru, lstm, a variant, or your own: FILE.py:Class.", metavar="CELL"
        )
        hidden: int = 64
        length: int = option(
            default=100,
            help="Steps of adding and of order; the delay of copy; of anbn the longest n, of which half is trained on.",
            rule=SIZE,
        )
        examples: int = option(default=5000, help="How many are drawn.", rule=SIZE)

    symbols: Sequence[str] = ""
    """What each of the I numbers of a frame stands for."""
    shortest = 1
    """The least `length` that makes sense."""

    def __new__(cls, options: Any, *rest: Any) -> Memory:
        """The task of the problem that the options name."""
        return super().__new__(PROBLEMS.get(options.problem, Adding) if cls is Memory else cls)

    def __init__(self, options: Any, *rest: Any) -> None:
        super().__init__(options, *rest)
        if options.length < self.shortest:
            raise OptionError(f"length must be at least {self.shortest} for {options.problem}, got {options.length}")

    @property
    def answers(self) -> Sequence[str]:
        """What each of the O numbers of an output stands for."""
        return self.symbols

    def size(self, example: Any) -> int:
        """Batches are of all lengths: short strings by themselves would say that strings end soon."""
        return 1

    def build(self, rng: np.random.Generator) -> FrameReader:
        sizes = len(self.symbols), self.options.hidden, len(self.answers)
        return FrameReader(*sizes, **self.layer_options(rng))

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        frames, lengths = padded([self.frames(given) for given, _ in part])
        targets = None if part[0][1] is None else self.targets([output for _, output in part])
        return IdsOnHost((frames.astype(self.options.dtype), lengths, targets))

    def frames(self, given: Any) -> HostArray:
        """What the layer reads of an input, (T,I): of symbols the number of each is 1."""
        return np.eye(len(self.symbols))[self.numbers(self.whole(given))]

    def whole(self, given: str) -> str:
        """All symbols that are read of an input."""
        return given

    def numbers(self, symbols: str) -> HostArray:
        """The numbers of symbols (T,), and of any others -1."""
        return np.array([self.symbols.index(each) if each in self.symbols else -1 for each in symbols], dtype=np.int64)

    def targets(self, outputs: Sequence[Any]) -> HostArray:
        """What the loss is to know of outputs."""
        raise NotImplementedError

    def parse(self, line: str) -> Any:
        """Symbols, with or without spaces."""
        text, known = "".join(line.split()), "".join(self.symbols).strip(".:")
        if strange := text.strip(known):
            raise TextError(f"a line must be of the symbols {' '.join(known)}, got {strange[0]!r}")
        return text

    def views(self, model: Any, examples: Sequence[Any]) -> list[View]:
        """How probable each answer is at each step of the first example."""
        frames, lengths, _ = self.collate(examples[:1])
        likely = ops.softmax(model.at_each_step(frames, lengths), axis=-1).numpy()[:, 0].T
        title = f"{self.options.problem}: how probable each answer is, after each symbol"
        return [HeatMap(title, likely, list(self.answers), list(self.whole(examples[0][0])))]


class Adding(Memory):
    """The sum of the two numbers that are marked: many to one."""

    metric, higher, loss_unit = "mse", False, "mse"
    METHODS = {"always the mean": MeanOutput, "linear regression": LinearRegression}  # noqa: RUF012
    symbols, shortest = ("number", "mark"), 2

    @property
    def answers(self) -> Sequence[str]:
        return ("sum",)

    def default(self, rng: np.random.Generator) -> list[tuple[HostArray, float]]:
        return adding(rng, self.options.examples, self.options.length)

    def frames(self, given: Any) -> Any:
        return given

    def targets(self, outputs: Sequence[float]) -> HostArray:
        return np.array(outputs, dtype=self.options.dtype)

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        xs, lengths, targets = batch
        return ops.mse(model.at_end(xs, lengths)[:, 0], targets, reduction="sum"), len(targets), None

    def predict(self, model: Any, batch: Any) -> list[float]:
        return model.at_end(*batch[:2]).numpy()[:, 0].tolist()  # type: ignore[no-any-return]  # a model's

    def score(self, gold: Sequence[float], said: Sequence[float]) -> dict[str, float]:
        off = np.abs(np.subtract(gold, said))
        return {"mse": float(np.mean(off**2)), f"within {NEAR}": float(np.mean(off <= NEAR))}

    def figures(self, found: Evaluation) -> list[tuple[str, str]]:
        """Without the squared error, which is the loss."""
        return [each for each in super().figures(found) if each[0] != self.metric]

    def parse(self, line: str) -> HostArray:
        """Numbers between spaces; a star stands behind those to be added."""
        words = line.split()
        try:
            numbers = [float(word.removesuffix("*")) for word in words]
        except ValueError:
            numbers = [math.nan]
        marks = [word.endswith("*") for word in words]
        if not all(abs(number) <= LARGEST_NUMBER for number in numbers) or sum(marks) != 2:
            raise TextError(f"a line must be of numbers, two of them marked, such as 0.2 0.5* 0.7 0.1*, got {line!r}")
        return np.array([numbers, marks], dtype=np.float32).T

    def write(self, output: float) -> str:
        return f"{output:.4f}"

    def views(self, model: Any, examples: Sequence[Any]) -> list[View]:
        """The sums that are right, the smallest first, and those that the model gave."""
        some = sorted(examples[:50], key=lambda example: float(example[1]))
        said = self.predict(model, self.collate(some))
        lines = {"right": np.array([output for _, output in some]), "said": np.array(said)}
        return [Chart("adding: the sums of test examples", np.arange(1, len(some) + 1), lines, y_title="sum")]


class Order(Memory):
    """In which order two symbols came: many to one."""

    METHODS = {  # noqa: RUF012
        "most frequent": MostFrequent,
        "bag of symbols": LogisticRegression,
        "linear in symbols at places": lambda: AtPlaces(LogisticRegression()),
    }
    stratified = True
    symbols, shortest = DISTRACTING + TELLING, 10

    @property
    def answers(self) -> Sequence[str]:
        return [first + second for first in TELLING for second in TELLING]

    def default(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        return temporal_order(rng, self.options.examples, self.options.length)

    def targets(self, outputs: Sequence[str]) -> HostArray:
        return np.array([self.answers.index(output) for output in outputs])

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        xs, lengths, targets = batch
        return ops.softmax_cross_entropy(model.at_end(xs, lengths), targets, reduction="sum"), len(targets), None

    def predict(self, model: Any, batch: Any) -> list[str]:
        return [self.answers[i] for i in model.at_end(*batch[:2]).numpy().argmax(-1)]


class EachStep(Memory):
    """A symbol after each symbol: many to many."""

    metric, higher, counted = "loss", False, "symbols"

    def targets(self, outputs: Sequence[str]) -> HostArray:
        return padded([self.numbers(output) for output in outputs], -1)[0]

    def loss(self, model: Any, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        logits = model.at_each_step(*batch[:2])
        total = ops.softmax_cross_entropy(logits, batch[2], ignore_index=-1, reduction="sum")
        return total, int((batch[2] >= 0).sum()), None

    def reached_by(self, test: Sequence[Any], nats: Callable[[str, str], float]) -> Reached:
        """The nats per symbol of a method that has so many for an example, and without each block of the batches in
        which a model is asked."""
        parts = self.batches(test, self.options.batch_size, None)
        sums = [sum(nats(*example) for example in part) for part in parts]
        counts = [int((self.targets([output for _, output in part]) >= 0).sum()) for part in parts]
        return Reached(sum(sums) / sum(counts), mean_without_each(sums, counts))

    def predict(self, model: Any, batch: Any) -> list[Any]:
        """Log-probabilities of all symbols after each, (T,V) for each input, as `said` makes answers of them."""
        rows = ops.log_softmax(model.at_each_step(*batch[:2]), axis=-1).numpy()
        return [self.said(rows[:length, b]) for b, length in enumerate(to_host(batch[1]))]

    def said(self, row: HostArray) -> Any:
        return "".join(self.symbols[i] for i in row.argmax(-1))


class Copying(EachStep):
    """Symbols, again after a delay. Meanwhile "." is to be said; ":" says that the delay is over."""

    symbols = RECALLED + ".:"

    def default(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        return to_copy(rng, self.options.examples)

    def whole(self, given: str) -> str:
        return f"{given}{'.' * (self.options.length - 1)}:{'.' * len(given)}"

    def targets(self, outputs: Sequence[str]) -> HostArray:
        return super().targets(["." * (self.options.length + len(output)) + output for output in outputs])

    def said(self, row: HostArray) -> Any:
        return super().said(row[(len(row) + self.options.length) // 2 :])

    def score(self, gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
        return {"recalled": accuracy("".join(gold), "".join(said))}

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """Who knows when to speak, and not what."""
        return {"memoryless": self.reached_by(test, lambda text, _: len(text) * math.log(len(RECALLED)))}


class Counting(EachStep):
    """a^n b^n, on larger n than were trained on: where only one symbol may follow, which? (Gers & Schmidhuber 2001)"""

    symbols, shortest = STRING_END + "ab", 4

    def default(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        return counting(rng, self.options.examples, self.options.length)

    def split(self, examples: Sequence[Any]) -> Any:
        """n to half of `length` trains, to three quarters validates, and the rest tests."""
        parts: tuple[list[Any], ...] = [], [], []
        for example in examples:
            parts[max(0, (2 * len(example[0]) - 1) // self.options.length - 1)].append(example)
        return parts

    def score(self, gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
        """How many strings are right in all their symbols that can be."""
        pairs = [zip(*each, strict=True) for each in zip(gold, said, strict=True)]
        return {"accuracy": float(np.mean([all(right in ("?", one) for right, one in pair) for pair in pairs]))}

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """Who knows how often strings end."""
        learnt = "".join(output for _, output in train).replace("?", "")
        nats = {each: -math.log((learnt.count(each) + 1) / (len(learnt) + 2)) for each in "b."} | {"?": 0.0}
        return {"memoryless": self.reached_by(test, lambda _, output: sum(nats[each] for each in output))}


class Grammatical(EachStep):
    """How probable each symbol is after those before it, against what the grammar says."""

    metric = "excess"

    def __init__(self, options: Any, *rest: Any) -> None:
        super().__init__(options, *rest)
        self.grammar = GRAMMARS[options.problem]
        self.symbols = self.grammar.symbols

    def default(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        return [(text, text + STRING_END) for text in (self.grammar.draw(rng) for _ in range(self.options.examples))]

    def whole(self, given: str) -> str:
        return STRING_END + given

    def said(self, row: HostArray) -> HostArray:
        return row

    def score(self, gold: Sequence[str], said: Sequence[HostArray]) -> dict[str, float]:
        right = [row[np.arange(len(row)), self.numbers(text)].sum() for text, row in zip(gold, said, strict=True)]
        return self._against_entropy(-float(sum(right)), gold)

    def _against_entropy(self, nats: float, gold: Sequence[str]) -> dict[str, float]:
        """By how much the nats of these very strings are more than the grammar has, and what it has for a symbol."""
        least = sum(self.grammar.nats(text.removesuffix(STRING_END)) for text in gold)
        return {"excess": nats / least - 1, "entropy": least / sum(map(len, gold))}

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        vocabulary = Vocabulary.build(output for _, output in train)
        gold = [output for _, output in test]
        learnt, asked = ([vocabulary.encode_sentence(text)[:-1] for _, text in part] for part in (train, test))
        ends = np.cumsum([len(ids) for ids in asked])[:-1]
        found: dict[str, float] = {}
        for order, nats in enumerate(token_nats_by_order(learnt, asked, 10, vocabulary), 1):
            of_strings = [float(np.nansum(each)) for each in np.split(nats, ends)]
            if order in (2, 3, 4, 6, 10):
                value = self._excess(gold, of_strings)
                found[f"{order}-grams"] = Reached(value, without_each(self._excess, gold, of_strings))
        return found

    def _excess(self, gold: Sequence[str], nats: Sequence[float]) -> float:
        return self._against_entropy(sum(nats), gold)["excess"]

    def write(self, output: HostArray) -> str:
        """After each symbol, and before the first, those that may well follow, the likeliest first."""
        likely = [[i for i in np.argsort(-row, kind="stable") if row[i] >= math.log(LIKELY)] for row in output]
        return " ".join("".join(self.symbols[i] for i in each) for each in likely)


PROBLEMS: dict[str, type[Memory]] = {
    "adding": Adding,
    "order": Order,
    "reber": Grammatical,
    "embedded-reber": Grammatical,
    "dyck": Grammatical,
    "copy": Copying,
    "anbn": Counting,
}
"""The task of each problem."""
