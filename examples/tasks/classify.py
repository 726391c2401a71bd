"""A classifier learns what only the order of words tells, and shows which words it
went by.

"The film was not bad but the plot was dull" is negative, and with its halves
exchanged it is positive: the half after "but" decides, and "not" turns an adjective
round. Whoever counts words alone sees the same ones both times. What is printed:
how many new sentences get the right label, those two with theirs, and how much
attention counted each word.

    python examples/tasks/classify.py
"""

import tinygrad_rnn as tg

found = tg.tasks.train("classify", problem="order", pooling="attention", lr=4e-3, epochs=5)
print(f"{found.result.metrics['accuracy']:.3f} of {found.result.count} new sentences have the right label")

halves = ["the film was not bad", "the plot was dull"]
for sentence in (" but ".join(halves), " but ".join(halves[::-1])):
    words = sentence.split()
    ids, lengths, _ = found.task.collate([(words, None)])
    weights = found.model.attention_weights(ids, lengths).numpy()[0]
    print(f"\n{sentence}: {found.predict([sentence])[0]}")
    print(" ".join(word.rjust(4) for word in words))
    print(" ".join(f"{weight:.2f}".rjust(len(word)) for word, weight in zip(words, weights, strict=True)))
assert found.result.metrics["accuracy"] > 0.95
