"""
0. Build the tape yourself
==========================

You know NumPy and the chain rule, and nothing of ours. On this page a program that differentiates
programs grows from a few lines to one that trains a recurrent network, and you can type it as you
read. Our library is this page with more care, and the last section says where the care is.
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

# %%
# A number that remembers
# -----------------------
# The chain rule needs two things of every step of a calculation: what it read, and the **slope**
# by each thing read, which is how fast the result moves when that one moves. Both are known at the
# moment of calculating: the slope of ``a * b`` by ``a`` is ``b``. So let the number that comes out
# keep them, and let every number put itself on a list as it is made. The list is the **tape**.

tape: list[Any] = []


class Number:
    """A number, with what it was made from: pairs of a parent and the slope by it."""

    def __init__(self, value: float, *parents: tuple["Number", float]) -> None:
        self.value, self.parents = value, parents
        tape.append(self)

    def __add__(self, other: "Number") -> "Number":
        return Number(self.value + other.value, (self, 1.0), (other, 1.0))

    def __mul__(self, other: "Number") -> "Number":
        return Number(
            self.value * other.value, (self, other.value), (other, self.value)
        )


x, w, b = Number(0.5), Number(-1.5), Number(0.25)
s = w * x + b
y = s * s
for line, number in enumerate(tape):
    reads = [f"  from line {tape.index(parent)}" for parent, _ in number.parents]
    print(f"line {line}: {number.value:7.4f}", *reads)

# %%
# Backwards over the list
# -----------------------
# How fast does ``y`` move when ``w`` moves? Ask it of every number on the tape, from the last to
# the first. ``y`` moves with itself one to one. And whoever knows its own answer can hand a
# **share** to each of its parents: its answer times the slope. A number that was read twice is
# handed two shares, and they are added.


def slopes_of(result: Number) -> dict[Number, float]:
    """How fast the result moves with each number on the tape."""
    found = {number: 0.0 for number in tape}
    found[result] = 1.0
    for number in reversed(tape):
        for parent, slope in number.parents:
            found[parent] += found[number] * slope
    return found


found = slopes_of(y)
print(f"by w {found[w]}, by x {found[x]}, by b {found[b]}")

# %%
# Is that right? There is a way to see it without any rule: move the input a little, both ways, and
# look. A difference cannot repeat a rule's mistake.


def formula(w: float) -> float:
    return (w * 0.5 + 0.25) ** 2


difference = (formula(-1.5 + 1e-4) - formula(-1.5 - 1e-4)) / 2e-4
print(f"by w, seen by moving it: {difference:.6f}")
assert abs(found[w] - difference) < 1e-9

# %%
# Here is the tape as a drawing. Values came from left to right; what is in orange, the answers,
# came back from right to left, and what stands on the arrows are the slopes.

product = tape[3]
places = {x: (0, 2), w: (0, 1), b: (0, 0), product: (1, 1.5), s: (2, 1), y: (3, 1)}
names = {x: "x", w: "w", b: "b", product: "w x", s: "s = w x + b", y: "y = s s"}
figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
axes.set(xlim=(-0.4, 3.4), ylim=(-0.6, 2.4))
axes.axis("off")
style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 11}
box = {"boxstyle": "round", "facecolor": "#dbe7f5", "edgecolor": "#666677"}
boxes = {}
for number, (across, up) in places.items():
    text = f"{names[number]}\n{number.value:g}"
    boxes[number] = axes.text(across, up, text, bbox=box, **style).get_bbox_patch()
    axes.text(across, up - 0.4, f"{found[number]:g}", color="#c2570c", **style)
for number, (across, up) in places.items():
    for side, (parent, slope) in zip((-0.5, 0.5), number.parents, strict=False):
        begin, bent = places[parent], side * (parent is s)  # s is read twice
        arrow = {"arrowstyle": "->", "color": "#888888", "shrinkA": 0, "shrinkB": 0}
        arrow |= {"connectionstyle": f"arc3,rad={bent}"}
        arrow |= {"patchA": boxes[parent], "patchB": boxes[number]}
        axes.annotate("", (across, up), begin, arrowprops=arrow)
        at = (begin[0] + across) / 2, (begin[1] + up) / 2 - bent
        axes.text(at[0], at[1], f"{slope:g}", backgroundcolor="white", **style)
plt.show()

# %%
# Why a list?
# -----------
# Why not follow the parents directly, without any list? It is shorter:


def push(number: Number, answer: float, found: dict[Number, float]) -> int:
    """Hands an answer on to all that a number came from. How many visits that took."""
    found[number] = found.get(number, 0.0) + answer
    return 1 + sum(push(p, answer * slope, found) for p, slope in number.parents)


pushed: dict[Number, float] = {}
push(y, 1.0, pushed)
assert pushed[w] == found[w] and pushed[b] == found[b]

# %%
# It is right. But it goes to ``s`` twice, since ``y`` read it twice, and each time on to all that
# is before it. It walks **paths**, and where values are used twice, again and again, there are
# very many:

double = [Number(1.0)]
for _ in range(16):
    double.append(double[-1] + double[-1])
visits = push(double[-1], 1.0, {})
print(f"{len(double)} numbers, {visits:,} visits")
assert visits == 2**17 - 1

# %%
# In a recurrent network the state of a step is read more than once, at every step. And a network
# that reads a long text is a long chain, for which recursion has no room:

chain = Number(1.0)
one = Number(1.0)
for _ in range(10_000):
    chain = chain * one
try:
    push(chain, 1.0, {})
except RecursionError as error:
    print(f"RecursionError: {error}")
found = slopes_of(chain)
print(f"over the list: {found[one]:.0f}, with a visit to each number")
assert found[one] == 10_000

# %%
# The list cures both. A number is made after everything that it reads. So on the way back, when
# its turn comes, **all that read it have had theirs**: its answer is complete, and is handed on
# once. There is nothing to search, nothing to mark as seen, nothing to recurse into: the order in
# which things happened is all that is needed.
#
# From numbers to arrays
# ----------------------
# A network has thousands of numbers, and one list entry for each product would be slow. So let an
# entry be an operation on whole arrays. What is a slope then? A table of how each entry of the
# result moves with each entry of what was read would be far too large, and it is never needed: all
# that is done with a slope is to turn the answer of the result into the share of a parent. So keep
# just that, as a function, the **rule**: given ``g``, the answers of all entries of the result, its
# **gradient**, what is the gradient of what was read?
#
# ``op`` makes an operation from a NumPy function and a rule for each array that it reads. A rule
# may look at the result and at all that the operation was given.

tape.clear()
Operation = Callable[..., "Array"]


def op(forward: Callable[..., Any], *rules: Operation) -> Operation:
    """An operation; what it is given beyond an array for each rule are options."""

    def call(*given: Any) -> "Array":
        arrays = [a if isinstance(a, Array) else Array(a) for a in given[: len(rules)]]
        options = given[len(rules) :]
        out = Array(forward(*(a.value for a in arrays), *options))
        tape.append((out, arrays, options, rules))
        return out

    return call


add = op(np.add, lambda g, out, a, b: g, lambda g, out, a, b: g)
sub = op(np.subtract, lambda g, out, a, b: g, lambda g, out, a, b: -g)
mul = op(np.multiply, lambda g, out, a, b: g * b, lambda g, out, a, b: g * a)
div = op(np.divide, lambda g, out, a, b: g / b, lambda g, out, a, b: -g * out / b)
neg = op(np.negative, lambda g, out, a: -g)
transposed = op(np.transpose, lambda g, out, a: g.T)
matmul = op(np.matmul, lambda g, out, a, b: g @ b.T, lambda g, out, a, b: a.T @ g)

# %%
# The first rules are those of school. That of a product of matrices can be read off the shapes:
# with ``a`` (B,I) and ``b`` (I,H), the gradient ``g`` is (B,H), and ``g @ b.T`` is what gives
# (B,I).
#
# Look at *how* they are written: with ``*`` and ``@``, and not with NumPy. This will turn out to be
# worth more than it looks. An array of ours has its values, and operators that are the operations:


class Array:
    """A NumPy array whose operators leave entries on the tape."""

    __array_ufunc__ = None  # an array of NumPy's leaves `numpys * ours` to us

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value, float)

    __add__ = __radd__ = add
    __mul__ = __rmul__ = mul
    __neg__, __sub__, __truediv__, __matmul__ = neg, sub, div, matmul
    T = property(transposed)

    def __rsub__(self, other: Any) -> "Array":
        return sub(other, self)


# %%
# Here is a linear layer, and the last entry that it left: the sum. Ask its two rules for the
# gradients of what the sum has read, given that of its result.

rng = np.random.default_rng(0)
data, weight, bias = (
    Array(rng.standard_normal(shape)) for shape in ((4, 3), (3, 2), (2,))
)
layer = data @ weight + bias
out, arrays, options, rules = tape[-1]
g = Array(np.ones((4, 2)))
for a, rule in zip(arrays, rules, strict=True):
    share = rule(g, out, *arrays)
    print(f"it has read an array {a.value.shape}; its gradient is {share.value.shape}")
assert share.value.shape != bias.value.shape

# %%
# Un-broadcasting
# ---------------
# The second is wrong. The bias is a vector of two numbers, and its gradient is four rows of two.
# NumPy had **broadcast** it: the same two numbers were added to each of four rows. So they were
# used four times, and what is used several times has the *sum* of its shares. Every operation on
# two arrays may broadcast. So it is not said in each rule, but once, for all: a share is summed
# to the shape of what it is a share of.
#
# To sum over what was repeated, and to repeat what was summed, are two operations, and each is
# the other's rule.


def summed(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Over the axes that broadcasting from a shape has repeated."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    ones = tuple(i for i, n in enumerate(shape) if n == 1)
    return np.asarray(x.sum(axis=ones, keepdims=True))


sum_to: Operation = op(summed, lambda g, out, a, shape: broadcast_to(g, a.value.shape))
broadcast_to: Operation = op(
    np.broadcast_to, lambda g, out, a, shape: sum_to(g, a.value.shape)
)


def fitted(share: Array, shape: tuple[int, ...]) -> Array:
    """A share in the shape of what it is a share of."""
    return share if share.value.shape == shape else sum_to(share, shape)


print(f"the gradient of the bias: {fitted(share, bias.value.shape).value}")

# %%
# The walk
# --------
# It is the one from above: from the last entry to the first, each handing shares to what it read.
# (``tape[::-1]`` is a copy. Rules are calculations too, and the tape grows while we walk.)


def gradients(result: Array, *wanted: Array) -> list[Array]:
    """The gradients of the sum of a result's entries, by arrays that it was made from."""
    found = {result: Array(np.ones_like(result.value))}
    for out, arrays, options, rules in tape[::-1]:
        if out in found:
            for a, rule in zip(arrays, rules, strict=True):
                share = fitted(rule(found[out], out, *arrays, *options), a.value.shape)
                found[a] = found[a] + share if a in found else share
    return [found[a] for a in wanted]


