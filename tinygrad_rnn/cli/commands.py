"""The command line: thin, over `runs`. A user's mistake is one sentence on stderr and exit code 1 or 2, without a
traceback."""

from __future__ import annotations

import errno
import io
import math
import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from threadpoolctl import threadpool_limits

from tinygrad_rnn import __version__
from tinygrad_rnn.backend import DeviceUnavailable, cuda_namespace
from tinygrad_rnn.checks.cell_report import CellError, check_cell
from tinygrad_rnn.data.text import TextError, read_text, tokenize
from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.models.checkpoint import CheckpointError
from tinygrad_rnn.tasks.looking import checkpoint_page
from tinygrad_rnn.tasks.speaking import sentence_score, speak
from tinygrad_rnn.training.log import read_log
from tinygrad_rnn.training.report import Reporter, baseline_line, entry, figure, summary
from tinygrad_rnn.training.runs import Run, baselines, encode, load_model, measure, prepare, read_corpus, train
from tinygrad_rnn.training.settings import (
    LEARNING_RATES,
    OPTIMIZERS,
    SCHEDULES,
    Settings,
    SettingsError,
    blame,
    find_cell,
    seconds,
)

DEFAULT_OUT = Path("runs/lm")
DEFAULT_EPOCHS = 8
DEFAULT_BUDGET = 130.0

_MAY_CHANGE = ("epochs", "patience")


