"""A loop that is shared out among threads: in several of the user's, after a fork, when it is interrupted, when a part
of it fails, and when the interpreter ends; and BLAS, which has one thread as long as it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import compiled, engines, threads
from tinygrad_rnn.models import GRU
from tinygrad_rnn.threads import in_threads, numpys_blas, one_blas_thread

needs_llvm = pytest.mark.skipif(not engines.is_installed("machine"), reason="llvmlite is not installed")
needs_openblas = pytest.mark.skipif(numpys_blas() is None, reason="NumPy's BLAS is another one")


# --- Sharing out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_part_is_done_once(parts: int) -> None:
    done: list[int] = []
    in_threads(parts, done.append)
    assert sorted(done) == [*range(parts)]


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_an_error_in_any_part_reaches_the_caller_when_nothing_runs_any_more(failing: int) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def part(i: int) -> None:
        begun.append(i)
        time.sleep(0.02)
        ended.append(i)
        if i == failing:
            raise IndexError(f"part {i}")

    with pytest.raises(IndexError, match=f"part {failing}"):
        in_threads(4, part)
    assert sorted(ended) == sorted(begun)


@pytest.fixture
def own_interrupt() -> Iterator[None]:
    """Ctrl-C is Python's own, whatever other tests made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("own_interrupt")
@pytest.mark.parametrize("interrupted", ["a part", "the wait", "the beginning"])
def test_after_ctrl_c_nothing_runs_any_more(interrupted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    caller, running, ended = threading.get_ident(), threading.Event(), threading.Event()

    def part(i: int) -> None:
        if threading.get_ident() != caller:
            running.set()
            time.sleep(0.3)
            ended.set()
            return
        running.wait()
        if interrupted == "a part":
            raise KeyboardInterrupt
        if interrupted == "the wait":  # whichever part is the caller's
            threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()

    if interrupted == "the beginning":
        ask = threads._helpers.ask

        def interrupting(work: Any, count: int) -> None:
            ask(work, count)
            running.wait()
            raise KeyboardInterrupt

        monkeypatch.setattr(threads._helpers, "ask", interrupting)
    with pytest.raises(KeyboardInterrupt):
        in_threads(2, part)
    assert ended.is_set()


def test_where_no_thread_can_be_begun_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threads, "_helpers", threads._Helpers())
    monkeypatch.setattr(threading.Thread, "start", refused)
    done: dict[int, int] = {}
    in_threads(3, lambda i: done.setdefault(i, threading.get_ident()))
    assert done == dict.fromkeys(range(3), threading.get_ident())


def test_a_blas_that_says_nothing_of_its_threads_leaves_as_many_as_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "numpys_blas", lambda: None)
    monkeypatch.setattr(threads, "processors", lambda: 7)
    assert threads.threads() == 7
    with threads.limited_to(3):
        assert threads.threads() == 3
        with pytest.raises(KeyError), threads.limited_to(1):
            assert threads.threads() == 1
            raise KeyError
        assert threads.threads() == 3
    assert threads.threads() == 7


def test_what_two_threads_say_at_a_time_leaves_blas_as_it_was() -> None:
    if threads.numpys_blas() is None:
        pytest.skip("NumPy's BLAS says nothing of its threads")
    before = threads.threads()
    first, second = threads.limited_to(before + 1), threads.limited_to(before + 2)
    with first:
        assert threads.threads() == before + 1
        second.__enter__()
        assert threads.threads() == before + 2
        with threads.one_blas_thread():
            assert threads.threads() == before + 2 and threads.numpys_blas().num_threads == 1
            with threads.limited_to(before + 3):
                assert threads.threads() == before + 3 and threads.numpys_blas().num_threads == 1
    assert threads.threads() == before + 2, "the latest holds on"
    second.__exit__(None, None, None)
    assert threads.threads() == before == threads.numpys_blas().num_threads


@pytest.mark.parametrize(
    "said, expected", [("max 100000\n", 64), ("200000 100000\n", 2), ("150000 100000", 2), ("5000 100000", 1), ("", 64)]
)
def test_a_container_has_the_processors_that_it_is_given(
    said: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "cpu.max").write_text(said, encoding="utf-8")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(threads, "CPU_MAX", file)
    threads._quota.cache_clear()
    try:
        assert threads.processors() == expected
        threads._quota.cache_clear()
        monkeypatch.setattr(threads, "CPU_MAX", tmp_path / "nothing")
        assert threads.processors() == 64
    finally:
        threads._quota.cache_clear()


def test_where_all_threads_are_busy_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    helpers, busy, go_on = threads._Helpers(), threading.Event(), threading.Event()
    monkeypatch.setattr(threads, "_helpers", helpers)
    monkeypatch.setattr(threads, "processors", lambda: 2)

    def hold(_: int) -> None:
        busy.set()
        go_on.wait()

    helpers.ask(threads._Parts(1, hold), 1)
    busy.wait()
    done: list[int] = []
    in_threads(3, done.append)
    assert done == [0, 1, 2]
    go_on.set()


def test_a_thread_that_waits_keeps_nothing_of_what_it_did() -> None:
    class Large:
        pass

    held = Large()
    gone = weakref.ref(held)
    in_threads(3, lambda i, held=held: time.sleep(0.01))  # type: ignore[misc]  # a default is not called for
    del held
    deadline = time.monotonic() + 5
    while gone() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert gone() is None


