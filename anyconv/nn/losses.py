"""The loss of a classifier: softmax and cross-entropy in one, which is exact for large scores."""

from typing import Any

from anyconv._checks import fraction
from anyconv._namespace import array_namespace, device
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
    TypeError, ValueError
        If `label_smoothing` is no number, or out of range.

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
        each = xp.arange(classes, dtype=labels.dtype, device=device(labels))
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
        return (array_namespace(target=target).exp(logarithms) - target) / target.shape[0]


def _check_scores(scores: Array, xp: Namespace) -> None:
    """Refuse scores that are not real, or of no class."""
    if not xp.isdtype(scores.dtype, "real floating"):
        raise TypeError(f"`scores` must be real floating, got {scores.dtype}")
    if scores.ndim != 2 or scores.shape[1] < 1:
        raise ValueError(
            f"`scores` must have shape (m, classes), one class or more, got {tuple(scores.shape)}"
        )
