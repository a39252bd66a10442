"""Pooling against PyTorch and loops, its ties, NaN, edges and divisors, and its adjoints."""

import numpy as np
import oracle
import peers
import pytest
from strategies import (
    LAYOUTS,
    adaptive_cases,
    inner,
    normal,
    pool_cases,
    positive,
    relative_error,
    run_cases,
    whole,
)

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

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "values", "bound"), [("float64", normal, 1e-12), ("float32", positive, 2e-6)]
)
TIES = ("first", "all", "split")


def column(*values):
    """One channel along one axis."""
    return np.array(values, dtype=np.float64)[:, None]


# --- max


def test_max_agrees_with_pytorch_and_loops(xp):
    """Values from a few whole numbers, so that ties are everywhere."""

    def check(case):
        x, dy = whole(case.rng, case.x_shape), whole(case.rng, case.y_shape)
        y, indices = oracle.max_pool_forward(x, case.kernel, **case.options)
        if peers.has_pool(case, dilation=True):
            theirs = peers.pool("max", case, x, dy)
            np.testing.assert_array_equal(y, theirs[0])
        options = case.options
        data = xp.asarray(x)
        alone = xp.call(max_pool_forward, data, case.kernel, **options)
        both = xp.call(max_pool_forward, data, case.kernel, return_indices=True, **options)
        np.testing.assert_array_equal(xp.to_numpy(alone), y)
        np.testing.assert_array_equal(xp.to_numpy(both[0]), y)
        np.testing.assert_array_equal(xp.to_numpy(both[1]), indices)
        for ties in TIES:
            dx = xp.call(max_pool_backward, xp.asarray(dy), data, case.kernel, ties=ties, **options)
            wanted = oracle.max_pool_backward(dy, x, case.kernel, ties=ties, **options)
            np.testing.assert_allclose(xp.to_numpy(dx), wanted, rtol=1e-12, atol=1e-12)

    run_cases(xp, pool_cases(), check)


def test_max_gradient_is_the_derivative_where_there_is_one(xp):
    """Without ties max pooling is a selection, so that <y, dy> = <x, dx>, exactly."""

    def check(case):
        x = case.rng.permutation(int(np.prod(case.x_shape))).reshape(case.x_shape) * 1.0
        dy = whole(case.rng, case.y_shape)
        y = xp.call(max_pool_forward, xp.asarray(x), case.kernel, **case.options)
        gradient = xp.asarray(dy), xp.asarray(x)
        dx = xp.call(max_pool_backward, *gradient, case.kernel, **case.options)
        assert inner(xp.to_numpy(y), dy) == inner(x, xp.to_numpy(dx))

    run_cases(xp, pool_cases(), check)


@pytest.mark.parametrize(
    ("ties", "wanted"),
    [
        ("first", [4, 0, 0, 8, 0, 0]),
        ("all", [4, 4, 0, 8, 8, 8]),
        ("split", [2, 2, 0, 8 / 3, 8 / 3, 8 / 3]),
    ],
)
def test_ties(xp, ties, wanted):
    x, dy = xp.asarray(column(1, 1, 0, 5, 5, 5)), xp.asarray(column(4, 8))
    dx = xp.call(max_pool_backward, dy, x, (3,), ties=ties)
    np.testing.assert_allclose(xp.to_numpy(dx)[:, 0], wanted, rtol=1e-15)


def test_first_means_row_major(xp):
    x = xp.asarray(np.zeros((2, 3, 1)))
    _, indices = xp.call(max_pool_forward, x, (2, 2), stride=1, return_indices=True)
    np.testing.assert_array_equal(xp.to_numpy(indices)[..., 0], [[0, 1]])
    dx = xp.call(max_pool_backward, xp.asarray(np.ones((1, 2, 1))), x, (2, 2), stride=1)
    np.testing.assert_array_equal(xp.to_numpy(dx)[..., 0], [[1, 1, 0], [0, 0, 0]])


def test_overlapping_windows_add(xp):
    x, dy = xp.asarray(column(0, 9, 0)), xp.asarray(column(2, 3))
    dx = xp.call(max_pool_backward, dy, x, (2,), stride=1)
    np.testing.assert_array_equal(xp.to_numpy(dx)[:, 0], [0, 5, 0])


