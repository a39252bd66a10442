"""The kernels for CuPy compiled for the CPU, and run by all that would launch them.

So they are tested without a GPU, where there is a C++ compiler; on one they are wherever a test
runs on the backend `cupy`. NumPy's arrays stand in for CuPy's, and a loop for a launch's threads.
"""

import ctypes
import os
import shutil
import subprocess
from collections import Counter
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest

import anyconv
import anyconv._cupy_kernels._launches as launches
import anyconv._cupy_kernels._window_kernels as window_kernels
import anyconv._namespace._door as door
import anyconv._pooling._axis_loops as axis_loops
import anyconv._traits as traits
from anyconv import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    fold,
    lp_pool_backward,
    lp_pool_forward,
    max_pool_backward,
    max_pool_forward,
    plan_conv,
    unfold,
)
from anyconv._geometry._pooling_axes import adaptive

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")

OF_POINTS = ("from_points", "to_points")
OF_WINDOWS = (
    "averages",
    "averages_adjoint",
    "fold",
    "maxima",
    "products",
    "products_data",
    "products_weight",
    "sums",
    "sums_adjoint",
    "ties_gradient",
    "totals",
    "unfold",
    "winners",
    "winners_gradient",
)
BEFORE = """
#include <cstddef>
#include <type_traits>
#include <utility>
struct Three { unsigned x, y, z; };
static Three threadIdx, blockIdx, blockDim, gridDim;
#define __device__ static inline
#define __global__
#define __restrict__
#define __align__(bytes) alignas(bytes)
"""
AFTER = """
template <typename... A, std::size_t... I>
void call(void (*kernel)(A...), void** given, std::index_sequence<I...>) {
  kernel(*(std::remove_cv_t<A>*)given[I]...);
}
template <typename... A>
void launch(void (*kernel)(A...), const unsigned* sizes, void** given) {
  gridDim = {sizes[0], sizes[1], 1};
  blockDim = {sizes[2], sizes[3], 1};
  const unsigned all = gridDim.x * gridDim.y * blockDim.x * blockDim.y;
  for (unsigned i = 0; i < all; ++i) {
    unsigned rest = sizes[4] ? all - 1 - i : i;
    threadIdx.x = rest % blockDim.x, rest /= blockDim.x;
    threadIdx.y = rest % blockDim.y, rest /= blockDim.y;
    blockIdx.x = rest % gridDim.x, blockIdx.y = rest / gridDim.x;
    call(kernel, given, std::index_sequence_for<A...>{});
  }
}
"""


