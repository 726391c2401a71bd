"""Cells with a time of their own over whole sequences: oscillators beside the solutions of their equations, clocks that
tick, and a memory that is a window of what was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from equations import F8, B, H, I, close, drawn, given, sequence, stepped
from numpy.polynomial import legendre

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, Recurrent, RNNCell
from tinygrad_rnn.models.variants import (
    AntisymmetricRNNCell,
    ClockworkCell,
    CoRNNCell,
    LEMCell,
    LipschitzRNNCell,
    LMUCell,
)


def still(cell: Cell) -> Any:
    """The cell with no weight but 0."""
    for p in cell.parameters():
        p.data = np.zeros_like(p.data)
    return cell


# --- Oscillators ---------------------------------------------------------------------------------------------


def swings(steps: int, **options: Any) -> tuple[F8, F8]:
    """Position and velocity (T,H) of oscillators that nothing drives."""
    cell = still(CoRNNCell(I, H, dtype=np.float64, **options))
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((1, H)), rng.standard_normal((1, H))]
    found = [states]
    for _ in range(steps):
        states = list(stepped(cell, np.zeros((1, I)), states))
        found.append(states)
    return np.stack([y[0] for y, _ in found]), np.stack([z[0] for _, z in found])


def energy(y: F8, z: F8, dt: float, gamma: float) -> F8:
    """What steps of this kind keep where there is no friction: the energy, but for a term as small as a step."""
    kept: F8 = z**2 + gamma * y**2 - dt * gamma * y * z
    return kept


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 4.7])
def test_the_energy_of_oscillators_that_nothing_drives_falls_with_every_swing(epsilon: float) -> None:
    """Half a swing is 45 steps, and within it an energy of steps may rise by as little as a step is short."""
    y, z = swings(500, dt=0.042, gamma=2.7, epsilon=epsilon)
    falling = energy(y, z, 0.042, 2.7)
    assert (np.diff(falling[::50], axis=0) < 0).all()
    assert (falling.max(axis=0) < 1.01 * falling[0]).all() and (falling[-1] < 0.9 * falling[0]).all()


def test_their_energy_stays_where_there_is_next_to_no_friction() -> None:
    y, z = swings(500, dt=0.1, gamma=2.7, epsilon=1e-15)
    np.testing.assert_allclose(energy(y, z, 0.1, 2.7), energy(y, z, 0.1, 2.7)[:1].repeat(501, 0), rtol=1e-11)


@pytest.mark.slow
def test_in_short_steps_an_oscillator_is_the_solution_of_its_equation() -> None:
    """y'' = - gamma y - epsilon y', of which a damped sine is the solution."""
    gamma, epsilon, dt = 2.7, 0.8, 1e-4
    y, z = swings(20000, dt=dt, gamma=gamma, epsilon=epsilon)
    omega = math.sqrt(gamma - epsilon**2 / 4)
    t = dt * np.arange(len(y))[:, None]
    first, second = y[0], (z[0] + epsilon * y[0] / 2) / omega
    exact = np.exp(-epsilon * t / 2) * (first * np.cos(omega * t) + second * np.sin(omega * t))
    np.testing.assert_allclose(y, exact, atol=20 * dt)
    assert np.ptp(exact, axis=0).min() > 0.5


@pytest.mark.parametrize("kind", [LEMCell, CoRNNCell])
def test_the_output_of_two_states_is_the_first(kind: type[Cell]) -> None:
    layer = Recurrent(kind, I, H, dtype=np.float64)
    xs = np.random.default_rng(1).standard_normal((5, B, I))
    outputs, _ = layer(Tensor(xs))
    for found, y in zip(sequence(layer.cells[0], xs), outputs.numpy(), strict=True):
        close([found[0]], [y])


def test_a_long_expressive_memory_for_which_no_time_passes_stays_as_it_is() -> None:
    cell = drawn(LEMCell)
    cell.dz.b.data = cell.dy.b.data = np.full(H, -1000.0)
    x, states = given(cell)
    close(stepped(cell, x, states), states)


def test_one_for_which_a_whole_step_passes_is_two_plain_networks_the_second_of_which_reads_the_first() -> None:
    cell, first, second = drawn(LEMCell), drawn(RNNCell), drawn(RNNCell)
    cell.dz.b.data = cell.dy.b.data = np.full(H, 1000.0)
    for rnn, gate in ((first, cell.nz), (second, cell.ny)):
        rnn.n.U.data, rnn.n.W.data, rnn.n.b.data = gate.U.data, gate.W.data, gate.b.data
    x, (y, z) = given(cell)
    (z_new,) = stepped(first, x, [y])
    close(stepped(cell, x, [y, z]), [*stepped(second, x, [z_new]), z_new])


