"""What every baseline is: something that is fitted to examples and predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Self

from tinygrad_rnn.data.messages import TextError


class Baseline(ABC):
    """What every baseline is: something that is fitted to examples and predicts, `MostFrequent` say.

    A subclass says how it learns from two lists of as many entries, `_learn`, and how it answers a list of inputs,
    `_answer`.
    """

    _fitted = False

    def fit(self, inputs: Iterable[Any], outputs: Iterable[Any]) -> Self:
        """Learns from these examples, and from no others that it has been fitted to before. Gives the baseline itself.
        Raises TextError for none, and for inputs and outputs that are not as many."""
        questions, answers = list(inputs), list(outputs)
        if len(questions) != len(answers) or not questions:
            raise TextError(
                f"inputs and outputs must be as many, and at least 1, got {len(questions):,} and {len(answers):,}"
            )
        self._learn(questions, answers)
        self._fitted = True
        return self

    def predict(self, inputs: Iterable[Any]) -> list[Any]:
        """An output for each input. Raises TextError where nothing has been fitted."""
        if not self._fitted:
            raise TextError(f"{type(self).__name__} must be fitted before it predicts")
        return self._answer(list(inputs))

    @abstractmethod
    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None: ...

    @abstractmethod
    def _answer(self, inputs: list[Any]) -> list[Any]: ...
