"""Metrics: how far what a model said is from what is right, `gold`.

They are functions of two lists, what is right and what was said, of as many entries, in that order. Each raises
ValueError, in one sentence, for lists that do not fit and for empty ones.
"""

from tinygrad_rnn.metrics.classes import Scores as Scores
from tinygrad_rnn.metrics.classes import accuracy as accuracy
from tinygrad_rnn.metrics.classes import label_scores as label_scores
from tinygrad_rnn.metrics.classes import macro_f1 as macro_f1
from tinygrad_rnn.metrics.confusion import ConfusionMatrix as ConfusionMatrix
from tinygrad_rnn.metrics.confusion import confusion_matrix as confusion_matrix
from tinygrad_rnn.metrics.edits import edit_distance as edit_distance
from tinygrad_rnn.metrics.edits import exact_match as exact_match
from tinygrad_rnn.metrics.edits import label_error_rate as label_error_rate
from tinygrad_rnn.metrics.forecasts import mae as mae
from tinygrad_rnn.metrics.forecasts import mase as mase
from tinygrad_rnn.metrics.spans import span_f1 as span_f1
from tinygrad_rnn.metrics.spans import span_scores as span_scores
from tinygrad_rnn.metrics.spans import tagged_spans as tagged_spans
from tinygrad_rnn.metrics.translation import bleu as bleu
from tinygrad_rnn.metrics.translation import chrf as chrf
