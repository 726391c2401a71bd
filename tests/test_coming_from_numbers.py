"""What the page for those who come from PyTorch or JAX says of numbers, computed by both; of Keras in a file beside."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from substitution import randomised
from test_coming_from import library, rows

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, data, models, ops, optim
from tinygrad_rnn.models.conversions import to_torch

F8 = NDArray[np.float64]
T, B, I, H, V = 5, 3, 2, 4, 6  # noqa: E741  (the field's letters)
Check = Callable[[Any], None]

pytestmark = pytest.mark.slow


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def same(ours: Any, theirs: Any) -> None:
    """To ten digits."""
    ours, theirs = (x.detach() if hasattr(x, "detach") else x for x in (ours, theirs))
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-10, atol=1e-12)


def usual(function: Any, name: str) -> Any:
    """The default of an argument."""
    return inspect.signature(function).parameters[name].default


# --- PyTorch's layers ---------------------------------------------------------------------------------------


def recurrent(kind: str, **options: Any) -> Check:
    """Outputs and states are the same with the same weights."""

    def check(torch: Any) -> None:
        ours = randomised(getattr(models, kind)(I, H, dtype=np.float64, **options))
        other = getattr(torch.nn, kind)(I, H, dtype=torch.float64)
        other.load_state_dict({name: torch.tensor(value) for name, value in to_torch(ours).items()})
        outputs, state = ours(draw(T, B, I))
        expected, last = other(torch.tensor(draw(T, B, I)))
        same(outputs, expected)
        for part, their_part in zip(state, last if isinstance(last, tuple) else (last,), strict=True):
            assert part.shape == (1, B, H)
            same(part, their_part)
        first = getattr(models, kind)(I, H).cells[0]
        biases = {name: gate.b.numpy() for name, gate in vars(first).items() if isinstance(gate, models.Gate)}
        assert all((b == (1 if (kind, name) == ("LSTM", "f") else 0)).all() for name, b in biases.items())
        assert sum(name.startswith("bias") for name, _ in other.named_parameters()) == 2
        gate = next(gate for gate in vars(first).values() if isinstance(gate, models.Gate))
        np.testing.assert_allclose(gate.W.numpy() @ gate.W.numpy().T, np.eye(H), atol=1e-6)  # orthogonal
        assert abs(gate.U.numpy()).max() <= np.sqrt(6 / (I + H))  # Glorot

    return check


def linear(torch: Any) -> None:
    ours, other = models.Linear(I, H, dtype=np.float64), torch.nn.Linear(I, H, dtype=torch.float64)
    weight, bias = (torch.tensor(parameter.numpy()) for parameter in ours.parameters())
    other.weight.data, other.bias.data = weight.T, bias
    same(ours(Tensor(draw(B, I))), other(torch.tensor(draw(B, I))))


def embedding(torch: Any) -> None:
    for table, length in ((models.Embedding(999, 64), 1.0), (torch.nn.Embedding(999, 64), 8.0)):
        lengths = np.linalg.norm(table.weight.detach().numpy(), axis=1)
        assert abs(lengths.mean() / length - 1) < 0.05
    padded = models.Embedding(9, 3, padding=2), torch.nn.Embedding(9, 3, padding_idx=2)
    assert all(not layer.weight.detach().numpy()[2].any() for layer in padded)


def dropout(torch: Any) -> None:
    drop, x = models.Dropout(0.5), np.ones(99, np.float32)
    assert set(drop(Tensor(x), np.random.default_rng(0)).numpy()) == {0.0, 2.0}
    assert set(torch.nn.Dropout(0.5)(torch.tensor(x)).numpy()) == {0.0, 2.0}
    same(drop(Tensor(x)), torch.nn.Dropout(0.5).eval()(torch.tensor(x)))


def layer_norm(torch: Any) -> None:
    other = torch.nn.LayerNorm(H, dtype=torch.float64)
    same(models.LayerNorm(H, dtype=np.float64)(Tensor(draw(B, H))), other(torch.tensor(draw(B, H))))


def rms_norm(torch: Any) -> None:
    assert usual(torch.nn.RMSNorm, "eps") is None and usual(models.RMSNorm, "eps") == 1e-6
    other = torch.nn.RMSNorm(H, eps=1e-6, dtype=torch.float64)
    same(models.RMSNorm(H, dtype=np.float64)(Tensor(draw(B, H))), other(torch.tensor(draw(B, H))))


def cell(torch: Any) -> None:
    ours, other = models.RNNCell(I, H, dtype=np.float64), torch.nn.RNNCell(I, H, dtype=torch.float64)
    weights = to_torch(models.RNN(I, H, dtype=np.float64))
    other.load_state_dict({name.removesuffix("_l0"): torch.tensor(value) for name, value in weights.items()})
    same(ours(Tensor(draw(B, I)), Tensor(draw(B, H))), other(torch.tensor(draw(B, I)), torch.tensor(draw(B, H))))


# --- PyTorch's losses ---------------------------------------------------------------------------------------


def cross_entropy(torch: Any) -> None:
    theirs, targets = torch.nn.functional.cross_entropy, np.array([[0, 2, 5], [1, 1, 2]])
    logits = torch.tensor(draw(2, 3, V)).moveaxis(-1, 1)  # (N,V,T)
    for ignored in (2, 4):
        expected = theirs(logits, torch.tensor(targets), ignore_index=ignored)
        same(ops.softmax_cross_entropy(draw(2, 3, V), targets, ignore_index=ignored), expected)
    assert usual(theirs, "ignore_index") == -100 and usual(ops.softmax_cross_entropy, "ignore_index") is None
    nothing = np.full((2, 3), 2)
    assert ops.softmax_cross_entropy(draw(2, 3, V), nothing, ignore_index=2) == 0
    assert torch.isnan(theirs(logits, torch.tensor(nothing), ignore_index=2))


def mse(torch: Any) -> None:
    x, y, w = draw(4), draw(4, seed=2), np.array([1.0, 2.0, 0.0, 3.0])
    theirs = torch.nn.functional.mse_loss
    same(ops.mse(x, y), theirs(torch.tensor(x), torch.tensor(y)))
    same(ops.mse(x, y, w), (w * (x - y) ** 2).sum() / w.sum())


def binary_cross_entropy(torch: Any) -> None:
    x, t, w = draw(4), np.array([1.0, 0.0, 0.5, 1.0]), np.array([1.0, 2.0, 0.0, 3.0])
    theirs = torch.nn.functional.binary_cross_entropy_with_logits
    same(ops.binary_cross_entropy_with_logits(x, t), theirs(torch.tensor(x), torch.tensor(t)))
    weighted = theirs(torch.tensor(x), torch.tensor(t), torch.tensor(w)) * len(w) / w.sum()
    same(ops.binary_cross_entropy_with_logits(x, t, w), weighted)


def ctc(torch: Any) -> None:
    targets = np.array([[1, 2, 2], [3, 1, 1]]).T  # (L,B)
    logs = torch.log_softmax(torch.tensor(draw(9, 2, 4)), -1)
    sizes = torch.tensor([9, 9]), torch.tensor([3, 3])
    expected = torch.nn.functional.ctc_loss(logs, torch.tensor(targets.T.copy()), *sizes)
    same(models.ctc_loss(draw(9, 2, 4), targets), expected)
    same(models.ctc_loss(logs.numpy(), targets), expected)


def adaptive(torch: Any) -> None:
    other = torch.nn.AdaptiveLogSoftmaxWithLoss(32, 50, [5, 20], div_value=4.0)
    ours = models.AdaptiveSoftmax(32, 50, [5, 20], shrink=4.0, bias=False)
    sizes = [sorted(p.numel() if hasattr(p, "numel") else p.size for p in each.parameters()) for each in (ours, other)]
    assert sizes[0] == sizes[1]
    assert usual(models.AdaptiveSoftmax, "bias") and usual(models.AdaptiveSoftmax, "shrink") == 4.0


# --- PyTorch's optimisers -----------------------------------------------------------------------------------


def walked(torch: Any, ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> tuple[F8, F8]:
    """Where six steps down one function lead."""
    w, v = Parameter(draw(H)), torch.tensor(draw(H), requires_grad=True)
    optimizer, other = ours([w]), theirs([v])
    for _ in range(6):
        for each, p in ((optimizer, w), (other, v)):
            each.zero_grad()
            (p**4).sum().backward()
            each.step()
    return w.numpy(), v.detach().numpy()


def optimiser(
    our: str, their: str, options: dict[str, Any], others: dict[str, Any], usually: dict[tuple[str, str], Any]
) -> Check:
    """The same way with these options; `usually` are defaults, ours and theirs."""

    def check(torch: Any) -> None:
        ours, theirs = getattr(optim, our), getattr(torch.optim, their)
        same(*walked(torch, lambda p: ours(p, **options), lambda p: theirs(p, **others)))
        for (mine, other), (expected, expected_other) in usually.items():
            assert usual(ours, mine) == expected and usual(theirs, other) == expected_other

    return check


def sgd(torch: Any) -> None:
    both: dict[str, Any] = {"lr": 0.02, "momentum": 0.9}
    same(*walked(torch, lambda p: optim.SGD(p, **both), lambda p: torch.optim.SGD(p, **both)))
    both["weight_decay"] = 0.1
    ours, theirs = walked(torch, lambda p: optim.SGD(p, **both), lambda p: torch.optim.SGD(p, **both))
    assert not np.allclose(ours, theirs)
    del both["momentum"]
    same(*walked(torch, lambda p: optim.SGD(p, **both), lambda p: torch.optim.SGD(p, **both)))


def clipped(torch: Any, ours: Any, theirs: Any, bound: float) -> tuple[F8, F8]:
    w, v = Parameter(draw(H)), torch.tensor(draw(H), requires_grad=True)
    (w**4).sum().backward()
    (v**4).sum().backward()
    ours([w], bound)
    theirs([v], bound)
    return w.grad, v.grad.numpy()


def clip_norm(torch: Any) -> None:
    ours, theirs = clipped(torch, optim.clip_by_norm, torch.nn.utils.clip_grad_norm_, 0.5)
    norm = np.linalg.norm(4 * draw(H) ** 3)
    same(np.linalg.norm(ours), 0.5)
    same(ours * norm / (norm + 1e-6), theirs)


def clip_value(torch: Any) -> None:
    same(*clipped(torch, optim.clip_by_value, torch.nn.utils.clip_grad_value_, 0.5))


def rates(torch: Any, ours: Callable[[Any], Any], theirs: Callable[[Any, Any], Any], steps: int) -> tuple[Any, Any]:
    optimizer = optim.SGD([Parameter(draw(H))], lr=0.8)
    other = torch.optim.SGD([torch.tensor(draw(H), requires_grad=True)], lr=0.8)
    schedule, their_schedule = ours(optimizer), theirs(torch.optim.lr_scheduler, other)
    found: list[list[float]] = [[], []]
    for _ in range(steps):
        schedule.step()
        other.step()
        their_schedule.step()
        found[0].append(optimizer.lr)
        found[1].append(other.param_groups[0]["lr"])
    return found[0], found[1]


def step_lr(torch: Any) -> None:
    same(*rates(torch, lambda o: optim.StepDecay(o, 2, 0.3), lambda s, o: s.StepLR(o, 2, 0.3), 5))
    assert usual(optim.StepDecay, "factor") == 0.5 and usual(torch.optim.lr_scheduler.StepLR, "gamma") == 0.1


def exponential_lr(torch: Any) -> None:
    same(*rates(torch, lambda o: optim.ExponentialDecay(o, 0.9), lambda s, o: s.ExponentialLR(o, 0.9), 5))


def cosine_lr(torch: Any) -> None:
    def ours(optimizer: Any) -> Any:
        return optim.CosineDecay(optimizer, 4, final=0.25)

    same(*rates(torch, ours, lambda s, o: s.CosineAnnealingLR(o, 4, eta_min=0.25 * 0.8), 4))
    mine, other = rates(torch, ours, lambda s, o: s.CosineAnnealingLR(o, 4, eta_min=0.25 * 0.8), 5)
    assert mine[4] == mine[3] and other[4] > other[3]


# --- Derivatives --------------------------------------------------------------------------------------------


def of_both(functions: Any) -> tuple[Any, Any]:
    """A function of a vector, written for us and for another library."""

    def ours(x: Any) -> Any:
        return (ops.sin(x) * x**3).sum()

    def theirs(x: Any) -> Any:
        return (functions.sin(x) * x**3).sum()

    return ours, theirs


def torch_grad(torch: Any) -> None:
    ours, theirs = of_both(torch)
    x = torch.tensor(draw(H))
    same(tg.grad(ours)(draw(H)), torch.func.grad(theirs)(x))
    second = torch.func.grad(torch.func.grad(lambda x: theirs(x[None])))(x[0])
    same(tg.grad(tg.grad(lambda x: ours(x.reshape(1))))(draw(H)[0]), second)


def torch_vjp(torch: Any) -> None:
    _, pullback = tg.vjp(ops.tanh, draw(H))
    found = pullback(draw(H, seed=2))
    _, theirs = torch.func.vjp(torch.tanh, torch.tensor(draw(H)))
    assert type(found) is tuple and len(found) == 1
    same(found[0], theirs(torch.tensor(draw(H, seed=2)))[0])


def torch_jvp(torch: Any) -> None:
    points = torch.tensor(draw(H)), torch.tensor(draw(H, seed=2))
    expected = torch.func.jvp(torch.tanh, points[:1], points[1:])
    for a, b in zip(tg.jvp(ops.tanh, (draw(H),), (draw(H, seed=2),)), expected, strict=True):
        same(a, b)


def torch_jacobian(torch: Any) -> None:
    same(tg.jacobian(ops.tanh)(draw(H)), torch.func.jacrev(torch.tanh)(torch.tensor(draw(H))))


def torch_hvp(torch: Any) -> None:
    ours, theirs = of_both(torch)
    value, expected = torch.autograd.functional.hvp(theirs, torch.tensor(draw(H)), torch.tensor(draw(H, seed=2)))
    same(value, ours(Tensor(draw(H))))
    same(tg.hvp(ours, draw(H), draw(H, seed=2)), expected)


# --- What is in no table of numbers -------------------------------------------------------------------------


def variance(torch: Any) -> None:
    same(ops.var(draw(H)) * H / (H - 1), torch.var(torch.tensor(draw(H))))


def largest(torch: Any) -> None:
    x, y = Tensor([1.0, 3.0, 3.0], requires_grad=True), torch.tensor([1.0, 3.0, 3.0], requires_grad=True)
    ops.max(x).backward()
    torch.amax(y).backward()
    same(x.grad, y.grad)


def gathered(torch: Any) -> None:
    indices = np.array([[1, 0], [3, 3]])
    same(ops.take_along_axis(draw(2, 4), indices, 1), torch.gather(torch.tensor(draw(2, 4)), 1, torch.tensor(indices)))


def padded(torch: Any) -> None:
    found, lengths = data.padded([[1, 2, 3], [4]])
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
    same(found, expected)
    assert lengths.tolist() == [3, 1]


PYTORCH: dict[str, dict[str, Check]] = {
    "Layers": {
        "torch.nn.RNN": recurrent("RNN"),
        "torch.nn.GRU": recurrent("GRU", recurrent_bias=True),
        "torch.nn.LSTM": recurrent("LSTM"),
        "torch.nn.Linear": linear,
        "torch.nn.Embedding": embedding,
        "torch.nn.Dropout": dropout,
        "torch.nn.LayerNorm": layer_norm,
        "torch.nn.RMSNorm": rms_norm,
        "torch.nn.RNNCell": cell,
    },
    "Losses": {
        "torch.nn.functional.cross_entropy": cross_entropy,
        "torch.nn.functional.mse_loss": mse,
        "torch.nn.functional.binary_cross_entropy_with_logits": binary_cross_entropy,
        "torch.nn.functional.ctc_loss": ctc,
        "torch.nn.AdaptiveLogSoftmaxWithLoss": adaptive,
    },
    "Optimisers": {
        "torch.optim.SGD": sgd,
        "torch.optim.RMSprop": optimiser(
            "RMSprop",
            "RMSprop",
            {"lr": 0.01, "decay": 0.99, "eps": 1e-8, "eps_inside": False},
            {},
            {("decay", "alpha"): (0.9, 0.99), ("lr", "lr"): (1e-3, 1e-2)},
        ),
        "torch.optim.Adam": optimiser("Adam", "Adam", {}, {}, {("lr", "lr"): (1e-3, 1e-3)}),
        "torch.optim.AdamW": optimiser(
            "Adam", "AdamW", {"weight_decay": 0.01}, {}, {("weight_decay", "weight_decay"): (0, 0.01)}
        ),
        "torch.optim.Adagrad": optimiser("AdaGrad", "Adagrad", {}, {}, {}),
        "torch.optim.Adadelta": optimiser("AdaDelta", "Adadelta", {"decay": 0.9}, {}, {("decay", "rho"): (0.95, 0.9)}),
        "torch.nn.utils.clip_grad_norm_": clip_norm,
        "torch.nn.utils.clip_grad_value_": clip_value,
        "torch.optim.lr_scheduler.StepLR": step_lr,
        "torch.optim.lr_scheduler.ExponentialLR": exponential_lr,
        "torch.optim.lr_scheduler.CosineAnnealingLR": cosine_lr,
    },
    "Derivatives": {
        "torch.func.grad": torch_grad,
        "torch.func.vjp": torch_vjp,
        "torch.func.jvp": torch_jvp,
        "torch.func.jacrev": torch_jacobian,
        "torch.autograd.functional.hvp": torch_hvp,
    },
    "The rest": {
        "torch.var": variance,
        "torch.amax": largest,
        "torch.gather": gathered,
        "torch.nn.utils.rnn.pad_sequence": padded,
    },
}


@pytest.mark.parametrize("table", PYTORCH)
def test_every_row_of_a_table_of_numbers_is_compared(table: str) -> None:
    names = [row[0].strip("`") for row in rows("PyTorch", table)]
    assert set(PYTORCH[table]) <= set(names)
    assert table == "The rest" or list(PYTORCH[table]) == names


@pytest.mark.parametrize("name", [name for checks in PYTORCH.values() for name in checks])
def test_what_is_said_of_pytorch_holds(name: str) -> None:
    torch = library("torch")
    check = next(checks[name] for checks in PYTORCH.values() if name in checks)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        check(torch)


# --- JAX ----------------------------------------------------------------------------------------------------


def jax_scan(jax: Any) -> None:
    W = draw(H, H) / 2

    def ours(W: Any) -> Any:
        last, hs = tg.scan(lambda h, x: (ops.tanh(h @ W + x),) * 2, Tensor(draw(B, H)), draw(T, B, H))
        return last.sum() + (hs * draw(T, B, H, seed=3)).sum()

    def theirs(W: Any) -> Any:
        last, hs = jax.lax.scan(lambda h, x: (jax.numpy.tanh(h @ W + x),) * 2, draw(B, H), draw(T, B, H))
        return last.sum() + (hs * draw(T, B, H, seed=3)).sum()

    same(ours(Tensor(W)), theirs(W))
    same(tg.grad(ours)(W), jax.grad(theirs)(W))
    counted = jax.lax.scan(lambda h, _: (2 * h, h), 1.0, None, length=4)
    for a, b in zip(tg.scan(lambda h, _: (2 * h, h), Tensor(1.0), None, length=4), counted, strict=True):
        same(a, b)
    back = jax.lax.scan(lambda h, x: (h + x, h), np.float64(0), draw(T), reverse=True)
    for a, b in zip(tg.scan(lambda h, x: (h + x, h), Tensor(np.float64(0)), draw(T), reverse=True), back, strict=True):
        same(a, b)
    assert jax.lax.scan(lambda h, x: (h + x, h), 0.0, np.zeros(0))[1].shape == (0,)
    with pytest.raises(ValueError, match="at least 1"):
        tg.scan(lambda h, x: (h + x, h), Tensor(0.0), np.zeros(0))


def jax_grad(jax: Any) -> None:
    ours, theirs = of_both(jax.numpy)
    same(tg.grad(ours)(draw(H)), jax.grad(theirs)(draw(H)))


def jax_value_and_grad(jax: Any) -> None:
    ours, theirs = of_both(jax.numpy)
    for a, b in zip(tg.value_and_grad(ours)(draw(H)), jax.value_and_grad(theirs)(draw(H)), strict=True):
        same(a, b)


def jax_vjp(jax: Any) -> None:
    (found,), (expected,) = (
        f(g, draw(H))[1](draw(H, seed=2)) for f, g in ((tg.vjp, ops.tanh), (jax.vjp, jax.numpy.tanh))
    )
    same(found, expected)


def jax_jvp(jax: Any) -> None:
    expected = jax.jvp(jax.numpy.tanh, (draw(H),), (draw(H, seed=2),))
    for a, b in zip(tg.jvp(ops.tanh, (draw(H),), (draw(H, seed=2),)), expected, strict=True):
        same(a, b)


def jax_jacobian(jax: Any) -> None:
    same(tg.jacobian(ops.tanh)(draw(H)), jax.jacobian(jax.numpy.tanh)(draw(H)))


def jax_hessian(jax: Any) -> None:
    ours, theirs = of_both(jax.numpy)
    whole = jax.hessian(theirs)(draw(H))
    same(tg.hvp(ours, draw(H), draw(H, seed=2)), whole @ draw(H, seed=2))
    same(tg.hvp(ours, draw(H), draw(H, seed=2)), jax.jvp(jax.grad(theirs), (draw(H),), (draw(H, seed=2),))[1])
    same(tg.jacobian(tg.grad(ours))(draw(H)), whole)


def jax_take(jax: Any) -> None:
    assert np.isnan(jax.numpy.take(np.ones(3), 7))
    with pytest.raises(IndexError):
        ops.take(Tensor(np.ones(3)), 7)


def jax_array(jax: Any) -> None:
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert jax.numpy.array(np.ones(3)).dtype == np.float32
    assert Tensor(np.ones(3)).dtype == np.float64


def jax_gelu(jax: Any) -> None:
    same(ops.gelu(draw(H), approximate="tanh"), jax.nn.gelu(draw(H)))
    same(ops.gelu(draw(H)), jax.nn.gelu(draw(H), approximate=False))


JAX: dict[str, Check] = {
    "jax.lax.scan": jax_scan,
    "jax.grad": jax_grad,
    "jax.value_and_grad": jax_value_and_grad,
    "jax.vjp": jax_vjp,
    "jax.jvp": jax_jvp,
    "jax.jacobian": jax_jacobian,
    "jax.hessian": jax_hessian,
    "jax.numpy.take": jax_take,
    "jax.numpy.array": jax_array,
    "jax.nn.gelu": jax_gelu,
}


@pytest.mark.parametrize("name", JAX)
def test_what_is_said_of_jax_holds(name: str) -> None:
    assert f"``{name}``" in [row[0] for row in rows("JAX")]
    jax = library("jax")
    with jax.enable_x64(True):
        JAX[name](jax)
