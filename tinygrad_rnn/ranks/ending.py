"""How ranks end together: an error of one must not leave the others waiting for it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tinygrad_rnn.ranks.processes import Ranks

GRACE = 2.0
"""Seconds in which a mistake that all ranks make is made by all; rank 0 then tells it alone. The others wait for as
long again, since what ends rank 0 ends them too."""


@contextmanager
def ending_together(ranks: Ranks, last_words: Callable[[], str] = str) -> Iterator[None]:
    """Within it an error that not all ranks have ends all of them, with the exit code 1 or its own. Rank 0 has told its
    own when it comes here (SystemExit), or it is told with its traceback; that of another rank alone is told as its
    `last_words`, or with its traceback. Where all ranks have one it goes on as any error does."""
    try:
        yield
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) else 1
        if ranks.size == 1 or ranks.parted or not code or ranks.all_failed(GRACE if ranks.rank == 0 else 2 * GRACE):
            raise
        if text := last_words() if isinstance(error, SystemExit) else traceback.format_exc():
            begin = f"rank {ranks.rank}: " if ranks.rank else ""
            print(f"{begin}{text.rstrip()}", file=sys.__stderr__, flush=True)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        ranks.abort(code if isinstance(code, int) else 1)
        raise
