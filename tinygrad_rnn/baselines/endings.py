"""What the end of an input says: of a name, a word, a verse."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class Endings(Baseline):
    """The most frequent label of the inputs that end alike. An input is a sequence of symbols or a text of characters,
    and an output a label.

    Args:
        longest: how many symbols are compared.
        least: where fewer inputs end so, one symbol less is compared, and so on down to none.

    Example:
        >>> method = baselines.Endings().fit(["anna", "maria", "peter", "walter"], "ffmm")
        >>> method.predict(["julia", "dieter"])
        ['f', 'm']
    """

    def __init__(self, longest: int = 5, least: int = 2) -> None:
        if longest < 0 or least < 1:
            raise TextError(f"longest must be at least 0 and least at least 1, got {longest} and {least}")
        self.longest, self.least = longest, least

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        counts: defaultdict[Any, Counter[Any]] = defaultdict(Counter)
        for symbols, label in zip(inputs, outputs, strict=True):
            for ending in self._endings(symbols):
                counts[ending][label] += 1
        often = {ending: labels for ending, labels in counts.items() if labels.total() >= self.least or not ending}
        self.labels = {ending: labels.most_common(1)[0][0] for ending, labels in often.items()}

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [next(self.labels[each] for each in self._endings(symbols) if each in self.labels) for symbols in inputs]

    def _endings(self, symbols: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The longest first; the last one is empty."""
        for length in range(min(self.longest, len(symbols)), -1, -1):
            yield tuple(symbols[len(symbols) - length :])
