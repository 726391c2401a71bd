"""Calls side by side, through joblib: processes of this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from tinygrad_rnn.training.options import OptionError

BACKENDS = ("loky", "dask", "ray")
"""joblib's: processes of this machine; a Dask cluster; a Ray cluster."""


def side_by_side(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int, backend: str
) -> Iterator[Any]:
    """What the function gives for each of the calls, in the order in which they end, where the backend can tell.

    "dask" is the cluster of the Client that there is, or at DASK_SCHEDULER_ADDRESS, or one of `jobs` processes that
    ends with the calls; "ray" is the cluster that Ray finds. Raises OptionError where one is not installed."""
    if jobs == 1 and backend == "loky":
        yield from (function(*call) for call in calls)
        return
    from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415  (a third of a second)

    with ExitStack() as stack:
        if backend != "loky":
            _open(backend, jobs, stack)
        stack.enter_context(parallel_config(backend=backend, n_jobs=jobs))
        try:
            parallel = Parallel(return_as="generator_unordered")
        except ValueError:  # a backend that gives all of them at the end
            parallel = Parallel()
        yield from parallel(delayed(function)(*call) for call in calls)


def _open(backend: str, jobs: int, stack: ExitStack) -> None:
    """Sees to it that joblib knows the cluster."""
    try:
        if backend == "ray":
            from ray.util.joblib import register_ray  # noqa: PLC0415  (optional)

            register_ray()
            return
        from distributed import Client, get_client  # noqa: PLC0415  (optional)
    except ImportError:
        needs = {"ray": "ray", "dask": "dask[distributed]"}[backend]
        raise OptionError(f"backend {backend} needs a library that is not installed: pip install '{needs}'") from None
    try:
        get_client()
    except ValueError:
        import dask  # noqa: PLC0415  (optional)

        given = {} if dask.config.get("scheduler-address", None) else {"n_workers": jobs, "threads_per_worker": 1}
        client: Any = Client
        stack.enter_context(client(**given))