class _Group(click.Group):
    """Turns the errors that users can make into one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            raise _in_one_sentence(error) from None


def _in_one_sentence(error: Exception) -> Exception:
    """What click prints for an error that users can make; any other error as it is."""
    if isinstance(error, SettingsError):
        return click.UsageError(str(error))
    if isinstance(error, TextError | CheckpointError | DeviceUnavailable | CellError):
        return click.ClickException(str(error))
    if found := blame(error):
        return click.ClickException(f"the cell failed: {found}")
    if isinstance(error, MemoryError):
        return click.ClickException(f"there is not enough memory: {error}")
    if isinstance(error, OSError) and error.errno != errno.EPIPE:  # a closed pipe, as with `| head`, click ends quietly
        return click.ClickException(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return error


def _say(label: str, text: str) -> None:
    click.echo(entry(label, text))


def _note(text: str) -> None:
    _say("note", f"{text}")


def _nothing(text: str) -> None:
    """A note that nobody wants to read."""


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="tinygrad-rnn")
def main() -> None:
    """Recurrent language models on a small, readable autodiff engine: train, measure and use them."""
    # Where numbers overflow, the results say so; NumPy need not.
    click.get_current_context().with_resource(np.errstate(over="ignore", invalid="ignore"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show é shows \xe9


_DEFAULTS = {field.name: field.default for field in fields(Settings)}


def _setting(name: str, help: str, **options: Any) -> Callable[[Any], Any]:
    """An option for one of the Settings. It is None unless given, so that a resumed run can tell what was asked for."""
    default = _DEFAULTS[name]
    shown = "" if default is None or default is False or default == () else f"  [default: {default}]"
    flag = f"--{name.replace('_', '-')}"
    if off := options.pop("switch", None):
        flag, options["is_flag"] = f"{flag}/{off}", True
    elif "type" not in options:
        options["type"] = type(default) if default not in (None, ()) else str
    return click.option(flag, name, default=None, help=help + shown, **options)


_TRAIN_OPTIONS = [
    click.option(
        "--text",
        "text",
        multiple=True,
        metavar="FILE",
        help="A text file in UTF-8; may be given several times. Without it (and --csv) the docstrings of your Python's "
        "standard library.",
    ),
    _setting("csv", "A CSV file with a column of texts.", metavar="FILE"),
    _setting("column", "The CSV's column, by name or number (from 0).", metavar="NAME"),
    _setting("lines", "One sentence (or name) a line, instead of splitting sentences.", switch="--no-lines"),
    _setting("level", "Model words or characters.", type=click.Choice(["word", "char"])),
    _setting("lowercase", "Lower-case the text (words: yes, characters: no, unless told).", switch="--no-lowercase"),
    _setting(
        "vocab_size",
        "Number of tokens, special ones included (words: 4000 unless told; characters: all).",
        type=int,
    ),
    _setting("valid_fraction", "The last part of the text, kept for validation."),
    _setting(
        "cell", "rnn, gru, lstm, a variant (mgu, janet, peephole-lstm...), or your own: FILE.py:Class.", metavar="CELL"
    ),
    _setting("layers", "Recurrent layers."),
    _setting("embedding", "Size of the word vectors."),
    _setting("hidden", "Hidden units per layer."),
    _setting(
        "tied",
        "Use the embedding table for the output too (where the sizes are equal, unless told).",
        switch="--untied",
    ),
    _setting("init", "Initial weights.", type=click.Choice(["default", "wildml"])),
    _setting("dtype", "Type of the numbers.", type=click.Choice(["float32", "float64"])),
    _setting("vectors", "Pre-trained word vectors (GloVe or word2vec text).", metavar="FILE"),
    _setting("dropout", "On embeddings, between layers and before the output."),
    _setting("recurrent_dropout", "On the state that gates read, one mask a sequence."),
    _setting("zoneout", "Probability that a unit keeps its old state."),
    _setting("optimizer", "Which optimiser.", type=click.Choice(list(OPTIMIZERS))),
    _setting(
        "lr",
        f"Learning rate (unless told: {', '.join(f'{name} {rate:g}' for name, rate in LEARNING_RATES.items())}).",
        type=float,
    ),
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
    help="Stop after 90 (seconds), 90s, 20m or 1.5h of training "
    f"({DEFAULT_BUDGET:.0f}s unless told or --epochs is given).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help=f"For checkpoints, log and picture ({DEFAULT_OUT} unless told; with --resume where the checkpoint is).",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Lines, one a step (log.jsonl in --out unless told).",
)
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
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of BLAS. On products this small two are little faster, and on a busy machine far slower.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
def train_command(
    time_budget: str | None,
    out: Path | None,
    log: Path | None,
    resume: Path | None,
    device: str,
    count: int,
    threads: int,
    quiet: bool,
    **given: Any,
) -> None:
    """Train a language model, and print sentences that it makes up.

    Without any option: two GRU layers on the docstrings of your own Python, in less than three minutes. Ctrl-C saves
    and ends; --resume goes on."""
    _check_device(device)
    click.get_current_context().with_resource(threadpool_limits(threads, user_api="blas"))
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    budget = None if time_budget is None else seconds(time_budget)
    note = _nothing if quiet else _note
    if resume is not None:
        out = resume.parent if out is None else out
        if fixed := sorted(changes.keys() - set(_MAY_CHANGE)):
            raise SettingsError(
                f"with --resume only {' and '.join('--' + name for name in _MAY_CHANGE)} can be changed, "
                f"got {', '.join('--' + name.replace('_', '-') for name in fixed)}"
            )
        run = Run.resume(resume, note, device, **changes)
        _must_be_writable(out)
    else:
        out = DEFAULT_OUT if out is None else out
        if budget is None and "epochs" not in changes:
            budget, changes["epochs"] = DEFAULT_BUDGET, DEFAULT_EPOCHS
        settings = Settings(**changes)
        find_cell(settings.cell)  # a mistake in its name is told before the corpus is read
        _must_be_writable(out)
        data = prepare(settings, read_corpus(settings, note))
        data.about["baselines"] = baselines(data, settings.level)
        run = Run(settings, data, device)
    if not quiet:
        _describe(run)
    log = out / "log.jsonl" if log is None else log
    reporter = Reporter(run, log, budget, quiet)
    try:
        why = train(run, out, reporter, budget)
    finally:
        reporter.close()
    _finish(run, out, log, why, device, count)


def _must_be_writable(folder: Path) -> None:
    """Makes the folder; better now than after an hour of training. Raises OSError, ClickException."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise click.ClickException(f"{folder}: this folder cannot be written to")


