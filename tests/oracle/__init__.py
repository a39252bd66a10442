"""What the package should compute, as slow plain loops that import nothing from it.

Every operation is a list of *reads*: output position, tap, and the input position under the tap.
Forward sums over the reads, each gradient walks the same reads with the roles exchanged. Batch
axes and channels are the only things left to NumPy. Meanings are those of the documentation, worked
out here a second time: nothing below looks at how the package does it.
"""

from oracle._conv import (
    conv_backward,
    conv_forward,
    conv_transpose_backward,
    conv_transpose_forward,
    conv_transpose_size,
)
from oracle._pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_backward,
    adaptive_max_pool_forward,
    avg_pool_backward,
    avg_pool_forward,
    lp_pool_backward,
    lp_pool_forward,
    max_pool_backward,
    max_pool_forward,
    max_unpool_backward,
    max_unpool_forward,
)
from oracle._reads import (
    Windows,
    source,
    windows,
)
from oracle._windows import (
    fold,
    pad,
    unfold,
)

__all__ = [
    "Windows",
    "adaptive_avg_pool_backward",
    "adaptive_avg_pool_forward",
    "adaptive_max_pool_backward",
    "adaptive_max_pool_forward",
    "avg_pool_backward",
    "avg_pool_forward",
    "conv_backward",
    "conv_forward",
    "conv_transpose_backward",
    "conv_transpose_forward",
    "conv_transpose_size",
    "fold",
    "lp_pool_backward",
    "lp_pool_forward",
    "max_pool_backward",
    "max_pool_forward",
    "max_unpool_backward",
    "max_unpool_forward",
    "pad",
    "source",
    "unfold",
    "windows",
]
