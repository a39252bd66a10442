"""`fft` of tiles whose frequencies go first: the transforms are of the leading axes."""

from abc import abstractmethod
from math import prod, sqrt

from anyconv._algorithms._fft_axes import Cells
from anyconv._algorithms._tiled import PointTiles
from anyconv._algorithms.fft import Fft
from anyconv._namespace import conjugate
from anyconv._typing import Array, Namespace


class PointFft(PointTiles, Fft):
    """B and G are transforms, A is the inverse, cropped."""

    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of each tile."""
        return self._spectrum(tiles, self.all_cells, xp=xp)

    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """The cells of each tile."""
        return self._cells(points, self.all_cells, xp=xp)

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """The conjugate of the spectrum (of the conjugate), which is linear in w."""
        w = conjugate(w, xp=xp) * sqrt(prod(self.sizes))
        return xp.conj(self._spectrum(w, self.tap_cells, xp=xp))

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

    @abstractmethod
    def _spectrum(self, a: Array, cells: Cells, *, xp: Namespace) -> Array:
        """`(*cells, rows, channels)`, zero elsewhere, to `(points, rows, channels)`."""

    @abstractmethod
    def _cells(self, points: Array, cells: Cells, *, xp: Namespace) -> Array:
        """The inverse, at some cells: `(points, rows, channels)` to `(*cells, rows, channels)`."""
