"""The battery of check_cell: what is checked, in which order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tinygrad_rnn.checks import derivative_checks, equality_checks, noise_checks
from tinygrad_rnn.checks.rows import Row, row_of
from tinygrad_rnn.checks.subject import Subject, reasons_noted

Check = Callable[[Subject], str]
"""Returns the figure, and raises AssertionError where what is checked does not hold."""

BEGINNING = "it can be built and run"
COMPILED = "compiled = plain loop, values and gradients"

CHECKS: dict[str, Check] = {
    "the step depends on its arguments alone": equality_checks.step_is_a_function,
    "sequences begin alike in every batch": equality_checks.beginnings,
    "first derivatives = finite differences": derivative_checks.first_derivatives,
    "second derivatives = finite differences": derivative_checks.second_derivatives,
    "gradients stop nowhere": derivative_checks.gradients_go_through,
    "all is finite where inputs are large": derivative_checks.large_inputs,
    "every parameter takes part": derivative_checks.parameters_take_part,
    COMPILED: equality_checks.compiled_as_plain_loop,
    "two halves with the carried state = the whole": equality_checks.halves_as_whole,
    "batch rows are independent": equality_checks.rows_alone,
    "padding changes nothing": equality_checks.padding_unseen,
    "both directions, two layers": equality_checks.both_directions,
    "another number of inputs and units": equality_checks.other_sizes,
    "zoneout is on units alone": noise_checks.zoneout_on_units,
    "recurrent dropout is on all that is multiplied": noise_checks.recurrent_dropout_on_products,
    "dropout of every kind is reproducible": equality_checks.dropout_reproducible,
    "float32 = float64 but for rounding": equality_checks.single_precision,
    "weights come back from a file": equality_checks.weights_from_a_file,
    "GPU = CPU": equality_checks.gpu_as_cpu,
}


def all_rows(subject: Subject) -> tuple[Row, ...]:
    """All checks, made; or the first row alone, where the cell cannot be built and run."""
    with reasons_noted():  # why a scan ran as a plain loop is one of the rows, and no warning
        begun = row_of(BEGINNING, subject.begin)
        if not begun.held:
            return (begun,)
        return tuple(row_of(what, partial(check, subject)) for what, check in CHECKS.items())
