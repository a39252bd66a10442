"""Windows along one axis against their definition, cell by cell."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyconv._geometry import WindowGeometry, adaptive_window, output_size
from anyconv._geometry._axis_windows import MANY_TAPS, AxisWindows
from anyconv._geometry._pooling_axes import FEW_CELLS, adaptive, regular


@st.composite
def axes(draw) -> tuple[AxisWindows, list[list[int]]]:
    """An axis, and the cells of each of its windows, those in padding and beyond among them."""
    size = draw(st.integers(1, 12))
    if draw(st.booleans()):
        size += draw(st.sampled_from([0, 2 * FEW_CELLS]))
        outputs = draw(st.integers(1, 15))
        (axis,) = adaptive((size,), (outputs,))
        return axis, [list(range(*adaptive_window(size, outputs, j))) for j in range(outputs)]
    stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    kernel = draw(st.integers(1, 5) | st.integers(MANY_TAPS, MANY_TAPS + 2))  # short and long
    before, after = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    ceil_mode = draw(st.booleans())
    outputs = output_size(size, kernel, stride, dilation, (before, after), ceil_mode=ceil_mode)
    if outputs < 1:
        size += kernel * dilation + draw(st.integers(0, 2 * MANY_TAPS))
        outputs = output_size(size, kernel, stride, dilation, (before, after), ceil_mode=ceil_mode)
    geometry = WindowGeometry(
        (size,), (kernel,), (stride,), (dilation,), ((before, after),), (outputs,)
    )
    (axis,) = regular(geometry)
    return axis, [
        [j * stride + t * dilation - before for t in range(kernel)] for j in range(outputs)
    ]


def pairs(step):
    """The outputs of a step, each with its cell: an output a cell, or one for all."""
    cells = range(step.cells.start, step.cells.stop, step.cells.step)
    outputs = range(step.outputs.start, step.outputs.stop)
    assert len(outputs) in (1, len(cells))
    return [(outputs[i % len(outputs)], cell) for i, cell in enumerate(cells)]


def triples(axis, step):
    """Each output of a step, its tap and its cell."""
    return [
        (output, step.tap + index * axis.by_window, cell)
        for index, (output, cell) in enumerate(pairs(step))
    ]


@given(axes())
def test_steps_read_each_cell_of_each_window_once_and_in_order(case):
    axis, windows = case
    read = [triple for step in axis.steps for triple in triples(axis, step)]
    wanted = [
        (output, tap, cell)
        for output, window in enumerate(windows)
        for tap, cell in enumerate(window)
        if 0 <= cell < axis.size
    ]
    assert sorted(read) == wanted
    for output in range(axis.outputs):
        taps = [tap for found, tap, _ in read if found == output]
        assert taps == sorted(taps)


@given(axes())
def test_a_step_opens_all_of_its_outputs_or_none(case):
    axis, windows = case
    opened: set[int] = set()
    for step in axis.steps:
        outputs = {output for output, _ in pairs(step)}
        assert outputs.isdisjoint(opened) if step.opens else outputs <= opened
        opened |= outputs
    sees = [any(0 <= cell < axis.size for cell in window) for window in windows]
    assert axis.reaches_all == all(sees)
    assert opened == {output for output, seen in enumerate(sees) if seen}


@given(axes())
def test_a_step_alone_shares_no_cell_with_those_before(case):
    axis, _ = case
    touched: set[int] = set()
    alone: set[int] = set()
    for step in axis.steps:
        cells = {cell for _, cell in pairs(step)}
        assert step.alone == cells.isdisjoint(touched)
        touched |= cells
        alone |= cells if step.alone else set()
    assert axis.covers_all == (alone == set(range(axis.size)))


@given(axes())
def test_combining_and_reading_have_the_pairs_of_the_steps(case):
    """In an order of their own: each still opens all of its outputs or none."""
    axis, _ = case
    wanted = sorted(pair for step in axis.steps for pair in pairs(step))
    assert sorted(pair for step in axis.combining for pair in pairs(step)) == wanted
    opened: set[int] = set()
    for step in axis.combining:
        outputs = {output for output, _ in pairs(step)}
        assert outputs.isdisjoint(opened) if step.opens else outputs <= opened
        opened |= outputs
    if axis.by_window:
        return
    read = [(r.outputs, cells) for r in axis.reads for cells in r.cells]
    assert read == [(step.outputs, step.cells) for step in axis.combining]
    for r in axis.reads:
        assert len(r.cells) <= 2 if r.opens else len(r.cells) == 1


def test_a_tap_of_all_outputs_opens_them_at_once():
    """A kernel of three with padding one: no window is opened apart for its lack of a cell."""
    (axis,) = regular(WindowGeometry((8,), (3,), (2,), (1,), ((1, 1),), (4,)))
    assert [step.tap for step in axis.combining] == [1, 2, 0]
    assert [step.opens for step in axis.combining] == [True, False, False]
    assert len(axis.reads) == 2


@given(axes(), st.data())
def test_a_part_is_some_windows_and_the_cells_they_see(case, data):
    axis, windows = case
    start = data.draw(st.integers(0, axis.outputs - 1))
    stop = data.draw(st.integers(start + 1, axis.outputs))
    part = axis.part(start, stop)
    chosen = [(j, cell) for j in range(start, stop) for cell in windows[j] if 0 <= cell < axis.size]
    found = [(start + j, part.first + c) for step in part.steps for j, c in pairs(step)]
    assert sorted(found) == sorted(chosen)
    if chosen and (start, stop) != (0, axis.outputs):
        cells = [cell for _, cell in chosen]
        assert part.first <= min(cells)
        assert part.first + part.size > max(cells)
        if axis.dilation == 1:
            assert (part.first, part.size) == (min(cells), max(cells) + 1 - min(cells))
    assert [part.first + cell for cell in part.starts] == list(axis.starts[start:stop])
    for include_padding in (True, False):
        whole = list(axis.counts(include_padding=include_padding))
        assert list(part.counts(include_padding=include_padding)) == whole[start:stop]


@given(axes())
def test_disjoint_windows_and_the_one_that_is_whole(case):
    axis, windows = case
    cells = [cell for window in windows for cell in window if 0 <= cell < axis.size]
    assert list(axis.inside) == [
        j for j, window in enumerate(windows) if window[0] >= 0 and window[-1] < axis.size
    ]
    assert axis.most_taps == max(map(len, windows))
    apart = all(one[-1] < other[0] for one, other in itertools.pairwise(windows))
    assert axis.disjoint == apart
    assert axis.is_whole == (len(windows) == 1 and sorted(cells) == list(range(axis.size)))


@pytest.mark.parametrize("include_padding", [True, False])
@given(case=axes())
def test_counts(case, include_padding):
    axis, windows = case
    before, after = axis.padding if include_padding else (0, 0)
    wanted = [sum(-before <= cell < axis.size + after for cell in window) for window in windows]
    assert list(axis.counts(include_padding=include_padding)) == wanted
    assert axis.distinct_counts(include_padding=include_padding) == set(wanted)
