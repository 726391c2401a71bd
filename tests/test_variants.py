"""Each published cell against the equations of its paper in plain NumPy, against its relatives where it becomes one of
them, and through the battery of check_cell."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import equations_of_gated_cells  # noqa: F401  (each registers its formulas)
import equations_of_linear_attention  # noqa: F401
import equations_of_state_spaces  # noqa: F401
import equations_of_timed_cells  # noqa: F401
import equations_of_xlstm  # noqa: F401
import numpy as np
import pytest
from equations import (
    F8,
    FORMULAS,
    MORE_CASES,
    B,
    Formula,
    H,
    I,
    Weights,
    affine,
    close,
    drawn,
    given,
    logistic,
    of,
    rows,
    sequence,
    softmax,
    stepped,
)

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, check_cell
from tinygrad_rnn.loops.trees import flat
from tinygrad_rnn.models import Cell, GRUCell, LSTMCell, Recurrent, RNNCell
from tinygrad_rnn.models.variants import (
    VARIANTS,
    AdaptiveTimeCell,
    CoupledLSTMCell,
    GatedLinearAttentionCell,
    HighwayRNNCell,
    HyperLSTMCell,
    IndRNNCell,
    JANETCell,
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LMUCell,
    LRUCell,
    MemoryCell,
    MGUCell,
    MinGRUCell,
    MinLSTMCell,
    MultiplicativeLSTMCell,
    MUT1Cell,
    MUT2Cell,
    MUT3Cell,
    NASCell,
    NoForgetGateCell,
    NoInputActivationCell,
    NoInputGateCell,
    NoOutputActivationCell,
    NoOutputGateCell,
    NoPeepholesCell,
    ONLSTMCell,
    PeepholeLSTMCell,
    PhasedLSTMCell,
    ProjectedLSTMCell,
    QRNNCell,
    RANCell,
    RGLRUCell,
    S4DCell,
    SCRNCell,
    SelectiveSSMCell,
    SRUCell,
    UGRNNCell,
)

ALWAYS = 1000.0
"""A bias under which a sigmoid is 1, and under -ALWAYS 0, to the last bit."""


# --- The equations ------------------------------------------------------------------------------------------


@of(PeepholeLSTMCell)
def graves_2013(w: Weights, x: F8, h: F8, c: F8) -> tuple[F8, ...]:
    i = logistic(affine(w, "i", x, h) + w["i_peep"] * c)  # eq. 7
    f = logistic(affine(w, "f", x, h) + w["f_peep"] * c)  # eq. 8
    c_t = f * c + i * np.tanh(affine(w, "g", x, h))  # eq. 9
    o = logistic(affine(w, "o", x, h) + w["o_peep"] * c_t)  # eq. 10: the cell as it is now
    return o * np.tanh(c_t), c_t  # eq. 11


def greff_2017(without: str) -> Formula:
    """The vanilla LSTM of section 2, with one of the eight changes of section 3."""

    def formula(w: Weights, x: F8, y: F8, c: F8) -> tuple[F8, ...]:
        def gate(name: str, cell: F8) -> F8:
            peephole = 0.0 if without in ("NP", "CIFG") else w[f"p.{name}"] * cell
            return logistic(affine(w, name, x, y) + peephole)

        one = np.ones_like(c)
        z = affine(w, "g", x, y)
        z = z if without == "NIAF" else np.tanh(z)
        i = one if without == "NIG" else gate("i", c)
        f = one if without == "NFG" else one - i if without == "CIFG" else gate("f", c)
        c_t = z * i + c * f
        o = one if without == "NOG" else gate("o", c_t)
        return (c_t if without == "NOAF" else np.tanh(c_t)) * o, c_t

    return formula


GREFF: dict[type[Cell], str] = {
    NoInputGateCell: "NIG",
    NoForgetGateCell: "NFG",
    NoOutputGateCell: "NOG",
    NoInputActivationCell: "NIAF",
    NoOutputActivationCell: "NOAF",
    CoupledLSTMCell: "CIFG",
    NoPeepholesCell: "NP",
}
FORMULAS |= {kind: greff_2017(without) for kind, without in GREFF.items()}


@of(ProjectedLSTMCell)
def sak_2014(w: Weights, x: F8, r: F8, c: F8, memory_size: int = 2 * H) -> tuple[F8, ...]:
    i, f, o = (logistic(affine(w, name, x, r)) for name in "ifo")
    c_t = f * c + i * np.tanh(affine(w, "g", x, r))
    assert c_t.shape == (len(x), memory_size)
    m = o * np.tanh(c_t)
    return m @ w["P"], c_t


def layer_norm(w: Weights, name: str, z: F8) -> F8:
    mu = z.mean(axis=-1, keepdims=True)
    variance = ((z - mu) ** 2).mean(axis=-1, keepdims=True)
    normalised: F8 = w[f"{name}.gain"] * ((z - mu) / np.sqrt(variance + 1e-5)) + w[f"{name}.bias"]
    return normalised


@of(LayerNormLSTMCell)
def ba_2016_lstm(w: Weights, x: F8, h: F8, c: F8) -> tuple[F8, ...]:
    f, i, o, g = (
        layer_norm(w, f"of_h.{k}", h @ w[f"{k}.W"]) + layer_norm(w, f"of_x.{k}", x @ w[f"{k}.U"]) + w[f"{k}.b"]
        for k in "fiog"
    )
    c_t = logistic(f) * c + logistic(i) * np.tanh(g)
    return logistic(o) * np.tanh(layer_norm(w, "of_c", c_t)), c_t


@of(LayerNormGRUCell)
def ba_2016_gru(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    from_x = {k: layer_norm(w, f"of_x.{k}", x @ w[f"{k}.U"]) + w[f"{k}.b"] for k in "zrn"}
    from_h = {k: layer_norm(w, f"of_h.{k}", h @ w[f"{k}.W"]) for k in "zrn"}
    z, r = logistic(from_h["z"] + from_x["z"]), logistic(from_h["r"] + from_x["r"])
    candidate = np.tanh(from_x["n"] + r * from_h["n"])
    return ((1 - z) * h + z * candidate,)


@of(MultiplicativeLSTMCell)
def krause_2016(w: Weights, x: F8, h: F8, c: F8) -> tuple[F8, ...]:
    m = (x @ w["m.U"] + w["m.b"]) * (h @ w["m.W"])
    h_hat = affine(w, "g", x, m)
    i, o, f = (logistic(affine(w, name, x, m)) for name in "iof")
    c_t = f * c + i * np.tanh(h_hat)
    return np.tanh(c_t) * o, c_t


@of(ONLSTMCell)
def shen_2019(w: Weights, x: F8, h: F8, c: F8, chunk: int = 1) -> tuple[F8, ...]:
    def cumax(a: F8) -> F8:
        return np.stack([softmax(a)[:, : k + 1].sum(axis=1) for k in range(a.shape[1])], axis=1)

    f, i, o = (logistic(affine(w, name, x, h)) for name in "fio")
    c_hat = np.tanh(affine(w, "g", x, h))
    f_master, i_master = cumax(affine(w, "a", x, h)), 1 - cumax(affine(w, "e", x, h))  # eq. 9 and 10
    level = np.arange(H) // chunk  # the entry that rules a unit
    f_master, i_master = f_master[:, level], i_master[:, level]
    omega = f_master * i_master  # eq. 11
    f_all = f * omega + (f_master - omega)  # eq. 12
    i_all = i * omega + (i_master - omega)  # eq. 13
    c_t = f_all * c + i_all * c_hat  # eq. 14
    return o * np.tanh(c_t), c_t


@of(PhasedLSTMCell)
def neil_2016(w: Weights, x: F8, h: F8, c: F8, phase: F8, leak: float = 0.001) -> tuple[F8, ...]:
    tau, r_on = np.exp(w["log_tau"]), w["share"]
    t, s = phase * tau, w["shift"] * tau  # any time in which the clock stands at this phase
    phi = np.mod(t - s, tau) / tau  # eq. 6
    k = np.select([phi < r_on / 2, phi < r_on], [2 * phi / r_on, 2 - 2 * phi / r_on], leak * phi)  # eq. 7
    i, f, o = (logistic(affine(w, name, x, h)) for name in "ifo")
    c_new = f * c + i * np.tanh(affine(w, "g", x, h))
    h_new = o * np.tanh(c_new)
    return k * h_new + (1 - k) * h, k * c_new + (1 - k) * c, np.mod(t + 1, tau) / tau


@of(MGUCell)
def zhou_2016(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    f = logistic(affine(w, "f", x, h))
    candidate = np.tanh(affine(w, "n", x, f * h))
    return ((1 - f) * h + f * candidate,)


def widened(w: Weights, x: F8) -> F8:
    """The input where a paper takes it as a vector of H entries."""
    return affine(w, "k", x) if "k.U" in w else x


@of(MUT1Cell)
def mut1(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    z = logistic(x @ w["z.U"] + w["z.b"])
    r = logistic(x @ w["r.U"] + h @ w["r.W"] + w["r.b"])
    return (np.tanh((r * h) @ w["n.W"] + np.tanh(widened(w, x)) + w["n.b"]) * z + h * (1 - z),)


@of(MUT2Cell)
def mut2(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    z = logistic(x @ w["z.U"] + h @ w["z.W"] + w["z.b"])
    r = logistic(widened(w, x) + h @ w["r.W"] + w["r.b"])
    return (np.tanh((r * h) @ w["n.W"] + x @ w["n.U"] + w["n.b"]) * z + h * (1 - z),)


@of(MUT3Cell)
def mut3(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    z = logistic(x @ w["z.U"] + np.tanh(h) @ w["z.W"] + w["z.b"])
    r = logistic(x @ w["r.U"] + h @ w["r.W"] + w["r.b"])
    return (np.tanh((r * h) @ w["n.W"] + x @ w["n.U"] + w["n.b"]) * z + h * (1 - z),)


@of(UGRNNCell)
def collins_2017(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    c = np.tanh(affine(w, "n", x, h))
    g = logistic(affine(w, "g", x, h))
    return (g * h + (1 - g) * c,)


@of(JANETCell)
def westhuizen_2018(w: Weights, x: F8, h: F8, beta: float = 1.0) -> tuple[F8, ...]:
    s = affine(w, "f", x, h)
    candidate = np.tanh(affine(w, "n", x, h))
    return (logistic(s) * h + (1 - logistic(s - beta)) * candidate,)


@of(RANCell)
def lee_2017(w: Weights, x: F8, h: F8, c: F8) -> tuple[F8, ...]:
    content = affine(w, "n", x)
    i, f = logistic(affine(w, "i", x, h)), logistic(affine(w, "f", x, h))
    c_t = i * content + f * c
    return np.tanh(c_t), c_t


@of(IndRNNCell)
def li_2018(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    return (np.maximum(affine(w, "n", x) + w["u"] * h, 0),)


@of(SCRNCell)
def mikolov_2014(
    w: Weights, x: F8, h: F8, s: F8, context_size: int | None = None, alpha: float = 0.95
) -> tuple[F8, ...]:
    s_t = (1 - alpha) * affine(w, "slow", x) + alpha * s
    assert s_t.shape == (len(x), context_size or H)
    return logistic(s_t @ w["P"] + affine(w, "n", x, h)), s_t


@of(HighwayRNNCell)
def zilly_2017(w: Weights, x: F8, s: F8, depth: int = 2) -> tuple[F8, ...]:
    for layer in range(1, depth + 1):
        H_name, T_name = ("n", "t") if layer == 1 else (f"deeper.{layer - 2}.0", f"deeper.{layer - 2}.1")
        first = x if layer == 1 else None  # the indicator of eq. 7 and 8
        h, t = np.tanh(affine(w, H_name, first, s)), logistic(affine(w, T_name, first, s))
        s = h * t + s * (1 - t)  # eq. 6, c = 1 - t
    return (s,)


@of(MinGRUCell)
def feng_2024_gru(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    z, candidate = logistic(affine(w, "z", x)), affine(w, "n", x)
    return ((1 - z) * h + z * candidate,)


@of(MinLSTMCell)
def feng_2024_lstm(w: Weights, x: F8, h: F8) -> tuple[F8, ...]:
    f, i = logistic(affine(w, "f", x)), logistic(affine(w, "i", x))
    f_share, i_share = f / (f + i), i / (f + i)
    return (f_share * h + i_share * affine(w, "n", x),)


@of(SRUCell)
def lei_2018(w: Weights, x: F8, c: F8) -> tuple[F8, ...]:
    f = logistic(affine(w, "f", x) + w["f_own"] * c)  # eq. 1
    c_t = f * c + (1 - f) * affine(w, "n", x)  # eq. 2
    r = logistic(affine(w, "r", x) + w["r_own"] * c)  # eq. 3: the cell before this step
    return c_t, r * c_t + (1 - r) * widened(w, x)  # eq. 4


@of(QRNNCell)
def bradbury_2017(w: Weights, x: F8, c: F8, *before: F8) -> tuple[F8, ...]:
    z, f, o = (affine(w, name, x) + part for name, part in zip("nfo", before, strict=True))  # eq. 2
    c_t = logistic(f) * c + (1 - logistic(f)) * np.tanh(z)  # eq. 4
    return c_t, *(affine(w, f"next_{name}", x) for name in "nfo"), logistic(o) * c_t


@of(MemoryCell)
def graves_2014(w: Weights, x: F8, h: F8, read: F8, written: F8, **_: Any) -> tuple[F8, ...]:
    def addressing(head: str, state: F8, memory: F8) -> F8:
        key = np.tanh(affine(w, f"{head}_key", None, state))
        beta = np.log1p(np.exp(affine(w, f"{head}_focus", None, state)))
        cosine = [row @ key / np.sqrt((row @ row + 1e-6) * (key @ key + 1e-6)) for row in memory]  # eq. 6
        return softmax(beta * np.array(cosine))  # eq. 5

    results = []
    for b in range(len(x)):
        state = np.tanh(affine(w, "n", x[b], h[b]) + read[b] @ w["R"])
        memory = w["start"] + written[b]
        erase, add = logistic(affine(w, "erase", None, state)), np.tanh(affine(w, "add", None, state))
        at = addressing("write", state, memory)
        memory = memory * (1 - np.outer(at, erase))  # eq. 3
        memory = memory + np.outer(at, add)  # eq. 4
        results.append((state, addressing("read", state, memory) @ memory, memory - w["start"]))  # eq. 2
    return rows(results)


@of(AdaptiveTimeCell)
def graves_2016(w: Weights, x: F8, h: F8, epsilon: float = 0.01, most: int = 10) -> tuple[F8, ...]:
    U = np.vstack([w["n.U"], w["fresh"]])  # the input has one more entry, which is 1 when it is new
    results = []
    for b in range(len(x)):
        s = h[b]
        states: list[F8] = []
        chances: list[float] = []
        while len(states) < most and sum(chances) < 1 - epsilon:  # eq. 6 to 8
            flagged = np.append(x[b], float(not states))
            s = np.tanh(flagged @ U + s @ w["n.W"] + w["n.b"])  # eq. 3
            states.append(s)
            chances.append(float(logistic(affine(w, "halt", None, s))[0]))  # eq. 5
        remainder = 1 - sum(chances[:-1])
        chances[-1] = remainder
        mean = sum((p * s for p, s in zip(chances, states, strict=True)), np.zeros(H))
        results.append((mean, np.array(len(states) + remainder)))  # eq. 12
    return rows(results)


CASES: list[tuple[type[Cell], int, dict[str, Any]]] = [
    *((kind, I, {}) for kind in VARIANTS.values()),
    *((kind, H, {}) for kind in (MUT1Cell, MUT2Cell, MUT3Cell, SRUCell)),
    *((ONLSTMCell, I, {"chunk": chunk}) for chunk in (2, 3)),
    *((ProjectedLSTMCell, I, {"memory_size": size}) for size in (1, 5)),
    *((SCRNCell, I, {"context_size": size, "alpha": 0.7}) for size in (1, 9)),
    *((HighwayRNNCell, I, {"depth": depth}) for depth in (1, 3)),
    *((MemoryCell, I, {"slots": slots, "width": width}) for slots, width in [(1, 2), (5, 7)]),
    *((AdaptiveTimeCell, I, {"most": most, "epsilon": 0.1}) for most in (1, 2, 4)),
    (JANETCell, I, {"beta": 0.3}),
    (PhasedLSTMCell, I, {"leak": 0.2}),
    *MORE_CASES,
]


def test_every_variant_has_its_equations_here() -> None:
    assert set(FORMULAS) == set(VARIANTS.values())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "features", "options"),
    CASES,
    ids=[" ".join([k.__name__, str(n), *(f"{key}={v}" for key, v in o.items())]) for k, n, o in CASES],
)
def test_a_step_is_its_papers_equations(kind: type[Cell], features: int, options: dict[str, Any], seed: int) -> None:
    cell = drawn(kind, features, seed=seed, **options)
    weights = {name: p.data for name, p in cell.named_parameters()}
    x, states = given(cell, seed)
    close(stepped(cell, x, states), FORMULAS[kind](weights, x, *states, **options))


@pytest.mark.parametrize("kind", [MUT1Cell, MUT2Cell, SRUCell])
def test_the_input_goes_in_as_it_is_where_it_has_as_many_entries_as_there_are_units(kind: type[Cell]) -> None:
    assert not any(name.startswith("k.") for name, _ in kind(H, H).named_parameters())
    assert any(name.startswith("k.") for name, _ in kind(I, H).named_parameters())


def test_some_rows_think_longer_than_others_in_the_drawn_cases() -> None:
    cell = drawn(AdaptiveTimeCell)
    x, states = given(cell, batch=20)
    steps = np.floor(stepped(cell, x, states)[1])
    assert len(np.unique(steps)) > 2


# --- Whole sequences, where an equation reaches beyond one step ---------------------------------------------


def test_the_qrnn_is_a_convolution_of_width_two_and_a_pooling() -> None:
    cell = drawn(QRNNCell)
    for name in ("n", "f", "o"):
        getattr(cell, f"next_{name}").b.data = np.zeros(H)
    w = {name: p.data for name, p in cell.named_parameters()}
    xs = np.random.default_rng(3).standard_normal((5, B, I))
    shifted = np.concatenate([np.zeros((1, B, I)), xs[:-1]])
    z, f, o = (shifted @ w[f"next_{k}.U"] + xs @ w[f"{k}.U"] + w[f"{k}.b"] for k in "nfo")
    c = np.zeros((B, H))
    for t, found in enumerate(sequence(cell, xs)):
        c = logistic(f[t]) * c + (1 - logistic(f[t])) * np.tanh(z[t])
        close((found[0], found[-1]), (c, logistic(o[t]) * c))


def test_the_phased_lstms_clock_is_the_time_over_the_period() -> None:
    cell = drawn(PhasedLSTMCell)
    cell.log_tau.data = np.log([0.4, 0.97, 1.0, 2.5, 7.3, 100.0])
    tau = np.exp(cell.log_tau.data)
    for t, found in enumerate(sequence(cell, np.zeros((60, B, I))), start=1):
        assert ((found[2] >= 0) & (found[2] < 1 + 1e-12)).all()
        apart = (found[2] - t / tau + 0.5) % 1 - 0.5  # around the circle
        np.testing.assert_allclose(apart, 0, atol=1e-12)


def test_the_phased_lstm_opens_for_its_share_of_each_period() -> None:
    cell = PhasedLSTMCell(I, 1, dtype=np.float64, open_share=0.2, periods=(50.0, 50.0), leak=0.0)
    opened = [cell.openness(Tensor(np.full((1, 1), t / 50))).item() for t in range(50)]
    shift = cell.shift.data[0] * 50
    inside = [(t - shift) % 50 < 10 for t in range(50)]
    assert [k > 0 for k in opened] == inside
    assert 0.8 < max(opened) <= 1.0


def test_a_phased_lstm_whose_shift_left_its_period_is_the_one_a_period_away() -> None:
    cell, other = drawn(PhasedLSTMCell), drawn(PhasedLSTMCell)
    other.shift.data = cell.shift.data + np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    x, states = given(cell)
    close(stepped(other, x, states), stepped(cell, x, states))


# --- What a cell becomes, and what it keeps -----------------------------------------------------------------


def share_weights(to: Any, source: Any, *names: str) -> None:
    """Every parameter of the gates `names`."""
    for name in names:
        for part in ("U", "W", "b"):
            getattr(getattr(to, name), part).data = getattr(getattr(source, name), part).data


def test_an_lstm_whose_peepholes_are_zero_is_an_lstm() -> None:
    cell, lstm = drawn(PeepholeLSTMCell), drawn(LSTMCell)
    share_weights(lstm, cell, *"ifog")
    for name in ("i_peep", "f_peep", "o_peep"):
        getattr(cell, name).data = np.zeros(H)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(lstm, x, states))


def test_without_peepholes_it_is_the_lstm_whose_forget_bias_starts_at_zero() -> None:
    cell = NoPeepholesCell(I, H, dtype=np.float64, rng=np.random.default_rng(5))
    lstm = LSTMCell(I, H, dtype=np.float64, rng=np.random.default_rng(5), forget_bias=0)
    assert cell.state_dict().keys() == lstm.state_dict().keys()
    for name, weights in cell.state_dict().items():
        np.testing.assert_array_equal(weights, lstm.state_dict()[name])
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(lstm, x, states), 0.0)


def test_coupled_gates_are_an_lstm_whose_forget_gate_is_one_minus_its_input_gate() -> None:
    cell, lstm = drawn(CoupledLSTMCell), drawn(LSTMCell)
    share_weights(lstm, cell, *"iog")
    for part in ("U", "W", "b"):  # 1 - sigmoid(a) = sigmoid(-a)
        getattr(lstm.f, part).data = -getattr(cell.i, part).data
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(lstm, x, states))


@pytest.mark.parametrize(("kind", "gate"), [(NoInputGateCell, "i"), (NoForgetGateCell, "f"), (NoOutputGateCell, "o")])
def test_an_lstm_without_a_gate_is_the_one_with_peepholes_whose_gate_stands_open(kind: type[Cell], gate: str) -> None:
    cell, whole = drawn(kind), drawn(PeepholeLSTMCell)
    share_weights(whole, cell, *(name for name in "ifog" if name != gate))
    getattr(whole, gate).b.data = np.full(H, ALWAYS)
    for name, peephole in cell.p.items():
        getattr(whole, f"{name}_peep").data = peephole.data
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(whole, x, states))


@pytest.mark.parametrize("kind", [NoInputActivationCell, NoOutputActivationCell])
def test_what_is_not_squashed_is_as_if_it_were_where_it_is_small(kind: type[Cell]) -> None:
    cell, whole = drawn(kind), drawn(PeepholeLSTMCell)
    share_weights(whole, cell, *"ifog")
    for part in ("U", "W", "b"):
        for each in (cell, whole):
            getattr(each.g, part).data = getattr(each.g, part).data * 1e-5
    for name, peephole in cell.p.items():
        getattr(whole, f"{name}_peep").data = peephole.data
    x, (h, c) = given(cell)
    close(stepped(cell, x, [h, c * 1e-5]), stepped(whole, x, [h, c * 1e-5]), 1e-12)


def test_an_lstm_projected_by_the_identity_is_an_lstm() -> None:
    cell, lstm = drawn(ProjectedLSTMCell, memory_size=H), drawn(LSTMCell)
    share_weights(lstm, cell, *"ifog")
    cell.P.data = np.eye(H)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(lstm, x, states))


def test_a_multiplicative_lstm_whose_factor_is_one_is_an_lstm() -> None:
    cell, lstm = drawn(MultiplicativeLSTMCell), drawn(LSTMCell)
    share_weights(lstm, cell, *"ifog")
    cell.m.U.data, cell.m.b.data, cell.m.W.data = np.zeros((I, H)), np.ones(H), np.eye(H)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(lstm, x, states))


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_an_on_lstm_whose_master_gates_are_open_is_an_lstm_but_for_the_last_chunk_which_is_only_kept(
    chunk: int,
) -> None:
    cell, lstm = drawn(ONLSTMCell, chunk=chunk), drawn(LSTMCell)
    share_weights(lstm, cell, *"ifog")
    levels = np.arange(H // chunk)
    cell.a.b.data = np.where(levels == 0, ALWAYS, 0.0)  # keeps from the first level on
    cell.e.b.data = np.where(levels == levels[-1], ALWAYS, 0.0)  # writes until the last, where cumax is always 1
    x, (h, c) = given(cell)
    ours, theirs = stepped(cell, x, [h, c]), stepped(lstm, x, [h, c])
    close((a[:, :-chunk] for a in ours), (a[:, :-chunk] for a in theirs))
    close([ours[1][:, -chunk:]], [c[:, -chunk:]])


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_an_on_lstms_master_gates_are_monotone_and_alike_within_a_chunk(chunk: int) -> None:
    cell = drawn(ONLSTMCell, chunk=chunk)
    cell.i.b.data = cell.f.b.data = np.full(H, -ALWAYS)  # then f' = keep (1 - write), and i' = write (1 - keep)
    cell.g.b.data = np.full(H, ALWAYS)  # tanh is 1
    x, (h, c) = given(cell)
    written = stepped(cell, x, [h, 0 * c])[1]
    kept = stepped(cell, x, [h, 0 * c + 1])[1] - written
    for gate, falls in [(written, True), (kept, False)]:
        by_chunk = gate.reshape(B, -1, chunk)
        assert np.ptp(by_chunk, axis=2).max() < 1e-14
        change = np.diff(by_chunk[:, :, 0], axis=1)
        assert (change <= 1e-14).all() if falls else (change >= -1e-14).all()


def test_a_minimal_gated_unit_whose_gate_is_one_is_a_plain_rnn() -> None:
    cell, rnn = drawn(MGUCell), drawn(RNNCell)
    share_weights(rnn, cell, "n")
    cell.f.b.data = np.full(H, ALWAYS)
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(rnn, x, states))


@pytest.mark.parametrize(
    ("kind", "gate", "bias"),
    [
        (MGUCell, "f", -ALWAYS),
        (MUT1Cell, "z", -ALWAYS),
        (MUT2Cell, "z", -ALWAYS),
        (MUT3Cell, "z", -ALWAYS),
        (UGRNNCell, "g", ALWAYS),
        (JANETCell, "f", ALWAYS),
        (MinGRUCell, "z", -ALWAYS),
        (LayerNormGRUCell, "z", -ALWAYS),
    ],
)
def test_a_state_whose_gate_is_shut_stays_as_it_is(kind: type[Cell], gate: str, bias: float) -> None:
    cell = drawn(kind)
    getattr(cell, gate).b.data = np.full(H, bias)
    x, states = given(cell)
    close(stepped(cell, x, states), states)


def test_the_update_gate_rnn_is_a_highway_rnn_of_depth_one_with_the_opposite_gate() -> None:
    cell, highway = drawn(UGRNNCell), drawn(HighwayRNNCell, depth=1)
    share_weights(highway, cell, "n")
    for part in ("U", "W", "b"):
        getattr(highway.t, part).data = -getattr(cell.g, part).data
    x, states = given(cell)
    close(stepped(cell, x, states), stepped(highway, x, states))


@pytest.mark.parametrize(("forget", "share"), [(-120.0, 0.5), (-10.0, 1.0)])
def test_a_minlstm_whose_gates_are_both_shut_has_a_state_and_a_gradient(forget: float, share: float) -> None:
    cell = MinLSTMCell(I, H)
    for gate, bias in ((cell.f, forget), (cell.i, -120.0), (cell.n, 0.0)):
        gate.U.data, gate.b.data = np.zeros((I, H), np.float32), np.full(H, bias, np.float32)
    h = cell.step(Tensor(np.zeros((B, I), np.float32)), Tensor(np.ones((B, H), np.float32)))
    np.testing.assert_allclose(h.numpy(), share, rtol=1e-3)
    h.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in cell.parameters())


@pytest.mark.parametrize(
    ("dtype", "forget", "rtol"),
    [
        ("float32", -24, 1e-5),
        ("float32", -64, 1e-4),
        ("float64", -44, 1e-13),
        ("float64", -400, 1e-13),
        ("float16", -12, 0.02),
    ],
)
def test_of_a_minlstms_gates_that_are_nearly_shut_the_less_shut_one_wins(
    dtype: str, forget: float, rtol: float
) -> None:
    """The shares are 1 / (1 + e⁴) of the old state, which is 1, and the rest of the candidate, which is 5."""
    layer = Recurrent(MinLSTMCell, I, H, dtype=dtype)
    (cell,) = layer.cells
    for gate, bias in ((cell.f, forget), (cell.i, forget + 4), (cell.n, 5)):
        gate.U.data, gate.b.data = np.zeros((I, H), dtype), np.full(H, bias, dtype)
    outputs, _ = layer(np.zeros((1, B, I), dtype), (np.ones((1, B, H), dtype),))
    np.testing.assert_allclose(outputs.numpy(), 5 - 4 / (1 + np.exp(4)), rtol=rtol)  # 4.928


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        (SCRNCell, {"alpha": 2.0}, "alpha must be at least 0 and below 1, got 2.0"),
        (SCRNCell, {"context_size": 0}, "context_size must be a whole number of at least 1, got 0"),
        (PhasedLSTMCell, {"open_share": 0.0}, "open_share must be above 0 and at most 1, got 0.0"),
        (AdaptiveTimeCell, {"epsilon": 2.0}, "epsilon must be at least 0 and below 1, got 2.0"),
        (HighwayRNNCell, {"depth": 0}, "depth must be a whole number of at least 1, got 0"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind: type[Cell], options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(I, H, **options)


def test_the_minlstms_two_gates_add_up_to_one() -> None:
    cell = drawn(MinLSTMCell)
    cell.n.U.data = np.zeros((I, H))
    x, _ = given(cell)

    def after(state: float, candidate: float) -> F8:
        cell.n.b.data = np.full(H, candidate)
        return stepped(cell, x, [np.full((B, H), state)])[0]

    forget, write = after(1.0, 0.0), after(0.0, 1.0)
    assert ((forget > 0) & (write > 0)).all()
    np.testing.assert_allclose(forget + write, 1, atol=1e-15)
    np.testing.assert_allclose(after(0.7, 0.7), 0.7, atol=1e-15)


def test_an_indrnn_of_six_units_is_six_networks_of_one() -> None:
    whole = Recurrent(IndRNNCell, I, H, dtype=np.float64)
    whole.cells[0] = drawn(IndRNNCell)
    xs, start = np.random.default_rng(6).standard_normal((7, B, I)), np.ones((1, B, H))
    together, _ = whole(Tensor(xs), (Tensor(start),))
    for unit in range(H):
        one = Recurrent(IndRNNCell, I, 1, dtype=np.float64)
        cell: Any = one.cells[0]
        cell.n.U.data = whole.cells[0].n.U.data[:, unit : unit + 1]
        cell.n.b.data = whole.cells[0].n.b.data[unit : unit + 1]
        cell.u.data = whole.cells[0].u.data[unit : unit + 1]
        alone, _ = one(Tensor(xs), (Tensor(start[:, :, unit : unit + 1]),))
        close([alone.numpy()[:, :, 0]], [together.numpy()[:, :, unit]])


def test_the_structurally_constrained_network_puts_out_both_states_side_by_side() -> None:
    layer = Recurrent(SCRNCell, I, H, context_size=2, dtype=np.float64)
    xs = np.random.default_rng(7).standard_normal((5, B, I))
    outputs, (h, s) = layer(Tensor(xs))
    assert outputs.shape == (5, B, H + 2)
    np.testing.assert_array_equal(outputs.numpy()[-1], np.concatenate([h.numpy()[0], s.numpy()[0]], axis=1))


@pytest.mark.parametrize("leak", [0.0, 0.001, 0.25])
def test_a_phased_lstm_keeps_its_states_but_for_the_leak_while_it_is_closed(leak: float) -> None:
    cell = drawn(PhasedLSTMCell, leak=leak)
    cell.share.data, cell.shift.data = np.full(H, 0.05), np.full(H, 0.4)
    x, (h, c, _) = given(cell)
    phase = np.full((B, H), 0.2)  # 0.8 of a period after it opened
    h_new, c_new, _ = stepped(cell, x, [h, c, phase])
    whole = drawn(LSTMCell)
    share_weights(whole, cell, *"ifog")
    h_open, c_open = stepped(whole, x, [h, c])
    close([h_new - h, c_new - c], [0.8 * leak * (h_open - h), 0.8 * leak * (c_open - c)])
    if not leak:
        np.testing.assert_array_equal(h_new, h)
        np.testing.assert_array_equal(c_new, c)


def test_a_phased_lstm_is_an_lstm_in_the_middle_of_its_open_time() -> None:
    cell, lstm = drawn(PhasedLSTMCell), drawn(LSTMCell)
    share_weights(lstm, cell, *"ifog")
    cell.share.data, cell.shift.data = np.full(H, 0.5), np.full(H, 0.25)
    x, (h, c, _) = given(cell)
    close(stepped(cell, x, [h, c, np.full((B, H), 0.5)])[:2], stepped(lstm, x, [h, c]))


def test_thinking_for_one_step_is_one_step_of_a_plain_rnn() -> None:
    cell, rnn = drawn(AdaptiveTimeCell, most=1), drawn(RNNCell)
    share_weights(rnn, cell, "n")
    rnn.n.b.data = cell.n.b.data + cell.fresh.data
    x, (h,) = given(cell)
    close(stepped(cell, x, [h]), [*stepped(rnn, x, [h]), np.full(B, 2.0)])  # one step, and a remainder of 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("most", [1, 2, 5, 10])
def test_the_ponder_of_a_step_is_its_count_of_steps_and_a_remainder(most: int, seed: int) -> None:
    cell = drawn(AdaptiveTimeCell, most=most, seed=seed)
    cell.halt.b.data -= 2
    x, states = given(cell, seed, batch=10)
    _, spent = stepped(cell, x, states)
    assert ((spent > 1) & (spent <= most + 1 + 1e-12)).all()


@pytest.mark.parametrize(("bias", "steps"), [(ALWAYS, 1), (-ALWAYS, 4)])
def test_one_who_is_done_at_once_takes_one_step_and_one_who_never_is_takes_the_most(bias: float, steps: int) -> None:
    cell = drawn(AdaptiveTimeCell, most=4)
    cell.halt.b.data = np.full(1, bias)
    x, (h,) = given(cell)
    mean, spent = stepped(cell, x, [h])
    close([spent], [np.full(B, steps + 1.0)])  # the remainder is 1 in both cases
    rnn = drawn(RNNCell)
    share_weights(rnn, cell, "n")
    for step in range(steps):
        rnn.n.b.data = cell.n.b.data + (cell.fresh.data if step == 0 else 0)
        (h,) = stepped(rnn, x, [h])
    close([mean], [h])


def test_a_memory_that_is_neither_erased_nor_added_to_stays_as_it_is() -> None:
    cell = drawn(MemoryCell, slots=5)
    cell.erase.b.data = np.full(H, -ALWAYS)
    cell.add.W.data, cell.add.b.data = np.zeros((H, H)), np.zeros(H)
    x, states = given(cell)
    close([stepped(cell, x, states)[2]], [states[2]])


def test_what_a_sharp_focus_reads_is_the_slot_that_is_most_like_the_key() -> None:
    cell = drawn(MemoryCell, slots=H)
    cell.erase.b.data, cell.add.W.data, cell.add.b.data = np.full(H, -ALWAYS), np.zeros((H, H)), np.zeros(H)
    cell.start.data = 3 * np.eye(H)
    cell.read_key.W.data, cell.read_key.b.data = np.zeros((H, H)), np.array([0, 0, ALWAYS, 0, 0, 0])
    cell.read_focus.b.data = np.full(1, ALWAYS)
    x, states = given(cell)
    close([stepped(cell, x, [states[0], states[1], 0 * states[2]])[1]], [np.tile(3 * np.eye(H)[2], (B, 1))])


# --- What is left in the loop -------------------------------------------------------------------------------


def loop_of(kind: type[Cell]) -> str:
    """The loop over time, as explain prints it."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        tg.explain(Recurrent(kind, I, H), np.zeros((5, B, I), np.float32))
    forward = printed.getvalue().split("── Forward ", 1)[1].split("── Backward ", 1)[0]
    return forward.split("in the loop", 1)[1].split("after the loop", 1)[0]


