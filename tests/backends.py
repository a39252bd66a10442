"""The array libraries of the test suite, each behind one small class.

A backend makes arrays, calls a function on them as its users would (under `jax.jit`, with Dask
forbidden to compute), and checks on every call what must hold everywhere: results of the caller's
namespace, device and dtype, and arguments left as they were.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import array_api_compat
import numpy as np

import anyconv

Array = Any

EVERYWHERE = frozenset({"uint8", "int32", "int64", "float32", "float64", "complex64", "complex128"})


class Absent(Exception):
    """The backend can't be used here; the text says why."""


@dataclass(frozen=True)
class Backend:
    """An array library on one device."""

    name: str
    namespace: Any
    device: Any
    dtypes: frozenset[str] = EVERYWHERE
    weight: float = 1.0  # of the examples that a fast backend runs, the share that this one does
    compiled: bool | None = None  # whether NumPy's arrays are worked on in compiled loops

    def __repr__(self) -> str:
        return self.name

    @property
    def required(self) -> bool:
        return self.name in required_names()

    @property
    def lazy(self) -> bool:
        return self.name == "dask"

    def has(self, dtype: str) -> bool:
        return dtype in self.dtypes

    def dtype(self, name: str) -> Any:
        """The namespace's dtype of that name; NumPy's where the namespace merely passes it on."""
        return getattr(self.namespace, name) if hasattr(self.namespace, name) else np.dtype(name)

    def asarray(self, array: Any, dtype: str | None = None) -> Array:
        """A copy of a NumPy array on this backend's device."""
        array = np.array(array)
        if dtype == "bfloat16":
            return self._astype(self._move(array.astype(np.float32)), dtype)
        return self._move(array if dtype is None else array.astype(dtype))

    def _move(self, array: np.ndarray) -> Array:
        if self.lazy:  # two blocks along the first and the last axis
            ends = {0, array.ndim - 1}
            chunks = tuple(
                -(-n // 2) if axis in ends and n > 1 else n for axis, n in enumerate(array.shape)
            )
            return self.namespace.from_array(array, chunks=chunks)
        return self.namespace.asarray(array, device=self.device)

    def _astype(self, array: Array, dtype: str) -> Array:
        return self.namespace.astype(array, self.dtype(dtype))

    def to_numpy(self, array: Array) -> np.ndarray:
        """The values of one of this backend's arrays; bfloat16 becomes float32."""
        if self.dtype_name(array) == "bfloat16":
            array = self._astype(array, "float32")
        if self.name == "cupy":
            return self.namespace.asnumpy(array)
        if self.name == "array-api-strict":
            array = array.to_device(self.namespace.Device("CPU_DEVICE"))
        if self.name.startswith("torch"):
            array = array.detach().cpu().numpy()
        return np.array(array)

    def dtype_name(self, array: Array) -> str:
        """The standard's name of an array's dtype."""
        return str(array.dtype).removeprefix("torch.").rpartition(".")[2]

    def owns(self, value: Any) -> bool:
        """Whether a value is an array of this backend's library."""
        return (
            array_api_compat.is_array_api_obj(value)
            and array_api_compat.array_namespace(value) is self.namespace
        )

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The function's result on arrays of this backend, after the checks of this module."""
        arrays = [value for value in arguments if self.owns(value)]
        before = [self.to_numpy(array) for array in arrays]
        with self._watch(), anyconv.options(compiled=self.compiled):
            result = self._run(function, arguments, options)
        for array, values in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(self.to_numpy(array), values, "an argument was changed")
        if arrays:
            self._check(result, arrays[0], options)
        return result

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: Any) -> Any:
        if self.name != "jax-jit":
            return function(*arguments, **options)
        traced = [index for index, value in enumerate(arguments) if self.owns(value)]

        def on_arrays(*arrays: Array) -> Any:
            values = list(arguments)
            for index, array in zip(traced, arrays, strict=True):
                values[index] = array
            return function(*values, **options)

        return importlib.import_module("jax").jit(on_arrays)(*(arguments[i] for i in traced))

    def _watch(self) -> AbstractContextManager[Any]:
        if not self.lazy:
            return nullcontext()
        return importlib.import_module("dask").config.set(scheduler=_refuse_to_compute)

    def _check(self, result: Any, like: Array, options: dict[str, Any]) -> None:
        for position, array in enumerate(_arrays(result)):
            assert self.owns(array), f"{type(array)} is no array of {self.name}"
            assert array_api_compat.device(array) == array_api_compat.device(like)
            indices = options.get("return_indices", False) and position == 1
            expected = "int64" if indices else self.dtype_name(like)
            assert self.dtype_name(array) == expected


