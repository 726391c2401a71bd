"""
What the sources get wrong, and what we do
==========================================

Two books rarely write a recurrent network alike, and two libraries rarely compute the same with
the same weights. Most of this is choice: either will do, as long as one knows which it is. Some
of it is a mistake, and is called one; good texts have them too. For each there is what a source
says, what is done here, how to get the other, and **the number that shows the difference**,
computed on this page. At the end there is a table of all.

*WildML* is Denny Britz's tutorial of 2015 with its code, ``rnn-tutorial-rnnlm`` and
``rnn-tutorial-gru-lstm`` (commits 8e43b76 and 9f7c250), which taught many people and from which
this project began. What is said of a library was run or read in PyTorch 2.13, Keras 3.15.1, JAX
0.10.2, Flax 0.12.8, Optax 0.2.8 and Lasagne 0.1. The page needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.backend import xp
from tinygrad_rnn.data.relative_clauses import CHOICES, CLAUSE, WORDS, corpus, entropy
from tinygrad_rnn.models import GRU, RNN, LanguageModel, Recurrent
from tinygrad_rnn.optim import Adam, RMSprop, clip_by_norm, clip_by_value

rng = np.random.default_rng(0)
xs = Tensor(rng.standard_normal((30, 4, 3)))
conventions: list[tuple[str, ...]] = []


def note(name: str, source: str, theirs: str, ours: str, number: str) -> None:
    """For the table at the end; the number is said at once."""
    print(number)
    conventions.append((name, source, theirs, ours, number))


def drawn(seed: int = 1, **options: str | bool) -> Recurrent:
    """A GRU with weights and biases from N(0, 1/2), the same whatever the options."""
    layer = GRU(3, 8, dtype=np.float64, **options)
    weights = np.random.default_rng(seed)
    for name, parameter in sorted(layer.named_parameters()):
        if not name.endswith(".c"):
            parameter.data[...] = weights.normal(0, np.sqrt(0.5), parameter.shape)
    return layer


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of the second from the first, relative to the first."""
    return float(np.linalg.norm(other - one) / np.linalg.norm(one))


def outputs(layer: Recurrent) -> np.ndarray:
    found: np.ndarray = layer(xs)[0].numpy()
    return found


# %%
# The update gate keeps, or writes
# --------------------------------
# *They:* in Cho et al. (2014, eq. 7) the gate ``z`` says how much of the old state is kept, ``h' =
# z h + (1 - z) n``; so in WildML, PyTorch, Keras and Flax. In Chung et al. (2014) and Lasagne it
# says how much is written: ``h' = (1 - z) h + z n``. *We:* keep; ``GRU(update="write")`` is the
# other. Since ``1 - sigmoid(a)`` is ``sigmoid(-a)``, one becomes the other when all weights of z
# change their sign. With weights that do not:

keep, write = drawn(), drawn(update="write")
distance = apart(outputs(keep), outputs(write))
for part in (write.cells[0].z.U, write.cells[0].z.W, write.cells[0].z.b):
    part.data *= -1
assert apart(outputs(keep), outputs(write)) < 1e-14
note(
    "GRU: what z = 1 does",
    "Chung et al. 2014, Lasagne",
    "writes the candidate",
    "keeps the state; update='write'",
    f"outputs {distance:.2f} apart with the same weights, 0 with those of z negated",
)

# %%
# The reset gate, before or after the product
# -------------------------------------------
# *They:* ``n = tanh(x U + (r * h) W)`` in WildML (its commit 00c5f9a has the other) and, by the
# documentation of Keras, in the third version of Cho et al.; ``n = tanh(x U + r * (h W))`` in
# PyTorch, cuDNN, Flax and Lasagne, which says why: all products of a step are then one. Keras has
# both, ``reset_after``. Its text calls *before* the default; the default is *after*. *We:* after;
# ``GRU(reset="before")`` is the other. Here no change of weights makes one of the other.

