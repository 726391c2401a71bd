"""Linear cells in our framework, in PyTorch and in JAX: what `linear_cells.py` compares and times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from agreement import DisagreementError, Trace
from works import Arrays

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.models import Recurrent
from tinygrad_rnn.models.cells_by_name import CELLS

TITLES = {"mingru": "minGRU", "sru": "SRU", "s4d": "S4D", "mamba": "Mamba"}
STATE_SIZE = 16
"""Of a channel of S4D and of Mamba, whose states are (B,H,16)."""
IN_LAYER = "cells.0."
"""What the names of the cell's weights begin with in the layer, and not here."""


@dataclass(frozen=True)
class Case:
    """What one process measures. As many inputs as hidden units."""

    cell: str
    hidden: int
    batch: int
    steps: int
    rounds: int
    threads: int

    def layer(self) -> Recurrent:
        """Of our framework."""
        return Recurrent(CELLS[self.cell], self.hidden, self.hidden, rng=np.random.default_rng(0))

    def arrays(self) -> Arrays:
        """What there are gradients of: the weights of our layer by their names in the cell (`z.U`, `z.b`), and the
        inputs `xs` (T,B,H). A mistake about a weight that is 0 would not be seen: those that begin so are drawn."""
        rng = np.random.default_rng(1)
        found: Arrays = {name.removeprefix(IN_LAYER): w for name, w in self.layer().state_dict().items()}
        for weight in found.values():
            if not weight.any():
                weight[...] = rng.uniform(-0.5, 0.5, weight.shape)
        return found | {"xs": rng.standard_normal((self.steps, self.batch, self.hidden), np.float32)}


# --- Contestants -------------------------------------------------------------------------------------------------


class Contestant:
    """One way of computing a case."""

    def compute(self) -> tuple[float, dict[str, Any]]:
        """The loss, and its gradients by the names of `Case.arrays`, in arrays of the contestant's own."""
        raise NotImplementedError

    def step(self) -> float:
        """What is timed."""
        return self.compute()[0]

    def trace(self) -> Trace:
        """What is compared. No weight moves here: the gradients stand for that, too. Raises DisagreementError."""
        loss, found = self.compute()
        if absent := [name for name, gradient in found.items() if gradient is None]:
            raise DisagreementError(f"{type(self).__name__} has no gradient of {', '.join(absent)}: it does not use it")
        gradients = {name: np.array(gradient) for name, gradient in found.items()}
        return Trace([loss], gradients, gradients)


class Ours(Contestant):
    """In tinygrad_rnn, as a user writes it. `engine` as `tg.compiled` takes it."""

    def __init__(self, case: Case, arrays: Arrays, engine: str) -> None:
        with tg.compiled(engine):  # raises ImportError where it is not installed
            self.engine = engine
        self.layer = case.layer()
        self.layer.load_state_dict({f"{IN_LAYER}{name}": w for name, w in arrays.items() if name != "xs"})
        self.xs = tg.Tensor(arrays["xs"], requires_grad=True)
        self.leaves: dict[str, Any] = {"xs": self.xs}
        self.leaves |= {name.removeprefix(IN_LAYER): p for name, p in self.layer.named_parameters()}

    def compute(self) -> tuple[float, dict[str, Any]]:
        for leaf in self.leaves.values():
            leaf.grad = None
        with tg.compiled(self.engine):
            y, _ = self.layer(self.xs)
            loss = ops.sum(y * y)
            loss.backward()
        return float(loss.item()), {name: leaf.grad for name, leaf in self.leaves.items()}


