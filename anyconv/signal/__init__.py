"""True convolution, correlation and their adjoints, as signal processing defines them."""

from anyconv.signal._convolve import (
    convolve,
    convolve_data_adjoint,
    convolve_filter_adjoint,
)
from anyconv.signal._correlate import (
    correlate,
    correlate_data_adjoint,
    correlate_filter_adjoint,
)

__all__ = [
    "convolve",
    "convolve_data_adjoint",
    "convolve_filter_adjoint",
    "correlate",
    "correlate_data_adjoint",
    "correlate_filter_adjoint",
]
