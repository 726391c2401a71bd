"""Whether the sizes that a checkpoint's settings name are those of its arrays: asked before memory is taken."""

from __future__ import annotations

from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.cells_by_name import CELLS
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.tasks.language.options import LanguageOptions


def check_sizes(settings: LanguageOptions, vocab_size: int, cell: type[Cell], weights: Arrays) -> None:
    """Raises ValueError where the `weights` of a model are not of the sizes that `settings` name. What a cell has
    beside its gates is asked for when the model is there."""
    _must_be(weights, "embedding.weight", vocab_size, settings.embedding)
    if settings.softmax == "full":
        _must_be(weights, "output_bias", vocab_size)
    layers = {name.removeprefix(_LAYER).partition(".")[0] for name in weights if name.startswith(_LAYER)}
    if not cell.gates and cell not in CELLS.values():
        return  # a cell of the user's own without gates: nothing says how its arrays are called
    if layers != {str(layer) for layer in range(min(settings.layers, len(layers) + 1))}:
        raise ValueError(f"by the settings there are {settings.layers} layers, got the weights of {len(layers)}")
    for layer in range(len(layers)):
        _check_gates(f"{_LAYER}{layer}.", settings, cell, weights)


_LAYER = "recurrent.cells."


def _check_gates(layer: str, settings: LanguageOptions, cell: type[Cell], weights: Arrays) -> None:
    """The gates of a layer. A cell of the user's own may have changed its own: there the size must occur somewhere."""
    if cell not in CELLS.values():
        if not any(settings.hidden in array.shape for name, array in weights.items() if name.startswith(layer)):
            raise ValueError(
                f"by the settings hidden is {settings.hidden}, and no weight of {layer[:-1]} is of that size"
            )
        return
    gates, hidden = [each.partition(":") for each in cell.gates.split()], settings.hidden
    for gate, _, reads in gates:
        _must_be(weights, f"{layer}{gate}.b", hidden)
        if reads != "h":
            _must_be(weights, f"{layer}{gate}.U", settings.embedding if layer == _LAYER + "0." else None, hidden)
        if reads != "x":
            _must_be(weights, f"{layer}{gate}.W", hidden, hidden)
    if not gates:  # of the package's cells those that make their gates themselves, all of which read h
        matrices = [name for name in weights if name.startswith(layer) and name.endswith(".W")]
        for name in matrices or [f"{layer}n.W"]:
            _must_be(weights, name, hidden, None)


def _must_be(weights: Arrays, name: str, *shape: int | None) -> None:
    """Raises ValueError unless the array is there and has this shape, of which None may be anything."""
    if name not in weights:
        raise ValueError(f"there is no {name}")
    found = weights[name].shape
    if len(found) != len(shape) or any(size not in (None, there) for size, there in zip(shape, found, strict=True)):
        expected = " x ".join("any" if size is None else str(size) for size in shape)
        got = " x ".join(map(str, found)) or "one number"
        raise ValueError(f"by the settings {name} must be {expected}, got {got}")
