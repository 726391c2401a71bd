"""A model as a function of its Parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_rnn import RowSparse, Tensor, gradcheck
from tinygrad_rnn.models import Module


def gradcheck_of_everything(
    module: Module, f: Callable[..., Any], *inputs: Any, order: int = 1, tolerance: float = 1e-6
) -> None:
    """gradcheck of `f(module, *inputs)` by the inputs and by every Parameter, and each of them takes part."""
    names = [name for name, _ in module.named_parameters()]
    assert names
    count = len(inputs)

    def of_all(*tensors: Tensor) -> Any:
        return f(module.with_values(dict(zip(names, tensors[count:], strict=True))), *tensors[:count])

    gradcheck(of_all, *inputs, *module.parameters(), order=order, tolerance=tolerance)
    results = f(module, *map(Tensor, inputs))
    module.zero_grad()
    for out in results if isinstance(results, tuple | list) else [results]:
        if out.requires_grad:
            out.backward(np.random.default_rng(0).standard_normal(out.shape), retain=True)
    unused = [name for name, p in module.named_parameters() if p.grad is None or not _dense(p.grad).any()]
    assert not unused, f"no gradient reaches {unused}"


def _dense(gradient: Any) -> Any:
    return gradient.dense() if isinstance(gradient, RowSparse) else gradient


def randomised(module: Any, seed: int = 0, scale: float = 0.5) -> Any:
    """The module with every weight drawn anew, biases too."""
    rng = np.random.default_rng(seed)
    for parameter in module.parameters():
        parameter.data = (scale * rng.standard_normal(parameter.shape)).astype(parameter.dtype)
    return module
