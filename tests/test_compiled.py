"""Compiled loops: when they run, and on arrays that lie in memory in any way.

That they compute the right thing is tested wherever a test runs on the backend `numba`.
"""

import gc
import os
import subprocess
import sys
import tracemalloc
from math import prod

import array_api_compat.numpy
import numpy as np
import pytest
from measuring import SMALL_CHANGE, peak

import anyconv
import anyconv._algorithms._gemm_compiled as gemm_mod
import anyconv._algorithms._on_cells as cells_mod
import anyconv._algorithms._taps_compiled as taps_mod
import anyconv._compiled._depthwise_jobs as apart_jobs
import anyconv._compiled._numba as compiled_mod
import anyconv._compiled._pool_jobs as pool_jobs
import anyconv._execution._execute as execute_mod
import anyconv._execution._images as images_mod
import anyconv._options as options_mod
import anyconv._plans._planner as planner
import anyconv._pooling._in_loops as pooling_loops
from anyconv import (
    avg_pool_backward,
    avg_pool_forward,
    conv_backward,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    lp_pool_forward,
    max_pool_backward,
    max_pool_forward,
    plan_conv,
)
from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._algorithms._taps_plane import PlaneTaps
from anyconv._compiled import (
    multiplies_windows,
    outputs_together,
    products_data_job,
    products_job,
    run_jobs,
)
from anyconv._execution._execute import run_input_gradient
from anyconv._geometry import AxisLoop

needs_numba = pytest.mark.skipif(
    compiled_mod.why_no_compiled_loops() is not None, reason="Numba cannot be imported"
)


def whole(rng, shape, dtype="float64"):
    return rng.integers(-8, 9, shape).astype(dtype)


def same(function, *arrays, **options):
    """A function's result in compiled loops, found equal to that without them."""
    with anyconv.options(compiled=False):
        wanted = function(*arrays, **options)
    with anyconv.options(compiled=True):
        found = function(*arrays, **options)
    for mine, other in zip(as_arrays(found), as_arrays(wanted), strict=True):
        np.testing.assert_array_equal(mine, other)
        assert mine.dtype == other.dtype
    return found


