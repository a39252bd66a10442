"""The adjoint identity of a linear map, `<A x, y> = <x, A* y>` for all x and y.

The inner product conjugates its first factor, `<a, b> = sum(conj(a) * b)`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anyconv._checks import boolean, integer
from anyconv._namespace import array_namespace, conjugate
from anyconv._typing import Array, Namespace
from anyconv.testing._arguments import require_functions, tolerance
from anyconv.testing._arrays import (
    drawn_like,
    expected_rounding,
    inner_product,
    is_complex,
    is_inexact,
    norm,
    relative_error,
)

_EXACT_BELOW = 2**53  # whole numbers up to here, and their sums, are exact in float64


class AdjointCheck(NamedTuple):
    """Both sides of the adjoint identity, and how far they are apart.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.testing import check_adjoint
    >>> check_adjoint(lambda x: 2 * x, lambda y: 2 * y, np.ones(3), np.ones(3)).forward_side
    6.0
    """

    forward_side: complex  # <forward(x), y>
    adjoint_side: complex  # <x, adjoint(y)>
    relative_error: float  # of their difference, in units of the product of the norms


def check_adjoint(
    forward: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    x: Array,
    y: Array | None = None,
    *,
    exact: bool = False,
    rtol: float | None = None,
    seed: int = 0,
) -> AdjointCheck:
    """Check that a linear map and its adjoint satisfy ``<forward(x), y> = <x, adjoint(y)>``.

    The inner product is `numpy.vdot`: it conjugates its first factor. So a complex adjoint needs
    its conjugates.

    Parameters
    ----------
    forward : callable
        The linear map, ``forward(x) -> y``.
    adjoint : callable
        What should be its adjoint, ``adjoint(y) -> x``.
    x : array
        Where to check. Any namespace, device and numeric dtype.
    y : array, optional
        The same for the other side, with the shape of ``forward(x)``. By default drawn at random
        (whole numbers from -4 to 4 if `exact`, else normal) in the dtype of ``forward(x)``.
    exact : bool, default False
        Demand equality without any tolerance. `x` and `y` must then hold whole numbers, small
        enough that no sum rounds in their dtype.
    rtol : float, optional
        The tolerated error over ``max(|forward(x)| |y|, |x| |adjoint(y)|)``, norms being
        Euclidean. By default 100 times the epsilon of the coarsest dtype involved.
    seed : int, default 0
        Of NumPy's generator, for a `y` that is not given.

    Returns
    -------
    AdjointCheck
        Both inner products and the relative error.

    Raises
    ------
    AssertionError
        If the two sides differ, or ``adjoint(y)`` has not the shape of `x`.
    TypeError
        If something that should be an array or a function is not one; if an option is of the wrong
        kind.
    ValueError
        If `rtol` or `seed` is negative, `y` has not the shape of ``forward(x)``, or `exact` is
        asked of numbers that are not whole, or too large to be summed exactly.

    See Also
    --------
    check_gradients : The same for layers that are not linear, or linear in each of their arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.testing import check_adjoint
    >>> x = np.asarray([1.0, 2.0, 4.0])
    >>> difference = lambda x: x[1:] - x[:-1]
    >>> adjoint = lambda y: np.pad(y, (1, 0)) - np.pad(y, (0, 1))
    >>> check_adjoint(difference, adjoint, x, np.asarray([3.0, 5.0]), exact=True)
    AdjointCheck(forward_side=13.0, adjoint_side=13.0, relative_error=0.0)

    A sign is wrong:

    >>> check_adjoint(difference, lambda y: -adjoint(y), x, np.asarray([3.0, 5.0]))
    Traceback (most recent call last):
      ...
    AssertionError: `adjoint` is not the adjoint of `forward`:
      <forward(x), y> = 13
      <x, adjoint(y)> = -13
      relative error 0.92, tolerated 2.2e-14
      the sign is wrong
    """
    xp = array_namespace(x=x)
    require_functions(forward=forward, adjoint=adjoint)
    rtol = None if rtol is None else tolerance("rtol", rtol)
    seed = integer("seed", seed, minimum=0)
    exact = boolean("exact", exact)
    image = forward(x)
    array_namespace(**{"forward(x)": image})
    if y is None:
        y = drawn_like(image, image.dtype, np.random.default_rng(seed), xp, whole=exact)
    array_namespace(x=x, y=y)
    if y.shape != image.shape:
        raise ValueError(
            f"`y` must have the shape of `forward(x)`, {tuple(image.shape)}, got {tuple(y.shape)}"
        )
    preimage = adjoint(y)
    array_namespace(**{"adjoint(y)": preimage})
    if preimage.shape != x.shape:
        raise AssertionError(
            f"`adjoint(y)` must have the shape of `x`, {tuple(x.shape)}, "
            f"got {tuple(preimage.shape)}"
        )

    left, right = inner_product(image, y, xp), inner_product(x, preimage, xp)
    scale = max(norm(image, xp) * norm(y, xp), norm(x, xp) * norm(preimage, xp))
    rounding = expected_rounding(x, y, image, preimage, xp=xp)
    tolerated = rounding if rtol is None else rtol
    if exact:
        _require_whole_numbers(scale, xp, x=x, y=y)
        tolerated = 0.0
    error = relative_error(abs(left - right), scale)
    if not error <= tolerated:  # so that NaN fails
        unconjugated = inner_product(x, conjugate(preimage, xp=xp), xp)
        unconjugated -= inner_product(image, conjugate(y, xp=xp), xp)
        hint = ""
        if abs(left + right) <= rounding * scale:
            hint = "\n  the sign is wrong"
        elif abs(unconjugated) <= rounding * scale < abs(left - right):
            hint = "\n  it is the transpose: the adjoint of a complex map conjugates its factors"
        raise AssertionError(
            "`adjoint` is not the adjoint of `forward`:\n"
            f"  <forward(x), y> = {_plain(left):.17g}\n"
            f"  <x, adjoint(y)> = {_plain(right):.17g}\n"
            f"  relative error {error:.2g}, tolerated {tolerated:.2g}{hint}"
        )
    return AdjointCheck(_plain(left), _plain(right), error)


def _require_whole_numbers(scale: float, xp: Namespace, **arrays: Array) -> None:
    """Raise unless an inner product of this size can be exact in float64."""
    for name, array in arrays.items():
        if is_inexact(array, xp):
            parts = (xp.real(array), xp.imag(array)) if is_complex(array, xp) else (array,)
            if not all(bool(xp.all(xp.round(part) == part)) for part in parts):
                raise ValueError(f"`exact` needs whole numbers in `{name}`, got others")
    if scale >= _EXACT_BELOW:
        raise ValueError(
            f"`exact` needs inner products below 2**53, these can reach {scale:.3g}: "
            "take smaller numbers"
        )


def _plain(number: complex) -> complex:
    """Return a number without the imaginary part that a real one has not."""
    return number if number.imag else number.real
