"""Convolution and transposed convolution: a multiply-add for each read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from oracle._reads import (
    Index,
    Read,
    Windows,
    batch_of,
    data_from_loops,
    data_to_loops,
    groups_of,
    padding_pairs,
    per_axis,
    weight_from_loops,
    weight_to_loops,
    windows,
)


def conv_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
) -> np.ndarray:
    axes = w.ndim - 2
    batch, x, w = batch_of(x, axes), data_to_loops(x, axes, layout), weight_to_loops(w, layout)
    spots = windows(x.shape[:axes], w.shape[:axes], stride, padding, dilation)
    y = np.zeros((*spots.output, x.shape[-2], w.shape[-1]), x.dtype)
    for output, tap, place in spots.reads(padding_mode):
        for i, o in groups_of(x.shape[-1], w.shape[-1], groups):
            y[output][:, o] += x[place][:, i] @ w[tap][:, o]
    return data_from_loops(y if b is None else y + b, batch, layout)


def conv_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: str = "channels_last",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = w.ndim - 2
    batch, x, w = batch_of(x, axes), data_to_loops(x, axes, layout), weight_to_loops(w, layout)
    dy = data_to_loops(dy, axes, layout)
    spots = windows(x.shape[:axes], w.shape[:axes], stride, padding, dilation)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for output, tap, place in spots.reads(padding_mode):
        for i, o in groups_of(x.shape[-1], w.shape[-1], groups):
            dx[place][:, i] += dy[output][:, o] @ np.conj(w[tap][:, o].T)
            dw[tap][:, o] += np.conj(x[place][:, i].T) @ dy[output][:, o]
    db = dy.reshape(-1, dy.shape[-1]).sum(0)
    return data_from_loops(dx, batch, layout), weight_from_loops(dw, layout), db


def conv_transpose_size(
    input_size: Index,
    kernel: Index,
    stride: Any,
    padding: Any,
    dilation: Any,
    output_padding: Any = 0,
) -> tuple[Index, tuple[tuple[int, int], ...]]:
    """The output size of a transposed convolution, and its padding as pairs."""
    axes = len(kernel)
    stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
    extra = per_axis(output_padding, axes)
    if padding in ("same", "same_lower"):
        size = tuple(i * s for i, s in zip(input_size, stride, strict=True))
        return size, padding_pairs(padding, size, kernel, stride, dilation)
    pairs = padding_pairs(padding, input_size, kernel, stride, dilation)
    size = tuple(
        (i - 1) * s - before - after + d * (k - 1) + e + 1
        for i, s, (before, after), d, k, e in zip(
            input_size, stride, pairs, dilation, kernel, extra, strict=True
        )
    )
    return size, pairs


def _reads_of(spots: Windows, x: np.ndarray) -> Iterator[Read]:
    """The reads of windows that x has; output padding beyond the stride makes room for more."""
    for read in spots.reads():
        if all(o < i for o, i in zip(read.output, x.shape, strict=False)):
            yield read


def conv_transpose_forward(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_last",
) -> np.ndarray:
    axes = w.ndim - 2
    batch, x, w = batch_of(x, axes), data_to_loops(x, axes, layout), weight_to_loops(w, layout)
    size, pairs = conv_transpose_size(
        x.shape[:axes], w.shape[:axes], stride, padding, dilation, output_padding
    )
    size = size if output_size is None else per_axis(output_size, axes)
    spots = windows(size, w.shape[:axes], stride, pairs, dilation)
    y = np.zeros((*size, x.shape[-2], groups * w.shape[-2]), x.dtype)
    for position, tap, place in _reads_of(spots, x):
        for o, i in groups_of(y.shape[-1], x.shape[-1], groups):
            y[place][:, o] += x[position][:, i] @ np.conj(w[tap][:, i].T)
    return data_from_loops(y if b is None else y + b, batch, layout)


def conv_transpose_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    output_size: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "channels_last",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = w.ndim - 2
    batch, x, w = batch_of(x, axes), data_to_loops(x, axes, layout), weight_to_loops(w, layout)
    dy = data_to_loops(dy, axes, layout)
    pairs = conv_transpose_size(x.shape[:axes], w.shape[:axes], stride, padding, dilation)[1]
    spots = windows(dy.shape[:axes], w.shape[:axes], stride, pairs, dilation)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for position, tap, place in _reads_of(spots, x):
        for o, i in groups_of(dy.shape[-1], x.shape[-1], groups):
            dx[position][:, i] += dy[place][:, o] @ w[tap][:, i]
            dw[tap][:, i] += np.conj(dy[place][:, o].T) @ x[position][:, i]
    db = dy.reshape(-1, dy.shape[-1]).sum(0)
    return data_from_loops(dx, batch, layout), weight_from_loops(dw, layout), db