def as_arrays(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.fixture
def no_numba(monkeypatch):
    """As where Numba cannot be imported."""

    def refuse(kind):
        raise ImportError("No module named 'numba'")

    monkeypatch.setattr(compiled_mod, "loops", refuse)
    compiled_mod.why_no_compiled_loops.cache_clear()
    planner.make_plan.cache_clear()
    yield
    compiled_mod.why_no_compiled_loops.cache_clear()
    planner.make_plan.cache_clear()


@pytest.fixture
def fresh_plans():
    """What is planned with something replaced is planned anew, before and after."""
    planner.make_plan.cache_clear()
    yield
    planner.make_plan.cache_clear()


SHAPES = (16, 32, 32, 64), (3, 3, 1, 64)  # 9.4 M multiply-adds
SMALL = (1, 8, 8, 64), (3, 3, 1, 64)


def loops_of(shapes, **limits):
    with anyconv.options(**limits):
        plan = plan_conv(*shapes, dtype="float32", groups=64, padding=1)
    return type(plan.template).__name__


@needs_numba
def test_large_calls_are_compiled_small_ones_only_if_asked():
    assert loops_of(SHAPES) == "CompiledTaps"
    assert loops_of(SMALL) == "FusedTaps"
    assert loops_of(SMALL, compiled=True) == "CompiledTaps"
    assert loops_of(SHAPES, compiled=False) == "FusedTaps"
    with anyconv.options(compiled=False):
        assert loops_of(SHAPES, compiled="auto") == "CompiledTaps"


@needs_numba
def test_the_plan_says_that_loops_are_compiled():
    for compiled, said in ((False, "numpy float32"), (True, "numpy float32, in compiled loops")):
        with anyconv.options(compiled=compiled):
            lines = str(plan_conv(*SHAPES, dtype="float32", groups=64)).splitlines()
        (arrays,) = (line.split(None, 1)[1] for line in lines if line.startswith("arrays"))
        assert arrays == said


@needs_numba
def test_nothing_is_compiled_where_numba_is_told_not_to():
    code = """
import numpy, anyconv
x = numpy.ones((2, 129, 129, 8), dtype="float32")
print(anyconv.max_pool_forward(x, 3).shape)
try:
    with anyconv.options(compiled=True):
        pass
except ValueError as error:
    print(error)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.splitlines() == [
        "(2, 43, 43, 8)",
        "`compiled=True` needs Numba, which cannot be used: NUMBA_DISABLE_JIT is set",
    ]


def test_without_numba_nothing_is_compiled(no_numba):
    """And an error says so to whoever asks for it."""
    assert loops_of(SHAPES) == "FusedTaps"
    rule = "`compiled=True` needs Numba, which cannot be used: No module named 'numba'"
    with pytest.raises(ValueError) as error, anyconv.options(compiled=True):
        pass
    assert str(error.value) == rule
    x = np.arange(4.0 * 64 * 64 * 8).reshape(4, 64, 64, 8)
    assert max_pool_forward(x, 2).shape == (4, 32, 32, 8)


@pytest.mark.parametrize("value", [1, "always", np.True_])
def test_compiled_is_true_or_false_or_auto(value):
    rule = r"`compiled` must be True, False or 'auto', got "
    with pytest.raises(TypeError, match=rule), anyconv.options(compiled=value):
        pass


@needs_numba
def test_other_options_leave_it_alone():
    with anyconv.options(compiled=False), anyconv.options(workers=1) as limits:
        assert limits.compiled is False
    assert options_mod.current_options().compiled == "auto"


@needs_numba
def test_importing_anyconv_and_small_calls_do_not_import_numba():
    code = """
import sys, numpy, anyconv
x = numpy.ones((2, 9, 9, 8), dtype="float32")
anyconv.conv_forward(x, numpy.ones((3, 3, 1, 8), dtype="float32"), groups=8)
anyconv.max_pool_backward(anyconv.max_pool_forward(x, 3), x, 3)
print("numba" in sys.modules)
x = numpy.ones((2, 129, 129, 8), dtype="float32")
anyconv.max_pool_forward(x, 3)
print("numba" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def views(x):
    """The values of x, lying in memory in many ways."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    far = np.zeros((*x.shape[:-2], 3 * x.shape[-2], x.shape[-1]), x.dtype)
    far[..., ::3, :] = x
    part = np.zeros((x.shape[0], x.shape[1] + 3, *x.shape[2:-1], x.shape[-1] + 2), x.dtype)
    part[:, 2:-1, ..., 1:-1] = x
    fixed = x.copy()
    fixed.flags.writeable = False
    odd = np.frombuffer(b"\0" + x.tobytes(), dtype=np.uint8)[1:].view(x.dtype).reshape(x.shape)
    return {
        "channels apart": wide[..., ::2],
        "cells apart": far[..., ::3, :],
        "part of more": part[:, 2:-1, ..., 1:-1],
        "backwards": x[:, ::-1].copy()[:, ::-1],
        "Fortran's order": np.asfortranarray(x),
        "images last": np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
        "read-only": fixed,
        "not aligned": odd,
        "the other byte order": x.astype(x.dtype.newbyteorder()),
        "one image, repeated": np.broadcast_to(x[:1], x.shape),
    }


WAYS = tuple(views(np.zeros((1, 2, 2, 1))))


@needs_numba
@pytest.mark.parametrize("way", WAYS)
def test_arrays_that_lie_in_any_way(way):
    """Convolution and pooling, forward and backward, exactly."""
    rng = np.random.default_rng(0)
    x, dy = (views(whole(rng, (2, 9, 10, 8)))[way] for _ in range(2))
    w = whole(rng, (3, 3, 1, 8)).astype(x.dtype)
    options = {"padding": 1, "groups": 8}
    same(conv_forward, x, w, **options)
    same(conv_backward_input, dy, w, x.shape, **options)
    same(conv_backward_input, dy, w, x.shape, **options, algorithm="taps")
    same(conv_backward_weight, dy, x, w.shape, **options)
    same(conv_backward_weight, dy.copy(), x, w.shape, **options)
    for kernel, stride, padding in ((3, 1, 1), (2, 2, 0), (3, 2, 1), (2, 3, 0)):
        options = {"stride": stride, "padding": padding}
        y, _ = same(max_pool_forward, x, kernel, **options, return_indices=True)
        gradient = views(whole(rng, y.shape))[way]
        for ties in ("first", "all"):
            same(max_pool_backward, gradient, x, kernel, **options, ties=ties)
            same(max_pool_backward, gradient, x.copy(), kernel, **options, ties=ties)
        same(lp_pool_forward, x, kernel, **options, p=1)
        if kernel == 2:  # sums divided by four are exact
            same(avg_pool_forward, x, kernel, **options)
            same(avg_pool_backward, gradient, x.shape, kernel, **options)


@needs_numba
@pytest.mark.parametrize("stride", [(1, 2), (2, 2), (3, 2)])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_windows_of_blocks_of_few_rows(rows, stride, monkeypatch):
    """Those of one block may share no cell with one another, and yet some with another block's."""
    monkeypatch.setattr(images_mod, "_pace", lambda n, *_, **__: images_mod.Pace(1, 1, rows))
    rng = np.random.default_rng(4)
    x = rng.integers(0, 3, (2, 9, 12, 4)).astype("float64")
    y = max_pool_forward(x, (3, 2), stride=stride)
    dy = whole(rng, y.shape) * 6
    for ties in ("first", "all"):
        same(max_pool_backward, dy, x, (3, 2), stride=stride, ties=ties)
    same(avg_pool_backward, dy, x.shape, (3, 2), stride=stride)


PLANES = {
    "a row of four taps and one": ((2, 30), (5,), {}),
    "fewer taps than a pass takes": ((1, 9), (3,), {"padding": 1}),
    "a row in three parts": ((2, 2500), (6,), {"padding": ((7, 2),)}),
    "an image": ((3, 20, 24), (3, 3), {"padding": 1}),
    "an image, taps apart": ((1, 20, 24), (2, 4), {"padding": (2, 3), "dilation": (3, 2)}),
    "rows left out": ((2, 21, 24), (3, 2), {"padding": 1, "stride": (2, 1)}),
    "columns left out": ((2, 21, 24), (3, 2), {"padding": 1, "stride": (1, 2)}),
    "more padding than kernel": ((1, 5, 6), (2, 3), {"padding": ((4, 1), (0, 5))}),
    "a volume": ((2, 6, 7, 8), (3, 2, 4), {"padding": 2}),
}


def whole_complex(rng, shape):
    return whole(rng, shape) + 1j * whole(rng, shape)


@needs_numba
@pytest.mark.parametrize("values", [whole, whole_complex])
@pytest.mark.parametrize("case", PLANES)
def test_planes_under_a_filter(case, values):
    """From one channel to one, all three maps, exactly."""
    (n, *sizes), kernel, options = PLANES[case]
    rng = np.random.default_rng(0)
    x, w = values(rng, (n, *sizes, 1)), values(rng, (*kernel, 1, 1))
    for algorithm in ("auto", "taps"):
        y = same(conv_forward, x, w, **options, algorithm=algorithm)
        dy = values(rng, y.shape)
        dx = same(conv_backward_input, dy, w, x.shape, **options, algorithm=algorithm)
        dw = same(conv_backward_weight, dy, x, w.shape, **options, algorithm=algorithm)
        assert np.vdot(dy, y) == np.vdot(dx, x) == np.vdot(w, dw).conj()


@needs_numba
@pytest.mark.parametrize("values", [whole, whole_complex])
@pytest.mark.parametrize("way", WAYS)
def test_planes_that_lie_in_any_way(way, values):
    rng = np.random.default_rng(0)
    x, dy = (views(values(rng, (2, 9, 10, 1)))[way] for _ in range(2))
    w = values(rng, (4, 3, 1, 1)).astype(x.dtype)[::-1, ::-1]
    same(conv_forward, x, w)
    same(conv_forward, x, w, padding=(2, 1))
    same(conv_backward_input, dy, w, (2, 12, 12, 1))
    same(conv_backward_weight, dy, values(rng, (2, 12, 12, 1)).astype(dy.dtype), w.shape)


@needs_numba
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kibibytes", [96, 2**10, 2**18])
def test_planes_in_blocks_within_the_workspace(workers, kibibytes):
    rng = np.random.default_rng(0)
    x, w = whole_complex(rng, (5, 100, 60, 1)), whole_complex(rng, (5, 4, 1, 1))
    b = np.asarray([3.0 + 1j])
    with anyconv.options(compiled=False):
        y = conv_forward(x, w, b, padding=2)
    with anyconv.options(workspace_bytes=kibibytes * 2**10, workers=workers, compiled=True):
        plan = plan_conv(x.shape, w.shape, dtype="complex128", padding=2, algorithm="taps")
        assert plan.workspace <= kibibytes * 2**10
        for padding, wanted in ((2, y), (0, y[:, 2:-2, 2:-2])):
            options = {"padding": padding, "algorithm": "taps"}
            found = conv_forward(x, w, b, **options)
            np.testing.assert_array_equal(found, wanted)
            most = kibibytes * 2**10 + found.nbytes + SMALL_CHANGE
            assert peak(lambda options=options: conv_forward(x, w, b, **options)) <= most


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_an_image_under_a_small_filter_goes_by_planes(dtype):
    """Which is many times faster than a product of a single column, or than a transform."""
    for operation in ("forward", "input"):
        shapes = (1, 512, 512, 1), (7, 7, 1, 1)
        plan = plan_conv(*shapes, dtype=dtype, padding="same", operation=operation)
        assert {type(leaf.template) for leaf in plan.leaves} == {PlaneTaps}
        assert len(plan.leaves[0].blocks) >= 2


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_an_image_under_a_small_filter_without_loops(dtype):
    """Tap by tap for a whole image, not as a product of a single column."""
    with anyconv.options(compiled=False):
        plan = plan_conv((1, 512, 512, 1), (3, 3, 1, 1), dtype=dtype, padding="same")
    assert {type(leaf.template) for leaf in plan.leaves} == {DepthwiseTaps}


@needs_numba
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("kibibytes", [96, 256, 2**10, 2**18])
def test_blocks_of_any_size_and_all_workers_agree(workers, kibibytes):
    rng = np.random.default_rng(0)
    x, w = whole(rng, (5, 40, 24, 16)), whole(rng, (3, 3, 1, 16))
    with anyconv.options(compiled=False):
        y = conv_forward(x, w, padding=1, groups=16)
        dy = whole(rng, y.shape)
        dx, dw, _ = conv_backward(dy, x, w, padding=1, groups=16)
        strided = conv_backward_input(dy[:, ::2, ::2], w, x.shape, padding=1, stride=2, groups=16)
        best, places = max_pool_forward(x, 3, stride=2, padding=1, return_indices=True)
        shares = whole(rng, best.shape)
        handed = max_pool_backward(shares, x, 3, stride=2, padding=1)
        few = whole(rng, (5, 13, 8, 16))
        gaps = max_pool_backward(few, x, 2, stride=3)
        dense, folded = whole(rng, (7, 7, 16, 4)), whole(rng, (5, 20, 12, 4))
        wide = conv_backward_input(folded, dense, x.shape, padding=3, stride=2)
    with anyconv.options(workspace_bytes=kibibytes * 2**10, workers=workers, compiled=True):
        np.testing.assert_array_equal(conv_forward(x, w, padding=1, groups=16), y)
        for algorithm in ("auto", "taps"):
            options = {"padding": 1, "groups": 16, "algorithm": algorithm}
            np.testing.assert_array_equal(conv_backward_input(dy, w, x.shape, **options), dx)
            np.testing.assert_array_equal(conv_backward_weight(dy, x, w.shape, **options), dw)
            found = conv_backward_input(dy[:, ::2, ::2], w, x.shape, **options, stride=2)
            np.testing.assert_array_equal(found, strided)
        found, at = max_pool_forward(x, 3, stride=2, padding=1, return_indices=True)
        np.testing.assert_array_equal(found, best)
        np.testing.assert_array_equal(at, places)
        found = max_pool_backward(shares, x, 3, stride=2, padding=1)
        np.testing.assert_array_equal(found, handed)
        found = max_pool_backward(few, x, 2, stride=3)
        np.testing.assert_array_equal(found, gaps)
        plan = _plan_of_fold(x.shape, dense.shape, {"padding": 3, "stride": 2})
        found = run_input_gradient(plan, folded, dense, xp=array_api_compat.numpy)
        np.testing.assert_array_equal(found, wide)


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("apart", ["x", "dy"])
def test_long_sums_of_cells_that_lie_apart_keep_their_digits(dtype, apart):
    """One of three channels, as a colour of a photograph is."""
    rng = np.random.default_rng(0)
    x, dy = (1 + rng.random((2, 512, 512, 3)).astype(dtype) for _ in range(2))
    x = x[..., 1:2] if apart == "x" else x[..., 1:2].copy()
    dy = dy[..., 1:2] if apart == "dy" else dy[..., 1:2].copy()
    with anyconv.options(compiled=True):
        dw = conv_backward_weight(dy, x, (3, 3, 1, 1), padding=1, algorithm="taps")
    centre = np.sum(x.astype("longdouble") * dy)
    assert abs(dw[1, 1, 0, 0] / centre - 1) < 2 * np.finfo(dtype).eps  # one sum has 4


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 8])
def test_long_sums_keep_their_digits(dtype, channels):
    """The gradient of a weight, over 180,000 outputs, and an average over 900 cells."""
    rng = np.random.default_rng(0)
    x, dy = (1 + rng.random((2, 300, 300, channels)).astype(dtype) for _ in range(2))
    epsilon = np.finfo(dtype).eps
    with anyconv.options(compiled=True):
        options = {"padding": 1, "groups": channels, "algorithm": "taps"}
        dw = conv_backward_weight(dy, x, (3, 3, 1, channels), **options)
        y = avg_pool_forward(x, 30)
    centre = np.sum(x.astype("longdouble") * dy, axis=(0, 1, 2))
    assert np.max(np.abs(dw[1, 1, 0] / centre - 1)) < 30 * epsilon
    mean = x.reshape(2, 10, 30, 10, 30, channels).astype("longdouble").mean(axis=(2, 4))
    assert np.max(np.abs(y / mean - 1)) < 30 * epsilon


