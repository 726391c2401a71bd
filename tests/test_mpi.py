"""Several processes that MPI has started: the whole program. It takes mpi4py and an MPI, such as pip's mpich."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.ranks.by_mpi import launched
from tinygrad_rnn.training.log import read_log

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MPIEXEC is None or find_spec("mpi4py") is None, reason="needs mpi4py and an MPI"),
]

IS_OPEN_MPI = (
    MPIEXEC is not None
    and "Open MPI" in subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True, check=False).stdout
)
"""Which hands no last words on where it is told to end."""
PROGRAM = [sys.executable, "-m", "tinygrad_rnn"]
SMALL = ["--dtype", "float64", "--hidden", "8", "--seed", "3", "--threads", "1"]


def started(count: int, *arguments: str, cwd: Path, program: list[str] = PROGRAM) -> subprocess.Popen[str]:
    assert MPIEXEC is not None
    command = [MPIEXEC, "-n", str(count), *program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=pipe, stderr=pipe, start_new_session=True)


def run(count: int, *arguments: str, cwd: Path, program: list[str] = PROGRAM) -> tuple[int, str, str]:
    """The exit code, and what was said on the two outputs."""
    process = started(count, *arguments, cwd=cwd, program=program)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        end(process)
    return process.returncode, out, err


def end(process: subprocess.Popen[str]) -> None:
    """Whatever is left of it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [[str(d) for d in rng.integers(0, 10, rng.integers(2, 9))] for _ in range(300)]
    text = "".join(f"{'odd' if int(row[0]) % 2 else 'even'}\t{' '.join(row)}\n" for row in rows)
    path = tmp_path / "digits.tsv"
    path.write_text(text)
    return path


def trained(digits: Path, out: str, *more: str) -> list[str]:
    return ["train", "classify", "--data", str(digits), "--out", out, "--dropout", "0", *SMALL, *more]


def near(one: Path, other: Path) -> None:
    """Asserts that two checkpoints have the same numbers, to rounding."""
    first, second = checkpoint.load(one), checkpoint.load(other)
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        scale = np.abs(array).max(initial=0.0)
        np.testing.assert_allclose(second.arrays[name], array, rtol=0, atol=1e-11 * scale, err_msg=name)
    assert first.meta["progress"] == second.meta["progress"]


# --- The same run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_processes_train_the_model_of_one_and_one_of_them_speaks(digits: Path, tmp_path: Path, count: int) -> None:
    code, said, warned = run(1, *trained(digits, "one", "--epochs", "2"), cwd=tmp_path)
    assert code == 0, warned
    code, said_by_several, warned = run(count, *trained(digits, "several", "--epochs", "2"), cwd=tmp_path)
    assert code == 0, warned
    assert warned == ""
    for label in ("data", "model", "training", "epoch 1", "epoch 2", "result", "files"):
        lines = [[line for line in text.splitlines() if line.startswith(label)] for text in (said, said_by_several)]
        assert len(lines[0]) == len(lines[1]) == 1, label
    near(tmp_path / "one" / "last.safetensors", tmp_path / "several" / "last.safetensors")
    near(tmp_path / "one" / "best.safetensors", tmp_path / "several" / "best.safetensors")
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "several")]
    assert [line["loss"] for line in logs[0] if line["event"] == "step"] == pytest.approx(
        [line["loss"] for line in logs[1] if line["event"] == "step"], rel=1e-10
    )
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )


def test_a_run_of_three_goes_on_as_one_of_two_and_as_one_process(digits: Path, tmp_path: Path) -> None:
    for arguments, count in (
        (trained(digits, "whole", "--epochs", "3"), 1),
        (trained(digits, "parts", "--epochs", "1"), 3),
        (["train", "--resume", "parts/last.safetensors", "--epochs", "2"], 2),
        (["train", "--resume", "parts/last.safetensors", "--epochs", "3"], 1),
    ):
        code, _, warned = run(count, *arguments, cwd=tmp_path)
        assert code == 0, warned
    near(tmp_path / "whole" / "last.safetensors", tmp_path / "parts" / "last.safetensors")


