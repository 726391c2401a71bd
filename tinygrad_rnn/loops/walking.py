"""The walk over the tape once more (`tape.walk`), over the equations of a recording instead of nodes, and with
placeholders for numbers."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tinygrad_rnn.loops.placeholders import CannotRecord, Placeholder
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.tape import fitted
from tinygrad_rnn.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_rnn.loops.recorder import Recorder


def walk_back(
    equations: Sequence[Equation], grads: dict[Var, Tensor], active: Container[Var], recorder: Recorder
) -> None:
    """Carries the gradients in `grads` back over the equations, the last one first, to all values that are `active`,
    whose gradients are put beside them. The rules are recorded."""
    for equation in reversed(equations):
        if equation.graded and any(out in grads for out in equation.outs):
            for a, share in _shares(equation, grads, active, recorder):
                grads[a] = grads[a] + share if a in grads else share


def _shares(
    equation: Equation, grads: dict[Var, Tensor], active: Container[Var], recorder: Recorder
) -> Iterator[tuple[Var, Tensor]]:
    """The arguments of an equation through which a gradient goes, each with its share."""
    gs = tuple(grads.get(out) for out in equation.outs)
    outs = tuple(Placeholder(out, recorder) for out in equation.outs)
    args = [Placeholder(a, recorder) if isinstance(a, Var) else a for a in equation.args]
    g, out = (gs, outs) if equation.several else (gs[0], outs[0])
    params = equation.primitive.all_options(args, equation.params)
    for i, a in enumerate(equation.args):
        rule = equation.primitive.rule_of(i) if isinstance(a, Var) and a in active else None
        try:
            share = None if rule is None else rule(g, out, *args, **params)
        except CannotRecord as error:  # it is not the step that does so
            what = str(error).removeprefix("the step ")
            raise CannotRecord(f"the rule of op {equation.primitive.name!r} {what}").with_traceback(
                error.__traceback__
            ) from None
        if share is not None:
            yield a, fitted(share, a, partial("op {!r}".format, equation.primitive.name))
