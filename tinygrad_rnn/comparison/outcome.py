"""What came out of one run of a comparison, and the file in which it is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_rnn.models.whole_files import write_whole

OUTCOME = "outcome.json"
"""The name of the file in a run's folder: where it lies, the run is done."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run that ended, or failed: then `failed` says why, in a sentence, and there are no figures.

    `value` is the metric of the best model on the part for the result, None where it was never a number; `speed` is
    tokens or examples a second of training, `seconds` those of its steps; `history` has an entry for each evaluation,
    with its step, the seconds until then and the figures; `reach` is the gradient's norm at each distance, `memory` the
    steps from which 9/10 of it comes."""

    label: str
    seed: int
    failed: str = ""
    metric: str = ""
    higher: bool = True
    value: float | None = None
    valid: float | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    baselines: dict[str, float] = field(default_factory=dict)
    loss: float | None = None
    loss_unit: str = ""
    counted: str = ""
    parameters: int = 0
    seconds: float = 0.0
    speed: float = 0.0
    steps: int = 0
    epochs: int = 0
    ended: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    reach: list[float | None] = field(default_factory=list)
    memory: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def keep(self, folder: Path, name: str = OUTCOME) -> None:
        """Writes it into the folder of its run, whole or not at all. Raises OSError."""
        write_whole(folder / name, f"{json.dumps(self.to_json(), allow_nan=False, default=str)}\n".encode())


def kept_outcome(folder: Path, name: str = OUTCOME) -> Outcome | None:
    """What lies in the folder of a run that is done; None where there is none, or it failed."""
    try:
        found = Outcome(**json.loads((folder / name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return None if found.failed else found
