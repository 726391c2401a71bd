"""scan: a step function over time, as a compiled program or as a plain loop."""

from __future__ import annotations

import linecache
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from numbers import Integral
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import DEFAULT_DTYPE, Array, device_of
from tinygrad_rnn.blas import blas_held
from tinygrad_rnn.engines import Engine, chosen_engine, engine_in_force, engine_on_gpu, switch
from tinygrad_rnn.forks import in_each_child
from tinygrad_rnn.frames import user_frame, user_lines
from tinygrad_rnn.loops import checkpointing
from tinygrad_rnn.loops.changing_numbers import about_changing_numbers
from tinygrad_rnn.loops.compiling import compiled_program
from tinygrad_rnn.loops.lifting import lifted
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.loops.program import Equation, Program, Var
from tinygrad_rnn.loops.recorder import record_step, same_recording, with_numbers_as_tensors
from tinygrad_rnn.loops.trees import flat, rebuild
from tinygrad_rnn.loops.unrolling import Step, length_of, unroll
from tinygrad_rnn.machine.refusal import NothingToDo
from tinygrad_rnn.ops import stack, unstack
from tinygrad_rnn.surroundings import PerThread, is_interpreted, is_recording, recording
from tinygrad_rnn.tape import Box, Given, joint
from tinygrad_rnn.tensor import as_tensor

# --- As one op on the tape -------------------------------------------------------------------------------------


@joint
def _scan(
    needs: tuple[bool, ...], *operands: Array, program: Program, every: int | None, engine: Engine
) -> tuple[tuple[Array, ...], Any]:
    compiled = compiled_program(program, needs, engine)
    saved: Any
    with blas_held():
        if every is None or not any(needs):
            results, saved = compiled.run_forward(operands)
        else:
            light = compiled_program(program, (False,) * len(needs), engine)
            results, saved = checkpointing.forward(light, operands, every)
    return results, (compiled, saved)


def _scan_rule(
    g: Sequence[Array | None], saved: Any, *operands: Array, program: Program, every: int | None, engine: Engine
) -> list[Any]:
    compiled, values = saved
    with blas_held():
        if every is None:
            return Given(compiled.run_backward(values, g, operands))
        return Given(checkpointing.backward(compiled, values, g, operands, every))


def perform(equations: list[Equation], env: dict[Var, Any], change: Callable[[Var, Any], Any] | None = None) -> None:
    """Runs equations of a step on what `env` holds, and puts every result there, after `change(var, value)`."""
    for e in equations:
        with recording(is_recording() and e.graded):
            result = e.primitive(*(env[v] if isinstance(v, Var) else v for v in e.args), **e.params)
        for v, value in zip(e.outs, result if e.several else (result,), strict=True):
            env[v] = value if change is None else change(v, value)


def _replay(*operands: Any, program: Program, every: int | None, engine: Engine) -> tuple[Any, ...]:
    """The same scan as ops on the tape: the program, run step by step on Tensors."""
    captured, state, xs = program.sorted(operands)
    columns = [unstack(as_tensor(x)) for x in xs]
    ys: list[list[Any]] = [[] for _ in program.ys]
    for t in range(len(columns[0])):
        given = (*captured, *state, *(column[t] for column in columns))
        env = dict(zip((*program.captured, *program.states, *program.xs), given, strict=True))
        perform(program.equations, env)
        state = [env[v] for v in program.new_states]
        for y, v in zip(ys, program.ys, strict=True):
            y.append(env[v])
    return (*state, *(stack(y) for y in ys))


_scan.vjp(_scan_rule)
_scan.composite(_replay)


# --- The switch, and what is said where a step cannot be compiled ----------------------------------------------


class ScanWarning(RuntimeWarning):
    """A scan runs as a plain loop, or is compiled again and again, and why."""


class compiled:  # noqa: N801  (used as a statement: `with compiled(False):`)
    """Says how the scans of this thread run, from here on, or within a block: `with compiled(False):`. Another thread,
    one started here too, compiles.

    Args:
        on: False for a plain loop, so that one can step through it and read its tape; "machine" for loops compiled to
            machine code, which needs llvmlite; "numpy" for loops written as NumPy calls; True for the best that is
            installed, as it is where nothing is said. Of arrays on a GPU all but False and "numpy" are kernels there.

    Raises:
        ValueError: for anything else.
        ImportError: llvmlite is needed and not installed.

    Example:
        >>> layer = models.RNN(2, 3)
        >>> with tg.compiled(False):
        ...     outputs, state = layer(np.ones((2, 1, 2), np.float32))
        >>> len(tg.Tape(outputs)) > 10  # every op of every step
        True
    """

    def __init__(self, on: bool | str = True) -> None:
        self._token = switch.set(chosen_engine(on))

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        switch.reset(self._token)


