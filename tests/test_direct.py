"""Convolution in tiles of registers: windows where they lie, and points of tiles.

That every map is right is tested wherever a test runs on the backend `numba`; here are the cases
that such loops can get wrong by themselves. Whole numbers small enough are summed exactly.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyconv
import anyconv._algorithms._on_cells as cells_mod
import anyconv._compiled._numba as compiled_mod
import anyconv._plans._planner as planner
from anyconv import (
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    conv_transpose_forward,
    plan_conv,
)
from anyconv._algorithms._fft_matrices import from_spectrum, to_spectrum
from anyconv._compiled import multiplies_windows

pytestmark = pytest.mark.skipif(
    compiled_mod.why_no_compiled_loops() is not None or not multiplies_windows(),
    reason="Numba cannot be imported, or the processor lacks vectors",
)

RNG = np.random.default_rng(0)


def whole(shape, dtype="float64", most=3):
    return RNG.integers(-most, most + 1, shape).astype(dtype)


def maps(x, w, dy, **options):
    """Forward and both gradients."""
    return (
        conv_forward(x, w, **options),
        conv_backward_input(dy, w, x.shape, **options),
        conv_backward_weight(dy, x, w.shape, **options),
    )


def template(x_shape, w_shape, operation="forward", dtype="float32", **options):
    with anyconv.options(compiled=True):
        plan = plan_conv(x_shape, w_shape, dtype=dtype, operation=operation, **options)
    return type(plan.leaves[0].template).__name__


@st.composite
def convolutions(draw, *, plain=False):
    """The shapes of x and w, and options; without strides and dilation if `plain`."""
    rank = draw(st.integers(1, 3))
    sizes = st.integers(1, 3 if plain or rank == 3 else 5)
    kernel = tuple(draw(sizes) for _ in range(rank))
    ones = (1,) * rank
    steps = st.integers(1, 1 if plain else 3)
    stride = tuple(draw(steps) for _ in ones)
    dilation = tuple(draw(steps) for _ in ones)
    padding = tuple((draw(st.integers(0, 4)), draw(st.integers(0, 4))) for _ in ones)
    least = [d * (k - 1) + 1 - sum(p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    spatial = tuple(draw(st.integers(max(n, 1), max(n, 1) + 12)) for n in least)
    c, k = draw(st.integers(1, 40)), draw(st.integers(1, 140))
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    return (draw(st.integers(1, 3)), *spatial, c), (*kernel, c, k), options


@given(convolutions(), st.sampled_from(["float32", "float64"]), st.integers(1, 3))
def test_windows_are_multiplied_where_they_lie(shapes, dtype, workers):
    x_shape, w_shape, options = shapes
    x, w = whole(x_shape, dtype), whole(w_shape, dtype)
    with anyconv.options(compiled=False):
        dy = whole(conv_forward(x, w, **options).shape, dtype)
        wanted = maps(x, w, dy, **options, algorithm="gemm")
    with anyconv.options(compiled=True, workers=workers):
        found = maps(x, w, dy, **options, algorithm="gemm")
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("algorithm", ["winograd", "fft"])
@given(shapes=convolutions(plain=True), workers=st.integers(1, 3))
def test_points_of_tiles_give_the_same(algorithm, shapes, workers):
    x_shape, w_shape, options = shapes
    if algorithm == "winograd" and all(size == 1 for size in w_shape[:-2]):
        return
    x, w = whole(x_shape), whole(w_shape)
    with anyconv.options(compiled=False):
        dy = whole(conv_forward(x, w, **options).shape)
        wanted = maps(x, w, dy, **options, algorithm="gemm")
    with anyconv.options(compiled=True, workers=workers):
        found = maps(x, w, dy, **options, algorithm=algorithm)
    for mine, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-11 * max(np.abs(other).max(), 1))


@pytest.mark.parametrize(
    ("algorithm", "kernel", "name"),
    [
        ("gemm", (3, 3), "DirectGemm"),
        ("gemm", (1, 1), "DirectGemm"),
        ("winograd", (3, 3), "CompiledWinograd"),
        ("winograd", (2, 5), "CompiledWinograd"),
        ("fft", (5, 5), "CompiledFft"),
    ],
)
def test_large_calls_take_these_loops(algorithm, kernel, name):
    shapes = (8, 32, 32, 32), (*kernel, 32, 64)
    for operation in ("forward", "input", "weight"):
        assert template(*shapes, operation, algorithm=algorithm) == name
    assert template(*shapes, dtype="complex64", algorithm=algorithm) != name
    assert template((8, 32, 32, 32), (*kernel, 16, 64), algorithm=algorithm, groups=2) != name


def test_processors_without_such_vectors_take_others(monkeypatch):
    monkeypatch.setattr(cells_mod, "multiplies_windows", lambda: False)
    planner.make_plan.cache_clear()
    shapes = (8, 32, 32, 32), (3, 3, 32, 64)
    names = {name: template(*shapes, algorithm=name) for name in ("gemm", "winograd", "fft")}
    planner.make_plan.cache_clear()
    assert names == {"gemm": "CompiledGemm", "winograd": "Winograd", "fft": "ShortFft"}


@pytest.mark.parametrize("algorithm", ["gemm", "winograd", "fft"])
@pytest.mark.parametrize("channels", [(5, 7), (16, 64), (33, 70)])
def test_nothing_beyond_an_array_is_read(algorithm, channels):
    c, k = channels
    around = np.full((4, 15, 17, 3 * c), np.nan)
    x = around[1:3, 2:13, 3:15, c : 2 * c]
    x[...] = whole(x.shape)
    w_around = np.full((5, 5, c + 2, k + 3), np.nan)
    w = w_around[1:4, 1:4, 1:-1, 1:-2]
    w[...] = whole(w.shape)
    dy_around = np.full((4, 13, 14, k + 4), np.nan)
    dy = dy_around[1:3, 1:12, 1:13, 2:-2]
    dy[...] = whole(dy.shape)
    options = {"padding": 1, "algorithm": algorithm}
    with anyconv.options(compiled=True):
        found = maps(x, w, dy, **options)
        wanted = maps(*(np.ascontiguousarray(a) for a in (x, w, dy)), **options)
    for mine, other in zip(found, wanted, strict=True):
        assert np.all(np.isfinite(mine))
        np.testing.assert_array_equal(mine, other)


def test_windows_that_lie_in_padding_are_zero():
    x, w = whole((2, 3, 3, 4)), whole((2, 2, 4, 20))
    with anyconv.options(compiled=True):
        y = conv_forward(x, w, padding=((3, 3), (4, 4)), algorithm="gemm")
    inside = conv_forward(x, w, padding=1)
    np.testing.assert_array_equal(y[:, 2:-2, 3:-3], inside)
    rim = np.ones(y.shape, dtype=bool)
    rim[:, 2:-2, 3:-3] = False
    assert not y[rim].any()


@pytest.mark.parametrize("order", ["reversed", "turned", "read-only", "channels first"])
def test_arrays_may_lie_in_any_way(order):
    x, w = whole((2, 12, 13, 16)), whole((3, 3, 16, 24))
    wanted = conv_forward(x, w, padding=1)
    if order == "reversed":
        x, w = x[:, ::-1][:, ::-1], np.ascontiguousarray(w[::-1, ::-1])[::-1, ::-1]
        x = np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    elif order == "turned":
        w = np.ascontiguousarray(w.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    elif order == "read-only":
        x.flags.writeable = w.flags.writeable = False
    else:
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        x = np.moveaxis(x, 1, -1)
    for algorithm in ("gemm", "winograd", "fft"):
        with anyconv.options(compiled=True):
            y = conv_forward(x, w, padding=1, algorithm=algorithm)
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-10)


def field(a):
    """A field of records that are not padded: elements lie no whole number of them apart."""
    records = np.zeros(a.shape, np.dtype([("before", "u1"), ("value", a.dtype)]))
    records["value"] = a
    return records["value"]


def not_aligned(a):
    return np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)


ORDERS = {
    "backwards": lambda a: a[(slice(None, None, -1),) * a.ndim],
    "last axis backwards": lambda a: a[..., ::-1],
    "first axis backwards": lambda a: a[::-1],
    "input channels backwards": lambda a: a[..., ::-1, :] if a.ndim > 1 else a,
    "with gaps": lambda a: np.repeat(a, 3, axis=-1)[..., ::3],
    "of one number": lambda a: np.broadcast_to(a[(0,) * a.ndim], a.shape),
    "of one output channel": lambda a: np.broadcast_to(a[..., :1], a.shape),
    "a field of records": field,
    "not aligned": not_aligned,
    "Fortran's order": np.asfortranarray,
}


@pytest.mark.parametrize("algorithm", ["auto", "gemm", "taps", "winograd", "fft"])
@pytest.mark.parametrize("groups", [1, 16])
@pytest.mark.parametrize("order", ORDERS)
def test_weights_and_biases_may_lie_in_any_way(order, groups, algorithm):
    """Also those whose channels run backwards, or lie no whole number of elements apart."""
    x, b = whole((2, 12, 13, 16)), ORDERS[order](whole((16,)))
    w, dy = ORDERS[order](whole((3, 3, 16 // groups, 16))), whole((2, 12, 13, 16))
    plain_w, plain_b = (np.array(a, order="C") for a in (w, b))
    options = {"padding": 1, "groups": groups, "algorithm": algorithm}
    with anyconv.options(compiled=True):
        for function, own, others in (
            (conv_forward, (x, w, b), (x, plain_w, plain_b)),
            (conv_backward_input, (dy, w, x.shape), (dy, plain_w, x.shape)),
            (conv_transpose_forward, (dy, w, b), (dy, plain_w, plain_b)),
        ):
            found, wanted = function(*own, **options), function(*others, **options)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(w, plain_w)


@pytest.mark.parametrize("algorithm", ["gemm", "winograd", "fft"])
def test_channels_are_split_where_windows_are_few(algorithm):
    x, w = whole((1, 7, 7, 128)), whole((3, 3, 128, 300))
    dy = whole((1, 7, 7, 300))
    with anyconv.options(compiled=True, workers=3):
        plans = [
            plan_conv(
                x.shape,
                w.shape,
                dtype="float64",
                padding=1,
                algorithm=algorithm,
                operation=operation,
            )
            for operation in ("forward", "weight")
        ]
        found = maps(x, w, dy, padding=1, algorithm=algorithm)
    assert [plan.parts for plan in plans] == [3, 3]
    for mine, other in zip(found, maps(x, w, dy, padding=1), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-10 * np.abs(other).max())


@pytest.mark.parametrize("algorithm", ["gemm", "winograd", "fft"])
def test_results_do_not_change_from_run_to_run(algorithm):
    x = RNG.standard_normal((4, 20, 21, 32), dtype=np.float32)
    w = RNG.standard_normal((3, 3, 32, 48), dtype=np.float32)
    dy = RNG.standard_normal((4, 20, 21, 48), dtype=np.float32)
    with anyconv.options(compiled=True, workers=2):
        first = maps(x, w, dy, padding=1, algorithm=algorithm)
        for _ in range(3):
            for mine, other in zip(
                maps(x, w, dy, padding=1, algorithm=algorithm), first, strict=True
            ):
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("sizes", [(5, 6), (8, 7), (2, 3)])
def test_matrices_are_those_of_a_fourier_transform(sizes):
    cells = tuple(size - 1 for size in sizes)
    x = np.zeros(sizes)
    x[: cells[0], : cells[1]] = RNG.standard_normal(cells)
    outer, inner = map(np.asarray, to_spectrum(cells, sizes))
    rows = (outer @ x[: cells[0], : cells[1]]).reshape(-1, 2, cells[1])
    points = (rows.reshape(len(rows), -1) @ inner.T).reshape(-1, 2, sizes[1])
    wanted = np.fft.fft2(x)[: sizes[0] // 2 + 1]
    np.testing.assert_allclose(points[:, 0] + 1j * points[:, 1], wanted, atol=1e-12)
    outer, inner = map(np.asarray, from_spectrum(sizes, sizes))
    back = outer @ points.reshape(-1, sizes[1])
    back = back.reshape(sizes[0], -1) @ inner.T
    np.testing.assert_allclose(back, x, atol=1e-12)
