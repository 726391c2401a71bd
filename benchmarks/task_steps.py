"""What a training step of each kind of task costs beside the same step in PyTorch.

    pip install torch && python benchmarks/task_steps.py [--rounds N] [--json FILE] [NAME...]

Forward, backward, clipping by norm and Adam, float32, on one thread: the same weights and batches, whose losses and
gradients are compared first; medians of steps that are taken in turn. The ratio is our time divided by PyTorch's: less
is better. PyTorch's layers skip padding where sequences are packed; "unpacked" runs them over it, and masks.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blas_kernel
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tinygrad_rnn.ops as ops
from tinygrad_rnn.models import LSTM, Classifier, EncoderDecoder, FrameLabeller, Linear, LSTMCell, Module, Tagger
from tinygrad_rnn.models.conversions import to_torch
from tinygrad_rnn.models.ctc import ctc_loss
from tinygrad_rnn.models.recurrent import Recurrent
from tinygrad_rnn.optim import Adam, clip_by_norm

torch.set_num_threads(1)
CLIP = 1.0


class Ours:
    """A model of the package's, and its loss."""

    def __init__(self, model: Module, loss: Callable[[], Any]) -> None:
        self.model, self.loss = model, loss
        self.optimizer = Adam(model.named_parameters(), lr=1e-4)

    def gradients(self) -> tuple[float, float]:
        """The loss, and the norm of all gradients."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return float(loss.item()), float(clip_by_norm(self.optimizer.parameters, np.inf))

    def step(self) -> None:
        """Of training."""
        self.optimizer.zero_grad()
        self.loss().backward()
        clip_by_norm(self.optimizer.parameters, CLIP)
        self.optimizer.step()


class Theirs:
    """Modules of PyTorch's, and their loss. Of the two biases of a recurrent layer the second is kept at 0."""

    def __init__(self, modules: list[Any], loss: Callable[[], Any]) -> None:
        self.loss, self.parameters = loss, []
        for module in modules:
            for name, parameter in [("", module)] if isinstance(module, nn.Parameter) else module.named_parameters():
                if "bias_hh" in name:
                    parameter.requires_grad_(False)
                else:
                    self.parameters.append(parameter)
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-4)

    def gradients(self) -> tuple[float, float]:
        """The loss, and the norm of all gradients."""
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        return float(loss.detach()), float(nn.utils.clip_grad_norm_(self.parameters, np.inf))

    def step(self) -> None:
        """Of training."""
        self.optimizer.zero_grad()
        self.loss().backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()


# --- The same layers in PyTorch ----------------------------------------------------------------------------------


def tensor(array: Any) -> Any:
    """A copy."""
    return torch.tensor(np.array(array))


def linear(layer: Any) -> Any:
    """Of a Linear."""
    inputs, outputs = layer.weight.shape
    found = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    with torch.no_grad():
        found.weight.copy_(tensor(layer.weight.data.T))
        if layer.bias is not None:
            found.bias.copy_(tensor(layer.bias.data))
    return found


def embedding(layer: Any) -> Any:
    """Of an Embedding."""
    found = nn.Embedding(*layer.weight.shape)
    with torch.no_grad():
        found.weight.copy_(tensor(layer.weight.data))
    return found


def recurrent(layer: Recurrent, kind: Any, inputs: int, hidden: int) -> Any:
    """Of a recurrent layer."""
    found = kind(inputs, hidden, bidirectional=layer.directions == 2)
    found.load_state_dict({name: tensor(array) for name, array in to_torch(layer).items()})
    return found


def run(layer: Any, xs: Any, lengths: Any, packed: bool) -> Any:
    """The outputs of a recurrent layer, (T,B,H)."""
    if not packed:
        return layer(xs)[0]
    whole = pack_padded_sequence(xs, lengths, enforce_sorted=False)
    return pad_packed_sequence(layer(whole)[0], total_length=len(xs))[0]


# --- Works -------------------------------------------------------------------------------------------------------

Pair = tuple[Ours, dict[str, Theirs]]


def drawn(rng: np.random.Generator, batch: int, least: int, most: int, words: int) -> tuple[Any, Any]:
    """Ids (T,B), and lengths."""
    lengths = rng.integers(least, most + 1, batch)
    lengths[0] = most
    ids = rng.integers(4, words, (most, batch))
    return np.where(np.arange(most)[:, None] < lengths, ids, 0), lengths


