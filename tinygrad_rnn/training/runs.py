"""A training run of a language model, from its settings to its files, and back from a checkpoint."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import to_host, xp
from tinygrad_rnn.baselines.ngram import ngram_nats_by_order
from tinygrad_rnn.data.corpus import standard_library
from tinygrad_rnn.data.text import (
    Batch,
    Note,
    Vocabulary,
    bucketed,
    read_csv,
    read_text,
    stream,
    tokenize,
    train_valid_split,
)
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.language import CELLS, LanguageModel
from tinygrad_rnn.optim.schedules import CosineDecay, ExponentialDecay, HalveOnRise
from tinygrad_rnn.tensor import as_tensor
from tinygrad_rnn.training.fitting import Evaluation, Progress, Record, evaluate, fit
from tinygrad_rnn.training.settings import Settings, SettingsError, blame, find_cell, make_optimizer

DEFAULT_VOCABULARY = 4000


# --- Data ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corpus:
    """Sentences of tokens, and where they are from."""

    name: str
    sentences: list[list[str]]
    sha256: str

    @property
    def tokens(self) -> int:
        """The number of tokens, sentence marks not counted."""
        return sum(map(len, self.sentences))


def read_corpus(settings: Settings, note: Note) -> Corpus:
    """The corpus that the settings name, in tokens. Raises TextError."""
    lines = settings.lines
    texts: list[str]
    if settings.csv is not None:
        texts, name = read_csv(settings.csv, settings.column), settings.csv
    elif settings.text:
        texts, name = [read_text(path) for path in settings.text], ", ".join(settings.text)
    else:
        library = standard_library(note=note)
        # One sentence a line: Punkt has split it already.
        texts, name, lines = ["\n".join(library.sentences)], library.name, settings.level == "word" or lines
    digest = hashlib.sha256("\x00".join(texts).encode()).hexdigest()
    sentences = tokenize(texts, level=settings.level, lines=lines, lowercase=settings.lowercased, note=note)
    return Corpus(name, sentences, digest)


@dataclass(frozen=True)
class Data:
    """A corpus ready for a model: ids of its training and validation parts."""

    vocabulary: Vocabulary
    train: list[np.ndarray[Any, Any]]
    valid: list[np.ndarray[Any, Any]]
    about: dict[str, Any]
    """Name, size, hash and n-gram baselines, as JSON values."""


def prepare(settings: Settings, corpus: Corpus, vocabulary: Vocabulary | None = None) -> Data:
    """Splits a corpus, and encodes it with a vocabulary of its training part (or the given one)."""
    train, valid = train_valid_split(corpus.sentences, settings.valid_fraction, unbroken=settings.unbroken)
    if vocabulary is None:
        size = settings.vocab_size
        if size is None and settings.level == "word":
            size = min(DEFAULT_VOCABULARY, len(Vocabulary.build(train)))
        vocabulary = Vocabulary.build(train, size)
    about = {
        "name": corpus.name,
        "tokens": corpus.tokens,
        "sentences": len(corpus.sentences),
        "sha256": corpus.sha256,
    }
    return Data(
        vocabulary,
        encode(train, vocabulary, settings),
        encode(valid, vocabulary, settings),
        about,
    )


def encode(sentences: list[list[str]], vocabulary: Vocabulary, settings: Settings) -> list[np.ndarray[Any, Any]]:
    """Sentences as ids, each between its marks; an unbroken text as it is."""
    return [vocabulary.encode(s) if settings.unbroken else vocabulary.encode_sentence(s) for s in sentences]


def batches(
    settings: Settings,
    sentences: list[np.ndarray[Any, Any]],
    device: str = "cpu",
    rng: np.random.Generator | None = None,
) -> list[Batch]:
    """Batches of encoded sentences as the settings say, in a fixed order, or where sentences stand alone in one that
    `rng` draws. Raises TextError where there is nothing to predict."""
    found = (
        stream(sentences, settings.batch_size, settings.steps, start=Vocabulary.start)
        if settings.streams
        else bucketed(sentences, settings.batch_size, padding=Vocabulary.padding, rng=rng)
    )
    return [batch.to(device) for batch in found]


def measure(
    model: LanguageModel, settings: Settings, sentences: list[np.ndarray[Any, Any]], device: str = "cpu"
) -> Evaluation:
    """What the model makes of encoded sentences."""
    return evaluate(model, batches(settings, sentences, device), carry=settings.streams)


def baselines(data: Data, level: str) -> dict[str, float]:
    """Nats per token of interpolated n-grams on the same split and vocabulary, over the tokens that the model is
    asked for: orders 1 to 3 for words, 1 to 5 for characters."""
    highest = 3 if level == "word" else 5
    found = ngram_nats_by_order(data.train, data.valid, highest, data.vocabulary)
    return {str(order): nats for order, nats in enumerate(found, 1)}


# --- The run ---------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """Everything that a training run consists of; `save` and `resume` keep all of it."""

    settings: Settings
    data: Data
    device: str = "cpu"
    progress: Progress = field(default_factory=Progress)
    best: float = math.inf
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        seeds = np.random.SeedSequence(self.settings.seed).spawn(2)
        self.model = build_model(self.settings, self.data.vocabulary, np.random.default_rng(seeds[0])).to(self.device)
        self.noise = np.random.default_rng(seeds[1])
        self.optimizer = make_optimizer(self.settings, self.model.named_parameters())
        self.schedule = self._make_schedule()
        self.trouble = 0

    def _make_schedule(self) -> Any:
        if self.settings.schedule == "halve":
            return HalveOnRise(self.optimizer)
        if self.settings.schedule == "exponential":
            return ExponentialDecay(self.optimizer, 0.9)
        if self.settings.schedule == "cosine":
            if self.settings.epochs is None:
                raise SettingsError("the schedule cosine needs epochs, to know where it ends")
            evaluations = self.settings.epochs
            if self.settings.evaluate_every is not None:
                evaluations = evaluations * len(self.batches(0)) // self.settings.evaluate_every
            return CosineDecay(self.optimizer, max(evaluations, 1), final=0.01)
        return None

    def batches(self, epoch: int) -> list[Batch]:
        """The training batches of an epoch, the same ones each time."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        return batches(self.settings, self.data.train, self.device, rng)

    def steps(self) -> Iterator[Record]:
        """Trains on from where it stands, a Record a step, without end."""
        settings = self.settings
        return fit(
            self.model,
            self.optimizer,
            self.batches,
            progress=self.progress,
            carry=settings.streams,
            rng=self.noise,
            clip_norm=settings.clip_norm,
            clip_limit=settings.clip_value,
        )

    def validate(self) -> Evaluation:
        """Evaluates the model as it is; nothing of the run changes."""
        return measure(self.model, self.settings, self.data.valid, self.device)

    def judge(self, found: Evaluation) -> bool:
        """Takes an evaluation into account (the schedule, the history) and returns whether it is the best so far."""
        better = found.nats < self.best
        self.best = min(self.best, found.nats)
        self.trouble = 0 if better else self.trouble + 1
        if self.schedule is not None:
            self.schedule.step(found.nats)
        nats = found.nats if math.isfinite(found.nats) else None
        self.history.append({"step": self.progress.step, "epoch": self.progress.epoch, "valid_nats": nats})
        return better

    def save(self, path: Path) -> None:
        """Writes everything to a checkpoint."""
        arrays = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        numbers: dict[str, float] = {}
        for name, value in self.optimizer.state_dict().items():
            if isinstance(value, np.ndarray):
                arrays[f"optimizer.{name}"] = value
            else:
                numbers[name] = value
        for i, part in enumerate(self.progress.state or ()):
            for j, each in enumerate(part if isinstance(part, tuple) else (part,)):
                arrays[f"state.{i}.{j}"] = to_host(each.data)
        meta = {
            "task": "language model",
            "settings": self.settings.to_json(),
            "vocabulary": self.data.vocabulary.to_list(),
            "corpus": self.data.about,
            "progress": {k: getattr(self.progress, k) for k in ("epoch", "batch", "step")},
            "optimizer": numbers,
            "schedule": {} if self.schedule is None else self.schedule.state_dict(),
            "noise": self.noise.bit_generator.state,
            "best": None if math.isinf(self.best) else self.best,
            "trouble": self.trouble,
            "history": self.history,
        }
        checkpoint.save(path, arrays, meta)

    @classmethod
    def resume(cls, path: Path, note: Note, device: str = "cpu", **changes: Any) -> Run:
        """A run as `save` left it; `changes` are settings to change (epochs, patience). Raises CheckpointError, and
        SettingsError where the corpus is not the one that it was."""
        saved = checkpoint.load(path)
        vocabulary, settings = _described(path, saved)
        meta = saved.meta
        settings = Settings.from_json({**settings.to_json(), **changes})
        corpus = read_corpus(settings, note)
        if corpus.sha256 != meta["corpus"]["sha256"]:
            raise SettingsError(f"{path}: the corpus {corpus.name} has changed since the run was saved")
        data = prepare(settings, corpus, vocabulary)
        data.about.update(meta["corpus"])
        # The file of word vectors gave weights to begin with, and is not needed any more.
        run = cls(replace(settings, vectors=None), data, device, Progress(**meta["progress"]))
        run.settings = settings
        _load_weights(path, saved, run.model)
        run.optimizer.load_state_dict({**saved.part("optimizer"), **meta["optimizer"]})
        if run.schedule is not None:
            run.schedule.load_state_dict(meta["schedule"])
        run.noise.bit_generator.state = meta["noise"]
        run.progress.state = _state_of(saved.part("state"), run.model)
        run.best = math.inf if meta["best"] is None else meta["best"]
        run.trouble, run.history = meta["trouble"], meta["history"]
        return run


