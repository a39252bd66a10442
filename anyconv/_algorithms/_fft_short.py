"""`fft` of short tiles: the transform is a matrix product with the roots of unity.

Libraries multiply matrices so much faster than they transform along many short axes that the
logarithm does not pay, and only the cells that are wanted are read and written: every stride-th
output, every dilation-th tap.
"""

from math import prod, sqrt

from anyconv._algorithms._fft_axes import Cells
from anyconv._algorithms._fft_points import PointFft
from anyconv._algorithms._fft_roots import from_frequencies, to_frequencies
from anyconv._algorithms._fft_sizes import Kind, cheapest_tile, is_short
from anyconv._geometry import Problem
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation


class ShortFft(PointFft):
    """All transforms are products."""

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Where the tiles that cost the least are short."""
        return is_short(cheapest_tile(problem, Kind.of(traits)).sizes)

    @property
    def is_compiled(self) -> bool:
        """Matrices are multiplied by the library."""
        return False

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of one frequency; with a single channel each, elementwise."""
        return data * weight if data.shape[-1] == 1 else xp.matmul(data, weight)

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """The same with the roots' conjugates, in place of those of what they are applied to."""
        w = w * sqrt(prod(self.sizes))
        return self._spectrum(w, self.tap_cells, conjugated=True, xp=xp)

    def _spectrum(
        self, a: Array, cells: Cells, *, conjugated: bool = False, xp: Namespace
    ) -> Array:
        """With the roots or, `conjugated`, their conjugates."""
        rest, rank = a.shape[len(cells) :], len(cells)
        for axis in range(rank - 1, -1, -1):
            half = not self.is_complex and axis == rank - 1
            size = self.sizes[axis]
            a = to_frequencies(a, axis, cells[axis], size, half=half, conjugated=conjugated, xp=xp)
        return xp.reshape(a, (self.points, *rest))

    def _cells(self, points: Array, cells: Cells, *, xp: Namespace) -> Array:
        rank = len(cells)
        a = xp.reshape(points, (*self.frequencies, *points.shape[1:]))
        for axis in range(rank):
            half = not self.is_complex and axis == rank - 1
            a = from_frequencies(a, axis, cells[axis], self.sizes[axis], half=half, xp=xp)
        return a if self.is_complex else xp.real(a)
