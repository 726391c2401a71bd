"""
7. Under the bonnet
===================

A loop over time in Python, with a tape entry for each op of each step, is what we *mean*; it is
not what runs. This chapter shows what the scan made of a cell, and why it may.
"""

import re
import textwrap
import time
import warnings

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, ops
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.ops import sigmoid, tanh


class MinimalGatedUnit(Cell):
    """Zhou et al. 2016."""

    gates = "f n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        f = sigmoid(self.f(x, h))
        return (1 - f) * h + f * tanh(self.n(x, f * h))


# %%
# Why a loop is slow
# ------------------
# Each step multiplies small matrices, and small products are slow: the time goes into starting
# them. But look at what a step waits for. ``x @ U`` needs no state: the products of *all* steps
# can be one product, before the loop. The gradient of ``W`` is a sum over steps (chapter 3),
# and no step waits for it: it can be one product too, after the loop. Only what the next step
# needs must stay inside.
#
# So the scan runs the step **once**, on placeholders that have shapes and no numbers, and
# writes down what it does. It runs the ops' rules on that recording, which gives the backward
# step; asks of every op in both "who waits for it?"; and writes what must stay in the loop as
# plain NumPy, which is what is printed. Where llvmlite is installed it is then compiled to machine
# code, with some of the work around the loop inside; that is what is timed below. ``explain`` shows
# all of it.

layer = Recurrent(MinimalGatedUnit, 6, 64)
xs = Tensor(np.zeros((30, 8, 6), np.float32))
tg.explain(layer, xs)

# %%
# How to read it: values are ``t1, t2...`` in the step as recorded, ``u`` are what the backward
# step makes anew, and ``d`` before a name is the gradient by it; in the source ``h_new`` is ``h'``,
# and ``so_far`` what has come back from later steps. What to look for: two gates
# read ``x``, and their products became one, before the loop. The loop has one line for each op
# that must wait, and writes into buffers that are there already. ``Σ [a b] @ [P Q]`` is
# ``a @ P + b @ Q`` as one product. The last section lists the weight gradients, sums over all steps
# and sentences (``Σ_t``): products too, made at once.
#
# It is the same function
# -----------------------
# ``tg.compiled(False)`` switches to the plain loop, which can be stepped through and whose tape
# can be printed. Results agree to rounding.

xs = Tensor(np.random.default_rng(0).standard_normal((100, 16, 6)).astype(np.float32))
gradients: dict[bool, list[np.ndarray]] = {}
times: dict[bool, list[float]] = {True: [], False: []}
for _ in range(11):
    for on in (True, False):
        for p in layer.parameters():
            p.grad = None
        start = time.perf_counter()
        with tg.compiled(on):
            layer(xs)[0].sum().backward()
        times[on].append(time.perf_counter() - start)
        gradients[on] = [p.grad for p in layer.parameters()]
worst = max(
    np.abs(a - b).max() / np.abs(b).max()
    for a, b in zip(gradients[True], gradients[False], strict=True)
)
ratio = np.median(times[False]) / np.median(times[True])
print(f"gradients {worst:.1e} apart; the plain loop takes {ratio:.1f} times as long")
assert worst < 1e-4

# %%
# When it cannot
# --------------
# A step that looks at the *numbers* cannot be recorded: what it does may change from step to
# step. Then the plain loop runs, and a warning says why, with the line.


def in_short(message: str) -> str:
    """In lines that fit the page, and without the folder that a file is in."""
    return textwrap.fill(re.sub(r"at \S+[/\\]", "at ", message), 78)


class Impatient(Cell):
    """Squashes only what is large."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        total = self.n(x, h)
        return tanh(total) if abs(total.numpy()).max() > 1 else total


with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    Recurrent(Impatient, 6, 64)(xs)
print(in_short(str(told[0].message)))

# %%
# What is above would be a bad cell anyhow: whether a row of the batch is squashed depends on the
# other rows. ``check_cell`` finds that. The way out is an op that decides entry by entry, and is
# recorded like any other:


class Patient(Cell):
    """Squashes each entry that is large."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        total = self.n(x, h)
        return ops.where(abs(total) > 1, tanh(total), total)


with warnings.catch_warnings():
    warnings.simplefilter("error")  # a warning now would end the program
    Recurrent(Patient, 6, 64)(xs)
for cell in (Impatient, Patient):
    try:
        tg.check_cell(cell, show=False)
        print(f"{cell.__name__}: passed")
    except tg.CellError as error:
        print(in_short(str(error)))

# %%
# Exercises
# ---------
# 1. **Who must wait?** Say, before you look, how many products of matrices stand in the forward
#    loop of a plain network, of a GRU, and of a minGRU (``models.variants.MinGRUCell``, whose
#    gates read the input alone). Then count ``matmul`` in what ``explain`` prints.
# 2. **Made once.** A step multiplies ``x`` by the product of two narrow matrices, ``x @ (A @ B)``.
#    How often is ``A @ B`` calculated in a sequence of a thousand steps? And how often is its
#    gradient?
# 3. **Until it is good enough.** A step looks for the ``y`` with ``y = tanh(a + y / 2)`` by
#    putting ``y`` in again and again until it moves no more. It cannot be recorded. Why, and what
#    is the nearest step that can?
# 4. **Memory for time.** ``tg.scan(..., checkpoint_every=k)`` keeps a state in every ``k`` steps,
#    and calculates the rest again on the way back. Measure the memory with ``tracemalloc``, for
#    several ``k``. Which ``k`` is best for T steps, and why is it about the root of T?
