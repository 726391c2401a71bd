"""Forecasts: series and their gaps, a chaotic one, quantiles, what simple methods reach, and the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import fails, works
from example_counts import part_of_the_examples
from hypothesis import assume, example, given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import Autoregression, LastValue
from tinygrad_rnn.data import TextError, read_series
from tinygrad_rnn.data.chaos import mackey_glass
from tinygrad_rnn.data.series import windows_of, without_gaps
from tinygrad_rnn.metrics import mase
from tinygrad_rnn.models import Forecaster, quantile_loss
from tinygrad_rnn.tasks.finding import find_task
from tinygrad_rnn.tasks.forecast import Forecast
from tinygrad_rnn.training.options import OptionError

TINY = "--hidden 3 --window 5 --horizon 2 --epochs 1 --quiet".split()
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
gappy = st.lists(numbers | st.just(np.nan), min_size=1, max_size=30)


def forecast(**options: Any) -> Forecast:
    found = find_task("forecast")
    task = found.new(found.task.Options(**options))
    assert isinstance(task, Forecast)
    return task


# --- Series ----------------------------------------------------------------------------------------------------


@pytest.fixture
def csv(tmp_path: Path) -> Any:
    def written(text: str) -> Path:
        path = tmp_path / "series.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return written


@part_of_the_examples(0.3)
@given(values=gappy, header=st.booleans(), missing=st.sampled_from(["", "nan", "NA", "null"]))
def test_a_column_is_read_as_it_was_written(
    values: list[float], header: bool, missing: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("series") / "x.csv"
    rows = [f"{i},{missing if np.isnan(value) else repr(value)},x" for i, value in enumerate(values)]
    path.write_text("\n".join(["day,value,note"] * header + rows), encoding="utf-8")
    np.testing.assert_array_equal(read_series(path, 1), values)
    if header:
        np.testing.assert_array_equal(read_series(path, "value"), values)


def test_of_a_column_without_a_name_the_last_is_read_and_a_number_is_an_index(csv: Any) -> None:
    path = csv("5,0\n6,1\n")
    assert read_series(path).tolist() == [0, 1]
    assert read_series(path, "0").tolist() == [5, 6]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("t,v\n1,2\n\n3,x\n", None, r"series.csv, line 4: a number was expected, or nothing where .*, got 'x'"),
        ("1\ninf\n", None, "line 2: a number was expected"),
        ("1\n1e101\n", None, "line 2: a number was expected"),
        ("1,2\n3\n", None, "line 2: 2 columns or more were expected, got 1"),
        ("t,v\n1,2\n", "w", "there is no column 'w'; its 2 columns are 't', 'v'"),
        ("1,2\n", "2", "there is no column '2'; its 2 columns are '0', '1'"),
        ("", None, "some text was expected"),
    ],
)
def test_what_is_no_series_is_told_with_its_line(csv: Any, text: str, column: Any, message: str) -> None:
    with pytest.raises(TextError, match=message):
        read_series(csv(text), column)


@given(gappy)
def test_gaps_are_filled_from_within_the_window(values: list[float]) -> None:
    window = np.array(values)
    known = ~np.isnan(window)
    assume(known.any())
    found = without_gaps(window)
    np.testing.assert_array_equal(found[known], window[known])
    assert window[known].min() <= found.min() and found.max() <= window[known].max()


def test_gaps_are_straight_lines_and_go_on_flat() -> None:
    gap = np.nan
    assert without_gaps(np.array([gap, 1, gap, gap, 4, gap])).tolist() == [1, 1, 2, 3, 4, 4]


def test_windows_are_all_there_are_but_those_of_which_nothing_is_known() -> None:
    series = np.arange(10.0)
    found = windows_of("x", series, 4, 2)
    assert [(list(seen), list(after)) for seen, after in (found[0], found[-1])] == [
        ([0, 1, 2, 3], [4, 5]),
        ([4, 5, 6, 7], [8, 9]),
    ]
    series[6:8] = np.nan
    found = windows_of("x", series, 4, 2)
    np.testing.assert_array_equal([after for _, after in found], [[4, 5], [5, np.nan], [np.nan, 8], [8, 9]])
    with pytest.raises(TextError, match=r"x: a series of a window of 9 steps, a horizon of 2 .* got 10, of which 8"):
        windows_of("x", series, 9, 2)


def test_the_chaotic_series_satisfies_its_equation_and_never_repeats_itself() -> None:
    x = mackey_glass(800, np.random.default_rng(0))
    assert abs(x.mean()) < 1e-12 and abs(x.std() - 1) < 1e-12
    same, other = (mackey_glass(800, np.random.default_rng(seed)) for seed in (0, 1))
    assert (x == same).all() and np.abs(x - other).max() > 1
    slope = (x[15:-4] - 8 * x[16:-3] + 8 * x[18:-1] - x[19:]) / 12  # at the steps 17 to the last but two
    now, old = x[17:-2], x[: len(slope)]
    # Before it was scaled it had a mean and a deviation, which are found again as those that fit best.
    mean, deviation = np.meshgrid(np.linspace(0.85, 1.0, 31), np.linspace(0.18, 0.27, 31))
    was = [mean[..., None] + deviation[..., None] * each for each in (now, old)]
    error = deviation[..., None] * slope - (0.2 * was[1] / (1 + was[1] ** 10) - 0.1 * was[0])
    rest = np.sqrt(np.square(error).mean(axis=-1)) / (deviation * slope.std())
    assert rest.min() < 0.02 < 10 * rest.min() < np.median(rest)
    windows = np.lib.stride_tricks.sliding_window_view(x, 50)[::10]
    distances = np.abs(windows[:, None] - windows[None]).max(axis=-1) + np.eye(len(windows))
    assert distances.min() > 1e-3


# --- Quantiles and the model -----------------------------------------------------------------------------------


@given(level=st.sampled_from([0.1, 0.5, 0.9]), seed=st.integers(0, 20))
def test_the_quantile_loss_is_least_at_the_quantile(level: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=31)
    best = np.quantile(values, level, method="inverted_cdf")
    least, *others = (
        quantile_loss(tg.Tensor(np.full((31, 1), best + by)), values, [level]).item()
        for by in (0, -0.5, -0.01, 0.01, 0.5)
    )
    assert least <= min(others) and others[0] > others[1] and others[3] > others[2]


def test_the_quantile_loss_of_the_median_is_half_of_the_absolute_error() -> None:
    values = np.random.default_rng(0).normal(size=31)
    half = quantile_loss(tg.Tensor(np.zeros((31, 1))), values, [0.5]).item()
    assert half == pytest.approx(np.abs(values).sum() / 2)


def test_a_target_that_is_unknown_adds_neither_loss_nor_gradient() -> None:
    said, levels = np.random.default_rng(0).normal(size=(4, 3)), (0.1, 0.5, 0.9)
    target = np.array([1.0, np.nan, 0.3, np.nan])
    whole, part = (tg.Tensor(each, requires_grad=True) for each in (said, said[::2]))
    losses = quantile_loss(whole, target, levels), quantile_loss(part, target[::2], levels)
    assert losses[0].item() == losses[1].item()
    for loss in losses:
        loss.backward()
    np.testing.assert_array_equal(whole.grad[::2], part.grad)
    assert not whole.grad[1::2].any()
    tg.gradcheck(lambda x: quantile_loss(x, target, levels), said)


def test_a_series_that_moves_as_a_whole_moves_its_forecasts() -> None:
    model = Forecaster(4, 3, 2, dtype=np.float64, rng=np.random.default_rng(0))
    xs = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(model(xs + 100).numpy(), model(xs).numpy() + 100, rtol=1e-12)
    model.output.weight.data[:] = 0
    np.testing.assert_array_equal(model(xs).numpy(), np.broadcast_to(xs[-1][:, None, None], (5, 3, 2)))


# --- What simple methods reach ---------------------------------------------------------------------------------


def pairs(series: Any, window: int = 14, horizon: int = 3) -> tuple[Any, Any]:
    inputs, outputs = zip(*windows_of("x", np.asarray(series), window, horizon), strict=True)
    return inputs, outputs


def test_a_linear_series_is_foretold_by_autoregression_and_a_season_by_its_last_values() -> None:
    t = np.arange(200.0)
    for series, method in ((np.sin(t * 0.3) + 1e9, Autoregression()), (t % 7, LastValue(season=7))):
        inputs, outputs = pairs(series)
        said = method.fit(inputs[:80], outputs[:80]).predict(inputs[80:])
        np.testing.assert_allclose(said, outputs[80:], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(LastValue().fit([[1, 2]], [[0, 0]]).predict([[3, 4]]), [[4, 4]])
    with pytest.raises(TextError, match="windows must have the 7 steps of a season, got 2"):
        LastValue(7).fit([[1, 2]], [[0]]).predict([[3, 4]])


@given(st.integers(-150, 60), st.integers(0, 2**32 - 1))
def test_autoregression_says_the_same_in_every_unit(power: int, seed: int) -> None:
    series = np.cumsum(np.random.default_rng(seed).normal(size=60))
    windows, after = zip(*windows_of("series", series, 6, 2), strict=True)
    said = np.array(Autoregression().fit(windows, after).predict(windows))
    unit = 2.0**power  # by which no digit changes
    scaled = Autoregression().fit([w * unit for w in windows], [a * unit for a in after])
    np.testing.assert_allclose(np.array(scaled.predict([w * unit for w in windows])) / unit, said, rtol=1e-9)


def test_autoregression_takes_as_many_lags_as_are_worth_having() -> None:
    rng = np.random.default_rng(0)
    noise, series = rng.normal(size=400), np.zeros(400)
    for i in range(3, 400):
        series[i] = 0.6 * series[i - 3] + noise[i]
    for values, least, most in ((series, 3, 6), (noise, 0, 3)):
        inputs, outputs = pairs(values, horizon=1)
        weights = Autoregression().fit(inputs, outputs).weights[1:, 0]
        assert least <= np.count_nonzero(weights) <= most
        high = Autoregression().fit(*pairs(values + 1e9, horizon=1)).weights[1:, 0]
        np.testing.assert_allclose(high, weights, atol=1e-5)
        assert np.count_nonzero(Autoregression(5).fit(inputs, outputs).weights[1:, 0]) == 5
    inputs, outputs = pairs(series, horizon=1)
    np.testing.assert_allclose(Autoregression(3).fit(inputs, outputs).weights[1:, 0], [0, 0, 0.6], atol=0.1)


def test_autoregression_fits_each_step_where_it_is_known_and_few_windows() -> None:
    series = np.random.default_rng(0).normal(size=60).cumsum()
    inputs, outputs = pairs(series, 4, 2)
    known = [each.copy() for each in outputs]
    for each in known[::2]:
        each[1] = np.nan
    all_known, some = (Autoregression(4).fit(inputs, each).weights for each in (outputs, known))
    np.testing.assert_array_equal(all_known[:, 0], some[:, 0])
    half = Autoregression(4).fit(inputs, outputs).fit(inputs[1::2], outputs[1::2])
    assert np.abs(some[1:, 1] - half.weights[1:, 1]).max() < 0.05
    for count in (1, 2, 5):
        method = Autoregression().fit(inputs[:count], outputs[:count])
        assert np.isfinite(method.predict(inputs)).all()
        assert np.count_nonzero(method.weights, axis=0).max() <= max(count - 2, 1)


# --- The task --------------------------------------------------------------------------------------------------


@given(
    length=st.integers(1, 80),
    horizon=st.integers(1, 6),
    fractions=st.tuples(*[st.floats(0.01, 0.4)] * 2),
)
@example(length=3, horizon=1, fractions=(0.01, 0.01))
@example(length=13, horizon=6, fractions=(0.01, 0.01))
def test_no_value_is_forecast_in_two_parts_and_short_series_are_split(
    length: int, horizon: int, fractions: tuple[float, float]
) -> None:
    task = forecast(window=5, horizon=horizon, valid_fraction=fractions[0], test_fraction=fractions[1])
    examples: list[Any] = [(None, np.arange(i, i + horizon)) for i in range(length)]
    try:
        parts = task.split(examples)
    except TextError as error:
        assert "a longer series was expected" in str(error)
        assert 2 * horizon + sum(max(round(length * each), 1) for each in fractions) - 1 > length
        return
    values = [[value for _, after in part for value in after] for part in parts]
    assert (
        max(values[0]) < min(values[1])
        and max(values[1]) < min(values[2])
        and max(values[2]) == len(examples) + (horizon - 2)
    )


def test_intervals_are_scored_by_what_they_hold_and_missing_values_by_nothing() -> None:
    task = forecast()
    task.tables = {"naive": 0.25}
    gold = [np.array([1.0, 2.0])] * 4
    said = [[[0.0, 1.0, 2.0], [2.5, 3.0, 4.0]]] * 4
    assert task.score(gold, said) == {"MAE": 0.5, "MASE": 2.0, "coverage": 0.5}
    assert task.score(gold, [np.array([1.0, 2.5])] * 4) == {"MAE": 0.25, "MASE": 1.0}
    assert task.score([np.array([1.0, np.nan])], said[:1]) == {"MAE": 0.0, "MASE": 0.0, "coverage": 1.0}
    task.tables = {"naive": 0.0}
    assert "MASE" not in task.score(gold, said)


@given(season=st.integers(1, 5), seed=st.integers(0, 9))
def test_mase_is_that_of_hyndman_and_koehler_on_the_training_part(season: int, seed: int) -> None:
    task, series = forecast(window=5, season=season), np.random.default_rng(seed).normal(size=40)
    examples = windows_of("x", series, 5, 1)
    train, _, test = task.split(examples)
    task.tables = task.prepare(train)
    gold, said = [after for _, after in test], [np.zeros(1)] * len(test)
    learnt = series[5 - season : 5 + len(train)]
    assert task.score(gold, said)["MASE"] == pytest.approx(mase(gold, said, learnt, season))


def test_a_batch_is_what_stands_beside_the_last_value_of_each_window_and_answers_are_what_they_were() -> None:
    task = forecast(window=3, horizon=2, hidden=4)
    series = np.array([1.0, 3.0, 2.0, np.nan, 4.0, 5.0, 4.0, 6.0, 9.0]) + 1e9
    part = windows_of("x", series, 3, 2)
    task.tables = task.prepare(part)
    seen, after, last, known = task.collate(part)
    assert (known == ~np.isnan([values for _, values in part])).all() and not known.all()
    assert seen.dtype == np.float32 and seen.shape == (3, len(part)) and not seen[-1].any()
    scale = task.tables["scale"]
    np.testing.assert_allclose(seen.T * scale + last, [window for window, _ in part], atol=1e-5)
    np.testing.assert_allclose(after * scale + last, [values for _, values in part], atol=1e-5)
    model = task.build(np.random.default_rng(0))
    said = np.array(task.predict(model, task.collate([(window, None) for window, _ in part])))
    assert said.shape == (len(part), 2, 3) and (np.diff(said, axis=-1) >= 0).all()
    middle = np.sort(model(seen).numpy(), axis=-1)[..., 1] * scale + last
    np.testing.assert_allclose(said[..., 1], middle, rtol=1e-12)
    loss, count, _ = task.loss(model, task.collate(part), None, None)
    assert count == sum(int((values == values).sum()) for _, values in part) and np.isfinite(loss.item())


def test_a_view_shows_forecasts_one_after_the_other() -> None:
    task = forecast(window=5, horizon=7, hidden=3, interval=0.8)
    series = np.sin(np.arange(200.0))
    part = windows_of("x", series, 5, 7)
    task.tables = task.prepare(part)
    (chart,) = task.views(task.build(np.random.default_rng(0)), part)
    assert chart.title == "8 forecasts of 7 steps" and [*chart.bands] == ["80%"]
    np.testing.assert_array_equal(chart.lines["what came"], series[5 : 5 + 56])
    (low, high), median = chart.bands["80%"], chart.lines["median"]
    assert (low <= median).all() and (median <= high).all()


def test_a_season_is_a_method_more_and_no_longer_than_the_window() -> None:
    task = forecast(window=7, season=7)
    examples = windows_of("x", np.arange(60.0) % 7, 7, 1)
    task.tables = task.prepare(examples)
    found = task.baselines(examples, examples)
    assert [*found] == ["last value", "season of 7", "AR"] and found["season of 7"] == 0 < found["last value"]
    with pytest.raises(OptionError, match="season must be at most the window, 24, got 25"):
        forecast(data="x.csv", season=25)


def test_a_column_of_numbers_is_read_learnt_and_gone_on_with(tmp_path: Path, csv: Any) -> None:
    rows = [f"{i},{'' if i % 17 == 5 else np.sin(i * 0.5) + i * 0.1}" for i in range(90)]
    data, run = csv("day,value\n" + "\n".join(rows)), tmp_path / "run"
    works("train", "forecast", "--data", data, "--column", "value", *TINY, "--out", run)
    best = run / "best.safetensors"
    said = works("predict", best, text="1, 2 3 nan 5 6\n")
    assert said.count("[") == 2 and said.count("\n") == 1
    ((low, median, high), _) = json.loads(works("predict", best, "--json", text="1 2 3 4 5\n"))["output"]
    assert low <= median <= high
    assert all(name in works("evaluate", best) for name in ("MAE", "MASE", "coverage"))
    assert "line 1: 5 values or more were expected, got 2" in fails("predict", best, text="1 2\n")
    assert "a number was expected, or nothing where it is missing, got 'x'" in fails("predict", best, text="1 2 3 4 x")
    assert "in a window of 5 steps, and all are missing" in fails("predict", best, text="nan NA nan nan nan\n")
    assert "got 3, of which 3 numbers" in fails("train", "forecast", "--data", csv("1\n2\n3\n"))


def test_a_run_of_its_own_examples_takes_the_epochs_that_suit_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forecast, "default", lambda self, rng: windows_of("x", np.sin(np.arange(70.0)), 40, 6))
    told = works("train", "forecast", "--hidden", 2, "--quiet", "--out", tmp_path / "run")
    assert "(16 epochs done)" in told.replace("\u00a0", " ")


@pytest.mark.slow
def test_chaos_is_foretold_better_than_by_autoregression() -> None:
    found = tg.tasks.train("forecast", epochs=4)
    assert found.result.metrics["MAE"] < 0.03 and 0.7 < found.result.metrics["coverage"] < 0.97