class InTorch(Contestant):
    """A Python loop over the steps. What does not read the state is computed for all steps before it, each gate's
    product by itself: with the gates side by side it was not faster."""

    def __init__(self, case: Case, arrays: Arrays) -> None:
        self.torch: Any = import_module("torch")  # typed or not, by version: the same to us
        self.w: dict[str, Any] = {name: self.torch.tensor(a, requires_grad=True) for name, a in arrays.items()}
        runs: dict[str, Callable[[], Any]] = {
            "mingru": self._mingru,
            "sru": self._sru,
            "s4d": self._s4d,
            "mamba": self._mamba,
        }
        self.run = runs[case.cell]

    def compute(self) -> tuple[float, dict[str, Any]]:
        for w in self.w.values():
            w.grad = None
        y = self.run()
        loss = (y * y).sum()
        loss.backward()
        return float(loss.item()), {name: w.grad for name, w in self.w.items()}

    def _gate(self, name: str) -> Any:
        """x @ U + b for all steps: (T,B,H)."""
        xs = self.w["xs"]
        return self.torch.addmm(self.w[f"{name}.b"], xs.flatten(0, 1), self.w[f"{name}.U"]).unflatten(0, xs.shape[:2])

    def _mingru(self) -> Any:
        torch, xs = self.torch, self.w["xs"]
        zs, ns = torch.sigmoid(self._gate("z")), self._gate("n")
        h, hs = xs.new_zeros(xs.shape[1:]), []
        for z, n in zip(zs.unbind(0), ns.unbind(0), strict=True):
            h = torch.lerp(h, n, z)
            hs.append(h)
        return torch.stack(hs)

    def _sru(self) -> Any:
        torch, xs = self.torch, self.w["xs"]
        f_own, r_own = self.w["f_own"], self.w["r_own"]
        steps = (each.unbind(0) for each in (xs, self._gate("n"), self._gate("f"), self._gate("r")))
        c, hs = xs.new_zeros(xs.shape[1:]), []
        for x, n, f_of_x, r_of_x in zip(*steps, strict=True):
            f = torch.sigmoid(torch.addcmul(f_of_x, f_own, c))
            r = torch.sigmoid(torch.addcmul(r_of_x, r_own, c))
            c = torch.lerp(n, c, f)
            hs.append(torch.lerp(x, c, r))
        return torch.stack(hs)

    def _s4d(self) -> Any:
        torch, w = self.torch, self.w
        a, b, p, q = _discretised(torch, w)
        us = self._gate("u")
        re = im = us.new_zeros((*us.shape[1:], STATE_SIZE))
        ys = []
        for u in us.unbind(0):
            wide = u[:, :, None]
            re, im = a * re - b * im + p * wide, b * re + a * im + q * wide
            ys.append(2 * (w["C_re"] * re - w["C_im"] * im).sum(-1))
        return torch.stack(ys) + w["D"] * us

    def _mamba(self) -> Any:
        torch, w = self.torch, self.w
        us, Cs = self._gate("u"), self._gate("C")
        steps = (us, torch.nn.functional.softplus(self._gate("delta")), self._gate("B"), Cs)
        A, h, ys = -torch.exp(w["A_log"]), us.new_zeros((*us.shape[1:], STATE_SIZE)), []
        for u, delta, B, C in zip(*(each.unbind(0) for each in steps), strict=True):
            wide = delta[:, :, None]
            h = torch.exp(wide * A) * h + wide * B[:, None, :] * u[:, :, None]
            ys.append((C[:, None, :] * h).sum(-1))
        return torch.stack(ys) + w["D"] * us


