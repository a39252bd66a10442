"""`gemm` for gradients of the input, whose windows are folded back in a compiled loop.

Elsewhere a fold reads and writes memory once for every tap. (NumPy's copy of windows takes no
longer than a loop does, so the other maps have no need of one.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from anyconv._algorithms._on_cells import OnCells
from anyconv._algorithms.gemm import Gemm
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import device, fold_windows
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace


@dataclass(frozen=True)
class FoldingGemm(OnCells, Gemm):
    """`Gemm` whose adjoint in the data is one pass."""

    adds_into_slices: ClassVar[bool] = True

    @classmethod
    def suits(cls, problem: Problem, traits: Traits) -> bool:
        """Real numbers, a single group, and windows that are more than a cell."""
        one_group = problem.groups == 1 and not problem.geometry.windows.is_pointwise
        return one_group and traits.adds_products and super().suits(problem, traits)

    def folding(self, images: int, in_channels: int) -> Cost:
        """The windows read once and added to cells, in runs as long as a kernel's row."""
        cells = images * prod(self.windows.output) * self.windows.taps
        row = self.windows.kernel[-1] if self.windows.dilation[-1] == 1 else 1
        return Cost(0, 1.5 * cells * in_channels, cells / (4 * row), 2)

    def data_adjoint(self, terms: Iterable[Array], images: int, *, xp: Namespace) -> Array:
        """Rows folded back, `(1, rows, taps * c) -> (n, *cells, c)`."""
        (u,) = terms
        c = u.shape[-1] // self.windows.taps
        x = xp.zeros((images, *self.cells, c), dtype=u.dtype, device=device(u))
        self._fold(x, u, xp=xp)
        return x

    def add_input_gradient(
        self, dx: Array, dy: Array, weights: Sequence[Array], *, xp: Namespace
    ) -> None:
        """The gradient of the cells of one slab, added to them."""
        m = self.output_adjoint(dy, xp=xp)
        self._fold(dx, self.multiply_adjoint_data(m, weights[0], xp=xp), xp=xp)

    def _fold(self, x: Array, u: Array, *, xp: Namespace) -> None:
        fold_windows(x, xp.reshape(u, (x.shape[0], *self.windows.output, -1)), self.axes)
