"""Weights to and from PyTorch and Keras: the converted layer computes the same, or is refused and left alone.

Keras's layers are written down here a second time, from its documentation; where PyTorch or Keras is installed, the
layers themselves are compared too."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from substitution import randomised

from tinygrad_rnn.models import GRU, LSTM, RNN, Gate, Linear, LSTMCell, Recurrent
from tinygrad_rnn.models.conversions import from_keras, from_torch, to_keras, to_torch
from tinygrad_rnn.models.variants import MGUCell, ProjectedLSTMCell
from tinygrad_rnn.tensor import Parameter

F8 = NDArray[np.float64]
T, B, I, H, M = 5, 3, 2, 4, 6  # noqa: E741  (the field's letters: time, batch, input features, hidden and memory units)
ProjectedLSTM = partial(Recurrent, ProjectedLSTMCell, memory_size=M)

every_shape = pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (2, True)])

Make = Callable[..., Recurrent]
TORCH: dict[str, tuple[Make, str, dict[str, Any]]] = {  # ours, PyTorch's class and its options
    "tanh RNN": (RNN, "RNN", {}),
    "relu RNN": (partial(RNN, nonlinearity="relu"), "RNN", {"nonlinearity": "relu"}),
    "GRU": (GRU, "GRU", {}),
    "GRU with recurrent bias": (partial(GRU, recurrent_bias=True), "GRU", {}),
    "writing GRU": (partial(GRU, update="write"), "GRU", {}),
    "writing GRU with recurrent bias": (partial(GRU, update="write", recurrent_bias=True), "GRU", {}),
    "LSTM": (LSTM, "LSTM", {}),
    "projected LSTM": (ProjectedLSTM, "LSTM", {"hidden_size": M, "proj_size": H}),
}
KERAS: dict[str, tuple[Make, str, dict[str, Any]]] = {  # ours, Keras's class and its options
    "tanh RNN": (RNN, "SimpleRNN", {}),
    "relu RNN": (partial(RNN, nonlinearity="relu"), "SimpleRNN", {"activation": "relu"}),
    "GRU": (GRU, "GRU", {"reset_after": True}),
    "GRU with recurrent bias": (partial(GRU, recurrent_bias=True), "GRU", {"reset_after": True}),
    "writing GRU": (partial(GRU, update="write", recurrent_bias=True), "GRU", {"reset_after": True}),
    "GRU, reset before": (partial(GRU, reset="before"), "GRU", {"reset_after": False}),
    "writing GRU, reset before": (partial(GRU, reset="before", update="write"), "GRU", {"reset_after": False}),
    "GRU, reset before, with recurrent bias": (
        partial(GRU, reset="before", recurrent_bias=True),
        "GRU",
        {"reset_after": False},
    ),
    "LSTM": (LSTM, "LSTM", {}),
}
every_torch = pytest.mark.parametrize("name", TORCH)
every_keras = pytest.mark.parametrize("name", KERAS)


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def made(make: Make, layers: int = 1, bidirectional: bool = False, seed: int = 0, **options: Any) -> Recurrent:
    layer: Recurrent = randomised(make(I, H, layers, bidirectional, **{"dtype": np.float64, **options}), seed)
    return layer


def start(layer: Recurrent) -> list[F8]:
    return [draw(len(layer.cells), B, *shape, seed=i) for i, shape in enumerate(layer.cells[0].state_shapes)]


def bits(layer: Recurrent) -> dict[str, tuple[str, bytes]]:
    return {name: (str(value.dtype), value.tobytes()) for name, value in layer.state_dict().items()}


def same_as(layer: Recurrent, theirs: tuple[Any, ...], xs: F8, state: Any) -> None:
    outputs, last = layer(xs, state)
    for a, b in zip((outputs, *last), theirs, strict=True):
        close(a.numpy(), b)


# --- PyTorch ------------------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def torch_layer(torch: Any, name: str, layers: int, bidirectional: bool) -> Any:
    options = {"hidden_size": H, **TORCH[name][2]}
    kind = getattr(torch.nn, TORCH[name][1])
    return kind(I, num_layers=layers, bidirectional=bidirectional, dtype=torch.float64, **options)


def torch_results(torch: Any, theirs: Any, xs: F8, state: list[F8]) -> tuple[F8, ...]:
    given = tuple(map(torch.tensor, state))
    outputs, last = theirs(torch.tensor(xs), given if len(given) > 1 else given[0])
    return tuple(each.detach().numpy() for each in (outputs, *(last if isinstance(last, tuple) else (last,))))


@every_torch
@every_shape
def test_weights_given_to_pytorch_compute_the_same_there(
    torch: Any, name: str, layers: int, bidirectional: bool
) -> None:
    layer, theirs = made(TORCH[name][0], layers, bidirectional), torch_layer(torch, name, layers, bidirectional)
    state_dict = to_torch(layer)
    assert list(state_dict) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state_dict.items()})
    xs, state = draw(T, B, I), start(layer)
    same_as(layer, torch_results(torch, theirs, xs, state), xs, state)


@every_torch
@every_shape
def test_weights_taken_from_pytorch_compute_the_same_here(
    torch: Any, name: str, layers: int, bidirectional: bool
) -> None:
    layer, theirs = made(TORCH[name][0], layers, bidirectional), torch_layer(torch, name, layers, bidirectional)
    for i, (each, parameter) in enumerate(theirs.named_parameters()):  # both biases are drawn
        parameter.data = torch.tensor(draw(*parameter.shape, seed=i) / 2)
        if "GRU" in name and "recurrent bias" not in name and "bias_hh" in each:
            parameter.data[2 * H :] = 0
    from_torch(layer, theirs.state_dict())
    xs, state = draw(T, B, I), start(layer)
    same_as(layer, torch_results(torch, theirs, xs, state), xs, state)


def test_a_tensor_that_requires_a_gradient_is_taken(torch: Any) -> None:
    layer, theirs = made(LSTM), torch_layer(torch, "LSTM", 1, False)
    from_torch(layer, dict(theirs.named_parameters()))
    close(to_torch(layer)["weight_ih_l0"], theirs.weight_ih_l0.detach().numpy())


def test_a_tensor_of_a_dtype_that_numpy_lacks_is_refused(torch: Any) -> None:
    refused(
        TypeError,
        "state_dict['weight_ih_l0'] must be an array of a floating dtype of NumPy's, got Tensor of torch.bfloat16",
        lambda layer: from_torch(layer, torch_layer(torch, "LSTM", 1, False).bfloat16().state_dict()),
        made(LSTM),
    )


@every_torch
@every_shape
def test_weights_return_from_pytorchs_layout_bit_for_bit(name: str, layers: int, bidirectional: bool) -> None:
    layer, other = (made(TORCH[name][0], layers, bidirectional, seed) for seed in (0, 1))
    from_torch(other, to_torch(layer))
    assert bits(other) == bits(layer)


def test_pytorchs_gates_are_stacked_in_its_order_with_units_in_rows() -> None:
    for layer, order in [(made(LSTM), "ifgo"), (made(partial(GRU, recurrent_bias=True)), "rzn")]:
        state_dict = to_torch(layer)
        for k, name in enumerate(order):
            gate, rows = getattr(layer.cells[0], name), slice(k * H, (k + 1) * H)
            np.testing.assert_array_equal(state_dict["weight_ih_l0"][rows], gate.U.data.T)
            np.testing.assert_array_equal(state_dict["weight_hh_l0"][rows], gate.W.data.T)
            np.testing.assert_array_equal(state_dict["bias_ih_l0"][rows], gate.b.data)
            np.testing.assert_array_equal(state_dict["bias_hh_l0"][rows], 0 if gate.c is None else gate.c.data)


def test_a_projected_lstm_has_pytorchs_shapes() -> None:
    assert {name: value.shape for name, value in to_torch(made(ProjectedLSTM)).items()} == {
        "weight_ih_l0": (4 * M, I),
        "weight_hh_l0": (4 * M, H),
        "bias_ih_l0": (4 * M,),
        "bias_hh_l0": (4 * M,),
        "weight_hr_l0": (H, M),
    }


# --- Keras --------------------------------------------------------------------------------------------------


def sigmoid(x: F8) -> F8:
    return np.asarray(1 / (1 + np.exp(-x)))


def keras_simple_rnn(x: F8, h: F8, *, kernel: F8, recurrent: F8, bias: F8, activation: str = "tanh") -> tuple[F8, ...]:
    total = x @ kernel + h @ recurrent + bias
    return (np.tanh(total) if activation == "tanh" else np.maximum(total, 0),)


def keras_lstm(x: F8, h: F8, c: F8, *, kernel: F8, recurrent: F8, bias: F8) -> tuple[F8, ...]:
    i, f, candidate, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
    return sigmoid(o) * np.tanh(c), c


def keras_gru(x: F8, h: F8, *, kernel: F8, recurrent: F8, bias: F8, reset_after: bool) -> tuple[F8, ...]:
    input_bias, recurrent_bias = bias if reset_after else (bias, 0 * bias)
    x_z, x_r, x_h = np.split(x @ kernel + input_bias, 3, axis=1)
    h_z, h_r, h_h = np.split(h @ recurrent + recurrent_bias, 3, axis=1)
    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
    candidate = np.tanh(x_h + (r * h_h if reset_after else (r * h) @ recurrent[:, 2 * H :]))
    return (z * h + (1 - z) * candidate,)


STEPS: dict[str, Callable[..., tuple[F8, ...]]] = {"SimpleRNN": keras_simple_rnn, "LSTM": keras_lstm, "GRU": keras_gru}


def keras_results(name: str, weights: list[F8], xs: F8, state: list[F8], directions: int) -> tuple[F8, ...]:
    """Outputs (T,B,D*H) and last states (layers*D,B,H) by Keras's equations."""
    last: list[tuple[F8, ...]] = []
    while len(last) < len(state[0]):
        outputs = []
        for direction in range(directions):
            kernel, recurrent, bias = weights[3 * len(last) : 3 * len(last) + 3]
            step = partial(STEPS[KERAS[name][1]], **KERAS[name][2], kernel=kernel, recurrent=recurrent, bias=bias)
            now: tuple[F8, ...] = tuple(each[len(last)] for each in state)
            ys = []
            for x in xs[::-1] if direction else xs:
                now = step(x, *now)
                ys.append(now[0])
            last.append(now)
            outputs.append(np.stack(ys[::-1] if direction else ys))
        xs = np.concatenate(outputs, axis=-1)
    return (xs, *(np.stack(each) for each in zip(*last, strict=True)))


