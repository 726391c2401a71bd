"""Expressions as NumPy, and the few functions that NumPy does not have."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.derivation.both_steps import DerivationError
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.written.expressions import Call
from tinygrad_rnn.loops.written.notation import (
    ALONE,
    PRODUCT,
    SIGNED,
    TERM,
    Notation,
    RowCount,
    Several,
    Spelled,
    Spelling,
    index_text,
)
from tinygrad_rnn.loops.written.symbols import Symbol, SymbolOf
from tinygrad_rnn.tape import Primitive

HELPERS = {
    "sigmoid": """\
def sigmoid(a):
    e = np.exp(-np.abs(a))  # never of a large number, which would overflow
    return np.where(a >= 0, 1, e) / (1 + e)""",
    "log_sigmoid": """\
def log_sigmoid(a):
    return np.minimum(a, 0) - np.log1p(np.exp(-np.abs(a)))""",
    "softmax": """\
def softmax(a, axis):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)""",
    "log_softmax": """\
def log_softmax(a, axis):
    below = a - a.max(axis=axis, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=axis, keepdims=True))""",
    "logsumexp": """\
def logsumexp(a, axis=None, keepdims=False):
    top = a.max(axis=axis, keepdims=True)
    found = np.log(np.exp(a - top).sum(axis=axis, keepdims=True)) + top
    return found if keepdims else found.squeeze(axis)""",
    "erf": """\
def erf(a):
    return np.vectorize(math.erf, otypes=[float])(a).astype(a.dtype)""",
    "normal_distribution": """\
def normal_distribution(a):
    return np.vectorize(lambda z: 0.5 * math.erfc(-z * math.sqrt(0.5)), otypes=[float])(a).astype(a.dtype)""",
    "scatter": '''\
def scatter(updates, index, shape):
    """Zeros of this shape with the updates added at the index."""
    found = np.zeros(shape, updates.dtype)
    np.add.at(found, index, updates)
    return found''',
    "take_along_axis": """\
def take_along_axis(a, indices, axis=None):
    a, axis = (a.ravel(), 0) if axis is None else (a, axis)
    places = list(np.indices(a.shape, sparse=True))
    places[axis] = np.asarray(indices, int)
    return a[tuple(places)]""",
    "add_along_axis": '''\
def add_along_axis(updates, indices, axis, shape):
    """Zeros of this shape with the updates added where the indices say along the axis."""
    found = np.zeros(shape, updates.dtype)
    places = list(np.indices(shape, sparse=True))
    places[axis] = np.asarray(indices, int)
    np.add.at(found, tuple(places), updates)
    return found''',
    "norm": """\
def norm(a, axis=None, keepdims=False):
    return np.sqrt(np.square(a).sum(axis=axis, keepdims=keepdims))""",
}
"""By the names that they have in a program: what is defined before it where it is used."""

_FORMS = {
    "relu": "np.maximum({x}, 0)",
    "softplus": "np.logaddexp({x}, 0)",
    "hard_sigmoid": "np.clip(0.2 * ({x}) + 0.5, 0, 1)",
    "leaky_relu": "np.where(({x}) > 0, {x}, {slope} * ({x}))",
    "elu": "np.where(({x}) > 0, {x}, {alpha} * np.expm1(np.minimum({x}, 0)))",
    "straight_through": "{hard}",
    "step_along": "({x}) * (({step}) / np.where(({length}) == 0, 1, {length}))",
    "over_nothing": "np.where(({x}) > 0, np.inf, np.nan)",
    "unstack": "np.moveaxis({x}, {axis}, 0)",
    "alias": "{x}",
    "detached": "{x}",
}
"""Ops whose name is not NumPy's, as a pattern of what they are given."""

_NUMPY = set(
    """abs sign floor floor_divide mod maximum minimum clip exp expm1 log log1p sin cos tanh sqrt sum mean max min
    cumsum argmax where logical_and logical_or logical_not zeros_like reshape transpose swapaxes expand_dims squeeze
    flip moveaxis pad stack concatenate split broadcast_to take einsum""".split()
)
"""Ops that NumPy has by the same name, with the same arguments."""

RESERVED = {"np", "math", "x", "xs", "t", "ys", "dys", "dxs", "saved", "weights", "dweights", "WEIGHTS", "forward"}
RESERVED |= {"backward", *dir(builtins), *HELPERS}
"""What a program calls its own."""