SCRIPT = """
import sys
from tinygrad_rnn import tasks
found = tasks.train("classify", data=sys.argv[1], out=sys.argv[2], epochs=2, hidden=8, dropout=0.0, dtype="float64")
told = f"{found.result.loss!r} {found.result.metrics} {len(found.history)}"
sys.stdout.write(f"{told}\\n")  # at once: the others write, too
"""


def test_a_script_of_one_s_own_has_the_same_result_on_each_process(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    results = []
    for count in (1, 2):
        program = [sys.executable, "script.py"]
        code, said, warned = run(count, str(digits), f"of{count}", cwd=tmp_path, program=program)
        assert code == 0, warned
        lines = said.splitlines()
        assert len(lines) == count and len({*lines}) == 1
        results.append(float(lines[0].split()[0]))
    assert results[0] == pytest.approx(results[1], rel=1e-10)


ALIKE = """
import hashlib, sys
from tinygrad_rnn.ranks.by_mpi import everyone
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.training.beginning import new_run
found = find_task("classify")
split = sys.argv[2] == "split"
options = found.task.Options(data=sys.argv[1], hidden=40, embedding=300, optimizer="adam", split_optimizer=split)
_, cell = found.task.options_and_cell({}, False, print)
run = new_run(found.new(options, cell), lambda sentence: None, ranks=everyone())
for _, _ in zip(range(30), run.steps(), strict=False):
    pass
digest = hashlib.sha256(b"".join(p.data.tobytes() for p in run.model.parameters())).hexdigest()
sys.stdout.write(f"{digest}\\n")  # at once: the others write, too
"""


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("split", ["split", "whole"])
def test_all_processes_have_the_same_bits_after_every_step(
    digits: Path, tmp_path: Path, count: int, split: str
) -> None:
    (tmp_path / "alike.py").write_text(ALIKE)
    code, said, warned = run(count, str(digits), split, cwd=tmp_path, program=[sys.executable, "alike.py"])
    assert code == 0, warned
    assert len(said.split()) == count and len({*said.split()}) == 1


# --- Mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["train", "--hiden", "3"], "No such option", 2),
        (["train", "--text", "missing.txt"], "missing.txt: cannot be read", 1),
        (["evaluate", "x"], "3 processes were started, and evaluate is the work of one: start it without mpiexec", 1),
    ],
)
def test_a_mistake_of_all_is_told_once(arguments: list[str], sentence: str, code: int, tmp_path: Path) -> None:
    found, _, warned = run(3, *arguments, cwd=tmp_path)
    assert found == code
    assert warned.count(sentence) == 1 and "Traceback" not in warned and "Abort" not in warned


def test_a_folder_with_a_run_is_left_as_it_is(digits: Path, tmp_path: Path) -> None:
    assert run(2, *trained(digits, "there", "--epochs", "1"), cwd=tmp_path)[0] == 0
    before = (tmp_path / "there" / "last.safetensors").read_bytes()
    code, _, warned = run(2, *trained(digits, "there", "--epochs", "1"), cwd=tmp_path)
    assert code == 2 and warned.count("there holds another run") == 1 and "Traceback" not in warned
    assert (tmp_path / "there" / "last.safetensors").read_bytes() == before


FAILING = """
import numpy as np
from tinygrad_rnn import ops
from tinygrad_rnn.models import Linear, Module, Recurrent
from tinygrad_rnn.ranks.by_mpi import launched
from tinygrad_rnn.tasks import Task, TrainingOptions

class Failing(Task):
    metric = "loss"

    class Options(TrainingOptions):
        hidden: int = 4

    def default(self, rng):
        return [(x, 1.0) for x in rng.standard_normal((60, 6, 2))]

    def build(self, rng):
        model = Module()
        model.recurrent = Recurrent(input_size=2, hidden_size=4, **self.layer_options(rng))
        model.linear = Linear(model.recurrent.output_size, 1, rng=rng)
        self.calls = 0
        return model

    def collate(self, part):
        return np.stack([x for x, _ in part], axis=1).astype(np.float32), np.ones((len(part), 1), np.float32)

    def loss(self, model, batch, rng, state):
        self.calls += 1
        if self.calls > 12 and launched()[0] == 1:
            raise ArithmeticError("of one rank alone")
        outputs, _ = model.recurrent(batch[0])
        return ops.mse(model.linear(outputs[-1]), batch[1], reduction="sum"), len(batch[1]), None
"""


