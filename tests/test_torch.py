"""The same weights in PyTorch: values, gradients and second derivatives to ten digits in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from substitution import randomised

from tinygrad_rnn import Tensor, grad, ops
from tinygrad_rnn.models import GRU, LSTM, RNN, AdaptiveSoftmax, Embedding, LayerNorm, Recurrent, ctc_loss
from tinygrad_rnn.ops.rows import Reduction
from tinygrad_rnn.optim import SGD, AdaDelta, AdaGrad, Adam, RMSprop

torch: Any = pytest.importorskip("torch")
F8 = NDArray[np.float64]
T, B, I, H = 5, 3, 2, 4  # noqa: E741  (the field's letters: time, batch, input features, hidden units)
LENGTHS = [5, 2, 4]


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def close(ours: Any, theirs: Any, what: str = "") -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12, err_msg=what)


# --- Recurrent layers ---------------------------------------------------------------------------------------

GATES = {"RNN": "n", "GRU": "rzn", "LSTM": "ifgo"}  # in the order of PyTorch's stacked weights
MAKE: dict[str, Callable[..., Recurrent]] = {
    "RNN": RNN,
    "GRU": lambda *a, **k: GRU(*a, reset="after", recurrent_bias=True, **k),
    "LSTM": LSTM,
}
every_layer = pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
every_shape = pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (1, True), (3, True)])


def pair(kind: str, layers: int, bidirectional: bool, **options: Any) -> tuple[Any, Any]:
    """Our layer and PyTorch's with the same weights. Theirs has two biases per gate: the second is zero, but for the
    candidate of a GRU, where we have it too."""
    ours = randomised(MAKE[kind](I, H, layers, bidirectional, dtype=np.float64, **options))
    theirs = getattr(torch.nn, kind)(I, H, layers, bidirectional=bidirectional, dtype=torch.float64, **options)
    for k, cell in enumerate(ours.cells):
        number, direction = divmod(k, ours.directions)
        suffix = f"l{number}" + "_reverse" * direction
        for name, values in stacked(cell, kind, lambda p: p.data).items():
            getattr(theirs, f"{name}_{suffix}").data = torch.tensor(values)
    return ours, theirs


def stacked(cell: Any, kind: str, of: Callable[[Any], F8]) -> dict[str, F8]:
    """A cell's weights, or their gradients, as PyTorch lays them out."""
    gates = [getattr(cell, name) for name in GATES[kind]]
    return {
        "weight_ih": np.concatenate([of(gate.U).T for gate in gates]),
        "weight_hh": np.concatenate([of(gate.W).T for gate in gates]),
        "bias_ih": np.concatenate([of(gate.b) for gate in gates]),
        "bias_hh": np.concatenate([np.zeros(H) if gate.c is None else of(gate.c) for gate in gates]),
    }


def start(ours: Any) -> tuple[F8, ...]:
    return tuple(draw(len(ours.cells), B, H, seed=i) for i in range(len(ours.cells[0].states)))


def theirs_called(theirs: Any, xs: Any, state: Any, lengths: Any = None) -> tuple[Any, ...]:
    """PyTorch's outputs and last states, of packed sequences where there are lengths."""
    if lengths is not None:
        xs = torch.nn.utils.rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
    outputs, last = theirs(xs, state if len(state) > 1 else state[0])
    if lengths is not None:
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, total_length=T)
    return (outputs, *(last if isinstance(last, tuple) else (last,)))


@every_layer
@every_shape
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
def test_recurrent_layers_agree_in_values_and_gradients(
    kind: str, layers: int, bidirectional: bool, lengths: list[int] | None
) -> None:
    ours, theirs = pair(kind, layers, bidirectional)
    leaves = [draw(T, B, I), *start(ours)]
    xs, *state = (Tensor(a, requires_grad=True) for a in leaves)
    their_xs, *their_state = (torch.tensor(a, requires_grad=True) for a in leaves)

    outputs, last = ours(xs, state, lengths)
    expected = theirs_called(theirs, their_xs, tuple(their_state), lengths)
    weights = [draw(*r.shape, seed=7) for r in expected]
    sum((r * w).sum() for r, w in zip((outputs, *last), weights, strict=True)).backward()
    sum((r * torch.tensor(w)).sum() for r, w in zip(expected, weights, strict=True)).backward()

    for a, b in zip((outputs, *last), expected, strict=True):
        close(a.numpy(), b.detach().numpy())
    for a, b in zip((xs, *state), (their_xs, *their_state), strict=True):
        close(a.grad, b.grad.numpy())
    for k, cell in enumerate(ours.cells):
        number, direction = divmod(k, ours.directions)
        suffix = f"l{number}" + "_reverse" * direction
        for name, gradient in stacked(cell, kind, lambda p: p.grad).items():
            their = getattr(theirs, f"{name}_{suffix}").grad.numpy()
            if name == "bias_hh":  # of the gates where we have one
                their = their * (gradient != 0)
            close(gradient, their, f"{name}_{suffix}")


