"""Numbers that the WildML tutorial (2015) and its code print, reproduced to the last printed digit.

Its part 2 is a vanilla RNN language model, s_t = tanh(U[:, x_t] + W s_{t-1}), o_t = softmax(V s_t), without biases and
with weights drawn from NumPy's legacy generator; its part 4 is a GRU language model of two layers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinygrad_rnn import Parameter, Tensor, gradcheck, no_grad, ops, scan
from tinygrad_rnn.checks.derivatives import numerical_gradient
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.optim import SGD, HalveOnRise, RMSprop

F8 = NDArray[np.float64]
Ids = NDArray[np.int64]


def ids(text: str) -> Ids:
    return np.array(text.split(), dtype=np.int64)


# Two sentences of the tutorial's corpus: "no one is going to be honest enough to run the check, see ..." and
# "what are n't you understanding about this ? !", between the ids 0 of the start and 1 of the end.
X10 = ids("""0 72 63 13 124 5 26 1126 208 5 324 3 333 4 112 32 75 7 4921 4 8 84 52 9 7 3217 1016 490 7928 8 133 49 3141
             4 10 95 51 4 128 17 37 314 576 2 40""")
Y10 = np.append(X10[1:], 1)
X17 = ids("0 51 27 16 10 856 53 25 34 69")
Y17 = np.append(X17[1:], 1)

LIKELIEST = {
    8000: ids("""1284 5221 7653 7430 1013 3562 7366 4860 2212 6601 7299 4556 2481 238 2539 21 6548 261 1780 2005 1810
                 5376 4146 477 7051 4832 4991 897 3485 21 7291 2007 6006 760 4864 2182 6569 2800 2752 6821 4437 7021
                 7875 6912 3575"""),
    2500: ids("""349 1144 2492 1233 1419 1611 2113 1152 1106 1611 1722 1202 697 1378 1181 1327 1477 1380 76 2096 1965
                 823 2050 1061 229 76 429 1884 74 880 547 658 329 2096 446 1055 89 2323 2464 2412 26 1054 175 228
                 1125"""),
}
# Of some time steps, the probabilities of the first three and of the last three words.
ROWS = {
    8000: {
        1: [0.00012536, 0.00012582, 0.00012436, 0.00012482, 0.00012456, 0.00012451],
        2: [0.00012387, 0.0001252, 0.00012474, 0.00012559, 0.00012588, 0.00012551],
        42: [0.00012414, 0.00012455, 0.0001252, 0.00012487, 0.00012494, 0.0001263],
        43: [0.0001252, 0.00012393, 0.00012509, 0.00012407, 0.00012578, 0.00012502],
        44: [0.00012472, 0.0001253, 0.00012487, 0.00012463, 0.00012536, 0.00012665],
    },
    2500: {
        1: [0.00039901, 0.0004013, 0.00039467, 0.00040003, 0.00039571, 0.00039983],
        2: [0.00040018, 0.00040151, 0.00040321, 0.00039613, 0.00040141, 0.00039783],
        42: [0.00040402, 0.00039681, 0.00040233, 0.00040056, 0.0004051, 0.00039672],
        43: [0.00040236, 0.00040208, 0.00040289, 0.0003998, 0.00039219, 0.0004027],
        44: [0.00040431, 0.0003998, 0.00040047, 0.00040604, 0.00039754, 0.0004068],
    },
}


# --- Part 2: the vanilla RNN, written as a user would -------------------------------------------------------


class Tutorial:
    """The tutorial's model in the tutorial's layout: U (H,V), V (V,H), W (H,H), drawn in this order."""

    def __init__(self, words: int = 8000, hidden: int = 100, seed: int = 10) -> None:
        rng = np.random.RandomState(seed)
        a, b = np.sqrt(1 / words), np.sqrt(1 / hidden)
        self.U = Parameter(rng.uniform(-a, a, (hidden, words)))
        self.V = Parameter(rng.uniform(-b, b, (words, hidden)))
        self.W = Parameter(rng.uniform(-b, b, (hidden, hidden)))

    def states(self, x: Ids, before: Tensor | None = None) -> Tensor:
        def step(s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            s = ops.tanh(u + self.W @ s)
            return s, s

        start = Tensor(np.zeros(self.W.shape[0])) if before is None else before
        states: Tensor = scan(step, start, ops.take(self.U, x, axis=1).T)[1]
        return states

    def logits(self, x: Ids) -> Tensor:
        return self.states(x) @ self.V.T

    def loss(self, x: Ids, y: Ids) -> Tensor:
        """The sum over all words."""
        total: Tensor = ops.softmax_cross_entropy(self.logits(x), y, reduction="sum")
        return total

    def loss_of_window(self, x: Ids, y: Ids, first: int, outputs: slice, states: Tensor) -> Tensor:
        """The summed loss of `outputs`, with the error going back to step `first` and no further."""
        before = states[first - 1] if first else None
        here = self.states(x[first : outputs.stop], before)[outputs.start - first :]
        total: Tensor = ops.softmax_cross_entropy(here @ self.V.T, y[outputs], reduction="sum")
        return total

    @property
    def parameters(self) -> list[Parameter]:
        return [self.U, self.V, self.W]

    def norms(self) -> list[float]:
        return [float(np.linalg.norm(p.grad)) for p in self.parameters]


def assert_prints_as(values: Sequence[float], printed: str) -> None:
    """Every number, rounded to as many digits as were printed."""
    expected = printed.split()
    assert [f"{v:.{len(e.partition('.')[2])}f}" for v, e in zip(values, expected, strict=True)] == expected


@pytest.mark.parametrize("words", [8000, 2500])
def test_the_untrained_network_predicts_what_the_tutorial_printed(words: int) -> None:
    x = np.minimum(X10, words - 1)  # a rarer word is the unknown one, the last of the vocabulary
    chances = ops.softmax(Tutorial(words).logits(x)).numpy()
    assert chances.shape == (45, words)
    np.testing.assert_array_equal(chances.argmax(axis=1), LIKELIEST[words])
    for t, printed in ROWS[words].items():
        np.testing.assert_allclose(np.r_[chances[t, :3], chances[t, -3:]], printed, rtol=0, atol=5e-9)


def test_the_untrained_losses_are_the_tutorials() -> None:
    model = Tutorial()
    assert_prints_as([model.loss(X10, Y10).item(), model.loss(X17, Y17).item()], "404.392681 89.886271")
    assert_prints_as([np.log(8000)], "8.987197")


def test_the_language_model_is_the_tutorials_with_an_identity_for_its_input_weights() -> None:
    theirs = Tutorial()
    model = LanguageModel(8000, 100, 100, cell="rnn", dtype=np.float64)
    (cell,) = model.recurrent.cells
    model.embedding.weight.data = theirs.U.data.T
    cell.n.U.data, cell.n.W.data = np.eye(100), theirs.W.data.T
    assert model.output_weight is not None
    model.output_weight.data = theirs.V.data.T
    x, y = (np.zeros((45, 2), np.int64) for _ in range(2))  # both sentences as one padded batch
    x[:, 0], y[:, 0], x[:10, 1], y[:10, 1] = X10, Y10, X17, Y17
    lengths = np.array([45, 10])
    live = np.arange(45)[:, None] < lengths
    each, _ = model.loss(x, y, lengths=lengths, reduction="none")
    assert_prints_as((each.numpy() * live).sum(axis=0), "404.392681 89.886271")
    total, _ = model.loss(x, y, weights=live, lengths=lengths, reduction="sum")
    total.backward()
    theirs.loss(X10, Y10).backward()
    theirs.loss(X17, Y17).backward()
    np.testing.assert_allclose(model.embedding.weight.grad.dense(), theirs.U.grad.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.output_weight.grad, theirs.V.grad.T, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cell.n.W.grad, theirs.W.grad.T, rtol=1e-9, atol=1e-12)


def test_the_gradients_through_all_time_are_the_tutorials() -> None:
    model = Tutorial()
    model.loss(X10, Y10).backward()
    assert_prints_as(model.norms(), "4.72925969 0.53278817 0.37656564")


def test_windows_from_detached_states_are_the_tutorials_truncated_gradients() -> None:
    """For every output t the error goes back through the steps t, t-1, ..., t-4: five of them."""
    model, k = Tutorial(), 4
    states = model.states(X10).detach()
    for t in range(len(X10)):
        model.loss_of_window(X10, Y10, max(t - k, 0), slice(t, t + 1), states).backward()
    assert_prints_as(model.norms(), "4.73122655 0.53278817 0.37697006")


def test_one_sweep_over_the_last_four_steps_is_the_tutorials_theano_version() -> None:
    model = Tutorial()
    states = model.states(X10).detach()
    model.loss_of_window(X10, Y10, len(X10) - 4, slice(len(X10) - 4, len(X10)), states).backward()
    assert_prints_as(model.norms(), "1.28679844 0.15860791 0.10372283")


def test_the_gradient_check_model_has_the_tutorials_numbers_and_passes_in_every_entry() -> None:
    model, x, y = Tutorial(100, 10), np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])
    loss = model.loss(x, y)
    loss.backward()
    assert_prints_as([loss.item()], "18.3071876422")
    assert_prints_as(model.norms(), "1.09227778 0.36547209 0.19369582")
    assert not model.U.grad[:, 4:].any()  # the words that do not occur; the tutorial's check gives 0/0 there

    def of_weights(U: Tensor, W: Tensor) -> Tensor:
        s, total = Tensor(np.zeros(10)), Tensor(0.0, dtype=np.float64)
        for word, target in zip(x, y, strict=True):
            s = ops.tanh(U[:, int(word)] + W @ s)
            total = total - ops.log_softmax(model.V.detach() @ s)[int(target)]
        return total

    gradcheck(of_weights, model.U.numpy()[:, :4], model.W)


@pytest.mark.parametrize("epochs", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_stochastic_gradient_descent_follows_the_tutorials_curve(epochs: int) -> None:
    """One sentence a step, lr 0.005, halved where the loss rose since the last evaluation, five epochs before."""
    model = Tutorial()
    optimizer = SGD(model.parameters, lr=0.005)
    schedule = HalveOnRise(optimizer)
    curve = {}
    for epoch in range(epochs + 1):
        if epoch % 5 == 0 or epoch == 1:
            with no_grad():
                curve[epoch] = sum(model.loss(x, y).item() for x, y in [(X10, Y10), (X17, Y17)]) / 55
        if epoch % 5 == 0:
            schedule.step(curve[epoch])
        for x, y in [(X10, Y10), (X17, Y17)]:
            optimizer.zero_grad()
            model.loss(x, y).backward()
            optimizer.step()
    printed = {0: "8.986890", 1: "8.984382", 10: "8.961549", 50: "8.811264", 100: "3.803762"}
    known = [epoch for epoch in printed if epoch <= epochs]
    assert_prints_as([curve[e] for e in known], " ".join(printed[e] for e in known))


# --- A model that the tutorial's author trained -------------------------------------------------------------


def data_folder() -> Path | None:
    """Where data for checks lies, if this machine has any."""
    folder = Path(os.environ.get("TINYGRAD_RNN_DATA", ""))
    return folder if (folder / "wildml" / "trained-model-theano.npz").is_file() else None


EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "wildml_pretrained.py"


def run_example(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


needs_the_example = pytest.mark.skipif(
    not EXAMPLE.is_file(), reason="examples/wildml_pretrained.py is in the checkout, which is not here"
)


@needs_the_example
def test_the_authors_trained_model_finds_its_own_sentences_likely() -> None:
    folder = data_folder()
    if folder is None:
        pytest.skip("TINYGRAD_RNN_DATA names no folder with wildml/trained-model-theano.npz")
    done = run_example(str(folder / "wildml" / "trained-model-theano.npz"))
    assert (done.returncode, done.stderr) == (0, "")
    nats = [float(line.split()[0]) for line in done.stdout.splitlines() if "nats a word" in line]
    assert len(nats) == 2
    assert all(4.5 < n < 6.5 for n in nats), done.stdout  # an untrained model: 9


@pytest.mark.slow
@needs_the_example
def test_the_example_of_the_trained_model_says_what_it_needs_where_it_has_no_file() -> None:
    done = run_example()
    assert (done.returncode, done.stderr) == (0, "")
    assert "trained-model-theano.npz" in done.stdout
    missing = run_example("nowhere.npz")
    assert missing.returncode == 1
    assert "nowhere.npz" in missing.stderr
    assert "Traceback" not in missing.stderr


# --- Part 4: the GRU with two layers ------------------------------------------------------------------------


WORDS, HIDDEN = 20, 6


def tutorial_gru_weights() -> dict[str, F8]:
    """In the tutorial's layout and order of drawing; the biases, zero there, are not, so that all of them count."""
    rng = np.random.RandomState(10)
    a, b = np.sqrt(1 / WORDS), np.sqrt(1 / HIDDEN)
    return {
        "E": rng.uniform(-a, a, (HIDDEN, WORDS)),
        "U": rng.uniform(-b, b, (6, HIDDEN, HIDDEN)),
        "W": rng.uniform(-b, b, (6, HIDDEN, HIDDEN)),
        "V": rng.uniform(-b, b, (WORDS, HIDDEN)),
        "b": rng.uniform(-b, b, (6, HIDDEN)),
        "c": rng.uniform(-b, b, WORDS),
    }


