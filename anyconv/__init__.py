"""Convolution and pooling, forward and backward, on any array.

Pass NumPy arrays and it runs on the CPU; pass CuPy arrays and the same lines run on the GPU; pass
PyTorch, JAX, Dask or array-api-strict arrays and they run there.
"""

from anyconv._options import options
from anyconv.conv import (
    ConvGradients,
    conv_backward,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_forward,
    conv_transpose_backward,
    conv_transpose_forward,
    plan_conv,
)

__version__ = "0.1.0"
