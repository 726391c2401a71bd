"""How many examples of Hypothesis a test draws, as a part of what the profile in force has."""

from __future__ import annotations

from math import ceil

from hypothesis import settings


def part_of_the_examples(part: float) -> settings:
    """For a property that is slow to try, or seen at nearly every example: less of "quick", and of "thorough" still
    more than all of "quick"."""
    assert settings.default is not None
    return settings(max_examples=ceil(part * settings.default.max_examples))
