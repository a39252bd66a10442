"""Windows and padding as functions of their own, each beside its adjoint."""

from collections.abc import Sequence
from math import prod
from typing import Any

from anyconv._arguments._common import (
    LAYOUTS,
    PADDING_MODES,
    check_numeric,
    check_of_numbers,
    check_padding_mode,
    check_sizes,
    explicit_pairs,
    known_shape,
    padding_spec,
)
from anyconv._arguments._pool import PoolCall, pool_call, spatial_rank, window_options
from anyconv._checks import check_shape, checked_shape, choice, numbers, per_axis
from anyconv._cupy_kernels import is_copied_first
from anyconv._execution._lazy_batch import over_batch
from anyconv._execution._turns import added_by_images, by_images
from anyconv._geometry import Pairs, WindowGeometry
from anyconv._layout import from_canonical, join_shape, split_shape, to_canonical
from anyconv._namespace import common_namespace, has_strided_views, item_bytes
from anyconv._typing import Array, Ints, Layout, Namespace, Padding, PaddingMode, Shape
from anyconv._windows import fold as fold_windows
from anyconv._windows import pad as pad_cells
from anyconv._windows import pad_adjoint, slab
from anyconv._windows import unfold as unfold_windows


def unfold(
    x: Array,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: Layout = "channels_last",
) -> Array:
    """Cut the windows that a convolution would see (im2col).

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, numbers or truth values. With ``layout="channels_first"``: (*batch, C, *spatial).
    kernel_size : int or one int for each spatial axis
        The size of a window; as a sequence it says how many spatial axes there are. One number
        means every axis but the first (batch) and the channels.
    stride, padding, dilation, layout
        As in `conv_forward`; the padding is zeros.

    Returns
    -------
    array, (*batch, *output, *kernel, C)
        The windows. Channels first: (*batch, C, *kernel, *output).

    Raises
    ------
    TypeError
        If x is no array; if an option is of the wrong kind.
    ValueError
        If sizes do not fit; if the workspace does not hold what one image takes, see `options`.

    See Also
    --------
    fold : its adjoint.

    Notes
    -----
    The result is `prod(kernel)` times as large as x. Convolution itself never unfolds more than the
    workspace at once.

    References
    ----------
    K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document
    processing", 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import unfold
    >>> unfold(np.ones((8, 32, 32, 3)), (5, 5), padding=2).shape
    (8, 32, 32, 5, 5, 3)
    >>> unfold(np.arange(4)[:, None], (2,))[..., 0]
    array([[0, 1],
           [1, 2],
           [2, 3]])
    """
    xp = common_namespace(x=x)
    check_of_numbers("x", xp, x.dtype, what="`unfold`")
    options = window_options(kernel_size, stride, padding, dilation, layout)
    call = pool_call(known_shape("x", x), options)
    return over_batch(_unfold, call, [x], [], _windows_shape(call), xp=xp)