Heard = list[tuple[Step, Any, Any]]

listener: PerThread[Heard | None] = PerThread("tinygrad_rnn.listener", None)
"""Where it holds a list, every scan writes down what it was given."""

reasons: PerThread[list[str] | None] = PerThread("tinygrad_rnn.reasons", None)
"""Where it holds a list, a scan that runs as a plain loop writes down why, instead of warning."""

_lock = threading.Lock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603  (one for the process)
    _lock = threading.Lock()


in_each_child(_new_lock)

_REMEMBERED = 256
_pure: OrderedDict[Any, None] = OrderedDict()
_explained: OrderedDict[Any, None] = OrderedDict()


def _first_time(seen: OrderedDict[Any, None], key: Any) -> bool:
    with _lock:
        if key in seen:
            return False
        seen[key] = None
        if len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        return True


def _explain_once(step: Step, error: Exception) -> None:
    """Says why, once for a step (wherever it was written) and the line that is the reason."""
    written = getattr(step, "__code__", None)
    own = (written.co_filename, written.co_firstlineno) if written else ("", 0)
    file, number = next(reversed(user_lines(error)), own)
    line = linecache.getline(file, number).strip()
    name = getattr(step, "__qualname__", type(step).__name__)
    message = f"scan of {name}: runs as a plain loop, because {error}" + (
        f", at {file}:{number}: {line}" if line else ""
    )
    if (heard := reasons.get()) is not None:
        heard.append(message)
    elif _first_time(_explained, (own, file, number, str(error))):
        warnings.warn(message, ScanWarning, stacklevel=user_frame()[1])


def _explain_changing_numbers(step: Step, state: Any, xs: Any, program: Program) -> None:
    found = about_changing_numbers(program, partial(record_step, step, state, xs))
    if found is not None and _first_time(_explained, f"{step.__qualname__}{found[0]}"):
        warnings.warn(f"scan of {step.__qualname__}: {found[1]}", ScanWarning, stacklevel=user_frame()[1])


# --- scan itself -----------------------------------------------------------------------------------------------


