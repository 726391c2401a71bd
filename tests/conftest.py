"""What all tests share: the tests run in any order, one alone, beside each other, and without the checkout.

Hypothesis profiles: "quick" is reproducible and small, "thorough" is random and large. Chosen by
`--hypothesis-profile NAME` or the environment variable HYPOTHESIS_PROFILE."""

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Set before NumPy is loaded: on products this small, the threads of BLAS wait for each other longer than they compute.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tinygrad_rnn import backend, engines
from tinygrad_rnn.checks import equality_checks
from tinygrad_rnn.cli import options, run_texts
from tinygrad_rnn.inspection import plots
from tinygrad_rnn.loops import changing_numbers, scanning
from tinygrad_rnn.loops.cuda import device
from tinygrad_rnn.training import known_baselines

if engines.is_installed("machine"):
    from tinygrad_rnn.machine import object_files

# Asserts of tests hold under `python -O` too, since pytest rewrites them; so do those of the modules that tests share.
_modules = {path.stem for path in Path(__file__).parent.glob("*.py")}
pytest.register_assert_rewrite(*(name for name in _modules if not name.startswith("test_")))

settings.register_profile(
    "quick", max_examples=14, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure(config: pytest.Config) -> None:
    """Known without pyproject.toml too, which does not come with the tests everywhere."""
    config.addinivalue_line("markers", "slow: takes minutes; run in CI with -m slow")
    if getattr(config.option, "dist", "no") == "load":  # with pytest-xdist: `pytest -n 2`
        # Each process begins with files of its own: what the tests of a file share is made once, and not in each.
        config.option.dist = "worksteal"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--engine machine`: the same tests on the other emitter; `--device cuda`: those of a GPU, on one."""
    parser.addoption("--engine", choices=engines.ENGINES, default="numpy", help="what writes the loops of scans")
    parser.addoption("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: what runs on a GPU, and no more")


@pytest.fixture(autouse=True, scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What writes the loops, unless a test says something else: without llvmlite the tests pass too, and compiling each
    random program takes longer than running it. Machine code is not kept in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "best_engine", lambda: request.config.getoption("engine"))
        if engines.is_installed("machine"):
            patch.setattr(object_files, "cache_folder", lambda: tmp_path_factory.getbasetemp().parent)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of tests are objects that stay until the end: the garbage collector need not look for any among them
    while they are made. (Frozen for its later rounds, they make Hypothesis 6.100 call tests unreliable.)"""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Test ids must be the same in every process, or `pytest -n 2` does not start. With `--device cuda` the tests that
    stand-ins for CuPy would do for are left out, and without a GPU that is an error."""
    if config.getoption("--device") == "cuda":
        try:
            backend.cuda_namespace()
        except backend.DeviceUnavailable as error:
            raise pytest.UsageError(str(error)) from None
        on_gpu = [item for item in items if _library_of(item) == "CuPy"]
        config.hook.pytest_deselected(items=[item for item in items if _library_of(item) != "CuPy"])
        items[:] = on_gpu
    if wandering := [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{6,}", item.nodeid)]:
        raise pytest.UsageError(f"these test ids hold memory addresses: {wandering}")


def _library_of(item: pytest.Item) -> Any:
    """The array library that a test asks for, if it asks for one."""
    return getattr(getattr(item, "callspec", None), "params", {}).get("library")


@pytest.fixture(autouse=True, scope="session")
def own_cache_of_baselines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests keep is not kept in the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_baselines, "cache_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True, scope="session")
def few_pictures() -> Iterator[None]:
    """A picture takes longer than most runs of the tests: only those that ask for `pictures` have them drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_texts, "loss_curve", lambda *_: False)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """What tests write need not outlast a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of a run are drawn at its end, where matplotlib is."""
    monkeypatch.setattr(run_texts, "loss_curve", plots.loss_curve)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of labels and texts."""
    lines = "\n".join(
        f"{'even' if sum(map(int, number)) % 2 == 0 else 'odd'}\t{' '.join(number)}"
        for number in (f"{i * 37 % 997:03}" for i in range(120))
    )
    path = tmp_path_factory.mktemp("digits") / "digits.tsv"
    path.write_text(lines, encoding="utf-8")
    return path


_first_states: dict[int, Any] = {}


def rewind(module: ModuleType) -> None:
    """The generators of a module of tests, as they were before its first test."""
    for value in vars(module).values():
        if isinstance(value, np.random.Generator):
            value.bit_generator.state = _first_states.setdefault(id(value), value.bit_generator.state)


@pytest.fixture(autouse=True)
def any_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test draws the numbers that it would draw alone, hears what is said once in a process, and leaves no switch
    turned: the next one does not depend on it."""
    rewind(request.module)
    scanning._explained.clear()
    changing_numbers._families.clear()
    errors = np.geterr()
    yield
    assert engines.switch.get(), "the test left compiled(False) in force"
    assert np.geterr() == errors, "the test left another np.seterr in force"


@pytest.fixture(autouse=True, scope="session")
def loops_of_the_stand_in_run_on_the_host() -> Iterator[None]:
    """What a GPU would do with its arrays; without a compiler of C++ they are plain loops."""
    import host_cuda  # noqa: PLC0415  (asserts in them are rewritten by now)
    import stand_in  # noqa: PLC0415

    host, gpu_of = host_cuda.HostDevice(), device.gpu_of
    with pytest.MonkeyPatch.context() as patch:
        host_cuda.put_in_place(patch, lambda x: host if isinstance(x, stand_in.DeviceArray) else gpu_of(x))
        if host_cuda.COMPILER is None:
            patch.setattr(scanning, "engine_on_gpu", lambda: None)
        yield


@pytest.fixture(params=["stand-in", "CuPy"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The array library of device "cuda": the stand-in, and CuPy itself where there is a GPU."""
    if request.param == "CuPy":
        pytest.importorskip("cupy")
        try:
            return backend.cuda_namespace()
        except backend.DeviceUnavailable as error:
            pytest.skip(str(error))
    import stand_in  # noqa: PLC0415  (asserts in it are rewritten by now)

    for module in (backend, options, equality_checks):
        monkeypatch.setattr(module, "cuda_namespace", lambda device="cuda": stand_in.device)
    for name, special in stand_in.special_functions().items():
        monkeypatch.setitem(sys.modules, name, special)
    return stand_in.device
