"""Sentences to train on, and sentences to validate on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_rnn.data.messages import TextError


def train_valid_split(
    sentences: Sequence[list[str]],
    fraction: float = 0.1,
    *,
    unbroken: bool | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[list[list[str]], list[list[str]]]:
    """(train, valid): the last `fraction` of the sentences validates, one sentence at the least.

    `unbroken` counts tokens instead, and cuts within a sequence where the boundary falls: the default where there is
    only one. `rng` draws the sentences that validate, for a list whose end is unlike the rest; both parts keep the
    order of the list. Raises TextError where a part would be empty, and for `rng` with a text that is unbroken."""
    if not 0 < fraction < 1:
        raise TextError(f"the fraction that validates must be above 0 and below 1, got {fraction}")
    if unbroken is None:
        unbroken = len(sentences) == 1
    total = sum(map(len, sentences)) if unbroken else len(sentences)
    if total < 2:
        what = "tokens" if unbroken else "sentences"
        raise TextError(f"a text to train and validate on must have at least 2 {what}, got {total}")
    cut = total - min(max(round(total * fraction), 1), total - 1)
    if rng is not None:
        if unbroken:
            raise TextError("rng draws sentences, and this text is unbroken: its end validates")
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
