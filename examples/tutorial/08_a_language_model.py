"""
8. A language model
===================

All together, on real text: what ``tinygrad-rnn train`` does, in small. What the loss means, which
numbers to expect, and how to know whether yours are good. Give it a text of your own, some 20,000
words of it: its path is the value of ``OWN``. Without one it reads the documentation that comes
with every Python.
"""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np

from tinygrad_rnn.baselines.ngram import ngram_nats_by_order
from tinygrad_rnn.data import (
    Batch,
    Vocabulary,
    bucketed,
    detokenize,
    read_text,
    tokenize,
    train_valid_split,
)
from tinygrad_rnn.data.corpus import standard_library
from tinygrad_rnn.models import LanguageModel
from tinygrad_rnn.models.sampling import generate
from tinygrad_rnn.optim import RMSprop
from tinygrad_rnn.training import evaluate, fit

# %%
# From text to numbers
# --------------------
# Sentences are cut into words. Only the most common ones get a number of their own; the rest
# are one word, UNKNOWN_TOKEN: too rare to learn anything about. Every sentence begins with
# SENTENCE_START, which is given, and ends with SENTENCE_END, which must be foretold.

OWN = ""  # the path of a text, "my.txt"

if OWN:
    sentences = tokenize(read_text(OWN))
else:
    sentences = [s.lower().split() for s in standard_library().sentences[:2500]]
train, valid = train_valid_split(sentences, 0.1)
size = min(800, 4 + len({word for sentence in train for word in sentence}))
vocabulary = Vocabulary.build(train, size)
numbers = [[vocabulary.encode_sentence(s) for s in part] for part in (train, valid)]
print(
    f"{len(train)} sentences to learn from, {len(valid)} to be tested on, {size} words"
)

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
print(f"log V {np.log(size):.2f}, n-grams", " ".join(f"{nats:.2f}" for nats in bars))

# %%
# Train
# -----
# ``fit`` yields a record after every step, and the loop is ours: when to test, to print, to
# stop. The norm of the gradient is clipped, against the rare step that would throw the model
# far away (chapter 4).

dropout = 0.3  # of the layers' inputs: without it, so small a text is learned by heart
model = LanguageModel(size, 96, 96, dropout=dropout, rng=np.random.default_rng(0))
optimizer = RMSprop(model.parameters(), lr=0.01)


def epoch(number: int) -> Iterator[Batch]:
    """The batches of an epoch, in an order of its own."""
    return bucketed(numbers[0], 32, rng=np.random.default_rng(number))


losses, tested = [], []
for record in fit(model, optimizer, epoch, clip_norm=5.0, rng=np.random.default_rng(1)):
    losses.append(record.loss)
    if record.last_of_epoch:
        nats = evaluate(model, bucketed(numbers[1], 64)).loss
        tested.append((record.step, nats))
        print(
            f"epoch {record.epoch + 1:2}: {nats:.3f} nats, perplexity {np.exp(nats):.0f}"
        )
        if len(tested) == 10:
            break

# %%
# The first loss is where it must be, and the curve falls below all the bars. (That does
# not yet show that it uses more of the past than two words: the third bar is no lower than the
# second, since on so little text most runs of three words are seen once.)

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.plot(losses, color="#b0c4d8", label="each batch")
axes.plot(*zip(*tested, strict=True), "o-", color="#1f4e79", label="sentences not seen")
for order, nats in enumerate(bars, 1):
    axes.axhline(nats, color="#888888", linestyle=":")
    place = (len(losses) if order % 2 else 0, nats)
    axes.annotate(
        f"{order}-gram", place, va="bottom" if order % 2 else "top", ha="center"
    )
axes.set(xlabel="step", ylabel="nats per word")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()
assert abs(losses[0] - np.log(size)) < 0.3
assert OWN or tested[-1][1] < min(bars)

# %%
# Let it write
# ------------
# A **temperature** below 1 makes likely words likelier still.

never = {vocabulary.unknown, vocabulary.padding, vocabulary.start}
rng = np.random.default_rng(2)
for _ in range(4):
    start, end = [vocabulary.start], vocabulary.end
    ids = generate(
        model, start, rng, temperature=0.8, stop=end, max_length=25, never=never
    )
    print("-", detokenize(vocabulary.decode(ids)))

# %%
# Nonsense, in the right tone of voice: that is what ten seconds buy.

print(f"{tested[-1][1]:.2f} nats, {bars[1] - tested[-1][1]:.2f} less than the bigram")

# %%
# What more time buys, on the same documentation, is in the README: ``tinygrad-rnn train``
# tells its own distance from the best of its bars. Nats of different vocabularies do not compare:
# a small one calls more words UNKNOWN, which is easy to foretell. The distance from the bars
# does.
#
# Word vectors that were trained on a larger text can be loaded into the embedding before the
# first step: ``model.embedding.load_vectors("glove.txt", vocabulary.tokens)``, or
# ``tinygrad-rnn train --vectors glove.txt``.

# %%
# Exercises
# ---------
# 1. **Temperature.** What does it do to the scores? Write it for a row of them. What becomes of
#    the chances as it goes to 0, and as it grows without end? Is the entropy always less at a
#    lower one?
# 2. **The bar, by hand.** The unigram of this page is a table of counts. Find its nats without
#    ``ngram_nats_by_order``, to the last digit. (The note at the top of ``baselines/ngram.py``
#    says what it gives to a word that was never seen.)
# 3. **The nucleus.** Top-p sampling (Holtzman et al. 2020, section 3.1) draws from the fewest
#    words that together have the chance ``p``. Write it for a row of chances, and look at how many
#    words that is at different places of a sentence.
# 4. **With and without dropout.** Train on a quarter of the text with dropout 0, 0.3 and 0.6, to
#    the same number of epochs. What does each do to the loss of what is trained on, and what to
#    that of what is not?
