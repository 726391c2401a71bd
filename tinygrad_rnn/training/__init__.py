"""Training: the loop, runs, settings, log and report."""

from tinygrad_rnn.training.fitting import Evaluation as Evaluation
from tinygrad_rnn.training.fitting import Progress as Progress
from tinygrad_rnn.training.fitting import Record as Record
from tinygrad_rnn.training.fitting import evaluate as evaluate
from tinygrad_rnn.training.fitting import fit as fit
