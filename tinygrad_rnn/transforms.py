"""Derivatives as functions of functions, of any order: each result is on the tape of whatever surrounds it, so
`grad(grad(f))` needs nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import xp
from tinygrad_rnn.surroundings import current_surroundings, is_recording, recording
from tinygrad_rnn.tape import Alias, Leaf, Node, _alias, walk
from tinygrad_rnn.tensor import Tensor, as_tensor, wrap

Function = Callable[..., Any]


def _variables(tensors: tuple[Any, ...], argnums: tuple[int, ...], name: str) -> tuple[list[Any], list[Node]]:
    """The arguments, with those of `argnums` under new names, and these names' nodes, if there is a tape."""
    arguments: list[Any] = list(tensors)
    nodes: list[Node] = []
    if len({position % len(tensors) for position in argnums if tensors}) < len(argnums) and tensors:
        raise ValueError(f"{name}: argnums names an argument twice: {argnums}")
    for position in argnums:
        if not -len(tensors) <= position < len(tensors):
            raise ValueError(f"{name}: argnums names argument {position}, but {len(tensors)} were given")
        x = as_tensor(tensors[position])
        if x.dtype.kind != "f":
            raise TypeError(f"{name}: argument {position} must hold floating-point numbers, got dtype {x.dtype}")
        if _is_taken_down():
            arguments[position] = _alias(x)
            continue
        node = Alias(x)
        arguments[position] = Tensor.wrap(x.data, node)
        nodes.append(node)
    return arguments, nodes


def _result(name: str, out: Any) -> Tensor:
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}: the function must return a Tensor, got {type(out).__name__}")
    return out


def _direction(name: str, v: Any, x: Any) -> Tensor:
    """The vector of a product with a matrix of derivatives: it must have the shape of the point."""
    direction, shape = as_tensor(v), as_tensor(x).shape
    if direction.shape != shape:
        raise ValueError(f"{name}: the direction must have the shape {shape} of its argument, got {direction.shape}")
    return direction


def _is_taken_down() -> bool:
    """Whether a step is being recorded: there is no tape then."""
    return current_surroundings.get().recorder is not None


def _zeros_like(x: Tensor) -> Tensor:
    """Zeros, off the tape. (In a recording nothing is: `detach` would be taken for a stop of the step's own.)"""
    return ops.zeros_like(x if _is_taken_down() else x.detach())


def _depends_on_more(out: Tensor, nodes: list[Node]) -> bool:
    """Whether `out` was made from anything on the tape besides the variables `nodes`: a Parameter, or a variable
    of an enclosing derivative. Only then can somebody want to differentiate a derivative of `out` again. Of a step that
    is being recorded, anybody may."""
    if _is_taken_down():
        return True
    if any(node.parents[0] is not None for node in nodes):
        return True
    oldest = min((node.number for node in nodes), default=0)
    stack = [] if out.node is None else [out.node]
    seen = set(stack)
    while stack:
        node = stack.pop()
        if isinstance(node, Leaf) or node.number < oldest:
            return True
        fresh = [p for p in node.parents or () if p is not None and p not in seen]
        seen.update(fresh)
        stack.extend(fresh)
    return False


def _backward(out: Tensor, seed: Tensor, inputs: list[Tensor], nodes: list[Node], open_: bool) -> tuple[Tensor, ...]:
    """The gradients of `inputs` (zeros where `out` does not depend on one), recorded where that can matter."""
    recorder = current_surroundings.get().recorder
    if recorder is not None:
        taken_down = recorder.gradients(out, seed, inputs)
        return tuple(_zeros_like(x) if g is None else g for g, x in zip(taken_down, inputs, strict=True))
    recorded = is_recording() and (open_ or seed.node is not None)
    found = walk(out.node, seed if recorded else seed.data, wrap=wrap if recorded else None, retain=True, targets=nodes)
    return tuple(
        _zeros_like(x) if g is None else g if isinstance(g, Tensor) else wrap(xp(x.data).asarray(g), None)
        for g, x in zip(found, inputs, strict=True)
    )


