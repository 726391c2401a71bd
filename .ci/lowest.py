"""Prints pip's constraints to the lowest versions of what the package and its tests need, from pyproject.toml.

They hold for the oldest Python that is supported, for which these versions were built; on another it prints nothing."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text(encoding="utf-8"))["project"]
oldest = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
if sys.version_info[:2] != oldest:
    sys.exit(f"lower bounds are for Python {'.'.join(map(str, oldest))}: here all versions are the newest")
lowest = {}
for each in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
    name, version = re.fullmatch(r"([\w-]+)>=([\d.]+)", each).groups()  # in the order in which the stricter comes last
    lowest[name] = version
print(*(f"{name}=={version}" for name, version in lowest.items()), sep="\n")
