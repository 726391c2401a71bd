"""Notes: what a step says beside its states and its output; a layer stacks them, and fit adds them to the loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import SUMS

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor, check_cell, ops
from tinygrad_rnn.cli import main
from tinygrad_rnn.models import Cell, GRUCell, Linear, Module, Recurrent
from tinygrad_rnn.models.variants import AdaptiveTimeCell
from tinygrad_rnn.optim import SGD
from tinygrad_rnn.training import fit
from tinygrad_rnn.training.options import OptionError, TrainingOptions

T, B, H = 5, 3, 4


class Noting(Cell):
    """A plain cell that notes the mean square of its state, and twice the state."""

    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        h = ops.tanh(self.n(x, h))
        self.note("energy", ops.square(h).mean(axis=-1))
        return self.note("twice", 2.0 * h) / 2.0


class NotingMore(Noting):
    def step(self, x: Tensor, h: Tensor) -> Any:
        h = super().step(x, h)
        self.note("more", h[:, 0])
        return h


def draw(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape)


def layer_of(cell: Any = Noting, **options: Any) -> Recurrent:
    return Recurrent(cell, 2, H, dtype=np.float64, rng=np.random.default_rng(1), **options)


def test_notes_are_a_third_value_where_they_are_asked_for() -> None:
    layer, xs = layer_of(), draw(T, B, 2)
    outputs, state, notes = layer(xs, notes=True)
    assert set(notes) == {"energy", "twice"}
    np.testing.assert_allclose(notes["twice"].numpy()[0], 2 * outputs.numpy(), rtol=1e-12)
    np.testing.assert_allclose(notes["energy"].numpy()[0], np.square(outputs.numpy()).mean(axis=-1), rtol=1e-12)
    plain, same = layer(xs)
    np.testing.assert_array_equal(plain.numpy(), outputs.numpy())
    np.testing.assert_array_equal(same[0].numpy(), state[0].numpy())
    assert GRUCell(2, 3).step is not None and layer_of(GRUCell)(xs, notes=True)[2] == {}


@settings(max_examples=25)
@given(
    st.integers(1, 3), st.booleans(), st.lists(st.integers(0, T), min_size=1, max_size=B), st.booleans(), st.booleans()
)
def test_notes_are_stacked_over_cells_and_zero_in_padding(
    layers: int, bidirectional: bool, lengths: list[int], compiled: bool, recording: bool
) -> None:
    layer, rows = layer_of(num_layers=layers, bidirectional=bidirectional), np.array(lengths)
    xs = draw(T, len(rows), 2)
    with tg.compiled(compiled), tg.recording(recording):
        _, _, notes = layer(xs, lengths=rows, notes=True)
        if not rows.any():
            assert notes == {}
            return
        energy = notes["energy"].numpy()
        assert energy.shape == (layers * layer.directions, T, len(rows))
        for b, length in enumerate(rows):
            assert not energy[:, length:, b].any()
            if length:
                alone = layer(xs[:length, b : b + 1], notes=True)[2]["energy"].numpy()
                np.testing.assert_allclose(energy[:, :length, b], alone[..., 0], rtol=1e-12, atol=1e-15)


def test_a_note_has_a_gradient() -> None:
    layer, xs = layer_of(), draw(T, B, 2)
    layer(xs, notes=True)[2]["energy"].sum().backward()
    noted = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    (ops.square(layer(xs)[0]).sum() / H).backward()
    for a, b in zip(noted, (p.grad for p in layer.parameters()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_notes_of_cells_that_differ_are_stacked_over_those_that_have_them() -> None:
    _, _, notes = Recurrent([Noting, NotingMore, GRUCell], 2, [3, 3, 4])(draw(T, B, 2).astype(np.float32), notes=True)
    assert notes["energy"].shape == (2, T, B) and notes["more"].shape == (1, T, B)
    _, _, notes = Recurrent(Noting, 2, [3, 4])(draw(T, B, 2).astype(np.float32), notes=True)
    assert [part.shape for part in notes["twice"]] == [(T, B, 3), (T, B, 4)]


def test_a_note_is_traced_and_does_nothing_else_elsewhere() -> None:
    layer, xs = layer_of(), draw(T, B, 2)
    with tg.trace() as tr:
        outputs, _ = layer(xs)
    np.testing.assert_allclose(tr["0.forward.twice"], 2 * outputs.numpy(), rtol=1e-12)
    cell = layer.cells[0]
    np.testing.assert_allclose(cell(Tensor(xs[0])).numpy(), outputs.numpy()[0], rtol=1e-12)
    assert check_cell(Noting, show=False).passed


class NotesTwice(Noting):
    def step(self, x: Tensor, h: Tensor) -> Any:
        h = super().step(x, h)
        self.note("energy", h[:, 0])
        return h


class NotesANumber(Noting):
    def step(self, x: Tensor, h: Tensor) -> Any:
        self.note("energy", 1.0)  # type: ignore[arg-type]  # what is wrong with it
        return h


def test_what_is_no_note_is_refused() -> None:
    with pytest.raises(ValueError, match=r"NotesTwice\.note: the step notes 'energy' twice"):
        layer_of(NotesTwice)(draw(T, B, 2), notes=True)
    with pytest.raises(TypeError, match=r"NotesANumber\.note: 'energy' must be a Tensor .* got float"):
        layer_of(NotesANumber)(draw(T, B, 2))


def test_the_ponder_of_a_step_is_noted_as_its_paper_counts_it() -> None:
    layer = layer_of(AdaptiveTimeCell)
    _, _, notes = layer(draw(T, B, 2), notes=True)
    assert notes["ponder"].shape == (1, T, B) and (notes["ponder"].numpy() > 1).all()


# --- Penalties -------------------------------------------------------------------------------------------------


class Learner(Module):
    """The mean square of a linear map of what a layer of noting cells puts out."""

    def __init__(self, cell: Any = Noting, layers: int = 1) -> None:
        self.recurrent, self.linear = layer_of(cell, num_layers=layers), Linear(H, 1, dtype=np.float64)

    def batch_loss(self, batch: Any, rng: Any, state: Any, reduction: Any) -> Any:
        xs, lengths = batch
        outputs, _ = self.recurrent(xs, lengths=lengths)
        return ops.mse(self.linear(outputs), np.ones((T, B, 1))), T * B, None


BATCH = (draw(T, B, 2), np.array([5, 3, 4]))


def one_step(model: Learner, **options: Any) -> Any:
    return next(fit(model, SGD(model.parameters(), lr=0.5), lambda epoch: [BATCH], **options))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_penalty_adds_its_weight_times_the_mean_of_what_counts(layers: int) -> None:
    model, by_hand = Learner(layers=layers), Learner(layers=layers)
    record = one_step(model, penalties={"energy": 0.3, "twice": -0.1})
    outputs, _, notes = by_hand.recurrent(BATCH[0], lengths=BATCH[1], notes=True)
    count = int(BATCH[1].sum())
    energy, twice = notes["energy"].sum() / count, notes["twice"].sum() / (count * H)
    loss = ops.mse(by_hand.linear(outputs), np.ones((T, B, 1)))
    (loss + 0.3 * energy - 0.1 * twice).backward()
    SGD(by_hand.parameters(), lr=0.5).step()
    for (name, a), (_, b) in zip(model.named_parameters(), by_hand.named_parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, err_msg=name)
    assert record.loss == pytest.approx(loss.item())  # without the penalty
    assert record.penalties == pytest.approx({"energy": energy.item(), "twice": twice.item()})


def test_without_penalties_nothing_is_noted() -> None:
    assert one_step(Learner()).penalties == {}


def test_a_penalty_of_what_nothing_notes_is_refused_with_what_is_noted() -> None:
    with pytest.raises(ValueError, match="no step of a cell notes 'ponder'; what is noted: energy, twice"):
        one_step(Learner(), penalties={"ponder": 0.1})


@pytest.mark.parametrize("text", ["ponder", "ponder=", "ponder=x", "ponder=inf", "=1", "a b=1"])
def test_an_option_that_is_no_penalty_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"penalty must be NAME=WEIGHT, as in ponder=0\.001, each name once"):
        TrainingOptions(penalty=(text,))
    with pytest.raises(OptionError, match="each name once"):
        TrainingOptions(penalty=("a=1", "a=2"))


CELL = """
from tinygrad_rnn.models import Cell
from tinygrad_rnn.ops import square, tanh

