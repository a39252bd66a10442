"""`winograd` and `fft` in compiled loops, from the input's own cells to the output's.

Transforms are small matrices applied to vectors of channels, one axis after the other; products are
those of tiles (`DirectGemm`). The points of a few tiles at a time are all that is held.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import ClassVar, NamedTuple, Self

from anyconv._algorithms._fft_matrices import from_spectrum, to_spectrum
from anyconv._algorithms._fft_short import ShortFft
from anyconv._algorithms._on_cells import InOnePass
from anyconv._algorithms._tiled import Tiled
from anyconv._algorithms._toom_cook import matrices, transposed
from anyconv._algorithms.winograd import Winograd
from anyconv._compiled import MOST_PANEL, Job, PointMaps, lanes_of, points_job, points_weight_job
from anyconv._compiled._loop_sizes import HELD_POINT_BYTES
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._traits import Traits
from anyconv._typing import Array, Operation, Shape

# The tiles that are taken at a time, unless their points are more than so many numbers; with more
# memory the C library gives it back to the system after each call.
MOST_TILES, MOST_POINTS, MOST_COMPLEX = 256, 2**22, 2**21
# The points of all weights are kept for all tiles, if they are no more than these, in single
# precision.
MOST_HELD = HELD_POINT_BYTES // 4
# What a point of `winograd` takes to be made, of data or to an output, and of weights, in elements
# read; and what a number of `fft` takes to be put there and fetched again, in elements and in
# multiplications.
POINT, WEIGHT_POINT, MOVED, MOVED_IN_PRODUCTS = 3.6, 4.2, 2.7, 25.0
# The longest axis of a tile that is transformed by matrices.
LONGEST = 48


@dataclass(frozen=True)
class CompiledPoints(InOnePass, Tiled):
    """Tiles whose maps are one pass each, but for the input gradient as it stands."""

    # Whether points are complex numbers.
    are_complex: ClassVar[bool] = False

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """What is not refused."""
        return not cls.refusal(problem) and super().suits(problem, operation, traits)

    @classmethod
    def splits_channels(cls, problem: Problem, operation: Operation) -> bool:
        """Where there are more weights than data, each worker has the points of some."""
        windows = problem.images * prod(problem.geometry.output)
        return windows <= 16 * problem.out_channels and problem.out_channels >= 2 * MOST_PANEL

    @property
    @abstractmethod
    def planes(self) -> int:
        """The numbers that the points of a tile are, for each channel."""

    @property
    @abstractmethod
    def maps(self) -> PointMaps:
        """The matrices B, G and A of each axis."""

    @property
    @abstractmethod
    def gradient_maps(self) -> PointMaps:
        """The matrices B, G* and A*."""

    @property
    def reach(self) -> Shape:
        """The input under all windows: a tile that hangs over reads nothing there."""
        return self.windows.input

    def held(self, images: int, channels: int) -> int | None:
        """Nothing is prepared but in the loops."""
        return None

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """The loops take as many tiles as a cache holds by themselves."""
        return True

    @property
    def fewest_rows(self) -> int:
        """Few are cut further, for as long as there are not enough blocks."""
        return 1

    def at_once(self, channels: int) -> int:
        """The tiles that are taken at a time."""
        most = MOST_COMPLEX if self.are_complex else MOST_POINTS
        return max(min(MOST_TILES, most // (self.planes * channels)), 16)

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The points of some tiles, of weights or their sums, and of a panel of products."""
        planes, at_once = self.planes, self.at_once(in_channels)
        tiles, most = self.rows(images), max(at_once, out_channels)
        panel, is_all = MOST_PANEL + 16, out_channels + 2 * MOST_PANEL
        holds = tiles > most or (tiles > at_once and planes * in_channels * is_all <= MOST_HELD)
        tiles, depth = min(tiles, most), (2 if self.are_complex else 1) * (in_channels + 16)
        weights = in_channels * (is_all if holds else panel)
        room = 8 * prod(self.tiles.kernel) * panel
        return planes * (tiles * (depth + panel) + weights) + room + 16 * (tiles + in_channels)

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights."""
        return prod(self.windows.kernel) * in_channels * out_channels

    def passes(self, tiles: int, rows: int, in_channels: int, out_channels: int) -> int:
        """How often the points of weights are made, by blocks of so many rows."""
        at_once = self.at_once(in_channels)
        if self.planes * in_channels * out_channels <= MOST_HELD:
            at_once = rows
        return -(-tiles // max(min(at_once, rows), 1))

    def forward_job(self, y: Array, x: Array, weights: Sequence[Array]) -> Job:
        """Tiles to points, products, and points to outputs."""
        maps, at_once = self.maps, self.at_once(x.shape[-1])
        return points_job(y, x, weights[0], self.axes, self.tile, maps, at_once, self.are_complex)

    def weight_job(self, dw: Array, dy: Array, x: Array) -> Job:
        """Tiles of both to points, their products' sums, and these to weights."""
        maps, at_once = self.gradient_maps, self.at_once(x.shape[-1])
        return points_weight_job(dw, x, dy, self.axes, self.tile, maps, at_once, self.are_complex)


