"""`tinygrad-rnn generate`: sentences that a model makes up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import check_device, checkpoint_argument, device_option, engine_option, permit_options
from tinygrad_rnn.cli.saying import say_samples, warn
from tinygrad_rnn.data.readers import read_text
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.saved import refuse_other_tasks
from tinygrad_rnn.tasks.language.speaking import speak
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.permits import Permit


@click.command(
    "generate",
    cls=Grouped,
    headings=of_model("generate", "What it says", "tinygrad-rnn generate --prompt 'the file' --temperature 0.5"),
    help="Print sentences that a trained model makes up. It never prints the unknown token.",
)
@checkpoint_argument(refuse_other_tasks)
@click.option("--count", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=0.8,
    show_default=True,
    help="0: always the most likely.",
)
@click.option("--top-k", type=click.IntRange(1), help="Only the k most likely tokens.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Only the most likely tokens that reach this probability.",
)
@click.option(
    "--beam",
    type=click.IntRange(1),
    help="Nothing by chance: the best sentences that a beam search of this width finds, at most as many.",
)
@click.option("--prompt", default="", help="How it begins.")
@click.option("--prompt-file", metavar="FILE", help="How it begins, from a file of UTF-8, or - for standard input.")
@click.option("--min-length", type=click.IntRange(0), default=5, show_default=True, help="Tokens at least.")
@click.option("--max-length", type=click.IntRange(1), help="Tokens at most (60 words or 400 characters unless told).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same sentences.")
@permit_options
@device_option
@engine_option
def generate_command(
    checkpoint: Path, device: str, seed: int, prompt: str, prompt_file: str | None, permit: Permit, **options: Any
) -> None:
    check_device(device)
    if options["beam"] is not None:
        _leave_chance_out(options)
    if prompt_file is not None:
        if prompt:
            raise OptionError("--prompt and --prompt-file cannot both be given: one beginning was expected")
        prompt = read_text(prompt_file).removesuffix("\n")
    model, vocabulary, settings, _ = load_language_model(checkpoint, device, permit, warn)
    texts = speak(model, TextForm.of(vocabulary, settings), np.random.default_rng(seed), prompt=prompt, **options)
    shown = min(options["count"], options["beam"] or options["count"])
    say_samples(texts, numbered=settings.unbroken and shown > 1)


def _leave_chance_out(options: dict[str, Any]) -> None:
    """Takes away the options of drawing by chance. Raises OptionError where one was typed."""
    source = click.get_current_context().get_parameter_source
    for name in ("temperature", "top_k", "top_p"):
        if source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise OptionError(f"--beam and {option} cannot both be given: a beam search draws nothing by chance")
        del options[name]
