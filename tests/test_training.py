"""Training: what is reported is what happened, and a run that was interrupted ends as the one that was not."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import language_run

from tinygrad_rnn.data import Batch, bucketed, stream
from tinygrad_rnn.models import LanguageModel, checkpoint, perplexity
from tinygrad_rnn.optim import SGD, Adam, clip_by_norm
from tinygrad_rnn.rowsparse import RowSparse
from tinygrad_rnn.tasks.finding import resume_run
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.options import LanguageOptions
from tinygrad_rnn.tasks.language.text_data import measure_sentences
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.training import Evaluation, Progress, Record, evaluate, fit
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.optimizers import OPTIMIZERS, make_optimizer
from tinygrad_rnn.training.options import LEARNING_RATES, SCHEDULES
from tinygrad_rnn.training.runs import Run

V = 7
START = V - 1  # an id that no text has


def model_of(seed: int = 0, hidden: int = 5, **options: Any) -> LanguageModel:
    return LanguageModel(V, 4, hidden, dtype=np.float64, rng=np.random.default_rng(seed), **options)


def sentences_of(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Sequences of 2 to 9 ids below START."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, START, rng.integers(2, 10)) for _ in range(count)]


def text_of(length: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, START, length)


def nats_by_hand(model: LanguageModel, ids: np.ndarray[Any, Any]) -> list[float]:
    """-log p of every token but the first, from the logits, one sequence at a time."""
    logits = model(ids[:-1, None])[0].numpy()[:, 0]
    highest = logits.max(axis=1)
    log_sum = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return list(log_sum - logits[np.arange(len(ids) - 1), ids[1:]])


def weights(model: LanguageModel) -> dict[str, np.ndarray[Any, Any]]:
    return model.state_dict()


def assert_same(a: dict[str, np.ndarray[Any, Any]], b: dict[str, np.ndarray[Any, Any]]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], err_msg=name)


# --- Evaluating ------------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 100), st.sampled_from(["rnn", "gru", "lstm"]))
def test_evaluate_is_the_mean_over_all_tokens_however_sentences_are_batched(
    count: int, batch_size: int, seed: int, cell: str
) -> None:
    model, sentences = model_of(seed, cell=cell), sentences_of(count, seed)
    expected = [nats for ids in sentences for nats in nats_by_hand(model, ids)]
    found = evaluate(model, bucketed(sentences, batch_size))
    assert found.count == len(expected)
    assert found.loss == pytest.approx(np.mean(expected), rel=1e-10)


@given(st.integers(2, 60), st.integers(1, 70), st.integers(0, 100))
def test_evaluate_of_a_stream_does_not_depend_on_the_windows(length: int, steps: int, seed: int) -> None:
    model, ids = model_of(seed), text_of(length, seed)
    found = evaluate(model, stream([ids], 1, steps, start=START), carry=True)
    assert found.count == length - 1
    assert found.loss == pytest.approx(np.mean(nats_by_hand(model, ids)), rel=1e-10)


def test_evaluate_without_carrying_begins_every_window_anew() -> None:
    model, ids = model_of(), text_of(41)
    pieces = [ids[i : i + 11] for i in range(0, 40, 10)]
    expected = np.mean([nats_by_hand(model, piece) for piece in pieces])
    assert evaluate(model, stream([ids], 1, 10, start=START)).loss == pytest.approx(expected, rel=1e-10)


def test_tokens_without_weight_do_not_count() -> None:
    model = model_of()
    (batch,) = bucketed(sentences_of(4), 4)
    weights = np.zeros_like(batch.weights)
    weights[1, 2] = 1.0
    found = evaluate(model, [replace(batch, weights=weights)])
    logits = model(batch.inputs, lengths=batch.lengths)[0].numpy()[1, 2]
    assert found.count == 1
    assert found.loss == pytest.approx(np.log(np.exp(logits).sum()) - logits[batch.targets[1, 2]])


@pytest.mark.parametrize("tied", [False, True])
def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(tied: bool) -> None:
    model = LanguageModel(V, 4, 4, tied=tied, dtype=np.float64)
    output = model.embedding.weight if model.output_weight is None else model.output_weight
    output.data = np.zeros_like(output.data)
    found = evaluate(model, bucketed(sentences_of(5), 3))
    assert found.perplexity == pytest.approx(V)
    assert found.bits == pytest.approx(math.log2(V))


def test_evaluating_changes_nothing_and_records_nothing() -> None:
    model = model_of(dropout=0.5)
    before = weights(model)
    batches = list(bucketed(sentences_of(6), 3))
    assert evaluate(model, batches) == evaluate(model, batches)
    assert_same(before, weights(model))
    assert all(p.grad is None for p in model.parameters())


def test_nothing_to_predict_is_said() -> None:
    (batch,) = bucketed(sentences_of(1), 1)
    with pytest.raises(ValueError, match="at least one token"):
        evaluate(model_of(), [])
    with pytest.raises(ValueError, match="at least one token"):
        evaluate(model_of(), [replace(batch, weights=np.zeros_like(batch.weights))])


def test_perplexity_of_an_absurd_loss_is_still_a_number() -> None:
    assert perplexity(0.0) == 1 and math.isfinite(perplexity(1e9)) and math.isnan(perplexity(math.nan))


# --- Fitting ---------------------------------------------------------------------------------------------------


def streams(length: int = 60, batch_size: int = 2, steps: int = 5) -> Callable[[int], list[Batch]]:
    batches = list(stream([text_of(length)], batch_size, steps, start=START))
    return lambda epoch: batches


def test_the_loss_reported_is_nats_per_counted_token_before_the_step() -> None:
    model, batches = model_of(), list(bucketed(sentences_of(9), 4))
    records = fit(model, SGD(model.parameters(), lr=0.5), lambda epoch: batches)
    for batch in batches:
        expected = evaluate(model, [batch])
        record = next(records)
        assert record.loss == pytest.approx(expected.loss, rel=1e-10)
        assert record.count == expected.count


def test_records_count_steps_and_epochs_and_mark_the_last_of_each() -> None:
    model, per_epoch = model_of(), len(streams()(0))
    records = list(islice(fit(model, SGD(model.parameters(), lr=0.1), streams()), 2 * per_epoch + 1))
    assert [r.step for r in records] == list(range(1, 2 * per_epoch + 2))
    assert [r.epoch for r in records] == [0] * per_epoch + [1] * per_epoch + [2]
    assert [r.step for r in records if r.last_of_epoch] == [per_epoch, 2 * per_epoch]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("carry", [False, True])
def test_a_carried_state_is_read_and_its_history_is_not(carry: bool, cell: str) -> None:
    model = model_of(cell=cell)
    batches, progress = streams()(0), Progress()
    records = fit(model, SGD(model.parameters(), lr=0.3), lambda epoch: batches, carry=carry, progress=progress)
    next(records)
    held, now = progress.state, weights(model)
    assert (held is not None) == carry
    next(records)
    found = {name: p.grad for name, p in model.named_parameters()}

    again = model_of(cell=cell)
    again.load_state_dict(now)
    state = None if held is None else tuple(Tensor(part.numpy()) for part in held)
    again.loss(batches[1].inputs, batches[1].targets, batches[1].weights, state)[0].backward()
    for name, p in again.named_parameters():
        expected, actual = (g.dense() if isinstance(g, RowSparse) else g for g in (p.grad, found[name]))
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15, err_msg=name)


def test_the_state_of_one_epoch_does_not_reach_the_next() -> None:
    model, progress = model_of(), Progress()
    for record in fit(model, SGD(model.parameters(), lr=0.1), streams(), carry=True, progress=progress):
        assert (progress.state is None) == record.last_of_epoch
        if record.epoch == 1:
            break


def test_a_state_in_parts_of_several_sizes_is_carried() -> None:
    model, progress = model_of(hidden=[3, 6], num_layers=2), Progress()  # type: ignore[arg-type]
    list(islice(fit(model, SGD(model.parameters(), lr=0.1), streams(), carry=True, progress=progress), 3))
    assert [part.shape for part in progress.state[0]] == [(2, 3), (2, 6)]


def test_a_gradient_without_numbers_is_reported_and_its_step_skipped() -> None:
    ids = text_of(60) % 4
    ids[13] = 5  # seen in the third window only
    batches = list(stream([ids], 1, 5, start=START))
    model = model_of()
    table = model.embedding.weight.data.copy()
    table[5] = np.nan
    model.embedding.weight.data = table
    progress, optimizer = Progress(), SGD(model.named_parameters(), lr=0.1)
    records = fit(model, optimizer, lambda epoch: batches, carry=True, progress=progress)
    for number in range(1, 6):
        before = weights(model)
        record = next(records)
        assert record.applied == (number != 3), number
        if number == 3:
            assert math.isnan(record.loss) and math.isnan(record.gradient_norm)
            assert_same(before, weights(model))
            assert progress.state is None, "a state of NaN would spoil all that follows"
            assert (progress.batch, progress.step, optimizer.skipped) == (3, 3, 1)
        else:
            assert math.isfinite(record.loss)
            assert any((before[name] != new).any() for name, new in weights(model).items() if name != "x")


@pytest.mark.parametrize("bound", [1e-3, 0.05, 1e3])
def test_the_norm_is_reported_before_clipping_and_clipping_bounds_the_step(bound: float) -> None:
    batches = streams()(0)
    whole, clipped = model_of(), model_of()
    free = next(fit(whole, SGD(whole.parameters(), lr=1.0), lambda epoch: batches))
    record = next(fit(clipped, SGD(clipped.parameters(), lr=1.0), lambda epoch: batches, clip_norm=bound))
    assert record.gradient_norm == pytest.approx(free.gradient_norm)
    start = weights(model_of())
    moved = math.sqrt(sum(((w - start[name]) ** 2).sum() for name, w in weights(clipped).items()))
    assert moved == pytest.approx(min(bound, record.gradient_norm))
    assert free.gradient_norm == pytest.approx(clip_by_norm(whole.parameters(), math.inf))


def test_entries_are_clipped_one_by_one_after_the_norm() -> None:
    model, start = model_of(), weights(model_of())
    next(fit(model, SGD(model.parameters(), lr=1.0), streams(), clip_limit=1e-3))
    moved = np.concatenate([abs(w - start[name]).ravel() for name, w in weights(model).items()])
    assert moved.max() == pytest.approx(1e-3) and np.isclose(moved, 1e-3).sum() > 10


def test_an_epoch_without_batches_and_one_shorter_than_the_progress_are_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match="at least one batch"):
        next(fit(model, SGD(model.parameters(), lr=0.1), lambda epoch: []))
    with pytest.raises(ValueError, match="99 batches into an epoch"):
        next(fit(model, SGD(model.parameters(), lr=0.1), streams(), progress=Progress(batch=99)))


def test_the_batches_asked_for_are_those_of_the_epoch() -> None:
    asked: list[int] = []

    def batches(epoch: int) -> list[Batch]:
        asked.append(epoch)
        return streams()(0)[: epoch + 1]

    model = model_of()
    records = list(islice(fit(model, SGD(model.parameters(), lr=0.1), batches), 6))
    assert asked == [0, 1, 2]
    assert [r.epoch for r in records] == [0, 1, 1, 2, 2, 2]


# --- Learning what can be learnt -------------------------------------------------------------------------------


def trained_on(train_ids: np.ndarray[Any, Any], steps: int, lr: float, **options: Any) -> LanguageModel:
    model = LanguageModel(V, 8, 16, rng=np.random.default_rng(1), **options)
    batches = list(stream([train_ids], 16, 12, start=START))
    records = fit(model, Adam(model.named_parameters(), lr=lr), lambda epoch: batches, carry=True, clip_norm=1.0)
    for _ in islice(records, steps):
        pass
    return model


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_periodic_text_costs_nothing_once_it_is_learnt(cell: str) -> None:
    """Its period has each token twice, with different ones after it: only the state can tell."""
    ids = np.tile([0, 1, 2, 0, 3, 1], 300)
    model = trained_on(ids, 150, 0.02, cell=cell)
    assert evaluate(model, stream([ids[:200]], 1, 50, start=START), carry=True).loss < 0.1


def chain(length: int, seed: int) -> tuple[np.ndarray[Any, Any], float]:
    """A text from a Markov chain of three states, and its own mean -log p, whose limit is the chain's entropy."""
    jumps = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    rng, ids, nats = np.random.default_rng(seed), [0], 0.0
    for _ in range(length - 1):
        ids.append(int(rng.choice(3, p=jumps[ids[-1]])))
        nats -= math.log(jumps[ids[-2], ids[-1]])
    return np.array(ids), nats / (length - 1)


