"""Cells of state spaces over whole sequences, outputs included: against convolutions, loops and what they become."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import F8, B, H, I, affine, close, drawn, given, holds_in_single_precision, logistic, stepped
from equations_of_state_spaces import lru_eigenvalues, s4d_discrete

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent
from tinygrad_rnn.models.variants import LRUCell, MinGRUCell, RGLRUCell, S4DCell, SelectiveSSMCell

T = 12
ALWAYS = 1000.0
KINDS: list[type[Cell]] = [LRUCell, S4DCell, SelectiveSSMCell, RGLRUCell]


def run(cell: Any, xs: F8) -> F8:
    """The outputs of a layer of the cell."""
    layer = Recurrent(type(cell), cell.input_size, cell.hidden_size, dtype=xs.dtype)
    layer.cells[0] = cell
    outputs: F8 = layer(Tensor(xs))[0].numpy()
    return outputs


def inputs(steps: int = T, seed: int = 3) -> F8:
    return np.random.default_rng(seed).standard_normal((steps, B, I))


def weights_of(cell: Any) -> dict[str, F8]:
    return {name: p.data for name, p in cell.named_parameters()}


# --- Over time they are convolutions ------------------------------------------------------------------------


@pytest.mark.parametrize("state_size", [None, 4])
def test_a_linear_recurrent_unit_is_a_convolution_with_its_kernel(state_size: int | None) -> None:
    cell, xs = drawn(LRUCell, state_size=state_size), inputs()
    w = weights_of(cell)
    B_, C = w["B_re"] + 1j * w["B_im"], w["C_re"] + 1j * w["C_im"]
    kernel = [
        ((B_ * np.exp(w["gamma_log"]) * lru_eigenvalues(w) ** age) @ C).real + (w["D.U"] if age == 0 else 0)
        for age in range(T)
    ]
    expected = [sum((xs[t - age] @ kernel[age] for age in range(t + 1)), w["D.b"]) for t in range(T)]
    close([run(cell, xs)], [np.array(expected)])


@pytest.mark.parametrize("discretisation", ["zoh", "bilinear"])
def test_a_diagonal_state_space_is_a_convolution_of_each_channel_with_its_kernel(discretisation: str) -> None:
    cell, xs = drawn(S4DCell, state_size=5, discretisation=discretisation), inputs()
    w = weights_of(cell)
    us = affine(w, "u", xs)
    A, B_bar = s4d_discrete(w, discretisation)
    C = w["C_re"] + 1j * w["C_im"]
    both = [np.concatenate([part, part.conj()], axis=1) for part in (A, B_bar, C)]  # each entry and its conjugate
    kernel = np.array([(both[2] * both[0] ** age * both[1]).sum(axis=1) for age in range(T)])
    assert abs(kernel.imag).max() < 1e-12
    expected = [sum(kernel.real[age] * us[t - age] for age in range(t + 1)) + w["D"] * us[t] for t in range(T)]
    close([run(cell, xs)], [np.array(expected)])


@pytest.mark.parametrize("discretisation", ["zoh", "bilinear"])
def test_a_short_step_of_time_is_exact_in_single_precision(discretisation: str) -> None:
    """Where A - 1 was taken of a rounded A, B would have few digits."""
    wide = S4DCell(I, H, dtype=np.float64, steps=(1e-6, 1e-6), discretisation=discretisation)
    narrow = S4DCell(I, H, steps=(1e-6, 1e-6), discretisation=discretisation)
    for exact, ours in zip(wide.discretised()[2:], narrow.discretised()[2:], strict=True):
        np.testing.assert_allclose(ours.numpy(), exact.numpy(), rtol=1e-5, atol=1e-13)
    np.testing.assert_allclose(narrow.discretised()[2].numpy(), 1e-6, rtol=1e-4)


@pytest.mark.parametrize("discretisation", ["euler", "zoh"])
def test_a_selective_state_space_is_a_loop_over_its_channels_and_their_entries(discretisation: str) -> None:
    cell, xs = drawn(SelectiveSSMCell, state_size=3, discretisation=discretisation), inputs()
    w = weights_of(cell)
    found = run(cell, xs)
    A = -np.exp(w["A_log"])
    for b in range(B):
        h = np.zeros((H, 3))
        for t in range(T):
            u, B_, C = (affine(w, name, xs[t, b]) for name in "uBC")
            delta = np.logaddexp(0, affine(w, "delta", xs[t, b]))
            y = np.zeros(H)
            for d in range(H):
                for n in range(3):
                    grown = np.exp(delta[d] * A[d, n])
                    taken = delta[d] if discretisation == "euler" else (grown - 1) / A[d, n]
                    h[d, n] = grown * h[d, n] + taken * B_[n] * u[d]
                    y[d] += C[n] * h[d, n]
                y[d] += w["D"][d] * u[d]
            close([found[t, b]], [y])


def test_a_real_gated_unit_is_a_sum_of_what_all_later_gates_left_of_each_input() -> None:
    cell, xs = drawn(RGLRUCell), inputs()
    w = weights_of(cell)
    a = logistic(w["a_logit"]) ** (8 * logistic(affine(w, "r", xs)))
    written = np.sqrt(1 - a**2) * logistic(affine(w, "i", xs)) * affine(w, "k", xs)
    expected = [sum(a[s + 1 : t + 1].prod(axis=0) * written[s] for s in range(t + 1)) for t in range(T)]
    close([run(cell, xs)], [np.array(expected)])


# --- What they become ---------------------------------------------------------------------------------------


def test_a_selective_state_space_of_one_entry_is_a_gated_rnn() -> None:
    """Gu & Dao 2023, theorem 1: A = -1, B = 1, held for zero order."""
    cell, gated = drawn(SelectiveSSMCell, state_size=1, discretisation="zoh"), drawn(MinGRUCell)
    cell.A_log.data, cell.B.U.data, cell.B.b.data = np.zeros((H, 1)), np.zeros((I, 1)), np.ones(1)
    for part in ("U", "b"):
        getattr(gated.z, part).data = getattr(cell.delta, part).data
        getattr(gated.n, part).data = getattr(cell.u, part).data
    x, (h,) = given(cell)
    close([stepped(cell, x, [h])[0][:, :, 0]], stepped(gated, x, [h[:, :, 0]]))


@pytest.mark.parametrize("discretisation", ["euler", "zoh"])
def test_a_selective_state_space_whose_step_takes_no_time_stays_as_it_is(discretisation: str) -> None:
    cell = drawn(SelectiveSSMCell, discretisation=discretisation)
    cell.delta.b.data = np.full(H, -ALWAYS)
    x, states = given(cell)
    close(stepped(cell, x, states), states)


def test_the_two_ways_to_discretise_a_selective_state_space_meet_where_steps_are_short() -> None:
    euler, zoh = (drawn(SelectiveSSMCell, discretisation=how) for how in ("euler", "zoh"))
    for cell in (euler, zoh):
        cell.delta.U.data, cell.delta.b.data = np.zeros((I, H)), np.full(H, np.log(1e-4))
    x, (h,) = given(euler)
    new, other = (stepped(cell, x, [0 * h])[0] for cell in (euler, zoh))
    np.testing.assert_allclose(new, other, rtol=1e-2)
    assert abs(new - other).max() > 1e-9


# --- Near the edge of stability -----------------------------------------------------------------------------


def real_gated(logit: float, open_: float) -> Any:
    """In float32, i = 1, the recurrence gate open or shut, and an input of 1 as it is."""
    cell: Any = RGLRUCell(H, H)
    for gate, bias in ((cell.r, open_), (cell.i, ALWAYS)):
        gate.U.data, gate.b.data = np.zeros((H, H), np.float32), np.full(H, bias, np.float32)
    cell.a_logit.data = np.full(H, logit, np.float32)
    return cell


@pytest.mark.parametrize("logit", [3.0, 16.0, 20.0, 40.0])
def test_what_a_real_gated_unit_writes_is_exact_where_its_factor_is_one_to_the_last_bit(logit: float) -> None:
    cell, one = real_gated(logit, ALWAYS), np.ones((B, H), np.float32)
    log_a = -8 * np.log1p(np.exp(-logit))
    h = cell.step(Tensor(one), Tensor(0 * one))
    np.testing.assert_allclose(h.numpy(), float(np.sqrt(-np.expm1(2 * log_a))), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_real_gated_unit_whose_gate_is_shut_keeps_its_state_and_has_a_gradient(dtype: Any) -> None:
    cell, one = real_gated(3.0, -ALWAYS).astype(dtype), np.ones((B, H), dtype)
    h = cell.step(Tensor(one), Tensor(3 * one))
    np.testing.assert_allclose(h.numpy(), 3, rtol=1e-6)
    h.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in cell.parameters())


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_steps_and_their_gradients_are_finite_in_single_precision(kind: type[Cell], scale: float) -> None:
    holds_in_single_precision(kind, scale * inputs(1000))


# --- How they begin -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0.0, 1.0, 2 * np.pi), (0.5, 0.9, 1.0), (0.99, 0.999, 0.3)])
def test_the_factors_of_a_linear_recurrent_unit_begin_evenly_in_their_ring(
    r_min: float, r_max: float, max_phase: float
) -> None:
    cell = LRUCell(1, 4000, dtype=np.float64, r_min=r_min, r_max=r_max, max_phase=max_phase, state_size=4000)
    factors = lru_eigenvalues(weights_of(cell))
    size, angle = abs(factors), np.angle(factors) % (2 * np.pi)
    assert (size >= r_min - 1e-12).all() and (size <= r_max + 1e-12).all() and (angle <= max_phase + 1e-12).all()
    area = (size**2 - r_min**2) / (r_max**2 - r_min**2)
    for share in (area, angle / max_phase):  # even: so many in each tenth, give or take five deviations
        counts, _ = np.histogram(share, 10, (0, 1))
        assert abs(counts - 400).max() < 5 * np.sqrt(4000 * 0.1 * 0.9)
    np.testing.assert_allclose(np.exp(cell.gamma_log.data), np.sqrt(1 - size**2), rtol=1e-9)


def test_a_linear_recurrent_unit_begins_with_states_as_large_as_its_inputs() -> None:
    """Of noise of variance 1, whatever its factors are: this is what gamma is for."""
    cell = LRUCell(8, 50, r_min=0.3, r_max=0.95, rng=np.random.default_rng(0))
    layer = Recurrent(LRUCell, 8, 50)
    layer.cells[0] = cell
    xs = np.random.default_rng(1).standard_normal((200, 500, 8)).astype(np.float32)
    with tg.no_grad():
        _, (re, im) = layer(xs)
    sizes = (re.numpy()[0] ** 2 + im.numpy()[0] ** 2).mean(axis=0)
    fed = (cell.B_re.data**2 + cell.B_im.data**2).sum(axis=0)
    np.testing.assert_allclose(sizes / fed, 1, atol=0.25)


def test_a_diagonal_state_space_begins_as_s4d_lin() -> None:
    cell = S4DCell(I, H, dtype=np.float64, state_size=4, steps=(0.01, 0.2))
    np.testing.assert_allclose(-np.exp(cell.decay_log.data), -0.5)
    np.testing.assert_allclose(cell.frequency.data, [[0, np.pi, 2 * np.pi, 3 * np.pi]] * H)
    assert ((np.exp(cell.delta_log.data) >= 0.01) & (np.exp(cell.delta_log.data) <= 0.2)).all()
    assert np.ptp(cell.delta_log.data) > 0


def test_a_selective_state_space_begins_with_decays_one_two_three_and_steps_within_their_bounds() -> None:
    cell = SelectiveSSMCell(I, H, dtype=np.float64, state_size=3, steps=(0.01, 0.2))
    np.testing.assert_allclose(np.exp(cell.A_log.data), [[1, 2, 3]] * H)
    delta = np.log1p(np.exp(cell.delta.b.data))
    assert ((delta >= 0.01) & (delta <= 0.2)).all() and np.ptp(delta) > 0


def test_the_factors_of_a_real_gated_unit_begin_within_their_bounds() -> None:
    cell = RGLRUCell(I, 200, dtype=np.float64, c=5.0, r_min=0.5, r_max=0.7)
    a = logistic(cell.a_logit.data) ** 5
    assert ((a >= 0.5) & (a <= 0.7)).all() and np.ptp(a) > 0.15


# --- Their states are not units, and options ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [LRUCell, S4DCell, SelectiveSSMCell])
def test_zoneout_leaves_the_states_of_a_state_space_alone(kind: type[Cell]) -> None:
    plain, zoned = (Recurrent(kind, I, H, zoneout=rate) for rate in (0.0, 0.5))
    xs = inputs().astype(np.float32)
    for rng in (None, np.random.default_rng(0)):
        np.testing.assert_array_equal(zoned(xs, rng=rng)[0].numpy(), plain(xs)[0].numpy())


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (LRUCell, {"state_size": 0}, "state_size must be a whole number of at least 1, got 0"),
        (LRUCell, {"r_min": 0.9, "r_max": 0.9}, "r_min and r_max must be 0 <= r_min < r_max <= 1, got 0.9 and 0.9"),
        (LRUCell, {"r_max": 1.1}, "r_min and r_max must be 0 <= r_min < r_max <= 1, got 0.0 and 1.1"),
        (LRUCell, {"max_phase": 0.0}, "max_phase must be above 0 and at most 2 pi, got 0.0"),
        (S4DCell, {"state_size": 1.5}, "state_size must be a whole number of at least 1, got 1.5"),
        (S4DCell, {"discretisation": "euler"}, "discretisation must be one of zoh, bilinear, got 'euler'"),
        (S4DCell, {"steps": (0.1, 0.01)}, r"steps must be two numbers, 0 < low <= high, got \(0.1, 0.01\)"),
        (SelectiveSSMCell, {"state_size": 0}, "state_size must be a whole number of at least 1, got 0"),
        (SelectiveSSMCell, {"discretisation": "none"}, "discretisation must be one of euler, zoh, got 'none'"),
        (SelectiveSSMCell, {"steps": (0.0, 0.1)}, r"steps must be two numbers, 0 < low <= high, got \(0.0, 0.1\)"),
        (RGLRUCell, {"c": 0.0}, "c must be above 0, got 0.0"),
        (RGLRUCell, {"r_max": 1.0}, "r_min and r_max must be 0 < r_min < r_max < 1, got 0.9 and 1.0"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind: type[Cell], options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(I, H, **options)
