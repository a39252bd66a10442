"""Whether Numba is there; it is imported when its loops are first asked for."""

from functools import cache
from types import ModuleType


@cache
def why_no_compiled_loops() -> str | None:
    """What Numba says where it cannot be imported, or None where it can."""
    try:
        compiled_loops()
    except Exception as error:  # it refuses versions of NumPy in several ways
        return str(error)
    return None


@cache
def compiled_loops() -> ModuleType:
    from numba import config

    if config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT is set")

    from anyconv._compiled import _loops

    return _loops
