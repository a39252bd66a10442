"""Unpooling: maxima put back where they were found, and the gradient of that."""

from collections.abc import Callable
from functools import partial
from math import prod

from anyconv._arguments._common import LAYOUTS, check_of_numbers, check_sizes, known_shape
from anyconv._arguments._pool import PoolCall, spatial_rank
from anyconv._checks import check_shape, choice, numbers, per_axis
from anyconv._execution._lazy_batch import over_batch
from anyconv._execution._turns import by_images
from anyconv._layout import split_shape
from anyconv._namespace import (
    array_namespace,
    check_devices,
    device,
    is_kind,
    is_traced,
    item_bytes,
)
from anyconv._options import current_options
from anyconv._pooling._unpooling import bytes_of_a_plane, check_numbers, gather_first, scatter_first
from anyconv._typing import Array, Ints, Layout, Namespace, Shape


def max_unpool_forward(
    y: Array, indices: Array, output_size: Ints, *, layout: Layout = "channels_last"
) -> Array:
    """Put maxima back where `max_pool_forward` found them, zeros elsewhere.

    Parameters
    ----------
    y : array, (*batch, *pooled, C)
        The values. Channels first: (*batch, C, *pooled).
    indices : array of integers, of the shape of y
        The flat position of each within the spatial plane of its batch entry and channel. Those
        outside the plane are dropped.
    output_size : sequence of int, or int
        The spatial sizes of the result; as a sequence it says how many spatial axes there are.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.

    Returns
    -------
    array, (*batch, *output_size, C)
        x. Where several values name one position, the first in row-major order wins.

    Raises
    ------
    TypeError
        If the arrays are of different namespaces, or the indices are no integers.
    ValueError
        If shapes do not fit; if the workspace does not hold what one plane takes, see `options`.

    See Also
    --------
    max_pool_forward : with ``return_indices=True``.
    max_unpool_backward : its gradient.

    References
    ----------
    M. D. Zeiler, R. Fergus, "Visualizing and understanding convolutional networks",
    arXiv:1311.2901, section 2.1. ONNX operator MaxUnpool.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_pool_forward, max_unpool_forward
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> y, indices = max_pool_forward(x, 2, return_indices=True)
    >>> max_unpool_forward(y, indices, (4, 4))[0, ..., 0]
    array([[ 0.,  0.,  0.,  0.],
           [ 0.,  5.,  0.,  7.],
           [ 0.,  0.,  0.,  0.],
           [ 0., 13.,  0., 15.]])
    """
    xp = _values_and_indices("y", y, indices)
    call = _unpool_call(known_shape("y", y), output_size, layout)
    check_shape("indices", known_shape("indices", indices), call.y_shape, "the shape of `y`")
    return over_batch(_unpool, call, [y, indices], [], call.x_shape, xp=xp)


