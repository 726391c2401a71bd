# ruff: noqa: RUF001  (curly quotation marks are meant)
"""From words back to the sentence that they were taken from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.data import detokenize
from tinygrad_rnn.data.joining import as_typed
from tinygrad_rnn.data.tokens import words

SENTENCES = [
    "“Come in,” he said, “and close the door.”",
    "She read “The Old House” twice.",
    "“Why not?” — “Because I can’t.”",
    "It’s the captain’s boat, and they’re late.",
    "He called it ‘a small mistake’ and left.",
    "“Don’t you ‘sir’ me!” she cried.",
    "The dogs’ bowls (all “new”) were empty.",
    "We’ll see what “ready” means; I’d wait.",
    "Write to anna.berg@example.com before Friday.",
    "Her address is a_b+c@mail.example.org, I think.",
    "Mail (info@example.net) or call us.",
    "Both x@y.de and z@y.de bounced.",
    "See https://example.com/a/b?c=1&d=2 for more.",
    "The page http://www.example.org is down.",
    "Look at www.example.com/index.html#top, please.",
    "Read (https://example.com/x_y) first!",
    "Is ftp://files.example.com:2121/pub/ open?",
    "He said 'yes' and meant 'no'.",
    "'Stop!' she shouted.",
    "The word 'single' has six letters.",
    "'Well,' he began, 'it depends.'",
    "It was the 'best' of the boys' games.",
    "They're sure it isn't Tom's; he'd know.",
    '"No," she said, "I won\'t."',
    'He wrote "The End" (at last).',
    "It costs $5.50, or 20% less: a bargain!",
    "Wait... what is this?",
    "A well-known fact--or so I thought--is wrong.",
    "At 10:30, 1,200 people (or more) came; some left.",
    "Use item #3 & item #4 [see page 12].",
    "'Who is there?' It's I, for 'tis late.",
    "I cannot; you're gonna wait, and they gotta go.",
    'Get \'em now, or (as "he" said) never.',
    "„Guten Tag“ sagte er.",
    "It is five o’clock, and ‘it’s fine’ isn’t.",
    "Visit https://example.org/c?x=%20y&z#t, now?",
    "...and then?",
    "Go out o' the door, and turn o' Monday.",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_comes_back_from_its_words_exactly_but_for_its_case(sentence: str) -> None:
    assert detokenize(words(sentence, lowercase=False)) == sentence
    assert detokenize(words(sentence)) == sentence.lower()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("www.example.com ? no", "www.example.com? no"),
        ("cats & dogs @ home", "cats & dogs @ home"),
        ("number # , please", "number #, please"),
        ("the cats ' food", "the cats' food"),
    ],
)
def test_signs_that_are_no_addresses_and_quotes_stand_as_in_a_sentence(text: str, shown: str) -> None:
    assert detokenize(text.split()) == shown


@given(
    st.lists(
        st.sampled_from([*"\"'‘’“”„.,:;?!@#&%()", "``", "''", "a", "boys", "c=1", "//x.y", "http", "n't"]), max_size=12
    )
)
def test_whatever_the_words_they_are_all_there_in_order(tokens: list[str]) -> None:
    plain = [token.replace("``", '"').replace("''", '"') for token in tokens]
    assert detokenize(tokens).replace(" ", "") == "".join(plain)


def test_quotation_marks_are_shown_as_they_were_typed() -> None:
    text = "\"so\" and ``so'' and ''so''"
    assert as_typed(words(text), text) == ['"', "so", '"', "and", "``", "so", "''", "and", "''", "so", "''"]
    assert as_typed(["``", "a", "''"], "none") == ['"', "a", '"']
