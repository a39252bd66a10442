"""Inner products, norms and random numbers, on arrays of any library."""

import math
from typing import Any

import numpy as np

from anyconv._namespace import device
from anyconv._typing import Array, DType, Namespace

_UNITS_OF_ROUNDING = 100  # tolerated errors are this many times the dtype's epsilon


def is_inexact(array: Array, xp: Namespace) -> bool:
    return bool(xp.isdtype(array.dtype, ("real floating", "complex floating")))


def is_complex(array: Array, xp: Namespace) -> bool:
    return bool(xp.isdtype(array.dtype, "complex floating"))


def has_double(xp: Namespace) -> bool:
    return "float64" in xp.__array_namespace_info__().dtypes()


def double(array: Array, xp: Namespace) -> Array:
    """Return the array in double precision, real or complex as it is."""
    return xp.astype(array, xp.complex128 if is_complex(array, xp) else xp.float64)


def inner_product(a: Array, b: Array, xp: Namespace) -> complex:
    """Return ``<a, b> = sum(conj(a) * b)``, summed in the widest complex dtype there is."""
    widest = xp.complex128 if has_double(xp) else xp.complex64
    return complex(xp.sum(xp.conj(xp.astype(a, widest)) * xp.astype(b, widest)))


def norm(array: Array, xp: Namespace) -> float:
    return math.sqrt(inner_product(array, array, xp).real)


def root_mean_square(array: Array, xp: Namespace) -> float:
    return norm(array, xp) / math.sqrt(max(1, math.prod(array.shape)))


def expected_rounding(*arrays: Array, xp: Namespace) -> float:
    """Return the error to expect of sums in the coarsest dtype of these."""
    epsilons = [float(xp.finfo(array.dtype).eps) for array in arrays if is_inexact(array, xp)]
    return _UNITS_OF_ROUNDING * max(epsilons, default=0.0)


def drawn_like(
    array: Array,
    dtype: DType,
    generator: np.random.Generator,
    xp: Namespace,
    *,
    whole: bool = False,
) -> Array:
    """Draw normal numbers, or whole ones from -4 to 4; complex ones for a complex array."""

    def draw() -> Any:
        if whole:
            return generator.integers(-4, 5, size=array.shape).astype(np.float64)
        return generator.normal(size=array.shape)

    values = draw() + 1j * draw() if is_complex(array, xp) else draw()
    return xp.astype(xp.asarray(np.asarray(values), device=device(array)), dtype)


def relative_error(difference: float, scale: float) -> float:
    if difference == 0:
        return 0.0
    return difference / scale if scale > 0 else math.inf
