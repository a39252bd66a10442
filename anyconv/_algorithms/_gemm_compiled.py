"""`gemm` whose windows are unfolded and folded back in compiled loops, without a cell of padding.

Copies of short runs take NumPy long, and a fold elsewhere reads and writes memory for every tap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from anyconv._algorithms._on_cells import OnCells
from anyconv._algorithms.gemm import Gemm
from anyconv._compiled import fold_job, run_jobs, unfold_job
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import device
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation

# In a shorter row of unfolded windows the ends take longer than the rest.
FEWEST_IN_A_ROW = 256


@dataclass(frozen=True)
class CompiledGemm(OnCells, Gemm):
    """`Gemm` whose B, and its adjoint, are one pass each."""

    adds_into_slices: ClassVar[bool] = True

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Real numbers, a single group, and windows of more than a cell, to be folded or many."""
        windows = problem.geometry.windows
        if problem.groups > 1 or windows.is_pointwise or not traits.adds_products:
            return False
        row = windows.output[-1] * windows.kernel[-1] * problem.in_channels
        is_worth = operation == "input" or row >= FEWEST_IN_A_ROW
        return is_worth and super().suits(problem, operation, traits)

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """Short runs are copied in a quarter of the time."""
        cost = super().cost(images, in_channels, out_channels, rows)
        return cost._replace(runs=cost.runs / 4)

    def folding(self, images: int, in_channels: int) -> Cost:
        """The windows read once and added to cells, in runs as long as a kernel's row."""
        cells = images * prod(self.windows.output) * self.windows.taps
        row = self.windows.kernel[-1] if self.windows.dilation[-1] == 1 else 1
        return Cost(0, 1.5 * cells * in_channels, cells / (4 * row), 2)

    def data(self, x: Array, *, xp: Namespace) -> Iterable[Array]:
        """Windows as rows, `(n, *cells, c) -> (1, rows, taps * c)`."""
        columns = self.windows.taps * x.shape[-1]
        shape = (x.shape[0], *self.windows.output, columns)
        u = xp.empty(shape, dtype=x.dtype, device=device(x))
        run_jobs([unfold_job(u, x, self.axes)])
        return (xp.reshape(u, (1, -1, columns)),)

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
        u = xp.reshape(u, (x.shape[0], *self.windows.output, -1))
        run_jobs([fold_job(x, u, self.axes)])
