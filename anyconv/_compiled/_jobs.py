"""Calls of compiled loops as jobs, which threads are given without the interpreter's lock.

Where the system has semaphores that need no name (Linux), a thread waits for them in compiled code.
"""

import ctypes
import sys
from array import array
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from anyconv._compiled._numba import loops

# So often a thread looks whether there is something to do before it sleeps, for a tenth to a
# quarter of a millisecond; threads of PyTorch do so for longer.
LOOKS = 4000
# What a loop that fails has met; it can meet nothing else.
NO_MEMORY = "a compiled loop found no memory for what it holds"


class Job(NamedTuple):
    """A compiled loop and what it is called with: arrays whose elements lie side by side, sizes.

    Arrays of one library's dtype are of one kind for it, whether they may be written or not.
    """

    loop: Any
    arguments: tuple[Any, ...]


# What is heard of jobs whose thread has ended before them.
ENDED = -1


def run_jobs(jobs: Sequence[Job]) -> None:
    """Carry out some jobs, one after the other, in this thread."""
    calls = _calls(jobs)
    if loops("job").run(calls.buffer_info()[0], len(jobs)):
        raise MemoryError(NO_MEMORY)


@cache
def has_mailboxes() -> bool:
    """Whether threads can wait for jobs."""
    return sys.platform == "linux" and hasattr(_library(), "sem_trywait")


class Mailbox:
    """Where one thread waits for the jobs that another one gives it."""

    def __init__(self) -> None:
        import numpy

        job = loops("job")
        self._numbers = numpy.zeros(job.MAILBOX, dtype=numpy.int64)
        self._place = self._numbers.ctypes.data
        self._go = ctypes.c_void_p(self._place + job.GO * job.BYTES)
        for number in (job.GO, job.DONE):
            place = ctypes.c_void_p(self._place + number * job.BYTES)
            if _library().sem_init(place, 0, 0):
                raise OSError("the system has no semaphore left")
        self._held: Any = None

    def serve(self) -> None:
        """Carry out what is given, until the mailbox is closed."""
        job = loops("job")
        try:
            job.serve(self._numbers, self._place, LOOKS)
        finally:  # should it fail, who waits hears of it
            if not self._numbers[job.ENDS]:
                self._numbers[job.STATUS] = ENDED
                _library().sem_post(ctypes.c_void_p(self._place + job.DONE * job.BYTES))

    @property
    def is_served(self) -> bool:
        """Whether no thread has failed to serve."""
        return bool(self._numbers[loops("job").STATUS] != ENDED)

    def wake(self) -> None:
        """Wake the thread that waits, for a job that is about to come."""
        _library().sem_post(self._go)

    def give(self, jobs: Sequence[Job]) -> None:
        """Have some jobs carried out in order, after those that nobody has waited for."""
        self.wait()
        calls = _calls(jobs)
        self._held = jobs, calls  # until they are done
        loops("job").give(self._numbers, self._place, calls.buffer_info()[0], len(jobs))

    def wait(self) -> int:
        """Wait until they are done; how many found no memory, or `ENDED` with the thread."""
        failed: int = loops("job").finish(self._numbers, self._place, LOOKS)
        self._held = None
        return failed

    def close(self) -> None:
        """Let the thread that serves end."""
        self._numbers[loops("job").ENDS] = 1
        self.wake()


@cache
def _library() -> Any:
    """The system's own, called without giving up the interpreter's lock."""
    return ctypes.PyDLL(None)


def _calls(jobs: Sequence[Job]) -> "array[int]":
    """The numbers of all calls one after the other."""
    import numpy

    calls, place_of = array("q"), loops("job").place_of
    for loop, arguments in jobs:
        numbers, dtypes = [0, 0], []
        for argument in arguments:
            if isinstance(argument, numpy.ndarray):
                numbers += place_of(argument), *argument.shape
                dtypes.append(argument.dtype)
            else:
                numbers.append(argument)
        kind = loop, tuple(dtypes)
        numbers[0] = len(numbers) - 2
        numbers[1] = (_entries.get(kind) or _compile(kind, arguments)).address
        calls.extend(numbers)
    return calls


class _Entry(NamedTuple):
    address: int
    library: Any  # whose code this is


# An entry for each loop and the dtypes of its arrays; what else its arguments are never changes.
_entries: dict[tuple[Any, tuple[Any, ...]], _Entry] = {}


def _compile(kind: tuple[Any, tuple[Any, ...]], arguments: Sequence[Any]) -> _Entry:
    """The entry of a loop, compiled for arrays of such dtypes or found on disk."""
    import numpy
    from numba import from_dtype, types

    loop, _ = kind
    signature = tuple(
        types.Array(from_dtype(argument.dtype), argument.ndim, "C")
        if isinstance(argument, numpy.ndarray)
        else types.boolean
        if isinstance(argument, bool)
        else types.int64
        for argument in arguments
    )
    loop.compile(signature)
    entry = _Entry(*loops("job").entry_of(loop.overloads[signature]))
    return _entries.setdefault(kind, entry)
