"""Differentiable ops under NumPy's names: Tensors in, a Tensor out (arrays in, an array out)."""

from tinygrad_rnn.ops.activations import elu as elu
from tinygrad_rnn.ops.activations import gelu as gelu
from tinygrad_rnn.ops.activations import hard_sigmoid as hard_sigmoid
from tinygrad_rnn.ops.activations import leaky_relu as leaky_relu
from tinygrad_rnn.ops.activations import log_sigmoid as log_sigmoid
from tinygrad_rnn.ops.activations import log_softmax as log_softmax
from tinygrad_rnn.ops.activations import relu as relu
from tinygrad_rnn.ops.activations import sigmoid as sigmoid
from tinygrad_rnn.ops.activations import softmax as softmax
from tinygrad_rnn.ops.activations import softplus as softplus
from tinygrad_rnn.ops.arithmetic import abs as abs
from tinygrad_rnn.ops.arithmetic import add as add
from tinygrad_rnn.ops.arithmetic import clip as clip
from tinygrad_rnn.ops.arithmetic import div as div
from tinygrad_rnn.ops.arithmetic import floor as floor
from tinygrad_rnn.ops.arithmetic import floor_divide as floor_divide
from tinygrad_rnn.ops.arithmetic import maximum as maximum
from tinygrad_rnn.ops.arithmetic import minimum as minimum
from tinygrad_rnn.ops.arithmetic import mod as mod
from tinygrad_rnn.ops.arithmetic import mul as mul
from tinygrad_rnn.ops.arithmetic import neg as neg
from tinygrad_rnn.ops.arithmetic import pow as pow
from tinygrad_rnn.ops.arithmetic import reciprocal as reciprocal
from tinygrad_rnn.ops.arithmetic import sign as sign
from tinygrad_rnn.ops.arithmetic import sqrt as sqrt
from tinygrad_rnn.ops.arithmetic import square as square
from tinygrad_rnn.ops.arithmetic import sub as sub
from tinygrad_rnn.ops.arithmetic import where as where
from tinygrad_rnn.ops.arithmetic import zeros_like as zeros_like
from tinygrad_rnn.ops.comparisons import argmax as argmax
from tinygrad_rnn.ops.comparisons import equal as equal
from tinygrad_rnn.ops.comparisons import greater as greater
from tinygrad_rnn.ops.comparisons import greater_equal as greater_equal
from tinygrad_rnn.ops.comparisons import less as less
from tinygrad_rnn.ops.comparisons import less_equal as less_equal
from tinygrad_rnn.ops.comparisons import logical_and as logical_and
from tinygrad_rnn.ops.comparisons import logical_not as logical_not
from tinygrad_rnn.ops.comparisons import logical_or as logical_or
from tinygrad_rnn.ops.comparisons import not_equal as not_equal
from tinygrad_rnn.ops.elementary import cos as cos
from tinygrad_rnn.ops.elementary import erf as erf
from tinygrad_rnn.ops.elementary import exp as exp
from tinygrad_rnn.ops.elementary import expm1 as expm1
from tinygrad_rnn.ops.elementary import log as log
from tinygrad_rnn.ops.elementary import log1p as log1p
from tinygrad_rnn.ops.elementary import sin as sin
from tinygrad_rnn.ops.elementary import tanh as tanh
from tinygrad_rnn.ops.indexing import getitem as getitem
from tinygrad_rnn.ops.indexing import scatter as scatter
from tinygrad_rnn.ops.indexing import scatter_add as scatter_add
from tinygrad_rnn.ops.indexing import take as take
from tinygrad_rnn.ops.indexing import take_along_axis as take_along_axis
from tinygrad_rnn.ops.losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from tinygrad_rnn.ops.losses import linear_cross_entropy as linear_cross_entropy
from tinygrad_rnn.ops.losses import mse as mse
from tinygrad_rnn.ops.losses import softmax_cross_entropy as softmax_cross_entropy
from tinygrad_rnn.ops.noise import dropout as dropout
from tinygrad_rnn.ops.products import einsum as einsum
from tinygrad_rnn.ops.products import matmul as matmul
from tinygrad_rnn.ops.products import outer as outer
from tinygrad_rnn.ops.reductions import cumsum as cumsum
from tinygrad_rnn.ops.reductions import logsumexp as logsumexp
from tinygrad_rnn.ops.reductions import max as max
from tinygrad_rnn.ops.reductions import mean as mean
from tinygrad_rnn.ops.reductions import min as min
from tinygrad_rnn.ops.reductions import norm as norm
from tinygrad_rnn.ops.reductions import prod as prod
from tinygrad_rnn.ops.reductions import sum as sum
from tinygrad_rnn.ops.reductions import var as var
from tinygrad_rnn.ops.shapes import concatenate as concatenate
from tinygrad_rnn.ops.shapes import expand_dims as expand_dims
from tinygrad_rnn.ops.shapes import flip as flip
from tinygrad_rnn.ops.shapes import moveaxis as moveaxis
from tinygrad_rnn.ops.shapes import pad as pad
from tinygrad_rnn.ops.shapes import repeat as repeat
from tinygrad_rnn.ops.shapes import reshape as reshape
from tinygrad_rnn.ops.shapes import split as split
from tinygrad_rnn.ops.shapes import squeeze as squeeze
from tinygrad_rnn.ops.shapes import stack as stack
from tinygrad_rnn.ops.shapes import swapaxes as swapaxes
from tinygrad_rnn.ops.shapes import transpose as transpose
from tinygrad_rnn.ops.shapes import unstack as unstack
from tinygrad_rnn.ops.surrogates import straight_through as straight_through
from tinygrad_rnn.tape import astype as astype
from tinygrad_rnn.tape import broadcast_to as broadcast_to
from tinygrad_rnn.tape import sum_to as sum_to

__all__ = [
    "abs",
    "add",
    "argmax",
    "astype",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "clip",
    "concatenate",
    "cos",
    "cumsum",
    "div",
    "dropout",
    "einsum",
    "elu",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flip",
    "floor",
    "floor_divide",
    "gelu",
    "getitem",
    "greater",
    "greater_equal",
    "hard_sigmoid",
    "leaky_relu",
    "less",
    "less_equal",
    "linear_cross_entropy",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mod",
    "moveaxis",
    "mse",
    "mul",
    "neg",
    "norm",
    "not_equal",
    "outer",
    "pad",
    "pow",
    "prod",
    "reciprocal",
    "relu",
    "repeat",
    "reshape",
    "scatter",
    "scatter_add",
    "sigmoid",
    "sign",
    "sin",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "straight_through",
    "sub",
    "sum",
    "sum_to",
    "swapaxes",
    "take",
    "take_along_axis",
    "tanh",
    "transpose",
    "unstack",
    "var",
    "where",
    "zeros_like",
]
