"""The folder of a run: one run writes into it, its files are told from those of others, and no log loses a line."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from small_runs import small_run

from tinygrad_rnn import engines, threads
from tinygrad_rnn.engines import ENGINES, Engine
from tinygrad_rnn.interrupts import is_the_program
from tinygrad_rnn.loops import scanning
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.models.whole_files import write_whole
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.saved import refuse_other_tasks
from tinygrad_rnn.training import engine as run_engine
from tinygrad_rnn.training import folder as folders
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.engine import calculating_as, with_engine
from tinygrad_rnn.training.fitting import Record
from tinygrad_rnn.training.folder import (
    FolderInUse,
    free_folder,
    held,
    newest_best,
    own_checkpoint,
    refuse_other_runs,
    remove_other_runs,
)
from tinygrad_rnn.training.log import line_of, read_log
from tinygrad_rnn.training.log_file import LogFile
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.report import Reporter
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.saved_runs import id_of_run

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals, pipes and devices")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("a cat sat .\nthe dog ran .\n" * 12, encoding="utf-8")
    return path


def run_of(text: Path, **options: Any) -> Run:
    """A new run of three epochs, of three steps each."""
    return small_run(text, **{"epochs": 3, **options})


def quietly(text: str) -> None:
    """Hears a note."""


def trained(text: Path, out: Path, **options: Any) -> Run:
    run = run_of(text, **options)
    reporter = Reporter(run, LogFile(out / "log.jsonl", run), None, quiet=True)
    train_run(run, out, reporter)
    reporter.close()
    return run


def resumed(path: Path, **changes: Any) -> Run:
    return resume_run(path, quietly, **changes)


def without(path: Path, *names: str, settings: tuple[str, ...] = ("threads", "engine")) -> None:
    """Makes a checkpoint one of an older version, which did not say these."""
    saved = checkpoint.load(path)
    meta = {name: value for name, value in saved.meta.items() if name not in ("run", *names)}
    meta |= {"task": "language model", "corpus": meta.pop("data")}
    meta["vocabulary"] = meta.pop("tables")["vocabulary"]["Vocabulary"]
    for name in settings:
        del meta["settings"][name]
    checkpoint.save(path, saved.arrays, meta)


# --- The lock --------------------------------------------------------------------------------------------------


def test_a_folder_is_held_by_one_run_at_a_time_and_left_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    with held(out, quietly), pytest.raises(FolderInUse, match="another run is writing"), held(out, quietly):
        pass
    with held(out, quietly):
        pass
    assert list(out.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from tinygrad_rnn.training.folder import held
with held(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_kill_releases_the_folder_and_what_it_left_half_written_goes(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline().strip() == b"held"
    ours = [".best.safetensors.0123abcd.part", ".last.safetensors.ffffffff.part", ".log.jsonl.00000000.part"]
    ours += [".step-0000009.safetensors.0123abcd.part"]
    theirs = [
        ".step-9.safetensors.0123abcd.part",
        "best.safetensors.part",
        ".best.safetensors.0123abcd.part.txt",
        ".thesis.tex.0123abcd.part",
    ]
    for name in (*ours, *theirs):
        (tmp_path / name).touch()
    with pytest.raises(FolderInUse), held(tmp_path, quietly):
        pass
    assert (tmp_path / ours[0]).exists(), "the other one may be writing it"
    other.kill()
    other.communicate()
    with held(tmp_path, quietly):
        assert {path.name for path in tmp_path.iterdir()} == {*theirs, ".lock"}
    assert {path.name for path in tmp_path.iterdir()} == {*theirs}


def test_two_who_come_at_once_never_hold_a_folder_together(tmp_path: Path) -> None:
    inside, most, turns = [0], [0], [0]

    def come() -> None:
        for _ in range(150):
            try:
                with held(tmp_path, quietly):
                    inside[0] += 1
                    most[0], turns[0] = max(most[0], inside[0]), turns[0] + 1
                    time.sleep(0.0002)
                    inside[0] -= 1
            except FolderInUse:
                pass

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and turns[0] >= 10


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_noted_and_does_without(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folders, "_lock", refuse)
    part, notes = tmp_path / ".best.safetensors.0123abcd.part", list[str]()
    part.touch()
    with held(tmp_path, notes.append):
        assert [path.name for path in tmp_path.iterdir()] == [part.name]
    assert "file system without locks" in notes[0] and len(notes) == 1


def test_a_new_run_gets_the_first_folder_without_a_run_that_nobody_holds(tmp_path: Path) -> None:
    first = tmp_path / "runs" / "lm"
    first.mkdir(parents=True)
    (first / "log.jsonl").touch()
    with free_folder(first, quietly) as second, free_folder(first, quietly) as third:
        assert (second.name, third.name) == ("lm-2", "lm-3")
    with free_folder(first, quietly) as again:
        assert again == second


# --- Whose files they are --------------------------------------------------------------------------------------


def test_a_run_is_told_from_all_others_and_stays_the_same_when_it_goes_on(text: Path, tmp_path: Path) -> None:
    run, other = trained(text, tmp_path), run_of(text)
    last, best = tmp_path / "last.safetensors", tmp_path / "best.safetensors"
    again = resumed(last, epochs=4)
    assert run.id == again.id == resumed(best).id != other.id
    refuse_other_runs(tmp_path, again)
    assert own_checkpoint(best, again) and not own_checkpoint(best, other)
    for each in (other, None):
        with pytest.raises(OptionError, match=r"holds another run \(best.safetensors\).*--overwrite"):
            refuse_other_runs(tmp_path, each)


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "log.jsonl", "loss.png"])
def test_one_file_of_a_run_is_enough_to_be_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    refuse_other_runs(tmp_path)
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=name):
        refuse_other_runs(tmp_path)


def kept(folder: Path) -> set[str]:
    """The files of evaluations there."""
    return {path.name for path in folder.glob("step-*")}


def test_with_keep_every_there_is_a_file_of_each_evaluation_and_each_goes_on_as_the_run_did(
    text: Path, tmp_path: Path
) -> None:
    run = run_of(text)
    train_run(run, tmp_path, Listener(), keep_every=True)
    assert kept(tmp_path) == {f"step-{step:07}.safetensors" for step in (3, 6, 9)}
    again = resumed(tmp_path / "step-0000003.safetensors")
    assert again.progress.step == 3 and again.id == run.id
    with pytest.raises(OptionError, match="is further on than the checkpoint of step 3"):
        refuse_other_runs(tmp_path, again)
    train_run(again, tmp_path / "again", Listener(), keep_every=True)
    assert kept(tmp_path / "again") == {f"step-{step:07}.safetensors" for step in (6, 9)}
    for name in ("last.safetensors", *kept(tmp_path / "again")):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_an_evaluation_that_is_made_because_a_run_ends_is_not_kept(text: Path, tmp_path: Path) -> None:
    train_run(run_of(text), tmp_path, Listener(), budget=1e-9, keep_every=True)
    assert kept(tmp_path) == set()


def test_the_files_of_another_run_s_evaluations_are_refused_and_removed_and_others_called_so_stay(
    text: Path, tmp_path: Path
) -> None:
    train_run(run_of(text), tmp_path, Listener(), keep_every=True)
    (tmp_path / "best.safetensors").unlink()
    (tmp_path / "last.safetensors").unlink()
    damaged = (tmp_path / "step-0000006.safetensors").read_bytes()
    (tmp_path / "step-0000006.safetensors").write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    foreign = tmp_path / "step-0000012.safetensors"
    foreign.write_bytes(safetensors.numpy.save({"weight": np.ones(2)}))
    theirs = ["step-0000015.safetensors", "step-12.safetensors", "step-notes.txt"]
    for name in theirs:
        (tmp_path / name).write_text("a text", encoding="utf-8")
    run = run_of(text)
    for known in (None, run):
        with pytest.raises(OptionError, match=r"step-0000003\.safetensors"):
            refuse_other_runs(tmp_path, known)
    remove_other_runs(tmp_path, run)
    assert kept(tmp_path) == {foreign.name, *theirs}
    for known in (None, run):
        refuse_other_runs(tmp_path, known)


def test_a_damaged_best_file_is_not_taken_for_this_run_s(text: Path, tmp_path: Path) -> None:
    run = trained(text, tmp_path)
    (tmp_path / "best.safetensors").write_bytes(b"damaged")
    with pytest.raises(OptionError, match=r"best\.safetensors"):
        refuse_other_runs(tmp_path, run)
    refuse_other_runs(tmp_path / "elsewhere", run)


def test_a_run_that_goes_on_from_an_earlier_step_neither_replaces_nor_takes_up_what_came_after_it(
    text: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    train_run(run_of(text), here, Listener(), keep_every=True)
    first, last, best = (here / f"{name}.safetensors" for name in ("step-0000003", "last", "best"))
    best.write_bytes(last.read_bytes())
    run = resumed(first)
    with pytest.raises(OptionError, match=r"last\.safetensors is further on .* step 3 .*--overwrite"):
        refuse_other_runs(here, run)
    folders.bring_best(here, there, run)
    assert not there.exists()
    refuse_other_runs(here, resumed(last))
    folders.remove_other_runs(here, resumed(last))
    assert len([*here.iterdir()]) == 5
    folders.remove_other_runs(here, run)
    assert [*here.iterdir()] == [first]


def test_a_best_file_that_a_kill_left_ahead_of_the_last_one_keeps_no_run_from_going_on(
    text: Path, tmp_path: Path
) -> None:
    train_run(run_of(text), tmp_path, Listener(), keep_every=True)
    for name in ("best", "last"):
        step = {"best": 9, "last": 3}[name]
        (tmp_path / f"step-{step:07}.safetensors").rename(tmp_path / f"{name}.safetensors")
    (tmp_path / "step-0000006.safetensors").unlink()
    refuse_other_runs(tmp_path, resumed(tmp_path / "last.safetensors"))


def test_an_older_checkpoint_s_run_is_known_by_what_decides_its_numbers(text: Path, tmp_path: Path) -> None:
    last, best = tmp_path / "last.safetensors", tmp_path / "best.safetensors"
    trained(text, tmp_path, engine="numpy")
    whole = trained(text, tmp_path / "whole", epochs=5, engine="numpy")
    for path in (last, best):
        without(path)
    run = resumed(last, epochs=5)
    assert run.options.threads == 1 and run.options.engine == "numpy" and own_checkpoint(best, run)
    train_run(run, tmp_path, Listener())
    for name in ("last.safetensors", "best.safetensors"):
        one, other = (checkpoint.load(place / name) for place in (tmp_path, tmp_path / "whole"))
        assert {n: a.tobytes() for n, a in one.arrays.items()} == {n: a.tobytes() for n, a in other.arrays.items()}
        assert one.meta == {**other.meta, "run": run.id} and run.id != whole.id
    meta = {**checkpoint.load(last).meta}
    del meta["run"]

    def id_with(**settings: Any) -> str:
        return id_of_run({**meta, "settings": {**meta["settings"], **settings}})

    assert id_of_run(meta) == id_with(epochs=9, patience=3, threads=2, engine="machine")
    # Runs of that time that differ in these are two runs, though a run may be resumed with others now.
    others = [id_with(**{name: value}) for name, value in (("seed", 1), ("lr", 0.1), ("dropout", 0.5))]
    assert len({id_of_run(meta), *others}) == 4


def test_a_best_file_of_another_run_is_no_measure_for_this_one(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path)
    best = tmp_path / "best.safetensors"
    saved = checkpoint.load(best)
    checkpoint.save(best, saved.arrays, {**saved.meta, "best": 1e-9, "run": "another"})
    run = run_of(text)
    train_run(run, tmp_path, Listener())
    assert checkpoint.load(best).meta["run"] == run.id and run.best > 1e-9


def test_the_newest_run_that_can_be_read_is_found_and_others_are_noted(text: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no run in"):
        newest_best(tmp_path, refuse_other_tasks, quietly)
    notes: list[str] = []
    for age, name in enumerate(["c", "a", "b"]):
        path = tmp_path / name / "best.safetensors"
        trained(text, path.parent, epochs=1)
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_best(tmp_path, refuse_other_tasks, notes.append) == tmp_path / "c" / "best.safetensors" and not notes
    (tmp_path / "c" / "best.safetensors").write_bytes(b"damaged")
    checkpoint.save(tmp_path / "d" / "best.safetensors", {}, {"task": "another"})
    assert newest_best(tmp_path, refuse_other_tasks, notes.append) == tmp_path / "a" / "best.safetensors"
    assert len(notes) == 2 and "d/best.safetensors: an incomplete" in notes[0] and "damaged" in notes[1]


# --- The log ---------------------------------------------------------------------------------------------------


def without_clock(path: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in each.items() if k != "seconds"} for each in read_log(path)]


def test_an_evaluation_that_a_kill_kept_from_the_log_is_added_from_the_history(text: Path, tmp_path: Path) -> None:
    run = trained(text, tmp_path)
    log = tmp_path / "log.jsonl"
    whole = log.read_text(encoding="utf-8")
    lines = whole.splitlines(keepends=True)
    evaluations = [i for i, line in enumerate(lines) if '"evaluation"' in line]
    assert len(evaluations) == 3
    for lost in (evaluations[-1:], evaluations[:1], evaluations):
        log.write_text("".join(line for i, line in enumerate(lines) if i not in lost), encoding="utf-8")
        LogFile(log, resumed(tmp_path / "last.safetensors")).close()
        assert log.read_text(encoding="utf-8") == whole
    assert run.history and whole.startswith(line_of({"event": "run", "step": 0, "run": run.id}))


def test_resuming_cuts_what_is_beyond_the_step_and_never_what_is_before_it(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(text, tmp_path)
    log = tmp_path / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"event": "step", "step": 99}\n{"event": "st')
    ahead = log.read_bytes()

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            LogFile(log, resumed(tmp_path / "last.safetensors"))
    assert log.read_bytes() == ahead
    LogFile(log, resumed(tmp_path / "last.safetensors")).close()
    assert log.read_bytes() == whole
    monkeypatch.setattr(Path, "replace", killed)
    LogFile(log, resumed(tmp_path / "last.safetensors")).close()  # nothing is to be changed, and nothing is written


def test_a_log_behind_a_link_is_written_where_the_link_leads(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path)
    target, log = tmp_path / "elsewhere.jsonl", tmp_path / "log.jsonl"
    log.rename(target)
    log.symlink_to(target)
    with target.open("ab") as file:
        file.write(b"half a li")
    LogFile(log, resumed(tmp_path / "last.safetensors")).close()
    assert log.is_symlink() and not target.read_bytes().endswith(b"half a li")


def test_another_file_is_refused_as_a_log_and_stays_as_it_is(text: Path, tmp_path: Path) -> None:
    run, other = trained(text, tmp_path / "a"), trained(text, tmp_path / "b", seed=1)
    again = resumed(tmp_path / "a" / "last.safetensors")
    contents = {"text": b"It was a dark and stormy night.\n", "json": b'{"event": "party"}\n', "list": b"[1]\n" * 9}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for each in (run_of(text), again):
            for replace_it in (False, True):
                with pytest.raises(OptionError, match=f"--log: .*{name} holds something else than a log"):
                    LogFile(tmp_path / name, each, replace=replace_it)
        assert (tmp_path / name).read_bytes() == content
    log = tmp_path / "b" / "log.jsonl"
    before = log.read_bytes()
    for each in (run_of(text), again):
        with pytest.raises(OptionError, match="holds the log of another run"):
            LogFile(log, each)
    assert log.read_bytes() == before and other.id != run.id
    LogFile(log, again, replace=True).close()
    assert [each["event"] for each in read_log(log)] == ["evaluation"] * 3, "those of its own history"


def test_an_empty_file_may_become_the_log(text: Path, tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    LogFile(tmp_path / "log", run_of(text)).close()
    assert json.loads((tmp_path / "log").read_text(encoding="utf-8"))["event"] == "run"


def test_an_older_log_goes_on_where_its_evaluations_are_the_run_s(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path)
    log, last = tmp_path / "log.jsonl", tmp_path / "last.safetensors"
    whole = log.read_text(encoding="utf-8")
    old = whole.partition("\n")[2]
    log.write_text(old, encoding="utf-8")
    LogFile(log, resumed(last)).close()
    assert log.read_text(encoding="utf-8") == whole
    with pytest.raises(OptionError, match="another run"):
        log.write_text(old, encoding="utf-8")
        LogFile(log, run_of(text))
    records = [json.loads(line) for line in old.splitlines()]
    for each in records:
        each["valid_nats"] = each.get("valid_nats", 0) + 1
    log.write_text("".join(map(line_of, records)), encoding="utf-8")
    with pytest.raises(OptionError, match="another run"):
        LogFile(log, resumed(last))


def test_a_run_that_goes_on_elsewhere_takes_its_log_and_its_best_model_along(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path / "a")
    here, there = tmp_path / "a", tmp_path / "b"
    run = resumed(here / "last.safetensors")
    folders.bring_best(here, there, run)
    LogFile(there / "log.jsonl", run, source=here / "log.jsonl").close()
    for name in ("best.safetensors", "log.jsonl"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    stranger = run_of(text)
    folders.bring_best(here, tmp_path / "c", stranger)
    LogFile(tmp_path / "c" / "log.jsonl", stranger, source=here / "log.jsonl").close()
    assert read_log(tmp_path / "c" / "log.jsonl") == [] and not (tmp_path / "c" / "best.safetensors").exists()


@posix
def test_a_pipe_is_written_and_never_read(text: Path, tmp_path: Path) -> None:
    pipe, heard = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.extend(pipe.read_text(encoding="utf-8").splitlines()))
    reader.start()
    run = run_of(text)
    log = LogFile(pipe, run)
    reporter = Reporter(run, log, None, quiet=True)
    train_run(run, tmp_path / "out", reporter)
    reporter.close()
    reader.join()
    assert len(heard) > 6 and not log.is_kept
    assert read_log(pipe) == [], "and nobody waits"
    LogFile(Path(os.devnull), run).close()


def test_a_dash_is_standard_output(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(text)
    log = LogFile(Path("-"), run)
    log.write({"event": "step", "step": 1})
    log.close()
    print("still open")
    assert capsys.readouterr().out == '{"event": "step", "step": 1}\nstill open\n' and not log.is_kept


@posix
def test_standard_output_by_another_name_is_not_cut(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from types import SimpleNamespace as N\n"
        "from tinygrad_rnn.training.log_file import LogFile\n"
        "print('before', flush=True)\n"
        "log = LogFile(Path('/dev/stdout'), N())\n"
        "log.write({'event': 'step', 'step': 1}); log.close(); print('after')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    found = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert found == ["before", '{"event": "step", "step": 1}', "after"]


# --- Signals ---------------------------------------------------------------------------------------------------


class Sender(Listener):
    """Sends signals after the fourth step, the first of an epoch."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.evaluations = numbers, 0

    def step(self, record: Record) -> None:
        for number in self.numbers if record.step == 4 else ():
            signal.raise_signal(number)

    def evaluation(self, *args: Any) -> None:
        self.evaluations += 1


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """What they mean in a program started in the foreground."""
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@posix
@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("names, code", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT SIGTERM", 143)])
def test_sigterm_and_sighup_save_and_end_the_program_without_an_evaluation(
    names: str, code: int, text: Path, tmp_path: Path
) -> None:
    whole = trained(text, tmp_path / "whole")
    run, sender = run_of(text), Sender(*(getattr(signal, name) for name in names.split()))
    with pytest.raises(SystemExit) as ended:
        train_run(run, tmp_path, sender)
    assert ended.value.code == code and sender.evaluations == 1, "that of the first epoch"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    again = resumed(tmp_path / "last.safetensors")
    assert again.progress.step == 4
    train_run(again, tmp_path, Listener())
    weights = [each.model.state_dict() for each in (whole, again)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


@posix
@pytest.mark.usefixtures("usual_signals")
def test_a_signal_that_is_ignored_or_has_a_use_is_left_alone(text: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    assert train_run(run_of(text), tmp_path, Sender(signal.SIGHUP, signal.SIGTERM)) == "3 epochs done"
    assert heard == [signal.SIGTERM]


@posix
@pytest.mark.usefixtures("usual_signals")
def test_a_terminal_that_cannot_be_written_to_after_a_hang_up_changes_nothing(text: Path, tmp_path: Path) -> None:
    class Gone(Sender):
        def step(self, record: Record) -> None:
            super().step(record)
            if record.step == 4:
                raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(SystemExit) as ended:
        train_run(run_of(text), tmp_path, Gone(signal.SIGHUP))
    assert ended.value.code == 129
    assert resumed(tmp_path / "last.safetensors").progress.step == 4


def test_where_the_listener_fails_what_was_trained_is_saved_first(text: Path, tmp_path: Path) -> None:
    class Full(Listener):
        def step(self, record: Record) -> None:
            if record.step == 4:
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        train_run(run_of(text), tmp_path, Full())
    assert resumed(tmp_path / "last.safetensors").progress.step == 4


@pytest.mark.parametrize(
    "arguments, original, expected",
    [
        (["-m", "train"], ["python", "-m", "tinygrad_rnn", "train"], True),
        (["-m"], ["python", "-X", "dev", "-m", "tinygrad_rnn"], True),
        (["/usr/bin/tinygrad-rnn", "train"], ["python", "/usr/bin/tinygrad-rnn", "train"], True),
        (["tinygrad-rnn.exe"], ["tinygrad-rnn.exe"], True),
        (["-m"], ["python", "-m", "pytest", "tinygrad_rnn"], False),
        (["my_program.py", "-m", "tinygrad_rnn"], ["python", "my_program.py", "-m", "tinygrad_rnn"], False),
        (["-c"], ["python", "-c"], False),
        ([""], ["python"], False),
        ([], [], False),
    ],
)
def test_ctrl_c_is_taken_in_the_program_s_own_process_alone(
    arguments: list[str], original: list[str], expected: bool
) -> None:
    assert is_the_program(arguments, original) == expected


# --- Threads ---------------------------------------------------------------------------------------------------


def test_a_run_goes_on_with_the_threads_that_it_had_and_another_number_is_said(text: Path, tmp_path: Path) -> None:
    trained(text, tmp_path, threads=2, epochs=1)
    last, notes = tmp_path / "last.safetensors", list[str]()
    assert resume_run(last, notes.append).options.threads == 2 and notes == []
    assert resume_run(last, notes.append, threads=2).options.threads == 2 and notes == []
    changed = resume_run(last, notes.append, threads=1)
    assert changed.options.threads == 1 and "--threads 2 and has 1 now" in notes[0] and len(notes) == 1
    assert replace(changed.options, threads=2) == resumed(last).options


# --- The engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_goes_on_with_the_engine_that_it_had_whatever_is_usual_and_another_is_said(
    engine: Engine, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_is_there", lambda module: True)
    (other,) = {*ENGINES} - {engine}
    monkeypatch.setattr(engines.switch, "default", engine)
    run_of(text).save(last := tmp_path / "last.safetensors")
    monkeypatch.setattr(engines.switch, "default", other)
    notes = list[str]()
    assert resume_run(last, notes.append).options.engine == engine and notes == []
    assert resume_run(last, notes.append, engine=engine).options.engine == engine and notes == []
    changed = resume_run(last, notes.append, engine=other)
    assert changed.options.engine == other and len(notes) == 1
    assert f"The loops ran with --engine {engine} and run with {other} now" in notes[0]


def test_a_run_of_machine_code_goes_on_with_numpy_where_llvmlite_is_missing_and_says_so(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(text, engine="machine").save(last := tmp_path / "last.safetensors")
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    notes = list[str]()
    run = resume_run(last, notes.append)
    assert run.options.engine == "numpy" and len(notes) == 1
    assert "trained with machine code, and llvmlite is not installed here: it goes on with NumPy" in notes[0]
    run.save(last)
    assert resume_run(last, notes.append).options.engine == "numpy" and len(notes) == 1  # which it has been since
    asked = calculating_as(resume_run(last, quietly, engine="machine").options, "cpu")
    with (
        pytest.raises(OptionError, match="--engine machine needs llvmlite, which is not installed: pip install"),
        asked,
    ):
        pass


def test_a_run_from_before_there_was_machine_code_goes_on_with_numpy(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(text).save(last := tmp_path / "last.safetensors")
    without(last)
    monkeypatch.setattr(engines.switch, "default", "machine")
    notes = list[str]()
    assert resume_run(last, notes.append).options.engine == "numpy" and notes == []


def test_the_engine_of_a_run_is_one_that_is_known(text: Path, tmp_path: Path) -> None:
    run_of(text).save(last := tmp_path / "last.safetensors")
    saved = checkpoint.load(last)
    checkpoint.save(last, saved.arrays, {**saved.meta, "settings": {**saved.meta["settings"], "engine": "steam"}})
    with pytest.raises(checkpoint.CheckpointError, match="engine must be one of machine, numpy, got 'steam'"):
        resumed(last)


def test_on_a_gpu_loops_are_plain_and_a_run_that_was_told_otherwise_says_so(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    monkeypatch.setattr(engines.switch, "default", True)
    for engine, expected in (("machine", 1), ("numpy", 0), (None, 0)):
        notes = list[str]()
        options = LanguageOptions(engine=engine)
        assert with_engine(options, "cuda", notes.append) == options.changed(threads=1) and len(notes) == expected
        assert all("--engine machine is for the CPU: on cuda loops run op by op" in each for each in notes)
        with calculating_as(options, "cuda"):
            assert engines.engine_in_force() == "numpy"
    with scanning.compiled(False):  # and so does a run in a script that wants plain loops
        assert with_engine(LanguageOptions(), "cpu", quietly).engine is None


def test_a_run_has_a_thread_for_each_processor_where_they_share_its_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_is_there", lambda module: True)
    for count, expected in ((1, 1), (3, 3), (64, 4)):
        monkeypatch.setattr(run_engine, "processors", lambda count=count: count)
        assert with_engine(LanguageOptions(engine="machine"), "cpu", quietly).threads == expected
        assert with_engine(LanguageOptions(engine="numpy"), "cpu", quietly).threads == 1
        for name in engines.ENGINES:
            assert with_engine(LanguageOptions(engine=name, threads=2), "cpu", quietly).threads == 2
    with calculating_as(LanguageOptions(engine="numpy", threads=1), "cpu"):
        assert threads.threads() == 1


def test_a_run_that_goes_on_by_another_engine_has_the_threads_that_suit_that(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_engine, "processors", lambda: 3)
    monkeypatch.setattr(engines, "_is_there", lambda module: True)
    run_of(text, engine="machine").save(last := tmp_path / "last.safetensors")
    assert resume_run(last, quietly).options.threads == 3
    assert resume_run(last, quietly, engine="numpy").options.threads == 1
    assert resume_run(last, quietly, engine="numpy", threads=2).options.threads == 2
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    assert resume_run(last, quietly).options.threads == 1
    assert resume_run(last, quietly, threads=2).options.threads == 2


def test_a_checkpoint_that_does_not_say_its_threads_is_not_said_to_have_had_others(text: Path, tmp_path: Path) -> None:
    run_of(text, engine="numpy").save(last := tmp_path / "last.safetensors")
    without(last, settings=("threads",))
    notes = list[str]()
    assert resume_run(last, notes.append, threads=2).options.threads == 2 and notes == []


def test_files_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a" / "b", b"first")
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "a" / "b", b"second")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("b", b"first")]
