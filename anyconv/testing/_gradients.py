"""The gradients of a layer against finite differences.

For all directions d, as h goes to zero:

    Re <(f(x + h d) - f(x - h d)) / 2h, dy>  ->  Re <d, dx>

One random direction finds a wrong gradient with probability one, whatever the size of the array.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from anyconv._checks import integer, number, shown
from anyconv._namespace import array_namespace, conjugate
from anyconv._typing import Array, Namespace
from anyconv.testing._arguments import require_functions, tolerance
from anyconv.testing._arrays import (
    double,
    drawn_like,
    expected_rounding,
    has_double,
    inner_product,
    is_complex,
    is_inexact,
    norm,
    relative_error,
    root_mean_square,
)

_RTOL = 1e-6  # what central differences in float64 are good for
_DIAGNOSIS_RTOL = 1e-3  # what tells a factor or a conjugate from chance
_VISIBLE = 1e-3  # the largest share of a derivative that rounding may be


class GradientCheck(NamedTuple):
    """One argument's derivative in the direction where the two computations differ most.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.testing import check_gradients
    >>> (check,) = check_gradients(np.square, lambda dy, x: 2 * x * dy, np.ones(3))
    >>> abs(check.numerical - check.analytical) < 1e-6
    True
    """

    argument: str
    numerical: float  # by finite differences of `forward`
    analytical: float  # by `backward`
    relative_error: float  # of their difference, in units of the gradient's norm


def check_gradients(
    forward: Callable[..., Array],
    backward: Callable[..., Any],
    *arrays: Array,
    options: Mapping[str, Any] | None = None,
    directions: int = 2,
    step: float = 1e-6,
    rtol: float | None = None,
    seed: int = 0,
) -> tuple[GradientCheck, ...]:
    """Check the gradients of a layer against central finite differences in float64.

    ``y = forward(*arrays, **options)`` is called first, then, once, ``backward(dy, ...,
    **options)`` with a random `dy`. So a layer that keeps what it needs between the two may do so.
    For each array and each of a few random directions ``d``, ``Re <d, gradient>`` must then equal
    the derivative of ``Re <forward(...), dy>`` along ``d``.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays, **options) -> y``, one array. It must give the same result each time, and
        must take float64 (complex128): the differences are computed there.
    backward : callable
        ``backward(dy, *arrays, **options)`` returns the gradient of each array, in a tuple or list;
        alone if there is but one. None stands for a gradient that is not to be checked. It
        is handed only as many of the leading arrays as it requires: ``backward(dy, x, w)`` of a
        layer with a bias is fine, as is a method ``backward(dy)``.
    *arrays : array
        Where to check. Real or complex arrays are varied; others (labels, indices) are handed
        on, and their gradients ignored. `backward` sees them in their own dtype.
    options : mapping, optional
        Keyword arguments for both functions.
    directions : int, default 2
        Random directions for each array.
    step : float, default 1e-6
        The step h, relative to the root mean square of the array where that is above one.
    rtol : float, optional
        The tolerated error over the norm of the gradient. By default 1e-6, or 100 times the
        epsilon of the coarsest dtype of the array and its gradient if that is more.
    seed : int, default 0
        Of NumPy's generator, which draws `dy` and the directions.

    Returns
    -------
    tuple of GradientCheck
        For each array that was checked, the direction with the largest error.

    Raises
    ------
    AssertionError
        If a gradient has not the shape of its array, or is not the gradient. The message shows all
        arguments, and whether a wrong gradient is off by a factor or lacks a conjugate.
    TypeError
        If something that should be an array or a function is not one, or nothing can be varied; if
        an option is of the wrong kind.
    ValueError
        If `backward` returns too many or too few gradients, `directions` or `step` is not
        positive, `rtol` or `seed` is negative, or the namespace has no float64 (JAX without
        `jax_enable_x64`). Also if a gradient could be right or wrong, since `forward` rounds by as
        much as it changes over a step.

    See Also
    --------
    check_adjoint : For a linear map, without any differences, exact on whole numbers.

    Notes
    -----
    For complex arrays the gradient ``dx`` is the one with ``<y, dy> = <x, dx>`` for a linear map,
    the inner product conjugating: ``dx = conj(w) * dy`` for ``y = w * x``.

    Where a function has kinks (a maximum, ReLU) the array should not lie within `step` of one.

    Rounding in `forward` alone gives differences of up to about ``4 eps |y| |dy| / h``. Where a
    gradient differs by no more than that, the rounding must be below a thousandth of the derivative
    (of ``|dy|``, if `backward` gives zero) for the check to pass.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv import conv_backward, conv_forward
    >>> from anyconv.testing import check_gradients
    >>> rng = np.random.default_rng(0)
    >>> x, w, b = rng.normal(size=(2, 5, 5, 3)), rng.normal(size=(3, 3, 3, 4)), rng.normal(size=4)
    >>> for check in check_gradients(conv_forward, conv_backward, x, w, b, options={"stride": 2}):
    ...     print(check.argument, check.relative_error < 1e-6)
    x True
    w True
    b True

    A layer whose gradient is half of what it should be:

    >>> check_gradients(lambda x: x**2, lambda dy, x: x * dy, np.asarray([1.0, 2.0, 3.0]))
    Traceback (most recent call last):
      ...
    AssertionError: `backward` does not agree with finite differences of `forward`:
      x: numerical ..., analytical ..., relative error ..., tolerated 1e-06
        <- wrong: it is 0.5 times what it should be
    """
    require_functions(forward=forward, backward=backward)
    directions = integer("directions", directions, minimum=1)
    if not 0 < number("step", step) < math.inf:
        raise ValueError(f"`step` must be positive and finite, got {step}")
    rtol = None if rtol is None else tolerance("rtol", rtol)
    seed = integer("seed", seed, minimum=0)
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        raise TypeError(f"`options` must be a mapping, got {shown(options)}")
    names = _argument_names(forward, len(arrays))
    if not arrays:
        raise TypeError("`arrays` must hold at least one array, got none")
    xp = array_namespace(**dict(zip(names, arrays, strict=True)))
    if not any(is_inexact(array, xp) for array in arrays):
        raise TypeError("`arrays` must hold at least one real or complex array, got none to vary")
    if not has_double(xp):
        raise ValueError(
            "finite differences need float64, which this namespace does not offer; "
            "with JAX, set jax.config.update('jax_enable_x64', True)"
        )

    y = forward(*arrays, **options)
    array_namespace(**{"forward(...)": y})
    generator = np.random.default_rng(seed)
    dy = drawn_like(y, y.dtype, generator, xp)
    handed = arrays[: _required_arguments(backward, len(arrays))]
    gradients = _as_sequence(backward(dy, *handed, **options), len(arrays))

    point = [double(array, xp) if is_inexact(array, xp) else array for array in arrays]
    # What rounding in `forward` adds to a derivative, however small the derivative itself.
    size = norm(y, xp) * norm(dy, xp)
    noise = 4 * float(np.finfo(np.float64).eps) * size

    verdicts = []
    for i, (name, array, gradient) in enumerate(zip(names, arrays, gradients, strict=True)):
        if gradient is None or not is_inexact(array, xp):
            continue
        _require_gradient_of(array, gradient, name, xp)
        h = step * max(1.0, root_mean_square(array, xp))
        derivatives = []
        for _ in range(directions):
            d = drawn_like(array, point[i].dtype, generator, xp)
            ahead, behind = (
                forward(*point[:i], moved, *point[i + 1 :], **options)
                for moved in (point[i] + h * d, point[i] - h * d)
            )
            derivatives.append(
                _Derivative(
                    numerical=inner_product(ahead - behind, dy, xp).real / (2 * h),
                    analytical=inner_product(d, gradient, xp).real,
                    conjugated=inner_product(d, conjugate(gradient, xp=xp), xp).real,
                )
            )
        tolerated = rtol
        if tolerated is None:
            tolerated = max(_RTOL, expected_rounding(array, gradient, xp=xp))
        length = norm(gradient, xp)
        is_zero = length <= expected_rounding(y, gradient, xp=xp) * size
        compared = norm(dy, xp) if is_zero else 0.0
        verdicts.append(_judge(name, derivatives, length, tolerated, noise / h, compared))

    if not verdicts:
        raise ValueError("`backward` gave None for every array that can be varied: nothing checked")
    if any(verdict.wrong for verdict in verdicts):
        raise AssertionError(
            "`backward` does not agree with finite differences of `forward`:\n"
            + "\n".join(verdict.line for verdict in verdicts)
        )
    if any(verdict.hidden for verdict in verdicts):
        raise ValueError(
            "finite differences cannot tell whether `backward` is right, `forward` rounds by as "
            f"much as it changes: take a larger `step` than {step:g}, or smaller numbers:\n"
            + "\n".join(verdict.line for verdict in verdicts)
        )
    return tuple(verdict.check for verdict in verdicts)


class _Derivative(NamedTuple):
    """One derivative along one direction, computed three ways."""

    numerical: float
    analytical: float
    conjugated: float  # analytical, with the conjugate of the gradient


class _Verdict(NamedTuple):
    """What is known of one argument."""

    check: GradientCheck
    wrong: bool
    hidden: bool  # by rounding, so that it could be right or wrong
    line: str


def _judge(
    name: str,
    derivatives: list[_Derivative],
    norm: float,
    rtol: float,
    rounding: float,
    compared: float,
) -> _Verdict:
    """Compare the derivatives of one argument, whose gradient has this norm.

    A gradient of zero has no size that the rounding could be small against: it is given one.
    """
    worst, wrong, hidden = GradientCheck(name, 0.0, 0.0, -1.0), False, False
    for numerical, analytical, _ in derivatives:
        scale = max(abs(numerical), abs(analytical), norm)
        difference = abs(numerical - analytical)
        error = relative_error(difference, scale)
        wrong = wrong or not difference <= rtol * scale + rounding  # so that NaN is wrong
        if difference > rtol * scale or compared > 0:
            hidden = hidden or rounding > _VISIBLE * max(scale, compared)
        if math.isnan(error) or error > worst.relative_error:
            worst = GradientCheck(name, numerical, analytical, error)
    line = (
        f"  {name}: numerical {worst.numerical:.10g}, analytical {worst.analytical:.10g}, "
        f"relative error {worst.relative_error:.2g}, tolerated {rtol:.2g}"
    )
    if wrong:
        line += f"\n    <- wrong{_diagnosis(derivatives)}"
    elif hidden:
        line += f"\n    <- hidden by rounding, which may add {rounding:.2g} to the numerical one"
    return _Verdict(worst, wrong, hidden, line)


def _diagnosis(derivatives: list[_Derivative]) -> str:
    """Say what is wrong with a gradient, if all directions agree on it."""
    largest = max(derivatives, key=lambda it: abs(it.numerical))
    close = _DIAGNOSIS_RTOL * abs(largest.numerical)

    def all_near(differences: Iterable[float]) -> bool:
        return all(abs(difference) < close for difference in differences)

    if all_near(it.analytical - it.numerical for it in derivatives):
        return ""
    if all_near(it.conjugated - it.numerical for it in derivatives):
        return ": it is the conjugate of what it should be"
    if len(derivatives) > 1 and close > 0:
        factor = largest.analytical / largest.numerical
        if all_near(it.analytical - factor * it.numerical for it in derivatives):
            return f": it is {factor + 0.0:.4g} times what it should be"
    return ""


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Return the parameters of a function, or None where Python cannot tell them."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _argument_names(forward: Callable[..., Any], count: int) -> list[str]:
    """Return what `forward` calls its first `count` arguments, as far as it can be known."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    known = [it.name for it in _parameters(forward) or [] if it.kind in kinds][:count]
    return known + [f"arrays[{i}]" for i in range(len(known), count)]


