"""NumPy's matrix product in pieces that OpenBLAS multiplies as they lie.

A large product is packed: both matrices are first copied into the order in which a processor's
kernel reads them. Where a side is thin those copies take a fifth of the time. The kernels for
vectors of 512 bits spare them where a product has few enough multiply-adds, so a larger one is cut
into a stack of such pieces, all of them views and the stack one call:

    (..., M, K) @ (..., K, N) = (..., M/m, 1, m, K) @ (..., 1, N/n, K, n)

or, where the left matrix is transposed and long, as that of a weight's gradient is,

    (..., M, K) @ (..., K, N) = sum of (..., K/k, M, k) @ (..., K/k, k, N)
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from anyconv._namespace._blas import has_wide_kernels
from anyconv._typing import Array, Namespace

# The multiply-adds of a product that is not packed (`sgemm_small_kernel_permit_skylakex.c`).
MOST_UNPACKED = 1_000_000
# The kernel's own steps in rows; and the columns of a piece, where there are not many.
ROWS, COLUMNS, MOST_COLUMNS = 16, 64, 96
# With sides longer than this the packed kernel reads often enough what it packs.
LONGEST_INNER, THIN = 320, 128
# The elements of a product that is worth adding up of pieces, and of those held at once.
FEWEST_SUMS, MOST_SUMS, SUMS_AT_ONCE = 2**8, 2**13, 2**15


class Pieces(NamedTuple):
    """The rows and columns of each piece."""

    rows: int
    columns: int


@lru_cache(maxsize=4096)
def pieces_of(rows: int, inner: int, columns: int) -> Pieces | None:
    """How to cut a product of matrices with contiguous rows; None if it is better left whole."""
    if rows * inner * columns <= MOST_UNPACKED or not has_wide_kernels():
        return None
    if inner > LONGEST_INNER or min(rows, columns) > THIN or columns < ROWS:
        return None
    n = columns if columns <= MOST_COLUMNS else COLUMNS
    most = MOST_UNPACKED // (inner * n)
    even = -(-rows // -(-rows // most))
    return Pieces(min(-(-even // ROWS), most // ROWS) * ROWS, n)


@lru_cache(maxsize=4096)
def inner_pieces_of(rows: int, inner: int, columns: int) -> int | None:
    """The inner side of pieces that are added up; None if a product is better left whole."""
    if rows * inner * columns <= MOST_UNPACKED or not has_wide_kernels():
        return None
    if not FEWEST_SUMS <= rows * columns <= MOST_SUMS:
        return None
    count = -(-inner // (MOST_UNPACKED // (rows * columns)))
    return -(-inner // count)


def add_up_pieces(a: Array, b: Array, piece: int, *, xp: Namespace) -> Array:
    """The same product, of one matrix with contiguous columns, as the sum of pieces."""
    (*batch, rows, inner), columns = a.shape, b.shape[-1]
    step = piece * max(SUMS_AT_ONCE // (rows * columns), 1)
    total = None
    for start in range(0, inner, step):
        for part, k in _stacks(start, min(start + step, inner), piece):
            left = xp.reshape(a.mT[..., part, :], (*batch, -1, k, rows))
            right = xp.reshape(b[..., part, :], (*batch, -1, k, columns))
            y = xp.sum(xp.matmul(left.mT, right), axis=-3)
            total = y if total is None else xp.add(total, y, out=total)
    return total


def multiply_in_pieces(
    a: Array, b: Array, pieces: Pieces, *, out: Array | None = None, xp: Namespace
) -> Array:
    """The product of NumPy's arrays, `(..., M, K) @ (..., K, N) -> (..., M, N)`."""
    if out is None:
        out = xp.empty((*a.shape[:-1], b.shape[-1]), dtype=a.dtype)
    batch, inner = a.shape[:-2], a.shape[-1]
    for rows, m in _stacks(0, a.shape[-2], pieces.rows):
        left = xp.reshape(a[..., rows, :], (*batch, -1, 1, m, inner))
        for columns, n in _stacks(0, b.shape[-1], pieces.columns):
            right = xp.reshape(b[..., columns], (*batch, 1, inner, -1, n))
            y = xp.reshape(out[..., rows, columns], (*batch, left.shape[-4], m, -1, n), copy=False)
            xp.matmul(left, xp.moveaxis(right, -2, -3), out=xp.moveaxis(y, -2, -3))
    return out


def _stacks(start: int, stop: int, most: int) -> Iterator[tuple[slice, int]]:
    """Part of an axis as a stack of equal pieces, and a shorter one that remains."""
    whole = stop - (stop - start) % most
    if start < whole:
        yield slice(start, whole), most
    if whole < stop:
        yield slice(whole, stop), stop - whole