class Compiled:
    """The kernels for some elements as CuPy gives them, from a library of their own."""

    def __init__(self, library, launched, backwards):
        self.library, self.launched, self.backwards = library, launched, backwards

    def get_function(self, name):
        return partial(self._launch, name)

    def _launch(self, name, grid, block, given):
        self.launched[name] += 1
        sizes = (ctypes.c_uint * 5)(*(*grid, 1)[:2], *(*block, 1)[:2], self.backwards)
        arrays = [value for value in given if isinstance(value, np.ndarray)]
        assert all(array.flags.c_contiguous for array in arrays)
        pointers = [np.asarray(array.ctypes.data) for array in arrays]
        values = [*pointers, *map(np.asarray, given[len(arrays) :])]
        places = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        getattr(self.library, f"run_{name}")(sizes, places)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library of all kernels for some elements, compiled once."""
    folder = tmp_path_factory.mktemp("kernels")

    @cache
    def compiled(kind, pack, is_wide, matrices):
        stem = folder / f"kernels{len(list(folder.iterdir()))}"
        runs = (
            f'extern "C" void run_{name}(const unsigned* s, void** g) {{ launch({name}, s, g); }}'
            for name in (OF_WINDOWS if matrices is None else OF_POINTS)
        )
        source = launches.source(kind, pack, is_wide, matrices)
        stem.with_suffix(".cpp").write_text("\n".join([BEFORE, source, AFTER, *runs]))
        flags = ["-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-o"]
        command = [COMPILER, *flags, stem.with_suffix(".so"), stem.with_suffix(".cpp")]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(stem.with_suffix(".so")))

    return compiled


def memory(array):
    return SimpleNamespace(ptr=array.ctypes.data, device_id=0)


@pytest.fixture
def same(library, monkeypatch):
    """A function's result by kernels, on NumPy's arrays, found equal to that without them."""
    launched = Counter()

    def forget():
        launches.has_window_kernels.cache_clear()
        launches._prepared.cache_clear()
        traits._traits.cache_clear()

    def by_kernels(function, arguments, options, *, backwards):
        def module(*which):
            return Compiled(library(*which), launched, backwards)

        with monkeypatch.context() as patch:
            patch.setattr(launches, "is_cupy", lambda xp: True)
            patch.setattr(launches, "memory_of", memory)
            patch.setattr(launches, "_module", module)
            forget()
            found = function(*arguments, **options)
        forget()
        return as_arrays(found)

    def call(function, *arguments, within=0.0, **options):
        with anyconv.options(compiled=False, workers=1):
            wanted = as_arrays(function(*arguments, **options))
            launched.clear()
            for backwards in (False, True):  # threads may run in any order
                found = by_kernels(function, arguments, options, backwards=backwards)
                for mine, other in zip(found, wanted, strict=True):
                    assert mine.dtype == other.dtype
                    assert mine.shape == other.shape
                    if within:
                        assert np.abs(mine - other).max() <= within * np.abs(other).max()
                    else:
                        np.testing.assert_array_equal(mine, other)
        assert launched
        return set(launched)

    return call


def as_arrays(result):
    return result if isinstance(result, tuple) else (result,)


def whole(rng, shape, dtype="float32"):
    return rng.integers(-8, 9, shape).astype(dtype)


SHAPES = [
    pytest.param((2, 9, 7, 8), (3, 3), {"padding": 1}, id="padded"),
    pytest.param((3, 10, 9, 3), (3, 2), {"stride": 2, "padding": ((2, 0), (0, 3))}, id="strided"),
    pytest.param((2, 11, 12, 4), (3, 2), {"dilation": (2, 3), "padding": 2}, id="dilated"),
    pytest.param((2, 19, 6), (4,), {"stride": 3, "padding": 1}, id="one axis"),
    pytest.param((1, 5, 6, 7, 2), (2, 3, 2), {"padding": 1, "stride": (1, 2, 1)}, id="three axes"),
    pytest.param((1, 40, 40, 40), (3, 3), {"padding": 1}, id="many windows"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_convolution(shape, kernel, options, dtype, same):
    rng = np.random.default_rng(1)
    x, w = whole(rng, shape, dtype), whole(rng, (*kernel, shape[-1], 5), dtype)
    dy = whole(rng, conv_forward(x, w, **options).shape, dtype)
    gemm = dict(options, algorithm="gemm")
    assert same(conv_forward, x, w, **gemm) == {"unfold"}
    assert same(conv_backward_weight, dy, x, w.shape, **gemm) == {"unfold"}
    # Without the auto plan's flipped weights: the fold itself.
    assert same(conv_backward_input, dy, w, x.shape, **gemm) <= {"unfold", "fold"}
    windows = whole(rng, (*dy.shape[:-1], *kernel, 4), dtype)
    sizes = shape[1:-1]
    assert same(fold, windows, sizes, kernel, **options) == {"fold"}


@pytest.mark.parametrize("each", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_groups(shape, kernel, options, dtype, each, same):
    rng = np.random.default_rng(11)
    shape = (*shape[:-1], 3 * each)
    x, w = whole(rng, shape, dtype), whole(rng, (*kernel, each, 6), dtype)
    dy = whole(rng, conv_forward(x, w, groups=3, **options).shape, dtype)
    gemm = dict(options, algorithm="gemm", groups=3)
    assert same(conv_forward, x, w, **gemm) == {"unfold"}
    assert same(conv_backward_weight, dy, x, w.shape, **gemm) == {"unfold"}
    assert same(conv_backward_input, dy, w, x.shape, **gemm) <= {"unfold", "fold"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_channels_apart(shape, kernel, options, dtype, same):
    rng = np.random.default_rng(2)
    c = shape[-1]
    x, w = whole(rng, shape, dtype), whole(rng, (*kernel, 1, c), dtype)
    dy = whole(rng, conv_forward(x, w, groups=c, **options).shape, dtype)
    taps = dict(options, algorithm="taps", groups=c)
    assert same(conv_forward, x, w, **taps) == {"products"}
    assert same(conv_backward_weight, dy, x, w.shape, **taps) == {"products_weight"}
    assert same(conv_backward_input, dy, w, x.shape, **taps) <= {"products", "products_data"}


@pytest.mark.parametrize("shape", [(1, 1), (33, 5), (2, 60, 60, 4), (5000, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_totals(shape, dtype, same, monkeypatch):
    dy = whole(np.random.default_rng(10), shape, dtype)
    assert same(conv_backward_bias, dy) == {"totals"}
    monkeypatch.setattr(window_kernels, "THREADS_WANTED", 1)  # many rows a share
    assert same(conv_backward_bias, dy) == {"totals"}


TILES = [
    pytest.param((3, 14, 13, 8), (3, 3), {"padding": 1}, id="tiles that hang over"),
    pytest.param((2, 9, 17, 4), (3, 5), {"padding": ((1, 0), (2, 2))}, id="unequal"),
    pytest.param((2, 40, 6), (3,), {"padding": 1}, id="one axis"),
    pytest.param((2, 9, 8, 7, 4), (3, 3, 3), {"padding": 1}, id="three axes"),
    pytest.param((2, 7, 7, 8), (2, 1), {}, id="an axis of one tap"),
]


@pytest.mark.parametrize(("dtype", "within"), [("float32", 4e-6), ("float64", 1e-14)])
@pytest.mark.parametrize(("shape", "kernel", "options"), TILES)
def test_points(shape, kernel, options, dtype, within, same):
    rng = np.random.default_rng(8)
    x, w = (rng.standard_normal(n).astype(dtype) for n in (shape, (*kernel, shape[-1], 5)))
    dy = rng.standard_normal(conv_forward(x, w, **options).shape).astype(dtype)
    options = dict(options, algorithm="winograd", within=within)
    both = {"to_points", "from_points"}
    assert same(conv_forward, x, w, **options) == both
    assert same(conv_backward_weight, dy, x, w.shape, **options) == both
    assert same(conv_backward_input, dy, w, x.shape, **options) == both
    with anyconv.options(workspace_bytes=2**16):  # tiles of some rows at a time
        assert same(conv_forward, x, w, **options) == both


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int64"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_maxima(shape, kernel, options, dtype, same):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 9, shape).astype(dtype)  # with ties
    options = dict(options, padding=min(1, min(kernel) // 2))
    if dtype.startswith("float"):
        x[rng.random(shape) < 0.05] = np.nan
    y = max_pool_forward(x, kernel, **options)
    dy = rng.integers(0, 3, y.shape).astype(dtype)
    assert same(max_pool_forward, x, kernel, **options) == {"maxima"}
    indices = dict(options, return_indices=True)
    assert same(max_pool_forward, x, kernel, **indices) == {"maxima", "winners"}
    both = {"winners", "winners_gradient"}
    assert same(max_pool_backward, dy, x, kernel, **options) == both
    ties = dict(options, ties="all")
    assert same(max_pool_backward, dy, x, kernel, **ties) == {"maxima", "ties_gradient"}


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_averages(shape, kernel, options, dtype, count_include_pad, same):
    rng = np.random.default_rng(4)
    every = np.asarray(27720).astype(dtype)  # all windows count a divisor of it: results are exact
    few = tuple(min(1, k // 2) for k in kernel)
    options = dict(options, padding=few, ceil_mode=True, count_include_pad=count_include_pad)
    x = whole(rng, shape, dtype) * every
    dy = whole(rng, avg_pool_forward(x, kernel, **options).shape, dtype) * every
    assert same(avg_pool_forward, x, kernel, **options) == {"averages"}
    assert same(avg_pool_backward, dy, shape, kernel, **options) == {"averages_adjoint"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "kernel", "options"), SHAPES)
def test_sums(shape, kernel, options, dtype, same):
    rng = np.random.default_rng(4)
    x = whole(rng, shape, dtype)
    options = {name: value for name, value in options.items() if name == "stride"}
    dy = whole(rng, lp_pool_forward(x, kernel, p=1, **options).shape, dtype)
    assert same(lp_pool_forward, x, kernel, p=1, **options) == {"sums"}
    assert same(lp_pool_backward, dy, x, kernel, p=1, **options) == {"sums", "sums_adjoint"}


def test_averages_of_one_window(same):
    x = whole(np.random.default_rng(9), (3, 4, 4, 5)) * np.float32(16)
    assert same(adaptive_avg_pool_forward, x, 1) == {"averages"}
    dy = x[:, :1, :1]
    assert same(adaptive_avg_pool_backward, dy, x.shape, 1) == {"averages_adjoint"}


def test_channels_first_and_arrays_with_gaps(same):
    rng = np.random.default_rng(5)
    x, w = whole(rng, (2, 3, 9, 8)), whole(rng, (4, 3, 3, 3))
    first = {"layout": "channels_first", "padding": 1, "algorithm": "gemm"}
    assert same(conv_forward, x, w, **first) == {"unfold"}
    assert same(max_pool_forward, x, 3, layout="channels_first") == {"maxima"}
    gaps = whole(rng, (2, 18, 9, 8))[:, ::2]
    assert same(max_pool_forward, gaps, 2) == {"maxima"}
    # One that begins where no four numbers may be read at once.
    beside = whole(rng, (2 * 6 * 6 * 4 + 1,))[1:].reshape(2, 6, 6, 4)
    assert same(max_pool_forward, beside, 2) == {"maxima"}


def test_places_of_64_bits(same, monkeypatch):
    """As in arrays of more than a thousand million elements."""
    monkeypatch.setattr(launches, "MANY", 100)
    rng = np.random.default_rng(6)
    x, w = whole(rng, (2, 9, 7, 8)), whole(rng, (3, 3, 8, 5))
    dy = whole(rng, max_pool_forward(x, 3).shape)
    assert same(conv_forward, x, w, padding=1, algorithm="gemm") == {"unfold"}
    assert same(max_pool_backward, dy, x, 3) == {"winners", "winners_gradient"}
    assert same(max_pool_forward, x, 3, return_indices=True) == {"maxima", "winners"}
    few = whole(rng, (1, 4, 4, 5))  # with more windows than cells
    options = {"stride": 1, "padding": 2}
    assert max_pool_forward(few, 4, **options).size > 100 > few.size
    assert same(max_pool_forward, few, 4, return_indices=True, **options)
    dy = whole(rng, max_pool_forward(few, 4, **options).shape)
    assert same(max_pool_backward, dy, few, 4, **options) == {"winners", "winners_gradient"}


def test_strides_of_64_bits(same):
    one, w = np.ones((1, 1, 1, 1), "float32"), np.ones((2, 2, 1, 1), "float32")
    assert same(conv_backward_input, one, w, (1, 4, 4, 1), stride=2**32, algorithm="gemm")


def test_chunks_within_the_workspace(same):
    rng = np.random.default_rng(7)
    x, w = whole(rng, (6, 9, 7, 8)), whole(rng, (3, 3, 8, 5))
    dy = whole(rng, max_pool_forward(x, 3, stride=1, padding=1).shape)
    with anyconv.options(workspace_bytes=2**15):
        assert same(conv_forward, x, w, padding=1, algorithm="gemm") == {"unfold"}
        assert same(conv_backward_input, whole(rng, (6, 7, 5, 5)), w, x.shape, algorithm="gemm")
        assert same(max_pool_backward, dy, x, 3, stride=1, padding=1)
        assert same(conv_forward, x, whole(rng, (3, 3, 1, 8)), groups=8, algorithm="taps")


def test_large_windows_are_reduced_axis_by_axis(monkeypatch):
    monkeypatch.setattr(axis_loops, "has_window_kernels", lambda xp, dtype: True)
    few, many, uneven = adaptive((32, 32), (2, 2)), adaptive((34, 34), (2, 2)), adaptive((5,), (2,))
    assert axis_loops.loops_in_kernels(few, np.float32, xp=np) is not None
    assert axis_loops.loops_in_kernels(many, np.float32, xp=np) is None
    assert axis_loops.loops_in_kernels(uneven, np.float32, xp=np) is None


def test_arrays_on_another_device_are_refused(monkeypatch):
    """CuPy's kernels run on the current device, and would read the other's memory or none."""
    x, w = np.ones((1, 5, 5, 1)), np.ones((1, 1, 1, 2))
    monkeypatch.setattr(door, "is_cupy", lambda xp: True)
    monkeypatch.setattr(door, "memory_of", lambda array: SimpleNamespace(device_id=1))
    monkeypatch.setattr(door, "_current_device", lambda: lambda: 0)
    for call in (
        lambda: conv_forward(x, w),
        lambda: conv_backward_bias(x),
        lambda: max_pool_forward(x, 2),
        lambda: unfold(x, 2),
    ):
        with pytest.raises(ValueError, match=r"must be on CuPy's current device, 0, got device 1"):
            call()


def test_the_plan_for_a_gpu():
    pytest.importorskip("cupy")
    plan = plan_conv(
        (8, 112, 112, 32), (3, 3, 1, 32), padding=1, groups=32, dtype="float32", namespace="cupy"
    )
    assert plan.algorithm == "taps"
    assert len(plan.blocks) == 1
