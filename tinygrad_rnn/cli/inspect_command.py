"""`tinygrad-rnn inspect`: what is in a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinygrad_rnn.cli.helping import Grouped, of_model
from tinygrad_rnn.cli.options import cell_options, checkpoint_argument
from tinygrad_rnn.cli.saying import command_with_cell, echo, say, warn
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.disk import named_errors
from tinygrad_rnn.models import checkpoint as files
from tinygrad_rnn.tasks.looking import checkpoint_page
from tinygrad_rnn.training.building import described, rebuilt
from tinygrad_rnn.training.cell_permits import NOTHING_PERMITTED, CellPermit, not_run
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.settings import Settings, SettingsError


@click.command(
    "inspect",
    cls=Grouped,
    headings=of_model("inspect", "What is shown", "tinygrad-rnn inspect --html page.html --text 'the file is open .'"),
    short_help="Show what is in a checkpoint, as text or as a page.",
    help="Show what is in a checkpoint: where it is from, how far it got, and its weights. With --html as a "
    "page, with curves, and what the model does over a text: surprise, gates, what depends on what.",
)
@checkpoint_argument
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to look at instead.")
@click.option("--text", help="The text that the page shows the model reading (of its validation part unless told).")
@cell_options
def inspect_command(checkpoint: Path, html: Path | None, text: str | None, permit: CellPermit) -> None:
    saved = files.load(checkpoint)
    vocabulary, settings = described(checkpoint, saved)
    meta = saved.meta
    left = not_run(checkpoint, settings, meta.get("cell")) if permit == NOTHING_PERMITTED and html is None else None
    if left is None:
        model, *_ = rebuilt(checkpoint, saved, "cpu", permit, warn)
    if html is not None:
        if html.is_file() and html.read_bytes()[:9].lower() != b"<!doctype":
            raise SettingsError(f"--html: {html} is there already, and is no page: it stays as it is")
        whole = checkpoint_page(checkpoint, model, vocabulary, settings, meta, text)
        if str(html) == "-":
            (echo if sys.stdout.isatty() else click.echo)(whole)
            return
        with named_errors(html):
            html.write_text(whole, encoding="utf-8", errors="backslashreplace")
        say("page", str(html))
        return
    if text is not None:
        raise SettingsError("--text is what a page shows: say --html as well")
    _table(checkpoint, saved, vocabulary, settings)
    if left is not None:
        say("cell", f"the file was not run: {left}")
        say("", "to try whether the weights fit it:")
        echo(f"  {command_with_cell(left.cell)}")


def _table(checkpoint: Path, saved: files.Checkpoint, vocabulary: Vocabulary, settings: Settings) -> None:
    """What the file says, without the cell."""
    meta, weights = saved.meta, saved.part("model")
    about, progress = meta["corpus"], meta["progress"]
    echo(f"{checkpoint}: language model, {settings.layers} x {settings.cell} {settings.hidden}")
    say("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256']}")
    say("progress", f"{progress['step']:,} steps: {progress['epoch']} epochs and {progress['batch']} batches")
    if meta["best"] is not None:
        say("best", f"{figure(meta['best'], 4)} nats per {settings.unit}")
    for each in meta["history"]:
        nats = "not a finite number of" if each["valid_nats"] is None else figure(each["valid_nats"], 4)
        say("", f"step {each['step']:>6}  {nats} nats per {settings.unit}")
    default = Settings().to_json()
    differing = {name: value for name, value in settings.to_json().items() if value != default[name]}
    say("settings", ", ".join(f"{k}={v}" for k, v in differing.items()) or "all defaults")
    say("tokens", f"{len(vocabulary):,}: {' '.join(map(repr, vocabulary.tokens[:12]))} ...")
    say("weights", f"{sum(values.size for values in weights.values()):,} numbers")
    for name, values in weights.items():
        line = f"  {name:22} {'x'.join(map(str, values.shape)):>9}"
        if values.size:
            line += f"  mean {values.mean():+.3f}  deviation {values.std():.3f}  largest {abs(values).max():.3f}"
        echo(line)
