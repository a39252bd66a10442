"""What the planner must know of a call's arrays."""

from functools import lru_cache
from typing import Literal, NamedTuple

from anyconv._cupy_kernels import has_window_kernels
from anyconv._namespace import (
    accumulator,
    has_sums_of_products,
    is_gpu,
    is_kind,
    is_numpy,
    is_traced,
    item_bytes,
    library_name,
    multiplies_half_in_float32,
    runs_on_gpu,
)
from anyconv._typing import Array, Device, DType, Namespace

Runs = Literal["workers", "eager", "gpu", "traced"]


class Traits(NamedTuple):
    """What the planner must know of the arrays: their library's ways, never their values."""

    namespace: str
    runs: Runs
    dtype: str
    element_bytes: int
    product_bytes: int
    is_complex: bool
    adds_products: bool  # in one pass, whatever the products' number
    sums_half_in_single: bool  # where the arrays' own dtype is half precision
    has_kernels: bool  # that go through windows in one launch
    has_transforms: bool  # of Fourier's, which the standard leaves open
    compiles: bool = False  # loops, for this call


def traits_of(xp: Namespace, x: Array) -> Traits:
    """The traits of an array and of all that share a call with it."""
    return _traits(xp, x.dtype, runs_on_gpu(xp, x))


def traits_of_dtype(xp: Namespace, dtype: DType, where: Device | str | None) -> Traits:
    """The traits of arrays on a device, or where the library keeps them if not told otherwise."""
    return _traits(xp, dtype, is_gpu(xp, where))


@lru_cache
def _traits(xp: Namespace, dtype: DType, on_gpu: bool) -> Traits:
    runs: Runs = "gpu" if on_gpu else "eager"
    if is_numpy(xp) or is_traced(xp):
        runs = "workers" if is_numpy(xp) else "traced"
    return Traits(
        namespace=library_name(xp),
        runs=runs,
        dtype=getattr(dtype, "__name__", str(dtype).rpartition(".")[2]),
        element_bytes=item_bytes(xp, dtype),
        product_bytes=item_bytes(xp, accumulator(xp, dtype)),
        is_complex=is_kind(xp, dtype, "complex floating"),
        adds_products=has_sums_of_products(xp, dtype),
        sums_half_in_single=multiplies_half_in_float32(xp) and accumulator(xp, dtype) != dtype,
        has_kernels=has_window_kernels(xp, dtype),
        has_transforms=hasattr(xp, "fft"),
    )
