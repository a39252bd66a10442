"""Windows of many cells: the numbers of short ones, in memory and digits that length costs not."""

import gc
import tracemalloc
from functools import partial

import numpy as np
import oracle
import pytest
from strategies import positive, relative_error, whole

from anyconv import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_backward,
    adaptive_max_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    lp_pool_backward,
    lp_pool_forward,
    max_pool_backward,
    max_pool_forward,
)
from anyconv._geometry import WindowGeometry
from anyconv._geometry._pooling_axes import adaptive, regular

# Input, kernel and options: one window that is whole, tiles, tiles with a rest, windows apart, few
# that overlap, more than taps, in padding, with holes, and beside short ones.
LONG = [
    ((300,), (300,), {}),
    ((300,), (75,), {}),
    ((310,), (150,), {}),
    ((300,), (40,), {"stride": 43}),
    ((400,), (300,), {"stride": 20}),
    ((70,), (34,), {"stride": 1}),
    ((300,), (75,), {"stride": 2}),
    ((400,), (70,), {"stride": 3, "dilation": 2}),
    ((50,), (34,), {"stride": 2, "padding": ((33, 20),)}),
    ((100,), (40,), {"stride": 7, "padding": 20, "ceil_mode": True}),
    ((90,), (35,), {"stride": 3, "dilation": 2, "padding": 10}),
    ((5, 100), (2, 50), {"stride": (1, 25)}),
    ((100, 5), (50, 2), {"padding": 1}),
    ((40, 40), (40, 40), {}),
]
CASES = pytest.mark.parametrize(("sizes", "kernel", "options"), LONG)


def skip_what_jax_compiles_for_minutes(xp, options):
    """Each slice of windows that overlap is an operation of its own; others run the same."""
    if xp.name.startswith("jax") and options:
        pytest.skip("hundreds of slices take JAX minutes to compile")


