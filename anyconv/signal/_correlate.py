"""Correlation in the sense of signal processing: the filter is conjugated; and its adjoints."""

from collections.abc import Sequence

from anyconv._typing import Array
from anyconv.signal import _filtering


def correlate(
    data: Array,
    filt: Array,
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Correlate data with a filter along the last D axes: a matched filter, for instance.

    ::

        output[..., k] = sum_l data[..., l + k] conj(filt[l])

    The filter is conjugated and not flipped, so that this is
    ``convolve(data, conj(flip(filt)))``: ``"full"`` begins at the lag ``-(n - 1)``, ``"valid"``
    at zero, ``"same"`` at ``-(n // 2)``, as in `scipy.signal.correlate`.

    Parameters
    ----------
    data : array, (..., m_1, ..., m_D) or (..., c_i, m_1, ..., m_D)
        Any number of batch axes first, none included.
    filt : array, (n_1, ..., n_D) or (c_o, c_i, n_1, ..., n_D)
        Its axes give D.
    mode, strides, multi_channel, algorithm
        As in `convolve`.

    Returns
    -------
    array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        Of the dtype that the array API's promotion gives data and filter together.

    Raises
    ------
    ValueError, TypeError
        As in `convolve`.

    See Also
    --------
    correlate_data_adjoint, correlate_filter_adjoint : the adjoints of this map.
    convolve : the filter flipped in place of conjugated.

    References
    ----------
    A. V. Oppenheim, R. W. Schafer, Discrete-Time Signal Processing, 3rd edition, section 2.9.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import correlate
    >>> pulse = np.asarray([1.0, 2.0j])
    >>> received = np.asarray([0.0, 0.0, 1.0, 2.0j, 0.0])
    >>> correlate(received, pulse, mode="valid").real
    array([0., 0., 5., 0.])
    """
    return _filtering.forward(
        _filtering.conjugate, data, filt, mode, strides, multi_channel, algorithm
    )


def correlate_data_adjoint(
    output: Array,
    filt: Array,
    data_shape: Sequence[int],
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Apply the Hermitian adjoint of `correlate` as a map of its data.

    ``<correlate(data, filt), output> = <data, correlate_data_adjoint(output, filt, data.shape)>``
    for every data and output, with the inner product that conjugates one side. With stride 1 and
    mode ``"full"`` this is ``convolve(output, filt, mode="valid")``.

    Parameters
    ----------
    output : array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        An element of `correlate`'s output space.
    filt : array, (n_1, ..., n_D) or (c_o, c_i, n_1, ..., n_D)
        The filter of `correlate`.
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
    ValueError, TypeError
        As in `convolve_data_adjoint`.

    See Also
    --------
    correlate, correlate_filter_adjoint

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import correlate_data_adjoint
    >>> output, filt = np.asarray([1.0, 0.0, 1.0]), np.asarray([1.0, 2.0j])
    >>> correlate_data_adjoint(output, filt, (4,), mode="valid")
    array([1.+0.j, 0.+2.j, 1.+0.j, 0.+2.j])
    """
    return _filtering.data_adjoint(
        _filtering.conjugate, output, filt, data_shape, mode, strides, multi_channel, algorithm
    )


def correlate_filter_adjoint(
    output: Array,
    data: Array,
    filt_shape: Sequence[int],
    mode: str = "full",
    strides: int | Sequence[int] | None = None,
    multi_channel: bool = False,
    *,
    algorithm: str = "auto",
) -> Array:
    """Apply the adjoint of `correlate` as a map of its filter.

    Correlation is antilinear in its filter, for it conjugates it; the adjoint of such a map is
    antilinear too and holds with the sides exchanged, which for real arrays says the usual thing:
    ``<correlate(data, filt), output> = <correlate_filter_adjoint(output, data, filt.shape), filt>``
    for every filter and output.

    Parameters
    ----------
    output : array, (..., p_1, ..., p_D) or (..., c_o, p_1, ..., p_D)
        An element of `correlate`'s output space.
    data : array, (..., m_1, ..., m_D) or (..., c_i, m_1, ..., m_D)
        The data of `correlate`.
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
    ValueError, TypeError
        As in `convolve_filter_adjoint`.

    See Also
    --------
    correlate, correlate_data_adjoint

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.signal import correlate_filter_adjoint
    >>> output, data = np.asarray([1.0, 0.0, 0.0, 2.0]), np.asarray([1.0j, 2.0, 3.0j])
    >>> correlate_filter_adjoint(output, data, (2,))
    array([0.+6.j, 0.+1.j])
    """
    return _filtering.filter_adjoint(
        _filtering.conjugate, output, data, filt_shape, mode, strides, multi_channel, algorithm
    )
