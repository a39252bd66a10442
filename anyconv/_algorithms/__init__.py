"""The algorithms: each three linear maps beside their adjoints."""

from anyconv._algorithms._bilinear import OWN_CACHE, Algorithm
from anyconv._algorithms._fft_depthwise import DepthwiseFft
from anyconv._algorithms._fft_long import LongFft
from anyconv._algorithms._fft_rows import RowFft
from anyconv._algorithms._fft_short import ShortFft
from anyconv._algorithms._fft_thin import ThinFft
from anyconv._algorithms._gemm_compiled import CompiledGemm
from anyconv._algorithms._gemm_direct import DirectGemm
from anyconv._algorithms._in_kernels import KernelGemm, KernelTaps, KernelWinograd
from anyconv._algorithms._on_cells import ByJobs, InOnePass, WritesByJobs
from anyconv._algorithms._points_compiled import CompiledFft, CompiledWinograd
from anyconv._algorithms._taps_compiled import CompiledTaps
from anyconv._algorithms._taps_depthwise import DepthwiseTaps
from anyconv._algorithms._taps_fused import FusedTaps
from anyconv._algorithms._taps_plane import PlaneTaps
from anyconv._algorithms._tiled import Tiled
from anyconv._algorithms.gemm import Gemm
from anyconv._algorithms.taps import Taps
from anyconv._algorithms.winograd import Winograd
from anyconv._geometry import Problem
from anyconv._traits import Traits
from anyconv._typing import Operation

__all__ = [
    "ALGORITHM_NAMES",
    "OWN_CACHE",
    "Algorithm",
    "ByJobs",
    "CompiledTaps",
    "DepthwiseFft",
    "InOnePass",
    "ThinFft",
    "Tiled",
    "WritesByJobs",
    "algorithm_named",
]

# The ways to go about each, the first of which that suits is taken.
_WAYS: dict[str, tuple[type[Algorithm], ...]] = {
    "gemm": (KernelGemm, DirectGemm, CompiledGemm, Gemm),
    "taps": (KernelTaps, PlaneTaps, CompiledTaps, FusedTaps, DepthwiseTaps, Taps),
    "winograd": (KernelWinograd, CompiledWinograd, Winograd),
    "fft": (CompiledFft, RowFft, ShortFft, DepthwiseFft, ThinFft, LongFft),
}
ALGORITHM_NAMES = tuple(_WAYS)


def algorithm_named(
    name: str, problem: Problem, operation: Operation, traits: Traits
) -> type[Algorithm]:
    """The class of a named algorithm that suits one map of a problem, and the arrays' library."""
    return next(way for way in _WAYS[name] if way.suits(problem, operation, traits))