def tutorial_gru_loss(w: dict[str, F8], x: Ids, y: Ids) -> float:
    """The equations of part 4 in NumPy: the mean loss of a sentence."""
    U, W, b = w["U"], w["W"], w["b"]

    def hard_sigmoid(a: F8) -> F8:
        squashed: F8 = np.clip(0.2 * a + 0.5, 0, 1)
        return squashed

    def layer(k: int, x: F8, s: F8) -> F8:
        z = hard_sigmoid(U[k] @ x + W[k] @ s + b[k])
        r = hard_sigmoid(U[k + 1] @ x + W[k + 1] @ s + b[k + 1])
        h = np.tanh(U[k + 2] @ x + W[k + 2] @ (s * r) + b[k + 2])
        new: F8 = (1 - z) * h + z * s
        return new

    s1, s2, total = np.zeros(HIDDEN), np.zeros(HIDDEN), 0.0
    for word, target in zip(x, y, strict=True):
        s1 = layer(0, w["E"][:, word], s1)
        s2 = layer(3, s1, s2)
        scores = w["V"] @ s2 + w["c"]
        total -= scores[target] - np.log(np.exp(scores).sum())
    return float(total) / len(x)


def in_tutorial_layout(model: LanguageModel, of: Callable[[Parameter], Any]) -> dict[str, F8]:
    """The weights or the gradients of our model, stacked and transposed as the tutorial has them."""
    gates = [gate for cell in model.recurrent.cells for gate in (cell.z, cell.r, cell.n)]
    assert model.output_weight is not None
    return {
        "E": of(model.embedding.weight).T,
        "U": np.stack([of(gate.U).T for gate in gates]),
        "W": np.stack([of(gate.W).T for gate in gates]),
        "V": of(model.output_weight).T,
        "b": np.stack([of(gate.b) for gate in gates]),
        "c": of(model.output_bias),
    }


