"""The optimisers as their formulas: SGD, AdaGrad, AdaDelta, RMSprop, Adam.

Each is its formula and nothing else. `_update` gets a piece of a parameter `p`, of its gradient `g` and of
its accumulators, all of one shape, and two arrays to calculate in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinygrad_rnn.backend import Array, xp
from tinygrad_rnn.optim.clipping import Parameters, checked
from tinygrad_rnn.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p -= lr * g, stochastic gradient descent.

    With momentum v = momentum * v + g, p -= lr * v (Polyak 1964); Nesterov's form looks ahead, p -= lr * (g + momentum
    * v) (Sutskever et al. 2013, as PyTorch writes it).

    Args:
        parameters, weight_decay: as in `Optimizer`.
        lr: what the gradient is multiplied by.
        momentum: below 1; 0 keeps no v.
        nesterov: needs a momentum.

    Example:
        >>> w = Parameter([1.0, -2.0])
        >>> (w * w).sum().backward()
        >>> optim.SGD([w], lr=0.25).step()
        True
        >>> w
        Parameter([ 0.5, -1. ], shape=(2,), dtype=float32, requires_grad)
    """

    squares = False

    def __init__(
        self,
        parameters: Parameters,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = checked("momentum", momentum, below=1.0), nesterov
        if nesterov and not momentum:
            raise ValueError("nesterov needs a momentum above 0, got 0")
        self.accumulators = ("velocity",) if momentum else ()
        self.fade = None if momentum else 1.0

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        direction = g
        if state:
            (v,) = state
            v *= self.momentum
            v += g
            direction = v
            if self.nesterov:
                direction = xp(p).multiply(v, self.momentum, out=a)
                direction += g
        p -= xp(p).multiply(direction, self.lr, out=a)


class AdaGrad(Optimizer):
    """sum += g²; p -= lr * g / (sqrt(sum) + eps). Duchi, Hazan & Singer 2011, the diagonal form.

    Args:
        parameters, weight_decay: as in `Optimizer`.
        lr: the first step of an entry, whatever its gradient is.
        eps: above 0.

    Example:
        >>> w = Parameter([1.0, -2.0])
        >>> (w * w).sum().backward()
        >>> optim.AdaGrad([w], lr=0.5).step()
        True
        >>> w
        Parameter([ 0.5, -1.5], shape=(2,), dtype=float32, requires_grad)
    """

    accumulators = ("sum",)
    fade = 1.0

    def __init__(self, parameters: Parameters, lr: float = 1e-2, eps: float = 1e-10, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, lr, weight_decay, eps)

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        (total,) = state
        total += xp(p).multiply(g, g, out=a)
        xp(p).sqrt(total, out=a)
        a += self.eps
        xp(p).divide(g, a, out=a)
        a *= self.lr
        p -= a


class AdaDelta(Optimizer):
    """Zeiler 2012, algorithm 1, with E[.] a running mean of rate `decay` (the paper's rho):

    E[g²] takes in g²; d = g * sqrt(E[d²] + eps) / sqrt(E[g²] + eps); E[d²] takes in d²; p -= lr * d.

    Args:
        parameters, weight_decay: as in `Optimizer`.
        lr: 1 in the paper, which has none.
        decay: below 1.
        eps: above 0; the larger, the longer the first steps.

    Example:
        >>> w = Parameter([1.0, -2.0])
        >>> (w * w).sum().backward()
        >>> optim.AdaDelta([w], eps=1e-2).step()
        True
        >>> w
        Parameter([ 0.5636, -1.5556], shape=(2,), dtype=float32, requires_grad)
    """

    accumulators = ("grad_square", "step_square")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1.0,
        decay: float = 0.95,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, eps)
        self.decay = self.fade = checked("decay", decay, below=1.0)

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        lib, (grad_square, step_square) = xp(p), state
        _running_mean_of_square(grad_square, g, self.decay, a)
        d = lib.sqrt(lib.add(step_square, self.eps, out=a), out=a)
        d /= lib.sqrt(lib.add(grad_square, self.eps, out=b), out=b)
        d *= g
        _running_mean_of_square(step_square, d, self.decay, b)
        d *= self.lr
        p -= d


class RMSprop(Optimizer):
    """cache = decay * cache + (1 - decay) * g²; p -= lr * g / sqrt(cache + eps).

    Tieleman & Hinton 2012, lecture 6e, as the WildML tutorial writes it.

    Args:
        parameters, weight_decay: as in `Optimizer`.
        lr: about the step of an entry whose gradient keeps its size.
        decay: below 1.
        eps: above 0.
        eps_inside: False divides by sqrt(cache) + eps, as PyTorch does.

    Example:
        >>> w = Parameter([1.0, -2.0])
        >>> (w * w).sum().backward()
        >>> optim.RMSprop([w], lr=0.1, decay=0.75).step()
        True
        >>> w
        Parameter([ 0.8, -1.8], shape=(2,), dtype=float32, requires_grad)
    """

    accumulators = ("cache",)

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        decay: float = 0.9,
        eps: float = 1e-6,
        eps_inside: bool = True,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, eps)
        self.decay = self.fade = checked("decay", decay, below=1.0)
        self.eps_inside = eps_inside

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        lib, (cache,) = xp(p), state
        _running_mean_of_square(cache, g, self.decay, a)
        if self.eps_inside:
            lib.sqrt(lib.add(cache, self.eps, out=a), out=a)
        else:
            lib.add(lib.sqrt(cache, out=a), self.eps, out=a)
        lib.divide(g, a, out=a)
        a *= self.lr
        p -= a


class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1; with `weight_decay` AdamW (Loshchilov & Hutter 2019, algorithm 2).

    Args:
        parameters, weight_decay: as in `Optimizer`.
        lr: the largest step of an entry, about (the paper's alpha).
        betas: rates of the running means of g and of g², below 1.
        eps: above 0, beside the root.

    Example:
        >>> w = Parameter([1.0, -2.0])
        >>> (w * w).sum().backward()
        >>> optim.Adam([w], lr=0.1).step()
        True
        >>> w
        Parameter([ 0.9, -1.9], shape=(2,), dtype=float32, requires_grad)
    """

    accumulators = ("mean", "mean_square")

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, eps)
        if len(betas) != 2:
            raise ValueError(f"betas must be two numbers, got {betas!r}")
        self.betas = (checked("betas[0]", betas[0], below=1.0), checked("betas[1]", betas[1], below=1.0))

    def _update(self, now: int, p: Array, g: Array, state: Sequence[Array], a: Array, b: Array) -> None:
        lib, (mean, mean_square), (beta1, beta2) = xp(p), state, self.betas
        mean *= beta1
        mean += lib.multiply(g, 1 - beta1, out=a)
        _running_mean_of_square(mean_square, g, beta2, a)
        lib.sqrt(mean_square, out=a)
        a /= math.sqrt(1 - beta2**now)
        a += self.eps
        lib.divide(mean, a, out=a)
        a *= self.lr / (1 - beta1**now)
        p -= a


def _running_mean_of_square(mean: Array, x: Array, decay: float, scratch: Array) -> None:
    """mean = decay * mean + (1 - decay) * x², in place."""
    xp(x).multiply(x, x, out=scratch)
    scratch *= 1 - decay
    mean *= decay
    mean += scratch
