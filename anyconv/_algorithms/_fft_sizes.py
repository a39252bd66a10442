"""The tiles of `fft`: how many outputs, and the transform that holds them. Whole numbers only."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import log2, prod

from anyconv._costs import CPU
from anyconv._geometry import Problem, effective_kernel_size
from anyconv._typing import Shape

# Axes all this long or shorter are transformed by matrix products.
SHORT = 48
# What an element's transform takes however short it is, in steps.
FIRST_STEPS = 8.0
# The points of the lanes of thin problems that a core's cache holds at once.
CACHED_POINTS = 2**17
# What a frequency of one tile and channel takes besides, in nanoseconds: copies to and fro.
COPIED = 1.0
# The points of tiles, on both sides of the product, that are multiplied at once; for each time that
# all weights pass by, what a frequency of one of them takes, in nanoseconds.
POINTS_AT_ONCE = 2**19
PASSED = 1.0
# What an elementwise product of two frequencies takes, in nanoseconds.
ELEMENTWISE = 0.5


def is_short(sizes: Shape) -> bool:
    """Whether the transform is a matrix product."""
    return max(sizes) <= SHORT


def products(cells: Shape, sizes: Shape) -> int:
    """The multiplications of a transform of some cells, or back to them, by matrix products."""
    axes = zip(_lines(cells, sizes), cells, sizes, strict=True)
    return sum(lines * c * size for lines, c, size in axes)


def steps(cells: Shape, sizes: Shape) -> float:
    """The steps of the same axis by axis, by the library's transform unless `has_few` cells.

    For each element of a transform its logarithm, and some for going to and fro, so that of sizes
    between 48 and 500 all take about the same.
    """
    axes = zip(_lines(cells, sizes), cells, sizes, strict=True)
    return sum(lines * size * min(*_steps(c, size)) for lines, c, size in axes)


def has_few(cells: int, size: int) -> bool:
    """Whether a product with roots of unity takes less than an axis' transform."""
    product, transform = _steps(cells, size)
    return product < transform


def _steps(cells: int, size: int) -> tuple[float, float]:
    """What each element of an axis takes as a product, and as one of the library's transform."""
    return cells * 4 * CPU.multiply / CPU.step, FIRST_STEPS + log2(size)


def _lines(cells: Shape, sizes: Shape) -> Iterator[int]:
    """How often each axis is transformed: the axes before it hold the cells only."""
    for axis in range(len(sizes)):
        yield prod(cells[:axis]) * prod(sizes[axis + 1 :])


def weight_transforms(tiles: int, size: int) -> float:
    """How often a thin problem's taps are transformed, once for all tiles that a cache holds."""
    return max(tiles / max(CACHED_POINTS // size, 1), 1)


@cache
def cheapest_tile(problem: Problem) -> tuple[Shape, Shape]:
    """The outputs of a tile along each axis and the sizes of its transform, of the least cost.

    Counted in nanoseconds of a processor, for complex arrays; for real ones all is half of it.
    """
    geometry = problem.geometry
    c, k = problem.in_channels, problem.out_channels
    weights = c * k // problem.groups
    is_thin = problem.is_thin

    def cost(choice: tuple[tuple[int, int], ...]) -> float:
        tile, sizes = (tuple(axis) for axis in zip(*choice, strict=True))
        tiles = max(problem.images, 1)
        for m, outputs in zip(tile, geometry.output, strict=True):
            tiles *= -(-outputs // m)
        size = prod(sizes)
        made = weights * (weight_transforms(tiles, size) if is_thin and not is_short(sizes) else 1)
        counted = ((tile, tiles * k), (sizes, tiles * c), (geometry.kernel, made))
        one, work = (4 * CPU.multiply, products) if is_short(sizes) else (CPU.step, steps)
        nanoseconds = one * sum(n * work(cells, sizes) for cells, n in counted)
        points = size * tiles
        nanoseconds += COPIED * points * (c + k)
        if is_thin:
            return float(nanoseconds + ELEMENTWISE * points * weights)
        passes = max(points * (c + k) / POINTS_AT_ONCE, 1)
        return float(nanoseconds + (4 * CPU.multiply * points + PASSED * size * passes) * weights)

    kernel = map(effective_kernel_size, geometry.kernel, geometry.dilation)
    axes = zip(geometry.output, geometry.stride, kernel, strict=True)
    best = min(product(*(_tile_sizes(*axis) for axis in axes)), key=cost)
    return tuple(m for m, _ in best), tuple(size for _, size in best)


def _tile_sizes(outputs: int, stride: int, kernel: int) -> tuple[tuple[int, int], ...]:
    """Some numbers of outputs, to all of them, each with the transform size that holds it."""
    choices: list[tuple[int, int]] = []
    parts = 1
    while True:
        size = _fast_size(stride * (-(-outputs // parts) - 1) + kernel)
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
def _fast_size(least: int) -> int:
    """The next size without a prime factor above seven."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
