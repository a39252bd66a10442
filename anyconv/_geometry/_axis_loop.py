"""Windows along one axis as loops and kernels are told of them, one to three axes at once."""

from typing import NamedTuple

MOST_AXES = 3


class AxisLoop(NamedTuple):
    """Windows along one axis: tap k of window o is on cell `stride * o + dilation * k + start`."""

    outputs: int
    taps: int
    stride: int
    dilation: int
    start: int
    cells: int

    @property
    def window(self) -> int:
        """The cells from a window's first tap to its last."""
        return (self.taps - 1) * self.dilation + 1
