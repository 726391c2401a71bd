"""From a checkpoint to a page about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.page import Curves, render_page
from tinygrad_rnn.inspection.short_steps import without_short_steps
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.own_text import validation_text
from tinygrad_rnn.tasks.language.reading import read
from tinygrad_rnn.tasks.language.speaking import speak
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.log import LogLine, first_line, numbers, read_log
from tinygrad_rnn.training.saved_runs import id_of_run


def checkpoint_page(
    path: Path,
    model: LanguageModel,
    vocabulary: Vocabulary,
    settings: LanguageOptions,
    meta: dict[str, Any],
    text: str | None = None,
) -> str:
    """The page as HTML. Training's curves come from log.jsonl, where that lies beside the checkpoint. Without `text`
    the model reads one of its validation part, or where that is not at hand a sentence that it makes up itself. Raises
    TextError for a text without tokens."""
    records, missing = _records_beside(path, id_of_run(meta))
    name = "training, with dropout" if settings.dropout else "training"
    losses: Curves = {name: _of_steps(records, "loss"), "sentences not trained on": _evaluations(records, meta)}
    norms: Curves = {"all gradients together, before clipping": _of_steps(records, "gradient_norm")}
    form = TextForm.of(vocabulary, settings)
    source = "as asked for"
    if text is None and (found := validation_text(path, vocabulary, settings, meta)) is not None:
        source = "of the validation part, which the model was not trained on"
        reading = read(model, vocabulary, *found)
    else:
        if text is None:
            source = "made up by the model itself, since its corpus cannot be read here, or has changed"
            text = next(speak(model, form, np.random.default_rng(0), count=1, min_length=8))
        reading = read(model, vocabulary, *form.spelled(text))
    about, best = meta["data"], meta["best"]
    facts = [
        ("model", f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}"),
        ("weights", f"{model.size:,} numbers"),
        ("tokens", f"{len(vocabulary):,} in the vocabulary"),
        ("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256']}"),
        ("progress", f"{meta['progress']['step']:,} steps"),
        ("best", "not tested yet" if best is None else f"{best:.4f} nats per token on text not trained on"),
    ]
    facts.append(("text", source))
    if not records:
        facts.append(("log", f"{missing}: there are no curves of the training"))
    return render_page(str(path), facts, losses, norms, reading, " " if settings.level == "word" else "")


def _records_beside(path: Path, run: str) -> tuple[list[LogLine], str]:
    """The records of the log that lies beside a checkpoint of a run, and what is to be said where there are none."""
    log = path.with_name("log.jsonl")
    first = first_line(log)
    if first is not None and first["event"] == "run" and first.get("run") != run:
        return [], "the log.jsonl beside the checkpoint is of another run"
    return read_log(log), "no log.jsonl lies beside the checkpoint"


def _of_steps(records: list[LogLine], key: str) -> list[tuple[int, float]]:
    """The values of the steps under a key, without the jumps of short steps."""
    tokens = dict(numbers(records, "step", "tokens"))
    return without_short_steps([(step, value, tokens.get(step, 0)) for step, value in numbers(records, "step", key)])


def _evaluations(records: list[LogLine], meta: dict[str, Any]) -> list[tuple[int, float]]:
    """All that the files know: the log has an evaluation at the very end as well, which the history of the run has
    not, and the best model's file has its own."""
    found = dict(numbers(records, "evaluation", "valid_nats"))
    found |= {each["step"]: each["valid_nats"] for each in meta["history"] if each["valid_nats"] is not None}
    if meta["best"] is not None and meta["best"] not in found.values():
        found[meta["progress"]["step"]] = meta["best"]
    return sorted(found.items())
