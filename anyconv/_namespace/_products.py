"""Products and their sums, as each library does them best."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from math import prod

from anyconv._namespace._kinds import accumulator, is_cupy, is_kind, is_numpy
from anyconv._namespace._pieces import (
    MOST_UNPACKED,
    THIN,
    add_up_pieces,
    inner_pieces_of,
    multiply_in_pieces,
    pieces_of,
)
from anyconv._namespace._places import in_order
from anyconv._typing import Array, DType, Namespace

# A factor that is turned round costs NumPy's product more than its copy does, if it is no longer
# than this and so many rows are multiplied by it.
MOST_TURNED, WORTH_TURNING = 512, 48


@lru_cache
def multiplies_half_in_float32(xp: Namespace) -> bool:
    """Whether products of half precision are summed in float32 by the library itself (CuPy)."""
    return is_cupy(xp)


def copies_turned_stacks(xp: Namespace) -> bool:
    """Whether a product of many matrices copies those that are turned round (CuPy)."""
    return is_cupy(xp)


def matmul(a: Array, b: Array, *, out: Array | None = None, xp: Namespace) -> Array:
    """The product of two matrices, or of as many in each; written to `out` where one is given.

    CuPy copies a matrix that is transposed, unless there are but two axes. (With those it sums the
    product of two vectors in their own dtype, which half precision must not be.)
    """
    if is_numpy(xp):
        return _in_pieces(a, b, out=out, xp=xp)
    is_one = a.ndim == b.ndim and prod(a.shape[:-2]) == prod(b.shape[:-2]) == 1
    if is_cupy(xp) and is_one and a.shape[-2] * b.shape[-1] > 1:
        batch, given = a.shape[:-2], None
        if out is not None:
            given = xp.reshape(out, out.shape[-2:], copy=False)
        a, b = (xp.reshape(m, m.shape[-2:], copy=False) for m in (a, b))
        product = xp.matmul(a, b) if given is None else xp.matmul(a, b, out=given)
        return xp.reshape(product, (*batch, *product.shape))
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)


def _in_pieces(a: Array, b: Array, *, out: Array | None, xp: Namespace) -> Array:
    """NumPy's product of as many matrices in each, cut up where that is faster."""
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    is_small = rows * inner * columns <= MOST_UNPACKED
    if is_small or a.dtype.kind != "f" or a.shape[:-2] != b.shape[:-2]:
        return xp.matmul(a, b, out=out)
    if b.strides[-1] == b.itemsize == a.strides[-1]:
        pieces = pieces_of(rows, inner, columns)
        if pieces is not None:
            return multiply_in_pieces(a, b, pieces, out=out, xp=xp)
    elif b.strides[-1] == b.itemsize == a.strides[-2] and out is None and prod(a.shape[:-2]) == 1:
        piece = inner_pieces_of(rows, inner, columns)
        if piece is not None:
            return add_up_pieces(a, b, piece, xp=xp)
    return xp.matmul(a, b, out=out)


def is_worth_turning(b: Array, rows: int, inner: int, columns: int, *, xp: Namespace) -> bool:
    """Whether to copy matrices `(columns, inner)` to be multiplied by, turned, from the right."""
    fits = rows >= WORTH_TURNING and inner <= MOST_TURNED and columns <= THIN
    return fits and is_numpy(xp) and b.dtype.kind == "f"


def complex_factor(b: Array, *, xp: Namespace) -> Array:
    """Complex matrices as `multiply_by_factor` likes them best.

    For NumPy as real ones of twice the rows and columns that multiply pairs of real numbers: its
    product of small complex matrices takes twice as long. The conjugate transpose is their own.
    """
    if not is_numpy(xp):
        return b
    *stack, rows, columns = b.shape
    pairs = xp.empty((*stack, rows, 2, columns, 2), dtype=b.real.dtype)
    pairs[..., 0, :, 0] = pairs[..., 1, :, 1] = b.real
    pairs[..., 0, :, 1] = b.imag
    pairs[..., 1, :, 0] = -b.imag
    return xp.reshape(pairs, (*stack, 2 * rows, 2 * columns))


def multiply_by_factor(a: Array, factor: Array, *, xp: Namespace) -> Array:
    """Complex `(..., M, K)` times the factor of `(..., K, N)`."""
    if a.dtype == factor.dtype:
        return xp.matmul(a, factor)
    if a.strides[-1] != a.itemsize:
        a = in_order(a, xp=xp)
    return xp.matmul(a.view(factor.dtype), factor).view(a.dtype)


@lru_cache
def has_sums_of_products(xp: Namespace, dtype: DType) -> bool:
    """Whether `sum_of_products` is one pass over its factors, without a temporary."""
    if not is_kind(xp, dtype, "real floating"):
        return False
    if is_numpy(xp):
        import numpy

        return numpy.dtype(dtype).isnative
    return is_cupy(xp)


def sum_of_products(
    x: Array,
    w: Array,
    w_axes: Sequence[int],
    y_axes: Sequence[int],
    *,
    out: Array | None = None,
    xp: Namespace,
) -> Array:
    """`x * w` summed over the axes of x that y lacks; w and y have those of x that are named.

    Where y is given the axes summed over are all of w. Half precision is summed in float32.
    """
    if not is_cupy(xp):
        import numpy

        return numpy.einsum(x, range(x.ndim), w, w_axes, y_axes, out=out)
    sums = "float" if accumulator(xp, x.dtype) != x.dtype else "T"
    summed = [axis for axis in range(x.ndim) if axis not in y_axes]
    w = xp.reshape(w, tuple(n if axis in w_axes else 1 for axis, n in enumerate(x.shape)))
    if out is None:
        return _cupy_reduction(sums)(x, w, axis=tuple(summed))
    taps = list(product(*(range(x.shape[axis]) for axis in summed)))
    for start in range(0, len(taps), CUPY_TERMS):
        arrays = []
        for tap in taps[start : start + CUPY_TERMS]:
            index: list[int | slice] = [slice(None)] * x.ndim
            for axis, place in zip(summed, tap, strict=True):
                index[axis] = place
            arrays += [x[tuple(index)], w[tuple(index)]]
        _cupy_sum(len(arrays) // 2, start > 0, sums)(*arrays, out)
    return out


# The products that one of CuPy's kernels adds: what it is given may take four kilobytes.
CUPY_TERMS = 16


@lru_cache
def _cupy_sum(terms: int, adds: bool, sums: str) -> Callable[..., Array]:
    """The sum of some products, element by element, as one kernel."""
    import cupy

    given = ", ".join(f"T x{term}, T w{term}" for term in range(terms))
    products = (f"({sums})x{term} * ({sums})w{term}" for term in range(terms))
    total = " + ".join([*[f"({sums})y"] * adds, *products])
    made: Callable[..., Array] = cupy.ElementwiseKernel(
        given, "T y", f"y = {total}", "anyconv_taps"
    )
    return made


@lru_cache
def _cupy_reduction(sums: str) -> Callable[..., Array]:
    """The sum of products over some axes, as one kernel."""
    import cupy

    steps = ("T x, T w", "T y", f"({sums})x * ({sums})w", "a + b", "y = a", "0")
    made: Callable[..., Array] = cupy.ReductionKernel(*steps, "anyconv_sums", reduce_type=sums)
    return made
