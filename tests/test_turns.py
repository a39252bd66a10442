"""Images in turn: the same numbers whatever the limits, and within them."""

import numpy as np
import pytest
from measuring import SMALL_CHANGE, peak

import anyconv
from anyconv import (
    fold,
    max_pool_forward,
    max_unpool_backward,
    max_unpool_forward,
    pad,
    pad_backward,
    unfold,
)
from anyconv._execution._turns import by_images

KERNEL = (3, 3)
REFLECTED = {"mode": "reflect"}
FIRST = {"layout": "channels_first"}


def draw(shape, dtype="float64"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def calls_on(shape, dtype="float64"):
    """Calls on images of a shape `(n, rows, columns, c)`, by name."""
    x, (_, i, j, _) = draw(shape, dtype), shape
    first = np.moveaxis(x, -1, 1).copy()
    u = unfold(x, KERNEL)
    strided = {"stride": 2, "padding": 1}
    v = unfold(x, KERNEL, **strided)
    f = unfold(first, KERNEL, **FIRST)
    reflected = pad(x, 2, **REFLECTED)
    y, indices = max_pool_forward(x, 2, return_indices=True)
    y1, indices1 = (np.moveaxis(a, -1, 1).copy() for a in (y, indices))
    circular = pad(x, ((i + 1, 0), (2, 3)), mode="circular")
    return {
        "unfold": lambda: unfold(x, KERNEL),
        "unfold, padded": lambda: unfold(x, KERNEL, padding=1),
        "unfold, channels first": lambda: unfold(first, KERNEL, padding=1, **FIRST),
        "fold": lambda: fold(u, (i, j), KERNEL),
        "fold, strided": lambda: fold(v, (i, j), KERNEL, **strided),
        "fold, channels first": lambda: fold(f, (i, j), KERNEL, **FIRST),
        "fold of one tap": lambda: fold(u[..., :1, :1, :], (i - 2, j - 2), (1, 1)),
        "pad": lambda: pad(x, 2, **REFLECTED),
        "pad backward": lambda: pad_backward(reflected, x.shape, 2, **REFLECTED),
        "pad backward, circular": lambda: pad_backward(
            circular, x.shape, ((i + 1, 0), (2, 3)), mode="circular"
        ),
        "unpool": lambda: max_unpool_forward(y, indices, (i, j)),
        "unpool, channels first": lambda: max_unpool_forward(y1, indices1, (i, j), **FIRST),
        "unpool backward": lambda: max_unpool_backward(x, indices),
        "unpool backward, channels first": lambda: max_unpool_backward(first, indices1, **FIRST),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_turns_and_workers_leave_every_bit(np_backend, dtype):
    """All images at once, some, or one at a time, by one thread or three."""
    for name, call in calls_on((7, 9, 8, 3), dtype).items():
        wanted, refused = call(), 0
        for workspace_bytes in (2**28, 2**16, 2**15, 2**14, 2**10):
            for workers in (1, 3):
                with anyconv.options(workspace_bytes=workspace_bytes, workers=workers):
                    try:
                        found = call()
                    except ValueError as error:
                        assert "`workspace_bytes` must be at least" in str(error)  # noqa: PT017
                        refused += 1
                        continue
                np.testing.assert_array_equal(found, wanted, err_msg=name)
                assert found.dtype == wanted.dtype
        assert refused < 6, name


@pytest.mark.parametrize("workspace_bytes", [2**20, 2**22])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_measured_peaks_stay_within_the_workspace(np_backend, workspace_bytes, dtype):
    """Or the call is refused, which none is in eight times the bytes of an image."""
    exceeding = {}
    for name, call in calls_on((8, 64, 64, 16), dtype).items():
        with anyconv.options(workspace_bytes=workspace_bytes, workers=2):
            try:
                held = peak(call)
            except ValueError as error:
                assert workspace_bytes == 2**20, name
                assert not name.startswith("unpool")  # which takes planes of one
                assert "`workspace_bytes` must be at least" in str(error)  # noqa: PT017
                continue
        if held > workspace_bytes + SMALL_CHANGE:
            exceeding[name] = held
    assert not exceeding


def test_a_refusal_names_what_is_enough(np_backend):
    x = np.ones((3, 8, 8, 2))
    with (
        anyconv.options(workspace_bytes=1000),
        pytest.raises(
            ValueError, match=r"must be at least ([\d,]+) for the smallest part .* got 1,000"
        ),
    ):
        unfold(x, KERNEL, padding=1)
    with anyconv.options(workspace_bytes=10 * 10 * 2 * 8):
        unfold(x, KERNEL, padding=1)
        unfold(x[:0], KERNEL, padding=1)
    with anyconv.options(workspace_bytes=1):
        unfold(x, KERNEL)  # windows are a view of x until they are copied
        unfold(x[:0], KERNEL, padding=1)


def test_windows_lie_in_order(np_backend):
    """So that no later reshape has to copy them."""
    for padding in (0, 1):
        assert unfold(draw((2, 6, 5, 3)), KERNEL, padding=padding).flags.c_contiguous
        assert unfold(draw((2, 3, 6, 5)), KERNEL, padding=padding, **FIRST).flags.c_contiguous


def test_results_share_no_memory_with_arguments(np_backend):
    x = draw((2, 6, 5, 3))
    results = {
        "unfold": unfold(x, (1, 1)),
        "fold": fold(x[:, :, :, None, None, :], (6, 5), (1, 1)),
        "pad": pad(x, 0),
        "pad backward": pad_backward(x, x.shape, 0, mode="circular"),
    }
    for name, result in results.items():
        assert not np.shares_memory(result, x), name


def test_every_image_is_taken_once(np_backend):
    """In turn, by the workers' contiguous shares, none of more bytes than the limit allows."""
    seen = []

    def twice(x):
        seen.append(x[:, 0])
        return 2 * x

    x = np.arange(10.0)[:, None]
    with anyconv.options(workspace_bytes=3 * 8 * 2, workers=2):
        y = by_images(twice, [x], (1,), each=8, xp=np_backend.namespace)
    np.testing.assert_array_equal(y, 2 * x)
    assert sorted(np.concatenate(seen)) == list(range(10))
    assert max(map(len, seen)) == 3


def test_an_error_in_a_worker_reaches_the_caller(np_backend):
    def fails(x):
        if x[0, 0] == 0:  # the first worker's share, never the caller's own
            raise RuntimeError("no such image")
        return x

    x = np.arange(10.0)[:, None]
    with (
        anyconv.options(workspace_bytes=2**26, workers=2),
        pytest.raises(RuntimeError, match="no such image"),
    ):
        by_images(fails, [x], (1,), each=2**22, xp=np_backend.namespace)
