"""Where a translator looks: an encoder-decoder learns to write dates as ISO 8601
does, from 6,400 of them.

    python examples/tasks/translate.py

It trains for two epochs, some ten seconds, and prints what part of 800 other dates
is right; what it makes of dates in ways that it knows and in one that it has never
seen; and of one of them how much attention each symbol of the target pays to each
of the source: the darker the more. Nobody has told it which belongs to which.
"""

import tinygrad_rnn as tg

SHADES = " .:=#"
DATES = ["Saturday July 20th, 1969", "the 9th of November 1989", "1.1.2000", "29 FEB 2096", "in 1969, on July 20"]

trained = tg.tasks.train("translate", epochs=2)
print(f"right of the dates that it did not learn from: {trained.result.metrics['exact']:.1%}\n")

written = trained.predict(DATES)
for date, found in zip(DATES, written, strict=True):
    print(f"  {date:26} {''.join(found)}")
print("\nThe last is written as none that it has learnt from: what it says there is a guess.\n")

view = trained.task.views(trained.model, [(list(DATES[0]), written[0])])[0]
assert isinstance(view, tg.inspection.views.HeatMap)
print(f"    {''.join(view.columns)}")
for symbol, weights in zip(view.rows, view.values, strict=True):
    print(f"  {symbol} {''.join(SHADES[min(int(weight * len(SHADES)), len(SHADES) - 1)] for weight in weights)}")
