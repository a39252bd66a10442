"""Pooling and unpooling: the reads gathered by window, then a reduction."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from oracle._reads import Index, Windows, batch_of, data_from_loops, data_to_loops, windows


def _pool_windows(
    x: np.ndarray, kernel: Index, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Windows:
    stride = kernel if stride is None else stride
    return windows(x.shape[: len(kernel)], kernel, stride, padding, dilation, ceil_mode)


def _by_window(spots: Windows) -> dict[Index, list[Index]]:
    """The input positions under each window, in row-major order of the taps."""
    found: dict[Index, list[Index]] = {output: [] for output in np.ndindex(*spots.output)}
    for output, _, place in spots.reads():
        found[output].append(place)
    return found


def _adaptive_windows(input_size: Index, output_size: Index) -> dict[Index, list[Index]]:
    """Window o covers the inputs from floor(o i / O) to ceil((o + 1) i / O)."""
    return {
        output: list(
            itertools.product(
                *(
                    range(o * i // size, -(-(o + 1) * i // size))
                    for o, i, size in zip(output, input_size, output_size, strict=True)
                )
            )
        )
        for output in np.ndindex(*output_size)
    }


def _stack(x: np.ndarray, places: list[Index]) -> np.ndarray:
    return np.stack([x[place] for place in places])  # (taps, batch, C)


def _output_shape(found: dict[Index, Any], x: np.ndarray) -> Index:
    return (*(max(axis) + 1 for axis in zip(*found, strict=True)), *x.shape[-2:])


def _maxima(values: np.ndarray) -> np.ndarray:
    """Where the values are the maximum of their window; NaN is the greatest of all."""
    missing = np.isnan(values)
    if missing.any():
        return np.where(
            missing.any(0), missing, values == np.where(missing, -np.inf, values).max(0)
        )
    return values == values.max(0)


def _max_forward(found: dict[Index, list[Index]], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = np.zeros(_output_shape(found, x), x.dtype)
    indices = np.zeros(y.shape, np.int64)
    for output, places in found.items():
        values = _stack(x, places)
        first = _maxima(values).argmax(0)  # (batch, C)
        y[output] = np.take_along_axis(values, first[None], 0)[0]
        indices[output] = np.ravel_multi_index(np.array(places).T, x.shape[:-2])[first]
    return y, indices


def _max_backward(
    found: dict[Index, list[Index]], dy: np.ndarray, x: np.ndarray, ties: str
) -> np.ndarray:
    dx = np.zeros(x.shape, dy.dtype)
    for output, places in found.items():
        mask = _maxima(_stack(x, places)).astype(dy.dtype)
        if ties == "first":
            mask *= np.cumsum(mask, 0) == 1
        elif ties == "split":
            mask /= mask.sum(0)
        for share, place in zip(mask, places, strict=True):
            dx[place] += share * dy[output]
    return dx


def max_pool_forward(
    x: np.ndarray,
    kernel_size: Index,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima and their flat positions in the unpadded plane."""
    axes = len(kernel_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    spots = _pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = _max_forward(_by_window(spots), x)
    return data_from_loops(y, batch, layout), data_from_loops(indices, batch, layout)


def max_pool_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size: Index,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
    ties: str = "first",
) -> np.ndarray:
    axes = len(kernel_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    dy = data_to_loops(dy, axes, layout)
    spots = _pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    return data_from_loops(_max_backward(_by_window(spots), dy, x, ties), batch, layout)


def max_unpool_forward(
    y: np.ndarray, indices: np.ndarray, output_size: Index, *, layout: str = "channels_last"
) -> np.ndarray:
    """The first window in row-major order that names a position fills it."""
    axes = len(output_size)
    batch, y = batch_of(y, axes), data_to_loops(y, axes, layout)
    indices = data_to_loops(indices, axes, layout)
    x = np.zeros((*output_size, *y.shape[-2:]), y.dtype)
    for window in reversed(list(np.ndindex(*y.shape))):  # so that the first is written last
        x[(*np.unravel_index(indices[window], output_size), *window[-2:])] = y[window]
    return data_from_loops(x, batch, layout)


def max_unpool_backward(
    dx: np.ndarray, indices: np.ndarray, axes: int, *, layout: str = "channels_last"
) -> np.ndarray:
    """The gradient at the position that each window filled; zero where it filled none."""
    batch, dx = batch_of(dx, axes), data_to_loops(dx, axes, layout)
    indices = data_to_loops(indices, axes, layout)
    dy = np.zeros(indices.shape, dx.dtype)
    filled = set()
    for window in np.ndindex(*indices.shape):
        place = (*np.unravel_index(indices[window], dx.shape[:axes]), *window[-2:])
        if place not in filled:
            filled.add(place)
            dy[window] = dx[place]
    return data_from_loops(dy, batch, layout)


def _divisors(spots: Windows, count_include_pad: bool) -> dict[Index, int]:
    """How many cells count in each window: inputs, and explicit padding if it is to count."""
    counts = dict.fromkeys(np.ndindex(*spots.output), 0)
    for output, _, place in spots.positions():
        counts[output] += all(
            (-before <= p < i + after) if count_include_pad else (0 <= p < i)
            for p, i, (before, after) in zip(place, spots.input, spots.padding, strict=True)
        )
    return counts


def avg_pool_forward(
    x: np.ndarray,
    kernel_size: Index,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = len(kernel_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    spots = _pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    counts = _divisors(spots, count_include_pad)
    y = np.zeros((*spots.output, *x.shape[-2:]), x.dtype)
    for output, _, place in spots.reads():
        y[output] += x[place] / counts[output]
    return data_from_loops(y, batch, layout)


def avg_pool_backward(
    dy: np.ndarray,
    input_shape: Index,
    kernel_size: Index,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = len(kernel_size)
    dx = np.zeros(input_shape, dy.dtype)
    batch, dx = batch_of(dx, axes), data_to_loops(dx, axes, layout).copy()
    dy = data_to_loops(dy, axes, layout)
    spots = _pool_windows(dx, kernel_size, stride, padding, dilation, ceil_mode)
    counts = _divisors(spots, count_include_pad)
    for output, _, place in spots.reads():
        dx[place] += dy[output] / counts[output]
    return data_from_loops(dx, batch, layout)


def lp_pool_forward(
    x: np.ndarray,
    kernel_size: Index,
    *,
    p: float = 2,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = len(kernel_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    spots = _pool_windows(x, kernel_size, stride, padding, dilation, ceil_mode)
    y = np.zeros((*spots.output, *x.shape[-2:]), x.dtype)
    for output, _, place in spots.reads():
        y[output] += np.abs(x[place]) ** p
    return data_from_loops(y ** (1 / p), batch, layout)


def lp_pool_backward(
    dy: np.ndarray,
    x: np.ndarray,
    kernel_size: Index,
    *,
    p: float = 2,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    layout: str = "channels_last",
) -> np.ndarray:
    """dy sign(x) (|x| / y)^(p-1), and zero where the window is all zeros."""
    axes = len(kernel_size)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    y = lp_pool_forward(x, kernel_size, p=p, layout=layout, **options)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    dy, y = data_to_loops(dy, axes, layout), data_to_loops(y, axes, layout)
    dx = np.zeros_like(x)
    for output, _, place in _pool_windows(x, kernel_size, **options).reads():
        ratio = np.abs(x[place]) / np.where(y[output] == 0, 1, y[output])
        dx[place] += dy[output] * np.sign(x[place]) * ratio ** (p - 1)
    return data_from_loops(dx, batch, layout)


def adaptive_avg_pool_forward(
    x: np.ndarray, output_size: Index, *, layout: str = "channels_last"
) -> np.ndarray:
    axes = len(output_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    found = _adaptive_windows(x.shape[:axes], output_size)
    y = np.zeros(_output_shape(found, x), x.dtype)
    for output, places in found.items():
        y[output] = _stack(x, places).mean(0)
    return data_from_loops(y, batch, layout)


def adaptive_avg_pool_backward(
    dy: np.ndarray, input_shape: Index, output_size: Index, *, layout: str = "channels_last"
) -> np.ndarray:
    axes = len(output_size)
    dx = np.zeros(input_shape, dy.dtype)
    batch, dx = batch_of(dx, axes), data_to_loops(dx, axes, layout).copy()
    dy = data_to_loops(dy, axes, layout)
    for output, places in _adaptive_windows(dx.shape[:axes], output_size).items():
        for place in places:
            dx[place] += dy[output] / len(places)
    return data_from_loops(dx, batch, layout)


def adaptive_max_pool_forward(
    x: np.ndarray, output_size: Index, *, layout: str = "channels_last"
) -> np.ndarray:
    axes = len(output_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    y, _ = _max_forward(_adaptive_windows(x.shape[:axes], output_size), x)
    return data_from_loops(y, batch, layout)


def adaptive_max_pool_backward(
    dy: np.ndarray,
    x: np.ndarray,
    output_size: Index,
    *,
    layout: str = "channels_last",
    ties: str = "first",
) -> np.ndarray:
    axes = len(output_size)
    batch, x = batch_of(x, axes), data_to_loops(x, axes, layout)
    dy = data_to_loops(dy, axes, layout)
    found = _adaptive_windows(x.shape[:axes], output_size)
    return data_from_loops(_max_backward(found, dy, x, ties), batch, layout)