@pytest.mark.slow
def test_a_markov_chain_is_learnt_down_to_its_entropy_and_not_below() -> None:
    learnt, _ = chain(6000, 1)
    asked, entropy = chain(3000, 2)
    found = evaluate(trained_on(learnt, 150, 0.02), stream([asked], 1, 100, start=START), carry=True)
    assert entropy - 0.005 < found.loss < entropy + 0.03


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_cell_learns_a_markov_chain_to_a_hundredth_of_a_nat(cell: str) -> None:
    learnt, _ = chain(40_000, 1)
    asked, entropy = chain(5000, 2)
    model = trained_on(learnt, 400, 0.005, cell=cell)
    found = evaluate(model, stream([asked], 1, 100, start=START), carry=True)
    assert entropy - 0.005 < found.loss < entropy + 0.01


# --- Whole runs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 short sentences of 13 words, one a line."""
    rng = np.random.default_rng(0)
    words = "ash Ash birch cedar elm fir hazel larch maple oak pine rowan yew".split()
    lines = [" ".join(rng.choice(words, rng.integers(2, 8))) for _ in range(70)]
    path = tmp_path_factory.mktemp("text") / "trees.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def settings_of(text: Path, **options: Any) -> LanguageOptions:
    tiny: dict[str, Any] = {
        "lines": True,
        "batching": "stream",
        "embedding": 4,
        "hidden": 4,
        "layers": 1,
        "batch_size": 6,
        "steps": 7,
        "epochs": 3,
        "dtype": "float32",
    }
    return LanguageOptions(text=(str(text),), **{**tiny, **options})


