"""What `winograd` and `fft` share: tiles of outputs, each from an overlapping tile of inputs.

A tile of m outputs along an axis is a short convolution of a = stride * (m - 1) + effective kernel
inputs, done in a space where it is a product point by point. B cuts tiles and takes them there, A
takes the products back and puts the tiles side by side:

    data (n, *input, g * c) -> tiles (*a, n * T, g * c) -> (points, [g,] n * T, c)
    (points, [g,] n * T, k) -> tiles (*m, n * T, g * k) -> (n, *output, g * k)
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from anyconv._algorithms._bilinear import OWN_CACHE, Algorithm, fold_cost
from anyconv._costs import Cost
from anyconv._geometry import Problem, Windows
from anyconv._namespace import pad_constant
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Shape
from anyconv._windows import fold, unfold


@dataclass(frozen=True)
class Tiled(Algorithm):
    """An algorithm of tiles, `tile` outputs along each axis."""

    tile: Shape

    @cached_property
    def tiles(self) -> Windows:
        """The windows that cut the tiles out of the input."""
        windows = self.windows
        size = Windows(windows.kernel, windows.stride, windows.dilation, self.tile).input
        step = tuple(m * s for m, s in zip(self.tile, windows.stride, strict=True))
        count = tuple(-(-o // m) for o, m in zip(windows.output, self.tile, strict=True))
        return Windows(size, step, (1,) * len(size), count)

    @property
    @abstractmethod
    def point_elements(self) -> int:
        """The elements of one tile and channel where it is multiplied."""

    def held(self, images: int, channels: int) -> int | None:
        """The points of all tiles."""
        if self.groups > 1 or self.is_elementwise:
            return None
        return images * prod(self.tiles.output) * self.point_elements * channels

    @property
    def is_elementwise(self) -> bool:
        """Whether points are multiplied one by one, and few rows are as good as many."""
        return False

    def piece(self, rows: int, problem: Problem, traits: Traits) -> int | None:
        """The products of points are whole."""
        return None

    @property
    def fewest_rows(self) -> int:
        """Rows are tiles, so fewer are enough."""
        return 1 if self.is_elementwise else 32

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """Tiles are touched more often than fetched: a shared cache does, or one for weights."""
        return block <= (OWN_CACHE if self.is_elementwise else max(3 * OWN_CACHE, weights))

    def rows(self, images: int) -> int:
        """The tiles of one block."""
        return images * prod(self.tiles.output)

    def folding(self, images: int, in_channels: int) -> Cost:
        """Tiles are added back."""
        return fold_cost(self.tiles, images, in_channels)

    @property
    def grain(self) -> Shape:
        """Whole tiles."""
        return self.tile

    @property
    def reach(self) -> Shape:
        """The input under all tiles, the last of which may hang over the windows."""
        return self.tiles.input

    @property
    def all_cells(self) -> tuple[slice, ...]:
        """All inputs of a tile."""
        return tuple(slice(0, size, 1) for size in self.tiles.kernel)

    @property
    def tap_cells(self) -> tuple[slice, ...]:
        """The taps, as far apart as the dilation says."""
        axes = zip(self.windows.kernel, self.windows.dilation, strict=True)
        return tuple(slice(0, d * (k - 1) + 1, d) for k, d in axes)

    @property
    def start_cells(self) -> tuple[slice, ...]:
        """The cells at which windows start, as far apart as the stride says."""
        axes = zip(self.tile, self.windows.stride, strict=True)
        return tuple(slice(0, s * (m - 1) + 1, s) for m, s in axes)

    def joined(self, y: Array, *, xp: Namespace) -> Array:
        """Tiles side by side, `(n, T1, m1, T2, m2, ..., channels) -> (n, *output, channels)`."""
        count, channels = self.tiles.output, y.shape[-1]
        covered = tuple(t * m for t, m in zip(count, self.tile, strict=True))
        y = xp.reshape(y, (y.shape[0], *covered, channels))
        if covered == self.windows.output:
            return y
        return y[(slice(None), *(slice(0, o) for o in self.windows.output), ...)]

    def separated(self, y: Array, *, xp: Namespace) -> Array:
        """The adjoint of `joined`: zeros where the last tile hangs over."""
        count = self.tiles.output
        excess = [
            (0, t * m - o) for t, m, o in zip(count, self.tile, self.windows.output, strict=True)
        ]
        if any(map(any, excess)):
            y = pad_constant(y, [(0, 0), *excess, (0, 0)], 0, xp=xp)
        split = [size for pair in zip(count, self.tile, strict=True) for size in pair]
        return xp.reshape(y, (y.shape[0], *split, y.shape[-1]))


class PointTiles(Tiled):
    """Tiles whose points go first, each point's rows a matrix to be multiplied."""

    @abstractmethod
    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """`(*a, rows, channels) -> (points, rows, channels)`."""

    @abstractmethod
    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """`(points, rows, channels) -> (*a, rows, channels)`."""

    @abstractmethod
    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """`(*kernel, c, k) -> (points, c, k)`."""

    @abstractmethod
    def transform_weight_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """`(points, c, k) -> (*kernel, c, k)`."""

    @abstractmethod
    def transform_output(self, points: Array, *, xp: Namespace) -> Array:
        """`(points, rows, channels) -> (*m, rows, channels)`."""

    @abstractmethod
    def transform_output_adjoint(self, tiles: Array, *, xp: Namespace) -> Array:
        """`(*m, rows, channels) -> (points, rows, channels)`."""

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """`(n, *reach, g * c) -> (points, [g,] n * T, c)`."""
        return (self._split(self.transform_data(self._tiles_of(x, xp=xp), xp=xp), xp=xp),)

    def _tiles_of(self, x: Array, *, xp: Namespace) -> Array:
        """`(n, *reach, channels) -> (*a, n * T, channels)`."""
        rank, channels = len(self.tile), x.shape[-1]
        u = unfold(x, self.tiles, xp=xp)  # (n, *T, *a, channels)
        u = xp.permute_dims(u, (*range(rank + 1, 2 * rank + 1), *range(rank + 1), 2 * rank + 1))
        return xp.reshape(u, (*self.tiles.kernel, -1, channels))

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """`(points, [g,] n * T, c) -> (n, *reach, g * c)`."""
        (points,) = terms
        rank = len(self.tile)
        u = self.transform_data_adjoint(self._join(points, xp=xp), xp=xp)
        channels = u.shape[-1]
        u = xp.reshape(u, (*self.tiles.kernel, images, *self.tiles.output, channels))
        u = xp.permute_dims(u, (*range(rank, 2 * rank + 1), *range(rank), 2 * rank + 1))
        return fold(u, self.tiles, xp=xp)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """`(*kernel, c, g * k) -> (points, [g,] c, k)`."""
        return (self._split(self.transform_weight(w, xp=xp), xp=xp),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """`(points, [g,] c, k) -> (*kernel, c, g * k)`."""
        (points,) = terms
        return self.transform_weight_adjoint(self._join(points, xp=xp), xp=xp)

    def output(self, m: Array, images: int, *, xp: Namespace) -> Array:
        """`(points, [g,] n * T, k) -> (n, *output, g * k)`."""
        return self._outputs_of(self.transform_output(self._join(m, xp=xp), xp=xp), images, xp=xp)

    def _outputs_of(self, y: Array, images: int, *, xp: Namespace) -> Array:
        """`(*m, n * T, channels) -> (n, *output, channels)`."""
        rank = len(self.tile)
        channels, count = y.shape[-1], self.tiles.output
        y = xp.reshape(y, (*self.tile, images, *count, channels))
        beside = [axis for j in range(rank) for axis in (rank + 1 + j, j)]  # each T before its m
        y = xp.permute_dims(y, (rank, *beside, 2 * rank + 1))
        return self.joined(y, xp=xp)

    def output_adjoint(self, y: Array, *, xp: Namespace) -> Array:
        """`(n, *output, g * k) -> (points, [g,] n * T, k)`."""
        rank = len(self.tile)
        y = self.separated(y, xp=xp)
        channels = y.shape[-1]
        y = xp.permute_dims(
            y, (*range(2, 2 * rank + 1, 2), 0, *range(1, 2 * rank, 2), 2 * rank + 1)
        )
        y = xp.reshape(y, (*self.tile, -1, channels))
        return self._split(self.transform_output_adjoint(y, xp=xp), xp=xp)

    def _split(self, points: Array, *, xp: Namespace) -> Array:
        """Groups apart, `(points, rows, g * c) -> (points, g, rows, c)`."""
        if self.groups == 1:
            return points
        p, rows, channels = points.shape
        points = xp.reshape(points, (p, rows, self.groups, channels // self.groups))
        return xp.permute_dims(points, (0, 2, 1, 3))

    def _join(self, points: Array, *, xp: Namespace) -> Array:
        """The inverse of `_split`."""
        if self.groups == 1:
            return points
        p, groups, rows, channels = points.shape
        return xp.reshape(xp.permute_dims(points, (0, 2, 1, 3)), (p, rows, groups * channels))
