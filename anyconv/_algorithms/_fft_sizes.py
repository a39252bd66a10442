"""The tiles of `fft`: how many outputs, and the transform that holds them. Whole numbers only."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from math import log2, prod
from typing import NamedTuple, Self

from anyconv._compiled import LONGEST_IN_LOOPS
from anyconv._costs import CPU, product_efficiency
from anyconv._geometry import Problem, Windows, effective_kernel_size
from anyconv._traits import Traits
from anyconv._typing import Operation, Shape

# Axes all this long or shorter are transformed by matrix products.
SHORT = 48
# What an element's transform takes however short it is, in steps, and a product with roots of unity
# however few the cells.
FIRST_STEPS, FIRST_OF_ROOTS = 8.0, 4.0
# The part of a library's time that compiled loops take, of complex and of real arrays.
COMPILED, COMPILED_REAL = 0.5, 0.75
# The points of the lanes of thin problems that a core's cache holds at once.
CACHED_POINTS = 2**17
# What a frequency of one tile and channel takes besides, in nanoseconds: copies to and fro.
COPIED = 1.0
# The points of tiles, on both sides of the product, that are multiplied at once; for each time that
# all weights pass by, what a frequency of one of them takes, in nanoseconds.
POINTS_AT_ONCE = 2**19
PASSED = 1.0
# What a frequency of a row takes, to be copied to and fro and to be unfolded under each tap.
COPIED_ROW, UNFOLDED = 0.5, 0.5
# What a spectrum of a row's taps takes to be laid out as it is multiplied.
EXPANDED = 10.0
# Rows are unfolded where that is estimated to take less than this part of the time; the gradient of
# a weight transforms both of its factors, and gains more; and so do workers, of compiled loops.
WORTH_ROWS, WORTH_ROWS_OF_BOTH, WORTH_IN_LOOPS = 0.9, 1.0, 1.15
# The neighbours of a row that may have one window.
NEIGHBOURS = (1, 2, 4, 8)
# What an elementwise product of two frequencies takes, in nanoseconds.
ELEMENTWISE = 0.5


class Kind(NamedTuple):
    """What is transformed, and whether compiled loops may do it."""

    is_complex: bool
    compiles: bool

    @classmethod
    def of(cls, traits: Traits) -> Self:
        """That of some arrays."""
        return cls(traits.is_complex, traits.compiles)

    @property
    def part(self) -> float:
        """The part of a library's time that a transform takes."""
        if not self.compiles:
            return 1.0
        return COMPILED if self.is_complex else COMPILED_REAL


def is_short(sizes: Shape) -> bool:
    """Whether the transform is a matrix product."""
    return max(sizes) <= SHORT


def products(cells: Shape, sizes: Shape) -> int:
    """The multiplications of a transform of some cells, or back to them, by matrix products."""
    axes = zip(_lines(cells, sizes), cells, sizes, strict=True)
    return sum(lines * c * size for lines, c, size in axes)


def steps(cells: Shape, sizes: Shape, kind: Kind) -> float:
    """The steps of the same axis by axis, by the library's transform unless `has_few` cells.

    For each element of a transform its logarithm, and some for going to and fro, so that of sizes
    between 48 and 500 all take about the same.
    """
    axes = zip(_lines(cells, sizes), cells, sizes, strict=True)
    return sum(lines * size * min(*_steps(c, size, kind)) for lines, c, size in axes)


def has_few(cells: int, size: int, kind: Kind) -> bool:
    """Whether a product with roots of unity takes less than an axis' transform."""
    product, transform = _steps(cells, size, kind)
    return product < transform


def _steps(cells: int, size: int, kind: Kind) -> tuple[float, float]:
    """What each element of an axis takes as a product, and as one of the transform."""
    transform = FIRST_STEPS + log2(size)
    if size <= LONGEST_IN_LOOPS:
        transform *= kind.part
    return FIRST_OF_ROOTS + cells * 4 * CPU.multiply / CPU.step, transform


def _lines(cells: Shape, sizes: Shape) -> Iterator[int]:
    """How often each axis is transformed: the axes before it hold the cells only."""
    for axis in range(len(sizes)):
        yield prod(cells[:axis]) * prod(sizes[axis + 1 :])


