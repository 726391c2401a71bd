"""Scores two sentences with a vanilla RNN that the author of the WildML tutorial trained in 2015.

    python examples/wildml_pretrained.py trained-model-theano.npz

The file holds U (H,V), V (V,H) and W (H,H) of s_t = tanh(U[:, x_t] + W s_{t-1}), o_t = softmax(V s_t). It is the
pre-trained model of the tutorial's repository, rnn-tutorial-rnnlm.
"""

import sys
from pathlib import Path

import numpy as np

from tinygrad_rnn import no_grad
from tinygrad_rnn.models import LanguageModel, perplexity

SENTENCES = {  # words and their ids in the tutorial's vocabulary, from its start (0) to its end (1)
    "no one is going to be honest enough to run the check , see they 're a felon , and then ...": (
        "0 72 63 13 124 5 26 1126 208 5 324 3 333 4 112 32 75 7 4921 4 8 84 52 9 7 3217 1016 490 7928 8 133 49 3141 "
        "4 10 95 51 4 128 17 37 314 576 2 40 1"
    ),
    "what are n't you understanding about this ? !": "0 51 27 16 10 856 53 25 34 69 1",
}


def load(path: Path) -> LanguageModel:
    """The tutorial's weights in our model: its U is the embedding, so that the cell's own U is the identity."""
    with np.load(path) as weights:
        U, V, W = (weights[name] for name in "UVW")
    words, hidden = V.shape
    model = LanguageModel(words, hidden, hidden, cell="rnn")
    model.load_state_dict(
        {
            "embedding.weight": U.T,
            "recurrent.cells.0.n.U": np.eye(hidden),
            "recurrent.cells.0.n.W": W.T,
            "recurrent.cells.0.n.b": np.zeros(hidden),
            "output_weight": V.T,
            "output_bias": np.zeros(words),
        }
    )
    return model


def main() -> None:
    if len(sys.argv) < 2:
        print(
            "This example needs the path of trained-model-theano.npz, the tutorial's trained model: nothing done."
        )
        return
    path = Path(sys.argv[1])
    if not path.is_file():
        print(f"{path}: no such file", file=sys.stderr)
        sys.exit(2)
    model = load(path)
    print(
        f"{model.vocab_size} words, {model.size:,} numbers; log(words) = {np.log(model.vocab_size):.2f} nats"
    )
    for words, text in SENTENCES.items():
        tokens = np.array(text.split(), dtype=np.int64)[:, None]
        with no_grad():
            loss, _ = model.loss(tokens[:-1], tokens[1:])
        print(f"{words}\n    {loss.item():.3f} nats a word, perplexity {perplexity(loss.item()):.0f}")


if __name__ == "__main__":
    main()