def _outside(out: Tensor, open_: bool) -> Tensor:
    """The value as the surroundings see it: on their tape only where they are on it."""
    return out if open_ and is_recording() else out.detach()


@overload
def value_and_grad(f: Function, argnums: int = 0) -> Callable[..., tuple[Tensor, Tensor]]: ...
@overload
def value_and_grad(f: Function, argnums: tuple[int, ...]) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]: ...
@overload
def value_and_grad(f: Function, argnums: int | tuple[int, ...]) -> Callable[..., tuple[Tensor, Any]]: ...
def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """A function that returns `f`'s value and its gradient.

    Args:
        f: takes Tensors and returns a scalar Tensor.
        argnums: which arguments to differentiate by, from 0; a tuple of them gives a tuple of gradients.

    Returns:
        A function of `f`'s arguments: the value, and a Tensor of the argument's shape or a tuple of such.

    Raises:
        TypeError: `f` is no function or does not return a Tensor, or an argument is not floating-point.
        ValueError: what `f` returns is not a scalar, or `argnums` names what is not there.

    Example:
        >>> both = tg.value_and_grad(lambda x: (x**2).sum())
        >>> value, gradient = both(np.array([1.0, 2.0]))
        >>> value.item(), gradient.numpy()
        (5.0, array([2., 4.]))
    """
    if not callable(f):
        told = "grad(f)(x) is the gradient of f at x, and x.grad after backward() that of a Tensor"
        raise TypeError(f"grad: a function was expected, got a {type(f).__name__}: {told}")
    positions = argnums if isinstance(argnums, tuple) else (argnums,)

    def both(*tensors: Any) -> tuple[Tensor, Any]:
        with recording(True):
            arguments, nodes = _variables(tensors, positions, "grad")
            out = _result("grad", f(*arguments))
        if out.shape != ():
            raise ValueError(f"grad: the function must return a scalar, got shape {out.shape}; use vjp or jacobian")
        inputs = [arguments[position] for position in positions]
        open_ = _depends_on_more(out, nodes)
        gradients = _backward(out, _zeros_like(out) + 1, inputs, nodes, open_)
        return _outside(out, open_), gradients if isinstance(argnums, tuple) else gradients[0]

    return both


