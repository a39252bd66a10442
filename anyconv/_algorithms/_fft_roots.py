"""A Fourier transform along one axis as a matrix product with roots of unity, and its inverse.

For few cells that is faster than any other way, and only those that are wanted are read or written.
Both are unitary. Of a real array `half` of the frequencies tell the others.
"""

from cmath import exp, pi
from math import prod, sqrt

from anyconv._namespace import complex_dtype, constant, device, matmul
from anyconv._typing import Array, Namespace


def to_frequencies(
    a: Array,
    axis: int,
    cells: slice,
    size: int,
    *,
    half: bool,
    conjugated: bool = False,
    xp: Namespace,
) -> Array:
    """The spectrum of an axis that holds some cells of `size`, the others being zero.

    `conjugated` takes the roots' conjugates: the conjugate of the spectrum of the conjugate.
    """
    dtype = complex_dtype(xp, a.dtype)
    table = (cells.stop, cells.step, size, half)
    roots = constant(_conjugates if conjugated else _roots, table, dtype, device(a), xp=xp)
    return _along_axis(roots, xp.astype(a, dtype, copy=False), axis, xp=xp)


def from_frequencies(
    a: Array, axis: int, cells: slice, size: int, *, half: bool, xp: Namespace
) -> Array:
    """Some cells of an axis that holds a spectrum; if that is `half`, of their real parts."""
    table = (cells.stop, cells.step, size, half)
    roots = constant(_inverse_roots, table, a.dtype, device(a), xp=xp)
    return _along_axis(roots, a, axis, xp=xp)


def _along_axis(matrix: Array, a: Array, axis: int, *, xp: Namespace) -> Array:
    """A matrix applied along one axis."""
    axis %= a.ndim
    before, after = a.shape[:axis], a.shape[axis + 1 :]
    if not after:
        return matmul(a, xp.matrix_transpose(matrix), xp=xp)
    y = matmul(matrix, xp.reshape(a, (prod(before), a.shape[axis], prod(after))), xp=xp)
    return xp.reshape(y, (*before, matrix.shape[0], *after))


def _roots(stop: int, step: int, size: int, half: bool) -> list[list[complex]]:
    """`exp(-2 pi i f j / size) / sqrt(size)`: a row a frequency f, a column a cell j."""
    unit = [exp(-2j * pi * n / size) / sqrt(size) for n in range(size)]
    frequencies = range(size // 2 + 1 if half else size)
    return [[unit[f * j % size] for j in range(0, stop, step)] for f in frequencies]


def _conjugates(stop: int, step: int, size: int, half: bool) -> list[list[complex]]:
    """The conjugates of `_roots`."""
    return [[root.conjugate() for root in row] for row in _roots(stop, step, size, half)]


def _inverse_roots(stop: int, step: int, size: int, half: bool) -> list[list[complex]]:
    """`exp(2 pi i f j / size) / sqrt(size)`: a row a cell j, a column a frequency f.

    Of a `half` spectrum the real part of the result is meant: a frequency stands for its conjugate
    too, the first and, of an even size, the last excepted.
    """
    unit = [exp(2j * pi * n / size) / sqrt(size) for n in range(size)]
    frequencies = size // 2 + 1 if half else size
    twice = [half and 0 < f < (size + 1) // 2 for f in range(frequencies)]
    return [
        [unit[f * j % size] * (2 if twice[f] else 1) for f in range(frequencies)]
        for j in range(0, stop, step)
    ]
