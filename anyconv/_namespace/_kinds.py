"""What a library, a dtype or a device is: the questions that decide which path is taken."""

from functools import lru_cache
from typing import Any

import array_api_compat

from anyconv._typing import Array, Device, DType, Namespace


@lru_cache
def library_of(kind: Any) -> str | None:
    """The library whose one kind of array this is, which then says all; None for other kinds."""
    name = getattr(kind, "__module__", ""), getattr(kind, "__name__", "")
    return name[0] if name in _KINDS else None


_KINDS = (("numpy", "ndarray"), ("cupy", "ndarray"), ("torch", "Tensor"))


def device(x: Array) -> Device:
    """The device of an array; None for JAX, which moves what it is not told where to keep."""
    kind: Any = type(x)
    library = library_of(kind)
    if library is None:
        return None if array_api_compat.is_jax_array(x) else array_api_compat.device(x)
    return "cpu" if library == "numpy" else x.device


@lru_cache
def is_kind(xp: Namespace, dtype: DType, kind: str) -> bool:
    """Whether a dtype is of one of the standard's kinds, such as `"real floating"`."""
    try:
        return bool(xp.isdtype(dtype, kind))
    except TypeError:  # of dtypes that are none of the standard's, as JAX's keys of random numbers
        return False


@lru_cache
def accumulator(xp: Namespace, dtype: DType) -> DType:
    """The dtype that sums are kept in: the arrays' own, or float32 for half precision."""
    if is_kind(xp, dtype, "real floating") and xp.finfo(dtype).bits < 32:
        return xp.float32
    return dtype


@lru_cache
def complex_dtype(xp: Namespace, dtype: DType) -> DType:
    """The complex dtype of the same precision."""
    return xp.result_type(dtype, xp.complex64)


def index_dtype(xp: Namespace) -> DType:
    """The dtype of positions: int64, or JAX's widest integer while 64 bits are switched off."""
    if is_traced(xp):
        return xp.__array_namespace_info__().default_dtypes()["integral"]
    return xp.int64


@lru_cache
def item_bytes(xp: Namespace, dtype: DType) -> int:
    """The bytes of one element."""
    if is_kind(xp, dtype, "bool"):
        return 1
    if is_kind(xp, dtype, "complex floating"):
        return int(xp.finfo(dtype).bits) // 4  # `bits` counts one of the two parts
    info = xp.finfo if is_kind(xp, dtype, "real floating") else xp.iinfo
    return int(info(dtype).bits) // 8


@lru_cache
def is_numpy(xp: Namespace) -> bool:
    """Whether arrays are NumPy's: eager, on the CPU, one core for all but matrix products."""
    return bool(array_api_compat.is_numpy_namespace(xp))


@lru_cache
def is_lazy_blocks(xp: Namespace) -> bool:
    """Whether an array is a lazy grid of blocks, each an array of another library (Dask)."""
    return bool(array_api_compat.is_dask_namespace(xp))


@lru_cache
def is_traced(xp: Namespace) -> bool:
    """Whether arrays are immutable and calls compiled as one program (JAX)."""
    return bool(array_api_compat.is_jax_namespace(xp))


@lru_cache
def is_cupy(xp: Namespace) -> bool:
    """Whether arrays are CuPy's, on a GPU always."""
    return bool(array_api_compat.is_cupy_namespace(xp))


@lru_cache
def is_torch(xp: Namespace) -> bool:
    """Whether arrays are PyTorch's."""
    return bool(array_api_compat.is_torch_namespace(xp))


@lru_cache
def differentiates(xp: Namespace) -> bool:
    """Whether a library may differentiate what is done with its arrays (PyTorch, JAX)."""
    return is_torch(xp) or is_traced(xp)


def runs_on_gpu(xp: Namespace, x: Array) -> bool:
    """Whether an array's memory is a GPU's, where that makes a difference to the planner."""
    if is_numpy(xp) or is_traced(xp):
        return False
    return is_cupy(xp) or "cpu" not in str(device(x)).lower()


def is_gpu(xp: Namespace, where: Device | str | None) -> bool:
    """Whether a device, or the name of one, is a GPU; none given is the library's own choice."""
    if where is None:
        return is_cupy(xp)
    if isinstance(where, int | float):
        raise TypeError(f"`device` must be a device or its name, such as 'cuda:0', got {where!r}")
    word = str(where).lower()
    if isinstance(where, str) and not word.startswith(_DEVICE_WORDS):
        raise ValueError(f"`device` must start with {', '.join(_DEVICE_WORDS)}, got {where!r}")
    on_gpu = "cpu" not in word
    if (on_gpu and is_numpy(xp)) or (not on_gpu and is_cupy(xp)):
        raise ValueError(f"`device` must be one that {library_name(xp)} has, got {where!r}")
    return on_gpu


_DEVICE_WORDS = ("cpu", "cuda", "gpu", "mps", "xpu")


def library_name(xp: Namespace) -> str:
    """What a reader calls the library of a namespace."""
    return str(xp.__name__).removeprefix("array_api_compat.").removesuffix(".numpy")
