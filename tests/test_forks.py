"""A process that is forked goes on, whatever another thread was doing at that moment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib import import_module
from pkgutil import walk_packages

import pytest

import tinygrad_rnn

LOCKS = (type(threading.Lock()), type(threading.RLock()))

TRAIN = """
import os, threading, time, warnings
import numpy as np
from tinygrad_rnn.models import GRU

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads: what this is about

def train(batch):
    layer = GRU(3, 100, rng=np.random.default_rng(0))
    ys, _ = layer(np.ones((9, batch, 3), np.float32))
    ys.sum().backward()
    return float(layer.cells[0].z.W.grad.sum())

def child_does(work):
    # Whether a child that is forked here finishes it in good time.
    child = os.fork()
    if not child:
        os._exit(0 if work() else 1)
    for _ in range(3000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False
"""

WHILE_LOCKS_ARE_HELD = """
from tinygrad_rnn import buffers
from tinygrad_rnn.loops import compiling, scanning

expected = train(20)
held, go_on = threading.Event(), threading.Event()

def hold():
    with buffers._lock, compiling._lock, scanning._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
assert child_does(lambda: train(20) == expected and train(21) != 0)
go_on.set()
thread.join()
assert train(20) == expected
"""

WHILE_OTHERS_COMPILE = """
train(1)  # all modules are loaded: while one is, Python itself holds a lock
stop = threading.Event()

def compile_on(first):
    batch = first
    while not stop.is_set():
        train(batch)
        batch += 2

threads = [threading.Thread(target=compile_on, args=(first,)) for first in (1, 2)]
for thread in threads:
    thread.start()
try:
    for n in range(6):
        time.sleep(0.02)
        assert child_does(lambda: train(1000 + n) != 0)
finally:
    stop.set()
    for thread in threads:
        thread.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.parametrize("program", [WHILE_LOCKS_ARE_HELD, WHILE_OTHERS_COMPILE], ids=["locks held", "compiling"])
def test_a_child_that_is_forked_beside_a_thread_that_works_can_train(program: str) -> None:
    # OpenBLAS on several threads has locks of its own, which a fork within `a @ b` of NumPy alone leaves held as well.
    one = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN + program], env=one, timeout=100, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_every_lock_of_the_package_is_another_in_a_child() -> None:
    modules = [import_module(found.name) for found in walk_packages(tinygrad_rnn.__path__, "tinygrad_rnn.")
               if not found.name.endswith("__main__")]  # fmt: skip
    locks = {(m.__name__, name): lock for m in modules for name, lock in vars(m).items() if isinstance(lock, LOCKS)}
    assert locks
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        kept = [f"{name[0]}.{name[1]}" for name, lock in locks.items() if vars(sys.modules[name[0]])[name[1]] is lock]
        os.write(writer, " ".join(kept).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        assert told.read() == ""
