"""What the caller may set for all calls at once: workspace, workers, compiled loops."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

from anyconv._checks import integer, shown
from anyconv._compiled import why_no_compiled_loops

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Options:
    """Limits of a call. `workers` counts the threads that share a call on NumPy arrays.

    `compiled` says whether loops over NumPy arrays may be compiled, or `"auto"`.
    """

    workspace_bytes: int
    workers: int
    compiled: bool | Literal["auto"] = "auto"

    def compiles(self, work: int, worth: int) -> bool:
        """Whether loops over NumPy arrays are to be compiled for a call, given what it has to do.

        Numba is imported only where there is work enough.
        """
        if self.compiled == "auto":
            return work >= worth and why_no_compiled_loops() is None
        return self.compiled


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
def options(
    *,
    workspace_bytes: int | None = None,
    workers: int | None = None,
    compiled: bool | Literal["auto"] | None = None,
) -> Iterator[Options]:
    """Set limits for the calls made inside a `with` block, in this thread alone.

    Parameters
    ----------
    workspace_bytes : int, optional
        The memory that a call may take beyond its inputs and its result, 256 MiB unless set. A call
        that needs more works in chunks; a convolution that cannot is refused. Pooling takes one
        image at a time at least, of NumPy arrays one row of windows. On Dask the limit holds for
        each block of the batch. JAX plans its own memory; there the limit only steers the choice of
        the algorithm.
    workers : int, optional
        The threads that share one call on NumPy arrays, each with a matrix product of one thread;
        the cores that the process may use unless set. Other libraries bring their own threads.
    compiled : bool or "auto", optional
        Whether convolution, pooling and Fourier transforms are worked out in loops that Numba
        compiles, on NumPy arrays: faster, and equal but for rounding.
        ``"auto"``, unless set, does so where Numba is installed (the extra `fast`) and a call is
        large. The first such call of a process imports Numba, in half a second; each loop is
        compiled when it is first needed, in one to six seconds, and kept on disk.

    Yields
    ------
    Options
        What is in force, with attributes `workspace_bytes`, `workers` and `compiled`.

    Raises
    ------
    TypeError
        If a limit is not a whole number, `compiled` neither true, false nor ``"auto"``.
    ValueError
        If a limit is below one; if `compiled` is true and Numba cannot be used.

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
    changes: dict[str, Any] = {}
    if workspace_bytes is not None:
        changes["workspace_bytes"] = integer("workspace_bytes", workspace_bytes, minimum=1)
    if workers is not None:
        changes["workers"] = integer("workers", workers, minimum=1)
    if compiled is not None:
        changes["compiled"] = _compiled(compiled)
    token = _current.set(replace(_current.get(), **changes))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


def _compiled(value: Any) -> bool | Literal["auto"]:
    """The argument `compiled`, checked."""
    if isinstance(value, str) and value == "auto":
        return "auto"
    if not isinstance(value, bool):
        raise TypeError(f"`compiled` must be True, False or 'auto', got {shown(value)}")
    reason = why_no_compiled_loops() if value else None
    if reason:
        raise ValueError(f"`compiled=True` needs Numba, which cannot be used: {reason}")
    return value