def _arrays(result: Any) -> Iterator[Array]:
    if isinstance(result, tuple):
        for part in result:
            yield from _arrays(part)
    elif result is not None:
        yield result


def _refuse_to_compute(*_: Any, **__: Any) -> Any:
    raise AssertionError("a Dask array was computed inside a call")


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(f"{name} can't be imported: {error}") from error


def _numpy() -> Backend:
    numpy, dtypes = _import("array_api_compat.numpy"), EVERYWHERE | {"float16"}
    return Backend("numpy", numpy, "cpu", dtypes, compiled=False)


def _numba() -> Backend:
    """NumPy's arrays, in compiled loops wherever there are any, however small the call."""
    _import("numba")
    return replace(_numpy(), name="numba", compiled=True)


def _strict() -> Backend:
    strict = _import("array_api_strict")
    # Not the default device: an array made without `device=` can't be combined with ours.
    return Backend("array-api-strict", strict, strict.Device("device1"), weight=0.3)


def _torch() -> Backend:
    _import("torch")
    dtypes = EVERYWHERE | {"float16", "bfloat16"}
    return Backend("torch", _import("array_api_compat.torch"), "cpu", dtypes)


def _torch_cuda() -> Backend:
    if not _import("torch").cuda.is_available():
        raise Absent("PyTorch finds no CUDA device")
    dtypes = EVERYWHERE | {"float16", "bfloat16"}
    return Backend("torch:cuda", _import("array_api_compat.torch"), "cuda", dtypes, weight=0.3)


def _cupy() -> Backend:
    cupy = _import("cupy")
    try:
        cupy.zeros(1)
    except Exception as error:
        raise Absent(f"CuPy can't allocate: {error}") from error
    namespace = _import("array_api_compat.cupy")
    return Backend("cupy", namespace, cupy.cuda.Device(), EVERYWHERE | {"float16"}, weight=0.3)


def _jax(name: str, weight: float) -> Backend:
    jax = _import("jax")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    dtypes = EVERYWHERE | {"float16", "bfloat16"}
    return Backend(name, _import("jax.numpy"), jax.devices()[0], dtypes, weight)


def _dask() -> Backend:
    _import("dask.array")
    return Backend(
        "dask", _import("array_api_compat.dask.array"), "cpu", EVERYWHERE | {"float16"}, weight=0.1
    )


_LOADERS: dict[str, Callable[[], Backend]] = {
    "numpy": _numpy,
    "numba": _numba,
    "array-api-strict": _strict,
    "torch": _torch,
    "torch:cuda": _torch_cuda,
    "cupy": _cupy,
    "jax": lambda: _jax("jax", weight=0.034),  # each new shape is compiled anew
    "jax-jit": lambda: _jax("jax-jit", weight=0.034),
    "dask": _dask,
}
NAMES = tuple(_LOADERS)


def required_names() -> frozenset[str]:
    """The backends that `ANYCONV_REQUIRE` says must be present."""
    names = {name.strip() for name in os.environ.get("ANYCONV_REQUIRE", "").split(",")} - {""}
    if unknown := sorted(names - set(NAMES)):
        raise ValueError(f"ANYCONV_REQUIRE names {unknown}, there are {list(NAMES)}")
    return frozenset(names)


def load(name: str) -> Backend:
    """The backend of that name, or `Absent` with the reason."""
    return _LOADERS[name]()


def present() -> dict[str, Backend]:
    """Every backend that can be used here."""
    found = {}
    for name in NAMES:
        try:
            found[name] = load(name)
        except Absent:
            continue
    return found
