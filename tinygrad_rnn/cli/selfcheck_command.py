"""`tinygrad-rnn selfcheck`: whether everything works on this machine, and what that is."""

from __future__ import annotations

import time

import click

from tinygrad_rnn.cli.options import check_device, device_option
from tinygrad_rnn.cli.saying import say
from tinygrad_rnn.selfcheck.about_machine import about_machine
from tinygrad_rnn.selfcheck.battery import checks


@click.command(
    "selfcheck",
    short_help="Check in a minute that everything works on this machine.",
    help="Check that everything works on this machine: derivatives, engines, the GPU where --device names it, "
    "optimisers, files, a run that resumes, texts. It takes less than a minute; what it prints can be pasted into a "
    "report. Exits with 1 where a check fails.",
)
@device_option
def selfcheck_command(device: str) -> None:
    check_device(device)
    for label, text in about_machine(device):
        say(label, text)
    begin, failed, count = time.monotonic(), 0, 0
    for row in checks(device):
        say({True: "ok", False: "FAILED", None: "note"}[row.held], f"{row.what}: {row.figure}")
        failed += row.held is False
        count += 1
    seconds = f"{time.monotonic() - begin:.0f} s"
    say("result", f"{failed} of {count} failed, {seconds}" if failed else f"all is well, {seconds}")
    if failed:
        raise click.exceptions.Exit(1)
