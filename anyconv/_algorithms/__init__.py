"""The algorithms: each three linear maps beside their adjoints."""

from anyconv._algorithms._bilinear import Algorithm
from anyconv._algorithms._tiled import Tiled
from anyconv._algorithms.fft import Fft
from anyconv._algorithms.gemm import Gemm
from anyconv._algorithms.taps import DepthwiseTaps, Taps
from anyconv._algorithms.winograd import Winograd
from anyconv._geometry import Problem

__all__ = ["ALGORITHM_NAMES", "Algorithm", "Tiled", "algorithm_named"]

_BY_NAME: dict[str, type[Algorithm]] = {
    "gemm": Gemm,
    "taps": Taps,
    "winograd": Winograd,
    "fft": Fft,
}
ALGORITHM_NAMES = tuple(_BY_NAME)


def algorithm_named(name: str, problem: Problem) -> type[Algorithm]:
    """The class of a named algorithm that suits a problem."""
    if name == "taps" and problem.is_depthwise:
        return DepthwiseTaps
    return _BY_NAME[name]
