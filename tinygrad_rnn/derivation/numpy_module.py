"""A cell as a program in NumPy that needs nothing of ours: its steps over time forward, and the gradients by hand."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.derivation.both_steps import BothSteps
from tinygrad_rnn.derivation.choosing_lines import Lines, chosen_lines
from tinygrad_rnn.derivation.numpy_notation import HELPERS, NumPy
from tinygrad_rnn.loops.program import Var
from tinygrad_rnn.loops.written.expressions import EquationLine
from tinygrad_rnn.tape import Box

PROGRAM_WIDTH = 88


def numpy_module(both: BothSteps) -> str:
    """Its source. Raises DerivationError for an op that has no form in NumPy here."""
    return _Module(both, chosen_lines(both, functions_again=False)).text()


class _Module:
    """The parts of the source, all of which use the same names."""

    def __init__(self, both: BothSteps, lines: Lines) -> None:
        self.both, self.lines, self.program = both, lines, both.program
        self.numpy = NumPy(lines.symbols, both.program.xs)
        self.states = [self.name(v) for v in self.program.states]
        self.read = both.weights | {lines.symbols[v].name: v for v in both.context}
        self.weights = {path: self.name(v) for path, v in self.read.items()}
        self.constants = {self.name(v): value for v, value in both.constants.items()}
        self.saved = [self.name(v) for v in dict.fromkeys([*both.program.xs, *lines.saved])]
        self.later = [self.name(v) for v in both.backward.g_new_states]

    def name(self, var: Var) -> str:
        return self.numpy.name(self.lines.symbols[var])

    def text(self) -> str:
        """All of it. The functions are written first: they tell what helpers and imports they need."""
        functions = [self._forward(), self._backward()]
        helpers = [source for name, source in HELPERS.items() if name in self.numpy.helpers]
        imports = ["import math", ""] if any("math." in source for source in helpers) else []
        known = [""] if self.constants else []
        known += [line for name, value in self.constants.items() for line in _broken(f"{name} = ", _literal(value))]
        head = "\n".join([self._introduction(), "", *imports, "import numpy as np", "", self._weights(), *known])
        return "\n\n\n".join([head, *helpers, *functions]) + "\n"

    # --- The head ---

    def _introduction(self) -> str:
        cell = self.both.cell
        states = ", ".join(f"{name} {_shape(v)}" for name, v in zip(self.states, self.program.states, strict=True))
        lines = [
            f'"""{type(cell).__name__} and its backpropagation through time in NumPy',
            "",
            *textwrap.wrap(
                f"Made by tinygrad_rnn of its step. It reads x (B,{cell.input_size}) and its states, {states}; B is "
                "the number of rows. d before a name is the gradient of a loss by that value, delta_ that by the sum "
                f"which goes into its activation, and {', '.join(self.later)} what comes to the new states from later "
                "steps.",
                PROGRAM_WIDTH,
            ),
            '"""',
        ]
        return "\n".join(lines)

    def _weights(self) -> str:
        shapes: dict[str, tuple[Any, ...]] = {path: v.shape for path, v in self.both.weights.items()}
        shapes |= {self.lines.symbols[v].name: ("B", *v.shape[1:]) for v in self.both.context}
        rows = [f'    "{path}": {shape!r},'.replace("'", '"') for path, shape in shapes.items()]
        return "\n".join(
            ["WEIGHTS = {", *rows, "}", '"""Their shapes, by the names that `forward` wants them under."""']
        )

    # --- The functions ---

    def _unpacked(self) -> list[str]:
        if not self.weights:
            return []
        return _unpacking([*self.weights.values()], "(weights[name] for name in WEIGHTS)")

    def _forward(self) -> str:
        given = ", ".join(["weights", "xs", *self.states])
        handed = [(self.name(new), old) for new, old in zip(self.program.new_states, self.states, strict=True)]
        body = [
            *self._unpacked(),
            "ys, saved = [], []",
            f"for {self.name(self.program.xs[0])} in xs:",
            *_indented(self._lines(self.lines.forward, True)),
            *_indented(_broken("saved.append((", f"{_tuple(self.saved)}))")),
            f"    ys.append({self.name(self.program.ys[0])})",
            f"    {', '.join(self.states)} = {', '.join(new for new, _ in handed)}",
            f"return np.stack(ys), ({_tuple(self.states)}), saved",
        ]
        said = (
            '"""The outputs (T,B,...) of inputs xs (T,B,...), the last states, and what `backward` reads of each step. '
            'The states that are given are those before the first step."""'
        )
        return "\n".join([f"def forward({given}):", *_indented([*_wrapped_text(said), *body])])

    def _backward(self) -> str:
        backward = self.both.backward
        given = ", ".join(["weights", "saved", "dys", *self.later])
        (g_y,), x = backward.g_ys, self.name(self.program.xs[0])
        of_weights = dict(zip(self.program.captured, backward.g_captured, strict=True))
        last = {line.outs[0]: line.made for line in self.lines.apart}
        body = [
            *self._unpacked(),
            "dweights = {name: np.zeros_like(weights[name]) for name in WEIGHTS}",
            "dxs = [None] * len(saved)",
            "for t in reversed(range(len(saved))):",
            *_indented(_unpacking(self.saved, "saved[t]")),
            f"    {self.name(g_y)} = dys[t]",
            *_indented(self._lines(self.lines.backward, False)),
            *_indented(_broken("dxs[t] = ", self._gradient(backward.g_xs[0], last, f"np.zeros_like({x})"))),
        ]
        for path, var in self.read.items():
            if of_weights.get(var) is not None:
                body += _indented(_broken(f'dweights["{path}"] += ', self._gradient(of_weights[var], last, "0")))
        before = [self._state_gradient(i) for i in range(len(self.states))]
        body.append(f"    {', '.join(self.later)} = {', '.join(before)}")
        body.append(f"return dweights, np.stack(dxs), ({_tuple(self.later)})")
        said = (
            '"""The gradients of a loss by the weights, by xs, and by the first states. Given are what `forward` '
            "saved, the gradients of the loss by the outputs, dys (T,B,...), and by the last states, zeros where it "
            'does not read them."""'
        )
        return "\n".join([f"def backward({given}):", *_indented([*_wrapped_text(said), *body])])

    def _gradient(self, g: Var | None, last: dict[Var, Any], nothing: str) -> str:
        return nothing if g is None else self.numpy.written(last.get(g, g))

    def _state_gradient(self, i: int) -> str:
        g = self.both.backward.g_states[i]
        return f"np.zeros_like({self.later[i]})" if g is None else self.name(g)

    def _lines(self, lines: Iterable[EquationLine], forward: bool) -> list[str]:
        found = []
        before = None
        for line in lines:
            of = self.both.source.get(line.outs[0]) if forward else None
            if of is not None and of != before:
                found.append(
                    textwrap.shorten(f"# {of.file}, line {of.number}: {of.text}", PROGRAM_WIDTH - 8, placeholder=" ...")
                )
                before = of
            names = (_tuple if line.several else ", ".join)([*map(self.name, line.outs)])
            found += _broken(f"{names} = ", self.numpy.written(line.made))
        return found


