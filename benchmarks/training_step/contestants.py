"""Who takes part: our framework and its peers, by the names that the command line takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from works import Arrays, Contestant, Work

ALL = "W1 W1b W2 W2d W3 W4 W5 W5s"
GPU = "W1 W2 W4 W5 W6 W7"
NOT_OWN = "W1 W2 W5 W6 W7"
"""Those of cells that libraries have."""


@dataclass(frozen=True)
class Peer:
    """A module, imported only when its turn comes, and the function in it that makes the contestant."""

    title: str
    module: str
    function: str
    works: str
    agrees: bool = True
    """Whether it computes the same as ours, and so is compared first."""
    on_gpu: str = ""
    """The works that it does on a GPU."""

    def does(self, work: Work) -> bool:
        """Whether it takes part in a work."""
        return work.name in (self.on_gpu if work.device == "cuda" else self.works).split()

    def load(self) -> Callable[[Work, Arrays], Contestant]:
        """The function. Raises ImportError where the peer is not installed."""
        function: Callable[[Work, Arrays], Contestant] = getattr(importlib.import_module(self.module), self.function)
        return function


PEERS = {
    "ours": Peer("tinygrad_rnn", "ours", "make", ALL, on_gpu=GPU),
    "numpy": Peer("tinygrad_rnn, NumPy calls", "ours", "numpy_calls", ALL),
    "loop": Peer("tinygrad_rnn, plain loop", "ours", "plain_loop", ALL, on_gpu="W2 W4"),
    "own-lstm": Peer("tinygrad_rnn, built-in LSTM", "ours", "own_lstm", "W4", agrees=False),
    "hand": Peer("NumPy by hand", "by_hand", "make", "W1 W1b W2 W3 W5 W5s"),
    "floor": Peer("its matrix products alone", "gemm_floor", "make", ALL, agrees=False),
    "pieces": Peer("the same, in pieces", "gemm_floor", "pieces", ALL, agrees=False),
    "naive": Peer("NumPy as in 2015", "naive_2015", "make", "W3"),
    "torch": Peer("PyTorch, its own layers", "in_torch", "built_in", "W1 W2 W2d W3 W5 W5s", on_gpu=NOT_OWN),
    "torch-cell": Peer("PyTorch, a loop over cells", "in_torch", "cell_loop", ALL, on_gpu=GPU),
    "torch-compile": Peer("PyTorch, that loop compiled", "in_torch", "compiled_loop", "", on_gpu="W2 W4 W6 W7"),
    "jax": Peer("JAX, jit and scan", "in_jax", "make", "W1 W1b W2 W3 W4 W5 W5s", on_gpu=GPU),
    "autograd": Peer("HIPS autograd", "in_autograd", "make", "W1 W1b W2 W3 W4 W5s"),
}


def left_out(name: str, error: ImportError) -> str:
    """One sentence about a peer that cannot take part."""
    return f"{PEERS[name].title} is left out: {error}"
