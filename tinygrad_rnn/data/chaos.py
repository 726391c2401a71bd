"""A chaotic series: smooth, never the same twice, and foretellable for a few steps."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.backend import HostArray

PARTS = 10
"""Steps of the integration in one of the series."""


def mackey_glass(length: int, rng: np.random.Generator, *, delay: int = 17) -> HostArray:
    """A series (T,) of the equation of Mackey & Glass (1977), with the constants under which it is chaotic:

        dx/dt = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x(t)

    one value for each unit of time, scaled to mean 0 and variance 1, after what its beginning, which `rng` draws, has
    left in it is gone. Integrated by the fourth-order Runge-Kutta method, with the delayed values between two steps
    halved."""
    past, before = delay * PARTS, 1000 * PARTS
    x = np.empty(past + 1 + before + length * PARTS)
    x[: past + 1] = 1.2 + 0.1 * rng.standard_normal(past + 1)
    step = 1 / PARTS

    def slope(value: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * value

    for i in range(past, len(x) - 1):
        now, old, new = float(x[i]), float(x[i - past]), float(x[i - past + 1])
        half = (old + new) / 2
        a = slope(now, old)
        b = slope(now + step / 2 * a, half)
        c = slope(now + step / 2 * b, half)
        d = slope(now + step * c, new)
        x[i + 1] = now + step / 6 * (a + 2 * b + 2 * c + d)
    series: HostArray = x[past + 1 + before :: PARTS][:length]
    scaled: HostArray = (series - series.mean()) / series.std()
    return scaled
