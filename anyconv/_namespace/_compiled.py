"""Loops over NumPy's arrays that Numba compiles, for what NumPy would do in many passes.

They are there where Numba can be imported, which is done when they are first asked for.
"""

import sys
from functools import cache
from types import ModuleType

from anyconv._typing import Array


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

    from anyconv._namespace import _loops

    return _loops


# So often a thread looks whether others are done, in about a fifth of a millisecond; and one that
# is done leaves the interpreter's lock to it for a hundredth.
LOOKS, LINGERS = 500_000, 20_000


def wait_awake(flags: Array) -> bool:
    """Whether all flags were set within a moment, for which the lock is left to others.

    False at once while no loop has been imported.
    """
    if "anyconv._namespace._loops" not in sys.modules:
        return False
    from anyconv._namespace import _waiting_loops

    done: bool = _waiting_loops.wait(flags, LOOKS)
    return done


def tell_awake(flags: Array, index: int) -> None:
    """Set one flag for threads that wait for it."""
    if "anyconv._namespace._loops" not in sys.modules:
        flags[index] = 1
        return
    from anyconv._namespace import _waiting_loops

    _waiting_loops.tell(flags, index, LINGERS)


def zeros_of_whole_numbers(count: int) -> Array:
    """Flags for `wait_awake`, an array of NumPy's."""
    import numpy

    return numpy.zeros(count, dtype=numpy.int64)
