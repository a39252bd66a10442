"""The axes of pooling as loops and kernels over regular windows are given them."""

from functools import lru_cache
from math import prod

from anyconv._cupy_kernels import has_window_kernels
from anyconv._geometry import MOST_AXES, AxisLoop
from anyconv._geometry._axis_windows import AxisWindows
from anyconv._geometry._pooling_axes import RegularWindows
from anyconv._typing import DType, Namespace

# Windows of more cells are reduced axis by axis.
MOST_IN_KERNELS = 256


def loops_in_kernels(
    axes: tuple[AxisWindows, ...], dtype: DType, *, xp: Namespace
) -> tuple[AxisLoop, ...] | None:
    """The axes for kernels that go through all of a window at once, or None where none do."""
    return _loops_of_few(axes) if has_window_kernels(xp, dtype) else None


@lru_cache(maxsize=256)
def loops_of(axes: tuple[AxisWindows, ...]) -> tuple[AxisLoop, ...]:
    """The axes of regular windows, and no others."""
    return tuple(
        AxisLoop(w.outputs, w.most_taps, w.stride, w.dilation, w.start, w.size)
        for w in axes
        if isinstance(w, RegularWindows)
    )


@lru_cache(maxsize=256)
def _loops_of_few(axes: tuple[AxisWindows, ...]) -> tuple[AxisLoop, ...] | None:
    loops = loops_of(axes)
    are_few = prod(axis.taps for axis in loops) <= MOST_IN_KERNELS
    return loops if len(axes) == len(loops) <= MOST_AXES and are_few else None
