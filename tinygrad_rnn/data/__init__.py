"""Data: from text to batches, and the default corpus (`corpus.py`).

Text -> sentences -> tokens -> Vocabulary -> ids -> batches. Every step is a plain function, so that one can stop, look
and go on by oneself:

    sentences = tokenize(read_text("book.txt"))             # lists of tokens
    train, valid = train_valid_split(sentences)
    vocabulary = Vocabulary.build(train, size=4000)
    ids = [vocabulary.encode_sentence(s) for s in train]    # START w1 ... wn END
    for batch in stream(ids, batch_size=32, steps=24, start=vocabulary.start): ...

Batches are time-major, (T,B), and stand one token ahead of themselves: `targets[t]` follows `inputs[t]`.

Files of examples -> pairs (input, output) -> parts -> Labels -> batches of arrays:

    examples = [(text.split(), label) for label, text in read_labelled("reviews.csv")]
    train, valid, test = stratified_split(examples, np.random.default_rng(0))
    labels = Labels.build(label for _, label in train)
    for part in buckets(train, 32, key=lambda example: len(example[0])):
        ids, lengths = padded([vocabulary.encode(words) for words, _ in part])          # (T,B), (B,)
        targets = labels.encode(label for _, label in part)                             # (B,)
"""

from tinygrad_rnn.data.batches import Batch as Batch
from tinygrad_rnn.data.batches import bucketed as bucketed
from tinygrad_rnn.data.batches import stream as stream
from tinygrad_rnn.data.conll import read_conll as read_conll
from tinygrad_rnn.data.frames import read_frames as read_frames
from tinygrad_rnn.data.labelled import read_labelled as read_labelled
from tinygrad_rnn.data.labels import Labels as Labels
from tinygrad_rnn.data.messages import TextError as TextError
from tinygrad_rnn.data.padding import buckets as buckets
from tinygrad_rnn.data.padding import padded as padded
from tinygrad_rnn.data.parallel import read_parallel as read_parallel
from tinygrad_rnn.data.readers import read_csv as read_csv
from tinygrad_rnn.data.readers import read_lines as read_lines
from tinygrad_rnn.data.readers import read_text as read_text
from tinygrad_rnn.data.records import read_csv_rows as read_csv_rows
from tinygrad_rnn.data.records import read_jsonl as read_jsonl
from tinygrad_rnn.data.records import read_tsv as read_tsv
from tinygrad_rnn.data.series import read_series as read_series
from tinygrad_rnn.data.splits import shuffled_split as shuffled_split
from tinygrad_rnn.data.splits import stratified_split as stratified_split
from tinygrad_rnn.data.splits import train_valid_split as train_valid_split
from tinygrad_rnn.data.tokens import detokenize as detokenize
from tinygrad_rnn.data.tokens import tokenize as tokenize
from tinygrad_rnn.data.vocabulary import Vocabulary as Vocabulary
