"""A training run of a language model: everything that it consists of, and that its checkpoint keeps."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.backend import to_host, xp
from tinygrad_rnn.data.batches import Batch
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.optim.schedules import Schedule
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import as_tensor
from tinygrad_rnn.training.building import (
    build_model,
    load_weights,
    load_word_vectors,
    permitted_and_fitting,
    refused,
)
from tinygrad_rnn.training.cell_files import FoundCell, open_cell
from tinygrad_rnn.training.cell_permits import NOTHING_PERMITTED, CellPermit
from tinygrad_rnn.training.fitting import Evaluation, Progress, Record, fit
from tinygrad_rnn.training.optimizers import make_optimizer, make_schedule
from tinygrad_rnn.training.places import found_texts, text_files, with_texts_at
from tinygrad_rnn.training.settings import Settings, SettingsError
from tinygrad_rnn.training.split_identity import split_change
from tinygrad_rnn.training.text_data import Data, make_batches, measure, prepare, read_corpus
from tinygrad_rnn.training.transfer import begin_from

CHANGE_NUMBERS = ("lr", "dropout", "recurrent_dropout", "zoneout", "batch_size")
"""Settings that a run may be resumed with, after which it is no longer the run that was not interrupted."""
_KEEP_NUMBERS = ("epochs", "patience", "threads")
MAY_CHANGE = (*_KEEP_NUMBERS, *CHANGE_NUMBERS)
"""Settings that a run may be resumed with; the others are those of its checkpoint."""
MAY_BE_NAMED_ANEW = ("text", "csv", "valid", "cell")
"""Files that a run may be resumed with: the texts must be the same ones, wherever they are now."""


def new_run_id() -> str:
    """What tells a run from all others, in its checkpoints and its log."""
    return secrets.token_hex(8)


@dataclass
class Run:
    """Everything that a training run consists of; `save` and `resume` keep all of it."""

    settings: Settings
    data: Data
    device: str = "cpu"
    progress: Progress = field(default_factory=Progress)
    best: float = math.inf
    history: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=new_run_id)
    cell: FoundCell | None = None
    """The cell that the settings name, where it has been found already."""
    files: dict[str, str] = field(default_factory=dict)
    """Where the texts that the settings name are, for the checkpoint."""

    def __post_init__(self) -> None:
        seeds = np.random.SeedSequence(self.settings.seed).spawn(2)
        self.cell = open_cell(self.settings.cell) if self.cell is None else self.cell
        self.files = self.files or text_files(self.settings)
        rng = np.random.default_rng(seeds[0])
        self.model = build_model(self.settings, self.data.vocabulary, rng, self.cell).to(self.device)
        self.given_vectors = load_word_vectors(self.settings, self.model, self.data.vocabulary)
        self.known_tokens = 0
        if self.settings.init_from is not None:
            self.known_tokens = begin_from(Path(self.settings.init_from), self.model, self.data.vocabulary)
        self.noise = np.random.default_rng(seeds[1])
        self.optimizer = make_optimizer(self.settings, self.model.named_parameters())
        self.schedule = make_schedule(self.settings, self.optimizer, self.batches)
        self.trouble = 0

    def batches(self, epoch: int) -> list[Batch]:
        """The training batches of an epoch, the same ones each time."""
        rng = np.random.default_rng([self.settings.seed, epoch])
        return make_batches(self.settings, self.data.train, self.device, rng)

    def check_place(self) -> None:
        """Raises ValueError, TypeError where the progress is beyond the batches, or its state is not the model's."""
        batches, progress = self.batches(self.progress.epoch), self.progress
        if progress.batch and progress.batch >= len(batches):
            raise ValueError(f"it is {progress.batch} batches into an epoch, of {len(batches)}")
        if progress.state is not None:
            if not self.settings.streams:
                raise ValueError("it has a state to carry on, and its sentences stand alone")
            with no_grad():
                self.model.hidden(batches[progress.batch].inputs[:1], progress.state)

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
        progress, nats = self.progress, found.nats if math.isfinite(found.nats) else None
        self.history.append(
            {"step": progress.step, "epoch": progress.epoch, "valid_nats": nats, "tokens": found.tokens}
        )
        return better

    def save(self, path: Path) -> None:
        """Writes everything to a checkpoint. Raises OSError."""
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
            "run": self.id,
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
            "files": self.files,
        }
        if self.cell is not None and self.cell.record is not None:
            meta["cell"] = self.cell.record
        checkpoint.save(path, arrays, meta)

    @classmethod
    def resume(
        cls, path: Path, note: Note, device: str = "cpu", permit: CellPermit = NOTHING_PERMITTED, **changes: Any
    ) -> Run:
        """A run as `save` left it; `changes` are settings to change, of those in MAY_CHANGE and MAY_BE_NAMED_ANEW. A
        cell from a file is run only where `permit` says so. Raises CheckpointError, TextError, and SettingsError where
        the corpus is not the one that it was, CellNotRun for a cell that may not run."""
        saved = checkpoint.load(path)
        vocabulary, settings, cell = permitted_and_fitting(path, saved, permit, note)
        changed = _changed_numbers(settings, changes)
        _tell_changes(settings, changes, changed, saved.meta["progress"]["batch"] > 0, note)
        settings = replace(settings, **changes, cell=settings.cell if permit.named is None else permit.named)
        data, files = _same_data(path, settings, saved.meta, vocabulary, changes.keys(), note)
        progress = Progress(**{name: saved.meta["progress"][name] for name in ("epoch", "batch", "step")})
        # Files of word vectors and of another model gave weights to begin with, and are not needed any more.
        run = cls(replace(settings, vectors=None, init_from=None), data, device, progress, cell=cell, files=files)
        run.settings = settings
        run._go_on_from(path, saved, changed)
        if "lr" in changed:
            (run.schedule if isinstance(run.schedule, Schedule) else run.optimizer).lr = settings.learning_rate
        elif "lr" in changes and run.optimizer.lr != settings.learning_rate:
            note(
                f"--lr {settings.learning_rate:g} is what the run began with: it goes on with "
                f"{run.optimizer.lr:g}, to which the schedule has brought it."
            )
        return run

    def _go_on_from(self, path: Path, saved: checkpoint.Checkpoint, changed: set[str]) -> None:
        """Makes it the run that was saved, but for the settings that are `changed`. Raises CheckpointError."""
        meta = saved.meta
        load_weights(path, saved, self.model)
        with refused(path, "a checkpoint that does not say how to go on"):
            _check_waiting_rows(saved.part("optimizer"), meta["optimizer"])
            self.optimizer.load_state_dict({**saved.part("optimizer"), **meta["optimizer"]})
            if self.schedule is not None:
                self.schedule.load_state_dict(meta["schedule"])
            self.noise.bit_generator.state = meta["noise"]
            if "batch_size" in changed:
                self.progress.batch = 0
            else:
                self.progress.state = _state_of(saved.part("state"), self.model)
            self.check_place()
        self.best = math.inf if meta["best"] is None else meta["best"]
        self.trouble, self.history, self.id = meta["trouble"], meta["history"], id_of_run(meta)


