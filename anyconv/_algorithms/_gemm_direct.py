"""`gemm` in compiled loops that multiply windows where they lie: nothing is unfolded or padded.

Where Numba compiles for a processor that multiplies and adds vectors in one instruction, its loops
are as fast as the product of matrices that they do without.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Self

from anyconv._algorithms._on_cells import InOnePass
from anyconv._algorithms.gemm import Gemm
from anyconv._compiled import MOST_PANEL, Job, lanes_of, windows_job, windows_weight_job
from anyconv._compiled._loop_sizes import HELD_WEIGHT_BYTES, SUMMED_WINDOWS
from anyconv._costs import Cost
from anyconv._geometry import AxisLoop, Problem
from anyconv._namespace import array_namespace
from anyconv._namespace._blas import has_wide_products
from anyconv._traits import Traits
from anyconv._typing import Array, Operation, Shape
from anyconv._windows import slab

# The windows whose places are held at once, and of which a worker's block has no more.
MOST_WINDOWS = 2**15
# Elements of packed weights that are kept for all windows, in single precision.
MOST_PACKED = HELD_WEIGHT_BYTES // 4
# A cell of more channels lies so far from the next that a cache holds few of them: where there is a
# single tap a product of matrices is then the faster sum over cells.
MOST_SUMMED_CHANNELS = 256
# With fewer windows, those of so many channels are not cut among workers, but channels are.
FEW_WINDOWS, MANY_CHANNELS = 2**11, 256
# The rows by which a class of windows misses whole tiles.
HALF_A_TILE = 3
# Of fewer channels a tile takes those of several taps, which padding would tell apart.
FEW_CHANNELS = 6


@dataclass(frozen=True)
class DirectGemm(InOnePass, Gemm):
    """`Gemm` whose B is never formed, forward and for the gradient of the weight."""

    element_bytes: int = 4

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """All but the sum over cells that lie far apart, if a library has as wide vectors."""
        is_far = problem.geometry.windows.is_pointwise
        is_far &= problem.in_channels > MOST_SUMMED_CHANNELS
        if operation == "weight" and is_far and has_wide_products():
            return False
        return super().suits(problem, operation, traits)

    @classmethod
    def create(cls, problem: Problem, box: Shape, traits: Traits) -> Self:
        """With the padding of the whole problem, until it is placed."""
        made, geometry = super().create(problem, box, traits), problem.geometry
        starts = tuple(-before for before, _ in geometry.padding)
        return replace(
            made, starts=starts, inside=geometry.input, element_bytes=traits.product_bytes
        )

    @classmethod
    def splits_channels(cls, problem: Problem, operation: Operation) -> bool:
        """Where there are few windows for each weight, which is then copied by one worker only."""
        windows = problem.images * prod(problem.geometry.output)
        return windows <= FEW_WINDOWS and problem.out_channels >= MANY_CHANNELS

    def fits_cache(self, images: int, block: int, weights: int) -> bool:
        """The loops take portions that a cache holds by themselves."""
        return images * prod(self.windows.output) <= MOST_WINDOWS

    def piece(self, rows: int, problem: Problem, traits: Traits) -> int | None:
        """None: what is summed at a time is the loops' own."""
        return None

    def longest_sum(self, rows: int, problem: Problem, traits: Traits) -> int:
        """Sums of so many windows are added to one another."""
        return max(min(rows, SUMMED_WINDOWS), rows // SUMMED_WINDOWS)

    def workspace(self, images: int, in_channels: int, out_channels: int) -> int:
        """Packed weights or outputs, and the places of windows, of weights and of taps."""
        windows, sums = images * prod(self.windows.output), self.windows.taps * in_channels
        weights = sums * (out_channels + MOST_PANEL)
        if weights <= MOST_PACKED:
            packed = max(weights, SUMMED_WINDOWS * MOST_PANEL)
        else:
            packed = MOST_PANEL * (SUMMED_WINDOWS + self.windows.taps)
        places = 4 * max(windows, sums + 5 * SUMMED_WINDOWS)
        places += 30 * self._classes + 6 * self.windows.taps
        places += 24 * max(min(a.outputs, 2 * a.taps * a.dilation + 1) for a in self.axes)
        few = in_channels * self._pads_for_sums(in_channels) * images * prod(self.windows.input)
        return packed + places + few + 256

    def cost(self, images: int, in_channels: int, out_channels: int, rows: int) -> Cost:
        """The products of taps on cells, in tiles of which classes of windows fill whole ones."""
        outputs = images * prod(self.windows.output)
        on_cells = images * prod(map(_taps_on_cells, self.axes))
        unfilled = HALF_A_TILE * min(self._classes, outputs) * self.windows.taps
        run = in_channels * (self.windows.kernel[-1] if self.windows.dilation[-1] == 1 else 1)
        lanes = lanes_of(out_channels, self.element_bytes)
        products = (on_cells + unfilled) * in_channels * lanes * (1 + 1 / run)
        return Cost(products, outputs * out_channels, 0, 4)

    def forward_job(self, y: Array, x: Array, weights: Sequence[Array]) -> Job:
        """All windows times all weights."""
        return windows_job(y, x, weights[0], self.axes)

    def weight_job(self, dw: Array, dy: Array, x: Array) -> Job:
        """The sum over all windows."""
        axes = self.axes
        if self._pads_for_sums(x.shape[-1]):
            *outer, last = axes
            size = self.windows.input[-1]
            box = (*((0, axis.cells) for axis in outer), (last.start, last.start + size))
            x = slab(x, slice(None), box, xp=array_namespace(x=x))
            axes = (*outer, last._replace(start=0, cells=size))
        return windows_weight_job(dw, x, dy, axes)

    def _pads_for_sums(self, channels: int) -> bool:
        """Whether rows are padded so that their taps can be taken together."""
        axis = self.axes[-1]
        ends = (axis.outputs - 1) * axis.stride + axis.window + axis.start
        is_padded = axis.start < 0 or ends > axis.cells
        return channels < FEW_CHANNELS and is_padded and axis.dilation == 1

    @property
    def _classes(self) -> int:
        """How many sets of taps windows have on cells."""
        return prod(len(_spans(axis)) for axis in self.axes)


def _spans(axis: AxisLoop) -> set[tuple[int, int]]:
    """The first tap on a cell of each output, and where they end: of some outputs for all.

    Those whose windows hang over an end, and one before, one between and one behind them.
    """
    some = {0, axis.outputs // 2, axis.outputs - 1}
    for end in (-axis.start, axis.cells - axis.start):
        low, high = (end - axis.window) // axis.stride - 1, end // axis.stride + 2
        some.update(range(max(low, 0), min(high, axis.outputs)))
    return {_span(axis, output) for output in some}


def _span(axis: AxisLoop, output: int) -> tuple[int, int]:
    """The same of one output."""
    place, d, taps = output * axis.stride + axis.start, axis.dilation, axis.taps
    low = min(max(-(place // d), 0), taps)
    return low, max(min((axis.cells - 1 - place) // d + 1, taps), low)


def _taps_on_cells(axis: AxisLoop) -> int:
    """The taps of all outputs that are on cells: for each tap, the outputs that have it on one."""
    firsts = (axis.start + tap * axis.dilation for tap in range(axis.taps))
    s, n = axis.stride, axis.outputs
    return sum(max(min((axis.cells - 1 - at) // s + 1, n) - max(-(at // s), 0), 0) for at in firsts)
