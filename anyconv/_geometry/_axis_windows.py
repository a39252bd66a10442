"""Windows along one axis: what pooling asks of them, however they are placed.

Padding is never made: a step reads the cells of the input alone. Whole numbers only, as in
`_geometry`: windows are a few of them, however long the axis is, and steps are made when they are
asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Self

from anyconv._geometry._axis_steps import (
    Read,
    Step,
    combining,
    count,
    reads_of,
    steps_by_window,
)

# Windows of more taps are long: a call for each window, not each tap, where there are fewer.
MANY_TAPS = 32


@dataclass(frozen=True, eq=False, kw_only=True)
class AxisWindows(ABC):
    """All windows of one axis, some of their cells perhaps in padding or beyond.

    Compared by identity, so that what is kept for a call is found at once.
    """

    size: int
    outputs: int  # the number of windows
    most_taps: int  # of the longest window
    dilation: int
    padding: tuple[int, int]
    by_window: bool  # whether a step is a window, not a tap
    first: int = 0  # where the cells begin, if they are part of an axis

    @abstractmethod
    def window(self, output: int) -> range:
        """The cells of one window, those outside the input too."""

    @abstractmethod
    def within(self, low: int, high: int) -> range:
        """The outputs whose windows lie wholly within the cells `low:high`."""

    @property
    @abstractmethod
    def starts(self) -> Sequence[int]:
        """The first cell of each window; hashable."""

    @property
    @abstractmethod
    def disjoint(self) -> bool:
        """Whether every window ends before the next begins."""

    @abstractmethod
    def counts(self, *, include_padding: bool) -> Iterator[int]:
        """For each window the cells in the input, or in the input and its explicit padding."""

    @abstractmethod
    def distinct_counts(self, *, include_padding: bool) -> set[int]:
        """The numbers among `counts`."""

    @abstractmethod
    def _moved(self, start: int, low: int) -> dict[str, Any]:
        """What says where windows lie, if the first is `start` and the first cell is `low`."""

    def part(self, start: int, stop: int) -> Self:
        """The windows `start:stop` on cells of their own, from the first that they span."""
        if (start, stop) == (0, self.outputs):
            return self
        low, high = self._span(start, stop)
        before, after = self.padding
        return replace(
            self,
            size=high - low,
            outputs=stop - start,
            padding=(before + low, self.size + after - high),
            first=low,
            **self._moved(start, low),
        )

    def seen(self, output: int) -> range:
        """The cells of one window in the input."""
        return clipped(self.window(output), 0, self.size)

    @cached_property
    def inside(self) -> range:
        """The outputs whose windows lie in the input."""
        return self.within(0, self.size)

    def others(self, outputs: range) -> Iterable[int]:
        """All outputs but some."""
        return chain(range(outputs.start), range(outputs.stop, self.outputs))

    @property
    def steps(self) -> Sequence[Step]:
        """All steps in order; for each output those of its taps rise. Many are not kept."""
        return self._kept_steps if self.has_few_steps else tuple(self._steps())

    @cached_property
    def has_few_steps(self) -> bool:
        """Whether there are so few steps, however long the axis, that they are worth keeping."""
        return (self.outputs if self.by_window else self.most_taps) <= MANY_TAPS

    @cached_property
    def is_short(self) -> bool:
        """Whether steps are taps, and few."""
        return self.has_few_steps and not self.by_window

    @cached_property
    def _kept_steps(self) -> tuple[Step, ...]:
        return tuple(self._steps())

    def _steps(self) -> Iterator[Step]:
        windows = ((self.window(j), self.seen(j)) for j in range(self.outputs))
        return steps_by_window(
            ((seen.start - window.start) // self.dilation, seen) for window, seen in windows
        )

    @property
    def combining(self) -> Sequence[Step]:
        """The steps in the order in which maxima and sums take them."""
        if self.by_window:
            return self.steps
        return self._kept_combining if self.has_few_steps else combining(self.steps, self.outputs)

    @cached_property
    def _kept_combining(self) -> tuple[Step, ...]:
        return combining(self.steps, self.outputs)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """The few steps by tap of a reduction, two as one where they can be."""
        return reads_of(self.combining)

    @cached_property
    def reaches_all(self) -> bool:
        """Whether every window sees the input."""
        return all(len(self.seen(j)) for j in self.others(self.inside))

    @cached_property
    def covers_all(self) -> bool:
        """Whether the steps that are `alone` name every cell."""
        return sum(count(step.cells) for step in self.steps if step.alone) == self.size

    @cached_property
    def is_whole(self) -> bool:
        """Whether one window sees every cell, and each once."""
        return self.outputs == 1 and len(self.seen(0)) == self.size

    @cached_property
    def are_tiles(self) -> bool:
        """Whether windows are long and lie side by side from the first cell on."""
        return False

    def common_count(self, *, include_padding: bool) -> int | None:
        """What every window counts, if all count the same."""
        return _common_count(self, include_padding)

    def counted(self, include_padding: bool) -> tuple[int, int]:
        """The cells that count: those of the input, or of its explicit padding too."""
        before, after = self.padding if include_padding else (0, 0)
        return -before, self.size + after

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """The cells of the input from the first of some windows to the last."""
        low = min(max(self.window(start)[0], 0), self.size)
        return low, max(min(self.window(stop - 1)[-1] + 1, self.size), low)


@lru_cache(maxsize=256)
def _common_count(windows: AxisWindows, include_padding: bool) -> int | None:
    counts = windows.distinct_counts(include_padding=include_padding)
    return counts.pop() if len(counts) == 1 else None


def clipped(window: range, low: int, high: int) -> range:
    """The cells of a window from low to high."""
    first = max(-((window.start - low) // window.step), 0)
    stop = max(-((window.start - high) // window.step), 0)
    return window[first:stop]
