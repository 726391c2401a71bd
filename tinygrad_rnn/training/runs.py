"""A training run: everything that it consists of, and that its checkpoint keeps."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.notes import notes_of_layers
from tinygrad_rnn.optim.schedules import Schedule
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.training.building import build_model, load_weights, model_of, seeds_of
from tinygrad_rnn.training.carried import state_arrays, state_of
from tinygrad_rnn.training.engine import products_of, with_engine_again
from tinygrad_rnn.training.examples import OWN, Data, LazyBatches, moved
from tinygrad_rnn.training.fitting import Evaluation, Progress, Record, fit
from tinygrad_rnn.training.measuring import Measured, measure
from tinygrad_rnn.training.memory_limits import telling_what_fits
from tinygrad_rnn.training.optimizers import make_optimizer, make_schedule
from tinygrad_rnn.training.options import OptionError, RunOptions
from tinygrad_rnn.training.penalties import penalised, penalties_of
from tinygrad_rnn.training.places import found_files, places_of
from tinygrad_rnn.training.saved_runs import KEEP_NUMBERS, id_of_run, refused, tables_to_json
from tinygrad_rnn.training.sharing import (
    check_alike,
    gathered_noise,
    gathered_state,
    own_noise,
    own_state,
    restore_noise,
)
from tinygrad_rnn.training.task import Task, TaskLearner

CHANGE_NUMBERS = ("lr", "dropout", "recurrent_dropout", "zoneout", "batch_size")
"""Options that a run may be resumed with, after which it is no longer the run that was not interrupted."""
MAY_CHANGE = (*KEEP_NUMBERS, *CHANGE_NUMBERS)
"""Options that a run may be resumed with; the others are those of its checkpoint."""


def may_change(options: type[RunOptions]) -> list[str]:
    """Those of MAY_CHANGE that there are."""
    there = {each.name for each in options.all_about()}
    return [name for name in MAY_CHANGE if name in there]


def may_be_named_anew(options: type[RunOptions]) -> list[str]:
    """Files that a run may be resumed with: the examples must be the same ones, wherever they are now."""
    return [*options.FILES, "cell"]


def new_run_id() -> str:
    """What tells a run from all others, in its checkpoints and its log."""
    return secrets.token_hex(8)


@dataclass
class Run:
    """Everything that a training run consists of; `save` and `resume` keep all of it."""

    task: Task
    data: Data
    device: str = "cpu"
    progress: Progress = field(default_factory=Progress)
    best: float = math.nan
    """The best value of the task's metric so far."""
    history: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=new_run_id)
    places: dict[str, str] = field(default_factory=dict)
    """Where the files that the options name are, for the checkpoint."""
    products: Mapping[str, bool] | None = None
    """What `products_of` gave where a run that goes on began."""
    model: Any = None
    """None for one with first weights."""
    ranks: Ranks = ONE_PROCESS
    """Those that train it together."""

    def __post_init__(self) -> None:
        seeds = seeds_of(self.task)
        self.places = self.places or places_of(self.options)
        if math.isnan(self.best):
            self.best = self.task.worst
        if self.model is None:
            self.model = build_model(self.task, np.random.default_rng(seeds[0])).to(self.device)
            self.task.begin(self.model)
        self.noise = own_noise(seeds[1], self.ranks)
        self.optimizer = make_optimizer(self.options, self.model.named_parameters(), self.ranks)
        self.schedule = make_schedule(self.options, self.optimizer, self.batches)
        self.trouble = 0

    @property
    def options(self) -> Any:
        """What the run was told."""
        return self.task.options

    def batches(self, epoch: int) -> LazyBatches:
        """The training batches of an epoch, the same ones each time. Of several ranks each has its share of every
        batch, None where that has fewer rows than there are ranks."""
        rng = np.random.default_rng([self.options.seed, epoch])
        parts = self.task.batches(self.data.train, self.options.batch_size, rng)
        return LazyBatches(parts, self._batch)

    def _batch(self, part: Any) -> Any:
        share = part if self.ranks.size == 1 else self.task.share(part, self.ranks)
        return None if share is None else moved(self.task.collate(share), self.device)

    def check_place(self) -> None:
        """Raises ValueError, TypeError where the progress is beyond the batches, or its state is not the model's."""
        batches, progress = self.batches(self.progress.epoch), self.progress
        if progress.batch and progress.batch >= len(batches):
            raise ValueError(f"it is {progress.batch} batches into an epoch, of {len(batches)}")
        if progress.state is not None:
            if not self.task.carries:
                raise ValueError("it has a state to carry on, and its batches stand alone")
            if (batch := batches[progress.batch]) is not None:
                with no_grad():
                    self.task.loss(self.model, batch, None, progress.state)

    def steps(self) -> Iterator[Record]:
        """Trains on from where it stands, a Record a step, without end. Raises MemoryError, which names a batch size
        that fits."""
        options = self.options
        with telling_what_fits(options.batch_size, self.device, self._try_passes):
            yield from fit(
                TaskLearner(self.task, self.model),
                self.optimizer,
                self.batches,
                progress=self.progress,
                carry=self.task.carries,
                rng=self.noise,
                clip_norm=options.clip_norm,
                clip_limit=options.clip_value,
                penalties=penalties_of(options.penalty),
                ranks=self.ranks,
            )

    def _try_passes(self, batch_size: int) -> None:
        """Forward and backward over the longest batches of that size, of which the last may have fewer rows."""
        named = self.options
        self.task.options = named.changed(batch_size=batch_size)
        try:
            batches = LazyBatches(self.task.batches(self.data.train, batch_size, None), self._batch)
            for batch in batches[-2:]:
                if batch is not None:
                    loss, _, _ = TaskLearner(self.task, self.model).batch_loss(batch, None, None, "mean")
                    loss.backward()
        finally:
            self.optimizer.zero_grad()
            self.task.options = named

    def check_penalties(self) -> None:
        """Raises OptionError for a penalty of which no cell of the model notes anything."""
        penalties = penalties_of(self.options.penalty)
        if penalties and (batch := self.batches(0)[0]) is not None:
            with no_grad(), notes_of_layers() as noted:
                loss, _, _ = TaskLearner(self.task, self.model).batch_loss(batch, None, None, "mean")
                try:
                    penalised(loss, noted, penalties)
                except ValueError as error:
                    raise OptionError(str(error)) from None

    def validate(self) -> Measured:
        """Evaluates the model as it is on the validation part; nothing of the run changes."""
        return self.measured(self.data.valid)

    def measured(self, examples: Sequence[Any]) -> Measured:
        """Evaluates the model as it is on examples; nothing of the run changes."""
        return measure(self.task, self.model, examples, self.device, self.ranks)

    def judge(self, found: Evaluation) -> bool:
        """Takes an evaluation into account (the schedule, the history) and returns whether it is the best so far."""
        value = self.task.value(found)
        better = self.task.better(value, self.best) or self.advances(found)
        if better:
            self.best = value
        self.trouble = 0 if better else self.trouble + 1
        if self.schedule is not None:
            self.schedule.step(found.loss)
        self.history.append({"step": self.progress.step, "epoch": self.progress.epoch, **figures_of(self.task, found)})
        return better

    def advances(self, found: Evaluation) -> bool:
        """Whether an evaluation is better than those before it though the metric is what it was from the first: answers
        that are to be right as a whole are wrong for long while the loss falls."""
        name, unit = self.task.metric, f"valid_{self.task.loss_unit}"
        if name == "loss" or not self.history or {each[name] for each in self.history} != {self.task.value(found)}:
            return False
        return all(each[unit] is None or found.loss < each[unit] for each in self.history)

    def save(self, path: Path) -> None:
        """Writes everything to a checkpoint. Of several ranks all must call it, and the first one writes. Raises
        OSError."""
        carried = {} if self.progress.state is None else state_arrays(self.progress.state)
        carried, noise = gathered_state(carried, self.ranks), gathered_noise(self.noise, self.ranks)
        kept = {} if self.ranks.rank and not self.options.split_optimizer else self.optimizer.state_dict()
        if self.ranks.rank:
            return
        arrays = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        numbers: dict[str, float] = {}
        for name, value in kept.items():
            if isinstance(value, np.ndarray):
                arrays[f"optimizer.{name}"] = value
            else:
                numbers[name] = value
        arrays |= {f"state.{name}": array for name, array in carried.items()}
        meta = {
            "task": self.task.name,
            "run": self.id,
            "settings": self.options.to_json(),
            "tables": tables_to_json(self.task.tables),
            "data": self.data.about,
            "progress": {k: getattr(self.progress, k) for k in ("epoch", "batch", "step")},
            "optimizer": numbers,
            "schedule": {} if self.schedule is None else self.schedule.state_dict(),
            "best": self.best if math.isfinite(self.best) else None,
            "trouble": self.trouble,
            "history": self.history,
            "files": self.places,
            "products": products_of(self.options, self.device, self.products),
            **noise,
        }
        if self.task.cell.record is not None:
            meta["cell"] = self.task.cell.record
        if self.task.record is not None:
            meta["task_file"] = self.task.record
        checkpoint.save(path, arrays, meta)

    @classmethod
    def resume(
        cls,
        path: Path,
        saved: checkpoint.Checkpoint,
        task: Task,
        note: Note,
        device: str = "cpu",
        ranks: Ranks = ONE_PROCESS,
        **changes: Any,
    ) -> Run:
        """The run that `save` wrote.

        Args:
            path, saved: the checkpoint, and what was loaded from there.
            task: what it describes.
            note: is told of changes.
            device: "cpu" or "cuda".
            ranks: those that train it together from now on.
            changes: options to change, of those in MAY_CHANGE and files to be found elsewhere.

        Raises:
            CheckpointError, TextError: something cannot be read.
            OptionError: the examples are not what they were.
        """
        before = task.options
        changed = _changed_numbers(before, changes)
        _tell_changes(before, changes, changed, saved.meta["progress"]["batch"] > 0, note)
        task.options, task.ranks = with_engine_again(before, changes, device, note), ranks
        data, places = _same_data(path, task, saved.meta, changes.keys(), note)
        progress = Progress(**{name: saved.meta["progress"][name] for name in ("epoch", "batch", "step")})
        products = saved.meta.get("products")
        model = model_of(path, saved, task).to(device)
        run = cls(task, data, device, progress, places=places, products=products, model=model, ranks=ranks)
        run._go_on_from(path, saved, changed, note)
        if "lr" in changed:
            (run.schedule if isinstance(run.schedule, Schedule) else run.optimizer).lr = task.options.learning_rate
        elif "lr" in changes and run.optimizer.lr != task.options.learning_rate:
            note(
                f"--lr {task.options.learning_rate:g} is what the run began with: it goes on with "
                f"{run.optimizer.lr:g}, to which the schedule has brought it."
            )
        run.check_alike()
        return run

    def check_alike(self) -> None:
        """The run has the same name on all ranks. Raises RanksError where they do not begin alike."""
        if self.ranks.size > 1:
            options, tables = self.options.to_json(), tables_to_json(self.task.tables)
            # Machines may have other numbers of processors; the checkpoint has that of rank 0.
            told = {name: value for name, value in options.items() if name != "threads"}
            known = {f"--{name.replace('_', '-')}": value for name, value in told.items()}
            known["examples"] = _identity(self.data.about)
            known |= {f"the table {name!r}": table for name, table in tables.items()}
            check_alike(self.ranks, {**known, "first weights": self.model.state_dict()})
            self.id = self.ranks.broadcast(self.id)

    def part(self) -> None:
        """From now on this process is by itself: the other ranks are done."""
        if self.ranks.size > 1:
            self.ranks.parted, self.ranks = True, ONE_PROCESS

    def _go_on_from(self, path: Path, saved: checkpoint.Checkpoint, changed: set[str], note: Note) -> None:
        """Makes it the run that was saved, but for the options that are `changed`. Raises CheckpointError."""
        meta = saved.meta
        load_weights(path, saved, self.model)
        with refused(path, "a checkpoint that does not say how to go on"):
            _check_waiting_rows(saved.part("optimizer"), meta["optimizer"])
            self.optimizer.load_state_dict({**saved.part("optimizer"), **meta["optimizer"]})
            if self.schedule is not None:
                self.schedule.load_state_dict(meta["schedule"])
            seed, noisy = self.options.seed, self.options.noisy
            self.noise = restore_noise(self.noise, meta, seed, self.ranks, noisy, note)
            if "batch_size" in changed:
                self.progress.batch = 0
            else:
                self.progress.state = state_of(own_state(saved.part("state"), self.ranks), self.model)
            self.check_place()
        self.best = self.task.worst if meta["best"] is None else meta["best"]
        self.trouble, self.history, self.id = meta["trouble"], meta["history"], id_of_run(meta)


