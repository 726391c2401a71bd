"""How a series of numbers goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, to_host
from tinygrad_rnn.baselines.forecasting import Autoregression, LastValue
from tinygrad_rnn.data.chaos import mackey_glass
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.series import parse_number, read_series, windows_of, without_gaps
from tinygrad_rnn.inspection.views import Chart
from tinygrad_rnn.metrics.forecasts import mae
from tinygrad_rnn.models.forecaster import Forecaster, quantile_loss
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.options import FRACTION, SIZE, OptionError, TrainingOptions, option
from tinygrad_rnn.training.task import Task

_VALUES_SHOWN = 60
"""Values, at most, of which a view shows forecasts."""


class Forecast(Task):
    """Train a forecaster of a series: of a column of numbers in a CSV file, or of the chaos of Mackey and Glass."""

    class Options(TrainingOptions):
        PROBLEMS = {  # noqa: RUF012  # which nothing changes
            "mackey-glass": {
                "window": 40,
                "horizon": 6,
                "hidden": 64,
                "batch_size": 64,
                "schedule": "cosine",
                "epochs": 16,
            }
        }

        column: str | None = option(
            default=None, help="The CSV's column, by title or from 0 (the last unless told).", metavar="NAME"
        )
        window: int = option(default=24, help="Values that a forecast is made from.", rule=SIZE)
        horizon: int = option(default=1, help="Values that are forecast.", rule=SIZE)
        interval: float = option(default=0.9, help="The part of the values that intervals are to hold.", rule=FRACTION)
        season: int = option(
            default=1, help="Steps after which the series may repeat itself: for a baseline, and MASE.", rule=SIZE
        )
        layers: int = 1
        hidden: int = 32
        dropout: float = 0.0
        lr: float | None = 0.01
        patience: int | None = 20

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.season > self.window:
                raise OptionError(f"season must be at most the window, {self.window}, got {self.season}")

    metric, higher, loss_unit, counted = "MAE", False, "quantile_loss", "values"

    @property
    def quantiles(self) -> tuple[float, float, float]:
        """Those that are forecast: the ends of the interval, and the median between them."""
        tail = (1 - self.options.interval) / 2
        return tail, 0.5, 1 - tail

    def default(self, rng: np.random.Generator) -> list[Any]:
        return windows_of("the series", mackey_glass(8000, rng), self.options.window, self.options.horizon)

    def read(self, path: str) -> list[Any]:
        series = read_series(path, self.options.column, self.options.encoding)
        return windows_of(path, series, self.options.window, self.options.horizon)

    def split(self, examples: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """In time, so that no value is forecast in two parts; what comes before may be looked at in all."""
        options, total, overlap = self.options, len(examples), self.options.horizon - 1
        test = total - max(round(options.test_fraction * total), 1)
        valid = test - overlap - max(round(options.valid_fraction * total), 1)
        if valid - overlap < 1:
            raise TextError(
                f"a longer series was expected, or a smaller --window or --horizon: of {total:,} windows none is left "
                "to train on, beside those for validation and for the result"
            )
        return examples[: valid - overlap], examples[valid : test - overlap], examples[test:]

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        """How far values lie from the last of their window, as a root mean square, and the error that MASE is measured
        in: of saying of the next value the one of a season before."""
        seen, season = np.stack([window for window, _ in train]), self.options.season
        scale = np.sqrt(np.square(seen - seen[:, -1:]).mean())
        steps = np.abs([after[0] - window[-season] for window, after in train])
        naive = float(np.nanmean(steps)) if np.isfinite(steps).any() else 0.0
        return {"scale": float(scale) or 1.0, "season": season, "naive": naive}

    def build(self, rng: np.random.Generator) -> Forecaster:
        o, quantiles = self.options, len(self.quantiles)
        return Forecaster(o.hidden, o.horizon, quantiles, o.layers, dropout=o.dropout, **self.layer_options(rng))

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        """Windows (T,B), what comes after them (B,horizon) or None, both from the last value (B,1) of each window on
        and scaled, that value, and which of what comes after is known."""
        last = np.array([window[-1:] for window, _ in part])
        seen = self._scaled([window for window, _ in part], last).T.copy()
        after = None if part[0][1] is None else self._scaled([after for _, after in part], last)
        return IdsOnHost((seen, after, last, after == after))  # a value that is missing is NaN

    def _scaled(self, rows: Sequence[Any], last: HostArray) -> HostArray:
        scaled: HostArray = ((np.stack(rows) - last) / self.tables["scale"]).astype(self.options.dtype)
        return scaled

    def loss(self, model: Forecaster, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        seen, after, _, known = batch
        return quantile_loss(model(seen, rng), after, self.quantiles), int(known.sum()), None

    def predict(self, model: Forecaster, batch: Any) -> list[Any]:
        """Quantiles (horizon,3) of each row, as lists, none above a higher one."""
        ahead = np.sort(model(batch[0]).numpy().astype(np.float64), axis=-1)
        said: list[Any] = (ahead * self.tables["scale"] + to_host(batch[2])[..., None]).tolist()
        return said

    def score(self, gold: Sequence[Any], said: Sequence[Any]) -> dict[str, float]:
        """The errors of the medians, and which part of the values lies within the intervals."""
        right, found = np.stack(gold), np.asarray(said)
        known = ~np.isnan(right)
        right, found = right[known], found[known]
        error = mae(right, found if found.ndim == 1 else found[:, 1])  # a method may give no quantiles
        metrics = {"MAE": error}
        if self.tables["naive"]:
            metrics["MASE"] = error / self.tables["naive"]
        if found.ndim > 1:
            metrics["coverage"] = float(((found[:, 0] <= right) & (right <= found[:, -1])).mean())
        return metrics

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        season = self.tables["season"]
        seasonal = {f"season of {season}": LastValue(season)} if season > 1 else {}
        return self.reached({"last value": LastValue(), **seasonal, "AR": Autoregression()}, train, test)

    def views(self, model: Forecaster, examples: Sequence[Any]) -> list[Chart]:
        """Forecasts one after the other, each from all that came before it."""
        horizon = self.options.horizon
        told = examples[::horizon][: max(_VALUES_SHOWN // horizon, 1)]
        low, median, high = np.concatenate(self.predict(model, self.collate(told))).T
        came = np.concatenate([after for _, after in told])
        title = f"{len(told)} forecasts of {horizon} steps" if horizon > 1 else f"{len(told)} forecasts"
        lines, bands = {"what came": came, "median": median}, {f"{self.options.interval:.0%}": (low, high)}
        return [Chart(title, np.arange(1, len(came) + 1), lines, bands, "step", "value")]

    def parse(self, line: str) -> HostArray:
        """Numbers between spaces or commas, the latest last."""
        values, window = [parse_number(each) for each in line.replace(",", " ").split()], self.options.window
        if len(values) < window:
            raise TextError(f"{window:,} values or more were expected, got {len(values):,}")
        return without_gaps(np.array(values[-window:]))

    def write(self, output: Any) -> str:
        """The medians, and behind each its interval."""
        return " ".join(f"{median:.6g} [{low:.6g}, {high:.6g}]" for low, median, high in output)
