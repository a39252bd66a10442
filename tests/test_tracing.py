"""JAX's transformations of functions that use other arrays too, which it does not trace."""

import numpy as np
import pytest

import anyconv

jax = pytest.importorskip("jax")
jnp = jax.numpy

X = np.random.default_rng(0).standard_normal((2, 6, 6, 3))
W = np.random.default_rng(1).standard_normal((3, 3, 3, 4))
B = np.ones(4)


def constants():
    return jnp.asarray(X), jnp.asarray(W), jnp.asarray(B)


@pytest.fixture(autouse=True)
def _double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def test_jit_with_a_weight_of_its_own():
    x, w, b = constants()
    y = jax.jit(lambda x: anyconv.conv_forward(x, w, b))(x)
    np.testing.assert_allclose(y, anyconv.conv_forward(X, W, B), rtol=1e-12)


def test_vmap_over_images():
    x, w, b = constants()
    y = jax.vmap(lambda x: anyconv.conv_forward(x, w, b))(x)
    np.testing.assert_allclose(y, anyconv.conv_forward(X, W, B), rtol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_grad_of_one_argument(jit):
    x, w, b = constants()
    dy = np.cos(np.arange(2 * 4 * 4 * 4.0)).reshape(2, 4, 4, 4)
    wanted = anyconv.conv_backward(dy, X, W)
    losses = {
        "dx": (lambda x: (anyconv.conv_forward(x, w, b) * dy).sum(), x),
        "dw": (lambda w: (anyconv.conv_forward(x, w, b) * dy).sum(), w),
        "db": (lambda b: (anyconv.conv_forward(x, w, b) * dy).sum(), b),
    }
    for name, (loss, at) in losses.items():
        gradient = jax.grad(loss)
        found = (jax.jit(gradient) if jit else gradient)(at)
        np.testing.assert_allclose(found, getattr(wanted, name), rtol=1e-12, atol=1e-12)


def test_pooling_and_unpooling_with_constants():
    x, *_ = constants()
    dy = jnp.ones((2, 3, 3, 3))
    found = jax.jit(lambda dy: anyconv.max_pool_backward(dy, x, 2))(dy)
    wanted = anyconv.max_pool_backward(np.ones((2, 3, 3, 3)), X, 2)
    np.testing.assert_array_equal(found, wanted)
    y, indices = anyconv.max_pool_forward(x, 2, return_indices=True)
    found = jax.grad(lambda y: (anyconv.max_unpool_forward(y, indices, (6, 6)) * x).sum())(y)
    np.testing.assert_allclose(found, y)


@pytest.mark.parametrize("padding", [((0, 1), (0, 0)), ((1, 0), (0, 0)), ((0, 1), (1, 0))])
@pytest.mark.parametrize("pool", ["avg", "max"])
def test_gradients_are_added_to_cells_beside_the_ones_they_come_from(pool, padding):
    """Of one small image, XLA writes over what it has yet to read, where it is let to."""
    x, dy = np.arange(6.0).reshape(3, 2, 1), np.arange(1.0, 7.0)
    options = {"stride": 1, "padding": padding}
    dy = dy[: 3 * (1 + sum(padding[1]))].reshape(3, -1, 1)

    def gradient(dy):
        if pool == "avg":
            return anyconv.avg_pool_backward(dy, x.shape, (2, 2), **options)
        return anyconv.max_pool_backward(dy, dy[:, :1] * 0 + x, (2, 2), **options)

    np.testing.assert_array_equal(jax.jit(gradient)(jnp.asarray(dy)), gradient(dy))
