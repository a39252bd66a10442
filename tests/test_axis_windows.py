"""Windows along one axis against their definition, cell by cell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyconv._axis_windows import AxisWindows, adaptive, regular
from anyconv._geometry import WindowGeometry, adaptive_windows, output_size


@st.composite
def axes(draw) -> tuple[AxisWindows, list[list[int]]]:
    """An axis, and the cells of each of its windows, those in padding and beyond among them."""
    size = draw(st.integers(1, 12))
    if draw(st.booleans()):
        outputs = draw(st.integers(1, 15))
        (axis,) = adaptive((size,), (outputs,))
        return axis, [list(range(*window)) for window in adaptive_windows(size, outputs)]
    kernel, stride, dilation = (draw(st.integers(1, 5)) for _ in range(3))
    before, after = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    ceil_mode = draw(st.booleans())
    outputs = output_size(size, kernel, stride, dilation, (before, after), ceil_mode=ceil_mode)
    if outputs < 1:
        size += kernel * dilation
        outputs = output_size(size, kernel, stride, dilation, (before, after), ceil_mode=ceil_mode)
    geometry = WindowGeometry(
        (size,), (kernel,), (stride,), (dilation,), ((before, after),), (outputs,)
    )
    (axis,) = regular(geometry)
    return axis, [
        [j * stride + t * dilation - before for t in range(kernel)] for j in range(outputs)
    ]


def pairs(step):
    """The outputs of a step, each with its cell."""
    cells = range(step.cells.start, step.cells.stop, step.cells.step)
    outputs = range(step.outputs.start, step.outputs.stop)
    return list(zip(outputs, cells, strict=True))


@given(axes())
def test_steps_read_each_cell_of_each_window_once_and_in_order(case):
    axis, windows = case
    read = [(output, step.tap, cell) for step in axis.steps for output, cell in pairs(step)]
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
def test_reads_are_the_steps(case):
    axis, _ = case
    read = [(r.outputs, cells) for r in axis.reads for cells in r.cells]
    assert read == [(step.outputs, step.cells) for step in axis.steps]
    for r in axis.reads:
        assert len(r.cells) <= 2 if r.opens else len(r.cells) == 1


@pytest.mark.parametrize("include_padding", [True, False])
@given(case=axes())
def test_counts(case, include_padding):
    axis, windows = case
    before, after = axis.padding if include_padding else (0, 0)
    wanted = [sum(-before <= cell < axis.size + after for cell in window) for window in windows]
    assert list(axis.counts(include_padding=include_padding)) == wanted
