"""The axes of pooling, so that pooling over a box is done one axis after another.

A maximum or a sum over a box is that of the maxima or sums of its rows, so a k by k window costs
2 k steps in place of k * k.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from math import gcd
from typing import Any

from anyconv._geometry._axis_steps import Step, steps_by_cell, steps_by_tap
from anyconv._geometry._axis_windows import MANY_TAPS, AxisWindows, clipped
from anyconv._geometry._sizes import WindowGeometry, adaptive_window, effective_kernel_size

# Adaptive windows of no more cells together are taken cell by cell.
FEW_CELLS = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class RegularWindows(AxisWindows):
    """Windows of one size at one distance: window j begins at `start + stride * j`."""

    start: int
    stride: int

    def window(self, output: int) -> range:
        """The cells of one window, those outside the input too."""
        start = self.start + self.stride * output
        return range(start, start + self.dilation * self.most_taps, self.dilation)

    def within(self, low: int, high: int) -> range:
        """The outputs whose windows lie wholly within the cells `low:high`."""
        first = min(max(-((self.start - low) // self.stride), 0), self.outputs)
        stop = (high - self._length - self.start) // self.stride + 1
        return range(first, max(min(stop, self.outputs), first))

    @property
    def _length(self) -> int:
        return effective_kernel_size(self.most_taps, self.dilation)

    @property
    def starts(self) -> range:
        """The first cell of each window."""
        return range(self.start, self.start + self.stride * self.outputs, self.stride)

    @property
    def disjoint(self) -> bool:
        """Whether every window ends before the next begins."""
        return self.outputs == 1 or self._length <= self.stride

    @cached_property
    def are_tiles(self) -> bool:
        """Whether windows are long and lie side by side from the first cell on."""
        if self.most_taps <= MANY_TAPS or (self.start, self.dilation) != (0, 1):
            return False
        return self.stride == self.most_taps and len(self.inside) == self.outputs

    def counts(self, *, include_padding: bool) -> Iterator[int]:
        """For each window the cells in the input, or in the input and its explicit padding."""
        low, high = self.counted(include_padding)
        within = self.within(low, high)
        for output in range(within.start):
            yield len(clipped(self.window(output), low, high))
        yield from repeat(self.most_taps, len(within))
        for output in range(within.stop, self.outputs):
            yield len(clipped(self.window(output), low, high))

    def distinct_counts(self, *, include_padding: bool) -> set[int]:
        """The numbers among `counts`; only windows that hang over an end are looked at."""
        low, high = self.counted(include_padding)
        within = self.within(low, high)
        found = {len(clipped(self.window(j), low, high)) for j in self.others(within)}
        return found | {self.most_taps} if within else found

    def _moved(self, start: int, low: int) -> dict[str, Any]:
        return {"start": self.window(start).start - low}

    def _steps(self) -> Iterator[Step]:
        if self.by_window:
            return super()._steps()
        return steps_by_tap(
            self.size, self.most_taps, self.stride, self.dilation, self.start, self.outputs
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptiveWindows(AxisWindows):
    """Windows of adaptive pooling from `cells` to `windows` that do not divide them.

    Window j begins at `floor((j + skipped) * cells / windows) - offset`.
    """

    cells: int
    windows: int
    skipped: int = 0
    offset: int = 0

    def window(self, output: int) -> range:
        """The cells of one window."""
        start, stop = adaptive_window(self.cells, self.windows, output + self.skipped)
        return range(start - self.offset, stop - self.offset)

    def within(self, low: int, high: int) -> range:
        """The outputs whose windows lie wholly within the cells `low:high`: of the axis, all."""
        return range(self.outputs)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first cell of each window."""
        return tuple(self.window(j).start for j in range(self.outputs))

    @property
    def disjoint(self) -> bool:
        """Whether every window ends before the next begins: some two share a cell."""
        return self.outputs == 1

    def counts(self, *, include_padding: bool) -> Iterator[int]:
        """For each window its cells, all of them in the input."""
        return (len(self.window(j)) for j in range(self.outputs))

    def distinct_counts(self, *, include_padding: bool) -> set[int]:
        """The numbers among `counts`."""
        return set(self.counts(include_padding=include_padding))

    def _moved(self, start: int, low: int) -> dict[str, Any]:
        return {"skipped": self.skipped + start, "offset": self.offset + low}

    def _steps(self) -> Iterator[Step]:
        if self.by_window:
            return super()._steps()
        return steps_by_cell(self.window(j) for j in range(self.outputs))


def regular(geometry: WindowGeometry) -> tuple[AxisWindows, ...]:
    """The axes of pooling with a kernel."""
    return tuple(
        _regular_axis(*axis)
        for axis in zip(
            geometry.input,
            geometry.kernel,
            geometry.stride,
            geometry.dilation,
            geometry.padding,
            geometry.output,
            strict=True,
        )
    )


def _regular_axis(
    size: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int], outputs: int
) -> RegularWindows:
    return RegularWindows(
        size=size,
        outputs=outputs,
        most_taps=kernel,
        dilation=dilation,
        padding=padding,
        by_window=kernel > MANY_TAPS and outputs <= kernel,
        start=-padding[0],
        stride=stride,
    )


def adaptive(sizes: Iterable[int], outputs: Iterable[int]) -> tuple[AxisWindows, ...]:
    """The axes of adaptive pooling: equal windows where they divide the axis."""
    return tuple(_adaptive_axis(*axis) for axis in zip(sizes, outputs, strict=True))


def _adaptive_axis(size: int, outputs: int) -> AxisWindows:
    if size % outputs == 0:
        taps = size // outputs
        return _regular_axis(size, taps, taps, 1, (0, 0), outputs)
    longest = _longest(size, outputs)
    return AdaptiveWindows(
        size=size,
        outputs=outputs,
        most_taps=longest,
        dilation=1,
        padding=(0, 0),
        by_window=longest * outputs > FEW_CELLS,
        cells=size,
        windows=outputs,
    )


def _longest(size: int, outputs: int) -> int:
    """The taps of the longest of adaptive windows that do not divide the axis.

    A window that begins a fraction f behind the first of its cells has ceil(f + size / outputs). In
    lowest terms, the fractions are all those below one with the denominator of size / outputs.
    """
    common = gcd(size, outputs)
    rest = size % outputs // common
    return size // outputs + (1 if rest == 1 else 2)
