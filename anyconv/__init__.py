"""Convolution and pooling, forward and backward, on any array.

Pass NumPy arrays and it runs on the CPU; pass CuPy arrays and the same lines run on the GPU; pass
PyTorch, JAX, Dask or array-api-strict arrays and they run there.
"""

from anyconv._options import options
from anyconv.adaptive_pool import (
    adaptive_avg_pool_backward,
    adaptive_avg_pool_forward,
    adaptive_max_pool_backward,
    adaptive_max_pool_forward,
)
from anyconv.avg_pool import avg_pool_backward, avg_pool_forward
from anyconv.conv import (
    ConvGradients,
    conv_backward,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
)
from anyconv.conv_transpose import conv_transpose_backward, conv_transpose_forward
from anyconv.lp_pool import lp_pool_backward, lp_pool_forward
from anyconv.max_pool import max_pool_backward, max_pool_forward
from anyconv.planning import plan_conv
from anyconv.unpool import max_unpool_backward, max_unpool_forward
from anyconv.windows import fold, pad, pad_backward, unfold

__all__ = [
    "ConvGradients",
    "conv_forward",
    "conv_backward",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_backward_bias",
    "conv_transpose_forward",
    "conv_transpose_backward",
    "max_pool_forward",
    "max_pool_backward",
    "max_unpool_forward",
    "max_unpool_backward",
    "avg_pool_forward",
    "avg_pool_backward",
    "lp_pool_forward",
    "lp_pool_backward",
    "adaptive_avg_pool_forward",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool_forward",
    "adaptive_max_pool_backward",
    "unfold",
    "fold",
    "pad",
    "pad_backward",
    "plan_conv",
    "options",
]

__version__ = "0.1.0"
