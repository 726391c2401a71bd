"""States, inputs and outputs of a scan in tuples, lists and dicts, with numbers and None among them, as in JAX: the
compiled program does as the plain loop does, without a word."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops, scan
from tinygrad_rnn.loops.trees import flat, nesting, rebuild

R = np.random.default_rng(0)
W = Parameter(R.standard_normal((3, 3)) * 0.5)
XS, H = Tensor(R.standard_normal((4, 2, 3))), Tensor(R.standard_normal((2, 3)))


class Pair(NamedTuple):
    """A named tuple."""

    left: Any
    right: Any


LEAVES = st.integers(0, 99)
TREES = st.recursive(
    LEAVES | st.none(),
    lambda t: (
        st.lists(t, max_size=3)
        | st.lists(t, max_size=3).map(tuple)
        | st.builds(Pair, t, t)
        | st.dictionaries(st.sampled_from(["b", "a", 1, (2, 3)]), t, max_size=3)
    ),
)


@given(tree=TREES)
def test_a_tree_is_rebuilt_from_its_leaves(tree: Any) -> None:
    leaves = flat(tree)
    again = rebuild(tree, iter(leaves))
    assert again == tree and type(again) is type(tree)
    assert nesting(rebuild(tree, iter(range(len(leaves))))) == nesting(tree)
    assert nesting(tree).count("*") == len(leaves)


@given(a=TREES, b=TREES)
def test_what_is_nested_in_another_way_reads_otherwise(a: Any, b: Any) -> None:
    def bare(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: bare(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return (list if isinstance(tree, list) else tuple)(map(bare, tree))
        return None if tree is None else 0

    assert (nesting(a) == nesting(b)) == (bare(a) == bare(b))


def compiled_and_plain(step: Any, state: Any, xs: Any, **options: Any) -> tuple[Any, Any]:
    """The result, once it is sure that the plain loop has the same one, of the same dtypes, and the same gradients."""
    found = []
    for on in (True, False):
        W.grad = None
        with tg.compiled(on):
            result = scan(step, state, xs, **options)
        leaves = flat(result)
        assert all(isinstance(leaf, Tensor) for leaf in leaves)
        losses = [ops.square(leaf).sum() for leaf in leaves if leaf.requires_grad]
        if losses:
            sum(losses[1:], losses[0]).backward()
        found.append([*(leaf.numpy() for leaf in leaves), np.zeros(()) if W.grad is None else W.grad])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    return result


def test_dicts_lists_and_named_tuples_come_back_as_they_went_in() -> None:
    def step(state: Any, x: Any) -> Any:
        h = ops.tanh(state["h"].left @ W + x["in"][0] + state["h"].right[0])
        return {"count": state["count"] * 1.0, "h": Pair(h, [h * 0.5])}, {"out": [h, None], "x": x["in"][0]}

    state = {"h": Pair(H, [H * 2]), "count": Tensor(np.ones(()))}
    last, ys = compiled_and_plain(step, state, {"in": [XS]})
    assert [*last] == ["count", "h"] and isinstance(last["h"], Pair) and isinstance(last["h"].right, list)
    assert ys["out"][0].shape == (4, 2, 3) and ys["out"][1] is None


def test_an_output_of_none_holds_nothing() -> None:
    assert compiled_and_plain(lambda s, x: (ops.tanh(s @ W + x), None), H, XS)[1] is None
    assert compiled_and_plain(lambda s, x: (ops.tanh(s @ W + x), (None, s)), H, XS)[1][0] is None


def test_a_state_of_none_holds_nothing() -> None:
    assert compiled_and_plain(lambda s, x: (None, x @ W), None, XS)[0] is None


def test_an_output_that_is_a_number_is_an_array_of_it() -> None:
    _, ys = compiled_and_plain(lambda s, x: (s * 0.9, [1, True]), H, XS)
    assert ys[0].numpy().tolist() == [1.0] * 4 and ys[1].dtype == bool


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_number_in_the_state_takes_the_dtype_of_what_it_is_calculated_with(dtype: Any) -> None:
    xs = Tensor(np.arange(4.0).astype(dtype))
    last, _ = compiled_and_plain(lambda s, x: (s + x, s), 0.0, xs)
    assert last.dtype == dtype and last.item() == 6
    last, _ = compiled_and_plain(lambda s, x: ((s[0] + 1, s[1] + x), None), (0, Tensor(np.zeros((), dtype))), xs)
    assert last[0].item() == 4 and last[0].dtype == np.float32
    assert compiled_and_plain(lambda s, x: (s, s), True, xs)[0].dtype == bool
    assert compiled_and_plain(lambda s, x: (s + x, s), np.float32(1), xs)[0].item() == 7


def test_inputs_may_be_none_where_the_length_is_told() -> None:
    last, ys = compiled_and_plain(lambda s, x: (ops.tanh(s @ W), x), H, None, length=5)
    assert last.shape == (2, 3) and ys is None
    with pytest.raises(ValueError, match="length must be a whole number of at least 1, got None"):
        scan(lambda s, x: (s, s), H, None)
    with pytest.raises(ValueError, match="the number of steps that xs have, 4, got 5"):
        scan(lambda s, x: (s, s), H, XS, length=5)
    with pytest.raises(ValueError, match="share one number of steps"):
        scan(lambda s, x: (s, s), H, [1.0, 2.0])


@pytest.mark.parametrize("options", [{"truncate": 2}, {"checkpoint_every": 3}])
def test_trees_go_through_truncation_and_checkpoints(options: Any) -> None:
    state, xs = {"h": H, "n": 0.0}, [XS]

    def step(s: Any, x: Any) -> Any:
        h = ops.tanh(s["h"] @ W + x[0] * s["n"])
        return {"h": h, "n": s["n"] + 0.5}, (h, None)

    last, ys = compiled_and_plain(step, state, xs, **options)
    assert last["n"].item() == 2 and ys[0].shape == (4, 2, 3)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    "state, new, said",
    [
        (H, lambda s: (s, s), "*, got (*, *)"),
        ({"h": H}, lambda s: {"g": s["h"]}, "{'h': *}, got {'g': *}"),
        ((H, H), lambda s: [*s], "(*, *), got [*, *]"),
        ((H, (H,)), lambda s: (s[0], s[1][0]), "(*, (*,)), got (*, *)"),
        ([H, None], lambda s: [s[0], s[0]], "[*, None], got [*, *]"),
    ],
)
def test_a_state_whose_nesting_changes_is_refused_in_a_sentence(state: Any, new: Any, said: str, on: bool) -> None:
    with tg.compiled(on), pytest.raises(TypeError, match=re.escape(f"nested as the one that it is given, {said}")):
        scan(lambda s, x: (new(s), x), state, XS)
