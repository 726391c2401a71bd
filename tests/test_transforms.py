"""Derivatives as functions of functions, against closed forms and against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn import ops
from tinygrad_rnn.checks.derivatives import gradcheck, numerical_gradient
from tinygrad_rnn.surroundings import no_grad
from tinygrad_rnn.tensor import Parameter, Tensor
from tinygrad_rnn.transforms import grad, hvp, jacobian, jvp, value_and_grad, vjp

A = np.random.default_rng(1).uniform(-1, 1, (3, 3))
X, V, U = np.random.default_rng(2).uniform(-1, 1, (3, 3))
points = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(-1, 1, 3))


def field(x: Any) -> Any:
    """From three numbers to three, with every entry of the Jacobian at work."""
    return ops.tanh(x @ A) * x + ops.sin(x[::-1])


def height(x: Any) -> Any:
    return (field(x) * field(x)).sum()


def close(a: Any, b: Any) -> None:
    a, b = (x.numpy() if isinstance(x, Tensor) else x for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# --- Closed forms ----------------------------------------------------------------------------------------------


@given(points)
def test_a_quadratic_form_has_its_textbook_derivatives(x: np.ndarray[Any, Any]) -> None:
    def quadratic(x: Any) -> Any:
        return 0.5 * (x @ A @ x)

    symmetric = (A + A.T) / 2
    value, gradient = value_and_grad(quadratic)(x)
    close(value, 0.5 * x @ A @ x)
    close(gradient, symmetric @ x)
    close(hvp(quadratic, x, V), symmetric @ V)
    close(jacobian(grad(quadratic))(x), symmetric)


@given(st.floats(0.5, 2))
def test_every_order_of_a_power_is_right(at: float) -> None:
    f: Any = lambda x: x**5  # noqa: E731
    x = Tensor(np.array(at))
    for order, factor in enumerate([5, 20, 60, 120, 120, 0], 1):
        f = grad(f)
        close(f(x), np.array(factor * at ** max(5 - order, 0)))


def test_the_derivatives_of_sine_go_round() -> None:
    f: Any = ops.sin
    for quarter in range(1, 9):
        f = grad(f)
        close(f(Tensor(np.array(0.7))), np.array(np.sin(0.7 + quarter * np.pi / 2)))


# --- Against each other ----------------------------------------------------------------------------------------


@given(points, points, points)
def test_jvp_vjp_and_the_jacobian_agree(x: Any, v: Any, u: Any) -> None:
    matrix = jacobian(field)(x).numpy()
    value, tangent = jvp(field, (x,), (v,))
    close(value, field(Tensor(x)))
    close(tangent, matrix @ v)
    value, pullback = vjp(field, x)
    close(value, field(Tensor(x)))
    close(pullback(u)[0], u @ matrix)
    rows = [lambda y, k=k: field(Tensor(y)).numpy()[k] for k in range(3)]
    numeric = np.stack([numerical_gradient(row, [x], 0) for row in rows])
    np.testing.assert_allclose(matrix, numeric, rtol=1e-8, atol=1e-9)


@given(points, points)
def test_the_hessian_is_symmetric_and_hvp_is_its_product(x: Any, v: Any) -> None:
    hessian = jacobian(grad(height))(x).numpy()
    close(hessian, hessian.T)
    close(hvp(height, x, v), hessian @ v)
    close(jvp(grad(height), (x,), (v,))[1], hessian @ v)  # forward over reverse
    close(vjp(grad(height), x)[1](v)[0], hessian @ v)  # reverse over reverse


def test_transforms_can_be_differentiated_themselves() -> None:
    assert gradcheck(jacobian(field), X)
    assert gradcheck(lambda x, v: jvp(field, (x,), (v,))[1], X, V, order=2)
    assert gradcheck(lambda x, u: vjp(field, x)[1](u)[0], X, U, order=2)
    assert gradcheck(lambda x, v: hvp(height, x, v), X, V)
    assert gradcheck(lambda x: value_and_grad(height)(x)[0] * 2.0, X, order=2)


def test_a_pullback_can_be_called_many_times() -> None:
    pullback = vjp(field, X)[1]
    first = pullback(U)[0].numpy().copy()
    pullback(V)
    np.testing.assert_array_equal(pullback(U)[0].numpy(), first)


# --- Which variable is meant -----------------------------------------------------------------------------------


def test_an_inner_derivative_does_not_see_the_variable_of_an_outer_one() -> None:
    # Siskind & Pearlmutter 2005: d/dx (x * d/dy (x + y)) is 1.
    x = Tensor(np.array(1.0))
    assert grad(lambda x: x * grad(lambda y: x + y)(Tensor(np.array(1.0))))(x).item() == 1.0
    assert grad(lambda x: x * grad(lambda y: x + y)(x))(x).item() == 1.0
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(Tensor(np.array(3.0))).item() == 6.0
    assert grad(lambda x: x * jvp(lambda y: x * y, (x,), (np.array(1.0),))[1])(Tensor(np.array(3.0))).item() == 6.0


def test_the_same_tensor_may_be_the_variable_twice() -> None:
    x = Tensor(np.array(3.0))
    inner: Any = lambda y: grad(lambda z: y * z * z)(y)  # noqa: E731  (2 y z at z = y)
    assert inner(x).item() == 18.0
    assert grad(inner)(x).item() == 12.0  # of 2 y y
    assert grad(lambda y: x * y)(x).item() == 3.0  # the x of the closure is a constant
    a, b = grad(lambda a, b: a * b * b, (0, 1))(x, x)
    assert (a.item(), b.item()) == (9.0, 18.0)


def test_an_inner_gradient_that_is_constant_contributes_nothing() -> None:
    assert grad(lambda x: grad(lambda y: y * 3.0)(x) + x)(Tensor(np.array(2.0))).item() == 1.0


# --- Closures --------------------------------------------------------------------------------------------------


def test_a_gradient_penalty_reaches_the_parameters() -> None:
    w = np.array([0.3, -0.5, 0.2])

    def penalty(p: Any) -> Any:
        slope = grad(lambda x: ops.tanh((x * p).sum()))(Tensor(X))
        return (slope * slope).sum()

    parameter = Parameter(w)
    penalty(parameter).backward()
    numeric = numerical_gradient(lambda w: penalty(Tensor(w)).item(), [w], 0)
    np.testing.assert_allclose(parameter.grad, numeric, rtol=1e-8)


def test_differentiating_by_an_argument_leaves_the_gradients_of_parameters_alone() -> None:
    p = Parameter(A)
    grad(lambda x: (x @ p).sum())(Tensor(X))
    hvp(lambda x: ops.tanh(x @ p).sum(), Tensor(X), V)
    assert p.grad is None
    leaf = Tensor(X, requires_grad=True)
    grad(lambda x: (x * x).sum())(leaf)
    assert leaf.grad is None


def test_a_gradient_at_a_parameter_or_leaf_stays_on_its_tape() -> None:
    leaf = Tensor(X, requires_grad=True)
    g = grad(lambda x: (x * x * x).sum())(leaf)
    (g * 1.0).sum().backward()
    np.testing.assert_allclose(leaf.grad, 6 * X)


@pytest.mark.parametrize("quiet", [False, True])
def test_results_are_off_the_tape_when_nothing_around_them_can_be_differentiated(quiet: bool) -> None:
    from contextlib import nullcontext  # noqa: PLC0415

    with no_grad() if quiet else nullcontext():
        value, gradient = value_and_grad(height)(Tensor(X))
        out, pullback = vjp(field, X)
        results = [value, gradient, out, *pullback(U), *jvp(field, (X,), (V,)), jacobian(field)(X), hvp(height, X, V)]
    assert not any(r.requires_grad for r in results)


def test_no_grad_keeps_parameters_out_of_a_derivative_but_not_its_value() -> None:
    p = Parameter(A)
    with no_grad():
        g = grad(lambda x: ops.tanh(x @ p).sum())(Tensor(X))
    assert not g.requires_grad
    close(g, grad(lambda x: ops.tanh(x @ p).sum())(Tensor(X)).detach())


# --- Arguments -------------------------------------------------------------------------------------------------


def test_argnums_choose_the_arguments() -> None:
    f = lambda a, b, c: (a * b * b * c).sum()  # noqa: E731
    a, b, c = X, V, U
    close(grad(f)(a, b, c), b * b * c)
    close(grad(f, 1)(a, b, c), 2 * a * b * c)
    close(grad(f, -1)(a, b, c), a * b * b)
    both = grad(f, (2, 0))(a, b, c)
    assert isinstance(both, tuple)
    close(both[0], a * b * b)
    close(both[1], b * b * c)
    assert isinstance(grad(f, (1,))(a, b, c), tuple)
    value, gradients = value_and_grad(f, (0, 1))(a, b, c)
    close(value, (a * b * b * c).sum())
    assert len(gradients) == 2
    close(jacobian(lambda a, b: a * b, 1)(a, b), np.diag(a))
    close(jacobian(lambda a, b: a * b, -1)(a, b), np.diag(a))


def test_arguments_that_are_not_differentiated_may_be_anything() -> None:
    close(grad(lambda x, n, text: (x**n).sum() if text else x)(X, 3, "yes"), 3 * X * X)


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_argnums_out_of_range_are_told(argnums: int | tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"names argument -?\d, but 2 were given"):
        grad(lambda a, b: (a * b).sum(), argnums)(X, V)


@pytest.mark.parametrize("argnums", [(0, 0), (1, -1)])
def test_an_argument_named_twice_is_told(argnums: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="twice"):
        grad(lambda a, b: (a * b).sum(), argnums)(X, V)


def test_wrong_functions_and_arguments_are_told() -> None:
    with pytest.raises(ValueError, match=r"must return a scalar, got shape \(3,\)"):
        grad(field)(X)
    with pytest.raises(TypeError, match="must return a Tensor, got float"):
        grad(lambda x: 1.0)(X)
    with pytest.raises(TypeError, match="argument 0 must hold floating-point numbers, got dtype int64"):
        grad(height)(np.arange(3))
    with pytest.raises(ValueError, match=r"cotangent must have the shape \(3,\) of the result, got \(1,\)"):
        vjp(field, X)[1](np.ones(1))
    with pytest.raises(ValueError, match="one tangent per primal"):
        jvp(field, (X,), ())
    with pytest.raises(ValueError, match=r"direction must have the shape \(3,\) of its argument, got \(1,\)"):
        jvp(field, (X,), (np.ones(1),))
    with pytest.raises(ValueError, match=r"direction must have the shape \(3,\) of its argument, got \(3, 1\)"):
        hvp(height, X, np.ones((3, 1)))


def test_an_input_without_influence_has_gradient_zero() -> None:
    g = grad(lambda a, b: (a * a).sum(), 1)(Tensor(X), V)
    np.testing.assert_array_equal(g.numpy(), np.zeros(3))
    assert not grad(lambda a: Tensor(np.array(1.0)))(X).numpy().any()
    assert jacobian(lambda x: Tensor(U))(X).numpy().tolist() == np.zeros((3, 3)).tolist()


def test_jacobians_have_the_shape_of_the_result_and_then_of_the_argument() -> None:
    x = np.ones((2, 3), np.float32)
    matrix = jacobian(lambda x: ops.sum(x * x, axis=0, keepdims=True))(x)
    assert matrix.shape == (1, 3, 2, 3) and matrix.dtype == np.float32
    assert jacobian(lambda x: x[:0])(x).shape == (0, 3, 2, 3)
    assert jacobian(lambda x: x.sum())(x).shape == (2, 3)
    assert jacobian(lambda x: x * 2.0)(np.zeros((2, 0))).shape == (2, 0, 2, 0)


def test_embedding_tables_have_functional_gradients_of_every_order() -> None:
    table = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    f = lambda t: ops.tanh(ops.take(t, [1, 1, -1])).sum()  # noqa: E731
    assert isinstance(grad(f)(table), Tensor)
    assert gradcheck(f, table, order=2)


def test_a_tensor_in_the_place_of_the_function_is_told() -> None:
    for ask in (grad, value_and_grad):
        with pytest.raises(TypeError, match="grad: a function was expected, got a Tensor: grad\\(f\\)\\(x\\) is"):
            ask(Tensor(1.0), 0)  # type: ignore[call-overload]  # what is wrong with it
