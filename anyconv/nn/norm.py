"""Batch normalisation.

With m elements a channel, s = 1 / sqrt(variance + epsilon) and x^ = (x - mean) * s:

    y      = gain * x^ + b
    db     = sum dy
    dgain  = sum dy * x^
    dx     = gain * s * (dy - db / m - x^ * dgain / m)      while training
    dx     = gain * s * dy                                  with the running statistics

The code folds the per-channel factors together first, so that the big arrays are passed over as
seldom as possible: y is centred * scale + b, and dx is dy * scale + centred * slope + shift, where
centred is x - mean. While training forward keeps that instead of x: a sum of dy * x, less mean * db
afterwards, loses the digits that the mean has before the deviations.
"""

from math import prod

import numpy as np

from anyconv._checks import integer, not_negative
from anyconv._namespace import (
    accumulator,
    array_namespace,
    as_dtype,
    check_devices,
    is_numpy,
)
from anyconv._typing import Array, Namespace

from .layer import Layer


class BatchNorm(Layer):
    """Normalise each channel to mean zero and variance one, then give it a learnt gain and bias.

    While training the statistics are the batch's own, and running ones are kept; otherwise the
    running ones are used.

    Parameters
    ----------
    channels : int
        C.
    axis : int
        The channel axis: -1 for channels last, 1 for a batch with channels first. Axis 0 is the
        batch.
    momentum : float
        Weight of the newest batch in the running statistics.
    epsilon : float
        Added to the variance.

    Raises
    ------
    TypeError
        If `channels` or `axis` is no whole number, `momentum` or `epsilon` no number; by `forward`
        if x has not the parameters' namespace and dtype.
    ValueError
        If `channels` is below one, `axis` is 0 or below -1, `momentum` not from 0 to 1, or
        `epsilon` negative; by `forward` if x has not that many channels on that axis, or while
        training fewer than two elements a channel.

    Notes
    -----
    ``parameters["gain"]``, ``parameters["b"]``, ``state["running_mean"]`` and
    ``state["running_variance"]`` have shape ``(C,)``. The running variance is the unbiased one, as
    in PyTorch. An x of half precision goes with these in float32: all is computed there, and the
    results are cast to the dtype of x.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch normalization", arXiv:1502.03167, section 3, algorithms 1 and 2.

    Examples
    --------
    >>> import numpy as np
    >>> norm = BatchNorm(2)
    >>> norm.forward(np.array([[1.0, 10.0], [3.0, 30.0]], dtype=np.float32), training=True).round(3)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    def __init__(
        self, channels: int, *, axis: int = -1, momentum: float = 0.1, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        channels = integer("channels", channels, minimum=1)
        self.axis = integer("axis", axis, minimum=-1)
        if self.axis == 0:
            raise ValueError("`axis` must be -1 or at least 1, got 0, which is the batch")
        self.momentum = not_negative("momentum", momentum)
        if momentum > 1:
            raise ValueError(f"`momentum` must be at most 1, got {momentum}")
        self.epsilon = not_negative("epsilon", epsilon)
        self.parameters = {
            "gain": np.ones(channels, dtype=np.float32),
            "b": np.zeros(channels, dtype=np.float32),
        }
        self.state = {
            "running_mean": np.zeros(channels, dtype=np.float32),
            "running_variance": np.ones(channels, dtype=np.float32),
        }

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the normalised x."""
        xp = self._checked_namespace(x)
        gain, b = self.parameters["gain"], self.parameters["b"]
        shape, rows = x.shape, self._long_rows(as_dtype(x, gain.dtype, xp=xp))
        if training:
            m = prod(shape) // gain.shape[0]
            if m < 2:
                raise ValueError(f"`x` must hold two elements a channel to train on, got {m}")
            mean = self._sum(rows) / m
            centred = rows - self._wide(mean, rows)
            variance = self._sum(centred * centred) / m
            self._update(mean, variance * (m / (m - 1)))
        else:
            mean, variance = self.state["running_mean"], self.state["running_variance"]
        s = 1.0 / xp.sqrt(variance + self.epsilon)
        scale = gain * s
        if training:
            y = centred * self._wide(scale, rows)
            y += self._wide(b, rows)  # in place where arrays may be written to
        else:
            y = rows * self._wide(scale, rows)
            y += self._wide(b - mean * scale, rows)
        memory = (centred, None, s) if training else (rows, mean, s)
        return self._remember(memory, as_dtype(xp.reshape(y, shape), x.dtype, xp=xp))

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Set the gradients of gain and bias, return the input's."""
        centred, running_mean, s = self._recall(dy)
        xp, gain = array_namespace(dy=dy), self.parameters["gain"]
        shape, dtype = dy.shape, dy.dtype
        dy = self._long_rows(as_dtype(dy, gain.dtype, xp=xp))
        training = running_mean is None
        if not training:
            centred = centred - self._wide(running_mean, centred)
        db = self._sum(dy)
        dgain = self._sum(dy * centred) * s
        self.gradients = {"gain": dgain, "b": db}
        if not input_gradient:
            return None
        scale = gain * s
        dx = dy * self._wide(scale, dy)
        if training:
            m = prod(shape) // gain.shape[0]
            dx += self._wide(-scale * db / m, dy)
            dx += centred * self._wide(-scale * s * dgain / m, dy)
        return as_dtype(xp.reshape(dx, shape), dtype, xp=xp)

    def _checked_namespace(self, x: Array) -> Namespace:
        """Return the namespace of x, whose dtype and channels must be those of the parameters."""
        gain = self.parameters["gain"]
        xp = array_namespace(x=x, gain=gain)
        if gain.dtype != accumulator(xp, x.dtype):
            raise TypeError(
                "`x` and the parameters must share one dtype, float32 if x is of half precision: "
                f"`x` has {x.dtype}, `gain` has {gain.dtype}"
            )
        check_devices(x=x, gain=gain)
        if x.ndim < 2 or self.axis >= x.ndim or x.shape[self.axis] != gain.shape[0]:
            raise ValueError(
                f"`x` must have {gain.shape[0]} channels on axis {self.axis}, "
                f"got shape {tuple(x.shape)}"
            )
        return xp

    def _update(self, mean: Array, variance: Array) -> None:
        """Let the running statistics follow those of a batch."""
        for key, new in (("running_mean", mean), ("running_variance", variance)):
            self.state[key] = (1.0 - self.momentum) * self.state[key] + self.momentum * new

    def _long_rows(self, x: Array) -> Array:
        """Lay a spatial axis and the channels after it side by side: (..., w, C) -> (..., w*C).

        NumPy takes several times as long for rows as short as the channels alone.
        """
        xp = array_namespace(x=x)
        if self.axis != -1 or x.ndim < 3 or not is_numpy(xp):
            return x
        return xp.reshape(x, (*x.shape[:-2], x.shape[-2] * x.shape[-1]))

    def _sum(self, x: Array) -> Array:
        """Sum over all but the channels: (..., w*C) -> (C,)."""
        xp = array_namespace(x=x)
        axis = self.axis % x.ndim
        total = xp.sum(x, axis=tuple(i for i in range(x.ndim) if i != axis))
        channels = self.parameters["gain"].shape[0]
        if total.shape[0] == channels:
            return total
        return xp.sum(xp.reshape(total, (-1, channels)), axis=0)

    def _wide(self, values: Array, x: Array) -> Array:
        """Repeat and shape one value a channel so that it broadcasts against x."""
        xp = array_namespace(x=x)
        axis = self.axis % x.ndim
        repeats = x.shape[axis] // values.shape[0]
        values = xp.tile(values, (repeats,)) if repeats > 1 else values
        return xp.reshape(values, tuple(-1 if i == axis else 1 for i in range(x.ndim)))