def fold(
    windows: Array,
    output_size: Ints,
    kernel_size: Ints,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    layout: Layout = "channels_last",
) -> Array:
    """Add windows back where `unfold` cut them (col2im): its adjoint.

    Parameters
    ----------
    windows : array, (*batch, *output, *kernel, C)
        The windows. With ``layout="channels_first"``: (*batch, C, *kernel, *output).
    output_size : int or one int for each spatial axis
        The spatial sizes of x, which a stride leaves open.
    kernel_size, stride, padding, dilation, layout
        As `unfold` had them. Where neither size is a sequence, one batch axis is taken for granted.

    Returns
    -------
    array, (*batch, *output_size, C)
        The sum of all windows, each in its place; zero where none lies. Channels first: (*batch, C,
        *output_size).

    Raises
    ------
    TypeError
        If `windows` is no array of numbers; if an option is of the wrong kind.
    ValueError
        If sizes do not fit; if the workspace does not hold what one image takes, see `options`.

    See Also
    --------
    unfold : the map whose adjoint this is.

    References
    ----------
    PyTorch's torch.nn.Fold.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import fold, unfold
    >>> windows = unfold(np.ones((4, 1)), (2,))
    >>> fold(windows, (4,), (2,))[:, 0]  # how many windows hold each cell
    array([1., 2., 2., 1.])
    """
    xp = common_namespace(windows=windows)
    check_numeric("windows", xp, windows.dtype, what="`fold`")
    choice("layout", layout, LAYOUTS)
    found = known_shape("windows", windows)
    size = numbers("output_size", output_size, minimum=1)
    kernel = numbers("kernel_size", kernel_size, minimum=1)
    given = next((value for value in (kernel, size) if isinstance(value, tuple)), None)
    rank = max((len(found) - 2) // 2, 1) if given is None else len(given)
    if rank < 1:
        empty = "output_size" if size == () else "kernel_size"
        raise ValueError(f"`{empty}` must have one entry or more, got none")
    if len(found) < 2 * rank + 1:
        raise ValueError(
            f"`windows` must have {rank} output axes, {rank} kernel axes and a channels axis, at "
            f"least {2 * rank + 1} axes, got shape {found}"
        )
    check_sizes("windows", found, range(-2 * rank - 1, 0))
    batch = found[: len(found) - 2 * rank - 1]
    channels = found[-1] if layout == "channels_last" else found[len(batch)]
    options = window_options(
        per_axis("kernel_size", kernel, rank), stride, padding, dilation, layout
    )
    call = pool_call(
        join_shape(batch, per_axis("output_size", size, rank), channels, layout),
        options,
        name="output_size",
    )
    check_shape("windows", found, _windows_shape(call), "the shape that `unfold` gives")
    return over_batch(_fold, call, [windows], [], call.x_shape, xp=xp)


def pad(
    x: Array,
    padding: Padding,
    *,
    mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
) -> Array:
    """Add cells before and after each spatial axis.

    Parameters
    ----------
    x : array, (*batch, *spatial, C)
        The input, numbers or truth values. With ``layout="channels_first"``: (*batch, C, *spatial).
    padding : int, or one int or one (before, after) pair for each spatial axis
        How many cells; as a sequence it says how many spatial axes there are. One number means
        every axis but the first (batch) and the channels.
    mode : {"zeros", "reflect", "replicate", "circular"}
        What they hold: 1234 -> 00 1234 00, 32 1234 32, 11 1234 44 or 34 1234 12.
    layout : {"channels_last", "channels_first"}
        Where the channels axis is.

    Returns
    -------
    array, (*batch, *padded, C)
        ``padded = before + input + after``. Channels first: (*batch, C, *padded).

    Raises
    ------
    TypeError
        If x is no array; if an option is of the wrong kind.
    ValueError
        If sizes do not fit; if a reflection is not smaller than the input.

    See Also
    --------
    pad_backward : its adjoint.

    References
    ----------
    PyTorch's torch.nn.functional.pad, whose words the modes are.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import pad
    >>> pad(np.asarray([[1], [2], [3], [4]]), (2,), mode="reflect")[:, 0]
    array([3, 2, 1, 2, 3, 4, 3, 2])
    """
    xp = common_namespace(x=x)
    check_of_numbers("x", xp, x.dtype, what="`pad`")
    call, pairs = _pad_call(known_shape("x", x), padding, mode, layout, "x")
    kernel = _Pad(pairs, mode)
    return over_batch(kernel.forward, call, [x], [], call.y_shape, xp=xp)


def pad_backward(
    dy: Array,
    input_shape: Sequence[int],
    padding: Padding,
    *,
    mode: PaddingMode = "zeros",
    layout: Layout = "channels_last",
) -> Array:
    """The adjoint of `pad`: each cell is added to the one that it was read from.

    Parameters
    ----------
    dy : array, (*batch, *padded, C)
        The gradient of the padded array. Channels first: (*batch, C, *padded).
    input_shape : sequence of int
        The shape of x.
    padding, mode, layout
        As `pad` had them.

    Returns
    -------
    array, `input_shape`
        dx.

    Raises
    ------
    TypeError, ValueError
        As `pad`, and if dy is not of numbers or has not the shape of its result; if the workspace
        does not hold one padded image.

    See Also
    --------
    pad : the map whose adjoint this is.

    References
    ----------
    PyTorch's torch.nn.functional.pad.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import pad_backward
    >>> pad_backward(np.ones((8, 1)), (4, 1), (2,), mode="reflect")[:, 0]
    array([1., 3., 3., 1.])
    """
    xp = common_namespace(dy=dy)
    check_numeric("dy", xp, dy.dtype, what="`pad_backward`")
    sizes = checked_shape("input_shape", input_shape)
    call, pairs = _pad_call(sizes, padding, mode, layout, "input_shape")
    check_shape("dy", known_shape("dy", dy), call.y_shape, "the shape of the padded array")
    kernel = _Pad(pairs, mode)
    return over_batch(kernel.backward, call, [dy], [], call.x_shape, xp=xp)


def _pad_call(
    sizes: Shape, padding: Any, mode: Any, layout: Any, name: str
) -> tuple[PoolCall, Pairs]:
    choice("mode", mode, PADDING_MODES)
    choice("layout", layout, LAYOUTS)
    if isinstance(padding, str):
        raise ValueError(f"`padding` must be numbers where there is no kernel, got {padding!r}")
    spec = padding_spec(padding)
    assert not isinstance(spec, str)
    rank = spatial_rank("padding", spec, sizes, name)
    pairs = explicit_pairs(spec, rank)
    batch, spatial, channels = split_shape(sizes, rank, layout)
    check_padding_mode(mode, spatial, pairs)
    padded = tuple(i + sum(pair) for i, pair in zip(spatial, pairs, strict=True))
    return PoolCall(batch, spatial, padded, channels, layout, None), pairs


class _Pad:
    """One padding and its adjoint, as kernels for `over_batch`."""

    def __init__(self, pairs: Pairs, mode: str) -> None:
        self.pairs, self.mode = pairs, mode

    def forward(self, call: PoolCall, x: Array, *, xp: Namespace) -> Array:
        x = to_canonical(x, call.rank, call.layout, xp=xp)
        y = pad_cells(x, self.pairs, self.mode, xp=xp)
        y = xp.astype(x, x.dtype, copy=True) if y is x else y
        return from_canonical(y, call.batch, call.layout, xp=xp)

    def backward(self, call: PoolCall, dy: Array, *, xp: Namespace) -> Array:
        dy = to_canonical(dy, call.rank, call.layout, xp=xp)

        def gradient(dy: Array) -> Array:
            dy = xp.astype(dy, dy.dtype, copy=True)  # to be added in
            return pad_adjoint(dy, call.spatial, self.pairs, self.mode, xp=xp)

        shape = (*call.spatial, call.channels)
        cells = prod(call.output) * call.channels
        dx = added_by_images(gradient, dy, shape, cells=cells, is_view=True, xp=xp)
        return from_canonical(dx, call.batch, call.layout, xp=xp)


def _geometry(call: PoolCall) -> WindowGeometry:
    if call.geometry is None:
        raise TypeError("a call without a kernel has no windows")
    return call.geometry


def _windows_shape(call: PoolCall) -> Shape:
    kernel = _geometry(call).kernel
    if call.layout == "channels_first":
        return (*call.batch, call.channels, *kernel, *call.output)
    return (*call.batch, *call.output, *kernel, call.channels)


def _unfold(call: PoolCall, x: Array, *, xp: Namespace) -> Array:
    geometry, rank = _geometry(call), call.rank
    x = to_canonical(x, rank, call.layout, xp=xp)

    def cut(x: Array) -> Array:
        x = slab(x, slice(None), geometry.covered, xp=xp)
        u = unfold_windows(x, geometry.windows, xp=xp)  # (n, *output, *kernel, c), maybe a view
        if call.layout == "channels_first":
            axes = (0, 2 * rank + 1, *range(rank + 1, 2 * rank + 1), *range(1, rank + 1))
            u = xp.permute_dims(u, axes)
        return u

    windows = _windows_shape(call)
    each = 0
    if geometry.is_padded:
        each += prod(geometry.windows.input) * call.channels
    if not has_strided_views(xp):
        each += 2 * prod(windows[len(call.batch) :])
    u = by_images(
        cut,
        [x],
        windows[len(call.batch) :],
        each=each * item_bytes(xp, x.dtype),
        is_view=True,
        xp=xp,
    )
    return xp.reshape(u, windows)


def _fold(call: PoolCall, windows: Array, *, xp: Namespace) -> Array:
    geometry, rank = _geometry(call), call.rank
    u = xp.reshape(windows, (prod(call.batch), *windows.shape[len(call.batch) :]))
    if call.layout == "channels_first":
        u = xp.permute_dims(u, (0, *range(rank + 2, 2 * rank + 2), *range(2, rank + 2), 1))
    axes = tuple(zip(geometry.covered, call.spatial, strict=True))
    box = tuple((-start, size - start) for (start, _), size in axes)  # x among the covered cells

    def add(u: Array) -> Array:
        return slab(fold_windows(u, geometry.windows, xp=xp), slice(None), box, xp=xp)

    shape = (*call.spatial, call.channels)
    is_whole = geometry.windows.input == call.spatial and not geometry.is_padded
    is_view = geometry.windows.is_pointwise or not is_whole
    cells = prod(geometry.windows.input) * call.channels if is_view else 0
    if any(start > 0 or stop < size for (start, stop), size in axes):
        cells += prod(shape)
    if is_copied_first(u, xp=xp):
        cells += prod(u.shape[1:])
    x = added_by_images(add, u, shape, cells=cells, is_view=is_view, xp=xp)
    return from_canonical(x, call.batch, call.layout, xp=xp)
