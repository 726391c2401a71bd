"""Modules find their Parameters by walking; and the layers without time: Linear, Dropout, LayerNorm, Embedding."""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from substitution import gradcheck_of_everything, randomised

from tinygrad_rnn import DeviceUnavailable, Parameter, RowSparse, Tape, Tensor, explain, gradcheck, ops
from tinygrad_rnn.models import GRU, Cell, Dropout, Embedding, LanguageModel, LayerNorm, Linear, Module, Recurrent
from tinygrad_rnn.models.embedding import read_vectors
from tinygrad_rnn.models.module import within

F8 = NDArray[np.float64]


def draw(*shape: int, seed: int = 1) -> F8:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# --- Walking -------------------------------------------------------------------------------------------------


class Everything(Module):
    """Parameters wherever they can stand."""

    def __init__(self) -> None:
        self.first = Parameter([1.0, 2.0])
        self.layers = [Linear(2, 3), (Linear(3, 1, bias=False), "text")]
        self.table = {"a": Parameter(3.0), 7: {"deep": Linear(1, 1)}}
        self.again = self.first
        self.both = [self.layers[0], self.layers[0]]
        self.nothing, self.number, self.constant = None, 3, Tensor([1.0, 2.0], requires_grad=True)
        self.me = self


def test_parameters_are_found_once_in_attributes_lists_tuples_and_dictionaries_in_order() -> None:
    model = Everything()
    assert [name for name, _ in model.named_parameters()] == [
        "first",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.0.weight",
        "table.a",
        "table.7.deep.weight",
        "table.7.deep.bias",
    ]
    assert all(isinstance(p, Parameter) for p in model.parameters())
    assert model.size == 2 + 6 + 3 + 3 + 1 + 1 + 1
    assert model.device == "cpu"


def test_a_module_without_parameters_is_one_too() -> None:
    class Empty(Module):
        pass

    assert (Empty().parameters(), Empty().size, Empty().state_dict(), Empty().device) == ([], 0, {}, "cpu")


def test_a_module_prints_its_parameters_and_their_number() -> None:
    assert repr(Linear(2, 3)) == "Linear: 9 parameters\n  weight (2, 3)\n  bias (3,)"


def test_shared_weights_stay_shared_and_are_trained_once() -> None:
    model = Everything()
    clone = copy.deepcopy(model)
    assert clone.again is clone.first
    assert clone.first is not model.first
    clone.load_state_dict(model.state_dict() | {"first": np.array([5.0, 6.0])})
    np.testing.assert_array_equal(clone.again.data, [5, 6])
    np.testing.assert_array_equal(model.first.data, [1, 2])


def test_the_check_that_tests_share_holds_however_python_is_started() -> None:
    def of_x_alone(model: Linear, x: Tensor) -> Tensor:
        return x * 2.0

    with pytest.raises(AssertionError, match=r"no gradient reaches .*weight"):  # which `python -O` would drop
        gradcheck_of_everything(Linear(2, 3), of_x_alone, np.ones((1, 2)))


def test_zero_grad_forgets_every_gradient() -> None:
    model = Linear(2, 3)
    model(Tensor([[1.0, 2.0]])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


class Holding(Module):
    """What it is given, and a Linear behind it."""

    held: Any
    pair: Any
    table: Any

    def __init__(self, **held: Any) -> None:
        vars(self).update(held)
        self.own = Linear(2, 2, dtype=np.float64)


def holding_itself(way: str) -> Holding:
    model = Holding()
    held: Any = {"module": model, "list": [model], "dict": {0: model}, "tuple": ([model], 3)}[way]
    if way == "list":
        held.append(held)
    if way == "dict":
        held[1] = held
    model.held = held
    return model


@pytest.mark.parametrize("way", ["module", "list", "dict", "tuple"])
def test_a_module_that_holds_itself_is_walked_copied_and_replaced_in(way: str) -> None:
    model = holding_itself(way)
    assert [name for name, _ in model.named_parameters()] == ["own.weight", "own.bias"]
    assert [type(each).__name__ for each in within(model)] == ["Holding", "Linear"]
    weight = Tensor(np.ones((2, 2)))
    other = model.with_values({"own.weight": weight})
    assert other is not model
    assert other.own.weight is weight
    assert other.own.bias is model.own.bias
    assert model.own.weight is not weight
    for each in (model, other):
        inner = each.held if way == "module" else each.held[0][0] if way == "tuple" else each.held[0]
        assert inner is each
        assert way not in ("list", "dict") or each.held[1] is each.held
    assert model.astype(np.float32).own.weight.dtype == np.float32
    assert model.size == 6
    assert "own.weight (2, 2)" in repr(model)


def within_one_more(kind: str, thing: Any) -> Any:
    if kind == "module":
        return Holding(held=thing)
    return {0: thing} if kind == "dict" else [thing] if kind == "list" else (thing,)


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "module"])
def test_parameters_lie_as_deep_as_one_likes(kind: str) -> None:
    deep: Any = (innermost := Parameter(np.ones(2)))
    for _ in range(5000):
        deep = within_one_more(kind, deep)
    model, value = Holding(held=deep), Tensor(np.zeros(2))
    (name,) = (name for name, p in model.named_parameters() if p is innermost)
    assert name.count(".") == 5000
    found = model.with_values({name: value}).held
    for _ in range(5000):
        found = found.held if kind == "module" else found[0]
    assert found is value
    assert len([*within(model)]) == (10_002 if kind == "module" else 2)


