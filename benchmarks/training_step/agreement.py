"""Whether contestants compute the same: nothing is timed before their losses, gradients and steps agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from works import Arrays, Contestant, Work

STEPS = 3
LOSS, GRADIENT, MOVE = 1e-5, 1e-4, 1e-3
"""The largest differences of float32: of a loss, beside the loss; of a gradient's entries, beside the largest entry of
its array; and after `STEPS` steps of a weight's entries, beside the largest distance that an entry of its array went
(RMSprop divides by a root, which magnifies the difference of the smallest gradients)."""


class DisagreementError(Exception):
    """Two contestants compute different things."""


@dataclass
class Trace:
    """What a contestant computed."""

    losses: list[float]
    gradients: Arrays
    moves: Arrays


def trace(make: Callable[[Work, Arrays], Contestant], work: Work, weights: Arrays) -> Trace:
    """The loss and gradients of the first batch, and what `STEPS` training steps come to."""
    contestant = make(work, {name: w.copy() for name, w in weights.items()})
    first, gradients = contestant.gradients()
    gradients = {name: np.array(g) for name, g in gradients.items()}
    losses = [first] + [contestant.step() for _ in range(STEPS)]
    after = contestant.parameters()
    return Trace(losses, gradients, {name: after[name] - weights[name] for name in weights})


def differences(reference: Trace, other: Trace) -> dict[str, float]:
    """The largest relative differences in losses, gradients and moves."""
    losses = zip(reference.losses, other.losses, strict=True)
    return {
        "losses": max(abs(a - b) / abs(a) for a, b in losses),
        "gradients": _largest(reference.gradients, other.gradients),
        "moves": _largest(reference.moves, other.moves),
    }


def check(name: str, reference: Trace, other: Trace) -> dict[str, float]:
    """`differences`. Raises DisagreementError where one is too large to be rounding, naming it."""
    found = differences(reference, other)
    for what, limit in (("losses", LOSS), ("gradients", GRADIENT), ("moves", MOVE)):
        if not found[what] <= limit:
            raise DisagreementError(
                f"{name} computes something else: its {what} are off by {found[what]:.1e} of the reference's, "
                f"where {limit:.0e} would pass as rounding"
            )
    return found


def norm(gradients: Arrays) -> float:
    """The L2 norm of all gradients together."""
    return float(np.sqrt(sum(np.vdot(g, g).astype(float) for g in gradients.values())))


def _largest(reference: Arrays, other: Arrays) -> float:
    if reference.keys() != other.keys():
        raise DisagreementError(f"the names differ: {sorted(reference.keys() ^ other.keys())}")
    return max(float(np.abs(a - other[name]).max() / np.abs(a).max()) for name, a in reference.items())
