"""Layers, cells, the recurrent layer and task models."""

from tinygrad_rnn.models.attention import AdditiveAttention as AdditiveAttention
from tinygrad_rnn.models.attention import DotAttention as DotAttention
from tinygrad_rnn.models.attention import GeneralAttention as GeneralAttention
from tinygrad_rnn.models.cell import Cell as Cell
from tinygrad_rnn.models.cell import Gate as Gate
from tinygrad_rnn.models.cells import GRUCell as GRUCell
from tinygrad_rnn.models.cells import LSTMCell as LSTMCell
from tinygrad_rnn.models.cells import RNNCell as RNNCell
from tinygrad_rnn.models.decoding import Decoded as Decoded
from tinygrad_rnn.models.decoding import decode as decode
from tinygrad_rnn.models.embedding import Embedding as Embedding
from tinygrad_rnn.models.language import LanguageModel as LanguageModel
from tinygrad_rnn.models.language import perplexity as perplexity
from tinygrad_rnn.models.layers import Dropout as Dropout
from tinygrad_rnn.models.layers import LayerNorm as LayerNorm
from tinygrad_rnn.models.layers import Linear as Linear
from tinygrad_rnn.models.module import Module as Module
from tinygrad_rnn.models.padding import within_lengths as within_lengths
from tinygrad_rnn.models.pooling import last as last
from tinygrad_rnn.models.pooling import masked_max as masked_max
from tinygrad_rnn.models.pooling import masked_mean as masked_mean
from tinygrad_rnn.models.recurrent import GRU as GRU
from tinygrad_rnn.models.recurrent import LSTM as LSTM
from tinygrad_rnn.models.recurrent import RNN as RNN
from tinygrad_rnn.models.recurrent import Recurrent as Recurrent
