"""First values of the weights, drawn with NumPy so that every backend starts alike."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Initializer(Protocol):
    """Anything that draws a float32 NumPy array of a given shape and given fans."""

    def __call__(
        self, rng: np.random.Generator, shape: Sequence[int], *, fan_in: int, fan_out: int
    ) -> np.ndarray[Any, Any]:
        """Return the drawn array."""


def glorot_uniform(
    rng: np.random.Generator, shape: Sequence[int], *, fan_in: int, fan_out: int
) -> np.ndarray[Any, Any]:
    """Draw from the uniform distribution on ``±sqrt(6 / (fan_in + fan_out))``.

    Keeps the variance of activations and gradients alike through layers without rectification.

    Parameters
    ----------
    rng : numpy.random.Generator
        The source of the numbers.
    shape : sequence of int
        Shape of the weight.
    fan_in, fan_out : int
        How many inputs one output sums over, and how many outputs one input feeds.

    Returns
    -------
    numpy.ndarray
        float32 array of the given shape.

    See Also
    --------
    he_normal

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.

    Examples
    --------
    >>> import numpy as np
    >>> w = glorot_uniform(np.random.default_rng(0), (100, 200), fan_in=100, fan_out=200)
    >>> w.shape, bool(abs(w).max() <= (6 / 300) ** 0.5)
    ((100, 200), True)
    """
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, tuple(shape)).astype(np.float32)


def he_normal(
    rng: np.random.Generator, shape: Sequence[int], *, fan_in: int, fan_out: int
) -> np.ndarray[Any, Any]:
    """Draw from the normal distribution of variance ``2 / fan_in``.

    Keeps the variance of the activations through layers followed by a ReLU.

    Parameters
    ----------
    rng : numpy.random.Generator
        The source of the numbers.
    shape : sequence of int
        Shape of the weight.
    fan_in, fan_out : int
        How many inputs one output sums over, and how many outputs one input feeds (not used).

    Returns
    -------
    numpy.ndarray
        float32 array of the given shape.

    See Also
    --------
    glorot_uniform

    References
    ----------
    K. He et al., "Delving deep into rectifiers", arXiv:1502.01852, section 2.2, equation 10.

    Examples
    --------
    >>> import numpy as np
    >>> w = he_normal(np.random.default_rng(0), (3, 3, 64, 64), fan_in=576, fan_out=576)
    >>> w.dtype, round(float(w.var()) * 576, 1)
    (dtype('float32'), 2.0)
    """
    return (math.sqrt(2.0 / fan_in) * rng.standard_normal(tuple(shape))).astype(np.float32)