def run_of(settings: LanguageOptions) -> Run:
    return language_run(settings, id="a run of these tests")


class Recorder(Listener):
    """Keeps what it is told, and presses Ctrl-C after the step `until`."""

    def __init__(self, until: int | None = None) -> None:
        self.until = until
        self.records: list[dict[str, Any]] = []
        self.evaluations: list[tuple[int, Evaluation, bool]] = []

    def step(self, record: Record) -> None:
        told = asdict(record)
        del told["seconds"]
        self.records.append(told)
        if record.step == self.until:
            signal.raise_signal(signal.SIGINT)

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.evaluations.append((record.step, found, better))


def arrays_in(path: Path) -> list[str]:
    return sorted(checkpoint.load(path).arrays)


def assert_resumes_exactly(settings: LanguageOptions, folder: Path, *stops: int) -> None:
    """A run without a stop, and one that is interrupted after some steps and resumed from its file each time, report
    the same numbers and leave the same file, byte for byte: weights, optimiser, schedule, generator, history."""
    straight = Recorder()
    train_run(run_of(settings), folder / "straight", straight)
    run, records, evaluations = run_of(settings), [], []
    for stop in (*stops, None):
        part = Recorder(stop)
        why = train_run(run, folder / "parts", part)
        assert (why == "interrupted") == (stop is not None)
        records += part.records
        # An interrupted epoch is evaluated, for the person who waits; the run does not take note of it.
        last_step = part.records[-1]["step"]
        whole = [e for e in straight.evaluations if e[0] == last_step]
        evaluations += part.evaluations if stop is None or whole else part.evaluations[:-1]
        run = resume_run(folder / "parts" / "last.safetensors", print)
    assert records == straight.records
    assert evaluations == straight.evaluations
    files = [(folder / name / "last.safetensors").read_bytes() for name in ("straight", "parts")]
    assert files[0] == files[1]