def _state_of(arrays: checkpoint.Arrays, model: LanguageModel) -> Any:
    """The carried state from the arrays `i.j` of a checkpoint: state i, and the layer j where the sizes differ."""
    if not arrays:
        return None
    like = model.output_bias.data
    groups: dict[int, list[Any]] = {}
    for name in sorted(arrays, key=lambda key: [int(n) for n in key.split(".")]):
        groups.setdefault(int(name.split(".")[0]), []).append(as_tensor(xp(like).asarray(arrays[name])))
    return tuple(parts[0] if len(parts) == 1 else tuple(parts) for _, parts in sorted(groups.items()))


# --- Models and checkpoints ------------------------------------------------------------------------------------


def build_model(settings: Settings, vocabulary: Vocabulary, rng: np.random.Generator) -> LanguageModel:
    """The model that the settings describe, with new weights. Raises SettingsError, OSError (a file of word vectors),
    MemoryError."""
    own = settings.cell not in CELLS
    try:
        model = LanguageModel(
            len(vocabulary),
            settings.embedding,
            settings.hidden,
            settings.layers,
            find_cell(settings.cell),
            tied=settings.tied,
            dropout=settings.dropout,
            recurrent_dropout=settings.recurrent_dropout,
            zoneout=settings.zoneout,
            init=settings.init,
            dtype=np.dtype(settings.dtype),
            rng=rng,
        )
        if own:
            _try_out(model)
    except Exception as error:
        if own and not isinstance(error, SettingsError):
            found = blame(error) or f"{type(error).__name__}: {error}"
            raise SettingsError(f"cell {settings.cell!r} cannot be used: {found}") from error
        if isinstance(error, TypeError | ValueError):
            raise SettingsError(str(error)) from error
        raise
    if settings.vectors is not None:
        try:
            model.embedding.load_vectors(settings.vectors, vocabulary.tokens)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    return model


