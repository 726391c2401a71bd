"""The tape: what was computed, and the walk that differentiates it.

A *primitive* is a function of arrays. Called with a `Box` (a Tensor) among its arguments it computes with the
arrays inside and, where a gradient may be asked for, leaves a *node*: the primitive, the raw argument values,
the result, and the nodes that the arguments came from. Those nodes are the tape; nothing else records.

Reverse-mode differentiation (Linnainmaa 1970; Griewank & Walther 2008, ch. 3) visits the nodes newest first
and asks each primitive's *rules*, one per argument: `rule(g, out, *args, **params)` is the gradient of the
argument when `g` is the gradient of the result. A rule is plain code over its arguments. Given arrays it
computes; given Boxes it is recorded like any other code, and that is all there is to higher derivatives.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import numpy as np

from tinygrad_rnn.backend import REAL, Array, as_array, real_dtype, xp
from tinygrad_rnn.changes import changes, order
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.sums import total
from tinygrad_rnn.surroundings import (
    BARE,
    OpRecorder,
    Where,
    current_surroundings,
    held_surroundings,
    recording,
    this_thread,
)

if TYPE_CHECKING:  # for type checkers only: to them, an op returns a Tensor
    from tinygrad_rnn.tensor import Tensor

P = ParamSpec("P")
BoxT = TypeVar("BoxT", bound="Box")
_ORDINARY = frozenset({float, int, bool, str, slice, type(None), type(...)})
"""The types of most options, and of the numbers that take the dtype of the other operand: nothing is asked of them."""

ndarray = np.ndarray

Rule = Callable[..., Any]
Wrap = Callable[[Array, "Node | None"], Any]


# --- Boxes and nodes -------------------------------------------------------------------------------------------


class Box:
    """An array and the node that it came from (None: not on the tape). `Tensor` adds the operators."""

    __slots__ = ("data", "node")
    data: Array
    node: Node | None

    @property
    def xp(self) -> Any:
        """The namespace of its array."""
        return xp(self.data)

    @classmethod
    def wrap(cls: type[BoxT], data: Array, node: Node | None) -> BoxT:
        """A box of this class around an array."""
        box = cls.__new__(cls)
        box.data = data
        box.node = node
        return box


class Node:
    """One line of the tape. It holds raw values and parent nodes and never a Box: no reference cycles, and
    rebinding a Parameter's `data` after the forward pass cannot change a gradient."""

    __slots__ = ("args", "number", "out", "params", "parents", "primitive", "where")

    def __init__(
        self,
        primitive: Primitive[Any] | None,
        args: Any,
        params: dict[str, Any],
        out: Any,
        parents: Any,
        where: Where,
    ) -> None:
        self.number = next(order)
        self.primitive = primitive
        self.args = args
        self.params = params
        self.out = out
        self.parents = parents
        self.where = where

    def let_go(self) -> None:
        """Frees its values and what it came from: a backward pass is done with it."""
        self.args = self.out = self.parents = None

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a Tensor on the tape ({_describe(self)}) cannot be copied or pickled, since its gradient would be lost: "
            "take detach() of it first (copy.copy shares its array and its place on the tape)"
        )


class Leaf(Node):
    """Where a gradient is collected: a Parameter, or a Tensor made with `requires_grad=True`."""

    __slots__ = ("grad", "name")

    def __init__(self, name: str = "") -> None:
        super().__init__(None, (), {}, None, (), ())
        self.grad: Any = None
        self.name = name

    def __reduce__(self) -> Any:
        return Leaf, (self.name,), (None, {"grad": self.grad})


class Output(Node):
    """One of the results of a primitive that returns a tuple."""

    __slots__ = ("index",)

    def __init__(self, node: Node, index: int, out: Array) -> None:
        super().__init__(None, (), {}, out, (node,), node.where)
        self.index = index


class Alias(Node):
    """The same value under a new name: what `grad(f)(x)` differentiates with respect to, so that another use of
    `x` inside `f`, or an enclosing `grad`, is not mistaken for it."""

    __slots__ = ()

    def __init__(self, box: Box) -> None:
        super().__init__(_alias, (box.data,), {}, box.data, (box.node,), ())


