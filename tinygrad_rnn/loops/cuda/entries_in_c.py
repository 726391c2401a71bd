"""What each op is, entry by entry, as an expression of C of arguments of one dtype, which any compiler of C++ takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.loops.kernels import copy
from tinygrad_rnn.loops.machine.lines import COMPARISONS, LOGIC
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.ops.activations import saturation
from tinygrad_rnn.tape import Primitive

C_NAMES = {
    "?": "bool",
    "b": "signed char", "h": "short", "i": "int", "l": "long long", "q": "long long",
    "B": "unsigned char", "H": "unsigned short", "I": "unsigned int", "L": "unsigned long long",
    "Q": "unsigned long long", "f": "float", "d": "double",
}  # fmt: skip
"""Of each dtype the type of C."""

DEVICE_FUNCTIONS = """\
template <typename F> __device__ inline F larger(F x, F y) { return x >= y || x != x ? x : y; }
template <typename F> __device__ inline F smaller(F x, F y) { return x <= y || x != x ? x : y; }
template <typename F> __device__ inline F sign_of(F x) { return x > 0 ? F(1) : x < 0 ? F(-1) : x == 0 ? F(0) : x; }
template <typename F> __device__ inline F logistic(F x, F top) {
  F e = exp(x < top || x != x ? x : top);
  return e / (F(1) + e);
}
template <typename F> __device__ inline F remainder_of(F x, F y) {  // it has the sign of y
  F rest = fmod(x, y);
  if (y == 0) return rest;
  if (rest == 0) return copysign(F(0), y);
  return (rest < 0) != (y < 0) ? rest + y : rest;
}
template <typename F> __device__ inline F rounded_quotient(F x, F y) {  // rounded down from the quotient itself
  if (y == 0) return x / y;
  F rest = fmod(x, y), whole = (x - rest) / y;
  if (rest != 0 && (rest < 0) != (y < 0)) whole -= F(1);
  if (whole == 0) return copysign(F(0), x / y);
  F down = floor(whole);
  return whole - down > F(0.5) ? down + F(1) : down;
}
"""
"""What expressions call, for float and for double."""

Expression = Callable[..., str]


def _sign(sign: str) -> Expression:
    return lambda x, y: f"({x} {sign} {y})"


def _call(name: str) -> Expression:
    return lambda *args: f"{name}({', '.join(args)})"


_ANY: dict[Primitive[Any], Expression] = {
    ops.add: _sign("+"),
    ops.sub: _sign("-"),
    ops.mul: _sign("*"),
    ops.neg: lambda x: f"(-{x})",
    ops.square: lambda x: f"({x} * {x})",
    ops.maximum: _call("larger"),
    ops.minimum: _call("smaller"),
    ops.sign: _call("sign_of"),
    copy: lambda x: x,
    ops.equal: _sign("=="), ops.not_equal: _sign("!="), ops.less: _sign("<"), ops.less_equal: _sign("<="),
    ops.greater: _sign(">"), ops.greater_equal: _sign(">="),
    ops.logical_and: _sign("&&"), ops.logical_or: _sign("||"), ops.logical_not: lambda x: f"(!{x})",
    ops.where: lambda condition, x, y: f"({condition} ? {x} : {y})",
}  # fmt: skip

_FLOATS: dict[Primitive[Any], Expression] = {
    ops.div: _sign("/"),
    ops.abs: _call("fabs"),
    ops.mod: _call("remainder_of"),
    ops.floor_divide: _call("rounded_quotient"),
    **{getattr(ops, name): _call(name) for name in "sqrt floor exp tanh log log1p expm1 sin cos erf pow".split()},
}


def number_in_c(value: Any, dtype: np.dtype[Any]) -> str:
    """A number as a constant of a dtype's type."""
    if dtype.kind != "f":
        text = f"{int(value)}{'ull' if dtype.kind == 'u' else 'll'}"
    elif math.isnan(number := float(value)):
        text = "(0.0 / 0.0)"
    elif math.isinf(number):
        text = f"({'-' if number < 0 else ''}1.0 / 0.0)"
    else:
        text = repr(number)
    return f"(({C_NAMES[dtype.char]}){text})"


def expression(primitive: Primitive[Any], args: list[str], dtype: np.dtype[Any]) -> str:
    """Of arguments that are taken in this dtype (the condition of `where` is a boolean). Raises NotInMachineCode."""
    if primitive is ops.zeros_like:
        return number_in_c(0, dtype)
    if primitive is ops.sigmoid:
        return f"logistic({args[0]}, {number_in_c(saturation(dtype), dtype)})"
    if primitive is ops.reciprocal:
        return f"({number_in_c(1, dtype)} / {args[0]})"
    if primitive is ops.abs and dtype.kind != "f":
        return f"({args[0]} < 0 ? -{args[0]} : {args[0]})"
    found = _ANY.get(primitive) or (_FLOATS.get(primitive) if dtype.kind == "f" else None)
    if found is None:
        raise NotInMachineCode(f"{primitive.name} of {dtype} is not written in CUDA C")
    return found(*args)


def made_in(primitive: Primitive[Any], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a result, of arguments in this one."""
    return np.dtype(bool) if primitive in COMPARISONS | LOGIC else dtype
