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

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import array_api_compat
import numpy as np

import anyconv
from anyconv._typing import Array, Namespace, Shape

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

Hyperparameters: TypeAlias = Mapping[str, int]
ConvCache: TypeAlias = tuple[Array, Array, Array, Hyperparameters]
PoolCache: TypeAlias = tuple[Array, Hyperparameters]
PoolMode: TypeAlias = Literal["max", "average"]


def zero_pad(X: Array, pad: int) -> Array:
    """Pad the height and width of all images with zeros.

    Parameters
    ----------
    X : array, shape (m, n_H, n_W, n_C)
        A batch of m images.
    pad : int
        The rows and columns of zeros on each side, at least 0.

    Returns
    -------
    array, shape (m, n_H + 2*pad, n_W + 2*pad, n_C)
        In the dtype of `X`.

    Raises
    ------
    TypeError
        If `X` is not an array, or `pad` not an integer.
    ValueError
        If `X` has not four axes, or `pad` is negative.

    See Also
    --------
    anyconv.pad : Other modes, unequal sides, any number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import zero_pad
    >>> X = np.ones((1, 2, 2, 1))
    >>> zero_pad(X, 1)[0, :, :, 0]
    array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]])
    """
    _namespace(X=X)
    _sizes("X", X, "(m, n_H, n_W, n_C)")
    pad = _integer("pad", pad, minimum=0)
    return anyconv.pad(X, [(pad, pad), (pad, pad)])


def conv_single_step(a_slice_prev: Array, W: Array, b: Array) -> Array:
    """Apply one filter to one window: the sum of all products, plus the bias.

    Parameters
    ----------
    a_slice_prev : array, shape (f, f, n_C_prev), floating or complex
        The cells of the input under the window.
    W : array, shape (f, f, n_C_prev)
        The weights of one filter.
    b : array, shape (1, 1, 1)
        Its bias; any array of one element will do.

    Returns
    -------
    array, shape ()
        ``sum(a_slice_prev * W) + b``: the bias is added once.

    Raises
    ------
    TypeError
        If something is not an array, not of a floating dtype, or of another dtype than the rest.
    ValueError
        If the window and the weights differ in shape, or `b` has more than one element.

    See Also
    --------
    conv_forward : All windows and filters at once.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_single_step
    >>> window, W = np.full((2, 2, 3), 2.0), np.full((2, 2, 3), 0.5)
    >>> float(conv_single_step(window, W, np.full((1, 1, 1), 10.0)))
    22.0
    """
    xp = _floating_namespace(a_slice_prev=a_slice_prev, W=W, b=b)
    _require_shape("W", W, tuple(a_slice_prev.shape), "the shape of `a_slice_prev`")
    _require_one_element("b", b, "(1, 1, 1)")
    return xp.sum(a_slice_prev * W) + xp.reshape(b, ())


def conv_forward(
    A_prev: Array, W: Array, b: Array, hparameters: Hyperparameters
) -> tuple[Array, ConvCache]:
    """Convolve a batch of images with n_C filters.

    Parameters
    ----------
    A_prev : array, shape (m, n_H_prev, n_W_prev, n_C_prev), floating or complex
        The activations of the layer before.
    W : array, shape (f, f, n_C_prev, n_C)
        The filters. They need not be square: (f_H, f_W, n_C_prev, n_C).
    b : array, shape (1, 1, 1, n_C)
        The biases.
    hparameters : dict
        With the keys ``"stride"`` (at least 1) and ``"pad"`` (zeros on each side, at least 0).

    Returns
    -------
    Z : array, shape (m, n_H, n_W, n_C)
        With ``n_H = floor((n_H_prev - f + 2*pad) / stride) + 1``, n_W likewise.
    cache : tuple
        ``(A_prev, W, b, hparameters)``, for `conv_backward`.

    Raises
    ------
    TypeError
        If something is not an array, not of a floating dtype (divide ``uint8`` images by 255), or
        of another namespace or dtype than the rest; if a hyperparameter is not an integer.
    ValueError
        If a shape is wrong, a key is missing, or the filter is larger than the padded images.

    See Also
    --------
    conv_backward : Its gradients.
    anyconv.conv_forward : More options, other layouts, any number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_forward
    >>> rng = np.random.default_rng(1)
    >>> A_prev, W = rng.normal(size=(2, 5, 7, 4)), rng.normal(size=(3, 3, 4, 8))
    >>> Z, cache = conv_forward(A_prev, W, np.zeros((1, 1, 1, 8)), {"pad": 1, "stride": 2})
    >>> Z.shape
    (2, 3, 4, 8)
    """
    xp = _floating_namespace(A_prev=A_prev, W=W, b=b)
    stride, pad = _conv_hyperparameters(hparameters)
    _conv_output_shape(A_prev, W, b, stride, pad)
    Z = anyconv.conv_forward(A_prev, W, xp.reshape(b, (-1,)), stride=stride, padding=pad)
    return Z, (A_prev, W, b, hparameters)


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
        _namespace(A_prev=A_prev)
    else:
        _floating_namespace(A_prev=A_prev)
    f, stride = _pool_hyperparameters(hparameters)
    _pool_output_shape(A_prev, f, stride)
    pool = anyconv.max_pool_forward if mode == "max" else anyconv.avg_pool_forward
    return pool(A_prev, (f, f), stride=stride), (A_prev, hparameters)