def keras_weights(name: str, layer: Recurrent) -> list[F8]:
    """Weights in Keras's shapes, all of them drawn, but for what a layer without the second bias cannot have."""
    weights = [draw(*each.shape, seed=i) / 2 for i, each in enumerate(to_keras(layer))]
    if name == "GRU":
        for bias in weights[2::3]:
            bias[1, 2 * H :] = 0
    return weights


@every_keras
@every_shape
def test_weights_given_to_keras_compute_the_same_by_its_equations(name: str, layers: int, bidirectional: bool) -> None:
    layer, xs = made(KERAS[name][0], layers, bidirectional), draw(T, B, I)
    state = start(layer)
    same_as(layer, keras_results(name, to_keras(layer), xs, state, layer.directions), xs, state)


@every_keras
@every_shape
def test_weights_taken_from_keras_compute_the_same_by_its_equations(
    name: str, layers: int, bidirectional: bool
) -> None:
    layer, xs = made(KERAS[name][0], layers, bidirectional), draw(T, B, I)
    state, weights = start(layer), keras_weights(name, layer)
    from_keras(layer, weights)
    same_as(layer, keras_results(name, weights, xs, state, layer.directions), xs, state)


@pytest.mark.parametrize("name", [name for name in KERAS if "before, with" not in name])  # b and c have become one
@every_shape
def test_weights_return_from_kerass_layout_bit_for_bit(name: str, layers: int, bidirectional: bool) -> None:
    layer, other = (made(KERAS[name][0], layers, bidirectional, seed) for seed in (0, 1))
    from_keras(other, to_keras(layer))
    assert bits(other) == bits(layer)


