"""Whole numbers only: sizes, windows and paddings, and the steps in which windows are gone through.

Nothing here knows an array.
"""

from anyconv._geometry._axis_loop import MOST_AXES, AxisLoop
from anyconv._geometry._sizes import (
    Pairs,
    Phase,
    Problem,
    WindowGeometry,
    Windows,
    adaptive_window,
    effective_kernel_size,
    output_size,
    padding_segments,
    phases,
    same_padding,
)

__all__ = [
    "MOST_AXES",
    "AxisLoop",
    "Pairs",
    "Phase",
    "Problem",
    "WindowGeometry",
    "Windows",
    "adaptive_window",
    "effective_kernel_size",
    "output_size",
    "padding_segments",
    "phases",
    "same_padding",
]
