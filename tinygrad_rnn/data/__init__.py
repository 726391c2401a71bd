"""Data: from text to batches, and the default corpus (`corpus.py`).

Text -> sentences -> tokens -> Vocabulary -> ids -> batches. Every step is a plain function, so that one can stop, look
and go on by oneself:

    sentences = tokenize(read_text("book.txt"))             # lists of tokens
    train, valid = train_valid_split(sentences)
    vocabulary = Vocabulary.build(train, size=4000)
    ids = [vocabulary.encode_sentence(s) for s in train]    # START w1 ... wn END
    for batch in stream(ids, batch_size=32, steps=24, start=vocabulary.start): ...

Batches are time-major, (T,B), and stand one token ahead of themselves: `targets[t]` follows `inputs[t]`.
"""

from tinygrad_rnn.data.batches import Batch as Batch
from tinygrad_rnn.data.batches import bucketed as bucketed
from tinygrad_rnn.data.batches import stream as stream
from tinygrad_rnn.data.messages import TextError as TextError
from tinygrad_rnn.data.readers import read_csv as read_csv
from tinygrad_rnn.data.readers import read_text as read_text
from tinygrad_rnn.data.splits import train_valid_split as train_valid_split
from tinygrad_rnn.data.tokens import detokenize as detokenize
from tinygrad_rnn.data.tokens import tokenize as tokenize
from tinygrad_rnn.data.vocabulary import Vocabulary as Vocabulary