def test_layers_of_different_sizes_go_to_keras_and_back() -> None:
    layer, other = (randomised(LSTM(I, [4, 3], dtype=np.float64), seed) for seed in (0, 1))
    assert [each.shape for each in to_keras(layer)] == [(2, 16), (4, 16), (16,), (4, 12), (3, 12), (12,)]
    from_keras(other, to_keras(layer))
    assert bits(other) == bits(layer)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    if "KERAS_BACKEND" not in os.environ:
        monkeypatch.setenv("KERAS_BACKEND", "numpy")  # the one that needs nothing else installed
    return pytest.importorskip("keras")


def keras_model(keras: Any, name: str, layers: int, bidirectional: bool) -> Any:
    _, kind, options = KERAS[name]
    model = keras.Sequential([keras.Input((T, I))])
    for _ in range(layers):
        layer = getattr(keras.layers, kind)(H, return_sequences=True, **options)
        model.add(keras.layers.Bidirectional(layer) if bidirectional else layer)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras")  # Keras's own, of NumPy's __array__
@every_keras
@every_shape
def test_weights_given_to_keras_and_taken_from_it_compute_the_same_there(
    keras: Any, name: str, layers: int, bidirectional: bool
) -> None:
    layer, xs = made(KERAS[name][0], layers, bidirectional), draw(T, B, I)
    model = keras_model(keras, name, layers, bidirectional)

    def agree() -> None:  # to six digits: Keras computes in float32, whatever its dtypes, but on TensorFlow
        theirs = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(xs.swapaxes(0, 1), "float32")))
        np.testing.assert_allclose(layer(xs)[0].numpy(), theirs.swapaxes(0, 1), rtol=1e-5, atol=1e-6)

    model.set_weights(to_keras(layer))
    agree()
    model.set_weights(keras_weights(name, layer))
    from_keras(layer, model.get_weights())
    agree()


