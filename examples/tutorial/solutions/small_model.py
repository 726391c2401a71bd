"""Chapter 9's model for its solutions, after half the training, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from chapters import taken

import tinygrad_rnn as tg
from tinygrad_rnn.inspection.page import Reading
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.tasks.language.reading import read
from tinygrad_rnn.tasks.language.text_form import TextForm

held_back, learned, READ = taken("09", "held_back", "learned", "READ")

with TemporaryDirectory() as folder:
    text = Path(folder) / "lines.txt"
    text.write_text("\n".join(learned), encoding="utf-8")
    trained = tg.tasks.train(
        "language",
        text=(str(text),),
        lines=True,
        level="char",
        cell="lstm",
        layers=1,
        hidden=48,
        embedding=16,
        tied=False,
        dropout=0.1,
        lr=0.02,
        batch_size=16,
        epochs=5,
    )
assert isinstance(trained.model, LanguageModel)
model, vocabulary = trained.model, trained.tables["vocabulary"]
form = TextForm.of(vocabulary, trained.task.options)


def reading_of(line: str) -> Reading:
    """What the model does over a line."""
    return read(model, vocabulary, *form.spelled(line))


readings = [reading_of(line) for line in held_back]
