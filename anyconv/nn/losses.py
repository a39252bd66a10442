"""The loss of a classifier: softmax and cross-entropy in one, which is exact for large scores."""

import math
from typing import Any

from anyconv._checks import fraction
from anyconv._namespace import accumulator, array_namespace, as_dtype, device, index_dtype
from anyconv._typing import Array, Namespace


def softmax(scores: Array) -> Array:
    """Return the probabilities that belong to scores (logits).

    Parameters
    ----------
    scores : array, shape (m, classes)
        Any real numbers; adding one number to a row changes nothing.

    Returns
    -------
    array, shape (m, classes)
        ``exp(scores) / sum exp(scores)`` of each row, computed without overflow.

    See Also
    --------
    SoftmaxCrossEntropy

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    xp = array_namespace(scores=scores)
    _check_scores(scores, xp)
    powers = xp.exp(_below_highest(scores, xp))
    return powers / xp.sum(powers, axis=1, keepdims=True)


class SoftmaxCrossEntropy:
    """The mean over a batch of ``-sum target * log(softmax(scores))``.

    Parameters
    ----------
    label_smoothing : float
        The share of the target that is spread evenly over all classes, at least 0, less than 1.

    Raises
    ------
    TypeError, ValueError
        If `label_smoothing` is no number, or out of range.

    Notes
    -----
    ``scores (m, classes)``, integer ``labels (m,)`` of the same namespace; the loss is an array
    without axes. The gradient is ``(softmax(scores) - target) / m``. A label outside the classes
    has no target of its own and is not noticed: no branch depends on a value. A score of minus
    infinity leaves a class out; its target must then be zero, else the loss is infinite. Half
    precision is computed in float32.

    See Also
    --------
    softmax

    References
    ----------
    Label smoothing: C. Szegedy et al., arXiv:1512.00567, section 7.

    Examples
    --------
    >>> import numpy as np
    >>> loss = SoftmaxCrossEntropy()
    >>> round(float(loss.forward(np.zeros((4, 10)), np.arange(4))), 4)  # log(10)
    2.3026
    >>> loss.backward().shape
    (4, 10)
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = fraction("label_smoothing", label_smoothing)
        self._memory: Any = None

    def forward(self, scores: Array, labels: Array) -> Array:
        """Return the mean loss."""
        xp = array_namespace(scores=scores, labels=labels)
        _check_scores(scores, xp)
        if tuple(labels.shape) != (scores.shape[0],):
            raise ValueError(
                "`scores` must have shape (m, classes) and `labels` shape (m,), "
                f"got {tuple(scores.shape)} and {tuple(labels.shape)}"
            )
        if scores.shape[0] < 1:
            raise ValueError(f"`scores` must have one row or more, got shape {scores.shape}")
        if not xp.isdtype(labels.dtype, "integral"):
            raise TypeError(f"`labels` must be of integers, got {labels.dtype}")
        m, classes = scores.shape
        dtype, wide = scores.dtype, accumulator(xp, scores.dtype)
        labels = as_dtype(labels, index_dtype(xp), xp=xp)  # small integers cannot count all classes
        each = xp.arange(classes, dtype=labels.dtype, device=device(labels))
        hit = xp.astype(labels[:, None] == each[None, :], wide)  # (m, classes)
        target = hit * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        shifted = _below_highest(as_dtype(scores, wide, xp=xp), xp)
        logarithms = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        self._memory = logarithms, target, dtype
        aimed = xp.where(target > 0, logarithms, xp.zeros_like(logarithms))  # 0 * -inf is NaN
        return as_dtype(-xp.sum(target * aimed) / m, dtype, xp=xp)

    def backward(self) -> Array:
        """Return the gradient of the loss in the scores."""
        if self._memory is None:
            raise RuntimeError("`SoftmaxCrossEntropy.backward` needs a `forward` before it")
        logarithms, target, dtype = self._memory
        xp = array_namespace(target=target)
        return as_dtype((xp.exp(logarithms) - target) / target.shape[0], dtype, xp=xp)


def _below_highest(scores: Array, xp: Namespace) -> Array:
    """Return scores minus the highest of their row; minus infinity where that would overflow."""
    highest = xp.max(scores, axis=1, keepdims=True)  # (m, classes) -> (m, 1)
    least = xp.maximum(highest, xp.zeros_like(highest)) + float(xp.finfo(scores.dtype).min)
    return xp.where(scores < least, xp.full_like(scores, -math.inf), scores) - highest


def _check_scores(scores: Array, xp: Namespace) -> None:
    """Refuse scores that are not real, or of no class."""
    if not xp.isdtype(scores.dtype, "real floating"):
        raise TypeError(f"`scores` must be real floating, got {scores.dtype}")
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise ValueError(
            f"`scores` must have shape (m, classes), one class or more, got {tuple(scores.shape)}"
        )
