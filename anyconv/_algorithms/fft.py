"""`fft`: tiles in the frequency domain, overlap and save; a large kernel costs no more than a small.

The product of one spectrum with the conjugate of another is the transform of their correlation. A
tile as large as the output is the whole transform, smaller ones are blocks. The adjoints are taken
with the inner product of the frequency domain that makes the transform unitary (Parseval), so that
of `rfftn` is `irfftn`, and no scale is left over.

M. Mathieu, M. Henaff, Y. LeCun, "Fast training of convolutional networks through FFTs",
arXiv:1312.5851.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import log2, prod
from typing import ClassVar, Self

from anyconv._algorithms._bilinear import conjugate
from anyconv._algorithms._tiled import Tiled
from anyconv._geometry import Problem, Windows, effective_kernel_size
from anyconv._namespace import device, set_at
from anyconv._typing import Array, Index, Namespace, Shape


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
        *others, last = self.sizes
        return prod(others) * (last if self.is_complex else last // 2 + 1)

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

    def multiply(self, data: Array, weight: Array, *, xp: Namespace) -> Array:
        """The product of one frequency; with a single channel each, elementwise."""
        return data * weight if data.shape[-1] == 1 else xp.matmul(data, weight)

    def transform_data(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of each tile."""
        return self._flat(self._spectrum(tiles, xp=xp), xp=xp)

    def transform_data_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """The cells of each tile."""
        cells = tuple(slice(0, size) for size in self.tiles.kernel)
        return self._cells(points, xp=xp)[(*cells, ...)]

    def transform_weight(self, w: Array, *, xp: Namespace) -> Array:
        """The conjugate of the spectrum (of the conjugate), which is linear in w."""
        w = conjugate(w, xp=xp)
        return xp.conj(self._flat(self._spectrum(_spread(w, self._taps, xp=xp), xp=xp), xp=xp))

    def transform_weight_adjoint(self, points: Array, *, xp: Namespace) -> Array:
        """Back, at the taps."""
        return conjugate(self._cells(xp.conj(points), xp=xp)[(*self._taps, ...)], xp=xp)

    def transform_output(self, points: Array, *, xp: Namespace) -> Array:
        """The correlation of each tile, where a window starts."""
        return self._cells(points, xp=xp)[(*self._starts, ...)]

    def transform_output_adjoint(self, tiles: Array, *, xp: Namespace) -> Array:
        """The spectrum of the outputs, each where its window starts."""
        return self._flat(self._spectrum(_spread(tiles, self._starts, xp=xp), xp=xp), xp=xp)

    @property
    def _taps(self) -> tuple[slice, ...]:
        axes = zip(self.windows.kernel, self.windows.dilation, strict=True)
        return tuple(slice(0, d * (k - 1) + 1, d) for k, d in axes)

    @property
    def _starts(self) -> tuple[slice, ...]:
        axes = zip(self.tile, self.windows.stride, strict=True)
        return tuple(slice(0, s * (m - 1) + 1, s) for m, s in axes)

    def _spectrum(self, a: Array, *, xp: Namespace) -> Array:
        axes = tuple(range(len(self.sizes)))
        transform = xp.fft.fftn if self.is_complex else xp.fft.rfftn
        return transform(a, s=self.sizes, axes=axes)

    def _cells(self, points: Array, *, xp: Namespace) -> Array:
        axes = tuple(range(len(self.sizes)))
        *others, last = self.sizes
        shape = (*others, last if self.is_complex else last // 2 + 1, *points.shape[1:])
        transform = xp.fft.ifftn if self.is_complex else xp.fft.irfftn
        return transform(xp.reshape(points, shape), s=self.sizes, axes=axes)

    def _flat(self, spectrum: Array, *, xp: Namespace) -> Array:
        return xp.reshape(spectrum, (-1, *spectrum.shape[len(self.sizes) :]))


def _spread(a: Array, cells: tuple[slice, ...], *, xp: Namespace) -> Array:
    """The leading axes set apart, zeros between them."""
    if all(cell.step == 1 for cell in cells):
        return a
    shape = (*(cell.stop for cell in cells), *a.shape[len(cells) :])
    index: Index = (*cells, ...)
    return set_at(xp.zeros(shape, dtype=a.dtype, device=device(a)), index, a, xp=xp)


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
        transform = SLOWER_TRANSFORM * size * log2(size + 1)
        return tiles * (2 * size * weights + transform * (c + k)) + transform * weights

    kernel = map(effective_kernel_size, geometry.kernel, geometry.dilation)
    axes = zip(geometry.output, geometry.stride, kernel, strict=True)
    best = min(product(*(_tile_sizes(*axis) for axis in axes)), key=cost)
    return tuple(m for m, _ in best), tuple(size for _, size in best)


# A butterfly of a transform costs about so many multiplications of a matrix product.
SLOWER_TRANSFORM = 4.0


def _tile_sizes(outputs: int, stride: int, kernel: int) -> tuple[tuple[int, int], ...]:
    """Some numbers of outputs, to all of them, each with the transform size that holds it."""
    choices = []
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
