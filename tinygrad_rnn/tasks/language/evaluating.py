"""How well a language model does on a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygrad_rnn.data.messages import Note, TextError
from tinygrad_rnn.data.vocabulary import Ids, Vocabulary
from tinygrad_rnn.metrics.jackknife import mean_without_each
from tinygrad_rnn.models.checkpoint import Checkpoint
from tinygrad_rnn.tasks.language.corpus import Corpus, read_corpus
from tinygrad_rnn.tasks.language.opening import rebuilt
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.own_text import new_sentences
from tinygrad_rnn.tasks.language.split_identity import split_change
from tinygrad_rnn.tasks.language.telling import baseline_line
from tinygrad_rnn.tasks.language.text_data import measure_sentences, prepare
from tinygrad_rnn.tasks.language.unknown_tokens import UnknownTokens, count_unknown
from tinygrad_rnn.training.comparing import Reached, comparisons
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.permits import Permit
from tinygrad_rnn.training.places import found_files
from tinygrad_rnn.training.telling import baseline_lines
from tinygrad_rnn.training.trained_on import others_now


def evaluate_language(
    path: Path,
    saved: Checkpoint,
    text: tuple[str, ...],
    encoding: str,
    device: str,
    permit: Permit,
    note: Note,
    warn: Note,
) -> list[tuple[str, str]]:
    """What the model in a checkpoint, loaded from `path`, makes of texts in an encoding, or of its own validation part
    where none is given: labels, and texts for `entry`. `note` is told what one should know, `warn` what one should know
    of the numbers. Raises CheckpointError, OptionError, TextError."""
    model, vocabulary, options, meta = rebuilt(path, saved, device, permit, warn)
    own = not text
    options = _reading(options, text, encoding) if text else _as_trained(options, path, meta.get("files", {}))
    corpus = read_corpus(options, note)
    if text:
        sentences: Sequence[Ids] = corpus.text.encoded(corpus.text.sentences, vocabulary, not options.unbroken)
    elif corpus.sha256 == meta["data"]["sha256"]:
        data = prepare(options, corpus, vocabulary)
        if change := split_change(meta["data"], data.about):
            raise TextError(f"{path}: {change}; name a text with --text")
        sentences = data.valid
    else:
        sentences, own = _new_to_it(saved, options, corpus, vocabulary, note), False
    if options.streams and not options.warm_up:
        note(f"This run measures its {options.batch_size} streams without a warm-up: their number matters.")
    found = measure_sentences(model, options, sentences)
    lines = [
        (
            "result",
            f"{figure(found.loss, 4)} nats per {options.unit} on {found.count:,} {options.unit}s: "
            f"perplexity {figure(found.perplexity, 1)}, {figure(found.bits, 3)} bits per {options.unit}",
        ),
        ("", f"vocabulary {len(vocabulary):,}, {model.size:,} parameters, corpus sha256 {corpus.sha256[:12]}"),
    ]
    unknown = count_unknown(sentences)
    if 0 < unknown.count < unknown.total:
        known = measure_sentences(model, options, sentences, known_only=True)
        lines.append(("unknown", _about_unknown(unknown, found, known)))
    else:
        lines.append(("unknown", "all of the tokens" if unknown.count else "none of the tokens"))
    if unknown.most:
        lines.append(
            (
                "note",
                "Most of the text is unknown to the model: a low perplexity does not say that it knows such texts.",
            )
        )
    if own:
        reached = Reached(found.loss, mean_without_each(found.sums, found.counts))
        methods = comparisons(meta["data"], higher=False, reached=reached)
        lines += baseline_lines(baseline_line(methods), methods)
    return lines


def _new_to_it(
    saved: Checkpoint, options: LanguageOptions, corpus: Corpus, vocabulary: Vocabulary, note: Note
) -> list[Ids]:
    """Of a corpus that is not the one that the model was trained on, the sentences that it was not trained on. Raises
    TextError where that cannot be told."""
    then = saved.meta["data"]["name"]
    differs = f"the corpus {corpus.name} has changed since the model was trained" + (
        f", on {then}" if then != corpus.name else ""
    )
    found, total = new_sentences(saved.arrays, options, corpus, vocabulary)
    if not found:
        raise TextError(f"{differs}; name one with --text")
    note(others_now(len(found), total, "sentences"))
    return found


def _reading(options: LanguageOptions, text: tuple[str, ...], encoding: str) -> LanguageOptions:
    """The options by which the model reads other texts."""
    # Characters of a CSV's fields are sentences, and so then are a text's lines.
    lines = options.lines or (options.level == "char" and not options.unbroken)
    batching = "stream" if options.streams else "sentences"
    changed = options.changed(
        text=text, csv=None, corpus=LanguageOptions.corpus, valid=None, encoding=encoding, lines=lines
    )
    return changed.changed(batching=batching, shuffle=None)


def _as_trained(options: LanguageOptions, path: Path, known: dict[str, str]) -> LanguageOptions:
    """The options by which it reads its own corpus, wherever that is now."""
    return options.with_files_at(found_files(options, path, known))


def _about_unknown(unknown: UnknownTokens, found: Evaluation, known: Evaluation) -> str:
    return (
        f"{unknown} of the tokens: perplexity {figure(found.perplexity, 1)} with them, "
        f"{figure(known.perplexity, 1)} on the {known.count:,} others"
    )
