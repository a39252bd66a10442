"""Whole numbers only: what a caller's shapes, mode and strides mean to the core."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anyconv._checks import boolean, checked_shape, choice, numbers, per_axis
from anyconv._typing import Shape

MODES = ("full", "valid", "same")


@dataclass(frozen=True)
class Sizes:
    """The shapes of one call as its caller sees them, and the window that maps one to the other."""

    data: Shape  # (..., m_1 .. m_D) or (..., c_i, m_1 .. m_D)
    filt: Shape  # (n_1 .. n_D) or (c_o, c_i, n_1 .. n_D)
    output: Shape  # (..., p_1 .. p_D) or (..., c_o, p_1 .. p_D)
    strides: Shape
    padding: tuple[tuple[int, int], ...]  # (before, after), one pair a spatial axis
    multi_channel: bool

    @property
    def ndim(self) -> int:
        """D, the number of spatial axes."""
        return len(self.strides)


def resolve(
    data_shape: Sequence[int],
    filt_shape: Sequence[int],
    mode: str,
    strides: int | Sequence[int] | None,
    multi_channel: bool,
) -> Sizes:
    """All sizes of a call, or an error that names the argument and the numbers."""
    data, filt = checked_shape("data_shape", data_shape), checked_shape("filt_shape", filt_shape)
    multi_channel = boolean("multi_channel", multi_channel)
    ndim = len(filt) - 2 * multi_channel
    _check_axes(data, filt, ndim, multi_channel)
    m, n = data[len(data) - ndim :], filt[len(filt) - ndim :]
    s = _strides(strides, ndim)
    padding = _padding(mode, m, n)
    p = tuple(
        (input + before + after - kernel) // stride + 1
        for input, kernel, stride, (before, after) in zip(m, n, s, padding, strict=True)
    )
    batch = data[: len(data) - ndim - multi_channel]
    output = batch + filt[: int(multi_channel)] + p
    return Sizes(data, filt, output, s, padding, multi_channel)


def _check_axes(data: Shape, filt: Shape, ndim: int, multi_channel: bool) -> None:
    if ndim < 1:
        wanted = "(c_o, c_i, n_1, ..., n_D)" if multi_channel else "(n_1, ..., n_D)"
        raise ValueError(f"`filt` must have the shape {wanted} with D at least 1, got {filt}")
    if len(data) < ndim + multi_channel:
        needed = f"{ndim} spatial axes" + " after its channels" * multi_channel
        raise ValueError(f"`data` must have {needed}, as `filt` {filt} has, got {data}")
    if multi_channel and data[-ndim - 1] != filt[1]:
        raise ValueError(
            f"`filt` must have the {data[-ndim - 1]} channels of `data`, got {filt[1]}"
            f" (`data` {data}, `filt` {filt})"
        )
    for name, sizes, first in ("data", data, len(data) - ndim), ("filt", filt, 0):
        if min(sizes[first:]) < 1:
            raise ValueError(f"`{name}` must not be empty along its signal axes, got {sizes}")


def _strides(strides: Any, ndim: int) -> Shape:
    if strides is None:
        return (1,) * ndim
    if hasattr(strides, "tolist"):  # NumPy's
        strides = strides.tolist()
    return per_axis("strides", numbers("strides", strides, minimum=1), ndim)


def _padding(mode: str, m: Shape, n: Shape) -> tuple[tuple[int, int], ...]:
    """Zeros before and after each axis; "same" is "full" less (n - 1) // 2 of its first outputs."""
    choice("mode", mode, MODES)
    if mode == "full":
        return tuple((kernel - 1, kernel - 1) for kernel in n)
    if mode == "same":
        return tuple((kernel // 2, (kernel - 1) // 2) for kernel in n)
    for axis, (input, kernel) in enumerate(zip(m, n, strict=True)):
        if kernel > input:
            raise ValueError(
                f"in mode 'valid' `filt` must fit into `data`, got {kernel} on {input} along"
                f" spatial axis {axis}; convolution commutes, so the two can change places"
            )
    return ((0, 0),) * len(n)
