"""A text about a vector without a recurrent network: what stands at each place, by linear least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class LinearWords(Baseline):
    """At each place the word, or the end, whose indicator least squares on the vector (F,) finds largest, whatever the
    words before it are. An input is a vector, and an output a text.

    Example:
        >>> method = baselines.LinearWords().fit(np.eye(2), ["a cat", "dogs run"])
        >>> method.predict(np.eye(2))
        ['a cat', 'dogs run']
    """

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        texts = [[*text.split(), ""] for text in outputs]
        self.words = sorted({word for words in texts for word in words})
        longest = max(map(len, texts))
        places = np.array(
            [[self.words.index(word) for word in [*words, *[""] * (longest - len(words))]] for words in texts]
        )
        targets = np.eye(len(self.words))[places].reshape(len(texts), -1)
        self.weights = np.linalg.lstsq(self._rows(inputs), targets, rcond=None)[0]

    def _answer(self, inputs: list[Any]) -> list[Any]:
        scores = (self._rows(inputs) @ self.weights).reshape(len(inputs), -1, len(self.words))
        said = [[self.words[place] for place in row] for row in scores.argmax(-1)]
        return [" ".join(words[: words.index("")] if "" in words else words) for words in said]

    def _rows(self, inputs: list[Any]) -> Any:
        sizes = {np.shape(vector) for vector in inputs}
        if len(sizes) > 1 or any(len(size) != 1 for size in sizes):
            raise TextError(f"the vectors must be of one size, got {sorted(sizes)}")
        return np.column_stack([np.stack(inputs), np.ones(len(inputs))])
