"""derive: what autodiff does to a cell, written out as one would by hand."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from tinygrad_rnn.derivation.both_steps import BothSteps, both_steps, in_print
from tinygrad_rnn.derivation.choosing_lines import Lines, chosen_lines
from tinygrad_rnn.derivation.numpy_module import numpy_module
from tinygrad_rnn.loops.written.latex import LaTeX
from tinygrad_rnn.loops.written.mathematics import Mathematics
from tinygrad_rnn.loops.written.mathml import MathML
from tinygrad_rnn.loops.written.plain import Plain
from tinygrad_rnn.loops.written.shown import in_order, renamed
from tinygrad_rnn.loops.written.symbols import Kind, Symbol
from tinygrad_rnn.models.cell import Cell


class _Inline(MathML):
    """Names within a sentence."""

    def name(self, symbol: Symbol) -> str:
        return f"<math>{super().name(symbol)}</math>"


_FORWARD = "The step"
_BACKWARD = "The backward step, from the last to the first"
_KINDS: tuple[Kind, ...] = ("gradient", "delta", "later")
_SUMS = "The gradients of the weights, sums over all steps and rows"


def derive(cell: Cell | type[Cell], input_size: int = 4, hidden_size: int = 8, **options: Any) -> Derivation:
    """The equations of a cell's step and of its backward step, found by the rules of the tape and written as a person
    would write them; and a program in NumPy that has both, and needs nothing of this library. The program is given the
    first states and returns their gradients: what `initial_state` makes them of is not in it.

        print(derive(MyCell))                  # plain text; .latex and .html for a paper and a page
        derive(MyCell).save("mycell_bptt.py")  # the program

    Args:
        cell: a cell, or a class, of which one is made with the sizes and options that follow.
        input_size, hidden_size: I, the features of x, and H, the units of the state.
        options: of the class's `setup`.

    Returns:
        What was found: printed it is text, in a notebook mathematics.

    Raises:
        TypeError: for what is no cell, and for options beside a cell that is made already.
        DerivationError: for a step that does not do the same whatever the numbers are. `source` raises it for an op
            that cannot be written in NumPy.

    Example:
        >>> print(tg.derive(models.RNNCell).text.partition("step, from")[2])  # doctest: +ELLIPSIS
         the last to the first
        <BLANKLINE>
            ∂h' = ∂⁺h' + ∂y
            δh' = ∂h' ⊙ (1 − h'²)
            ∂⁺h = δh' W_nᵀ
            ∂x  = δh' U_nᵀ
        ...
    """
    if isinstance(cell, type) and issubclass(cell, Cell):
        cell = cell(input_size, hidden_size, dtype=np.float64, **options)
    elif options:
        raise TypeError(f"derive: options are for a class; a {type(cell).__name__} has its own already")
    if not isinstance(cell, Cell):
        raise TypeError(f"derive: a cell or a class made with Cell was expected, got {cell!r}")
    return Derivation(both_steps(cell))


@dataclass(frozen=True)
class Derivation:
    """What `derive` found. `print` shows it as text, a notebook as mathematics."""

    both: BothSteps

    @property
    def name(self) -> str:
        """The class of the cell."""
        return type(self.both.cell).__name__

    @cached_property
    def source(self) -> str:
        """A program in NumPy: `forward` and `backward` over time, by hand as it were."""
        return numpy_module(self.both)

    @cached_property
    def text(self) -> str:
        """The equations as plain text."""
        notation = Plain(self._printed.symbols)
        parts = [f"{title}\n\n{textwrap.indent(found, '    ')}" for title, found in self._in(notation)]
        return "\n\n".join([textwrap.fill(self._legend(notation), 79), *parts])

    @cached_property
    def latex(self) -> str:
        """The equations as LaTeX, each part a display of its own."""
        notation = LaTeX(self._printed.symbols)
        return "\n\n".join(f"% {title}\n\\[\n{found}\n\\]" for title, found in self._in(notation))

    @cached_property
    def html(self) -> str:
        """The equations as MathML, which browsers show by themselves."""
        notation = MathML(self._printed.symbols)
        parts = [f"<p><b>{escape(title)}</b></p>{found}" for title, found in self._in(notation)]
        legend = f"<p>{self._legend(_Inline(self._printed.symbols))}</p>"
        return f'<div class="derivation">{legend}{"".join(parts)}</div>'

    def save(self, path: Any) -> None:
        """Writes the program. Raises FileExistsError where there is such a file."""
        with open(path, "x", encoding="utf-8") as file:
            file.write(self.source)

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html

    def _repr_latex_(self) -> str:
        return self.latex

    def _in(self, notation: Mathematics) -> list[tuple[str, str]]:
        """The parts with their titles, those that have equations."""
        lines = self._printed
        parts = [(_FORWARD, lines.forward, ""), (_BACKWARD, lines.backward, ""), (_SUMS, lines.apart, "t")]
        return [(title, notation.equations(found, over)) for title, found, over in parts if found]

    @cached_property
    def _printed(self) -> Lines:
        """The lines for print, where each weight's gradient and each state's has one."""
        both = in_print(self.both)
        lines = chosen_lines(both, functions_again=True)
        symbols, program, backward = dict(lines.symbols), both.program, both.backward
        states = [symbols[v] for v in program.states]
        later = [replace(symbol, kind="later") for symbol in states]
        read = [*both.context, *both.weights.values()]
        gradients = dict(zip((*program.xs, *program.captured), (*backward.g_xs, *backward.g_captured), strict=True))
        inputs = [(symbols[v].gradient, gradients[v]) for v in program.xs]
        new = [replace(symbol, when="new") for symbol in states]
        return replace(
            lines,
            forward=renamed(symbols, lines.forward, zip(new, program.new_states, strict=True)),
            backward=[
                *renamed(symbols, lines.backward, zip(later, backward.g_states, strict=True)),
                *in_order(symbols, lines.apart, inputs),
            ],
            apart=in_order(symbols, lines.apart, [(symbols[v].gradient, gradients[v]) for v in read]),
            symbols=symbols,
        )

    def _legend(self, notation: Mathematics) -> str:
        """What the signs mean."""
        program, symbols = self.both.program, self._printed.symbols
        states = [symbols[v] for v in program.states]
        before = ", ".join(map(notation.name, states))
        after = ", ".join(notation.name(replace(symbol, when="new")) for symbol in states)
        some = replace(states[0], when="now")
        gradient, delta, later = (notation.name(replace(some, kind=kind)) for kind in _KINDS)
        return (
            f"{notation.name(symbols[program.xs[0]])} is what the step reads; the states are {before} before it and "
            f"{after} after it; ⊙ is a product entry by entry. Of a value {notation.name(some)}, {gradient} is the "
            f"gradient of the loss by it, {delta} that by what goes into its activation, and {later} what comes to a "
            "state from later steps, or at the last one from whatever is made of the last state."
        )
