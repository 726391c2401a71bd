"""
9. Open your model
==================

A model that is trained is a file of numbers. This chapter makes one of your own, in some ten
seconds, opens it, and reads it: what surprises it, which of its units turned out to mean something,
and what it looks back at. One command makes the page, and the numbers behind it are arrays to
calculate with. Give it a text of your own with one thing a line, such as names, titles, verses or
commands: its path is the value of ``OWN``.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from contextlib import chdir
from html import escape
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.cli import main as command
from tinygrad_rnn.inspection.page import Reading
from tinygrad_rnn.models import checkpoint
from tinygrad_rnn.tasks.language.looking import checkpoint_page
from tinygrad_rnn.tasks.language.opening import load_language_model
from tinygrad_rnn.tasks.language.reading import read
from tinygrad_rnn.tasks.language.text_form import TextForm

# %%
# Something to learn
# ------------------
# Without a text of yours it is the first lines of functions, in the source of Python's own library.
# They have an order that can be seen in a unit: a name, then brackets, and in the brackets a list.

OWN = ""  # the path of a text, "my.txt"

MODULES = (
    "argparse ast calendar configparser csv difflib doctest email.message functools "
    "inspect ipaddress logging mailbox optparse pathlib pickle random shutil statistics "
    "tarfile textwrap threading tokenize typing unittest.mock zipfile"
)


def first_lines(module: str) -> Iterator[str]:
    """Of the functions in the source of a module, written alike."""
    source = inspect.getsource(importlib.import_module(module))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"def {node.name}({ast.unparse(node.args)}):"


if OWN:
    own = Path(OWN).read_text(encoding="utf-8").splitlines()
    lines = sorted({" ".join(line.split())[:100] for line in own if line.strip()})
else:
    found = {line for module in MODULES.split() for line in first_lines(module)}
    lines = sorted(line for line in found if len(line) <= 60)
rng = np.random.default_rng(0)
lines = [lines[i] for i in rng.permutation(len(lines))]
held_back, learned = lines[:40], lines[40:]
print(f"{len(learned)} lines to learn from, {len(held_back)} held back, such as")
print(*held_back[:4], sep="\n")

# %%
# Train it
# --------
# On the command line that is
#
# .. code-block:: text
#
#    tinygrad-rnn train --text lines.txt --lines --level char --cell lstm --layers 1 --hidden 48 ...
#
# and from Python the same options by the same names. The run has a folder, and in it the best model
# so far is a **checkpoint**: a file with the weights, the characters, the options, and how far it
# got.

folder = Path(mkdtemp())
(folder / "lines.txt").write_text("\n".join(learned), encoding="utf-8")
with chdir(folder):
    trained = tg.tasks.train(
        "language",
        text=("lines.txt",),
        lines=True,
        level="char",
        cell="lstm",
        layers=1,
        hidden=48,
        embedding=16,
        tied=False,
        dropout=0.1,
        lr=0.02,
        batch_size=16,
        epochs=10,
        out="run",
    )
print(
    f"{trained.result.loss:.3f} nats a character, of lines that it was not trained on"
)
assert OWN or trained.result.loss < 1.6

# %%
# Open it
# -------
# ``inspect --html`` writes a page about a checkpoint, one file that needs no server and no network.
# Here it reads a line that it has not seen.

READ = held_back[0] if OWN else "def read_page(self, name, start=0, limit=None):"
assert READ not in learned
with chdir(folder):
    said = ["inspect", "run/best.safetensors", "--html", "page.html", "--text", READ]
    command(said, standalone_mode=False)


class Page:
    """A page within this page, or within a notebook, which begins where a text is read."""

    style = "width: 100%; height: 36rem; border: 1px solid #8888; border-radius: 4px"
    begin = "contentDocument.getElementById('text').closest('section').offsetTop"
    scroll = f"this.contentWindow.scrollTo(0, this.{begin} - 8)"

    def __init__(self, html: str) -> None:
        self.html = html

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="the page" style="{self.style}" '
            f'onload="{self.scroll}" srcdoc="{escape(self.html)}"></iframe>'
        )


Page((folder / "page.html").read_text(encoding="utf-8"))

# %%
# It is the page itself: click on a character, choose what the colours show, move on with the arrow
# keys. Above the text are the curves of the training, below it the gates and states, a row for
# each unit.
#
# The same from Python is two calls: what is in the file, and a page about it.

with chdir(folder):
    best = Path("run/best.safetensors")
    model, vocabulary, options = load_language_model(best)[:3]
    page = checkpoint_page(
        best, model, vocabulary, options, checkpoint.load(best), READ
    )
assert page == (folder / "page.html").read_text(encoding="utf-8")

# %%
# And the numbers behind it are one more. ``read`` takes characters as the vocabulary numbers them,
# the first of which is given, and hands back a ``Reading``.

form = TextForm.of(vocabulary, options)


def reading_of(line: str) -> Reading:
    """What the model does over a line."""
    return read(model, vocabulary, *form.spelled(line))


reading = reading_of(READ)
shape = reading.units["0.forward.c"].shape
# Before the first character, and after each: the characters of the line, and its end.
print(f"{len(reading.nats)} surprises, and of the cell {shape} numbers")
assert shape == (len(reading.tokens), 48)

# %%
# What surprises it
# -----------------
# A character's **surprise** is minus the logarithm of the chance that it was given. Over a line it
# is no smooth curve. It is high where something is decided, also within a word that was not
# expected, and near nothing where only one thing can follow.

characters = [*READ, "end"]
dear = np.argsort(-reading.nats)[:5]
for t in sorted(dear):
    guess, chance = reading.guesses[t][0]
    print(
        f"{READ[:t][-12:]:>12}{characters[t]:3}  {reading.nats[t]:.1f} nats; "
        f"it expected {guess!r}, {chance:.2f}"
    )

# %%
# One line says little. Over all that were held back: the first character of a word, those that
# follow in it, and all others.

readings = [reading_of(line) for line in held_back]
nats = np.concatenate([each.nats[:-1] for each in readings])  # without the end
here = "".join(held_back)
before = "".join(" " + line[:-1] for line in held_back)
letter, after = (
    np.array([c.isalnum() or c == "_" for c in row]) for row in (here, before)
)
kinds = {
    "first of a word": letter & ~after,
    "later in a word": letter & after,
    "others": ~letter,
}
means = {kind: nats[which].mean() for kind, which in kinds.items() if which.any()}
for kind, mean in means.items():
    print(f"{kind:15} {mean:.2f} nats")
assert OWN or means["others"] < means["first of a word"]

# %%
# Which unit means what
# ---------------------
# Nobody told a unit what to do. To find out what one does, say what it might follow, as numbers
# beside the text, and ask all of them which follows it best. That is a **correlation**, as in
# chapter 5, with three guesses: how far the line has come, whether the model is within brackets,
# and whether it is within a word.


def place(read: str) -> float:
    """How many characters there have been."""
    return len(read)


def brackets(read: str) -> float:
    """1 within brackets."""
    return read.count("(") > read.count(")")


def word(read: str) -> float:
    """1 after a character of a word."""
    return read[-1:].isalnum() or read[-1:] == "_"


def follower(numbers: np.ndarray) -> tuple[str, int, float]:
    """The gate or state, and the unit of it, that follows best, and how well: -1 to 1."""
    best = ("", 0, 0.0)
    for name in readings[0].units:
        if name.endswith(".pre"):
            continue  # the sum that a gate squashes
        values = np.concatenate([each.units[name][:-1] for each in readings])
        for unit, column in enumerate(values.T):
            alike = float(np.corrcoef(column, numbers)[0, 1])
            if abs(alike) > abs(best[2]):
                best = (name, unit, alike)
    return best


read_so_far = [line[:i] for line in held_back for i in range(len(line) + 1)]
numbers = {
    f.__name__: np.array([float(f(read)) for read in read_so_far])
    for f in (place, brackets, word)
}
followers = {guess: follower(row) for guess, row in numbers.items() if np.ptp(row)}
for guess, (name, unit, alike) in followers.items():
    print(f"{guess:8} is followed by unit {unit} of {name}: {alike:+.2f}")
assert OWN or min(abs(alike) for *_, alike in followers.values()) > 0.5

# %%
# Is a unit that goes with the brackets about brackets? Looking alone cannot say: brackets come
# late in a line, so it may be about the place. Two guesses that go together cannot be told apart
# by looking. So **change** something: read every line up to its first bracket, once as it is, and
# once with an underscore in place of the bracket. The place is the same. If the unit moves, it
# has seen the bracket.

if "brackets" in followers:
    together = np.corrcoef(numbers["place"], numbers["brackets"])[0, 1]
    print(f"place and brackets go together: {together:.2f}")
    name, unit, alike = followers["brackets"]
    beginnings = [line[: line.index("(")] for line in held_back if "(" in line]
    seen = {
        c: np.array([reading_of(each + c).units[name][-2, unit] for each in beginnings])
        for c in "(_"
    }
    moved = np.sign(alike) * (seen["("] - seen["_"])
    spread = np.concatenate([each.units[name][:-1, unit] for each in readings]).std()
    print(
        f"the bracket moves the unit by {moved.mean() / spread:.1f} standard deviations,\n"
        f"the way that goes with brackets in {(moved > 0).mean():.0%} of the lines"
    )
    assert OWN or moved.mean() > 0

# %%
# Looking said which unit to ask, and changing said what it is about. Here are all of them over the
# line of the page, under its surprise. At each character they are as they were once it was read.

named: dict[tuple[str, int], list[str]] = {}
for guess, (name, unit, _) in followers.items():
    named.setdefault((name, unit), []).append(guess)
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 4.4), sharex=True, layout="constrained"
)
top.bar(range(len(characters)), reading.nats, color="#4878a8")
top.set_ylabel("surprise in nats")
for (name, unit), guesses in named.items():
    values = np.sign(followers[guesses[0]][2]) * reading.units[name][1:, unit]
    scaled = (values - values.min()) / np.ptp(values)
    bottom.plot(scaled, label=f"{' and '.join(guesses)}: unit {unit} of {name}")
bottom.set_ylabel("least to most")
bottom.set_xticks(
    range(len(characters)), [*characters[:-1], " " * 6 + "end"], fontsize=9
)
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %%
# What it looks back at
# ---------------------
# The third thing on the page is a gradient: how much would the surprise at a character change if
# an earlier one were a little different? Row t of ``depends`` has the norms of the gradient of
# surprise t by the vectors of the characters before. Each row is drawn as shares of its sum: the
# stronger the colour, the larger.

shares = reading.depends / reading.depends.sum(axis=1, keepdims=True)
figure, axes = plt.subplots(figsize=(7, 6.4), layout="constrained")
axes.imshow(np.sqrt(shares[:, :-1]), cmap="Blues", aspect="auto")
axes.set(ylabel="the surprise at", xlabel="depends on, of what was read before")
axes.set_xticks(range(len(characters)), ["start", *characters[:-1]], fontsize=8)
axes.tick_params(axis="x", labelrotation=90)
axes.set_yticks(range(len(characters)), characters, fontsize=8)
plt.show()

# %%
# The diagonal is the character just before. Columns that stay strong below it are characters that
# are not soon forgotten. How far does it look back, over all lines that were held back?

reach = np.zeros(30)
for each in readings:
    for t, row in enumerate(each.depends):
        back = row[: t + 1][::-1][: len(reach)]
        reach[: len(back)] += back / row.sum() / sum(len(r.nats) for r in readings)
for k in (1, 3, 10):
    print(f"{reach[:k].sum():.0%} of the gradient goes to the last {k}")
assert OWN or reach[:10].sum() > 0.6

# %%
# Exercises
# ---------
# 1. **Change the beginning.** Put other letters into the name of the function that the page reads,
#    and nothing else. Up to which character does the surprise change? Does the gradient, summed
#    over the letters that you have changed, say beforehand where it changes most?
# 2. **Take a unit out.** Set the row of a unit in ``model.output_weight`` to 0: the output no
#    longer hears it (the other units still do). By how much does the surprise rise, of what kind
#    of character, and is the unit that follows the brackets missed more than others?
# 3. **Another task's page.** ``inspect --html`` opens a model of any task. Train one for seconds,
#    of those that the page :doc:`/tasks/index` lists, and read its page. What does it show that a
#    language model's does not?
#
# Where to go next
# ----------------
# **To understand more**
#
# - the walk of chapter 2: Werbos 1990, *Backpropagation through time: what it does and how to do
#   it*; cut as in chapter 3: Williams and Peng 1990, *An efficient gradient-based algorithm for
#   on-line training of recurrent network trajectories*
# - tapes: Griewank and Walther 2008, *Evaluating Derivatives*, chapter 3; Baydin, Pearlmutter,
#   Radul and Siskind 2018, *Automatic differentiation in machine learning: a survey*, section 3;
#   and ``tape.py``, in one sitting
# - why gradients vanish: Bengio, Simard and Frasconi 1994, *Learning long-term dependencies with
#   gradient descent is difficult*; Pascanu, Mikolov and Bengio 2013, *On the difficulty of
#   training recurrent neural networks*, section 2, and 3.2 on clipping
# - gates: Hochreiter and Schmidhuber 1997, *Long short-term memory*; Gers, Schmidhuber and Cummins
#   2000, *Learning to forget*; Cho et al. 2014, *Learning phrase representations using RNN
#   encoder-decoder*, section 2.3; and which of them matter: Greff et al. 2017, *LSTM: a search
#   space odyssey*, section 5
# - units that mean something: Karpathy, Johnson and Li 2016, *Visualizing and understanding
#   recurrent networks*, section 4.2
#
# **To write cells**
#
# - :doc:`/your_cells`: all that one may have; :doc:`/cells`: those that are shipped, with their
#   equations, to begin from
# - ``tinygrad-rnn check`` says whether yours is right, ``derive`` writes down its backward step,
#   ``explain`` shows what runs, and ``compare`` says whether it is better by more than the noise
# - recurrences that need no loop: Martin and Cundy 2018, *Parallelizing linear recurrent neural
#   nets over sequence length*; Gu, Goel and Ré 2022, *Efficiently modeling long sequences with
#   structured state spaces*; Gu and Dao 2023, *Mamba*; Feng et al. 2024, *Were RNNs all we
#   needed?*, section 3
#
# **To train on data of your own**
#
# - :doc:`/tasks/index`: each task with its commands, its format for your data, the simple methods
#   that it has to beat, and the numbers to expect
# - ``tinygrad-rnn train --text book.txt --time-budget 2h``, and then this chapter on what comes of
#   it; Merity, Keskar and Socher 2018, *Regularizing and optimizing LSTM language models*,
#   sections 2 and 4, on what keeps a model from learning by heart
# - a task of your own is a class of some twenty lines, to which ``CONTRIBUTING.md`` leads
#
# **To see how it is made fast**
#
# - :doc:`/loops`: what happens between a step as it is written down and two loops
# - ``benchmarks/README.md``: the times, beside those of others
