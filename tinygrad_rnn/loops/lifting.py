"""What a step makes of weights alone, of `exp(A)` say, is made before the scan, once, on the tape that surrounds it.

Its gradient is then asked for once as well, of the sum over time. Within the scan, the backward step would multiply at
each step what is only summed afterwards: of a state (B,H,N), T arrays (H,N) instead of one.
"""

from __future__ import annotations

from dataclasses import replace

from tinygrad_rnn.loops.program import Equation, Program


def lifted(program: Program) -> tuple[Program, list[Equation]]:
    """The program without what is made of its captured operands alone, whose results it captures instead; and the
    equations of that. The same program where there is none of it."""
    if program.all_moves:
        return program, []
    fixed = set(program.captured)
    before: list[Equation] = []
    for e in program.equations:
        if e.reads and fixed.issuperset(e.reads):
            fixed.update(e.outs)
            before.append(e)
    if not before:
        return program, before
    moving = [e for e in program.equations if e.outs[0] not in fixed]
    read = {a for e in moving for a in e.reads}.union(program.new_states, program.ys)
    captured = [v for v in (*program.captured, *(out for e in before for out in e.outs)) if v in read]
    return replace(
        program, equations=moving, captured=captured, operands=[], key=(program.key, "lifted"), all_moves=True
    ), before
