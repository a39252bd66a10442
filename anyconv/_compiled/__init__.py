"""Loops over NumPy's arrays that Numba compiles, for what NumPy would do in many passes.

A call of such a loop is a job, which any thread may carry out. The `*_loops` modules hold the loops
and import Numba, so they are imported when the first job of theirs is made; the `*_jobs` modules
tell them how arrays lie (`_walks`). Where Numba cannot be imported, or a call is small, the kernels
of the core do the same in standard functions.
"""

from anyconv._compiled._depthwise_jobs import (
    goes_by_four,
    outputs_together,
    plane_products_job,
    products_data_job,
    products_job,
    products_weight_job,
    repeated_factors,
    slide_products_job,
    slide_products_weight_job,
    slides,
)
from anyconv._compiled._jobs import ENDED, NO_MEMORY, Job, Mailbox, has_mailboxes, run_jobs
from anyconv._compiled._loop_sizes import MOST_PANEL
from anyconv._compiled._numba import why_no_compiled_loops
from anyconv._compiled._pool_jobs import (
    gathered_gradient_job,
    gathering_room,
    maxima_gradient_job,
    maxima_job,
    maximum_gradient_job,
    pooling_room,
    sums_adjoint_job,
    sums_job,
    winners_job,
)
from anyconv._compiled._row_jobs import (
    add_to_channels_job,
    clear_job,
    divide_job,
    fold_job,
    quotients_job,
    unfold_job,
)
from anyconv._compiled._tile_jobs import (
    PointMaps,
    has_wide_tiles,
    lanes_of,
    multiplies_windows,
    points_job,
    points_weight_job,
    windows_job,
    windows_weight_job,
)
from anyconv._compiled._transforms import (
    LANES,
    LONGEST_IN_LOOPS,
    compiled_cells,
    compiled_filter,
    compiled_spectrum,
    has_compiled_transform,
)
from anyconv._compiled._waiting import new_flags, set_flag, wait_for_flags

__all__ = [
    "ENDED",
    "LANES",
    "LONGEST_IN_LOOPS",
    "MOST_PANEL",
    "NO_MEMORY",
    "Job",
    "Mailbox",
    "PointMaps",
    "add_to_channels_job",
    "clear_job",
    "compiled_cells",
    "compiled_filter",
    "compiled_spectrum",
    "divide_job",
    "fold_job",
    "gathered_gradient_job",
    "gathering_room",
    "goes_by_four",
    "has_compiled_transform",
    "has_mailboxes",
    "has_wide_tiles",
    "lanes_of",
    "maxima_gradient_job",
    "maxima_job",
    "maximum_gradient_job",
    "multiplies_windows",
    "new_flags",
    "outputs_together",
    "plane_products_job",
    "points_job",
    "points_weight_job",
    "pooling_room",
    "products_data_job",
    "products_job",
    "products_weight_job",
    "quotients_job",
    "repeated_factors",
    "run_jobs",
    "set_flag",
    "slide_products_job",
    "slide_products_weight_job",
    "slides",
    "sums_adjoint_job",
    "sums_job",
    "unfold_job",
    "wait_for_flags",
    "why_no_compiled_loops",
    "windows_job",
    "windows_weight_job",
    "winners_job",
]
