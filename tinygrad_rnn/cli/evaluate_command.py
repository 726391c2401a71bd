"""`tinygrad-rnn evaluate`: how well a model does on a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tinygrad_rnn.cli.forms import NamedFiles
from tinygrad_rnn.cli.options import check_device, checkpoint_argument, device_option, encoding_option
from tinygrad_rnn.cli.saying import note, say
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.training.building import load_model
from tinygrad_rnn.training.report import baseline_line, figure
from tinygrad_rnn.training.text_data import encode, measure, prepare, read_corpus


@click.command(
    "evaluate",
    cls=NamedFiles,
    short_help="Measure a model in nats per token and perplexity.",
    help="Measure a model in nats per token and perplexity, on its validation part or another text.",
)
@checkpoint_argument
@click.option(
    "--text",
    multiple=True,
    metavar="FILE",
    help="Measure on all of these texts (files, folders, or - for standard input) instead of the validation part.",
)
@encoding_option
@device_option
def evaluate_command(checkpoint: Path, text: tuple[str, ...], encoding: str, device: str) -> None:
    check_device(device)
    model, vocabulary, settings, meta = load_model(checkpoint, device)
    if text:
        # Characters of a CSV's fields are sentences, and so then are a text's lines.
        lines = settings.lines or (settings.level == "char" and not settings.unbroken)
        settings = replace(settings, text=text, csv=None, encoding=encoding, lines=lines)
    corpus = read_corpus(settings, note)
    if text:
        sentences = encode(corpus.sentences, vocabulary, settings)
    elif corpus.sha256 == meta["corpus"]["sha256"]:
        sentences = prepare(settings, corpus, vocabulary).valid
    else:
        raise TextError(f"the corpus {corpus.name} has changed since the model was trained; name one with --text")
    found = measure(model, settings, sentences, device)
    say(
        "result",
        f"{figure(found.nats, 4)} nats per token on {found.tokens:,} tokens: "
        f"perplexity {figure(found.perplexity, 1)}, {figure(found.bits, 3)} bits",
    )
    say("", f"vocabulary {len(vocabulary):,}, {model.size:,} parameters, corpus sha256 {corpus.sha256[:12]}")
    if not text:
        say("baseline", baseline_line(meta["corpus"]))
