"""What an op finds around it: is a tape wanted, where in the model are we, is somebody watching.

One immutable value per thread (and per asyncio task): setting it in one leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Where = tuple[tuple[str, Any], ...]
"""A place, from the outside in: (("layer", 0), ("cell", "GRUCell"), ("step", 3), ("gate", "z"))."""


OpRecorder = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Takes down an op instead of computing it: `recorder(primitive, args, params)` returns what stands for its result."""


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
        self.recording, self.where, self.watcher, self.recorder = recording, where, watcher, recorder


current_surroundings: ContextVar[Surroundings] = ContextVar("tinygrad_rnn.tape", default=Surroundings())  # noqa: B039  (never mutated)


@contextmanager
def recording(on: bool = True) -> Iterator[None]:
    """Within it ops leave nodes on the tape (or do not)."""
    old = current_surroundings.get()
    token = current_surroundings.set(Surroundings(on, old.where, old.watcher, old.recorder))
    try:
        yield
    finally:
        current_surroundings.reset(token)


def no_grad() -> Any:
    """`with no_grad():` — ops compute and leave nothing on the tape; results have no gradient."""
    return recording(False)


def is_recording() -> bool:
    """Whether ops leave nodes on the tape here, in this thread."""
    return current_surroundings.get().recording


class label:  # noqa: N801  (used as a statement: `with label("time", 3):`)
    """Names the place (layer, cell, time step, gate) for the nodes made within it: printed by `Tape`, and told
    by `detect_anomaly`."""

    __slots__ = ("pair", "token")

    def __init__(self, key: str, value: Any) -> None:
        self.pair = (key, value)

    def __enter__(self) -> None:
        old = current_surroundings.get()
        self.token = current_surroundings.set(
            Surroundings(old.recording, (*old.where, self.pair), old.watcher, old.recorder)
        )

    def __exit__(self, *_: object) -> None:
        current_surroundings.reset(self.token)


class Watcher:
    """Sees every op while it is in force (see `detect_anomaly`)."""

    def forward(self, node: Any, primitive: Any, out: Any, where: Where) -> None:
        """After an op has computed `out`; `node` is what it left on the tape, or None."""

    def backward(self, node: Any) -> None:
        """Before the rules of `node` run."""

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
