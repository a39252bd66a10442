"""The pooling of the notebook, forward and backward, and what it is made of."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import anyconv
from anyconv._checks import check_shape, checked_shape
from anyconv._namespace import common_namespace, device, namespace_of_name
from anyconv._typing import Array, Shape
from anyconv.stepbystep._checks import (
    Hyperparameters,
    floating_namespace,
    four_sizes,
    hyperparameter,
    output_size,
    require_one_element,
    unpacked,
)

PoolCache: TypeAlias = tuple[Array, Hyperparameters]
PoolMode: TypeAlias = Literal["max", "average"]


def pool_forward(
    A_prev: Array, hparameters: Hyperparameters, mode: PoolMode = "max"
) -> tuple[Array, PoolCache]:
    """Take the maximum or the average of each f x f window.

    Parameters
    ----------
    A_prev : array, shape (m, n_H_prev, n_W_prev, n_C)
        The activations of the layer before. The maximum takes integers too.
    hparameters : dict
        With the keys ``"f"`` (the size of the window) and ``"stride"``, both at least 1.
    mode : {"max", "average"}
        What to take.

    Returns
    -------
    A : array, shape (m, n_H, n_W, n_C)
        With ``n_H = floor((n_H_prev - f) / stride) + 1``, n_W likewise.
    cache : tuple
        ``(A_prev, hparameters)``, for `pool_backward`.

    Raises
    ------
    TypeError
        If `A_prev` is not an array, or not of a floating dtype for the average; if a
        hyperparameter is not an integer.
    ValueError
        If `mode` is another word, a shape is wrong, a key is missing, or the window is larger than
        the images.

    See Also
    --------
    pool_backward : Its gradient.
    anyconv.max_pool_forward, anyconv.avg_pool_forward : More options.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import pool_forward
    >>> A_prev = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> A, cache = pool_forward(A_prev, {"f": 2, "stride": 2})
    >>> A[0, :, :, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    >>> A, cache = pool_forward(A_prev, {"f": 2, "stride": 2}, mode="average")
    >>> A[0, :, :, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    _require_mode(mode)
    if mode == "max":
        _require_order(A_prev)
    else:
        floating_namespace(A_prev=A_prev)
    f, stride = _pool_hyperparameters(hparameters)
    _pool_output_shape(A_prev, f, stride)
    pool = anyconv.max_pool_forward if mode == "max" else anyconv.avg_pool_forward
    return pool(A_prev, (f, f), stride=stride), (A_prev, hparameters)


def create_mask_from_window(x: Array) -> Array:
    """Return a mask that is true where a window has its maximum.

    Parameters
    ----------
    x : array, shape (f, f)
        One window; any shape will do.

    Returns
    -------
    array of bool, the shape of `x`
        True at every maximum: at several cells if they are equal.

    Raises
    ------
    TypeError
        If `x` is not an array.
    ValueError
        If `x` is empty.

    See Also
    --------
    pool_backward : What it is for.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import create_mask_from_window
    >>> create_mask_from_window(np.asarray([[1.0, 4.0], [4.0, 2.0]]))
    array([[False,  True],
           [ True, False]])
    """
    xp = common_namespace(x=x)
    if math.prod(x.shape) == 0:
        raise ValueError(f"`x` must have at least one element, got shape {tuple(x.shape)}")
    return x == xp.max(x)


def distribute_value(dz: Array, shape: Sequence[int]) -> Array:
    """Spread a number evenly over a window.

    Parameters
    ----------
    dz : array, shape ()
        The number, floating or complex; any array of one element will do. A Python number gives
        an array of NumPy's.
    shape : (int, int)
        The shape ``(n_H, n_W)`` of the window, each at least 1.

    Returns
    -------
    array, shape (n_H, n_W)
        ``dz / (n_H * n_W)`` in every cell.

    Raises
    ------
    TypeError
        If `dz` is neither a number nor an array, or `shape` does not consist of integers.
    ValueError
        If `dz` has more than one element, or a size is below 1.

    See Also
    --------
    pool_backward : What it is for.

    Examples
    --------
    >>> from anyconv.stepbystep import distribute_value
    >>> distribute_value(2, (2, 2))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    if isinstance(dz, int | float | complex) and not isinstance(dz, bool):
        dz = namespace_of_name("numpy").asarray(dz)
    xp = common_namespace(dz=dz)
    require_one_element("dz", dz, "()")
    sizes = checked_shape("shape", shape, minimum=1)
    if not xp.isdtype(dz.dtype, "numeric"):
        raise TypeError(f"`dz` must be a number, got {dz.dtype}")
    if xp.isdtype(dz.dtype, "integral"):
        dz = xp.astype(dz, xp.__array_namespace_info__().default_dtypes()["real floating"])
    share = xp.reshape(dz, ()) / math.prod(sizes)
    return xp.zeros(sizes, dtype=dz.dtype, device=device(dz)) + share


def pool_backward(dA: Array, cache: PoolCache, mode: PoolMode = "max") -> Array:
    """Compute the gradient of pooling.

    Parameters
    ----------
    dA : array, shape (m, n_H, n_W, n_C), floating; or complex for the average
        The gradient of the cost with respect to the output A of `pool_forward`.
    cache : tuple
        ``(A_prev, hparameters)``, as `pool_forward` returned it.
    mode : {"max", "average"}
        The mode that `pool_forward` had.

    Returns
    -------
    array, shape (m, n_H_prev, n_W_prev, n_C)
        Each window's gradient goes to its maximum (to each of them, where several cells hold it),
        or in equal parts to all its cells. Windows that overlap add.

    Raises
    ------
    TypeError
        If something is not an array, not floating, or of another namespace or dtype than the rest.
    ValueError
        If `mode` is another word, `dA` has not the shape of A, or `cache` is not that of
        `pool_forward`.

    See Also
    --------
    create_mask_from_window, distribute_value : What it does to one window.
    anyconv.max_pool_backward, anyconv.avg_pool_backward : More options.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import pool_backward, pool_forward
    >>> A_prev = np.asarray([[1.0, 3.0], [3.0, 2.0]]).reshape(1, 2, 2, 1)
    >>> A, cache = pool_forward(A_prev, {"f": 2, "stride": 2})
    >>> dA = np.full(A.shape, 8.0)
    >>> pool_backward(dA, cache)[0, :, :, 0]
    array([[0., 8.],
           [8., 0.]])
    >>> pool_backward(dA, cache, mode="average")[0, :, :, 0]
    array([[2., 2.],
           [2., 2.]])
    """
    _require_mode(mode)
    A_prev, hparameters = unpacked(cache, "pool_forward", ("A_prev", "hparameters"))
    floating_namespace(dA=dA, A_prev=A_prev)
    if mode == "max":
        _require_order(A_prev)
    f, stride = _pool_hyperparameters(hparameters)
    shape = _pool_output_shape(A_prev, f, stride)
    check_shape("dA", dA.shape, shape, "the shape of A")
    if mode == "max":
        return anyconv.max_pool_backward(dA, A_prev, (f, f), stride=stride, ties="all")
    return anyconv.avg_pool_backward(dA, tuple(A_prev.shape), (f, f), stride=stride)


def _require_mode(mode: str) -> None:
    """Raise unless the mode is one of the notebook's."""
    if mode not in ("max", "average"):
        raise ValueError(f"`mode` must be 'max' or 'average', got {mode!r}")


def _require_order(A_prev: Array) -> None:
    """Raise unless one of the numbers in a window can be the largest."""
    xp = common_namespace(A_prev=A_prev)
    if not xp.isdtype(A_prev.dtype, ("real floating", "integral")):
        raise TypeError(f"`A_prev` must be real for the maximum, got {A_prev.dtype}")


def _pool_hyperparameters(hparameters: Hyperparameters) -> tuple[int, int]:
    """Return the size of the window and the stride."""
    f = hyperparameter(hparameters, "f", minimum=1)
    return f, hyperparameter(hparameters, "stride", minimum=1)


def _pool_output_shape(A_prev: Array, f: int, stride: int) -> Shape:
    """Return the shape of A."""
    m, *size, channels = four_sizes("A_prev", A_prev, "(m, n_H_prev, n_W_prev, n_C)")
    return m, *output_size('hparameters["f"]', size, [f, f], stride, 0), channels
