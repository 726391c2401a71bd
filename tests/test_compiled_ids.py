"""Ids that a step makes, reads a table with and is asked for: feedback, scheduled sampling, losses in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from example_counts import part_of_the_examples
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, RowSparse, Tensor, no_grad, ops, scan
from tinygrad_rnn.models import Embedding, GRUCell

V, E, H = 5, 3, 4


def softmax_loss(h: Any, W: Any, targets: Any, **options: Any) -> Any:
    return ops.softmax_cross_entropy(h @ W, targets, reduction="none", **options)


def linear_loss(h: Any, W: Any, targets: Any, **options: Any) -> Any:
    return ops.linear_cross_entropy(h, W, None, targets, reduction="none", **options)


LOSSES: dict[str, Callable[..., Any]] = {"softmax": softmax_loss, "linear": linear_loss}


class Decoder:
    """A cell that reads its own last token, or now and then the right one, and stops at token 0."""

    def __init__(self, T: int, B: int, seed: int = 0, padding: int | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.embedding = Embedding(V, E, padding, rng=rng, dtype=np.float64)
        self.cell = GRUCell(E, H, rng=rng, dtype=np.float64)
        self.W = Parameter(rng.standard_normal((H, V)))
        self.gold = Tensor(rng.integers(0, V, (T, B)))
        self.told = Tensor(rng.random((T, B)) < 0.5)
        self.noise = Tensor(rng.gumbel(size=(T, B, V)))
        self.weights = Tensor((rng.random((T, B)) < 0.7) * rng.random((T, B)))
        self.first = (Tensor(np.zeros((B, H))), Tensor(np.zeros(B, np.int64)), Tensor(np.zeros(B, bool)))

    @property
    def parameters(self) -> list[Parameter]:
        return [self.embedding.weight, self.W, *self.cell.parameters()]

    def run(self, feedback: str, loss: str, compiled: bool, **options: Any) -> tuple[Any, Any, Any]:
        """The last state, the losses (T,B) and the tokens (T,B)."""

        def step(state: Any, x: Any) -> Any:
            (before, ids, done), (gold, told, noise, weights) = state, x
            h = ops.where(done[:, None], before, self.cell.step(self.embedding(ids), before))
            logits = (h @ self.W).detach()
            token = ops.argmax(logits + noise if feedback == "gumbel" else logits, axis=-1)
            if feedback == "scheduled":
                token = ops.where(told, gold, token)
            weighed = {"weights": weights} if options.get("weighed") else {}
            ignored = {"ignore_index": 1} if options.get("ignored") else {}
            lost = LOSSES[loss](h, self.W, gold, **weighed, **ignored, label_smoothing=options.get("smoothing", 0.0))
            return (h, token, ops.logical_or(done, token == 0)), (lost, token)

        with tg.compiled(compiled):
            (h, _, _), (losses, tokens) = scan(step, self.first, (self.gold, self.told, self.noise, self.weights))
        return h, losses, tokens


def gradients(model: Decoder, *run: Any, **options: Any) -> tuple[Any, Any, list[Any]]:
    for p in model.parameters:
        p.grad = None
    h, losses, tokens = model.run(*run, **options)
    (losses.sum() + (h**2).sum()).backward()
    found = [p.grad for p in model.parameters]
    assert isinstance(found[0], RowSparse)
    return losses.numpy(), tokens.numpy(), [found[0].dense(), *found[1:]]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("feedback", ["argmax", "gumbel", "scheduled"])
@part_of_the_examples(0.4)
@given(
    sizes=st.tuples(st.integers(2, 5), st.integers(1, 3)),
    seed=st.integers(0, 99),
    flags=st.tuples(*[st.booleans()] * 3),
    smoothing=st.sampled_from([0.0, 0.2]),
)
def test_a_step_that_feeds_its_own_tokens_back_is_compiled_and_is_the_plain_loop(
    feedback: str, loss: str, sizes: tuple[int, int], seed: int, flags: tuple[bool, bool, bool], smoothing: float
) -> None:
    weighed, ignored, padded = flags
    options = {"weighed": weighed, "ignored": ignored, "smoothing": smoothing}
    model = Decoder(*sizes, seed, padding=2 if padded else None)
    compiled, plain = (gradients(model, feedback, loss, how, **options) for how in (True, False))
    assert np.array_equal(compiled[1], plain[1])
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-10, atol=1e-12)
    for a, b in zip(compiled[2], plain[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_without_gradients_it_is_compiled_too() -> None:
    model = Decoder(4, 3)
    with no_grad():
        found, plain = (model.run("argmax", "softmax", how) for how in (True, False))
    assert np.array_equal(found[2].numpy(), plain[2].numpy())
    np.testing.assert_allclose(found[1].numpy(), plain[1].numpy(), rtol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("wrong", [-1, V])
def test_ids_outside_the_table_are_found_wherever_they_come_from(compiled: bool, wrong: int) -> None:
    table, first = Embedding(V, E, rng=np.random.default_rng(0)), Tensor(np.zeros((2, E), np.float32))
    ids = np.zeros((3, 2), np.int64)
    ids[1, 1] = wrong

    def reads(state: Any, ids: Any) -> Any:
        return state + table(ids), state

    def makes(state: Any, ids: Any) -> Any:
        return state + table(ops.where(state[:, 0] > 9, 0, ids)), state

    for step in (reads, makes):
        with tg.compiled(compiled), pytest.raises(IndexError, match=rf"Embedding: ids must .* {V - 1}, got {wrong}"):
            scan(step, first, Tensor(ids))


@pytest.mark.parametrize("compiled", [True, False])
def test_targets_outside_the_classes_are_found(compiled: bool) -> None:
    def step(state: Any, target: Any) -> Any:
        return state, ops.softmax_cross_entropy(state, target, reduction="none")

    targets = Tensor(np.array([[0, 1], [2, V]]))
    with tg.compiled(compiled), pytest.raises(IndexError, match=f"targets must lie between 0 and {V - 1}, got {V}"):
        scan(step, Tensor(np.zeros((2, V), np.float32)), targets)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_rows_that_do_not_count_reach_no_gradient_in_a_loop_either(compiled: bool, loss: str, reduction: str) -> None:
    rng = np.random.default_rng(5)
    W, xs = Parameter(rng.standard_normal((H, V))), rng.standard_normal((3, 2, H))
    targets = np.array([[0, 9], [9, 2], [9, 9]])
    wild = np.where((targets == 9)[..., None], np.nan, xs)

    def step(state: Any, x: Any) -> Any:
        h, target = x
        arguments = (h + W[:, 0],) if loss == "softmax" else (h, W, None)
        function: Any = ops.softmax_cross_entropy if loss == "softmax" else ops.linear_cross_entropy
        return state + 1, function(*arguments, target, ignore_index=9, reduction=reduction)

    found = []
    for given_xs in (xs, wild):
        W.grad, x = None, Tensor(given_xs, requires_grad=True)
        with tg.compiled(compiled):
            _, losses = scan(step, Tensor(np.zeros(1)), (x, Tensor(targets)))
        losses.sum().backward()
        found.append((losses.numpy(), W.grad, x.grad))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert not found[1][2][targets == 9].any()


def test_a_loss_in_a_loop_is_that_of_the_whole_and_is_taken_out_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    xs, targets, W = rng.standard_normal((4, 3, H)), rng.integers(0, V, (4, 3)), rng.standard_normal((H, V))
    U = Parameter(rng.standard_normal((H, H)))

    def step(h: Any, x: Any) -> Any:
        h = ops.tanh(x[0] + h @ U)
        return h, (h, ops.softmax_cross_entropy(h @ W, x[1], reduction="none"))

    first = Tensor(np.zeros((3, H)))
    _, (hs, losses) = scan(step, first, (Tensor(xs), Tensor(targets)))
    np.testing.assert_allclose(losses.numpy(), softmax_loss(hs, W, targets).numpy(), rtol=1e-12)
    tg.explain(scan, step, first, (Tensor(xs), Tensor(targets)))
    after, _, _ = capsys.readouterr().out.partition("after the loop")[2].partition("Backward")
    assert "cross_entropy_rows" in after


@pytest.mark.slow
def test_second_derivatives_through_a_loss_in_a_loop_agree_with_finite_differences() -> None:
    rng = np.random.default_rng(2)
    targets = Tensor(rng.integers(0, V, (3, 2)))

    def total(U: Tensor, xs: Tensor) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = ops.tanh(x[0] + h @ U)
            return h, ops.softmax_cross_entropy(h, x[1], ignore_index=0)

        return scan(step, Tensor(np.zeros((2, V))), (xs, targets))[1].sum()

    tg.gradcheck(total, Tensor(rng.standard_normal((V, V))), Tensor(rng.standard_normal((3, 2, V))), order=2)