@every_layer
def test_recurrent_layers_agree_in_products_with_the_hessian(kind: str) -> None:
    ours, theirs = pair(kind, 2, True)
    x, v, state = draw(T, B, I), draw(T, B, I, seed=5), start(ours)

    def squares(xs: Tensor) -> Tensor:
        outputs, last = ours(xs, state, LENGTHS)
        return sum((ops.square(r).sum() for r in last), ops.square(outputs).sum())

    product = grad(lambda xs: (grad(squares)(xs) * v).sum())(Tensor(x))

    def their_squares(xs: Any) -> Any:
        return sum((r**2).sum() for r in theirs_called(theirs, xs, tuple(map(torch.tensor, state)), LENGTHS))

    _, expected = torch.autograd.functional.vhp(their_squares, torch.tensor(x), torch.tensor(v))
    close(product.numpy(), expected.numpy())


def test_a_relu_rnn_agrees() -> None:
    ours, theirs = pair("RNN", 2, False, nonlinearity="relu")
    xs, state = draw(T, B, I), start(ours)
    expected = theirs_called(theirs, torch.tensor(xs), tuple(map(torch.tensor, state)))
    close(ours(xs, state)[0].numpy(), expected[0].detach().numpy())


# --- Ops ----------------------------------------------------------------------------------------------------


