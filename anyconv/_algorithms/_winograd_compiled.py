"""`winograd` in compiled loops, from the input's own cells to the output's.

Transforms are applied to vectors of channels, one axis after the other; products are those of
tiles (`DirectGemm`). The points of a few tiles at a time are all that is held.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import ClassVar, Literal

from anyconv._algorithms._on_cells import OnCells
from anyconv._algorithms._toom_cook import Matrices, matrices
from anyconv._algorithms.winograd import Winograd
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import (
    MOST_PANEL,
    TILES_AT_ONCE,
    device,
    lanes_of,
    multiplies_windows,
    multiply_points,
    multiply_points_weight,
)
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape

# The points of all weights, where they are kept for all tiles.
MOST_HELD = 2**20
# What a point takes to be made, of data or to an output, and of weights, in elements read.
POINT, WEIGHT_POINT = 3.5, 4.0


@dataclass(frozen=True)
class CompiledWinograd(OnCells, Winograd):
    """`Winograd` whose maps are one pass each, but for the input gradient as it stands."""

    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "cells"

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Real numbers, a single group; an input gradient is the convolution of a turned weight."""
        if operation == "input" or problem.groups > 1 or cls.refusal(problem):
            return False
        suits = traits.adds_products and super().suits(problem, operation, traits)
        return suits and multiplies_windows()

    @classmethod
    def splits_channels(cls, problem: Problem, operation: Operation) -> bool:
        """Where there are more weights than data, each worker has the points of some."""
        windows = problem.images * prod(problem.geometry.output)
        return windows <= 16 * problem.out_channels and problem.out_channels >= 2 * MOST_PANEL

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

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The points of some tiles, of weights or their sums, and of a panel of products."""
        most = max(TILES_AT_ONCE, out_channels)
        tiles, is_all = self.rows(images), out_channels + MOST_PANEL
        is_panel = tiles <= most and self.points * in_channels * is_all > MOST_HELD
        columns, tiles = MOST_PANEL if is_panel else is_all, min(tiles, most)
        points = tiles * (in_channels + 2 * MOST_PANEL) + in_channels * columns + 8 * MOST_PANEL
        return self.points * points + 16 * (tiles + in_channels)

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """As many as the weights."""
        return prod(self.windows.kernel) * in_channels * out_channels

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A product for each point, and as many elements as points made one axis after the other.

        Those of weights are made again for other tiles, unless all are kept.
        """
        tiles, points = images * prod(self.tiles.output), self.points
        weights = points * in_channels * out_channels
        at_once = rows if weights <= MOST_HELD else min(rows, TILES_AT_ONCE)
        passes = -(-tiles // max(at_once, 1))
        products = 1.05 * points * tiles * in_channels * lanes_of(out_channels, 4)
        made = POINT * tiles * points * (in_channels + out_channels)
        return Cost(products, made + WEIGHT_POINT * weights * passes, 0, 4)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The weights as they are, `(*kernel, c, k)`."""
        return (w,)

    def turned_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """A view, `(*kernel, k, c) -> (*kernel, c, k)`."""
        return (xp.matrix_transpose(w),)

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its cells and the weights."""
        shape = (x.shape[0], *self.windows.output, weights[0].shape[-1])
        y = xp.empty(shape, dtype=x.dtype, device=device(x))
        self.forward_into(y, x, weights, xp=xp)
        return y

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, written into y."""
        multiply_points(y, x, weights[0], self.axes, self.tile, self._matrices)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the weight's gradient, `(*kernel, c, k)`."""
        shape = (*self.windows.kernel, x.shape[-1], dy.shape[-1])
        dw = xp.zeros(shape, dtype=dy.dtype, device=device(dy))
        multiply_points_weight(dw, x, dy, self.axes, self.tile, self._matrices)
        return [dw]

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient as it is."""
        return terms[0]

    @property
    def _matrices(self) -> tuple[Matrices, ...]:
        return _matrices(self.tile, self.windows.kernel)


@lru_cache(maxsize=256)
def _matrices(tile: Shape, kernel: Shape) -> tuple[Matrices, ...]:
    return tuple(map(matrices, tile, kernel))
