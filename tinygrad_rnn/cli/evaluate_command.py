"""`tinygrad-rnn evaluate`: how well a model does on a text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import (
    cell_options,
    check_device,
    checkpoint_argument,
    device_option,
    encoding_option,
)
from tinygrad_rnn.cli.saying import note, say, warn
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.training.building import load_model
from tinygrad_rnn.training.cell_permits import CellPermit
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.places import found_texts, with_texts_at
from tinygrad_rnn.training.report import baseline_line
from tinygrad_rnn.training.split_identity import split_change
from tinygrad_rnn.training.text_data import encode, measure, prepare, read_corpus
from tinygrad_rnn.training.unknown_tokens import UnknownTokens, count_unknown


@click.command(
    "evaluate",
    cls=Grouped,
    headings=of_model("evaluate", "The text", "tinygrad-rnn evaluate --text other.txt"),
    short_help="Measure a model in nats per token and perplexity.",
    help="Measure a model in nats per token and perplexity, on its validation part or another text.\n\n"
    "All unknown tokens are one to the model, a common one, and make a text look easy: perplexity is given with and "
    "without them.",
)
@checkpoint_argument
@click.option(
    "--text",
    multiple=True,
    metavar="FILE",
    help="Measure on all of these texts (files, folders, or - for standard input) instead of the validation part.",
)
@encoding_option
@cell_options
@device_option
def evaluate_command(checkpoint: Path, text: tuple[str, ...], encoding: str, device: str, permit: CellPermit) -> None:
    check_device(device)
    model, vocabulary, settings, meta = load_model(checkpoint, device, permit, warn)
    if text:
        # Characters of a CSV's fields are sentences, and so then are a text's lines.
        lines = settings.lines or (settings.level == "char" and not settings.unbroken)
        batching = "stream" if settings.streams else "sentences"
        settings = replace(settings, text=text, csv=None, valid=None, encoding=encoding, lines=lines)
        settings = replace(settings, batching=batching, shuffle=None)
    else:
        settings = with_texts_at(settings, found_texts(settings, checkpoint, meta.get("files", {})))
    corpus = read_corpus(settings, note)
    if text:
        sentences = encode(corpus.sentences, vocabulary, settings)
    elif corpus.sha256 == meta["corpus"]["sha256"]:
        data = prepare(settings, corpus, vocabulary)
        if change := split_change(meta["corpus"], data.about):
            raise TextError(f"{checkpoint}: {change}; name a text with --text")
        sentences = data.valid
    else:
        raise TextError(f"the corpus {corpus.name} has changed since the model was trained; name one with --text")
    if settings.streams and not settings.warm_up:
        note(f"This run measures its {settings.batch_size} streams without a warm-up: their number matters.")
    found = measure(model, settings, sentences, device)
    say(
        "result",
        f"{figure(found.nats, 4)} nats per {settings.unit} on {found.tokens:,} {settings.unit}s: "
        f"perplexity {figure(found.perplexity, 1)}, {figure(found.bits, 3)} bits per {settings.unit}",
    )
    say("", f"vocabulary {len(vocabulary):,}, {model.size:,} parameters, corpus sha256 {corpus.sha256[:12]}")
    unknown = count_unknown(sentences)
    if 0 < unknown.count < unknown.total:
        known = measure(model, settings, sentences, device, known_only=True)
        _say_unknown(unknown, found, known)
    else:
        say("unknown", "all of the tokens" if unknown.count else "none of the tokens")
    if unknown.most:
        note("Most of the text is unknown to the model: a low perplexity does not say that it knows such texts.")
    if not text:
        say("baseline", baseline_line(meta["corpus"]))


def _say_unknown(unknown: UnknownTokens, found: Evaluation, known: Evaluation) -> None:
    say(
        "unknown",
        f"{unknown} of the tokens: perplexity {figure(found.perplexity, 1)} with them, "
        f"{figure(known.perplexity, 1)} on the {known.tokens:,} others",
    )
