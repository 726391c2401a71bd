"""What each op is, entry by entry: its machine code on lanes of the dtype in which its arguments are taken."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.machine.functions import exp_lanes, extreme, from_c, sigmoid_lanes, tanh_lanes
from tinygrad_rnn.machine.lanes import Value, constant, intrinsic, suffix
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.tape import Primitive

Entrywise = Callable[..., Value]
"""`function(builder, *args)`, each of the lanes of an argument."""


def _comparison(sign: str) -> tuple[Entrywise, Entrywise, Entrywise]:
    """Of floats (NaN is equal to nothing, and in no order), of integers, and of those without a sign."""
    of_floats = "fcmp_unordered" if sign == "!=" else "fcmp_ordered"
    return tuple(  # type: ignore[return-value]  # three of them
        lambda b, x, y, name=name: getattr(b, name)(sign, x, y) for name in (of_floats, "icmp_signed", "icmp_unsigned")
    )


def _sign(b: ir.IRBuilder, x: Value) -> Value:
    zero = constant(0, x)
    below = b.select(b.fcmp_ordered("<", x, zero), constant(-1, x), b.select(b.fcmp_ordered("==", x, zero), zero, x))
    return b.select(b.fcmp_ordered(">", x, zero), constant(1, x), below)


def _by_llvm(name: str) -> Entrywise:
    return lambda b, *args: intrinsic(b, f"llvm.{name}.{suffix(args[0].type)}", args[0].type, *args)


_FLOOR, _COPYSIGN = _by_llvm("floor"), _by_llvm("copysign")


def _differs_in_sign(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    """Whether x is not 0, and one of them is below 0 alone."""
    zero = constant(0, x)
    below = b.xor(b.fcmp_ordered("<", x, zero), b.fcmp_ordered("<", y, zero))
    return b.and_(below, b.fcmp_unordered("!=", x, zero))


def _remainder(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    """x % y has the sign of y."""
    rest, zero = from_c("fmod", b, x, y), constant(0, x)
    found = b.select(_differs_in_sign(b, rest, y), b.fadd(rest, y), rest)
    signed = b.select(b.fcmp_ordered("==", rest, zero), _COPYSIGN(b, zero, y), found)
    return b.select(b.fcmp_ordered("==", y, zero), rest, signed)


def _rounded_quotient(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    """x // y is rounded down from the quotient itself, not from what x / y was rounded to."""
    rest, quotient, zero = from_c("fmod", b, x, y), b.fdiv(x, y), constant(0, x)
    whole = b.fdiv(b.fsub(x, rest), y)
    whole = b.select(_differs_in_sign(b, rest, y), b.fsub(whole, constant(1, x)), whole)
    down = _FLOOR(b, whole)
    down = b.select(b.fcmp_ordered(">", b.fsub(whole, down), constant(0.5, x)), b.fadd(down, constant(1, x)), down)
    found = b.select(b.fcmp_ordered("==", whole, zero), _COPYSIGN(b, zero, quotient), down)
    return b.select(b.fcmp_ordered("==", y, zero), quotient, found)


_FLOATS: dict[Primitive[Any], Entrywise] = {
    ops.add: lambda b, x, y: b.fadd(x, y),
    ops.sub: lambda b, x, y: b.fsub(x, y),
    ops.mul: lambda b, x, y: b.fmul(x, y),
    ops.div: lambda b, x, y: b.fdiv(x, y),
    ops.neg: lambda b, x: b.fneg(x),
    ops.square: lambda b, x: b.fmul(x, x),
    ops.reciprocal: lambda b, x: b.fdiv(constant(1, x), x),
    ops.maximum: lambda b, x, y: extreme(b, ">=", x, y),
    ops.minimum: lambda b, x, y: extreme(b, "<=", x, y),
    ops.sign: _sign,
    ops.abs: _by_llvm("fabs"),
    ops.sqrt: _by_llvm("sqrt"),
    ops.floor: _FLOOR,
    ops.mod: _remainder,
    ops.floor_divide: _rounded_quotient,
    ops.exp: exp_lanes,
    ops.tanh: tanh_lanes,
    ops.sigmoid: sigmoid_lanes,
}
_FLOATS |= {getattr(ops, name): partial(from_c, name) for name in ("log", "log1p", "expm1", "sin", "cos", "erf", "pow")}


def _whole_extreme(sign: str) -> dict[str, Entrywise]:
    return {
        "i": lambda b, x, y: b.select(b.icmp_signed(sign, x, y), x, y),
        "u": lambda b, x, y: b.select(b.icmp_unsigned(sign, x, y), x, y),
    }


def _whole_sign(b: ir.IRBuilder, x: Value) -> Value:
    zero = constant(0, x)
    below = b.select(b.icmp_signed("<", x, zero), constant(-1, x), zero)
    return b.select(b.icmp_signed(">", x, zero), constant(1, x), below)


_INTEGERS: dict[Primitive[Any], Entrywise] = {
    ops.add: lambda b, x, y: b.add(x, y),
    ops.sub: lambda b, x, y: b.sub(x, y),
    ops.mul: lambda b, x, y: b.mul(x, y),
    ops.neg: lambda b, x: b.neg(x),
    ops.square: lambda b, x: b.mul(x, x),
}
_SIGNED: dict[Primitive[Any], Entrywise] = _INTEGERS | {
    ops.maximum: _whole_extreme(">")["i"],
    ops.minimum: _whole_extreme("<")["i"],
    ops.sign: _whole_sign,
    ops.abs: lambda b, x: b.select(b.icmp_signed("<", x, constant(0, x)), b.neg(x), x),
}
_UNSIGNED: dict[Primitive[Any], Entrywise] = _INTEGERS | {
    ops.maximum: _whole_extreme(">")["u"],
    ops.minimum: _whole_extreme("<")["u"],
    ops.sign: lambda b, x: b.select(b.icmp_unsigned(">", x, constant(0, x)), constant(1, x), x),
    ops.abs: lambda b, x: x,
}
_BOOLEANS: dict[Primitive[Any], Entrywise] = {
    ops.logical_and: lambda b, x, y: b.and_(x, y),
    ops.logical_or: lambda b, x, y: b.or_(x, y),
    ops.logical_not: lambda b, x: b.not_(x),
}

for _op, _sign_of in {
    ops.equal: "==", ops.not_equal: "!=", ops.less: "<", ops.less_equal: "<=",
    ops.greater: ">", ops.greater_equal: ">=",
}.items():  # fmt: skip
    _FLOATS[_op], _SIGNED[_op], _UNSIGNED[_op] = _comparison(_sign_of)

_TABLES = {"f": _FLOATS, "i": _SIGNED, "u": _UNSIGNED, "b": _BOOLEANS}
for _table in _TABLES.values():
    _table[copy] = lambda b, x: x
    _table[ops.zeros_like] = lambda b, x: constant(0, x)


def entrywise(primitive: Primitive[Any], b: ir.IRBuilder, args: list[Value], dtype: np.dtype[Any]) -> Value:
    """The lanes of a result, from those of the arguments, which have this dtype (the condition of `where` has
    booleans)."""
    if primitive is ops.where:
        return b.select(*args)
    found = _TABLES[dtype.kind].get(primitive)
    if found is None:
        raise NotInMachineCode(f"{primitive.name} of {dtype} is not done in machine code")
    return found(b, *args)
