"""`fft` of long tiles of depthwise convolution; channels stay last.

Compiled loops transform neighbours in memory together, so nothing is transposed for them. Spectra
are multiplied point by point, those of all channels at once.
"""

from collections.abc import Sequence
from math import prod

from anyconv._algorithms._fft_axes import Cells, Transform
from anyconv._algorithms._fft_points import PointFft
from anyconv._compiled import LANES, compiled_filter, has_compiled_transform
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import multiply
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation


class DepthwiseFft(PointFft):
    """Each frequency of a channel has a factor of its own."""

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Whether loops are compiled, and each of channels enough for them has one output."""
        groups, channels = problem.groups, (problem.in_channels, problem.out_channels)
        return traits.compiles and channels == (groups, groups) and groups >= LANES

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """The transforms, which copy as they go, and the product."""
        tiles, channels = images * prod(self.tiles.output), in_channels
        counts = (
            (self.tile, tiles * channels),
            (self.sizes, tiles * channels),
            (self.windows.kernel, channels),
        )
        transforms = sum(n * self._steps(cells) for cells, n in counts)
        transforms *= 1.0 if self.is_complex else 0.5
        return Cost(0, 11 * self.point_elements * tiles * channels, 0, 30, transforms)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """The same, for a group has one channel on either side."""
        return self.weight(w, xp=xp)

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block.

        Once the other axes are transformed, each column along the first is filtered where a core's
        own cache holds it: transformed, multiplied and transformed back.
        """
        size = self.sizes[0]
        if len(self.sizes) == 1 or not has_compiled_transform(size, half=False):
            return super().forward(x, weights, xp=xp)
        _, *cells = self.all_cells
        start, *starts = self.start_cells
        u = self._others(tuple(cells)).spectrum(self._tiles_of(x, xp=xp), xp=xp)
        u = compiled_filter(u, weights[0], size, start)
        y = self._others(tuple(starts)).inverse(u, xp=xp)
        return self._outputs_of(y, x.shape[0], xp=xp)

    def _others(self, cells: Cells) -> Transform:
        """The transform of all axes but the first."""
        return Transform(1, cells, self.sizes[1:], self.kind)

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of each channel, `(points, rows, c) * (points, 1, c)`, in place of data."""
        return multiply(data, weight, xp=xp)

    def multiply_adjoint_data(self, m: Array, weight: Array, *, xp: Namespace) -> Array:
        """The adjoint in the data."""
        return multiply(m, xp.conj(weight), xp=xp)

    def multiply_adjoint_weight(self, data: Array, m: Array, *, xp: Namespace) -> Array:
        """The adjoint in the weight, summed over rows."""
        product = multiply(xp.conj(data), m, xp=xp)
        return product if product.shape[1] == 1 else xp.sum(product, axis=1, keepdims=True)

    def _split(self, points: Array, *, xp: Namespace) -> Array:
        """Groups stay together."""
        return points

    def _join(self, points: Array, *, xp: Namespace) -> Array:
        """Groups are together."""
        return points

    def _spectrum(self, a: Array, cells: Cells, *, xp: Namespace) -> Array:
        """`(*cells, rows, channels)`, zero elsewhere, to `(points, rows, channels)`."""
        points = self._transform(0, cells).spectrum(a, xp=xp)
        return xp.reshape(points, (self.points, *a.shape[len(cells) :]))

    def _cells(self, points: Array, cells: Cells, *, xp: Namespace) -> Array:
        """The inverse, at some cells: `(points, rows, channels)` to `(*cells, rows, channels)`."""
        a = xp.reshape(points, (*self.frequencies, *points.shape[1:]))
        return self._transform(0, cells).inverse(a, xp=xp)
