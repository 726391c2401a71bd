"""The help of the commands: every option under one heading, and every example a command that could be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from commands import parent_context

from tinygrad_rnn.cli import main
from tinygrad_rnn.cli.helping import MODEL, OF_FILES, Grouped
from tinygrad_rnn.tasks.language.options import LanguageOptions

GROUPED = [name for name, command in main.commands.items() if isinstance(command, Grouped)]


def grouped(name: str) -> Grouped:
    command = main.commands[name]
    assert isinstance(command, Grouped)
    return command


def help_of(name: str, width: int = 80) -> str:
    return CliRunner().invoke(main, [name, "--help"], terminal_width=width).output


def test_the_commands_that_use_a_model_have_their_options_under_headings() -> None:
    assert {*GROUPED} == {"train", "evaluate", "score", "generate", "inspect", "predict"}


@pytest.mark.parametrize("name", GROUPED)
def test_every_option_stands_under_exactly_one_heading_and_none_is_empty(name: str) -> None:
    command = grouped(name)
    ctx = click.Context(command, parent=parent_context())
    under = command.under(ctx)
    found = [option.name for _, options in under for option in options]
    expected = [option.name for option in command.get_params(ctx) if option.get_help_record(ctx) is not None]
    assert sorted(map(str, found)) == sorted(map(str, expected)) and len({*found}) == len(found)
    assert all(options for _, options in under)
    assert len([heading for heading, _ in under if not heading.options]) == 1
    assert len({heading.title for heading, _ in under}) == len(under)


def test_a_task_that_reads_no_files_offers_none_and_says_so_where_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, files in (("memory", False), ("tag", True)):
        shown = CliRunner().invoke(main, ["train", name, "--help"]).output
        assert all((f"--{each} " in shown) is files for each in OF_FILES)
    found = CliRunner().invoke(main, ["train", "memory", "--data", "series.csv"])
    assert (found.exit_code, found.stderr) == (2, "Error: memory reads no files: leave out --data\n")


def test_headings_name_only_options_that_there_are() -> None:
    there = {name: {option.name for option in main.commands[name].params} for name in GROUPED}
    assert all(heading.options <= there["train"] for heading in grouped("train").headings)
    assert MODEL.options <= there["predict"]  # a heading of several commands, some of which lack one of them


@pytest.mark.parametrize("name", GROUPED)
def test_every_example_is_a_command_line_that_parses_and_uses_its_heading_s_options(name: str) -> None:
    for heading, options in grouped(name).under(click.Context(main.commands[name], parent=parent_context())):
        program, command, *arguments = shlex.split(heading.example)
        assert (program, command) == ("tinygrad-rnn", name)
        ctx = main.commands[name].make_context(name, [*arguments], parent=parent_context())
        typed = {o for o in ctx.params if ctx.get_parameter_source(o) is click.core.ParameterSource.COMMANDLINE}
        assert typed & {option.name for option in options}, heading.example
        if name == "train":  # and what the settings say of it is no mistake
            settings = {field: ctx.params[field] for field in typed & {*LanguageOptions.__dataclass_fields__}}
            LanguageOptions(**settings)


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("name", sorted(main.commands))
def test_help_fits_the_terminal(name: str, width: int) -> None:
    lines = help_of(name, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("name", GROUPED)
def test_an_example_stands_under_each_heading_in_one_line(name: str) -> None:
    text = help_of(name)
    headings = grouped(name).headings
    titles = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert titles == [heading.title for heading in headings]
    assert re.findall(r"^  Example: (.*)$", text, re.MULTILINE) == [heading.example for heading in headings]