@needs_numba
def test_more_axes_than_loops_have():
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 3, 4, 3, 4, 8)), whole(rng, (2, 2, 2, 2, 1, 8))
    y = same(conv_forward, x, w, groups=8)
    same(conv_backward_weight, y, x, w.shape, groups=8)
    same(max_pool_forward, x, 2)
    same(max_pool_backward, max_pool_forward(x, 2), x, 2)


@needs_numba
@pytest.mark.parametrize("ties", ["first", "all"])
def test_nan_wins_and_has_the_gradient(ties):
    """Alone or beside others, in windows that overlap and in ones that do not."""
    rng = np.random.default_rng(0)
    x = whole(rng, (3, 8, 8, 32))
    x[rng.random(x.shape) < 0.2] = np.nan
    for stride in (1, 2):
        y, _ = same(max_pool_forward, x, 2, stride=stride, return_indices=True)
        dy = whole(rng, y.shape)
        same(max_pool_backward, dy, x, 2, stride=stride, ties=ties)


@needs_numba
@pytest.mark.parametrize("channels", [1, 2, 7, 8, 40])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "padding"),
    [
        ((9, 11), (3, 3), (1, 1), 1, 1),
        ((9, 11), (3, 2), (2, 2), 1, 0),
        ((12, 12), (3, 4), (3, 4), 1, 0),
        ((9, 23), (2, 3), (1, 9), 1, ((1, 0), (2, 1))),
        ((9, 23), (1, 8), (2, 3), 1, ((0, 0), (3, 3))),
        ((9, 23), (5, 2), (1, 1), (1, 7), (2, 0)),
        ((40,), (6,), (1,), 1, 0),
        ((5, 6, 7), (2, 3, 2), (2, 1, 2), 1, 1),
    ],
)
def test_pools_by_columns_whatever_is_pooled_at_once(
    channels, size, kernel, stride, dilation, padding, monkeypatch
):
    """Of few numbers, so that most windows have several maxima, and of rows cut into pieces."""
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 2, (3, *size, channels)).astype("float32")
    x[rng.random(x.shape) < 0.02] = np.nan
    given = {"stride": stride, "padding": padding}
    dilated = given | {"dilation": dilation}
    cells = rng.integers(-8, 9, x.shape).astype("complex64") * (1 + 2j)
    for elements in (pool_jobs.IN_CACHE, 1):
        monkeypatch.setattr(pool_jobs, "IN_CACHE", elements)
        y, _ = same(max_pool_forward, x, kernel, return_indices=True, **dilated)
        same(max_pool_backward, whole(rng, y.shape, "float32"), x, kernel, **dilated)
        total = same(avg_pool_forward, cells * prod(kernel), kernel, **given)
        same(avg_pool_backward, total * prod(kernel), x.shape, kernel, **given)


