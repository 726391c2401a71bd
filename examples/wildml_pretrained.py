"""Scores two sentences with a vanilla RNN that the author of the WildML tutorial trained in 2015.

    python examples/wildml_pretrained.py trained-model-theano.npz

The file is part of the tutorial's repository, rnn-tutorial-rnnlm. It holds U (H,V), V (V,H) and W (H,H) of
s_t = tanh(U[:, x_t] + W s_{t-1}), o_t = softmax(V s_t).
"""

import sys

import numpy as np

from tinygrad_rnn import no_grad
from tinygrad_rnn.models import LanguageModel, perplexity

SENTENCES = {  # words, and their ids in the tutorial's vocabulary between its start (0) and its end (1)
    "no one is going to be honest enough to run the check , see they 're a felon , and then all of a sudden ...": """
        0 72 63 13 124 5 26 1126 208 5 324 3 333 4 112 32 75 7 4921 4 8 84 52 9 7 3217 1016 490 7928 8 133 49 3141 4
        10 95 51 4 128 17 37 314 576 2 40 1""",
    "what are n't you understanding about this ? !": "0 51 27 16 10 856 53 25 34 69 1",
}


def load(path: str) -> LanguageModel:
    """The tutorial's weights in our model: its U is the embedding, so our cell's own U is the identity."""
    with np.load(path) as file:
        U, V, W = file["U"], file["V"], file["W"]
    words, hidden = V.shape
    model = LanguageModel(words, hidden, hidden, cell="rnn")
    weights = model.state_dict()  # the biases are zero, as the tutorial has none
    weights |= {"embedding.weight": U.T, "output_weight": V.T}
    weights |= {"recurrent.cells.0.n.U": np.eye(hidden), "recurrent.cells.0.n.W": W.T}
    model.load_state_dict(weights)
    return model


def main() -> None:
    if len(sys.argv) < 2:
        print("Nothing done: the path of trained-model-theano.npz, the tutorial's trained model, is needed.")
        return
    try:
        model = load(sys.argv[1])
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"{sys.argv[1]} cannot be read as the tutorial's model: {error}")
    print(f"{model.vocab_size:,} words; guessing costs {np.log(model.vocab_size):.3f} nats each\n")
    for words, text in SENTENCES.items():
        ids = np.array(text.split(), dtype=np.int64)[:, None]
        with no_grad():
            loss, _ = model.loss(ids[:-1], ids[1:])
        print(f"{words}\n{loss.item():9.3f} nats a word, as hard as one of {perplexity(loss.item()):.0f} words\n")


if __name__ == "__main__":
    main()
