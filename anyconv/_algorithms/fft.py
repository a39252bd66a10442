"""`fft`: tiles in the frequency domain, overlap and save; no kernel costs more than a small one.

The product of one spectrum with the conjugate of another is the transform of their correlation. A
tile as large as the output is the whole transform, smaller ones are blocks. The adjoints are taken
with the inner product of the frequency domain that makes the transform unitary (Parseval), where a
frequency of a real array counts for its conjugate too; so that of the transform is its inverse.

All transforms are unitary (`norm="ortho"`); the product of two spectra then lacks a factor, which
the weight's brings. (NumPy's transforms in single precision are ten times as fast for it.)

M. Mathieu, M. Henaff, Y. LeCun, "Fast training of convolutional networks through FFTs",
arXiv:1312.5851.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Self

from anyconv._algorithms._fft_axes import Cells, Transform
from anyconv._algorithms._fft_sizes import Kind, cheapest_tile, is_short, products, steps
from anyconv._algorithms._tiled import Tiled
from anyconv._compiled import LANES, has_compiled_transform
from anyconv._costs import Cost, product_efficiency
from anyconv._geometry import Problem, Windows
from anyconv._traits import Traits
from anyconv._typing import Shape

# What a multiplication by a small matrix of roots takes, next to one of a large product.
THIN = 1.5


@dataclass(frozen=True)
class Spectral(Tiled):
    """Tiles that are multiplied frequency by frequency, along the axes that `sizes` names."""

    name: ClassVar[str] = "fft"
    sizes: Shape
    kind: Kind

    @classmethod
    def refusal(cls, problem: Problem) -> str | None:
        """Nothing is refused."""
        return None

    @property
    def is_complex(self) -> bool:
        """Whether the arrays are."""
        return self.kind.is_complex

    @property
    def frequencies(self) -> Shape:
        """Frequencies along each axis; of a real array half of the last axis's tell the others."""
        *others, last = self.sizes
        return (*others, last if self.is_complex else last // 2 + 1)

    @property
    def points(self) -> int:
        """The frequencies of one tile."""
        return prod(self.frequencies)

    @property
    def point_elements(self) -> int:
        """A frequency of a real array has two parts."""
        return self.points * (1 if self.is_complex else 2)

    @property
    def is_compiled(self) -> bool:
        """Where there are loops for an axis."""
        half = not self.is_complex
        found = (has_compiled_transform(size, half=half) for size in self.sizes)
        return self.kind.compiles and any(found)

    @property
    def in_loops(self) -> int:
        """The elements of the lanes that compiled loops work on, in two copies and transposed."""
        return 4 * LANES * max(self.sizes) if self.is_compiled else 0

    def _steps(self, cells: Shape) -> float:
        """What the transform of some cells of a tile takes."""
        return steps(cells, self.sizes, self.kind)

    def _transform(self, first: int, cells: Cells) -> Transform:
        """That transform, of the axes from `first` on."""
        return Transform(first, cells, self.sizes, self.kind)


@dataclass(frozen=True)
class Fft(Spectral):
    """B and G are Fourier transforms, A is the inverse, cropped."""

    # Whether each group has one input channel; whether it has that or one output channel.
    is_spread: bool
    is_thin: bool

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """Tiles of the size that costs the least."""
        geometry = problem.geometry
        windows = Windows(geometry.kernel, geometry.stride, geometry.dilation, box)
        kind = Kind.of(traits)
        tile, sizes, _ = cheapest_tile(problem, kind)
        return cls(
            windows,
            problem.groups,
            tile,
            sizes,
            kind,
            is_spread=problem.groups == problem.in_channels,
            is_thin=problem.is_thin,
        )

    @property
    def is_elementwise(self) -> bool:
        """With one input or one output channel a group."""
        return self.is_thin

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The tiles and their spectra, once each before and after the products."""
        tiles = images * prod(self.tiles.output)
        spectra = 2 * self.point_elements
        data = prod(self.tiles.kernel) + spectra
        outputs = prod(self.sizes) + spectra + prod(self.tile)
        return tiles * (data * in_channels + outputs * out_channels) + self.in_loops

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """One matrix for each frequency."""
        return 2 * self.point_elements * in_channels * out_channels // self.groups

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A complex product for each frequency, and the transforms with their copies."""
        tiles, points = images * prod(self.tiles.output), self.points
        c, k = in_channels // self.groups, out_channels // self.groups
        weights = in_channels * k
        # A complex product is four of real numbers; of those half the frequencies tell the rest.
        own, parts = (1.0 if self.is_complex else 4.0), self.point_elements
        counts = (
            (self.tile, tiles * out_channels),
            (self.sizes, tiles * in_channels),
            (self.windows.kernel, weights),
        )
        if is_short(self.sizes):
            transforms = float(sum(n * products(cells, self.sizes) for cells, n in counts))
        else:
            transforms = sum(n * self._steps(cells) for cells, n in counts)
        transforms *= 1.0 if self.is_complex else 0.5
        elements = 10 * parts * (tiles * (in_channels + out_channels) + weights)
        if self.is_elementwise:
            elements += 4 * parts * tiles * max(in_channels, out_channels)
            multiplies = 0.0
        else:
            efficiency = product_efficiency(min(rows, 64), c, k)
            multiplies = own * points * tiles * weights / efficiency
        runs = tiles * prod(self.tiles.kernel)
        if is_short(self.sizes):
            return Cost(multiplies + THIN * own * transforms, elements, runs, 30)
        return Cost(multiplies, elements, runs, 30, transforms)
