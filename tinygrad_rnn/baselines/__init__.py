"""Baselines: what a model must beat.

Each but the n-grams is fitted to inputs and outputs and predicts outputs, so that the metric that scores the model
scores it too:

    said = NaiveBayes(order=2).fit(train_texts, train_labels).predict(test_texts)
    accuracy(test_labels, said)
"""

from tinygrad_rnn.baselines.bag import Bag as Bag
from tinygrad_rnn.baselines.baseline import Baseline as Baseline
from tinygrad_rnn.baselines.endings import Endings as Endings
from tinygrad_rnn.baselines.forecasting import Autoregression as Autoregression
from tinygrad_rnn.baselines.forecasting import LastValue as LastValue
from tinygrad_rnn.baselines.frames import NearestFrame as NearestFrame
from tinygrad_rnn.baselines.frequencies import MostFrequent as MostFrequent
from tinygrad_rnn.baselines.frequencies import TagFrequencies as TagFrequencies
from tinygrad_rnn.baselines.linear_words import LinearWords as LinearWords
from tinygrad_rnn.baselines.logistic import LogisticRegression as LogisticRegression
from tinygrad_rnn.baselines.naive_bayes import NaiveBayes as NaiveBayes
from tinygrad_rnn.baselines.neighbours import NearestNeighbour as NearestNeighbour
from tinygrad_rnn.baselines.ngram import ngram_nats as ngram_nats
from tinygrad_rnn.baselines.ngram import ngram_nats_by_order as ngram_nats_by_order
from tinygrad_rnn.baselines.places import AtPlaces as AtPlaces
from tinygrad_rnn.baselines.regression import LinearRegression as LinearRegression
from tinygrad_rnn.baselines.regression import MeanOutput as MeanOutput
from tinygrad_rnn.baselines.tag_ngrams import TagNgrams as TagNgrams
from tinygrad_rnn.baselines.word_for_word import WordForWord as WordForWord
