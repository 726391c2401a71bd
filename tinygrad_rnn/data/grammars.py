"""Small languages of which everything is known: what may come next, how likely it is, and so the entropy that no model
can be below."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

STRING_END = "."
"""The symbol after the last one of every string."""

Moves = Mapping[str, tuple[float, Any]]
"""By the symbols that may come next: the probability, and the state after it."""


@dataclass(frozen=True)
class Grammar:
    """A language as an automaton that draws: it begins in the state `start`, `moves` says what may come next in a
    state, and after STRING_END a string is over. `symbols` are all that there are, STRING_END first."""

    symbols: str
    start: Any
    moves: Callable[[Any], Moves]

    def draw(self, rng: np.random.Generator) -> str:
        """A string, without its end."""
        text, state, symbol = "", self.start, ""
        while symbol != STRING_END:
            text, above = text + symbol, rng.random()
            for symbol, (p, after) in self.moves(state).items():  # noqa: B007  # the last one looked at is drawn
                above -= p
                if above < 0:
                    break
            state = after
        return text

    def nats(self, text: str) -> float:
        """-log p of a string and its end; infinite where it is none of the language."""
        total, state = 0.0, self.start
        for i, symbol in enumerate(text + STRING_END):
            moves = self.moves(state)
            if symbol not in moves or (symbol == STRING_END and i < len(text)):
                return math.inf
            p, state = moves[symbol]
            total -= math.log(p)
        return total


# --- Reber 1967, and its embedding (Hochreiter & Schmidhuber 1997, experiment 1) --------------------------------

_ARROWS = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
    7: {STRING_END: 8},
}
"""Of Reber's grammar. All arrows out of a state are equally likely."""


def _reber(state: int) -> Moves:
    arrows = _ARROWS[state]
    return {symbol: (1 / len(arrows), after) for symbol, after in arrows.items()}


def _embedded(state: tuple[str, Any]) -> Moves:
    """A state is T or P, which the last symbol but one has to repeat, and a state of the grammar within or the symbols
    that are left; before all of them it has no T or P."""
    kept, inner = state
    if not kept:
        return {"B": (1.0, ("?", 0))} if inner == 0 else {}
    if kept == "?":
        return {symbol: (0.5, (symbol, 0)) for symbol in "TP"}
    if isinstance(inner, str):
        return {inner[0]: (1.0, (kept, inner[1:]))}
    if inner == 7:
        return {kept: (1.0, (kept, "E" + STRING_END))}
    return {symbol: (p, (kept, after)) for symbol, (p, after) in _reber(inner).items()}


# --- Brackets (Hewitt et al. 2020) ------------------------------------------------------------------------------


def dyck(kinds: int, depth: int) -> Grammar:
    """Dyck-(kinds, depth): brackets that close in order, of so many kinds, at most four, and nested at most so deep.
    Outside all brackets a string ends, and within them one closes, half of the time; one that opens is of each kind
    equally often."""
    pairs = ["()", "[]", "{}", "<>"][:kinds]

    def moves(expected: str) -> Moves:
        """`expected` are the brackets that are to close, the next one last."""
        after = (STRING_END, "") if not expected else (expected[-1], expected[:-1])
        if len(expected) == depth:
            return {after[0]: (1.0, after[1])}
        opening = {pair[0]: (0.5 / kinds, expected + pair[1]) for pair in pairs}
        return {**opening, after[0]: (0.5, after[1])}

    return Grammar(STRING_END + "".join(pairs), "", moves)


GRAMMARS = {
    "reber": Grammar(STRING_END + "BTPSXVE", 0, _reber),
    "embedded-reber": Grammar(STRING_END + "BTPSXVE", ("", 0), _embedded),
    "dyck": dyck(2, 3),
}
"""By name."""
