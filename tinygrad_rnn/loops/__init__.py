"""Loops over time: `scan`, and the two ways to run one that must agree."""

from tinygrad_rnn.loops.explaining import explain as explain
from tinygrad_rnn.loops.scanning import ScanWarning as ScanWarning
from tinygrad_rnn.loops.scanning import compiled as compiled
from tinygrad_rnn.loops.scanning import scan as scan
from tinygrad_rnn.loops.unrolling import unroll as unroll
