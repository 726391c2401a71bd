"""Cell: what a recurrent network does in one time step.

A cell is its equations and nothing else. Time, lengths, batches, masks, dropout, directions and devices belong to
the layer that drives it (`Recurrent`), so that a new cell gets all of them by writing `step`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_rnn.backend import is_array
from tinygrad_rnn.inspection.tracing import tag
from tinygrad_rnn.models import init
from tinygrad_rnn.models.contract import (
    check_attribute,
    check_declarations,
    checked_beginning,
    checked_output,
    checked_rows,
    checked_states,
    reads_x,
    without_output,
)
from tinygrad_rnn.models.equations import equations_as_html
from tinygrad_rnn.models.gate import SCHEMES, Gate
from tinygrad_rnn.models.module import Module, modules_by_path, replaced, within
from tinygrad_rnn.models.notes import write_note
from tinygrad_rnn.tensor import Tensor

TwoStates = tuple[Tensor, Tensor]
"""What a step of two states returns."""


class Cell(Module):
    """Base of all cells. A subclass names its gates and its states and writes `step`:

        class MyCell(Cell):
            gates = "z n"          # self.z(x, h) and self.n(x, h): affine sums, each with weights of its own
                                   # ("z:x": one that reads x alone, self.z(x); "z:h": one of h)
            state = "h"            # the default; the first state is the output

            def step(self, x, h):  # (B,I), (B,H) -> the next state, or a tuple of all of them
                z = sigmoid(self.z(x, h))
                return (1 - z) * tanh(self.n(x, h)) + z * h

    What else one may have:

    - `kept = "t m"` lists states that zoneout leaves alone, since an old value there is a wrong one: counters, phases,
      what stabilises others, sums, memories.
    - A step with a parameter `context` reads, at every time step, what the layer is called with: a memory to attend to,
      a vector to depend on. `context_shapes` tells `check_cell` what that is.
    - A step with a parameter `noise` gets noise of its own at every time step while the layer trains, and None
      otherwise: `noise_shapes` tells of which shapes, `draw_noise` of which distribution.
    - `setup(self, **options)` may add Parameters (peepholes, norms) and gates (`new_gate`), and take options of the
      constructor. It may add constants, too, as Tensors or arrays of floating-point numbers, which become Tensors: they
      have the cell's dtype and device, as Parameters have, and are not trained; a `Buffer` is also saved.
    - `output(self, *state)`, or `output(self, x, *state)`, makes the output of the new states where it is not the first
      of them; `output = "y"` says instead that the step returns it, after the states. `output_size` tells its features
      where they are not H.
    - `state_shapes` tells of states that are not (B,H), and `initial_state(self, batch_size)` of states that do not
      begin as zeros; it may return Parameters, repeated for each row.
    - `self.note(name, value)` in a step is for what is neither state nor output: a loss, a figure to look at.

    Args:
        input_size, hidden_size: I and H.
        dtype, rng: of the weights, and the generator that draws them (seed 0 unless told).
        init: "default": U Glorot uniform, W orthogonal, b zero; "wildml": U and W uniform within 1/sqrt(fan in).
        options: those of `setup`.

    Raises:
        ValueError: sizes are below 1, or for another `init`.
        TypeError: `setup` does not take an option.

    Example:
        >>> class MGUCell(models.Cell):
        ...     gates = "f n"
        ...
        ...     def step(self, x, h):
        ...         f = ops.sigmoid(self.f(x, h))
        ...         return (1 - f) * h + f * ops.tanh(self.n(x, f * h))
        >>> outputs, (h,) = models.Recurrent(MGUCell, 4, 8)(np.ones((20, 3, 4), np.float32))
        >>> outputs.shape, h.shape
        ((20, 3, 8), (1, 3, 8))
    """

    gates: str = ""
    state: str = "h"
    kept: str = ""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the gates, and what setup adds

        # Any signature, so that a subclass may name its states.
        step: Callable[..., Any]
        output: Callable[..., Tensor] | str
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
        if init not in SCHEMES:
            raise ValueError(f"init must be one of {', '.join(SCHEMES)}, got {init!r}")
        check_declarations(type(self))
        self.input_size = _size("input_size", input_size)
        self.hidden_size = _size("hidden_size", hidden_size)
        self.rng: np.random.Generator | None = _generator(rng)
        self._scheme, self._dtype = init, dtype
        for declared in self.gates.split():
            name, _, reads = declared.partition(":")
            setattr(self, name, self.new_gate(name, reads or "xh"))
        taken = inspect.signature(self.setup)
        try:
            taken.bind(**options)
        except TypeError as error:
            names = ", ".join(taken.parameters) or "none"
            raise TypeError(f"{type(self).__name__}: its options are {names}; {error}") from None
        with _drawing_from(self.rng):
            self.setup(**options)
        vars(self)["rng"] = None  # randomness is for the initial weights alone
        self._tell_gates_apart()
        read = inspect.signature(self.step).parameters
        self.reads_context, self.reads_noise = ("context" in read, "noise" in read)
        self.needs_context = self.reads_context and read["context"].default is inspect.Parameter.empty
        self.output_reads_x = reads_x(type(self))
        self._keep_constants()
        self.astype(dtype)

    def new_gate(
        self,
        name: str,
        reads: str = "xh",
        size: int | None = None,
        bias: bool = True,
        *,
        x_size: int | None = None,
        h_size: int | None = None,
    ) -> Gate:
        """A gate beyond those of `gates`, for `setup` to keep: `self.q = self.new_gate("q", "x", 8, bias=False)`.

        Args:
            name: what messages call it.
            reads: "x", "h" or both. What a gate reads as h is a state: recurrent dropout is put on it.
            size: its columns, H unless told.
            bias: False leaves out b.
            x_size, h_size: the features of what it reads, I and H unless told.
        """
        sizes = (self.input_size if x_size is None else x_size, self.hidden_size if h_size is None else h_size)
        size = self.hidden_size if size is None else size
        given = {"dtype": self._dtype, "rng": self.rng, "scheme": self._scheme}
        return Gate(name, *sizes, **given, reads=reads, size=size, bias=bias)

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            if vars(self).get("rng") is not None:  # while it is made
                check_attribute(self, name, value, Cell)
            super().__setattr__(name, value)

        def __getattr__(self, name: str) -> Any:
            declared = inspect.getattr_static(type(self), name, None)
            if isinstance(declared, property) and declared.fget is not None:  # it is there: what it asks for is not
                return declared.fget(self)
            gates = ", ".join(name for name, value in vars(self).items() if isinstance(value, Gate)) or "none"
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its gates are {gates}")

        def setup(self) -> None:
            """Adds Parameters beyond the gates' and takes options; `self.rng` draws initial weights here."""

        def step(self, x: Tensor, *state: Tensor) -> Any:
            """One time step: x (B,I) and the states (B,H) -> the next states."""
            raise TypeError(f"{type(self).__name__} must define step(self, x, {self.state.replace(' ', ', ')})")

        def output(self, *state: Tensor) -> Tensor:
            """What the layer above sees: the first state unless a subclass says otherwise. It may take x first."""
            return state[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the weights, which inputs and states share."""
        weight = self._weight()
        return np.dtype(self._dtype) if weight is None else weight.dtype

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

    @property
    def noise_shapes(self) -> Sequence[tuple[int, ...]]:
        """The shape of one row of each Tensor of noise that the step reads: one of (H,) unless a subclass says
        otherwise. Noise of one Tensor is that Tensor."""
        return ((self.hidden_size,),)

    def draw_noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
        """Noise for all time steps, an array of `shape` (T,B,...): standard normal unless a subclass says otherwise."""
        return rng.standard_normal(shape)

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """Where a sequence begins: a Tensor (B,H) for each state, of zeros unless a subclass says otherwise, in the
        dtype and on the device of the weights."""
        weight = self._weight()
        lib, dtype = (np, self._dtype) if weight is None else (weight.xp, weight.dtype)
        shapes = checked_rows(self, "state_shapes", self.state_shapes, len(self.states))
        return tuple(Tensor(lib.zeros((batch_size, *shape), dtype=dtype)) for shape in shapes)

    def beginning(self, batch_size: int) -> tuple[Tensor, ...]:
        """What `initial_state` returns. Raises TypeError where that is not a Tensor for each state, of its shape."""
        states = self.initial_state(batch_size)
        if type(self).initial_state is Cell.initial_state:
            return states
        return checked_beginning(self, batch_size, self.dtype, states)

    def advance(
        self, x: Tensor, state: tuple[Tensor, ...], context: Any = None, noise: Any = None
    ) -> tuple[Tensor, ...]:
        """`step`, with the states as a tuple in and out; `context` and `noise` are for a step that reads them. Raises
        TypeError where a step returns another number of states, or anything but Tensors of the shapes and dtypes that
        they had."""
        return self.stepped(x, state, context, noise)[0]

    def stepped(
        self, x: Tensor, state: tuple[Tensor, ...], context: Any = None, noise: Any = None
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """`advance`, and beside the states the output where the step returns it; None where `output` makes it of
        them."""
        if context is None and self.needs_context:
            raise TypeError(f"{type(self).__name__}.step reads a context, and none was given")
        read = {"context": context} if self.reads_context and context is not None else {}
        if self.reads_noise:
            read["noise"] = noise
        result = self.step(x, *state, **read)
        y = None
        if isinstance(self.output, str):
            result, y = without_output(self, result)
            tag(self.output, y)
        return checked_states(self, state, result, lambda: self.step(x, *state, **read)), y

    def put_out(self, x: Tensor, state: tuple[Tensor, ...], y: Tensor | None = None) -> Tensor:
        """The output after a step that read x, left these states, and returned `y` beside them where it returns its
        output. Raises TypeError where it is no Tensor (B, output_size)."""
        if callable(self.output):
            y = self.output(x, *state) if self.output_reads_x else self.output(*state)
        return checked_output(self, x, y)

    def note(self, name: str, value: Tensor) -> Tensor:
        """Within `step`: writes down a value (B,) or (B,...), a loss of its own, a figure to look at, for whoever asks
        for notes (`layer(xs, notes=True)`, `fit(penalties=...)`), and for a trace. Returns the value. Raises TypeError
        for what is no such Tensor, ValueError for a name that the step has used before."""
        write_note(type(self).__name__, name, value)
        return tag(name, value)

    def __call__(self, x: Tensor, *state: Tensor, context: Any = None, noise: Any = None) -> Any:
        """A step by hand: x (B,I) and the states (B,H), zeros where none is given -> the next state, or a tuple of all
        of them where there are several. Raises TypeError for another number of states."""
        names = self.states
        if state and len(state) != len(names):
            expected = f"{len(names)} state(s) ({self.state}), or none to begin with"
            raise TypeError(f"{type(self).__name__}: {expected}, got {len(state)}")
        new = self.advance(x, state or self.beginning(len(x)), context, noise)
        return new if len(new) > 1 else new[0]

    def _repr_html_(self) -> str:
        """In a notebook: its equations, from its recorded step, and its Parameters."""
        return equations_as_html(self) + super()._repr_html_()

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

    def _tell_gates_apart(self) -> None:
        """Gates in a list, or in a cell within this one, are called by the path to them, as their Parameters are: in
        traces, messages and `explain`."""
        for path, module in modules_by_path(self):
            if isinstance(module, Gate) and "." in path:
                module.rename(path)

    def _keep_constants(self) -> None:
        """Makes Tensors of the arrays of floating-point numbers that `setup` left among the attributes, in lists and
        dictionaries too: they are then cast and moved with the Parameters."""
        for name, value in vars(self).items():
            setattr(self, name, _as_constants(value))


def _as_constants(value: Any) -> Any:
    """The value, with Tensors in place of floating-point arrays."""
    if is_array(value):
        return Tensor(value) if value.dtype.kind == "f" else value
    if isinstance(value, dict):
        return (
            {key: _as_constants(part) for key, part in value.items()}
            if any(map(_holds_array, value.values()))
            else value
        )
    if type(value) in (list, tuple) and any(map(_holds_array, value)):
        return type(value)(map(_as_constants, value))
    return value


def _holds_array(value: Any) -> bool:
    return is_array(value) or (type(value) in (list, tuple) and any(map(_holds_array, value)))


# `init` is also the name of the constructor's option.
_size, _generator, _drawing_from = init.size, init.generator, init.drawing_from