def _required_arguments(backward: Callable[..., Any], most: int) -> int:
    """Return how many arrays, `most` at most, `backward` requires after the output gradient."""
    parameters = _parameters(backward)
    if parameters is None or any(it.kind is it.VAR_POSITIONAL for it in parameters):
        return most
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [it for it in parameters if it.kind in kinds and it.default is it.empty]
    return min(most, len(required) - 1)


def _as_sequence(result: Any, count: int) -> list[Any]:
    """Return the gradients that `backward` gave, one for each array."""
    gradients = list(result) if isinstance(result, tuple | list) else [result]
    if len(gradients) != count:
        raise ValueError(
            f"`backward` must return one gradient for each of the {count} arrays "
            f"(None where there is none to check), got {len(gradients)}"
        )
    return gradients


def _require_gradient_of(array: Array, gradient: Array, name: str, xp: Namespace) -> None:
    """Raise unless `gradient` can be the gradient of `array`."""
    array_namespace(**{f"gradient of {name}": gradient})
    if gradient.shape != array.shape:
        raise AssertionError(
            f"the gradient of `{name}` must have its shape, {tuple(array.shape)}, "
            f"got {tuple(gradient.shape)}"
        )
    if is_complex(gradient, xp) and not is_complex(array, xp):
        raise AssertionError(
            f"the gradient of `{name}` must be real as `{name}` is, got {gradient.dtype}: "
            "take its real part"
        )
