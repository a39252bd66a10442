"""`fft`: tiles in the frequency domain, overlap and save; no kernel costs more than a small one.

The product of one spectrum with the conjugate of another is the transform of their correlation. A
tile as large as the output is the whole transform, smaller ones are blocks. The adjoints are taken
with the inner product of the frequency domain that makes the transform unitary (Parseval), where a
frequency of a real array counts for its conjugate too; so that of the transform is its inverse.

All transforms are unitary (`norm="ortho"`); the product of two spectra then lacks a factor, which
the weight's brings. (NumPy's transforms in single precision are ten times as fast for it.) A short
one is a matrix product with its roots of unity: libraries multiply matrices so much faster than
they transform along many short axes that the logarithm does not pay, and only the cells that are
wanted are read and written, every stride-th output, every dilation-th tap.

M. Mathieu, M. Henaff, Y. LeCun, "Fast training of convolutional networks through FFTs",
arXiv:1312.5851.
"""

from cmath import exp, pi
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import log2, prod, sqrt
from typing import ClassVar, Self

from anyconv._algorithms._bilinear import conjugate
from anyconv._algorithms._tiled import Tiled
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem, Windows, effective_kernel_size
from anyconv._namespace import complex_dtype, constant, device, set_at
from anyconv._typing import Array, Index, Namespace, Shape

# An axis this long or shorter is transformed by a matrix product.
SHORT = 48
# What a step of the library's transform costs, in multiplications of a matrix product.
TRANSFORM_STEP = 10.0


@dataclass(frozen=True)
class Fft(Tiled):
    """B and G are Fourier transforms, A is the inverse, cropped."""

    name: ClassVar[str] = "fft"
    sizes: Shape
    is_complex: bool

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Nothing is refused."""
        return None

    @classmethod
    def create(cls, problem: Problem, box: Shape, *, is_complex: bool) -> Self:
        """Tiles of the size that costs the least."""
        geometry = problem.geometry
        windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, box)
        tile, sizes = _cheapest(problem)
        return cls(windows, problem.groups, tile, sizes, is_complex)

    @property
    def points(self) -> int:
        """The frequencies of one tile."""
        return prod(self._frequencies)

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The tiles and their spectra, once each before and after the products."""
        tiles = images * prod(self.tiles.output)
        spectra = 2 * self.points * (1 if self.is_complex else 2)
        data = prod(self.tiles.kernel) + spectra
        outputs = prod(self.sizes) + spectra + prod(self.tile)
        return tiles * (data * in_channels + outputs * out_channels)

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """One matrix for each frequency."""
        parts = self.points * (1 if self.is_complex else 2)
        return 2 * parts * in_channels * out_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int) -> Cost:
        """A complex product for each frequency, and the transforms with their copies."""
        tiles, points, size = images * prod(self.tiles.output), self.points, prod(self.sizes)
        c, k = in_channels // self.groups, out_channels // self.groups
        weights = in_channels * k
        transformed = tiles * (in_channels + out_channels) + weights
        multiplies = size * transformed * sum(_steps(self.sizes))
        parts = 2 * points
        elements = 10 * parts * transformed
        if c == 1:
            elements += 4 * parts * tiles * out_channels
        else:
            efficiency = product_efficiency(min(tiles, 64), c, k)
            multiplies += 4 * points * tiles * weights / efficiency
        return Cost(multiplies, elements, tiles * prod(self.tiles.kernel), 30)

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of one frequency; with a single channel each, elementwise."""
        return data * weight if data.shape[-1] == 1 else xp.matmul(data, weight)

    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of each tile."""
        return self._spectrum(tiles, self._all, xp=xp)

    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """The cells of each tile."""
        return self._cells(points, self._all, xp=xp)

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """The conjugate of the spectrum (of the conjugate), which is linear in w."""
        w = w * sqrt(prod(self.sizes))
        return self._spectrum(w, self._taps, conjugated=True, xp=xp)

    def transform_weight_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """Back, at the taps."""
        points = xp.conj(points) * sqrt(prod(self.sizes))
        return conjugate(self._cells(points, self._taps, xp=xp), xp=xp)

    def transform_output(self, points: Array, *, xp: Namespace) -> Array:
        """The correlation of each tile, where a window starts."""
        return self._cells(points, self._starts, xp=xp)

    def transform_output_adjoint(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of the outputs, each where its window starts."""
        return self._spectrum(tiles, self._starts, xp=xp)

    @property
    def _all(self) -> tuple[slice, ...]:
        return tuple(slice(0, size, 1) for size in self.tiles.kernel)

    @property
    def _taps(self) -> tuple[slice, ...]:
        axes = zip(self.windows.kernel, self.windows.dilation, strict=True)
        return tuple(slice(0, d * (k - 1) + 1, d) for k, d in axes)

    @property
    def _starts(self) -> tuple[slice, ...]:
        axes = zip(self.tile, self.windows.stride, strict=True)
        return tuple(slice(0, s * (m - 1) + 1, s) for m, s in axes)

    @property
    def _frequencies(self) -> Shape:
        """Frequencies along each axis; of a real array half of the last axis's tell the others."""
        *others, last = self.sizes
        return (*others, last if self.is_complex else last // 2 + 1)

    def _spectrum(
        self,
        a: Array,
        cells: tuple[slice, ...],
        *,
        conjugated: bool = False,
        xp: Namespace,
    ) -> Array:
        """`(*cells, rows, channels)`, zero elsewhere, to `(points, rows, channels)`.

        `conjugated` takes the roots' conjugates: the conjugate of the spectrum of the conjugate.
        """
        rest, rank = a.shape[len(cells) :], len(cells)
        if max(self.sizes) > SHORT:
            transform = xp.fft.fftn if self.is_complex else xp.fft.rfftn
            a = _spread(conjugate(a, xp=xp) if conjugated else a, cells, xp=xp)
            spectrum = transform(a, s=self.sizes, axes=tuple(range(rank)), norm="ortho")
            spectrum = xp.conj(spectrum) if conjugated else spectrum
            return xp.reshape(spectrum, (self.points, *rest))
        dtype = complex_dtype(xp, a.dtype)
        a = xp.astype(a, dtype, copy=False)
        for axis in range(rank - 1, -1, -1):
            table = (cells[axis].stop, cells[axis].step, self._frequencies[axis], self.sizes[axis])
            kind = _conjugate_roots if conjugated else _roots
            roots = constant(kind, table, dtype, device(a), xp=xp)
            a = _along_axis(roots, a, axis, xp=xp)
        return xp.reshape(a, (self.points, *rest))

    def _cells(self, points: Array, cells: tuple[slice, ...], *, xp: Namespace) -> Array:
        """The inverse, at some cells: `(points, rows, channels)` to `(*cells, rows, channels)`."""
        rank = len(cells)
        a = xp.reshape(points, (*self._frequencies, *points.shape[1:]))
        if max(self.sizes) > SHORT:
            transform = xp.fft.ifftn if self.is_complex else xp.fft.irfftn
            axes = tuple(range(rank))
            return transform(a, s=self.sizes, axes=axes, norm="ortho")[(*cells, ...)]
        for axis in range(rank):
            half = not self.is_complex and axis == rank - 1
            table = (cells[axis].stop, cells[axis].step, self.sizes[axis], half)
            roots = constant(_inverse_roots, table, a.dtype, device(a), xp=xp)
            a = _along_axis(roots, a, axis, xp=xp)
        return a if self.is_complex else xp.real(a)


def _along_axis(matrix: Array, a: Array, axis: int, *, xp: Namespace) -> Array:
    """A matrix applied along one axis."""
    shape = a.shape
    flat = xp.reshape(a, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])))
    y = xp.matmul(matrix, flat)
    return xp.reshape(y, (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))


