"""`fft` of long tiles: the transform is the library's own, along the last axes.

So rows and channels come before the cells here, `(rows, channels, *cells)`; for the product of each
frequency, `(points, g, rows, c) @ (points, g, c, k)`, the frequencies go first.
"""

from collections.abc import Iterable, Sequence
from math import prod, sqrt

from anyconv._algorithms._fft_axes import Cells
from anyconv._algorithms.fft import Fft
from anyconv._namespace import conjugate, in_order
from anyconv._typing import Array, Namespace
from anyconv._windows import fold, unfold


class LongFft(Fft):
    """B and G are the library's transforms, A is its inverse, cropped."""

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """The spectrum of each tile, from `(n, *reach, g * c)`."""
        rank = len(self.tile)
        u = unfold(x, self.tiles, xp=xp)  # (n, *T, *a, g * c)
        u = xp.moveaxis(u, -1, rank + 1)  # (n, *T, g * c, *a)
        return (self._grouped(self._spectrum(u, self.all_cells, xp=xp), xp=xp),)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """The cells of each tile, folded to `(n, *reach, g * c)`."""
        (points,) = terms
        rank = len(self.tile)
        u = self._cells(self._ungrouped(points, xp=xp), self.all_cells, xp=xp)
        u = xp.reshape(u, (images, *self.tiles.output, *u.shape[1:]))
        return fold(xp.moveaxis(u, rank + 1, -1), self.tiles, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The conjugate of the spectrum (of the conjugate), from `(*kernel, c, g * k)`."""
        rank, c = len(self.tile), w.shape[-2]
        w = conjugate(w, xp=xp) * sqrt(prod(self.sizes))
        w = xp.permute_dims(w, (rank, rank + 1, *range(rank)))  # (c, g * k, *kernel)
        spectrum = xp.conj(self._spectrum(w, self.tap_cells, xp=xp))
        spectrum = xp.reshape(spectrum, (c, self.groups, -1, self.points))
        return (in_order(xp.permute_dims(spectrum, (3, 1, 0, 2)), xp=xp),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """Back to the taps, `(*kernel, c, g * k)`."""
        (points,) = terms
        rank = len(self.tile)
        spectrum = xp.permute_dims(points, (2, 1, 3, 0))
        c = spectrum.shape[0]
        spectrum = xp.reshape(xp.conj(spectrum), (c, -1, self.points)) * sqrt(prod(self.sizes))
        w = conjugate(self._cells(spectrum, self.tap_cells, xp=xp), xp=xp)
        return xp.permute_dims(w, (*range(2, rank + 2), 0, 1))

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """The correlations where windows start, tiles side by side, `(n, *output, g * k)`."""
        rank, count = len(self.tile), self.tiles.output
        y = self._cells(self._ungrouped(m, xp=xp), self.start_cells, xp=xp)  # (rows, g * k, *m)
        y = xp.reshape(y, (images, *count, *y.shape[1:]))
        beside = [axis for j in range(rank) for axis in (1 + j, rank + 2 + j)]  # each T by its m
        return self.joined(xp.permute_dims(y, (0, *beside, rank + 1)), xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """The spectrum of the outputs, each where its window starts."""
        rank = len(self.tile)
        y = self.separated(y, xp=xp)  # (n, T1, m1, T2, m2, ..., g * k)
        order = (0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2))
        spectrum = self._spectrum(xp.permute_dims(y, order), self.start_cells, xp=xp)
        return self._grouped(spectrum, xp=xp)

    def _grouped(self, spectrum: Array, *, xp: Namespace) -> Array:
        """`(rows..., g * c, points)` as `(points, g, rows, c)`."""
        channels = spectrum.shape[-2] // self.groups
        points = xp.reshape(spectrum, (-1, self.groups, channels, self.points))
        return in_order(xp.permute_dims(points, (3, 1, 0, 2)), xp=xp)

    def _ungrouped(self, points: Array, *, xp: Namespace) -> Array:
        """The inverse, `(rows, g * c, points)`."""
        points = xp.permute_dims(points, (2, 1, 3, 0))
        return xp.reshape(points, (points.shape[0], -1, self.points))

    def _spectrum(self, a: Array, cells: Cells, *, xp: Namespace) -> Array:
        """`(..., *cells)`, zero elsewhere, to `(..., points)`."""
        first = a.ndim - len(cells)
        points = self._transform(first, cells).spectrum(a, xp=xp)
        return xp.reshape(points, (*points.shape[:first], self.points))

    def _cells(self, points: Array, cells: Cells, *, xp: Namespace) -> Array:
        """The inverse at some cells, `(..., points)` to `(..., *cells)`."""
        a = xp.reshape(points, (*points.shape[:-1], *self.frequencies))
        return self._transform(points.ndim - 1, cells).inverse(a, xp=xp)