# --- Bits and dtypes ----------------------------------------------------------------------------------------

BOTH: list[tuple[Callable[[Recurrent], Any], Callable[[Recurrent, Any], None]]] = [
    (to_torch, from_torch),
    (to_keras, from_keras),
]
both = pytest.mark.parametrize(("to", "back"), BOTH, ids=["pytorch", "keras"])


def arrays(converted: Any) -> list[Any]:
    return list(converted.values() if isinstance(converted, dict) else converted)


@both
def test_zeros_of_either_sign_return_bit_for_bit(to: Any, back: Any) -> None:
    layer, other = made(partial(GRU, update="write")), made(partial(GRU, update="write"))
    for name, parameter in layer.named_parameters():
        parameter.data = np.full(parameter.shape, -0.0 if "W" in name or "r" in name else 0.0)
    back(other, to(layer))
    assert bits(other) == bits(layer)


def test_the_bias_that_pytorch_has_beside_ours_is_a_plain_zero() -> None:
    for make in (LSTM, partial(GRU, update="write")):
        assert to_torch(made(make))["bias_hh_l0"].tobytes() == bytes(8 * len(to_torch(made(make))["bias_hh_l0"]))


@both
def test_the_layer_keeps_its_dtype(to: Any, back: Any) -> None:
    layer, other = made(LSTM), made(LSTM, dtype=np.float32)
    assert {a.dtype for a in arrays(to(other))} == {np.dtype(np.float32)}
    back(other, to(layer))
    assert other.dtype == np.float32
    for a, b in zip(arrays(to(other)), arrays(to(layer)), strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float32))


@both
def test_arrays_are_copies_both_ways_in_the_layout_of_their_rows(to: Any, back: Any) -> None:
    layer = made(RNN)
    before, converted = bits(layer), to(layer)
    for array in arrays(converted):
        assert array.flags.c_contiguous
        array[...] = 7
    assert bits(layer) == before
    back(layer, converted)
    before = bits(layer)
    for array in arrays(converted):
        array[...] = 8
    assert bits(layer) == before and all(p.data.flags.c_contiguous for p in layer.parameters())


# --- Refusals -----------------------------------------------------------------------------------------------


def refused(error: type[Exception], message: str, call: Callable[[Any], Any], layer: Any) -> None:
    before = bits(layer)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(layer)
    assert bits(layer) == before


