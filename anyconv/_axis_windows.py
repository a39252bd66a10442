"""Windows along one axis, so that pooling over a box is done one axis after another.

A maximum or a sum over a box is that of the maxima or sums of its rows, so a k by k window costs
2 k steps in place of k * k. Whole numbers only, as in `_geometry`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from anyconv._geometry import WindowGeometry, adaptive_windows
from anyconv._typing import Shape


class Group(NamedTuple):
    """Windows of equal length: the outputs they make, and the cells under each of their taps."""

    outputs: slice
    taps: tuple[slice, ...]


@dataclass(frozen=True)
class AxisWindows:
    """All windows of one axis, in groups of equal length.

    Tap slices count from the first cell of the axis once `before` and `after` cells are added to
    it. `counted_after` of the cells after it are the caller's padding, the rest is overhang.
    """

    size: int
    before: int
    after: int
    counted_after: int
    groups: tuple[Group, ...]

    @property
    def outputs(self) -> int:
        """The number of windows."""
        return self.groups[-1].outputs.stop  # type: ignore[no-any-return]

    @cached_property
    def inside(self) -> tuple[tuple[tuple[bool, ...], ...], ...]:
        """For each group, each tap and each output: whether the tap lies in the input."""
        return tuple(
            tuple(
                tuple(0 <= cell - self.before < self.size for cell in _cells(tap))
                for tap in group.taps
            )
            for group in self.groups
        )

    def positions(self, group: int, tap: int) -> tuple[int, ...]:
        """The input cell under a tap of each window of a group, negative or beyond in padding."""
        return tuple(cell - self.before for cell in _cells(self.groups[group].taps[tap]))

    def counts(self, *, include_padding: bool) -> Shape:
        """For each window the cells in the input, or in the input and its explicit padding."""
        low = 0 if include_padding else self.before
        high = self.before + self.size + (self.counted_after if include_padding else 0)
        return tuple(
            sum(low <= cell < high for cell in window)
            for group in self.groups
            for window in zip(*map(_cells, group.taps), strict=True)
        )


def _cells(tap: slice) -> range:
    return range(tap.start, tap.stop, tap.step)


def regular(geometry: WindowGeometry) -> tuple[AxisWindows, ...]:
    """The axes of pooling with a kernel."""
    return tuple(
        AxisWindows(
            size,
            before,
            max(stop - size, 0),
            after,
            (Group(slice(0, outputs), tuple(tap for (tap,) in windows.tap_slices)),),
        )
        for size, (before, after), (_, stop), outputs, windows in zip(
            geometry.input,
            geometry.padding,
            geometry.covered,
            geometry.output,
            map(geometry.windows.axis, range(geometry.rank)),
            strict=True,
        )
    )


def adaptive(sizes: Iterable[int], outputs: Iterable[int]) -> tuple[AxisWindows, ...]:
    """The axes of adaptive pooling: equal windows where they divide the axis, else one a group."""
    return tuple(_adaptive_axis(*axis) for axis in zip(sizes, outputs, strict=True))


def _adaptive_axis(size: int, outputs: int) -> AxisWindows:
    if size % outputs == 0:
        length = size // outputs
        taps = tuple(slice(t, t + length * (outputs - 1) + 1, length) for t in range(length))
        return AxisWindows(size, 0, 0, 0, (Group(slice(0, outputs), taps),))
    groups = tuple(
        Group(slice(j, j + 1), tuple(slice(cell, cell + 1, 1) for cell in range(start, stop)))
        for j, (start, stop) in enumerate(adaptive_windows(size, outputs))
    )
    return AxisWindows(size, 0, 0, 0, groups)
