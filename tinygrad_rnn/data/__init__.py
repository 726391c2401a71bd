"""Data: text to tokens, vocabularies, batches; the default corpus."""

from tinygrad_rnn.data.text import Batch as Batch
from tinygrad_rnn.data.text import TextError as TextError
from tinygrad_rnn.data.text import Vocabulary as Vocabulary
from tinygrad_rnn.data.text import bucketed as bucketed
from tinygrad_rnn.data.text import detokenize as detokenize
from tinygrad_rnn.data.text import read_csv as read_csv
from tinygrad_rnn.data.text import read_text as read_text
from tinygrad_rnn.data.text import stream as stream
from tinygrad_rnn.data.text import tokenize as tokenize
from tinygrad_rnn.data.text import train_valid_split as train_valid_split