@dataclass(frozen=True)
class CompiledWinograd(CompiledPoints, Winograd):
    """`Winograd` in compiled loops."""

    @property
    def planes(self) -> int:
        """The products of a tile."""
        return self.points

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A product for each point, and what it takes to make points of data and of weights."""
        tiles, points = images * prod(self.tiles.output), self.points
        products = points * tiles * in_channels * lanes_of(out_channels, 4)
        made = POINT * tiles * points * (in_channels + out_channels)
        passes = self.passes(tiles, rows, in_channels, out_channels)
        weights = WEIGHT_POINT * points * in_channels * out_channels * passes
        return Cost(products, made + weights, 0, 4)

    @property
    def maps(self) -> PointMaps:
        """Those of minimal filtering."""
        return _winograd_maps(self.tile, self.windows.kernel)

    @property
    def gradient_maps(self) -> PointMaps:
        """The same, transposed where they are adjoints."""
        return _winograd_gradient_maps(self.tile, self.windows.kernel)


@dataclass(frozen=True)
class CompiledFft(CompiledPoints, ShortFft):
    """`ShortFft` of two axes in compiled loops, whose transforms may have any size."""

    are_complex: ClassVar[bool] = True

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Two axes without strides or dilation, and channels to be multiplied on both sides."""
        g = problem.geometry
        are_plain = g.rank == 2 and all(n == 1 for n in (*g.stride, *g.dilation))
        if not are_plain or min(g.kernel) == 1 or problem.is_thin or 2 * max(g.kernel) > LONGEST:
            return False
        return super().suits(problem, operation, traits)

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """Tiles of the size that costs the least, and transforms no larger than they need."""
        made = super().create(problem, box, traits)
        tile = _cheapest_tile(problem)
        sizes = _sums(tile, problem.geometry.kernel)
        return replace(made, tile=tile, sizes=sizes)

    @property
    def is_compiled(self) -> bool:
        """Unlike `ShortFft`, this runs in compiled loops."""
        return True

    @property
    def planes(self) -> int:
        """Both parts of half of the frequencies."""
        return _planes(self.sizes)

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """Four products for each frequency, and the transforms."""
        tiles, kernel = images * prod(self.tiles.output), self.windows.kernel
        passes = self.passes(tiles, rows, in_channels, out_channels)
        work = _spectral_work(self.tile, kernel, tiles, in_channels, out_channels, passes)
        return Cost(1.05 * work.multiplies, MOVED * work.moved, 0, 4)

    @property
    def maps(self) -> PointMaps:
        """Transforms of all inputs of a tile and of the taps, and back to its outputs."""
        return _spectral_maps(self.tile, self.windows.kernel)

    @property
    def gradient_maps(self) -> PointMaps:
        """Transforms of all inputs and of the outputs, and back to the taps."""
        return _spectral_gradient_maps(self.tile, self.windows.kernel)