@CASES
def test_max_is_that_of_loops(xp, sizes, kernel, options):
    """Few values, so that ties are everywhere, and a NaN."""
    skip_what_jax_compiles_for_minutes(xp, options)
    rng = np.random.default_rng(0)
    x = whole(rng, (2, *sizes, 2))
    x[1, sizes[0] // 2, ..., 1] = np.nan
    data = xp.asarray(x)
    y, indices = oracle.max_pool_forward(x, kernel, **options)
    dy = whole(rng, y.shape)
    found = xp.call(max_pool_forward, data, kernel, return_indices=True, **options)
    np.testing.assert_array_equal(xp.to_numpy(found[0]), y)
    np.testing.assert_array_equal(xp.to_numpy(found[1]), indices)
    for ties in ("first", "all", "split"):
        dx = xp.call(max_pool_backward, xp.asarray(dy), data, kernel, ties=ties, **options)
        wanted = oracle.max_pool_backward(dy, x, kernel, ties=ties, **options)
        np.testing.assert_allclose(xp.to_numpy(dx), wanted, rtol=1e-12, atol=1e-12)


@CASES
def test_averages_and_norms_are_those_of_loops(xp, sizes, kernel, options):
    skip_what_jax_compiles_for_minutes(xp, options)
    rng = np.random.default_rng(0)
    x = positive(rng, (2, *sizes, 2), "float64")
    y = oracle.avg_pool_forward(x, kernel, **options)
    dy = positive(rng, y.shape, "float64")
    data, gradient = xp.asarray(x), xp.asarray(dy)
    for counted in (True, False):
        divisor = {**options, "count_include_pad": counted}
        y = xp.call(avg_pool_forward, data, kernel, **divisor)
        dx = xp.call(avg_pool_backward, gradient, x.shape, kernel, **divisor)
        wanted = oracle.avg_pool_forward(x, kernel, **divisor)
        assert relative_error(xp.to_numpy(y), wanted) <= 1e-13
        wanted = oracle.avg_pool_backward(dy, x.shape, kernel, **divisor)
        assert relative_error(xp.to_numpy(dx), wanted) <= 1e-13
    y = xp.call(lp_pool_forward, data, kernel, **options)
    dx = xp.call(lp_pool_backward, gradient, data, kernel, **options)
    assert relative_error(xp.to_numpy(y), oracle.lp_pool_forward(x, kernel, **options)) <= 1e-13
    wanted = oracle.lp_pool_backward(dy, x, kernel, **options)
    assert relative_error(xp.to_numpy(dx), wanted) <= 1e-13


@pytest.mark.parametrize(("sizes", "output"), [((300,), (7,)), ((300,), (4,)), ((50, 90), (1, 4))])
def test_adaptive_windows_are_those_of_loops(xp, sizes, output):
    rng = np.random.default_rng(0)
    x, dy = whole(rng, (2, *sizes, 2)), whole(rng, (2, *output, 2))
    data, gradient = xp.asarray(x), xp.asarray(dy)
    found = {
        "avg": (
            xp.call(adaptive_avg_pool_forward, data, output),
            xp.call(adaptive_avg_pool_backward, gradient, x.shape, output),
        ),
        "max": (
            xp.call(adaptive_max_pool_forward, data, output),
            xp.call(adaptive_max_pool_backward, gradient, data, output),
        ),
    }
    wanted = {
        "avg": (
            oracle.adaptive_avg_pool_forward(x, output),
            oracle.adaptive_avg_pool_backward(dy, x.shape, output),
        ),
        "max": (
            oracle.adaptive_max_pool_forward(x, output),
            oracle.adaptive_max_pool_backward(dy, x, output),
        ),
    }
    for kind, pair in wanted.items():
        for ours, slow in zip(found[kind], pair, strict=True):
            np.testing.assert_allclose(xp.to_numpy(ours), slow, rtol=1e-12, atol=1e-12)


# --- digits

SUMS = {
    "global": partial(adaptive_avg_pool_forward, output_size=(1,)),
    "two halves that share a cell": partial(adaptive_avg_pool_forward, output_size=(2,)),
    "tiles": partial(avg_pool_forward, kernel_size=(10000,)),
    "overlapping": partial(avg_pool_forward, kernel_size=(50000,), stride=10000),
    "more than taps": partial(avg_pool_forward, kernel_size=(100,), stride=50),
}


@pytest.mark.parametrize("name", SUMS)
def test_digits_of_long_sums(xp, name):
    """An addition a tap would lose three digits of single precision, or four."""
    x = np.full((100001, 3), 0.1, dtype=np.float32)
    y = xp.to_numpy(xp.call(SUMS[name], xp.asarray(x)))
    np.testing.assert_allclose(y, np.float64(x[0, 0]), rtol=5e-6)


def test_digits_of_a_long_norm(xp):
    x = np.full((100001, 3), 0.1, dtype=np.float32)
    y = xp.to_numpy(xp.call(lp_pool_forward, xp.asarray(x), (100001,)))
    np.testing.assert_allclose(y, np.sqrt(100001) * np.float64(x[0, 0]), rtol=5e-6)


# --- what is made, and what is kept


def test_one_window_is_whole_before_a_step_is_made():
    for axis in (*adaptive((50000,), (1,)), regular_axis(50000, 50000)):
        assert axis.is_whole
        assert axis.reaches_all
        assert "_kept_steps" not in vars(axis)
        assert len(axis.steps) == 1


@pytest.mark.parametrize(
    ("axis", "most"),
    [
        (lambda: adaptive((50000,), (7,))[0], 7),
        (lambda: adaptive((50000,), (5,))[0], 5),
        (lambda: regular_axis(50000, 25000, 5000), 6),
        (lambda: regular_axis(50000, 3, 2), 6),
        (lambda: regular_axis(50000, 500), 100),
    ],
)
def test_steps_are_as_few_as_windows_or_taps(axis, most):
    assert len(axis().steps) <= most


def regular_axis(size, kernel, stride=None):
    stride = stride or kernel
    output = (size - kernel) // stride + 1
    geometry = WindowGeometry((size,), (kernel,), (stride,), (1,), ((0, 0),), (output,))
    return regular(geometry)[0]


def both(forward, backward):
    """A forward and its backward, on an input."""

    def run(x):
        backward(forward(x), x)

    return run


KEPT = {
    "global average": both(
        partial(adaptive_avg_pool_forward, output_size=1),
        lambda y, x: adaptive_avg_pool_backward(y, x.shape, 1),
    ),
    "adaptive average": both(
        partial(adaptive_avg_pool_forward, output_size=7),
        lambda y, x: adaptive_avg_pool_backward(y, x.shape, 7),
    ),
    "adaptive maximum": both(
        partial(adaptive_max_pool_forward, output_size=7),
        lambda y, x: adaptive_max_pool_backward(y, x, 7),
    ),
    "one window": both(
        lambda x: max_pool_forward(x, x.shape[1]),
        lambda y, x: max_pool_backward(y, x, x.shape[1]),
    ),
    "many windows": both(
        partial(max_pool_forward, kernel_size=3, stride=2),
        lambda y, x: max_pool_backward(y, x, 3, stride=2),
    ),
    "many windows in padding": both(
        partial(avg_pool_forward, kernel_size=3, stride=2, padding=1, count_include_pad=False),
        lambda y, x: max_pool_backward(y, x, 3, stride=2, padding=1),
    ),
    "many taps": both(
        partial(max_pool_forward, kernel_size=500, stride=10),
        lambda y, x: max_pool_backward(y, x, 500, stride=10),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_of_a_call_does_not_grow_with_its_axis(np_backend, name):
    """Sound of ever new lengths would fill the memory otherwise."""
    run, lengths = KEPT[name], range(20000, 20008)
    run(np.ones((1, 19999, 1), np.float32))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for length in lengths:
            run(np.ones((1, length, 1), np.float32))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(lengths) < 20_000  # bytes a length


@pytest.mark.parametrize("name", ["global average", "adaptive average", "one window"])
def test_a_program_of_long_windows_is_short(name):
    """Traced, a function is as many operations as it has windows, not cells."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.ones((1, 20000, 2))

    def run(x):
        KEPT[name](x)
        return x

    assert len(str(jax.make_jaxpr(run)(x)).splitlines()) < 300
