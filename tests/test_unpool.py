"""Max unpooling: against PyTorch, its adjoint, and positions named twice."""

import numpy as np
import oracle
import peers
import pytest
from hypothesis import assume
from strategies import LAYOUTS, inner, pool_cases, run_cases, whole

from anyconv import (
    max_pool_backward,
    max_pool_forward,
    max_unpool_backward,
    max_unpool_forward,
)
from anyconv._pooling import _unpooling


def test_unpooling_agrees_with_loops_and_is_adjoint(xp):
    """Overlapping windows included, where the first to name a position has it."""

    def check(case):
        x = whole(case.rng, case.x_shape)
        y, indices = oracle.max_pool_forward(x, case.kernel, **case.options)
        layout = {"layout": case.layout}
        filled = xp.call(
            max_unpool_forward, xp.asarray(y), xp.asarray(indices), case.input, **layout
        )
        wanted = oracle.max_unpool_forward(y, indices, case.input, **layout)
        np.testing.assert_array_equal(xp.to_numpy(filled), wanted)

        dx = whole(case.rng, case.x_shape)
        gradient = xp.asarray(dx), xp.asarray(indices)
        dy = xp.call(max_unpool_backward, *gradient, output_size=case.input, **layout)
        wanted = oracle.max_unpool_backward(dx, indices, case.axes, **layout)
        np.testing.assert_array_equal(xp.to_numpy(dy), wanted)
        assert inner(xp.to_numpy(filled), dx) == inner(y, xp.to_numpy(dy))

    run_cases(xp, pool_cases(), check)


@peers.needs_torch
def test_unpooling_agrees_with_pytorch(xp):
    def check(case):
        x = whole(case.rng, case.x_shape)
        y, indices = oracle.max_pool_forward(x, case.kernel, **case.options)
        assume(np.prod(case.windows.output) <= np.prod(case.input))
        planes = indices.reshape(-1, np.prod(case.windows.output), case.channels)
        if case.layout == "channels_first":
            planes = indices.reshape(-1, case.channels, np.prod(case.windows.output))
            planes = np.moveaxis(planes, 1, 2)
        unique = all(
            np.unique(plane[:, c]).size == plane.shape[0]
            for plane in planes
            for c in range(case.channels)
        )
        assume(unique)
        filled = xp.call(
            max_unpool_forward,
            xp.asarray(y),
            xp.asarray(indices),
            case.input,
            layout=case.layout,
        )
        theirs = peers.unpool(y, indices, case, case.input)
        np.testing.assert_array_equal(xp.to_numpy(filled), theirs)

    run_cases(xp, pool_cases(), check)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_unpooling_undoes_pooling(xp, layout):
    """Pool, unpool, pool: the maxima again; unpooled gradients are those of max pooling."""
    x = np.random.default_rng(0).permutation(2 * 6 * 6 * 3).reshape(2, 6, 6, 3) + 1.0
    x = xp.asarray(x if layout == "channels_last" else np.moveaxis(x, -1, 1))
    options = {"layout": layout}
    y, indices = xp.call(max_pool_forward, x, (2, 3), return_indices=True, **options)
    filled = xp.call(max_unpool_forward, y, indices, (6, 6), **options)
    again = xp.call(max_pool_forward, filled, (2, 3), **options)
    np.testing.assert_array_equal(xp.to_numpy(again), xp.to_numpy(y))
    dx = xp.call(max_pool_backward, y, x, (2, 3), **options)
    np.testing.assert_array_equal(xp.to_numpy(dx), xp.to_numpy(filled))


def test_the_first_window_in_row_major_order_wins(xp):
    y = xp.asarray(np.array([[[5.0], [6]], [[7], [8]]]))
    indices = xp.asarray(np.array([[[3], [1]], [[1], [3]]]))
    filled = xp.call(max_unpool_forward, y, indices, (2, 3))
    np.testing.assert_array_equal(xp.to_numpy(filled)[..., 0], [[0, 6, 0], [5, 0, 0]])
    dx = xp.asarray(np.arange(6.0).reshape(2, 3, 1))
    dy = xp.call(max_unpool_backward, dx, indices, output_size=(2, 3))
    np.testing.assert_array_equal(xp.to_numpy(dy)[..., 0], [[3, 1], [0, 0]])


def test_without_a_size_all_axes_but_batch_and_channels_are_the_plane(xp):
    """Of the gradient `(batch, rows, columns, channels)`; nothing else tells its plane's axes."""
    dx = xp.asarray(np.arange(12.0).reshape(2, 2, 3, 1))
    indices = xp.asarray(np.array([5, 0]).reshape(2, 1, 1, 1))
    dy = xp.call(max_unpool_backward, dx, indices)
    np.testing.assert_array_equal(xp.to_numpy(dy).ravel(), [5, 6])