def test_an_antisymmetric_network_that_nothing_drives_turns_its_state_and_does_not_stretch_it() -> None:
    cell = drawn(AntisymmetricRNNCell, gamma=0.0, gated=False)
    cell.n.b.data = np.zeros(H)
    _, (h,) = given(cell)
    h = 1e-5 * h  # where tanh is a line
    (after,) = stepped(cell, np.zeros((B, I)), [h])
    change = after - h
    assert (np.linalg.norm(change, axis=1) > 0.1 * np.linalg.norm(h, axis=1)).all()
    across = (change * h).sum(axis=1) / (np.linalg.norm(change, axis=1) * np.linalg.norm(h, axis=1))
    np.testing.assert_allclose(across, 0, atol=1e-8)


def test_its_gamma_pulls_the_state_back() -> None:
    cell = drawn(AntisymmetricRNNCell, gamma=0.5, epsilon=0.1, gated=False)
    cell.n.b.data = np.zeros(H)
    _, (h,) = given(cell)
    h = 1e-5 * h
    (after,) = stepped(cell, np.zeros((B, I)), [h])
    np.testing.assert_allclose(((after - h) * h).sum(axis=1) / (h * h).sum(axis=1), -0.1 * 0.5, rtol=1e-6)


def test_an_antisymmetric_network_whose_gate_is_open_is_the_one_without() -> None:
    cell, without = drawn(AntisymmetricRNNCell), drawn(AntisymmetricRNNCell, gated=False)
    without.n = cell.n
    cell.z.b.data = np.full(H, 1000.0)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(without, x, states))


def test_a_lipschitz_network_of_one_whole_step_that_takes_the_old_state_away_is_a_plain_network() -> None:
    cell, rnn = drawn(LipschitzRNNCell, epsilon=1.0, beta=0.5, gamma=1.0), drawn(RNNCell)
    cell.a.W.data = np.zeros((H, H))  # then A = -1
    rnn.n.U.data, rnn.n.b.data, rnn.n.W.data = cell.n.U.data, cell.n.b.data, cell.n.W.data - np.eye(H)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(rnn, x, states))


def test_a_lipschitz_network_of_antisymmetric_matrices_does_not_stretch_a_state_that_nothing_drives() -> None:
    cell = drawn(LipschitzRNNCell, beta=1.0, gamma=0.0)
    cell.n.b.data, cell.n.W.data = np.zeros(H), np.zeros((H, H))
    _, (h,) = given(cell)
    change = stepped(cell, np.zeros((B, I)), [h])[0] - h
    assert abs(change).max() > 0.01
    np.testing.assert_allclose((change * h).sum(axis=1), 0, atol=1e-13)


# --- Clocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("periods", [(1, 2, 4, 8), (3,), (2, 3)])
def test_units_change_at_the_multiples_of_their_period_and_at_no_other_time(periods: tuple[int, ...]) -> None:
    cell = drawn(ClockworkCell, periods=periods)
    own = np.repeat(periods, {4: [2, 1, 2, 1], 1: [6], 2: [3, 3]}[len(periods)])
    xs, before = np.random.default_rng(2).standard_normal((30, B, I)), np.zeros((B, H))
    for t, (h, _) in enumerate(sequence(cell, xs)):
        np.testing.assert_array_equal((h != before).all(axis=0), t % own == 0)
        np.testing.assert_array_equal((h != before).any(axis=0), t % own == 0)
        before = h


def test_a_clockwork_of_one_period_of_one_step_is_a_plain_network() -> None:
    layer, rnn = (
        Recurrent(ClockworkCell, I, H, dtype=np.float64, periods=(1,)),
        Recurrent(RNNCell, I, H, dtype=np.float64),
    )
    for p, other in zip(layer.parameters(), rnn.parameters(), strict=True):
        p.data = other.data
    xs = np.random.default_rng(3).standard_normal((9, B, I))
    close([layer(Tensor(xs))[0].numpy()], [rnn(Tensor(xs))[0].numpy()])


def test_slow_units_do_not_see_fast_ones_and_fast_ones_see_slow_ones() -> None:
    cell = drawn(ClockworkCell, periods=(1, 4))
    x, (h, time) = given(cell)
    time = np.zeros_like(time)
    before = stepped(cell, x, [h, time])[0]
    of_fast = stepped(cell, x, [h + np.array([1, 1, 1, 0, 0, 0]), time])[0] != before
    of_slow = stepped(cell, x, [h + np.array([0, 0, 0, 1, 1, 1]), time])[0] != before
    assert of_fast[:, :3].all() and not of_fast[:, 3:].any() and of_slow.all()


