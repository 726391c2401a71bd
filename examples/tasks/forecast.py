"""A chaotic series is foretold for a few steps, with intervals, and its own
forecasts carry it on until chaos wins.

Prints the error that training comes to beside that of simple methods, six steps of
a series that the model has never seen, each with the interval that nine values in
ten are to lie in, and how far off a series is that goes on from the model's own
forecasts.

    python examples/tasks/forecast.py
"""

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.baselines import Autoregression, LastValue
from tinygrad_rnn.data.chaos import mackey_glass
from tinygrad_rnn.data.series import windows_of
from tinygrad_rnn.metrics import mae

found = tg.tasks.train("forecast", hidden=32, epochs=8)
print(
    f"{found.why}: {', '.join(f'{name} {value:.3f}' for name, value in found.result.metrics.items())} on its test part"
)

window, horizon = found.task.options.window, found.task.options.horizon
learnt = windows_of("learnt", mackey_glass(2000, np.random.default_rng(1)), window, horizon)
series = mackey_glass(600, np.random.default_rng(2))
inputs, outputs = zip(*windows_of("new", series, window, horizon), strict=True)
medians = [[median for _, median, _ in each] for each in found.predict(inputs)]
print(f"\nMean absolute error on another course of the series: the model {mae(outputs, medians):.3f}", end="")
for method in (LastValue(), Autoregression()):
    said = method.fit(*zip(*learnt, strict=True)).predict(inputs)
    print(f", {type(method).__name__} {mae(outputs, said):.3f}", end="")

print("\n\nsteps ahead   what came   forecast   interval")
for step, (came, (low, median, high)) in enumerate(zip(outputs[0], found.predict(inputs[:1])[0], strict=True), 1):
    print(f"{step:11} {came:11.3f} {median:10.3f}   {low:.3f} to {high:.3f}")

# The next value is taken for the one that is forecast, again and again, from twenty places of the series.
starts = np.arange(0, 400, 20)
going_on = np.stack([series[start : start + window] for start in starts])
print("\nsteps on from its own forecasts   off by")
for step in range(1, 61):
    following = np.array(found.predict(going_on))[:, :1, 1]
    going_on = np.concatenate([going_on[:, 1:], following], axis=1)
    if step % 12 == 0:
        print(f"{step:31} {mae(series[starts + window + step - 1], following[:, 0]):8.3f}")