class Pair(NamedTuple):
    one: Any
    other: Any


def test_values_are_replaced_in_named_tuples_and_special_containers_of_their_kind() -> None:
    model = Holding(pair=Pair(Parameter([1.0]), 3), table=OrderedDict(b=Parameter([2.0]), a=1))
    other = model.with_values({"pair.0": Tensor([5.0]), "table.b": Tensor([6.0])})
    assert type(other.pair) is Pair
    assert (other.pair.one.item(), other.pair.other) == (5, 3)
    assert type(other.table) is OrderedDict
    assert (list(other.table), other.table["b"].item()) == (["b", "a"], 6)
    assert model.pair.one.item() == 1


def test_a_parameter_without_a_name_is_called_by_the_path_to_it() -> None:
    model = Holding(held=[Parameter([1.0]), Parameter([2.0], name="mine")])
    model.parameters()
    assert [p.name for p in model.held] == ["held.0", "mine"]
    assert "held.0" in str(Tape((model.held[0] * 2).sum()))
    assert [p.name for p in Linear(2, 2).parameters()] == ["weight", "bias"]


def test_a_cells_parameters_are_called_by_their_path_in_the_cell_by_explain_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Eight(Cell):
        gates = "n"

        def setup(self) -> None:
            self.scales = [Parameter(np.ones(self.hidden_size)) for _ in range(8)]

        def step(self, x: Tensor, h: Tensor) -> Tensor:
            return ops.tanh(self.n(x, h) + sum(scale * h for scale in self.scales))

    explain(Recurrent(Eight, 2, 3), Tensor(np.ones((4, 2, 2), np.float32)))
    printed = capsys.readouterr().out
    assert all(f"dscales.{k} = " in printed for k in range(8))


# --- Saving, loading, casting, moving ------------------------------------------------------------------------


def test_a_state_dict_is_a_copy_and_its_round_trip_is_exact() -> None:
    one, two = (LanguageModel(5, 3, 4, rng=np.random.default_rng(s)) for s in (1, 2))
    saved = one.state_dict()
    assert set(saved) == {name for name, _ in one.named_parameters()}
    two.load_state_dict(saved)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert not np.shares_memory(p.data, q.data)
    saved["embedding.weight"][:] = 0
    assert one.embedding.weight.data.any()
    assert two.embedding.weight.data.any()


