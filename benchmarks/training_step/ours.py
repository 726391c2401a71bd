"""The works in tinygrad_rnn, through its public names only, as a user writes them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from works import DECAY, EPS, GATES, Arrays, Work, endless

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, RowSparse, Tensor, ops
from tinygrad_rnn.backend import to_host
from tinygrad_rnn.models import Cell, Embedding, LanguageModel, Module, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.optim import SGD, RMSprop
from tinygrad_rnn.optim.clipping import clipped_by_norm


class PeepholeLSTMCell(Cell):
    """Gers & Schmidhuber 2000: the gates see the cell state, through one weight per unit."""

    gates = "i f o g"
    state = "h c"

    def setup(self) -> None:
        self.p_i, self.p_f, self.p_o = (Parameter(np.zeros(self.hidden_size)) for _ in range(3))

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i = sigmoid(self.i(x, h) + c * self.p_i)
        f = sigmoid(self.f(x, h) + c * self.p_f)
        c = f * c + i * tanh(self.g(x, h))
        o = sigmoid(self.o(x, h) + c * self.p_o)
        return o * tanh(c), c


class TutorialCell(Cell):
    """s' = tanh(x + s W): a one-hot input picks a column of the tutorial's U, so that x is that column already."""

    def setup(self) -> None:
        self.W = Parameter(np.zeros((self.hidden_size, self.hidden_size)))

    def step(self, x: Tensor, s: Tensor) -> Tensor:
        return tanh(x + s @ self.W)


class TutorialModel(Module):
    """Britz 2015, "Recurrent Neural Networks Tutorial", part 2: o = softmax(s V), without biases, its loss summed."""

    def __init__(self, vocabulary: int, hidden: int) -> None:
        self.embedding = Embedding(vocabulary, hidden)
        self.recurrent = Recurrent(TutorialCell, hidden, hidden)
        self.output_weight = Parameter(np.zeros((hidden, vocabulary)), dtype=np.float32)

    def loss(self, ids: Any, targets: Any) -> tuple[Tensor, Any]:
        """ids and targets (T,B) -> nats, the state."""
        outputs, state = self.recurrent(self.embedding(ids))
        return ops.linear_cross_entropy(outputs, self.output_weight, None, targets, reduction="sum"), state


OPTIONS: dict[str, dict[str, Any]] = {
    "gru": {"cell": "gru", "reset": "after", "recurrent_bias": True},
    "gru-before": {"cell": "gru", "reset": "before"},
    "lstm": {"cell": "lstm"},
    "peephole": {"cell": PeepholeLSTMCell},
}


class Ours:
    """A work in tinygrad_rnn. `compiled` as `tg.compiled` takes it. `options` go to the recurrent layers."""

    def __init__(self, work: Work, weights: Arrays, compiled: bool | str = True, **options: Any) -> None:
        self.work, self.compiled = work, compiled
        self.all = work.batches()  # on the host, as `fit` has them, whatever the device
        self.batches = endless(self.all)
        self.model: Any
        if work.cell == "tutorial":
            self.model = TutorialModel(work.vocabulary, work.hidden)
        else:
            self.model = LanguageModel(
                work.vocabulary,
                work.embedding,
                work.hidden,
                work.layers,
                dtype=work.dtype,
                **OPTIONS[work.cell],
                **options,
            )
        self.model.load_state_dict(_split(work, weights))
        self.model.to(work.device)
        self.all_parameters = self.model.parameters()
        self.optimizer: SGD | RMSprop
        if work.max_norm is None:
            self.optimizer = SGD(self.all_parameters, work.lr)
        else:
            self.optimizer = RMSprop(self.all_parameters, work.lr, DECAY, EPS)

    def step(self) -> float:
        """One training step on the next batch."""
        ids, targets = next(self.batches)
        with self._mode():
            self.optimizer.zero_grad()
            loss, _ = self.model.loss(ids, targets)
            loss.backward()
        if self.work.max_norm is not None:
            clipped_by_norm(self.all_parameters, self.work.max_norm)
        self.optimizer.step()
        return float(loss.item())

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first batch, before clipping."""
        self.optimizer.zero_grad()
        with self._mode():
            loss, _ = self.model.loss(*self.all[0])
            loss.backward()
        named = {name: p.grad for name, p in self.model.named_parameters()}
        self.optimizer.zero_grad()
        return float(loss.item()), _joined(
            self.work, {name: to_host(g.dense() if isinstance(g, RowSparse) else g) for name, g in named.items()}
        )

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return _joined(self.work, self.model.state_dict())

    def _mode(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.compiled is True else tg.compiled(self.compiled)


def make(work: Work, weights: Arrays, **options: Any) -> Ours:
    """As it is used."""
    return Ours(work, weights, **options)


def numpy_calls(work: Work, weights: Arrays) -> Ours:
    """With loops of NumPy calls, where machine code could be had too."""
    return Ours(work, weights, compiled="numpy")


def plain_loop(work: Work, weights: Arrays) -> Ours:
    """With every step of every sequence on the tape."""
    return Ours(work, weights, compiled=False)


def own_lstm(work: Work, weights: Arrays) -> Ours:
    """The built-in LSTM at the sizes of a user's cell."""
    del weights  # of another cell
    work = replace(work, cell="lstm")
    return Ours(work, work.weights())


def _names(work: Work) -> dict[str, list[str]]:
    """Per shared name the Parameters of the model that make it up, side by side."""
    names = {"embedding": ["embedding.weight"], "output.W": ["output_weight"]}
    if work.cell == "tutorial":
        return names | {"0.W": ["recurrent.cells.0.W"]}
    names |= {"output.b": ["output_bias"]}
    for layer in range(work.layers):
        cell = f"recurrent.cells.{layer}"
        for part in "UWb":
            names[f"{layer}.{part}"] = [f"{cell}.{gate}.{part}" for gate in GATES[work.cell]]
        if work.cell == "gru":
            names[f"{layer}.c"] = [f"{cell}.n.c"]
        if work.cell == "peephole":
            names[f"{layer}.p"] = [f"{cell}.p_{gate}" for gate in "ifo"]
    return names


def _split(work: Work, shared: Arrays) -> Arrays:
    """From the shared names to the model's."""
    parts: Arrays = {}
    for name, own in _names(work).items():
        pieces = list(shared[name]) if name.endswith(".p") else np.split(shared[name], len(own), axis=-1)
        parts |= dict(zip(own, pieces, strict=True))
    return parts


def _joined(work: Work, parts: dict[str, Any]) -> Arrays:
    """And back."""
    join: dict[str, Any] = {}
    for name, own in _names(work).items():
        pieces = [parts[each] for each in own]
        join[name] = np.stack(pieces) if name.endswith(".p") else np.concatenate(pieces, axis=-1)
    return join
