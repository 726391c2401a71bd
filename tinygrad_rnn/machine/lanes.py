"""Several entries at once, side by side in one register: a lane each.

LLVM's vectors: `<8 x float>` is eight float32, and `fadd` of two such adds lane by lane. A vector that is wider than
the processor's registers becomes several of these, so that results depend on no processor. Booleans have one bit in
registers and one byte in memory, as NumPy has them. `None` for a mask is all lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

Value = Any
"""What LLVM calls a value: a number, or lanes of them, that the machine code will have when it runs."""

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
POINTER = ir.PointerType()
VOID = ir.VoidType()


def scalar_type(dtype: np.dtype[Any]) -> ir.Type:
    """Of one entry in a register."""
    if dtype.kind == "f":
        return ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
    return I1 if dtype.kind == "b" else ir.IntType(8 * dtype.itemsize)


def integer(value: int) -> Value:
    """An index or a number of bytes."""
    return ir.Constant(I64, value)


def in_all_lanes(value: float, kind: ir.VectorType) -> Value:
    """The same number in all lanes."""
    one = kind.element
    plain = float(value) if isinstance(one, ir.FloatType | ir.DoubleType) else int(value)
    return ir.Constant(kind, [ir.Constant(one, plain)] * kind.count)


def constant(value: float, like: Value) -> Value:
    """The same number in all lanes of something like `like`."""
    return in_all_lanes(value, like.type)


def splat(b: ir.IRBuilder, scalar: Value, width: int) -> Value:
    """One number in every lane."""
    vector = ir.VectorType(scalar.type, width)
    first = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, integer(0))
    return b.shuffle_vector(
        first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, width), [0] * width)
    )


def first_lanes(b: ir.IRBuilder, count: Value, width: int) -> Value:
    """A mask of the first `count` lanes."""
    numbers = ir.Constant(ir.VectorType(I64, width), list(range(width)))
    return b.icmp_unsigned("<", numbers, splat(b, count, width))


def intrinsic(b: ir.IRBuilder, name: str, result: ir.Type, *args: Value) -> Value:
    """What LLVM itself knows how to do, by its full name."""
    known = b.module.globals.get(name)
    function = known or ir.Function(b.module, ir.FunctionType(result, [a.type for a in args]), name)
    return b.call(function, args)


def suffix(kind: ir.Type) -> str:
    """How the name of an intrinsic ends that works on such vectors."""
    one = kind.element
    letter = "f32" if isinstance(one, ir.FloatType) else "f64" if isinstance(one, ir.DoubleType) else f"i{one.width}"
    return f"v{kind.count}{letter}"


def pairwise(b: ir.IRBuilder, lanes: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """Of all lanes one number, in pairs: 8 and 8, then 4 and 4, ..."""
    while (n := lanes.type.count) > 1:
        none = ir.Constant(lanes.type, ir.Undefined)
        first, second = (
            b.shuffle_vector(lanes, none, ir.Constant(ir.VectorType(I32, n // 2), list(half)))
            for half in (range(n // 2), range(n // 2, n))
        )
        lanes = combine(first, second)
    return b.extract_element(lanes, integer(0))


# --- Memory ----------------------------------------------------------------------------------------------------


def entry_address(b: ir.IRBuilder, pointer: Value, number: Value, size: int) -> Value:
    """The address of an entry, of so many bytes each."""
    return b.gep(pointer, [b.mul(number, integer(size))], source_etype=I8)


def _in_memory(dtype: np.dtype[Any]) -> ir.Type:
    return I8 if dtype.kind == "b" else scalar_type(dtype)


def load_one(b: ir.IRBuilder, pointer: Value, dtype: np.dtype[Any]) -> Value:
    """A single entry."""
    value = b.load(pointer, typ=_in_memory(dtype), align=dtype.itemsize)
    return b.icmp_unsigned("!=", value, ir.Constant(I8, 0)) if dtype.kind == "b" else value


def load_lanes(b: ir.IRBuilder, pointer: Value, dtype: np.dtype[Any], width: int, mask: Value | None) -> Value:
    """Entries that lie beside each other; 0 in lanes without one."""
    kind = ir.VectorType(_in_memory(dtype), width)
    zero = ir.Constant(kind, [ir.Constant(kind.element, 0)] * width)
    if mask is None:
        value = b.load(pointer, typ=kind, align=dtype.itemsize)
    else:
        name = f"llvm.masked.load.{suffix(kind)}.p0"
        value = intrinsic(b, name, kind, pointer, ir.Constant(I32, dtype.itemsize), mask, zero)
    return b.icmp_unsigned("!=", value, zero) if dtype.kind == "b" else value


def store_lanes(b: ir.IRBuilder, value: Value, pointer: Value, dtype: np.dtype[Any], mask: Value | None) -> None:
    """Lanes to entries that lie beside each other."""
    kind = ir.VectorType(_in_memory(dtype), value.type.count)
    if dtype.kind == "b":
        value = b.zext(value, kind)
    if mask is None:
        b.store(value, pointer, align=dtype.itemsize)
    else:
        name = f"llvm.masked.store.{suffix(kind)}.p0"
        intrinsic(b, name, VOID, value, pointer, ir.Constant(I32, dtype.itemsize), mask)


def store_one(b: ir.IRBuilder, value: Value, pointer: Value, dtype: np.dtype[Any]) -> None:
    """A single entry."""
    b.store(b.zext(value, I8) if dtype.kind == "b" else value, pointer, align=dtype.itemsize)


# --- From one dtype to another ---------------------------------------------------------------------------------


def cast(b: ir.IRBuilder, value: Value, old: np.dtype[Any], new: np.dtype[Any]) -> Value:
    """Lanes of one dtype in another, as NumPy's astype has them."""
    if old == new:
        return value
    kind = ir.VectorType(scalar_type(new), value.type.count)
    if new.kind == "b":
        zero = constant(0, value)
        return b.fcmp_unordered("!=", value, zero) if old.kind == "f" else b.icmp_unsigned("!=", value, zero)
    if old.kind == "f":
        if new.kind == "f":
            return b.fpext(value, kind) if new.itemsize > old.itemsize else b.fptrunc(value, kind)
        if new.itemsize < 4 or new == np.uint32:  # what is out of its range wraps round
            wide = np.dtype(np.int32 if new.itemsize < 4 else np.int64)
            return cast(b, cast(b, value, old, wide), wide, new)
        return b.fptosi(value, kind) if new.kind == "i" else b.fptoui(value, kind)
    if new.kind == "f":
        return b.sitofp(value, kind) if old.kind == "i" else b.uitofp(value, kind)
    if old.kind != "b" and new.itemsize <= old.itemsize:
        return value if new.itemsize == old.itemsize else b.trunc(value, kind)
    return b.sext(value, kind) if old.kind == "i" else b.zext(value, kind)
