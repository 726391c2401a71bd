"""What a model makes of each label, where its answers are labels or have some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tinygrad_rnn.metrics.classes import label_scores, macro_f1
from tinygrad_rnn.metrics.confusion import confusion_matrix
from tinygrad_rnn.training.asking import asked
from tinygrad_rnn.training.display import TIE, figure
from tinygrad_rnn.training.measuring import Measured
from tinygrad_rnn.training.task import Task

MOST_LABELS = 30
"""Of which each is named."""


def label_counts(task: Task, examples: Sequence[Any]) -> list[tuple[str, str]]:
    """How often each label occurs in examples, the most frequent first: a label, and a text for `entry`; nothing for a
    task without labels."""
    counts = Counter(task.labels_in([each[1] for each in examples])) if task.predicts else Counter[Any]()
    if not counts:
        return []
    named = [f"{name} {count:,}".replace(" ", TIE) for name, count in counts.most_common(MOST_LABELS)]
    more = len(counts) - len(named)
    return [("labels", ", ".join([*named, *([f"{more:,} more"] if more else [])]))]


def labels_of(task: Task, found: Measured) -> tuple[list[Any], list[Any]]:
    """The labels that are right and those that were said, as many; none where the answers have none."""
    with asked(task.name, "labels_in"):
        gold, said = (list(task.labels_in(outputs)) for outputs in (found.gold, found.said))
    return (gold, said) if len(gold) == len(said) else ([], [])


def about_labels(task: Task, found: Measured) -> list[tuple[str, str]]:
    """F1 of each label, and which was taken for which: labels, and texts for `entry`, of which those without a label
    and with line ends are to be printed as they are."""
    gold, said = labels_of(task, found)
    if not gold:
        return []
    scores = list(label_scores(gold, said).items())
    each = [f"{name} {figure(score.f1, 3)}".replace(" ", TIE) for name, score in scores[:MOST_LABELS]]
    table = confusion_matrix(gold, said).table()
    return [("F1", f"{', '.join(each)}; macro{TIE}{figure(macro_f1(gold, said), 3)}"), ("confusion", table)]
