"""Command lines whose mistakes are answered with one sentence."""

from __future__ import annotations

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """As argparse's, without the usage before the sentence."""

    def error(self, message: str) -> NoReturn:
        """Says it, and ends with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")
