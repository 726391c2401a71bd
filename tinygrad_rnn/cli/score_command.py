"""`tinygrad-rnn score`: how likely a model takes lines of text to be."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinygrad_rnn.cli.options import cell_options, check_device, checkpoint_argument, device_option
from tinygrad_rnn.cli.saying import echo, warn
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.readers import read_text
from tinygrad_rnn.data.tokens import tokenize
from tinygrad_rnn.tasks.speaking import sentence_score
from tinygrad_rnn.training.building import load_model
from tinygrad_rnn.training.cell_permits import CellPermit


@click.command("score")
@checkpoint_argument
@click.argument("sentences", type=click.Path(path_type=Path, allow_dash=True), default="-")
@cell_options
@device_option
def score_command(checkpoint: Path, sentences: Path, device: str, permit: CellPermit) -> None:
    """Print the log-probability of each line of SENTENCES (a file, or standard input), in nats.

    Prints four columns: log-probability, number of tokens, how many of these the model does not know, sentence. All
    unknown tokens are one to the model, a common one: a line with many of them is less likely than it looks."""
    check_device(device)
    model, vocabulary, settings, _ = load_model(checkpoint, device, permit, warn)
    text = _standard_input() if str(sentences) == "-" else read_text(sentences)
    for line in text.split("\n"):
        if line.strip():
            tokens = tokenize(line, level=settings.level, lines=True, lowercase=settings.lowercased)[0]
            logprob, count, unknown = sentence_score(model, vocabulary, settings, tokens)
            echo(f"{logprob:.4f}\t{count}\t{unknown}\t{line}")


def _standard_input() -> str:
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextError(
            f"standard input: UTF-8 text was expected, got the byte 0x{raw[error.start]:02x} at byte {error.start:,}"
        ) from None