def load_model(path: Path, device: str = "cpu") -> tuple[LanguageModel, Vocabulary, Settings, dict[str, Any]]:
    """A trained model, its vocabulary, its settings and everything else that its checkpoint says. Raises
    CheckpointError, SettingsError."""
    saved = checkpoint.load(path)
    vocabulary, settings = _described(path, saved)
    model = build_model(replace(settings, vectors=None), vocabulary, np.random.default_rng(0))
    _load_weights(path, saved, model)
    return model.to(device), vocabulary, settings, saved.meta


def _try_out(model: LanguageModel) -> None:
    """A step of training on two tokens, so that a cell that cannot work says so before training."""
    ids = np.zeros((2, 1), dtype=np.int64)
    loss, state = model.loss(ids, ids, rng=np.random.default_rng(0))
    model.loss(ids, ids, state=state)
    loss.backward()
    model.zero_grad()


def _load_weights(path: Path, saved: checkpoint.Checkpoint, model: LanguageModel) -> None:
    try:
        model.load_state_dict(saved.part("model"))
    except ValueError as error:
        raise checkpoint.CheckpointError(
            f"{path}: the weights do not fit the model that it describes: {error}"
        ) from None


_PARTS = (
    "vocabulary",
    "settings",
    "corpus",
    "progress",
    "optimizer",
    "schedule",
    "noise",
    "best",
    "trouble",
    "history",
)
"""What `Run.save` writes beside the arrays."""


