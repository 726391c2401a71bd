"""The language model: its loss, tied weights, carried state, and what it refuses."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from substitution import gradcheck_of_everything, randomised

from tinygrad_rnn import RowSparse, Tensor, ops
from tinygrad_rnn.models import Cell, GRUCell, LanguageModel, LSTMCell, RNNCell, perplexity
from tinygrad_rnn.ops.rows import Reduction

F8 = NDArray[np.float64]
V, E, H, T, B = 7, 4, 4, 5, 3


def build(*args: Any, seed: int = 0, **options: Any) -> Any:
    sizes = args or (V, E, H)
    return randomised(LanguageModel(*sizes, dtype=np.float64, **options), seed)


def tokens(*shape: int, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng([seed, *shape]).integers(0, V, shape)


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


IDS, TARGETS = tokens(T, B), tokens(T, B, seed=1)


class Minimal(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h + ops.tanh(self.n(x, h))


# --- Values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "cell"), [("rnn", RNNCell), ("gru", GRUCell), ("lstm", LSTMCell), (Minimal, Minimal)])
def test_logits_are_an_affine_map_of_what_the_cells_make_of_the_embeddings(name: Any, cell: type[Cell]) -> None:
    model = build(V, 3, 5, cell=name)
    (own,) = model.recurrent.cells
    assert type(own) is cell
    state, expected = own.initial_state(B), []
    for t in range(T):
        state = own.advance(Tensor(model.embedding.weight.data[IDS[t]]), state)
        expected.append(state[0].numpy() @ model.output_weight.data + model.output_bias.data)
    logits, last = model(IDS)
    close(logits.numpy(), np.stack(expected))
    for a, b in zip(last, state, strict=True):
        close(a.numpy()[0], b.numpy())


@given(
    tied=st.booleans(),
    weighted=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_loss_is_the_cross_entropy_of_the_logits(
    tied: bool, weighted: bool, reduction: Reduction, seed: int
) -> None:
    model = build(num_layers=2, tied=tied, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 3, (T, B)) / 2 if weighted else np.ones((T, B))
    loss, state = model.loss(IDS, TARGETS, weights if weighted else None, reduction=reduction)
    logits, expected_state = model(IDS)
    scores = logits.numpy()
    each = np.log(np.exp(scores).sum(axis=-1)) - np.take_along_axis(scores, TARGETS[..., None], -1)[..., 0]
    each = each * weights
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / max(weights.sum(), 1e-300)}[reduction]
    close(loss.numpy(), expected)
    close(state[0].numpy(), expected_state[0].numpy())
    composite = ops.softmax_cross_entropy(logits, TARGETS, weights, reduction=reduction)
    close(loss.numpy(), composite.numpy())
    gradients: list[list[F8]] = []
    for out in (loss, composite):
        model.zero_grad()
        out.sum().backward()
        gradients.append([p.grad.dense() if isinstance(p.grad, RowSparse) else p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        close(a, b)


def test_a_masked_batch_gives_the_mean_over_the_words_of_its_sentences() -> None:
    model, lengths = build(), [5, 2, 3]
    live = np.arange(T)[:, None] < lengths
    padded, _ = model.loss(np.where(live, IDS, 0), np.where(live, TARGETS, 0), live, lengths=lengths)
    total = 0.0
    for b, n in enumerate(lengths):
        alone, _ = model.loss(IDS[:n, b : b + 1], TARGETS[:n, b : b + 1], reduction="sum")
        total += alone.item()
    close(padded.item(), total / sum(lengths))


@given(cuts=st.lists(st.integers(0, T), max_size=3))
def test_chunks_with_the_carried_state_are_the_whole_stream(cuts: list[int]) -> None:
    model = build(num_layers=2, cell="lstm")
    whole, last = model.loss(IDS, TARGETS, reduction="none")
    bounds, state, losses = [0, *sorted(cuts), T], None, []
    for start, stop in pairwise(bounds):
        loss, state = model.loss(IDS[start:stop], TARGETS[start:stop], state=state, reduction="none")
        losses.append(loss.numpy())
    close(np.concatenate(losses), whole.numpy())
    assert state is not None
    for a, b in zip(state, last, strict=True):
        close(a.numpy(), b.numpy())


def test_an_untrained_model_finds_all_words_about_equally_likely() -> None:
    model = LanguageModel(1000, 16, 16)
    loss, _ = model.loss(tokens(20, 4), tokens(20, 4, seed=1))
    assert abs(loss.item() / math.log(1000) - 1) < 0.02


def test_perplexity_is_the_number_of_equally_likely_words() -> None:
    assert perplexity(0.0) == 1.0
    assert math.isclose(perplexity(math.log(50)), 50)
    assert math.isfinite(perplexity(1e9))  # of a diverged model, which must not end a run


# --- Softmaxes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", ["adaptive", "two-level"])
def test_with_another_softmax_the_loss_is_that_of_its_probabilities_which_sum_to_one(softmax: str) -> None:
    model = build(softmax=softmax)
    scores, state = model(IDS)
    np.testing.assert_allclose(np.exp(scores.numpy()).sum(axis=-1), 1.0, rtol=1e-12)
    losses, last = model.loss(IDS, TARGETS, reduction="none")
    close(losses.numpy(), -np.take_along_axis(scores.numpy(), TARGETS[..., None], -1)[..., 0])
    close(last[0].numpy(), state[0].numpy())
    weights = tokens(T, B, seed=2) / 3
    close(model.loss(IDS, TARGETS, weights)[0].item(), (losses.numpy() * weights).sum() / weights.sum())
    assert {name.partition(".")[0] for name in model.state_dict()} == {"embedding", "recurrent", "output"}
    assert model.vocab_size == V and not model.tied


def test_the_full_softmax_is_linear_cross_entropy_and_a_product_bit_for_bit() -> None:
    for tied in (False, True):
        model = build(tied=tied)
        hidden, _ = model.hidden(IDS)
        W, b = (model.embedding.weight.T if tied else model.output_weight), model.output_bias
        assert model.loss(IDS, TARGETS)[0].item() == ops.linear_cross_entropy(hidden, W, b, TARGETS).item()
        np.testing.assert_array_equal(model(IDS)[0].numpy(), (hidden @ W + b).numpy())
        assert model.tied == tied and [*model.state_dict()][-1] == "output_bias"


def test_a_softmax_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="softmax must be full, adaptive, two-level, got 'sparse'"):
        LanguageModel(V, E, H, softmax="sparse")
    with pytest.raises(ValueError, match=r"tied=True needs a full softmax, .* got 'adaptive'"):
        LanguageModel(V, E, H, tied=True, softmax="adaptive")
    assert not LanguageModel(V, E, H, tied=None, softmax="adaptive").tied and LanguageModel(V, E, H, tied=None).tied


# --- Tied weights -------------------------------------------------------------------------------------------


def test_tied_weights_are_one_table_that_gets_the_sum_of_both_gradients() -> None:
    tied = build(tied=True)
    names = [name for name, _ in tied.named_parameters()]
    assert "output_weight" not in names
    assert names[0] == "embedding.weight"
    untied = build()
    state = tied.state_dict() | {"output_weight": tied.embedding.weight.data.T}
    untied.load_state_dict(state)
    one, two = tied.loss(IDS, TARGETS)[0], untied.loss(IDS, TARGETS)[0]
    close(one.item(), two.item())
    one.backward()
    two.backward()
    assert isinstance(untied.embedding.weight.grad, RowSparse)
    assert isinstance(tied.embedding.weight.grad, np.ndarray)  # dense: the output uses every row
    close(tied.embedding.weight.grad, untied.embedding.weight.grad.dense() + untied.output_weight.grad.T)


def test_untied_embeddings_touch_the_rows_that_were_read_and_no_others() -> None:
    model = build()
    model.loss(np.array([[1], [5], [1]]), np.array([[5], [1], [2]]))[0].backward()
    np.testing.assert_array_equal(model.embedding.weight.grad.rows, [1, 5])


@pytest.mark.parametrize("tied", [pytest.param(False, marks=pytest.mark.slow), True])
def test_derivatives_by_every_weight_agree_with_finite_differences(tied: bool) -> None:
    model = build(4, 2, 2, tied=tied, seed=2)
    ids, targets, weights = (
        np.array([[0, 3], [2, 0], [3, 1]]),
        np.array([[2, 0], [3, 1], [1, 1]]),
        [[1, 1], [1, 0.5], [1, 0]],
    )
    state = np.random.default_rng(0).standard_normal((1, 2, 2))

    def loss(model: Any, state: Tensor) -> Tensor:
        nats: Tensor = model.loss(ids, targets, weights, state)[0]
        return nats

    gradcheck_of_everything(model, loss, state, order=2)


# --- Training, options, dtypes ------------------------------------------------------------------------------


def test_dropout_works_where_a_generator_is_given_and_only_there() -> None:
    model = build(num_layers=2, dropout=0.5)
    quiet = model(IDS)[0].numpy()
    np.testing.assert_array_equal(quiet, model(IDS)[0].numpy())
    one, two = (model(IDS, rng=np.random.default_rng(3))[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - quiet).max() > 1e-3
    loss, _ = model.loss(IDS, TARGETS, rng=np.random.default_rng(3))
    close(loss.item(), ops.softmax_cross_entropy(Tensor(one), TARGETS).item())


def test_dropout_stands_on_the_embeddings_and_before_the_output() -> None:
    model = build(V, 200, 200, cell="rnn", dropout=0.5)
    (cell,) = model.recurrent.cells
    model.embedding.weight.data = np.full((V, 200), 0.3)
    cell.n.U.data, cell.n.W.data, cell.n.b.data = np.eye(200), np.zeros((200, 200)), np.zeros(200)
    seen = model.hidden(IDS, rng=np.random.default_rng(0))[0].numpy()
    np.testing.assert_allclose(np.unique(seen), [0, 2 * np.tanh(0.6)])
    assert abs((seen == 0).mean() - 0.75) < 0.03  # dropped before, after, or both


def test_options_reach_the_recurrent_layer_and_its_cells() -> None:
    model = build(
        V, 5, 5, num_layers=2, recurrent_dropout=0.25, zoneout=0.1, residual=True, reset="before", gate="hard_sigmoid"
    )
    layer = model.recurrent
    assert (layer.recurrent_dropout, layer.zoneout, layer.residual) == (0.25, 0.1, True)
    assert {(cell.reset, cell.gate) for cell in layer.cells} == {("before", "hard_sigmoid")}


def test_a_model_cast_to_another_dtype_works_in_it() -> None:
    model = LanguageModel(V, E, H)
    loss, state = model.loss(IDS, TARGETS)
    assert {loss.dtype, state[0].dtype} == {np.dtype("f4")}
    assert model.astype(np.float64) is model
    precise, state = model.loss(IDS, TARGETS)
    assert {precise.dtype, state[0].dtype} == {np.dtype("f8")}
    assert abs(precise.item() - loss.item()) < 1e-5
    precise.backward()
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype("f8")}


def test_weights_saved_from_one_model_make_another_the_same() -> None:
    one, two = build(seed=1), build(seed=2)
    two.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(IDS)[0].numpy(), two(IDS)[0].numpy())


def test_the_same_generator_gives_the_same_model() -> None:
    one, two, other = (LanguageModel(V, E, H, rng=np.random.default_rng(s)).state_dict() for s in (1, 1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert not np.array_equal(one["embedding.weight"], other["embedding.weight"])


# --- Mistakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tied": True, "embedding_size": 3}, ValueError, "tied=True needs embedding_size == hidden_size, got 3 and 4"),
        (
            {"cell": "transformer"},
            ValueError,
            "cell must be rnn, gru, lstm, one of models.variants or a class made with Cell, got 'transformer'",
        ),
        ({"cell": int}, TypeError, "cell must be a class made with Cell"),
        ({"bidirectional": True}, ValueError, "a language model cannot be bidirectional"),
        ({"vocab_size": 0}, ValueError, "vocab_size must be a whole number of at least 1, got 0"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be a whole number of at least 1, got 0"),
        ({"dropout": 1}, ValueError, "dropout must be at least 0 and below 1, got 1"),
        (
            {"layers": 2},
            TypeError,
            "GRUCell: its options are reset, update, recurrent_bias, gate; got an unexpected keyword argument 'layers'",
        ),
    ],
)
def test_a_model_that_cannot_be_built_says_why(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    options: dict[str, Any] = {"vocab_size": V, "embedding_size": E, "hidden_size": H} | arguments
    with pytest.raises(error, match=re.escape(message)):
        LanguageModel(**options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ids": IDS + V}, IndexError, f"Embedding: ids must lie between 0 and {V - 1}, got"),
        ({"ids": IDS - V}, IndexError, f"Embedding: ids must lie between 0 and {V - 1}, got -"),
        ({"ids": IDS / 2}, TypeError, "Embedding: ids must be integers, got dtype float64"),
        ({"ids": IDS[0]}, ValueError, "LanguageModel: ids must have the shape (T, B), got (3,)"),
        ({"targets": TARGETS[:2]}, ValueError, "targets must have the shape (5, 3), one per row, got (2, 3)"),
        ({"targets": np.full((T, B), V)}, IndexError, f"targets must lie between 0 and {V - 1}, got {V}"),
        ({"weights": np.ones(T)}, ValueError, "weights must have the shape (5, 3) of the targets, got (5,)"),
        ({"lengths": [1, 2]}, ValueError, "lengths must be 3 whole numbers between 0 and 5"),
        ({"reduction": "median"}, ValueError, 'reduction must be "mean", "sum" or "none", got \'median\''),
    ],
)
def test_a_loss_that_cannot_be_computed_says_why(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        build().loss(**({"ids": IDS, "targets": TARGETS} | arguments))


def test_what_lies_past_a_rows_length_does_not_count_in_the_loss() -> None:
    model = LanguageModel(7, 3, 4, dtype=np.float64)
    ids = np.arange(12).reshape(4, 3) % 7
    lengths = [4, 2, 0]
    weights = (np.arange(4)[:, None] < np.array(lengths)).astype(np.float64)
    implied, given = model.loss(ids, ids, lengths=lengths)[0], model.loss(ids, ids, weights, lengths=lengths)[0]
    assert implied.item() == given.item() != model.loss(ids, ids)[0].item()
