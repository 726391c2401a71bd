"""The processor that code is made for, and LLVM's compiler: from a module to machine code in memory.

What was compiled is kept on disk (`object_files.py`): reading it again takes a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, update_wrapper
from typing import Any, Generic, TypeVar

import llvmlite.binding as llvm
from llvmlite import ir

from tinygrad_rnn.forks import ForksWait

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

_llvm = ForksWait()
"""LLVM is in one place at a time, and a child of a fork finds it whole."""


@cache
def processor() -> tuple[str, str, str]:
    """Its name, its features and what LLVM calls the kind of machine."""
    with _llvm:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvm.get_default_triple()


@cache
def multiplies_and_adds() -> bool:
    """Whether it has instructions that multiply and add with one rounding (FMA): all but the oldest have."""
    _, features, kind = processor()
    return "+fma" in features.split(",") or kind.startswith(("aarch64", "arm64"))


@cache
def register_bytes() -> int:
    """Of a register: 64 with AVX-512, 32 with AVX2, otherwise 16."""
    features = processor()[1].split(",")
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


@cache
def registers() -> int:
    """How many of them there are."""
    return 32 if register_bytes() == 64 or processor()[2].startswith(("aarch64", "arm64")) else 16


def object_code(module: ir.Module) -> bytes:
    """Compiled: what a linker takes."""
    processor()  # sets LLVM up
    text = str(module)
    with _llvm:  # what LLVM makes here is gone when the function returns
        return _compiled(text)


def _compiled(text: str) -> bytes:
    """Without LLVM's passes over a program: they take longer than all the rest, and what is written here is written for
    the processor."""
    code: bytes = _target_machine().emit_object(llvm.parse_assembly(text))
    return code


def _target_machine() -> Any:
    name, features, kind = processor()
    return llvm.Target.from_triple(kind).create_target_machine(cpu=name, features=features, opt=1, jit=True)


def _linked(code: bytes) -> Any:
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


class Linked:
    """Machine code in memory, for as long as this object lives."""

    def __init__(self, code: bytes) -> None:
        with _llvm:
            self._engine = _linked(code)

    def address(self, name: str) -> int:
        """Of a function."""
        with _llvm:
            found: int = self._engine.get_function_address(name)
        return found

    def __del__(self, llvm_alone: ForksWait = _llvm) -> None:  # at the interpreter's end globals are gone
        if engine := self.__dict__.pop("_engine", None):
            with llvm_alone:
                try:
                    engine.close()
                except TypeError:  # then LLVM is gone too, and the code with it
                    return


class MadeOnce(Generic[_Key, _Made]):
    """A function of one argument that is called once for each, however many threads ask at a time: the others wait.
    `functools.cache`, which it looks like, would have each of them make its own and keep the last, and the code of
    another would be gone while it runs."""

    def __init__(self, make: Callable[[_Key], _Made]) -> None:
        update_wrapper(self, make)
        self._make = make
        self._made: dict[_Key, _Made] = {}

    def __call__(self, key: _Key) -> _Made:
        found = self._made.get(key)
        if found is None:
            with _llvm:
                found = self._made.get(key)
                if found is None:
                    found = self._made[key] = self._make(key)
        return found

    def cache_clear(self) -> None:
        self._made.clear()

    def cache_parameters(self) -> dict[str, Any]:
        return {"maxsize": None}


def known_as(name: str, address: int) -> None:
    """From here on, code may call what is there by this name."""
    with _llvm:
        llvm.add_symbol(name, address)


def c_library_has(name: str) -> bool:
    """Whether code may call a function of this name."""
    with _llvm:
        return bool(llvm.address_of_symbol(name))