LACKING: list[tuple[str, Make, str]] = [
    (
        "PyTorch Keras",
        partial(GRU, gate="hard_sigmoid"),
        "gate must be 'sigmoid' for a layer as LIBRARY has it, got 'hard_sigmoid'",
    ),
    ("PyTorch Keras", partial(GRU, residual=True), "residual must be False for a layer as LIBRARY has it, got True"),
    ("PyTorch Keras", partial(LSTM, zoneout=0.1), "zoneout must be 0.0 for a layer as LIBRARY has it, got 0.1"),
    ("PyTorch", partial(GRU, reset="before"), "reset must be 'after' for a layer as LIBRARY has it, got 'before'"),
    (
        "PyTorch",
        partial(Recurrent, MGUCell),
        "layer must have a cell that LIBRARY has too (RNNCell, GRUCell, LSTMCell, ProjectedLSTMCell), got MGUCell",
    ),
    (
        "Keras",
        ProjectedLSTM,
        "layer must have a cell that LIBRARY has too (RNNCell, GRUCell, LSTMCell), got ProjectedLSTMCell",
    ),
    (
        "PyTorch",
        partial(Recurrent, ProjectedLSTMCell, memory_size=H),
        "memory_size must be above hidden_size 4, as PyTorch's hidden_size is above its proj_size, got 4",
    ),
]


@pytest.mark.parametrize(
    ("library", "make", "message"),
    [(library, make, message) for libraries, make, message in LACKING for library in libraries.split()],
)
def test_a_layer_that_the_library_lacks_is_refused_both_ways(library: str, make: Make, message: str) -> None:
    to, back = BOTH[library == "Keras"]
    for call in (to, lambda layer: back(layer, {} if library == "PyTorch" else [])):
        refused(ValueError, message.replace("LIBRARY", library), call, made(make))


def test_layers_of_different_sizes_are_refused_for_pytorch() -> None:
    message = "hidden_size of every layer must be 4 for a layer as PyTorch has it, got 3"
    refused(ValueError, message, to_torch, LSTM(I, [4, 3]))


@both
def test_a_subclass_of_a_known_cell_is_refused(to: Any, back: Any) -> None:
    class Squared(LSTMCell):
        pass

    with pytest.raises(ValueError, match=r"got Squared$"):
        to(Recurrent(Squared, I, H))


@both
def test_what_is_no_recurrent_layer_is_refused(to: Any, back: Any) -> None:
    refused(TypeError, "layer must be a Recurrent, got Linear", to, Linear(2, 3))
    refused(TypeError, "layer must be a Recurrent, got Linear", lambda layer: back(layer, {}), Linear(2, 3))


def without(state_dict: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in (state_dict | more).items() if name not in names}