@pytest.fixture
def gru() -> LanguageModel:
    options: dict[str, Any] = {"reset": "before", "gate": "hard_sigmoid", "dtype": np.float64}
    model = LanguageModel(WORDS, HIDDEN, HIDDEN, num_layers=2, **options)
    w = tutorial_gru_weights()
    gates = [gate for cell in model.recurrent.cells for gate in (cell.z, cell.r, cell.n)]
    assert model.output_weight is not None
    model.embedding.weight.data, model.output_weight.data = w["E"].T.copy(), w["V"].T.copy()
    model.output_bias.data = w["c"].copy()
    for k, gate in enumerate(gates):
        gate.U.data, gate.W.data, gate.b.data = w["U"][k].T.copy(), w["W"][k].T.copy(), w["b"][k].copy()
    return model


GRU_X = np.array([0, 3, 7, 7, 19, 4, 11])
GRU_Y = np.array([3, 7, 7, 19, 4, 11, 1])


@pytest.mark.slow
def test_the_gru_of_part_four_is_its_equations_in_values_and_gradients(gru: LanguageModel) -> None:
    w = tutorial_gru_weights()
    loss, _ = gru.loss(GRU_X[:, None], GRU_Y[:, None])
    np.testing.assert_allclose(loss.item(), tutorial_gru_loss(w, GRU_X, GRU_Y), rtol=1e-13)
    loss.backward()
    ours = in_tutorial_layout(gru, lambda p: p.grad if isinstance(p.grad, np.ndarray) else p.grad.dense())
    names = list(w)

    def of_arrays(*arrays: F8) -> float:
        return tutorial_gru_loss(dict(zip(names, arrays, strict=True)), GRU_X, GRU_Y)

    for position, name in enumerate(names):
        numeric = numerical_gradient(of_arrays, list(w.values()), position)
        np.testing.assert_allclose(ours[name], numeric, rtol=1e-7, atol=1e-11, err_msg=name)


def test_the_gru_of_part_four_is_trained_by_its_rmsprop(gru: LanguageModel) -> None:
    """m = decay m + (1 - decay) g²; p -= lr g / sqrt(m + 1e-6), the new m, which starts at 0."""
    optimizer = RMSprop(gru.parameters(), lr=0.001, decay=0.9)
    parameters = gru.parameters()
    p = [q.data.copy() for q in parameters]
    m = [np.zeros_like(q) for q in p]
    losses = []
    for _ in range(30):
        gru.zero_grad()
        loss, _ = gru.loss(GRU_X[:, None], GRU_Y[:, None])
        loss.backward()
        losses.append(loss.item())
        for i, q in enumerate(parameters):
            g = q.grad if isinstance(q.grad, np.ndarray) else q.grad.dense()
            m[i] = 0.9 * m[i] + 0.1 * g**2
            p[i] = p[i] - 0.001 * g / np.sqrt(m[i] + 1e-6)
        optimizer.step()
        for q, expected in zip(parameters, p, strict=True):
            np.testing.assert_allclose(q.data, expected, rtol=1e-12, atol=1e-15)
    assert losses == sorted(losses, reverse=True)
