"""Later relatives of the LSTM and the GRU: what each becomes where what it adds is taken away, over whole sequences.
And long sequences, through which no cell of these years may overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equations import B, H, I, close, drawn, given, stepped

from tinygrad_rnn import Tensor
from tinygrad_rnn.models import Cell, LSTMCell, Recurrent
from tinygrad_rnn.models.variants import (
    VARIANTS,
    FastGRNNCell,
    HyperLSTMCell,
    MogrifierLSTMCell,
    MultiplicativeIntegrationLSTMCell,
    NASCell,
    UGRNNCell,
)


def both(kind: type[Cell], **options: Any) -> tuple[Any, Any]:
    """A cell and an LSTM whose gates have the same weights."""
    cell, lstm = drawn(kind, **options), drawn(LSTMCell)
    for name in "ifog":
        for part in ("U", "W", "b"):
            getattr(getattr(lstm, name), part).data = getattr(getattr(cell, name), part).data
    return cell, lstm


def same_over_time(cell: Cell, other: Cell) -> None:
    """Outputs of two cells over a sequence."""
    xs, found = np.random.default_rng(4).standard_normal((10, B, I)), []
    for each in (cell, other):
        layer = Recurrent(type(each), I, H, dtype=np.float64)
        layer.cells[0] = each
        found.append(layer(Tensor(xs))[0].numpy())
    close([found[0]], [found[1]])
    assert abs(found[0]).max() > 0.1


def test_a_mogrifier_of_no_rounds_is_an_lstm() -> None:
    same_over_time(*both(MogrifierLSTMCell, rounds=0))


def test_a_mogrifier_whose_gates_are_half_open_is_an_lstm() -> None:
    cell, lstm = both(MogrifierLSTMCell)
    assert len(cell.rounds) == 5
    for k, gate in enumerate(cell.rounds):
        name = "UW"[k % 2 == 0]
        getattr(gate, name).data = np.zeros_like(getattr(gate, name).data)
    same_over_time(cell, lstm)


def test_the_rounds_of_a_mogrifier_gate_the_input_first_and_the_state_then() -> None:
    x, (h, c) = given(drawn(MogrifierLSTMCell))
    one, none = drawn(MogrifierLSTMCell, rounds=1), drawn(MogrifierLSTMCell, rounds=0)
    for name in "ifog":  # then only the input is read
        getattr(none, name).W.data = np.zeros((H, H))
        setattr(one, name, getattr(none, name))
    assert not np.allclose(stepped(one, x, [h, c])[0], stepped(none, x, [h, c])[0])
    for name in "ifog":  # then only the state is
        getattr(none, name).W.data, getattr(none, name).U.data = np.ones((H, H)), np.zeros((I, H))
    close(stepped(one, x, [h, c]), stepped(none, x, [h, c]))


def test_a_multiplicative_integration_of_sums_alone_is_an_lstm() -> None:
    cell, lstm = both(MultiplicativeIntegrationLSTMCell)
    for name in "ifog":
        cell.alpha[name].data = np.zeros(H)
        cell.beta_x[name].data = cell.beta_h[name].data = np.ones(H)
    same_over_time(cell, lstm)


def test_its_weights_begin_where_one_says() -> None:
    cell = MultiplicativeIntegrationLSTMCell(I, H, alpha=2.0, beta=0.25)
    for name in "ifog":
        for part, value in ((cell.alpha, 2.0), (cell.beta_x, 0.25), (cell.beta_h, 0.25)):
            np.testing.assert_array_equal(part[name].data, np.full(H, value))


def test_a_hyper_lstm_whose_scales_are_one_is_an_lstm() -> None:
    cell, lstm = both(HyperLSTMCell)
    for name, D in cell.D.items():
        cell.z[name].W.data, cell.z[name].b.data = np.zeros_like(cell.z[name].W.data), np.ones(4)
        D.data = np.full((4, H), 0.0 if name.endswith("_b") else 0.25)
    same_over_time(cell, lstm)


def test_a_hyper_lstm_begins_near_an_lstm() -> None:
    cell = HyperLSTMCell(I, H, dtype=np.float64, rng=np.random.default_rng(1))
    lstm = LSTMCell(I, H, dtype=np.float64)
    for name in "ifog":
        setattr(lstm, name, getattr(cell, name))
    x, states = given(cell)
    states[2:] = [0 * s for s in states[2:]]
    np.testing.assert_allclose(stepped(cell, x, states)[0], stepped(lstm, x, states[:2])[0], atol=0.1)


def test_the_small_lstm_reads_the_input_and_the_large_ones_state() -> None:
    cell = drawn(HyperLSTMCell, size=3, embedding=2)
    small: Any = LSTMCell(H + I, 3, dtype=np.float64)
    for p, other in zip(small.parameters(), cell.small.parameters(), strict=True):
        p.data = other.data
    x, (h, c, small_h, small_c) = given(cell)
    close(stepped(cell, x, [h, c, small_h, small_c])[2:], stepped(small, np.hstack([h, x]), [small_h, small_c]))


def test_a_fastgrnn_that_writes_what_it_forgets_is_an_update_gate_network_of_one_pair_of_matrices() -> None:
    cell, other = drawn(FastGRNNCell), drawn(UGRNNCell)
    cell.zeta.data, cell.nu.data = np.full(1, 1000.0), np.full(1, -1000.0)
    for gate, b in ((other.g, cell.z_b), (other.n, cell.n.b)):
        gate.U.data, gate.W.data, gate.b.data = cell.n.U.data, cell.n.W.data, b.data
    same_over_time(cell, other)


def test_the_two_numbers_of_a_fastgrnn_begin_where_one_says() -> None:
    cell = FastGRNNCell(I, H, zeta=0.5, nu=-2.0)
    assert (cell.zeta.item(), cell.nu.item()) == (0.5, -2.0)
    usual = FastGRNNCell(I, H)
    assert (usual.zeta.item(), usual.nu.item()) == (1.0, -4.0)


def test_the_searched_cell_multiplies_one_pair_of_products_and_adds_the_others() -> None:
    cell = drawn(NASCell)
    x, states = given(cell)
    nothing = stepped(cell, 0 * x, [0 * states[0], states[1]])
    cell.a3.U.data = -cell.a3.U.data  # of an input that is 0 it changes nothing
    cell.a3.b.data = cell.a3.b.data + 1
    close(stepped(cell, 0 * x, [0 * states[0], states[1]]), nothing)
    cell.a2.b.data = cell.a2.b.data + 1
    assert not np.allclose(stepped(cell, 0 * x, [0 * states[0], states[1]])[1], nothing[1])


@pytest.mark.parametrize("kind", [HyperLSTMCell, MogrifierLSTMCell])
def test_every_gate_of_a_cell_of_many_has_a_name_of_its_own(kind: type[Cell]) -> None:
    names = [gate.name for gate in kind(I, H).all_gates()]
    assert len(names) == len(set(names)) > 8


@pytest.mark.parametrize(
    ("kind", "option", "value", "least"),
    [
        *((MogrifierLSTMCell, "rounds", value, 0) for value in (-1, 1.5, True)),
        (HyperLSTMCell, "size", 0, 1),
        (HyperLSTMCell, "embedding", 0, 1),
    ],
)
def test_sizes_without_sense_are_refused_by_name(kind: type[Cell], option: str, value: Any, least: int) -> None:
    with pytest.raises(ValueError, match=f"{option} must be a whole number of at least {least}, got {value}"):
        kind(I, H, **{option: value})


# --- All new cells over long sequences -----------------------------------------------------------------------

NEW = """slstm mlstm cornn lem clockwork lmu mogrifier-lstm nas fastgrnn antisymmetric-rnn lipschitz-rnn hyper-lstm
mi-lstm""".split()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize("name", NEW)
def test_a_thousand_steps_leave_numbers_and_gradients_finite_however_large_the_inputs(name: str, size: float) -> None:
    layer = Recurrent(VARIANTS[name], I, H, rng=np.random.default_rng(0))
    xs = Tensor((size * np.random.default_rng(5).standard_normal((1000, B, I))).astype(np.float32), requires_grad=True)
    outputs, state = layer(xs)
    outputs.sum().backward()
    assert outputs.numpy().any()
    for array in (outputs.numpy(), *(s.numpy() for s in state), *(t.grad for t in (xs, *layer.parameters()))):
        assert np.isfinite(array).all()
