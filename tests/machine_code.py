"""What tests of the machine code share: one scan by each emitter, in so many threads, and with nothing done outside the
loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from host_cuda import on_host

import tinygrad_rnn as tg
from tinygrad_rnn.loops import compiling, directions
from tinygrad_rnn.loops.compiling import Compiled, compile_program
from tinygrad_rnn.loops.machine import running
from tinygrad_rnn.loops.recorder import record_step
from tinygrad_rnn.rowsparse import RowSparse

WAYS: tuple[Any, ...] = ("machine", "numpy", False)
"""What calculates: both emitters, and no program at all."""


def flat(tree: Any) -> list[Any]:
    """All Tensors of nested tuples and lists."""
    return [t for part in tree for t in flat(part)] if isinstance(tree, tuple | list) else [tree]


def made_by(way: Any, step: Any, state: Any, xs: Any, leaves: Any = (), reverse: bool = False) -> list[Any]:
    """Last states and outputs, and the gradients of the leaves of a weighted sum of them."""
    for t in leaves:
        t.grad = None
    with on_host() if way == "cuda" else tg.compiled(way), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("error", tg.loops.ScanWarning)
        found = flat(tg.scan(step, state, xs, reverse=reverse))
        if leaves:
            weights = np.random.default_rng(0)
            floats = [r for r in found if r.dtype.kind == "f"]
            total: Any = sum((r * weights.standard_normal(r.shape).astype(r.dtype)).sum() for r in floats)
            total.backward()
    grads = [t.grad.dense() if isinstance(t.grad, RowSparse) else t.grad for t in leaves]
    zeros = [np.zeros(t.shape, t.dtype) for t in leaves]
    return [r.numpy() for r in found] + [z if g is None else g for g, z in zip(grads, zeros, strict=True)]


def close(found: list[Any], expected: list[Any], tolerance: float | None = None) -> None:
    """As near as the dtype allows, and the same NaN and infinities."""
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        near = tolerance or (2e-5 if a.dtype == np.float32 else 1e-9)
        np.testing.assert_allclose(a, b, rtol=near, atol=near)


def same_bits(found: list[Any], expected: list[Any]) -> None:
    """To the last bit."""
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes(), f"{np.count_nonzero(a != b)} of {a.size} entries differ"


def compiled_step(step: Any, state: Any, xs: Any, needs: bool = True) -> Compiled:
    """What machine code is made of a step."""
    program, *_ = record_step(step, state, xs)
    count = len(program.captured) + len(program.states) + len(program.xs)
    return compile_program(program, (needs,) * count, "machine")


def why_not(step: Any, state: Any, xs: Any) -> list[str]:
    """Why either direction is not machine code: nothing where it is."""
    made = compiled_step(step, state, xs)
    return [made.forward.why_not, *([made.backward.loop.why_not] if made.backward else [])]


@contextmanager
def in_parts(count: int, order: int = 0) -> Iterator[None]:
    """Every loop whose rows are independent is shared out among so many threads; with an order, each part runs through
    the whole loop before the next one begins, from the first to the last (1) or from the last to the first (-1)."""

    def one_by_one(parts: int, function: Any) -> None:
        for part in [*range(parts)][::order]:
            function(part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "shares", lambda work: count)
        if order:
            patch.setattr(running, "in_threads", one_by_one)
        yield


@contextmanager
def whole_in_the_loop() -> Iterator[None]:
    """Nothing is done for all time steps at once: each op of a step must be machine code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directions, "whole", lambda equation: False)
        compiling._cache.clear()
        try:
            yield
        finally:
            compiling._cache.clear()
