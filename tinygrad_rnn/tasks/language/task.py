"""The language model as a task: text in, the next token out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from tinygrad_rnn.data.batches import Batch
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.ranks.processes import Ranks
from tinygrad_rnn.tasks.language.corpus import Corpus, read_corpus
from tinygrad_rnn.tasks.language.held_out import remarks_on_split
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.saved import check_language
from tinygrad_rnn.tasks.language.saved_sizes import check_sizes
from tinygrad_rnn.tasks.language.speaking import speak
from tinygrad_rnn.tasks.language.split_identity import split_change
from tinygrad_rnn.tasks.language.telling import about_data, about_model, baseline_line, result_text
from tinygrad_rnn.tasks.language.text_data import TextData, make_batches, ngram_baselines, prepare
from tinygrad_rnn.tasks.language.text_form import TextForm
from tinygrad_rnn.tasks.language.transfer import begin_from, settings_and_cell
from tinygrad_rnn.tasks.vectors import about_vectors, load_word_vectors, no_vectors
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.training.cell_files import FoundCell
from tinygrad_rnn.training.comparing import Comparison
from tinygrad_rnn.training.display import figure
from tinygrad_rnn.training.fitting import Evaluation
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.task import Task


class Language(Task):
    """A language model, and sentences that it makes up."""

    Options = LanguageOptions
    metric, higher = "loss", False
    counted, source_called = "tokens", "corpus"
    tried = False
    reserved = tuple(inspect.signature(LanguageModel.__init__).parameters)

    given_vectors = 0
    """Tokens that got a vector of a file."""
    known_tokens = 0
    """Tokens that got the weights that they have in another model."""

    @property
    def carries(self) -> bool:  # type: ignore[override]  # it depends on the options
        """Whether the batches are windows of streams."""
        return bool(self.options.streams)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that the model knows."""
        return cast(Vocabulary, self.tables["vocabulary"])

    @classmethod
    def options_and_cell(cls, given: dict[str, Any], trust: bool, note: Note) -> tuple[LanguageOptions, FoundCell]:
        """Where the run begins with the weights of another model, its options and its cell are that one's."""
        if trust and "init_from" not in given:
            raise OptionError("--trust is for the cell of a checkpoint: say --resume or --init-from as well")
        settings, cell = settings_and_cell(given, trust, note)
        return settings, cls.with_free_names(settings, cell)

    @property
    def form(self) -> TextForm:
        """How the model reads and writes texts."""
        return TextForm.of(self.vocabulary, self.options)

    # --- The text ----------------------------------------------------------------------------------------------

    def source(self, note: Note) -> Corpus:  # type: ignore[override]  # what `divide` takes
        """The corpus that the options name, in tokens. Raises TextError."""
        return read_corpus(self.options, note, self.ranks)

    def divide(self, source: Corpus) -> TextData:
        """The corpus split, encoded by the vocabulary, which is built unless there is one. Raises TextError."""
        data = prepare(self.options, source, self.tables.get("vocabulary"))
        self.tables = {"vocabulary": data.vocabulary}
        return data

    def remarks(self, source: Corpus) -> list[str]:
        """What a user should know who splits this corpus so."""
        longest = int(source.text.sentences.lengths.max())
        return remarks_on_split(self.options, source.parts, longest, source.sorted)

    def change(self, saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
        """Whether the tokens of an equal text are others now, and why."""
        return split_change(saved, now)

    def batches(self, examples: Sequence[Any], size: int, rng: np.random.Generator | None) -> Sequence[Batch]:
        """Windows of streams, which are warmed up in validation, or sentences of like length."""
        return make_batches(self.options, examples, rng, warm_up=self.options.warm_up if rng is None else 0)

    def share(self, part: Batch, ranks: Ranks) -> Batch | None:
        """Every so many of the sentences, or of the streams, which then stay with their rank."""
        return part.rows(slice(ranks.rank, None, ranks.size))

    def collate(self, part: Any) -> Batch:
        """Batches are arrays already."""
        return cast(Batch, part)

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        """Nats per token of interpolated n-grams, by their order, and without each block of batches."""
        return ngram_baselines(train, test, self.vocabulary, self.options)

    # --- The model ---------------------------------------------------------------------------------------------

    def build(self, rng: np.random.Generator) -> LanguageModel:
        """The model that the options describe."""
        options = self.options
        return LanguageModel(
            len(self.vocabulary),
            options.embedding,
            options.hidden,
            options.layers,
            tied=options.tied,
            softmax=options.softmax,
            dropout=options.dropout,
            recurrent_dropout=options.recurrent_dropout,
            zoneout=options.zoneout,
            residual=options.residual,
            norm=options.norm,
            init=options.init,
            **self.layer_options(rng),
        )

    def begin(self, model: LanguageModel) -> None:
        """Word vectors, or the weights of another model, where the options name them. Raises OptionError."""
        options = self.options
        self.given_vectors = load_word_vectors(options.vectors, model.embedding, self.vocabulary, tied=options.tied)
        if self.options.init_from is not None:
            self.known_tokens = begin_from(Path(self.options.init_from), model, self.vocabulary)

    def check_saved(self, meta: Mapping[str, Any]) -> None:
        """Raises ValueError where the description of a checkpoint is none of a language model."""
        check_language(meta, self.tables)

    def check_weights(self, weights: Arrays) -> None:
        """See `check_sizes`."""
        check_sizes(self.options, len(self.vocabulary), self.cell.cell, weights)

    def try_out(self, model: LanguageModel) -> None:
        """Two tokens."""
        ids = np.zeros((2, 1), dtype=np.int64)
        loss, state = model.loss(ids, ids, rng=np.random.default_rng(0))
        model.loss(ids, ids, state=state)
        loss.backward()
        model.zero_grad()

    def loss(
        self, model: LanguageModel, batch: Batch, rng: np.random.Generator | None, state: Any
    ) -> tuple[Tensor, int, Any]:
        """The nats of all tokens of a batch."""
        return model.batch_loss(batch, rng, state, "sum")

    def batch_loss(
        self, model: LanguageModel, batch: Batch, rng: np.random.Generator | None, state: Any, reduction: Reduction
    ) -> tuple[Tensor, int, Any]:
        """The mean is taken before the gradient is, which saves a pass over the output weights."""
        return model.batch_loss(batch, rng, state, reduction)

    # --- What is said of it --------------------------------------------------------------------------------------

    def about_data(self, data: Any) -> list[tuple[str, str]]:
        """Corpus, split, unknown tokens, baseline."""
        return about_data(data, self.options)

    def about_model(self, model: LanguageModel) -> str:
        """Layers, sizes, vectors."""
        return about_model(self.options, model)

    def about_beginning(self) -> list[tuple[str, str]]:
        """Where the first weights are from."""
        options = self.options
        found = about_vectors(options.vectors, self.given_vectors, self.vocabulary)
        if options.init_from is not None and self.known_tokens:
            found.append(("begins as", f"{options.init_from}, which knows {self.known_tokens:,} of the tokens"))
        return found

    def warnings(self) -> list[str]:
        """Where vectors, or another model, know no token of the vocabulary."""
        options, size = self.options, len(self.vocabulary)
        found = no_vectors(options.vectors, self.given_vectors, self.vocabulary)
        if options.init_from is not None and not self.known_tokens:
            found.append(f"{options.init_from} knows none of the {size:,} tokens: they begin as new ones")
        return found

    def figures(self, found: Evaluation) -> list[tuple[str, str]]:
        """Perplexity and bits."""
        return [("perplexity", figure(found.perplexity, 1)), ("bits", figure(found.bits, 2))]

    def beside_loss(self, loss: float) -> str:
        """Perplexity."""
        return f"perplexity {figure(Evaluation(loss, 1).perplexity, 1)}"

    @property
    def unit(self) -> str:
        """A token, or a character."""
        return str(self.options.unit)

    def result(self, found: Evaluation, part: str) -> str:
        """Nats, perplexity and bits."""
        return result_text(found, self.options.unit)

    def about_result(self, about: Mapping[str, Any], model: LanguageModel) -> str:
        """Sizes and the corpus."""
        return f"vocabulary {len(self.vocabulary):,}, {super().about_result(about, model)}"

    def baseline_line(self, methods: Sequence[Comparison]) -> str:
        """Of n-grams by their order, with perplexities."""
        return baseline_line(methods)

    @property
    def of_several_lines(self) -> bool:
        """Of an unbroken text pieces are made up, with the line ends in them."""
        return bool(self.options.unbroken)

    def samples(self, model: LanguageModel, rng: np.random.Generator, count: int) -> Iterator[str]:
        """Sentences that the model makes up."""
        return speak(model, self.form, rng, count=count, temperature=0.8, min_length=5)
