"""Whether Numba is there; it is imported when its loops are first asked for."""

from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def why_no_compiled_loops() -> str | None:
    """What Numba says where it cannot be imported, or None where it can."""
    try:
        loops("walk")
    except Exception as error:  # it refuses versions of NumPy in several ways
        return str(error)
    return None


@cache
def loops(kind: str) -> ModuleType:
    """The loops of one kind, `_<kind>_loops`."""
    from numba import config

    if config.DISABLE_JIT:
        raise ImportError("NUMBA_DISABLE_JIT is set")
    return import_module(f"anyconv._compiled._{kind}_loops")