NOISE = {"dropout": 0.3, "recurrent_dropout": 0.2, "zoneout": 0.1}

RESUMED: dict[str, dict[str, Any]] = {
    "rmsprop, streams": {"optimizer": "rmsprop", "tied": False, **NOISE},
    "rmsprop, sentences": {"optimizer": "rmsprop", "batching": "sentences", "tied": False, **NOISE},
    "rmsprop, tied": {"optimizer": "rmsprop", "tied": True, "schedule": "cosine", "dropout": 0.3},
    "sgd, lstm of two layers": {"optimizer": "sgd", "cell": "lstm", "layers": 2, "tied": False, **NOISE},
    "momentum, sentences": {"optimizer": "sgd", "lr": 0.2, "momentum": 0.9, "batching": "sentences", **NOISE},
    "adagrad, exponential": {"optimizer": "adagrad", "tied": False, "schedule": "exponential"},
    "adadelta, cosine": {"optimizer": "adadelta", "tied": False, "schedule": "cosine", "zoneout": 0.2},
    "adadelta, sentences": {"optimizer": "adadelta", "batching": "sentences", "decay": 0.5, "dropout": 0.2},
    "adam, constant": {"optimizer": "adam", "schedule": "constant", "cell": "rnn", "recurrent_dropout": 0.4},
    "adam, sentences, decayed": {"optimizer": "adam", "batching": "sentences", "weight_decay": 0.1, **NOISE},
    "evaluated within epochs": {"evaluate_every": 3, "schedule": "exponential", "tied": False, **NOISE},
    "clipped, cosine, float64": {"clip_norm": 0.01, "clip_value": 1e-3, "dtype": "float64", "schedule": "cosine"},
    "a rate so high that it is halved": {"optimizer": "sgd", "lr": 40.0, "schedule": "halve", "epochs": 6},
    "a rate so high that it gets worse": {"optimizer": "adam", "lr": 0.3, "schedule": "constant", "patience": 9},
    "characters": {"level": "char", "lines": False, "batch_size": 20, "steps": 12, "epochs": 2, **NOISE},
    "adaptive softmax": {"softmax": "adaptive", "weight_decay": 0.1, "epochs": 2, **NOISE},
    "two-level softmax, sentences": {"softmax": "two-level", "batching": "sentences", "epochs": 2, "optimizer": "adam"},
}


