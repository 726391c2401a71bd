"""Runs of several ranks: the run of one process with the same batches."""

from __future__ import annotations

import atexit
import functools
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import Streams, nothing, same
from thread_ranks import on_ranks

from tinygrad_rnn.data import Batch, bucketed, stream
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.ranks.by_mpi import RanksError
from tinygrad_rnn.ranks.processes import ONE_PROCESS, Ranks
from tinygrad_rnn.tasks.finding import FoundTask, find_task, resume_run, task_of_class
from tinygrad_rnn.training.agreeing import Asked, agreed
from tinygrad_rnn.training.beginning import new_run
from tinygrad_rnn.training.driving import Listener, train_run
from tinygrad_rnn.training.examples import TaskError
from tinygrad_rnn.training.fitting import Evaluation, Record
from tinygrad_rnn.training.folder import BEST, LAST
from tinygrad_rnn.training.options import OptionError
from tinygrad_rnn.training.runs import Run
from tinygrad_rnn.training.sharing import check_alike, gathered_state, own_state

SMALL: dict[str, Any] = {"dtype": "float64", "hidden": 6, "epochs": 50, "clip_norm": 0.02, "seed": 5}
QUIET: dict[str, Any] = {**SMALL, "dropout": 0.0}
LINES: dict[str, Any] = {**QUIET, "embedding": 6, "layers": 1, "tied": False, "vocab_size": 40, "lines": True}
LETTERS: dict[str, Any] = {**LINES, "level": "char", "vocab_size": None}
MEMORY: dict[str, Any] = {**SMALL, "examples": 100}
NO_WORD_DROPOUT: dict[str, Any] = {**QUIET, "embedding": 5, "word_dropout": 0.0}

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "classify": ("classify", {**QUIET, "embedding": 5}),
    "classify, attention": ("classify", {**QUIET, "embedding": 5, "pooling": "attention", "optimizer": "adam"}),
    "tag": ("tag", NO_WORD_DROPOUT),
    "tag, a CRF": ("tag", {**NO_WORD_DROPOUT, "crf": True}),
    "translate": ("translate", {**QUIET, "embedding": 5}),
    "caption": ("caption", QUIET),
    "speech": ("speech", QUIET),
    "forecast": ("forecast", QUIET),
    "names": ("names", QUIET),
    "memory, adding": ("memory", {**MEMORY, "problem": "adding", "length": 10}),
    "memory, reber": ("memory", {**MEMORY, "problem": "reber"}),
    "words": ("language", LINES),
    "words, tied": ("language", {**LINES, "tied": True, "optimizer": "adam"}),
    "words in streams": ("language", {**LINES, "batching": "stream", "steps": 7, "batch_size": 6}),
    "words, an adaptive softmax": ("language", {**LINES, "softmax": "adaptive"}),
    "characters": ("language", {**LETTERS, "optimizer": "adam"}),
    "characters in streams": ("language", {**LETTERS, "lines": False, "steps": 9, "batch_size": 5}),
    "words, a penalty": ("language", {**LINES, "cell": "adaptive-time(most=2)", "penalty": ("ponder=0.1",)}),
    "momentum and weight decay": ("classify", {**QUIET, "embedding": 5, "optimizer": "sgd", "weight_decay": 1e-3}),
    "a split optimiser": ("classify", {**QUIET, "embedding": 5, "split_optimizer": True}),
    "a split optimiser, words": ("language", {**LINES, "split_optimizer": True, "optimizer": "adagrad"}),
    "a split optimiser, adam": ("language", {**LINES, "tied": True, "split_optimizer": True, "optimizer": "adam"}),
    "a split optimiser, decay": ("tag", {**NO_WORD_DROPOUT, "split_optimizer": True, "weight_decay": 1e-3}),
    "entries bounded": ("classify", {**QUIET, "embedding": 5, "clip_value": 1e-3, "clip_norm": 1e9}),
}
"""By name, the task and the options: without noise, and with a bound that acts."""


@pytest.fixture(autouse=True, scope="module")
def made_before_there_are_threads() -> None:
    folder()


@functools.cache
def folder() -> Path:
    """Has a file for each task that would otherwise read the standard library."""
    path, rng = Path(tempfile.mkdtemp(prefix="ranks-")), np.random.default_rng(0)
    atexit.register(shutil.rmtree, path)
    words = ["".join(rng.choice([*"aeioubdkt"], size=rng.integers(1, 6))) for _ in range(60)]
    lines = [[words[i] for i in rng.zipf(1.4, size=rng.integers(1, 12)) % 60] for _ in range(300)]
    (path / "language").write_text("".join(f"{' '.join(line)}\n" for line in lines))
    labelled = "".join(f"{'long' if len(line) > 5 else 'short'}\t{' '.join(line)}\n" for line in lines)
    for name in ("classify.tsv", "names.tsv"):
        (path / name).write_text(labelled)
    tagged = ("".join(f"{word} {'VOWEL' if word[0] in 'aeiou' else 'OTHER'}\n" for word in line) for line in lines)
    (path / "tag").write_text("\n".join(tagged))
    return path


