"""What is said in frames that nobody has cut into symbols."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import tinygrad_rnn.ops as ops
from tinygrad_rnn.backend import HostArray
from tinygrad_rnn.baselines.frames import NearestFrame
from tinygrad_rnn.data.frames import MovingSpectra, fits, parse_frames, read_frames
from tinygrad_rnn.data.labels import Labels
from tinygrad_rnn.data.messages import TextError
from tinygrad_rnn.data.padding import padded
from tinygrad_rnn.inspection.views import HeatMap
from tinygrad_rnn.metrics.edits import exact_match, label_error_rate
from tinygrad_rnn.models.ctc import ctc_loss
from tinygrad_rnn.models.ctc_decoding import ctc_beam, ctc_greedy
from tinygrad_rnn.models.frame_labeller import FrameLabeller
from tinygrad_rnn.training.examples import IdsOnHost
from tinygrad_rnn.training.options import TrainingOptions
from tinygrad_rnn.training.task import Task

_UTTERANCES_SHOWN = 3
"""Utterances of which there is a view."""


class Speech(Task):
    """Train a model to tell what symbols are said in frames: of an npz file with arrays frames_0 (T, F) and text_0,
    frames_1 and text_1 and so on, or moving spectra of varying speed. `predict` takes lines of JSON, a list of frames
    each."""

    class Options(TrainingOptions):
        cell: str = "lstm"
        lr: float | None = 5e-3
        layers: int = 1
        hidden: int = 64
        dropout: float = 0.2

    metric, higher, counted = "label error", False, "symbols"
    TABLES = {"symbols": Labels, "mean": list, "scale": list}  # noqa: RUF012  # which nothing changes

    def default(self, rng: np.random.Generator) -> list[tuple[HostArray, str]]:
        spectra = MovingSpectra(rng)
        return [spectra.draw(rng) for _ in range(2000)]

    def read(self, path: str) -> Iterable[tuple[HostArray, str]]:
        return read_frames(path)

    def remarks(self, source: Any) -> list[str]:
        short = sum(not fits(*each) for each in source.examples)
        count = f"{short:,} of {len(source.examples):,} utterances have too few frames to say their text"
        return [f"{count}: nothing is learnt from them."] if short else []

    def prepare(self, train: Sequence[Any]) -> dict[str, Any]:
        if not (symbols := {symbol for _, text in train for symbol in text}):
            raise TextError("the training part must have a text with a symbol, got empty ones alone")
        frames = np.concatenate([frames for frames, _ in train])
        mean, scale = frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)
        return {"symbols": Labels.build(symbols), "mean": mean.tolist(), "scale": np.where(scale, scale, 1.0).tolist()}

    def build(self, rng: np.random.Generator) -> FrameLabeller:
        o, sizes = self.options, (len(self.tables["mean"]), len(self.tables["symbols"]))
        return FrameLabeller(*sizes, o.hidden, o.layers, dropout=o.dropout, **self.layer_options(rng))

    def collate(self, part: Sequence[Any]) -> tuple[Any, ...]:
        """Frames (T,B,F) and their numbers (B,); with texts the targets (L,B) above the blank, which is 0, their
        lengths (B,), and whether a row counts (B,): it can be said, and all its symbols were heard in training."""
        mean, scale = np.array(self.tables["mean"]), np.array(self.tables["scale"])
        self._check_features(part)
        frames, lengths = padded([(frames - mean) / scale for frames, _ in part])
        inputs = frames.astype(self.options.dtype), lengths
        if part[0][1] is None:
            return IdsOnHost(inputs)
        known = self.tables["symbols"]
        counts = [fits(frames, text) and all(symbol in known for symbol in text) for frames, text in part]
        targets, sizes = padded([known.encode(list(text), unknown=0) + 1 for _, text in part])
        return IdsOnHost((*inputs, targets, sizes, np.array(counts)))

    def loss(self, model: FrameLabeller, batch: Any, rng: np.random.Generator | None, state: None) -> Any:
        frames, lengths, targets, sizes, counts = batch
        logits = model(frames, lengths, rng)
        losses = ctc_loss(logits, targets, lengths, sizes, reduction="none", zero_impossible=True)
        return ops.sum(losses * losses.xp.asarray(counts, losses.dtype)), int((sizes * counts).sum()), None

    def predict(self, model: FrameLabeller, batch: Any, beam: int | None = None) -> list[str]:
        logits = np.nan_to_num(model(*batch[:2]).numpy())  # a model that has diverged answers, too
        said = ctc_greedy(logits, batch[1])[0] if beam is None else ctc_beam(logits, batch[1], beam)[0]
        return ["".join(self.tables["symbols"].names[symbol - 1] for symbol in row) for row in said]

    def score(self, gold: Sequence[str], said: Sequence[str]) -> dict[str, float]:
        # Of silence alone there is no rate: then it is how much was said all the same.
        error = label_error_rate(gold, said) if any(gold) else float(sum(map(len, said)))
        return {"label error": error, "exact": exact_match(gold, said)}

    def baselines(self, train: Sequence[Any], test: Sequence[Any]) -> dict[str, float]:
        self._check_features(test)
        return self.reached({"nearest frame": NearestFrame(label_error_rate)}, train, test)

    def views(self, model: FrameLabeller, examples: Sequence[Any]) -> list[HeatMap]:
        """How likely each symbol is in each frame, the blank first: those that are likely in any."""
        found, names = [], ("blank", *self.tables["symbols"])
        for frames, text in examples[:_UTTERANCES_SHOWN]:
            batch = self.collate([(frames, None)])
            likely = ops.softmax(model(*batch), axis=-1).numpy()[:, 0].T  # (C+1,T)
            rows = [i for i, row in enumerate(likely) if i == 0 or row.max() > 0.05]
            title = f"{text!r} is heard as {self.predict(model, batch)[0]!r}"
            steps = [str(i) for i in range(len(frames))]
            found.append(HeatMap(title, likely[rows], [names[i] for i in rows], steps, "symbol", "frame"))
        return found

    def parse(self, line: str) -> HostArray:
        """A line of JSON: a list of frames."""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TextError(f"a line of JSON was expected, a list of frames: {error}") from None
        frames = parse_frames(value)
        self._check_features([(frames, None)])
        return frames

    def _check_features(self, part: Sequence[Any]) -> None:
        features = len(self.tables["mean"])
        if others := [frames.shape[1] for frames, _ in part if frames.shape[1] != features]:
            raise TextError(f"frames of {features} features were expected, got {others[0]}")