class Thrifty(Cell):
    gates = "n"
    def step(self, x, h):
        h = tanh(self.n(x, h))
        self.note("energy", square(h).mean(axis=-1))
        return h
"""


def test_a_run_with_a_penalty_logs_it_lowers_it_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(CELL, encoding="utf-8")
    Path("sums.py").write_text(SUMS, encoding="utf-8")

    def run(*args: str) -> Any:
        return CliRunner().invoke(main, ["train", "sums.py:Sums", *args])

    energies = {}
    for weight in ("0", "30"):
        small = [
            "--cell",
            "own.py:Thrifty",
            "--hidden",
            "6",
            "--epochs",
            "20",
            "--lr",
            "0.02",
            "--penalty",
            f"energy={weight}",
        ]
        result = run(*small, "--out", weight)
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in Path(weight, "log.jsonl").read_text(encoding="utf-8").splitlines()]
        energies[weight] = [line["penalty energy"] for line in lines if line["event"] == "step"][-1]
    assert energies["30"] < energies["0"] / 2
    resumed = run("--resume", "30/last.safetensors", "--epochs", "21", "--trust")
    assert resumed.exit_code == 0, resumed.output
    last = Path("30", "log.jsonl").read_text(encoding="utf-8").splitlines()[-2]
    assert "penalty energy" in json.loads(last)
    refused = run("--cell", "own.py:Thrifty", "--penalty", "ponder=1", "--epochs", "1")
    assert refused.exit_code == 2 and "no step of a cell notes 'ponder'; what is noted: energy" in refused.output
