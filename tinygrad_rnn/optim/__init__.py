"""Optimisers: the formulas, what they share, clipping, schedules."""

from tinygrad_rnn.optim.clipping import clip_by_norm as clip_by_norm
from tinygrad_rnn.optim.clipping import clip_by_value as clip_by_value
from tinygrad_rnn.optim.formulas import SGD as SGD
from tinygrad_rnn.optim.formulas import AdaDelta as AdaDelta
from tinygrad_rnn.optim.formulas import AdaGrad as AdaGrad
from tinygrad_rnn.optim.formulas import Adam as Adam
from tinygrad_rnn.optim.formulas import RMSprop as RMSprop
from tinygrad_rnn.optim.optimizer import Optimizer as Optimizer
from tinygrad_rnn.optim.schedules import CosineDecay as CosineDecay
from tinygrad_rnn.optim.schedules import ExponentialDecay as ExponentialDecay
from tinygrad_rnn.optim.schedules import HalveOnRise as HalveOnRise
from tinygrad_rnn.optim.schedules import StepDecay as StepDecay
