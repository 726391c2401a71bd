"""Whether a model is given the tokens that it was trained with. The bytes of a text do not say: what makes sentences
and words of them is NLTK, of one version or another, with its data or without."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_rnn.data.ragged import AT_A_TIME, Ragged
from tinygrad_rnn.data.vocabulary import Ids


def split_digest(train: Iterable[Ids], valid: Iterable[Ids]) -> str:
    """SHA-256 over the ids of both parts, and over where each sentence and each part ends."""
    digest = hashlib.sha256()
    for part in (train, valid):
        text = Ragged.of(part)
        for begin, end in zip(text.begins.tolist(), text.ends.tolist(), strict=True):
            digest.update(np.int64(end - begin).astype("<i8").tobytes())
            for place in range(begin, end, AT_A_TIME):
                digest.update(text.flat[place : min(place + AT_A_TIME, end)].astype("<i8").tobytes())
        digest.update(np.int64(-1).astype("<i8").tobytes())
    return digest.hexdigest()


def split_change(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How the split of an equal text differs from the one that was saved, and why as far as can be told; empty where
    it does not. Both are `Data.about`; a checkpoint of an older version knows less, the numbers of sentences and of
    tokens alone."""
    known = ("split_sha256",) if "split_sha256" in saved else ("sentences", "tokens")
    if all(saved[key] == now[key] for key in known):
        return ""
    sizes = [f"{about['sentences']:,} sentences of {about['tokens']:,} tokens" for about in (saved, now)]
    differs = "the text is the same, but not its tokens: " + (
        f"{sizes[0]} then, {sizes[1]} now" if sizes[0] != sizes[1] else f"{sizes[0]} then and now, not the same ones"
    )
    if "tokenizer" not in saved:
        return f"{differs} (another NLTK, or its Punkt data installed or removed since?)"
    return f"{differs} ({' and '.join(_causes(saved['tokenizer'], now['tokenizer'])) or 'why cannot be told'})"


def _causes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    causes = []
    if then.get("punkt_data") != now.get("punkt_data"):
        causes.append(
            "NLTK's Punkt data, which finds the sentences, "
            + ("has been installed since" if now.get("punkt_data") else "was installed and is not found now")
        )
    if then.get("nltk") != now.get("nltk"):
        causes.append(f"NLTK was {then.get('nltk')} and is {now.get('nltk')}")
    return causes
