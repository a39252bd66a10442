"""The functions of the course notebook "Convolutional Neural Networks: Step by Step", made fast.

The eight functions that learners write by hand in the first assignment of the fourth course of
Coursera's Deep Learning Specialization (`Convolution_model_Step_by_Step`), with the notebook's
names, arguments, `hparameters` dictionaries, caches and layout, on the functions of this package.
So they have no loop over images, positions or channels, and take the arrays of any library:
NumPy's, or CuPy's on the GPU. Put them in place of your own, or compare the two.

The notebook's letters are kept: m images of n_H x n_W cells with n_C channels, the suffix `_prev`
for the layer before, and f x f windows. An activation is `(m, n_H, n_W, n_C)`, a weight
`(f, f, n_C_prev, n_C)`, a bias `(1, 1, 1, n_C)`. As there, convolution does not flip the kernel,
and what the stride does not divide is rounded down: n_H = floor((n_H_prev - f + 2 pad)/stride) + 1.

What is done otherwise than in the notebook, or than in some editions of it:

- The bias is added once for each output. The notebook of 2017 added it to every product in the
  window before summing, f * f * n_C_prev times; the numbers it printed are wrong, those of later
  editions are reproduced.
- Where a window has its maximum in several cells, `pool_backward` gives the gradient to each of
  them, as the notebook's mask does. (`anyconv.max_pool_backward` by default picks the first.)
- `pad=0` works in `conv_backward`, where `dA_prev_pad[pad:-pad]` would be empty.
- Kernels need not be square: `W` may be `(f_H, f_W, n_C_prev, n_C)`. Pooling windows are f x f.
- Results have the dtype of the arguments; all arrays of a call must share one.
- A mistake raises an error that says what to change, where the notebook's loops would go on.
"""

from anyconv.stepbystep._convolution import (
    conv_backward,
    conv_forward,
    conv_single_step,
    zero_pad,
)
from anyconv.stepbystep._pooling import (
    create_mask_from_window,
    distribute_value,
    pool_backward,
    pool_forward,
)

__all__ = [
    "zero_pad",
    "conv_single_step",
    "conv_forward",
    "pool_forward",
    "conv_backward",
    "create_mask_from_window",
    "distribute_value",
    "pool_backward",
]
