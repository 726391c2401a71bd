"""The works in PyTorch: with its own recurrent layers, and with a cell in a Python loop as one writes a cell of one's
own, its gates in one product and the input product before the loop.

- The embedding's gradient is dense with RMSprop: neither `torch.optim.RMSprop` nor `clip_grad_norm_` takes sparse ones.
  With plain SGD it is sparse, which is much faster there.
- torch.optim.RMSprop adds its epsilon outside the root. Ours is written with the same `torch._foreach` operations that
  it uses, the epsilon inside.
- PyTorch's layers have two biases where one does: the second is left out of the training, but for the candidate of a
  GRU, where it means something.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np
from works import GATES, Arrays, Work, endless, rms_rate

torch: Any = import_module("torch")  # typed or not, by version: the same to us
# On a GPU everybody multiplies float32, or everybody may take TF32, of 10 bits.
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = os.environ.get("CUPY_TF32") == "1"
nn = torch.nn
TORCH_GATES = {"gru": "rzn", "lstm": "ifgo"}


class Loop:
    """One layer as a Python loop over time."""

    def __init__(self, work: Work, layer: int, weights: dict[str, Any]) -> None:
        start = f"{layer}."
        own = {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}
        self.named = {name: nn.Parameter(w) for name, w in own.items()}
        everything: Any = (self.named.get(name) for name in "WUbcp")  # None what its cell has not
        self.W, self.U, self.b, self.c, self.p = everything
        self.cell, self.hidden = work.cell, work.hidden
        self.step = getattr(self, "_" + work.cell.replace("-", "_"))

    def __call__(self, xs: Any) -> tuple[Any, Any]:
        """(T,B,I) -> (T,B,H) and the last state, as the layers of PyTorch give them."""
        h = xs.new_zeros(xs.shape[1], self.hidden)
        state = (h, h) if self.cell in ("lstm", "peephole") else (h,)
        zs = xs if self.U is None else torch.addmm(self.b, xs.flatten(0, 1), self.U).view(*xs.shape[:2], -1)
        hs = []
        for z in zs.unbind(0):
            state = self.step(z, *state)
            hs.append(state[0])
        return torch.stack(hs), state

    def _tutorial(self, x: Any, h: Any) -> tuple[Any]:
        return (torch.addmm(x, h, self.W).tanh(),)

    def _lstm(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        a = torch.addmm(x, h, self.W)
        i, f, o = torch.sigmoid(a[:, : 3 * self.hidden]).chunk(3, 1)
        c = torch.addcmul(f * c, i, torch.tanh(a[:, 3 * self.hidden :]))
        return o * torch.tanh(c), c

    def _peephole(self, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        i, f, o, g = torch.addmm(x, h, self.W).chunk(4, 1)
        p_i, p_f, p_o = self.p.unbind(0)
        i, f = torch.sigmoid(torch.addcmul(i, c, p_i)), torch.sigmoid(torch.addcmul(f, c, p_f))
        c = torch.addcmul(f * c, i, torch.tanh(g))
        return torch.sigmoid(torch.addcmul(o, c, p_o)) * torch.tanh(c), c

    def _gru(self, x: Any, h: Any) -> tuple[Any]:
        H = self.hidden
        product = h @ self.W
        z, r = torch.sigmoid(x[:, : 2 * H] + product[:, : 2 * H]).chunk(2, 1)
        n = torch.tanh(torch.addcmul(x[:, 2 * H :], r, product[:, 2 * H :] + self.c))
        return (torch.lerp(n, h, z),)

    def _gru_before(self, x: Any, h: Any) -> tuple[Any]:
        H = self.hidden
        z, r = torch.sigmoid(torch.addmm(x[:, : 2 * H], h, self.W[:, : 2 * H])).chunk(2, 1)
        n = torch.tanh(torch.addmm(x[:, 2 * H :], r * h, self.W[:, 2 * H :]))
        return (torch.lerp(n, h, z),)


class InTorch:
    """A work in PyTorch. `built_in`: nn.RNN, nn.GRU or nn.LSTM."""

    def __init__(self, work: Work, weights: Arrays, built_in: bool) -> None:
        self.work, self.built_in = work, built_in
        with torch.device(work.device):
            self._make(weights)

    def _here(self, array: Any) -> Any:
        return torch.from_numpy(array).to(self.work.device)

    def _make(self, weights: Arrays) -> None:
        work, built_in = self.work, self.built_in
        self.all = [(self._here(ids), self._here(targets).flatten()) for ids, targets in work.batches()]
        self.batches = endless(self.all)
        H, V = work.hidden, work.vocabulary
        self.embedding = nn.Embedding(V, work.embedding, sparse=work.max_norm is None)
        self.output = nn.Linear(H, V, bias=work.cell != "tutorial")
        self.masked: list[Any] = []
        self.layers: Any = None
        self.loops: list[Loop] = []
        if not built_in:
            copies = {name: self._here(w.copy()) for name, w in weights.items()}
            self.loops = [Loop(work, layer, copies) for layer in range(work.layers)]
        elif work.cell == "tutorial":
            # nn.RNN always multiplies its input: by the identity, which costs next to nothing beside the rest.
            self.layers = nn.RNN(work.embedding, H, bias=False)
        else:
            kind, dtype = getattr(nn, work.cell.upper()), getattr(torch, work.dtype)
            self.layers = kind(work.embedding, H, work.layers, dtype=dtype)
        self._load(weights)
        self.run: list[Any] = [*self.loops] or [self.layers]
        modules = [self.embedding, self.output] + [self.layers] * built_in
        every = [p for module in modules for p in module.parameters()]
        every += [p for loop in self.loops for p in loop.named.values()]
        self.parameters_ = [p for p in every if p.requires_grad]
        self.caches = [torch.zeros_like(p) for p in self.parameters_]
        self.sgd = torch.optim.SGD(self.parameters_, work.lr)

    def backward(self, ids: Any, targets: Any) -> Any:
        """The loss; the gradients are in the parameters."""
        for p in self.parameters_:
            p.grad = None
        outputs = self.embedding(ids)
        for layer in self.run:
            outputs, _ = layer(outputs)
        reduction = "sum" if self.work.cell == "tutorial" else "mean"
        loss = nn.functional.cross_entropy(self.output(outputs.flatten(0, 1)), targets, reduction=reduction)
        loss.backward()
        for bias in self.masked:
            bias.grad[: 2 * self.work.hidden] = 0
        return loss

    def step(self) -> float:
        """One training step on the next batch."""
        loss = self.backward(*next(self.batches))
        if self.work.max_norm is None:
            self.sgd.step()
        else:
            nn.utils.clip_grad_norm_(self.parameters_, self.work.max_norm, foreach=True)
            self._rmsprop()
        return float(loss.item())

    def _rmsprop(self) -> None:
        lr, decay, eps = rms_rate(self.work)
        gradients = [p.grad for p in self.parameters_]
        with torch.no_grad():
            torch._foreach_mul_(self.caches, decay)
            torch._foreach_addcmul_(self.caches, gradients, gradients, value=1 - decay)
            roots = torch._foreach_add(self.caches, eps)
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(self.parameters_, gradients, roots, value=-lr)

    def gradients(self) -> tuple[float, Arrays]:
        """Of the first batch, before clipping."""
        loss = self.backward(*self.all[0])
        return float(loss.item()), self._shared(lambda p: p.grad.to_dense())

    def parameters(self) -> Arrays:
        """The weights under the shared names."""
        return self._shared(lambda p: p.detach())

    def _load(self, weights: Arrays) -> None:
        work, tensors = self.work, {name: self._here(w.copy()) for name, w in weights.items()}
        self.embedding.weight.data = tensors["embedding"]
        self.output.weight.data = tensors["output.W"].T.contiguous()
        if self.output.bias is not None:
            self.output.bias.data = tensors["output.b"]
        if not self.built_in:
            return
        if work.cell == "tutorial":
            self.layers.weight_ih_l0.data = torch.eye(work.hidden, device=work.device)
            self.layers.weight_ih_l0.requires_grad_(False)
            self.layers.weight_hh_l0.data = tensors["0.W"].T.contiguous()
            return
        for layer in range(work.layers):
            for ours, theirs in (("U", "weight_ih"), ("W", "weight_hh"), ("b", "bias_ih")):
                own = _reordered(weights[f"{layer}.{ours}"], GATES[work.cell], TORCH_GATES[work.cell])
                getattr(self.layers, f"{theirs}_l{layer}").data = self._here(np.ascontiguousarray(own.T))
            second = getattr(self.layers, f"bias_hh_l{layer}")
            second.data.zero_()
            if work.cell == "gru":
                second.data[2 * work.hidden :] = tensors[f"{layer}.c"]
                self.masked.append(second)
            else:
                second.requires_grad_(False)

    def _shared(self, of: Any) -> Arrays:
        def get(p: Any) -> Any:
            return of(p).cpu().numpy().copy()

        work = self.work
        shared = {"embedding": get(self.embedding.weight), "output.W": get(self.output.weight).T}
        if self.output.bias is not None:
            shared["output.b"] = get(self.output.bias)
        if not self.built_in:
            for layer, loop in enumerate(self.loops):
                shared |= {f"{layer}.{name}": get(p) for name, p in loop.named.items()}
            return shared
        if work.cell == "tutorial":
            return shared | {"0.W": get(self.layers.weight_hh_l0).T}
        for layer in range(work.layers):
            for ours, theirs in (("U", "weight_ih"), ("W", "weight_hh"), ("b", "bias_ih")):
                own = get(getattr(self.layers, f"{theirs}_l{layer}")).T
                shared[f"{layer}.{ours}"] = _reordered(own, TORCH_GATES[work.cell], GATES[work.cell])
            if work.cell == "gru":
                shared[f"{layer}.c"] = get(getattr(self.layers, f"bias_hh_l{layer}"))[2 * work.hidden :]
        return shared


def _reordered(side_by_side: Any, present: str, wanted: str) -> Any:
    """The gates along the last axis in another order."""
    gates = dict(zip(present, np.split(side_by_side, len(present), axis=-1), strict=True))
    return np.concatenate([gates[gate] for gate in wanted], axis=-1)


def built_in(work: Work, weights: Arrays) -> InTorch:
    """nn.Embedding, nn.RNN, nn.GRU or nn.LSTM, nn.Linear."""
    return InTorch(work, weights, built_in=True)


def cell_loop(work: Work, weights: Arrays) -> InTorch:
    """The recurrent layers as a Python loop over time."""
    return InTorch(work, weights, built_in=False)


def compiled_loop(work: Work, weights: Arrays) -> InTorch:
    """The same, each layer's loop made into kernels by torch.compile."""
    made = InTorch(work, weights, built_in=False)
    made.run = [torch.compile(loop) for loop in made.loops]
    return made