def test_a_winner_of_zero_is_a_winner(xp):
    y = xp.asarray(np.array([[0.0], [4.0]]))
    filled = xp.call(max_unpool_forward, y, xp.asarray(np.array([[2], [2]])), (3,))
    np.testing.assert_array_equal(xp.to_numpy(filled)[:, 0], [0, 0, 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_results_keep_the_dtype(xp, dtype):
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    y, indices = xp.asarray(np.array([[3], [4]]), dtype), xp.asarray(np.array([[1], [2]]))
    filled = xp.call(max_unpool_forward, y, indices, (4,))
    np.testing.assert_array_equal(xp.to_numpy(filled)[:, 0], [0, 3, 4, 0])


def test_nan_and_infinity_are_moved_as_they_are(xp):
    y = xp.asarray(np.array([[np.nan], [np.inf]]))
    filled = xp.call(max_unpool_forward, y, xp.asarray(np.array([[3], [0]])), (4,))
    np.testing.assert_array_equal(xp.to_numpy(filled)[:, 0], [np.inf, 0, 0, np.nan])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint64"])
def test_indices_of_any_integer_dtype(xp, dtype):
    """More planes and cells than the dtype counts, and positions outside the plane."""
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    y = np.arange(1.0, 401.0).reshape(200, 2, 1)
    indices = np.tile(np.array([[3], [100]]), (200, 1, 1))
    filled = xp.call(max_unpool_forward, xp.asarray(y), xp.asarray(indices, dtype), (100,))
    wanted = np.zeros((200, 100))
    wanted[:, 3] = y[:, 0, 0]
    np.testing.assert_array_equal(xp.to_numpy(filled)[..., 0], wanted)
    dy = xp.call(max_unpool_backward, filled, xp.asarray(indices, dtype))
    np.testing.assert_array_equal(xp.to_numpy(dy)[..., 0], y[..., 0] * [1, 0])


@pytest.mark.parametrize("dtype", ["int8", "int64"])
def test_positions_outside_the_plane_are_dropped(xp, dtype):
    y = np.array([1.0, 2, 3, 4]).reshape(4, 1)
    indices = xp.asarray(np.array([-1, 5, 4, 127]).reshape(4, 1), dtype)
    filled = xp.call(max_unpool_forward, xp.asarray(y), indices, (5,))
    np.testing.assert_array_equal(xp.to_numpy(filled)[:, 0], [0, 0, 0, 0, 3])
    dx = xp.asarray(np.arange(5.0)[:, None])
    dy = xp.call(max_unpool_backward, dx, indices, output_size=(5,))
    np.testing.assert_array_equal(xp.to_numpy(dy)[:, 0], [0, 0, 4, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sort_finds_what_a_minimum_finds(xp, layout, monkeypatch):
    """The standard's way beside that of a library which takes minima at positions."""
    if xp.lazy:
        pytest.skip("its blocks are NumPy's")
    rng = np.random.default_rng(0)
    y, dx = whole(rng, (3, 6, 5, 4)), whole(rng, (3, 7, 6, 4))
    spatial = (7, 6)
    if layout == "channels_first":
        y, dx = (np.moveaxis(a, -1, 1).copy() for a in (y, dx))
    indices = rng.integers(-3, 45, y.shape)  # most of them named more than once
    given = xp.asarray(y), xp.asarray(dx), xp.asarray(indices)

    def results():
        filled = max_unpool_forward(given[0], given[2], spatial, layout=layout)
        dy = max_unpool_backward(given[1], given[2], output_size=spatial, layout=layout)
        return xp.to_numpy(filled), xp.to_numpy(dy)

    found = results()
    monkeypatch.setattr(_unpooling, "has_minimum_at", lambda xp: False)
    for one, other in zip(found, results(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert inner(found[0], dx) == inner(y, found[1])


def test_more_cells_than_integers_number_are_refused_with_a_remedy():
    """JAX's default integers end at two to the power of 31."""
    jax = pytest.importorskip("jax")
    y, indices = jax.numpy.zeros((1, 1, 1, 1)), jax.numpy.zeros((1, 1, 1, 1), dtype="int32")
    call = jax.tree_util.Partial(max_unpool_forward, output_size=(50_000, 50_000))
    text = r"no more than 2,147,483,647 cells .* got 2,500,000,000; .*jax_enable_x64"
    with jax.enable_x64(False), pytest.raises(ValueError, match=text):
        jax.eval_shape(call, y, indices)
    with jax.enable_x64(True):
        assert jax.eval_shape(call, y, indices).shape == (1, 50_000, 50_000, 1)


def test_empty_batch(xp):
    y, indices = xp.asarray(np.zeros((0, 2, 3))), xp.asarray(np.zeros((0, 2, 3), np.int64))
    filled = xp.call(max_unpool_forward, y, indices, (5,))
    assert filled.shape == (0, 5, 3)
    assert xp.call(max_unpool_backward, filled, indices).shape == (0, 2, 3)
