"""`fft` of short tiles: the transform is a matrix product with the roots of unity.

Libraries multiply matrices so much faster than they transform along many short axes that the
logarithm does not pay, and only the cells that are wanted are read and written: every stride-th
output, every dilation-th tap.
"""

from cmath import exp, pi
from math import prod, sqrt

from anyconv._algorithms._bilinear import conjugate
from anyconv._algorithms._tiled import PointTiles
from anyconv._algorithms.fft import Fft
from anyconv._namespace import complex_dtype, constant, device
from anyconv._typing import Array, Namespace


class ShortFft(PointTiles, Fft):
    """B and G are products with roots of unity, A with those of the inverse."""

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of one frequency; with a single channel each, elementwise."""
        return data * weight if data.shape[-1] == 1 else xp.matmul(data, weight)

    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of each tile."""
        return self._spectrum(tiles, self.all_cells, xp=xp)

    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """The cells of each tile."""
        return self._cells(points, self.all_cells, xp=xp)

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """The conjugate of the spectrum (of the conjugate), which is linear in w."""
        w = w * sqrt(prod(self.sizes))
        return self._spectrum(w, self.tap_cells, conjugated=True, xp=xp)

    def transform_weight_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """Back, at the taps."""
        points = xp.conj(points) * sqrt(prod(self.sizes))
        return conjugate(self._cells(points, self.tap_cells, xp=xp), xp=xp)

    def transform_output(self, points: Array, *, xp: Namespace) -> Array:
        """The correlation of each tile, where a window starts."""
        return self._cells(points, self.start_cells, xp=xp)

    def transform_output_adjoint(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of the outputs, each where its window starts."""
        return self._spectrum(tiles, self.start_cells, xp=xp)

    def _spectrum(
        self,
        a: Array,
        cells: tuple[slice, ...],
        *,
        conjugated: bool = False,
        xp: Namespace,
    ) -> Array:
        """`(*cells, rows, channels)`, zero elsewhere, to `(points, rows, channels)`.

        `conjugated` takes the roots' conjugates: the conjugate of the spectrum of the conjugate.
        """
        rest, rank = a.shape[len(cells) :], len(cells)
        dtype = complex_dtype(xp, a.dtype)
        a = xp.astype(a, dtype, copy=False)
        for axis in range(rank - 1, -1, -1):
            table = (cells[axis].stop, cells[axis].step, self.frequencies[axis], self.sizes[axis])
            kind = _conjugate_roots if conjugated else _roots
            roots = constant(kind, table, dtype, device(a), xp=xp)
            a = _along_axis(roots, a, axis, xp=xp)
        return xp.reshape(a, (self.points, *rest))

    def _cells(self, points: Array, cells: tuple[slice, ...], *, xp: Namespace) -> Array:
        """The inverse, at some cells: `(points, rows, channels)` to `(*cells, rows, channels)`."""
        rank = len(cells)
        a = xp.reshape(points, (*self.frequencies, *points.shape[1:]))
        for axis in range(rank):
            half = not self.is_complex and axis == rank - 1
            table = (cells[axis].stop, cells[axis].step, self.sizes[axis], half)
            roots = constant(_inverse_roots, table, a.dtype, device(a), xp=xp)
            a = _along_axis(roots, a, axis, xp=xp)
        return a if self.is_complex else xp.real(a)


def _along_axis(matrix: Array, a: Array, axis: int, *, xp: Namespace) -> Array:
    """A matrix applied along one axis."""
    shape = a.shape
    flat = xp.reshape(a, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])))
    y = xp.matmul(matrix, flat)
    return xp.reshape(y, (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))


def _roots(stop: int, step: int, frequencies: int, size: int) -> list[list[complex]]:
    """`exp(-2 pi i f j / size) / sqrt(size)`: a row a frequency f, a column a cell j."""
    unit = [exp(-2j * pi * n / size) / sqrt(size) for n in range(size)]
    return [[unit[f * j % size] for j in range(0, stop, step)] for f in range(frequencies)]


def _conjugate_roots(stop: int, step: int, frequencies: int, size: int) -> list[list[complex]]:
    """The conjugates of `_roots`."""
    rows = _roots(stop, step, frequencies, size)
    return [[root.conjugate() for root in row] for row in rows]


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