@pytest.mark.parametrize(
    "kind",
    [
        *(SRUCell, MinGRUCell, MinLSTMCell, QRNNCell, IndRNNCell),
        *(LRUCell, S4DCell, SelectiveSSMCell, RGLRUCell, GatedLinearAttentionCell),
    ],
)
def test_nothing_is_multiplied_by_a_matrix_in_the_loop_of_a_cell_whose_gates_do_not_see_the_state(
    kind: type[Cell],
) -> None:
    loop = loop_of(kind)
    assert re.search(r"\b(multiply|add|subtract|divide)\(", loop)
    assert not re.search(r"matmul\(|product\(", loop)


@pytest.mark.parametrize("kind", [MGUCell, RANCell])
def test_the_state_is_multiplied_by_a_matrix_in_the_loop_of_a_cell_whose_gates_see_it(kind: type[Cell]) -> None:
    assert re.search(r"matmul\(|product\(", loop_of(kind))


# --- A batch without rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell, *VARIANTS.values()])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_batch_without_rows_goes_through_forward_and_backward(kind: type[Cell], compiled: bool) -> None:
    layer, xs = Recurrent(kind, 2, 4, 2), Tensor(np.ones((3, 0, 2), np.float32), requires_grad=True)
    for lengths in (None, np.zeros(0, np.int64)):
        with tg.compiled(compiled):
            outputs, state = layer(xs, lengths=lengths)
        assert outputs.shape == (3, 0, layer.output_size)
        sum((s.sum() for s in flat(state)), outputs.sum()).backward()  # a state may be a tuple, one for each layer
        assert not any(p.grad.any() for p in layer.parameters() if p.grad is not None)