def _sums(tile: Shape, kernel: Shape) -> Shape:
    """The inputs of a tile."""
    return tuple(m + r - 1 for m, r in zip(tile, kernel, strict=True))


def _planes(sizes: Shape) -> int:
    """Both parts of the frequencies, of which the outer axis has half."""
    outer, inner = sizes
    return 2 * (outer // 2 + 1) * inner


@lru_cache(maxsize=256)
def _winograd_maps(tile: Shape, kernel: Shape) -> PointMaps:
    axes = tuple(map(matrices, tile, kernel))
    return PointMaps(*zip(*axes, strict=True))


@lru_cache(maxsize=256)
def _winograd_gradient_maps(tile: Shape, kernel: Shape) -> PointMaps:
    maps = _winograd_maps(tile, kernel)
    weight, output = (tuple(map(transposed, axes)) for axes in (maps.weight, maps.output))
    return PointMaps(maps.data, weight, output)


@lru_cache(maxsize=256)
def _spectral_maps(tile: Shape, kernel: Shape) -> PointMaps:
    sizes = _sums(tile, kernel)
    return PointMaps(
        to_spectrum(sizes, sizes), to_spectrum(kernel, sizes), from_spectrum(tile, sizes)
    )


@lru_cache(maxsize=256)
def _spectral_gradient_maps(tile: Shape, kernel: Shape) -> PointMaps:
    sizes = _sums(tile, kernel)
    return PointMaps(
        to_spectrum(sizes, sizes), from_spectrum(kernel, sizes), to_spectrum(tile, sizes)
    )


class _Work(NamedTuple):
    """The multiplications of tiles, and the numbers that are put in planes."""

    multiplies: float
    moved: float


def _spectral_work(
    tile: Shape, kernel: Shape, tiles: int, in_channels: int, out_channels: int, passes: float
) -> _Work:
    """What so many tiles take, with weights that are transformed so often."""
    sizes = _sums(tile, kernel)
    half, planes, (outer, inner) = sizes[0] // 2 + 1, _planes(sizes), sizes
    data = 2 * half * (outer * inner + 2 * inner * inner)
    outputs = tile[0] * inner * (4 * half + 2 * tile[1])
    weights = 2 * half * kernel[1] * (kernel[0] + 2 * inner)
    lanes = lanes_of(out_channels, 4)
    products = 2 * planes * tiles * in_channels * lanes
    transforms = passes * weights * in_channels * out_channels
    transforms += tiles * (data * in_channels + outputs * out_channels)
    moved = tiles * (1.5 * in_channels + 2 * out_channels) + passes * in_channels * out_channels
    return _Work(products + transforms, planes * moved)


@lru_cache(maxsize=1024)
def _cheapest_tile(problem: Problem) -> Shape:
    """The outputs of a tile that cost the least, parts of equal size along both axes."""
    geometry = problem.geometry
    c, k = problem.in_channels, problem.out_channels
    most = tuple(LONGEST - taps + 1 for taps in geometry.kernel)

    def cost(tile: Shape) -> float:
        counts = (-(-o // m) for o, m in zip(geometry.output, tile, strict=True))
        tiles = max(problem.images, 1) * prod(counts)
        passes = max(tiles * _planes(_sums(tile, geometry.kernel)) * c / MOST_COMPLEX, 2)
        multiplies, moved = _spectral_work(tile, geometry.kernel, tiles, c, k, passes)
        return multiplies + MOVED_IN_PRODUCTS * moved

    choices = [
        [tile for tile in range(1, min(m, o) + 1) if -(-o // -(-o // tile)) == tile]
        for o, m in zip(geometry.output, most, strict=True)
    ]
    return min(((a, b) for a in choices[0] for b in choices[1]), key=cost)
