"""Unfold, fold and pad: a copy or an addition for each read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from oracle._reads import Index, batch_of, data_from_loops, data_to_loops, source, windows


def unfold(
    x: np.ndarray,
    kernel_size: Index,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = len(kernel_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    spots = windows(x.shape[:axes], kernel_size, stride, padding, dilation)
    cut = np.zeros((*spots.output, *spots.kernel, *x.shape[axes:]), x.dtype)
    for output, tap, place in spots.reads():
        cut[output + tap] = x[place]
    cut = np.moveaxis(cut, -2, 0).reshape(*batch, *spots.output, *spots.kernel, x.shape[-1])
    if layout == "channels_last":
        return cut
    first = len(batch)
    order = [first + 2 * axes, *range(first + axes, first + 2 * axes), *range(first, first + axes)]
    return cut.transpose(*range(first), *order)


def fold(
    cut: np.ndarray,
    output_size: Index,
    kernel_size: Index,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = len(kernel_size)
    batch = cut.shape[: cut.ndim - 2 * axes - 1]
    if layout == "channels_first":  # (*batch, C, *kernel, *output) -> (*batch, *output, *kernel, C)
        first = len(batch)
        kernel = range(first + 1, first + 1 + axes)
        output = range(first + 1 + axes, first + 1 + 2 * axes)
        cut = cut.transpose(*range(first), *output, *kernel, first)
    spots = windows(output_size, kernel_size, stride, padding, dilation)
    cut = np.moveaxis(cut.reshape(math.prod(batch), *cut.shape[len(batch) :]), 0, -2)
    x = np.zeros((*output_size, *cut.shape[-2:]), cut.dtype)
    for position, tap, place in spots.reads():
        x[place] += cut[position + tap]
    return data_from_loops(x, batch, layout)


def _padded_places(
    input_size: Index, pairs: Sequence[tuple[int, int]], mode: str
) -> Iterator[tuple[Index, Index]]:
    ranges = [range(b + i + a) for i, (b, a) in zip(input_size, pairs, strict=True)]
    for place in itertools.product(*ranges):
        found = tuple(
            source(p - b, i, mode) for p, i, (b, _) in zip(place, input_size, pairs, strict=True)
        )
        if None not in found:
            yield place, found  # type: ignore[misc]


def pad(
    x: np.ndarray, pairs: Sequence[tuple[int, int]], *, mode: str = "zeros", layout: str
) -> np.ndarray:
    axes = len(pairs)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    size = tuple(b + i + a for i, (b, a) in zip(x.shape[:axes], pairs, strict=True))
    y = np.zeros((*size, *x.shape[axes:]), x.dtype)
    for place, found in _padded_places(x.shape[:axes], pairs, mode):
        y[place] = x[found]
    return data_from_loops(y, batch, layout)
