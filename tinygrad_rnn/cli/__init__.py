"""The command line."""

from tinygrad_rnn.cli.commands import main as main