def classify(batch: int, least: int, most: int) -> Pair:
    """A label for a text: LSTM 64 in both directions, the mean of its outputs."""
    rng = np.random.default_rng(0)
    ids, lengths = drawn(rng, batch, least, most, 5000)
    labels = rng.integers(0, 2, batch)
    model = Classifier(5000, 2, 64, 64, cell=LSTMCell, rng=rng)
    table, lstm, output = embedding(model.embedding), recurrent(model.recurrent, nn.LSTM, 64, 64), linear(model.output)
    theirs_ids, theirs_lengths, theirs_labels = torch.tensor(ids), torch.tensor(lengths), torch.tensor(labels)
    mask = (torch.arange(most)[:, None] < theirs_lengths)[..., None]

    def loss(packed: bool) -> Any:
        outputs = run(lstm, table(theirs_ids), theirs_lengths, packed)
        mean = (outputs * mask).sum(0) / theirs_lengths[:, None]
        return nn.functional.cross_entropy(output(mean), theirs_labels)

    modules = [table, lstm, output]
    peers = {"packed": Theirs(modules, lambda: loss(True))}
    if least == most:  # else the backward direction would begin with padding
        peers["unpacked"] = Theirs(modules, lambda: loss(False))
    return Ours(model, lambda: ops.softmax_cross_entropy(model(ids, lengths), labels)), peers


def tag() -> Pair:
    """A label for each word: LSTM 64 in both directions over vectors of words and what an LSTM 24 reads of letters."""
    rng = np.random.default_rng(0)
    ids, lengths = drawn(rng, 32, 10, 40, 5000)
    letters, sizes = drawn(rng, 400, 2, 12, 80)
    forms, tags = rng.integers(0, 400, ids.shape), rng.integers(0, 12, ids.shape)
    model = Tagger(5000, 12, 64, 64, num_letters=80, rng=rng)
    tables = embedding(model.words), embedding(model.letters)
    spelling: Any = recurrent(model.spelling, nn.LSTM, 16, 24)  # type: ignore[arg-type]  # there is one
    lstm, output = recurrent(model.recurrent, nn.LSTM, 112, 64), linear(model.output)
    given = [torch.tensor(each) for each in (ids, lengths, letters, sizes, forms, tags)]

    def loss() -> Any:
        whole = pack_padded_sequence(tables[1](given[2]), given[3], enforce_sorted=False)
        read = spelling(whole)[1][0]
        xs = torch.cat([tables[0](given[0]), torch.cat([read[0], read[1]], -1)[given[4]]], -1)
        scores = output(run(lstm, xs, given[1], True))
        return nn.functional.cross_entropy(scores[mask], given[5][mask])

    mask = torch.arange(len(ids))[:, None] < given[1]
    hidden = np.where(np.arange(len(ids))[:, None] < lengths, tags, -1)
    count = int((hidden >= 0).sum())
    ours = Ours(model, lambda: model.loss(model(ids, lengths, (letters, sizes, forms)), hidden, lengths) / count)
    return ours, {"packed": Theirs([*tables, spelling, lstm, output], loss)}


def translate() -> Pair:
    """A sequence from another: GRU 32 in both directions, and a GRU 64 with additive attention, step by step."""
    rng = np.random.default_rng(0)
    source, lengths = drawn(rng, 64, 12, 25, 60)
    target = rng.integers(4, 30, (12, 64))
    model: Any = EncoderDecoder(60, 30, 32, 64, rng=rng)
    tables = embedding(model.source), embedding(model.target)
    encoder, bridge = recurrent(model.encoder, nn.GRU, 32, 32), linear(model.bridge)
    cell, combined, output = nn.GRUCell(96, 64), linear(model.combined), linear(model.output)
    with torch.no_grad():
        own = model.decoder[0]
        for name, which in (("weight_ih", "U"), ("weight_hh", "W"), ("bias_ih", "b")):
            parts = [getattr(getattr(own, gate), which).data for gate in "rzn"]
            getattr(cell, name).copy_(tensor(np.concatenate(parts, axis=-1).T))
        cell.bias_hh.zero_()
    query, keys, v = (nn.Parameter(tensor(getattr(model.attention, name).data)) for name in "WUv")
    given = [torch.tensor(each) for each in (source, lengths, target)]
    mask = torch.arange(len(source)) < given[1][:, None]

    def loss() -> Any:
        whole = pack_padded_sequence(tables[0](given[0]), given[1], enforce_sorted=False)
        outputs, last = encoder(whole)
        values = pad_packed_sequence(outputs, batch_first=True, total_length=len(source))[0]
        h = torch.tanh(bridge(torch.cat([last[0], last[1]], -1)))
        known, ys, seen = values @ keys, tables[1](given[2][:-1]), []
        for y in ys:
            scores = torch.tanh((h @ query)[:, None] + known) @ v
            weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), -1)
            found = torch.einsum("bs,bsm->bm", weights, values)
            h = cell(torch.cat([y, found], -1), h)
            seen.append(torch.tanh(combined(torch.cat([h, found], -1))))
        logits = output(torch.stack(seen))
        return nn.functional.cross_entropy(logits.flatten(0, 1), given[2][1:].flatten())

    modules = [*tables, encoder, bridge, cell, combined, output, query, keys, v]
    return Ours(model, lambda: model.loss(source, lengths, target[:-1], target[1:])), {"steps": Theirs(modules, loss)}


