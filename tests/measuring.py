"""The memory of a call on NumPy arrays, as tests measure it."""

import tracemalloc

SMALL_CHANGE = 2**15  # objects, not elements


def peak(call):
    """Bytes held at once beyond the result, by a call whose plan and constants are made."""
    call()
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()
