"""Algorithms in compiled loops, which leave padding out: a slab is then a view, never a copy."""

from dataclasses import dataclass, replace
from typing import Self

from anyconv._algorithms._bilinear import Algorithm
from anyconv._geometry import Pairs, Problem
from anyconv._namespace import MOST_AXES, AxisLoop
from anyconv._traits import Traits
from anyconv._typing import Operation, Shape


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

    @property
    def axes(self) -> list[AxisLoop]:
        """The windows along each axis, for a loop."""
        windows, starts = self.windows, self.starts or (0,) * len(self.windows.kernel)
        axes = (windows.output, windows.kernel, windows.stride, windows.dilation)
        return [AxisLoop(*axis) for axis in zip(*axes, starts, self.cells, strict=True)]
