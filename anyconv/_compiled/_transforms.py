"""Unitary Fourier transforms along one axis of a NumPy array, in half the time that NumPy takes."""

from cmath import exp, pi
from functools import cache, lru_cache
from math import prod
from typing import Any

from anyconv._compiled._numba import loops
from anyconv._typing import Array

# Lanes that the loops take at once.
LANES = 16
# So many complex numbers, and a copy, are held of sixteen lanes, by a core's second cache.
LONGEST_IN_LOOPS = 1024


def has_compiled_transform(size: int, *, half: bool) -> bool:
    """Whether there are loops for a transform of so many cells, of real ones where it is `half`."""
    return not size % (1 + half) and size <= LONGEST_IN_LOOPS * (1 + half) and not _radices(size)[1]


def compiled_spectrum(a: Array, axis: int, cells: slice, size: int, *, half: bool) -> Array:
    """The transform of an axis that holds some cells of `size`, the others being zero."""
    return _transformed(a, axis, cells, size, size // 2 + 1 if half else size, half, inverse=False)


def compiled_cells(a: Array, axis: int, cells: slice, size: int, *, half: bool) -> Array:
    """The inverse at some cells, of an axis that holds frequencies."""
    count = len(range(*cells.indices(size)))
    return _transformed(a, axis, cells, size, count, half, inverse=True)


def compiled_filter(a: Array, w: Array, size: int, kept: slice) -> Array:
    """Columns along the first axis of a, zero beyond their cells, times `w` in frequencies.

    `a (cells, *frequencies, rows, c)` is complex, `w (size * frequencies, 1, c)`; the result has
    the cells `kept` along the first axis.
    """
    import numpy

    cells, *frequencies, rows, channels = a.shape
    count = len(range(*kept.indices(size)))
    y = numpy.empty((count, *a.shape[1:]), dtype=a.dtype)
    radices, roots, scale = _tables(size, False, a.real.dtype)
    loops("fourier").filter_columns(
        y.reshape(-1), a.reshape(-1), w.reshape(-1), prod(frequencies), rows, channels, cells,
        count, kept.step, size, radices, roots, scale * scale,
    )  # fmt: skip
    return y


def _transformed(
    a: Array, axis: int, cells: slice, size: int, count: int, half: bool, *, inverse: bool
) -> Array:
    """A new array with `count` elements along the axis."""
    import numpy

    real, other = _dtypes(a.dtype)
    before, after = a.shape[:axis], a.shape[axis + 1 :]
    y = numpy.empty((*before, count, *after), dtype=real if half and inverse else other)
    outer, lanes = prod(before), prod(after)
    by_rows = lanes == 1
    if by_rows:
        outer, lanes = 1, outer
    held = a.shape[axis] if not inverse else count
    n = size // (1 + half)
    table = _tables(n, half, real)
    x = a.reshape(-1)  # a copy where it does not lie in order
    loops("fourier").transform(
        y.reshape(-1), x, outer, lanes, held, cells.step, n, half, by_rows, inverse, *table
    )
    return y


@cache
def _dtypes(dtype: Any) -> tuple[Any, Any]:
    """The real and the complex dtype of a precision."""
    import numpy

    return numpy.empty(0, dtype).real.dtype, numpy.result_type(dtype, numpy.complex64)


def _radices(n: int) -> tuple[list[int], bool]:
    """The radices of the passes of a transform, and whether something is left that none takes."""
    taken, twos = [], 0
    for radix in (5, 3):
        while n % radix == 0:
            taken.append(radix)
            n //= radix
    while n % 2 == 0:
        twos += 1
        n //= 2
    eights, left = divmod(twos, 3)
    if left == 1 and eights:  # four times four, not eight times two
        eights, left = eights - 1, 4
    return taken + [8] * eights + [4] * (left // 2) + [2] * (left % 2), n > 1


@lru_cache(maxsize=256)
def _tables(n: int, half: bool, dtype: Any) -> tuple[Array, Array, Any]:
    """The radices, the roots of unity that the passes take one by one, and the scale.

    After them, where the n numbers are 2n real ones, those that take the two halves together.
    """
    import numpy

    radices, roots, m = _radices(n)[0], [], n
    for radix in radices:
        m //= radix
        roots += [exp(-2j * pi * p * j / (m * radix)) for p in range(m) for j in range(1, radix)]
    if half:
        roots += [exp(-1j * pi * f / n) for f in range(n // 2 + 1)]
    parts = [part for root in roots for part in (root.real, root.imag)]
    scale = dtype.type((n * (1 + half)) ** -0.5)
    return numpy.asarray(radices, dtype=numpy.int64), numpy.asarray(parts, dtype=dtype), scale
