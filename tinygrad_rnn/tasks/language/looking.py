"""From a checkpoint to a page about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.inspection.charts import Curves
from tinygrad_rnn.inspection.page import render_page
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.tasks.curves import of_evaluations, of_steps, records_beside
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.own_text import validation_text
from tinygrad_rnn.tasks.language.reading import read
from tinygrad_rnn.tasks.language.speaking import speak
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.training.saved_runs import id_of_run


def checkpoint_page(
    path: Path,
    model: LanguageModel,
    vocabulary: Vocabulary,
    settings: LanguageOptions,
    saved: Checkpoint,
    text: str | None = None,
) -> str:
    """The page as HTML. Training's curves come from log.jsonl, where that lies beside the checkpoint. Without `text`
    the model reads one of its validation part, or where that is not at hand a sentence that it makes up itself. Raises
    TextError for a text without tokens."""
    meta = saved.meta
    records, missing = records_beside(path, id_of_run(meta))
    name = "training, with dropout" if settings.dropout else "training"
    valid = of_evaluations(records, meta, "valid_nats", best=True)
    losses: Curves = {name: of_steps(records, "loss", "tokens"), "sentences not trained on": valid}
    norms: Curves = {"all gradients together, before clipping": of_steps(records, "gradient_norm", "tokens")}
    form = TextForm.of(vocabulary, settings)
    source = "as asked for"
    if text is None and (found := validation_text(path, vocabulary, settings, meta, saved.arrays)) is not None:
        source, ids, lead = found
        reading = read(model, vocabulary, ids, lead)
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
