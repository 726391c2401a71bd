"""Metrics of spans, such as names, that tags of words mark: B- begins one, I- goes on, O stands outside.

A span is right where its two ends and its type are, as CoNLL's program counts them (Tjong Kim Sang & Buchholz 2000).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tinygrad_rnn.metrics.classes import Scores
from tinygrad_rnn.metrics.pairs import paired


def tagged_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(begin, end, type) of every span in the tags of a sentence: the words from `begin` up to `end`, without it.

    A tag is O, or one of B, I, E (the last of a span) and S (all of it) with a type: B-PER. An I or E that goes on with
    nothing, since O or another type stands before it, begins a span. Raises ValueError for other tags.

    Example:
        >>> metrics.tagged_spans(["B-PER", "I-PER", "O", "B-LOC"])
        [(0, 2, 'PER'), (3, 4, 'LOC')]
    """
    found, begin, before, kind = [], 0, "O", ""
    for position, tag in enumerate((*tags, "O")):
        mark, _, new_kind = tag.partition("-")
        if mark not in ("O", "B", "I", "E", "S") or (mark == "O" and new_kind):
            raise ValueError(f"a tag of a span must be O, or B-, I-, E- or S- and a type, got {tag!r}")
        goes_on = mark in ("I", "E") and before in ("B", "I") and new_kind == kind
        if before != "O" and not goes_on:
            found.append((begin, position, kind))
        if not goes_on:
            begin = position
        before, kind = mark, new_kind
    return found


def span_scores(gold: Iterable[Sequence[str]], said: Iterable[Sequence[str]]) -> dict[str, Scores]:
    """The scores of the spans of each type that is right or was said anywhere, sorted by type. Both are lists of
    sentences of tags. Raises ValueError where a sentence has not as many tags in both.

    Example:
        >>> found = metrics.span_scores([["B-PER", "O"]], [["B-PER", "B-LOC"]])
        >>> {kind: scores.precision for kind, scores in found.items()}
        {'LOC': 0.0, 'PER': 1.0}
    """
    correct: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    heard: Counter[str] = Counter()
    for number, (right, found) in enumerate(paired(gold, said)):
        if len(right) != len(found):
            raise ValueError(f"sentence {number} must have as many tags in both, got {len(right)} and {len(found)}")
        spans, others = set(tagged_spans(right)), set(tagged_spans(found))
        for counter, some in ((correct, spans & others), (wanted, spans), (heard, others)):
            counter.update(kind for _, _, kind in some)
    return {kind: Scores(correct[kind], wanted[kind], heard[kind]) for kind in sorted({*wanted, *heard})}


def span_f1(gold: Iterable[Sequence[str]], said: Iterable[Sequence[str]]) -> float:
    """F1 of all spans, of whatever type; 0 where none is right.

    Example:
        >>> metrics.span_f1([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "O", "O"]])
        0.6666666666666666
    """
    found = span_scores(gold, said).values()
    counts = ((each.correct, each.gold, each.said) for each in found)
    return Scores(*(sum(column) for column in zip(*counts, strict=True))).f1 if found else 0.0
