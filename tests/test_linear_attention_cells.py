"""Cells of linear attention over whole sequences, outputs included: against attention to all inputs at once, and what
they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import F8, FORMULAS, B, H, I, affine, close, drawn, given, holds_in_single_precision, logistic, stepped
from equations_of_linear_attention import ttt_model

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.variants import (
    DeltaNetCell,
    FastWeightsCell,
    GatedDeltaNetCell,
    GatedLinearAttentionCell,
    RWKV4Cell,
    TTTLinearCell,
)

T = 9
ALWAYS = 1000.0
KINDS: list[type[Cell]] = [
    FastWeightsCell,
    RWKV4Cell,
    GatedLinearAttentionCell,
    DeltaNetCell,
    GatedDeltaNetCell,
    TTTLinearCell,
]


def run(cell: Any, xs: F8) -> F8:
    """The outputs of a layer of the cell."""
    layer = Recurrent(type(cell), cell.input_size, cell.hidden_size, dtype=xs.dtype)
    layer.cells[0] = cell
    outputs: F8 = layer(Tensor(xs))[0].numpy()
    return outputs


def inputs(steps: int = T, seed: int = 3, features: int = I) -> F8:
    return np.random.default_rng(seed).standard_normal((steps, B, features))


def weights_of(cell: Any) -> dict[str, F8]:
    return {name: p.data for name, p in cell.named_parameters()}


def heads_of(values: F8, heads: int) -> F8:
    """(T,B,H) -> (heads,B,T,D)."""
    return values.reshape(*values.shape[:2], heads, -1).transpose(2, 1, 0, 3)


# --- Attention to all inputs at once ------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_gated_linear_attention_is_its_parallel_form(heads: int) -> None:
    """Yang et al. 2024, eq. 4: (Q * b) (K / b)^T under a mask, b being the products of all gates so far."""
    cell, xs = drawn(GatedLinearAttentionCell, heads=heads), inputs()
    w = weights_of(cell)
    q, k, v, a = (heads_of(affine(w, name, xs), heads) for name in "qkva")
    b = np.cumprod(logistic(a) ** (1 / 16), axis=2)
    attention = np.tril((q * b) @ (k / b).swapaxes(2, 3))
    expected = (attention @ v).transpose(2, 1, 0, 3).reshape(T, B, H)
    close([run(cell, xs)], [expected])


def test_gated_linear_attention_whose_gates_are_open_is_linear_attention() -> None:
    cell, xs = drawn(GatedLinearAttentionCell), inputs()
    cell.a.b.data = np.full(H, ALWAYS)
    w = weights_of(cell)
    q, k, v = (affine(w, name, xs) for name in "qkv")
    expected = [sum((q[t] * k[s]).sum(axis=1, keepdims=True) * v[s] for s in range(t + 1)) for t in range(T)]
    close([run(cell, xs)], [np.array(expected)])


def rwkv_by_hand(w: dict[str, F8], xs: F8) -> F8:
    """Peng et al. 2023: the mean of the v of all inputs so far, each with its weight, beside the largest of them."""
    before = np.concatenate([np.zeros_like(xs[:1]), xs[:-1]])
    r, k, v = (affine(w, name, w[f"mu.{name}"] * xs + (1 - w[f"mu.{name}"]) * before) for name in "rkv")
    fall, outputs = np.exp(w["w_log"]), []
    for t in range(len(xs)):
        exponents = np.array([-(t - 1 - s) * fall + k[s] for s in range(t)] + [w["u"] + k[t]])
        weights = np.exp(exponents - exponents.max(axis=0))
        outputs.append(logistic(r[t]) * (weights * v[: t + 1]).sum(axis=0) / weights.sum(axis=0))
    return np.array(outputs)


@pytest.mark.parametrize("features", [I, H])
def test_rwkv_is_the_weighted_mean_over_all_inputs_so_far(features: int) -> None:
    cell, xs = drawn(RWKV4Cell, features), inputs(features=features)
    close([run(cell, xs)], [rwkv_by_hand(weights_of(cell), xs)])


@pytest.mark.parametrize("scale", [100.0, -100.0])
def test_rwkv_is_that_mean_where_the_exponential_of_a_key_overflows_or_vanishes(scale: float) -> None:
    cell, xs = drawn(RWKV4Cell), inputs()
    cell.k.b.data = np.full(H, 8 * scale)
    cell.k.U.data = cell.k.U.data * scale
    w = weights_of(cell)
    keys = affine(w, "k", xs)
    assert (keys.max() > 710) if scale > 0 else (keys.min() < -746)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        close([run(cell, xs)], [rwkv_by_hand(w, xs)], 1e-10)


def test_a_constant_added_to_all_keys_changes_no_mean() -> None:
    cell, xs = drawn(RWKV4Cell), inputs()
    plain = run(cell, xs)
    for constant in (-ALWAYS, ALWAYS):
        cell.k.b.data = cell.k.b.data + constant
        np.testing.assert_allclose(run(cell, xs), plain, rtol=1e-9, atol=1e-9)
        cell.k.b.data = cell.k.b.data - constant


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_fast_weights_are_attention_to_all_states_before(inner_steps: int) -> None:
    """Ba et al. 2016, eq. 4: A(t) h is the sum of the states before, each by its product with h and its age."""
    cell, xs = drawn(FastWeightsCell, inner_steps=inner_steps, decay=0.8, eta=0.3), inputs()
    w = weights_of(cell)
    states = [np.zeros((B, H))]
    for t in range(T):
        boundary = affine(w, "n", xs[t], states[-1])
        h = np.maximum(boundary, 0)
        for _ in range(inner_steps):
            attended = sum(
                0.3 * 0.8 ** (t - s) * (past * h).sum(axis=1, keepdims=True) * past for s, past in enumerate(states)
            )
            z = boundary + attended
            z = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
            h = np.maximum(w["norm.gain"] * z + w["norm.bias"], 0)
        states.append(h)
    close([run(cell, xs)], [np.array(states[1:])], 1e-10)


# --- The delta rule -----------------------------------------------------------------------------------------


def test_a_delta_network_reads_the_value_that_was_written_last_under_a_key_and_keeps_those_of_the_others() -> None:
    """The input is a key and a value, side by side; the query is the key, and all is written."""
    cell, rng = drawn(DeltaNetCell, features=2 * H), np.random.default_rng(0)
    for gate in (cell.q, cell.k):
        gate.U.data, gate.b.data = np.vstack([30 * np.eye(H), np.zeros((H, H))]), np.zeros(H)
    cell.v.U.data, cell.v.b.data = np.vstack([np.zeros((H, H)), np.eye(H)]), np.zeros(H)
    cell.beta.U.data, cell.beta.b.data = np.zeros((2 * H, 1)), np.full(1, ALWAYS)
    keys, values = [0, 2, 3, 0, 5, 2], rng.standard_normal((6, B, H))
    xs = np.concatenate([np.repeat(np.eye(H)[keys][:, None], B, axis=1), values], axis=2)
    np.testing.assert_allclose(run(cell, xs), values, rtol=1e-7)
    S = rng.standard_normal((B, 1, H, H))
    expected = S.copy()
    for x, key, value in zip(xs, keys, values, strict=True):
        (S,) = stepped(cell, x, [S])
        expected[:, 0, key] = value
        np.testing.assert_allclose(S, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("heads", [1, 3])
def test_a_gated_delta_network_whose_gate_is_one_is_a_delta_network(heads: int) -> None:
    gated, plain = drawn(GatedDeltaNetCell, heads=heads), drawn(DeltaNetCell, heads=heads)
    for name in ("q", "k", "v", "beta"):
        for part in ("U", "b"):
            getattr(getattr(plain, name), part).data = getattr(getattr(gated, name), part).data
    xs = inputs()
    assert abs(run(gated, xs) - run(plain, xs)).max() > 0.01
    gated.a.b.data = np.full(heads, -ALWAYS)
    close([run(gated, xs)], [run(plain, xs)])


def test_a_gated_delta_network_that_writes_nothing_forgets_at_the_rate_of_its_gate() -> None:
    cell = drawn(GatedDeltaNetCell, heads=2)
    cell.beta.b.data = np.full(2, -ALWAYS)
    x, (S,) = given(cell)
    w = weights_of(cell)
    kept = np.exp(-np.exp(w["A_log"]) * np.log1p(np.exp(affine(w, "a", x))))
    assert ((kept > 0.01) & (kept < 0.99)).any()
    close(stepped(cell, x, [S]), [kept[:, :, None, None] * S])


@pytest.mark.parametrize("kind", [DeltaNetCell, GatedDeltaNetCell])
@pytest.mark.parametrize("heads", [1, 2])
def test_what_a_delta_network_puts_out_is_its_memory_at_its_query(kind: type[Cell], heads: int) -> None:
    cell, xs = drawn(kind, heads=heads), inputs()
    w = weights_of(cell)
    S, found = np.zeros((B, heads, H // heads, H // heads)), run(cell, xs)
    for t in range(T):
        (S,) = FORMULAS[kind](w, xs[t], S, heads=heads)
        for b in range(B):
            q = affine(w, "q", xs[t, b])
            q = (q * logistic(q)).reshape(heads, -1)
            q = q / np.sqrt((q * q).sum(axis=1, keepdims=True) + 1e-6)
            close([found[t, b]], [np.concatenate([q[n] @ S[b, n] for n in range(heads)])], 1e-10)


# --- Learning at test time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [1, 2])
def test_what_ttt_linear_puts_out_is_its_model_after_it_learnt_from_the_input(heads: int) -> None:
    cell, xs = drawn(TTTLinearCell, heads=heads), inputs()
    w = weights_of(cell)
    W, found = np.stack([w["W0"]] * B), run(cell, xs)
    for t in range(T):
        (W,) = FORMULAS[TTTLinearCell](w, xs[t], W, heads=heads)
        for b in range(B):
            q = np.split(affine(w, "q", xs[t, b]), heads)
            expected = np.concatenate([ttt_model(w, q[n], W[b, n].T, n) for n in range(heads)])
            close([found[t, b]], [expected], 1e-9)


def test_a_plain_model_with_one_rate_for_all_inputs_learns_by_the_delta_rule() -> None:
    cell, xs = drawn(TTTLinearCell, plain=True, base_rate=0.5), inputs()
    cell.eta.U.data, cell.eta.b.data = np.zeros((I, 1)), np.zeros(1)  # a sigmoid of 1/2
    w = weights_of(cell)
    beta, W, found = 2 * 0.5 * 0.5 / H, np.stack([w["W0"][0]] * B), run(cell, xs)
    for t in range(T):
        q, k, v = (affine(w, name, xs[t]) for name in "qkv")
        for b in range(B):
            W[b] = W[b] + beta * np.outer(k[b], v[b] - k[b] @ W[b])
            close([found[t, b]], [q[b] @ W[b]], 1e-10)


@pytest.mark.parametrize("plain", [False, True])
def test_a_small_step_of_ttt_linear_brings_its_model_nearer_to_what_it_learns(plain: bool) -> None:
    cell = drawn(TTTLinearCell, plain=plain, base_rate=1e-3, heads=2)
    x, (W,) = given(cell)
    k, v = (Tensor(affine(weights_of(cell), name, x).reshape(B, 2, -1)) for name in "kv")
    before, after = (
        ((cell.f(k, Tensor(each)) - v).numpy() ** 2).sum(axis=-1) for each in (W, stepped(cell, x, [W])[0])
    )
    assert (after < before).all()


def test_a_sequence_of_ttt_linear_begins_with_a_matrix_that_is_learnt() -> None:
    layer = Recurrent(TTTLinearCell, I, H, heads=2)
    (cell,) = layer.cells
    np.testing.assert_array_equal(layer.initial_state(B)[0].numpy()[0], np.stack([cell.W0.data] * B))
    layer(inputs().astype(np.float32))[0].sum().backward()
    assert cell.W0.grad.any()


# --- Long, and large ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_steps_and_their_gradients_are_finite_in_single_precision(kind: type[Cell], scale: float) -> None:
    holds_in_single_precision(kind, scale * inputs(1000))


@pytest.mark.parametrize("kind", [GatedLinearAttentionCell, DeltaNetCell, GatedDeltaNetCell, TTTLinearCell])
def test_nothing_is_nothing_to_a_memory(kind: type[Cell]) -> None:
    """Keys of length 0, and no deviation to divide by."""
    layer, xs = Recurrent(kind, I, H), Tensor(np.zeros((3, B, I), np.float32), requires_grad=True)
    outputs, _ = layer(xs)
    outputs.sum().backward()
    np.testing.assert_array_equal(outputs.numpy(), 0)
    assert np.isfinite(xs.grad).all() and all(np.isfinite(p.grad).all() for p in layer.parameters())


# --- What zoneout leaves alone, and options -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_zoneout_leaves_sums_and_memories_alone(kind: type[Cell]) -> None:
    """Of RWKV what it makes of them is all that is zoned out; fast weights are made of such states."""
    plain, zoned = (Recurrent(kind, I, H, zoneout=rate) for rate in (0.0, 0.5))
    xs = inputs(1 if kind is FastWeightsCell else T).astype(np.float32)
    kept = kind.kept.split()
    for rng in (None, np.random.default_rng(0)):
        for name, a, b in zip(plain.states, zoned(xs, rng=rng)[1], plain(xs)[1], strict=True):
            assert np.array_equal(a.numpy(), b.numpy()) == (name in kept)


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (FastWeightsCell, {"inner_steps": 0}, "inner_steps must be a whole number of at least 1, got 0"),
        (FastWeightsCell, {"decay": 1.0}, "decay must be at least 0 and below 1, got 1.0"),
        (FastWeightsCell, {"eta": 0.0}, "eta must be above 0, got 0.0"),
        *(
            (kind, {"heads": heads}, told)
            for kind in (GatedLinearAttentionCell, DeltaNetCell, GatedDeltaNetCell, TTTLinearCell)
            for heads, told in [
                (0, "heads must be a whole number of at least 1, got 0"),
                (4, f"heads must divide hidden_size {H}, got 4"),
            ]
        ),
        (GatedLinearAttentionCell, {"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        (GatedDeltaNetCell, {"steps": (0.1, 0.01)}, r"steps must be two numbers, 0 < low <= high, got \(0.1, 0.01\)"),
        (TTTLinearCell, {"base_rate": 0.0}, "base_rate must be above 0, got 0.0"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind: type[Cell], options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(I, H, **options)
