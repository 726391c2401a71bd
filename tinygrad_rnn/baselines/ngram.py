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
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary


def ngram_nats(train: Iterable[Ids], valid: Iterable[Ids], order: int, vocabulary: Vocabulary) -> float:
    """Mean nats per token of `valid` under n-grams of `order` tokens that were counted in `train`.

    Both are sequences of ids as `stream` reads them, START ... END or one unbroken text, and the tokens that count are
    the same ones: all but START and an unbroken text's first. Raises TextError where a part has none."""
    return ngram_nats_by_order(train, valid, order, vocabulary)[-1]


def ngram_nats_by_order(
    train: Iterable[Ids], valid: Iterable[Ids], highest: int, vocabulary: Vocabulary
) -> list[float]:
    """What `ngram_nats` gives for the orders 1 to `highest`, in the time that it takes for the highest."""
    return [float(nats[~np.isnan(nats)].mean()) for nats in token_nats_by_order(train, valid, highest, vocabulary)]


def token_nats_by_order(
    train: Iterable[Ids], valid: Iterable[Ids], highest: int, vocabulary: Vocabulary
) -> list[HostArray]:
    """For the orders 1 to `highest` the nats (N,) of each of the N tokens of `valid`, its sequences end to end; NaN for
    those that do not count. Raises as `ngram_nats` does."""
    valid = list(valid)
    if highest < 1:
        raise TextError(f"the order of an n-gram must be at least 1, got {highest}")
    # Before an unbroken text there is nothing, which is marked by an id that the other part does not have.
    learnt = _histories("train", train, highest, vocabulary.start, nothing=-1)
    asked = _histories("valid", valid, highest, vocabulary.start, nothing=-2)
    seen, base = learnt.shape[1], len(vocabulary) + 2
    tokens = np.concatenate((learnt, asked), axis=1) + 2

    context = np.zeros(tokens.shape[1], dtype=np.int64)
    p = np.full(asked.shape[1], 1.0 / (len(vocabulary) - 2))  # nobody is ever asked for START or PADDING
    nats = []
    for j in range(highest):
        if j:
            context = _numbered(context * base + tokens[j])
        ngram = _numbered(context * base + tokens[0])
        h, hw = context[seen:], ngram[seen:]
        _, first = np.unique(ngram[:seen], return_index=True)  # where each n-gram of the training part stands
        c_hw = np.bincount(ngram[:seen], minlength=ngram.max() + 1)[hw]
        c_h = np.bincount(context[:seen], minlength=context.max() + 1)[h]
        t_h = np.bincount(context[first], minlength=context.max() + 1)[h]
        p = np.where(c_h > 0, (c_hw + t_h * p) / np.maximum(c_h + t_h, 1), p)
        nats.append(_in_place(-np.log(p), valid, vocabulary.start))
    return nats


def _in_place(values: HostArray, sequences: list[Ids], start: int) -> HostArray:
    """Values of the tokens that count, where these stand among all."""
    text = np.concatenate(sequences)
    found = np.full(len(text), np.nan)
    found[1:][text[1:] != start] = values
    return found


def _histories(name: str, sequences: Iterable[Ids], order: int, start: int, nothing: int) -> HostArray:
    """(order, N): for each of the N tokens that count, that token, the one before it, the one before that, and so on.
    Before START stands START."""
    text = np.concatenate([np.full(order, nothing), *sequences])
    rows = [text[order + 1 :]]
    for j in range(1, order):
        before = text[order + 1 - j : -j]
        rows.append(before if j == 1 else np.where(rows[-1] == start, start, before))
    found = np.stack(rows)[:, rows[0] != start]
    if not found.size:
        raise TextError(f"{name} must have a token that something stands before, got none")
    return found


def _numbered(keys: HostArray) -> HostArray:
    """The keys (N,) as numbers from 0, equal keys as the same number, so that they stay small."""
    return np.unique(keys, return_inverse=True)[1]