def _identity(about: Mapping[str, Any]) -> list[Any]:
    """What tells examples, and their parts, from others."""
    return [about["sha256"], about.get("split_sha256")]


def figures_of(task: Task, found: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON values: the loss by its unit, what it counts, the metrics; null for no finite number."""
    figures = {f"valid_{task.loss_unit}": found.loss, task.counted: found.count, **found.metrics}
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def saved_data(path: Path, task: Task, meta: dict[str, Any], note: Note) -> Data:
    """What the run of a checkpoint learnt from. Raises TextError, and OptionError where it is not what it was."""
    return _same_data(path, task, meta, (), note)[0]


def _same_data(
    path: Path, task: Task, meta: dict[str, Any], anew: Collection[str], note: Note
) -> tuple[Data, dict[str, str]]:
    """What the run of a checkpoint learnt from, and where its files are; those of the options in `anew` have just been
    named. Raises TextError, and OptionError where it is not what it was."""
    named = task.options
    places = found_files(named, path, meta.get("files", {}), anew)
    task.options = named.with_files_at(places, frozenset(anew))
    source = task.source(note)
    if source.sha256 != meta["data"]["sha256"]:
        hint = ": `default` must draw by `rng` alone, and go through no set" if source.name == OWN else ""
        raise OptionError(f"{path}: the {task.source_called} {source.name} has changed since the run was saved{hint}")
    data = task.divide(source)
    task.options = named
    if change := task.change(meta["data"], data.about):
        raise OptionError(f"{path}: {change}")
    name = source.name if {*anew} & {*may_be_named_anew(type(named))} else meta["data"]["name"]
    data.about.update(meta["data"], name=name)
    return data, places


def _tell_changes(
    options: RunOptions, changes: dict[str, Any], changed: set[str], within_epoch: bool, note: Note
) -> None:
    """Says after which changes the run is another one."""
    if (threads := changes.get("threads", options.threads)) != options.threads is not None:
        note(
            f"The run had --threads {options.threads} and has {threads} now: sums may be added up in another order, "
            "and the numbers may not be bit for bit those of the run that was not interrupted."
        )
    if (engine := changes.get("engine", options.engine)) != options.engine is not None:
        note(
            f"The loops ran with --engine {options.engine} and run with {engine} now: the last digits may not be those "
            "of the run that was not interrupted."
        )
    if changed:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in CHANGE_NUMBERS if name in changed)
        again = ", and the epoch that it was in begins again" if "batch_size" in changed and within_epoch else ""
        note(f"With another {names} the run is no longer bit for bit the one that was not interrupted{again}.")


def _changed_numbers(options: RunOptions, changes: dict[str, Any]) -> set[str]:
    """Those of CHANGE_NUMBERS that mean something else with the changes. A learning rate that is given may be the one
    that the optimiser has unless told."""
    wanted = options.changed(**{name: value for name, value in changes.items() if name in CHANGE_NUMBERS})
    meant = {name: "learning_rate" if name == "lr" else name for name in CHANGE_NUMBERS if hasattr(options, name)}
    return {name for name, read in meant.items() if getattr(wanted, read) != getattr(options, read)}


def _check_waiting_rows(arrays: checkpoint.Arrays, numbers: dict[str, Any]) -> None:
    """Raises ValueError where rows wait for their decay since a step that has not been."""
    for name, last in arrays.items():
        steps = numbers.get(f"steps.{name.removeprefix('last.')}", 0)
        if name.startswith("last.") and not (last.dtype.kind in "iu" and np.all((last >= 0) & (last <= steps))):
            raise ValueError(f"{name} must hold steps from 0 to {steps}")