@pytest.mark.parametrize("value", [-5.0, -np.inf])
def test_padding_never_wins(xp, value):
    """Not even against minus infinity, whose place it must not take in the indices."""
    x = xp.asarray(np.full((2, 2, 1), value))
    y, indices = xp.call(max_pool_forward, x, (2, 2), stride=1, padding=1, return_indices=True)
    np.testing.assert_array_equal(xp.to_numpy(y), np.full((3, 3, 1), value))
    np.testing.assert_array_equal(xp.to_numpy(indices)[..., 0], [[0, 0, 1], [0, 0, 1], [2, 2, 3]])
    dx = xp.call(max_pool_backward, xp.asarray(np.ones((3, 3, 1))), x, (2, 2), stride=1, padding=1)
    np.testing.assert_array_equal(xp.to_numpy(dx)[..., 0], [[4, 2], [2, 1]])


@pytest.mark.parametrize("ties", TIES)
def test_padding_takes_no_share(xp, ties):
    """`all` and `split` share among inputs alone, minus infinity among them."""
    x = xp.asarray(np.full((2, 1), -np.inf))
    dx = xp.call(
        max_pool_backward, xp.asarray(column(6, 6)), x, (3,), stride=1, padding=1, ties=ties
    )
    wanted = {"first": [12, 0], "all": [12, 12], "split": [6, 6]}[ties]
    np.testing.assert_array_equal(xp.to_numpy(dx)[:, 0], wanted)


def test_integers_are_padded_with_their_least(xp):
    least = np.iinfo(np.int32).min
    x = xp.asarray(np.array([[least], [least]]), "int32")
    y, indices = xp.call(max_pool_forward, x, (2,), stride=1, padding=1, return_indices=True)
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], [least] * 3)
    np.testing.assert_array_equal(xp.to_numpy(indices)[:, 0], [0, 0, 1])


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_max_takes_integers(xp, dtype):
    x = np.random.default_rng(0).integers(0, 200, (2, 5, 6, 3))
    y = xp.call(max_pool_forward, xp.asarray(x, dtype), 2, padding=1)
    wanted, _ = oracle.max_pool_forward(x, (2, 2), padding=1)
    np.testing.assert_array_equal(xp.to_numpy(y), wanted)


def test_nan_wins(xp):
    x = xp.asarray(column(1, np.nan, 3, 4, np.nan, np.nan, np.inf, 2))
    y, indices = xp.call(max_pool_forward, x, (2,), return_indices=True)
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], [np.nan, 4, np.nan, np.inf])
    np.testing.assert_array_equal(xp.to_numpy(indices)[:, 0], [1, 3, 4, 6])
    dy = xp.asarray(column(1, 1, 1, 1))
    dx = xp.call(max_pool_backward, dy, x, (2,))
    np.testing.assert_array_equal(xp.to_numpy(dx)[:, 0], [0, 1, 0, 1, 1, 0, 1, 0])
    split = xp.call(max_pool_backward, dy, x, (2,), ties="split")
    np.testing.assert_array_equal(xp.to_numpy(split)[:, 0], [0, 1, 0, 1, 0.5, 0.5, 1, 0])


def test_a_kernel_of_three_may_be_padded_by_two(xp):
    """As in ONNX; PyTorch refuses it."""
    x = xp.asarray(column(1, 2, 3))
    y = xp.call(max_pool_forward, x, (3,), stride=1, padding=2)
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], [1, 2, 3, 3, 3])


# --- ceil_mode and divisors


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "wanted"),
    [
        (5, 2, 2, 0, 3),  # the last window hangs over by one
        (4, 2, 2, 0, 2),
        (4, 1, 3, 0, 2),
        (2, 1, 3, 0, 1),  # ceil gives two; the second would start beyond, and is dropped
        (4, 3, 2, 1, 3),
        (5, 3, 3, 1, 2),
        (6, 2, 3, ((1, 0),), 3),
    ],
)
def test_ceil_mode(np_backend, size, kernel, stride, padding, wanted):
    x = np.ones((size, 1))
    options = {"stride": stride, "padding": padding, "ceil_mode": True}
    assert oracle.windows((size,), (kernel,), **options).output == (wanted,)
    assert np_backend.call(max_pool_forward, x, (kernel,), **options).shape == (wanted, 1)
    assert np_backend.call(avg_pool_forward, x, (kernel,), **options).shape == (wanted, 1)