def max_unpool_backward(
    dx: Array,
    indices: Array,
    *,
    layout: Layout = "channels_last",
    output_size: Ints | None = None,
) -> Array:
    """The gradient of `max_unpool_forward`: its output's gradient read at the indices.

    Parameters
    ----------
    dx : array, (*batch, *output_size, C)
        The gradient of the unpooled array. Channels first: (*batch, C, *output_size).
    indices : array of integers, (*batch, *pooled, C)
        The indices that `max_unpool_forward` had.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.
    output_size : sequence of int, optional
        As `max_unpool_forward` had it, needed where there is not exactly one batch axis: without it
        every axis but the first and the channels is taken for a spatial one.

    Returns
    -------
    array, of the shape of `indices`
        dy; zero where another value had won the position.

    Raises
    ------
    TypeError
        If the arrays are of different namespaces, or the indices are no integers.
    ValueError
        If shapes do not fit; if the workspace does not hold what one plane takes, see `options`.

    See Also
    --------
    max_unpool_forward : the function whose gradient this is.

    Notes
    -----
    Shapes do not tell an axis of the batch from a spatial one that pooling left as it was, so with
    two batch axes and no `output_size` the second is silently taken for spatial, and positions are
    read in the wrong plane. Name `output_size` wherever the batch may have other than one axis.

    References
    ----------
    ONNX operator MaxUnpool.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import max_unpool_backward
    >>> dx = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> max_unpool_backward(dx, np.asarray([5, 7, 13, 15]).reshape(1, 2, 2, 1))[0, ..., 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    xp = _values_and_indices("dx", dx, indices)
    sizes = known_shape("dx", dx)
    wanted = 1 if output_size is None else numbers("output_size", output_size, minimum=1)
    choice("layout", layout, LAYOUTS)
    if output_size is None and len(sizes) < 3:
        raise ValueError(
            "`dx` must have a batch, a spatial and a channels axis where no `output_size` is "
            f"given, at least 3 axes, got shape {sizes}"
        )
    rank = spatial_rank("output_size", wanted, sizes, "dx")
    batch, spatial, channels = split_shape(sizes, rank, layout)
    if output_size is not None and per_axis("output_size", wanted, rank) != spatial:
        raise ValueError(f"`output_size` must be the {spatial} of `dx`, got {wanted}")
    found = known_shape("indices", indices)
    core = split_shape(found, rank, layout) if len(found) == len(sizes) else None
    if core is None or (core[0], core[2]) != (batch, channels):
        remedy = "" if output_size is not None else _REMEDY
        raise ValueError(
            f"`indices` must have the batch axes and channels of `dx`, {batch} and {channels}, "
            f"got shape {found}{remedy}"
        )
    check_sizes("indices", found, range(-rank - 1, 0))
    call = PoolCall(batch, spatial, core[1], channels, layout, None)
    return over_batch(_unpool_gradient, call, [dx, indices], [], call.y_shape, xp=xp)


_REMEDY = (
    "; `output_size`, the sequence that `max_unpool_forward` had, says how many axes are spatial "
    "where not exactly one is of the batch"
)


def _unpool_call(y_shape: Shape, output_size: Ints, layout: str) -> PoolCall:
    wanted = numbers("output_size", output_size, minimum=1)
    choice("layout", layout, LAYOUTS)
    rank = spatial_rank("output_size", wanted, y_shape, "y")
    batch, pooled, channels = split_shape(y_shape, rank, layout)
    return PoolCall(batch, per_axis("output_size", wanted, rank), pooled, channels, layout, None)


def _values_and_indices(name: str, values: Array, indices: Array) -> Namespace:
    """The namespace of values and their indices, which differ in dtype."""
    xp = array_namespace(**{name: values, "indices": indices})
    check_of_numbers(name, xp, values.dtype, what="unpooling")
    if not is_kind(xp, indices.dtype, "integral"):
        raise TypeError(f"`indices` must be of integers, got {indices.dtype}")
    check_devices(**{name: values, "indices": indices})
    return xp


def _unpool(call: PoolCall, y: Array, indices: Array, *, xp: Namespace) -> Array:
    cells, m = prod(call.spatial), prod(call.output)
    values, positions = (_planes(a, call, m, xp=xp) for a in (y, indices))
    kernel = partial(scatter_first, cells=cells, xp=xp)
    x = _in_turn(kernel, values, positions, m, cells, result=cells, xp=xp)
    return xp.reshape(x, call.x_shape)


def _unpool_gradient(call: PoolCall, dx: Array, indices: Array, *, xp: Namespace) -> Array:
    cells, m = prod(call.spatial), prod(call.output)
    values, positions = _planes(dx, call, cells, xp=xp), _planes(indices, call, m, xp=xp)
    kernel = partial(gather_first, xp=xp)
    dy = _in_turn(kernel, values, positions, m, cells, result=m, xp=xp)
    return xp.reshape(dy, call.y_shape)


def _planes(x: Array, call: PoolCall, size: int, *, xp: Namespace) -> Array:
    """`(n, size, c)`. Channels first, each plane is an image of one channel."""
    n = prod(call.batch)
    if call.layout == "channels_first":
        return xp.reshape(x, (n * call.channels, size, 1))
    return xp.reshape(x, (n, size, call.channels))


def _in_turn(
    kernel: Callable[[Array, Array], Array],
    values: Array,
    positions: Array,
    m: int,
    cells: int,
    *,
    result: int,
    xp: Namespace,
) -> Array:
    """Images in turn, or planes where the workspace does not hold one image's: `(n, result, c)`."""
    n, _, c = values.shape
    if is_traced(xp):
        check_numbers(n, m, cells, c, xp=xp)
        return kernel(values, positions)
    plane = bytes_of_a_plane(m, cells, values.dtype, xp=xp)
    own = result * item_bytes(xp, values.dtype)
    most = max(current_options().workspace_bytes // (plane + own), 1)
    if most >= c:
        arrays = [values, positions]
        return by_images(kernel, arrays, (result, c), each=plane * c, xp=xp)
    x = xp.empty((n, result, c), dtype=values.dtype, device=device(values))
    for start in range(0, c, most):
        planes = (..., slice(start, min(start + most, c)))
        arrays, out = [values[planes], positions[planes]], x[planes]
        by_images(kernel, arrays, out.shape[1:], each=plane * out.shape[-1], out=out, xp=xp)
    return x
