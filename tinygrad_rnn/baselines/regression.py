"""Numbers as outputs: their mean, or what is linear in the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class MeanOutput(Baseline):
    """The mean of the outputs, numbers, whatever the input.

    Example:
        >>> baselines.MeanOutput().fit("abc", [1.0, 2.0, 6.0]).predict("z")
        [3.0]
    """

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.mean = float(np.mean(outputs))

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [self.mean] * len(inputs)


class LinearRegression(Baseline):
    """The linear function of all entries of an input, with a constant, whose squared error is the least; of several the
    one of the smallest weights. Inputs are arrays of one shape, outputs are numbers.

    Example:
        >>> method = baselines.LinearRegression().fit(np.array([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0])
        >>> round(method.predict(np.array([[3.0]]))[0], 6)
        7.0
    """

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.shape = np.shape(inputs[0])
        self.weights = np.linalg.lstsq(self._table(inputs), np.array(outputs, dtype=np.float64), rcond=None)[0]

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return (self._table(inputs) @ self.weights).tolist()  # type: ignore[no-any-return]  # of numbers

    def _table(self, inputs: list[Any]) -> HostArray:
        """A row for each input, and a last column that is 1. Raises TextError."""
        if strange := [np.shape(each) for each in inputs if np.shape(each) != self.shape]:
            raise TextError(f"inputs of the shape {self.shape} were expected, got {strange[0]}")
        entries = np.array(inputs, dtype=np.float64).reshape(len(inputs), -1)
        return np.concatenate([entries, np.ones((len(inputs), 1))], axis=1)
