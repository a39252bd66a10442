"""`winograd`: small tiles in a space of few points, F(4x4, 3x3) and its like.

Each transform is a matrix product with the Kronecker product of the axes' matrices, so that the
library's fastest routine does it, over all channels and tiles at once. A tile of four outputs needs
36 products where the direct sum takes 144.

A. Lavin, S. Gray, arXiv:1509.09308.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Self

from anyconv._algorithms._tiled import PointTiles
from anyconv._algorithms._toom_cook import (
    MOST_PRODUCTS,
    Matrices,
    Matrix,
    kronecker,
    matrices,
    transposed,
)
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem, Windows
from anyconv._namespace import constant, device
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Shape

# Each of many small products costs as much as so many runs of a copy.
SMALL_PRODUCT = 50.0


@dataclass(frozen=True)
class Winograd(PointTiles):
    """B, G and A are small matrices along the taps of a tile."""

    name: ClassVar[str] = "winograd"

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Strides, dilations, long kernels and more than three axes are refused."""
        geometry = problem.geometry
        if any(s > 1 for s in geometry.stride):
            return f"it needs stride 1, not {geometry.stride}"
        if any(d > 1 for d in geometry.dilation):
            return f"it needs dilation 1, not {geometry.dilation}"
        if prod(geometry.kernel) == 1 or max(geometry.kernel) >= MOST_PRODUCTS:
            return f"it needs kernels of 2 to {MOST_PRODUCTS - 1} taps, not {geometry.kernel}"
        if geometry.rank > 3:
            return f"it needs one to three spatial axes, not {geometry.rank}"
        return None

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """Tiles of four outputs with three taps; of two where there are three axes."""
        geometry = problem.geometry
        windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, box)
        products = MOST_PRODUCTS if geometry.rank < 3 else 4
        tile = tuple(
            1 if taps == 1 else max(min(products + 1 - taps, size), 2)
            for taps, size in zip(geometry.kernel, geometry.output, strict=True)
        )
        return cls(windows, problem.groups, tile)

    @property
    def points(self) -> int:
        """The products of one tile."""
        return prod(self.tiles.kernel)

    @property
    def point_elements(self) -> int:
        """One a product."""
        return self.points

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The tiles and their points, once each before and after the products.

        The products of groups are put side by side.
        """
        tiles = images * prod(self.tiles.output)
        data, times = 2 * self.points * in_channels, 2 if self.groups > 1 else 1
        return tiles * (data + (times * self.points + 2 * prod(self.tile)) * out_channels)

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """One matrix for each point."""
        return self.points * in_channels * out_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A product for each point; the transforms, which are products too, and their copies."""
        tiles, points, outputs = images * prod(self.tiles.output), self.points, prod(self.tile)
        c, k = in_channels // self.groups, out_channels // self.groups
        weights = in_channels * k
        efficiency = product_efficiency(min(rows, 256), c, k)
        transforms = tiles * points * (points * in_channels + outputs * out_channels)
        multiplies = points * tiles * weights / efficiency + 1.3 * transforms
        multiplies += weights * points * self.windows.taps
        elements = tiles * (4 * points * in_channels + (2 * points + 4 * outputs) * out_channels)
        runs = tiles * (2 * points + 3 * outputs) + SMALL_PRODUCT * points * self.groups
        return Cost(multiplies, elements + 4 * points * weights, runs, 20)

    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """`B^T d`."""
        return self._apply(_data, tiles, (self.points,), xp=xp)

    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """`B d`."""
        return self._apply(_data_transposed, points, self.tiles.kernel, xp=xp)

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """`G g`."""
        return self._apply(_weight, w, (self.points,), xp=xp)

    def transform_weight_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """`G^T g`."""
        return self._apply(_weight_transposed, points, self.windows.kernel, xp=xp)

    def transform_output(self, points: Array, *, xp: Namespace) -> Array:
        """`A^T m`."""
        return self._apply(_output, points, self.tile, xp=xp)

    def transform_output_adjoint(self, tiles: Array, *, xp: Namespace) -> Array:
        """`A m`."""
        return self._apply(_output_transposed, tiles, (self.points,), xp=xp)

    def _apply(
        self, matrix: Callable[..., Matrix], a: Array, shape: Shape, *, xp: Namespace
    ) -> Array:
        """A matrix on the leading axes, `(*, rows, channels) -> (*shape, rows, channels)`."""
        rows, channels = a.shape[-2:]
        sizes = (*self.tile, *self.windows.kernel)
        factor = constant(matrix, sizes, a.dtype, device(a), xp=xp)
        flat = xp.reshape(a, (factor.shape[1], rows * channels))
        return xp.reshape(xp.matmul(factor, flat), (*shape, rows, channels))


def _data(*sizes: int) -> Matrix:
    """`B^T` of all axes at once; sizes are those of the tile, then those of the kernel."""
    return kronecker(tuple(axis.data for axis in _axes(sizes)))


def _weight(*sizes: int) -> Matrix:
    return kronecker(tuple(axis.weight for axis in _axes(sizes)))


def _output(*sizes: int) -> Matrix:
    return kronecker(tuple(axis.output for axis in _axes(sizes)))


def _data_transposed(*sizes: int) -> Matrix:
    return transposed(_data(*sizes))


def _weight_transposed(*sizes: int) -> Matrix:
    return transposed(_weight(*sizes))


def _output_transposed(*sizes: int) -> Matrix:
    return transposed(_output(*sizes))


def _axes(sizes: tuple[int, ...]) -> tuple[Matrices, ...]:
    rank = len(sizes) // 2
    return tuple(map(matrices, sizes[:rank], sizes[rank:]))
