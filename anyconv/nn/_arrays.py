"""Between NumPy, where numbers are drawn, and the namespace in which a network lives."""

from collections.abc import Mapping
from typing import Any

import array_api_compat
import numpy as np

from anyconv._checks import shown
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
    return array_api_compat.array_namespace(xp.asarray(np.zeros(()))).asarray(host, device=device)


def like(array: np.ndarray[Any, Any], model: Array) -> Array:
    """Return a copy of a NumPy array where `model` is: in its namespace, dtype and device."""
    xp = array_namespace(model=model)
    return xp.asarray(np.array(array), dtype=model.dtype, device=device(model))


def dtype_name(array: Array) -> str:
    """Return the standard's name of an array's dtype, such as ``"float32"``."""
    return str(array.dtype).rpartition(".")[2]


def loaded(
    arrays: Mapping[str, np.ndarray[Any, Any]], models: Mapping[str, Array], what: str
) -> dict[str, Array]:
    """Return copies of saved arrays, each like the model of its name, once all are found to be."""
    if missing := sorted(models.keys() - arrays.keys()):
        raise ValueError(f"`arrays` must hold every {what}, {', '.join(missing)} not found")
    if unknown := sorted(arrays.keys() - models.keys()):
        raise ValueError(f"`arrays` must hold nothing else, got {', '.join(unknown)}")
    for name, model in models.items():
        array = arrays[name]
        if not isinstance(array, np.ndarray):
            raise TypeError(f"`arrays[{name!r}]` must be a NumPy array, got {shown(array)}")
        if array.shape != tuple(model.shape):
            raise ValueError(
                f"`arrays[{name!r}]` must have shape {tuple(model.shape)}, got {array.shape}"
            )
        if array.dtype.name != dtype_name(model):
            raise TypeError(
                f"`arrays[{name!r}]` must have dtype {dtype_name(model)}, got {array.dtype}"
            )
    return {name: like(arrays[name], model) for name, model in models.items()}
