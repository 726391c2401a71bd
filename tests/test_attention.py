"""Attention and pooling: their equations, their masks, and what a cell makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, check_cell, ops
from tinygrad_rnn.models import (
    LSTM,
    AdditiveAttention,
    AttentionPooling,
    Cell,
    DotAttention,
    GeneralAttention,
    Recurrent,
    last,
    masked_max,
    masked_mean,
)
from tinygrad_rnn.models.attention import Attention

B, S, Q, M, A = 3, 4, 2, 5, 6


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def made(kind: str) -> tuple[Attention, Any, Any]:
    """An attention in float64, a query and a memory that fit."""
    options: Any = {"dtype": np.float64, "rng": rng(1)}
    kinds: dict[str, Attention] = {
        "additive": AdditiveAttention(Q, M, A, **options),
        "dot": DotAttention(),
        "general": GeneralAttention(Q, M, **options),
    }
    query = rng(2).standard_normal((B, M if kind == "dot" else Q))
    return kinds[kind], query, rng(3).standard_normal((B, S, M))


def score(attention: Any, q: Any, m: Any) -> Any:
    """The papers' equations, for one query and one entry."""
    if isinstance(attention, AdditiveAttention):
        return attention.v.data @ np.tanh(attention.W.data.T @ q + attention.U.data.T @ m)
    return q @ (attention.W.data @ m if isinstance(attention, GeneralAttention) else m)


every_kind = pytest.mark.parametrize("kind", ["additive", "dot", "general"])


@every_kind
def test_it_is_its_papers_equations(kind: str) -> None:
    attention, query, memory = made(kind)
    mask = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]], bool)
    for masked in (False, True):
        found, weights = attention(Tensor(query), Tensor(memory), Tensor(mask) if masked else None)
        for b in range(B):
            entries = [s for s in range(S) if not masked or mask[b, s]]
            e = np.exp([score(attention, query[b], memory[b, s]) for s in entries])
            expected = np.zeros(S)
            expected[entries] = e / e.sum()
            np.testing.assert_allclose(weights.numpy()[b], expected, rtol=1e-12)
            np.testing.assert_allclose(found.numpy()[b], expected @ memory[b], rtol=1e-12)