@needs_numba
@pytest.mark.parametrize("channels", [32, 41])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "kernel"),
    [
        ((6, 21), (3, 3)),
        ((6, 21), (5, 3)),  # at the upper and lower end three of its five rows
        ((4, 1, 21), (3, 3, 3)),  # three rows that are not one after the other
        ((2, 40), (1, 13)),
        ((2, 40), (2, 8)),
        ((23,), (7,)),
        ((23,), (2,)),
        ((9, 12), (4, 5)),
        ((5, 3, 3), (3, 3, 3)),
    ],
)
@pytest.mark.parametrize("is_sliding", [False, True])
@pytest.mark.usefixtures("fresh_plans")
def test_four_outputs_at_once_by_taps_that_share_cells(
    size, kernel, stride, channels, is_sliding, monkeypatch
):
    """Or by windows that slide along a row, one vector of channels after the other."""
    monkeypatch.setattr(taps_mod, "slides", lambda *_: is_sliding and multiplies_windows())
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, *size, channels)), whole(rng, (*kernel, 1, channels))
    strides = (1,) * (len(size) - 1) + (stride,)
    options = {"groups": channels, "stride": strides, "padding": tuple(k // 2 for k in kernel)}
    y = same(conv_forward, x, w, algorithm="taps", **options)
    same(conv_backward_weight, y, x, w.shape, algorithm="taps", **options)
    same(conv_backward_input, y, w, x.shape, algorithm="taps", **options)
    apart = np.zeros((2, *size, 2 * channels))[..., ::2]  # cells with gaps between their channels
    apart[...] = x
    np.testing.assert_array_equal(same(conv_forward, apart, w, **options), y)


@needs_numba
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [16, 19, 40])
@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((9, 8), (3, 3), {"padding": 1}),
        ((9, 8), (4, 5), {"padding": (3, 4), "stride": (2, 3)}),
        ((9, 12), (2, 3), {"dilation": (2, 3), "padding": "same"}),
        ((3, 7), (3, 7), {"padding": ((4, 0), (0, 9))}),  # rows and columns in padding alone
        ((12,), (7,), {"stride": 2, "padding": 3}),
        ((4, 5, 6), (3, 2, 3), {"padding": 1, "stride": (1, 2, 1)}),
    ],
)
@pytest.mark.usefixtures("fresh_plans")
def test_windows_that_slide(size, kernel, options, channels, dtype, monkeypatch):
    monkeypatch.setattr(taps_mod, "slides", lambda *_: multiplies_windows())
    rng = np.random.default_rng(0)
    room = np.full((2, *size, channels + 16), np.nan, dtype=dtype)  # nothing beside is read
    x, w = room[..., :channels], whole(rng, (*kernel, 1, channels), dtype)
    x[...] = whole(rng, x.shape)
    options = {"groups": channels, "algorithm": "taps", **options}
    y = same(conv_forward, x, w, **options)
    same(conv_backward_weight, y, x, w.shape, **options)
    same(conv_backward_input, y, w, x.shape, **options)