DATA = {"language": ("text", "language"), "classify": ("data", "classify.tsv"), "names": ("data", "names.tsv")}
DATA["tag"] = ("data", "tag")


def begun(task: str | FoundTask, options: dict[str, Any], ranks: Ranks = ONE_PROCESS, device: str = "cpu") -> Run:
    found = find_task(task) if isinstance(task, str) else task
    given = dict(options)
    if found.name in DATA:
        option, name = DATA[found.name]
        path = str(folder() / name)
        given.setdefault(option, (path,) if option == "text" else path)
    made, cell = found.task.options_and_cell(given, False, nothing)
    return new_run(found.new(made, cell), nothing, device, ranks)


def steps(run: Run, count: int) -> list[Record]:
    return [record for _, record in zip(range(count), run.steps(), strict=False)]


@functools.cache
def alone(name: str) -> tuple[dict[str, Any], list[Record], Evaluation]:
    """The weights, the records of 20 steps and the evaluation of a process by itself."""
    task, options = RUNS[name]
    run = begun(task, options)
    records = steps(run, 20)
    return run.model.state_dict(), records, run.validate()


def near(one: Any, other: Any, tolerance: float = 1e-12) -> None:
    """Asserts that weights are alike, array by array, to a part of the largest of each."""
    assert one.keys() == other.keys()
    for name, array in other.items():
        scale = np.abs(array).max(initial=0.0)
        np.testing.assert_allclose(one[name], array, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("name", RUNS)
def test_ranks_give_the_run_of_one_process_after_20_steps(name: str, size: int) -> None:
    task, options = RUNS[name]

    def work(ranks: Ranks) -> tuple[dict[str, Any], list[Record], Evaluation, str]:
        run = begun(task, options, ranks)
        records = steps(run, 20)
        return run.model.state_dict(), records, run.validate(), run.id

    found = on_ranks(size, work)
    weights, records, evaluation = alone(name)
    for own, own_records, own_evaluation, run_id in found:
        near(own, weights)
        for name_of_weight in weights:
            np.testing.assert_array_equal(own[name_of_weight], found[0][0][name_of_weight])
        assert run_id == found[0][3]
        for record, expected in zip(own_records, records, strict=True):
            assert record.count == expected.count and record.applied == expected.applied
            assert record.last_of_epoch == expected.last_of_epoch
            assert record.penalties == pytest.approx(expected.penalties, rel=1e-11)
            assert (record.loss, record.gradient_norm) == pytest.approx((expected.loss, expected.gradient_norm), 1e-11)
        assert own_evaluation.loss == pytest.approx(evaluation.loss, rel=1e-11)
        assert own_evaluation.count == evaluation.count
        assert own_evaluation.metrics == pytest.approx(evaluation.metrics, rel=1e-9)
        assert list(own_evaluation.sums) == pytest.approx(list(evaluation.sums), rel=1e-10)
    assert options["clip_norm"] > 1 or any(record.gradient_norm > options["clip_norm"] for record in records)


def test_a_rank_without_a_row_makes_the_steps_of_the_others() -> None:
    options = {**QUIET, "embedding": 5, "batch_size": 2}
    expected = begun("classify", options)
    records = steps(expected, 5)

    def work(ranks: Ranks) -> tuple[Any, ...]:
        run = begun("classify", options, ranks)
        empty = run.batches(0)[0] is None
        return empty, [record.loss for record in steps(run, 5)], run.model.state_dict(), run.validate()

    for rank, (empty, losses, weights, evaluation) in enumerate(on_ranks(4, work)):
        assert empty == (rank >= 2)
        assert losses == pytest.approx([record.loss for record in records], rel=1e-12)
        near(weights, expected.model.state_dict())
        assert evaluation.loss == pytest.approx(expected.validate().loss, rel=1e-12)


def test_noise_is_drawn_by_each_rank_for_itself_and_repeats_bit_for_bit() -> None:
    options = {**SMALL, "embedding": 5, "dropout": 0.5}

    def work(ranks: Ranks) -> tuple[Any, Any, Any]:
        run = begun("classify", options, ranks)
        first = run.noise.bit_generator.state["state"]["state"]
        return first, [record.loss for record in steps(run, 4)], run.model.state_dict()

    once, again = on_ranks(3, work), on_ranks(3, work)
    assert len({first for first, _, _ in once}) == 3
    assert once[0][1] == again[0][1] == once[2][1]
    for name, array in once[1][2].items():
        np.testing.assert_array_equal(array, again[2][2][name])


# --- Checkpoints -----------------------------------------------------------------------------------------------

STREAMS = {**RUNS["words in streams"][1]}


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (3, 2), (2, 2), (4, 5)])
def test_a_run_goes_on_with_another_number_of_ranks(before: int, after: int, tmp_path: Path) -> None:
    path = tmp_path / "saved.safetensors"
    expected = begun("language", STREAMS)
    steps(expected, 10)

    def first(ranks: Ranks) -> None:
        run = begun("language", STREAMS, ranks)
        steps(run, 4)
        assert run.progress.state is not None
        run.save(path)

    def second(ranks: Ranks) -> tuple[Any, int]:
        run = resume_run(path, nothing, ranks=ranks)
        rows = run.progress.state[0].shape[1]
        steps(run, 6)
        return run.model.state_dict(), rows

    on_ranks(before, first)
    found = on_ranks(after, second)
    for weights, _ in found:
        near(weights, expected.model.state_dict())
    assert sum(rows for _, rows in found) == 6


