"""Learning-rate schedules: small objects that set the `lr` of an optimiser.

Every schedule has `step(loss=None) -> lr`, called once per optimiser step or once per epoch, as the caller
counts, and `state_dict()` and `load_state_dict()` for exact resume. A schedule over time has an `lr` itself,
so schedules nest: `HalveOnRise(CosineDecay(optimizer, steps=1000))` halves what the cosine starts from.
"""

from __future__ import annotations

import math
from typing import Protocol

from tinygrad_rnn.optim.clipping import checked


class HasLr(Protocol):
    """An optimiser, or a schedule to nest in."""

    @property
    def lr(self) -> float: ...
    @lr.setter
    def lr(self, value: float) -> None: ...


class Schedule:
    """A factor over time: after n calls of `step()` the target's lr is `lr * factor(n)`.

    `lr` is the target's when the schedule is made. In the first `warmup` steps the factor grows linearly:
    (n + 1) / (warmup + 1); `factor` then counts from the end of the warm-up. The lr of step 0 is set at once.
    """

    def __init__(self, target: HasLr, warmup: int = 0) -> None:
        self.target, self.count = target, 0
        self.warmup = int(checked("warmup", warmup))
        self.lr = target.lr

    def factor(self, n: int) -> float:
        """What multiplies lr at the n-th step after the warm-up."""
        raise NotImplementedError

    @property
    def lr(self) -> float:
        """What the factor multiplies; setting it sets the target's lr."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = float(value)
        n = self.count - self.warmup
        self.target.lr = self._lr * (self.factor(n) if n >= 0 else (self.count + 1) / (self.warmup + 1))

    def step(self, loss: float | None = None) -> float:
        """Count one step, and set and return the target's lr. The loss is not looked at."""
        self.count += 1
        self.lr = self._lr
        return self.target.lr

    def state_dict(self) -> dict[str, float]:
        """The position and the lr, as plain numbers."""
        return {"count": self.count, "lr": self._lr}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue where `state_dict()` was taken; sets the target's lr."""
        self.count = int(state["count"])
        self.lr = state["lr"]


class StepDecay(Schedule):
    """factor ** (n // every), times the lr that the target has now.

    Args:
        target: an optimiser, or a schedule to nest in.
        every: how many steps the lr stays as it is.
        factor: above 0.
        warmup: steps in which the lr rises first; n counts from their end.

    Example:
        >>> sgd = optim.SGD([Parameter([1.0])], lr=0.8)
        >>> schedule = optim.StepDecay(sgd, every=2)
        >>> [schedule.step() for _ in range(4)]
        [0.8, 0.4, 0.4, 0.2]
    """

    def __init__(self, target: HasLr, every: int, factor: float = 0.5, warmup: int = 0) -> None:
        self.every = int(checked("every", every, low=1))
        self.rate = checked("factor", factor, strict=True)
        super().__init__(target, warmup)

    def factor(self, n: int) -> float:
        return self.rate ** (n // self.every)


class ExponentialDecay(Schedule):
    """factor ** n, times the lr that the target has now.

    Args:
        target: an optimiser, or a schedule to nest in.
        factor: above 0.
        warmup: steps in which the lr rises first; n counts from their end.

    Example:
        >>> sgd = optim.SGD([Parameter([1.0])], lr=0.8)
        >>> schedule = optim.ExponentialDecay(sgd, factor=0.5)
        >>> [schedule.step() for _ in range(3)]
        [0.4, 0.2, 0.1]
    """

    def __init__(self, target: HasLr, factor: float, warmup: int = 0) -> None:
        self.rate = checked("factor", factor, strict=True)
        super().__init__(target, warmup)

    def factor(self, n: int) -> float:
        return self.rate**n


class CosineDecay(Schedule):
    """Half a cosine from 1 down to `final`, times the lr that the target has now; constant from there.

    Loshchilov & Hutter 2017 (SGDR), equation 5, without restarts.

    Args:
        target: an optimiser, or a schedule to nest in.
        steps: where the end is, the warm-up included.
        warmup: steps in which the lr rises first, below `steps`.
        final: what is left at the end, as a part of the lr.

    Example:
        >>> sgd = optim.SGD([Parameter([1.0])], lr=1.0)
        >>> schedule = optim.CosineDecay(sgd, steps=4)
        >>> [round(schedule.step(), 3) for _ in range(5)]
        [0.854, 0.5, 0.146, 0.0, 0.0]
    """

    def __init__(self, target: HasLr, steps: int, warmup: int = 0, final: float = 0.0) -> None:
        self.steps = int(checked("steps", steps, low=1))
        self.final = checked("final", final)
        if warmup >= self.steps:
            raise ValueError(f"warmup must be below steps = {self.steps}, got {warmup}")
        super().__init__(target, warmup)

    def factor(self, n: int) -> float:
        done = min(1.0, n / (self.steps - self.warmup))
        return self.final + 0.5 * (1.0 - self.final) * (1.0 + math.cos(math.pi * done))


class HalveOnRise:
    """The WildML tutorial's schedule: where the loss rose since it was last evaluated, halve the lr.

    The tutorial evaluates before each epoch, so `step(loss)` belongs there. What is not finite counts as a rise.

    Args:
        target: an optimiser, or a schedule to nest in.
        factor: above 0, instead of one half.

    Example:
        >>> sgd = optim.SGD([Parameter([1.0])], lr=0.8)
        >>> schedule = optim.HalveOnRise(sgd)
        >>> [schedule.step(loss) for loss in (3.0, 2.0, 2.5)]
        [0.8, 0.8, 0.4]
    """

    def __init__(self, target: HasLr, factor: float = 0.5) -> None:
        self.target, self.rate = target, checked("factor", factor, strict=True)
        self.last: float | None = None

    def step(self, loss: float | None = None) -> float:
        """Compare with the last loss; set and return the target's lr. Raises ValueError without a loss."""
        if loss is None:
            raise ValueError("loss must be given to HalveOnRise.step, got None")
        loss = float(loss)
        if not math.isfinite(loss) or (self.last is not None and loss > self.last):
            self.target.lr *= self.rate
        if math.isfinite(loss):
            self.last = loss
        return self.target.lr

    def state_dict(self) -> dict[str, float]:
        """The last loss, where there was one. (The lr is kept by the target.)"""
        return {} if self.last is None else {"last": self.last}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue where `state_dict()` was taken."""
        self.last = state.get("last")