distance = apart(outputs(drawn()), outputs(drawn(reset="before")))
note(
    "GRU: where r acts",
    "Cho et al. 2014, WildML 4",
    "before the product with W",
    "after; reset='before'",
    f"outputs {distance:.2f} apart with the same weights",
)

# %%
# The candidate's second bias
# ---------------------------
# *They:* where r acts after the product, a bias can stand inside: ``r * (h W + c)``. PyTorch,
# Keras and Flax's ``linen.GRUCell`` have one. The equations of Flax's ``nnx.GRUCell`` have one
# too, its parameters have not: 12 numbers in its biases for 4 units, where the equations need
# 16. *We:* none; ``recurrent_bias=True`` adds it. Weights are not moved from there to here by
# adding both up: that is right for z and r only.

inside, added = drawn(recurrent_bias=True), drawn()
c = rng.normal(0, np.sqrt(0.5), 8)
inside.cells[0].n.c.data[...] = c
added.cells[0].n.b.data += c
distance = apart(outputs(inside), outputs(added))
note(
    "GRU: second bias of n",
    "PyTorch, Keras",
    "r * (h W + c)",
    "none; recurrent_bias=True",
    f"outputs {distance:.2f} apart where it is added to the first",
)

# %%
# Two functions called hard sigmoid
# ---------------------------------
# *They:* Theano's, so WildML's gates, is ``clip(0.2 a + 0.5, 0, 1)``. In PyTorch, JAX and Keras 3
# the same name is ``clip(a / 6 + 0.5, 0, 1)``. *We:* the sigmoid; ``gate="hard_sigmoid"`` is
# Theano's. The other is an op of one line, for a cell of one's own.

a = np.linspace(-6, 6, 12_001)
soft, theano = 1 / (1 + np.exp(-a)), ops.hard_sigmoid(Tensor(a)).numpy()
sixth = np.clip(a / 6 + 0.5, 0, 1)
from_soft, from_soft_too, between = (
    np.abs(one - other).max()
    for one, other in ((theano, soft), (sixth, soft), (theano, sixth))
)
note(
    "hard sigmoid",
    "PyTorch, JAX, Keras 3",
    "a / 6 + 0.5, clipped",
    "the sigmoid; 'hard_sigmoid' is Theano's, 0.2 a + 0.5",
    f"up to {between:.3f} between the two, {from_soft:.3f} (Theano's) and "
    f"{from_soft_too:.3f} from the sigmoid",
)

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
axes.plot(a, soft, color="#555555", label="sigmoid")
axes.plot(a, theano, color="#b5452c", label="0.2 a + 0.5 (Theano)")
axes.plot(a, sixth, "--", color="#2b6a99", label="a / 6 + 0.5 (PyTorch, JAX, Keras 3)")
axes.set(xlabel="a", ylabel="gate")
axes.grid(alpha=0.3)
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# Which way weights lie
# ---------------------
# *They:* WildML multiplies columns, ``U x``, with ``U`` (H,I). PyTorch keeps its matrices so,
# the gates one below the other: r z n, and i f g o. Keras keeps rows, ``x U``, the gates side by
# side: z r n, and i f g o. *We:* rows, and every gate by its name; ``from_torch``, ``to_torch``,
# ``from_keras`` and ``to_keras`` know the orders. Shapes do not protect: ``W`` is square, and z
# and r are of one size.

right, turned, swapped = drawn(), drawn(), drawn()
for gate in (turned.cells[0].z, turned.cells[0].r, turned.cells[0].n):
    gate.W.data = gate.W.data.T.copy()
cell, other = swapped.cells[0], right.cells[0]
for part in "UWb":
    getattr(cell.z, part).data[...] = getattr(other.r, part).data
    getattr(cell.r, part).data[...] = getattr(other.z, part).data
far, farther = (apart(outputs(right), outputs(each)) for each in (turned, swapped))
note(
    "layout of weights",
    "WildML, PyTorch; Keras",
    "columns; gates stacked r z n or z r n",
    "rows; gates by name",
    f"no error, and outputs {far:.2f} apart with W not turned, {farther:.2f} with z for r",
)

