"""Algorithms in compiled loops, which leave padding out: a slab is then a view, never a copy."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, Self

from anyconv._algorithms._bilinear import Algorithm
from anyconv._compiled import Job, multiplies_windows, run_jobs
from anyconv._geometry import MOST_AXES, AxisLoop, Pairs, Problem
from anyconv._namespace import device
from anyconv._traits import Traits
from anyconv._typing import Array, Namespace, Operation, Shape


@dataclass(frozen=True)
class OnCells(Algorithm):
    """An algorithm that sees of a slab the cells in the input: `inside` of them along each axis.

    The first window begins at `starts`, which is negative where it begins in padding.
    """

    starts: Shape = ()
    inside: Shape = ()

    @property
    def is_compiled(self) -> bool:
        """Each of them."""
        return True

    @property
    def copies_views(self) -> bool:
        """Loops are told how far apart cells are."""
        return False

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Whether there are loops for one map of a problem, and they are to be compiled."""
        return traits.compiles and problem.geometry.rank <= MOST_AXES

    def placed(self, slab: Pairs, sizes: Shape) -> tuple[Self, Pairs]:
        """The same without the cells outside an input of such sizes."""
        within = []
        for (start, stop), size in zip(slab, sizes, strict=True):
            low = min(max(start, 0), size)
            within.append((low, max(min(stop, size), low)))
        starts = tuple(start - low for (start, _), (low, _) in zip(slab, within, strict=True))
        cells = tuple(high - low for low, high in within)
        return replace(self, starts=starts, inside=cells), tuple(within)

    @property
    def cells(self) -> Shape:
        """The cells along each axis; all that windows cover, if it was not placed."""
        return self.inside or self.windows.input

    @cached_property
    def axes(self) -> tuple[AxisLoop, ...]:
        """The windows along each axis, for a loop."""
        windows, starts = self.windows, self.starts or (0,) * len(self.windows.kernel)
        axes = (windows.output, windows.kernel, windows.stride, windows.dilation)
        return tuple(AxisLoop(*axis) for axis in zip(*axes, starts, self.cells, strict=True))


@dataclass(frozen=True)
class WritesByJobs(OnCells):
    """One of which the outputs of a block are a single call of a loop, a job for any thread."""

    @abstractmethod
    def forward_job(self, y: Array, x: Array, weights: Sequence[Array]) -> Job:
        """The outputs of one block, written to y."""

    def forward_into(self, y: Array, x: Array, weights: Sequence[Array], *, xp: Namespace) -> None:
        """The same, written into y."""
        run_jobs([self.forward_job(y, x, weights)])


@dataclass(frozen=True)
class ByJobs(WritesByJobs):
    """A `WritesByJobs` whose gradient of the weight is a job as well."""

    # Whether that job adds window after window to what it finds.
    sums_one_by_one: ClassVar[bool] = False

    @abstractmethod
    def weight_job(self, dw: Array, dy: Array, x: Array) -> Job:
        """One block's share of the prepared weights' gradient, added to it."""

    def weight_gradient_shape(self, in_channels: int, out_channels: int) -> Shape:
        """The shape of that gradient; the output channels may be some columns of a larger array."""
        return (*self.windows.kernel, in_channels, out_channels)

    def weight_gradient(self, dy: Array, x: Array, *, xp: Namespace) -> list[Array]:
        """One block's share of the prepared weights' gradient."""
        shape = self.weight_gradient_shape(x.shape[-1], dy.shape[-1])
        dw = xp.zeros(shape, dtype=dy.dtype, device=device(dy))
        run_jobs([self.weight_job(dw, dy, x)])
        return [dw]


@dataclass(frozen=True)
class InOnePass(ByJobs):
    """One whose loops lead from cells and from the weights as they are to outputs.

    An input gradient as it stands is not among them: it is the convolution of a transposed weight.
    """

    writes_into: ClassVar[Literal["rows", "slices", "cells", "nothing"]] = "cells"
    copies_transposed: ClassVar[bool] = False
    reads_cells: ClassVar[bool] = True

    @classmethod
    def suits(cls, problem: Problem, operation: Operation, traits: Traits) -> bool:
        """Real numbers, a single group, and a processor with vectors to multiply and add."""
        if operation == "input" or problem.groups > 1 or not problem.multiply_adds:
            return False
        suits = traits.adds_products and super().suits(problem, operation, traits)
        return suits and multiplies_windows()

    def weight(self, w: Array, *, xp: Namespace) -> Sequence[Array]:
        """The weights as they are, `(*kernel, c, k)`."""
        return (w,)

    def transposed_weight(self, w: Array, rows: int, *, xp: Namespace) -> Sequence[Array]:
        """A view, `(*kernel, k, c) -> (*kernel, c, k)`."""
        return (xp.matrix_transpose(w),)

    def weight_adjoint(self, terms: Sequence[Array], *, xp: Namespace) -> Array:
        """The gradient as it is."""
        return terms[0]

    def forward(self, x: Array, weights: Sequence[Array], *, xp: Namespace) -> Array:
        """The outputs of one block, from its cells and the weights."""
        shape = (x.shape[0], *self.windows.output, weights[0].shape[-1])
        y = xp.empty(shape, dtype=x.dtype, device=device(x))
        self.forward_into(y, x, weights, xp=xp)
        return y
