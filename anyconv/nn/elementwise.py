"""The layers that have no parameters and look at one element at a time: ReLU, Dropout, Flatten."""

from math import prod

import numpy as np

from anyconv._checks import fraction
from anyconv._namespace import array_namespace
from anyconv._typing import Array, Namespace

from ._arrays import like
from .layer import Layer


class ReLU(Layer):
    """``max(x, 0)``, whose gradient at zero is taken as zero.

    Examples
    --------
    >>> import numpy as np
    >>> relu = ReLU()
    >>> relu.forward(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    >>> relu.backward(np.ones(3))
    array([0., 0., 1.])
    """

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x where it is positive, zero elsewhere."""
        xp = _namespace_of_batch(x)
        y = xp.maximum(x, xp.zeros_like(x[..., :1]))
        return self._remember(y, y)

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Return the gradient where the output was positive, zero elsewhere."""
        y = self._recall(dy)
        xp = array_namespace(dy=dy)
        return dy * xp.astype(y > 0, dy.dtype)


class Dropout(Layer):
    """Set a random share of the elements to zero while training, and scale up the others.

    Parameters
    ----------
    rate : float
        The share to drop, at least 0 and less than 1.
    rng : numpy.random.Generator or int, optional
        Where the choice is drawn from: NumPy's Generator on every backend, then moved.

    Raises
    ------
    TypeError, ValueError
        If `rate` is no number, or out of range; by `forward` if x holds integers.

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15 (2014), section 4; here the scaling by 1 / (1 - rate) is done while training.

    Examples
    --------
    >>> import numpy as np
    >>> dropout = Dropout(0.5, rng=0)
    >>> sorted(set(dropout.forward(np.ones(100), training=True).tolist()))
    [0.0, 2.0]
    >>> bool((dropout.forward(np.ones(100)) == 1).all())
    True
    """

    def __init__(self, rate: float, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        self.rate = fraction("rate", rate)
        self.rng = np.random.default_rng(rng)

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x with some elements dropped while training, x itself otherwise."""
        xp = array_namespace(x=x)
        if not xp.isdtype(x.dtype, ("real floating", "complex floating")):
            raise TypeError(
                f"`x` must be real or complex floating for `Dropout`, got {x.dtype}: integers "
                "cannot be scaled"
            )
        if not training or self.rate == 0.0:
            return self._remember(None, x)
        kept = self.rng.random(tuple(x.shape)) >= self.rate
        factor = like(kept / (1.0 - self.rate), x)
        return self._remember(factor, x * factor)

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Return the gradient, zero where the element was dropped."""
        factor = self._recall(dy)
        return dy if factor is None else dy * factor

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"


class Flatten(Layer):
    """All axes but the first as one.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten().forward(np.zeros((5, 2, 2, 16))).shape
    (5, 64)
    """

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return x as (m, everything else)."""
        xp = _namespace_of_batch(x)
        return self._remember(x.shape, xp.reshape(x, (x.shape[0], prod(x.shape[1:]))))

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Return the gradient in the shape of the input."""
        shape = self._recall(dy)
        return array_namespace(dy=dy).reshape(dy, shape)


def _namespace_of_batch(x: Array) -> Namespace:
    """Return the namespace of an array with an axis to it."""
    xp = array_namespace(x=x)
    if x.ndim < 1:
        raise ValueError("`x` must have a batch axis, got shape ()")
    return xp
