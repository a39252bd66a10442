"""Convolution and correlation are one bilinear map of the core, after a change of the filter.

The core correlates: `y = core(x, w)`, and its gradients are the Hermitian adjoints in x and in w.
A change of the filter, `w = change(filt)`, makes it either function of this package:

    convolve      change = flip       y = core(x, flip(f))
    correlate     change = conj       y = core(x, conj(f))

Both changes undo themselves, so the adjoint in the filter is `change(core*_w(y, x))`.
"""

from collections.abc import Callable, Sequence

from anyconv import conv_backward_input, conv_backward_weight, conv_forward
from anyconv._namespace import array_namespace
from anyconv._namespace import conjugate as conjugated
from anyconv._typing import Array, Namespace
from anyconv.signal._sizes import Sizes, resolve

Change = Callable[[Array, int, Namespace], Array]


def flip(filt: Array, ndim: int, xp: Namespace) -> Array:
    """The filter with its last `ndim` axes reversed."""
    return xp.flip(filt, axis=tuple(range(-ndim, 0)))


def conjugate(filt: Array, ndim: int, xp: Namespace) -> Array:
    """The conjugated filter, itself where it is real."""
    return conjugated(filt, xp=xp)


def forward(
    change: Change,
    data: Array,
    filt: Array,
    mode: str,
    strides: int | Sequence[int] | None,
    multi_channel: bool,
    algorithm: str,
) -> Array:
    """The output, (..., (c_o,) p_1 .. p_D)."""
    xp, (data, filt) = _promote(data=data, filt=filt)
    sizes = resolve(data.shape, filt.shape, mode, strides, multi_channel)
    y = conv_forward(
        _add_channels(data, sizes, xp),  # (..., c_i, *m)
        _add_filter_channels(change(filt, sizes.ndim, xp), sizes, xp),  # (c_o, c_i, *n)
        stride=sizes.strides,
        padding=sizes.padding,
        layout="channels_first",
        algorithm=algorithm,
    )
    return xp.reshape(y, sizes.output)


def data_adjoint(
    change: Change,
    output: Array,
    filt: Array,
    data_shape: Sequence[int],
    mode: str,
    strides: int | Sequence[int] | None,
    multi_channel: bool,
    algorithm: str,
) -> Array:
    """The adjoint of `forward` in the data, (..., (c_i,) m_1 .. m_D)."""
    xp, (output, filt) = _promote(output=output, filt=filt)
    sizes = resolve(data_shape, filt.shape, mode, strides, multi_channel)
    _check_output(output, sizes)
    dx = conv_backward_input(
        _add_channels(output, sizes, xp),  # (..., c_o, *p)
        _add_filter_channels(change(filt, sizes.ndim, xp), sizes, xp),  # (c_o, c_i, *n)
        _with_channels(sizes.data, sizes),
        stride=sizes.strides,
        padding=sizes.padding,
        layout="channels_first",
        algorithm=algorithm,
    )
    return xp.reshape(dx, sizes.data)


def filter_adjoint(
    change: Change,
    output: Array,
    data: Array,
    filt_shape: Sequence[int],
    mode: str,
    strides: int | Sequence[int] | None,
    multi_channel: bool,
    algorithm: str,
) -> Array:
    """The adjoint of `forward` in the filter, ((c_o, c_i,) n_1 .. n_D)."""
    xp, (output, data) = _promote(output=output, data=data)
    sizes = resolve(data.shape, filt_shape, mode, strides, multi_channel)
    _check_output(output, sizes)
    dw = conv_backward_weight(
        _add_channels(output, sizes, xp),  # (..., c_o, *p)
        _add_channels(data, sizes, xp),  # (..., c_i, *m)
        sizes.filt if multi_channel else (1, 1, *sizes.filt),
        stride=sizes.strides,
        padding=sizes.padding,
        layout="channels_first",
        algorithm=algorithm,
    )
    return change(xp.reshape(dw, sizes.filt), sizes.ndim, xp)


def _promote(**arrays: Array) -> tuple[Namespace, list[Array]]:
    """The arrays in the dtype that the standard's promotion gives them together."""
    xp = array_namespace(**arrays)
    for name, array in arrays.items():
        if not xp.isdtype(array.dtype, ("real floating", "complex floating")):
            raise TypeError(
                f"`{name}` must be of a floating or complex dtype, got {array.dtype};"
                f" convert it first, xp.astype({name}, xp.float32) for instance"
            )
    dtype = xp.result_type(*arrays.values())
    return xp, [xp.astype(array, dtype, copy=False) for array in arrays.values()]


def _check_output(output: Array, sizes: Sizes) -> None:
    if tuple(output.shape) != sizes.output:
        raise ValueError(
            f"`output` must have the shape {sizes.output} that data {sizes.data} and filter"
            f" {sizes.filt} give, got {tuple(output.shape)}"
        )


def _with_channels(shape: tuple[int, ...], sizes: Sizes) -> tuple[int, ...]:
    if sizes.multi_channel:
        return shape
    place = len(shape) - sizes.ndim
    return (*shape[:place], 1, *shape[place:])


def _add_channels(array: Array, sizes: Sizes, xp: Namespace) -> Array:
    return xp.reshape(array, _with_channels(tuple(array.shape), sizes))


def _add_filter_channels(filt: Array, sizes: Sizes, xp: Namespace) -> Array:
    return filt if sizes.multi_channel else xp.reshape(filt, (1, 1, *sizes.filt))
