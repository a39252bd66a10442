"""Images in turn: whatever the chunks and the workers, the same numbers."""

import threading

import numpy as np
import oracle
import pytest

import anyconv
from anyconv import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    lp_pool_backward,
    lp_pool_forward,
    max_pool_backward,
    max_pool_forward,
)
from anyconv._arguments._pool import pool_call, pool_options
from anyconv._execution._images import Pace, cut, unpooled

OVERLAP = {"stride": 2, "padding": 1}


def draw(shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


CALLS = {
    "max": lambda x, dy: max_pool_forward(x, (3, 3), **OVERLAP),
    "positions": lambda x, dy: max_pool_forward(x, (3, 3), return_indices=True, **OVERLAP)[1],
    "max, first": lambda x, dy: max_pool_backward(dy, x, (3, 3), **OVERLAP),
    "max, all": lambda x, dy: max_pool_backward(dy, x, (3, 3), ties="all", **OVERLAP),
    "max, split": lambda x, dy: max_pool_backward(dy, x, (3, 3), ties="split", **OVERLAP),
    "average": lambda x, dy: avg_pool_forward(x, (3, 3), **OVERLAP),
    "average's gradient": lambda x, dy: avg_pool_backward(dy, x.shape, (3, 3), **OVERLAP),
    "Lp": lambda x, dy: lp_pool_forward(x, (3, 3), p=3, **OVERLAP),
    "Lp's gradient": lambda x, dy: lp_pool_backward(dy, x, (3, 3), p=3, **OVERLAP),
    "adaptive": lambda x, dy: adaptive_avg_pool_forward(x, (4, 3)),
    "adaptive's gradient": lambda x, dy: adaptive_avg_pool_backward(x[:, :4, :3], x.shape, (4, 3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", CALLS)
def test_chunks_and_workers_leave_every_bit(name, dtype):
    """Some images at once, one at a time, by one thread or three, into its place or copied."""
    x, dy = draw((7, 9, 8, 3), dtype), draw((7, 5, 4, 3), dtype)
    wanted = CALLS[name](x, dy)
    image = 9 * 8 * 3 * 8
    for workspace in (2**28, 20 * image, 1):
        for workers in (1, 3):
            with anyconv.options(workspace_bytes=workspace, workers=workers):
                found = CALLS[name](x, dy)
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == wanted.dtype


@pytest.mark.parametrize("padding", [0, 1])
def test_rows_of_one_image_are_shared_and_all_dealt_with(np_backend, padding):
    """Blocks cover every output and every cell once, and hold the cells that their windows see."""
    options = pool_options((3, 2), (3 - padding, 2), (padding, 0), 1, False, "channels_last")
    call = pool_call((2, 31, 4, 1), options)
    for rows in (1, 4, 100):
        blocks = cut(2, Pace(workers=1, images=1, rows=rows), call.axes)
        outputs, fresh = np.zeros((2, call.output[0])), np.zeros((2, 31))
        for block in blocks:
            outputs[block.images, block.outputs] += 1
            fresh[block.images, block.fresh] += 1
            assert block.axes[0].size == len(range(31)[block.cells])
        assert (outputs == 1).all()
        assert (fresh == 1).all()
    x = np.round(draw((1, 400, 300, 9)))
    dy = np.round(draw((1, 133, 150, 9)))
    with anyconv.options(workers=1):
        alone = max_pool_forward(x, (3, 2)), max_pool_backward(dy, x, (3, 2))
    with anyconv.options(workers=3):
        shared = max_pool_forward(x, (3, 2)), max_pool_backward(dy, x, (3, 2))
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)


def test_overlapping_rows_of_an_image_are_one_workers(np_backend):
    """They add to the same cells: two threads would lose what the other adds."""
    call = pool_call((3, 9, 2**17, 1), pool_options((3, 1), 1, 0, 1, False, "channels_last"))
    workers = {image: set() for image in range(3)}

    def kernel(dy, axes, out):
        workers[int(dy[0, 0, 0, 0])].add(threading.get_ident())
        assert (axes[0].outputs, out.shape[1]) == (1, 3)  # cut as finely as can be

    dy = np.zeros(call.y_shape) + np.arange(3)[:, None, None, None]
    with anyconv.options(workspace_bytes=1, workers=2):
        unpooled(kernel, call, dy, adds=True, xp=np_backend.namespace)
    assert [len(found) for found in workers.values()] == [1, 1, 1]
    assert len(set.union(*workers.values())) == 2


def test_rows_of_windows_that_interleave_are_one_block(np_backend):
    """No two share a cell, yet each lies between the cells of others."""
    x, dy = np.arange(6.0)[:, None], np.asarray([1.0, 2.0, 4.0])[:, None]
    options = {"stride": 1, "dilation": 3}
    with anyconv.options(workspace_bytes=1):
        dx = np_backend.call(max_pool_backward, dy, x, (2,), **options)
        shares = np_backend.call(avg_pool_backward, dy, x.shape, (2,), **options)
    np.testing.assert_array_equal(dx[:, 0], [0, 0, 0, 1, 2, 4])
    np.testing.assert_array_equal(shares[:, 0], [0.5, 1, 2, 0.5, 1, 2])


@pytest.mark.parametrize("ties", ["first", "all", "split"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_in_one_image_changes_no_other(dtype, ties):
    """NumPy looks for NaN chunk by chunk; care where there is one gives what no care would."""
    x, dy = np.round(draw((4, 9, 8, 3), dtype)), draw((4, 5, 4, 3), dtype)
    wanted = max_pool_backward(dy, x, (3, 3), ties=ties, **OVERLAP)
    holed = x.copy()
    holed[2, 3:5, 2:4, 1] = np.nan
    found = max_pool_backward(dy, holed, (3, 3), ties=ties, **OVERLAP)
    np.testing.assert_array_equal(found[[0, 1, 3]], wanted[[0, 1, 3]])
    np.testing.assert_array_equal(found[2, ..., [0, 2]], wanted[2, ..., [0, 2]])
    slow = oracle.max_pool_backward(
        dy.astype("f8"), holed.astype("f8"), (3, 3), ties=ties, **OVERLAP
    )
    np.testing.assert_allclose(found, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_gradients_that_are_no_numbers_stay_where_they_belong(dtype):
    """An infinite or undefined gradient of one output is that of its maximum alone."""
    x = np.asarray([1, 2, 3, 4, 6, 5], dtype)[:, None]
    dy = np.asarray([np.inf, np.nan, -np.inf], dtype)[:, None]
    for ties in ("first", "all"):
        dx = max_pool_backward(dy, x, (2,), ties=ties)
        np.testing.assert_array_equal(dx[:, 0], [0, np.inf, 0, np.nan, -np.inf, 0])
        overlap = max_pool_backward(dy, x[:4], (2,), stride=1, ties=ties)
        np.testing.assert_array_equal(overlap[:, 0], [0, np.inf, np.nan, -np.inf])
        overlap = max_pool_backward(dy, x[2:], (2,), stride=1, ties=ties)
        np.testing.assert_array_equal(overlap[:, 0], [0, np.inf, np.nan, 0])


@pytest.mark.parametrize("kernel", [(1,), (128,), (129,), (300,)])
def test_numbers_of_cells_outgrow_a_byte(kernel):
    """Ties among windows of more cells than a byte can number."""
    x = np.round(draw((700, 2)))
    dy = draw((len(range(0, 700 - kernel[0] + 1, 7)), 2))
    found = max_pool_backward(dy, x, kernel, stride=7)
    wanted = oracle.max_pool_backward(dy.astype("f8"), x.astype("f8"), kernel, stride=7)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", [((3, 3), OVERLAP), ((2, 2), {}), ((2, 3), {"dilation": 2})])
def test_a_scatter_gives_what_is_handed_down_axis_by_axis(np_backend, case):
    """NumPy's path and that of the standard: whole numbers, added in any order, are the same."""
    strict = pytest.importorskip("array_api_strict")
    kernel, kwargs = case
    for layout in ("channels_last", "channels_first"):
        x = np.round(draw((2, 9, 8, 7)))
        x[1, 2:4, 3:5, 2] = np.nan
        y, indices = max_pool_forward(x, kernel, return_indices=True, layout=layout, **kwargs)
        dy = np.round(8 * draw(y.shape))
        dx = max_pool_backward(dy, x, kernel, layout=layout, **kwargs)
        other = strict.asarray(x)
        handed = max_pool_backward(strict.asarray(dy), other, kernel, layout=layout, **kwargs)
        np.testing.assert_array_equal(dx, np.asarray(handed))
        found = max_pool_forward(other, kernel, return_indices=True, layout=layout, **kwargs)[1]
        np.testing.assert_array_equal(indices, np.asarray(found))


def test_channels_first_results_lie_in_memory_as_their_shape_says():
    x = draw((2, 3, 9, 8))
    y = max_pool_forward(x, (3, 3), layout="channels_first", **OVERLAP)
    dx = max_pool_backward(y, x, (3, 3), layout="channels_first", **OVERLAP)
    assert y.flags.c_contiguous
    assert dx.flags.c_contiguous


def test_nothing_is_a_view_of_the_input():
    """A kernel of one cell returns a copy."""
    x = draw((2, 4, 4, 3))
    for y in (max_pool_forward(x, 1), avg_pool_forward(x, 1), avg_pool_backward(x, x.shape, 1)):
        assert not np.shares_memory(x, y)
