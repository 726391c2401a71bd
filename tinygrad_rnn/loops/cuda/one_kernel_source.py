"""A loop whose entries do not meet, as one kernel in CUDA C: a thread takes an entry through all steps, with its states
in registers.

Where the states are linear in themselves, s' = A s + b (`loops/linear.py` says which cells are so), several threads
share the steps of an entry. Of 12 steps and three threads

    thread 0   steps 0 to 3     from zero, and what becomes of the state with which they begin:   s[4]  = A0 s[0] + b0
    thread 1   steps 4 to 7                                                                       s[8]  = A1 s[4] + b1
    thread 2   steps 8 to 11                                                                      s[12] = A2 s[8] + b2
    each       finds its first state by way of those before it, and goes through its steps once more

(Blelloch 1990, section 1.5; Martin & Cundy 2018 for such cells). Where a product of factors is no number, the first of
the threads takes the entry through all steps, as where there is only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tinygrad_rnn.loops.cuda.entries_in_c import C_NAMES, DEVICE_FUNCTIONS
from tinygrad_rnn.loops.cuda.kernel_source import PassKernel, entries
from tinygrad_rnn.loops.cuda.linear_lines import LinearLines, linear_lines, multiples
from tinygrad_rnn.loops.layout import Layout
from tinygrad_rnn.loops.machine.schedule import LoopSchedule, Pass
from tinygrad_rnn.loops.machine.views import Piece, StridedView, all_of, piece_of

WARP = 32
"""Neighbouring entries that a block deals with where threads share the steps of one."""
PARTS_TO = 16
"""The most threads that share the steps of an entry."""
LINEAR_TO = 3
"""The most states of which multiples are added up: the block keeps 3 + 9 numbers of each thread, 48 KiB in float64."""


class EntryState(NamedTuple):
    """A state of the entry that a thread has: where it comes from and where the new one goes."""

    old: StridedView
    new: StridedView


def entry_states(layout: Layout, schedule: LoopSchedule) -> list[EntryState] | None:
    """The states of a loop whose entries do not meet: it is one pass that adds nothing up, and from the step before it
    reads only what the same entry has made there. None for another loop."""
    part = schedule.parts[0]
    if len(schedule.parts) != 1 or not isinstance(part, Pass) or part.folded:
        return None
    pairs = zip(layout.carry, layout.next_carry, strict=True)
    states = [EntryState(*(_by_entry(piece_of(v, layout.home)) for v in pair)) for pair in pairs]
    makers = Counter(line.out.piece for line in part.lines)
    outs = {line.out for line in part.lines}
    if max(makers.values()) > 1 or any(s.new not in outs or s.new.shape != part.shape for s in states):
        return None
    own = {s.old.piece: s.old for s in states}
    read = [view for line in part.lines for view in line.reads]
    return states if all(view == own.get(view.piece, view) for view in read) else None


def _by_entry(piece: Piece) -> StridedView:
    """As lines see all of it: without axes of size 1."""
    return all_of(piece).transpose([i for i, n in enumerate(piece.shape) if n != 1])


class OneKernel(PassKernel):
    """Writes such a loop. Its table has one more row than others, which begins with how many threads share the steps
    of an entry."""

    def __init__(self, schedule: LoopSchedule, states: list[EntryState], ringed: set[Piece]) -> None:
        numbers = {piece: n for n, piece in enumerate(schedule.memory)}
        super().__init__(schedule.parts[0], numbers, ringed)  # type: ignore[arg-type]  # it is a pass
        self.states = [s for s in states if s.old.piece in numbers]
        """Those that something reads."""
        self.kinds = [C_NAMES[s.old.piece.dtype.char] for s in self.states]
        self.ends = [s.new for s in states if s.new.piece in ringed]
        """What is stored after the last step only."""
        linear = linear_lines(self.part.lines, self.states)
        self.linear = linear if linear and len(linear.others) <= LINEAR_TO else None

    def module(self) -> str:
        """The source of a module with the kernel `pass0`."""
        return f"{DEVICE_FUNCTIONS}\n{self.source('pass0')}"

    def source(self, name: str) -> str:
        """The kernel of this name."""
        # Of the registers of a processor so many threads have their share only if the compiler is told how many.
        bounds = f"__launch_bounds__({WARP * PARTS_TO}) " if self.linear else ""
        head = f'extern "C" __global__ void {bounds}{name}(const long long *table, long long steps) {{'
        return "\n".join([head, *(f"  {line}" for line in (*self._shared(), *self._entries())), "}", ""])

    def _entries(self) -> list[str]:
        count = entries(self.part)
        body = [
            "const long long n = begin + threadIdx.x % lanes;",
            f"const bool here = n < {count}LL;",
            *self._indices("n", self.kept),
            *(f"{kind} s{i} = 0;" for i, kind in enumerate(self.kinds)),
            *(f"if (here) s{i} = {self._first(s.old)};" for i, s in enumerate(self.states)),
            "long long from = part * each < steps ? part * each : steps;",
            "long long to = from + each < steps ? from + each : steps;",
            *(self._found_beginning(self.linear) if self.linear else ()),
            *_through("from", "to", self._step()),
            *(["if (parts > 1) __syncthreads();  // until then others may read what is shared"] if self.linear else ()),
        ]
        return [
            f"const long long parts = table[{2 * len(self.numbers)}], lanes = blockDim.x / parts;",
            "const long long part = threadIdx.x / lanes, each = (steps + parts - 1) / parts;",
            f"for (long long begin = blockIdx.x * lanes; begin < {count}LL; begin += gridDim.x * lanes) {{",
            *(f"  {line}" for line in body),
            "}",
        ]

    def _first(self, view: StridedView) -> str:
        """The entry of a state before the first step."""
        kind, n = C_NAMES[view.piece.dtype.char], self.numbers[view.piece]
        return self._place(view, f"(({kind} *)table[{2 * n}])")

    def _step(self) -> list[str]:
        """All that a step does."""
        alone = {view.piece for view in self.ends}
        return [
            *self._evaluated("s", self.part.kept - alone),
            *(f"if (t == steps - 1) {self._place(view)} = {self.names[view]};" for view in self.ends),
            *self._handed_on("s", range(len(self.states))),
        ]

    def _evaluated(self, prefix: str, stored: set[Piece]) -> list[str]:
        """The lines of a step, of states in variables that begin with a prefix."""
        known = {s.old: f"{prefix}{i}" for i, s in enumerate(self.states)}
        return [*self._pointers(), *self._lines(stored, known)]

    def _handed_on(self, prefix: str, those: Iterable[int]) -> list[str]:
        """Some of the new states take the places of the old ones."""
        return [f"{prefix}{i} = {self.names[self.states[i].new]};" for i in those]

    # --- Several threads for the steps of an entry ---

    def _shared(self) -> list[str]:
        """What the threads of a block tell each other."""
        found = _rests(self.linear) + _factors(self.linear) if self.linear else []
        return [f"__shared__ {self.kinds[i]} all_{name}[{WARP * PARTS_TO}];" for name, i, _ in found]

    def _found_beginning(self, linear: LinearLines) -> list[str]:
        """With which states a thread begins its steps."""
        told = _rests(linear) + _factors(linear)
        goes_on = {i: "".join(f" + all_a{i}_{j}[at] * v{j}" for j in linear.others) for i in linear.others}
        numbers = " && ".join(f"v{i} - v{i} == 0" for i in linear.others)
        body = [
            *(self._found_known(linear) if linear.known else ()),
            *(f"{self.kinds[i]} b{i} = s{i};" for i in linear.known),
            *(f"{self.kinds[i]} {name} = {int(i == j)};" for name, i, j in told),
            *_through("from", "to", self._step_of_sums(linear)),
            *(f"all_{name}[threadIdx.x] = {name};" for name, _, _ in told),
            "__syncthreads();",
            *(f"{self.kinds[i]} v{i} = s{i};" for i in linear.others),
            "for (long long k = 0; k < parts; k++) {",
            f"  if (k == part) {{ {' '.join(f's{i} = v{i};' for i in linear.others)} }}",
            "  const long long at = k * lanes + threadIdx.x % lanes;",
            *(f"  const {self.kinds[i]} w{i} = all_b{i}[at]{rest};" for i, rest in goes_on.items()),
            *(f"  v{i} = w{i};" for i in linear.others),
            "}",
            f"if (!({numbers})) from = 0, to = part == 0 ? steps : 0;",
        ]
        return ["if (parts > 1) {", *(f"  {line}" for line in body), "}"]

    def _found_known(self, linear: LinearLines) -> list[str]:
        """The states that are made of inputs alone, from the last few steps before."""
        first = f"(from > {linear.depth} ? from - {linear.depth} : 0)"
        return _through(first, "from", [*self._evaluated("s", set()), *self._handed_on("s", linear.known)])

    def _step_of_sums(self, linear: LinearLines) -> list[str]:
        """A step of what begins with zero, and of the factors."""
        code = self._evaluated("b", set())
        for j in linear.others:
            found = {self.states[i].old: f"a{i}_{j}" for i in linear.others}
            code += multiples(self.part.lines, linear.sums, self.names, found, f"m{j}_")
            code += [f"const {self.kinds[i]} n{i}_{j} = {found.get(self.states[i].new, '0')};" for i in linear.others]
        return [
            *code,
            *(f"{name} = n{i}_{j};" for name, i, j in _factors(linear)),
            *self._handed_on("b", range(len(self.states))),
        ]


def _through(first: str, last: str, step: list[str]) -> list[str]:
    """From step to step, where there is an entry."""
    return ["if (here)", f"  for (long long t = {first}; t < {last}; t++) {{", *(f"    {line}" for line in step), "  }"]


def _rests(linear: LinearLines) -> list[tuple[str, int, int | None]]:
    """What becomes of zero: the variable, and which state it is."""
    return [(f"b{i}", i, None) for i in linear.others]


def _factors(linear: LinearLines) -> list[tuple[str, int, int | None]]:
    """By what each state is multiplied, of those with which a thread begins, to be a part of each."""
    return [(f"a{i}_{j}", i, j) for i in linear.others for j in linear.others]
