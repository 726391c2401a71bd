"""Weights of recurrent layers as PyTorch and Keras lay them out, and back, in plain NumPy arrays.

The layouts, gate orders and equations are those of the documentation of torch.nn.RNN, torch.nn.GRU and torch.nn.LSTM
(https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers) and of keras.layers.SimpleRNN, GRU, LSTM and
Bidirectional (https://keras.io/api/layers/recurrent_layers/). Neither library is imported.

A converted layer computes the same outputs and states, or is refused: both libraries lack `residual`, `zoneout` and
this `gate="hard_sigmoid"` (Keras 3 has another one), and PyTorch lacks `reset="before"` and layers of different sizes.
`update="write"` is converted by negating the weights of z, since sigmoid(-a) = 1 - sigmoid(a)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray, device_of, to_device, to_host
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells import GRUCell, LSTMCell, RNNCell
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.models.variants import ProjectedLSTMCell
from tinygrad_rnn.tensor import Parameter

Pairs = list[tuple[Parameter, HostArray]]

_ORDERS: dict[str, dict[type[Cell], str]] = {  # the gates, as their weights are stacked; Keras calls g c, and n h
    "PyTorch": {RNNCell: "n", GRUCell: "rzn", LSTMCell: "ifgo", ProjectedLSTMCell: "ifgo"},
    "Keras": {RNNCell: "n", GRUCell: "zrn", LSTMCell: "ifgo"},
}
_TORCH_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_KERAS_NAMES = ("kernel", "recurrent_kernel", "bias")


def to_torch(layer: Recurrent) -> dict[str, HostArray]:
    """The state_dict of the torch.nn.RNN, GRU or LSTM that computes the same as `layer`: copies, in its dtype.

    Give that module the same sizes, `num_layers`, `bidirectional` and `nonlinearity`; for ProjectedLSTMCell hidden_size
    is M = `memory_size` and proj_size is H = `hidden_size`.

    Args:
        layer: a Recurrent whose cells are RNNCell, GRUCell, LSTMCell or ProjectedLSTMCell.

    Returns:
        For each layer and direction, G gates of M units (M = H but for ProjectedLSTMCell): weight_ih_l0 (G*M,I),
        weight_hh_l0 (G*M,H), bias_ih_l0 and bias_hh_l0 (G*M,), weight_hr_l0 (H,M) where there is a projection, and so
        on for ..._l0_reverse, ..._l1. bias_hh is 0 but for the c of a GRU made with `recurrent_bias=True`.

    Raises:
        TypeError: for what is no Recurrent.
        ValueError: for one that PyTorch lacks.

    Example:
        >>> from tinygrad_rnn.models.conversions import to_torch
        >>> {name: array.shape for name, array in to_torch(models.LSTM(2, 3)).items()}
        {'weight_ih_l0': (12, 2), 'weight_hh_l0': (12, 3), 'bias_ih_l0': (12,), 'bias_hh_l0': (12,)}
    """
    state_dict: dict[str, HostArray] = {}
    for (cell, order), suffix in zip(_ordered(layer, "PyTorch"), _suffixes(layer), strict=True):
        arrays = zip(_TORCH_NAMES, _stacked(cell, order), strict=True)
        state_dict |= {f"{name}_{suffix}": array.T.copy() for name, array in arrays}
        if isinstance(cell, ProjectedLSTMCell):
            state_dict[f"weight_hr_{suffix}"] = to_host(cell.P.data).T.copy()
    return state_dict


def from_torch(layer: Recurrent, state_dict: Mapping[str, Any]) -> None:
    """Sets the weights of `layer` to those of a torch.nn.RNN, GRU or LSTM. The layer keeps its dtype and device.

    The two biases are added, but for the candidate of a GRU: its bias_hh needs `recurrent_bias=True` unless it is 0.

    Args:
        layer: a Recurrent of the same sizes.
        state_dict: NumPy arrays or PyTorch's tensors, under the names and in the shapes that `to_torch(layer)` has.

    Raises:
        TypeError: for what is no floating array. Nothing is changed then.
        ValueError: for a layer that PyTorch lacks and for names, shapes and biases that do not fit. Nothing is changed
            then.

    Example:
        >>> from tinygrad_rnn.models.conversions import from_torch, to_torch
        >>> theirs, ours = to_torch(models.GRU(2, 3)), models.GRU(2, 3, rng=rng)
        >>> from_torch(ours, theirs)
    """
    own = to_torch(layer)
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping of names to arrays, got {type(state_dict).__name__}")
    missing, unexpected = sorted(own.keys() - state_dict.keys()), sorted(state_dict.keys() - own.keys(), key=str)
    if missing or unexpected:
        hint = ""
        before = [str(name).removesuffix(end) for name in unexpected for end in missing if str(name).endswith(end)]
        if before:
            hint = f"; are the names without {before[0]!r} meant?"
        elif not unexpected and all(name.startswith("bias") for name in missing):
            hint = "; of a layer without biases they are zeros, to be added"
        raise ValueError(
            f"state_dict must have the {len(own)} names of to_torch(layer), got one with {missing} missing and "
            f"{unexpected} unexpected{hint}"
        )
    given = {name: _array(f"state_dict[{name!r}]", state_dict[name], mine.shape) for name, mine in own.items()}
    pairs: Pairs = []
    for (cell, order), suffix in zip(_ordered(layer, "PyTorch"), _suffixes(layer), strict=True):
        stacked = [given[f"{name}_{suffix}"].T for name in _TORCH_NAMES]
        pairs += _split(cell, order, stacked, f"state_dict['bias_hh_{suffix}']")
        if isinstance(cell, ProjectedLSTMCell):
            pairs.append((cell.P, given[f"weight_hr_{suffix}"].T))
    _set(pairs)


def to_keras(layer: Recurrent) -> list[HostArray]:
    """The `get_weights()` of the keras.layers.SimpleRNN, GRU or LSTM that computes the same as `layer`: copies, in its
    dtype.

    Make that layer with the same `activation` (tanh, Keras's default, or relu for a relu RNN) and GRU with
    `reset_after=True` for `reset="after"`, where the bias is (2,3*H), else with `reset_after=False`.

    Args:
        layer: a Recurrent whose cells are RNNCell, GRUCell or LSTMCell.

    Returns:
        kernel (I,G*H), recurrent_kernel (H,G*H) and bias (G*H,) for its G gates, one flat list: of a bidirectional
        layer the three forward arrays, then the three backward ones, as keras.layers.Bidirectional has them; of several
        layers one after the other, as keras.Sequential has them.

    Raises:
        TypeError: for what is no Recurrent.
        ValueError: for one that Keras lacks.

    Example:
        >>> from tinygrad_rnn.models.conversions import to_keras
        >>> [array.shape for array in to_keras(models.LSTM(2, 3))]
        [(2, 12), (3, 12), (12,)]
    """
    weights = []
    for cell, order in _ordered(layer, "Keras"):
        U, W, b, c = _stacked(cell, order)
        weights += [U, W, np.stack([b, c]) if _resets_after(cell) else _sum(b, c)]
    return weights


def from_keras(layer: Recurrent, weights: Sequence[Any]) -> None:
    """Sets the weights of `layer` to those of a keras.layers.SimpleRNN, GRU or LSTM, of a Bidirectional of one, or of a
    keras.Sequential of several. The layer keeps its dtype and device.

    The two biases of GRU(reset_after=True) are added for z and r; the candidate's second needs `recurrent_bias=True`
    unless it is 0.

    Args:
        layer: a Recurrent of the same sizes.
        weights: the flat list of their `get_weights()`, in the order and the shapes that `to_keras(layer)` has.

    Raises:
        TypeError: for what is no floating array. Nothing is changed then.
        ValueError: for a layer that Keras lacks and for counts, shapes and biases that do not fit. Nothing is changed
            then.

    Example:
        >>> from tinygrad_rnn.models.conversions import from_keras, to_keras
        >>> theirs, ours = to_keras(models.GRU(2, 3)), models.GRU(2, 3, rng=rng)
        >>> from_keras(ours, theirs)
    """
    own = to_keras(layer)
    if not isinstance(weights, Sequence):
        raise TypeError(f"weights must be a list of arrays, got {type(weights).__name__}")
    if len(weights) != len(own):
        raise ValueError(
            f"weights must be a flat list of {len(own)} arrays, {len(_KERAS_NAMES)} ({', '.join(_KERAS_NAMES)}) for "
            f"each layer and direction, got {len(weights)} (of a layer without biases they are zeros, to be added)"
        )
    pairs: Pairs = []
    for k, (cell, order) in enumerate(_ordered(layer, "Keras")):
        given = []
        for i, name in enumerate(_KERAS_NAMES, start=3 * k):
            option = f" for reset={cell.reset!r}" if name == "bias" and isinstance(cell, GRUCell) else ""
            if option and getattr(weights[i], "ndim", 0) == 3 - own[i].ndim:
                other = {"after": "before", "before": "after"}[cell.reset]
                raise ValueError(
                    f"weights[{i}] are the biases of GRU(reset_after={cell.reset == 'before'}): they need a layer made "
                    f"with reset={other!r}, and this one has reset={cell.reset!r}"
                )
            given.append(_array(f"weights[{i}], the {name}{option},", weights[i], own[i].shape))
        U, W, bias = given
        b, c = bias if _resets_after(cell) else (bias, np.zeros_like(bias))
        pairs += _split(cell, order, [U, W, b, c], f"weights[{3 * k + 2}][1]")
    _set(pairs)


def _ordered(layer: Recurrent, library: str) -> list[tuple[Cell, str]]:
    """The cells, each with the order of its gates in the library. Raises where the library has no such layer."""
    orders = _ORDERS[library]
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer must be a Recurrent, got {type(layer).__name__}")

    def must_be(option: str, expected: Any, got: Any) -> None:
        if got != expected:
            raise ValueError(f"{option} must be {expected!r} for a layer as {library} has it, got {got!r}")

    must_be("residual", False, bool(layer.residual))
    must_be("zoneout", 0.0, layer.zoneout)
    for cell in layer.cells:
        if type(cell) not in orders:  # a subclass may compute anything
            names = ", ".join(known.__name__ for known in orders)
            raise ValueError(f"layer must have a cell that {library} has too ({names}), got {type(cell).__name__}")
        must_be("gate", "sigmoid", getattr(cell, "gate", "sigmoid"))
        if library == "PyTorch":
            must_be("reset", "after", getattr(cell, "reset", "after"))
            must_be("hidden_size of every layer", layer.cells[0].hidden_size, cell.hidden_size)
        if isinstance(cell, ProjectedLSTMCell) and cell.memory_size <= cell.hidden_size:
            raise ValueError(
                f"memory_size must be above hidden_size {cell.hidden_size}, as PyTorch's hidden_size is above its "
                f"proj_size, got {cell.memory_size}"
            )
    return [(cell, orders[type(cell)]) for cell in layer.cells]


def _suffixes(layer: Recurrent) -> list[str]:
    """What PyTorch adds to the names of each cell's weights."""
    return [f"l{n}{back}" for n in range(layer.num_layers) for back in ("", "_reverse")[: layer.directions]]


def _resets_after(cell: Cell) -> bool:
    """Whether the reset gate multiplies h W + c, so that c cannot be added to b."""
    return isinstance(cell, GRUCell) and cell.reset == "after"


def _sum(b: HostArray, c: HostArray) -> HostArray:
    """b + c, and b bit for bit where c is 0: -0.0 stays."""
    return np.where(c, b + c, b)


def _signed(cell: Cell, name: str, arrays: Sequence[HostArray]) -> list[HostArray]:
    """The weights of a gate for a z that keeps: negated for the z of update="write", whatever way they go."""
    return [-a for a in arrays] if name == "z" and cell.update == "write" else list(arrays)


def _stacked(cell: Cell, order: str) -> list[HostArray]:
    """U (I,G*H), W (H,G*H), b (G*H,) and c (G*H,), gate beside gate; c is 0 where a gate has none."""
    columns = []
    for name in order:
        gate = getattr(cell, name)
        own = [p for p in (gate.U, gate.W, gate.b, gate.c) if p is not None]
        arrays = _signed(cell, name, [to_host(p.data) for p in own])
        columns.append(arrays if gate.c is not None else [*arrays, np.zeros_like(arrays[2])])
    return [np.concatenate(parts, axis=-1) for parts in zip(*columns, strict=True)]


def _split(cell: Cell, order: str, stacked: Sequence[HostArray], second: str) -> Pairs:
    """The Parameters of the cell's gates with their values from what `_stacked` gives; `second` names c."""
    pairs: Pairs = []
    for name, *arrays in zip(order, *(np.split(a, len(order), axis=-1) for a in stacked), strict=True):
        gate = getattr(cell, name)
        U, W, b, c = _signed(cell, name, arrays)
        if gate.c is not None:
            pairs.append((gate.c, c))
        elif name == "n" and _resets_after(cell) and c.any():
            raise ValueError(
                f"{second} must be 0 for the candidate, or the layer made with recurrent_bias=True, got values up to "
                f"{np.abs(c).max():.3g}"
            )
        else:
            b = _sum(b, c)
        pairs += [(gate.U, U), (gate.W, W), (gate.b, b)]
    return pairs


def _array(name: str, value: Any, shape: tuple[int, ...]) -> HostArray:
    """A NumPy array of `value`, a tensor of PyTorch or an array. Raises for another shape or no floating dtype."""
    if hasattr(value, "detach"):
        with suppress(TypeError):  # a dtype that NumPy lacks, such as bfloat16, is refused below
            value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        got = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise TypeError(f"{name} must be an array of a floating dtype of NumPy's, got {got}")
    if value.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {value.shape}")
    return value


def _set(pairs: Pairs) -> None:
    """Gives the Parameters their values, in their own dtypes and on their devices."""
    with np.errstate(over="ignore"):  # refused below
        cast = [(p, np.array(a, dtype=p.dtype, order="C")) for p, a in pairs]
    for (parameter, data), (_, given) in zip(cast, pairs, strict=True):
        if not np.array_equal(np.isfinite(data), np.isfinite(given)):
            raise ValueError(
                f"weights must lie within the layer's {parameter.dtype}, got values up to {abs(given).max():.3g}"
            )
    for parameter, data in cast:
        parameter.data = to_device(data, device_of(parameter.data))