of_weight, of_bias = gradients(layer, weight, bias)
assert np.allclose(of_weight.value, data.value.T @ np.ones((4, 2)))
assert of_bias.value.tolist() == [4, 4]

# %%
# The other operations
# --------------------
# ``sum_to`` is also the ordinary sum: to ``()`` of everything, to ``(B, 1)`` along rows. What is
# left are the curves, each with its rule in a line, and **looking up**: row 7 of a table, as a
# network does with the vector of character 7. Its rule puts the gradient into row 7 of zeros.
# Where a row is looked up twice, its shares must be added, so it is ``np.add.at`` and not
# ``table[index] = g``. And the rule of that is looking up.


def scattered(g: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros, with g added at an index."""
    table = np.zeros(shape)
    np.add.at(table, index, g)
    return table


exp = op(np.exp, lambda g, out, a: g * out)
log = op(np.log, lambda g, out, a: g / a)
tanh = op(np.tanh, lambda g, out, a: g * (1 - out * out))
sigmoid = op(lambda x: 1 / (1 + np.exp(-x)), lambda g, out, a: g * out * (1 - out))
take: Operation = op(
    lambda x, i: x[i], lambda g, out, a, i: scatter(g, i, a.value.shape)
)
scatter: Operation = op(scattered, lambda g, out, a, i, shape: take(g, i))

# %%
# Do not believe, check
# ---------------------
# Every rule, by moving every entry of every input both ways. Some have two inputs that broadcast.


def differences(f: Operation, inputs: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The gradients of the sum of f's entries, seen by moving each entry of the inputs."""
    for x in inputs:
        gradient = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            kept, moved = x[i], []
            for x[i] in (kept + 1e-4, kept - 1e-4):
                tape.clear()
                moved.append(f(*map(Array, inputs)).value.sum())
            x[i], gradient[i] = kept, (moved[0] - moved[1]) / 2e-4
        yield gradient


again = np.array([0, 2, 0])  # a row is looked up twice
checks: dict[str, tuple[Operation, list[tuple[int, ...]]]] = {
    "add": (lambda a, b: tanh(a + b), [(4, 3), (3,)]),
    "sub": (lambda a, b: tanh(a - b), [(4, 1), (3,)]),
    "mul": (lambda a, b: a * b, [(4, 3), ()]),
    "div": (lambda a, b: a / b, [(3,), (4, 3)]),
    "neg": (lambda a: tanh(-a), [(3,)]),
    "matmul": (lambda a, b: tanh(a @ b), [(4, 3), (3, 2)]),
    "transposed": (lambda a, b: a.T * b, [(4, 3), (3, 4)]),
    "sum_to": (lambda a: tanh(sum_to(a, (3, 1))), [(2, 3, 4)]),
    "broadcast_to": (lambda a: tanh(broadcast_to(a, (2, 3, 4))), [(3, 1)]),
    "exp": (exp, [(4, 3)]),
    "log": (log, [(4, 3)]),
    "tanh": (tanh, [(4, 3)]),
    "sigmoid": (sigmoid, [(4, 3)]),
    "take": (lambda a: tanh(take(a, again)), [(4, 2)]),
    "scatter": (lambda a: tanh(scatter(a, again, (4, 2))), [(3, 2)]),
}


def worst_of(f: Operation, shapes: list[tuple[int, ...]]) -> float:
    """How far gradients by the tape are from those that are seen, at most, as a share of them."""
    inputs = [rng.uniform(0.5, 1.5, shape) for shape in shapes]
    ours = list(map(Array, inputs))
    by_tape = gradients(f(*ours), *ours)
    pairs = zip(by_tape, differences(f, inputs), strict=True)
    return max(float(np.abs(a.value - b).max() / np.abs(b).max()) for a, b in pairs)


worst = {name: worst_of(f, shapes) for name, (f, shapes) in checks.items()}
print(f"{len(worst)} operations: {max(worst.values()):.0e} from what is seen, at most")
assert max(worst.values()) < 1e-6

# %%
# The gradient of the gradient
# ----------------------------
# Rules are written with operations of ours, so a walk leaves entries like any other calculation.
# What comes out of it can be walked back from. We have written nothing for it.
#
# The derivatives of tanh are known: with ``t = tanh(x)`` the first is ``1 - t**2``, the second
# ``-2 t (1 - t**2)``, and the third ``-2 (1 - t**2) (1 - 3 t**2)``.

points = Array(np.linspace(-2, 2, 81))
curves, result = [], tanh(points)
for _ in range(3):
    (result,) = gradients(result, points)
    curves.append(result.value)
t = np.tanh(points.value)
known = 1 - t**2, -2 * t * (1 - t**2), -2 * (1 - t**2) * (1 - 3 * t**2)
for name, curve, right in zip(("first", "second", "third"), curves, known, strict=True):
    print(f"the {name}: {np.abs(curve - right).max():.0e} from the formula")
    assert np.allclose(curve, right, rtol=1e-12, atol=1e-12)

# %%
# And all operations once more, the gradient of the gradient against differences of the gradient:


def first(f: Operation) -> Operation:
    """The sum of the squares of all gradients of f: a function that has gradients of its own."""

    def squares(*inputs: Array) -> Array:
        each = (sum_to(g * g, ()) for g in gradients(f(*inputs), *inputs))
        return sum(each, Array(0.0))

    return squares


worst = {name: worst_of(first(f), shapes) for name, (f, shapes) in checks.items()}
print(f"second derivatives: {max(worst.values()):.0e} from what is seen, at most")
assert max(worst.values()) < 1e-6

# %%
# That is the engine: ``op``, ``Array``, ``gradients``, ``fitted``, and a line or two for each
# operation, some sixty lines in all. The rest of the page uses it.
#
# Names to learn from
# -------------------
# There is a text that every reader has: the source of Python's own library. From some of its
# modules we take the names of functions, classes, parameters and attributes that are written in
# small letters. They stand one after the other in one long row of characters, with a dot behind
# each. A tenth of the names is kept apart, to be tested on.

MODULES = (
    "argparse ast calendar configparser csv difflib doctest email.message functools "
    "inspect ipaddress logging mailbox optparse pathlib pickle random shutil statistics "
    "tarfile textwrap threading tokenize typing unittest.mock zipfile"
)
LETTERS = ".abcdefghijklmnopqrstuvwxyz_"


def names_in(module: str) -> Iterator[str]:
    """The names in the source of a module."""
    source = inspect.getsource(importlib.import_module(module))
    for node in ast.walk(ast.parse(source)):
        for kind in ("name", "arg", "attr"):
            name = str(getattr(node, kind, "")).strip("_")
            if len(name) > 2 and set(name) <= set(LETTERS[1:]):
                yield name


def row_of(names: list[str]) -> np.ndarray:
    """The numbers of the characters of names, one after the other."""
    return np.array([LETTERS.index(c) for c in ".".join(names) + "."])


rng = np.random.default_rng(0)
learned = sorted({name for module in MODULES.split() for name in names_in(module)})
rng.shuffle(learned)
unseen = [learned.pop() for _ in range(len(learned) // 10)]
print(f"{len(learned)} names to learn from: {', '.join(learned[:4])}...")
print(f"{len(unseen)} to be tested on: {', '.join(unseen[:4])}...")

# %%
# How good is good? Who knows nothing gives every character the same chance. Who has counted
# the characters is the **unigram**, and who has counted which one follows which the **bigram**.
# The measure is minus the logarithm of the chance that was given to the character that came, on
# average; with the natural logarithm its unit is the **nat**. Less is better.

train, test = row_of(learned), row_of(unseen)
V = len(LETTERS)
counts = np.ones((V, V))  # of pairs; none is impossible
np.add.at(counts, (train[:-1], train[1:]), 1)
single, pairs = counts.sum(0) / counts.sum(), counts / counts.sum(1, keepdims=True)
bars = {
    "uniform": np.log(V),
    "unigram": -np.log(single[test[1:]]).mean(),
    "bigram": -np.log(pairs[test[:-1], test[1:]]).mean(),
}
told = ", ".join(f"{name} {nats:.3f}" for name, nats in bars.items())
print(f"{told} nats a character")

# %%
# A recurrent network
# -------------------
# It reads a character, and keeps what it has read so far in a vector ``h``, which it makes of the
# character and of the ``h`` before. In the textbook that is a line, ``h = tanh(x U + h W + b)``.
# ``x`` has a single 1, at the character, so ``x U`` is a row of ``U``. A product with ``h`` gives
# each character a score, and the scores become chances by the **softmax**: ``exp(score)``, divided
# by the sum of all. Minus its logarithm is ``log(sum(exp(scores)))`` minus the right score.
#
# Time is a plain Python loop. Nothing in the engine knows of it: the same ``W`` is read at every
# step, and what is used several times has the sum of its shares. That is all of backpropagation
# through time. The network has ``H`` numbers in its state ``h``, and reads ``B`` pieces of ``T``
# characters side by side, of which there are ``V``.

H, T, B = 64, 12, 32
shapes = {"U": (V, H), "W": (H, H), "b": (H,), "out": (H, V), "bias": (V,)}
network = {
    name: Array(rng.uniform(-1, 1, shape) / np.sqrt(H))
    for name, shape in shapes.items()
}


def loss_of(characters: np.ndarray) -> Array:
    """Nats a character, of (T+1,B) of them: from each row the next is foretold."""
    U, W, b, out, bias = network.values()
    rows = np.arange(characters.shape[1])[:, None]
    h, loss = Array(np.zeros((len(rows), H))), Array(0.0)
    for now, after in pairwise(characters):
        h = tanh(take(U, now) + h @ W + b)
        scores = h @ out + bias
        right = take(scores, (rows, after[:, None]))
        loss = loss + sum_to(log(sum_to(exp(scores), (len(rows), 1))) - right, ())
    return loss / characters[1:].size


# %%
# Train it
# --------
# A batch is pieces of the row of characters, from places drawn at random, side by side. Each weight
# then takes a step against its gradient, which is divided by its usual size (that is **RMSprop**);
# the steps become shorter to the end. After a step the tape is done with, and is cleared.


def pieces(row: np.ndarray, size: int) -> np.ndarray:
    """Characters (T+1,B)."""
    begin = rng.integers(len(row) - T, size=size)
    return np.asarray(row[begin + np.arange(T + 1)[:, None]])


STEPS, fixed = 500, pieces(test, 300)
usual = {name: np.zeros(shape) for name, shape in shapes.items()}
losses, tested = [], []
for step in range(STEPS + 1):
    if step in (0, 10, 20, 50, 100, 200, STEPS):
        tested.append((step, loss_of(fixed).value.item()))
        print(f"step {step:3}: {tested[-1][1]:.3f} nats a character, of names not seen")
    tape.clear()
    loss = loss_of(pieces(train, B))
    each = gradients(loss, *network.values())
    for (name, p), g in zip(network.items(), each, strict=True):
        usual[name] += 0.1 * (g.value**2 - usual[name])
        size = np.sqrt(usual[name]) + 1e-6
        p.value = p.value - 0.005 * (1 - step / STEPS) * g.value / size
    losses.append(loss.value.item())

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
axes.plot(losses, color="#b0c4d8", label="each batch")
axes.plot(*zip(*tested, strict=True), "o-", color="#1f4e79", label="names not seen")
for name, nats in bars.items():
    axes.axhline(nats, color="#888888", linestyle=":")
    axes.annotate(name, (STEPS, nats), va="bottom", ha="right")
axes.set(xlabel="step", ylabel="nats per character", ylim=(2, 3.5))
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()
assert abs(tested[0][1] - bars["uniform"]) < 0.1
assert tested[-1][1] < bars["bigram"] < bars["unigram"] - 0.3

# %%
# Before training it knows nothing, as it should. In the end it is below the bigram: it looks back
# further than a character. Let it invent names: draw a character from the chances, hand it back as
# the next input, and go on until it says a dot.


def invented() -> str:
    """A name that it makes up."""
    U, W, b, out, bias = (p.value for p in network.values())
    h, name = np.zeros(H), "."
    while len(name) < 2 or (name[-1] != "." and len(name) < 20):
        h = np.tanh(U[LETTERS.index(name[-1])] + h @ W + b)
        chances = np.exp(h @ out + bias)
        name += LETTERS[rng.choice(V, p=chances / chances.sum())]
    return name.strip(".")


made_up = sorted({invented() for _ in range(40)} - {*learned, *unseen})
print(textwrap.fill(" ".join(made_up), 80))

# %%
# What ours does beyond yours
# ---------------------------
# Here is tinygrad_rnn, for the first time on this page. The same weights, the same loop, and the
# operations by the names that you know. Its gradient is yours.

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops

characters = pieces(train, B)
tape.clear()
yours = gradients(loss_of(characters), *network.values())

ours = {name: Parameter(p.value, name=name) for name, p in network.items()}


def our_loss_of(characters: np.ndarray) -> Tensor:
    """The same loss."""
    U, W, b, out, bias = ours.values()
    h, loss = Tensor(np.zeros((B, H))), Tensor(0.0)
    for now, after in pairwise(characters):
        h = ops.tanh(ops.take(U, now) + h @ W + b)
        loss = loss + ops.softmax_cross_entropy(h @ out + bias, after)
    return loss / (len(characters) - 1)


our_loss_of(characters).backward()
for (name, parameter), g in zip(ours.items(), yours, strict=True):
    gradient = parameter.grad
    if isinstance(gradient, tg.RowSparse):  # see 18, below
        gradient = gradient.dense()
    apart = np.abs(gradient - g.value).max() / np.abs(g.value).max()
    print(f"{name:4}: {apart:.0e} apart")
    assert apart < 1e-12

# %%
# So what is the rest for? First, for mistakes that are easily made and hard to find. Say that a
# weight is changed between the calculation and the walk back. Your rules read the new one, and the
# gradient is wrong; nothing says so. Ours hold the arrays that were calculated with. If those
# arrays themselves were overwritten, as an optimiser's step does, or were let go of by an earlier
# walk, it is an error and not a number.

p, q = Array(3.0), Array(2.0)
times = p * q
q.value = q.value * 10
(wrong,) = gradients(times, p)
print(f"yours: d (p q) / d p at q = 2 is {wrong.value:.0f}")

a, c = Parameter(3.0, name="a"), Parameter(2.0, name="c")
our_times = a * c
c.data = c.data * 10
our_times.backward()
print(f"ours:  {a.grad:.0f}")
assert wrong.value == 20 and a.grad == 2

try:
    our_times.backward()
except tg.FreedTapeError as error:
    print("\n" + textwrap.fill(f"a second walk: {error}", 80))

squared = a * a
tg.optim.SGD([a], lr=0.1).step()
try:
    squared.backward()
except tg.ChangedInPlaceError as error:
    print("\n" + textwrap.fill(f"after an optimiser's step: {error}", 80))

# %%
# The rest can be read in ``tinygrad_rnn/tape.py``. A *primitive* is your ``op``, a *Box* your
# ``Array``, a *Node* an entry, and ``walk`` your ``gradients``. First, what it does beyond yours
# while you calculate:
#
# 1. There is no list. A Tensor holds its entry, and an entry those that it came from. Whoever
#    lets go of the loss lets go of its tape; yours stays until it is cleared.
# 2. What is left of the list is its order: each entry has a number.
# 3. An entry keeps the arrays that were calculated with, and no Tensor. So a weight may be given
#    other data, and nothing refers in a circle, for which Python would have to search.
# 4. An entry is made only where something asks for a gradient: not of data alone, and not under
#    ``no_grad()``. Yours enters everything.
# 5. ``no_grad()`` holds in the thread that said it, and in no other.
# 6. A **joint** operation has one rule for all that it read, and its forward pass may save what
#    the rule will need. A whole loop over time is one (chapters 3 and 7).
#
# And these are the lines that do it, looked up when this page was made:

from tinygrad_rnn import tape as engine


def point_at(number: int, thing: Any, line: str) -> None:
    """Prints a line of the source of a thing, and where it is in its file."""
    source, begin = inspect.getsourcelines(thing)
    (at,) = (i for i, each in enumerate(source) if line in each)
    shown = textwrap.shorten(source[at].strip(), 64, placeholder=" ...")
    print(f"{number:2}.  line {begin + at:3}:  {shown}")


Op, Walk = engine.Primitive, engine.Walk
point_at(1, engine.Box.wrap, "box.node = node")
point_at(2, engine.Node.__init__, "self.number = next(order)")
point_at(3, Op._unboxed, "values.append(a.data)")
point_at(4, Op.__call__, "if live and here.recording")
point_at(5, Op.__call__, "is not this_thread.mark")
point_at(6, engine.Joint.__call__, "out, saved = self.forward(needs")

# %%
# On the way back:
#
# 7. The next entry is the newest of those that wait. That is a loop as yours is, but it goes to
#    what the result came from, and not through all that was ever calculated.
# 8. Asked for certain gradients, as ``tg.grad`` is, it goes only where they are.
# 9. No rule runs for what wants no gradient. Yours runs one for the zeros that ``h`` began as.
# 10. Rules run on bare arrays. They leave entries only where a second derivative is wanted.
# 11. An entry lets go of its arrays when the walk has passed it, so memory falls on the way...
# 12. ...unless the walk was told to ``retain`` them, for a second one.
# 13. To come to an entry that was let go of is an error.
# 14. So is an array that an optimiser has written into since.
# 15. A share is added in place where the array is the walk's own, and nobody else's.
# 16. This is your ``fitted``...
# 17. ...and a gradient has the dtype of its array, too: ours calculates in float32 too,
#     and does so of plain numbers unless told otherwise.
# 18. The gradient of a table is kept as the rows that were looked up (**row-sparse**). Yours is a
#     table of zeros for every look-up.
# 19. Somebody may watch: ``tg.detect_anomaly`` tells which entry made the first NaN.

point_at(7, Walk.run, "node = heappop(waiting)[1]")
point_at(8, engine._leading_to, "oldest = min(")
point_at(9, Op.gradients, "None if rule is None else rule(")
point_at(10, Op.gradients, "if wrap is not None:")
point_at(11, engine.Node.let_go, "self.args = self.out = self.parents = None")
point_at(12, Walk.operation, "if not self.retain:")
point_at(13, Walk.operation, "raise _freed(node)")
point_at(14, Walk.operation, "_check_unchanged(node)")
point_at(15, Walk.operation, "before += share")
point_at(16, engine.fitted, "share = sum_to(share, value.shape)")
point_at(17, engine.fitted, "else astype(share, value.dtype)")
point_at(18, engine._collect, "elif ours or isinstance(g, RowSparse):")
point_at(19, Walk.operation, "watcher.backward(node, g)")

# %%
# Of time the engine still knows nothing. That is the subject of the chapters to come: chapter 1
# is this tape again, by the names of the library; chapter 2 does without any; and chapter 3 has
# your loop over time, and what may stand in its place.

# %%
# Exercises
# ---------
# 1. **An operation more.** ``softplus``, the logarithm of ``1 + exp(x)``, bends where ReLU has a
#    corner. Write it with its rule, in two lines, and check the rule and the rule of the rule.
# 2. **Where two rules meet.** ``maximum(a, b)`` has no slope where ``a`` and ``b`` are equal. What
#    should the two rules say there, so that the gradient of ``maximum(x, x)`` is that of ``x``?
#    Write it so, and check it elsewhere.
# 3. **A tape that lets go.** After a walk, the tape of this page still holds every entry. Write a
#    walk that gives each entry up as soon as it is passed, and raises an error when it is asked to
#    go there again. Show that a value in the middle is gone.
# 4. **A table that is never made.** The second derivatives of a function of N numbers are a table
#    of N times N. Its product with a vector needs no table: it is the gradient of a number. Of
#    which? Three lines are enough. Check them by moving the gradient.
# 5. **A gate.** Give the network of this page one: ``z = sigmoid(x Z + h Y + d)``, and of the new
#    state only the share ``z``, of the old one the rest (chapter 5 has them the other way round).
#    The engine needs nothing for it. Check all the gradients by moving every weight; then train
#    it, and see whether it is better.
