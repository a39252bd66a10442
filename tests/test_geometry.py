"""The whole numbers by their definitions: which windows fit, and what is under their taps."""

import math
from itertools import product

import numpy as np
import oracle
from hypothesis import given
from hypothesis import strategies as st

from anyconv import _geometry as geometry

sizes, kernels, steps = st.integers(1, 12), st.integers(1, 5), st.integers(1, 4)
pairs = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(sizes, kernels, steps, steps, pairs)
def test_output_is_the_largest_that_fits(size, kernel, stride, dilation, padding):
    output = geometry.output_size(size, kernel, stride, dilation, padding)
    padded = size + sum(padding)

    def end(windows):  # one past the last cell under the last window
        return (windows - 1) * stride + dilation * (kernel - 1) + 1

    if output < 1:
        assert end(1) > padded
    else:
        assert end(output) <= padded < end(output + 1)


@given(sizes, kernels, steps, steps, pairs)
def test_ceil_mode_covers_every_cell_and_starts_within(size, kernel, stride, dilation, padding):
    before, after = padding
    output = geometry.output_size(size, kernel, stride, dilation, padding, ceil_mode=True)
    plain = geometry.output_size(size, kernel, stride, dilation, padding)
    if plain < 1 and size + before + after < dilation * (kernel - 1) + 1:
        return
    assert (output - 1) * stride < size + before  # the last window starts within
    starts_within = -(-(size + before) // stride)
    reach = (output - 1) * stride + dilation * (kernel - 1) + 1
    assert output == starts_within or reach >= size + before + after
    assert output <= plain + 1


@given(sizes, kernels, steps, steps, st.booleans())
def test_same_is_the_ceiling_with_the_odd_cell_on_its_side(size, kernel, stride, dilation, lower):
    before, after = geometry.same_padding(size, kernel, stride, dilation, lower=lower)
    output = geometry.output_size(size, kernel, stride, dilation, (before, after))
    assert output == math.ceil(size / stride)
    odd = before - after if lower else after - before
    assert odd in (0, 1)
    if before + after:  # no cell more than is needed
        shorter = (before - 1, after) if before > after else (before, after - 1)
        assert geometry.output_size(size, kernel, stride, dilation, shorter) == output - 1


@given(sizes, pairs, st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
def test_segments_spell_the_padded_axis(size, padding, mode):
    """The runs laid end to end read the input where the mode says, cell by cell."""
    before, after = padding
    if mode == "reflect" and max(padding) >= size:
        return
    cells = []
    for segment in geometry.padding_segments(size, before, after, mode):
        run, count = list(range(segment.start, segment.stop)), segment.count
        spelt = {"copy": run, "flip": run[::-1], "repeat": run * count, "zeros": [None] * count}
        assert len(spelt[segment.kind]) == count
        cells += spelt[segment.kind]
    wanted = [oracle.source(place, size, mode) for place in range(-before, size + after)]
    assert cells == wanted


@given(st.integers(1, 20), st.integers(1, 20))
def test_adaptive_windows_by_their_definition(size, windows):
    found = tuple(geometry.adaptive_window(size, windows, j) for j in range(windows))
    wanted = tuple(
        (math.floor(j * size / windows), math.ceil((j + 1) * size / windows))
        for j in range(windows)
    )
    assert found == wanted
    covered = {cell for start, stop in found for cell in range(start, stop)}
    assert covered == set(range(size))


@given(st.integers(1, 9), kernels, steps, st.integers(1, 3), pairs)
def test_phases_list_every_read_once(size, kernel, stride, dilation, padding):
    """Input i meets output o through tap t where i + before = stride * o + dilation * t."""
    output = geometry.output_size(size, kernel, stride, dilation, padding)
    if output < 1:
        return
    window = geometry.WindowGeometry(
        (size,), (kernel,), (stride,), (dilation,), (padding,), (output,)
    )
    met = []
    for phase in geometry.phases(window, 0):
        taps = list(phase.taps)[::-1]  # `start` lies under the last tap
        for q, (j, tap) in product(range(phase.count), enumerate(taps)):
            o = phase.start + q + j * phase.dilation
            if 0 <= o < output:
                met.append((phase.first + q * stride, tap, o))
    wanted = [
        (i, t, o)
        for i, t, o in product(range(size), range(kernel), range(output))
        if i + padding[0] == stride * o + dilation * t
    ]
    assert sorted(met) == sorted(wanted)


def test_tap_slices_read_what_the_windows_read():
    windows = geometry.Windows((2, 3), (2, 1), (1, 2), (3, 2))
    cells = np.arange(math.prod(windows.input)).reshape(windows.input)
    for tap, slices in zip(np.ndindex(2, 3), windows.tap_slices, strict=True):
        wanted = [[cells[o * 2 + tap[0], p + 2 * tap[1]] for p in range(2)] for o in range(3)]
        np.testing.assert_array_equal(cells[slices], wanted)
