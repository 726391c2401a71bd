"""Word vectors from a file, as a model's first ones."""

from __future__ import annotations

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models.embedding import VectorSizeError
from tinygrad_rnn.models.language import LanguageModel
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.training.options import OptionError


def load_word_vectors(options: LanguageOptions, model: LanguageModel, vocabulary: Vocabulary) -> int:
    """Gives the embedding the word vectors that the options name, and returns of how many tokens there were any. Raises
    OptionError, OSError."""
    if options.vectors is None:
        return 0
    try:
        return model.embedding.load_vectors(options.vectors, vocabulary.tokens)
    except VectorSizeError as error:
        sizes = f"--embedding {error.found}" + (f" --hidden {error.found}" if options.tied else "")
        raise OptionError(f"{error}: {sizes} takes them") from None
    except ValueError as error:
        raise OptionError(str(error)) from None
