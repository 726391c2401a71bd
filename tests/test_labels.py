"""Labels: names as ids, and back."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import Labels, TextError

values = st.lists(st.text(max_size=3), min_size=1, max_size=12)


@given(values, st.randoms())
def test_labels_are_the_different_values_sorted_whatever_their_order(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    labels = Labels.build(shuffled)
    assert labels == Labels.build(names) and hash(labels) == hash(Labels.build(iter(names)))
    assert list(labels) == sorted(set(names)) and len(labels) == len(set(names))


@given(values)
def test_what_labels_encode_they_decode_one_by_one_and_together(names: list[str]) -> None:
    labels = Labels.build(names)
    ids = labels.encode(names)
    assert ids.dtype == np.int64 and labels.decode(ids) == names and labels.decode(ids.tolist()) == names
    assert [labels.encode(name) for name in names] == ids.tolist()
    assert [labels.decode(id) for id in ids] == names
    assert all(name in labels for name in names)


@given(values)
def test_labels_come_back_from_their_list_through_json(names: list[str]) -> None:
    labels = Labels(reversed(list(Labels.build(names))))
    assert Labels.from_list(json.loads(json.dumps(labels.to_list()))) == labels


def test_labels_keep_the_order_that_they_are_given_and_are_equal_to_nothing_else() -> None:
    labels = Labels(["no", "yes", "perhaps"])
    assert labels.encode(["yes", "no"]).tolist() == [1, 0]
    assert labels != Labels(["yes", "no", "perhaps"]) and labels != ("no", "yes", "perhaps")
    assert "maybe" not in labels and 1 not in labels
    assert repr(labels) == "Labels('no', 'yes', 'perhaps')"


def test_a_name_that_is_no_label_gets_the_id_that_is_asked_for() -> None:
    labels = Labels(["no", "yes"])
    assert labels.encode(["yes", "maybe"], unknown=-1).tolist() == [1, -1]
    assert labels.encode("maybe", unknown=-1) == -1
    assert labels.encode([]).shape == (0,) and labels.decode([]) == []


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Labels(["a", "b"]).encode("c"), "there is no label 'c'; the 2 labels are 'a', 'b'"),
        (lambda: Labels(["a", "b"]).encode(["a", "c"]), "there is no label 'c'; the 2 labels are 'a', 'b'"),
        (
            lambda: Labels(map(str, range(1200))).encode("x"),
            "there is no label 'x'; the 1,200 labels are '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 1,190 "
            "more",
        ),
        (lambda: Labels(["a", "b"]).decode(2), "the id of a label must be from 0 to 1, got 2"),
        (lambda: Labels(["a", "b"]).decode([-1]), "the id of a label must be from 0 to 1, got -1"),
        (
            lambda: Labels(["a", "b"]).decode(np.array([0.5])),
            "the id of a label must be an integer, got np.float64(0.5)",
        ),
        (lambda: Labels([]), "labels need a name, got none"),
        (lambda: Labels.build([]), "labels need a name, got none"),
        (lambda: Labels(["a", "b", "a"]), "the names of labels must differ, got 'a' twice"),
        (lambda: Labels.from_list(["a", 1]), "the name of a label must be a text, got 1"),  # type: ignore[list-item]  # as a damaged checkpoint has it
        (lambda: Labels.build("ab"), "the names of labels must be a list, got the text 'ab'"),
    ],
)
def test_a_mistake_about_labels_is_one_sentence(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        call()
    assert str(caught.value) == sentence