# --- The battery --------------------------------------------------------------------------------------------

RECURRENT_DROPOUT = "recurrent dropout is on all that is multiplied"
PAST_GATES: dict[type[Cell], str] = {
    ProjectedLSTMCell: "P",
    SCRNCell: "P",
    MemoryCell: "R",
    LMUCell: "e_m, parameter M",
}
"""Cells that multiply a state by a matrix of no gate, and which."""

SMALLER: dict[type[Cell], dict[str, Any]] = {HyperLSTMCell: {"size": 2, "embedding": 1}}
"""Options of cells that are large by themselves: each weight is a difference to take."""

QUICK: list[type[Cell]] = [MGUCell]


@pytest.mark.parametrize(
    "kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in VARIANTS.values()]
)
def test_the_battery_passes(kind: type[Cell]) -> None:
    report = check_cell(kind, *((1, 2) if kind in QUICK else (2, 3)), show=False, **SMALLER.get(kind, {}))
    notes = {row.what: row.figure for row in report.rows if row.held is None}
    notes.pop("GPU = CPU", None)
    if kind is ProjectedLSTMCell:
        assert notes.pop("zoneout is on units alone").startswith("it is on c (3, 6)")
    if kind is NASCell:  # with the weights that are drawn no unit of the upper layer has a relu that is open
        assert notes.pop("dropout of every kind is reproducible") == "outputs do not depend on the noise"
    if kind in PAST_GATES:
        assert f"by parameter {PAST_GATES[kind]} past the gates" in notes.pop(RECURRENT_DROPOUT)
    assert not notes