@pytest.mark.parametrize(
    ("count_include_pad", "wanted"), [(True, [3, 9, 15, 9]), (False, [4.5, 9, 15, 18])]
)
def test_divisors(xp, count_include_pad, wanted):
    """The last window holds an input, a cell of padding, and one that ceil_mode adds."""
    x = xp.asarray(column(3, 6, 9, 12, 15, 18))
    options = {"stride": 2, "padding": 1, "ceil_mode": True}
    y = xp.call(avg_pool_forward, x, (3,), count_include_pad=count_include_pad, **options)
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], wanted)


def test_overhang_never_counts(xp):
    """Windows of three by two over four cells: the last holds cells 2, 3 and one overhang."""
    x = xp.asarray(column(1, 2, 3, 5))
    for count_include_pad in (True, False):
        options = {"stride": 2, "ceil_mode": True, "count_include_pad": count_include_pad}
        y = xp.call(avg_pool_forward, x, (3,), **options)
        np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], [2, 4])


# --- average


@pytest.mark.parametrize("count_include_pad", [True, False])
@PRECISIONS
def test_average_agrees_with_pytorch_and_loops(xp, dtype, values, bound, count_include_pad):
    def check(case):
        options = {**case.options, "count_include_pad": count_include_pad}
        x, dy = values(case.rng, case.x_shape, dtype), values(case.rng, case.y_shape, dtype)
        wide = x.astype(np.float64), dy.astype(np.float64)
        if peers.has_pool(case, dilation=False):
            wanted = peers.pool("avg", case, *wide, count_include_pad=count_include_pad)
        else:
            wanted = (
                oracle.avg_pool_forward(wide[0], case.kernel, **options),
                oracle.avg_pool_backward(wide[1], x.shape, case.kernel, **options),
            )
        y = xp.call(avg_pool_forward, xp.asarray(x), case.kernel, **options)
        dx = xp.call(avg_pool_backward, xp.asarray(dy), x.shape, case.kernel, **options)
        assert relative_error(xp.to_numpy(y), wanted[0]) <= bound
        assert relative_error(xp.to_numpy(dx), wanted[1]) <= bound

    run_cases(xp, pool_cases(), check)


@pytest.mark.parametrize(
    ("kernel", "layout", "dtype"),
    [
        ((4,), "channels_last", "complex128"),
        ((2, 4), "channels_first", "float64"),
        ((2, 2, 2), "channels_last", "float64"),
    ],
)
def test_average_and_its_gradient_are_adjoint_exactly(xp, kernel, layout, dtype):
    """Windows of a power of two, so that the averages of whole numbers are exact."""
    rng = np.random.default_rng(0)
    size = tuple(k + 3 for k in kernel)
    shape = (2, *size, 3) if layout == "channels_last" else (2, 3, *size)
    x = whole(rng, shape, dtype)
    for options in ({}, {"stride": 1}, {"stride": 3, "padding": 1}, {"dilation": 2, "padding": 2}):
        y = xp.call(avg_pool_forward, xp.asarray(x), kernel, layout=layout, **options)
        dy = whole(rng, y.shape, dtype)
        dx = xp.call(avg_pool_backward, xp.asarray(dy), shape, kernel, layout=layout, **options)
        assert inner(xp.to_numpy(y), dy) == inner(x, xp.to_numpy(dx))


# --- Lp


@pytest.mark.parametrize("p", [1, 2, 3, 2.5])
@PRECISIONS
def test_lp_agrees_with_loops(xp, dtype, values, bound, p):
    def check(case):
        x, dy = values(case.rng, case.x_shape, dtype), values(case.rng, case.y_shape, dtype)
        wide = x.astype(np.float64), dy.astype(np.float64)
        y = xp.call(lp_pool_forward, xp.asarray(x), case.kernel, p=p, **case.options)
        wanted = oracle.lp_pool_forward(wide[0], case.kernel, p=p, **case.options)
        assert relative_error(xp.to_numpy(y), wanted) <= bound
        arrays = xp.asarray(dy), xp.asarray(x)
        dx = xp.call(lp_pool_backward, *arrays, case.kernel, p=p, **case.options)
        wanted = oracle.lp_pool_backward(wide[1], wide[0], case.kernel, p=p, **case.options)
        assert relative_error(xp.to_numpy(dx), wanted) <= 5 * bound  # two powers, p and 1/p - 1

    run_cases(xp, pool_cases(), check)