def conv_backward(dZ: Array, cache: ConvCache) -> tuple[Array, Array, Array]:
    """Compute the gradients of a convolution.

    Parameters
    ----------
    dZ : array, shape (m, n_H, n_W, n_C)
        The gradient of the cost with respect to the output Z of `conv_forward`.
    cache : tuple
        ``(A_prev, W, b, hparameters)``, as `conv_forward` returned it.

    Returns
    -------
    dA_prev : array, shape (m, n_H_prev, n_W_prev, n_C_prev)
        Zero where no window reaches.
    dW : array, shape (f, f, n_C_prev, n_C)
        Summed over the batch, not averaged.
    db : array, shape (1, 1, 1, n_C)
        Likewise.

    Raises
    ------
    TypeError
        If something is not an array, or of another namespace or dtype than the rest.
    ValueError
        If `dZ` has not the shape of Z, or `cache` is not that of `conv_forward`.

    See Also
    --------
    anyconv.conv_backward : More options, and each gradient alone.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.stepbystep import conv_backward, conv_forward
    >>> A_prev, W, b = np.ones((1, 4, 4, 1)), np.ones((2, 2, 1, 1)), np.zeros((1, 1, 1, 1))
    >>> Z, cache = conv_forward(A_prev, W, b, {"pad": 0, "stride": 2})
    >>> dA_prev, dW, db = conv_backward(np.asarray([1.0, 2.0, 3.0, 4.0]).reshape(Z.shape), cache)
    >>> dA_prev[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.],
           [3., 3., 4., 4.],
           [3., 3., 4., 4.]])
    >>> dW[:, :, 0, 0], db
    (array([[10., 10.],
           [10., 10.]]), array([[[[10.]]]]))
    """
    A_prev, W, b, hparameters = _unpacked(
        cache, "conv_forward", ("A_prev", "W", "b", "hparameters")
    )
    xp = _floating_namespace(dZ=dZ, A_prev=A_prev, W=W, b=b)
    stride, pad = _conv_hyperparameters(hparameters)
    shape = _conv_output_shape(A_prev, W, b, stride, pad)
    _require_shape("dZ", dZ, shape, "the shape of Z")
    dA_prev, dW, db = anyconv.conv_backward(dZ, A_prev, W, stride=stride, padding=pad)
    return dA_prev, dW, xp.reshape(db, b.shape)


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
    xp = _namespace(x=x)
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
        dz = np.asarray(dz)
    xp = _namespace(dz=dz)
    _require_one_element("dz", dz, "()")
    sizes = tuple(_integer("shape", size, minimum=1) for size in shape)
    if xp.isdtype(dz.dtype, "integral"):
        dz = xp.astype(dz, xp.__array_namespace_info__().default_dtypes()["real floating"])
    share = xp.reshape(dz, ()) / math.prod(sizes)
    return xp.zeros(sizes, dtype=dz.dtype, device=array_api_compat.device(dz)) + share


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
    A_prev, hparameters = _unpacked(cache, "pool_forward", ("A_prev", "hparameters"))
    _floating_namespace(dA=dA, A_prev=A_prev)
    f, stride = _pool_hyperparameters(hparameters)
    shape = _pool_output_shape(A_prev, f, stride)
    _require_shape("dA", dA, shape, "the shape of A")
    if mode == "max":
        return anyconv.max_pool_backward(dA, A_prev, (f, f), stride=stride, ties="all")
    return anyconv.avg_pool_backward(dA, tuple(A_prev.shape), (f, f), stride=stride)


def _namespace(**arrays: Array) -> Namespace:
    """Return the one namespace of these arrays, which share their dtype and device too."""
    for name, array in arrays.items():
        if not array_api_compat.is_array_api_obj(array):
            raise TypeError(
                f"`{name}` must be an array, got {type(array).__name__}; "
                "convert it first, for example with numpy.asarray"
            )
    namespaces = {name: array_api_compat.array_namespace(array) for name, array in arrays.items()}
    _require_one("namespace", {name: xp.__name__ for name, xp in namespaces.items()}, TypeError)
    _require_one("dtype", {name: array.dtype for name, array in arrays.items()}, TypeError)
    devices = {name: array_api_compat.device(array) for name, array in arrays.items()}
    _require_one("device", devices, ValueError)
    return next(iter(namespaces.values()))


def _require_one(what: str, found: dict[str, Any], error: type[Exception]) -> None:
    """Raise unless all arrays have the same of something."""
    values = list(found.values())
    if any(value != values[0] for value in values):
        each = ", ".join(f"`{name}` has {value}" for name, value in found.items())
        raise error(f"all arrays of a call must share one {what}: {each}")


