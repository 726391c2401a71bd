"""The command line: thin, over `runs`. A user's mistake is one sentence on stderr and exit code 1 or 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import numpy as np

from tinygrad_rnn import __version__
from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.checkpoint import CheckpointError
from tinygrad_rnn.report import Reporter, baseline_line, picture, summary
from tinygrad_rnn.runs import Run, baselines, load_model, prepare, read_corpus, train
from tinygrad_rnn.settings import OPTIMIZERS, SCHEDULES, Settings, SettingsError, seconds
from tinygrad_rnn.speaking import sentence_score, speak
from tinygrad_rnn.text import TextError, read_text, tokenize
from tinygrad_rnn.training import Evaluation
from tinygrad_rnn.training import evaluate as evaluate_model

DEFAULT_OUT = Path("runs/lm")
DEFAULT_EPOCHS = 12
DEFAULT_BUDGET = 130.0

_MAY_CHANGE = ("epochs", "patience")


class _Group(click.Group):
    """Turns the errors that users can make into one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from None
        except (TextError, CheckpointError, DeviceUnavailable) as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:
            raise click.ClickException(
                f"{error.filename}: {error.strerror}" if error.filename else str(error)
            ) from None


def _note(text: str) -> None:
    click.echo(f"note      {text}")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tinygrad-rnn")
def main() -> None:
    """Recurrent language models on a small, readable autodiff engine: train, measure and use them."""


_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _setting(name: str, help: str, **options: Any) -> Callable[[Any], Any]:
    """An option for one of the Settings. It is None unless given, so that a resumed run can tell what was asked for."""
    default = _DEFAULTS[name]
    shown = "" if default in (None, False, ()) else f"  [default: {default}]"
    flag = f"--{name.replace('_', '-')}"
    if options.pop("switch", False):
        flag = f"{flag}/--no-{name.replace('_', '-')}"
        options["is_flag"] = True
    elif "type" not in options:
        options["type"] = type(default) if default not in (None, ()) else str
    return click.option(flag, name, default=None, help=help + shown, **options)


_TRAIN_OPTIONS = [
    click.option(
        "--text",
        "text",
        multiple=True,
        metavar="FILE",
        help="A text file in UTF-8; may be given several times. Without it (and --csv) the docstrings of your Python's standard library.",
    ),
    _setting("csv", "A CSV file with a column of texts.", metavar="FILE"),
    _setting("column", "The CSV's column, by name or number (from 0).", metavar="NAME"),
    _setting("lines", "One sentence (or name) a line, instead of splitting sentences.", switch=True),
    _setting("level", "Model words or characters.", type=click.Choice(["word", "char"])),
    _setting("lowercase", "Lower-case the text (words: yes, characters: no, unless told).", switch=True),
    _setting(
        "vocab_size",
        "Number of tokens, special ones included (words: 4000 unless told; characters: all).",
        type=int,
    ),
    _setting("valid_fraction", "The last part of the text, kept for validation."),
    _setting("cell", "rnn, gru, lstm, or your own: FILE.py:Class.", metavar="CELL"),
    _setting("layers", "Recurrent layers."),
    _setting("embedding", "Size of the word vectors."),
    _setting("hidden", "Hidden units per layer."),
    _setting(
        "tied",
        "Use the embedding table for the output too (where the sizes are equal, unless told).",
        switch=True,
    ),
    _setting("init", "Initial weights.", type=click.Choice(["default", "wildml"])),
    _setting("dtype", "Type of the numbers.", type=click.Choice(["float32", "float64"])),
    _setting("vectors", "Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"),
    _setting("dropout", "On embeddings, between layers and before the output."),
    _setting("recurrent_dropout", "On the state that gates read, one mask a sequence."),
    _setting("zoneout", "Probability that a unit keeps its old state."),
    _setting("optimizer", "Which optimiser.", type=click.Choice(list(OPTIMIZERS))),
    _setting("lr", "Learning rate (by optimiser unless told: rmsprop and adam 0.002).", type=float),
    _setting("momentum", "For sgd."),
    _setting("decay", "For rmsprop and adadelta (0.9 and 0.95 unless told).", type=float),
    _setting("weight_decay", "Decoupled weight decay."),
    _setting("clip_norm", "Largest norm of the whole gradient."),
    _setting("clip_value", "Largest entry of the gradient.", type=float),
    _setting(
        "schedule",
        "Of the learning rate; halve: when the validation loss rises.",
        type=click.Choice(SCHEDULES),
    ),
    _setting(
        "batching",
        "Contiguous streams with carried state, or single sentences by length (stream unless told).",
        type=click.Choice(["stream", "sentences"]),
    ),
    _setting("batch_size", "Streams, or sentences, side by side."),
    _setting("steps", "Time steps of truncated back-propagation (streams)."),
    _setting(
        "epochs",
        f"Passes over the training part ({DEFAULT_EPOCHS} unless told, without end where --time-budget is given).",
        type=int,
    ),
    _setting("evaluate_every", "Steps between evaluations (an epoch unless told).", type=int),
    _setting("patience", "Stop after that many evaluations without a better one.", type=int),
    _setting("seed", "Same seed, same machine, same numbers."),
]


