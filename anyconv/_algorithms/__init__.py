"""The algorithms: each three linear maps beside their adjoints."""

from anyconv._algorithms._bilinear import OWN_CACHE, Algorithm
from anyconv._algorithms._fft_depthwise import DepthwiseFft
from anyconv._algorithms._fft_long import LongFft
from anyconv._algorithms._fft_rows import RowFft
from anyconv._algorithms._fft_short import ShortFft
from anyconv._algorithms._fft_sizes import Kind, cheapest_tile, is_short, rows_are_cheaper
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

_BY_NAME: dict[str, type[Algorithm]] = {
    "gemm": Gemm,
    "taps": Taps,
    "winograd": Winograd,
}
ALGORITHM_NAMES = (*_BY_NAME, "fft")


def algorithm_named(
    name: str, problem: Problem, operation: Operation, traits: Traits
) -> type[Algorithm]:
    """The class of a named algorithm that suits one map of a problem, and the arrays' library."""
    if name == "taps" and problem.is_depthwise:
        if KernelTaps.suits(problem, operation, traits):
            return KernelTaps
        if PlaneTaps.suits(problem, operation, traits):
            return PlaneTaps
        if problem.groups != problem.out_channels or not traits.adds_products:
            return DepthwiseTaps
        if CompiledTaps.suits(problem, operation, traits):
            return CompiledTaps
        # Of a single channel, taps lie as close as outputs: a library may go along the few of them.
        return FusedTaps if problem.groups > 1 else DepthwiseTaps
    if name == "gemm" and KernelGemm.suits(problem, operation, traits):
        return KernelGemm
    if name == "gemm" and DirectGemm.suits(problem, operation, traits):
        return DirectGemm
    if name == "gemm" and CompiledGemm.suits(problem, operation, traits):
        return CompiledGemm
    if name == "winograd" and KernelWinograd.suits(problem, operation, traits):
        return KernelWinograd
    if name == "winograd" and CompiledWinograd.suits(problem, operation, traits):
        return CompiledWinograd
    if name == "fft" and CompiledFft.suits(problem, operation, traits):
        return CompiledFft
    if name == "fft":
        # Rows are folded back in many small calls, for which workers contend.
        if operation != "input" and rows_are_cheaper(problem, operation, traits):
            return RowFft
        if is_short(cheapest_tile(problem, Kind.of(traits)).sizes):
            return ShortFft
        if DepthwiseFft.suits(problem, traits):
            return DepthwiseFft
        return ThinFft if problem.is_thin else LongFft
    return _BY_NAME[name]
