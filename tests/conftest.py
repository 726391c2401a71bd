"""Hypothesis profiles: "quick" is reproducible and small, "thorough" is random and large. Chosen by
`--hypothesis-profile NAME` or the environment variable HYPOTHESIS_PROFILE."""

import os

# Set before NumPy is loaded: on products this small, the threads of BLAS wait for each other longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
