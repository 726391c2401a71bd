"""What trace() takes down is what happened, and its gradients are the derivatives by it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import LooksAtNumbers

import tinygrad_rnn as tg
from tinygrad_rnn import Parameter, Tensor, ops, trace
from tinygrad_rnn.loops.placeholders import CannotRecord
from tinygrad_rnn.models import GRU, LSTM, RNN, Cell, LanguageModel, Recurrent
from tinygrad_rnn.models.variants import MinGRUCell, MultiplicativeLSTMCell, PeepholeLSTMCell, RANCell

T, B, INPUTS, H = 6, 3, 2, 4
XS = np.random.default_rng(0).standard_normal((T, B, INPUTS))
WEIGHTS = np.random.default_rng(1).standard_normal((T, B, 2 * H))


def made(kind: Any, **options: Any) -> Any:
    layer = kind(INPUTS, H, dtype=np.float64, rng=np.random.default_rng(2), **options)
    for p in layer.parameters():
        p.data = p.data + 0.3 * np.random.default_rng(3).standard_normal(p.shape)
    return layer


def of(cell: type[Cell]) -> Any:
    return lambda *sizes, **options: Recurrent(cell, *sizes, **options)


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def test_the_gates_and_states_of_an_lstm_are_those_of_its_equations() -> None:
    layer = made(LSTM)
    with trace() as tr:
        outputs, (last_h, last_c) = layer(Tensor(XS))
    cell = layer.cells[0]
    h = c = np.zeros((B, H))
    for t, x in enumerate(XS):
        pre = {n: x @ getattr(cell, n).U.data + getattr(cell, n).b.data + h @ getattr(cell, n).W.data for n in "ifog"}
        gate = {n: np.tanh(a) if n == "g" else sigmoid(a) for n, a in pre.items()}
        c = gate["f"] * c + gate["i"] * gate["g"]
        h = gate["o"] * np.tanh(c)
        for n in "ifog":
            np.testing.assert_allclose(tr[f"0.forward.{n}"][t], gate[n], rtol=1e-12)
            np.testing.assert_allclose(tr[f"0.forward.{n}.pre"][t], pre[n], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(tr["0.forward.h"][t], h, rtol=1e-12)
        np.testing.assert_allclose(tr["0.forward.c"][t], c, rtol=1e-12)
    np.testing.assert_array_equal(tr["0.forward.h"], outputs.numpy())
    np.testing.assert_array_equal(tr["0.forward.c"][-1], last_c.numpy()[0])
    assert last_h.shape == (1, B, H)


def test_a_gate_that_a_cell_takes_apart_is_the_activation_after_it() -> None:
    layer = made(GRU)
    with trace() as tr:
        layer(Tensor(XS))
    z, n, h = (tr[f"0.forward.{name}"] for name in "znh")
    before = np.concatenate([np.zeros((1, B, H)), h[:-1]])
    np.testing.assert_allclose(h, (1 - z) * n + z * before, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(n, np.tanh(tr["0.forward.n.pre"]), rtol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}, {"truncate": 2}, {"checkpoint_every": 4}],
)
@pytest.mark.parametrize("kind", [LSTM, RNN])
@pytest.mark.parametrize("lengths", [None, np.array([6, 2, 0])])
def test_sums_of_a_gates_gradients_are_those_of_its_weights(
    kind: Any, options: dict[str, Any], compiled: bool, lengths: Any
) -> None:
    layer = made(kind, **options)
    xs = Tensor(XS, requires_grad=True)
    with trace() as tr, tg.compiled(compiled):
        outputs, _ = layer(xs, lengths=lengths)
    (outputs * WEIGHTS[..., : outputs.shape[2]]).sum().backward()
    below = XS if lengths is None else np.where(np.arange(T)[:, None, None] < lengths[:, None], XS, 0)
    for number in range(layer.num_layers):
        sides = ["forward", "backward"][: layer.directions]
        for k, side in enumerate(sides):
            cell = layer.cells[number * layer.directions + k]
            h = tr[f"{number}.{side}.h"]
            start = np.zeros((1, B, H))
            before = np.concatenate([h[1:], start] if side == "backward" else [start, h[:-1]])
            for name in cell.gates.split():
                gate, g = getattr(cell, name), tr.gradients[f"{number}.{side}.{name}.pre"]
                np.testing.assert_allclose(g.sum(axis=(0, 1)), gate.b.grad, rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(np.einsum("tbi,tbh->ih", below, g), gate.U.grad, rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(np.einsum("tbi,tbh->ih", before, g), gate.W.grad, rtol=1e-9, atol=1e-12)
                a = tr[f"{number}.{side}.{name}"]
                slope = 1 - a * a if name in "gn" else a * (1 - a)
                whole = tr.gradients[f"{number}.{side}.{name}"]
                np.testing.assert_allclose(g, whole * slope, rtol=1e-9, atol=1e-12)
        parts = [tr[f"{number}.{side}.h"] for side in sides]
        below = np.concatenate(parts, axis=2)
        if lengths is not None:
            below = np.where(np.arange(T)[:, None, None] < lengths[:, None], below, 0)


def test_tracing_changes_neither_results_nor_gradients() -> None:
    results = []
    for traced in (False, True):
        layer, xs = made(of(PeepholeLSTMCell)), Tensor(XS, requires_grad=True)
        if traced:
            with trace():
                outputs, _ = layer(xs)
        else:
            outputs, _ = layer(xs)
        (outputs * outputs).sum().backward()
        results.append([outputs.numpy(), xs.grad, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


class Tagged(Cell):
    gates = "n h"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        n = ops.tanh(self.n(x, h))
        twice = tg.tag("twice", n * 2)
        return ops.sigmoid(self.h(x, h)) * twice


def test_tags_and_gates_of_a_states_name_have_names_of_their_own() -> None:
    layer = made(of(Tagged))
    with trace() as tr:
        outputs, _ = layer(Tensor(XS))
    np.testing.assert_array_equal(tr["0.forward.twice"], 2 * tr["0.forward.n"])
    np.testing.assert_allclose(tr["0.forward.h.gate"] * tr["0.forward.twice"], tr["0.forward.h"], rtol=1e-12)
    outputs.sum().backward()
    np.testing.assert_allclose(2 * tr.gradients["0.forward.twice"], tr.gradients["0.forward.n"], rtol=1e-12)
    value = Tensor(1.0)
    assert tg.tag("outside", value) is value


class Rectified(Cell):
    gates = "g n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return ops.tanh(ops.relu(self.g(x, h)) * h + self.n(x, h))


class Twice(Cell):
    gates = "n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        h = ops.tanh(self.n(x, h))
        return ops.sigmoid(self.n(x, h))


class InOne(Cell):
    """Two gates as one sum, and attention whose query is a gate: what is squashed is no gate."""

    def setup(self) -> None:
        self.both, self.query = self.new_gate("both", "xh", 2 * self.hidden_size), self.new_gate("query")
        self.keys = Parameter(np.eye(self.hidden_size)[:2])

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        total, H = self.both(x, h), self.hidden_size
        read = ops.softmax(self.query(x, h) @ self.keys.T, axis=-1) @ self.keys
        return ops.sigmoid(total[:, :H]) * h + ops.tanh(total[:, H:] + read)


def test_a_gate_that_is_cut_into_parts_or_asks_for_something_is_traced_as_its_sum() -> None:
    model = made(of(InOne))
    with trace() as tr:
        model(Tensor(XS))
    assert set(tr) == {"0.forward.both", "0.forward.query", "0.forward.h"}
    cell = model.cells[0]
    before = np.concatenate([np.zeros_like(tr["0.forward.h"][:1]), tr["0.forward.h"][:-1]])
    for gate in (cell.both, cell.query):
        expected = XS @ gate.U.data + gate.b.data + before @ gate.W.data
        np.testing.assert_allclose(tr[f"0.forward.{gate.name}"], expected, rtol=1e-12, atol=1e-12)


class Rounds(Cell):
    def setup(self) -> None:
        self.q = [self.new_gate("q") for _ in range(2)]

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        for gate in self.q:
            h = ops.tanh(gate(x, h))
        return h


class Nested(Cell):
    gates = "n"

    def setup(self) -> None:
        self.inner = Rectified(self.input_size, self.hidden_size, dtype=self.dtype, rng=self.rng)

    def step(self, x: Tensor, h: Tensor) -> Any:
        return ops.tanh(self.n(x, self.inner.step(x, h)))


@pytest.mark.parametrize(("cell", "gates"), [(Rounds, ("q.0", "q.1")), (Nested, ("n", "inner.n", "inner.g"))])
def test_gates_of_one_name_are_traced_by_the_path_that_their_parameters_have(cell: type[Cell], gates: Any) -> None:
    model = made(of(cell))
    with trace() as tr:
        model(Tensor(XS))
    assert {f"0.forward.{name}" for name in gates} <= set(tr)
    names = [gate.name for gate in model.cells[0].all_gates()]
    assert sorted(names) == sorted(gates)
    assert {f"{name}.U" for name in gates} <= {p.name for p in model.parameters()}


def test_a_gate_may_be_rectified_or_used_twice_or_never_be_a_sum() -> None:
    def traced(cell: type[Cell]) -> Any:
        with trace() as tr:
            made(of(cell))(Tensor(XS))
        return tr

    tr = traced(Rectified)
    np.testing.assert_array_equal(tr["0.forward.g"], np.maximum(tr["0.forward.g.pre"], 0))
    assert set(traced(Twice)) == {f"0.forward.{name}" for name in ("n", "n.pre", "n.2", "n.2.pre", "h")}
    np.testing.assert_array_equal(traced(Twice)["0.forward.n.2"], traced(Twice)["0.forward.h"])
    tr = traced(MultiplicativeLSTMCell)
    assert {"0.forward.m.input", "0.forward.m.recurrent"} <= set(tr)
    cell = made(of(MultiplicativeLSTMCell)).cells[0]
    expected = XS @ cell.m.U.data + cell.m.b.data
    np.testing.assert_allclose(tr["0.forward.m.input"], expected, rtol=1e-12)


class Repeated(Cell):
    """A gate that is used several times, and that nothing squashes."""

    gates = "f"

    def setup(self, uses: int) -> None:
        self.uses = uses

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        for _ in range(self.uses):
            h = h + 0.1 * x[:, :1] * self.f(x, h)
        return h


class RepeatedWithoutInputs(Repeated):
    gates = "f:h"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        for _ in range(self.uses):
            h = h + 0.1 * x[:, :1] * self.f(h)
        return h


@pytest.mark.parametrize("cell", [Repeated, RepeatedWithoutInputs])
@pytest.mark.parametrize("uses", [1, 2, 3])
def test_every_use_of_a_gate_that_nothing_squashes_is_its_sum(uses: int, cell: type[Cell]) -> None:
    layer = made(of(cell), uses=uses)
    f = layer.cells[0].f
    with trace() as tr:
        layer(Tensor(XS))
    names = [f"0.forward.{name}" for name in ("f", "f.2", "f.3")[:uses]]
    assert set(tr) == {*names, "0.forward.h"}
    before = np.concatenate([np.zeros((1, B, H)), tr["0.forward.h"][:-1]])
    for name in names:
        expected = before @ f.W.data + f.b.data + (XS @ f.U.data if "x" in f.reads else 0)
        np.testing.assert_allclose(tr[name], expected, rtol=1e-12, atol=1e-12)
        before = before + 0.1 * XS[:, :, :1] * expected


class Halves(Cell):
    """Chang et al. 2019, equations 14 and 15: z has no matrix of its own."""

    gates = "z:x n"

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        n = self.n.with_recurrent(self.n.W - self.n.W.T)
        product = n.recurrent(h)
        return h + 0.1 * ops.sigmoid(self.z(x) + product) * ops.tanh(n.input(x) + product)


def test_the_activation_of_a_gate_whose_half_another_one_reads_too_is_that_behind_both_halves() -> None:
    layer = made(of(Halves))
    with trace() as tr:
        layer(Tensor(XS))
    assert set(tr) == {f"0.forward.{name}" for name in ("z", "z.pre", "n", "n.pre", "h")}
    n, before = layer.cells[0].n, np.concatenate([np.zeros((1, B, H)), tr["0.forward.h"][:-1]])
    total = XS @ n.U.data + n.b.data + before @ (n.W.data - n.W.data.T)
    np.testing.assert_allclose(tr["0.forward.n.pre"], total, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(tr["0.forward.n"], np.tanh(total), rtol=1e-12, atol=1e-12)


def test_a_gate_without_an_activation_is_its_sum() -> None:
    layer = made(of(MinGRUCell))
    with trace() as tr:
        layer(Tensor(XS))
    assert list(tr) == ["0.forward.z", "0.forward.z.pre", "0.forward.n", "0.forward.h"]
    cell = layer.cells[0]
    np.testing.assert_allclose(tr["0.forward.n"], XS @ cell.n.U.data + cell.n.b.data, rtol=1e-12, atol=1e-12)


def test_a_gates_activation_is_not_looked_for_behind_a_state_or_a_product() -> None:
    layer = made(of(RANCell))
    with trace() as tr:
        layer(Tensor(XS))
    cell = layer.cells[0]
    np.testing.assert_allclose(tr["0.forward.n"], XS @ cell.n.U.data + cell.n.b.data, rtol=1e-12, atol=1e-12)
    with trace() as tr:
        made(of(MultiplicativeLSTMCell))(Tensor(XS))
    assert not {"0.forward.m", "0.forward.m.pre"} & set(tr)


def test_the_sum_of_a_gate_is_its_own_without_what_the_cell_adds() -> None:
    layer = made(of(PeepholeLSTMCell))
    with trace() as tr:
        layer(Tensor(XS))
    i = layer.cells[0].i
    before = np.concatenate([np.zeros((1, B, H)), tr["0.forward.h"][:-1]])
    total = XS @ i.U.data + i.b.data + before @ i.W.data
    np.testing.assert_allclose(tr["0.forward.i.pre"], total, rtol=1e-12, atol=1e-12)


def test_several_networks_in_one_model_are_told_apart_and_a_second_call_replaces_the_first() -> None:
    first, second = made(RNN), made(LSTM)
    with trace() as tr:
        first(Tensor(XS))
        second(Tensor(XS))
        first(Tensor(-XS))
    assert {name.split(".")[0] for name in tr} == {"0", "1/0"}
    with trace() as again:
        first(Tensor(-XS))
    np.testing.assert_array_equal(tr["0.forward.h"], again["0.forward.h"])


def test_nothing_is_traced_outside_and_without_a_tape_there_are_values_only() -> None:
    layer = made(GRU)
    with trace() as tr, tg.no_grad():
        layer(Tensor(XS))
    layer(Tensor(2 * XS))
    with trace() as fresh:
        layer(Tensor(XS))
    np.testing.assert_array_equal(tr["0.forward.h"], fresh["0.forward.h"])
    for each in (tr, fresh):
        with pytest.raises(RuntimeError, match=r"there are no gradients yet: call backward\(\)"):
            _ = each.gradients
    with pytest.raises(KeyError, match=r"nothing was traced as '0.z', only 0.forward.z, "):
        tr["0.z"]
    assert repr(tr).splitlines()[0] == "0.forward.z              (6, 3, 4)"


def test_a_step_that_looks_at_numbers_cannot_be_traced_and_says_so() -> None:
    layer = made(of(LooksAtNumbers))
    with trace(), pytest.raises(CannotRecord, match=r"LooksAtNumbers.step cannot be traced, because the step looks"):
        layer(Tensor(XS))


def test_a_language_model_is_traced_as_it_is() -> None:
    model = LanguageModel(7, 3, 4, num_layers=2, rng=np.random.default_rng(0))
    ids = np.random.default_rng(1).integers(0, 7, (5, 2))
    with trace() as tr:
        model(ids)
    assert {name.rsplit(".", 1)[0] for name in tr} >= {"0.forward", "1.forward"}
    assert all(value.shape == (5, 2, 4) and value.dtype == np.float32 for value in tr.values())


def test_an_npz_file_holds_values_and_gradients(tmp_path: Path) -> None:
    layer = made(GRU)
    with trace() as tr:
        outputs, _ = layer(Tensor(XS))
    tr.save_npz(tmp_path / "values")
    outputs.sum().backward()
    tr.save_npz(tmp_path / "both")
    with np.load(tmp_path / "values") as file:
        assert set(file) == set(tr)
    with np.load(tmp_path / "both") as file:
        for name in tr:
            np.testing.assert_array_equal(file[name], tr[name])
            np.testing.assert_array_equal(file[f"gradient of {name}"], tr.gradients[name])


def test_an_hdf5_file_holds_a_matrix_for_each_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    layer = made(GRU)
    with trace() as tr:
        layer(Tensor(XS))
    tr.save_hdf5(tmp_path / "states.hdf5")
    with h5py.File(tmp_path / "states.hdf5") as file:
        for name in tr:
            np.testing.assert_array_equal(file[name][:T], tr[name][:, 0])
            np.testing.assert_array_equal(file[name][T : 2 * T], tr[name][:, 1])


def test_without_h5py_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with trace() as tr:
        made(GRU)(Tensor(XS))
    with pytest.raises(ModuleNotFoundError, match=r"save_hdf5 needs h5py, .* pip install 'tinygrad-rnn\[hdf5\]'"):
        tr.save_hdf5(tmp_path / "states.hdf5")


def test_a_plot_shows_units_over_steps_from_0_to_1_or_around_0() -> None:
    pytest.importorskip("matplotlib").use("agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    layer = made(LSTM)
    with trace() as tr:
        layer(Tensor(XS))
    figure = tr.plot("0.forward.f", "0.forward.c", row=1, columns=list("abcdef"))
    gate, cell = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in (gate, cell)] == ["0.forward.f", "0.forward.c"]
    assert [label.get_text() for label in gate.get_xticklabels()] == list("abcdef")
    for axes, name in ((gate, "0.forward.f"), (cell, "0.forward.c")):
        np.testing.assert_array_equal(axes.images[0].get_array(), tr[name][:, 1].T)
    most = np.abs(tr["0.forward.c"][:, 1]).max()
    assert (gate.images[0].get_clim(), cell.images[0].get_clim()) == ((0, 1), (-most, most))
    titles = {axes.get_title() for axes in tr.plot().axes if axes.get_title()}
    assert titles == {f"0.forward.{name}" for name in "ifoghc"}
    plt.close("all")
    with trace() as empty, pytest.raises(ValueError, match="there is nothing to draw"):
        empty.plot()


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with trace() as tr:
        made(GRU)(Tensor(XS))
    with pytest.raises(ModuleNotFoundError, match=r"a picture needs matplotlib, .* pip install 'tinygrad-rnn\[plot\]'"):
        tr.plot()