def _same_data(
    path: Path, settings: Settings, meta: dict[str, Any], vocabulary: Vocabulary, anew: Collection[str], note: Note
) -> tuple[Data, dict[str, str]]:
    """What the run of a checkpoint learnt from, and where the texts are; those of the settings in `anew` have just been
    named. Raises TextError, and SettingsError where it is not what it was."""
    files = found_texts(settings, path, meta.get("files", {}), anew)
    corpus = read_corpus(with_texts_at(settings, files, anew), note)
    if corpus.sha256 != meta["corpus"]["sha256"]:
        raise SettingsError(f"{path}: the corpus {corpus.name} has changed since the run was saved")
    data = prepare(settings, corpus, vocabulary)
    if change := split_change(meta["corpus"], data.about):
        raise SettingsError(f"{path}: {change}")
    name = corpus.name if {*anew} & {*MAY_BE_NAMED_ANEW} else meta["corpus"]["name"]
    data.about.update(meta["corpus"], name=name)
    return data, files


def _tell_changes(
    settings: Settings, changes: dict[str, Any], changed: set[str], within_epoch: bool, note: Note
) -> None:
    """Says after which changes the run is another one."""
    if (threads := changes.get("threads", settings.threads)) != settings.threads:
        note(
            f"BLAS had --threads {settings.threads} and has {threads} now: sums may be added up in another order, "
            "and the numbers may not be bit for bit those of the run that was not interrupted."
        )
    if changed:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in CHANGE_NUMBERS if name in changed)
        again = ", and the epoch that it was in begins again" if "batch_size" in changed and within_epoch else ""
        note(f"With another {names} the run is no longer bit for bit the one that was not interrupted{again}.")


def _changed_numbers(settings: Settings, changes: dict[str, Any]) -> set[str]:
    """Those of CHANGE_NUMBERS that mean something else with the changes. A learning rate that is given may be the one
    that the optimiser has unless told."""
    wanted = replace(settings, **{name: value for name, value in changes.items() if name in CHANGE_NUMBERS})
    meant = {name: "learning_rate" if name == "lr" else name for name in CHANGE_NUMBERS}
    return {name for name, read in meant.items() if getattr(wanted, read) != getattr(settings, read)}


def id_of_run(meta: dict[str, Any]) -> str:
    """The run that a checkpoint is of, by what it says beside its arrays. An older one does not say: it gets an id from
    what decides the numbers of a run, so that those of one run have the same."""
    if isinstance(meta.get("run"), str):
        return str(meta["run"])
    settings = {name: value for name, value in meta["settings"].items() if name not in _KEEP_NUMBERS}
    decisive = [settings, meta["corpus"]["sha256"], meta["vocabulary"]]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _check_waiting_rows(arrays: checkpoint.Arrays, numbers: dict[str, Any]) -> None:
    """Raises ValueError where rows wait for their decay since a step that has not been."""
    for name, last in arrays.items():
        steps = numbers.get(f"steps.{name.removeprefix('last.')}", 0)
        if name.startswith("last.") and not (last.dtype.kind in "iu" and np.all((last >= 0) & (last <= steps))):
            raise ValueError(f"{name} must hold steps from 0 to {steps}")


def _state_of(arrays: checkpoint.Arrays, model: LanguageModel) -> Any:
    """The carried state from the arrays `i.j` of a checkpoint: state i, and the layer j where the sizes differ."""
    if not arrays:
        return None
    like = model.embedding.weight.data
    groups: dict[int, list[Any]] = {}
    if strange := [name for name in arrays if not re.fullmatch(r"\d{1,9}\.\d{1,9}", name, re.ASCII)]:
        raise ValueError(f"a state must be called by two numbers, got {strange[0]!r}")
    for name in sorted(arrays, key=lambda key: [int(n) for n in key.split(".")]):
        groups.setdefault(int(name.split(".")[0]), []).append(as_tensor(xp(like).asarray(arrays[name])))
    return tuple(parts[0] if len(parts) == 1 else tuple(parts) for _, parts in sorted(groups.items()))
