"""What examples/further/what_the_sources_get_wrong.py says of PyTorch, by PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import Parameter, Tensor, ops
from tinygrad_rnn.optim import RMSprop, clip_by_norm

torch: Any = pytest.importorskip("torch")


def test_its_rmsprop_steps_a_hundred_times_as_far_as_ours_at_a_gradient_of_one_in_ten_thousand() -> None:
    def first_step(kind: Any, parameter: Any, gradient: Any, **options: Any) -> float:
        parameter.grad = gradient
        kind([parameter], lr=1.0, **options).step()
        return -float(parameter.data[0])

    theirs = first_step(torch.optim.RMSprop, torch.nn.Parameter(torch.zeros(1).double()), torch.tensor([1e-4]).double())
    ours = first_step(RMSprop, Parameter(np.zeros(1)), np.array([1e-4]))
    as_theirs = {"decay": 0.99, "eps": 1e-8, "eps_inside": False}
    alike = first_step(RMSprop, Parameter(np.zeros(1)), np.array([1e-4]), **as_theirs)
    assert f"{theirs:.4f} {ours:.4f}" == "9.9900 0.1000"
    np.testing.assert_allclose(alike, theirs, rtol=1e-6)


def test_its_hard_sigmoid_is_another_one() -> None:
    a = np.linspace(-6, 6, 12_001)
    theirs = torch.nn.functional.hardsigmoid(torch.tensor(a)).numpy()
    np.testing.assert_allclose(theirs, np.clip(a / 6 + 0.5, 0, 1), atol=1e-12)
    assert f"{np.abs(theirs - ops.hard_sigmoid(Tensor(a)).numpy()).max():.3f}" == "0.083"


def test_its_loss_is_the_mean_of_those_that_count() -> None:
    scores, targets = np.random.default_rng(0).standard_normal((5, 3)), np.array([0, 2, 1, -100, 1])
    theirs = torch.nn.CrossEntropyLoss()(torch.tensor(scores), torch.tensor(targets)).item()
    ours = ops.softmax_cross_entropy(Tensor(scores), targets, ignore_index=-100).item()
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)


def test_what_it_clips_is_shorter_than_the_limit_by_one_in_a_million_of_the_norm() -> None:
    gradient = np.array([3.0, 4.0])
    theirs = torch.nn.Parameter(torch.zeros(2).double())
    theirs.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_norm_([theirs], 1.0)
    ours = Parameter(np.zeros(2))
    ours.grad = gradient.copy()
    clip_by_norm([ours], 1.0)
    lengths = [np.linalg.norm(each) for each in (theirs.grad.numpy(), ours.grad)]
    np.testing.assert_allclose(lengths, [5 / (5 + 1e-6), 1], rtol=1e-12)


def test_its_recurrent_layers_begin_within_one_over_the_root_of_their_size() -> None:
    hidden = 400
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, hidden)
    bound = hidden**-0.5
    for values in layer.parameters():
        assert 0.99 * bound < values.detach().abs().max() <= bound
    forget = slice(hidden, 2 * hidden)
    bias = (layer.bias_ih_l0 + layer.bias_hh_l0)[forget].detach()
    assert abs(float(bias.mean())) < 0.01 and bias.abs().max() < 2 * bound
    largest = np.abs(np.linalg.eigvals(layer.weight_hh_l0[forget].detach().numpy())).max()
    assert 0.5 < largest < 0.65  # about the root of 1/3