def test_a_checkpoint_of_ranks_has_what_that_of_one_process_has(tmp_path: Path) -> None:
    def save(ranks: Ranks) -> None:
        run = begun("language", STREAMS, ranks)
        steps(run, 3)
        run.save(tmp_path / f"{ranks.size}.safetensors")

    on_ranks(1, save)
    on_ranks(3, save)
    one, three = (checkpoint.load(tmp_path / f"{size}.safetensors") for size in (1, 3))
    near(three.arrays, one.arrays, 1e-11)
    assert three.meta.keys() - one.meta.keys() == {"noises"} and len(three.meta["noises"]) == 3
    different = {"run", "noise", "noises", "data"}
    assert {k: v for k, v in three.meta.items() if k not in different} == {
        k: v for k, v in one.meta.items() if k not in different
    }


def test_as_many_ranks_go_on_bit_for_bit_with_their_noise(tmp_path: Path) -> None:
    options = {**STREAMS, "dropout": 0.3}

    def straight(ranks: Ranks) -> None:
        run = begun("language", options, ranks)
        steps(run, 3)
        run.save(tmp_path / "middle.safetensors")
        steps(run, 3)
        run.save(tmp_path / "straight.safetensors")

    def resumed(ranks: Ranks) -> None:
        run = resume_run(tmp_path / "middle.safetensors", nothing, ranks=ranks)
        steps(run, 3)
        run.save(tmp_path / "resumed.safetensors")

    on_ranks(2, straight)
    on_ranks(2, resumed)
    one, other = (checkpoint.load(tmp_path / f"{name}.safetensors") for name in ("straight", "resumed"))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)
    assert one.meta == other.meta


def test_another_number_of_ranks_is_told_where_there_is_noise(tmp_path: Path) -> None:
    path, told = tmp_path / "saved.safetensors", list[str]()

    def save(ranks: Ranks) -> None:
        run = begun("classify", {**SMALL, "embedding": 5, "dropout": 0.3}, ranks)
        steps(run, 1)
        run.save(path)

    def resume(ranks: Ranks) -> Any:
        run = resume_run(path, told.append if not ranks.rank else nothing, ranks=ranks)
        return run.noise.bit_generator.state["state"]["state"]

    on_ranks(2, save)
    assert len({*on_ranks(3, resume)}) == 3
    (sentence,) = told
    assert sentence == "The run was of 2 ranks and is of 3 now: the noise of training is drawn otherwise."
    told.clear()
    on_ranks(1, resume)
    assert told == ["The run was of 2 ranks and is of 1 now: the noise of training is drawn otherwise."]


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), st.booleans())
def test_a_carried_state_is_shared_out_and_put_together_again(size: int, rows: int, layers: int, two: bool) -> None:
    rng = np.random.default_rng(0)
    whole = {name: rng.standard_normal((layers, rows, 2)) for name in (["0.0", "1.0"] if two else ["0.0"])}

    def work(ranks: Ranks) -> Any:
        own = own_state(whole, ranks)
        assert bool(own) == (ranks.rank < rows)
        return gathered_state(own, ranks)

    for found in on_ranks(size, work):
        assert found.keys() == whole.keys()
        for name, array in whole.items():
            np.testing.assert_array_equal(found[name], array)
    assert on_ranks(size, lambda ranks: gathered_state({}, ranks)) == [{}] * size