QUICK = {
    "rmsprop, streams",
    "sgd, lstm of two layers",
    "adam, sentences, decayed",
    "evaluated within epochs",
    "two-level softmax, sentences",
}


@pytest.mark.parametrize(
    "options",
    [pytest.param(o, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, o in RESUMED.items()],
)
def test_a_run_resumed_within_and_at_the_end_of_an_epoch_is_the_run_that_was_not_interrupted(
    text: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    settings = settings_of(text, **{"epochs": 2, **options})
    per_epoch = len(run_of(settings).batches(0))
    assert per_epoch > 3
    assert settings.epochs is not None
    in_the_last = per_epoch * (settings.epochs - 1) + 1
    assert_resumes_exactly(settings, tmp_path, 1, 2 + per_epoch // 2, per_epoch, in_the_last)


def test_patience_goes_on_where_it_was(text: Path, tmp_path: Path) -> None:
    hopeless = settings_of(text, optimizer="sgd", lr=1e-30, schedule="constant", epochs=None, patience=3)
    per_epoch = len(run_of(hopeless).batches(0))
    assert_resumes_exactly(hopeless, tmp_path, 2 * per_epoch + 1, 3 * per_epoch + 1)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("batching", ["stream", "sentences"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adadelta", "rmsprop", "adam"])
def test_resuming_is_exact_for_every_optimiser_schedule_and_batching(
    text: Path, tmp_path: Path, optimizer: str, batching: str, schedule: str
) -> None:
    for tied in (False, True):
        options = {"optimizer": optimizer, "batching": batching, "schedule": schedule, "tied": tied, **NOISE}
        settings = settings_of(text, layers=2, cell="lstm", **options)
        per_epoch = len(run_of(settings).batches(0))
        assert_resumes_exactly(settings, tmp_path / str(tied), 2, per_epoch - 1, per_epoch + 3, 2 * per_epoch)


def test_a_checkpoint_keeps_everything_that_the_next_step_depends_on(text: Path, tmp_path: Path) -> None:
    settings = settings_of(text, cell="lstm", tied=False, **NOISE)
    train_run(run_of(settings), tmp_path, Recorder(4))
    names = arrays_in(tmp_path / "last.safetensors")
    assert {"state.0.0", "state.1.0", "optimizer.last.embedding.weight", "model.embedding.weight"} <= set(names)
    meta = checkpoint.load(tmp_path / "last.safetensors").meta
    assert meta["progress"] == {"epoch": 0, "batch": 4, "step": 4}
    assert meta["noise"] != run_of(settings).noise.bit_generator.state


@pytest.mark.parametrize(
    "schedule, rates",
    [
        ("constant", [1, 1, 1, 1]),
        ("exponential", [1, 0.9, 0.81, 0.729]),
        ("cosine", [0.01 + 0.99 * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)]),
    ],
)
def test_a_schedule_moves_on_with_every_evaluation(
    text: Path, tmp_path: Path, schedule: str, rates: list[float]
) -> None:
    recorder = Recorder()
    train_run(run_of(settings_of(text, schedule=schedule, lr=0.5, epochs=4)), tmp_path, recorder)
    found = [r["lr"] for r in recorder.records if r["last_of_epoch"]]
    assert found == pytest.approx([0.5 * rate for rate in rates])


def test_a_cosine_ends_with_the_last_evaluation_however_many_there_are(text: Path, tmp_path: Path) -> None:
    run, recorder = run_of(settings_of(text, schedule="cosine", lr=0.5, epochs=2, evaluate_every=2)), Recorder()
    assert len(run.batches(0)) % 2, "an evaluation goes over the end of an epoch"
    train_run(run, tmp_path, recorder)
    count = len(recorder.evaluations)
    expected = [0.01 + 0.99 * (1 + math.cos(math.pi * n / count)) / 2 for n in range(count)]
    assert [r["lr"] for r in recorder.records[::2]] == pytest.approx([0.5 * rate for rate in expected])
    assert run.optimizer.lr == pytest.approx(0.005)


def test_the_rate_is_halved_after_each_evaluation_that_is_worse_than_the_one_before(text: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    train_run(run_of(settings_of(text, **RESUMED["a rate so high that it is halved"])), tmp_path, recorder)
    nats = [found.loss for _, found, _ in recorder.evaluations]
    rises = [0, 0, *np.cumsum(np.diff(nats) > 0)]
    assert [r["lr"] for r in recorder.records if r["last_of_epoch"]] == [40.0 / 2**n for n in rises[:-1]]
    assert 0 < rises[-2] < 5


def test_a_run_resumed_from_its_best_file_goes_on_from_there(text: Path, tmp_path: Path) -> None:
    settings = settings_of(text, **NOISE)
    train_run(run_of(settings), tmp_path, Recorder())
    whole = (tmp_path / "last.safetensors").read_bytes()
    run = resume_run(tmp_path / "best.safetensors", print)
    recorder = Recorder()
    train_run(run, tmp_path, recorder)
    assert (tmp_path / "last.safetensors").read_bytes() == whole


CHANGES: dict[str, Any] = {
    "level": "char",
    "lowercase": False,
    "vocab_size": 9,
    "valid_fraction": 0.3,
    "cell": "lstm",
    "layers": 2,
    "embedding": 5,
    "hidden": 5,
    "tied": False,
    "softmax": "adaptive",
    "residual": True,
    "norm": "rms",
    "init": "wildml",
    "dtype": "float64",
    "dropout": 0.7,
    "recurrent_dropout": 0.3,
    "zoneout": 0.3,
    "optimizer": "adam",
    "lr": 0.123,
    "decay": 0.5,
    "weight_decay": 0.1,
    "clip_norm": 0.01,
    "clip_value": 1e-4,
    "schedule": "exponential",
    "batching": "sentences",
    "batch_size": 3,
    "steps": 4,
    "epochs": 1,
    "warm_up": 0,
    "evaluate_every": 2,
    "seed": 1,
}


def told(settings: LanguageOptions, folder: Path) -> Any:
    recorder = Recorder()
    train_run(run_of(settings), folder, recorder)
    return recorder.records, recorder.evaluations


@pytest.fixture(scope="module")
def told_before(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return told(settings_of(text, epochs=2), tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_makes_a_difference(name: str, text: Path, tmp_path: Path, told_before: Any) -> None:
    assert told(settings_of(text, **{"epochs": 2, name: CHANGES[name]}), tmp_path) != told_before


def test_momentum_makes_a_difference(text: Path, tmp_path: Path) -> None:
    plain = settings_of(text, optimizer="sgd")
    assert told(plain, tmp_path / "a") != told(replace(plain, momentum=0.5), tmp_path / "b")


def test_there_is_no_other_setting() -> None:
    elsewhere = {
        "text",
        "corpus",
        "csv",
        "column",
        "skip_initial_space",
        "encoding",
        "lines",
        "valid",
        "shuffle",
        "vectors",
    }
    elsewhere |= {"momentum", "patience", "threads", "engine", "init_from", "penalty", "split_optimizer"}
    assert CHANGES.keys() | elsewhere == {field.name for field in fields(LanguageOptions)}


@pytest.mark.parametrize("batching", ["stream", "sentences"])
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(
    text: Path, tmp_path: Path, batching: str
) -> None:
    def numbers(seed: int, folder: str) -> list[dict[str, Any]]:
        recorder = Recorder()
        train_run(
            run_of(settings_of(text, seed=seed, epochs=1, batching=batching, **NOISE)), tmp_path / folder, recorder
        )
        return recorder.records

    assert numbers(3, "a") == numbers(3, "b")
    assert numbers(3, "c") != numbers(4, "d")
    same = [(tmp_path / name / "last.safetensors").read_bytes() for name in "ab"]
    assert same[0] == same[1]


def test_sentences_are_shuffled_anew_each_epoch_and_always_the_same_way(text: Path) -> None:
    run = run_of(settings_of(text, batching="sentences"))
    first, again, second = (list(run.batches(epoch)) for epoch in (0, 0, 1))
    pairs: Iterator[tuple[Batch, Batch]] = zip(first, again, strict=True)
    assert all((a.inputs == b.inputs).all() for a, b in pairs)
    assert [b.inputs.tolist() for b in first] != [b.inputs.tolist() for b in second]
    assert sum(b.tokens for b in first) == sum(b.tokens for b in second)


def test_the_best_file_holds_the_model_with_the_lowest_validation_loss(text: Path, tmp_path: Path) -> None:
    recorder, settings = Recorder(), settings_of(text, epochs=5, lr=0.05, dropout=0.0)
    run = run_of(settings)
    train_run(run, tmp_path, recorder)
    nats = [found.loss for _, found, _ in recorder.evaluations]
    assert min(nats) < nats[-1], "the test needs a run that gets worse in the end"
    assert [better for _, _, better in recorder.evaluations] == [n == min(nats[: i + 1]) for i, n in enumerate(nats)]
    model, _, _, meta = load_language_model(tmp_path / "best.safetensors")
    assert measure_sentences(model, settings, run.data.valid).loss == min(nats) == meta["best"]


def test_a_run_ends_after_its_epochs_its_patience_or_its_time(text: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    assert train_run(run_of(settings_of(text, epochs=2)), tmp_path / "a", recorder) == "2 epochs done"
    assert [r["last_of_epoch"] for r in recorder.records].count(True) == 2
    assert train_run(resume_run(tmp_path / "a" / "last.safetensors", print), tmp_path / "a", Recorder()).endswith(
        "already"
    )

    recorder = Recorder()
    hopeless = settings_of(text, optimizer="sgd", lr=1e-30, schedule="constant", epochs=None, patience=2)
    assert train_run(run_of(hopeless), tmp_path / "b", recorder) == "no better in 2 evaluations"
    assert len(recorder.evaluations) == 3

    recorder = Recorder()
    assert train_run(run_of(settings_of(text, epochs=None)), tmp_path / "c", recorder, budget=1e-9).endswith("used up")
    assert len(recorder.records) == 1 and len(recorder.evaluations) == 1
    assert (tmp_path / "c" / "best.safetensors").is_file() and (tmp_path / "c" / "last.safetensors").is_file()


@pytest.fixture
def usual_ctrl_c() -> Iterator[None]:
    """Python's own meaning of Ctrl-C, which a shell in the background takes away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual_ctrl_c")
def test_after_a_run_ctrl_c_means_what_it_meant_before(text: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    train_run(run_of(settings_of(text)), tmp_path, Recorder(2))
    assert signal.getsignal(signal.SIGINT) is before

    class Impatient(Listener):
        def step(self, record: Record) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_run(run_of(settings_of(text)), tmp_path, Impatient())
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_run_whose_loss_is_no_number_is_saved_and_resumed_all_the_same(text: Path, tmp_path: Path) -> None:
    settings = settings_of(text, optimizer="sgd", lr=1e300, epochs=2)
    recorder = Recorder()
    run = run_of(settings)
    train_run(run, tmp_path, recorder)
    assert not any(math.isfinite(found.loss) for _, found, _ in recorder.evaluations)
    assert not all(r["applied"] for r in recorder.records)
    assert math.isinf(run.best) and not (tmp_path / "best.safetensors").exists()
    resumed = resume_run(tmp_path / "last.safetensors", print)
    assert resumed.history == [
        {"step": e[0], "epoch": i + 1, "valid_nats": None, "tokens": e[1].count}
        for i, e in enumerate(recorder.evaluations)
    ]
    assert math.isinf(resumed.best)


def test_a_resumed_run_keeps_a_better_model_that_the_parting_evaluation_found(text: Path, tmp_path: Path) -> None:
    options = {"level": "char", "hidden": 6, "embedding": 6, "batch_size": 2, "steps": 20, "dropout": 0.0}
    settings = LanguageOptions(text=(str(text),), **options, epochs=2)  # type: ignore[arg-type]  # options of several types
    run = run_of(settings)
    assert train_run(run, tmp_path, Listener(), 1e-9) == "the time budget is used up"
    best = tmp_path / "best.safetensors"
    held = checkpoint.load(best)
    # As if what was kept at the interruption were better than all that follows.
    checkpoint.save(best, held.arrays, {**held.meta, "best": 0.001})
    again = resume_run(tmp_path / "last.safetensors", lambda text: None)
    train_run(again, tmp_path, Listener())
    assert checkpoint.load(best).meta["best"] == 0.001
    assert again.best > 0.001  # the run itself goes on as if it had not been interrupted


def test_every_optimiser_that_settings_know_can_be_made_and_has_a_rate() -> None:
    assert [*OPTIMIZERS] == [*LEARNING_RATES]
    parameter = Parameter(np.zeros(2))
    for name, rate in LEARNING_RATES.items():
        assert make_optimizer(LanguageOptions(optimizer=name), [("p", parameter)]).lr == rate
