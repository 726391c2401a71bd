"""
5. Gates
========

A plain recurrent network writes its whole state anew at every step, so what it knew is squashed
and mixed again and again. A **gate** is a number between 0 and 1, computed for each unit at each
step, that says how much of something to let through. With gates, a unit can decide to keep what
it has. This chapter looks at them: as equations, as pictures, as time constants, and as what is
left of them when they are held open.
"""

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.data.relative_clauses import WORDS, corpus
from tinygrad_rnn.models import GRU, LSTM, RNN, LanguageModel, Recurrent
from tinygrad_rnn.optim import Adam

# %%
# The equations
# -------------
# ``gate(x, h)`` is ``x @ U + b + h @ W``, with weights of the gate's own.
#
# .. code-block:: text
#
#    GRU   z = sigmoid(gate_z(x, h))                    keep
#          r = sigmoid(gate_r(x, h))                    look back
#          n = tanh(x @ U + b + r * (h @ W))            candidate
#          h = (1 - z) * n + z * h
#
#    LSTM  i, f, o = sigmoid(gate_i(x, h)), ...         write, keep, show
#          c = f * c + i * tanh(gate_g(x, h))
#          h = o * tanh(c)
#
# The line to look at is the one where old and new are **added**, each under a gate. Through a
# sum the gradient passes whole; all that is lost on the way back is what the gate takes, and no
# ``W`` and no squashing is in between. (Cho et al. 2014 have ``r`` within the product, ``(r * h)
# @ W``: that is ``GRU(..., reset="before")``.)
#
# Train a small LSTM
# ------------------
# On the sentences of chapter 2, fifty at a time. ``lengths`` says where each sentence ends.
# The model has a vector of 8 numbers for each word (its **embedding**) and 12 units; **logits** are
# the scores before the softmax, and **Adam** is RMSprop with a running mean of the gradient.

rng = np.random.default_rng(0)
model = LanguageModel(len(WORDS), 8, 12, cell="lstm", rng=rng)
optimizer = Adam(model.parameters(), lr=0.02)
for _ in range(150):
    batch = corpus(50, seed=int(rng.integers(10**6)))
    ids, lengths = np.zeros((12, 50), int), np.array([len(s) - 1 for s in batch])
    for column, sentence in enumerate(batch):
        ids[: len(sentence), column] = sentence
    logits = model(ids[:-1], lengths=lengths)[0]
    counts = np.arange(11)[:, None] < lengths
    loss = ops.softmax_cross_entropy(logits, ids[1:], weights=counts)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.3f} nats per token")

# %%
# What the gates do over a sentence
# ---------------------------------
# ``trace`` takes down every gate and state, by layer, direction and name, without the cell's
# knowing. Each row of the pictures is a unit, each column a word.

sentence = max(corpus(30), key=len)[:-1]
with tg.trace() as tr, tg.no_grad():
    model(sentence[:, None])

tr.plot(*(f"0.forward.{name}" for name in "ifoc"), columns=[WORDS[i] for i in sentence])
plt.show()

# %%
# Above the input and the forget gate, below the output gate and the cell ``c``. Look for a
# unit whose forget gate is near 0 at one kind of word only: it empties itself there. Another keeps
# nearly all, and its cell grows from word to word: it counts how far the sentence has come.
# Nobody told them to.

f, c = (tr[f"0.forward.{name}"][:-1, 0] for name in "fc")  # up to the full stop
for unit in np.flatnonzero((f < 0.1).sum(axis=0) == 1):
    (place,) = np.flatnonzero(f[:, unit] < 0.1)
    print(f"unit {unit} empties itself at {WORDS[sentence[place]]!r} alone")
counter = f.min(axis=0).argmax()
with_place = np.corrcoef(np.arange(len(c)), np.abs(c[:, counter]))[0, 1]
least = f[:, counter].min()
print(f"unit {counter} keeps {least:.2f} of its cell, or more, at every word,")
print(f"and the size of it goes with their number: correlation {with_place:.2f}")
assert with_place > 0.8

# %%
# The same numbers over the text: a word is as red as the forget gate of a unit is open once the
# word is read, for the four units that change most.

