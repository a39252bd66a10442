"""Fourier transforms in compiled loops, against NumPy's own."""

from math import prod

import numpy as np
import pytest
from measuring import SMALL_CHANGE, peak
from strategies import inner

import anyconv
import anyconv._compiled._numba as compiled_mod
from anyconv import (
    conv_backward,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    plan_conv,
)
from anyconv._algorithms._fft_axes import Transform
from anyconv._algorithms._fft_depthwise import DepthwiseFft
from anyconv._algorithms._fft_sizes import SHORT, Kind
from anyconv._algorithms._fft_sizes import _fast_size as fast_size
from anyconv._compiled import LONGEST_IN_LOOPS as LONGEST
from anyconv._compiled import (
    compiled_cells,
    compiled_filter,
    compiled_spectrum,
    has_compiled_transform,
)

needs_numba = pytest.mark.skipif(
    compiled_mod.why_no_compiled_loops() is not None, reason="Numba cannot be imported"
)

# Every radix alone, twice and beside each other, and the longest.
SIZES = (2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 20, 25, 30, 32, 50, 54, 60, 64, 72, 75, 80, 96, 100)
SIZES += (108, 120, 125, 128, 144, 160, 180, 225, 240, 256, 288, 320, 500, 512, 810, 1000, LONGEST)
# Lanes beside an axis: none, fewer and more than are taken at once, and whole blocks of them.
BESIDE = ((), (5,), (16,), (3, 2), (37,))
BOUNDS = {"float32": 4e-7, "float64": 1e-15}


def spread(x, axis, size, step):
    """X on each `step`-th cell of an axis, zeros elsewhere."""
    room = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
    room[(*(slice(None),) * axis, slice(0, step * (x.shape[axis] - 1) + 1, step))] = x
    return room


def random(rng, shape, dtype, *, is_complex):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if is_complex else x).astype(
        np.result_type(dtype, np.complex64) if is_complex else dtype
    )


def close(found, wanted, dtype):
    assert found.shape == wanted.shape
    assert found.dtype == np.result_type(dtype, np.complex64 if wanted.dtype.kind == "c" else dtype)
    assert np.max(np.abs(found - wanted)) <= BOUNDS[dtype] * max(1, np.max(np.abs(wanted)))


