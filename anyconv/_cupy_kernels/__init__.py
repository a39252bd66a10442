"""Kernels for CuPy's arrays, for what CuPy would do in many launches.

Their text is CUDA's C++ (`walk.cu` before `windows.cu` or `points.cu`), compiled by CuPy for each
kind of elements when the first is launched (`_launches`), and kept on disk.
"""

from anyconv._cupy_kernels._launches import (
    Counts,
    TileMatrices,
    has_window_kernels,
    is_copied_first,
)
from anyconv._cupy_kernels._point_kernels import from_points_in_kernel, to_points_in_kernel
from anyconv._cupy_kernels._window_kernels import (
    averages_adjoint_in_kernel,
    averages_in_kernel,
    fold_in_kernel,
    maxima_in_kernel,
    products_data_in_kernel,
    products_in_kernel,
    products_weight_in_kernel,
    shares_of_sums,
    sums_adjoint_in_kernel,
    sums_in_kernel,
    ties_gradient_in_kernel,
    totals_in_kernel,
    unfold_in_kernel,
    winners_gradient_in_kernel,
    winners_in_kernel,
)

__all__ = [
    "Counts",
    "TileMatrices",
    "averages_adjoint_in_kernel",
    "averages_in_kernel",
    "fold_in_kernel",
    "from_points_in_kernel",
    "has_window_kernels",
    "is_copied_first",
    "maxima_in_kernel",
    "products_data_in_kernel",
    "products_in_kernel",
    "products_weight_in_kernel",
    "shares_of_sums",
    "sums_adjoint_in_kernel",
    "sums_in_kernel",
    "ties_gradient_in_kernel",
    "to_points_in_kernel",
    "totals_in_kernel",
    "unfold_in_kernel",
    "winners_gradient_in_kernel",
    "winners_in_kernel",
]
