"""Metrics of translations, as sacrebleu has them, so that figures can be set beside those of others."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from tinygrad_rnn.metrics.pairs import paired


def bleu(gold: Iterable[str], said: Iterable[str]) -> float:
    """BLEU of a whole corpus, 0 to 100 (Papineni et al. 2002): texts that are right, one for each, and those that were
    said, in words as sacrebleu splits them ("13a"). Raises ModuleNotFoundError where that is not installed."""
    right, found = zip(*paired(gold, said), strict=True)
    score: float = _sacrebleu("bleu").corpus_bleu(found, [right], force=True).score  # force: it is no mistake here
    return score


def chrf(gold: Iterable[str], said: Iterable[str]) -> float:
    """chrF of a whole corpus, 0 to 100 (Popović 2015): how many n-grams of characters texts that are right share with
    those that were said. Raises ModuleNotFoundError where sacrebleu is not installed."""
    right, found = zip(*paired(gold, said), strict=True)
    score: float = _sacrebleu("chrf").corpus_chrf(found, [right]).score
    return score


def _sacrebleu(metric: str) -> ModuleType:
    try:
        import sacrebleu  # noqa: PLC0415  (optional)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{metric} needs sacrebleu, which is not installed: pip install 'tinygrad-rnn[translate]'"
        ) from None
    return sacrebleu  # type: ignore[no-any-return]  # it may be missing where types are checked
