"""Word vectors from a file, as a model's first ones; and what is said of them."""

from __future__ import annotations

from tinygrad_rnn.data.vocabulary import Vocabulary
from tinygrad_rnn.models.embedding import Embedding, VectorSizeError
from tinygrad_rnn.training.options import OptionError


def load_word_vectors(
    path: str | None, embedding: Embedding, vocabulary: Vocabulary, *, tied: bool | None = None
) -> int:
    """Gives the embedding the word vectors in a file, if one is named, and returns of how many tokens there were any.
    Raises OptionError, OSError."""
    if path is None:
        return 0
    try:
        return embedding.load_vectors(path, vocabulary.tokens)
    except VectorSizeError as error:
        sizes = f"--embedding {error.found}" + (f" --hidden {error.found}" if tied else "")
        raise OptionError(f"{error}: {sizes} takes them") from None
    except ValueError as error:
        raise OptionError(str(error)) from None


def about_vectors(path: str | None, given: int, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """How many of the tokens were `given` a vector of the file, where any were."""
    rows = "1 row" if given == 1 else f"{given:,} rows"
    return [("vectors", f"{path}: {rows} of the embedding's {len(vocabulary):,}")] if given else []


def no_vectors(path: str | None, given: int, vocabulary: Vocabulary) -> list[str]:
    """That a file was named and no token was `given` a vector of it, where that is so."""
    missing = path is not None and not given
    return [f"{path} has no vector of any of the {len(vocabulary):,} tokens: none was set"] if missing else []
