"""What the process remembers between calls is bounded, however many sizes it sees."""

from __future__ import annotations

import gc
import tracemalloc
from collections import OrderedDict
from importlib import import_module
from itertools import count
from pkgutil import walk_packages
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn
from tinygrad_rnn import blas, ops
from tinygrad_rnn.loops import changing_numbers, compiling, recorder, scanning
from tinygrad_rnn.models import LSTM, LanguageModel

OF_FEW_ARGUMENTS = {
    "tinygrad_rnn.blas._calls",  # none
    "tinygrad_rnn.openblas._product_function",  # dtypes
    "tinygrad_rnn.blas._with_small_kernels",  # none
    "tinygrad_rnn.threads._all_blas",  # none
    "tinygrad_rnn.threads._quota",  # none
    "tinygrad_rnn.threads.numpys_blas",  # none
    "tinygrad_rnn.engines._is_there",  # names of modules
    "tinygrad_rnn.optim.clipping.limits",  # dtypes
    "tinygrad_rnn.row_sums._kernel",  # dtypes
    "tinygrad_rnn.ranks.by_mpi.everyone",  # none
    "tinygrad_rnn.machine.object_files.version",  # none
    "tinygrad_rnn.machine.multiplying.product_functions",  # dtypes
    "tinygrad_rnn.machine.softmax.softmax_function",  # dtypes
    "tinygrad_rnn.machine.choosing.products_found",  # dtypes
    "tinygrad_rnn.machine.target.processor",  # none
    "tinygrad_rnn.machine.target.multiplies_and_adds",  # none
    "tinygrad_rnn.machine.target.register_bytes",  # none
    "tinygrad_rnn.machine.target.registers",  # none
    "tinygrad_rnn.data.pieces._piecewise",  # none
    "tinygrad_rnn.data.tokens._word_tokenizer",  # none
    "tinygrad_rnn.inspection.bundled_files.bundled",  # the files that come with the package
    "tinygrad_rnn.loops.kernels._sigmoids_numbers",  # dtypes
    "tinygrad_rnn.loops.cuda.device._cupy_device",  # GPUs
}


def module_values() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in walk_packages(tinygrad_rnn.__path__, "tinygrad_rnn."):
        if not each.name.endswith("__main__"):
            found |= {f"{each.name}.{k}": v for k, v in vars(import_module(each.name)).items() if k[:2] != "__"}
    return found


def test_a_function_that_remembers_results_without_end_has_few_arguments_to_remember() -> None:
    made = [value for value in module_values().values() if not isinstance(value, type)]
    endless = {
        f"{value.__module__}.{value.__name__}"
        for value in made
        if hasattr(value, "cache_parameters") and value.cache_parameters()["maxsize"] is None
    }
    assert endless == OF_FEW_ARGUMENTS


new_sizes = count(1)  # no test has seen the next one


def train(batch: int) -> None:
    layer = LSTM(3, 4)
    xs = np.ones((2, batch, 3), np.float32)
    layer(xs)[0].sum().backward()
    layer(xs)[1][0].sum().backward()
    model = LanguageModel(7, 3, 4, cell="gru")
    model.loss(np.zeros((2, batch), int), np.zeros((2, batch), int))[0].backward()
    ops.linear_cross_entropy(np.ones((batch, 3)), np.ones((3, 5)), None, np.zeros(batch, int))


@pytest.fixture
def few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    # New ones: that of a whole suite is large, and is made anew at a time that nobody knows.
    for module, name in ((scanning, "_pure"), (recorder, "_signatures"), (compiling, "_cache")):
        monkeypatch.setattr(module, name, OrderedDict())
    monkeypatch.setattr(compiling, "CACHE_SIZE", 4)
    monkeypatch.setattr(changing_numbers, "_FAMILIES", 4)
    monkeypatch.setattr(recorder, "_REMEMBERED", 40)
    monkeypatch.setattr(scanning, "_REMEMBERED", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("few_are_remembered")
def test_many_batch_sizes_take_no_more_memory_than_few() -> None:
    def taken_after(calls: int) -> int:
        for _ in range(calls):
            train(next(new_sizes))
        for bounded in (blas.rows_at_a_time, blas.columns_at_a_time):
            bounded.cache_clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = taken_after(6)
        grown = taken_after(12) - before
    finally:
        tracemalloc.stop()
    assert grown < 12 * 3000  # bytes; one size leaves 8,500 where all are remembered


@pytest.mark.usefixtures("few_are_remembered")
def test_no_table_of_the_package_grows_with_the_sizes_it_sees() -> None:
    def entries() -> dict[str, int]:
        return {name: len(v) for name, v in module_values().items() if isinstance(v, dict | list | set)}

    for _ in range(6):
        train(next(new_sizes))
    before = entries()
    for _ in range(6):
        train(next(new_sizes))
    assert {name: n for name, n in entries().items() if n > before[name]} == {}
