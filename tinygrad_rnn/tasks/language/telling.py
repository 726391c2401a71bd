"""What is said of a language model: what it is about to be trained on, and what its figures are worth."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_rnn.baselines.ngram import MOST_COUNTED
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.text_data import TextData
from tinygrad_rnn.tasks.language.unknown_tokens import count_unknown
from tinygrad_rnn.training.comparing import Comparison, comparisons
from tinygrad_rnn.training.display import TIE, figure
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.telling import verdict_text

ORDERS = {"1": "unigram", "2": "bigram", "3": "trigram", "4": "4-gram", "5": "5-gram"}
"""What n-grams are called, by their order."""


def about_data(data: TextData, options: LanguageOptions) -> list[tuple[str, str]]:
    """Corpus, split, unknown tokens and baseline: labels, and texts for `entry`."""
    about, train, valid, unit = data.about, data.train, data.valid, "sentences"
    sizes = len(train), len(valid)
    if options.unbroken:
        sizes, unit = (sum(map(len, train)), sum(map(len, valid))), "characters"
    longer = sum(map(len, train)) > MOST_COUNTED
    counted = f", counted in its first {MOST_COUNTED:,} {options.unit}s" if longer else ""
    return [
        ("corpus", f"{about['name']}: {about['tokens']:,} tokens, sha256 {about['sha256'][:12]}"),
        ("split", f"{sizes[0]:,} training and {sizes[1]:,} validation {unit}, vocabulary {len(data.vocabulary):,}"),
        ("", f"unknown tokens: {count_unknown(train)} in training, {count_unknown(valid)} in validation"),
        ("baseline", baseline_line(comparisons(about, higher=False))),
        ("", f"(interpolated Witten-Bell n-grams on the same split{counted}, in nats per {options.unit})"),
    ]


def about_model(options: LanguageOptions, model: LanguageModel) -> str:
    """Layers and sizes."""
    output = " (tied)" if model.tied else "" if options.softmax == "full" else f", {options.softmax} softmax"
    return f"{options.layers} x {options.cell} {options.hidden}, embedding {options.embedding}{output}"


def baseline_line(methods: Sequence[Comparison]) -> str:
    """Nats per token and perplexity of n-grams by their order, and whether a model does better: a text for `entry`."""
    words = []
    for each in methods:
        found = Evaluation(each.value, 1).perplexity
        words.append(f"{ORDERS[each.name]} {each.value:.3f} (perplexity {figure(found, 1)}){verdict_text(each, 3)}")
    return ", ".join(each.replace(" ", TIE) for each in words)


def result_text(found: Evaluation, unit: str, digits: int = 3) -> str:
    """Nats, perplexity and bits per token, of which so many were asked for: a text for `entry`."""
    return (
        f"{figure(found.loss, digits)} nats per {unit} on {found.count:,} validation {unit}s: "
        f"perplexity{TIE}{figure(found.perplexity, 1)}, {figure(found.bits, 2)}{TIE}bits per {unit}"
    )