def _discretised(library: Any, w: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """S4D's A and B for a step of time, by zero-order hold (Gu et al. 2022, section 3.1), in real and imaginary
    parts."""
    delta, A_re, A_im = library.exp(w["delta_log"]), -library.exp(w["decay_log"]), w["frequency"]
    re, im = delta * A_re, delta * A_im
    one = library.expm1(re) * library.cos(im) - 2 * library.sin(im / 2) ** 2, library.exp(re) * library.sin(im)
    size = A_re**2 + A_im**2
    return one[0] + 1, one[1], (one[0] * A_re + one[1] * A_im) / size, (one[1] * A_re - one[0] * A_im) / size


class InJax(Contestant):
    """One jitted function, with `lax.scan` over the steps, or `associative`. Each gate's product by itself, before:
    with the gates side by side it was not faster."""

    def __init__(self, case: Case, arrays: Arrays, associative: bool = False) -> None:
        self.jax: Any = import_module("jax")  # typed or not, by version: the same to us
        self.w: dict[str, Any] = {name: self.jax.numpy.array(a) for name, a in arrays.items()}
        scans: dict[str, Callable[[dict[str, Any]], Any]] = {
            "mingru": self._mingru_as_tree if associative else self._mingru,
            "sru": self._sru,
            "s4d": self._s4d,
            "mamba": self._mamba,
        }
        run = scans[case.cell]

        def loss(w: dict[str, Any]) -> Any:
            y = run(w)
            return (y * y).sum()

        self.function: Any = self.jax.jit(self.jax.value_and_grad(loss))

    def compute(self) -> tuple[float, dict[str, Any]]:
        loss, gradients = self.jax.block_until_ready(self.function(self.w))
        return float(loss), gradients

    def _gate(self, w: dict[str, Any], name: str) -> Any:
        """x @ U + b for all steps: (T,B,H)."""
        return w["xs"] @ w[f"{name}.U"] + w[f"{name}.b"]

    def _scan(self, step: Callable[[Any, Any], tuple[Any, Any]], inputs: tuple[Any, ...], state: Any = None) -> Any:
        """The outputs of all steps, from `state`, zeros of the shape of an input unless told."""
        state = self.jax.numpy.zeros_like(inputs[0][0]) if state is None else state
        return self.jax.lax.scan(step, state, inputs)[1]

    def _wide(self, us: Any) -> Any:
        """A state of zeros (B,H,STATE_SIZE)."""
        return self.jax.numpy.zeros((*us.shape[1:], STATE_SIZE), us.dtype)

    def _mingru(self, w: dict[str, Any]) -> Any:
        def step(h: Any, inputs: Any) -> tuple[Any, Any]:
            z, n = inputs
            h = (1 - z) * h + z * n
            return h, h

        return self._scan(step, (self.jax.nn.sigmoid(self._gate(w, "z")), self._gate(w, "n")))

    def _mingru_as_tree(self, w: dict[str, Any]) -> Any:
        def joined(first: Any, second: Any) -> tuple[Any, Any]:
            """Of h -> a h + b and another such, the two one after the other: it is of that form, too."""
            (a, b), (c, d) = first, second
            return c * a, c * b + d

        z = self.jax.nn.sigmoid(self._gate(w, "z"))
        return self.jax.lax.associative_scan(joined, (1 - z, z * self._gate(w, "n")))[1]

    def _sru(self, w: dict[str, Any]) -> Any:
        sigmoid = self.jax.nn.sigmoid

        def step(c: Any, inputs: Any) -> tuple[Any, Any]:
            x, n, f, r = inputs
            f, r = sigmoid(f + w["f_own"] * c), sigmoid(r + w["r_own"] * c)
            c = f * c + (1 - f) * n
            return c, r * c + (1 - r) * x

        return self._scan(step, (w["xs"], *(self._gate(w, name) for name in "nfr")))

    def _s4d(self, w: dict[str, Any]) -> Any:
        a, b, p, q = _discretised(self.jax.numpy, w)

        def step(state: Any, u: Any) -> tuple[Any, Any]:
            (re, im), wide = state, u[:, :, None]
            re, im = a * re - b * im + p * wide, b * re + a * im + q * wide
            return (re, im), 2 * (w["C_re"] * re - w["C_im"] * im).sum(-1)

        us = self._gate(w, "u")
        return self._scan(step, us, (self._wide(us), self._wide(us))) + w["D"] * us

    def _mamba(self, w: dict[str, Any]) -> Any:
        jnp = self.jax.numpy
        A = -jnp.exp(w["A_log"])

        def step(h: Any, inputs: Any) -> tuple[Any, Any]:
            u, delta, B, C = inputs
            wide = delta[:, :, None]
            h = jnp.exp(wide * A) * h + wide * B[:, None, :] * u[:, :, None]
            return h, (C[:, None, :] * h).sum(-1)

        us = self._gate(w, "u")
        inputs = (us, self.jax.nn.softplus(self._gate(w, "delta")), self._gate(w, "B"), self._gate(w, "C"))
        return self._scan(step, inputs, self._wide(us)) + w["D"] * us
