"""`taps` from one channel to one, in compiled loops: an image under a filter.

The factor of a tap is a single number, so it stays in a register while a row passes by, and the
parts of a complex one are multiplied in the same pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Self

from anyconv._algorithms._bilinear import OWN_CACHE
from anyconv._algorithms._on_cells import WritesByJobs
from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._compiled import Job, plane_products_job
from anyconv._compiled._loop_sizes import ROW_OUTPUTS
from anyconv._costs import Cost
from anyconv._geometry import Pairs, Problem
from anyconv._namespace import device, in_order
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape

# What loops are compiled for: dtypes of this machine's byte order, halves once they are widened.
DTYPES = frozenset({"float16", "float32", "float64", "complex64", "complex128"})
# The numbers that a loop holds for the sums of complex products: both parts of two.
SUMS = 4 * ROW_OUTPUTS


@dataclass(frozen=True)
class PlaneTaps(WritesByJobs, DepthwiseTaps):
    """The forward map alone; an input gradient of stride one is one of a transposed weight."""

    is_one_product: ClassVar[bool] = True
    worth_a_worker: ClassVar[int] = 2**20

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """The outputs of a single channel, where those of a row see neighbours."""
        channels, stride = problem.in_channels * problem.out_channels, problem.geometry.stride[-1]
        is_plane = channels == stride == 1 and operation == "forward"
        return is_plane and traits.dtype in DTYPES and super().suits(problem, operation, traits)

    def placed(self, slab: Pairs, sizes: Shape) -> tuple[Self, Pairs]:
        """Padded: each end of a row, where taps are left out, takes as long as many outputs."""
        return self, slab

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """Calls are few, and rows are read once for each row of the kernel."""
        return block <= OWN_CACHE

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """The sums of some outputs of a row."""
        return SUMS

    def weight_elements(self, in_channels: int, out_channels: int) -> int:
        """The taps."""
        return self.windows.taps

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """A cell read for each tap, and rows copied to be padded."""
        outputs = images * prod(self.windows.output)
        return Cost(0, outputs * (0.5 * self.windows.taps + 4), 0, 4)

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The factors, `(*kernel, 1, 1) -> (taps,)`."""
        return (in_order(xp.reshape(w, (-1,)), xp=xp),)

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its slab and the factors."""
        y = xp.empty((x.shape[0], *self.windows.output, 1), dtype=x.dtype, device=device(x))
        self.forward_into(y, x, weights, xp=xp)
        return y

    def forward_job(self, y: Array, x: Array, weights: Sequence[Array]) -> Job:
        """The products of all taps, summed in y."""
        return plane_products_job(y, x, weights[0], self.axes)