def _describe(run: Run) -> None:
    about, settings = run.data.about, run.settings
    train, valid, unit = run.data.train, run.data.valid, "sentences"
    sizes = len(train), len(valid)
    if settings.unbroken:
        sizes, unit = (sum(map(len, train)), sum(map(len, valid))), "characters"
    _say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}")
    _say("split", f"{sizes[0]:,} training and {sizes[1]:,} validation {unit}, vocabulary {len(run.data.vocabulary):,}")
    _say("baseline", f"{baseline_line(about)}")
    _say("", "(interpolated Witten-Bell n-grams on the same split, in nats per token)")
    tied = " (tied)" if run.model.output_weight is None else ""
    _say(
        "model",
        f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}{tied}: "
        f"{run.model.size:,} parameters, {settings.dtype} on {run.device}",
    )
    _say(
        "training",
        f"{settings.optimizer}, lr {run.optimizer.lr:g}, batches of {settings.batch_size}, seed {settings.seed}",
    )


def _finish(run: Run, out: Path, log: Path, why: str, device: str, count: int) -> None:
    best = out / "best.safetensors"
    drawn = loss_curve(read_log(log), out / "loss.png")
    if math.isfinite(run.best) and best.is_file():
        model, vocabulary, settings, _ = load_model(best, device)
        found = measure(model, settings, run.data.valid, device)
        for line in summary(run, found, why):
            click.echo(line)
        _say("files", f"{best}, {out / 'last.safetensors'}, {log}" + (f", {out / 'loss.png'}" if drawn else ""))
        if not drawn:
            _say("", "no picture of the losses: that needs matplotlib, pip install 'tinygrad-rnn[plot]'")
        rng = np.random.default_rng(settings.seed)
        for text in speak(model, vocabulary, settings, rng, count=count, temperature=0.8, min_length=5):
            click.echo(f"  {text}")
    elif math.isfinite(run.best):
        _say("result", f"no model better than before, {figure(run.best, 3)} nats per token ({why})")
    else:
        _say("result", f"no model: the validation loss was never a finite number ({why})")


def _standard_input() -> str:
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextError(
            f"standard input: UTF-8 text was expected, got the byte 0x{raw[error.start]:02x} at byte {error.start:,}"
        ) from None


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise SettingsError(f"device must be cpu or cuda, got {device!r}")
    if device == "cuda":
        cuda_namespace()


_checkpoint = click.argument("checkpoint", type=click.Path(path_type=Path), default=DEFAULT_OUT / "best.safetensors")
_device = click.option("--device", default="cpu", show_default=True, help="cpu, or cuda with CuPy.")


@main.command(short_help="Measure a model in nats per token and perplexity.")
@_checkpoint
@click.option(
    "--text",
    multiple=True,
    metavar="FILE",
    help="Measure on all of these texts instead of the validation part.",
)
@_device
def evaluate(checkpoint: Path, text: tuple[str, ...], device: str) -> None:
    """Measure a model in nats per token and perplexity, on its validation part or another text."""
    _check_device(device)
    model, vocabulary, settings, meta = load_model(checkpoint, device)
    if text:
        # Characters of a CSV's fields are sentences, and so then are a text's lines.
        lines = settings.lines or (settings.level == "char" and not settings.unbroken)
        settings = replace(settings, text=text, csv=None, lines=lines)
    corpus = read_corpus(settings, _note)
    if text:
        sentences = encode(corpus.sentences, vocabulary, settings)
    elif corpus.sha256 == meta["corpus"]["sha256"]:
        sentences = prepare(settings, corpus, vocabulary).valid
    else:
        raise TextError(f"the corpus {corpus.name} has changed since the model was trained; name one with --text")
    found = measure(model, settings, sentences, device)
    _say(
        "result",
        f"{figure(found.nats, 4)} nats per token on {found.tokens:,} tokens: "
        f"perplexity {figure(found.perplexity, 1)}, {figure(found.bits, 3)} bits",
    )
    _say("", f"vocabulary {len(vocabulary):,}, {model.size:,} parameters, corpus sha256 {corpus.sha256[:12]}")
    if not text:
        _say("baseline", f"{baseline_line(meta['corpus'])}")