@needs_numba
def test_tiles_are_set_whatever_was_in_them():
    rng = np.random.default_rng(0)
    x, dy = rng.random((2, 12, 15, 3)), rng.random((2, 4, 3, 3))
    dx, axes = np.full(x.shape, np.nan), [AxisLoop(4, 3, 3, 1, 0, 12), AxisLoop(3, 5, 5, 1, 0, 15)]
    run_jobs([pool_jobs.maximum_gradient_job(dx, dy, x, axes, sets=True)])
    np.testing.assert_array_equal(dx, max_pool_backward(dy, x, (3, 5)))


@needs_numba
@pytest.mark.parametrize("values", ["ties", "nan", "whole"])
@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((9, 12), (3, 3), {"stride": 2, "padding": 1}),
        ((9, 12), (3, 3), {"stride": 1, "padding": 1}),
        ((9, 12), (2, 2), {}),
        ((9, 13), (2, 2), {"stride": 3}),  # cells that no window sees
        ((9, 12), (3, 2), {"stride": (1, 2), "dilation": (2, 1)}),
        ((9, 12), (3, 3), {"stride": 2, "dilation": 3, "padding": 2, "ceil_mode": True}),
        ((7, 7), (1, 9), {"padding": (0, 4), "stride": (2, 3)}),
        ((40,), (5,), {"stride": 2, "padding": 2}),
        ((40,), (3,), {"stride": 1, "dilation": 4}),
    ],
)
def test_cells_look_up_the_windows_that_they_have_won(size, kernel, options, values, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (3, *size, 64)).astype(np.float64)
    if values == "nan":
        x[rng.random(x.shape) < 0.02] = np.nan
    if values == "whole":
        x = x.astype(np.int16)
    calls, job = [], pooling_loops.gathered_gradient_job
    monkeypatch.setattr(
        pooling_loops, "gathered_gradient_job", lambda *given: calls.append(0) or job(*given)
    )
    dy = whole(rng, max_pool_forward(x, kernel, **options).shape).astype(x.dtype)
    with anyconv.options(compiled=False):
        wanted = max_pool_backward(dy, x, kernel, **options)
    for workers in (1, 2):
        with anyconv.options(compiled=True, workers=workers):
            np.testing.assert_array_equal(max_pool_backward(dy, x, kernel, **options), wanted)
    assert calls


