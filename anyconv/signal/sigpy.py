"""SigPy's convolution on anyconv: NumPy arrays faster, CuPy arrays without cuDNN.

After `install()`, `sigpy.convolve` and its adjoints, and with them `sigpy.linop.ConvolveData` and
`sigpy.mri.app.JsenseRecon`, compute with `anyconv.signal`.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from types import ModuleType
from typing import Any

from anyconv import signal
from anyconv._typing import Array

__all__ = ["install", "uninstall"]

_NAMES = ("convolve", "convolve_data_adjoint", "convolve_filter_adjoint")
_DTYPES = frozenset({"float16", "float32", "float64", "complex64", "complex128"})
_ORIGINAL = "_anyconv_original"  # on each replacement, the function that it stands in for


def install() -> None:
    """Put `anyconv.signal` in place of SigPy's three convolution functions.

    ``convolve``, ``convolve_data_adjoint`` and ``convolve_filter_adjoint`` are exchanged in every
    module of SigPy that holds them, so its linear operators and apps use the new ones at once. A
    name that another module took before, by ``from sigpy import convolve``, stays as it was.

    Nothing else of SigPy changes. Arguments, shapes and the dtype of results, which is that of the
    first array, are SigPy's. Its own code still serves arrays that are neither floating nor
    complex. What is new: it works on CuPy arrays, with any number of spatial axes; a real first
    array with a complex second gives a complex result, where SigPy raises; mode ``"same"``.

    Installing twice is installing once.

    Raises
    ------
    ImportError
        If SigPy is not installed.

    See Also
    --------
    uninstall : its inverse.

    Notes
    -----
    SigPy called cuDNN through CuPy. CuPy 14 has no such bindings any more, and SigPy's convolution
    raises on the GPU: https://github.com/mikgroup/sigpy/issues/151.

    Examples
    --------
    >>> from anyconv.signal.sigpy import install, uninstall
    >>> install()  # doctest: +SKIP
    >>> maps = sigpy.mri.app.JsenseRecon(kspace, device=0).run()  # doctest: +SKIP
    >>> uninstall()  # doctest: +SKIP
    """
    conv = _sigpy_conv()
    for name in _NAMES:
        present = getattr(conv, name)
        if not hasattr(present, _ORIGINAL):
            _exchange(present, _replacement(present, getattr(signal, name)))


def uninstall() -> None:
    """Put SigPy's own functions back; nothing happens where they are in place.

    Raises
    ------
    ImportError
        If SigPy is not installed.

    See Also
    --------
    install : its inverse.
    """
    conv = _sigpy_conv()
    for name in _NAMES:
        present = getattr(conv, name)
        if hasattr(present, _ORIGINAL):
            _exchange(present, getattr(present, _ORIGINAL))


def _replacement(original: Callable[..., Array], ours: Callable[..., Array]) -> Any:
    """Ours behind the signature of SigPy's, whose first two arguments are its arrays."""
    signature = inspect.signature(original)

    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Array:
        arguments = signature.bind(*args, **kwargs)
        first, second = arguments.args[:2]
        if not (_is_served(first) and _is_served(second)):
            return original(*args, **kwargs)
        result = ours(*arguments.args)
        if result.dtype.kind != first.dtype.kind:  # a complex result of real data
            return result
        return result.astype(first.dtype, copy=False)

    setattr(replacement, _ORIGINAL, original)
    return replacement


def _is_served(array: Any) -> bool:
    library = type(array).__module__.partition(".")[0]
    return library in ("numpy", "cupy") and str(array.dtype) in _DTYPES


def _exchange(old: Any, new: Any) -> None:
    """Bind `new` to every name of SigPy's modules that is bound to `old`."""
    for module in _sigpy_modules():
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def _sigpy_modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "sigpy" and module is not None:
            yield module


def _sigpy_conv() -> ModuleType:
    try:
        import sigpy
    except ImportError as error:
        raise ImportError("this integration needs SigPy: pip install sigpy") from error
    return sigpy.conv  # type: ignore[no-any-return]