def _described(path: Path, saved: checkpoint.Checkpoint) -> tuple[Vocabulary, Settings]:
    if saved.meta.get("task") != "language model":
        raise checkpoint.CheckpointError(f"{path}: a checkpoint of a language model was expected")
    if missing := [key for key in _PARTS if key not in saved.meta]:
        raise checkpoint.CheckpointError(f"{path}: an incomplete checkpoint, without its {', '.join(missing)}")
    try:
        return Vocabulary.from_list(saved.meta["vocabulary"]), Settings.from_json(saved.meta["settings"])
    except (KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{path}: a checkpoint with incomplete settings ({error})") from None


# --- Training to the end ---------------------------------------------------------------------------------------


class Listener:
    """Is told what happens in a run; does nothing itself."""

    def step(self, record: Record) -> None:
        """After every step."""

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        """After every evaluation."""


def train(run: Run, out: Path, listener: Listener, budget: float | None = None) -> str:
    """Trains until the epochs, the patience or the `budget` (seconds) are used up, or Ctrl-C is pressed; keeps
    `best.safetensors` and `last.safetensors` in `out`. Returns in a few words why it ended.

    A run that ends within an epoch is saved as it was before its last evaluation, so that resuming it gives the run
    that was not interrupted."""
    settings = run.settings
    best, last = out / "best.safetensors", out / "last.safetensors"
    if settings.epochs is not None and run.progress.epoch >= settings.epochs:
        return f"{_epochs(settings.epochs)} done already"
    end = math.inf if budget is None else time.monotonic() + budget
    # A run that ended within an epoch was evaluated once more after it was saved: what is kept may be better than it
    # knows.
    kept = min(run.best, _kept(best, run))
    with _Interrupt() as interrupt:
        for record in run.steps():
            listener.step(record)
            every = settings.evaluate_every
            due = record.last_of_epoch if every is None else record.step % every == 0
            if due:
                found = run.validate()
                better = run.judge(found)
                if found.nats < kept:
                    kept = found.nats
                    run.save(best)
                run.save(last)
                listener.evaluation(record, found, better)
            why = _reason_to_end(run, interrupt.pressed, time.monotonic() >= end)
            if why and not due:
                run.save(last)
                found = run.validate()
                better = found.nats < kept
                if better:
                    run.best = found.nats
                    run.save(best)
                listener.evaluation(record, found, better)
            if why:
                return why
    raise AssertionError("fit does not end by itself")


def _kept(best: Path, run: Run) -> float:
    """The nats per token of the model that a run which goes on has kept; infinity for a new run."""
    if not run.progress.step or not best.is_file():
        return math.inf
    try:
        meta = checkpoint.load(best).meta
    except checkpoint.CheckpointError:
        return math.inf
    same = meta.get("corpus", {}).get("sha256") == run.data.about["sha256"] and meta.get("best") is not None
    return float(meta["best"]) if same else math.inf


def _reason_to_end(run: Run, interrupted: bool, late: bool) -> str:
    settings = run.settings
    if settings.epochs is not None and run.progress.epoch >= settings.epochs:
        return f"{_epochs(settings.epochs)} done"
    if settings.patience is not None and run.trouble >= settings.patience:
        return (
            "no better for an evaluation" if settings.patience == 1 else f"no better in {settings.patience} evaluations"
        )
    if interrupted:
        return "interrupted"
    return "the time budget is used up" if late else ""


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


class _Interrupt:
    """Within it Ctrl-C asks for an end after the step in progress; pressed again, it interrupts as usual."""

    def __enter__(self) -> _Interrupt:
        self.pressed = False
        self.before: Any = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, self.before)

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