# --- BLAS ------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_blas_threads() -> Iterator[Any]:
    library = numpys_blas()
    before = library.num_threads
    threads._set_blas_threads(library, 2)
    yield library
    threads._set_blas_threads(library, before)


@needs_openblas
def test_blas_has_one_thread_within_and_as_many_as_before_afterwards(two_blas_threads: Any) -> None:
    seen: list[tuple[int, int]] = []

    def now() -> tuple[int, int]:
        return two_blas_threads.num_threads, threads.threads()

    with one_blas_thread():
        seen.append(now())
        with one_blas_thread():
            seen.append(now())
        seen.append(now())
    assert seen == [(1, 2)] * 3
    assert now() == (2, 2)
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert now() == (2, 2)
    in_threads(2, lambda i: seen.append(now()))
    assert seen[3:] == [(1, 2)] * 2 and now() == (2, 2)
    with pytest.raises(KeyError):
        in_threads(2, dict[int, int]().__getitem__)
    assert now() == (2, 2)


@needs_openblas
def test_blas_has_one_thread_as_long_as_anyone_holds_it(two_blas_threads: Any) -> None:
    held, go_on = threading.Barrier(4), threading.Event()

    def hold() -> None:
        with one_blas_thread():
            held.wait()
            go_on.wait()

    others = [threading.Thread(target=hold) for _ in range(3)]
    for thread in others:
        thread.start()
    held.wait()
    with one_blas_thread():
        assert two_blas_threads.num_threads == 1
    assert (two_blas_threads.num_threads, threads.threads()) == (1, 2)
    go_on.set()  # and the last that lets go of it is not the first that held it
    for thread in others:
        thread.join()
    assert (two_blas_threads.num_threads, threads.threads()) == (2, 2)


@needs_openblas
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside threads: what this is about
def test_a_child_that_is_forked_while_blas_is_held_has_all_threads(two_blas_threads: Any) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with one_blas_thread():
            held.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        done: list[int] = []
        right = threads.threads() == two_blas_threads.num_threads == 2
        with one_blas_thread():
            right = right and two_blas_threads.num_threads == 1
        in_threads(3, done.append)
        os._exit(0 if right and len(done) == 3 and two_blas_threads.num_threads == 2 else 1)
    go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert two_blas_threads.num_threads == 2


# --- Training --------------------------------------------------------------------------------------------------

SHARED = """
import numpy as np
from tinygrad_rnn import compiled, engines
from tinygrad_rnn.loops.machine import running
from tinygrad_rnn.models import GRU

running.shares = lambda work: 2
engines.switch.default = "machine"

def train(batch=16, steps=9):
    layer = GRU(3, 20, rng=np.random.default_rng(0))
    ys, _ = layer(np.ones((steps, batch, 3), np.float32))
    ys.sum().backward()
    return [p.grad.tobytes() for p in layer.parameters()]
"""


def script(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SHARED + program],
        timeout=100, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def trained(steps: int) -> list[bytes]:
    layer = GRU(3, 20, rng=np.random.default_rng(0))
    with compiled("machine"):
        ys, _ = layer(np.ones((steps, 16, 3), np.float32))
    ys.sum().backward()
    return [p.grad.tobytes() for p in layer.parameters() if p.grad is not None]


@needs_llvm
def test_four_threads_of_the_users_have_the_numbers_of_one() -> None:
    from machine_code import in_parts  # noqa: PLC0415  (it needs llvmlite)

    expected = {steps: trained(steps) for steps in (5, 6)}
    with in_parts(2), ThreadPoolExecutor(4) as pool:
        found = [(steps, pool.submit(trained, steps)) for _ in range(6) for steps in (5, 6)]
        assert all(future.result() == expected[steps] for steps, future in found)


@needs_llvm
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_of_a_fork_has_threads_of_its_own() -> None:
    script("""
import os, threading
expected = train()
stop = threading.Event()
def others():
    n = 1
    while not stop.is_set():
        n += 1
        train(8 + n % 5 * 4)
beside = threading.Thread(target=others)
beside.start()
for n in range(5):
    child = os.fork()
    if not child:
        os._exit(0 if train() == expected and train(40 + 4 * n) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
beside.join()
assert train() == expected
""")


@needs_llvm
@pytest.mark.slow
def test_a_scan_still_runs_when_the_interpreter_ends() -> None:
    told = script("""
import atexit
expected = train()
atexit.register(lambda: print("at the end:", train() == expected, train(12) != expected))
""")
    assert "at the end: True True" in told and "Error" not in told


@needs_llvm
@pytest.mark.slow
def test_ctrl_c_in_a_shared_loop_ends_it_and_the_next_one_is_right() -> None:
    script("""
import os, signal, threading, time
expected, interrupted = train(16, 9), 0
for n in range(40):
    timer = threading.Timer(0.002 + 0.0005 * n, os.kill, [os.getpid(), signal.SIGINT])
    try:
        timer.start()
        while timer.is_alive():
            train(16, 2000)
        train(16, 2000)
    except KeyboardInterrupt:
        interrupted += 1
    timer.join()
    assert train(16, 9) == expected
assert interrupted >= 39  # Python itself drops one in ten thousand, which comes while a finalizer runs
from tinygrad_rnn.threads import numpys_blas, _held
assert _held.holders == 0
""")
