"""Tags by the tags before them: NLTK's n-gram taggers, of which each asks a shorter one where it knows nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tinygrad_rnn.baselines.baseline import Baseline
from tinygrad_rnn.data.messages import TextError


class TagNgrams(Baseline):
    """The most frequent tag of a word after the tags before it; of a word that was never seen, the most frequent one of
    words that end as it does, and else of words that were seen once. An input is a sequence of words, and an output as
    many tags.

    Args:
        order: one more than the tags before that are looked at.

    Example:
        >>> sentences, tags = [["they", "run"], ["a", "run"]], [["PRON", "VERB"], ["DET", "NOUN"]]
        >>> method = baselines.TagNgrams(order=2).fit(sentences, tags)
        >>> method.predict([["a", "run"], ["they", "run"]])
        [['DET', 'NOUN'], ['PRON', 'VERB']]
    """

    def __init__(self, order: int) -> None:
        if order < 1:
            raise TextError(f"order must be at least 1, got {order}")
        self.order = order

    def _learn(self, inputs: list[Any], outputs: list[Any]) -> None:
        import nltk.tag  # noqa: PLC0415  (takes half a second)

        sentences = [list(zip(words, tags, strict=True)) for words, tags in zip(inputs, outputs, strict=True)]
        words = Counter(word for sentence in sentences for word, _ in sentence)
        if not words:
            raise TextError("tag n-grams need a word, got none")
        least = min(words.values())
        rare = Counter(tag for sentence in sentences for word, tag in sentence if words[word] == least)
        tagger: Any = nltk.tag.DefaultTagger(rare.most_common(1)[0][0])
        tagger = nltk.tag.AffixTagger(sentences, backoff=tagger)
        for order in range(1, self.order + 1):
            tagger = nltk.tag.NgramTagger(order, sentences, backoff=tagger)
        self._tagger = tagger

    def _answer(self, inputs: list[Any]) -> list[Any]:
        return [[tag for _, tag in self._tagger.tag(list(words))] for words in inputs]
