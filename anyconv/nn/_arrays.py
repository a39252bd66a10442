"""Between NumPy, where numbers are drawn, and the namespace in which a network lives."""

from typing import Any

import array_api_compat
import numpy as np

from anyconv._namespace import array_namespace, device
from anyconv._typing import Array


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """Return any array as a NumPy array, on the CPU without a copy where possible."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_torch_array(array):
        array = array.detach()
    xp = array_namespace(array=array)
    if array_api_compat.is_array_api_strict_namespace(xp):
        array = array.to_device(xp.Device("CPU_DEVICE"))
    elif array_api_compat.is_cupy_array(array) or array_api_compat.is_torch_array(array):
        array = array_api_compat.to_device(array, "cpu")
    return np.asarray(array)


def from_numpy(
    array: np.ndarray[Any, Any], xp: Any, *, device: Any = None, dtype: str | None = None
) -> Array:
    """Return a copy of a NumPy array as an array of namespace `xp`, cast to `dtype` if given."""
    host = np.array(array, dtype=dtype or array.dtype)
    if device is None:  # the library's own namespace need not know the word
        return xp.asarray(host)
    return array_api_compat.array_namespace(xp.asarray(host[:0])).asarray(host, device=device)


def like(array: np.ndarray[Any, Any], model: Array) -> Array:
    """Return a copy of a NumPy array where `model` is: in its namespace, dtype and device."""
    xp = array_namespace(model=model)
    return xp.asarray(np.array(array), dtype=model.dtype, device=device(model))
