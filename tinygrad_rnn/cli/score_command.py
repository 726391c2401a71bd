"""`tinygrad-rnn score`: how likely a model takes lines of text to be."""

from __future__ import annotations

from pathlib import Path

import click

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import (
    check_device,
    checkpoint_argument,
    device_option,
    encoding_option,
    engine_option,
    permit_options,
)
from tinygrad_rnn.cli.saying import echo, warn
from tinygrad_rnn.data.readers import STANDARD_INPUT, read_text, standard_input, text_of
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.saved import refuse_other_tasks
from tinygrad_rnn.tasks.language.speaking import sentence_score
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.permits import Permit


@click.command(
    "score",
    cls=Grouped,
    headings=of_model("score", "The text", "tinygrad-rnn score best.safetensors lines.txt --encoding cp1252"),
    help="Print the log-probability of each line of SENTENCES (a file, or standard input), in nats.\n\n"
    "Prints four columns: log-probability, number of tokens, how many of these the model does not know, sentence. All "
    "unknown tokens are one to the model, a common one: a line with many of them is less likely than it looks.",
)
@checkpoint_argument(refuse_other_tasks)
@click.argument("sentences", type=click.Path(path_type=Path, allow_dash=True), default="-")
@encoding_option
@permit_options
@device_option
@engine_option
def score_command(checkpoint: Path, sentences: Path, encoding: str, device: str, permit: Permit) -> None:
    check_device(device)
    model, vocabulary, options, _ = load_language_model(checkpoint, device, permit, warn)
    form = TextForm.of(vocabulary, options)
    # Standard input may be empty, as where a pipe had nothing to say; a file that was named should not be.
    piped = str(sentences) == STANDARD_INPUT
    text = text_of("standard input", standard_input(), encoding) if piped else read_text(sentences, encoding)
    for line in text.split("\n"):
        if line.strip():
            logprob, count, unknown = sentence_score(model, form, form.sentence_tokens(line))
            echo(f"{logprob:.4f}\t{count}\t{unknown}\t{line}")