@every_kind
def test_keys_that_were_calculated_before_change_nothing(kind: str) -> None:
    attention, query, memory = made(kind)
    m = Tensor(memory)
    for one, other in zip(
        attention(Tensor(query), m), attention(Tensor(query), m, None, attention.keys(m)), strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    if kind == "additive":
        assert not np.allclose(attention(Tensor(query), m, None, attention.keys(-m))[1].numpy(), one.numpy())


@every_kind
def test_derivatives_to_second_order_agree_with_finite_differences(kind: str) -> None:
    attention, query, memory = made(kind)
    names = [name for name, _ in attention.named_parameters()]
    mask = np.array([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 1, 0]], bool)

    def total(query: Tensor, memory: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        return attention.with_values(dict(zip(names, values, strict=True)))(query, memory, mask)

    weights = [Tensor(p.data) for p in attention.parameters()]
    tg.gradcheck(total, Tensor(query), Tensor(memory), *weights, order=2)


@every_kind
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_the_mask_leaves_out_changes_nothing_and_a_row_without_entries_finds_nothing(
    kind: str, dtype: Any
) -> None:
    attention, query, memory = made(kind)
    attention.astype(dtype)
    mask = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    found = []
    for filler in (0.0, 60.0):
        q = Tensor(query.astype(dtype), requires_grad=True)
        m = Tensor(np.where(mask[..., None], memory, filler).astype(dtype), requires_grad=True)
        read, weights = attention(q, m, mask)
        read.sum().backward()
        assert read.dtype == dtype and np.isfinite(m.grad).all() and np.isfinite(q.grad).all()
        found.append([read.numpy(), weights.numpy(), q.grad, m.grad])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not found[0][0][2].any() and not found[0][1][2].any() and not found[0][3][~mask].any()


@every_kind
def test_shapes_that_do_not_fit_are_named(kind: str) -> None:
    attention, query, memory = made(kind)
    with pytest.raises(ValueError, match=r"must share B, got \(2, \d\) and \(3, 4, 5\)"):
        attention(Tensor(query[:2]), Tensor(memory))
    with pytest.raises(ValueError, match=r"mask must have the shape \(3, 4\), got \(3, 5\)"):
        attention(Tensor(query), Tensor(memory), np.ones((3, 5), bool))


def test_a_dot_of_other_sizes_names_what_has_a_matrix_between_them() -> None:
    with pytest.raises(ValueError, match="one size, got 2 and 5; GeneralAttention has a matrix"):
        DotAttention()(Tensor(np.ones((3, 2))), Tensor(np.ones((3, 4, 5))))


class Reader(Cell):
    """Attends to its context by its state."""

    gates = "n"

    def setup(self, kind: str = "additive") -> None:
        options: Any = {"rng": self.rng}
        self.attention: Attention = GeneralAttention(self.hidden_size, 2, **options)
        if kind == "additive":
            self.attention = AdditiveAttention(self.hidden_size, 2, 3, **options)

    @property
    def context_shapes(self) -> Any:
        return [(3, 2), ((3,), bool)]

    def step(self, x: Tensor, h: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
        found, _ = self.attention(h, *context)
        return ops.tanh(self.n(x, h) + found.sum(axis=1, keepdims=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["additive", "general"])
def test_a_cell_that_attends_passes_the_battery_compiled(kind: str) -> None:
    report = check_cell(Reader, 1, 2, show=False, kind=kind)
    assert all(row.held is not False for row in report.rows)
    (compiled,) = [row for row in report.rows if row.what.startswith("compiled")]
    assert compiled.held is True


# --- Pooling ---------------------------------------------------------------------------------------------------


@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4), directions=st.sampled_from([1, 2]))
@settings(max_examples=20)
def test_pooling_is_that_of_each_row_alone_whatever_stands_past_its_end(lengths: list[int], directions: int) -> None:
    outputs = rng(4).standard_normal((4, len(lengths), 4))
    wild = np.where(np.arange(4)[:, None, None] < np.array(lengths)[:, None], outputs, np.nan)
    x = Tensor(wild, requires_grad=True)
    attended = pooling(rng(5).standard_normal(4))
    pooled = [masked_mean(x, lengths), masked_max(x, lengths), last(x, lengths, directions), attended(x, lengths)[0]]
    for b, n in enumerate(lengths):
        row = outputs[:n, b]
        if not n:
            assert not any(p.numpy()[b].any() for p in pooled)
            continue
        ends = row[-1] if directions == 1 else np.concatenate([row[-1, :2], row[0, 2:]])
        fits = np.exp(row @ attended.query.data)
        means = row.mean(axis=0), row.max(axis=0), ends, (fits / fits.sum()) @ row
        for found, expected in zip(pooled, means, strict=True):
            np.testing.assert_allclose(found.numpy()[b], expected, rtol=1e-12)
    ops.concatenate([p.reshape(-1) for p in pooled]).sum().backward()
    assert np.isfinite(x.grad).all() and not x.grad[np.isnan(wild)].any()


def pooling(query: Any) -> AttentionPooling:
    made = AttentionPooling(len(query), dtype=np.float64)
    made.query.data = np.asarray(query, dtype=np.float64)
    return made


def test_attention_weighs_the_steps_of_a_row_and_no_others_and_at_first_all_alike() -> None:
    outputs, lengths = Tensor(rng(4).standard_normal((4, 3, 2))), [4, 2, 0]
    _, weights = pooling([0.3, -2.0])(outputs, lengths)
    found = weights.numpy()
    assert found.shape == (3, 4) and (found[0] > 0).all() and not found[1, 2:].any() and not found[2].any()
    np.testing.assert_allclose(found.sum(axis=1), [1, 1, 0], rtol=1e-12)
    np.testing.assert_array_equal(
        AttentionPooling(2)(outputs, lengths)[1].numpy(), [[0.25] * 4, [0.5, 0.5, 0, 0], [0] * 4]
    )
    with pytest.raises(ValueError, match="lengths must be 3 whole numbers between 0 and 4"):
        AttentionPooling(2)(outputs, [5, 0, 0])


def test_the_last_of_both_directions_is_the_state_that_the_layer_ends_with() -> None:
    layer, lengths = LSTM(2, 3, bidirectional=True, dtype=np.float64, rng=rng(5)), [4, 2, 3]
    outputs, state = layer(rng(6).standard_normal((4, 3, 2)), lengths=lengths)
    np.testing.assert_allclose(last(outputs, lengths, 2).numpy(), np.concatenate(state[0].numpy(), axis=1), rtol=1e-12)


def test_pooling_of_no_steps_gives_zeros_and_directions_that_do_not_fit_are_named() -> None:
    empty = Tensor(np.zeros((0, 2, 4)))
    for pool in (masked_mean, masked_max, last, lambda *given: AttentionPooling(4)(*given)[0]):
        assert pool(empty, [0, 0]).numpy().tolist() == np.zeros((2, 4)).tolist()
    with pytest.raises(ValueError, match="directions must be 1 or 2, dividing 3 features, got 2"):
        last(Tensor(np.zeros((1, 1, 3))), [1], 2)


def test_a_layer_with_a_context_and_pooling_learns_end_to_end() -> None:
    layer = Recurrent(Reader, 1, 4, dtype=np.float64, rng=rng(7))
    xs, memory = rng(8).standard_normal((3, 2, 1)), rng(9).standard_normal((2, 3, 2))
    outputs, _ = layer(xs, lengths=[3, 2], context=(memory, np.ones((2, 3), bool)))
    masked_mean(outputs, [3, 2]).sum().backward()
    assert all(np.any(p.grad) for p in layer.parameters())
