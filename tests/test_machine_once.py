"""Machine code that several threads ask for at a time is made once, and stays as long as one of them may run it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("llvmlite")

from tinygrad_rnn.machine.target import MadeOnce


def asked_by_four(function: MadeOnce[str, object], key: str) -> list[object]:
    together, found = threading.Barrier(4), list[object]()

    def ask() -> None:
        together.wait()
        found.append(function(key))

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return found


def test_what_threads_ask_for_at_a_time_is_made_once_for_each_key() -> None:
    asked: list[str] = []

    @MadeOnce
    def made(key: str) -> object:
        asked.append(key)
        time.sleep(0.02)
        return object()

    for key in ("a", "b"):
        found = asked_by_four(made, key)
        assert len(found) == 4 and len({*map(id, found)}) == 1
        assert made(key) is found[0]
    assert asked == ["a", "b"]


def test_what_could_not_be_made_is_tried_again() -> None:
    failures = [ValueError("not yet")]

    @MadeOnce
    def made(key: str) -> object:
        if failures:
            raise failures.pop()
        return key

    with pytest.raises(ValueError, match="not yet"):
        made("a")
    assert made("a") == "a"


FIRST_USE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from tinygrad_rnn.machine import multiplying, softmax
sys.setswitchinterval(1e-6)
made = []
for module in (multiplying, softmax):
    def counted(program, make, kept=module.object_code_of):
        made.append(program)
        return kept(program, make)
    module.object_code_of = counted
x = np.random.default_rng(0).standard_normal((300, 300))
outs = np.empty((4, 300, 300))
def use(i):
    for _ in range(10):
        multiplying.multiply(x, x, outs[i])
        softmax.odds_in_place(outs[i].copy(), np.zeros(300), np.zeros(300, int))
with ThreadPoolExecutor(4) as pool:
    list(pool.map(use, range(4)))
assert sorted(made) == ["product float64", "softmax float64"], made
np.testing.assert_allclose(outs, np.stack([x @ x] * 4), atol=1e-10)
"""


def test_threads_whose_first_product_is_at_the_same_time_run_the_same_code() -> None:
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True, timeout=120)
