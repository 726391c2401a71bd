"""A layer forward and backward on a GPU, beside PyTorch's (cuDNN), with the same weights.

    python benchmarks/gpu_layers.py

The numbers are compared first. Then all take turns; the medians in milliseconds, float32. PyTorch's are told twice:
with products of float32, as ours are, and of TF32, which it allows cuDNN unless it is told otherwise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np
import torch

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import GRU, LSTM
from tinygrad_rnn.models.conversions import to_torch

SIZES = ((128, 32, 24), (256, 64, 64), (512, 256, 64), (1024, 256, 64))
"""H (and as many inputs), B and T."""
KINDS: dict[str, tuple[Any, Any]] = {
    "LSTM": (LSTM, torch.nn.LSTM),
    "GRU": (lambda *sizes, **options: GRU(*sizes, recurrent_bias=True, **options), torch.nn.GRU),
}


def both(kind: str, H: int, B: int, T: int) -> tuple[Callable[[], list[Any]], Callable[[], list[Any]]]:
    """A step of each library: outputs, and the gradient of the inputs."""
    ours, theirs = KINDS[kind]
    rng = np.random.default_rng(0)
    layer = ours(H, H, rng=rng)
    peer = theirs(H, H)
    peer.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in to_torch(layer).items()})
    x, weights = (rng.standard_normal((T, B, H)).astype(np.float32) for _ in range(2))
    layer, peer = layer.to("cuda"), peer.cuda()
    mine, their_weights = Tensor(cupy.asarray(x), requires_grad=True), torch.from_numpy(weights).cuda()
    own_weights, other = Tensor(cupy.asarray(weights)), torch.from_numpy(x).cuda().requires_grad_()

    def step() -> list[Any]:
        layer.zero_grad()
        mine.grad = None
        outputs = layer(mine)[0]
        (outputs * own_weights).sum().backward()
        return [outputs.data, mine.grad]

    def peer_step() -> list[Any]:
        peer.zero_grad()
        other.grad = None
        outputs = peer(other)[0]
        (outputs * their_weights).sum().backward()
        assert other.grad is not None
        return [outputs.detach(), other.grad]

    return step, peer_step


def allow_tf32(on: bool) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = on


def seconds(step: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()  # for what both libraries have asked of the device
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print(torch.cuda.get_device_name(), "CuPy", cupy.__version__, "PyTorch", torch.__version__)
    for kind in KINDS:
        for H, B, T in SIZES:
            step, peer = both(kind, H, B, T)
            allow_tf32(False)
            for a, b in zip(step(), peer(), strict=True):
                np.testing.assert_allclose(cupy.asnumpy(a), b.cpu().numpy(), rtol=1e-3, atol=1e-4)
            times: dict[str, list[float]] = {"ours": [], "cuDNN": [], "cuDNN, TF32": []}
            for _ in range(rounds + 3):
                for name, tf32 in (("ours", False), ("cuDNN", False), ("cuDNN, TF32", True)):
                    allow_tf32(tf32)
                    times[name].append(seconds(step if name == "ours" else peer))
            told = "  ".join(f"{name} {1000 * statistics.median(each[3:]):.2f}" for name, each in times.items())
            print(f"{kind} H {H}, B {B}, T {T}: {told} ms")


if __name__ == "__main__":
    main()