def speech() -> Pair:
    """Symbols in frames: LSTM 64 in both directions, and CTC."""
    rng = np.random.default_rng(0)
    lengths, sizes = rng.integers(20, 61, 32), rng.integers(3, 9, 32)
    lengths[0] = 60
    frames = rng.normal(size=(60, 32, 12)).astype(np.float32)
    targets = np.where(np.arange(8)[:, None] < sizes, rng.integers(1, 11, (8, 32)), 0)
    model = FrameLabeller(12, 10, 64, rng=rng)
    lstm, output = recurrent(model.recurrent, nn.LSTM, 12, 64), linear(model.output)
    given = [torch.tensor(each) for each in (frames, lengths, targets.T.copy(), sizes)]

    def loss() -> Any:
        likely = torch.log_softmax(output(run(lstm, given[0], given[1], True)), -1)
        return nn.functional.ctc_loss(likely, given[2], given[1], given[3], reduction="sum") / 32

    ours = Ours(model, lambda: ctc_loss(model(frames, lengths), targets, lengths, sizes, reduction="sum") / 32)
    return ours, {"packed": Theirs([lstm, output], loss)}


class Adding(Module):
    """A number from a sequence of numbers."""

    def __init__(self, hidden: int, rng: np.random.Generator) -> None:
        self.recurrent, self.output = LSTM(2, hidden, rng=rng), Linear(hidden, 1, rng=rng)


def adding() -> Pair:
    """The sum of two marked numbers of a hundred: LSTM 32."""
    rng = np.random.default_rng(0)
    xs, sums = rng.random((100, 32, 2)).astype(np.float32), rng.random(32).astype(np.float32)
    model = Adding(32, rng)
    lstm, output = recurrent(model.recurrent, nn.LSTM, 2, 32), linear(model.output)
    given = torch.tensor(xs), torch.tensor(sums)
    peers = {
        "unpacked": Theirs(
            [lstm, output], lambda: nn.functional.mse_loss(output(lstm(given[0])[0][-1])[:, 0], given[1])
        )
    }
    return Ours(model, lambda: ops.mse(model.output(model.recurrent(xs)[0][-1])[:, 0], sums)), peers


WORKS: dict[str, Callable[[], Pair]] = {
    "classify: B 32, T 5 to 40": lambda: classify(32, 5, 40),
    "classify, long: B 16, T 400": lambda: classify(16, 400, 400),
    "tag: B 32, T 10 to 40": tag,
    "translate: B 64, S 12 to 25, T 11": translate,
    "speech: B 32, T 20 to 60": speech,
    "adding: B 32, T 100": adding,
}


def check(name: str, ours: Ours, peers: dict[str, Theirs]) -> None:
    """Losses and norms of gradients must be PyTorch's."""
    expected = ours.gradients()
    for peer, theirs in peers.items():
        found = theirs.gradients()
        if not np.allclose(found, expected, rtol=2e-4):
            raise SystemExit(f"{name}, {peer}: loss and norm of the gradient are {found}, and ours {expected}")


def timed(works: list[Any], rounds: int) -> list[float]:
    """The median seconds of a step of each, taken in turn."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 2):
        for each, times in zip(works, seconds, strict=True):
            start = time.process_time()
            each.step()
            times.append(time.process_time() - start)
    return [statistics.median(times[2:]) for times in seconds]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of the names of works")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--anyway", action="store_true", help="with a slower kernel of NumPy's BLAS, too")
    parser.add_argument("--json", type=Path, help="write the times there, too")
    given = parser.parse_args()
    if (slow := blas_kernel.below_the_processors(blas_kernel.running())) and not given.anyway:
        raise SystemExit(slow)
    print(f"NumPy: OpenBLAS {blas_kernel.running()}; PyTorch {torch.__version__}")
    found: dict[str, dict[str, float]] = {}
    for name, make in WORKS.items():
        if given.names and not name.startswith(tuple(given.names)):
            continue
        ours, peers = make()
        check(name, ours, peers)
        own, *others = timed([ours, *peers.values()], given.rounds)
        found[name] = {"ours": own, **dict(zip(peers, others, strict=True))}
        shown = ", ".join(
            f"{own / other:.2f} of {peer} ({1e3 * other:.1f} ms)" for peer, other in zip(peers, others, strict=True)
        )
        print(f"{name:36} {1e3 * own:6.1f} ms: {shown}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
