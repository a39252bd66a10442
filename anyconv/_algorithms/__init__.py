"""The algorithms: each three linear maps beside their adjoints."""

from anyconv._algorithms._bilinear import Algorithm
from anyconv._algorithms._fft_long import LongFft
from anyconv._algorithms._fft_short import ShortFft
from anyconv._algorithms._fft_sizes import cheapest_tile, is_short
from anyconv._algorithms._fft_thin import ThinFft
from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._algorithms._taps_fused import FusedTaps
from anyconv._algorithms._tiled import Tiled
from anyconv._algorithms.gemm import Gemm
from anyconv._algorithms.taps import Taps
from anyconv._algorithms.winograd import Winograd
from anyconv._geometry import Problem
from anyconv._traits import Traits

__all__ = ["ALGORITHM_NAMES", "Algorithm", "DepthwiseTaps", "ThinFft", "Tiled", "algorithm_named"]

_BY_NAME: dict[str, type[Algorithm]] = {
    "gemm": Gemm,
    "taps": Taps,
    "winograd": Winograd,
}
ALGORITHM_NAMES = (*_BY_NAME, "fft")


def algorithm_named(name: str, problem: Problem, traits: Traits) -> type[Algorithm]:
    """The class of a named algorithm that suits a problem, and the library of its arrays."""
    if name == "taps" and problem.is_depthwise:
        one_each = problem.groups == problem.out_channels
        return FusedTaps if one_each and traits.adds_products else DepthwiseTaps
    if name == "fft":
        _, sizes = cheapest_tile(problem)
        if is_short(sizes):
            return ShortFft
        return ThinFft if problem.is_thin else LongFft
    return _BY_NAME[name]
