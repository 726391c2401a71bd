"""Cell: what a recurrent network does in one time step. Gate: one affine sum of its inputs.

A cell is its equations and nothing else. Time, lengths, batches, masks, dropout, directions and devices belong to
the layer that drives it (`Recurrent`), so that a new cell gets all of them by writing `step`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.models import init
from tinygrad_rnn.models.module import Module, replaced, within
from tinygrad_rnn.surroundings import label
from tinygrad_rnn.tensor import Parameter, Tensor

TwoStates = tuple[Tensor, Tensor]
"""What a step of two states returns."""


class Gate(Module):
    """x @ U + b + h @ W: (B,I), (B,H) -> (B,H), with U (I,H), W (H,H), b (H,), and where a cell wants one a second
    bias c (H,) beside W. `reads="x"` leaves out h and W, `reads="h"` leaves out x and U; `size` is another number of
    columns than H. `mask`, of h's shape, multiplies h: the layer sets it for recurrent dropout."""

    mask: Tensor | None = None
    c: Parameter | None = None
    U: Parameter
    W: Parameter

    def __init__(
        self,
        name: str,
        input_size: int,
        hidden_size: int,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        scheme: str = "default",
        reads: str = "xh",
        size: int | None = None,
    ) -> None:
        if reads not in ("xh", "x", "h"):
            raise ValueError(f"gate {name!r} must read xh, x or h, got {reads!r}")
        first, second = _SCHEMES[scheme]
        rng = init.generator(rng)
        size = hidden_size if size is None else init.size("size", size)
        self.name, self.reads = name, reads
        if "x" in reads:
            self.U = Parameter(first(rng, (input_size, size)), dtype=dtype, name=f"{name}.U")
        if "h" in reads:
            self.W = Parameter(second(rng, (hidden_size, size)), dtype=dtype, name=f"{name}.W")
        self.b = Parameter(np.zeros(size), dtype=dtype, name=f"{name}.b")

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The whole sum: `gate(x, h)`, or of the one that it reads. Raises TypeError for another number of them."""
        if len(inputs) != len(self.reads):
            raise TypeError(f"gate {self.name!r} reads {', '.join(self.reads)}, got {len(inputs)} inputs")
        with label("gate", self.name):
            if self.reads == "h":
                return self._of_h(inputs[0]) + self.b
            return self._of_x(inputs[0]) + self._of_h(inputs[1]) if self.reads == "xh" else self._of_x(inputs[0])

    def input(self, x: Tensor) -> Tensor:
        """The part that does not depend on the state: x @ U + b."""
        with label("gate", self.name):
            return self._of_x(x)

    def recurrent(self, h: Tensor) -> Tensor:
        """The part that does: h @ W (+ c)."""
        with label("gate", self.name):
            return self._of_h(h)

    def _of_x(self, x: Tensor) -> Tensor:
        return x @ self.U + self.b

    def _of_h(self, h: Tensor) -> Tensor:
        if self.mask is not None:
            if h.shape[:1] != self.mask.shape[:1]:
                rows = f"{self.mask.shape[0]} rows, got {h.shape[0]}"
                raise ValueError(f"gate {self.name!r}: with recurrent dropout it must read the whole batch of {rows}")
            h = h * self.mask
        product = h @ self.W
        return product if self.c is None else product + self.c


_SCHEMES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "default": (init.glorot, init.orthogonal),
    "wildml": (init.wildml, init.wildml),
}


class Cell(Module):
    """Base of all cells. A subclass names its gates and its states and writes `step`:

        class MyCell(Cell):
            gates = "z n"              # self.z(x, h) and self.n(x, h) are then affine sums, with weights of their own;
                                       # "z:x" declares a gate that reads x alone, self.z(x), and "z:h" one of h
            state = "h"                # the default; the first state is the output

            def step(self, x, h):      # (B,I), (B,H) -> the next state, or a tuple of all of them
                z = sigmoid(self.z(x, h))
                return (1 - z) * tanh(self.n(x, h)) + z * h

    `kept = "t m"` lists states that zoneout leaves alone, since an old value there is a wrong one: counters, phases,
    what stabilises others, sums, memories.

    A step that has a parameter `context` reads, at every time step, what the layer is called with: a memory to attend
    to, a vector to depend on. `context_shapes` tells `check_cell` what that is.

    `setup(self, **options)` may add Parameters (peepholes, norms) and gates (`new_gate`), and take options of the
    constructor; they are cast to the cell's dtype. `output(self, *state)` names the output where it is not the first
    state, and `state_shapes` tells of states that are not (B,H).

    `init="default"`: U Glorot uniform, W orthogonal, b zero; `init="wildml"`: U and W uniform within 1/sqrt(fan in).
    Raises ValueError for sizes below 1 or another `init`, TypeError for options that `setup` does not take."""

    gates: str = ""
    state: str = "h"
    kept: str = ""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the gates, and what setup adds

        # Any signature, so that a subclass may name its states.
        step: Callable[..., Any]
        output: Callable[..., Tensor]
        setup: Callable[..., None]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dtype: Any = np.float32,
        rng: np.random.Generator | None = None,
        init: str = "default",
        **options: Any,
    ) -> None:
        if init not in _SCHEMES:
            raise ValueError(f"init must be one of {', '.join(_SCHEMES)}, got {init!r}")
        self.input_size = _size("input_size", input_size)
        self.hidden_size = _size("hidden_size", hidden_size)
        self.rng: np.random.Generator | None = _generator(rng)
        self._scheme, self._dtype = init, dtype
        _check_names(type(self))
        for declared in self.gates.split():
            name, _, reads = declared.partition(":")
            setattr(self, name, self.new_gate(name, reads or "xh"))
        taken = inspect.signature(self.setup)
        try:
            taken.bind(**options)
        except TypeError as error:
            names = ", ".join(taken.parameters) or "none"
            raise TypeError(f"{type(self).__name__}: its options are {names}; {error}") from None
        self.setup(**options)
        self.rng = None  # randomness is for the initial weights alone
        context = inspect.signature(self.step).parameters.get("context")
        self.reads_context = context is not None
        self.needs_context = context is not None and context.default is context.empty
        self.astype(dtype)

    def new_gate(self, name: str, reads: str = "xh", size: int | None = None) -> Gate:
        """A gate beyond those of `gates`, for `setup`: of `size` columns (H), reading x, h or both."""
        sizes = (self.input_size, self.hidden_size)
        return Gate(name, *sizes, dtype=self._dtype, rng=self.rng, scheme=self._scheme, reads=reads, size=size)

    if not TYPE_CHECKING:

        def setup(self) -> None:
            """Adds Parameters beyond the gates' and takes options; `self.rng` draws initial weights here."""

        def step(self, x: Tensor, *state: Tensor) -> Any:
            """One time step: x (B,I) and the states (B,H) -> the next states."""
            raise TypeError(f"{type(self).__name__} must define step(self, x, {self.state.replace(' ', ', ')})")

        def output(self, *state: Tensor) -> Tensor:
            """What the layer above sees: the first state unless a subclass says otherwise."""
            return state[0]

    @property
    def output_size(self) -> int:
        """The features of the output."""
        return self.hidden_size

    @property
    def states(self) -> list[str]:
        """The names of the states."""
        return self.state.split()

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """The shape of one row of each state: (H,) unless a subclass says otherwise."""
        return [(self.hidden_size,) for _ in self.states]

    @property
    def context_shapes(self) -> Sequence[Any]:
        """The shape of one row of each Tensor of the context, or a pair of that and a dtype; a context of one Tensor is
        that Tensor. None unless a subclass says otherwise."""
        return ()

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Zeros (B,H) per state, in the dtype and on the device of the weights."""
        weight = self._weight()
        lib, dtype = (np, self._dtype) if weight is None else (weight.xp, weight.dtype)
        shapes = self.state_shapes
        if len(shapes) != len(self.states) or not all(isinstance(shape, tuple) for shape in shapes):
            expected = f"a tuple for each of its states ({', '.join(self.states)})"
            raise TypeError(f"{type(self).__name__}.state_shapes must have {expected}, got {shapes!r}")
        return tuple(Tensor(lib.zeros((batch_size, *shape), dtype=dtype)) for shape in shapes)

    def advance(self, x: Tensor, state: tuple[Tensor, ...], context: Any = None) -> tuple[Tensor, ...]:
        """`step`, with the states as a tuple in and out; `context` is for a step that reads one. Raises TypeError where
        a step returns another number of states, or anything but Tensors of the shapes and dtypes that they had."""
        if context is None and self.needs_context:
            raise TypeError(f"{type(self).__name__}.step reads a context, and none was given")
        read = {"context": context} if self.reads_context and context is not None else {}
        result = self.step(x, *state, **read)
        result = result if isinstance(result, tuple) else (result,)
        if len(result) != len(state):
            raise TypeError(
                f"{type(self).__name__}.step must return {len(state)} state(s) ({self.state}), got {len(result)}"
            )
        for name, old, new in zip(self.states, state, result, strict=True):
            if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype != old.dtype:
                got = f"{new.dtype} of {new.shape}" if isinstance(new, Tensor) else type(new).__name__
                own = f"{type(self).__name__}.step must return {name}"
                raise TypeError(f"{own} as a Tensor of {old.dtype} of {old.shape}, got {got}")
        return result

    def __call__(self, x: Tensor, *state: Tensor, context: Any = None) -> Any:
        """A step by hand: x (B,I) and the states (B,H), zeros where none is given -> the next state, or a tuple of all
        of them where there are several. Raises TypeError for another number of states."""
        names = self.states
        if state and len(state) != len(names):
            expected = f"{len(names)} state(s) ({self.state}), or none to begin with"
            raise TypeError(f"{type(self).__name__}: {expected}, got {len(state)}")
        new = self.advance(x, state or self.initial_state(len(x)), context)
        return new if len(new) > 1 else new[0]

    def masked(self, masks: Sequence[Tensor]) -> Cell:
        """This cell, sharing its weights, with a mask on what each of its `gates_to_mask` reads: one for each, (B,R)
        for a gate whose W has R rows. Raises ValueError for another number of them."""
        gates = self.gates_to_mask()
        if len(masks) != len(gates):
            expected = f"{len(gates)} masks were expected, one for each gate that reads h, got {len(masks)}"
            raise ValueError(f"{type(self).__name__}.masked: {expected}")
        masked = [copy.copy(gate) for gate in gates]
        for gate, mask in zip(masked, masks, strict=True):
            gate.mask = mask
        cell: Cell = replaced(self, {id(old): new for old, new in zip(gates, masked, strict=True)})
        return cell

    def gates_to_mask(self) -> list[Gate]:
        """Every gate that reads h, in the order of `all_gates`: what recurrent dropout is put on. Raises ValueError
        where there is none."""
        gates = [gate for gate in self.all_gates() if "h" in gate.reads]
        if not gates:
            raise ValueError(f"recurrent_dropout needs a gate that reads h, and {type(self).__name__} has none")
        return gates

    def all_gates(self) -> list[Gate]:
        """Every gate, also those that `setup` made and put into lists or dicts."""
        return [gate for gate in within(self) if isinstance(gate, Gate)]


def _check_names(cell: type[Cell]) -> None:
    """Gates, states and the states that are kept are names, each once; a gate's is no attribute that a cell has."""
    for what in ("gates", "state", "kept"):
        declared = getattr(cell, what)
        if not isinstance(declared, str):
            raise TypeError(f"{cell.__name__}.{what} must be a string of names, got {declared!r}")
        names = [each.partition(":")[0] if what == "gates" else each for each in declared.split()]
        for i, name in enumerate(names):
            taken = what == "gates" and (hasattr(cell, name) or name in ("rng", "input_size", "hidden_size"))
            if not name.isidentifier() or name in names[:i] or taken:
                kind = "twice" if name in names[:i] else "an attribute of every cell" if taken else "not a name"
                raise ValueError(f"{cell.__name__}.{what}: {name!r} is {kind}")
            if what == "kept" and name not in cell.state.split():
                raise ValueError(f"{cell.__name__}.kept: {name!r} is none of its states ({cell.state})")


_size, _generator = init.size, init.generator  # `init` is also the name of the constructor's option
