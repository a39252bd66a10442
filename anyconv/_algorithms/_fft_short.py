"""`fft` of short tiles: the transform is a matrix product with the roots of unity.

Libraries multiply matrices so much faster than they transform along many short axes that the
logarithm does not pay, and only the cells that are wanted are read and written: every stride-th
output, every dilation-th tap.
"""

from math import prod, sqrt

from anyconv._algorithms._bilinear import conjugate
from anyconv._algorithms._fft_roots import from_frequencies, to_frequencies
from anyconv._algorithms._tiled import PointTiles
from anyconv._algorithms.fft import Fft
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
        for axis in range(rank - 1, -1, -1):
            half = not self.is_complex and axis == rank - 1
            size = self.sizes[axis]
            a = to_frequencies(a, axis, cells[axis], size, half=half, conjugated=conjugated, xp=xp)
        return xp.reshape(a, (self.points, *rest))

    def _cells(self, points: Array, cells: tuple[slice, ...], *, xp: Namespace) -> Array:
        """The inverse, at some cells: `(points, rows, channels)` to `(*cells, rows, channels)`."""
        rank = len(cells)
        a = xp.reshape(points, (*self.frequencies, *points.shape[1:]))
        for axis in range(rank):
            half = not self.is_complex and axis == rank - 1
            a = from_frequencies(a, axis, cells[axis], self.sizes[axis], half=half, xp=xp)
        return a if self.is_complex else xp.real(a)
