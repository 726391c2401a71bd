"""The works that are timed: which model, how large, on what data, from which weights. Plain NumPy, so that every
contestant starts from the same numbers.

T time, B batch, I input features, E embedding, H hidden units, V vocabulary, N = T*B, G gates.

Weights and gradients go by these names, with the gates of a layer side by side in the order of `GATES`:

    embedding (V,E)    L.U (I,G*H)    L.W (H,G*H)    L.b (G*H,)    output.W (H,V)    output.b (V,)
    L.c (H,)      a GRU with its reset gate after the product: the candidate's second bias
    L.p (3,H)     peepholes to the gates i, f, o

where L counts the layers from 0. The tutorial's network has embedding, 0.W and output.W alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]
Arrays = dict[str, Floats]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]

GATES = {"gru": "zrn", "gru-before": "zrn", "lstm": "ifog", "peephole": "ifog", "tutorial": "n"}
DECAY, EPS = 0.9, 1e-6  # of RMSprop
BATCHES = 4  # different ones, in turn: the rows of the embedding that a step touches are then not always the same


class Contestant(Protocol):
    """One way of doing a work. Made from the work and the weights; batches come in the order of `Work.batches`."""

    def step(self) -> float:
        """One training step on the next batch: forward, backward, clipping, update. The loss before the update."""

    def gradients(self) -> tuple[float, Arrays]:
        """The loss of the first batch and its gradients before clipping. Changes nothing."""

    def parameters(self) -> Arrays:
        """The weights as they are now."""


@dataclass(frozen=True)
class Work:
    """A training step. `targets` are the ratios to peers, ours / theirs, that the project aims at, and `on_one_thread`
    those that are others there."""

    name: str
    title: str
    cell: str
    vocabulary: int
    embedding: int
    hidden: int
    batch: int
    steps: int
    layers: int = 1
    lr: float = 1e-3
    dtype: str = "float32"
    max_norm: float | None = 0.05  # below the norm of every batch, so that every step scales its gradients
    device: str = "cpu"
    targets: dict[str, float] = field(default_factory=dict)
    on_one_thread: dict[str, float] = field(default_factory=dict)

    @property
    def gates(self) -> int:
        """G."""
        return len(GATES[self.cell])

    @property
    def tokens(self) -> int:
        """N: the tokens that a step predicts."""
        return self.steps * self.batch

    @property
    def flops(self) -> int:
        """Of the matrix products of a training step: forward, and for each twice as many backward."""
        H, GH = self.hidden, self.gates * self.hidden
        inputs = [0 if self.cell == "tutorial" else self.inputs(layer) for layer in range(self.layers)]
        return 6 * self.tokens * (sum((features + H) * GH for features in inputs) + H * self.vocabulary)

    def inputs(self, layer: int) -> int:
        """I: the input features of a layer."""
        return self.hidden if layer else self.embedding

    def batches(self) -> list[Batch]:
        """`BATCHES` pairs of ids and targets, each (T,B). Ids are drawn by Zipf's law (Mandelbrot 1953), so that a
        step meets as many different ones as it does in text; the target is the next id."""
        rng = np.random.default_rng([1, self.vocabulary, self.steps, self.batch])
        chances = 1 / (np.arange(self.vocabulary) + 2.7)
        text = rng.choice(self.vocabulary, (BATCHES, self.steps + 1, self.batch), p=chances / chances.sum())
        return [(np.ascontiguousarray(ids[:-1]), np.ascontiguousarray(ids[1:])) for ids in text]

    def weights(self) -> Arrays:
        """Initial weights: uniform within 1/sqrt(H), which keeps gates and gradients away from their extremes."""
        rng, H, V = np.random.default_rng(0), self.hidden, self.vocabulary
        wanted: dict[str, tuple[int, ...]] = {"embedding": (V, self.embedding), "output.W": (H, V)}
        if self.cell == "tutorial":
            wanted |= {"0.W": (H, H)}
        else:
            wanted |= {"output.b": (V,)}
            for layer in range(self.layers):
                wanted |= {
                    f"{layer}.U": (self.inputs(layer), self.gates * H),
                    f"{layer}.W": (H, self.gates * H),
                    f"{layer}.b": (self.gates * H,),
                }
                if self.cell == "gru":
                    wanted |= {f"{layer}.c": (H,)}
                if self.cell == "peephole":
                    wanted |= {f"{layer}.p": (3, H)}
        bound = 1 / np.sqrt(H)
        return {name: rng.uniform(-bound, bound, shape).astype(self.dtype) for name, shape in wanted.items()}


def endless(items: list[Any]) -> Iterator[Any]:
    """The items in turn, for ever."""
    while True:
        yield from items


def rms_rate(work: Work) -> tuple[float, float, float]:
    """RMSprop's learning rate, decay and epsilon: cache = decay*cache + (1-decay)*g², p -= lr*g/sqrt(cache + eps)."""
    return work.lr, DECAY, EPS


