"""What a language model does over a text, token by token: surprise, gates, what depends on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn import ops
from tinygrad_rnn.backend import to_host
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tape import no_grad
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.text import TextError, Vocabulary
from tinygrad_rnn.tracing import trace

MOST = 150
"""Tokens that are read at most."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reading:
    """A text of T tokens, each of which the model was asked for.

    tokens: as they are spelled; read: what was read just before each was asked for; nats: -log p of each (T,), its
    surprise; guesses: for each the most likely tokens with their chances; units: gates and states by name, (T,H), when
    the token was asked for; depends (T,T): row t has the norms of the gradient of surprise t by the vectors of `read`;
    gradients: the norm of the mean surprise's gradient by each Parameter; neighbours: for words of the text the nearest
    ones in the embedding, with the cosine."""

    tokens: list[str]
    read: list[str]
    nats: Array
    guesses: list[list[tuple[str, float]]]
    units: dict[str, Array]
    depends: Array
    gradients: dict[str, float]
    neighbours: dict[str, list[tuple[str, float]]]


def read(model: LanguageModel, vocabulary: Vocabulary, ids: Array, lead: int = 1) -> Reading:
    """Reads ids (T+1,), of which the first `lead` are given and not asked for; of a longer text the beginning. Raises
    TextError where there is nothing to ask for."""
    ids = ids[: MOST + lead]
    if len(ids) <= lead:
        raise TextError("there is nothing to read: the text has no token that the model would be asked for")
    inputs, targets = ids[:-1, None], ids[1:, None]
    vectors = Tensor(model.embedding(inputs).data, requires_grad=True)
    with trace() as tr:
        outputs, _ = model.recurrent(vectors)
    logits = outputs @ model.output_matrix() + model.output_bias
    nats = ops.softmax_cross_entropy(logits, targets, reduction="none")
    with no_grad():
        chances = to_host(ops.softmax(logits).data)[:, 0]
    asked = range(lead - 1, len(inputs))
    depends = np.zeros((len(asked), len(asked)))
    for row, t in enumerate(asked):
        vectors.grad = None
        nats[t, 0].backward(retain=True)
        norms = np.linalg.norm(to_host(vectors.grad)[:, 0].astype(np.float64), axis=1)
        depends[row] = norms[lead - 1 :]
    model.zero_grad()
    model.loss(inputs, targets)[0].backward()
    gradients = {name: _norm(p.grad) for name, p in model.named_parameters()}
    model.zero_grad()
    likely = np.argsort(-chances, axis=1, kind="stable")[:, :5]
    return Reading(
        tokens=vocabulary.decode(ids[lead:]),
        read=vocabulary.decode(ids[lead - 1 : -1]),
        nats=nats.numpy()[lead - 1 :, 0].astype(np.float64),
        guesses=[[(vocabulary.tokens[i], float(chances[t, i])) for i in likely[t]] for t in asked],
        units={name: value[lead - 1 :, 0] for name, value in tr.items() if value.ndim == 3},
        depends=depends,
        gradients=gradients,
        neighbours=_neighbours(
            model.embedding.weight.numpy(), vocabulary, list(dict.fromkeys(int(i) for i in ids[lead:]))
        ),
    )


def _norm(gradient: Any) -> float:
    values = gradient.values if isinstance(gradient, RowSparse) else gradient
    return 0.0 if values is None else float(np.linalg.norm(to_host(values).astype(np.float64)))


def _neighbours(
    table: Array, vocabulary: Vocabulary, ids: list[int], count: int = 5
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