class FreedTapeError(RuntimeError):
    """A backward pass met a part of the tape that an earlier one has freed."""


class ChangedInPlaceError(RuntimeError):
    """A backward pass met an op whose argument an optimiser has changed in place since: its gradient would be wrong."""


# --- Primitives ------------------------------------------------------------------------------------------------


class Primitive(Generic[P]):
    """A differentiable function of arrays with one flat rule per argument (made by `@primitive`)."""

    def __init__(self, forward: Callable[P, Any], differentiable: bool = True) -> None:
        self.forward: Callable[..., Any] = forward
        self.differentiable = differentiable
        self.name = forward.__name__.strip("_")
        self.rules: tuple[Rule | None, ...] = ()
        self.every: Callable[..., Any] | None = None
        self.arrays = 0
        """How many of its leading arguments are arrays; the others are options."""
        self.__doc__ = forward.__doc__
        self.__name__ = forward.__name__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        # For `help`: the types of its arguments are those of arrays, and Tensors do as well.
        bare = [p.replace(annotation=p.empty) for p in inspect.signature(forward).parameters.values()]
        self.__signature__ = inspect.Signature(bare)
        self._names = [p.name for p in bare if p.kind is p.POSITIONAL_OR_KEYWORD]
        self._defaults = {p.name: p.default for p in bare if p.default is not p.empty}

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """Itself, as an attribute of a class. That it is there makes `help(ops.tanh)` show a function."""
        return self

    def __reduce__(self) -> str:
        """Copied and pickled as the function is that it stands for: by its name."""
        return self.forward.__qualname__

    def vjp(self, *rules: Rule | None) -> None:
        """Declares `rule(g, out, *args, **params)` for each argument; None for one that carries no gradient. The rules
        are given every option of the op, the defaults too."""
        self.rules = rules
        self.arrays = len(rules)

    def vjp_each(self, rule: Rule) -> None:
        """Declares one rule for all arguments of a variadic primitive: `rule(n, g, out, *args, **params)`."""
        self.every = rule
        self.arrays = sys.maxsize

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:
        held = held_surroundings.get()
        here = BARE if held is None or held[0] is not this_thread.mark else held[1]
        if here.recorder is not None and (_has_box(args) or (params and _has_box(params.values()))):
            return self._taken_down(here.recorder, args, params)  # type: ignore[no-any-return]  # a placeholder
        for key, value in params.items() if params else ():
            if type(value) not in _ORDINARY:
                if isinstance(value, Box):
                    return self(*self._positional(args, params))  # type: ignore[call-arg]  # bound by signature
                params[key] = self._option(value)
        box, live, values, parents = self._unboxed(args)
        if box is None:
            return self.forward(*values, **params)  # type: ignore[no-any-return]  # arrays in, array out
        if here.watcher is None:
            out = self.forward(*values, **params)
        else:
            with np.errstate(all="ignore"):  # the watcher reports it, with the place
                out = self.forward(*values, **params)
        if isinstance(out, np.generic):
            out = np.asarray(out)
        made = None
        if live and here.recording and self.differentiable:
            made = Node(self, values, params, out, parents, here.where)
        if here.watcher is not None:
            here.watcher.forward(made, self, values, parents, out, here.where)
        # The box is a Tensor, as its class says.
        return box.wrap(out, made) if type(out) is not tuple else _boxed_each(box, out, made)  # type: ignore[return-value]

    def _unboxed(self, args: tuple[Any, ...]) -> tuple[Box | None, bool, list[Any], list[Node | None]]:
        """Of an op's arguments: a box among them, whether one of them is on the tape, their raw values, their nodes."""
        box = None
        live = scalars = False
        values: list[Any] = []
        parents: list[Node | None] = []
        for a in args:
            if isinstance(a, Box):
                box = a
                values.append(a.data)
                node = a.node
                parents.append(node)
                if node is not None:
                    live = True
                continue
            kind = type(a)
            if kind is ndarray:
                if a.dtype.kind != "f" and a.dtype.kind not in REAL:  # most often the former decides
                    a = self._operand(a, len(values))  # noqa: PLW2901
            elif kind not in _ORDINARY:
                if isinstance(a, np.generic) and a.dtype.kind in REAL:
                    scalars = True
                elif kind is not tuple or self.every is not None or len(values) < len(self.rules):
                    a = self._operand(a, len(values))  # noqa: PLW2901
            values.append(a)
            parents.append(None)
        if scalars and box is not None:  # NumPy's become Python's, so that they take the other operand's dtype
            values = [v.item() if isinstance(v, np.generic) else v for v in values]
        return box, live, values, parents

    def _operand(self, a: Any, position: int) -> Any:
        """An argument that is neither an array of real numbers nor an ordinary option. In an array's place, which has a
        rule, it becomes an array; so does a list where there could be a rule. What has no rules at all, a comparison,
        says nothing of places: numbers and arrays are known by what they are. Raises TypeError for other numbers."""
        if position < len(self.rules):
            taken = self.rules[position] is not None or type(a) is list
        else:
            taken = self.every is not None or (not self.differentiable and isinstance(a, np.ndarray | np.generic))
        if not taken:
            return self._option(a)
        try:
            return as_array(a)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.name}: {error}") from None

    def _option(self, value: Any) -> Any:
        """An option that is not of an ordinary type: Python's number for one of NumPy's. Raises TypeError for a complex
        one, which would make the result complex."""
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, complex):
            raise TypeError(f"{self.name}: a real number was expected, got {value!r}: pass np.asarray(x).real or .imag")
        return value

    def _taken_down(self, recorder: OpRecorder, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        if params and _has_box(params.values()):
            args, params = self._positional(args, params), {}
        return recorder(self, args, params)

    def all_options(self, args: Any, params: dict[str, Any]) -> dict[str, Any]:
        """The options of a call that are not among its positional arguments, the defaults too."""
        return {name: self._defaults[name] for name in self._names[len(args) :] if name in self._defaults} | params

    def rule_of(self, position: int) -> Rule | None:
        """The rule of one argument, as `rule(g, out, *args, **params)`; None where it carries no gradient."""
        if self.every is not None:
            return partial(self.every, position)
        if position >= len(self.rules):
            raise TypeError(f"{self.name} is not differentiable by its {self.argument(position)}; detach() it")
        return self.rules[position]

    def _positional(self, args: Any, params: dict[str, Any]) -> tuple[Any, ...]:
        bound = inspect.signature(self.forward).bind(*args, **params)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(f"{self.name}: a Tensor was passed by keyword where only options can be: {[*bound.kwargs]}")
        return bound.args

    def gradients(self, node: Node, g: Any, wrap: Wrap | None, wanted: list[Node | None]) -> Iterable[Any]:
        """The gradients of the arguments of `node`, in order (None where none is wanted)."""
        args, out = node.args, node.out
        if wrap is not None:
            args = [a if p is None else wrap(a, p) for a, p in zip(args, node.parents, strict=True)]
            out = (
                tuple(wrap(o, Output(node, i, o)) for i, o in enumerate(out)) if type(out) is tuple else wrap(out, node)
            )
        params = node.params
        if len(args) + len(params) < len(self._names):
            params = self.all_options(args, params)
        found: list[Any] = []
        for i, parent in enumerate(wanted):
            rule = None if parent is None else self.rule_of(i)
            found.append(None if rule is None else rule(g, out, *args, **params))
        return found

    def argument(self, position: int) -> str:
        """What messages call an argument."""
        named = [*self.__signature__.parameters.values()]
        if position < len(named) and named[position].kind is not inspect.Parameter.VAR_POSITIONAL:
            return f"argument {named[position].name!r}"
        return f"argument number {position}"


def _has_box(values: Iterable[Any]) -> bool:
    """Whether there is one among them."""
    for value in values:  # noqa: SIM110  (an `any` takes three times as long)
        if isinstance(value, Box):
            return True
    return False


def _boxed_each(like: Box, outs: tuple[Array, ...], node: Node | None) -> tuple[Any, ...]:
    """Several results as boxes."""
    live = [node is not None and o.dtype.kind == "f" for o in outs]
    return tuple(
        like.wrap(o, Output(node, i, o) if node is not None and alive else None)
        for i, (o, alive) in enumerate(zip(outs, live, strict=True))
    )


def primitive(forward: Callable[P, Any]) -> Primitive[P]:
    """Makes a function of arrays differentiable, given its rules: a decorator.

    `.vjp(*rules)` declares for each argument `rule(g, out, *args, **params)`, the gradient of the argument where `g` is
    that of the result `out`; None for an argument that carries none. Rules are code over ops or arrays; with ops they
    can be differentiated again. `.vjp_each(rule)` declares one for all arguments of a variadic function: `rule(n, g,
    out, *args, **params)`.

    Args:
        forward: computes with arrays. One that returns a tuple has several results, and its rules get a tuple `g` with
            None for every result that nothing used.

    Example:
        >>> @tg.primitive
        ... def cube(x):
        ...     return x**3
        >>> cube.vjp(lambda g, out, x: g * 3 * x * x)
        >>> tg.grad(cube)(2.0).item(), tg.grad(tg.grad(cube))(2.0).item()
        (12.0, 12.0)
    """
    return Primitive(forward)


def undifferentiable(forward: Callable[P, Any]) -> Primitive[P]:
    """A function of arrays whose result carries no gradient: comparisons and the like."""
    return Primitive(forward, differentiable=False)


class Joint(Primitive[P]):
    """A primitive `(needs, *args, **params) -> (out, saved)` with one rule for all gradients at once (made by
    `@joint`). `needs[i]` tells whether argument i may be asked for a gradient."""

    plain: Callable[..., Any]
    rule: Callable[..., Any]

    def __init__(self, forward: Callable[Concatenate[tuple[bool, ...], P], Any]) -> None:
        super().__init__(forward)  # type: ignore[arg-type]  # called with `needs` in front
        self.__signature__ = inspect.Signature([*self.__signature__.parameters.values()][1:])

    def vjp(self, *rules: Rule | None) -> None:
        """Declares the one rule: `rule(g, saved, *args, **params)` returns a gradient (or None) per argument."""
        rule = rules[0] if len(rules) == 1 else None
        if rule is None:
            raise TypeError(f"{self.name}: one rule for all gradients was expected, got {rules}")
        self.rule = rule

    def composite(self, plain: Callable[..., Any]) -> None:
        """Declares the same function written with ops: what derivatives of the derivative are taken of."""
        self.plain = plain

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:
        here = current_surroundings.get()
        boxes = [a for a in args if isinstance(a, Box)]
        if here.recorder is not None and boxes:
            return self._taken_down(here.recorder, args, params)  # type: ignore[no-any-return]  # a placeholder
        values = [a.data if isinstance(a, Box) else a if type(a) is ndarray else self._operand(a, 0) for a in args]
        parents = [a.node if isinstance(a, Box) else None for a in args]
        needs = tuple(p is not None and here.recording for p in parents)
        out, saved = self.forward(needs, *values, **params)
        if type(out) is not tuple:
            out = xp(values[0]).asarray(out)
        if not boxes:
            return out  # type: ignore[no-any-return]  # arrays in, array out
        made = JointNode(self, values, params, out, parents, here.where, saved) if any(needs) else None
        if here.watcher is not None:
            here.watcher.forward(made, self, values, parents, out, here.where)
        # The box is a Tensor, as its class says.
        return boxes[0].wrap(out, made) if type(out) is not tuple else _boxed_each(boxes[0], out, made)  # type: ignore[return-value]

    def _taken_down(self, recorder: OpRecorder, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        return self.plain(*args, **params)

    def _operand(self, a: Any, position: int) -> Any:
        """An argument that is no Box. Nothing is known of its place; an array with operators of its own has none."""
        return as_array(a) if isinstance(a, np.ndarray) else a

    def gradients(self, node: Node, g: Any, wrap: Wrap | None, wanted: list[Node | None]) -> Iterable[Any]:
        if not isinstance(node, JointNode):
            raise TypeError(f"{self.name}: its rule reads what a JointNode saved, got a {type(node).__name__}")
        if wrap is None:
            return self.rule(g, node.saved, *node.args, **node.params)  # type: ignore[no-any-return]
        inputs = [None if p is None else wrap(a, p) for a, p in zip(node.args, node.parents, strict=True)]
        aliases = [None if box is None else wrap(box.data, Alias(box)) for box in inputs]
        with recording(True):
            results = self.plain(
                *(a if box is None else box for a, box in zip(node.args, aliases, strict=True)), **node.params
            )
            # The gradient of <results, g>, in which g is a constant, is that of the results given g.
            pairs = zip(results, g, strict=True) if type(results) is tuple else [(results, g)]
            products = [(r * x).sum() for r, x in pairs if x is not None]
            root = sum(products[1:], products[0])
        targets = [box.node for box in aliases if box is not None]
        seed = wrap(xp(root.data).ones_like(root.data), None)
        found = iter(walk(root.node, seed, wrap=wrap, retain=True, targets=targets))
        return [None if box is None else next(found) for box in aliases]


class JointNode(Node):
    """A node of a Joint primitive: it also keeps what the forward pass saved."""

    __slots__ = ("saved",)

    def __init__(
        self,
        primitive: Primitive[Any],
        args: Any,
        params: dict[str, Any],
        out: Any,
        parents: Any,
        where: Where,
        saved: Any,
    ) -> None:
        super().__init__(primitive, args, params, out, parents, where)
        self.saved = saved

    def let_go(self) -> None:
        """Frees what the forward pass saved, too."""
        super().let_go()
        self.saved = None


def joint(forward: Callable[Concatenate[tuple[bool, ...], P], Any]) -> Joint[P]:
    """Makes a function of arrays differentiable by one rule for all its gradients at once: a decorator, for a loss
    whose gradient is best computed with it.

    `.vjp(rule)` declares `rule(g, saved, *args, **params)`, which returns a gradient, or None, per argument.
    `.composite(plain)` declares the same function written with ops: what derivatives of the derivative are taken of.

    Args:
        forward: `(needs, *args, **params) -> (out, saved)`, where `needs[i]` tells whether argument i may be asked for
            a gradient, and `saved` is for the rule.

    Example:
        >>> @tg.joint
        ... def energy(needs, x, y):
        ...     return (x * x * y).sum(), None
        >>> energy.vjp(lambda g, saved, x, y: (g * 2 * x * y, g * x * x))
        >>> energy.composite(lambda x, y: (x * x * y).sum())
        >>> gx, gy = tg.grad(energy, (0, 1))(np.array([3.0]), np.array([5.0]))
        >>> gx.item(), gy.item()
        (30.0, 9.0)
    """
    return Joint(forward)


# --- The backward walk -----------------------------------------------------------------------------------------


class Given(list[Any]):
    """Gradients from a joint rule that nobody else holds once its node is freed: arrays made for this, and apart from
    each other. A leaf keeps them instead of a copy."""


def walk(
    root: Node | None,
    seed: Any,
    *,
    wrap: Wrap | None = None,
    retain: bool = False,
    targets: list[Node] | None = None,
) -> list[Any]:
    """Carries the gradient `seed` of `root` back over the tape, newest node first.

    Without `targets`, every leaf's `.grad` receives its share. With `targets`, leaves are left alone and the
    gradients of those nodes come back (None where the result does not depend on one). With `wrap` the gradients
    are Boxes and the rules are recorded, so what comes back can be differentiated again.

    Nodes let go of their values as soon as they are done with, unless `retain`."""
    if root is None:
        return [None for _ in targets or ()]
    walking = Walk(wrap, retain, targets, None if targets is None else _leading_to(root, targets))
    walking.run(root, seed)
    return [walking.found.get(target) for target in targets or ()]


class Walk:
    """One backward pass: the gradients known so far, and the nodes that have one and wait for their turn."""

    __slots__ = ("changed", "found", "grads", "needed", "ours", "retain", "sought", "waiting", "watcher", "wrap")

    def __init__(self, wrap: Wrap | None, retain: bool, targets: list[Node] | None, needed: set[Node] | None) -> None:
        self.wrap, self.retain, self.needed = wrap, retain, needed
        self.sought = frozenset(targets or ())
        self.found: dict[Node, Any] = {}  # the gradients of what is sought
        self.grads: dict[Node, Any] = {}
        self.waiting: list[tuple[int, Node]] = []  # a heap, the newest node first
        self.ours: set[Node] = set()  # whose gradient was made here or given away: it may be added to in place
        self.watcher = current_surroundings.get().watcher
        self.changed = changes.newest  # no node after this number holds what was changed

    def run(self, root: Node, seed: Any) -> None:
        """Visits all that `root` came from."""
        if root.parents is None:
            raise FreedTapeError(f"{_met_freed(root)}; pass retain=True to the earlier call to walk over it twice")
        if self.needed is not None and root not in self.needed:
            return
        if self.watcher is not None:
            self.watcher.begin(seed)
        grads, waiting, sought = self.grads, self.waiting, self.sought
        grads[root] = seed
        waiting.append((-root.number, root))
        while waiting:
            node = heappop(waiting)[1]
            g = grads.pop(node)
            if node in sought:
                self.found[node] = g.dense() if isinstance(g, RowSparse) else g
            elif isinstance(node, Leaf):
                self.leaf(node, g)
            elif isinstance(node, Output):
                self._output(node, g)
            else:
                self.operation(node, g)

    def leaf(self, node: Leaf, g: Any) -> None:
        """A parameter, with its whole gradient."""
        _collect(node, g, node in self.ours)

    def _output(self, node: Output, g: Any) -> None:
        """One result of several: its gradient waits beside those of the others, until all that came later is done."""
        several = _not_freed(node).parents[0]
        of_all = self.grads.get(several)
        if of_all is None:
            of_all = self.grads[several] = [None] * len(_not_freed(several).out)
            heappush(self.waiting, (-several.number, several))
        g = g.dense() if isinstance(g, RowSparse) else g
        before = of_all[node.index]
        of_all[node.index] = g if before is None else before + g
        if not self.retain:
            node.let_go()

    def operation(self, node: Node, g: Any) -> None:
        """The result of a primitive: its rules say what share of the gradient each argument has."""
        if node.parents is None:
            raise _freed(node)
        if node.number < self.changed:
            _check_unchanged(node)
        if isinstance(g, RowSparse):
            g = g.dense()
        watcher, primitive = self.watcher, node.primitive
        if primitive is None:
            raise TypeError(f"{_describe(node)}, is of no primitive: there is no rule to ask")
        wanted = node.parents
        if self.needed is not None:
            wanted = [p if p in self.needed else None for p in wanted]
        if watcher is None:
            shares = primitive.gradients(node, g, self.wrap, wanted)
        else:
            watcher.backward(node, g)
            with np.errstate(all="ignore"):
                shares = primitive.gradients(node, g, self.wrap, wanted)
        grads, ours = self.grads, self.ours
        given = type(shares) is Given and not self.retain
        for i, (parent, share, value) in enumerate(zip(wanted, shares, node.args, strict=True)):
            if parent is None or share is None:
                continue
            if share.shape != value.shape or share.dtype != value.dtype:
                share = fitted(share, value, partial(_describe, node))  # noqa: PLW2901
            if watcher is not None:
                watcher.gradient(node, i, share)
            before = grads.get(parent)
            if before is None:
                grads[parent] = share
                heappush(self.waiting, (-parent.number, parent))
                if given:
                    ours.add(parent)
            elif self.wrap is None and parent in ours:
                if isinstance(share, RowSparse) and not isinstance(before, RowSparse):
                    share.add_to(before)  # CuPy's `+=` takes none
                else:
                    before += share
                    grads[parent] = before
            else:
                grads[parent] = before + share
                ours.add(parent)
        if not self.retain:
            node.let_go()


def _not_freed(node: Node) -> Node:
    """The node itself. Raises FreedTapeError where an earlier backward pass has freed it."""
    if node.parents is None:
        raise _freed(node)
    return node


def _freed(node: Node) -> FreedTapeError:
    """What to say where a result that was not freed itself leads to a node that was."""
    return FreedTapeError(
        f"{_met_freed(node)}; detach() a state that is carried over from the earlier pass, or, for two losses of one "
        "pass, give the earlier call retain=True"
    )


def _met_freed(node: Node) -> str:
    return f"the tape was freed by an earlier backward() (met at {_describe(node)})"


def _check_unchanged(node: Node) -> None:
    """Raises ChangedInPlaceError where an optimiser has written into an argument of the node after the node was made. A
    view counts, a detached Tensor too; an array that was put in the place of another does not."""
    for value in node.args:
        change = changes.of(value)
        if change is not None and change.number > node.number:
            raise ChangedInPlaceError(
                f"{_describe(node)}, was computed with parameter {change.name}, which an optimiser's step has changed "
                "in place since: call every backward() before step(), or compute the loss anew"
            )


def _leading_to(root: Node, targets: list[Node]) -> set[Node]:
    """The nodes between `root` and `targets`. A node is newer than all that it was made from, so nothing older
    than the oldest target need be looked at."""
    oldest = min(target.number for target in targets)
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().parents or ():
            if parent is not None and parent.number >= oldest and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    needed = set(targets)
    for node in sorted(seen, key=lambda n: n.number):
        if node.parents is None or any(parent in needed for parent in node.parents):
            needed.add(node)  # a freed node counts: meeting it is an error that the walk reports
    return needed


def _collect(leaf: Leaf, g: Any, ours: bool) -> None:
    """Adds a gradient to a leaf's. An array that somebody else may hold is copied: `.grad` is the user's own."""
    if isinstance(g, Box):
        g = g.data
    if leaf.grad is not None:
        leaf.grad = leaf.grad + g
    elif ours or isinstance(g, RowSparse):
        leaf.grad = g if isinstance(g, RowSparse) else xp(g).asarray(g)
    else:
        leaf.grad = xp(g).array(g, copy=True)


def fitted(share: Any, value: Any, op: Callable[[], str]) -> Any:
    """A gradient in the shape and the dtype of its argument `value`: a rule may leave un-broadcasting to the walk.
    `op` says whose rule it was. Raises RuntimeError for a shape that broadcasting cannot have made of the argument's
    own."""
    if isinstance(share, RowSparse):
        share = share.dense()
    if share.shape != value.shape:
        extra = len(share.shape) - len(value.shape)
        if extra < 0 or any(b not in (1, a) for a, b in zip(share.shape[extra:], value.shape, strict=True)):
            raise RuntimeError(
                f"the rule of {op()} gave a gradient of shape {share.shape} for an argument of shape {value.shape}"
            )
        share = sum_to(share, value.shape)
    return share if share.dtype == value.dtype else astype(share, value.dtype)


def _describe(node: Node) -> str:
    name = node.primitive.name if node.primitive is not None else "a result"
    place = "".join(f", {key} {value}" for key, value in node.where)
    return f"op {name!r}, number {node.number}{place}"


# --- The primitives that the walk itself needs -----------------------------------------------------------------


@primitive
def _alias(x: Array) -> Array:
    return x


_alias.vjp(lambda g, out, x: g)


@undifferentiable
def _detached(x: Array) -> Array:
    """The same array, off the tape."""
    return x


@primitive
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Repeats `x` along new leading axes and axes of size 1 (NumPy's rules), without a copy: (H,) to (T,B,H)."""
    return xp(x).broadcast_to(x, shape)


broadcast_to.vjp(lambda g, out, x, shape: g)  # the walk un-broadcasts


@primitive
def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sums over the axes that broadcasting `shape` to `x.shape` would have repeated, its adjoint: (T,B,H) to (H,)."""
    extra = x.ndim - len(shape)
    stretched = tuple(i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1)
    axes = (*range(extra), *stretched)
    return total(x, axes).reshape(shape) if axes else x


sum_to.vjp(lambda g, out, x, shape: broadcast_to(g, x.shape))


@primitive
def _astype(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


_astype.vjp(lambda g, out, x, dtype: g)  # the walk gives it the dtype of x


@undifferentiable
def _truncated(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


_truncated.name = _astype.name


def astype(x: Any, dtype: Any) -> Tensor:
    """The same numbers in another dtype. Integers and booleans carry no gradient. Raises TypeError for any other."""
    return (_astype if real_dtype(dtype).kind == "f" else _truncated)(x, dtype)