_WORD = Work("W1", "words, 2 x GRU 128, reset after the product", "gru", 8000, 48, 128, 32, 24, layers=2)
_CHARACTERS = Work("W2", "characters, LSTM 256", "lstm", 96, 64, 256, 64, 64)
_LONG = Work("W5", "characters, LSTM 128, 1,000 steps", "lstm", 96, 64, 128, 16, 1000)

WORKS = {
    work.name: work
    for work in (
        replace(
            _WORD,
            targets={"torch": 0.45, "jax": 0.65, "floor": 1.3},
            on_one_thread={"torch": 0.35, "jax": 0.55, "floor": 1.15},
        ),
        replace(
            _WORD,
            name="W1b",
            title="words, 2 x GRU 128, reset before the product",
            cell="gru-before",
            targets={"jax": 0.65, "floor": 1.3},
            on_one_thread={"jax": 0.55, "floor": 1.15},
        ),
        replace(_CHARACTERS, targets={"torch": 0.75, "jax": 0.40, "floor": 1.0}),
        replace(
            _CHARACTERS,
            name="W2d",
            title="characters, LSTM 256, in float64",
            dtype="float64",
            targets={"torch": 0.8},
        ),
        Work(
            *("W3", "the WildML tutorial: tanh RNN 100, one sentence of 45", "tutorial", 8000, 100, 100, 1, 45),
            lr=0.005,
            max_norm=None,
            targets={"naive": 0.04, "torch": 0.65, "jax": 1.1, "floor": 1.5},
            on_one_thread={"torch": 0.50, "floor": 1.15},
        ),
        Work(
            *("W4", "characters, a user's peephole LSTM 256", "peephole", 96, 64, 256, 64, 64),
            targets={"torch-cell": 0.40, "jax": 0.40, "floor": 1.05, "own-lstm": 1.1},
            on_one_thread={"torch-cell": 0.45, "floor": 1.0},
        ),
        replace(
            _LONG,
            targets={"torch": 0.60, "torch-cell": 0.45, "jax": 0.30, "floor": 0.75},
            on_one_thread={"jax": 0.35, "floor": 0.95},
        ),
        replace(
            _LONG,
            name="W5s",
            title="characters, LSTM 128, 100 steps",
            steps=100,
            targets={"torch": 1.0, "jax": 0.60, "floor": 1.2},
            on_one_thread={"torch": 0.95, "jax": 0.65, "floor": 1.1},
        ),
    )
}


ON_GPU = {"torch": 1.3, "torch-cell": 0.2, "jax": 1.0}
"""The ratios that are aimed at on a GPU."""
GPU_WORKS = {
    work.name: replace(work, device="cuda", targets=ON_GPU, on_one_thread={})
    for work in (
        *(WORKS[name] for name in ("W1", "W2", "W4", "W5")),
        Work("W6", "characters, LSTM 512", "lstm", 96, 64, 512, 256, 64),
        Work("W7", "characters, LSTM 1,024", "lstm", 96, 64, 1024, 256, 64),
    )
}


def works_on(device: str) -> dict[str, Work]:
    """By name, those that are timed on "cpu" or "cuda"."""
    return GPU_WORKS if device == "cuda" else WORKS