def _floating_namespace(**arrays: Array) -> Namespace:
    """Return the one namespace of these arrays, which share a floating or complex dtype."""
    for name, array in arrays.items():
        xp = _namespace(**{name: array})
        if not xp.isdtype(array.dtype, ("real floating", "complex floating")):
            raise TypeError(
                f"`{name}` must be floating or complex, got {array.dtype}; convert it first, "
                f"images for example with xp.astype({name}, xp.float32) / 255"
            )
    return _namespace(**arrays)


def _integer(name: str, value: Any, *, minimum: int) -> int:
    """Return a whole number; Python's, NumPy's or any other that can be an index."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"`{name}` must be a whole number, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {number}")
    return number


def _require_mode(mode: str) -> None:
    """Raise unless the mode is one of the notebook's."""
    if mode not in ("max", "average"):
        raise ValueError(f"`mode` must be 'max' or 'average', got {mode!r}")


def _sizes(name: str, array: Array, axes: str) -> Shape:
    """Return the four sizes of an array whose axes are these."""
    shape = tuple(array.shape)
    if len(shape) != 4:
        raise ValueError(f"`{name}` must have four axes, {axes}, got shape {shape}")
    return shape


def _require_shape(name: str, array: Array, shape: Shape, what: str) -> None:
    """Raise unless an array has the shape of something else."""
    if tuple(array.shape) != shape:
        raise ValueError(f"`{name}` must have {what}, {shape}, got {tuple(array.shape)}")


def _require_one_element(name: str, array: Array, shape: str) -> None:
    """Raise unless an array holds one number."""
    if math.prod(array.shape) != 1:
        raise ValueError(
            f"`{name}` must hold one number, shape {shape}, got shape {tuple(array.shape)}"
        )


def _hyperparameter(hparameters: Hyperparameters, key: str, *, minimum: int) -> int:
    """Return one of the hyperparameters."""
    if not isinstance(hparameters, Mapping):
        raise TypeError(f"`hparameters` must be a dict, got {type(hparameters).__name__}")
    if key not in hparameters:
        raise ValueError(f"`hparameters` must have the key {key!r}, got {list(hparameters)}")
    return _integer(f'hparameters["{key}"]', hparameters[key], minimum=minimum)


def _conv_hyperparameters(hparameters: Hyperparameters) -> tuple[int, int]:
    """Return the stride and the padding."""
    stride = _hyperparameter(hparameters, "stride", minimum=1)
    return stride, _hyperparameter(hparameters, "pad", minimum=0)


def _pool_hyperparameters(hparameters: Hyperparameters) -> tuple[int, int]:
    """Return the size of the window and the stride."""
    f = _hyperparameter(hparameters, "f", minimum=1)
    return f, _hyperparameter(hparameters, "stride", minimum=1)


def _unpacked(cache: Any, maker: str, parts: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the parts of a cache."""
    if not isinstance(cache, tuple | list) or len(cache) != len(parts):
        found = f"{len(cache)} parts" if isinstance(cache, tuple | list) else type(cache).__name__
        raise ValueError(
            f"`cache` must be the ({', '.join(parts)}) that `{maker}` returned, got {found}"
        )
    return tuple(cache)


def _conv_output_shape(A_prev: Array, W: Array, b: Array, stride: int, pad: int) -> Shape:
    """Return the shape of Z, once the shapes of the arguments fit together."""
    m, *size, channels = _sizes("A_prev", A_prev, "(m, n_H_prev, n_W_prev, n_C_prev)")
    *kernel, inputs, filters = _sizes("W", W, "(f, f, n_C_prev, n_C)")
    if inputs != channels:
        raise ValueError(
            f"`W` must have the {channels} channels of `A_prev` as its third axis, "
            f"got shape {tuple(W.shape)}"
        )
    _require_shape("b", b, (1, 1, 1, filters), "the shape (1, 1, 1, n_C)")
    return m, *_output_size("W", size, kernel, stride, pad), filters


def _pool_output_shape(A_prev: Array, f: int, stride: int) -> Shape:
    """Return the shape of A."""
    m, *size, channels = _sizes("A_prev", A_prev, "(m, n_H_prev, n_W_prev, n_C)")
    return m, *_output_size('hparameters["f"]', size, [f, f], stride, 0), channels


def _output_size(name: str, size: list[int], kernel: list[int], stride: int, pad: int) -> Shape:
    """Return (n_H, n_W), rounded down."""
    for n, f in zip(size, kernel, strict=True):
        if f > n + 2 * pad:
            raise ValueError(
                f"`{name}` must not be larger than the padded images: {f} cells do not fit into "
                f"{n} + 2 * {pad} = {n + 2 * pad}"
            )
    return tuple((n + 2 * pad - f) // stride + 1 for n, f in zip(size, kernel, strict=True))
