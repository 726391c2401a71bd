"""A training step on a GPU asks for all of its work before the host waits for a number: at its end, for whether it was
applied, the loss and the norm of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import stand_in
from test_ranks import RUNS, begun, near, steps

AT_THE_END = ["bool", "item", "float"]

ASKED = {"words, an adaptive softmax"}
"""In the middle of whose steps the host must know which rows belong to a cluster."""


@pytest.mark.parametrize("name", RUNS)
def test_every_task_trains_without_a_wait_before_the_end_of_a_step(library: Any, name: str) -> None:
    if library is not stand_in.device:
        pytest.skip("the stand-in counts")
    task, options = RUNS[name]
    run = begun(task, options, device="cuda")
    taken, waits = run.steps(), []
    for _ in range(4):
        stand_in.waits.clear()
        next(taken)
        waits.append(list(stand_in.waits))
    told = ["item"] * len(options.get("penalty", ()))
    if name not in ASKED:
        assert waits == [AT_THE_END + told] * 4
    other = begun(task, options)
    steps(other, 4)
    near(run.model.state_dict(), other.model.state_dict(), 1e-9)
    assert np.isfinite(run.validate().loss)
