"""What the caller may set for all calls at once: the workspace and the workers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from anyconv._checks import integer

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Options:
    """Limits of a call. `workers` counts the threads that share a call on NumPy arrays."""

    workspace_bytes: int
    workers: int


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# A context variable, not a global: each thread and each task sees its own value.
_DEFAULT = Options(workspace_bytes=256 * MEBIBYTE, workers=_usable_cores())
_current: ContextVar[Options] = ContextVar("anyconv_options", default=_DEFAULT)


def current_options() -> Options:
    """The options in force here."""
    return _current.get()


@contextmanager
def options(*, workspace_bytes: int | None = None, workers: int | None = None) -> Iterator[Options]:
    """Set limits for the calls made inside a `with` block, in this thread alone.

    Parameters
    ----------
    workspace_bytes : int, optional
        The memory that a call may take beyond its inputs and its result, 256 MiB unless set. A call
        that needs more works in chunks; one that cannot is refused. JAX and Dask plan their own
        memory; there the limit only steers the choice of the algorithm.
    workers : int, optional
        The threads that share one call on NumPy arrays, each with a matrix product of one thread;
        the cores that the process may use unless set. Other libraries bring their own threads.

    Yields
    ------
    Options
        The limits in force, with attributes `workspace_bytes` and `workers`.

    Raises
    ------
    TypeError
        If a limit is not a whole number.
    ValueError
        If a limit is below one.

    See Also
    --------
    plan_conv : what a call would do within these limits.

    Examples
    --------
    >>> import anyconv
    >>> with anyconv.options(workspace_bytes=2**20) as limits:
    ...     limits.workspace_bytes
    1048576
    """
    changes = {}
    if workspace_bytes is not None:
        changes["workspace_bytes"] = integer("workspace_bytes", workspace_bytes, minimum=1)
    if workers is not None:
        changes["workers"] = integer("workers", workers, minimum=1)
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)