@needs_numba
@pytest.mark.parametrize(
    ("shape", "kernel", "options", "compiles"),
    [
        ((4, 64, 64, 16), 3, {}, True),
        ((4, 64, 64, 16), 13, {"stride": 1}, False),  # NumPy's path takes fewer steps
        ((4, 64, 64, 16), 13, {"stride": 13}, True),
        ((4, 256, 256, 1), 3, {}, False),
        ((4, 8, 8, 2**17), 3, {"stride": 1}, False),  # all channels of a few cells are held
        ((4, 8, 8, 2**11), 3, {"stride": 1}, True),
        ((1, 2**18, 2), (2,), {"stride": 1, "dilation": 2**17}, False),
    ],
)
def test_which_pools_are_compiled(shape, kernel, options, compiles):
    x, calls = np.zeros(shape, dtype=np.float32), []
    sizes = (kernel, kernel) if isinstance(kernel, int) else kernel
    with pytest.MonkeyPatch.context() as patch:
        job = pooling_loops.maxima_job
        patch.setattr(pooling_loops, "maxima_job", lambda *given: calls.append(0) or job(*given))
        max_pool_forward(x, sizes, **options)
        assert bool(calls) == compiles
        calls.clear()
        with anyconv.options(workspace_bytes=2**12):
            max_pool_forward(x, sizes, **options)
        assert not calls


