"""The array libraries of the benchmarks, each on one device, and how to wait for its work."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


class Absent(Exception):
    """The backend can't be used here; the text says why."""


@dataclass(frozen=True)
class Backend:
    """An array library on one device."""

    name: str
    xp: Any
    device: Any
    wait: Callable[[Any], Any]  # returns when the work behind a result is done

    @property
    def on_gpu(self) -> bool:
        return self.name in ("cupy", "torch:cuda") or "cuda" in str(self.device).lower()

    @property
    def compiles(self) -> bool:
        return self.name == "jax"

    def asarray(self, array: np.ndarray, dtype: str) -> Array:
        """A copy of a NumPy array on the device; lazy in four blocks of the batch on Dask."""
        if dtype == "bfloat16":
            return self.xp.astype(self.asarray(array, "float32"), self.xp.bfloat16)
        array = np.array(array, dtype=dtype)
        if self.name == "dask":
            chunks = (-(-array.shape[0] // 4), *array.shape[1:])
            return self.xp.from_array(array, chunks=chunks)
        return self.xp.asarray(array, device=self.device)

    def to_numpy(self, array: Array) -> np.ndarray:
        if self.name == "cupy":
            return self.xp.asnumpy(array)
        if self.name == "array-api-strict":
            array = array.to_device(self.xp.Device("CPU_DEVICE"))
        if self.name.startswith("torch"):
            array = array.detach().cpu()
            array = array.float() if "bfloat16" in str(array.dtype) else array
        return np.asarray(array)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as this library's users call it: compiled by JAX, as it is elsewhere."""
        return importlib.import_module("jax").jit(function) if self.compiles else function


def _at_once(result: Any) -> Any:
    return result


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent(f"{name} can't be imported: {error}") from error


def _numpy() -> Backend:
    return Backend("numpy", _import("array_api_compat.numpy"), "cpu", _at_once)


def _strict() -> Backend:
    strict = _import("array_api_strict")
    return Backend("array-api-strict", strict, strict.Device("CPU_DEVICE"), _at_once)


def _torch() -> Backend:
    _import("torch")
    return Backend("torch", _import("array_api_compat.torch"), "cpu", _at_once)


def _torch_cuda() -> Backend:
    torch = _import("torch")
    if not torch.cuda.is_available():
        raise Absent("PyTorch finds no CUDA device")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # cuDNN tries its own algorithms and keeps the fastest
    xp = _import("array_api_compat.torch")
    return Backend("torch:cuda", xp, "cuda", lambda result: torch.cuda.synchronize())


def _cupy() -> Backend:
    cupy = _import("cupy")
    try:
        cupy.zeros(1)
    except Exception as error:  # no driver, no device, no compiler
        raise Absent(f"CuPy can't allocate: {str(error).splitlines()[0]}") from error
    device = cupy.cuda.Device()
    return Backend("cupy", _import("array_api_compat.cupy"), device, lambda _: device.synchronize())


def _jax() -> Backend:
    # Else JAX keeps three quarters of a GPU's memory to itself.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = _import("jax")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")  # no TF32
    return Backend("jax", _import("jax.numpy"), jax.devices()[0], jax.block_until_ready)


def _dask() -> Backend:
    _import("dask.array")
    return Backend("dask", _import("array_api_compat.dask.array"), None, _at_once)


_LOADERS = {
    "numpy": _numpy,
    "array-api-strict": _strict,
    "torch": _torch,
    "torch:cuda": _torch_cuda,
    "cupy": _cupy,
    "jax": _jax,
    "dask": _dask,
}
NAMES = tuple(_LOADERS)


def load(name: str) -> Backend:
    """The backend of that name, or `Absent` with the reason."""
    if name not in _LOADERS:
        raise Absent(f"no such backend, there are {', '.join(NAMES)}")
    return _LOADERS[name]()


def choose(name: str) -> Backend:
    """The backend that a command asks for; without it the command ends, and says why."""
    try:
        return load(name)
    except Absent as absent:
        raise SystemExit(f"--backend {name}: {absent}") from absent
