"""`taps` of depthwise convolution, in compiled loops that leave padding out.

The sum of `x_(stride o + dilation t - padding) w_t` is over the taps t that are on a cell of the
input. So a slab is a view of these cells, and no memory is held.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Self

from anyconv._algorithms._on_cells import ByJobs
from anyconv._algorithms._taps_fused import FusedTaps, has_one_output_each
from anyconv._compiled import (
    Job,
    goes_by_four,
    outputs_together,
    products_data_job,
    products_job,
    products_weight_job,
    repeated_factors,
    run_jobs,
    slide_products_job,
    slide_products_weight_job,
    slides,
)
from anyconv._compiled._loop_sizes import SLIDING_ROWS, SLIDING_TAPS
from anyconv._costs import Cost
from anyconv._geometry import Problem
from anyconv._namespace import device
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape

# The channels of a pass along a row, of which several cost as much as a run of copies each.
LANES_OF_ONE = 16


@dataclass(frozen=True)
class CompiledTaps(ByJobs, FusedTaps):
    """`FusedTaps`, several taps in one pass and no cell of padding."""

    adds_into_slices: ClassVar[bool] = True
    sums_one_by_one: ClassVar[bool] = True
    worth_a_worker: ClassVar[int] = 2**20
    # Whether windows slide along rows, a vector of channels at a time.
    is_sliding: bool = False

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """As many output channels as groups, of real numbers."""
        is_one_pass = has_one_output_each(problem) and traits.adds_products
        return is_one_pass and super().suits(problem, operation, traits)

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """The same for all blocks of a problem."""
        made, geometry = super().create(problem, box, traits), problem.geometry
        sizes = geometry.kernel, geometry.input[-1], problem.groups, traits.product_bytes
        return replace(made, is_sliding=slides(*sizes))

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """One pass, that reads a cell and a factor for each tap from a core's own cache."""
        outputs = images * prod(self.windows.output)
        run = self._repeats(out_channels) * out_channels
        products = self.windows.taps * outputs * out_channels
        reach = (self.windows.kernel[-1] - 1) * self.windows.dilation[-1]
        ends = min(reach / self.windows.output[-1], 1) * outputs * self.windows.taps
        runs = products / (4 * run) + 0.5 * ends
        stride, dilation = self.windows.stride[-1], self.windows.dilation[-1]
        each = 0.35 if goes_by_four(out_channels, stride, dilation) else 0.6
        if self.is_sliding:
            *outer, inner = self.windows.kernel
            passes = -(-prod(outer) // SLIDING_ROWS)
            passes *= -(-inner // SLIDING_TAPS) if dilation == 1 else inner
            products, each = passes * outputs * out_channels, 1.4
            runs = 3 * outputs * out_channels / (LANES_OF_ONE * self.windows.output[-1])
        return Cost(0, each * products + 2 * outputs * out_channels, runs, 4)

    def folding(self, images: int, in_channels: int) -> Cost:
        """Sums that are read and written for each tap, where one is otherwise kept for four."""
        products = images * prod(self.windows.output) * self.windows.taps * in_channels
        return Cost(0, 0.3 * products, 0, 0)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The factors of some outputs of a row, `(*kernel, 1, g) -> (taps, together * g)`."""
        w = xp.reshape(w, (self.windows.taps, self.groups))
        return (repeated_factors(w, self._repeats(self.groups), xp=xp),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The sum over these outputs, `(taps, together * g) -> (*kernel, 1, g)`."""
        factors = xp.reshape(terms[0], (*self.windows.kernel, -1, self.groups))
        return xp.sum(factors, axis=-2, keepdims=True)

    def forward_job(self, y: Array, x: Array, weights: Sequence[Array]) -> Job:
        """The products of all taps, summed in y."""
        job = slide_products_job if self.is_sliding else products_job
        return job(y, x, weights[0], self.axes)

    def input_gradient(self, dy: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient of the cells of one slab."""
        dx = xp.zeros((dy.shape[0], *self.cells, self.groups), dtype=dy.dtype, device=device(dy))
        self.add_input_gradient(dx, dy, weights, xp=xp)
        return dx

    def add_input_gradient(
        self, dx: Array, dy: Array, weights: Sequence[Array], *, xp: Namespace
    ) -> None:
        """The same, added to these cells."""
        run_jobs([self.input_job(dx, dy, weights)])

    def input_job(self, dx: Array, dy: Array, weights: Sequence[Array]) -> Job:
        """The adjoint in the data, added to cells."""
        return products_data_job(dx, dy, weights[0], self.axes)

    def weight_job(self, dw: Array, dy: Array, x: Array) -> Job:
        """The adjoint in the factors."""
        job = slide_products_weight_job if self.is_sliding else products_weight_job
        return job(dw, x, dy, self.axes)

    def weight_gradient_shape(self, in_channels: int, out_channels: int) -> Shape:
        """That of the factors, `(taps, together * g)`."""
        return (self.windows.taps, self._sums * out_channels)

    def longest_sum(self, rows: int, problem: Problem, traits: Traits) -> int:
        """Those of a row are summed first; or one for each output of it that is taken at once, to
        which four are added together.
        """
        row = self.windows.output[-1]
        if self.is_sliding:
            return max(row, -(-rows // row))
        return -(-rows // min(4 * self._sums, row))

    @property
    def _sums(self) -> int:
        if self.is_sliding:
            return 1
        return outputs_together(self.groups, self.windows.stride[-1], are_summed=True)

    def _repeats(self, channels: int) -> int:
        if self.is_sliding:
            return 1
        return outputs_together(channels, self.windows.stride[-1])
