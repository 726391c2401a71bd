"""`tinygrad-rnn score`: how likely a model takes lines of text to be."""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_rnn.cli.options import check_device, checkpoint_argument, device_option, encoding_option
from tinygrad_rnn.data.readers import STANDARD_INPUT, read_text, standard_input, text_of
from tinygrad_rnn.tasks.speaking import sentence_score, sentence_tokens
from tinygrad_rnn.training.building import load_model


@click.command(
    "score",
    help="Print the log-probability of each line of SENTENCES (a file, or standard input), in nats.\n\n"
    "Prints three columns: log-probability, number of tokens, sentence.",
)
@checkpoint_argument
@click.argument("sentences", type=click.Path(path_type=Path, allow_dash=True), default="-")
@encoding_option
@device_option
def score_command(checkpoint: Path, sentences: Path, encoding: str, device: str) -> None:
    check_device(device)
    model, vocabulary, settings, _ = load_model(checkpoint, device)
    # Standard input may be empty, as where a pipe had nothing to say; a file that was named should not be.
    piped = str(sentences) == STANDARD_INPUT
    text = text_of("standard input", standard_input(), encoding) if piped else read_text(sentences, encoding)
    for line in text.split("\n"):
        if line.strip():
            tokens = sentence_tokens(line, settings)
            logprob, count = sentence_score(model, vocabulary, settings, tokens)
            click.echo(f"{logprob:.4f}\t{count}\t{line}")
