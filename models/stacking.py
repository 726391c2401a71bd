"""The layers of a recurrent network: which cell, which size and which options each has."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from tinygrad_rnn.models import init
from tinygrad_rnn.models.cell import Cell
from tinygrad_rnn.models.contract import check_constructor, place_of


def layers_of(cell: Any, hidden_size: Any, num_layers: int | None) -> list[tuple[type[Cell], Any]]:
    """The class and the size of each layer."""
    kinds = list(cell) if isinstance(cell, list | tuple) else [cell]
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Cell) for kind in kinds):
        raise TypeError(f"cell must be a class made with Cell, or a list of such, got {cell!r}")
    sizes = list(hidden_size) if isinstance(hidden_size, Sequence) else [hidden_size]
    if not sizes:
        raise ValueError("hidden_size must be a size, or a list with one per layer, got an empty list")
    for what, listed in (("hidden sizes", hidden_size), ("cells", cell)):
        if isinstance(listed, Sequence) and num_layers not in (None, len(listed)):
            raise ValueError(f"num_layers must be {len(listed)}, the number of {what}, got {num_layers}")
    if isinstance(cell, Sequence) and isinstance(hidden_size, Sequence) and len(kinds) != len(sizes):
        raise ValueError(f"hidden_size must have one size for each of the {len(kinds)} cells, got {len(sizes)}")
    count = init.size("num_layers", num_layers or max(len(kinds), len(sizes)) if num_layers is None else num_layers)
    kinds, sizes = (each * count if len(each) == 1 else each for each in (kinds, sizes))
    return list(zip(kinds, sizes, strict=True))


def options_of_each(
    kinds: Collection[type[Cell]], given: dict[str, Any], of_layer: Collection[str]
) -> dict[type[Cell], dict[str, Any]]:
    """Of the options for cells those that each class takes; where there is one class, all. Raises ValueError for an
    option of a cell that is called as one `of_layer`, which it could never be given."""
    for kind in kinds:
        check_constructor(kind)
    names = {kind: inspect.signature(kind.setup).parameters for kind in kinds}
    for kind, own in names.items():
        if both := [name for name in [*own][1:] if name in of_layer and name != "cell_options"]:
            told = f"an option {both[0]!r}, which is one of the layer's: give it another name"
            raise ValueError(f"{kind.__name__}.setup has {told}{place_of(kind.setup)}")
    if len(names) == 1:
        return {kind: given for kind in names}
    taken = {kind: {name: value for name, value in given.items() if name in own} for kind, own in names.items()}
    if left := given.keys() - set().union(*taken.values()) - {"init"}:
        classes = ", ".join(kind.__name__ for kind in names)
        raise TypeError(f"none of {classes} has an option {sorted(left)[0]!r}")
    every = {"init": given["init"]} if "init" in given else {}
    return {kind: own | every for kind, own in taken.items()}
