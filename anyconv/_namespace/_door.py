"""Which namespace arrays belong to, found equal in kind, dtype and device; and by name."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import array_api_compat

from anyconv._namespace._kinds import device, is_cupy, is_numpy, is_torch, library_name, library_of
from anyconv._namespace._places import memory_of
from anyconv._typing import Array, DType, Namespace


def common_namespace(**arrays: Array) -> Namespace:
    """The namespace that all arrays share, once their kind, dtype and device are found equal."""
    xp = array_namespace(**arrays)
    first, *others = arrays.values()
    if not others:
        return xp
    dtype = first.dtype
    if any(other.dtype != dtype for other in others):
        raise TypeError(_unlike("dtype", {name: x.dtype for name, x in arrays.items()}))
    if not is_numpy(xp):
        check_devices(**arrays)
    return xp


def check_devices(**arrays: Array) -> None:
    """Refuse arrays on different devices; one that JAX traces is on whichever the others are."""
    known = [where for where in map(device, arrays.values()) if where is not None]
    if any(where != known[0] for where in known):  # no set of them: CuPy's have no hash
        raise ValueError(_unlike("device", {name: device(x) for name, x in arrays.items()}))


def array_namespace(**arrays: Array) -> Namespace:
    """The namespace that all arrays share, whatever their dtypes and devices."""
    kind, *others = map(type, arrays.values())
    known: Namespace | None = _namespace_of_kind(kind)
    if known is not None and all(other is kind for other in others):
        if is_cupy(known):
            _check_current_device(arrays)
        elif is_torch(known):
            _check_strided(arrays)
        return known
    for name, array in arrays.items():
        if _is_masked(array):
            raise TypeError(
                f"`{name}` must have no mask, got {type(array).__name__}; say what masked elements "
                "count as first, for example with its method filled(0)"
            )
        if not array_api_compat.is_array_api_obj(array):
            raise TypeError(
                f"`{name}` must be an array, got {type(array).__name__}; "
                "convert it first, for example with numpy.asarray"
            )
    found = {name: array_api_compat.array_namespace(array) for name, array in arrays.items()}
    if len(set(found.values())) > 1:
        names = {name: xp.__name__.removeprefix("array_api_compat.") for name, xp in found.items()}
        raise TypeError(_unlike("namespace", names))
    return next(iter(found.values()))


def _check_current_device(arrays: dict[str, Array]) -> None:
    """CuPy computes on the current device, whichever its arrays are on."""
    here = _current_device()()
    for name, array in arrays.items():
        where = memory_of(array).device_id
        if where != here:
            raise ValueError(
                f"`{name}` must be on CuPy's current device, {here}, got device {where}; call this "
                f"within `with {name}.device:`"
            )


def _check_strided(arrays: dict[str, Array]) -> None:
    """PyTorch has tensors whose elements do not lie side by side."""
    import torch

    for name, array in arrays.items():
        if array.layout is not torch.strided or array.is_nested:
            kind = "nested" if array.is_nested else array.layout
            raise TypeError(
                f"`{name}` must be a dense tensor, got {kind}; convert it first, for example with "
                "to_dense()"
            )


@cache
def _current_device() -> Callable[[], int]:
    import cupy

    return cupy.cuda.runtime.getDevice  # type: ignore[no-any-return]


def _is_masked(array: Array) -> bool:
    """Whether some of an array's elements, or of its blocks', may be none, as NumPy has it."""
    import numpy

    return isinstance(getattr(array, "_meta", array), numpy.ma.MaskedArray)


def _unlike(what: str, values: dict[str, Any]) -> str:
    each = ", ".join(f"`{name}` has {value}" for name, value in values.items())
    return f"all arrays of a call must share one {what}: {each}"


@lru_cache
def _namespace_of_kind(kind: Any) -> Namespace | None:
    """The namespace of a library's own arrays, which need no further look; else None."""
    library = library_of(kind)
    return None if library is None else namespace_of_name(library)


def namespace_of_name(name: str | Namespace) -> Namespace:
    """The namespace of a library's name, which is imported, or of its module."""
    import importlib
    from types import ModuleType

    if isinstance(name, ModuleType):
        name = name.__name__
    if not isinstance(name, str):
        raise TypeError(f"`namespace` must be a library's name or its module, got {name!r}")
    library = name.removeprefix("array_api_compat.").partition(".")[0]
    module = _NAMESPACES.get(library)
    if module is None:
        raise ValueError(f"`namespace` must be one of {', '.join(_NAMESPACES)}, got {name!r}")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"`namespace` {name!r} is not installed here: {error}") from error


_NAMESPACES = {
    "numpy": "array_api_compat.numpy",
    "cupy": "array_api_compat.cupy",
    "torch": "array_api_compat.torch",
    "jax": "jax.numpy",
    "dask": "array_api_compat.numpy",  # its blocks are NumPy's
    "array_api_strict": "array_api_strict",
}


def dtype_of_name(dtype: DType | str, *, xp: Namespace) -> DType:
    """A namespace's dtype from its name; a dtype as it is."""
    is_name = isinstance(dtype, str)
    found = getattr(xp, dtype, None) if is_name else dtype
    try:
        xp.isdtype(found, "numeric")
    except (TypeError, ValueError, AttributeError):
        kind = ValueError if is_name else TypeError
        raise kind(f"`dtype` must be a dtype of {library_name(xp)}, got {dtype!r}") from None
    return found
