"""
8. A language model
===================

All together, on real text: what ``tinygrad-rnn train`` does, in small. What the loss means, which
numbers to expect, and how to know whether yours are good. Give it a text of your own: ``python
examples/tutorial/08_a_language_model.py my.txt``; without one it reads the documentation that
comes with every Python.
"""

import sys
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np

from tinygrad_rnn.corpus import standard_library
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import generate
from tinygrad_rnn.ngram import ngram_nats_by_order
from tinygrad_rnn.optim import RMSprop
from tinygrad_rnn.text import Batch, Vocabulary, bucketed, detokenize, read_text, split, tokenize
from tinygrad_rnn.training import evaluate, fit

# %%
# From text to numbers
# --------------------
# Sentences are cut into words. Only the most common ones get a number of their own; the rest
# are one word, UNKNOWN: too rare to learn anything about. Every sentence begins with START,
# which is given, and ends with END, which must be foretold.

own = [argument for argument in sys.argv[1:] if argument.endswith(".txt")]
sentences = tokenize(read_text(own[0])) if own else [s.lower().split() for s in standard_library().sentences[:2500]]
train, valid = split(sentences, 0.1)
vocabulary = Vocabulary.build(train, 800)
numbers = [[vocabulary.encode_sentence(sentence) for sentence in part] for part in (train, valid)]
print(f"{len(train)} sentences to learn from, {len(valid)} to be tested on, {len(vocabulary)} words")

# %%
# Teacher forcing, and batches of like length
# -------------------------------------------
# At every step the model reads the *true* word before, whatever it said itself: that is called
# teacher forcing, and it is why all steps of a sentence can be trained at once. Sentences of
# like length go into one batch, so that little is padding.

batch = next(bucketed(numbers[0], 8, rng=np.random.default_rng(0)))
print("reads: ", vocabulary.decode(batch.inputs[:6, 0]))
print("wanted:", vocabulary.decode(batch.targets[:6, 0]))

# %%
# What to expect
# --------------
# Before training, every word is as likely as any other: log V nats. And how good is good? A
# table of word counts is the bar: the unigram knows which words are common, the bigram which
# follow one another. **Perplexity** is exp(nats): as uncertain as a fair choice among so many
# words.

bars = ngram_nats_by_order(numbers[0], numbers[1], 3, vocabulary)
print(f"log V {np.log(len(vocabulary)):.2f}; n-grams {' '.join(f'{nats:.2f}' for nats in bars)} nats per word")

# %%
# Train
# -----
# ``fit`` yields a record after every step, and the loop is ours: when to test, to print, to
# stop. The norm of the gradient is clipped, against the rare step that would throw the model
# far away (chapter 4).

model = LanguageModel(len(vocabulary), 96, 96, rng=np.random.default_rng(0), dropout=0.3)
optimizer = RMSprop(model.parameters(), lr=0.01)


def epoch(number: int) -> Iterator[Batch]:
    """The batches of an epoch, in an order of its own."""
    return bucketed(numbers[0], 32, rng=np.random.default_rng(number))


losses, tested = [], []
for record in fit(model, optimizer, epoch, clip_norm=5.0, rng=np.random.default_rng(1)):
    losses.append(record.loss)
    if record.last_of_epoch:
        tested.append((record.step, evaluate(model, bucketed(numbers[1], 64)).nats))
        print(f"after epoch {record.epoch + 1}: {tested[-1][1]:.3f} nats, perplexity {np.exp(tested[-1][1]):.0f}")
    if record.epoch == 9 and record.last_of_epoch:
        break

# %%
# The first loss is where it must be, and the curve falls below all the bars: the network uses more of
# the past than two words. (On so little text three words know no more than two: most threes are seen once.)

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.plot(losses, color="#b0c4d8", label="each batch")
axes.plot(*zip(*tested, strict=True), "o-", color="#1f4e79", label="sentences not seen")
for order, nats in enumerate(bars, 1):
    axes.axhline(nats, color="#888888", linestyle=":")
    axes.annotate(f"{order}-gram", (len(losses), nats), ha="right", va="bottom")
axes.set_xlabel("step")
axes.set_ylabel("nats per word")
axes.legend()
plt.show()
assert abs(losses[0] - np.log(len(vocabulary))) < 0.3 and tested[-1][1] < (bars[0] if own else min(bars))

# %%
# Let it write
# ------------

rng = np.random.default_rng(2)
for _ in range(4):
    never = {vocabulary.unknown, vocabulary.padding, vocabulary.start}
    ids = generate(model, [vocabulary.start], rng, stop=vocabulary.end, max_length=25, temperature=0.8, never=never)
    print("-", detokenize(vocabulary.decode(ids)))

# %%
# Nonsense, in the right tone of voice: that is what ten seconds buy. More of it: ``tinygrad-rnn
# train`` (the whole text, a larger vocabulary), and from there ``--hidden``, ``--layers``,
# ``--time-budget``. Word vectors that were trained on a larger text can be loaded into the
# embedding before the first step: ``model.embedding.load_vectors("glove.txt",
# vocabulary.tokens)``.