def test_an_error_of_one_process_ends_all_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    begin = time.monotonic()
    code, _, warned = run(3, "train", "failing.py:Failing", "--epochs", "90", "--out", "run", cwd=tmp_path)
    assert code == 1 and time.monotonic() - begin < 30
    sentences = [line for line in warned.splitlines() if "of one rank alone" in line]
    assert len(sentences) == 1 and sentences[0].startswith("rank 1: Error: ") and "Traceback" not in warned
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").meta["progress"]["step"] > 0


# --- Ends ------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(digits: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run of two processes that has been saved once, and would go on for long."""
    arguments = trained(digits, "run", "--epochs", "100000", "--patience", "100000", "--time-budget", "1h")
    process = started(2, *arguments, cwd=tmp_path)
    last = tmp_path / "run" / "last.safetensors"
    until = time.monotonic() + 60
    while not last.is_file() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    yield process
    end(process)


def ranks_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """The processes of a run by their rank."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            if os.getsid(int(folder.name)) != process.pid and not _descends(int(folder.name), process.pid):
                continue
        except (OSError, ValueError):
            continue
        rank, size = launched(dict(each.decode(errors="replace").partition("=")[::2] for each in environment))
        if size > 1:
            found[rank] = int(folder.name)
    return found


def _descends(number: int, ancestor: int) -> bool:
    while number > 1:
        if number == ancestor:
            return True
        number = int((Path("/proc") / str(number) / "stat").read_text().rpartition(")")[2].split()[1])
    return False


def goes_on(tmp_path: Path, count: int) -> None:
    """Asserts that the last checkpoint is whole, and that a run goes on from there."""
    last = tmp_path / "run" / "last.safetensors"
    before = checkpoint.load(last).meta["progress"]
    more = ["--epochs", str(before["epoch"] + 2), "--patience", "100000"]
    code, _, warned = run(count, "train", "--resume", str(last), *more, cwd=tmp_path)
    assert code == 0, warned
    assert checkpoint.load(last).meta["progress"]["epoch"] == before["epoch"] + 2
    assert json.loads((tmp_path / "run" / "result.json").read_text())


linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@linux
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_run_within_30_seconds_and_it_goes_on(
    running: Any, tmp_path: Path, rank: int
) -> None:
    found = ranks_of(running)
    assert sorted(found) == [0, 1]
    os.kill(found[rank], signal.SIGKILL)
    said, warned = running.communicate(timeout=30)
    assert running.returncode != 0 and ("Killed" in said + warned or "signal 9" in said + warned)
    until = time.monotonic() + 30
    while any(Path(f"/proc/{number}").exists() for number in found.values()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{number}").exists() for number in found.values())
    goes_on(tmp_path, 2)


@linux
@pytest.mark.parametrize("rank", [0, 1, None])
def test_sigterm_to_any_process_or_to_mpiexec_saves_and_ends_all(
    running: Any, tmp_path: Path, rank: int | None
) -> None:
    os.kill(running.pid if rank is None else ranks_of(running)[rank], signal.SIGTERM)
    said, _ = running.communicate(timeout=30)
    assert running.returncode != 0
    assert said.count("Ended by SIGTERM. The run is in run/last.safetensors") == 1 or (IS_OPEN_MPI and rank is None)
    goes_on(tmp_path, 1)


def test_ctrl_c_ends_with_the_result(running: Any, tmp_path: Path) -> None:
    os.kill(running.pid, signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    if not IS_OPEN_MPI:
        assert said.count("(interrupted)") == 1
        assert (tmp_path / "run" / "result.json").is_file()
    goes_on(tmp_path, 2)
