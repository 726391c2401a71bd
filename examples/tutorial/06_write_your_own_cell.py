"""
6. Write your own cell
======================

Most papers about recurrent networks change a few lines of the cell. Here you change them: a new
variant in under ten lines, checked, timed, trained, and its gates drawn. Nothing else has to be
written: time, batches, lengths, layers, directions, dropout and the fast path belong to the layer
that drives the cell.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.data.relative_clauses import WORDS, corpus, entropy
from tinygrad_rnn.models import Cell, GRUCell, LanguageModel, LSTMCell, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh
from tinygrad_rnn.optim import Adam

# %%
# The idea
# --------
# A GRU mixes old state and candidate by one gate ``z``, as ``z`` and ``1 - z``. Suppose we want
# units that cannot **keep** on their own: a unit holds its state only if its *neighbour* agrees.
# So: two gates, and what is kept is their product, the second one shifted by one unit.
# ``gates`` names what a step calls with the input and the state: ``self.e(x, h)`` is
# ``x @ U + h @ W + b``, with weights of its own.


class NeighbourCell(Cell):
    """A state is kept where a unit and its neighbour both say so."""

    gates = "a e n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        e = sigmoid(self.e(x, h))
        neighbour = ops.concatenate([e[:, -1:], e[:, :-1]], axis=1)
        keep = tg.tag("keep", sigmoid(self.a(x, h)) * neighbour)
        return keep * h + (1 - keep) * tanh(self.n(x, h))


# %%
# Check it
# --------
# Ops bring their own rules, so the gradient is right if the equations are. ``check_cell`` does
# not take that for granted: every entry of the first and second derivatives, and all that a
# layer needs to rely on.

report = tg.check_cell(NeighbourCell)

# %%
# A cell with more to remember says ``state = "h c"``. One that counts its steps, say, in a state
# ``t``, adds ``kept = "t"``: zoneout, which lets entries of states stand still at random, then
# leaves it alone.
#
# The same from the command line: ``tinygrad-rnn check mycells.py:NeighbourCell``.
#
# Time it
# -------
# One training step over 64 steps of a batch of 32, beside the built-in cells. Those have no
# faster version of their own: all go through the same compiled scan (chapter 7).

xs = Tensor(np.random.default_rng(0).standard_normal((64, 32, 32)).astype(np.float32))
layers = {
    cell.__name__: Recurrent(cell, 32, 128)
    for cell in (GRUCell, LSTMCell, NeighbourCell)
}
times: dict[str, list[float]] = {name: [] for name in layers}
for _ in range(15):
    for name, layer in layers.items():
        start = time.perf_counter()
        layer(xs)[0].sum().backward()
        times[name].append(time.perf_counter() - start)
for name, found in times.items():
    print(
        f"{name:14} {np.median(found) / np.median(times['LSTMCell']):.2f} of the LSTM's time"
    )

# %%
# Train it
# --------
# In a language model its class stands where a name would (``tinygrad-rnn train --cell
# mycells.py:NeighbourCell`` on the command line). Here the sentences are one long stream: the
# state is handed on from batch to batch, without the gradient (``detach``), in chunks of 16 words
# as in chapter 3.


def batches(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sentences one after the other, in 20 columns, of which each batch has 16 words."""
    words = np.concatenate([sentence[1:] for sentence in corpus(count * 60, seed=1)])
    columns = [words[i : i + count * 320].reshape(20, -1).T for i in (0, 1)]
    inputs, targets = (each.reshape(count, 16, 20) for each in columns)
    return list(zip(inputs, targets, strict=True))


data = batches(120)
for cell in ("gru", NeighbourCell):
    model = LanguageModel(len(WORDS), 8, 16, cell=cell, rng=np.random.default_rng(0))
    optimizer, state, losses = Adam(model.parameters(), lr=0.02), None, []
    for ids, targets in data:
        logits, state = model(ids, state)
        loss = ops.softmax_cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = tuple(s.detach() for s in state)
        losses.append(loss.item())
    name = cell if isinstance(cell, str) else cell.__name__
    print(f"{name:14} {np.mean(losses[-20:]):.3f} nats per token")
    assert np.mean(losses[-20:]) < 1.05 * entropy()
print(f"the entropy    {entropy():.3f}")

# %%
# Look at it
# ----------
# The cell tagged what it keeps, so the trace has it by that name. The stream had no START, so the
# model is not shown one here either.

sentence = max(corpus(30), key=len)[1:-1]
with tg.trace() as tr, tg.no_grad():
    model(sentence[:, None])
tr.plot("0.forward.keep", columns=[WORDS[i] for i in sentence])
plt.show()

# %%
# Columns are near 0 where most of the past is let go. A unit can be near 1 only where its own gate
# and its neighbour's are.

# %%
# Is it better?
# -------------
# One run says little: another seed may turn it round. ``tg.compare`` trains a task with each cell,
# with the same data, splits and seeds, and says which differences are larger than the noise. The
# task here: which of two symbols came first, a long time ago.

compared = tg.compare(
    ["gru", "lstm", NeighbourCell],
    "memory",
    settings={"problem": "order", "epochs": 3, "hidden": 12},
    seeds=3,
    jobs=1,
)
print(compared)

# %%
# So little training tells little: who always says what is most frequent is right as often as
# the line of that name says, and a spread is wide where one of the runs has learned and the
# others not yet. What do they do differently? The gradient of the last output by the inputs
# before it says how far back each cell reaches, once it is trained. What is flat remembers; what
# falls forgets.

figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for number, label in enumerate(dict.fromkeys(run.label for run in compared.outcomes)):
    runs = [run.reach for run in compared.outcomes if run.label == label]
    for reach in runs:
        axes.semilogy(
            reach, color=f"C{number}", label=label if reach is runs[0] else None
        )
axes.set(xlabel="steps before", ylabel="norm of the gradient")
figure.legend(loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# The same from the command line, with a page to look at: ``tinygrad-rnn compare gru lstm
# mycells.py:NeighbourCell --set problem=order epochs=3 --seeds 3 --html page.html``. With ``--match
# parameters`` every cell has as many weights as the first, and ``--search lr=1e-3..1e-1:log`` looks
# for a learning rate that suits each. All that a cell may have is on the page
# :doc:`/your_cells`.

# %%
# Exercises
# ---------
# 1. **From a paper.** The update gate RNN (Collins, Sohl-Dickstein and Sussillo 2017, equations 5
#    to 7) has one gate ``g`` and one candidate ``n``: the new state is the share ``g`` of the old
#    one and ``1 - g`` of tanh of the candidate. Write it, check it, and compare its outputs with
#    those of the one that is shipped, ``models.variants.UGRNNCell``, with the same weights.
# 2. **An option.** How far away is the neighbour of ``NeighbourCell``? Make it an option,
#    ``Recurrent(NeighbourCell, ..., distance=3)``, by ``setup(self, distance=1)``. A distance of 0
#    is a cell too: which gates does it have in common with a GRU?
# 3. **Cells that are wrong.** Write one that looks at the other rows of the batch, and one that
#    has a gate which it never uses. What does ``check_cell`` say of each?
# 4. **Its backward step, by hand.** Write down the backward step of your cell of exercise 1: what
#    comes back to the gate's sum, to the candidate's, and to the old state? Then print
#    ``tg.derive`` of it, and see. A program of it in NumPy that needs nothing of this library is a
#    call away: run it beside the tape.
# 5. **Is it better?** A fair comparison has as many weights on both sides. Compare your cell with
#    the GRU on a task of your choice, with ``match="parameters"`` and several seeds. What may you
#    say then, and what not?