def agree(ours: Callable[..., Any], theirs: Callable[..., Any], *inputs: F8) -> None:
    """In the value, in the gradient by every input, and in the gradient of the gradient's square."""
    mine, other = [Tensor(x, requires_grad=True) for x in inputs], [torch.tensor(x, requires_grad=True) for x in inputs]
    out, expected = ours(*mine), theirs(*other)
    close(out.numpy(), expected.detach().numpy())
    w = draw(*out.shape, seed=11)
    positions = tuple(range(len(inputs)))

    def gradients(*xs: Any) -> Any:
        return grad(lambda *ys: (ours(*ys) * w).sum(), positions)(*xs)

    their_gradients = torch.autograd.grad((expected * torch.tensor(w)).sum(), other, create_graph=True)
    for a, b in zip(gradients(*mine), their_gradients, strict=True):
        close(a.numpy(), b.detach().numpy())

    def squares(*xs: Any) -> Any:
        return sum(ops.square(g).sum() for g in gradients(*xs))

    total = sum((g**2).sum() for g in their_gradients)
    second = torch.autograd.grad(total, other, allow_unused=True, materialize_grads=True)
    for a, b in zip(grad(squares, positions)(*mine), second, strict=True):
        close(a.numpy(), b.numpy())


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "gelu": (ops.gelu, torch.nn.functional.gelu),
    "gelu, approximate": (
        lambda x: ops.gelu(x, approximate="tanh"),
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    "relu": (lambda x: ops.relu(x) ** 2, lambda x: torch.relu(x) ** 2),
    "elu": (ops.elu, torch.nn.functional.elu),
    "leaky_relu": (lambda x: ops.leaky_relu(x) ** 2, lambda x: torch.nn.functional.leaky_relu(x) ** 2),
    "softplus": (ops.softplus, torch.nn.functional.softplus),
    "sigmoid": (ops.sigmoid, torch.sigmoid),
    "softmax": (ops.softmax, lambda x: torch.softmax(x, -1)),
    "log_softmax": (ops.log_softmax, lambda x: torch.log_softmax(x, -1)),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=0), lambda x: torch.logsumexp(x, 0)),
    "var": (lambda x: ops.var(x, axis=1), lambda x: torch.var(x, 1, correction=0)),
    "norm": (lambda x: ops.norm(x, axis=1), lambda x: torch.linalg.norm(x, dim=1)),
    "cumsum": (lambda x: ops.cumsum(x**2, axis=0), lambda x: torch.cumsum(x**2, 0)),
    "prod": (lambda x: ops.prod(x, axis=1), lambda x: torch.prod(x, 1)),
    "erf": (ops.erf, torch.erf),
    "log_sigmoid": (ops.log_sigmoid, torch.nn.functional.logsigmoid),
    "floor": (lambda x: ops.floor(3 * x) * x, lambda x: torch.floor(3 * x) * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_array_agree(name: str) -> None:
    agree(*FUNCTIONS[name], draw(4, 5))


def test_products_agree() -> None:
    agree(ops.matmul, torch.matmul, draw(2, 1, 3, 4), draw(5, 4, 2))
    agree(
        lambda a, b: ops.einsum("tbi,bij->tj", a, b),
        lambda a, b: torch.einsum("tbi,bij->tj", a, b),
        draw(3, 2, 4),
        draw(2, 4, 5),
    )


def test_what_is_read_along_an_axis_or_repeated_agrees() -> None:
    ids = np.array([[3, 0, 3], [1, 1, 1]])
    agree(
        lambda x: ops.take_along_axis(x, ids, 1) ** 2,
        lambda x: torch.take_along_dim(x, torch.tensor(ids), 1) ** 2,
        draw(2, 5),
    )
    for times in (3, [2, 0, 1, 1]):
        counts = torch.tensor(times)
        agree(
            lambda x, times=times: ops.repeat(x, times, axis=1) ** 2,
            lambda x, counts=counts: torch.repeat_interleave(x, counts, 1) ** 2,
            draw(2, 4),
        )


def test_remainders_agree() -> None:
    agree(lambda x, y: (x % y) ** 2, lambda x, y: torch.remainder(x, y) ** 2, 3 * draw(4, 5), draw(5, seed=2))


def test_layer_normalisation_agrees() -> None:
    layer = LayerNorm(5, dtype=np.float64)

    def ours(x: Any, gain: Any, bias: Any) -> Any:
        layer.gain, layer.bias = gain, bias
        return layer(x)

    def theirs(x: Any, gain: Any, bias: Any) -> Any:
        return torch.nn.functional.layer_norm(x, (5,), gain, bias, eps=1e-5)

    agree(ours, theirs, draw(3, 2, 5), draw(5), draw(5, seed=2))


def test_embeddings_agree() -> None:
    ids = np.array([[3, 0], [3, 6], [1, 3]])
    agree(
        lambda W: ops.take(W, ids) ** 2,
        lambda W: torch.nn.functional.embedding(torch.tensor(ids), W) ** 2,
        draw(7, 4),
    )
    table = Embedding(7, 4, padding=3, dtype=np.float64)
    their = torch.nn.Embedding(7, 4, padding_idx=3, dtype=torch.float64)
    their.weight.data = torch.tensor(table.weight.data)
    (table(ids) * draw(3, 2, 4)).sum().backward()
    (their(torch.tensor(ids)) * torch.tensor(draw(3, 2, 4))).sum().backward()
    close(table.weight.grad.dense(), their.weight.grad.numpy())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore_index", [None, 2])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2, 1.0])
def test_cross_entropies_agree(reduction: Reduction, ignore_index: int | None, label_smoothing: float) -> None:
    h, W, b, targets = draw(6, 3), draw(3, 5), draw(5), np.array([0, 2, 4, 2, 1, 3])
    kwargs: dict[str, Any] = {"label_smoothing": label_smoothing}
    if ignore_index is not None:
        kwargs["ignore_index"] = ignore_index

    def theirs(logits: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction=reduction, **kwargs)

    agree(lambda a: ops.softmax_cross_entropy(a, targets, reduction=reduction, **kwargs), theirs, draw(6, 5))
    agree(
        lambda h, W, b: ops.linear_cross_entropy(h, W, b, targets, reduction=reduction, **kwargs),
        lambda h, W, b: theirs(h @ W + b),
        *(h, W, b),
    )


def test_other_losses_agree() -> None:
    goal, chances = draw(4, 5, seed=3), np.random.default_rng(0).random((4, 5))
    functional = torch.nn.functional
    agree(lambda x: ops.mse(x, goal), lambda x: functional.mse_loss(x, torch.tensor(goal)), draw(4, 5))
    weights = np.random.default_rng(1).random((4, 1))
    agree(
        lambda x: ops.binary_cross_entropy_with_logits(x, chances, weights, reduction="sum"),
        lambda x: functional.binary_cross_entropy_with_logits(
            x, torch.tensor(chances), torch.tensor(weights), reduction="sum"
        ),
        draw(4, 5),
    )
    agree(
        lambda x: ops.binary_cross_entropy_with_logits(x, chances),
        lambda x: functional.binary_cross_entropy_with_logits(x, torch.tensor(chances)),
        draw(4, 5),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("zero_impossible", [False, True])
@pytest.mark.parametrize("blank", [0, 3])
def test_the_connectionist_loss_agrees(reduction: Reduction, zero_impossible: bool, blank: int) -> None:
    """Repeated labels, an empty target, one that just fits, one that does not, shorter rows."""
    lengths, counts = np.array([9, 5, 4, 4, 9]), np.array([4, 0, 3, 4, 1])
    targets = np.array([[1, 1, 1, 1, 2], [1, 2, 1, 1, 1], [2, 1, 2, 1, 1], [1, 1, 1, 2, 1]])
    logits = draw(9, 5, 4)
    x = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.ctc_loss(
        torch.log_softmax(x, -1),
        *map(torch.tensor, (targets.T.copy(), lengths, counts)),
        blank=blank,
        reduction=reduction,
        zero_infinity=zero_impossible,
    )
    theirs.sum().backward()

    def loss(x: Tensor) -> Tensor:
        options: Any = {"reduction": reduction, "zero_impossible": zero_impossible}
        return ctc_loss(x, targets, lengths, counts, blank=blank, **options)

    close(loss(Tensor(logits)).numpy(), theirs.detach().numpy())
    ours, expected = grad(lambda x: loss(x).sum())(Tensor(logits)).numpy(), x.grad.numpy()
    assert not ours[:, 3].any()  # theirs is NaN without zero_infinity
    close(np.delete(ours, 3, axis=1), np.delete(expected, 3, axis=1))


# --- Optimisers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
        (lambda p: SGD(p, 0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
        (
            lambda p: SGD(p, 0.1, momentum=0.9, nesterov=True),
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
        ),
        (lambda p: AdaGrad(p, 0.1), lambda p: torch.optim.Adagrad(p, 0.1)),
        (lambda p: AdaDelta(p, decay=0.9, eps=1e-6), lambda p: torch.optim.Adadelta(p, rho=0.9, eps=1e-6)),
        (
            lambda p: RMSprop(p, 0.01, decay=0.99, eps=1e-8, eps_inside=False),
            lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.99, eps=1e-8),
        ),
        (lambda p: Adam(p, 0.01), lambda p: torch.optim.Adam(p, 0.01)),
        (lambda p: Adam(p, 0.01, weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1)),
    ],
    ids=["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"],
)
def test_optimisers_walk_the_same_way(ours: Any, theirs: Any) -> None:
    layer, other = pair("LSTM", 1, False)
    other.bias_hh_l0.requires_grad_(False)
    optimizer, their_optimizer = ours(layer.parameters()), theirs([p for p in other.parameters() if p.requires_grad])
    xs, state = draw(T, B, I), start(layer)
    for _ in range(10):
        optimizer.zero_grad()
        ops.square(layer(xs, state)[0]).sum().backward()
        optimizer.step()
        their_optimizer.zero_grad()
        (theirs_called(other, torch.tensor(xs), tuple(map(torch.tensor, state)))[0] ** 2).sum().backward()
        their_optimizer.step()
    for name, values in stacked(layer.cells[0], "LSTM", lambda p: p.data).items():
        np.testing.assert_allclose(values, getattr(other, f"{name}_l0").detach().numpy(), rtol=1e-9, atol=1e-10)


# --- The adaptive softmax -----------------------------------------------------------------------------------


def test_the_adaptive_softmax_is_pytorchs_with_the_same_weights() -> None:
    classes, cutoffs, size = 50, [5, 20], 32
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(size, classes, cutoffs, div_value=4.0).double()
    softmax = AdaptiveSoftmax(size, classes, cutoffs, bias=False, dtype=np.float64)
    pairs = [(softmax.head, theirs.head)]
    for down, up, tail in zip(softmax.down, softmax.up, theirs.tail, strict=True):
        pairs += [(down, tail[0]), (up, tail[1])]
    assert len(pairs) == len(softmax.parameters()) == len([*theirs.parameters()])
    for ours, other in pairs:
        ours.weight.data = other.weight.detach().numpy().T.copy()
    hidden, targets = draw(9, size), np.random.default_rng(0).integers(0, classes, 9)
    x, y = Tensor(hidden, requires_grad=True), torch.tensor(hidden, requires_grad=True)
    loss, (_, other) = softmax.loss(x, targets), theirs(y, torch.tensor(targets))
    close(loss.item(), other.item())
    close(softmax.log_probabilities(x).numpy(), theirs.log_prob(y).detach().numpy())
    np.testing.assert_array_equal(softmax.predict(x).numpy(), theirs.predict(y).numpy())
    loss.backward()
    other.backward()
    close(x.grad, y.grad.numpy())
    for ours, other in pairs:
        close(ours.weight.grad, other.weight.grad.numpy().T)