@pytest.mark.parametrize(
    ("error", "change", "message"),
    [
        (
            ValueError,
            lambda d: without(d, "bias_ih_l0", "bias_hh_l0", weight_hr_l0=np.zeros((H, M))),
            "state_dict must have the 4 names of to_torch(layer), got one with ['bias_hh_l0', 'bias_ih_l0'] missing "
            "and ['weight_hr_l0'] unexpected",
        ),
        (
            ValueError,
            lambda d: without(d, "weight_ih_l0"),
            "state_dict must have the 4 names of to_torch(layer), got one with ['weight_ih_l0'] missing "
            "and [] unexpected",
        ),
        (
            ValueError,
            lambda d: d | to_torch(made(RNN, bidirectional=True)),
            "state_dict must have the 4 names of to_torch(layer), got one with [] missing and "
            "['bias_hh_l0_reverse', 'bias_ih_l0_reverse', 'weight_hh_l0_reverse', 'weight_ih_l0_reverse'] unexpected",
        ),
        (
            ValueError,
            lambda d: d | {"weight_hh_l0": np.zeros((4, 16))},
            "state_dict['weight_hh_l0'] must have the shape (16, 4), got (4, 16)",
        ),
        (
            TypeError,
            lambda d: d | {"bias_hh_l0": np.zeros(16, np.int64)},
            "state_dict['bias_hh_l0'] must be an array of a floating dtype of NumPy's, got ndarray of int64",
        ),
        (
            TypeError,
            lambda d: d | {"bias_hh_l0": [0.0] * 16},
            "state_dict['bias_hh_l0'] must be an array of a floating dtype of NumPy's, got list",
        ),
        (TypeError, lambda d: list(d.items()), "state_dict must be a mapping of names to arrays, got list"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused(error: Any, change: Any, message: str) -> None:
    refused(error, message, lambda layer: from_torch(layer, change(to_torch(made(LSTM, seed=1)))), made(LSTM))


@pytest.mark.parametrize(
    ("error", "change", "message"),
    [
        (
            ValueError,
            lambda weights: weights[:3],
            "weights must be a flat list of 6 arrays, 3 (kernel, recurrent_kernel, bias) for each layer and direction, "
            "got 3 (of a layer without biases they are zeros, to be added)",
        ),
        (
            ValueError,
            lambda weights: [*weights[:4], weights[4].T, weights[5]],
            "weights[4], the recurrent_kernel, must have the shape (4, 12), got (12, 4)",
        ),
        (
            ValueError,
            lambda weights: [*weights[:5], weights[5][0]],
            "weights[5] are the biases of GRU(reset_after=False): they need a layer made with reset='before', "
            "and this one has reset='after'",
        ),
        (
            TypeError,
            lambda weights: [*weights[:5], weights[5].astype(complex)],
            "weights[5], the bias for reset='after', must be an array of a floating dtype of NumPy's, "
            "got ndarray of complex128",
        ),
        (TypeError, lambda weights: {"kernel": weights[0]}, "weights must be a list of arrays, got dict"),
    ],
)
def test_a_list_of_weights_that_does_not_fit_is_refused(error: Any, change: Any, message: str) -> None:
    given, layer = made(GRU, bidirectional=True, seed=1), made(GRU, bidirectional=True)
    refused(error, message, lambda layer: from_keras(layer, change(to_keras(given))), layer)


def test_weights_of_a_gru_that_resets_after_are_refused_by_one_that_resets_before() -> None:
    message = (
        "weights[2] are the biases of GRU(reset_after=True): they need a layer made with reset='after', "
        "and this one has reset='before'"
    )
    layer = made(partial(GRU, reset="before"))
    refused(ValueError, message, lambda layer: from_keras(layer, to_keras(made(GRU))), layer)


@pytest.mark.parametrize("update", ["keep", "write"])
@both
def test_a_second_bias_of_the_candidate_is_refused_without_a_place_for_it(to: Any, back: Any, update: str) -> None:
    given = made(partial(GRU, recurrent_bias=True), layers=2)
    given.cells[1].n.c.data = np.array([0.0, -0.75, 0.5, 0.0])
    given.cells[0].n.c.data *= 0
    name = "state_dict['bias_hh_l1']" if to is to_torch else "weights[5][1]"
    message = f"{name} must be 0 for the candidate, or the layer made with recurrent_bias=True, got values up to 0.75"
    refused(ValueError, message, lambda layer: back(layer, to(given)), made(partial(GRU, update=update), layers=2))


@both
def test_a_second_bias_beside_another_gate_is_kept_apart(to: Any, back: Any) -> None:
    def with_bias(seed: int) -> Recurrent:
        layer = made(partial(GRU, recurrent_bias=True, update="write"))
        gate: Gate = layer.cells[0].z
        gate.c = Parameter(np.zeros(H), name="z.c")
        return randomised(layer, seed)  # type: ignore[no-any-return]

    layer, other = with_bias(0), with_bias(1)
    back(other, to(layer))
    assert bits(other) == bits(layer)
    plain, xs = made(partial(GRU, recurrent_bias=True)), draw(T, B, I)
    back(plain, to(layer))
    close(plain(xs)[0].numpy(), layer(xs)[0].numpy())


def test_messages_say_what_to_do() -> None:
    gru = GRU(2, 3)
    with pytest.raises(
        ValueError, match=r"biases of GRU\(reset_after=False\): they need a layer made with reset='before'"
    ):
        from_keras(gru, to_keras(GRU(2, 3, reset="before")))
    with pytest.raises(
        ValueError, match=r"biases of GRU\(reset_after=True\): they need a layer made with reset='after'"
    ):
        from_keras(GRU(2, 3, reset="before"), to_keras(gru))
    whole = {f"rnn.{name}": value for name, value in to_torch(gru).items()}
    with pytest.raises(ValueError, match=r"are the names without 'rnn\.' meant"):
        from_torch(gru, whole)
    bare = {name: value for name, value in to_torch(gru).items() if not name.startswith("bias")}
    with pytest.raises(ValueError, match="of a layer without biases they are zeros"):
        from_torch(gru, bare)
    large = [value.astype(np.float64) * 1e300 for value in to_keras(gru)]
    before = gru.state_dict()
    with pytest.raises(ValueError, match="weights must lie within the layer's float32, got values up to"):
        from_keras(gru, large)
    for name, value in gru.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
