"""Ctrl-C in the command line's own process: it ends at once and in silence, also in the half second in which the
package is imported, where an exception would be a page of traceback. Training asks for the signal itself, and saves. A
program that imports the package keeps its KeyboardInterrupt.

Little is imported here: until it has run, Ctrl-C is still Python's own."""

from __future__ import annotations

import os.path
import signal
import sys


def is_the_program(arguments: list[str], original: list[str]) -> bool:
    """Whether this is `tinygrad-rnn` or `python -m tinygrad_rnn`, by sys.argv and sys.orig_argv."""
    if not arguments:
        return False
    if arguments[0] == "-m":  # as it is called while Python looks for the module
        return "-m" in original and original[original.index("-m") + 1 :][:1] == ["tinygrad_rnn"]
    return os.path.basename(arguments[0]) in ("tinygrad-rnn", "tinygrad-rnn.exe")


if (
    is_the_program(getattr(sys, "argv", []), sys.orig_argv)
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
