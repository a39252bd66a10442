"""The algorithms: each three linear maps beside their adjoints."""

from anyconv._algorithms._bilinear import Algorithm
from anyconv._algorithms.gemm import Gemm
from anyconv._algorithms.taps import DepthwiseTaps, Taps
from anyconv._geometry import Problem

__all__ = ["ALGORITHM_NAMES", "Algorithm", "algorithm_named"]

ALGORITHM_NAMES = ("gemm", "taps")


def algorithm_named(name: str, problem: Problem) -> type[Algorithm]:
    """The class of a named algorithm that suits a problem."""
    if name == "taps" and problem.is_depthwise:
        return DepthwiseTaps
    return {"gemm": Gemm, "taps": Taps}[name]
