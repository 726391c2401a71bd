"""A thread begins anew, however it is started: nothing that is in force where it was started is in force in it."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn
from tinygrad_rnn import Tensor, compiled, detect_anomaly, engines, label, no_grad, ops, recording, trace
from tinygrad_rnn.inspection import tracing
from tinygrad_rnn.loops import scanning
from tinygrad_rnn.loops.recorder import Recorder
from tinygrad_rnn.models import GRU
from tinygrad_rnn.surroundings import BARE, PerThread, current_surroundings, is_recording, recording_with

Run = Callable[[Callable[[], Any]], Any]


def by_thread(work: Callable[[], Any]) -> Any:
    """In a thread of its own, in whatever context this Python gives it."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def by_executor_in_a_copy(work: Callable[[], Any]) -> Any:
    """In a thread that runs in a copy of this one's context, as every thread does on a free-threaded Python 3.14."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, work).result()


def by_asyncio(work: Callable[[], Any]) -> Any:
    async def main() -> Any:
        return await asyncio.to_thread(work)

    return asyncio.run(main())


STARTED: dict[str, Run] = {"thread": by_thread, "copied context": by_executor_in_a_copy, "asyncio": by_asyncio}
every_start = pytest.mark.parametrize("run", STARTED.values(), ids=STARTED)


@contextmanager
def everything() -> Iterator[None]:
    """All that can be in force at once."""
    with ExitStack() as stack:
        for manager in (
            compiled(False),
            trace(),
            label("layer", 3),
            detect_anomaly(),
            recording_with(Recorder()),
            recording(False),
        ):
            stack.enter_context(manager)
        for variable in (scanning.listener, scanning.reasons):
            token = variable.set([])
            stack.callback(variable.reset, token)
        yield


def in_force() -> tuple[Any, ...]:
    switches = (engines.switch.get(), scanning.listener.get(), scanning.reasons.get(), tracing.current_trace())
    return current_surroundings.get() is BARE, *switches


@every_start
def test_a_thread_inherits_nothing(run: Run) -> None:
    bare = in_force()
    assert bare == (True, True, None, None, None)
    with everything():
        assert all(a is not b for a, b in zip(in_force(), bare, strict=True))
        assert run(in_force) == bare


@every_start
def test_a_thread_that_is_started_within_no_grad_records(run: Run) -> None:
    x = Tensor(np.array(3.0), requires_grad=True)

    def work() -> tuple[Any, ...]:
        made: Any = ops.exp(x).node
        return (x * x).requires_grad, made.where

    with no_grad(), label("layer", 1):
        assert run(work) == (True, ())
        assert not (x * x).requires_grad


@every_start
def test_what_a_thread_puts_in_force_holds_in_it_and_ends_with_its_block(run: Run) -> None:
    def work() -> list[Any]:
        seen: list[Any] = []
        with label("layer", 2):
            seen.append(current_surroundings.get().where)
            with no_grad():
                seen.append(is_recording())
            seen.append(is_recording())
        return [*seen, current_surroundings.get() is BARE]

    with no_grad(), label("layer", 1):
        assert run(work) == [(("layer", 2),), False, True, True]
        assert not is_recording() and current_surroundings.get().where == (("layer", 1),)


@every_start
def test_a_thread_that_is_started_within_a_trace_and_a_plain_loop_compiles_and_leaves_nothing_in_it(run: Run) -> None:
    layer, xs = GRU(2, 3), np.ones((4, 1, 2), np.float32)

    def work() -> str:
        made: Any = layer(xs)[0].node
        return str(made.parents[0].primitive.name)

    with trace() as seen, compiled(False):
        assert run(work) == "scan"
        assert len(seen) == 0


def test_a_thread_that_got_the_number_of_one_that_ended_inherits_nothing_either() -> None:
    contexts: list[contextvars.Context] = []

    def first() -> int:
        with no_grad():
            contexts.append(contextvars.copy_context())
        return threading.get_ident()

    number = by_thread(first)
    for _ in range(100):
        again, records = by_thread(lambda: (threading.get_ident(), contexts[0].run(is_recording)))
        assert records
        if again == number:
            return
    pytest.skip("no thread got the number again")


def test_asyncio_tasks_of_one_thread_inherit_as_any_context_does() -> None:
    async def child() -> bool:
        return is_recording()

    async def main() -> list[bool]:
        with no_grad():
            task = asyncio.create_task(child())
        return [await task, await asyncio.create_task(child())]

    assert asyncio.run(main()) == [False, True]


def test_every_variable_of_the_package_is_one_that_threads_do_not_inherit() -> None:
    (package,) = tinygrad_rnn.__path__
    paths = [Path(folder, name) for folder, _, names in os.walk(package, followlinks=True) for name in names]
    sources = {path.name: path.read_text(encoding="utf-8") for path in paths if path.suffix == ".py"}
    assert [name for name, source in sources.items() if "ContextVar(" in source] == ["surroundings.py"]


def test_a_variable_goes_back_to_what_it_was() -> None:
    variable = PerThread("tests.variable", 0)
    outer = variable.set(1)
    inner = variable.set(2)
    assert variable.get() == 2
    variable.reset(inner)
    assert variable.get() == 1
    variable.reset(outer)
    assert variable.get() == 0
