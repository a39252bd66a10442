"""Products and their sums, as each library does them best."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from math import prod

from anyconv._namespace._kinds import is_cupy, is_kind, is_numpy, is_torch
from anyconv._namespace._pieces import (
    MOST_UNPACKED,
    THIN,
    add_up_pieces,
    inner_pieces_of,
    multiply_in_pieces,
    pieces_of,
)
from anyconv._namespace._places import in_order
from anyconv._namespace._stacked_products import has_stacked_products, multiply_stacks
from anyconv._typing import Array, DType, Namespace

# A transposed factor costs NumPy's product more than its copy does, if it is no longer
# than this and so many rows are multiplied by it.
MOST_TRANSPOSED, WORTH_TRANSPOSING = 512, 48


@lru_cache
def multiplies_half_in_float32(xp: Namespace) -> bool:
    """Whether products of half precision are summed in float32 by the library itself (CuPy)."""
    return is_cupy(xp)


def matmul(a: Array, b: Array, *, out: Array | None = None, xp: Namespace) -> Array:
    """The product of two matrices, or of as many in each; written to `out` where one is given."""
    if is_numpy(xp):
        return _in_pieces(a, b, out=out, xp=xp)
    if is_cupy(xp):
        return _by_cublas(a, b, out=out, xp=xp)
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)


def _by_cublas(a: Array, b: Array, *, out: Array | None, xp: Namespace) -> Array:
    """CuPy's product, by the shortest way to a call of cuBLAS that needs no copy.

    For single matrices that is the operator's, but of two vectors: it sums these in their own
    dtype, which half precision must not be.
    """
    *stack, rows, _ = a.shape
    *others, _, columns = b.shape
    if prod(stack) == prod(others) == 1 and rows * columns > 1:
        left, right = _flat(a, 2), _flat(b, 2)
        y = left @ right if out is None else left.dot(right, out.reshape(rows, columns))
    elif (stack == others or not (stack and others)) and has_stacked_products(a.dtype, b.dtype):
        result = None if out is None else _flat(out, 3)
        y = multiply_stacks(_flat(a, 3), _flat(b, 3), out=result, xp=xp)
    else:
        return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
    axes = max(a.ndim, b.ndim)
    return y if y.ndim == axes else y.reshape(*(stack or others), rows, columns)


def _flat(a: Array, axes: int) -> Array:
    """A stack of matrices with that many axes, a view."""
    return a if a.ndim == axes else a.reshape(*(-1,) * (axes - 2), *a.shape[-2:])


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


def is_worth_transposing(b: Array, rows: int, inner: int, columns: int, *, xp: Namespace) -> bool:
    """Whether to copy matrices `(columns, inner)` that are a product's right factor transposed."""
    fits = rows >= WORTH_TRANSPOSING and inner <= MOST_TRANSPOSED and columns <= THIN
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
    if not (is_numpy(xp) and is_kind(xp, dtype, "real floating")):
        return False
    import numpy

    return numpy.dtype(dtype).isnative


def sum_of_products(
    x: Array,
    w: Array,
    w_axes: Sequence[int],
    y_axes: Sequence[int],
    *,
    out: Array | None = None,
) -> Array:
    """`x * w` summed over the axes of x that y lacks; w and y have those of x that are named."""
    import numpy

    return numpy.einsum(x, range(x.ndim), w, w_axes, y_axes, out=out)


def in_own_precision(x: Array, *, xp: Namespace) -> AbstractContextManager[None]:
    """Products in the precision of their arrays, whatever PyTorch's autocast would take."""
    if not is_torch(xp):
        return nullcontext()
    import torch

    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    own: AbstractContextManager[None] = torch.autocast(kind, enabled=False)
    return own
