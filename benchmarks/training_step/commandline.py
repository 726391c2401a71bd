"""Command lines whose mistakes are answered with one sentence."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import timing

sys.path.append(str(Path(__file__).parents[1]))
import blas_kernel

KERNEL = blas_kernel.running()
"""What every line of figures begins with."""


class Parser(argparse.ArgumentParser):
    """As argparse's, without the usage before the sentence."""

    def error(self, message: str) -> NoReturn:
        """Says it, and ends with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")

    def refuse_what_slows(self) -> None:
        """Ends with a sentence where something else is running, or products are slower than they need be."""
        if sentence := timing.busy() or blas_kernel.below_the_processors(KERNEL):
            self.error(sentence)