@overload
def grad(f: Function, argnums: int = 0) -> Callable[..., Tensor]: ...
@overload
def grad(f: Function, argnums: tuple[int, ...]) -> Callable[..., tuple[Tensor, ...]]: ...
@overload
def grad(f: Function, argnums: int | tuple[int, ...]) -> Callable[..., Any]: ...
def grad(f: Function, argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function. `grad(grad(f))` is the second derivative.

    Args:
        f: takes Tensors and returns a scalar Tensor.
        argnums: which arguments to differentiate by, from 0; a tuple of them gives a tuple of gradients.

    Returns:
        A function of `f`'s arguments: a Tensor of the argument's shape, or a tuple of such. It raises as that of
        `value_and_grad` does.

    Example:
        >>> tg.grad(ops.tanh)(0.0).item()
        1.0
        >>> gx, gy = tg.grad(lambda x, y: x * x * y, (0, 1))(3.0, 5.0)
        >>> gx.item(), gy.item()
        (30.0, 9.0)
    """
    both = value_and_grad(f, argnums)

    def gradient(*tensors: Any) -> Any:
        return both(*tensors)[1]

    return gradient


def vjp(f: Function, *tensors: Any) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """A function's value, and its pullback: products of vectors with the matrix J of its derivatives, uᵀJ.

    Args:
        f: takes Tensors and returns one, of any shape.
        tensors: where: the arguments of `f`.

    Returns:
        `f(*tensors)`, and a function of u, of the result's shape, that gives a tuple with one Tensor per argument. It
        can be called many times.

    Raises:
        TypeError: `f` does not return a Tensor, or an argument is not floating-point.

    Example:
        >>> y, pullback = tg.vjp(ops.sin, np.array([0.0, np.pi]))
        >>> pullback(np.array([1.0, 10.0]))[0].numpy()
        array([  1., -10.])
    """
    with recording(True):
        arguments, nodes = _variables(tensors, tuple(range(len(tensors))), "vjp")
        out = _result("vjp", f(*arguments))
    open_ = _depends_on_more(out, nodes)

    def pullback(cotangent: Any) -> tuple[Tensor, ...]:
        seed = as_tensor(cotangent)
        if seed.shape != out.shape:
            raise ValueError(f"vjp: the cotangent must have the shape {out.shape} of the result, got {seed.shape}")
        return _backward(out, seed, arguments, nodes, open_)

    return _outside(out, open_), pullback


def jvp(f: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """A function's value, and how it changes in a direction: Jv.

    The pullback u -> uᵀJ is linear in u, so its own pullback applied to v is Jv: no rule is needed besides those of the
    backward pass.

    Args:
        f: takes Tensors and returns one, of any shape.
        primals: where: a tuple with the arguments of `f`.
        tangents: the direction v: a tuple with as many, of their shapes.

    Returns:
        `f(*primals)` and Jv, of one shape.

    Raises:
        TypeError: as `vjp` does.
        ValueError: the tangents are not as many, or of other shapes.

    Example:
        >>> y, change = tg.jvp(ops.sin, (np.array([0.0, np.pi]),), (np.array([2.0, 3.0]),))
        >>> change.numpy()
        array([ 2., -3.])
    """
    if len(primals) != len(tangents):
        raise ValueError(f"jvp: one tangent per primal was expected, got {len(tangents)} for {len(primals)}")
    tangents = tuple(_direction("jvp", v, x) for v, x in zip(tangents, primals, strict=True))
    with recording(True):
        out, pullback = vjp(f, *primals)

        def transposed(u: Tensor) -> Tensor:
            parts: list[Tensor] = [(g * v).sum() for g, v in zip(pullback(u), tangents, strict=True)]
            return sum(parts[1:], parts[0])

        tangent = grad(transposed)(_zeros_like(out))
    open_ = _is_taken_down() or out.node is not None or any(v.node is not None for v in tangents)
    return _outside(out, open_), _outside(tangent, open_)


def jacobian(f: Function, argnum: int = 0) -> Callable[..., Tensor]:
    """The matrix of all partial derivatives, row by row, a backward pass each.

    Args:
        f: takes Tensors and returns one, of any shape.
        argnum: which argument to differentiate by, from 0.

    Returns:
        A function of `f`'s arguments: a Tensor (*out.shape, *x.shape). It raises as `vjp` does.

    Example:
        >>> tg.jacobian(lambda x: x[:2] * x[2])(np.array([1.0, 2.0, 3.0])).numpy()
        array([[3., 0., 1.], [0., 3., 2.]])
    """

    def matrix(*tensors: Any) -> Tensor:
        with recording(True):
            arguments, nodes = _variables(tensors, (argnum,), "jacobian")
            out = _result("jacobian", f(*arguments))
        x, open_, rows = arguments[argnum], _depends_on_more(out, nodes), []
        for i in range(out.size):
            seed = out.xp.zeros(out.size, dtype=out.dtype)
            seed[i] = 1
            rows.append(_backward(out, Tensor(seed.reshape(out.shape)), [x], nodes, open_)[0])
        shape = (*out.shape, *x.shape)
        return ops.stack(rows).reshape(shape) if rows else Tensor(x.xp.zeros(shape, dtype=x.dtype))

    return matrix


def hvp(f: Function, x: Any, v: Any) -> Tensor:
    """Hv, H being the Hessian of a scalar function: the gradient of <grad f, v> (Pearlmutter 1994).

    Args:
        f: takes a Tensor and returns a scalar one.
        x: where.
        v: the vector, of the shape of `x`.

    Returns:
        A Tensor of that shape.

    Raises:
        TypeError: as `grad` does.
        ValueError: `v` has another shape, or `f` does not return a scalar.

    Example:
        >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 10.0])
        >>> tg.hvp(lambda x: (x**3).sum(), x, v).numpy()
        array([  6., 120.])
    """
    direction = _direction("hvp", v, x)
    return grad(lambda y: (grad(f)(y) * direction).sum())(x)