tr.over([WORDS[i] for i in sentence], "0.forward.f")

# %%
# How long is a memory?
# ---------------------
# A unit whose forget gate stays at ``f`` keeps ``f`` of its content at each step: after ``tau =
# -1 / log f`` steps, a share 1/e is left. That is its **time constant**. Where the gate moves,
# what is left is the product of its values, so the mean to take is that of the logarithms.

constants = -1 / np.log(tr["0.forward.f"][:, 0]).mean(axis=0)
print("time constants in steps:", " ".join(f"{each:.1f}" for each in sorted(constants)))

# %%
# An LSTM begins with a forget bias of 1. A larger one gives it a longer memory to begin with
# (chapter 4).

for bias in (1, 5):
    begin = 1 / (1 + np.exp(-bias))
    print(
        f"bias {bias}: f begins at {begin:.3f}, which is {-1 / np.log(begin):.1f} steps"
    )

# %%
# Gates held open
# ---------------
# What is left of a gated cell whose gates are fixed? A GRU whose reset gate is 1 and whose
# update gate is 0 **is** the plain network, exactly: a very large bias closes a gate to the
# last bit.


def held(layer: Recurrent, **values: float) -> None:
    """Fixes gates of the first cell at 0 or 1, whatever they read."""
    for name, value in values.items():
        gate = getattr(layer.cells[0], name)
        gate.U.data[...], gate.W.data[...], gate.b.data[...] = (
            0,
            0,
            1e3 if value else -1e3,
        )


def share(one: Recurrent, other: Recurrent, gate: str) -> None:
    """Gives the candidate of `other` the weights of the plain network."""
    for part in "UWb":
        getattr(getattr(other.cells[0], gate), part).data[...] = getattr(
            one.cells[0].n, part
        ).data


xs = Tensor(rng.standard_normal((20, 4, 3)))
plain, gru, lstm = (kind(3, 5, dtype=np.float64) for kind in (RNN, GRU, LSTM))
share(plain, gru, "n")
held(gru, r=1, z=0)
difference = np.abs(plain(xs)[0].numpy() - gru(xs)[0].numpy()).max()
print(f"GRU with r = 1, z = 0, and the plain network: {difference:.1e} apart")
assert difference < 1e-12

# %%
# Of an LSTM with input gate 1, forget gate 0 and output gate 1 one reads (Britz 2015, part 4)
# that it is almost the plain network. Almost: what is left is ``h = tanh(tanh(x U + h W))``,
# since the cell is squashed once more on its way out. That is another function, and a program
# is a good place to find out which.

share(plain, lstm, "g")
held(lstm, i=1, f=0, o=1)
outputs, n = lstm(xs)[0].numpy(), plain.cells[0].n
h = np.zeros((4, 5))
for t, x in enumerate(xs.numpy()):
    h = np.tanh(np.tanh(x @ n.U.data + n.b.data + h @ n.W.data))
    assert np.abs(h - outputs[t]).max() < 1e-12
apart = np.abs(plain(xs)[0].numpy() - outputs).max()
print(
    f"LSTM with i = 1, f = 0, o = 1: exactly tanh of tanh, and {apart:.2f} from the plain network"
)

# %%
# Exercises
# ---------
# 1. **Nothing but keep.** Hold one gate of a GRU so that its state never changes, whatever it
#    reads. Then do the same with an LSTM. How many gates does that take?
# 2. **Couple the gates.** An LSTM decides apart what to write and what to keep. Couple the two:
#    ``f = 1 - i`` (Greff et al. 2017). Write it as a ``Cell`` and check it. Which weights must a
#    full LSTM have to be the same function?
# 3. **Two places for a gate.** ``reset="after"`` gates a product with ``W``, ``reset="before"``
#    what goes into it. For which gates ``r`` are they the same? Find two kinds, and a kind for
#    which they are not.
# 4. **A counter, by hand.** Set the weights of an LSTM of one unit so that its cell counts the
#    ones among its inputs, which are 0 or 1, over a thousand steps, without training. What must
#    each gate do, and what limits how exact it is?