@pytest.mark.parametrize("p", [1.5, 2, 3])
def test_lp_gradient_at_zero_is_zero(xp, p):
    x, dy = xp.asarray(column(0, 0, 0, 3)), xp.asarray(column(1, 1))
    np.testing.assert_array_equal(xp.to_numpy(xp.call(lp_pool_forward, x, (2,), p=p))[0], [0])
    dx = xp.call(lp_pool_backward, dy, x, (2,), p=p)
    np.testing.assert_allclose(xp.to_numpy(dx)[:, 0], [0, 0, 0, 1], rtol=1e-14)


def test_lp_takes_the_absolute_value(xp):
    x = xp.asarray(column(-3, 4, -1, -1))
    y = xp.call(lp_pool_forward, x, (2,))
    np.testing.assert_allclose(xp.to_numpy(y)[:, 0], [5, np.sqrt(2)], rtol=1e-15)
    dx = xp.call(lp_pool_backward, xp.asarray(column(5, 0)), x, (2,))
    np.testing.assert_allclose(xp.to_numpy(dx)[:, 0], [-3, 4, 0, 0], rtol=1e-15)


# --- adaptive


@PRECISIONS
def test_adaptive_agrees_with_pytorch_and_loops(xp, dtype, values, bound):
    def check(case):
        x = values(case.rng, case.x_shape, dtype)
        dy = values(case.rng, case.data_shape(case.kernel, case.channels), dtype)
        wide, layout = (dy.astype(np.float64), x.astype(np.float64)), {"layout": case.layout}
        data, gradient = xp.asarray(x), xp.asarray(dy)
        y = xp.call(adaptive_avg_pool_forward, data, case.kernel, **layout)
        dx = xp.call(adaptive_avg_pool_backward, gradient, x.shape, case.kernel, **layout)
        wanted = (
            oracle.adaptive_avg_pool_forward(wide[1], case.kernel, **layout),
            oracle.adaptive_avg_pool_backward(wide[0], x.shape, case.kernel, **layout),
        )
        assert relative_error(xp.to_numpy(y), wanted[0]) <= bound
        assert relative_error(xp.to_numpy(dx), wanted[1]) <= bound
        y = xp.call(adaptive_max_pool_forward, data, case.kernel, **layout)
        dx = xp.call(adaptive_max_pool_backward, gradient, data, case.kernel, **layout)
        wanted = oracle.adaptive_max_pool_forward(wide[1], case.kernel, **layout)
        np.testing.assert_array_equal(xp.to_numpy(y), wanted)
        wanted = oracle.adaptive_max_pool_backward(*wide, case.kernel, **layout)
        assert relative_error(xp.to_numpy(dx), wanted) <= bound

    run_cases(xp, adaptive_cases(), check)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_size_one_is_global_pooling(xp, layout):
    """An int names every axis but the first and the channels."""
    x = whole(np.random.default_rng(0), (2, 4, 8, 4) if layout == "channels_last" else (2, 4, 4, 8))
    axes = (1, 2) if layout == "channels_last" else (2, 3)
    average = xp.call(adaptive_avg_pool_forward, xp.asarray(x), 1, layout=layout)
    np.testing.assert_array_equal(xp.to_numpy(average), x.mean(axes, keepdims=True))
    highest = xp.call(adaptive_max_pool_forward, xp.asarray(x), 1, layout=layout)
    np.testing.assert_array_equal(xp.to_numpy(highest), x.max(axes, keepdims=True))


def test_adaptive_max_ties_and_nan(xp):
    x = xp.asarray(column(2, 2, 2, np.nan))
    y = xp.call(adaptive_max_pool_forward, x, (2,))
    np.testing.assert_array_equal(xp.to_numpy(y)[:, 0], [2, np.nan])
    dx = xp.call(adaptive_max_pool_backward, xp.asarray(column(1, 1)), x, (2,))
    np.testing.assert_array_equal(xp.to_numpy(dx)[:, 0], [1, 0, 0, 1])


# --- what holds for all of them

