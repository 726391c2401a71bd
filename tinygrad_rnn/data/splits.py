"""Parts to train on, to validate on and to test on: of a text, and of examples."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.ragged import Ragged

_Example = TypeVar("_Example")


def train_valid_split(
    sentences: Sequence[list[str]],
    fraction: float = 0.1,
    *,
    unbroken: bool | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[list[list[str]], list[list[str]]]:
    """(train, valid): the end of the sentences validates. Both parts keep the order of the list.

    Args:
        sentences: lists of tokens.
        fraction: how large a part validates, one sentence at the least.
        unbroken: counts tokens instead, and cuts within a sequence where the boundary falls: the default where there is
            only one.
        rng: draws the sentences that validate, for a list whose end is unlike the rest.

    Raises:
        TextError: a part would be empty, or `rng` is given with a text that is unbroken.

    Example:
        >>> data.train_valid_split([["a"], ["b"], ["c"], ["d"]], fraction=0.25)
        ([['a'], ['b'], ['c']], [['d']])
    """
    if unbroken is None:
        unbroken = len(sentences) == 1
    total = sum(map(len, sentences)) if unbroken else len(sentences)
    cut = _place_of_cut(total, fraction, unbroken, rng)
    if rng is not None:
        drawn = rng.permutation(total)
        return [sentences[i] for i in sorted(drawn[:cut])], [sentences[i] for i in sorted(drawn[cut:])]
    if not unbroken:
        return list(sentences[:cut]), list(sentences[cut:])
    train, valid = [], []
    for sequence in sentences:
        train.append(sequence[:cut])
        valid.append(sequence[cut:])
        cut = max(cut - len(sequence), 0)
    return [part for part in train if part], [part for part in valid if part]


def ragged_split(
    sentences: Ragged, fraction: float, unbroken: bool, rng: np.random.Generator | None = None
) -> tuple[Ragged, Ragged]:
    """What `train_valid_split` gives, of sentences that lie end to end."""
    total = len(sentences.flat) if unbroken else len(sentences)
    cut = _place_of_cut(total, fraction, unbroken, rng)
    if rng is not None:
        drawn = rng.permutation(total)
        return sentences.picked(np.sort(drawn[:cut])), sentences.picked(np.sort(drawn[cut:]))
    return sentences.cut(cut) if unbroken else (sentences[:cut], sentences[cut:])


def _place_of_cut(total: int, fraction: float, unbroken: bool, rng: np.random.Generator | None) -> int:
    """How many tokens of an unbroken text train, or sentences of another."""
    if not 0 < fraction < 1:
        raise TextError(f"the fraction that validates must be above 0 and below 1, got {fraction}")
    if total < 2:
        what = "tokens" if unbroken else "sentences"
        raise TextError(f"a text to train and validate on must have at least 2 {what}, got {total}")
    if rng is not None and unbroken:
        raise TextError("rng draws sentences, and this text is unbroken: its end validates")
    return total - min(max(round(total * fraction), 1), total - 1)


def shuffled_split(
    examples: Sequence[_Example], rng: np.random.Generator, valid: float = 0.1, test: float = 0.1
) -> tuple[list[_Example], list[_Example], list[_Example]]:
    """(train, valid, test), drawn by chance.

    Args:
        examples: of any kind.
        rng: draws.
        valid, test: how large a part of the examples validates and tests, one example at the least unless it is to be
            0; the rest trains.

    Raises:
        TextError: there are too few examples for that.

    Example:
        >>> [len(part) for part in data.shuffled_split(range(50), rng, valid=0.1, test=0.2)]
        [35, 5, 10]
    """
    return _cut(examples, rng.permutation(len(examples)), _sizes(len(examples), valid, test))


def stratified_split(
    examples: Sequence[_Example],
    rng: np.random.Generator,
    valid: float = 0.1,
    test: float = 0.1,
    *,
    key: Callable[[_Example], Hashable] = operator.itemgetter(1),  # type: ignore[assignment]  # of pairs (input, label)
) -> tuple[list[_Example], list[_Example], list[_Example]]:
    """What `shuffled_split` gives, each label in each part as often as in all examples, to within two, and in the
    training part once at the least.

    Args:
        examples, rng, valid, test: as in `shuffled_split`.
        key: makes the label of an example; its second entry unless told.

    Raises:
        TextError: the training part has not room for every label.

    Example:
        >>> examples = [(number, "even" if number % 2 == 0 else "odd") for number in range(40)]
        >>> train, valid, test = data.stratified_split(examples, rng)
        >>> len(train), sum(label == "odd" for _, label in train)
        (32, 16)
    """
    sizes = _sizes(len(examples), valid, test)
    order = rng.permutation(len(examples))
    members: dict[Hashable, list[int]] = {}
    for i in order:
        members.setdefault(key(examples[i]), []).append(i)
    if len(members) > sizes[0]:
        raise TextError(
            f"the training part must have every label, and {len(examples):,} examples leave it {sizes[0]:,} for "
            f"{len(members):,} labels"
        )
    # Systematic sampling: the examples of a label stand at equal distances from 0 to 1, and the parts are cut there.
    place = np.empty(len(examples))
    for rows in members.values():
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
        place[rows[0]] = -1.0
    order = np.argsort(place, kind="stable")
    parts = [rng.permutation(part) for part in np.split(order, np.cumsum(sizes)[:-1])]
    return _cut(examples, np.concatenate(parts), sizes)


def _sizes(total: int, valid: float, test: float) -> tuple[int, int, int]:
    """How many examples train, validate and test."""
    for what, fraction in (("validates", valid), ("tests", test), ("validates or tests", valid + test)):
        if not 0 <= fraction < 1:
            raise TextError(f"the fraction that {what} must be at least 0 and below 1, got {fraction}")
    counts = [max(round(total * fraction), 1) if fraction else 0 for fraction in (valid, test)]
    parts = 1 + np.count_nonzero(counts)
    if total < parts:
        raise TextError(f"{parts} parts must have an example each, got {total} examples")
    while sum(counts) >= total:
        counts[counts.index(max(counts))] -= 1
    return total - sum(counts), counts[0], counts[1]


def _cut(
    examples: Sequence[_Example], order: HostArray, sizes: tuple[int, int, int]
) -> tuple[list[_Example], list[_Example], list[_Example]]:
    train, valid, test = ([examples[i] for i in part] for part in np.split(order, np.cumsum(sizes)[:-1]))
    return train, valid, test
