"""What an op finds around it: is a tape wanted, where in the model are we, is somebody watching.

One immutable value per thread (and per asyncio task): setting it in one leaves the others alone. A thread begins
anew, however it is started: it inherits no `no_grad()`, `label`, `detect_anomaly()`, `trace()` or `compiled(False)`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Generic, Protocol, TypeVar

V = TypeVar("V")

Where = tuple[tuple[str, Any], ...]
"""A place, from the outside in: (("layer", 0), ("cell", "GRUCell"), ("step", 3), ("gate", "z"))."""


class OpRecorder(Protocol):
    """Takes down ops instead of computing them."""

    def __call__(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Takes down one op, and returns what stands for its result."""

    def gradients(self, out: Any, seed: Any, variables: Sequence[Any]) -> list[Any]:
        """Takes down the backward pass that carries the gradient `seed` of `out` to `variables`; None for one on which
        it does not depend."""


class _Thread(threading.local):
    """`mark` is another object in each thread. A thread's number would do, but for being given out again."""

    def __init__(self) -> None:
        self.mark = object()


this_thread = _Thread()


class PerThread(Generic[V]):
    """A context variable whose value holds in the thread that set it (and in the asyncio task) and in no other.

    A ContextVar alone is not that: a thread may start in a copy of its starter's context. `asyncio.to_thread` does so,
    `contextvars.copy_context().run` in an executor does, and on a free-threaded Python 3.14 every thread does. What was
    lent in such a way cannot be told from what was meant, so there is one rule for all: a thread begins with `default`.
    """

    def __init__(self, name: str, default: V) -> None:
        self.default = default
        self.held: ContextVar[tuple[object, V] | None] = ContextVar(name, default=None)

    def get(self) -> V:
        """The value in force in this thread."""
        held = self.held.get()
        return self.default if held is None or held[0] is not this_thread.mark else held[1]

    def set(self, value: V) -> Token[Any]:
        """Puts a value in force in this thread; what comes back is for `reset`."""
        return self.held.set((this_thread.mark, value))

    def reset(self, token: Token[Any]) -> None:
        """Puts in force again what was so before the `set` that gave the token."""
        self.held.reset(token)


class Surroundings:
    """The surroundings of an op."""

    __slots__ = ("recorder", "recording", "watcher", "where")

    def __init__(
        self,
        recording: bool = True,
        where: Where = (),
        watcher: Watcher | None = None,
        recorder: OpRecorder | None = None,
    ) -> None:
        self.recording = recording
        self.where = where
        self.watcher = watcher
        self.recorder = recorder


BARE = Surroundings()
"""The surroundings of an op where nothing is said."""

current_surroundings = PerThread("tinygrad_rnn.tape", BARE)
held_surroundings = current_surroundings.held
"""What an op reads: `current_surroundings.get()` without a call of Python's."""


@contextmanager
def recording(on: bool = True) -> Iterator[None]:
    """Within it ops of this thread leave nodes on the tape (or do not): `no_grad()` is `recording(False)`.

    Example:
        >>> x = Tensor(2.0, requires_grad=True)
        >>> with tg.no_grad(), tg.recording():
        ...     y = x * x
        >>> y.requires_grad
        True
    """
    old = current_surroundings.get()
    token = current_surroundings.set(Surroundings(on, old.where, old.watcher, old.recorder))
    try:
        yield
    finally:
        current_surroundings.reset(token)


def no_grad() -> Any:
    """`with no_grad():` — ops compute and leave nothing on the tape; results have no gradient. It holds for this thread
    alone: one that is started within it records, however it is started.

    Example:
        >>> x = Tensor(2.0, requires_grad=True)
        >>> with tg.no_grad():
        ...     y = x * x
        >>> y.requires_grad
        False
    """
    return recording(False)


def is_recording() -> bool:
    """Whether ops leave nodes on the tape here, in this thread."""
    return current_surroundings.get().recording


class label:  # noqa: N801  (used as a statement: `with label("time", 3):`)
    """Names the place for the nodes that this thread makes within it: printed by `Tape`, and told by `detect_anomaly`.

    Args:
        key: what kind of place: "layer", "cell", "step", "gate", or any other word.
        value: which one.

    Example:
        >>> x = Tensor(2.0, requires_grad=True)
        >>> with tg.label("step", 3):
        ...     y = x * x
        >>> str(tg.Tape(y)).split()[-2:]
        ['step', '3']
    """

    __slots__ = ("pair", "token")

    def __init__(self, key: str, value: Any) -> None:
        self.pair = (key, value)

    def __enter__(self) -> None:
        held, mark = held_surroundings.get(), this_thread.mark  # every gate of every step comes here: as an op does
        old = BARE if held is None or held[0] is not mark else held[1]
        new = Surroundings(old.recording, old.where + (self.pair,), old.watcher, old.recorder)  # noqa: RUF005  (half the time)
        self.token = held_surroundings.set((mark, new))

    def __exit__(self, *_: object) -> None:
        held_surroundings.reset(self.token)


class Watcher:
    """Sees every op while it is in force (see `detect_anomaly`)."""

    def forward(self, node: Any, primitive: Any, args: Any, parents: Any, out: Any, where: Where) -> None:
        """After an op has computed `out` of the raw values `args`, which came from the nodes `parents` (None: from
        none); `node` is what the op left on the tape, or None."""

    def begin(self, seed: Any) -> None:
        """Before a backward pass begins with the gradient `seed`."""

    def backward(self, node: Any, gradient: Any) -> None:
        """Before the rules of `node` run on the gradient of its result."""

    def gradient(self, node: Any, position: int, gradient: Any) -> None:
        """After a rule of `node` gave the gradient of its argument number `position`."""


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within it `watcher` sees every op of this thread."""
    old = current_surroundings.get()
    token = current_surroundings.set(Surroundings(old.recording, old.where, watcher, old.recorder))
    try:
        yield
    finally:
        current_surroundings.reset(token)


@contextmanager
def recording_with(recorder: OpRecorder) -> Iterator[None]:
    """Within it every op on a Box is handed to `recorder(primitive, args, params)` instead of being computed."""
    old = current_surroundings.get()
    token = current_surroundings.set(Surroundings(old.recording, old.where, old.watcher, recorder))
    try:
        yield
    finally:
        current_surroundings.reset(token)


def is_interpreted() -> bool:
    """Whether somebody takes down or watches every single op."""
    here = current_surroundings.get()
    return here.watcher is not None or here.recorder is not None
