"""Steps through the windows of one axis: which cells are taken at once, and for which outputs.

Short windows are taken tap by tap, all outputs at once; long ones window by window, all cells at
once. Whole numbers only, as in `_geometry`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """The cells of the input under one tap of some windows, or under all taps of one window.

    `tap` is that one, or the first that lies in the input.
    """

    tap: int
    outputs: slice
    cells: slice
    opens: bool  # whether no earlier step has any of these outputs; otherwise one has all of them
    alone: bool  # whether no earlier step has any of these cells


class Read(NamedTuple):
    """What a reduction does at once: combine cells with one another, or with the outputs so far."""

    outputs: slice
    cells: tuple[slice, ...]
    opens: bool


def count(cells: slice) -> int:
    """The number of cells, or of outputs."""
    return len(range(cells.start, cells.stop, cells.step or 1))


def as_slice(cells: range) -> slice:
    """Cells in rising order as an index."""
    return slice(cells.start, cells.start + max(len(cells) - 1, 0) * cells.step + 1, cells.step)


def steps_by_tap(
    size: int, kernel: int, stride: int, dilation: int, start: int, outputs: int
) -> Iterator[Step]:
    """Each tap where it lies in the input, apart where it is a window's first to do so.

    From tap to tap both ends of that range of outputs move down, so what is new is below `reached`.
    """
    reached, touched = outputs, _Touched()
    for tap in range(kernel):
        offset = dilation * tap + start
        low = max(-(offset // stride), 0)  # the first output whose tap is not before the input
        high = min((size - 1 - offset) // stride + 1, outputs)
        for first, stop in ((low, min(high, reached)), (max(low, reached), high)):
            if first < stop:
                cells = range(first * stride + offset, stop * stride + offset, stride)
                alone = touched.add(cells)
                yield Step(tap, slice(first, stop), as_slice(cells), stop <= reached, alone)
        if low < high:
            reached = min(reached, low)


def steps_by_window(windows: Iterable[tuple[int, range]]) -> Iterator[Step]:
    """Each window that sees the input: its first tap there, and its cells."""
    touched = _Touched()
    for output, (tap, cells) in enumerate(windows):
        if cells:
            yield Step(tap, slice(output, output + 1), as_slice(cells), True, touched.add(cells))


def steps_by_cell(windows: Iterable[range]) -> Iterator[Step]:
    """Each cell of each window, as a tap of that window alone."""
    reached = 0
    for output, cells in enumerate(windows):
        for tap, cell in enumerate(cells):
            at = slice(output, output + 1)
            yield Step(tap, at, slice(cell, cell + 1, 1), tap == 0, cell >= reached)
        reached = cells.stop


class _Touched:
    """The cells that steps have taken: for each remainder by their stride, runs of them."""

    def __init__(self) -> None:
        self.runs = dict[int, list[tuple[int, int]]]()

    def add(self, cells: range) -> bool:
        """Take cells, and say whether none of them was taken before."""
        start, stop = cells[0], cells[-1] + cells.step
        runs = self.runs.setdefault(start % cells.step, [])
        alone = all(stop <= low or high <= start for low, high in runs)
        if runs and runs[-1][0] <= stop and start <= runs[-1][1]:
            low, high = runs.pop()
            start, stop = min(low, start), max(high, stop)
        runs.append((start, stop))
        return alone


def combining(steps: Sequence[Step], outputs: int) -> tuple[Step, ...]:
    """Steps by tap in an order for maxima and sums: a tap that all outputs have opens them."""
    taps: list[Step] = []
    for step in steps:
        last = taps[-1] if taps else step
        goes_on = last.cells.stop - 1 + step.cells.step == step.cells.start
        if last.tap == step.tap and last.outputs.stop == step.outputs.start and goes_on:
            together = slice(last.outputs.start, step.outputs.stop)
            cells = slice(last.cells.start, step.cells.stop, step.cells.step)
            taps[-1] = last._replace(outputs=together, cells=cells)
        else:
            taps.append(step)
    taps.sort(key=lambda step: count(step.outputs) < outputs)
    if not taps or count(taps[0].outputs) < outputs:
        return tuple(steps)
    return tuple(step._replace(opens=step is taps[0]) for step in taps)


def reads_of(steps: Iterable[Step]) -> tuple[Read, ...]:
    """The steps of a reduction, an opening one and the next as one where they can be."""
    reads: list[Read] = []
    for step in steps:
        last = reads[-1] if reads else None
        if last and last.opens and len(last.cells) == 1 and last.outputs == step.outputs:
            reads[-1] = last._replace(cells=(*last.cells, step.cells))
        else:
            reads.append(Read(step.outputs, (step.cells,), step.opens))
    return tuple(reads)
