"""The n-gram baseline: what a model of counted word sequences makes of the same tokens, so that a loss says something.

Interpolated Witten-Bell (Witten & Bell 1991, method C; Chen & Goodman 1999, equation 15): after a context h that was
seen c(h) times, with t(h) different words after it, and h' the context without its oldest word,

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h)),        p(w | h) = p(w | h') where c(h) = 0.

This is `nltk.lm.WittenBellInterpolated`, on arrays: that class takes 19 s for a million characters at order 5, which
are 2 s here for all orders up to it, and the tests hold both to the same numbers. In one point it differs: nltk's
recursion ends with the plain frequencies of words, so that one new word makes a text infinitely surprising; here it
ends, as in the papers, with all words equally likely.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.ragged import Ragged
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary


def ngram_nats(train: Iterable[Ids], valid: Iterable[Ids], order: int, vocabulary: Vocabulary) -> float:
    """Mean nats per token under n-grams. The tokens that count are those that count in `stream`: all but START and an
    unbroken text's first.

    Args:
        train, valid: sequences of ids as `stream` reads them, START ... END or one unbroken text; n-grams are counted
            in the first, and the second is scored.
        order: how many tokens an n-gram has.
        vocabulary: of the ids.

    Raises:
        TextError: a part has no token that counts.

    Example:
        >>> sentences = [["a", "b"], ["a", "b"], ["a", "c"]]
        >>> vocabulary = data.Vocabulary.build(sentences)
        >>> ids = [vocabulary.encode_sentence(sentence) for sentence in sentences]
        >>> unigram, bigram = (baselines.ngram_nats(ids, ids, n, vocabulary) for n in (1, 2))
        >>> bigram < unigram
        True
    """
    return ngram_nats_by_order(train, valid, order, vocabulary)[-1]


def ngram_nats_by_order(
    train: Iterable[Ids], valid: Iterable[Ids], highest: int, vocabulary: Vocabulary
) -> list[float]:
    """What `ngram_nats` gives for several orders, in the time that it takes for the highest.

    Args:
        train, valid, vocabulary: as in `ngram_nats`.
        highest: the last of the orders, from 1.

    Example:
        >>> sentences = [["a", "b"], ["a", "b"], ["a", "c"]]
        >>> vocabulary = data.Vocabulary.build(sentences)
        >>> ids = [vocabulary.encode_sentence(sentence) for sentence in sentences]
        >>> len(baselines.ngram_nats_by_order(ids, ids, 3, vocabulary))
        3
    """
    return [float(nats[~np.isnan(nats)].mean()) for nats in token_nats_by_order(train, valid, highest, vocabulary)]


def token_nats_by_order(
    train: Iterable[Ids], valid: Iterable[Ids], highest: int, vocabulary: Vocabulary
) -> list[HostArray]:
    """For the orders 1 to `highest` the nats (N,) of each of the N tokens of `valid`, its sequences end to end; NaN for
    those that do not count. Of a longer training part the first MOST_COUNTED tokens are counted. Raises as `ngram_nats`
    does."""
    if highest < 1:
        raise TextError(f"the order of an n-gram must be at least 1, got {highest}")
    text, start = Ragged.of(valid).flat, vocabulary.start
    # Before an unbroken text there is nothing, which is marked by an id that the other part does not have.
    learnt = _histories(Ragged.of(train).flat, slice(0, MOST_COUNTED), highest, start, nothing=-1)
    _need("train", learnt)
    found = np.full((highest, len(text)), np.nan)
    for begin in range(0, len(text), MOST_COUNTED):
        part = slice(begin, begin + MOST_COUNTED)
        asked = _histories(text, part, highest, start, nothing=-2)
        counts = np.flatnonzero(text[part] != start) + begin
        found[:, counts[counts > 0]] = _nats_by_order(learnt, asked, vocabulary)
    _need("valid", found[0, ~np.isnan(found[0])])
    return list(found)


MOST_COUNTED = 1 << 22
"""Tokens that are worked on at a time: up to 200 bytes each."""


def _nats_by_order(learnt: HostArray, asked: HostArray, vocabulary: Vocabulary) -> list[HostArray]:
    """Of tokens with their histories (order, N), the nats by the orders from 1 on."""
    seen, base = learnt.shape[1], len(vocabulary) + 2
    tokens = np.concatenate((learnt, asked), axis=1) + 2

    context = np.zeros(tokens.shape[1], dtype=np.int64)
    p = np.full(asked.shape[1], 1.0 / (len(vocabulary) - 2))  # nobody is ever asked for START or PADDING
    nats = []
    for j in range(len(tokens)):
        if j:
            context = _numbered(context * base + tokens[j])
        ngram = _numbered(context * base + tokens[0])
        h, hw = context[seen:], ngram[seen:]
        _, first = np.unique(ngram[:seen], return_index=True)  # where each n-gram of the training part stands
        c_hw = np.bincount(ngram[:seen], minlength=ngram.max() + 1)[hw]
        c_h = np.bincount(context[:seen], minlength=context.max() + 1)[h]
        t_h = np.bincount(context[first], minlength=context.max() + 1)[h]
        p = np.where(c_h > 0, (c_hw + t_h * p) / np.maximum(c_h + t_h, 1), p)
        nats.append(-np.log(p))
    return nats


def _histories(text: HostArray, part: slice, order: int, start: int, nothing: int) -> HostArray:
    """(order, N): for each of the N tokens of a part of a text that count, that token, the one before it, the one
    before that, and so on. Before START stands START."""
    before = text[max(part.start - order, 0) : part.start]
    near = np.concatenate([np.full(order - len(before), nothing), before, text[part]]).astype(np.int64)
    first = order + (part.start == 0)  # before the first token of all there is nothing
    rows = [near[first:]]
    for j in range(1, order):
        earlier = near[first - j : -j]
        rows.append(earlier if j == 1 else np.where(rows[-1] == start, start, earlier))
    found: HostArray = np.stack(rows)[:, rows[0] != start]
    return found


def _need(name: str, tokens: HostArray) -> None:
    if not tokens.size:
        raise TextError(f"{name} must have a token that something stands before, got none")


def _numbered(keys: HostArray) -> HostArray:
    """The keys (N,) as numbers from 0, equal keys as the same number, so that they stay small."""
    return np.unique(keys, return_inverse=True)[1]
