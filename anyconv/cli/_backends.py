"""The array libraries a network can be trained on: which are there, and which of them work."""

import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

import anyconv
from anyconv._namespace import namespace_of_name
from anyconv._typing import Array
from anyconv.nn._arrays import from_numpy, to_numpy

from ._errors import CommandError

NAMES = ("numpy", "cupy", "torch", "jax")

_TOLERANCE = 1e-5  # of a float32 convolution against float64, relative, in the Frobenius norm


@dataclass(frozen=True)
class Backend:
    """An array library, and the device to use."""

    name: str
    xp: Any
    device: Any
    label: str  # such as cuda:0

    def asarray(self, array: np.ndarray[Any, Any]) -> Array:
        """Return a copy of a NumPy array on the device."""
        return from_numpy(array, self.xp, device=self.device)


class Finding(NamedTuple):
    """One line of `anyconv devices`."""

    name: str
    version: str
    device: str
    error: float | None  # of a small convolution
    note: str

    @property
    def works(self) -> bool:
        """Whether the small convolution agreed."""
        return self.error is not None and self.error <= _TOLERANCE


def choose(name: str, device: str | None = None) -> Backend:
    """Return a backend and device by name; `auto` is CuPy where a GPU works, else NumPy."""
    if name == "auto":
        name = "cupy" if device != "cpu" and _gpu_works() else "numpy"
    if name not in NAMES:
        raise CommandError(f"--backend must be auto or one of {', '.join(NAMES)}, got {name}")
    xp = _namespace(name)
    there = _devices(name, xp)
    if not there:
        raise CommandError(f"{name} is installed but finds no device")
    label = _pick(name, list(there), device)
    if name == "cupy":
        there[label].use()  # CuPy computes on the current device, not on that of the arrays
    return Backend(name, xp, there[label], label)


def findings() -> Iterator[Finding]:
    """Try every backend on every device it sees."""
    for name in NAMES:
        try:
            found = _version(name)
        except PackageNotFoundError:
            yield Finding(name, "", "", None, "not installed")
            continue
        try:
            xp = _namespace(name)
            devices = _devices(name, xp)
        except CommandError as error:
            yield Finding(name, found, "", None, str(error))
            continue
        for label, device in devices.items():
            accuracy, note = _try(name, xp, device)
            yield Finding(name, found, label, accuracy, note or _describe(name, label, device))
        if not devices:
            yield Finding(name, found, "", None, "no device")


def _version(library: str) -> str:
    """Return the version of an installed library, none of which needs to be imported for it."""
    wheels = ("cupy-cuda13x", "cupy-cuda12x") if library == "cupy" else ()
    for name in (library, *wheels):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    raise PackageNotFoundError(library)


def _namespace(name: str) -> Any:
    try:
        importlib.import_module(name)
        return namespace_of_name(name)
    except (ImportError, ValueError) as error:
        raise CommandError(f"{name} can't be imported: {_first_line(error)}") from error


def _devices(name: str, xp: Any) -> dict[str, Any]:
    """Return the devices a library sees, by labels such as cpu and cuda:0."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of devices that PyTorch has, but not for long
            listed = xp.__array_namespace_info__().devices()
    except Exception as error:  # CuPy without a driver raises an error of its own
        raise CommandError(f"{name} finds no device: {_first_line(error)}") from error
    found = {}
    for device in listed:
        if device is None or "meta" in str(device) or "DASK" in str(device):
            continue
        if name == "cupy":
            label = f"cuda:{device.id}"
        elif name == "jax":
            label = f"{device.platform}:{device.id}".replace("gpu:", "cuda:")
        else:
            label = str(device)
        found[label] = device
    return found


def _pick(name: str, labels: list[str], wanted: str | None) -> str:
    """Return the wanted label (`cuda` is the first of these), or the best: a GPU before a CPU."""
    if wanted is None:
        return next((label for label in labels if not label.startswith("cpu")), labels[0])
    for label in labels:
        if label == wanted or label.split(":")[0] == wanted:
            return label
    raise CommandError(f"--device must be one of {name}'s: {', '.join(labels)}; got {wanted}")


def _gpu_works() -> bool:
    try:
        return _small_convolution_error(choose("cupy")) <= _TOLERANCE
    except Exception:  # not installed, no driver, no GPU, no compiler: whatever it is, NumPy works
        return False


def _try(name: str, xp: Any, device: Any) -> tuple[float | None, str]:
    """Return the error of a small convolution, or None and why there is none."""
    try:
        if name == "cupy":
            device.use()
        return _small_convolution_error(Backend(name, xp, device, "")), ""
    except Exception as error:
        return None, f"fails: {_first_line(error)}"


def _small_convolution_error(backend: Backend) -> float:
    """Return the relative error of a float32 convolution against sums in float64 written out."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 9, 3)), rng.standard_normal((3, 3, 3, 4))
    expected = np.zeros((2, 4, 4, 4))
    for i, j in np.ndindex(4, 4):
        window = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]  # stride 2
        expected[:, i, j] = np.einsum("nabc,abck->nk", window, w)
    single = (backend.asarray(array.astype(np.float32)) for array in (x, w))
    y = to_numpy(anyconv.conv_forward(*single, stride=2)).astype(np.float64)
    return float(np.linalg.norm(y - expected) / np.linalg.norm(expected))


def _describe(name: str, label: str, device: Any) -> str:
    """Say what a device is."""
    if label.startswith("cpu"):
        with anyconv.options() as limits:
            return f"{limits.workers} cores"
    if name == "cupy":
        properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(device.id)
        return str(properties["name"].decode())
    if name == "torch" and label.startswith("cuda"):
        return str(importlib.import_module("torch").cuda.get_device_name(device))
    return str(getattr(device, "device_kind", label))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
