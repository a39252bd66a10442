"""JAX's transformations of functions that use other arrays too, which it does not trace."""

import os
import subprocess
import sys

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


def slices(function, *arrays):
    """The slices in a traced program, those of programs within it too."""
    return str(jax.make_jaxpr(function)(*arrays)).count(" slice[")


def test_long_kernels_make_few_slices():
    """One for each tile, not for each of its cells."""
    x, w = jnp.ones((2, 4000, 1)), jnp.ones((512, 1, 4))
    assert slices(lambda x, w: anyconv.conv_forward(x, w, algorithm="fft"), x, w) < 50
    y = anyconv.conv_forward(x, w, algorithm="fft")
    np.testing.assert_allclose(y, 512.0, rtol=1e-9)
    assert (
        slices(lambda y, w: anyconv.conv_backward_input(y, w, x.shape, algorithm="fft"), y, w) < 50
    )
    assert (
        slices(lambda y, x: anyconv.conv_backward_weight(y, x, w.shape, algorithm="fft"), y, x) < 50
    )


def test_no_nan_is_made_of_numbers():
    x = jnp.arange(32.0).reshape(1, 4, 4, 2)
    with jax.debug_nans(True):
        y = anyconv.max_pool_forward(x, 3, padding=1)
        anyconv.max_pool_backward(jnp.ones_like(y), x, 3, padding=1)
    assert float(y[0, 0, 0, 0]) == 10.0
    y = anyconv.max_pool_forward(x.at[0, 1, 1, 0].set(jnp.nan), 3, padding=1)
    assert np.isnan(y[0, 0, 0, 0]) and not np.isnan(y[0, 0, 0, 1])


SHARDED = """
import jax, numpy as np, anyconv
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.asarray(jax.devices()), ("b",))
x, w = np.random.default_rng(0).standard_normal((8, 12, 12, 3)), np.ones((3, 3, 3, 4))
x, w = x.astype("float32"), w.astype("float32")
spread = jax.device_put(x, NamedSharding(mesh, P("b")))
everywhere = jax.device_put(w, NamedSharding(mesh, P()))
for algorithm in ("gemm", "winograd", "fft"):
    wanted = anyconv.conv_forward(x, w, algorithm=algorithm)
    for weight in (everywhere, jax.numpy.asarray(w)):
        y = anyconv.conv_forward(spread, weight, algorithm=algorithm)
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
        assert len(y.devices()) == 4
wanted, places = anyconv.max_pool_forward(x, 2, return_indices=True)
y, found = anyconv.max_pool_forward(spread, 2, return_indices=True)
np.testing.assert_array_equal(found, places)
for ties in ("first", "all"):
    dx = anyconv.max_pool_backward(y, spread, 2, ties=ties)
    np.testing.assert_array_equal(dx, anyconv.max_pool_backward(wanted, x, 2, ties=ties))
y = anyconv.avg_pool_forward(spread, 5, ceil_mode=True)
np.testing.assert_allclose(y, anyconv.avg_pool_forward(x, 5, ceil_mode=True), rtol=1e-5)
y = anyconv.adaptive_avg_pool_forward(spread, 5)
np.testing.assert_allclose(y, anyconv.adaptive_avg_pool_forward(x, 5), rtol=1e-5)
"""


def test_arrays_on_several_devices():
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
