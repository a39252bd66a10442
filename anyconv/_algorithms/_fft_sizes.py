"""The tiles of `fft`: how many outputs, and the transform that holds them. Whole numbers only."""

from functools import cache
from itertools import product
from math import log2, prod

from anyconv._geometry import Problem, effective_kernel_size
from anyconv._typing import Shape

# Axes all this long or shorter are transformed by matrix products.
SHORT = 48
# What a step of the library's transform costs, in multiplications of a matrix product.
TRANSFORM_STEP = 12.0


def steps(sizes: Shape) -> tuple[float, ...]:
    """What an element's transform costs along each axis, in multiplications of a product."""
    if max(sizes) <= SHORT:
        return tuple(2.0 * size for size in sizes)
    return tuple(TRANSFORM_STEP * log2(size) for size in sizes)


@cache
def cheapest_tile(problem: Problem) -> tuple[Shape, Shape]:
    """The outputs of a tile along each axis and the sizes of its transform, of the least cost.

    Counted in multiplications: those of the products, and the transforms', which run slower.
    """
    geometry = problem.geometry
    c, k = problem.in_channels, problem.out_channels
    weights = c * k // problem.groups

    def cost(choice: tuple[tuple[int, int], ...]) -> float:
        tiles = max(problem.images, 1)
        for (m, _), outputs in zip(choice, geometry.output, strict=True):
            tiles *= -(-outputs // m)
        size = prod(size for _, size in choice)
        transform = sum(steps(tuple(size for _, size in choice)))
        return size * (tiles * (2 * weights + transform * (c + k)) + transform * weights)

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
        m = min((size - kernel) // stride + 1, outputs)
        if choices and (m == choices[-1][0] or size > choices[-1][1]):
            break
        choices.append((m, size))
        if m == 1 or len(choices) == 8:
            break
        parts = max(parts + 1, parts * 3 // 2)
    return tuple(choices)


@cache
def _fast_size(least: int) -> int:
    """The next size without a prime factor above five."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
