"""Windows as plain lists of reads, and the axes order that the loops see."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Index = tuple[int, ...]


class Read(NamedTuple):
    """One input under one tap of one window."""

    output: Index
    tap: Index
    input: Index


def per_axis(value: Any, axes: int) -> Index:
    """An option written once or once per spatial axis, as one value per axis."""
    return (value,) * axes if isinstance(value, (int, np.integer)) else tuple(value)


def padding_pairs(
    padding: Any, input_size: Index, kernel: Index, stride: Index, dilation: Index
) -> tuple[tuple[int, int], ...]:
    """Any form of `padding` as one (before, after) per axis."""
    axes = len(kernel)
    if padding == "valid":
        return ((0, 0),) * axes
    if padding == "full":
        return tuple((d * (k - 1),) * 2 for k, d in zip(kernel, dilation, strict=True))
    if padding in ("same", "same_lower"):
        pairs = []
        for i, k, s, d in zip(input_size, kernel, stride, dilation, strict=True):
            total = max((math.ceil(i / s) - 1) * s + d * (k - 1) + 1 - i, 0)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if padding == "same" else (large, small))
        return tuple(pairs)
    if isinstance(padding, int):
        return ((padding, padding),) * axes
    return tuple((p, p) if isinstance(p, int) else tuple(p) for p in padding)


@dataclass(frozen=True)
class Windows:
    """The windows of one call, in whole numbers."""

    input: Index
    kernel: Index
    stride: Index
    dilation: Index
    padding: tuple[tuple[int, int], ...]
    ceil_mode: bool = False

    @property
    def output(self) -> Index:
        """How many windows fit along each axis."""
        sizes = []
        for i, k, s, d, (before, after) in zip(
            self.input, self.kernel, self.stride, self.dilation, self.padding, strict=True
        ):
            room = i + before + after - d * (k - 1) - 1
            size = (-(-room // s) if self.ceil_mode else room // s) + 1
            while self.ceil_mode and (size - 1) * s >= i + before:
                size -= 1
            sizes.append(size)
        return tuple(sizes)

    def positions(self) -> Iterator[tuple[Index, Index, Index]]:
        """Output position, tap, and the place under the tap, counted from the input's start."""
        for output in np.ndindex(*self.output):
            for tap in np.ndindex(*self.kernel):
                yield (
                    output,
                    tap,
                    tuple(
                        o * s + t * d - before
                        for o, s, t, d, (before, _) in zip(
                            output, self.stride, tap, self.dilation, self.padding, strict=True
                        )
                    ),
                )

    @property
    def valid(self) -> bool:
        """Whether there is a window along each axis, and an input under some tap of each."""
        if min(self.output) < 1:
            return False
        return len({read.output for read in self.reads()}) == math.prod(self.output)

    def reads(self, mode: str = "zeros") -> Iterator[Read]:
        """The reads that hit an input, padding looked up where `mode` says."""
        for output, tap, place in self.positions():
            found = tuple(source(p, i, mode) for p, i in zip(place, self.input, strict=True))
            if None not in found:
                yield Read(output, tap, found)  # type: ignore[arg-type]


def source(place: int, size: int, mode: str) -> int | None:
    """Which input cell a place of the padded axis shows; None for a zero."""
    if 0 <= place < size:
        return place
    if mode == "zeros":
        return None
    if mode == "replicate":
        return min(max(place, 0), size - 1)
    if mode == "circular":
        return place % size
    assert mode == "reflect"
    period = 2 * (size - 1)
    place %= period
    return place if place < size else period - place


def windows(
    input_size: Index,
    kernel: Index,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Windows:
    """The windows of options in any form."""
    axes = len(kernel)
    stride, dilation = per_axis(stride, axes), per_axis(dilation, axes)
    pairs = padding_pairs(padding, input_size, kernel, stride, dilation)
    return Windows(tuple(input_size), tuple(kernel), stride, dilation, pairs, ceil_mode)


# --- layouts: every loop below sees (*spatial, batch, channels) and (*kernel, C_in/groups, C_out)


def data_to_loops(x: np.ndarray, axes: int, layout: str) -> np.ndarray:
    """(*batch, *spatial, C) or (*batch, C, *spatial) -> (*spatial, batch, C)."""
    if layout == "channels_first":
        x = np.moveaxis(x, -axes - 1, -1)
    batch = x.shape[: x.ndim - axes - 1]
    x = x.reshape(math.prod(batch), *x.shape[len(batch) :])
    return np.moveaxis(x, 0, -2)


def data_from_loops(x: np.ndarray, batch: Index, layout: str) -> np.ndarray:
    """The inverse of `data_to_loops`."""
    axes = x.ndim - 2
    x = np.moveaxis(x, -2, 0)
    x = x.reshape(*batch, *x.shape[1:])
    return np.moveaxis(x, -1, -axes - 1) if layout == "channels_first" else x


def weight_to_loops(w: np.ndarray, layout: str) -> np.ndarray:
    """(C_out, C_in/groups, *kernel) -> (*kernel, C_in/groups, C_out); channels last as it is."""
    return np.moveaxis(w, (0, 1), (-1, -2)) if layout == "channels_first" else w


def weight_from_loops(w: np.ndarray, layout: str) -> np.ndarray:
    """The inverse of `weight_to_loops`."""
    return np.moveaxis(w, (-1, -2), (0, 1)) if layout == "channels_first" else w


def batch_of(x: np.ndarray, axes: int) -> Index:
    return x.shape[: x.ndim - axes - 1]


def groups_of(c_in: int, c_out: int, groups: int) -> list[tuple[slice, slice]]:
    """The input and the output channels of each group."""
    i, o = c_in // groups, c_out // groups
    return [(slice(g * i, g * i + i), slice(g * o, g * o + o)) for g in range(groups)]