def weight_transforms(tiles: int, size: int) -> float:
    """How often a thin problem's taps are transformed, once for all tiles that a cache holds."""
    return max(tiles / max(CACHED_POINTS // size, 1), 1)


class Tiles(NamedTuple):
    """The outputs of a tile along each axis, the sizes of its transform, and the nanoseconds."""

    tile: Shape
    sizes: Shape
    cost: float


@cache
def cheapest_tile(problem: Problem, kind: Kind) -> Tiles:
    """The tiles and transforms of all axes that cost the least.

    Counted in nanoseconds of a processor, for complex arrays; for real ones all is half of it.
    """
    geometry = problem.geometry
    c, k = problem.in_channels, problem.out_channels
    weights = c * k // problem.groups
    is_thin = problem.is_thin

    def cost(tile: Shape, sizes: Shape, tiles: int) -> float:
        size = prod(sizes)
        made = weights * (weight_transforms(tiles, size) if is_thin and not is_short(sizes) else 1)
        counted = ((tile, tiles * k), (sizes, tiles * c), (geometry.kernel, made))
        if is_short(sizes):
            nanoseconds = 4 * CPU.multiply * sum(n * products(c, sizes) for c, n in counted)
        else:
            nanoseconds = CPU.step * sum(n * steps(c, sizes, kind) for c, n in counted)
        points = size * tiles
        nanoseconds += COPIED * points * (c + k)
        if is_thin:
            return nanoseconds + ELEMENTWISE * points * weights
        passes = max(points * (c + k) / POINTS_AT_ONCE, 1)
        return nanoseconds + (4 * CPU.multiply * points + PASSED * size * passes) * weights

    return _cheapest(problem, geometry.rank, kind.compiles, SHORT, cost)


class RowTiles(NamedTuple):
    """The same of all axes but the last, and the neighbours of a row that have one window."""

    tile: Shape
    sizes: Shape
    neighbours: int
    cost: float


@cache
def cheapest_rows(problem: Problem, kind: Kind) -> RowTiles:
    """The same for transforms of all axes but the last, along which windows are unfolded."""
    dilation, outputs = problem.geometry.dilation[-1], problem.geometry.output[-1]
    most = 1 if dilation > 1 else outputs
    made = [_rows_of(problem, count, kind) for count in NEIGHBOURS if count <= most]
    return min(made, key=lambda rows: rows.cost)


def _rows_of(problem: Problem, neighbours: int, kind: Kind) -> RowTiles:
    geometry, c, k = problem.geometry, problem.in_channels, problem.out_channels
    windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, geometry.output)
    outputs = -(-geometry.output[-1] // neighbours) * neighbours
    row = joined_windows(windows.axis(-1), neighbours, outputs)
    (cells,), (count,), inner, columns = row.input, row.output, row.taps * c, neighbours * k
    taps = geometry.kernel[-1] * c * k
    products = 4 * CPU.multiply * inner * columns
    products /= product_efficiency(count, 2 * inner, 2 * columns)

    def cost(tile: Shape, sizes: Shape, tiles: int) -> float:
        size = prod(sizes)
        counted = (
            (tile, tiles * outputs * k),
            (sizes, tiles * cells * c),
            (geometry.kernel[:-1], taps),
        )
        nanoseconds = CPU.step * sum(n * steps(cells, sizes, kind) for cells, n in counted)
        nanoseconds += COPIED_ROW * size * tiles * (cells * c + outputs * k)
        nanoseconds += size * tiles * count * (UNFOLDED * inner + products)
        return nanoseconds + EXPANDED * size * inner * columns

    tile, sizes, least = _cheapest(problem, geometry.rank - 1, kind.compiles, 0, cost)
    return RowTiles(tile, sizes, neighbours, least)


def joined_windows(axis: Windows, beside: int, outputs: int) -> Windows:
    """The windows of an axis, as many outputs as said, so many neighbours as one."""
    (taps,), (stride,) = axis.kernel, axis.stride
    kernel, step = taps + stride * (beside - 1), stride * beside
    return Windows((kernel,), (step,), axis.dilation, (outputs // beside,))


def rows_are_cheaper(problem: Problem, operation: Operation, traits: Traits) -> bool:
    """Whether the last axis is better unfolded than transformed, which was measured on CPUs."""
    if traits.runs != "workers" or problem.geometry.rank == 1 or problem.groups > 1:
        return False
    worth = WORTH_ROWS_OF_BOTH if operation == "weight" else WORTH_ROWS
    kind = Kind.of(traits)
    worth *= WORTH_IN_LOOPS if kind.compiles else 1
    return cheapest_rows(problem, kind).cost < worth * cheapest_tile(problem, kind).cost


def _cheapest(
    problem: Problem,
    rank: int,
    compiles: bool,
    short: int,
    cost: Callable[[Shape, Shape, int], float],
) -> Tiles:
    """The tiles along the first axes that cost the least; loops are for those longer than short."""
    geometry, images = problem.geometry, max(problem.images, 1)
    kernel = map(effective_kernel_size, geometry.kernel, geometry.dilation)
    axes = tuple(zip(geometry.output, geometry.stride, kernel, strict=True))[:rank]
    made = []
    for choice in product(*(_tile_sizes(*axis, compiles, short) for axis in axes)):
        tile, sizes = (tuple(axis) for axis in zip(*choice, strict=True))
        counts = (-(-outputs // m) for m, outputs in zip(tile, geometry.output, strict=False))
        made.append(Tiles(tile, sizes, float(cost(tile, sizes, images * prod(counts)))))
    return min(made, key=lambda tiles: tiles.cost)


def _tile_sizes(
    outputs: int, stride: int, kernel: int, compiles: bool, short: int
) -> tuple[tuple[int, int], ...]:
    """Some numbers of outputs, to all of them, each with the transform size that holds it."""
    choices: list[tuple[int, int]] = []
    parts = 1
    while True:
        size = _fast_size(stride * (-(-outputs // parts) - 1) + kernel, compiles, short)
        most = min((size - kernel) // stride + 1, outputs)
        m = -(-outputs // -(-outputs // most))  # no more than so many tiles need
        if choices and (m == choices[-1][0] or size > choices[-1][1]):
            break
        choices.append((m, size))
        if m == 1 or len(choices) == 9:
            break
        parts = max(parts + 1, parts * 3 // 2)
    return tuple(choices)


@cache
def _fast_size(least: int, compiles: bool, short: int) -> int:
    """The next size without a prime factor above seven; for loops even, and none above five."""
    size = least
    while True:
        by_loops = compiles and short < size <= LONGEST_IN_LOOPS
        rest = size
        for factor in (2, 3, 5) if by_loops else (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1 and not (by_loops and size % 2):
            return size
        size += 1