FORWARD = {
    "max": lambda xp, x: xp.call(max_pool_forward, x, (2, 2), padding=1),
    "avg": lambda xp, x: xp.call(avg_pool_forward, x, (2, 2), padding=1),
    "lp": lambda xp, x: xp.call(lp_pool_forward, x, (2, 2), padding=1),
    "adaptive_avg": lambda xp, x: xp.call(adaptive_avg_pool_forward, x, (3, 3)),
    "adaptive_max": lambda xp, x: xp.call(adaptive_max_pool_forward, x, (3, 3)),
}
BACKWARD = {
    "max": lambda xp, dy, x: xp.call(max_pool_backward, dy, x, (2, 2), padding=1),
    "avg": lambda xp, dy, x: xp.call(avg_pool_backward, dy, x.shape, (2, 2), padding=1),
    "lp": lambda xp, dy, x: xp.call(lp_pool_backward, dy, x, (2, 2), padding=1),
    "adaptive_avg": lambda xp, dy, x: xp.call(adaptive_avg_pool_backward, dy, x.shape, (3, 3)),
    "adaptive_max": lambda xp, dy, x: xp.call(adaptive_max_pool_backward, dy, x, (3, 3)),
}


@pytest.mark.parametrize("kind", FORWARD)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_results_keep_the_dtype(xp, np_backend, kind, dtype):
    """`call` compares the dtypes; the values agree with NumPy's in double precision."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    bound = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6, "float64": 1e-15}[dtype]
    rng = np.random.default_rng(0)
    x = whole(rng, (2, 4, 4, 3))
    y = FORWARD[kind](xp, xp.asarray(x, dtype))
    assert relative_error(xp.to_numpy(y), FORWARD[kind](np_backend, x)) <= bound
    dy = whole(rng, y.shape)
    dx = BACKWARD[kind](xp, xp.asarray(dy, dtype), xp.asarray(x, dtype))
    assert relative_error(xp.to_numpy(dx), BACKWARD[kind](np_backend, dy, x)) <= bound


@pytest.mark.parametrize("kind", FORWARD)
def test_empty_batches(xp, kind):
    x = xp.asarray(np.zeros((0, 4, 4, 3)))
    y = FORWARD[kind](xp, x)
    assert y.shape == (0, 3, 3, 3)
    assert BACKWARD[kind](xp, y, x).shape == x.shape


@pytest.mark.parametrize("kind", FORWARD)
def test_two_runs_are_equal(xp, kind):
    rng = np.random.default_rng(0)
    x, dy = xp.asarray(normal(rng, (2, 4, 4, 3))), xp.asarray(normal(rng, (2, 3, 3, 3)))
    once, again = (xp.to_numpy(FORWARD[kind](xp, x)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    once, again = (xp.to_numpy(BACKWARD[kind](xp, dy, x)) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_half_precision_is_accumulated_in_single(xp):
    if not xp.has("float16"):
        pytest.skip(f"{xp.name} has no float16")
    large = xp.asarray(np.full((4, 1), 60000.0), "float16")  # two of them overflow
    for y in (
        xp.call(avg_pool_forward, large, (4,)),
        xp.call(adaptive_avg_pool_forward, large, (1,)),
        xp.call(lp_pool_forward, large, (1,), stride=3),
    ):
        assert xp.to_numpy(y).ravel()[0] == xp.to_numpy(large)[0, 0]
    x, dy = xp.asarray(column(0, 0, 9, 0, 0), "float16"), xp.asarray(column(1, 2048, 1), "float16")
    for ties in TIES:
        dx = xp.call(max_pool_backward, dy, x, (3,), stride=1, ties=ties)
        assert xp.to_numpy(dx)[2, 0] == 2050


def test_an_int_kernel_names_every_axis_but_batch_and_channels(np_backend):
    assert np_backend.call(max_pool_forward, np.ones((2, 6, 6, 3)), 2).shape == (2, 3, 3, 3)
    assert np_backend.call(avg_pool_forward, np.ones((2, 6, 3)), 2).shape == (2, 3, 3)
    first = np_backend.call(max_pool_forward, np.ones((2, 3, 6, 6)), 2, layout="channels_first")
    assert first.shape == (2, 3, 3, 3)
    assert np_backend.call(max_pool_forward, np.ones((2, 5, 6, 6, 3)), (2, 2)).shape[:2] == (2, 5)
