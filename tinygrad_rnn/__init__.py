"""tinygrad_rnn: write the textbook equations; the gradient, the checks and the training program come with them."""

from tinygrad_rnn import interrupts  # noqa: F401  (first of all, since it is about the time that the rest takes)

# isort: split
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from tinygrad_rnn import ops as ops
except ImportError:
    if Path(__file__).with_name("ops").is_dir():
        raise
    raise ImportError(
        f"{Path(__file__).parent} is a copy without its symbolic links ops and models: install it with `pip install .` "
        "and start Python in another folder"
    ) from None
from tinygrad_rnn.backend import DeviceUnavailable as DeviceUnavailable
from tinygrad_rnn.checks.anomaly import AnomalyError as AnomalyError
from tinygrad_rnn.checks.anomaly import detect_anomaly as detect_anomaly
from tinygrad_rnn.checks.derivatives import GradientError as GradientError
from tinygrad_rnn.checks.derivatives import gradcheck as gradcheck
from tinygrad_rnn.inspection.printed_tape import Tape as Tape
from tinygrad_rnn.inspection.tracing import Trace as Trace
from tinygrad_rnn.inspection.tracing import tag as tag
from tinygrad_rnn.inspection.tracing import trace as trace
from tinygrad_rnn.loops import ScanWarning as ScanWarning
from tinygrad_rnn.loops import compiled as compiled
from tinygrad_rnn.loops import explain as explain
from tinygrad_rnn.loops import scan as scan
from tinygrad_rnn.rowsparse import RowSparse as RowSparse
from tinygrad_rnn.surroundings import label as label
from tinygrad_rnn.surroundings import no_grad as no_grad
from tinygrad_rnn.surroundings import recording as recording
from tinygrad_rnn.tape import ChangedInPlaceError as ChangedInPlaceError
from tinygrad_rnn.tape import FreedTapeError as FreedTapeError
from tinygrad_rnn.tape import joint as joint
from tinygrad_rnn.tape import primitive as primitive
from tinygrad_rnn.tensor import Parameter as Parameter
from tinygrad_rnn.tensor import Tensor as Tensor
from tinygrad_rnn.transforms import grad as grad
from tinygrad_rnn.transforms import hvp as hvp
from tinygrad_rnn.transforms import jacobian as jacobian
from tinygrad_rnn.transforms import jvp as jvp
from tinygrad_rnn.transforms import value_and_grad as value_and_grad
from tinygrad_rnn.transforms import vjp as vjp

__version__ = "0.1.0"

__all__ = [
    "AnomalyError",
    "CellError",
    "CellReport",
    "ChangedInPlaceError",
    "Derivation",
    "DerivationError",
    "DeviceUnavailable",
    "FreedTapeError",
    "GradientError",
    "Parameter",
    "RowSparse",
    "ScanWarning",
    "Tape",
    "Tensor",
    "Trace",
    "check_cell",
    "compare",
    "compiled",
    "derive",
    "detect_anomaly",
    "explain",
    "grad",
    "gradcheck",
    "hvp",
    "jacobian",
    "joint",
    "jvp",
    "label",
    "no_grad",
    "ops",
    "primitive",
    "recording",
    "scan",
    "tag",
    "trace",
    "value_and_grad",
    "vjp",
]

if TYPE_CHECKING:
    from tinygrad_rnn import baselines as baselines
    from tinygrad_rnn import data as data
    from tinygrad_rnn import loops as loops
    from tinygrad_rnn import metrics as metrics
    from tinygrad_rnn import models as models
    from tinygrad_rnn import optim as optim
    from tinygrad_rnn import tasks as tasks
    from tinygrad_rnn import training as training
    from tinygrad_rnn.checks.cell_report import CellError as CellError
    from tinygrad_rnn.checks.cell_report import CellReport as CellReport
    from tinygrad_rnn.checks.cell_report import check_cell as check_cell
    from tinygrad_rnn.comparison.comparing import compare as compare
    from tinygrad_rnn.derivation.both_steps import DerivationError as DerivationError
    from tinygrad_rnn.derivation.deriving import Derivation as Derivation
    from tinygrad_rnn.derivation.deriving import derive as derive

_LATE = {
    "CellError": "checks.cell_report",
    "CellReport": "checks.cell_report",
    "Derivation": "derivation.deriving",
    "DerivationError": "derivation.both_steps",
    "check_cell": "checks.cell_report",
    "compare": "comparison.comparing",
    "derive": "derivation.deriving",
}
"""Names whose modules are imported when they are first asked for: the engine does without models and tasks."""
_ROOMS = ("baselines", "data", "loops", "metrics", "models", "optim", "tasks", "training")
"""The rooms that have names for users, `tg.models.GRU`: imported when they are first asked for, too."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _LATE:
        room = next((room for room in ("models", "ops") if not name.startswith("_") and _has(room, name)), None)
        hint = f"; there is {__name__}.{room}.{name}" if room else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)


def _has(room: str, name: str) -> bool:
    return hasattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, "__version__"})
