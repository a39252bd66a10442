"""Pooling layers."""

from collections.abc import Sequence
from typing import Any

import anyconv
from anyconv._typing import Array, Layout, Padding, Ties

from .layer import Layer


class MaxPool(Layer):
    """The largest value in each window.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, layout, ties
        As in `anyconv.max_pool_forward` and `anyconv.max_pool_backward`; `stride` is the kernel
        size unless given.

    Raises
    ------
    TypeError, ValueError
        By `forward` and `backward`, as those functions.

    See Also
    --------
    AvgPool, anyconv.max_pool_forward

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool(2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, ..., 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        layout: Layout = "channels_last",
        ties: Ties = "first",
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.ties: Ties = ties
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
            "layout": layout,
        }

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the maxima."""
        return self._remember(x, anyconv.max_pool_forward(x, self.kernel_size, **self.options))

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Send each gradient to where its maximum came from."""
        x = self._recall(dy)
        if not input_gradient:
            return None
        return anyconv.max_pool_backward(dy, x, self.kernel_size, ties=self.ties, **self.options)

    def __repr__(self) -> str:
        return f"MaxPool({self.kernel_size})"


class AvgPool(Layer):
    """The mean of each window.

    Parameters
    ----------
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout
        As in `anyconv.avg_pool_forward`; `stride` is the kernel size unless given.

    Raises
    ------
    TypeError, ValueError
        By `forward` and `backward`, as `anyconv.avg_pool_forward`.

    See Also
    --------
    MaxPool, anyconv.avg_pool_forward

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool(2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, ..., 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        layout: Layout = "channels_last",
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
            "layout": layout,
        }

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the means."""
        y = anyconv.avg_pool_forward(x, self.kernel_size, **self.options)
        return self._remember(x.shape, y)

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Share each gradient among its window."""
        shape = self._recall(dy)
        if not input_gradient:
            return None
        return anyconv.avg_pool_backward(dy, shape, self.kernel_size, **self.options)

    def __repr__(self) -> str:
        return f"AvgPool({self.kernel_size})"