@needs_numba
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("size", [8, 15, 32, 60, 160])
@pytest.mark.parametrize(
    ("beside", "rows", "channels"), [((3,), 1, 16), ((2, 2), 3, 37), ((), 2, 5)]
)
def test_columns_are_filtered_as_their_spectra_are_multiplied(dtype, size, beside, rows, channels):
    rng = np.random.default_rng(0)
    cells, kept = size - 2, slice(0, size // 2, 2)
    a = random(rng, (cells, *beside, rows, channels), dtype, is_complex=True)
    w = random(rng, (size, *beside, 1, channels), dtype, is_complex=True)
    found = compiled_filter(a, w.reshape(-1, 1, channels), size, kept)
    wanted = np.fft.ifft(np.fft.fft(a, n=size, axis=0) * w, axis=0)[kept]
    close(found, wanted, dtype)


@needs_numba
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("after", BESIDE)
def test_transforms_and_inverses_are_numpys(half, after, dtype):
    """Of all cells, of some of them, and of cells that lie apart."""
    rng = np.random.default_rng(prod(after))
    for size in (size * (1 + half) for size in SIZES):
        assert has_compiled_transform(size, half=half)
        for step in (1, 3):
            most = (size - 1) // step + 1
            for count in {1, max(most // 3, 1), most}:
                cells = slice(0, step * (count - 1) + 1, step)
                x = random(rng, (3, count, *after), dtype, is_complex=not half)
                wide = spread(x, 1, size, step).astype(complex if not half else float)
                forward = np.fft.rfft if half else np.fft.fft
                wanted = forward(wide, axis=1, norm="ortho")
                close(compiled_spectrum(x, 1, cells, size, half=half), wanted, dtype)
                z = random(rng, wanted.shape, dtype, is_complex=True)
                kept = z.copy()
                inverse = np.fft.irfft if half else np.fft.ifft
                wanted = inverse(z.astype(complex), n=size, axis=1, norm="ortho")[:, cells]
                close(compiled_cells(z, 1, cells, size, half=half), wanted, dtype)
                np.testing.assert_array_equal(z, kept)


@needs_numba
@pytest.mark.parametrize("half", [False, True])
def test_no_lane_has_a_part_in_another(half):
    """Of very unlike size, one of them not a number: each is as exact as if it were alone."""
    rng = np.random.default_rng(0)
    x = random(rng, (60, 20), "float32", is_complex=not half)
    large = x * np.float32(10) ** np.arange(-30, 30, 3, dtype="float32")
    large[7, 4] = np.nan
    for axis in (0, 1):
        a, b = (x, large) if axis == 0 else (x.T.copy(), large.T.copy())
        found, alone = (
            compiled_spectrum(array, axis, slice(0, 60, 1), 60, half=half) for array in (b, a)
        )
        found, alone = (array if axis == 0 else array.T for array in (found, alone))
        assert np.all(np.isnan(found[:, 4]).any(axis=0))
        scale = np.float32(10) ** np.arange(-30, 30, 3, dtype="float32")
        others = [lane for lane in range(20) if lane != 4]
        error = np.abs(found - alone * scale).max(axis=0) / np.abs(alone * scale).max(axis=0)
        assert max(error[others]) <= 1e-6


@needs_numba
def test_arrays_that_do_not_lie_in_order():
    rng = np.random.default_rng(0)
    x = random(rng, (12, 40, 7), "float64", is_complex=True)
    for view in (x[::2, :, ::-1], np.asfortranarray(x), x.transpose(2, 1, 0), x[:, ::-1]):
        found = compiled_spectrum(view, 1, slice(0, 40, 1), 60, half=False)
        wanted = np.fft.fft(spread(view, 1, 60, 1), axis=1, norm="ortho")
        close(found, wanted, "float64")


def test_which_sizes_there_are_loops_for():
    assert not has_compiled_transform(49, half=False)
    assert has_compiled_transform(45, half=False)
    assert not has_compiled_transform(45, half=True)
    assert not has_compiled_transform(14, half=True)
    assert not has_compiled_transform(2 * LONGEST, half=False)
    assert has_compiled_transform(2 * LONGEST, half=True)
    assert not has_compiled_transform(4 * LONGEST, half=True)


def test_tiles_are_of_sizes_that_there_are_loops_for():
    for short, most in ((0, 2), (SHORT, 1.13)):
        for least in range(short + 1, LONGEST + 1):
            size = fast_size(least, True, short)
            assert least <= size <= most * least
            assert has_compiled_transform(size, half=True)


@needs_numba
@pytest.mark.parametrize("half", [False, True])
def test_axes_are_transformed_each_in_its_way(np_backend, half):
    """By roots of unity, in loops and by NumPy: what NumPy makes of all three."""
    xp, rng = np_backend.namespace, np.random.default_rng(0)
    cells = (slice(0, 3, 1), slice(0, 50, 1), slice(0, 97, 2))
    sizes, shape = (60, 98, 120), (2, 3, 50, 49)
    made = Transform(1, cells, sizes, Kind(is_complex=not half, compiles=True))
    assert made._ways == ("roots", "library", "loops")
    x = random(rng, shape, "float64", is_complex=not half)
    wide = np.zeros((2, *sizes), x.dtype)
    wide[(slice(None), *cells)] = x
    forward = np.fft.rfftn if half else np.fft.fftn
    wanted = forward(wide, axes=(1, 2, 3), norm="ortho")
    close(made.spectrum(x, xp=xp), wanted, "float64")
    inverse = np.fft.irfftn if half else np.fft.ifftn
    z = forward(rng.standard_normal((2, *sizes)), axes=(1, 2, 3), norm="ortho")
    wanted = inverse(z, s=sizes, axes=(1, 2, 3), norm="ortho")[(slice(None), *cells)]
    close(made.inverse(z, xp=xp), wanted, "float64")


LARGE = {
    "groups": ((2, 120, 100, 4), (9, 9, 1, 4), {"groups": 4, "padding": 4}),
    "one channel": ((1, 150, 130, 1), (30, 30, 1, 3), {}),
    "strided": ((1, 120, 160, 2), (21, 21, 1, 2), {"groups": 2, "stride": 2}),
    "dilated": ((1, 130, 130, 1), (9, 9, 1, 2), {"dilation": 5}),
    "one axis": ((2, 900, 2), (100, 1, 2), {"groups": 2}),
    "volume": ((1, 50, 40, 60, 1), (12, 13, 14, 1, 1), {}),
    "depthwise": ((2, 110, 70, 18), (17, 19, 1, 18), {"groups": 18, "padding": 8}),
    "depthwise, strided": ((3, 101, 90, 16), (17, 19, 1, 16), {"groups": 16, "stride": (2, 3)}),
    "depthwise, dilated": ((1, 120, 90, 16), (7, 9, 1, 16), {"groups": 16, "dilation": 5}),
    "depthwise, one axis": ((2, 500, 40), (90, 1, 40), {"groups": 40}),
}


@needs_numba
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("case", LARGE)
def test_convolutions_in_loops_are_those_without(case, dtype):
    """And the plan says in what they are done."""
    shape, kernel, options = LARGE[case]
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, size).astype(dtype) for size in (shape, kernel))
    if dtype == "complex128":
        x, w = x * (1 + 2j), w * (2 - 1j)
    results = []
    for compiled in (False, True):
        with anyconv.options(compiled=compiled):
            plan = plan_conv(shape, kernel, dtype=dtype, algorithm="fft", **options)
            assert ("in compiled loops" in str(plan)) == compiled
            y = conv_forward(x, w, algorithm="fft", **options)
            dy = np.round(y / 7)
            results.append((y, *conv_backward(dy, x, w, algorithm="fft", **options)))
    for mine, other in zip(*results, strict=True):
        assert np.max(np.abs(mine - other)) <= 1e-12 * np.max(np.abs(other))


@needs_numba
@pytest.mark.parametrize("case", [name for name in LARGE if name.startswith("depthwise")])
def test_depthwise_maps_have_their_adjoints(np_backend, case):
    """<B x, d> = <x, B* d>, <G w, g> = <w, G* g>, <A m, y> = <m, A* y>, and those of products."""
    shape, kernel, options = LARGE[case]
    xp, rng = np_backend.namespace, np.random.default_rng(0)
    with anyconv.options(compiled=True):
        plan = plan_conv(shape, kernel, dtype="complex128", algorithm="fft", **options)
    made = plan.template
    assert type(made) is DepthwiseFft
    channels, images = shape[-1], 2
    x, w, y = (
        random(rng, size, "float64", is_complex=True)
        for size in (
            (images, *made.reach, channels),
            kernel,
            (images, *made.windows.output, channels),
        )
    )
    (data,), (weight,) = made.data(x, xp=xp), made.weight(w, xp=xp)
    m = made.output_adjoint(y, xp=xp)
    d, g, n = (random(rng, a.shape, "float64", is_complex=True) for a in (data, weight, m))
    assert inner(data, d) == pytest.approx(inner(x, made.data_adjoint([d], images, xp=xp)))
    assert inner(weight, g) == pytest.approx(inner(w, made.weight_adjoint([g], xp=xp)))
    assert inner(n, m) == pytest.approx(inner(made.output(n, images, xp=xp), y))
    product = inner(made.multiply(d.copy(), weight, xp=xp), n)
    back = made.multiply_adjoint_data(n.copy(), weight, xp=xp)
    assert product == pytest.approx(inner(d, back))
    gradient = made.multiply_adjoint_weight(d, n, xp=xp)
    assert product == pytest.approx(inner(weight, gradient))


@needs_numba
@pytest.mark.parametrize("operation", ["forward", "input", "weight"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_what_loops_hold_is_what_the_plan_says(operation, dtype):
    for case, (shape, kernel, options) in LARGE.items():
        rng = np.random.default_rng(0)
        x, w = (random(rng, s, "float32", is_complex=False).astype(dtype) for s in (shape, kernel))
        run = {**options, "algorithm": "fft"}
        dy = conv_forward(x, w, **run)
        call = {
            "forward": lambda x, w, dy, run: conv_forward(x, w, **run),
            "input": lambda x, w, dy, run: conv_backward_input(dy, w, x.shape, **run),
            "weight": lambda x, w, dy, run: conv_backward_weight(dy, x, w.shape, **run),
        }[operation]
        with anyconv.options(compiled=True, workers=1):
            plan = plan_conv(shape, kernel, dtype=dtype, operation=operation, **run)
            held = peak(lambda call=call, a=(x, w, dy, run): call(*a))
        assert held <= plan.workspace + SMALL_CHANGE, case
