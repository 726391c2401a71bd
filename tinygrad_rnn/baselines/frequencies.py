"""What is said most often: the label, or each word's tag."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class MostFrequent(Baseline):
    """The most frequent output, whatever the input; of equally frequent ones the first to appear.

    Example:
        >>> baselines.MostFrequent().fit("abc", [1, 2, 2]).predict("z")
        [2]
    """

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.output = Counter(outputs).most_common(1)[0][0]

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [self.output] * len(inputs)


class TagFrequencies(Baseline):
    """Each word's most frequent tag, and for a word that was never seen the most frequent tag of all. An input is a
    sequence of words, and an output as many tags.

    Example:
        >>> sentences, tags = [["the", "dog"], ["a", "cat"]], [["DET", "NOUN"]] * 2
        >>> method = baselines.TagFrequencies().fit(sentences, tags)
        >>> method.predict([["the", "cat"]])
        [['DET', 'NOUN']]
    """

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        counts: defaultdict[Any, Counter[Any]] = defaultdict(Counter)
        for number, (words, tags) in enumerate(zip(inputs, outputs, strict=True)):
            if len(words) != len(tags):
                raise TextError(f"example {number} must have as many words as tags, got {len(words)} and {len(tags)}")
            for word, tag in zip(words, tags, strict=True):
                counts[word][tag] += 1
        total = sum(counts.values(), Counter())
        if not total:
            raise TextError("tag frequencies need a word, got none")
        self.tags = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
        self.otherwise = total.most_common(1)[0][0]

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [[self.tags.get(word, self.otherwise) for word in words] for words in inputs]
