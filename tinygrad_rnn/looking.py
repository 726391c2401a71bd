"""From a checkpoint to a page about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.page import Points, page
from tinygrad_rnn.reading import read
from tinygrad_rnn.settings import Settings
from tinygrad_rnn.speaking import speak, spelled
from tinygrad_rnn.text import Vocabulary


def checkpoint_page(
    path: Path,
    model: LanguageModel,
    vocabulary: Vocabulary,
    settings: Settings,
    meta: dict[str, Any],
    text: str | None = None,
) -> str:
    """The page as HTML. Training's curves come from log.jsonl, where that lies beside the checkpoint. Without `text`
    the model reads a sentence that it makes up itself. Raises TextError for a text without tokens."""
    if text is None:
        text = next(speak(model, vocabulary, settings, np.random.default_rng(0), count=1, min_length=8))
    ids, lead = spelled(text, vocabulary, settings)
    losses, norms = _curves(path.with_name("log.jsonl"))
    losses["sentences not trained on"] = [
        (each["step"], each["valid_nats"]) for each in meta["history"] if each["valid_nats"] is not None
    ]
    reading, between = read(model, vocabulary, ids, lead), " " if settings.level == "word" else ""
    about, best = meta["corpus"], meta["best"]
    facts = [
        ("model", f"{settings.layers} x {settings.cell} {settings.hidden}, embedding {settings.embedding}"),
        ("weights", f"{model.size:,} numbers"),
        ("tokens", f"{len(vocabulary):,} in the vocabulary"),
        ("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256']}"),
        ("progress", f"{meta['progress']['step']:,} steps"),
        ("best", "not tested yet" if best is None else f"{best:.4f} nats per token on text not trained on"),
    ]
    return page(str(path), facts, losses, norms, reading, between)


def _curves(log: Path) -> tuple[dict[str, Points], dict[str, Points]]:
    """Losses and gradient norms of a log; none where it cannot be read."""
    try:
        records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return {}, {}
    steps = [r for r in records if r.get("event") == "step"]
    found = [
        [(r["step"], r[key]) for r in steps if isinstance(r.get(key), float | int)] for key in ("loss", "gradient_norm")
    ]
    return {"training": found[0]}, {"all gradients together, before clipping": found[1]}
