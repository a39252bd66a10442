"""Threads that share one call on NumPy arrays, each with a matrix product of one thread."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Generic, TypeVar

from anyconv._compiled import new_flags, set_flag, wait_for_flags
from anyconv._namespace._blas import single_threaded_products
from anyconv._typing import Array

Item = TypeVar("Item")
Result = TypeVar("Result")


# Just below the most that glibc raises its threshold to, on machines of 64 bits.
RAISED_THRESHOLD = 31 * 2**20


@cache
def raise_mmap_threshold() -> None:
    """Have the C library keep for the next call the memory that a call's blocks were held in.

    A block above the threshold is had from the system, page by page, and given back. glibc raises
    it to the largest such block that has been freed, at most 32 MiB, and its trim threshold to
    twice as much (mallopt(3), M_MMAP_THRESHOLD); so a block is freed here once, as by any program
    that frees large arrays.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.malloc.restype = ctypes.c_void_p
        library.free(ctypes.c_void_p(library.malloc(ctypes.c_size_t(RAISED_THRESHOLD))))


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="anyconv")


if hasattr(os, "register_at_fork"):  # a process that is forked has none of these threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def share(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], workers: int
) -> list[Result]:
    """Each worker's result on its contiguous share of the items, in order."""
    raise_mmap_threshold()
    *others, last = shares(items, workers)
    if not others:
        return [work(last)]
    done = new_flags(len(others))
    tasks = [
        _Task(work, some, cores, done, number)
        for number, (cores, some) in enumerate(zip(cores_apart(len(others)), others, strict=True))
    ]
    with single_threaded_products():
        # The calling thread takes the last share itself.
        futures = []
        for task in tasks:
            try:
                futures.append(_pool(len(others)).submit(task.run))
            except RuntimeError:  # the interpreter ends, and lets no thread begin
                task.run()
        try:
            result = work(last)
        finally:
            if not wait_for_flags(done):
                wait(futures)
    return [*(task.outcome() for task in tasks), result]


def shares(items: Sequence[Item], workers: int) -> list[Sequence[Item]]:
    """The items as one contiguous share for each worker that has any; a single one at least."""
    workers = max(min(workers, len(items)), 1)
    bounds = [len(items) * worker // workers for worker in range(workers + 1)]
    return [items[start:stop] for start, stop in pairwise(bounds)]


class _Task(Generic[Item, Result]):
    """One worker's share, its result, and a flag that tells that it is there.

    A future tells so as well, but a thread that waits for one is asleep by then.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Result],
        items: Sequence[Item],
        cores: set[int] | None,
        done: Array,
        number: int,
    ) -> None:
        self.work, self.items, self.cores = work, items, cores
        self.done, self.number = done, number

    def run(self) -> None:
        try:
            self.result = _on_cores(self.cores, self.work, self.items)
        except BaseException as error:
            self.error: BaseException | None = error
        else:
            self.error = None
        set_flag(self.done, self.number)

    def outcome(self) -> Result:
        if self.error is not None:
            raise self.error
        return self.result


def cores_apart(others: int) -> list[set[int] | None]:
    """The cores of each worker but the caller: one each, where all of them take all there are.

    Threads that wait for one another are woken side by side, on one core; some systems, virtual
    machines above all, leave them there while others idle.
    """
    own = _current_core()
    if own is None:
        return [None] * others
    cores = os.sched_getaffinity(0)
    if len(cores) != others + 1 or own not in cores:
        return [cores] * others
    return [{core} for core in sorted(cores - {own})]


@cache
def _sched_getcpu() -> Callable[[], int] | None:
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.CDLL(None), "sched_getcpu", None)


def _current_core() -> int | None:
    """The core that the calling thread runs on, where the system tells and lets itself be told."""
    ask = _sched_getcpu()
    return None if ask is None else ask()


class _Here(threading.local):
    """The cores that a thread of ours has last been put on."""

    cores: set[int] | None = None


_here = _Here()


def _on_cores(
    cores: set[int] | None, work: Callable[[Sequence[Item]], Result], items: Sequence[Item]
) -> Result:
    """The work on some cores, in a thread that stays there: being moved costs as much as a wake."""
    if cores is not None and cores != _here.cores:
        with suppress(OSError):  # a core that has just been taken away
            os.sched_setaffinity(0, cores)
            _here.cores = cores
    return work(items)