# %%
# How W begins
# ------------
# *They:* WildML draws uniformly within ``1/sqrt(n)``, as a way that Glorot and Bengio (2010)
# recommend. **That is a mistake:** it is the usual way that they argue against (their eq. 1);
# they recommend ``sqrt(6/(n+m))`` (eq. 16). PyTorch's recurrent layers begin so too. A
# square ``W`` of that kind shrinks what goes through it to ``1/sqrt(3)``. *We:* Glorot for U,
# orthogonal for W; ``init="wildml"`` is theirs.

W = RNN(100, 100, dtype=np.float64, init="wildml", rng=rng).cells[0].n.W.data
Q = RNN(100, 100, dtype=np.float64, rng=rng).cells[0].n.W.data
v = rng.standard_normal(100)
powers = (np.linalg.matrix_power(each, 20) for each in (W, Q))
left, left_of_ours = (np.linalg.norm(v @ p) / np.linalg.norm(v) for p in powers)
assert abs(left_of_ours - 1) < 1e-5 and 1 / 3 < left * 3**10 < 3
note(
    "initial W (an error)",
    "WildML 2; PyTorch's layers",
    "within 1/sqrt(n), as recommended",
    "orthogonal; init='wildml'",
    f"of a vector, {left:.0e} is left after 20 products with W, and all of it of ours",
)

# %%
# How much an LSTM forgets at first
# ---------------------------------
# *They:* the bias of the forget gate begins at 1 in Jozefowicz et al. (2015) and Keras; at 0 in
# Flax and Lasagne; in PyTorch it is the sum of two numbers drawn within ``1/sqrt(H)``. *We:* 1, a
# stored value; ``LSTM(forget_bias=0.0)`` is the other.

kept, kept_of_ours = (1 / (1 + np.exp(-bias)) ** 10 for bias in (0.0, 1.0))
note(
    "LSTM: forget bias",
    "Flax, Lasagne; about so PyTorch",
    "0",
    "1; forget_bias=0.0",
    f"of a cell's content {kept:.4f} is left after 10 steps, of ours {kept_of_ours:.4f}: "
    f"{kept_of_ours / kept:.0f} times as much",
)

# %%
# The logarithm of a softmax
# --------------------------
# *They:* chapters 0 and 2 of our own tutorial take ``exp`` of scores as they are, which overflows.
# WildML subtracts the largest score first, rightly, and later takes the logarithm of the chance,
# which may have become 0. Keras, given chances, clips them at 1e-7, and then such a word teaches
# nothing: its gradient is 0. *We,* and PyTorch, JAX and Keras given scores: one op from scores to
# nats. For the word whose score is 800 below the best:

scores = np.array([800.0, 0.0])
with np.errstate(all="ignore"):
    plain = np.exp(scores) / np.exp(scores).sum()
    shifted = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    of_best, of_other = -np.log(plain[0]), -np.log(shifted[1])
clipped = -np.log(max(shifted[1], 1e-7))
at = Tensor(scores, requires_grad=True)
nats = ops.softmax_cross_entropy(at.reshape((1, 2)), np.array([1]))
nats.backward()
assert np.isnan(of_best) and np.isinf(of_other) and nats.item() == 800
assert np.array_equal(at.grad, [1, -1])
note(
    "log of the softmax",
    "chapter 2; WildML; Keras on chances",
    "exp, then log; with the largest subtracted; clipped at 1e-7",
    "one op, from scores",
    f"{of_best:.0f} for the best word itself; {of_other:.0f}; {clipped:.2f}; ours "
    f"{nats.item():.0f}, with a gradient of 1",
)

# %%
# The sum over a sentence, or the mean
# ------------------------------------
# *They:* WildML writes and prints a mean over words, and steps by the gradient of the *sum* over a
# sentence, at a learning rate of 0.005. So a long sentence makes a long step. PyTorch and Keras
# take a mean by default, Optax neither: it hands over every loss. *We:* the mean;
# ``reduction="sum"`` is the other. With WildML's own model and two of its sentences, its
# printed losses come out to the last digit.

