"""Which kernel NumPy's BLAS runs, and whether the processor has a faster one: products may take twice as long without
a word, because a variable of the environment (`OPENBLAS_CORETYPE`, `OPENBLAS_L2_SIZE`) names another processor."""

from __future__ import annotations

import os

import numpy as np
from threadpoolctl import threadpool_info

GENERATIONS = (
    ("AVX-512", {"AVX512_SKX", "X86_V4"}, {"skylakex", "cooperlake", "sapphirerapids"}),
    ("AVX2", {"AVX2", "X86_V3"}, {"haswell", "zen", "excavator"}),
    ("AVX", {"AVX"}, {"sandybridge", "bulldozer", "piledriver", "steamroller"}),
    (
        "SSE",
        {"SSE2", "X86_V2"},
        {"katmai", "prescott", "core2", "penryn", "dunnington", "nehalem", "atom", "opteron", "barcelona"},
    ),
)
"""Vector instructions, newest first: NumPy's names for them, and OpenBLAS's names of the kernels made of them."""


def running() -> str:
    """The kernel's name, or that of a BLAS that tells none."""
    for pool in threadpool_info():
        if pool["user_api"] == "blas" and "numpy" in pool["filepath"]:
            return str(pool.get("architecture") or pool["internal_api"])
    return "unknown"


def below_the_processors(kernel: str) -> str | None:
    """One sentence where this processor would run a faster kernel, or BLAS was told of another cache."""
    if size := os.environ.get("OPENBLAS_L2_SIZE"):
        return f"OPENBLAS_L2_SIZE={size} tells BLAS of another cache than this processor's: unset it, or say --anyway"
    features = np.show_config("dicts")["SIMD Extensions"]
    found = {*features["baseline"], *features["found"]}
    names = [title for title, feature, _ in GENERATIONS if found & feature]
    made_of = next((title for title, _, kernels in GENERATIONS if kernel.lower() in kernels), None)
    if not names or made_of is None or names[0] == made_of:
        return None
    told = os.environ.get("OPENBLAS_CORETYPE")
    reason = f"OPENBLAS_CORETYPE={told} is set: unset it" if told else "install another build of NumPy"
    return f"NumPy's BLAS runs {kernel} ({made_of}), and this processor has {names[0]}: {reason}, or say --anyway"
