"""The encoder-decoder: a plain loop of the papers' equations, padding, gradients, and what it writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.backend import to_device
from tinygrad_rnn.models import Cell, EncoderDecoder, LSTMCell, encoder_decoder
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.encoder_decoder import ATTENTIONS
from tinygrad_rnn.models.softmaxes import SOFTMAXES

SOURCES, TARGETS, E, H = 7, 6, 3, 4
START, END = 2, 3
LENGTHS = np.array([4, 1, 3])

every_attention = pytest.mark.parametrize("attention", ATTENTIONS)


def made(
    attention: str = "additive", embedding: int = E, hidden: int = H, layers: int = 1, seed: int = 0, **options: Any
) -> EncoderDecoder:
    """One in float64, with biases that are not zero."""
    rng = np.random.default_rng(seed)
    given: dict[str, Any] = {"attention": attention, "dtype": np.float64, "rng": rng, **options}
    model = EncoderDecoder(SOURCES, TARGETS, embedding, hidden, layers, **given)
    for p in model.parameters():
        p.data = p.data + 0.3 * rng.standard_normal(p.shape)
    return model


def batch(seed: int = 0, steps: int = 5) -> tuple[Any, Any, Any]:
    """Sources (S,B), and inputs and targets (T,B)."""
    rng = np.random.default_rng(seed)
    shapes: list[tuple[int, tuple[int, int]]] = [(SOURCES, (4, 3)), (TARGETS, (steps, 3)), (TARGETS, (steps, 3))]
    source, inputs, targets = (rng.integers(1, classes, shape) for classes, shape in shapes)
    return source, inputs, targets


# --- The equations ---------------------------------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def moved(cell: Any, x: Any, states: Any) -> Any:
    """A step of a GRU or an LSTM, for one row."""
    h = states[0]
    pre = {name: x @ gate.U.data + gate.b.data for name, gate in vars(cell).items() if hasattr(gate, "U")}
    rec = {name: h @ getattr(cell, name).W.data for name in pre}
    if isinstance(cell, LSTMCell):
        i, f, o = (sigmoid(pre[name] + rec[name]) for name in "ifo")
        c = f * states[1] + i * np.tanh(pre["g"] + rec["g"])
        return o * np.tanh(c), c
    z, r = (sigmoid(pre[name] + rec[name]) for name in "zr")
    return ((1 - z) * np.tanh(pre["n"] + r * rec["n"]) + z * h,)


def by_hand(model: Any, attention: str, source: Any, inputs: Any) -> tuple[Any, Any]:
    """What the softmax of one row is made of, (T,H), and the weights (T,S): source (S,), inputs (T,)."""
    outputs, layers = model.source.weight.data[source], len(model.decoder)
    for layer in range(layers):
        ways = []
        for direction, cell in enumerate(model.encoder.cells[2 * layer : 2 * layer + 2]):
            states, said = [np.zeros(H // 2)] * len(cell.states), []
            for x in outputs[:: -1 if direction else 1]:
                states = moved(cell, x, states)
                said.append(states[0])
            ways.append(np.array(said)[:: -1 if direction else 1])
        outputs = np.concatenate(ways, axis=1)
    read = np.concatenate([outputs[-1, : H // 2], outputs[0, H // 2 :]])
    first = np.tanh(read @ model.bridge.weight.data + model.bridge.bias.data).reshape(layers, -1, H)
    states, fed = list(first), np.zeros(H)
    seen, alignment = [], []
    for y in model.target.weight.data[inputs]:

        def attended(query: Any) -> Any:
            a = model.attention
            if attention == "additive":
                scores = np.tanh(query @ a.W.data + outputs @ a.U.data) @ a.v.data
            else:
                scores = outputs @ (query @ a.W.data if attention == "general" else query)
            weights = np.exp(scores) / np.exp(scores).sum()
            alignment.append(weights)
            return weights @ outputs

        if attention == "additive":
            found = attended(states[-1][0])
            x = np.concatenate([y, found])
        else:
            x = y if attention == "none" else np.concatenate([y, fed])
        for layer, cell in enumerate(model.decoder):
            states[layer] = moved(cell, x, states[layer])
            x = states[layer][0]
        if attention in ("dot", "general"):
            found = attended(x)
        if attention != "none":
            x = fed = np.tanh(np.concatenate([x, found]) @ model.combined.weight.data + model.combined.bias.data)
        seen.append(x)
    return np.array(seen), np.array(alignment)


@pytest.mark.parametrize(("cell", "layers"), [("gru", 1), ("lstm", 2)])
@every_attention
def test_it_is_a_plain_loop_of_its_papers_equations(attention: str, cell: str, layers: int) -> None:
    model: Any = made(attention, E, H, layers, cell=CELLS[cell])
    source, inputs, targets = batch()
    seen, weights = model(source, LENGTHS, inputs)
    assert (weights is None) == (attention == "none")
    for b, length in enumerate(LENGTHS):
        expected, alignment = by_hand(model, attention, source[:length, b], inputs[:, b])
        np.testing.assert_allclose(seen.numpy()[:, b], expected, rtol=1e-10)
        if weights is not None:
            np.testing.assert_allclose(weights.numpy()[:, b, :length], alignment, rtol=1e-10)
            assert not weights.numpy()[:, b, length:].any()
    logits = seen.numpy() @ model.output.weight.data + model.output.bias.data
    nats = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    assert model.loss(source, LENGTHS, inputs, targets).item() == pytest.approx(nats.mean())
    counting = targets != 1
    ignoring = model.loss(source, LENGTHS, inputs, targets, ignore_index=1, reduction="sum")
    assert ignoring.item() == pytest.approx(nats[counting].sum()) and not counting.all()


@every_attention
def test_gradients_are_those_of_finite_differences(attention: str) -> None:
    model, rng = made(attention, 2, 2, cell=CELLS["minlstm"]), np.random.default_rng(1)
    source, inputs, targets = batch(steps=2)
    values = {name: (p.data, rng.standard_normal(p.shape)) for name, p in model.named_parameters()}

    def loss(along: Any) -> Any:  # all Parameters move in a direction drawn by chance
        own = model.with_values({name: at + along * direction for name, (at, direction) in values.items()})
        return own.loss(source, LENGTHS, inputs, targets)

    tg.gradcheck(loss, tg.Tensor(0.0))


@settings(max_examples=6)
@given(more=st.integers(0, 2), further=st.integers(0, 2), attention=st.sampled_from(ATTENTIONS), seed=st.integers(0, 9))
def test_padding_and_other_rows_change_nothing(more: int, further: int, attention: str, seed: int) -> None:
    with tg.compiled(False):  # each shape would be compiled
        check_padding(more, further, attention, seed)


def dense(gradient: Any) -> Any:
    return gradient.dense() if isinstance(gradient, tg.RowSparse) else gradient


def check_padding(more: int, further: int, attention: str, seed: int) -> None:
    model, (source, inputs, targets) = made(attention), batch(seed)
    ends = np.array([5, 2, 1])
    targets[np.arange(5)[:, None] >= ends] = 0
    alone = [
        model.loss(source[:n, [b]], [n], inputs[:m, [b]], targets[:m, [b]], reduction="sum")
        for b, (n, m) in enumerate(zip(LENGTHS, ends, strict=True))
    ]
    tg.ops.stack(alone).sum().backward()
    own = [dense(p.grad) for p in model.parameters()]
    model.zero_grad()
    rng = np.random.default_rng(seed)
    wide = np.concatenate([source, rng.integers(0, SOURCES, (more, 3))])
    filled = np.arange(len(wide))[:, None] >= LENGTHS
    wide[filled] = rng.integers(0, SOURCES, filled.sum())
    inputs = np.concatenate([inputs, rng.integers(0, TARGETS, (further, 3))])
    asked = np.concatenate([targets, np.zeros((further, 3), np.int64)])
    found = model.loss(wide, LENGTHS, inputs, asked, ignore_index=0, reduction="sum")
    assert found.item() == pytest.approx(sum(each.item() for each in alone))
    found.backward()
    for p, expected in zip(model.parameters(), own, strict=True):
        np.testing.assert_allclose(dense(p.grad), expected, rtol=1e-9, atol=1e-12)


# --- What it writes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attention", "softmax"), [*((a, "full") for a in ATTENTIONS), ("additive", "two-level")])
@pytest.mark.parametrize("how", ["greedy", "beam"])
def test_what_it_writes_has_the_probability_that_the_loss_gives_it(attention: str, softmax: str, how: Any) -> None:
    model = made(attention, E, H, 2, softmax=softmax, cell=LSTMCell, seed=3)
    source, _, _ = batch()
    found = model.decode(source, LENGTHS, START, END, how=how, max_length=4, never=(0, 1, START))
    for b, ids in enumerate(found.sequences):
        written = [START, *ids, END] if found.ended[b] else [START, *ids]
        inputs, targets = np.array(written[:-1])[:, None], np.array(written[1:])[:, None]
        nats = model.loss(source[:, [b]], LENGTHS[[b]], inputs, targets, reduction="sum").item()
        assert found.log_probs[b] == pytest.approx(-nats) and not {0, 1, START} & set(ids)
    alone = [model.decode(source[:n, [b]], [n], START, END, how=how, max_length=4, never=(0, 1, START)).sequences[0]
             for b, n in enumerate(LENGTHS)]  # fmt: skip
    assert found.sequences == alone


# --- Cells, noise, and what does not fit -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qrnn", "memory", "scrn", "projected-lstm", "phased-lstm"])
def test_cells_of_other_states_and_outputs_begin_with_what_was_read_where_they_can(name: str) -> None:
    model = made("general", cell=CELLS[name])
    state, _ = model.encode(batch()[0], LENGTHS)
    (cell,), (states,) = model.decoder, state.states
    for kind, shape, value, usual in zip(cell.states, cell.state_shapes, states, cell.initial_state(3), strict=True):
        plain = len(shape) > 1 or kind in cell.kept.split()
        assert np.array_equal(value.numpy(), usual.numpy()) == plain, kind
    source, inputs, targets = batch()
    model.loss(source, LENGTHS, inputs, targets).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.slow
def test_noise_is_drawn_where_there_is_a_generator_between_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (source, inputs, _) = made("dot", E, H, 2, dropout=0.5), batch()

    def seen(seed: int | None) -> Any:
        return model(source, LENGTHS, inputs, None if seed is None else np.random.default_rng(seed))[0].numpy()

    np.testing.assert_array_equal(seen(None), seen(None))
    np.testing.assert_array_equal(seen(0), seen(0))
    assert not np.allclose(seen(0), seen(None)) and not np.allclose(seen(0), seen(1))
    found = []
    for kept in (0.0, 1.0):
        monkeypatch.setattr(encoder_decoder, "dropout_mask", lambda shape, *_, kept=kept: np.full(shape, kept))
        found.append(seen(0))
    assert not np.allclose(*found), "the decoder's second layer reads what the mask leaves"


@pytest.mark.usefixtures("library")
@pytest.mark.filterwarnings("ignore:.*plain loop, because take is not done:tinygrad_rnn.ScanWarning")
def test_on_a_device_it_computes_and_writes_the_same() -> None:
    model, (source, inputs, targets) = made("additive", E, H, 2, dropout=0.5), batch()
    loss = model.loss(source, LENGTHS, inputs, targets, ignore_index=1).item()
    written = model.decode(source, LENGTHS, START, END, how="beam", max_length=3).sequences
    model.to("cuda")
    source, inputs, targets = (to_device(array, "cuda") for array in (source, inputs, targets))
    assert model.loss(source, LENGTHS, inputs, targets, ignore_index=1).item() == pytest.approx(loss)
    assert model.decode(source, LENGTHS, START, END, how="beam", max_length=3).sequences == written
    model.loss(source, LENGTHS, inputs, targets, rng=np.random.default_rng(0)).backward()


def test_what_does_not_fit_is_told() -> None:
    class Kept(Cell):
        gates, state, kept = "n", "h", "h"

        def step(self, x: Any, h: Any) -> Any:
            return self.n(x, h)

    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"attention": "self"}, "attention must be one of additive, dot, general, none, got 'self'"),
        ({"softmax": "half"}, "softmax must be one of full, adaptive, two-level, got 'half'"),
        ({"cell": Kept}, "cell must have a state that can begin with what was read, a vector; got Kept"),
    )
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            made(**options)
    with pytest.raises(ValueError, match="hidden_size must be even, half for each direction of the encoder, got 3"):
        made("none", E, 3)
    with pytest.raises(ValueError, match="lengths must be 3 whole numbers between 0 and 4"):
        made()(batch()[0], np.array([5, 1, 1]), batch()[1])
    one_way = made("dot", E, 3, bidirectional=False)
    assert one_way(batch()[0], LENGTHS, batch()[1])[0].shape == (5, 3, 3) and "adaptive" in SOFTMAXES
