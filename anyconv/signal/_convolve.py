"""Convolution in the sense of signal processing: the filter is flipped; and its two adjoints."""

from collections.abc import Sequence

from anyconv._typing import Array
from anyconv.signal import _filtering


def convolve(
    data: Array,
    filt: Array,
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Convolve data with a filter along the last D axes.

    ::

        output[..., k] = sum_l data[..., l] filt[k - l]                 multi_channel=False
        output[..., o, k] = sum_i sum_l data[..., i, l] filt[o, i, k - l]    multi_channel=True

    Parameters
    ----------
    data : array, (..., m_1, ..., m_D) or (..., c_i, m_1, ..., m_D)
        Any number of batch axes first, none included.
    filt : array, (n_1, ..., n_D) or (c_o, c_i, n_1, ..., n_D)
        Its axes give D.
    mode : {"full", "valid", "same"}
        Which outputs to keep, along each axis: ``"full"`` all ``m + n - 1`` where data and filter
        overlap, ``"valid"`` the ``m - n + 1`` that need no zeros around the data, ``"same"`` the
        ``m`` in the middle of ``"full"``, from ``(n - 1) // 2`` on, as SciPy centres them.
    strides : int or sequence of D ints, optional
        Keep every s-th of these outputs, from the first: ``p = ceil(.../s)``.
    multi_channel : bool
        Whether data, filter and output have channels.
    algorithm : str
        How to compute it, as in `anyconv.conv_forward`.

    Returns
    -------
    array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        Of the dtype that the array API's promotion gives data and filter together.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or the mode or the strides are not legal. In mode
        ``"valid"`` the filter must fit into the data along every axis: the two are never swapped
        (as SciPy does where the filter is the larger), for the batch and the strides are the
        data's.
    TypeError
        If an array is neither floating nor complex, or the arrays are of two libraries.

    See Also
    --------
    convolve_data_adjoint, convolve_filter_adjoint : the adjoints of this map.
    correlate : the filter conjugated in place of flipped.
    anyconv.conv_forward : the operation of neural networks, unflipped, with groups and dilation.

    References
    ----------
    A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing, 3rd edition, section 2.3.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import convolve
    >>> data = np.asarray([1.0, 0.0, 0.0, 2.0])
    >>> filt = np.asarray([1.0, 2.0, 3.0])
    >>> convolve(data, filt)
    array([1., 2., 3., 2., 4., 6.])
    >>> convolve(data, filt, mode="same")
    array([2., 3., 2., 4.])
    >>> convolve(data, filt, mode="valid")
    array([3., 2.])
    >>> convolve(data, filt * 1j, strides=2)
    array([0.+1.j, 0.+3.j, 0.+4.j])

    Eight coils from one image, with one filter each:

    >>> coils = convolve(np.ones((1, 32, 32)), np.ones((8, 1, 5, 5)), multi_channel=True)
    >>> coils.shape
    (8, 36, 36)
    """
    return _filtering.forward(_filtering.flip, data, filt, mode, strides, multi_channel, algorithm)


def convolve_data_adjoint(
    output: Array,
    filt: Array,
    data_shape: Sequence[int],
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Apply the Hermitian adjoint of `convolve` as a map of its data.

    ``<convolve(data, filt), output> = <data, convolve_data_adjoint(output, filt, data.shape)>``
    for every data and output, with the inner product that conjugates one side. The filter is
    conjugated. Where a stride leaves data unread, the adjoint there is zero.

    Parameters
    ----------
    output : array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        An element of `convolve`'s output space.
    filt : array, (n_1, ..., n_D) or (c_o, c_i, n_1, ..., n_D)
        The filter of `convolve`.
    data_shape : sequence of int
        The shape of its data, batch axes included; with strides the output does not tell it.
    mode, strides, multi_channel, algorithm
        As in `convolve`.

    Returns
    -------
    array of the shape `data_shape`
        Of the dtype that the array API's promotion gives output and filter together.

    Raises
    ------
    ValueError
        As in `convolve`, and if `output` is not of the shape that `convolve` would give.
    TypeError
        As in `convolve`.

    See Also
    --------
    convolve, convolve_filter_adjoint
    anyconv.conv_backward_input : the same for the operation of neural networks.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import convolve_data_adjoint
    >>> output, filt = np.asarray([1.0, 0.0, 1.0]), np.asarray([1.0, 2.0j])
    >>> convolve_data_adjoint(output, filt, (5,), strides=2)
    array([1.+0.j, 0.+0.j, 0.+0.j, 0.-2.j, 1.+0.j])
    """
    return _filtering.data_adjoint(
        _filtering.flip, output, filt, data_shape, mode, strides, multi_channel, algorithm
    )


def convolve_filter_adjoint(
    output: Array,
    data: Array,
    filt_shape: Sequence[int],
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Apply the Hermitian adjoint of `convolve` as a map of its filter.

    ``<convolve(data, filt), output> = <filt, convolve_filter_adjoint(output, data, filt.shape)>``
    for every filter and output, with the inner product that conjugates one side. The data is
    conjugated, and the batch is summed.

    Parameters
    ----------
    output : array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        An element of `convolve`'s output space.
    data : array, (..., m_1, ..., m_D) or (..., c_i, m_1, ..., m_D)
        The data of `convolve`.
    filt_shape : sequence of int
        The shape of its filter; with strides the output does not tell it.
    mode, strides, multi_channel, algorithm
        As in `convolve`.

    Returns
    -------
    array of the shape `filt_shape`
        Of the dtype that the array API's promotion gives output and data together.

    Raises
    ------
    ValueError
        As in `convolve`, and if `output` is not of the shape that `convolve` would give.
    TypeError
        As in `convolve`.

    See Also
    --------
    convolve, convolve_data_adjoint
    anyconv.conv_backward_weight : the same for the operation of neural networks.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import convolve_filter_adjoint
    >>> output, data = np.asarray([1.0, 0.0, 0.0, 2.0]), np.asarray([1.0, 2.0, 3.0])
    >>> convolve_filter_adjoint(output, data, (2,))
    array([1., 6.])
    """
    return _filtering.filter_adjoint(
        _filtering.flip, output, data, filt_shape, mode, strides, multi_channel, algorithm
    )
