"""What a language model does over a text, token by token: surprise, gates, what depends on what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.page import Reading
from tinygrad_rnn.inspection.tracing import Trace, trace
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Tensor

MOST_TOKENS = 150
"""Tokens that are read at most."""


def read(
    model: LanguageModel, vocabulary: Vocabulary, ids: HostArray, lead: int = 1, spelling: Sequence[str] | None = None
) -> Reading:
    """Reads ids (N,), of which the first `lead` are given and not asked for; of a longer text the beginning. `spelling`
    (N) has the tokens as the text has them. Raises TextError where there is nothing to ask for."""
    total = len(ids) - lead
    if total < 1:
        raise TextError("there is nothing to read: the text has no token that the model would be asked for")
    ids = ids[: MOST_TOKENS + lead]
    spelled = vocabulary.decode(ids) if spelling is None else list(spelling[: len(ids)])
    vectors = Tensor(model.embedding(ids[:, None]).data, requires_grad=True)
    outputs, units, untraced = _traced(model, vectors)
    logits = model.softmax().scores(outputs)[lead - 1 : -1, 0]
    asked = ids[lead:]
    nats = ops.softmax_cross_entropy(logits, asked, reduction="none")
    with no_grad():
        chances = to_host(ops.softmax(logits).data)
    depends = np.zeros((len(asked), len(asked) + 1))
    for t in range(len(asked)):
        vectors.grad = None
        nats[t].backward(retain=True)
        depends[t] = np.linalg.norm(to_host(vectors.grad)[lead - 1 :, 0].astype(np.float64), axis=1)
    model.zero_grad()
    counts = np.arange(len(ids) - 1)[:, None] >= lead - 1
    model.loss(ids[:-1, None], ids[1:, None], counts)[0].backward()
    gradients = {name: _norm(p.grad) for name, p in model.named_parameters()}
    model.zero_grad()
    likely = np.argsort(-chances, axis=1, kind="stable")[:, :5]
    return Reading(
        tokens=spelled[lead - 1 :],
        unknown=[bool(i == vocabulary.unknown) for i in ids[lead - 1 :]],
        total=total,
        nats=nats.numpy().astype(np.float64),
        guesses=[[(vocabulary.tokens[i], float(p[i])) for i in row] for p, row in zip(chances, likely, strict=True)],
        units={name: value[lead - 1 :, 0] for name, value in units.items() if value.ndim == 3},
        untraced=untraced,
        depends=depends,
        gradients=gradients,
        neighbours=_neighbours(model.embedding.weight.numpy(), vocabulary, list(dict.fromkeys(map(int, asked)))),
    )


def _traced(model: LanguageModel, vectors: Tensor) -> tuple[Tensor, Trace | dict[str, HostArray], str]:
    """What the recurrent layers put out, their gates and states, and why there are none of these."""
    try:
        with trace() as found:
            return model.recurrent(vectors)[0], found, ""
    except CannotRecord as error:
        return model.recurrent(vectors)[0], {}, str(error)


def _norm(gradient: Any) -> float:
    values = gradient.values if isinstance(gradient, RowSparse) else gradient
    return 0.0 if values is None else float(np.linalg.norm(to_host(values).astype(np.float64)))


def _neighbours(
    table: HostArray, vocabulary: Vocabulary, ids: list[int], count: int = 5
) -> dict[str, list[tuple[str, float]]]:
    """For each id the `count` nearest others by cosine; special tokens are left out."""
    special = vocabulary.end + 1
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit = (table / np.where(lengths == 0, 1, lengths)).astype(np.float64)
    found = {}
    for i in ids:
        if i < special:
            continue
        cosines = unit @ unit[i]
        cosines[:special], cosines[i] = -np.inf, -np.inf
        nearest = np.argsort(-cosines, kind="stable")[: min(count, len(table) - special - 1)]
        found[vocabulary.tokens[i]] = [(vocabulary.tokens[j], float(cosines[j])) for j in nearest]
    return found
