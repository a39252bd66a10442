"""A plan: which algorithm runs, in which blocks, and why."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import NamedTuple

from anyconv._algorithms import Algorithm, WritesByJobs
from anyconv._geometry import Pairs, Phase, Problem
from anyconv._layout import join_shape
from anyconv._rewritings import Rewriting
from anyconv._traits import Traits
from anyconv._typing import Index, Operation, Shape

# OpenBLAS uses one thread for products of no more multiply-adds than this.
FEWEST_TO_SHARE = 2**18


class Block(NamedTuple):
    """A box of outputs and the slab of inputs under it, a convolution without padding.

    `outputs` indexes y, `images` and `slab` the cells of x, which may lie outside it; `part` is the
    place of its output channels among `Plan.channels`, unless all data is held and it has all.
    """

    algorithm: Algorithm
    outputs: Index
    part: int
    images: slice
    slab: Pairs


@dataclass(frozen=True)
class PhasePlan:
    """One of the stride-one convolutions that the gradient of a strided input falls into."""

    phases: tuple[Phase, ...]
    plan: "Plan"

    @cached_property
    def taps(self) -> Index | None:
        """Where its taps are in the weight, None where it has all of them."""
        if all(phase.taps.step == 1 for phase in self.phases):
            return None
        return (*(slice(phase.taps.start, None, phase.taps.step) for phase in self.phases), ...)


@dataclass(frozen=True)
class InnerPlan:
    """A problem that stands for another, and its plan."""

    rewriting: Rewriting
    plan: "Plan"


@dataclass(frozen=True)
class Plan:
    """What one of the three maps of a convolution will do, and why; as a `str`, a small table.

    Attributes
    ----------
    problem : Problem
        All sizes of the convolution.
    operation : str
        `"forward"`, `"input"` (its gradient) or `"weight"` (its gradient).
    algorithm : str
        The algorithm that runs.
    reason : str
        Why this one.
    output_shape : tuple of int
        The shape of y, whichever of the maps this is.
    bytes_moved : int
        The bytes of x, w and y, each counted once.
    workspace : int
        The bytes held at once beyond inputs and result, at most.
    blocks : tuple
        The parts of y that are worked out in turn, where the problem is solved as it stands.
    nanoseconds : float
        What the planner thinks that it takes.
    holds_data : bool
        Whether the data of all blocks is prepared first, and the weights then, of a few output
        channels at a time.
    """

    problem: Problem
    operation: Operation
    traits: Traits
    template: Algorithm
    images_per_block: int
    workers: int
    workspace: int
    reason: str
    nanoseconds: float
    parts: int = 1
    holds_data: bool = False
    phases: tuple[PhasePlan, ...] = ()
    inner: InnerPlan | None = None
    turns: tuple["Plan", ...] = ()  # of images that are padded in turn
    layout: str = "channels_last"

    @property
    def output_shape(self) -> Shape:
        """The shape of y, in the layout of the call."""
        p = self.problem
        return join_shape(p.batch, p.geometry.output, p.out_channels, self.layout)

    @property
    def algorithm(self) -> str:
        """The name of the algorithm."""
        return self.leaves[0].template.name

    @cached_property
    def leaves(self) -> tuple["Plan", ...]:
        """The plans that are carried out block by block, in order."""
        plans = [step.plan for step in self.phases]
        plans += [self.inner.plan] if self.inner else []
        plans += self.turns
        return tuple(leaf for plan in plans for leaf in plan.leaves) or (self,)

    @property
    def moves_by_jobs(self) -> bool:
        """Whether a rewritten problem's input is unfolded, or folded back, in compiled loops."""
        return self.inner is not None and moves_by_jobs(self.inner.rewriting, self.traits)

    @property
    def phases_cover(self) -> bool:
        """Whether the convolutions of an input gradient give every cell of it."""
        geometry = self.problem.geometry
        return len(self.phases) == prod(map(min, geometry.stride, geometry.input))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks in row-major order; at least one where calls are traced."""
        geometry = self.problem.geometry
        images = _cut(self.problem.images, self.images_per_block)
        if self.traits.runs == "traced":
            images = ((0, self.problem.images),)
        boxes = tuple(product(*map(_cut, geometry.output, self.template.windows.output)))
        parts = (slice(None),) if self.holds_data else self.channels
        places = product(enumerate(parts), images, boxes)
        return tuple(self._block(part, channels, *rest) for (part, channels), *rest in places)

    @cached_property
    def is_one_slab(self) -> bool:
        """Whether there is a single block, under which all of the input lies."""
        sizes = self.problem.geometry.input
        return len(self.blocks) == 1 and self.blocks[0].slab == tuple((0, n) for n in sizes)

    @cached_property
    def channels(self) -> tuple[slice, ...]:
        """The parts of the output channels, most often one."""
        size = self.problem.out_channels
        return tuple(slice(*bounds) for bounds in _cut(size, -(-size // self.parts)))

    def _block(self, part: int, channels: slice, images: tuple[int, int], box: Pairs) -> Block:
        geometry = self.problem.geometry
        algorithm = self.template.resized(tuple(stop - start for start, stop in box))
        starts = (
            start * s - before
            for (start, _), s, (before, _) in zip(
                box, geometry.stride, geometry.padding, strict=True
            )
        )
        slab = tuple((start, start + n) for start, n in zip(starts, algorithm.reach, strict=True))
        algorithm, slab = algorithm.placed(slab, geometry.input)
        rows = slice(*images)
        outputs = (rows, *(slice(*bounds) for bounds in box), channels)
        return Block(algorithm, outputs, part, rows, slab)

    @cached_property
    def wakes_threads(self) -> bool:
        """Whether NumPy would share a product of this size among threads of its own."""
        if self.traits.runs != "workers" or self.problem.multiply_adds <= FEWEST_TO_SHARE:
            return False
        return not all(isinstance(leaf.template, WritesByJobs) for leaf in self.leaves)

    @cached_property
    def multiplies_as_given(self) -> bool:
        """Whether blocks are multiplied in the dtype of the arrays, not in that of its sums.

        Half precision is, where the library's product sums it in single and nothing else is added.
        """
        if self.traits.product_bytes == self.traits.element_bytes:
            return True
        if not self.traits.sums_half_in_single:
            return False
        if self.operation == "input":
            return self.template.adjoint_is_one_product and len(self.blocks) == 1
        is_whole = self.operation == "forward" or len(self.blocks) == 1
        return self.template.is_one_product and is_whole

    @cached_property
    def writes_in_place(self) -> bool:
        """Whether each block's outputs can be written where they belong."""
        into = self.template.writes_into
        if into == "nothing" or not self.multiplies_as_given:
            return False
        if into in ("slices", "cells"):
            return True
        if self.problem.groups > 1:
            return False
        # A product is written into rows that are contiguous.
        sizes = (self.problem.images, *self.problem.geometry.output)
        box = (self.images_per_block, *self.template.windows.output)
        partial = [axis for axis, (b, size) in enumerate(zip(box, sizes, strict=True)) if b < size]
        return not partial or all(b == 1 for b in box[: partial[-1]])

    @property
    def bytes_moved(self) -> int:
        """The bytes of inputs, weights and outputs, each counted once."""
        p = self.problem
        return sum(map(prod, (p.x_shape, p.y_shape, p.w_shape))) * self.traits.element_bytes

    @property
    def _loops(self) -> str:
        what = "kernels" if self.traits.runs == "gpu" else "loops"
        return f", in compiled {what}" if self.leaves[0].template.is_compiled else ""

    def __str__(self) -> str:
        """A small table."""
        p = self.problem
        calls = sum(
            len(leaf.blocks) * (leaf.parts if leaf.holds_data else 1) for leaf in self.leaves
        )
        rows = {
            "operation": self.operation,
            "algorithm": f"{self.algorithm} ({self.reason})",
            "arrays": f"{self.traits.namespace} {self.traits.dtype}{self._loops}",
            "output shape": str(self.output_shape),
            "multiply-adds": f"{p.multiply_adds:,}",
            "bytes moved": f"{self.bytes_moved:,}",
            "workspace": f"{self.workspace:,} bytes",
            "chunks": f"{calls}, {self.workers} at a time",
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def moves_by_jobs(rewriting: Rewriting, traits: Traits) -> bool:
    """Whether there is a loop for what a rewriting does to the input, and arrays it can take."""
    are_plain = traits.adds_products and traits.product_bytes == traits.element_bytes
    return traits.compiles and are_plain and rewriting.windows is not None


def _cut(size: int, most: int) -> tuple[tuple[int, int], ...]:
    """An axis in parts of at most `most`; a size of zero has no part."""
    return tuple((start, min(start + most, size)) for start in range(0, size, max(most, 1)))