def scan(
    step: Step,
    state: Any,
    xs: Any,
    compiled: bool = True,
    truncate: int | None = None,
    checkpoint_every: int | None = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Runs a step over the leading axis of `xs`, as `jax.lax.scan` does: a compiled program with the gradient of the
    loop.

    It runs as a plain loop on the tape where `compiled` is False, `tinygrad_rnn.compiled(False)` is in force,
    `detect_anomaly` watches, the arrays are neither NumPy's nor CuPy's, or the step cannot be recorded, or, on
    a GPU, be written as kernels, which a ScanWarning explains once.

    Args:
        step: `step(state, x) -> (state, y)`. It may close over Parameters and Tensors.
        state: what the first step is given: a Tensor, or tuples, lists and dicts of Tensors within each other; None
            holds none. A Python number becomes a Tensor of the dtype in which the step hands it on.
        xs: nested likewise, all with the same length T of their first axis; None needs `length`.
        compiled: False for a plain loop.
        truncate: k detaches the state every k steps: no gradient goes from one such part to the one before it.
        checkpoint_every: k saves only every k-th state for the backward pass, which runs the steps between again:
            memory for T/k + k steps instead of T, for one more forward pass. (A plain loop keeps its whole tape all the
            same.)
        length: T, where there are no `xs`.
        reverse: begins with the last step; the `y`s are in the order of the `xs` all the same.

    Returns:
        The last state, and the `y`s stacked along a new leading axis.

    Raises:
        ValueError: T is 0, lengths differ, or k is below 1.
        TypeError: a step does not return two things, or a state that is nested in another way than the one it is given.

    Example:
        >>> decay = Parameter(0.5, dtype=np.float64)
        >>> def step(h, x):
        ...     h = decay * h + x
        ...     return h, h
        >>> last, hs = tg.scan(step, Tensor(np.float64(0)), np.array([1.0, 2.0, 4.0]))
        >>> hs.numpy()
        array([1.  , 2.5 , 5.25])
        >>> last.backward()
        >>> decay.grad.item()
        3.0
    """
    if reverse:
        turned = rebuild(xs, (ops.flip(as_tensor(x), 0) for x in flat(xs)))
        last, y = scan(step, state, turned, compiled, truncate, checkpoint_every, length)
        return last, rebuild(y, (ops.flip(each, 0) for each in flat(y)))
    if not flat(xs):
        step, xs = _without_inputs(step, xs, length)
    steps = length_of(xs)
    if length not in (None, steps):
        raise ValueError(f"scan: length must be the number of steps that xs have, {steps}, got {length!r}")
    state = with_numbers_as_tensors(step, state, xs)
    for name, k in (("truncate", truncate), ("checkpoint_every", checkpoint_every)):
        if k is not None and (not isinstance(k, Integral) or k < 1):
            raise ValueError(f"scan: {name} must be a whole number of at least 1, or None, got {k!r}")
    if truncate is not None:
        return _truncated(step, state, xs, truncate, compiled, checkpoint_every)
    heard = listener.get()
    if heard is not None:
        heard.append((step, state, xs))
    given = [*flat(state), *flat(xs)]
    engine = None if not compiled or is_interpreted() else _engine_of(given)
    if engine is None or (steps == 1 and not is_recording()):  # one step costs less than its recording
        return unroll(step, state, xs)
    new = False
    try:
        recorded, new_state, y = record_step(step, state, xs)
        if recorded.key not in _pure:
            same, for_sure = same_recording(recorded, record_step(step, state, xs)[0])
            if not same:
                raise CannotRecord("the step does something else each time it is called")
            if for_sure:
                new = _first_time(_pure, recorded.key)
        program = _with_lifted(recorded)
        needs = tuple(_is_live(x) for x in (*program.operands, *given))
        compiled_program(program, needs, engine)
    except NothingToDo:  # of arrays on a GPU; of others there are NumPy calls
        return unroll(step, state, xs)
    except Exception as error:
        result = unroll(step, state, xs)  # where the step itself is wrong, this says so
        _explain_once(step, error)
        return result
    if new:
        _explain_changing_numbers(step, state, xs, recorded)
    leaves: Any = iter(_scan(*program.operands, *given, program=program, every=checkpoint_every, engine=engine))
    return rebuild(new_state, leaves), rebuild(y, leaves)


def _with_lifted(program: Program) -> Program:
    """The program without what is made of its operands alone, which is made here."""
    moving, before = lifted(program)
    if not before:
        return program
    env = dict(zip(program.captured, program.operands, strict=True))
    perform(before, env)
    return replace(moving, operands=[env[v] for v in moving.captured])


def _without_inputs(step: Step, xs: Any, length: int | None) -> tuple[Step, Any]:
    """The same step of inputs that have no entries, and these."""
    if not isinstance(length, Integral) or length < 1:
        raise ValueError(f"scan: without xs, length must be a whole number of at least 1, got {length!r}")

    @wraps(step)
    def alone(state: Any, _: Any) -> Any:
        return step(state, xs)

    return alone, as_tensor(np.empty((length, 0), DEFAULT_DTYPE))


def _is_live(x: Any) -> bool:
    """Whether `_scan` will be asked for its gradient."""
    return isinstance(x, Box) and x.node is not None and is_recording()


def _engine_of(values: list[Any]) -> Engine | None:
    """What writes the loop of a scan of these; None for a plain loop."""
    arrays = [x.data if isinstance(x, Box) else x for x in values]
    if all(isinstance(x, np.ndarray) for x in arrays):
        return engine_in_force()
    return engine_on_gpu() if all(device_of(x) == "cuda" for x in arrays) else None


def _truncated(
    step: Step, state: Any, xs: Any, k: int, compiled: bool, checkpoint_every: int | None
) -> tuple[Any, Any]:
    """`scan` in parts of k steps with a detached state between them."""
    cuts = range(k, length_of(xs), k)
    columns = [ops.split(as_tensor(x), [*cuts]) for x in flat(xs)]
    parts: list[Any] = []
    for number in range(len(cuts) + 1):
        if number:
            state = rebuild(state, (as_tensor(s).detach() for s in flat(state)))
        part = rebuild(xs, iter([column[number] for column in columns]))
        state, y = scan(step, state, part, compiled, None, checkpoint_every)
        parts.append(y)
    joined = [ops.concatenate(list(each)) for each in zip(*map(flat, parts), strict=True)]
    return state, rebuild(parts[0], iter(joined))