@needs_numba
def test_pooling_holds_little_beyond_its_result():
    """The maxima of a row's columns, their places, and both of its outputs: 4096 elements each."""
    x = np.ones((4, 64, 64, 32), dtype=np.float32)
    with anyconv.options(compiled=True):
        assert peak(lambda: max_pool_forward(x, 3)) < SMALL_CHANGE
        y = max_pool_forward(x, 3)
        assert peak(lambda: max_pool_backward(y, x, 3)) < 2 * SMALL_CHANGE


@needs_numba
def test_depthwise_convolution_holds_its_factors_alone():
    x, w = np.ones((4, 64, 64, 32), dtype=np.float32), np.ones((3, 3, 1, 32), dtype=np.float32)
    with anyconv.options(compiled=True):
        assert peak(lambda: conv_forward(x, w, padding=1, groups=32)) < SMALL_CHANGE


@needs_numba
def test_calls_leave_nothing_behind():
    """As generators would, whose arguments Numba does not free."""
    rng = np.random.default_rng(0)
    x, w, dense = rng.random((1, 12, 12, 8)), rng.random((5, 5, 1, 8)), rng.random((5, 5, 8, 2))
    plane, filt = x[..., :1] + 0j, w[..., :1] * 1j
    y, z, m = conv_forward(x, w, groups=8), conv_forward(x, dense), max_pool_forward(x, 5)

    def calls():
        conv_backward(conv_forward(x, w, groups=8), x, w, groups=8)
        conv_backward_input(y, w, x.shape, groups=8, algorithm="taps")
        conv_backward_input(z, dense, x.shape)
        max_pool_backward(max_pool_forward(x, 5), x, 5)
        avg_pool_backward(avg_pool_forward(m, 1), x.shape, 5)
        conv_forward(plane, filt, padding=1)

    with anyconv.options(compiled=True):
        held = []
        for _ in range(3):
            tracemalloc.start()
            for _ in range(100):
                calls()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
    assert held[-1] < 2**16  # an array of 4 KiB a call would be 400 KiB


@needs_numba
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(11, 12), (4, 3)], ids=["wide", "narrower than the kernel"])
@pytest.mark.parametrize("channels", [1, 2, 3, 64])
def test_windows_are_folded_back_in_one_pass(stride, dilation, size, channels):
    """The gradient of a convolution's input by one product, whatever padding cuts off."""
    rng = np.random.default_rng(0)
    x_shape, w = (3, *size, channels), whole(rng, (3, 4, channels, 2))
    options = {"padding": ((2, 1), (0, 5)), "stride": stride, "dilation": dilation}
    dy = whole(rng, conv_forward(np.zeros(x_shape), w, **options).shape)
    with anyconv.options(compiled=False):
        wanted = conv_backward_input(dy, w, x_shape, **options)
    for workers in (1, 2, 5):
        with anyconv.options(compiled=True, workers=workers):
            plan = _plan_of_fold(x_shape, w.shape, options)
            found = run_input_gradient(plan, dy, w, xp=array_api_compat.numpy)
        np.testing.assert_array_equal(found, wanted)


@needs_numba
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("size", [(11, 12), (4, 3)], ids=["wide", "narrower than the kernel"])
@pytest.mark.parametrize("channels", [1, 3, 64])
def test_windows_are_unfolded_in_one_pass(monkeypatch, stride, dilation, size, channels):
    """The other two maps by one product, also of cells that lie apart, if tiles are no choice."""
    monkeypatch.setattr(cells_mod, "multiplies_windows", lambda: False)
    monkeypatch.setattr(gemm_mod, "FEWEST_IN_A_ROW", 0)
    rng = np.random.default_rng(0)
    x, w = whole(rng, (3, *size, channels)), whole(rng, (3, 4, channels, 2))
    options = {"padding": ((2, 1), (0, 5)), "stride": stride, "dilation": dilation}
    options["algorithm"] = "gemm"
    planner.make_plan.cache_clear()
    for given in (x, views(x)["cells apart"], views(x)["channels apart"]):
        dy = whole(rng, same(conv_forward, given, w, **options).shape)
        same(conv_backward_weight, dy, given, w.shape, **options)
    with anyconv.options(compiled=True):
        plan = plan_conv(x.shape, w.shape, dtype="float64", **options)
    assert type(plan.template).__name__ == "CompiledGemm"
    planner.make_plan.cache_clear()


