"""What the page for those who come from Keras says of numbers, where Keras is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from substitution import randomised
from test_coming_from import library, rows

from tinygrad_rnn import Parameter, Tensor, data, models, ops, optim
from tinygrad_rnn.models.conversions import to_keras

F4 = NDArray[np.float32]
T, B, I, H, V = 5, 3, 2, 4, 6  # noqa: E741  (the field's letters)
Check = Callable[[Any], None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),  # Keras's
]


def draw(*shape: int, seed: int = 1) -> F4:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def same(ours: Any, theirs: Any) -> None:
    """To the digits of float32."""
    ours, theirs = (x.detach() if hasattr(x, "detach") else x for x in (ours, theirs))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=2e-5, atol=2e-6)


def usual(function: Any, name: str) -> Any:
    """The default of an argument."""
    return inspect.signature(function).parameters[name].default


def recurrent(ours: str, theirs: str, **options: Any) -> Check:
    """All outputs and states, and how first weights are drawn."""

    def check(keras: Any) -> None:
        layer = randomised(getattr(models, ours)(I, H, **options))
        other = getattr(keras.layers, theirs)(H, return_sequences=True, return_state=True)
        other.build((B, T, I))
        first = {weight.name: keras.ops.convert_to_numpy(weight) for weight in other.weights}
        biases = first["bias"].reshape(-1, H) if theirs != "LSTM" else first["bias"].reshape(4, H)
        assert (biases == 0).all() if theirs != "LSTM" else biases.sum(axis=1).tolist() == [0, H, 0, 0]
        bound = np.sqrt(6 / (I + first["kernel"].shape[1]))
        assert abs(first["kernel"]).max() <= bound  # Glorot uniform, of the gates side by side
        if ours != "RNN":
            own = np.concatenate(
                [p.numpy().ravel() for p in getattr(models, ours)(I, H).parameters() if p.name[-1] == "U"]
            )
            assert bound < abs(own).max() <= np.sqrt(6 / (I + H))
        product = first["recurrent_kernel"] @ first["recurrent_kernel"].T
        np.testing.assert_allclose(product, np.eye(H), atol=1e-5)
        other.set_weights(to_keras(layer))
        outputs, state = layer(draw(T, B, I))
        expected, *last = other(draw(T, B, I).transpose(1, 0, 2))
        same(outputs, keras.ops.convert_to_numpy(expected).transpose(1, 0, 2))
        for part, their_part in zip(state, last, strict=True):
            same(part.numpy()[0], their_part)

    return check


def dense(keras: Any) -> None:
    layer, other = models.Linear(I, H), keras.layers.Dense(H)
    other.build((B, I))
    assert other.kernel.shape == layer.weight.shape
    other.set_weights([weight.numpy() for weight in layer.parameters()])
    same(layer(Tensor(draw(B, I))), other(draw(B, I)))


def embedding(keras: Any) -> None:
    other = keras.layers.Embedding(999, 64)
    other.build()
    table = keras.ops.convert_to_numpy(other.embeddings)
    assert 0.049 < abs(table).max() <= 0.05 and abs(models.Embedding(999, 64).weight.numpy().std() * 8 - 1) < 0.02


def layer_norm(keras: Any) -> None:
    assert usual(keras.layers.LayerNormalization, "epsilon") == 1e-3 and usual(models.LayerNorm, "eps") == 1e-5
    same(models.LayerNorm(H)(Tensor(draw(B, H))), keras.layers.LayerNormalization(epsilon=1e-5)(draw(B, H)))


def dropout(keras: Any) -> None:
    x = np.ones(99, np.float32)
    other = keras.layers.Dropout(0.5)
    assert set(np.asarray(other(x, training=True))) == set(
        models.Dropout(0.5)(Tensor(x), np.random.default_rng(0)).numpy()
    )
    same(models.Dropout(0.5)(Tensor(x)), other(x))


def cross_entropy(keras: Any) -> None:
    targets = np.array([0, 2, 5])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    same(ops.softmax_cross_entropy(draw(3, V), targets), loss(targets, draw(3, V)))
    assert not usual(keras.losses.SparseCategoricalCrossentropy, "from_logits")


def binary(keras: Any) -> None:
    targets = np.array([[1.0, 0.0, 1.0]], np.float32)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    same(ops.binary_cross_entropy_with_logits(draw(1, 3), targets), loss(targets, draw(1, 3)))
    assert not usual(keras.losses.BinaryCrossentropy, "from_logits")


def mse(keras: Any) -> None:
    same(ops.mse(draw(3), draw(3, seed=2)), keras.losses.MeanSquaredError()(draw(3, seed=2), draw(3)))


def walked(ours: Any, theirs: Any, keras: Any) -> tuple[F4, F4]:
    """Where six steps of the same gradients lead."""
    w, v = Parameter(draw(H)), keras.Variable(draw(H))
    optimizer = ours([w])
    for step in range(6):
        gradient = draw(H, seed=step) + 1
        w.grad = gradient
        optimizer.step()
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [v])
    return w.numpy(), keras.ops.convert_to_numpy(v)


def sgd(keras: Any) -> None:
    options: dict[str, Any] = {"momentum": 0.9, "nesterov": True}
    same(*walked(lambda p: optim.SGD(p, 0.05, **options), keras.optimizers.SGD(0.05, **options), keras))


def rmsprop(keras: Any) -> None:
    assert usual(optim.RMSprop, "eps") == 1e-6 and usual(keras.optimizers.RMSprop, "epsilon") == 1e-7
    same(*walked(lambda p: optim.RMSprop(p, eps=1e-2), keras.optimizers.RMSprop(epsilon=1e-2), keras))


def adam(keras: Any) -> None:
    assert usual(optim.Adam, "eps") == 1e-8 and usual(keras.optimizers.Adam, "epsilon") == 1e-7
    same(*walked(optim.Adam, keras.optimizers.Adam(), keras))
    ours, theirs = walked(lambda p: optim.Adam(p, eps=1.0, lr=0.1), keras.optimizers.Adam(0.1, epsilon=1.0), keras)
    assert abs(ours - theirs).max() > 1e-3  # beside the root before its correction, it is larger


def adagrad(keras: Any) -> None:
    assert usual(keras.optimizers.Adagrad, "initial_accumulator_value") == 0.1
    other = keras.optimizers.Adagrad(0.01, initial_accumulator_value=0.0)
    same(*walked(lambda p: optim.AdaGrad(p, 0.01), other, keras))


def adadelta(keras: Any) -> None:
    assert usual(optim.AdaDelta, "lr") == 1.0 and usual(keras.optimizers.Adadelta, "learning_rate") == 0.001
    other = keras.optimizers.Adadelta(1.0, epsilon=1e-6)
    same(*walked(optim.AdaDelta, other, keras))


def padding(keras: Any) -> None:
    found, lengths = data.padded([[1, 2, 3], [4]])
    assert keras.utils.pad_sequences([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [0, 0, 4]]
    assert keras.utils.pad_sequences([[1, 2, 3], [4]], padding="post").tolist() == found.T.tolist()
    assert lengths.tolist() == [3, 1]


KERAS: dict[str, Check] = {
    "keras.layers.SimpleRNN": recurrent("RNN", "SimpleRNN"),
    "keras.layers.GRU": recurrent("GRU", "GRU", recurrent_bias=True),
    "keras.layers.LSTM": recurrent("LSTM", "LSTM"),
    "keras.layers.Dense": dense,
    "keras.layers.Embedding": embedding,
    "keras.layers.LayerNormalization": layer_norm,
    "keras.layers.Dropout": dropout,
    "keras.losses.SparseCategoricalCrossentropy": cross_entropy,
    "keras.losses.BinaryCrossentropy": binary,
    "keras.losses.MeanSquaredError": mse,
    "keras.optimizers.SGD": sgd,
    "keras.optimizers.RMSprop": rmsprop,
    "keras.optimizers.Adam": adam,
    "keras.optimizers.Adagrad": adagrad,
    "keras.optimizers.Adadelta": adadelta,
    "keras.utils.pad_sequences": padding,
}


@pytest.mark.parametrize("name", KERAS)
def test_what_is_said_of_keras_holds(name: str) -> None:
    assert f"``{name}``" in [row[0] for row in rows("Keras")]
    KERAS[name](library("keras"))
