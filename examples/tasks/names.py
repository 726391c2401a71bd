"""A classifier reads names letter by letter: what may they name in a program?

It learns from identifiers in the standard library of the Python that runs it, in
small letters, since capitals would tell it. What is printed: how many new ones it
gets right, where a guess would be right in one case of four; and what it takes some
for that nobody has written yet.

    python examples/tasks/names.py
"""

import tinygrad_rnn as tg

found = tg.tasks.train("names", epochs=4, hidden=32)
print(f"{found.result.metrics['accuracy']:.3f} of {found.result.count} new identifiers are of the kind that was said\n")

names = "find_cheese cheeseeaterror cheesehandler cheese_limit o_cheese is_cheesy oldcheese cheesetester".split()
for name, kind in zip(names, found.predict(names), strict=True):
    print(f"{name:24}{kind}")
assert found.result.metrics["accuracy"] > 0.4