def test_loading_keeps_the_models_dtype_and_takes_arrays_of_any_layout() -> None:
    model = Linear(2, 3)
    weight = draw(3, 2)
    model.load_state_dict({"weight": weight.T, "bias": np.array([1, 2, 3])})
    assert {p.dtype for p in model.parameters()} == {np.dtype("f4")}
    np.testing.assert_array_equal(model.weight.data, weight.T.astype("f4"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bias": None}, ValueError, "load_state_dict: missing ['bias'], unexpected []"),
        ({"extra": np.zeros(1)}, ValueError, "load_state_dict: missing [], unexpected ['extra']"),
        ({"bias": np.zeros(2)}, ValueError, "load_state_dict: bias must have the shape (3,), got (2,)"),
        ({"bias": np.zeros((3, 1))}, ValueError, "load_state_dict: bias must have the shape (3,), got (3, 1)"),
        ({"bias": np.zeros(3, complex)}, TypeError, "real numbers or booleans was expected, got dtype complex128"),
        ({"bias": np.array(["a", "b", "c"])}, TypeError, "real numbers or booleans was expected"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = Linear(2, 3)
    before = model.state_dict()
    state = {"weight": np.ones((2, 3)), "bias": np.ones(3)} | change
    with pytest.raises(error, match=re.escape(message)):
        model.load_state_dict({name: value for name, value in state.items() if value is not None})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_astype_casts_every_weight_in_place_and_drops_the_gradients() -> None:
    model = GRU(2, 3)
    outputs, _ = model(np.ones((2, 1, 2), np.float32))
    outputs.sum().backward()
    first = model.parameters()[0]
    assert model.astype("f8") is model
    assert {p.dtype for p in model.parameters()} == {np.dtype("f8")}
    assert model.parameters()[0] is first
    assert first.grad is None
    with pytest.raises(TypeError, match="weights must be of a floating dtype, got int32"):
        model.astype(np.int32)


def test_a_model_moves_to_the_cpu_where_it_is_and_to_no_unknown_device() -> None:
    model = Linear(2, 3)
    before = model.state_dict()
    assert model.to("cpu") is model
    np.testing.assert_array_equal(model.weight.data, before["weight"])
    with pytest.raises(ValueError, match='device must be "cpu" or "cuda", got \'gpu\''):
        model.to("gpu")


def test_a_machine_without_cupy_or_gpu_says_what_it_lacks() -> None:
    try:
        Linear(2, 3).to("cuda")
    except DeviceUnavailable as error:
        assert 'device="cuda" needs' in str(error)  # with a GPU nothing is raised


# --- Linear, Dropout, LayerNorm ------------------------------------------------------------------------------


@given(shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), bias=st.booleans())
def test_linear_is_an_affine_map_of_the_last_axis(shape: tuple[int, ...], bias: bool) -> None:
    layer = randomised(Linear(2, 3, bias, dtype=np.float64))
    x = draw(*shape, 2)
    b = layer.bias.data if bias else 0.0
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), x @ layer.weight.data + b, rtol=1e-13, atol=1e-15)
    assert len(layer.parameters()) == 1 + bias


def test_linear_starts_glorot_uniform_with_a_bias_of_zero() -> None:
    layer = Linear(50, 30, dtype=np.float64)
    limit = np.sqrt(6 / 80)
    assert 0.99 * limit < np.abs(layer.weight.data).max() <= limit
    np.testing.assert_array_equal(layer.state_dict()["bias"], np.zeros(30))


def test_linear_and_layer_norm_have_the_right_derivatives() -> None:
    gradcheck_of_everything(
        randomised(Linear(2, 3, dtype=np.float64)), lambda layer, x: layer(x) ** 2, draw(2, 2), order=2
    )
    norm = randomised(LayerNorm(4, dtype=np.float64))
    gradcheck_of_everything(norm, lambda layer, x: layer(x), draw(3, 4), order=2)


def test_layer_norm_has_mean_zero_and_variance_one_before_it_scales_and_shifts() -> None:
    layer, x = LayerNorm(6, eps=1e-12, dtype=np.float64), Tensor(5 + 3 * draw(2, 4, 6))
    y = layer(x).numpy()
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-13)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-9)
    layer.gain.data, layer.bias.data = draw(6), draw(6, seed=2)
    np.testing.assert_allclose(layer(x).numpy(), y * layer.gain.data + layer.bias.data, rtol=1e-13)
    np.testing.assert_array_equal(LayerNorm(3)(Tensor(np.full((2, 3), 7, np.float32))).numpy(), np.zeros((2, 3)))


def test_dropout_zeroes_and_scales_with_a_generator_and_does_nothing_without() -> None:
    layer, x = Dropout(0.25), Tensor(np.ones((100, 50), np.float32), requires_grad=True)
    assert layer(x) is x
    y = layer(x, np.random.default_rng(0))
    np.testing.assert_allclose(np.unique(y.numpy()), [0, 4 / 3], rtol=1e-6)
    assert abs((y.numpy() == 0).mean() - 0.25) < 0.02
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.numpy())  # the gradient goes where the value went
    assert Dropout(0.0)(x, np.random.default_rng(0)) is x