@needs_numba
@pytest.mark.parametrize("workers", [2, 3])
def test_no_two_workers_fold_into_one_image(monkeypatch, workers):
    """Whose slabs overlap."""
    rng = np.random.default_rng(0)
    dy, w = whole(rng, (3, 32, 32, 4)), whole(rng, (7, 7, 8, 4))
    with anyconv.options(compiled=True, workers=workers, workspace_bytes=2**19):
        plan = _plan_of_fold((3, 64, 64, 8), w.shape, {"padding": 3, "stride": 2})
        assert len(plan.blocks) > 3
        given = []
        monkeypatch.setattr(
            execute_mod, "share", lambda work, items, _: given.extend(items) or work(items)
        )
        run_input_gradient(plan, dy, w, xp=array_api_compat.numpy)
    images = [{block.images.start for block in blocks} for blocks in given]
    assert sorted(map(tuple, images)) == [(0,), (1,), (2,)]


@needs_numba
def test_outputs_may_lie_apart():
    """As those of a phase do, which are written between one another."""
    rng = np.random.default_rng(0)
    x, w = whole(rng, (2, 7, 9, 4)), whole(rng, (6, 4))
    axes = [AxisLoop(6, 2, 1, 1, 0, 7), AxisLoop(7, 3, 1, 1, 0, 9)]
    y = apart_jobs.repeated_factors(w, outputs_together(4, 1), xp=array_api_compat.numpy)
    apart, beside = np.zeros((2, 12, 14, 4)), np.zeros((2, 6, 7, 4))
    run_jobs([products_job(apart[:, ::2, 1::2], x, y, axes), products_job(beside, x, y, axes)])
    np.testing.assert_array_equal(apart[:, ::2, 1::2], beside)
    assert not apart[:, 1::2].any() and not apart[:, :, ::2].any()
    back, far = np.zeros_like(x), np.zeros_like(x)
    run_jobs([products_data_job(back, beside, y, axes)])
    run_jobs([products_data_job(far, apart[:, ::2, 1::2], y, axes)])
    np.testing.assert_array_equal(far, back)


def _plan_of_fold(x_shape, w_shape, options):
    """A plan without phases, which are what small problems get."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "_phase_plans", lambda *_: ())
        planner.make_plan.cache_clear()
        plan = plan_conv(
            x_shape, w_shape, dtype="float64", operation="input", algorithm="gemm", **options
        )
    planner.make_plan.cache_clear()
    assert type(plan.template).__name__ == "CompiledGemm"
    return plan


@needs_numba
def test_numba_may_be_told_not_to_compile():
    code = (
        "import numpy, anyconv\n"
        "x, w = numpy.ones((16, 64, 64, 8)), numpy.ones((3, 3, 8, 8))\n"
        "with anyconv.options(workers=2):\n"
        "    assert numpy.allclose(anyconv.conv_forward(x, w), 72)\n"
        "    assert (anyconv.max_pool_forward(x, 2) == 1).all()\n"
        "print(anyconv.plan_conv(x.shape, w.shape, dtype='float64'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "compiled" not in done.stdout


@needs_numba
@pytest.mark.parametrize(
    ("images", "size", "kernel", "channels"), [(60_000, 4, 1, 1), (20_000, 8, 3, 16)]
)
def test_many_small_images_lose_no_digits(images, size, kernel, channels):
    """Of one sign, so that rounding of a long sum adds up: blocks are summed apart."""
    outputs = size - kernel + 1
    x = np.full((images, size, size, channels), 0.01, dtype="float32")
    dy = np.full((images, outputs, outputs, channels), 0.01, dtype="float32")
    shape = (kernel, kernel, 1, channels)
    with anyconv.options(compiled=True, workers=2):
        dw = conv_backward_weight(dy, x, shape, groups=channels, algorithm="taps")
    wanted = images * outputs**2 * float(x[0, 0, 0, 0]) * float(dy[0, 0, 0, 0])
    np.testing.assert_allclose(dw, wanted, rtol=1e-4)


@needs_numba
def test_shares_of_blocks_are_added():
    rng = np.random.default_rng(0)
    x, dy = whole(rng, (6000, 6, 5, 4)), whole(rng, (6000, 4, 3, 4))
    same(conv_backward_weight, dy, x, (3, 3, 1, 4), groups=4, algorithm="taps")
