"""exp, tanh and sigmoid of several numbers at once, to the last digits; and the C library's functions, one by one.

e^x = 2^n (1 + p), where n is the whole number next to x / ln 2, r = x - n ln 2 lies within ln 2 / 2 of 0, and
p = r + r²/2! + r³/3! + ... Products that are added are not rounded before (FMA). ln 2 is taken off in two parts, of
which the first is exact times n (Cody & Waite 1980).
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from llvmlite import ir

from tinygrad_rnn.machine.lanes import Value, constant, intrinsic, suffix
from tinygrad_rnn.machine.refusal import NotInMachineCode
from tinygrad_rnn.machine.target import c_library_has

_SATURATION = 88.0
"""Beside e to this power 1 is nothing, and float32 holds it."""


class _Float(NamedTuple):
    """A floating-point format."""

    char: str
    bits: int
    digits: int
    """Bits behind the point."""
    bias: int
    """What is added to an exponent."""
    ln2: tuple[float, float]
    """Its first bits, and the rest."""
    terms: int
    """Of the series, for the last digit to be right."""
    lowest: float
    """Below it e^x is 0."""
    highest: float
    """Above it e^x is infinite."""
    one: float
    """Above it tanh(x) is 1."""


_SINGLE = _Float("f", 32, 23, 127, (0.693359375, -2.12194440e-4), 7, -104, 89, 10)
_DOUBLE = _Float("d", 64, 52, 1023, (6.93147180369123816490e-01, 1.90821492927058770002e-10), 13, -746, 710, 20)


def _format(x: Value) -> _Float:
    return _SINGLE if isinstance(x.type.element, ir.FloatType) else _DOUBLE


def fma(b: ir.IRBuilder, x: Value, y: Value, z: Value) -> Value:
    """x * y + z, rounded once."""
    return intrinsic(b, f"llvm.fma.{suffix(x.type)}", x.type, x, y, z)


def extreme(b: ir.IRBuilder, sign: str, x: Value, y: Value) -> Value:
    """Whichever of two is `>=` (or `<=`) the other; NaN where either is."""
    found = b.select(b.fcmp_ordered(sign, x, y), x, y)
    return b.select(b.fcmp_unordered("uno", x, x), x, b.select(b.fcmp_unordered("uno", y, y), y, found))


def _clamped(b: ir.IRBuilder, x: Value, low: float | None, high: float) -> Value:
    """Not below `low`, nor above `high`; NaN stays."""
    if low is not None:
        x = b.select(b.fcmp_ordered("<", x, constant(low, x)), constant(low, x), x)
    return b.select(b.fcmp_ordered(">", x, constant(high, x)), constant(high, x), x)


def _integers(x: Value) -> ir.Type:
    return ir.VectorType(ir.IntType(_format(x).bits), x.type.count)


def _power_of_two(b: ir.IRBuilder, n: Value, like: Value) -> Value:
    """2^n as a float like `like`: n, biased, is its exponent."""
    form = _format(like)
    exponent = b.shl(b.add(n, constant(form.bias, n)), constant(form.digits, n))
    return b.bitcast(exponent, like.type)


def _parts(b: ir.IRBuilder, x: Value) -> tuple[Value, Value]:
    """p and n."""
    form = _format(x)
    # Beside a number this large there are no digits behind the point: adding it rounds to the next whole number, which
    # then stands in the last bits.
    large = constant(1.5 * 2**form.digits, x)
    shifted = fma(b, x, constant(1 / math.log(2), x), large)
    n = b.fsub(shifted, large)
    high, low = form.ln2
    r = fma(b, n, constant(-low, x), fma(b, n, constant(-high, x), x))
    q = constant(1 / math.factorial(form.terms), x)
    for k in range(form.terms - 1, 1, -1):
        q = fma(b, q, r, constant(1 / math.factorial(k), x))
    p = fma(b, b.fmul(r, r), q, r)
    integers = _integers(x)
    (bits,) = struct.unpack("<i" if form.char == "f" else "<q", struct.pack(f"<{form.char}", 1.5 * 2**form.digits))
    n_bits = b.bitcast(shifted, integers)
    return p, b.sub(n_bits, constant(bits, n_bits))


def exp_lanes(b: ir.IRBuilder, x: Value) -> Value:
    """e^x, in two steps: 2^n alone may be too large or too small where the result is not."""
    form = _format(x)
    p, n = _parts(b, _clamped(b, x, form.lowest, form.highest))
    half = b.ashr(n, constant(1, n))
    first = _power_of_two(b, half, x)
    return b.fmul(fma(b, p, first, first), _power_of_two(b, b.sub(n, half), x))


def sigmoid_lanes(b: ir.IRBuilder, x: Value) -> Value:
    """e / (1 + e) with e = e^x, which is right however small it is."""
    e = exp_lanes(b, _clamped(b, x, None, _SATURATION))
    return b.fdiv(e, b.fadd(e, constant(1, x)))


def tanh_lanes(b: ir.IRBuilder, x: Value) -> Value:
    """e / (e + 2) with e = e^2|x| - 1, and the sign of x."""
    a = intrinsic(b, f"llvm.fabs.{suffix(x.type)}", x.type, x)
    p, n = _parts(b, _clamped(b, b.fadd(a, a), None, 2 * _format(x).one))
    power = _power_of_two(b, n, x)
    e = fma(b, power, p, b.fsub(power, constant(1, x)))
    quotient = b.fdiv(e, b.fadd(e, constant(2, x)))
    return intrinsic(b, f"llvm.copysign.{suffix(x.type)}", x.type, quotient, x)


def from_c(name: str, b: ir.IRBuilder, *args: Value) -> Value:
    """A function of the C library, lane by lane."""
    form = _format(args[0])
    name = f"{name}f" if form.char == "f" else name
    if not c_library_has(name):
        raise NotInMachineCode(f"the C library has no {name} here")
    one = args[0].type.element
    function = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(one, [one] * len(args)), name)
    out = args[0]
    for lane in range(args[0].type.count):
        number = ir.Constant(ir.IntType(64), lane)
        out = b.insert_element(out, b.call(function, [b.extract_element(x, number) for x in args]), number)
    return out