class NumPy(Notation):
    """As a program. `helpers` are the functions that it came to use."""

    def __init__(self, symbols: SymbolOf, inputs: Sequence[Var]) -> None:
        super().__init__(symbols)
        self.helpers: set[str] = set()
        self._names: dict[Symbol, str] = {symbols[v]: "x" for v in inputs}
        self._taken = {*RESERVED}

    def name(self, symbol: Symbol) -> str:
        if symbol not in self._names:
            text = _identifier(symbol)
            while text in self._taken or keyword.iskeyword(text):
                text += "_"
            self._taken.add(text)
            self._names[symbol] = text
        return self._names[symbol]

    def number(self, value: Any) -> str:
        if isinstance(value, tuple):
            return f"({', '.join(map(self.number, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, list):
            return f"np.array({value!r})"
        if isinstance(value, float) and not np.isfinite(value):
            return f"np.{value}" if value >= 0 or value != value else "-np.inf"
        if isinstance(value, RowCount):
            return "len(x)" if value.times == 1 else f"({value.times} * len(x))"
        return repr(value)

    def bracketed(self, text: str) -> str:
        return f"({text})"

    def signed(self, parts: Sequence[tuple[bool, str]]) -> str:
        first, *rest = parts
        return ("-" if first[0] else "") + first[1] + "".join((" - " if m else " + ") + text for m, text in rest)

    def numbers_in_product(self, numbers: Sequence[Any]) -> list[str]:
        return [self.number(a) for a in numbers]

    def product(self, numbers: Sequence[str], parts: Sequence[str]) -> str:
        return " * ".join([*numbers, *parts])

    def matrix_product(self, parts: Sequence[str]) -> str:
        return " @ ".join(parts)

    def quotient(self, above: Spelling, below: Spelling) -> Spelling:
        return f"{self.within(above, PRODUCT)} / {self.within(below, SIGNED)}", TERM

    def power(self, base: Spelling, exponent: Spelling) -> str:
        return f"{self.within(base, ALONE)}**{self.within(exponent, SIGNED)}"

    def transposed(self, text: str, axes: int) -> str:
        return f"{text}.T" if axes == 2 else f"{text}.swapaxes(-1, -2)"

    def compared(self, sign: str, left: str, right: str) -> str:
        return f"{left} {sign} {right}"

    def call(self, primitive: Primitive[Any], given: dict[str, Any], value: Call) -> Spelling:
        name = primitive.name
        if name in ("getitem", "scatter"):
            return self._indexed(name, given, value), ALONE
        if name == "sum_to":
            return self._summed(value, given), ALONE
        if name == "astype":
            return f"{self.written(value.args[0], ALONE)}.astype(np.{np.dtype(given['dtype'])})", ALONE
        if name in _FORMS:
            spelled = {key: a if isinstance(a, Spelled) else self.number(a) for key, a in given.items()}
            return f"({_FORMS[name].format(**spelled)})", ALONE
        if name not in _NUMPY and name not in HELPERS:
            raise DerivationError(f"op {name!r} has no form in NumPy here")
        if name in HELPERS:
            self.helpers.add(name)
        return f"{'' if name in HELPERS else 'np.'}{name}({', '.join(self._arguments(name, given))})", ALONE

    def _arguments(self, name: str, given: dict[str, Any]) -> list[str]:
        """What stands between the brackets: values and what comes before them as they are, options by name."""
        parts: list[str] = []
        for key, a in given.items():
            if isinstance(a, Several):
                together = name in ("stack", "concatenate")
                parts += [f"[{', '.join(a)}]"] if together else a
            elif isinstance(a, Spelled) or (key in _BY_PLACE and name not in HELPERS):
                parts.append(a if isinstance(a, Spelled) else self.number(a))
            elif a is not None and a is not False:
                parts.append(f"{key}={self.number(a)}")
        return parts

    def _indexed(self, name: str, given: dict[str, Any], value: Call) -> str:
        index = index_text(given["index"], given["arrays"], self.number)
        if name == "getitem":
            return f"{self.written(value.args[0], ALONE)}[{index}]"
        self.helpers.add("scatter")
        return f"scatter({given['updates']}, np.s_[{index}], {self.number(given['shape'])})"

    def _summed(self, value: Call, given: dict[str, Any]) -> str:
        """Over the axes along which something was repeated."""
        before, after = value.args[0].shape, value.shape
        extra = len(before) - len(after)
        stretched = [i + extra for i, n in enumerate(after) if n == 1 and before[i + extra] != 1]
        axes = (*range(extra), *stretched)
        text = self.written(value.args[0], ALONE)
        if not axes:
            return text
        which = f"axis={axes[0] if len(axes) == 1 else axes}"
        if not stretched:
            return f"{text}.sum({which})"
        if not extra:
            return f"{text}.sum({which}, keepdims=True)"
        return f"{text}.sum({which}).reshape({self.number(given['shape'])})"


_BY_PLACE = {"shape", "subscripts", "x", "y", "a_min", "a_max", "condition", "indices_or_sections", "pad_width"}
"""Arguments whose names NumPy has not, or that stand first."""


def _identifier(symbol: Symbol) -> str:
    """The symbol as a name of Python's."""
    text = symbol.name or "t"
    if symbol.version:
        text += f"_{symbol.version}" if symbol.name else str(symbol.version)
    if symbol.of:
        text += f"_{symbol.of}"
    text = {"value": "", "sum": "a_", "gradient": "d", "delta": "delta_", "later": "d"}[symbol.kind] + text
    if symbol.when == "new":
        text += "_next" if symbol.kind == "later" else "_new"
    text = re.sub(r"\W+", "_", text)
    return text if text.isidentifier() else f"v_{text}"
