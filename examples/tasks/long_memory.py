"""Three cells and the oldest test of long memory: add the two numbers of a row that
are marked, however far apart.

Prints the squared error that a tanh RNN, a GRU and an LSTM have on rows of 30
numbers after the same training; then, for one row, the sum that the LSTM would say
after each number.
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.data.long_memory import adding

STEPS = 30

for cell in ("rnn", "gru", "lstm"):
    trained = tg.tasks.train("memory", problem="adding", length=STEPS, cell=cell, hidden=24, examples=4000, epochs=5)
    print(f"{cell:4}  squared error {trained.result.loss:.4f}, where always to say 1 has {1 / 6:.4f}")

row, total = adding(np.random.default_rng(1), 1, STEPS)[0]
sums = trained.predict([row[: t + 1] for t in range(STEPS)])
print(f"\nA row whose sum is {total:.2f}, and what the LSTM would say after each number:")
for (number, mark), said in zip(row, sums, strict=True):
    print(f"  {number:.2f}{'*' if mark else ' '}  {said:5.2f}  {'#' * round(30 * max(said, 0))}")
