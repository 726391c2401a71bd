"""`python -m tinygrad_rnn`."""

from tinygrad_rnn.cli import main

main(prog_name="tinygrad-rnn")
