"""What a run shares out over its ranks: they begin alike, each carries the states of its own rows and draws its own
noise; and a checkpoint has them together, so that it does not depend on how many ranks there are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.data.messages import Note
from tinygrad_rnn.models.checkpoint import Arrays
from tinygrad_rnn.ranks.by_mpi import RanksError
from tinygrad_rnn.ranks.processes import Ranks, dealt


def check_alike(ranks: Ranks, known: Mapping[str, Any]) -> None:
    """Raises RanksError where something that must be the same on all ranks is not: JSON values and arrays, by what they
    are called."""
    found = ranks.allgather({name: _digest(value) for name, value in known.items()})
    for name in known:
        for rank, digests in enumerate(found):
            if digests[name] != found[0][name]:
                raise RanksError(
                    f"rank {rank} begins otherwise than rank 0, with other {name}: all must be told the same, and read "
                    "the same files"
                )


def _digest(value: Any) -> str:
    if isinstance(value, Mapping) and all(isinstance(each, np.ndarray) for each in value.values()):
        digest = hashlib.sha256()
        for name, array in value.items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# --- Carried states --------------------------------------------------------------------------------------------


def gathered_state(arrays: Arrays, ranks: Ranks) -> dict[str, HostArray]:
    """The state that all ranks carry together, of which each has its rows, along axis 1 (layers, B, H);
    none where no rank carries one. Raises RanksError for arrays without that axis."""
    if ranks.size == 1:
        return dict(arrays)
    found = ranks.allgather(arrays)
    names = next((list(each) for each in found if each), [])
    return {name: _together([each.get(name) for each in found], name) for name in names}


def _together(parts: Sequence[HostArray | None], name: str) -> HostArray:
    there = [part for part in parts if part is not None]
    _check_rows(there[0], name)
    first = there[0]
    whole = np.empty((first.shape[0], sum(part.shape[1] for part in there), *first.shape[2:]), first.dtype)
    for rank, part in enumerate(parts):
        if part is not None:
            whole[:, rank :: len(parts)] = part
    return whole


def own_state(arrays: Arrays, ranks: Ranks) -> dict[str, HostArray]:
    """This rank's rows of a carried state; none where it has none of the rows."""
    if ranks.size == 1:
        return dict(arrays)
    for name, array in arrays.items():
        _check_rows(array, name)
    own = {name: dealt(array.swapaxes(0, 1), ranks).swapaxes(0, 1) for name, array in arrays.items()}
    return own if all(array.shape[1] for array in own.values()) else {}


def _check_rows(array: HostArray, name: str) -> None:
    if array.ndim < 2:
        raise RanksError(
            f"ranks share out the rows of a carried state along its axis 1, as in (layers, B, H): {name} has the shape "
            f"{array.shape}"
        )


# --- Noise -----------------------------------------------------------------------------------------------------


def own_noise(seed: np.random.SeedSequence, ranks: Ranks) -> np.random.Generator:
    """What draws the noise of this rank."""
    return np.random.default_rng(seed if ranks.size == 1 else seed.spawn(ranks.size)[ranks.rank])


def gathered_noise(noise: np.random.Generator, ranks: Ranks) -> dict[str, Any]:
    """What a checkpoint says of it: of all ranks, where there are several."""
    states = ranks.allgather(noise.bit_generator.state)
    return {"noise": states[0]} | ({"noises": states} if ranks.size > 1 else {})


def restore_noise(
    noise: np.random.Generator, meta: Mapping[str, Any], seed: int, ranks: Ranks, noisy: bool, note: Note
) -> np.random.Generator:
    """The generator that goes on as a checkpoint has it. With another number of ranks all but a single one begin anew,
    which `note` is told where there is noise."""
    saved = meta.get("noises") or [meta["noise"]]
    if len(saved) != ranks.size:
        if noisy:
            were = "1 process" if len(saved) == 1 else f"{len(saved)} ranks"
            note(f"The run was of {were} and is of {ranks.size} now: the noise of training is drawn otherwise.")
        if ranks.size > 1:
            return np.random.default_rng([seed, meta["progress"]["step"], ranks.rank])
    noise.bit_generator.state = saved[ranks.rank]
    return noise
