"""Commands as they are typed, and what they say."""

from __future__ import annotations

from typing import Any

import click
from click.testing import CliRunner

from tinygrad_rnn.cli import main


def parent_context() -> click.Context:
    """The parent of a context that is made without running a command. click keeps the help option that a command was
    first asked for, so that a context without this parent would take -h from the tests that follow."""
    return click.Context(main, **main.context_settings)


def invoke(*args: object, text: str | bytes | None = None) -> Any:
    return CliRunner().invoke(main, [str(arg) for arg in args], input=text, terminal_width=110)


def works(*args: object, text: str | None = None) -> str:
    """The output of a command that succeeds."""
    result = invoke(*args, text=text)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return str(result.output)


def fails(*args: object, text: str | bytes | None = None) -> str:
    """The one sentence of a command that fails as a user's mistake should: exit code 1 or 2 and no traceback."""
    result = invoke(*args, text=text)
    assert isinstance(result.exception, SystemExit), result.output + repr(result.exception)
    assert result.exit_code in (1, 2)
    before, error, sentence = f"\n{result.output}".partition("\nError: ")
    assert error and "Error: " not in before and "Traceback" not in result.output
    assert sentence.count("\n") == 1 and sentence.endswith("\n"), sentence
    return str(sentence)