def test_a_carried_state_without_rows_is_refused_by_name() -> None:
    with pytest.raises(RanksError, match=r"along its axis 1.*0\.0 has the shape \(3,\)"):
        on_ranks(2, lambda ranks: own_state({"0.0": np.zeros(3)}, ranks))
    with pytest.raises(RanksError, match=r"0\.0 has the shape \(3,\)"):
        on_ranks(2, lambda ranks: gathered_state({"0.0": np.zeros(3)}, ranks))


# --- Beginning alike -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [{"weights": {"w": np.zeros(2)}}, {"options": {"lr": 2}}, {"tables": {"vocabulary": ["b"]}}]
)
def test_ranks_that_do_not_begin_alike_are_refused(other: dict[str, Any]) -> None:
    known: dict[str, Any] = {"options": {"lr": 1}, "tables": {"vocabulary": ["a"]}, "weights": {"w": np.ones(2)}}
    on_ranks(3, lambda ranks: check_alike(ranks, known))
    (name,) = other
    with pytest.raises(RanksError, match=f"rank 2 begins otherwise than rank 0, with other {name}:"):
        on_ranks(3, lambda ranks: check_alike(ranks, known | (other if ranks.rank == 2 else {})))


def test_ranks_that_read_other_examples_are_refused(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> None:
        path = tmp_path / f"{ranks.rank}.tsv"
        path.write_text("".join(f"{label}\t{label} {i} {ranks.rank}\n" for i in range(20) for label in ("a", "b")))
        begun("classify", {**QUIET, "embedding": 5, "data": str(path)}, ranks)

    with pytest.raises(RanksError, match="rank 1 begins otherwise than rank 0, with other --data:"):
        on_ranks(2, work)


def test_ranks_may_have_other_numbers_of_processors() -> None:
    def work(ranks: Ranks) -> Any:
        run = begun("classify", {**QUIET, "embedding": 5, "threads": ranks.rank + 1}, ranks)
        steps(run, 2)
        return run.model.state_dict()

    one, other = on_ranks(2, work)
    near(one, other)
    with pytest.raises(RanksError, match="with other --lr:"):
        on_ranks(2, lambda ranks: begun("classify", {**QUIET, "embedding": 5, "lr": 0.1 + ranks.rank}, ranks))


def test_a_pipe_is_refused_since_one_process_alone_can_read_it() -> None:
    options = {**LINES, "text": ("-",)}
    with pytest.raises(OptionError, match="--text: - is a pipe, which one process alone can read: name a file"):
        on_ranks(2, lambda ranks: begun("language", options, ranks))


# --- Shares ----------------------------------------------------------------------------------------------------


class SharedStreams(Streams):
    """Says what a rank's rows are: its batches are arrays."""

    def share(self, part: Any, ranks: Ranks) -> Any:
        own = part[:, ranks.rank :: ranks.size]
        return own if own.shape[1] else None


def test_a_task_of_ones_own_whose_batches_are_no_lists_must_say_what_a_rank_gets() -> None:
    options = {"epochs": 5, "batch_size": 4, "dtype": "float32"}
    streams, shared = task_of_class(Streams), task_of_class(SharedStreams)  # Python 3.11 parses in one thread at a time
    with pytest.raises(TaskError, match=r"Streams\.share must say which rows of a batch are a rank's.*ndarray"):
        on_ranks(2, lambda ranks: steps(begun(streams, options, ranks), 1))
    expected = [record.loss for record in steps(begun(shared, options), 20)]

    def work(ranks: Ranks) -> list[float]:
        return [record.loss for record in steps(begun(shared, options, ranks), 20)]

    for losses in on_ranks(3, work):
        assert losses == pytest.approx(expected, rel=1e-4)  # in float32


@given(st.integers(1, 5), st.lists(st.integers(2, 6), min_size=1, max_size=6), st.booleans())
def test_the_rows_of_a_batch_are_shared_out_whole(size: int, lengths: list[int], streams: bool) -> None:
    ids = [np.arange(10 * i + 2, 10 * i + 2 + length) for i, length in enumerate(lengths)]
    made = stream(ids, len(lengths), 4, start=0) if streams else bucketed(ids, len(lengths))
    for batch in made:
        shares = [batch.rows(slice(rank, None, size)) for rank in range(size)]
        assert [share is None for share in shares] == [rank >= batch.inputs.shape[1] for rank in range(size)]
        there = [share for share in shares if share is not None]
        assert sum(share.tokens for share in there) == batch.tokens
        for rank, share in enumerate(there):
            assert share.lengths is None or len(share.inputs) == share.lengths.max(), "no longer than need be"
            for row in range(share.inputs.shape[1]):
                column = rank + row * size
                until = len(share.inputs) if share.lengths is None else int(share.lengths[row])
                for own, whole in zip(_arrays(share), _arrays(batch), strict=True):
                    np.testing.assert_array_equal(own[:until, row], whole[:until, column])


def _arrays(batch: Batch) -> tuple[Any, ...]:
    return batch.inputs, batch.targets, batch.weights


# --- To the end ------------------------------------------------------------------------------------------------


class Telling(Listener):
    """Notes what it is told; fails at a step."""

    def __init__(self, fail_at: int = 0) -> None:
        self.fail_at, self.told = fail_at, list[int]()
        self.better: list[bool] = []

    def step(self, record: Record) -> None:
        self.told.append(record.step)
        if record.step == self.fail_at:
            raise OSError("no space")

    def evaluation(self, record: Record, found: Evaluation, better: bool) -> None:
        self.better.append(better)


def classified(ranks: Ranks, **options: Any) -> Run:
    return begun("classify", {**QUIET, "embedding": 5, "evaluate_every": 3, "patience": 100, **options}, ranks)


def test_ranks_end_after_the_same_step_with_the_files_of_one_process(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> tuple[str, list[bool], int]:
        run, listener = classified(ranks, epochs=2, batch_size=40), Telling()
        why = train_run(run, tmp_path / str(ranks.size), listener)
        return why, listener.better, run.progress.step

    for size in (1, 3):
        (tmp_path / str(size)).mkdir()
    (expected,), found = on_ranks(1, work), on_ranks(3, work)
    expected_why, better, last = expected
    assert found[0] == expected and expected_why == "2 epochs done" and better
    assert [(why, step) for why, _, step in found] == [(expected_why, last)] * 3
    for name in (BEST, LAST):
        one, three = (checkpoint.load(tmp_path / str(size) / name) for size in (1, 3))
        near(three.part("model"), one.part("model"))
        assert three.meta["progress"] == one.meta["progress"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_rank_ends_all_after_the_same_step_saved(
    number: signal.Signals, tmp_path: Path, monkeypatch: Any
) -> None:
    asked = dict.fromkeys(range(2), 0)

    def with_signal(ranks: Ranks, own: Asked) -> Asked:
        asked[ranks.rank] += 1
        came = number if ranks.rank == 1 and asked[1] == 4 else 0
        return agreed(ranks, Asked(came, own.failed, own.late, own.waited))

    def work(ranks: Ranks) -> tuple[Any, int]:
        run = classified(ranks, evaluate_every=100)
        try:
            return train_run(run, tmp_path, Listener()), run.progress.step
        except SystemExit as end:
            return end.code, run.progress.step

    monkeypatch.setattr("tinygrad_rnn.training.driving.agreed", with_signal)
    how = "interrupted" if number == signal.SIGINT else 128 + signal.SIGTERM
    assert on_ranks(2, work) == [(how, 4)] * 2
    assert checkpoint.load(tmp_path / LAST).meta["progress"]["step"] == 4


def test_what_fails_in_rank_0_is_saved_by_all_and_raised(tmp_path: Path) -> None:
    def work(ranks: Ranks) -> tuple[str, list[int]]:
        run, listener = classified(ranks), Telling(0 if ranks.rank else 2)
        try:
            train_run(run, tmp_path, listener)
        except (OSError, RanksError) as error:
            return str(error), listener.told
        return "", []

    assert on_ranks(2, work) == [("no space", [1, 2]), ("rank 0 could not tell of a step", [1, 2])]
    assert checkpoint.load(tmp_path / LAST).meta["progress"]["step"] == 2


@given(st.lists(st.tuples(st.integers(0, 15), *[st.booleans()] * 3), min_size=2, max_size=4))
def test_ranks_agree_on_what_any_was_asked_by_the_clock_of_the_first(asked: list[Any]) -> None:
    own = [Asked(*each) for each in asked]
    expected = Asked(max(each.signal for each in own), any(each.failed for each in own), own[0].late, own[0].waited)
    assert on_ranks(len(own), lambda ranks: agreed(ranks, own[ranks.rank])) == [expected] * len(own)
    assert agreed(ONE_PROCESS, own[0]) is own[0]


def test_one_process_is_what_it_was(tmp_path: Path) -> None:
    """A run of a process by itself, and one that says so."""
    one, other = classified(ONE_PROCESS), classified(Ranks())
    steps(one, 2)
    steps(other, 2)
    same(one, other, tmp_path)
