"""
Forward mode, and why reverse
=============================

A tape is walked from its end to its beginning. But the chain rule has no direction: one may as
well begin with the inputs and carry derivatives along with the values, op by op. That is
**forward mode** (Wengert 1964). It needs no tape, it is some twenty lines, and it is the older
one. This page grows it, counts what it costs, and finds where it is the better of the two.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tape, Tensor, ops

rng = np.random.default_rng(0)

# %%
# What is pushed forward
# ----------------------
# Let ``f`` take n numbers and give m. Its derivative at ``x`` is a matrix ``J`` of m rows and n
# columns: how much each result changes with each input. Nobody wants the matrix, which is
# large; one wants to multiply with it. There are two sides to do it from:
#
# .. code-block:: text
#
#    J v      the inputs move in the direction v: how do the results move?      forward
#    uᵀ J     the results are weighed by u: how does the sum change by each     reverse
#             of the inputs?
#
# The first is a **Jacobian-vector product**. To have it, give every number a companion: the
# rate at which it changes while the inputs move along ``v``. Such a pair is a **dual number**,
# and to calculate with it is the chain rule: rates of sums add, a product's rate is ``a' b + a
# b'``, and ``tanh`` multiplies the rate with its slope.


class Dual:
    """A value, and its rate."""

    def __init__(self, value: Any, rate: Any) -> None:
        self.value, self.rate = value, rate

    def __add__(self, other: Dual) -> Dual:
        return Dual(self.value + other.value, self.rate + other.rate)

    def __mul__(self, other: Dual) -> Dual:
        rate = self.rate * other.value + self.value * other.rate
        return Dual(self.value * other.value, rate)

    def __matmul__(self, other: Dual) -> Dual:
        rate = self.rate @ other.value + self.value @ other.rate
        return Dual(self.value @ other.value, rate)

    def sum(self) -> Dual:
        return Dual(self.value.sum(), self.rate.sum())


def tanh(x: Any) -> Any:
    """Of numbers of every kind."""
    if not isinstance(x, Dual):
        return ops.tanh(x)
    y = ops.tanh(x.value)
    return Dual(y, x.rate * (1 - y * y))


# %%
# The function to try it on is a small recurrent network, written once for numbers of every
# kind: arrays, Tensors, and duals of either.


def loss(W: Any, xs: list[Any], state: Any) -> Any:
    """s = tanh(x + s W) at each step; the sum of the squares of the last state."""
    for x in xs:
        state = tanh(x + state @ W)
    return (state * state).sum()


def fixed(value: Any) -> Dual:
    """A number that does not move."""
    return Dual(value, np.zeros_like(value))


H, T = 6, 5
W, direction = rng.standard_normal((2, H, H)) / np.sqrt(H)
xs, start = list(rng.standard_normal((T, 1, H))), rng.standard_normal((1, H))

pushed = loss(Dual(W, direction), [fixed(x) for x in xs], fixed(start)).rate


def of_weights(W: Tensor) -> Tensor:
    """The loss as a function of the weights alone."""
    found: Tensor = loss(W, [Tensor(x) for x in xs], Tensor(start))
    return found


gradient = tg.grad(of_weights)(Tensor(W)).numpy()
h = 1e-5
moved = [of_weights(Tensor(W + step * direction)).item() for step in (h, -h)]
print(f"pushed forward       {pushed:.12f}")
print(f"gradient, times v    {(gradient * direction).sum():.12f}")
print(f"by finite difference {(moved[0] - moved[1]) / (2 * h):.12f}")
assert abs(pushed - (gradient * direction).sum()) < 1e-12

# %%
# The first two agree to the last digits, and finite differences to what rounding leaves them.
# A dual number is what a small step would show, without a step.
#
# Forward out of two reverses
# ---------------------------
# The engine has ``tg.jvp``, and not one rule for it. ``tg.vjp(f, x)`` gives ``f(x)`` and the
# **pullback**, which takes ``u`` to ``uᵀ J``: a *linear* function of ``u``. The derivative of a
# linear function is its own matrix, so reverse mode, applied once more, to ``u -> uᵀ J`` and not
# to ``f``, multiplies with ``J`` from the other side. At which ``u`` does not matter.


def field(x: Tensor) -> Tensor:
    """From H numbers to H."""
    return ops.tanh(x @ Tensor(W)) * x


x, v = Tensor(start[0]), Tensor(rng.standard_normal(H))
out, pullback = tg.vjp(field, x)  # u -> uᵀ J
_, pushforward = tg.vjp(lambda u: pullback(u)[0], Tensor(np.zeros(H)))  # v -> J v
by_two_reverses = pushforward(v)[0].numpy()
by_name = tg.jvp(field, (x,), (v,))[1].numpy()
dual = Dual(x.data, v.data)
by_duals = (tanh(dual @ fixed(W)) * dual).rate
print("by two reverses", np.round(by_two_reverses, 3))
print("by dual numbers", np.round(by_duals, 3))
assert np.abs(by_two_reverses - by_duals).max() < 1e-12
assert np.array_equal(by_two_reverses, by_name)

# %%
# So every op needs its one rule, and forward mode comes with it. It is a way to *have* the
# product, not to save memory: the tape is there all the same.
#
# To count, not to time
# ---------------------
# How much work is it? Clocks tell of machines; we count multiplications. Rules are written
# with ops, so a gradient that is taken by ``tg.grad`` is on the tape as well, the walk back and
# all, where it depends on a leaf. So one function reads the price off any result: an
# elementwise product costs a multiplication for each entry, ``a @ b`` one for each entry and
# each term of its sum. (Sums are free here, and tanh, which all ways call equally often.) The
# dual numbers do not mind being made of Tensors.


def name_of(node: Any) -> str:
    """The op of a line of the tape; of a leaf, none."""
    return "" if node.primitive is None else str(node.primitive.name)


def multiplications(result: Tensor) -> int:
    """How many it takes to compute a result, by its tape."""
    count = 0
    for node in Tape(result).nodes:
        if name_of(node) in ("mul", "square"):
            count += node.out.size
        elif name_of(node) == "matmul":
            count += node.out.size * node.args[0].shape[-1]
    return count


def on_tape(array: Any) -> Tensor:
    """A leaf, so that all that is made of it is counted."""
    return Tensor(array, requires_grad=True)


def prices(hidden: int, steps: int = T) -> tuple[int, int, int, int]:
    """n weights; the multiplications of the loss, of one rate more, of the gradient."""
    W, v = rng.standard_normal((2, hidden, hidden)) / np.sqrt(hidden)
    start, *xs = rng.standard_normal((steps + 1, 1, hidden))
    leaf, inputs, state = on_tape(W), [on_tape(x) for x in xs], on_tape(start)
    value = loss(leaf, inputs, state)
    zero = Tensor(np.zeros_like(start))
    duals = [Dual(x, zero) for x in inputs]
    one = loss(Dual(leaf, on_tape(v)), duals, Dual(state, zero))
    reverse = tg.grad(lambda W: loss(W, inputs, state))(leaf)
    assert np.isclose(one.rate.item(), (reverse.numpy() * v).sum())
    alone, both = multiplications(value), multiplications(one.value + one.rate)
    return W.size, alone, both - alone, multiplications(reverse)


print("    n     loss  reverse  / loss      forward  / loss")
rows = []
for hidden in (1, 2, 4, 8, 16, 32, 64):
    n, value, rate, reverse = prices(hidden)
    forward = value + n * rate  # the values once, and a rate for every weight
    rows.append((n, value, reverse, forward))
    print(
        f"{n:5} {value:8} {reverse:8} {reverse / value:7.2f}"
        f" {forward:12} {forward / value:7.0f}"
    )
counts = np.array(rows)
assert np.all(counts[-3:, 2] < 3 * counts[-3:, 1])
assert np.all(counts[-3:, 3] > 2 * counts[-3:, 0] * counts[-3:, 1])

# %%
# Here is the whole case for reverse mode. As the network grows, the gradient by *all* weights,
# the way there and the walk back, comes to less than three times the price of the loss: with
# the product of a step go two on the way back, one for the state and one for the weights. That
# the factor is a small constant, whatever a function is made of, is the **cheap gradient
# principle** (Baur & Strassen 1983; Griewank & Walther 2008). In forward mode every weight is a
# direction of its own, and a pass of its own: the price is more than 2 n times that of the loss.

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for column, name, color, style in (
    (3, "gradient, forward mode", "#b5452c", "o-"),
    (2, "gradient, reverse mode", "#2b6a99", "s-"),
    (1, "the loss alone", "#555555", ".:"),
):
    axes.loglog(counts[:, 0], counts[:, column], style, color=color, label=name)
axes.set(xlabel="weights", ylabel="multiplications")
axes.grid(alpha=0.3)
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# The border
# ----------
# A loss is one number. With m results it is a pass for each *result* in reverse, a pass for
# each *input* forward. For ``tanh(x A)`` from n = 24 inputs, counted for whole Jacobians:


def jacobians(inputs: int, results: int) -> tuple[int, int]:
    """The multiplications of a whole Jacobian, forward and in reverse."""
    x, A = rng.standard_normal(inputs), on_tape(rng.standard_normal((inputs, results)))
    point = on_tape(x)
    value = ops.tanh(point @ A)
    v, zero = on_tape(rng.standard_normal(inputs)), Tensor(np.zeros(A.shape))
    moved = tanh(Dual(point, v) @ Dual(A, zero))
    _, pullback = tg.vjp(lambda x: ops.tanh(x @ A), point)
    pulled = pullback(on_tape(rng.standard_normal(results)))[0]
    base = multiplications(value)
    rate = multiplications(moved.value.sum() + moved.rate.sum()) - base
    rate -= inputs * results  # the product with the rate of A, which does not move
    back = multiplications(pulled) - base
    return base + inputs * rate, base + results * back


inputs, border = 24, 0
print(" m    forward    reverse")
for results in (1, 6, 12, 20, 24, 28, 48, 96):
    by_forward, by_reverse = jacobians(inputs, results)
    print(f"{results:2} {by_forward:10,} {by_reverse:10,}")
    border = border or (results if by_forward <= by_reverse else 0)
assert border == inputs

# %%
# They meet where there are as many results as inputs. Below, reverse; above, forward. Training
# is the far end of one side: a million weights, one loss. The far end of the other is a single
# parameter, such as time, and a field that depends on it.
#
# What has to be kept
# -------------------
# Work is one side, memory the other. Reverse mode walks back, so all values of the way there
# have to wait for it: T steps, T states. Forward mode forgets a step when it has taken the
# next. For recurrent networks this is **real-time recurrent learning** (Williams & Zipser
# 1989): carry ``P``, the derivative of each of the H states by each of the H² weights, and the
# gradient is there at *every* step, of a sequence without an end. The rule for ``P`` is the
# dual number's, with H² directions at once.


def rtrl(W: Any, xs: Any, state: Any) -> tuple[Any, int, int]:
    """The gradient by W of the summed squares of all states; the multiplications of a
    step; the numbers that are carried."""
    H = len(W)
    P, gradient, count = np.zeros((H, H, H)), np.zeros((H, H)), 0
    for x in xs:
        moved = (P.reshape(H * H, H) @ W).reshape(H, H, H)  # through the state before
        count += H * H * H * H
        moved[:, range(H), range(H)] += state[:, None]  # W[i, j] moves state j, by s[i]
        state = np.tanh(x + state @ W)
        P = moved * (1 - state * state)
        gradient += P @ (2 * state)
        count += H * H + 2 * H  # the state; its slope, and 2 s
        count += 2 * H**3  # P, and the gradient
    return gradient, count // len(xs), P.size + state.size


def bptt(W: Any, xs: Any, state: Any) -> tuple[Any, int, int]:
    """The same by the tape."""
    H = len(W)
    leaf, inputs = on_tape(W), [on_tape(x) for x in xs]

    def summed(W: Tensor) -> Tensor:
        s, total = Tensor(state), Tensor(np.zeros(()))
        for x in inputs:
            s = ops.tanh(x + s @ W)
            total = total + (s * s).sum()
        return total

    lines = Tape(summed(leaf)).nodes
    kept = sum(node.out.size for node in lines if name_of(node) == "tanh")
    gradient = tg.grad(summed)(leaf)
    assert kept == len(xs) * H
    return gradient.numpy(), multiplications(gradient) // len(xs), kept


print("        multiplications a step   numbers kept")
print(" H    T        RTRL      BPTT     RTRL   BPTT")
table = {}
for H, T in ((4, 16), (8, 16), (16, 16), (32, 16), (8, 64), (8, 256)):
    W = rng.standard_normal((H, H)) / np.sqrt(H)
    sequence, state = rng.standard_normal((T, H)), rng.standard_normal(H)
    (ours, work, carried), (theirs, each, kept) = (
        rtrl(W, sequence, state),
        bptt(W, sequence, state),
    )
    assert np.abs(ours - theirs).max() < 1e-12 * max(1, np.abs(theirs).max())
    table[H, T] = work, each, carried, kept
    print(f"{H:2} {T:4} {work:11} {each:9} {carried:8} {kept:6}")
grown = np.log2(np.divide(table[32, 16], table[16, 16]))
assert np.allclose(grown, [4, 2, 3, 1], atol=0.2)
assert table[8, 16][2] == 65 * 8
assert table[8, 256][2] == table[8, 16][2] and table[8, 256][3] == 16 * table[8, 16][3]

# %%
# The gradients are the same, to 12 digits. With twice the units RTRL has nearly sixteen times the
# work and carries eight times as much, where BPTT has four times the work and keeps twice as
# much: H⁴ against H² a step, H³ against T H numbers. What RTRL carries does not grow with T.
# At H = 8 both keep the same at T = 65, which is H² + 1: a long sequence and a tiny network are
# RTRL's case, or a sequence that never ends. Where memory is all that is short, one rather lets
# go of states and computes them again on the way back: ``tg.scan(..., checkpoint_every=k)``.
#
# Both at once: the product with a Hessian
# ----------------------------------------
# The second derivatives of a loss are a matrix of n² numbers. Its product with a direction is
# the rate at which the *gradient* changes along it: push a dual number through the walk back
# (**forward over reverse**), or take the gradient of the gradient's product with ``v``
# (**reverse over reverse**, which is ``tg.hvp``; Pearlmutter 1994). The matrix is never there.

H, T = 6, 5
W, direction = rng.standard_normal((2, H, H)) / np.sqrt(H)
xs, start = list(rng.standard_normal((T, 1, H))), rng.standard_normal((1, H))


def walked_back(W: Any, xs: list[Any], state: Any) -> Any:
    """The gradient of the loss by hand, one walk back, in dual numbers."""
    states = [state]
    for x in xs:
        states.append(tanh(x + states[-1] @ W))
    g, gradient = states[-1] + states[-1], fixed(np.zeros((H, H)))
    for before, after in zip(states[-2::-1], states[:0:-1], strict=True):
        g = g * (fixed(np.ones((1, H))) + fixed(-np.ones((1, H))) * after * after)
        gradient = gradient + transposed(before) @ g
        g = g @ transposed(W)
    return gradient


def transposed(dual: Dual) -> Dual:
    return Dual(dual.value.T, dual.rate.T)


pushed = walked_back(Dual(W, direction), [fixed(x) for x in xs], fixed(start))
assert np.abs(pushed.value - tg.grad(of_weights)(Tensor(W)).numpy()).max() < 1e-12
products = {
    "forward over reverse, dual numbers": pushed.rate,
    "forward over reverse, tg.jvp of tg.grad": tg.jvp(
        tg.grad(of_weights), (Tensor(W),), (Tensor(direction),)
    )[1].numpy(),
    "reverse over reverse, tg.hvp": tg.hvp(of_weights, Tensor(W), direction).numpy(),
}
for name, product in products.items():
    print(f"{name:40} {np.round(product[0, :3], 6)}")
    assert np.abs(product - pushed.rate).max() < 1e-12

# %%
# And the price: less than three times that of the gradient, and not n times.

W = rng.standard_normal((64, 64)) / 8
start, *xs = rng.standard_normal((T + 1, 1, 64))
leaf, v = on_tape(W), on_tape(rng.standard_normal(W.shape))
once = multiplications(tg.grad(of_weights)(leaf))
twice = multiplications(tg.hvp(of_weights, leaf, v))
print(
    f"{W.size:,} weights: {once:,} for a gradient, {twice / once:.1f} times that for Hv"
)
assert twice < 3 * once
