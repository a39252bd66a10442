"""Products of stacks as cuBLAS is asked for them, by a cuBLAS of NumPy's in place of its own.

On a GPU, the library's own runs wherever a test runs on the backend `cupy`.
"""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

import anyconv._namespace._stacked_products as stacked


def at(place, dtype, sizes, steps):
    """The elements from a place in memory on."""
    span = 1 + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    item = np.dtype(dtype).itemsize
    flat = np.frombuffer((ctypes.c_char * (span * item)).from_address(place), dtype)
    return np.lib.stride_tricks.as_strided(flat, sizes, [step * item for step in steps])


def gemm(
    handle, ta, tb, m, n, k, one, a, kind, lda, sa, b, _b, ldb, sb, zero, c, _c, ldc, sc, *rest
):
    """`C = op(A) op(B)` of matrices that lie column by column, as the manual of cuBLAS has it."""
    count, dtype, _ = rest
    assert handle == "handle"
    assert at(one, dtype, (1,), (1,))[0] == 1 and at(zero, dtype, (1,), (1,))[0] == 0
    assert lda >= (k if ta else m) and ldb >= (n if tb else k) and ldc >= m
    x = at(a, kind, (count, m, k), (sa, lda, 1) if ta else (sa, 1, lda))
    y = at(b, kind, (count, k, n), (sb, ldb, 1) if tb else (sb, 1, ldb))
    at(c, kind, (count, m, n), (sc, 1, ldc))[...] = x.astype(dtype) @ y.astype(dtype)


@pytest.fixture(autouse=True)
def cublas_of_numpy(monkeypatch):
    scalars = {dtype: np.asarray([1, 0], dtype) for dtype in "fdFD"}

    def kind(letter):
        total = stacked._KINDS[letter][1]
        one = scalars[total].ctypes.data
        return stacked._Kind(letter, total, one, one + scalars[total].itemsize, None)

    monkeypatch.setattr(stacked, "_cublas", lambda: (gemm, lambda: "handle"))
    monkeypatch.setattr(stacked, "_kind", kind)
    monkeypatch.setattr(
        stacked, "memory_of", lambda array: SimpleNamespace(ptr=array.ctypes.data, device_id=0)
    )


def turned(a):
    return np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2)


def columns_of_a_larger(a):
    """Each matrix between others: rows are whole, with gaps after each."""
    larger = np.zeros((*a.shape[:2], a.shape[2] + 3), a.dtype)
    larger[..., 2:-1] = a
    return larger[..., 2:-1]


def stack_on_the_second_axis(a):
    return np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1)


def every_second(a):
    larger = np.zeros((*a.shape[:2], 2 * a.shape[2]), a.dtype)
    larger[..., ::2] = a
    return larger[..., ::2]


def upside_down(a):
    return np.ascontiguousarray(a[::-1])[::-1]


WAYS = (
    np.ascontiguousarray,
    turned,
    columns_of_a_larger,
    stack_on_the_second_axis,
    every_second,
    upside_down,
)


@pytest.mark.parametrize("dtype", "efdFD")
@pytest.mark.parametrize("right", WAYS)
@pytest.mark.parametrize("left", WAYS)
@pytest.mark.parametrize("counts", [(3, 3), (1, 3), (3, 1), (1, 1)])
def test_stacks_are_multiplied_as_they_lie(counts, left, right, dtype):
    rng = np.random.default_rng(3)
    a, b = rng.integers(-4, 5, (counts[0], 4, 5)), rng.integers(-4, 5, (counts[1], 5, 2))
    wanted = a @ b
    a, b = left(a.astype(dtype)), right(b.astype(dtype))
    before = a.copy(), b.copy()
    y = stacked.multiply_stacks(a, b, xp=np)
    assert y.dtype == dtype and y.flags.c_contiguous
    np.testing.assert_array_equal(y, wanted)
    out = np.full(wanted.shape, 9, dtype)
    assert stacked.multiply_stacks(a, b, out=out, xp=np) is out
    np.testing.assert_array_equal(out, wanted)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("sizes", [(1, 5, 1), (4, 1, 2), (1, 1, 1)])
@pytest.mark.parametrize("way", WAYS)
def test_rows_and_columns_of_one_element(sizes, way):
    rows, inner, columns = sizes
    rng = np.random.default_rng(4)
    a, b = rng.integers(-4, 5, (3, rows, inner)), rng.integers(-4, 5, (3, inner, columns))
    y = stacked.multiply_stacks(way(a.astype("f")), way(b.astype("f")), xp=np)
    np.testing.assert_array_equal(y, a @ b)


@pytest.mark.parametrize("sizes", [(0, 4, 5, 2), (3, 0, 5, 2), (3, 4, 0, 2), (3, 4, 5, 0)])
def test_of_nothing_is_zero(sizes):
    stack, rows, inner, columns = sizes
    a, b = np.ones((stack, rows, inner), "f"), np.ones((stack, inner, columns), "f")
    np.testing.assert_array_equal(stacked.multiply_stacks(a, b, xp=np), a @ b)


def test_which_dtypes_are_taken():
    half, single, whole = np.dtype("e"), np.dtype("f"), np.dtype("i")
    assert stacked.has_stacked_products(half, half)
    assert not stacked.has_stacked_products(half, single)
    assert not stacked.has_stacked_products(whole, whole)