# fmt: off
X10 = [0, 72, 63, 13, 124, 5, 26, 1126, 208, 5, 324, 3, 333, 4, 112, 32, 75, 7, 4921,
       4, 8, 84, 52, 9, 7, 3217, 1016, 490, 7928, 8, 133, 49, 3141, 4, 10, 95, 51, 4,
       128, 17, 37, 314, 576, 2, 40, 1]
X17 = [0, 51, 27, 16, 10, 856, 53, 25, 34, 69, 1]
# fmt: on
old = np.random.RandomState(10)  # the generator of 2015
U = old.uniform(-np.sqrt(1 / 8000), np.sqrt(1 / 8000), (100, 8000))
V = old.uniform(-np.sqrt(1 / 100), np.sqrt(1 / 100), (8000, 100))
W = old.uniform(-np.sqrt(1 / 100), np.sqrt(1 / 100), (100, 100))


def forward(x: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The states, of which s[-1] is 0, and the chances."""
    s = np.zeros((len(x) + 1, 100))
    for t, word in enumerate(x):
        s[t] = np.tanh(U[:, word] + W @ s[t - 1])
    scores = s[:-1] @ V.T
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    return s, chances / chances.sum(axis=1, keepdims=True)


for ids, printed in ((X10, "404.392681"), (X17, "89.886271")):
    given = forward(ids[:-1])[1][range(len(ids) - 1), ids[1:]]
    assert f"{-np.log(given).sum():.6f}" == printed
rates = [0.005 * (len(ids) - 1) for ids in (X10, X17)]
note(
    "loss that is differentiated",
    "WildML 2",
    "the sum, though the mean is shown",
    "the mean; reduction='sum'",
    f"its rate 0.005 is {rates[0]:.3f} on the mean of the one sentence, {rates[1]:.3f} on that "
    "of the other",
)

# %%
# Which tokens a perplexity counts
# --------------------------------
# *They:* WildML counts the end of a sentence among what is predicted, the beginning not, and
# the unknown word as a word. *We:* the same, every token that is predicted once; ``evaluate``
# says how many were unknown, and the perplexity without them. Leave the end out, or average
# over sentences first, and the number is another one. For the best possible model of chapter 2's
# grammar, whose ends can be foreseen:

det, noun, verb = (np.log(len(each)) for each in CHOICES)
short = 2 * (det + noun) + verb - np.log(1 - CLAUSE)
long = 3 * (det + noun) + 2 * verb - np.log(CLAUSE)
mean, tokens = (1 - CLAUSE) * short + CLAUSE * long, 7 + 4 * CLAUSE
assert np.isclose(mean / tokens, entropy())
of_sentences = (1 - CLAUSE) * short / 7 + CLAUSE * long / 11
found = [np.exp(each) for each in (entropy(), mean / (tokens - 1), of_sentences)]
note(
    "perplexity",
    "WildML 2",
    "of every predicted token, the end too",
    "the same",
    f"{found[0]:.2f}; without the end {found[1]:.2f}, of a mean over sentences {found[2]:.2f}",
)

# %%
# What a window begins with
# -------------------------
# *They:* a layer of PyTorch that is called without a state, and one of Keras that is not
# ``stateful``, begin at zero. A text that is cut into windows is then forgotten at every cut. *We:*
# zero as well where no state is given; ``train`` carries the state from one window to the next,
# and ``model(ids, state)`` takes it. A small model, trained on the sentences of chapter 2:

model = LanguageModel(len(WORDS), 8, 16, dtype=np.float64, rng=rng)
optimizer = Adam(model.parameters(), lr=0.02)
for step in range(150):
    streams = [np.concatenate(corpus(8, seed=50 * step + i))[:41] for i in range(20)]
    batch = np.stack(streams, axis=1)
    optimizer.zero_grad()
    loss, _ = model.loss(batch[:-1], batch[1:])
    loss.backward()
    optimizer.step()
stream = np.concatenate(corpus(400, seed=10**6))[:3001, None]
carried, fresh, state = [], [], None
with tg.no_grad():
    for begin in range(0, 3000, 5):
        window = stream[begin : begin + 6]
        loss, state = model.loss(window[:-1], window[1:], state=state)
        carried.append(loss.item())
        fresh.append(model.loss(window[:-1], window[1:])[0].item())
words = 7 + 4 * CLAUSE  # of a sentence, on average, its end among them
least = (
    entropy() * words / (words + 1)
)  # in a stream START is a token too, which costs nothing
assert least < np.mean(carried) < np.mean(fresh)
note(
    "state of the next window",
    "PyTorch, Keras, where none is given",
    "zero",
    "carried by train; zero where none is given",
    f"{np.mean(fresh):.3f} nats per token in windows of 5, carried {np.mean(carried):.3f}, the "
    f"least possible {least:.3f}",
)

# %%
# How far back
# ------------
# *They:* WildML walks back from **every** output, through at most ``bptt_truncate`` steps, says
# a comment. It is one more: from ``max(0, t - k)`` to ``t`` there are k + 1. In cs224n (lecture
# 6) the text is cut into **windows**; the state is handed on, the walk ends at the cut. WildML's
# Theano version stops the *one* walk through the sentence after k steps, with
# ``truncate_gradient=k``. **That is a mistake:** only the last four words are learnt from, and by
# ``V`` too. Its check could not see it: the sentence that is checked has four words. (Part 4
# does not truncate.) *We:* the whole sequence; ``scan(truncate=k)`` for windows. All of them are
# one loop, with another answer to the question how far back output t goes:


def gradients(
    ids: list[int], first: Callable[[int], int], outputs: range
) -> tuple[np.ndarray, ...]:
    """The gradient of the summed loss of some outputs, each back to the step `first(t)`."""
    x = ids[:-1]
    s, error = forward(x)
    error[range(len(x)), ids[1:]] -= 1
    dU, dV, dW = np.zeros_like(U), np.zeros_like(V), np.zeros_like(W)
    for t in outputs:
        dV += np.outer(error[t], s[t])
        delta = V.T @ error[t] * (1 - s[t] ** 2)
        for step in range(t, first(t) - 1, -1):
            dW += np.outer(delta, s[step - 1])
            dU[:, x[step]] += delta
            delta = W.T @ delta * (1 - s[step - 1] ** 2)
    return dU, dV, dW


T, every = len(X10) - 1, range(len(X10) - 1)
whole = gradients(X10, lambda t: 0, every)
walks = {
    "from every output, 4 steps": gradients(X10, lambda t: max(t - 3, 0), every),
    "from every output, 5 steps": gradients(X10, lambda t: max(t - 4, 0), every),
    "windows of 5 steps": gradients(X10, lambda t: t // 5 * 5, every),
    "the last 4 steps alone": gradients(X10, lambda t: T - 4, range(T - 4, T)),
}
print("                              |dU|    |dV|    |dW|   distance of dW")
for name, found_ in {"the whole": whole, **walks}.items():
    norms = "".join(f"{np.linalg.norm(each):8.4f}" for each in found_)
    print(f"{name:26}{norms}   {apart(whole[2], found_[2]):.4f}")
five, last = walks["from every output, 5 steps"], walks["the last 4 steps alone"]
by_wildml = {
    "4.72925969 0.53278817 0.37656564": whole,
    "4.73122655 0.53278817 0.37697006": five,
    "1.28679844 0.15860791 0.10372283": last,
}
for expected, ours in by_wildml.items():
    assert " ".join(f"{np.linalg.norm(each):.8f}" for each in ours) == expected
four = X10[:5]
of_four = gradients(four, lambda t: 0, range(4))
in_one_sweep = gradients(four, lambda t: len(four) - 5, range(len(four) - 5, 4))
assert all(map(np.array_equal, of_four, in_one_sweep))
one_less, exact, windows, sweep = (apart(whole[2], dW) for _, _, dW in walks.values())

# %%
# The norms in the first, the third and the last line are those of WildML's programs, to eight
# digits.

note(
    "truncating (off by one)",
    "WildML 2",
    "from every output, at most 4 steps: 5",
    "the whole; from detached states",
    f"dW is {exact:.4f} from the whole with 5, {one_less:.4f} with 4",
)
note(
    "truncating in windows",
    "cs224n",
    "windows, the state carried",
    "the whole; truncate=5",
    f"dW is {windows:.4f} from the whole: {windows / exact:.0f} times as far as with 5 from "
    "every output",
)
note(
    "truncating (an error)",
    "WildML 2, its Theano version",
    "the last 4 steps of a sentence",
    "not offered",
    f"dW is {sweep:.4f} from the whole; {T - 4} of {T} words teach nothing",
)

# %%
# Clipping
# --------
# *They:* Pascanu et al. (2013, algorithm 1), cs224n, PyTorch and Optax scale all gradients by
# their joint norm. Keras's ``clipnorm`` scales every array by its own (``global_clipnorm`` is
# the joint one). The posts "Demystifying deep learning" clip every entry (part 10). PyTorch divides
# by the norm plus 1e-6, so that a little less than the limit is left. *We:* ``clip_by_norm``,
# without the 1e-6, and ``clip_by_value``. A joint norm keeps the direction. The others turn it:

parameters = [Parameter(each.copy()) for each in (U, V, W)]


def degrees(clipped: list[np.ndarray]) -> float:
    """By how much the whole gradient is turned."""
    before, after = (
        np.concatenate([part.ravel() for part in parts]) for parts in (whole, clipped)
    )
    lengths = np.linalg.norm(before) * np.linalg.norm(after)
    return float(np.degrees(np.arccos(min(1.0, before @ after / lengths))))


turns = []
for clip in ("norm", "value"):
    for parameter, g in zip(parameters, whole, strict=True):
        parameter.grad = g.copy()
    if clip == "norm":
        clip_by_norm(parameters, 0.3)
    else:
        clip_by_value(parameters, 0.01)
    turns.append(degrees([parameter.grad for parameter in parameters]))
turns.append(degrees([g * min(1, 0.3 / np.linalg.norm(g)) for g in whole]))
assert turns[0] < 1e-4
note(
    "clipping",
    "Demystifying 10; Keras's clipnorm",
    "by value; each array by its own norm",
    "by the joint norm; clip_by_value",
    f"turned by {turns[1]:.0f} degrees at 0.01; by {turns[2]:.0f} at 0.3; ours by 0",
)

# %%
# Where RMSprop has its epsilon
# -----------------------------
# *They:* ``g / sqrt(m + eps)`` in WildML and Lasagne (1e-6), Keras (1e-7) and Optax (1e-8); ``g
# / (sqrt(m) + eps)`` in PyTorch (1e-8), whose ``m`` moreover forgets at 0.99, not 0.9. *We:*
# WildML's; ``RMSprop(decay=0.99, eps=1e-8, eps_inside=False)`` is PyTorch's. An epsilon inside a
# root of m is no small number: it is the *square* of a gradient that counts as small, 1e-3 for
# 1e-6. The first step, in learning rates, for a gradient of 1 and of 1e-4:

kinds: dict[str, dict[str, Any]] = {
    "WildML, Lasagne, ours": {},
    "Keras": {"eps": 1e-7},
    "Optax": {"eps": 1e-8},
    "PyTorch": {"decay": 0.99, "eps": 1e-8, "eps_inside": False},
}
firsts = {}
for name, options in kinds.items():
    p = Parameter(np.zeros(2))
    p.grad = np.array([1.0, 1e-4])
    RMSprop([p], lr=1.0, **options).step()
    firsts[name] = -p.data
    print(f"{name:22} {-p.data[0]:7.4f} {-p.data[1]:8.4f}")
times = firsts["PyTorch"][1] / firsts["WildML, Lasagne, ours"][1]
note(
    "RMSprop's epsilon",
    "PyTorch",
    "1e-8 outside the root, decay 0.99",
    "1e-6 inside, 0.9; eps_inside=False",
    f"the first step at a gradient of 1e-4 is {times:.0f} times as long",
)

# %%
# A gradient check that cannot fail
# ---------------------------------
# *They:* WildML's check takes ``|a - b| / (|a| + |b|)`` and complains where it is above 0.01.
# **That is a mistake** where both are 0: 0/0 is NaN, and NaN is never above anything. So it
# passes, and so does a gradient that *is* NaN. And 0.01 lets a rule pass that is nearly one part
# in fifty off. *We:* ``gradcheck``, in which a NaN never passes, with a tolerance of 1e-6.


def passes(gradient: np.ndarray, estimate: np.ndarray) -> bool:
    """WildML's check of all entries."""
    with np.errstate(invalid="ignore"):
        error = np.abs(gradient - estimate) / (np.abs(gradient) + np.abs(estimate))
    return not (error > 0.01).any()


@tg.primitive
def nearly_tanh(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = xp(x).tanh(x)
    return found


nearly_tanh.vjp(lambda g, y, x: g * (1 - y * y) * 1.019)

estimate = whole[0]  # of the sentence, by U, as finite differences would have it
assert passes(estimate * 1.019, estimate) and not passes(estimate * 1.03, estimate)
assert passes(np.full_like(estimate, np.nan), estimate)
seen = len({0, 1, 2, 3}) / 100  # the words of the sentence that it checks
try:
    tg.gradcheck(nearly_tanh, np.linspace(-1, 1, 5))
except tg.GradientError as error:
    complaint = str(error)
assert "relative error" in complaint
print(fill(complaint, 72))
note(
    "gradient check (an error)",
    "WildML 2",
    "0.01, and a NaN passes",
    "1e-6, and a NaN never passes",
    f"{1 - seen:.0%} of U is 0/0 in WildML's own check; a rule that is 1.9 % off passes it",
)

# %%
# Two sentences to correct
# ------------------------
# WildML, part 3, has 1 for a bound of the norm of a step's Jacobian. The slope of tanh is at most
# 1, so the bound is the norm of ``W``, whatever that is; were it 1, no gradient could explode
# (chapter 4). Part 4 calls an LSTM with input gate 1, forget gate 0 and output gate 1 almost the
# plain network. It is ``tanh(tanh(a))``, since the cell is squashed once more on its way out
# (chapter 5). How far is that from ``tanh(a)``?

w = Parameter(1.5 * np.linalg.qr(rng.standard_normal((16, 16)))[0])
jacobian = tg.jacobian(lambda s: ops.tanh(s @ w))(Tensor(np.zeros(16))).numpy()
steepest = np.linalg.norm(jacobian, 2)
assert steepest > 1
note(
    "a step's Jacobian (an error)",
    "WildML 3",
    "its norm is at most 1",
    "at most that of W",
    f"{steepest:.2f}, at the zero state, of a W with norm 1.5",
)
note(
    "LSTM with its gates held (inexact)",
    "WildML 4",
    "almost the plain network",
    "tanh of tanh",
    f"up to {np.abs(np.tanh(a) - np.tanh(np.tanh(a))).max():.2f} apart in one step",
)

# %%
# All of them
# -----------


class Table:
    """Rows of texts, for a notebook or a page to draw."""

    def __init__(self, rows: list[tuple[str, ...]]) -> None:
        self.rows = rows

    def _repr_html_(self) -> str:
        rows = "".join(self._row(row) for row in self.rows)
        return (
            f'<div class="table-wrapper"><table class="docutils">{rows}</table></div>'
        )

    def _row(self, row: tuple[str, ...]) -> str:
        style, tag = "text-align: left; vertical-align: top; padding: 0.25em", "td"
        if row is self.rows[0]:
            tag = "th"
        widths = [6] * (len(row) - 1) + [13]
        cells = (
            f'<{tag} style="{style}; min-width: {width}em">{escape(cell)}</{tag}>'
            for cell, width in zip(row, widths, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"


head = ("convention", "source", "theirs", "ours", "the difference")
Table([head, *conventions])
