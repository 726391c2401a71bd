"""The log of a run, read back: what is no line of it is left out, whatever stands there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygrad_rnn.inspection.plots import loss_curve
from tinygrad_rnn.training.log import line_of, numbers, read_log

STEP = {"event": "step", "step": 1, "loss": 2.5, "tokens": 10}
TEST = {"event": "evaluation", "step": 1, "valid_nats": 2.0}
NONSENSE = [
    *("", "x", "[" * 10**5, "{" * 10**5, "1" * 5000, "NaN", "null", "[]", '{"event": "step"}', "\ufffd\x00"),
    *(json.dumps({**STEP, "step": step}) for step in (True, -1, 2**63, 10**400, 1.0, "1", None, [1])),
    *('{"event": "step", "step": 1e999}', '{"event": "step", "step": NaN}', '{"event": ["step"], "step": 1}'),
]


def log_with(folder: Path, *lines: str) -> Path:
    path = folder / "log.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_lines_of_nonsense_are_left_out_one_by_one(tmp_path: Path) -> None:
    for line in NONSENSE:
        found = read_log(log_with(tmp_path, line_of(STEP).strip(), line, line_of(TEST)))
        assert found == [STEP, TEST], line[:40]


STRANGE = ["x", True, None, [1], {}, 10**400, -(10**400), "Infinity", "NaN"]


def test_values_that_are_no_numbers_are_no_points_of_a_curve(tmp_path: Path) -> None:
    lines = [json.dumps({**STEP, "loss": value}) for value in STRANGE]
    lines += ['{"event": "step", "step": 1, "loss": 1e999}', '{"event": "step", "step": 1, "loss": NaN}']
    records = read_log(log_with(tmp_path, *lines, line_of({**STEP, "step": 2, "loss": 3})))
    assert len(records) == len(lines) + 1
    assert numbers(records, "step", "loss") == [(2, 3.0)]


def test_the_picture_of_a_log_of_nonsense_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [json.dumps({**STEP, key: value}) for value in STRANGE for key in ("loss", "tokens", "step")]
    lines += [json.dumps({**TEST, "valid_nats": value}) for value in STRANGE]
    lines += [
        '{"event": "step", "step": 1}',
        '{"event": "evaluation", "step": 3}',
        '{"event": "step", "step": 1, "tokens": 0}',
    ]
    assert loss_curve(read_log(log_with(tmp_path, *lines)), tmp_path / "loss.png")
    assert (tmp_path / "loss.png").is_file()
