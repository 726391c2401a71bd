"""The right form of a command, told to those who name a file without its option."""

from __future__ import annotations

import shlex
from pathlib import PurePath

import click

_OPTIONS = {"train": "--text", "evaluate": "--text", "inspect": "--html", "generate": "--prompt"}
_TRAIN_OPTIONS = {".csv": "--csv", ".safetensors": "--resume"}


class NamedFiles(click.Command):
    """A command that takes files by options: where one stands without, it says which option is meant."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        extra = super().parse_args(ctx, args)
        if extra and not ctx.resilient_parsing:
            if self.name == "train" and (task := next((each for each in extra if ".py:" in each), None)):
                ctx.fail(f"the task is named first: tinygrad-rnn train {shlex.quote(task)} ... was expected")
            if self.name not in _OPTIONS:
                ctx.fail(f"{shlex.join(extra)} stands there, and nothing more was expected")
            ctx.fail(
                f"{shlex.join(extra)} stands there without its option: "
                f"tinygrad-rnn {self.name} ... {shlex.join(_with_options(self.name or '', extra))} was expected"
            )
        return extra


def _with_options(command: str, words: list[str]) -> list[str]:
    if command == "generate":  # a prompt whose quotation marks were forgotten
        return ["--prompt", " ".join(words)]
    found = []
    for word in words:
        kind = _TRAIN_OPTIONS.get(PurePath(word).suffix.lower()) if command == "train" else None
        found += [kind or _OPTIONS[command], word]
    return found
