"""The one door to the array libraries: which namespace an array belongs to, and what it can do.

The kernels speak the array API standard. What the standard lacks and a library has is a capability
asked of this package: strided window views, products written in place, lazy blocks. Each has a path
in standard functions beside it that gives the same numbers. No library is imported before the
caller has imported it, or named it to `plan_conv`; Numba is by the first large call. No other part
of the core names a library.
"""

from anyconv._namespace._blocks import map_batch
from anyconv._namespace._door import (
    array_namespace,
    check_devices,
    common_namespace,
    dtype_of_name,
    namespace_of_name,
)
from anyconv._namespace._kinds import (
    accumulator,
    complex_dtype,
    device,
    differentiates,
    index_dtype,
    is_gpu,
    is_kind,
    is_lazy_blocks,
    is_numpy,
    is_traced,
    item_bytes,
    library_name,
    runs_on_gpu,
)
from anyconv._namespace._pieces import SUMS_AT_ONCE, inner_pieces_of
from anyconv._namespace._places import (
    add_at,
    add_at_positions,
    combine_at,
    has_minimum_at,
    has_out,
    has_strided_views,
    in_order,
    minimum_at,
    new_array,
    pad_constant,
    scatters_in_order,
    set_at,
    strided_view,
)
from anyconv._namespace._products import (
    complex_factor,
    has_sums_of_products,
    is_worth_transposing,
    matmul,
    multiplies_half_in_float32,
    multiply_by_factor,
    sum_of_products,
)
from anyconv._namespace._values import (
    adds_row_by_row,
    as_dtype,
    conjugate,
    constant,
    divide,
    highest,
    keep_where,
    may_hold_nan,
    multiply,
    spectrum_of,
)

__all__ = [
    "conjugate",
    "spectrum_of",
    "SUMS_AT_ONCE",
    "accumulator",
    "add_at",
    "add_at_positions",
    "adds_row_by_row",
    "array_namespace",
    "as_dtype",
    "check_devices",
    "combine_at",
    "common_namespace",
    "complex_dtype",
    "complex_factor",
    "constant",
    "device",
    "differentiates",
    "divide",
    "dtype_of_name",
    "has_minimum_at",
    "has_out",
    "has_strided_views",
    "has_sums_of_products",
    "highest",
    "in_order",
    "index_dtype",
    "inner_pieces_of",
    "is_gpu",
    "is_kind",
    "is_lazy_blocks",
    "is_numpy",
    "is_traced",
    "is_worth_transposing",
    "item_bytes",
    "keep_where",
    "library_name",
    "map_batch",
    "matmul",
    "may_hold_nan",
    "minimum_at",
    "multiplies_half_in_float32",
    "multiply",
    "multiply_by_factor",
    "namespace_of_name",
    "new_array",
    "pad_constant",
    "runs_on_gpu",
    "scatters_in_order",
    "set_at",
    "strided_view",
    "sum_of_products",
]