def _roots(stop: int, step: int, frequencies: int, size: int) -> list[list[complex]]:
    """`exp(-2 pi i f j / size) / sqrt(size)`: a row a frequency f, a column a cell j."""
    unit = [exp(-2j * pi * n / size) / sqrt(size) for n in range(size)]
    return [[unit[f * j % size] for j in range(0, stop, step)] for f in range(frequencies)]


def _conjugate_roots(stop: int, step: int, frequencies: int, size: int) -> list[list[complex]]:
    """The conjugates of `_roots`."""
    rows = _roots(stop, step, frequencies, size)
    return [[root.conjugate() for root in row] for row in rows]


def _inverse_roots(stop: int, step: int, size: int, half: bool) -> list[list[complex]]:
    """`exp(2 pi i f j / size) / sqrt(size)`: a row a cell j, a column a frequency f.

    Of a `half` spectrum the real part of the result is meant: a frequency stands for its conjugate
    too, the first and, of an even size, the last excepted.
    """
    unit = [exp(2j * pi * n / size) / sqrt(size) for n in range(size)]
    frequencies = size // 2 + 1 if half else size
    twice = [half and 0 < f < (size + 1) // 2 for f in range(frequencies)]
    return [
        [unit[f * j % size] * (2 if twice[f] else 1) for f in range(frequencies)]
        for j in range(0, stop, step)
    ]


def _spread(a: Array, cells: tuple[slice, ...], *, xp: Namespace) -> Array:
    """The leading axes set apart, zeros between them."""
    if all(cell.step == 1 for cell in cells):
        return a
    shape = (*(cell.stop for cell in cells), *a.shape[len(cells) :])
    index: Index = (*cells, ...)
    return set_at(xp.zeros(shape, dtype=a.dtype, device=device(a)), index, a, xp=xp)


def _steps(sizes: Shape) -> tuple[float, ...]:
    """What an element's transform costs along each axis, in multiplications of a product."""
    if max(sizes) <= SHORT:
        return tuple(2.0 * size for size in sizes)
    return tuple(TRANSFORM_STEP * log2(size) for size in sizes)


@cache
def _cheapest(problem: Problem) -> tuple[Shape, Shape]:
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
        steps = sum(_steps(tuple(size for _, size in choice)))
        return size * (tiles * (2 * weights + steps * (c + k)) + steps * weights)

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