# --- Laying out ------------------------------------------------------------------------------------------------


def _tuple(names: Sequence[str]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")


def _unpacking(names: Sequence[str], source: str) -> list[str]:
    """The line that gives these names, or several."""
    text = _tuple(names) if len(names) > 1 else f"({_tuple(names)})"
    if len(text) + len(source) <= PROGRAM_WIDTH - 11:
        return [f"{text} = {source}"]
    return ["(", *_indented(textwrap.wrap(text, PROGRAM_WIDTH - 16)), f") = {source}"]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _wrapped_text(text: str) -> list[str]:
    return textwrap.wrap(text, PROGRAM_WIDTH - 4)


def _broken(left: str, right: str) -> list[str]:
    """A line, or several where it is long: broken at the sums outside of all brackets, or where there is room."""
    if len(left) + len(right) <= PROGRAM_WIDTH - 8:
        return [left + right]
    parts = [
        line for part in _at_the_top(right) for line in textwrap.wrap(part, PROGRAM_WIDTH - 16, break_long_words=False)
    ]
    return [f"{left}(", *_indented(parts), ")"]


def _at_the_top(text: str) -> list[str]:
    """The terms of a sum, each with its sign, as many in one line as there is room for."""
    depth, start, terms = 0, 0, []
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if not depth and text[i : i + 3] in (" + ", " - "):
            terms.append(text[start:i])
            start = i + 1
    lines = [""]
    for term in [*terms, text[start:]]:
        if lines[-1] and len(lines[-1]) + len(term) > PROGRAM_WIDTH - 16:
            lines.append("")
        lines[-1] = f"{lines[-1]} {term}".strip()
    return lines


def _shape(v: Var) -> str:
    return f"(B,{','.join(map(str, v.shape[1:]))})"


def _literal(value: Any) -> str:
    """An array as source, exactly."""
    array = np.asarray(value.data if isinstance(value, Box) else value)
    dtype = "" if array.dtype in (np.float64, np.int64, np.bool_) else f", np.{array.dtype}"
    if array.size and (array == array.flat[0]).all():
        text = f"np.full({array.shape}, {array.flat[0].item()!r}{dtype})"
    else:
        text = f"np.array({array.tolist()!r}{dtype})"
    return re.sub(r"\b(inf|nan)\b", r"np.\1", text)
