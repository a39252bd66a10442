"""Products of CuPy's matrices in stacks, by one call of cuBLAS.

CuPy's own product copies stacks of transposed matrices, and makes tables of places where one matrix
stands for a stack. cuBLAS takes both as they are.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from anyconv._namespace._places import in_order, memory_of, new_array
from anyconv._typing import Array, DType, Namespace


def has_stacked_products(*dtypes: DType) -> bool:
    """Whether `multiply_stacks` takes arrays of these dtypes."""
    return len(set(dtypes)) == 1 and dtypes[0].char in _KINDS


def multiply_stacks(a: Array, b: Array, *, out: Array | None = None, xp: Namespace) -> Array:
    """`(stack, rows, inner) @ (stack, inner, columns)`; one may be a stack of one matrix for all.

    Written to `out` where one is given, whose rows are whole. Half precision is summed in single.
    """
    (count, rows, inner), (others, _, columns) = a.shape, b.shape
    stack = max(count, others)
    y = new_array((stack, rows, columns), a.dtype, xp=xp) if out is None else out
    if not (y.size and inner):
        y.fill(0)
        return y
    gemm, handle = _cublas()
    kind, left, right = _kind(a.dtype.char), _matrices(a, xp=xp), _matrices(b, xp=xp)
    result = _matrices(y, xp=xp)
    assert result.array is y and not result.is_transposed
    # What lies in rows is to cuBLAS, which counts down columns, the transpose: y^T = b^T a^T.
    gemm(
        handle(),
        right.is_transposed,
        left.is_transposed,
        columns,
        rows,
        inner,
        kind.one,
        memory_of(right.array).ptr,
        kind.element,
        right.row,
        right.step,
        memory_of(left.array).ptr,
        kind.element,
        left.row,
        left.step,
        kind.zero,
        memory_of(result.array).ptr,
        kind.element,
        result.row,
        result.step,
        stack,
        kind.total,
        _DEFAULT,
    )
    return y


class _Matrices(NamedTuple):
    """A stack as cuBLAS is told of it: the elements from matrix to matrix, and from row to row.

    Or, transposed, from column to column.
    """

    array: Array
    is_transposed: bool
    row: int
    step: int


def _matrices(a: Array, *, xp: Namespace) -> _Matrices:
    """A stack as it lies in memory, or a copy of it where neither rows nor columns are whole."""
    (stack, rows, columns), itemsize = a.shape, a.itemsize
    if not a.flags.c_contiguous:
        step, down, across = a.strides
        step = 0 if stack == 1 else step // itemsize
        if across == itemsize and down >= columns * itemsize and step >= 0:
            return _Matrices(a, False, down // itemsize, step)
        if down == itemsize and across >= rows * itemsize and step >= 0:
            return _Matrices(a, True, across // itemsize, step)
        a = in_order(a, xp=xp)
    return _Matrices(a, False, columns, rows * columns if stack > 1 else 0)


_DEFAULT = -1  # cuBLAS chooses how
# The type of elements and that of their sums, by a dtype's letter.
_KINDS = {
    "e": ("CUDA_R_16F", "f"),
    "f": ("CUDA_R_32F", "f"),
    "d": ("CUDA_R_64F", "d"),
    "F": ("CUDA_C_32F", "F"),
    "D": ("CUDA_C_64F", "D"),
}


class _Kind(NamedTuple):
    """Types in cuBLAS's numbers, and the places of one and zero, which `scalars` keeps alive."""

    element: int
    total: int
    one: int
    zero: int
    scalars: Any


@lru_cache
def _kind(letter: str) -> _Kind:
    """What cuBLAS is told of a dtype."""
    import numpy
    from cupy.cuda import cublas, runtime

    element, total = _KINDS[letter]
    sums = cublas.CUBLAS_COMPUTE_32F if total in "fF" else cublas.CUBLAS_COMPUTE_64F
    scalars = numpy.asarray([1, 0], dtype=total)
    one = scalars.ctypes.data
    return _Kind(getattr(runtime, element), sums, one, one + scalars.itemsize, scalars)


@lru_cache
def _cublas() -> tuple[Callable[..., None], Callable[[], int]]:
    """The product, and the handle of the current device and thread."""
    from cupy.cuda import cublas, device

    return cublas.gemmStridedBatchedEx, device.get_cublas_handle
