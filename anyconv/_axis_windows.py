"""Windows along one axis, so that pooling over a box is done one axis after another.

A maximum or a sum over a box is that of the maxima or sums of its rows, so a k by k window costs
2 k steps in place of k * k. Padding is never made: a step reads the cells under one tap of all
windows whose tap lies in the input. Whole numbers only, as in `_geometry`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from anyconv._geometry import WindowGeometry, adaptive_windows
from anyconv._typing import Shape


class Step(NamedTuple):
    """The cells of the input under one tap of some windows.

    `opens` where no earlier step has any of these outputs (else one has all of them), `alone` where
    none has any of these cells.
    """

    tap: int
    outputs: slice
    cells: slice
    opens: bool
    alone: bool


class Read(NamedTuple):
    """What a reduction does at once: combine cells with one another, or with the outputs so far."""

    outputs: slice
    cells: tuple[slice, ...]
    opens: bool


@dataclass(frozen=True, eq=False)
class AxisWindows:
    """All windows of one axis: window j holds the cells `starts[j] + dilation * tap`.

    There are `taps[j]` of them, some perhaps in padding or beyond. Compared by identity, so that
    what is kept for a call is found at once.
    """

    size: int
    starts: Shape
    taps: Shape
    dilation: int
    padding: tuple[int, int]
    steps: tuple[Step, ...]
    first: int = 0  # where the cells begin, if they are part of an axis

    @property
    def outputs(self) -> int:
        """The number of windows."""
        return len(self.starts)

    @cached_property
    def most_taps(self) -> int:
        """The taps of the longest window."""
        return max(self.taps)

    @cached_property
    def reaches_all(self) -> bool:
        """Whether every window sees the input."""
        opened = (len(_cells(s.cells)) for s in self.steps if s.opens)
        return sum(opened) == self.outputs

    @cached_property
    def covers_all(self) -> bool:
        """Whether the steps that are `alone` name every cell."""
        return sum(len(_cells(s.cells)) for s in self.steps if s.alone) == self.size

    @cached_property
    def combining(self) -> tuple[Step, ...]:
        """The steps in an order for maxima and sums: a tap that all outputs have opens them."""
        taps: list[Step] = []
        for step in self.steps:
            last = taps[-1] if taps else step
            goes_on = last.cells.stop - 1 + step.cells.step == step.cells.start
            if last.tap == step.tap and last.outputs.stop == step.outputs.start and goes_on:
                outputs = slice(last.outputs.start, step.outputs.stop)
                cells = slice(last.cells.start, step.cells.stop, step.cells.step)
                taps[-1] = last._replace(outputs=outputs, cells=cells)
            else:
                taps.append(step)
        taps.sort(key=lambda step: _length(step.outputs) < self.outputs)
        if not taps or _length(taps[0].outputs) < self.outputs:
            return self.steps
        return tuple(step._replace(opens=step is taps[0]) for step in taps)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """The steps of a reduction, an opening one and the next as one where they can be."""
        reads: list[Read] = []
        for step in self.combining:
            last = reads[-1] if reads else None
            if last and last.opens and len(last.cells) == 1 and last.outputs == step.outputs:
                reads[-1] = last._replace(cells=(*last.cells, step.cells))
            else:
                reads.append(Read(step.outputs, (step.cells,), step.opens))
        return tuple(reads)

    @cached_property
    def is_whole(self) -> bool:
        """Whether one window sees every cell, and each once."""
        return self.outputs == 1 and len(self.steps) == self.size

    @cached_property
    def disjoint(self) -> bool:
        """Whether no cell lies in two windows."""
        return all(step.alone for step in self.steps)

    def part(self, start: int, stop: int) -> "AxisWindows":
        """The windows `start:stop` of cells of their own, from the first that one of them sees."""
        return self if (start, stop) == (0, self.outputs) else _part(self, start, stop)

    def counts(self, *, include_padding: bool) -> Shape:
        """For each window the cells in the input, or in the input and its explicit padding."""
        return _counts(self, include_padding)


@lru_cache(maxsize=4096)
def _counts(windows: AxisWindows, include_padding: bool) -> Shape:
    before, after = windows.padding if include_padding else (0, 0)
    low, high, step = -before, windows.size + after, windows.dilation
    return tuple(
        sum(low <= cell < high for cell in range(start, start + taps * step, step))
        for start, taps in zip(windows.starts, windows.taps, strict=True)
    )


@lru_cache(maxsize=4096)
def _part(windows: AxisWindows, start: int, stop: int) -> AxisWindows:
    pieces = list[_Piece]()
    for step in windows.steps:
        low, high = max(step.outputs.start, start), min(step.outputs.stop, stop)
        if low < high:
            stride = step.cells.step
            cell = step.cells.start + (low - step.outputs.start) * stride
            pieces.append((step.tap, range(low, high), cell, stride, step.opens))
    first = min((cell for _, _, cell, _, _ in pieces), default=0)
    end = max((cell + (len(at) - 1) * s + 1 for _, at, cell, s, _ in pieces), default=0)
    before, after = windows.padding
    return AxisWindows(
        end - first,
        tuple(cell - first for cell in windows.starts[start:stop]),
        windows.taps[start:stop],
        windows.dilation,
        (before + first, windows.size + after - end),
        _steps(
            (tap, range(at.start - start, at.stop - start), cell - first, stride, opens)
            for tap, at, cell, stride, opens in pieces
        ),
        first,
    )


def _length(outputs: slice) -> int:
    return int(outputs.stop - outputs.start)


def _cells(cells: slice) -> range:
    return range(cells.start, cells.stop, cells.step)


def regular(geometry: WindowGeometry) -> tuple[AxisWindows, ...]:
    """The axes of pooling with a kernel."""
    return tuple(
        AxisWindows(
            size,
            tuple(range(-padding[0], stride * outputs - padding[0], stride)),
            (kernel,) * outputs,
            dilation,
            padding,
            _steps(_clipped_taps(size, kernel, stride, dilation, padding[0], outputs)),
        )
        for size, kernel, stride, dilation, padding, outputs in zip(
            geometry.input,
            geometry.kernel,
            geometry.stride,
            geometry.dilation,
            geometry.padding,
            geometry.output,
            strict=True,
        )
    )


def adaptive(sizes: Iterable[int], outputs: Iterable[int]) -> tuple[AxisWindows, ...]:
    """The axes of adaptive pooling: equal windows where they divide the axis, else one by one."""
    return tuple(_adaptive_axis(*axis) for axis in zip(sizes, outputs, strict=True))


def _adaptive_axis(size: int, outputs: int) -> AxisWindows:
    windows = list(adaptive_windows(size, outputs))
    starts = tuple(start for start, _ in windows)
    taps = tuple(stop - start for start, stop in windows)
    if size % outputs == 0:
        steps = _steps(_clipped_taps(size, taps[0], taps[0], 1, 0, outputs))
    else:
        steps = _steps(
            (cell - start, range(j, j + 1), cell, 1, cell == start)
            for j, (start, stop) in enumerate(windows)
            for cell in range(start, stop)
        )
    return AxisWindows(size, starts, taps, 1, (0, 0), steps)


# A tap, the outputs whose tap lies in the input, the first cell, the stride, whether it opens.
_Piece = tuple[int, range, int, int, bool]


def _clipped_taps(
    size: int, kernel: int, stride: int, dilation: int, before: int, outputs: int
) -> Iterator[_Piece]:
    """Each tap where it lies in the input, apart where it is a window's first to do so.

    From tap to tap both ends of that range of outputs move down, so what is new is below `reached`.
    """
    reached = outputs
    for tap in range(kernel):
        offset = dilation * tap - before
        low = max(-(offset // stride), 0)  # the first output whose tap is not before the input
        high = min((size - 1 - offset) // stride + 1, outputs)
        for start, stop in ((low, min(high, reached)), (max(low, reached), high)):
            if start < stop:
                yield tap, range(start, stop), start * stride + offset, stride, stop <= reached
        if low < high:
            reached = min(reached, low)


def _steps(pieces: Iterable[_Piece]) -> tuple[Step, ...]:
    steps, touched = [], set[int]()
    for tap, outputs, first, stride, opens in pieces:
        cells = slice(first, first + stride * (len(outputs) - 1) + 1, stride)
        alone = touched.isdisjoint(_cells(cells))
        touched.update(_cells(cells))
        steps.append(Step(tap, slice(outputs.start, outputs.stop), cells, opens, alone))
    return tuple(steps)
