"""Flags that threads set and wait for, awake, in compiled code that leaves the lock to others."""

import sys

from anyconv._typing import Array

# So often a thread that waits looks at the flags, in about a fifth of a millisecond; and so often
# one that has set its flag, which leaves the interpreter's lock to others meanwhile.
LOOKS, LOOKS_AFTER = 500_000, 20_000


def wait_for_flags(flags: Array) -> bool:
    """Whether all flags were set within a moment, for which the lock is left to others.

    False at once while no loop has been imported.
    """
    if "anyconv._compiled._kept_loops" not in sys.modules:
        return False
    from anyconv._compiled import _waiting_loops

    done: bool = _waiting_loops.wait(flags, LOOKS)
    return done


def set_flag(flags: Array, index: int) -> None:
    """Set one flag for threads that wait for it."""
    if "anyconv._compiled._kept_loops" not in sys.modules:
        flags[index] = 1
        return
    from anyconv._compiled import _waiting_loops

    _waiting_loops.tell(flags, index, LOOKS_AFTER)


def new_flags(count: int) -> Array:
    """Flags for `wait_for_flags`, an array of NumPy's."""
    import numpy

    return numpy.zeros(count, dtype=numpy.int64)