@main.command()
@_checkpoint
@click.argument("sentences", type=click.Path(path_type=Path, allow_dash=True), default="-")
@_device
def score(checkpoint: Path, sentences: Path, device: str) -> None:
    """Print the log-probability of each line of SENTENCES (a file, or standard input), in nats.

    Prints three columns: log-probability, number of tokens, sentence."""
    _check_device(device)
    model, vocabulary, settings, _ = load_model(checkpoint, device)
    text = _standard_input() if str(sentences) == "-" else read_text(sentences)
    for line in text.split("\n"):
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


@main.command(short_help="Show what is in a checkpoint, as text or as a page.")
@_checkpoint
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look at instead.")
@click.option("--text", help="The text that the page shows the model reading (one of its own unless told).")
def inspect(checkpoint: Path, html: Path | None, text: str | None) -> None:
    """Show what is in a checkpoint: where it is from, how far it got, and its weights. With --html as a page, with
    curves, and what the model does over a text: surprise, gates, what depends on what."""
    model, vocabulary, settings, meta = load_model(checkpoint)
    if html is not None:
        if html.is_file() and html.read_bytes()[:9].lower() != b"<!doctype":
            raise SettingsError(f"--html: {html} is there already, and is no page: it stays as it is")
        whole = checkpoint_page(checkpoint, model, vocabulary, settings, meta, text)
        if str(html) == "-":
            click.echo(whole)
            return
        html.write_text(whole, encoding="utf-8")
        _say("page", str(html))
        return
    if text is not None:
        raise SettingsError("--text is what a page shows: say --html as well")
    about, progress = meta["corpus"], meta["progress"]
    click.echo(f"{checkpoint}: language model, {settings.layers} x {settings.cell} {settings.hidden}")
    _say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256']}")
    _say("progress", f"{progress['step']:,} steps: {progress['epoch']} epochs and {progress['batch']} batches")
    if meta["best"] is not None:
        _say("best", f"{figure(meta['best'], 4)} nats per token")
    for each in meta["history"]:
        nats = "not a finite number of" if each["valid_nats"] is None else figure(each["valid_nats"], 4)
        _say("", f"step {each['step']:>6}  {nats} nats per token")
    default = Settings().to_json()
    differing = {name: value for name, value in settings.to_json().items() if value != default[name]}
    _say("settings", f"{', '.join(f'{k}={v}' for k, v in differing.items()) or 'all defaults'}")
    _say("tokens", f"{len(vocabulary):,}: {' '.join(map(repr, vocabulary.tokens[:12]))} ...")
    _say("weights", f"{model.size:,} numbers")
    for name, parameter in model.named_parameters():
        values = parameter.numpy()
        click.echo(
            f"  {name:24} {'x'.join(map(str, parameter.shape)):>12}  mean {values.mean():+.3f}  "
            f"deviation {values.std():.3f}  largest {abs(values).max():.3f}"
        )


@main.command(short_help="Check a cell of your own, or one by name.")
@click.argument("cell", metavar="NAME|FILE.py:Class")
@click.option("--input-size", type=click.IntRange(1), default=2, show_default=True, help="Features of the inputs.")
@click.option("--hidden-size", type=click.IntRange(1), default=3, show_default=True, help="Features of the state.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the inputs.")
def check(cell: str, input_size: int, hidden_size: int, seed: int) -> None:
    """Check a cell: derivatives, the compiled scan, batches, padding, files. The built-in ones go by name."""
    check_cell(find_cell(cell), input_size, hidden_size, seed=seed)