HALF: Any = 0.5
SEED: Any = 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Linear(0, 3), ValueError, "input_size must be a whole number of at least 1, got 0"),
        (lambda: Linear(3, HALF), ValueError, "output_size must be a whole number of at least 1, got 0.5"),
        (lambda: Linear(2, 3)(Tensor(draw(4, 3))), ValueError, "Linear: x must have 2 features in its last axis"),
        (lambda: Linear(2, 3)(Tensor(1.0)), ValueError, "Linear: x must have 2 features in its last axis, got ()"),
        (lambda: LayerNorm(True), ValueError, "size must be a whole number of at least 1, got True"),
        (lambda: LayerNorm(3)(Tensor(draw(3, 1))), ValueError, "LayerNorm: x must have 3 features in its last axis"),
        (lambda: Dropout(1.0), ValueError, "rate must be at least 0 and below 1, got 1.0"),
        (lambda: Dropout(0.5)(Tensor([1.0]), SEED), TypeError, "rng must be a numpy.random.Generator, got int"),
        (lambda: Embedding(0, 3), ValueError, "num_embeddings must be a whole number of at least 1, got 0"),
        (lambda: Embedding(3, -1), ValueError, "embedding_size must be a whole number of at least 1, got -1"),
        (lambda: Embedding(3, 2, padding=3), ValueError, "padding must be a row between 0 and 2, got 3"),
        (lambda: Embedding(3, 2)([0, 3]), IndexError, "Embedding: ids must lie between 0 and 2, got 3"),
        (lambda: Embedding(3, 2)([-1, 0]), IndexError, "Embedding: ids must lie between 0 and 2, got -1"),
        (lambda: Embedding(3, 2)([0.0, 1.0]), TypeError, "Embedding: ids must be integers, got dtype float64"),
        (lambda: Embedding(3, 2)([True]), TypeError, "Embedding: ids must be integers, got dtype bool"),
    ],
)
def test_mistakes_are_told_in_a_sentence(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()


# --- Embedding -----------------------------------------------------------------------------------------------


@given(data=st.data(), padding=st.none() | st.integers(0, 4))
def test_embeddings_are_rows_of_the_table_and_their_gradient_is_row_sparse(
    data: st.DataObject, padding: int | None
) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    ids = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 4)))
    table = randomised(Embedding(5, 3, padding, dtype=np.float64))
    vectors, w = table(ids), draw(*shape, 3)
    counted = np.ones(shape) if padding is None else (ids != padding) * 1.0
    np.testing.assert_array_equal(vectors.numpy(), table.weight.data[ids] * counted[..., None])
    (vectors * w).sum().backward()
    expected = np.zeros((5, 3))
    np.add.at(expected, ids, w * counted[..., None])
    gradient = table.weight.grad
    assert isinstance(gradient, RowSparse)
    assert set(gradient.rows) == set(ids.ravel())
    np.testing.assert_allclose(gradient.dense(), expected, rtol=1e-13, atol=1e-15)
    if padding is not None:
        assert not gradient.dense()[padding].any()


def test_the_row_of_the_padding_starts_as_zeros_and_the_others_with_a_length_of_about_one() -> None:
    table = Embedding(1000, 64, padding=7, dtype=np.float64)
    lengths = np.linalg.norm(table.weight.data, axis=1)
    assert lengths[7] == 0
    assert abs(np.delete(lengths, 7).mean() - 1) < 0.02


@pytest.mark.parametrize("ids", [[[0, 2]], np.array([[0, 2]], np.uint8), Tensor(np.array([[0, 2]]))])
def test_ids_may_be_a_list_an_array_or_a_tensor(ids: Any) -> None:
    table = Embedding(3, 2)
    np.testing.assert_array_equal(table(ids).numpy(), table.weight.data[[[0, 2]]])


def test_the_second_derivative_through_an_embedding_is_right() -> None:
    table, ids = Embedding(4, 2, padding=1, dtype=np.float64), [[0, 3], [3, 1]]

    def f(weight: Tensor) -> Tensor:
        holder: Any = copy.copy(table)
        holder.weight = weight
        return ops.tanh(holder(ids)) ** 2

    gradcheck(f, draw(4, 2), order=2)


# --- Pre-trained vectors -------------------------------------------------------------------------------------