def _train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_TRAIN_OPTIONS):
        command = option(command)
    return command


@main.command("train")
@_train_options
@click.option(
    "--time-budget",
    metavar="TIME",
    help=f"Stop after 90 (seconds), 90s, 20m or 1.5h of training; {DEFAULT_BUDGET:.0f} s unless told or --epochs is given.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder for checkpoints, log and picture.",
)
@click.option("--log", type=click.Path(path_type=Path), help="JSONL file, a line a step (in --out unless told).")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="CHECKPOINT",
    help="Go on from this checkpoint, bit for bit.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with CuPy.")
@click.option(
    "--sentences",
    "count",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Sentences to print at the end.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
def train_command(
    time_budget: str | None,
    out: Path,
    log: Path | None,
    resume: Path | None,
    device: str,
    count: int,
    quiet: bool,
    **given: Any,
) -> None:
    """Train a language model, and print sentences that it makes up.

    Without any option: two GRU layers on the docstrings of your own Python, in less than three minutes. Ctrl-C saves and
    ends; --resume goes on."""
    _check_device(device)
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    budget = None if time_budget is None else seconds(time_budget)
    if resume is not None:
        if fixed := sorted(changes.keys() - set(_MAY_CHANGE)):
            raise SettingsError(
                f"with --resume only {' and '.join('--' + name for name in _MAY_CHANGE)} can be changed, "
                f"got {', '.join('--' + name.replace('_', '-') for name in fixed)}"
            )
        run = Run.resume(resume, _note, device, **changes)
        _describe(run, quiet)
    else:
        if budget is None and "epochs" not in changes:
            budget, changes["epochs"] = DEFAULT_BUDGET, DEFAULT_EPOCHS
        run = _new_run(Settings(**changes), device, quiet)
    log = out / "log.jsonl" if log is None else log
    reporter = Reporter(run, log, budget, quiet)
    try:
        why = train(run, out, reporter, budget)
    finally:
        reporter.close()
    _finish(run, out, log, why, device, count)


def _new_run(settings: Settings, device: str, quiet: bool) -> Run:
    corpus = read_corpus(settings, _note)
    data = prepare(settings, corpus)
    run = Run(settings, data, device)
    data.about["baselines"] = baselines(data, settings.level)
    _describe(run, quiet)
    return run


def _describe(run: Run, quiet: bool) -> None:
    if quiet:
        return
    about, settings = run.data.about, run.settings
    click.echo(f"corpus    {about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}")
    click.echo(
        f"split     {len(run.data.train):,} training and {len(run.data.valid):,} validation "
        f"{'sentences' if about['sentences'] > 1 else 'part'}, vocabulary {len(run.data.vocabulary):,}"
    )
    click.echo(f"baseline  {baseline_line(about)}")
    click.echo("          (interpolated Witten-Bell n-grams on the same split, in nats per token)")
    click.echo(
        f"model     {settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}"
        f"{' (tied)' if settings.is_tied else ''}: {run.model.size:,} parameters, {settings.dtype} on {run.device}"
    )
    click.echo(
        f"training  {settings.optimizer}, lr {run.optimizer.lr:g}, batches of {settings.batch_size}, seed {settings.seed}"
    )


def _finish(run: Run, out: Path, log: Path, why: str, device: str, count: int) -> None:
    best = out / "best.safetensors"
    drawn = picture(log, out / "loss.png")
    if best.is_file():
        model, vocabulary, settings, _ = load_model(best, device)
        found = evaluate_model(model, run.valid_batches(), carry=run.carry)
        for line in summary(run, found, why):
            click.echo(line)
        click.echo(f"files     {best}, {out / 'last.safetensors'}, {log}" + (f", {out / 'loss.png'}" if drawn else ""))
        rng = np.random.default_rng(settings.seed)
        for text in speak(model, vocabulary, settings, rng, count=count, temperature=0.8, min_length=5):
            click.echo(f"  {text}")
    else:
        click.echo(f"result    nothing new to keep: {why}")


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda":
        cuda_namespace()


_checkpoint = click.argument("checkpoint", type=click.Path(path_type=Path), default=DEFAULT_OUT / "best.safetensors")
_device = click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with CuPy.")


@main.command()
@_checkpoint
@click.option(
    "--text",
    multiple=True,
    metavar="FILE",
    help="Measure on all of these texts instead of the validation part.",
)
@_device
def evaluate(checkpoint: Path, text: tuple[str, ...], device: str) -> None:
    """Nats per token and perplexity of a trained model, on its own validation part or on another text."""
    _check_device(device)
    model, vocabulary, settings, meta = load_model(checkpoint, device)
    run_settings = settings if not text else Settings.from_json({**settings.to_json(), "text": list(text), "csv": None})
    corpus = read_corpus(run_settings, _note)
    if not text and corpus.sha256 != meta["corpus"]["sha256"]:
        raise TextError(f"the corpus {corpus.name} has changed since the model was trained; name one with --text")
    run = Run(settings, prepare(settings, corpus, vocabulary), device)
    batches = run.fixed_batches([*run.data.train, *run.data.valid]) if text else run.valid_batches()
    found = evaluate_model(model, batches, carry=run.carry)
    _print_evaluation(found, len(vocabulary), model.size, corpus.sha256)
    if not text:
        click.echo(f"baseline  {baseline_line(meta['corpus'])}")


def _print_evaluation(found: Evaluation, vocabulary: int, size: int, sha256: str) -> None:
    click.echo(
        f"result    {found.nats:.4f} nats per token on {found.tokens:,} tokens: perplexity {found.perplexity:.1f}, "
        f"{found.bits:.3f} bits"
    )
    click.echo(f"          vocabulary {vocabulary:,}, {size:,} parameters, corpus sha256 {sha256[:12]}")


@main.command()
@_checkpoint
@click.argument("sentences", type=click.Path(path_type=Path, allow_dash=True), default="-")
@_device
def score(checkpoint: Path, sentences: Path, device: str) -> None:
    """The log-probability of each line of SENTENCES (a file, or standard input), in nats.

    Prints three columns: log-probability, number of tokens, sentence."""
    _check_device(device)
    model, vocabulary, settings, _ = load_model(checkpoint, device)
    text = sys.stdin.read() if str(sentences) == "-" else read_text(sentences)
    for line in text.splitlines():
        if line.strip():
            tokens = tokenize(line, level=settings.level, lines=True, lowercase=settings.lowercased)[0]
            logprob, count = sentence_score(model, vocabulary, settings, tokens)
            click.echo(f"{logprob:.4f}\t{count}\t{line}")


@main.command()
@_checkpoint
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
@click.option("--prompt", default="", help="How it begins.")
@click.option("--min-length", type=click.IntRange(0), default=5, show_default=True, help="Tokens at least.")
@click.option("--max-length", type=click.IntRange(1), help="Tokens at most (60 words or 400 characters unless told).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same sentences.")
@_device
def generate(checkpoint: Path, device: str, seed: int, **options: Any) -> None:
    """Print sentences that a trained model makes up. It never prints the unknown token."""
    _check_device(device)
    model, vocabulary, settings, _ = load_model(checkpoint, device)
    for text in speak(model, vocabulary, settings, np.random.default_rng(seed), **options):
        click.echo(text)


@main.command()
@_checkpoint
def inspect(checkpoint: Path) -> None:
    """What is in a checkpoint: where it is from, how far it got, and its weights."""
    model, vocabulary, settings, meta = load_model(checkpoint)
    about, progress = meta["corpus"], meta["progress"]
    click.echo(f"{checkpoint}: language model, {settings.layers} x {settings.cell} {settings.hidden}")
    click.echo(f"corpus    {about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256']}")
    click.echo(f"progress  step {progress['step']}, epoch {progress['epoch']} and {progress['batch']} batches")
    if meta["best"] is not None:
        click.echo(f"best      {meta['best']:.4f} nats per token")
    for entry in meta["history"]:
        click.echo(f"          step {entry['step']:>6}  {entry['valid_nats']:.4f} nats per token")
    default = Settings().to_json()
    differing = {name: value for name, value in settings.to_json().items() if value != default[name]}
    click.echo(f"settings  {', '.join(f'{k}={v}' for k, v in differing.items()) or 'all defaults'}")
    click.echo(f"tokens    {len(vocabulary):,}: {' '.join(map(repr, vocabulary.tokens[:12]))} ...")
    click.echo(f"weights   {model.size:,} numbers")
    for name, parameter in model.named_parameters():
        values = parameter.numpy()
        click.echo(
            f"  {name:24} {'x'.join(map(str, parameter.shape)):>12}  mean {values.mean():+.3f}  "
            f"deviation {values.std():.3f}  largest {abs(values).max():.3f}"
        )
