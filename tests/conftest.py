"""Hypothesis profiles: "quick" is reproducible and small, "thorough" is random and large. Chosen by
`--hypothesis-profile NAME` or the environment variable HYPOTHESIS_PROFILE."""

import os
import re

# Set before NumPy is loaded: on products this small, the threads of BLAS wait for each other longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Test ids must be the same in every process, or `pytest -n 2` does not start."""
    if wandering := [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6,}", item.nodeid)]:
        raise pytest.UsageError(f"these test ids hold memory addresses: {wandering}")