GLOVE = "the 0.5 -1 2e-1\n. . . 1 1 1\ncat 4 5 6\nthe 9 9 9\ncafé\xa0noir 7 8 9\n"
WORD2VEC = "2 3\ncat 4 5 6 \nthe 0.5 -1 2e-1 \n"  # with its spaces at the ends of lines
TOKENS = ["<pad>", "the", "dog", "cat", ". . .", "café\xa0noir"]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "vectors.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", [GLOVE, WORD2VEC, GLOVE.replace("\n", "\r\n")], ids=["glove", "word2vec", "crlf"])
def test_vectors_of_known_words_are_loaded_and_other_rows_stay(tmp_path: Path, text: str) -> None:
    table = Embedding(7, 3, padding=0)
    before = table.state_dict()["weight"]
    found = table.load_vectors(written(tmp_path, text), TOKENS)
    assert found == (2 if text == WORD2VEC else 4)
    expected = before.copy()
    expected[[1, 3]] = [[0.5, -1, 0.2], [4, 5, 6]]  # of a word that is there twice, the first
    if text != WORD2VEC:
        expected[[4, 5]] = [[1, 1, 1], [7, 8, 9]]
    np.testing.assert_array_equal(table.weight.data, expected)
    assert table.weight.dtype == np.float32


def test_the_padding_stays_zero_even_where_the_file_has_it(tmp_path: Path) -> None:
    table = Embedding(2, 3, padding=0)
    table.load_vectors(written(tmp_path, "<pad> 1 2 3\nthe 4 5 6\n"), ["<pad>", "the"])
    np.testing.assert_array_equal(table.weight.data, [[0, 0, 0], [4, 5, 6]])


@pytest.mark.parametrize(
    "text",
    [
        "\n \t\nthe 1 2 3\n\n\ncat 4 5 6\n\n",
        "\ufeffthe 1 2 3\ncat 4 5 6",
        "the\t1\t2\t3\ncat\t4 5\t6",
        " the  1 2   3 \ncat 4  5 6",
    ],
    ids=["blank lines", "byte order mark", "tabs", "double spaces"],
)
def test_blank_lines_tabs_double_spaces_and_a_byte_order_mark_are_read(tmp_path: Path, text: str) -> None:
    for heading in ("", "2 3\n" if "\ufeff" not in text else "\ufeff2\t3\n"):
        found = read_vectors(written(tmp_path, heading + text.removeprefix("\ufeff" if heading else "")), TOKENS, 3)
        assert {word: list(vector) for word, vector in found.items()} == {"the": [1, 2, 3], "cat": [4, 5, 6]}


def test_vectors_of_one_number_have_no_heading(tmp_path: Path) -> None:
    assert read_vectors(written(tmp_path, "5 1\ncat 2\n"), ["5", "cat"], 1) == {"5": [1.0], "cat": [2.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\ncat 1 2\n", ", line 2: a word and 3 numbers were expected, got 'cat 1 2'"),
        ("the 1 2 3\ncat 1 2 3 4\n", ", line 2: a word and 3 numbers were expected, got 'cat 1 2 3 4'"),
        ("the 1 2 3\ncat\n", ", line 2: a word and 3 numbers were expected, got 'cat'"),
        ("the 1 2 3\ncat 1 two 3\n", ", line 2: the vector of 'cat' is not made of finite numbers"),
        ("the 1 two 3\ncat 1 2 3\n", ", line 1: the vector of 'the' is not made of finite numbers"),
        ("the 1 2 3\ncat 1 nan 3\n", ", line 2: the vector of 'cat' is not made of finite numbers"),
        ("2 300\nthe 1 2 3\n", ": vectors of 3 numbers were expected, the file has vectors of 300"),
        ("\nthe 1 2 3 4\n", ": vectors of 3 numbers were expected, the file has vectors of 4"),
        (". . . 1 2\n", ": vectors of 3 numbers were expected, the file has vectors of 2"),
        ("1 2 3\n", ": vectors of 3 numbers were expected, the file has vectors of 2"),
        (b"the 1 2 3\ncat\xff 1 2 3\n", ": a text file of word vectors in UTF-8 was expected"),
    ],
    ids=[
        *(
            "too few",
            "too many",
            "no vector",
            "no number",
            "no number first",
            "nan",
            "a heading's size",
            "larger",
            "smaller",
            "numbers",
        ),
        "another encoding",
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_name_and_line_and_nothing_is_changed(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    table, path = Embedding(3, 3), written(tmp_path, text)
    before = table.state_dict()["weight"]
    with pytest.raises(ValueError, match=re.escape(str(path) + message)):
        table.load_vectors(path, ["the", "cat"])
    np.testing.assert_array_equal(table.weight.data, before)


def test_more_tokens_than_rows_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tokens must be at most 2, one per row, got 3"):
        Embedding(2, 3).load_vectors(written(tmp_path, GLOVE), ["a", "b", "c"])
    with pytest.raises(FileNotFoundError):
        Embedding(2, 3).load_vectors(tmp_path / "nowhere.txt", ["a"])
