"""The loss of a classifier: softmax and cross-entropy in one, which is exact for large scores."""

from typing import Any

from anyconv._typing import Array

from ._arrays import device_of, namespace_of


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
    xp = namespace_of(scores)
    powers = xp.exp(scores - xp.max(scores, axis=1, keepdims=True))
    return powers / xp.sum(powers, axis=1, keepdims=True)


class SoftmaxCrossEntropy:
    """The mean over a batch of ``-sum target * log(softmax(scores))``.

    Parameters
    ----------
    label_smoothing : float
        The share of the target that is spread evenly over all classes, at least 0, less than 1.

    Raises
    ------
    ValueError
        If `label_smoothing` is out of range.

    Notes
    -----
    ``scores (m, classes)``, integer ``labels (m,)`` of the same namespace; the loss is an array
    without axes. The gradient is ``(softmax(scores) - target) / m``. A label outside the classes
    has no target of its own and is not noticed: no branch depends on a value.

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
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(
                f"`label_smoothing` must be at least 0 and less than 1, got {label_smoothing}"
            )
        self.label_smoothing = label_smoothing
        self._memory: Any = None

    def forward(self, scores: Array, labels: Array) -> Array:
        """Return the mean loss."""
        if scores.ndim != 2 or tuple(labels.shape) != (scores.shape[0],):
            raise ValueError(
                "`scores` must have shape (m, classes) and `labels` shape (m,), "
                f"got {tuple(scores.shape)} and {tuple(labels.shape)}"
            )
        xp = namespace_of(scores, labels)
        m, classes = scores.shape
        each = xp.arange(classes, dtype=labels.dtype, device=device_of(labels))
        hit = xp.astype(labels[:, None] == each[None, :], scores.dtype)  # (m, classes)
        target = hit * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        shifted = scores - xp.max(scores, axis=1, keepdims=True)
        logarithms = shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
        self._memory = logarithms, target
        return -xp.sum(target * logarithms) / m

    def backward(self) -> Array:
        """Return the gradient of the loss in the scores."""
        if self._memory is None:
            raise RuntimeError("`SoftmaxCrossEntropy.backward` needs a `forward` before it")
        logarithms, target = self._memory
        return (namespace_of(target).exp(logarithms) - target) / target.shape[0]
