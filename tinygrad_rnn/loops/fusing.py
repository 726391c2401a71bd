"""A row that is added to a product, as one more row of its right operand: x @ W + b = [x 1] @ [W; b].

Before the loop that costs next to nothing, whereas the addition would be a pass over an array of all time steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.products import affine
from tinygrad_rnn.loops.program import Equation, Var
from tinygrad_rnn.loops.splitting import Parts


def fuse(parts: Parts, moving: Iterable[Var], kept: Iterable[Var]) -> None:
    """Fuses in the part before the loop, in place. `moving` are the carry and what differs from step to step; `kept`
    are wanted afterwards."""
    everything = [*parts.before, *parts.loop, *parts.after]
    moving = {*moving, *(out for e in everything for out in e.outs)}
    uses = Counter(a for e in everything for a in e.reads)
    uses.update(set(kept))
    makers = {e.outs[0]: e for e in parts.before if e.primitive is ops.matmul}
    for at, e in enumerate(parts.before):
        if e.primitive is not ops.add or len(e.reads) < 2:
            continue
        for total, row in (e.reads, e.reads[::-1]):
            product = makers.get(total)
            if product is None or uses[total] > 1 or row in moving:
                continue
            x, W = product.args
            flat = len(x.shape) == len(W.shape) == 2 and row.shape in (W.shape[1:], (1, *W.shape[1:]))
            if flat and W not in moving and {x.dtype, W.dtype, row.dtype} == {e.outs[0].dtype}:
                parts.before[at] = Equation(affine, (x, W, row), {}, e.outs)
                del makers[total]
                break
    left = {a for e in (*parts.before, *parts.loop, *parts.after) for a in e.reads} | set(kept)
    parts.before[:] = [e for e in parts.before if left.intersection(e.outs)]