def test_rows_of_one_batch_may_stand_at_different_times() -> None:
    cell = drawn(ClockworkCell, periods=(1, 4))
    x, (h, _) = given(cell)
    slow = stepped(cell, x, [h, np.array([[4.0], [5.0], [7.0]])])[0][:, 3:] != h[:, 3:]
    np.testing.assert_array_equal(slow.all(axis=1), [True, False, False])


def test_the_clock_goes_on_as_long_as_one_likes() -> None:
    cell = drawn(ClockworkCell, periods=(2, 3)).astype(np.float32)
    *_, (_, time) = sequence(cell, np.zeros((1000, 1, I), np.float32))
    assert time.item() == 1000 % 6


def test_a_clockwork_has_units_of_fewer_periods_where_there_are_fewer_units() -> None:
    cell: Any = ClockworkCell(I, 2)
    assert cell.period.numpy().tolist() == [1, 4]
    for hidden in range(4, 40):
        cell = ClockworkCell(I, hidden)
        _, counts = np.unique(cell.period.numpy(), return_counts=True)
        assert len(counts) == 4 and np.ptp(counts) <= 1


# --- A window ------------------------------------------------------------------------------------------------


def memory_of(signal: F8, order: int, window: float) -> F8:
    """What a Legendre memory holds (T,order) that is given the signal alone."""
    cell = still(LMUCell(1, 2, dtype=np.float64, order=order, window=window))
    cell.u.U.data = np.ones((1, 1))
    return np.stack([m[0] for _, m in sequence(cell, signal[:, None, None])])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_memory_alone_gives_back_a_slow_signal_as_it_was_up_to_a_window_ago(share: float) -> None:
    window, order = 60.0, 8
    t = np.arange(1, 400.0)
    m = memory_of(np.sin(2 * np.pi * (t - 0.5) / 90), order, window)  # each held for the step before t
    decoded = legendre.legval(2 * share - 1, m.T)  # eq. 3: of degree i on [0, window]
    settled = t > 150
    expected = np.sin(2 * np.pi * (t - share * window) / 90)
    assert abs(decoded - expected)[settled].max() < 0.01


def test_a_memory_of_higher_order_gives_it_back_more_nearly() -> None:
    t = np.arange(1, 400.0)
    errors = []
    for order in (2, 4, 6):
        decoded = legendre.legval(0.0, memory_of(np.sin(2 * np.pi * (t - 0.5) / 90), order, 60.0).T)
        errors.append(abs(decoded - np.sin(2 * np.pi * (t - 30) / 90))[200:].max())
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_of_a_constant_the_memory_holds_the_constant() -> None:
    m = memory_of(np.full(500, 0.7), 5, 20.0)
    np.testing.assert_allclose(m[-1], [0.7, 0, 0, 0, 0], atol=1e-9)


def test_the_window_is_no_weight_and_comes_with_the_model_again() -> None:
    cell = LMUCell(I, H)
    assert not {"A", "B"} & set(cell.state_dict())
    assert cell.A.dtype == np.float32 and cell.astype(np.float64).A.dtype == np.float64


def test_the_encoders_begin_as_in_the_paper() -> None:
    cell = LMUCell(300, 200, order=4, rng=np.random.default_rng(0))
    assert not cell.e_m.data.any()
    for weight, fan_in in ((cell.u.U, 300), (cell.u.W, 200)):
        assert abs(weight.data).max() <= math.sqrt(3 / fan_in)
        np.testing.assert_allclose(weight.data.var(), 1 / fan_in, rtol=0.2)


# --- Options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (CoRNNCell, {"dt": 0}, "dt must be above 0, got 0"),
        (CoRNNCell, {"gamma": -1}, "gamma must be above 0, got -1"),
        (CoRNNCell, {"epsilon": float("nan")}, "epsilon must be above 0, got nan"),
        (LEMCell, {"dt": -0.1}, "dt must be above 0, got -0.1"),
        (AntisymmetricRNNCell, {"epsilon": 0}, "epsilon must be above 0, got 0"),
        (LipschitzRNNCell, {"epsilon": 0}, "epsilon must be above 0, got 0"),
        (LipschitzRNNCell, {"beta": 0.4}, r"beta must be at least 0\.5 and at most 1, got 0\.4"),
        (ClockworkCell, {"periods": ()}, "one or more of them, got none"),
        (ClockworkCell, {"periods": (1, 0)}, "each of periods must be a whole number of at least 1, got 0"),
        (LMUCell, {"order": 0}, "order must be a whole number of at least 1, got 0"),
        (LMUCell, {"window": 0.0}, r"window must be above 0, got 0\.0"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind: type[Cell], options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(I, H, **options)
