"""The cells that come with the package, by the names that the command line has for them."""

from __future__ import annotations

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.variants import VARIANTS

CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell} | VARIANTS
"""The three classic ones, and those of `models.variants`."""
