"""Symbols are told in frames that nobody has cut: connectionist temporal
classification.

Prints how often a trained model is wrong, on frames as noisy as those that it
learnt from and on noisier ones, by the likeliest symbol of each frame and by a
search over beginnings; and what it says frame by frame, of which runs are merged
and blanks dropped.

    python examples/tasks/speech.py
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.data.frames import MovingSpectra
from tinygrad_rnn.metrics import label_error_rate

found = tg.tasks.train("speech", epochs=5)
print(f"label error {found.result.metrics['label error']:.3f} on its test part, after {found.why}\n")

spectra = MovingSpectra(np.random.default_rng(found.task.options.seed))  # those that its own examples are made of
rng = np.random.default_rng(1)
print("noise   the likeliest of each frame   a beam of 8")
for noise in (0.6, 0.9, 1.2):
    spectra.noise = noise
    frames, texts = zip(*(spectra.draw(rng) for _ in range(60)), strict=True)
    errors = [label_error_rate(texts, found.predict(frames, **how)) for how in ({}, {"beam": 8})]
    print(f"{noise:5} {errors[0]:31.3f} {errors[1]:13.3f}")

spectra.noise = 0.6
print("\nwhat was said   what each frame says (- is the blank)")
for _ in range(4):
    heard, text = spectra.draw(rng)
    likely = ops.softmax(found.model(*found.task.collate([(heard, None)]))).numpy()[:, 0]
    symbols = "-" + "".join(found.tables["symbols"])
    print(f"{text:13}   {''.join(symbols[i] for i in likely.argmax(axis=-1))}")
