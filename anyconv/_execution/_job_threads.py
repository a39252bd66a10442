"""Threads that carry out jobs, calls of compiled loops, which need no lock of the interpreter's.

They wait for them in compiled code, awake for a while, so that a call of a tenth of a millisecond
is worth a second thread. One call at a time has them; another that comes meanwhile takes the
threads of `_workers`.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Sequence

from anyconv._compiled import ENDED, NO_MEMORY, Job, Mailbox, has_mailboxes, run_jobs
from anyconv._execution._workers import Item, cores_apart, raise_mmap_threshold, share, shares


class _JobThread:
    """A thread, its mailbox, and the cores that it has last been put on."""

    def __init__(self, number: int) -> None:
        self.mailbox = Mailbox()
        name = f"anyconv-jobs-{number}"
        self.thread = threading.Thread(target=self.mailbox.serve, name=name, daemon=True)
        self.thread.start()
        self.cores: set[int] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the thread still serves."""
        return self.thread.is_alive() and self.mailbox.is_served

    def move(self, cores: set[int] | None) -> None:
        """Put the thread on some cores, where it stays: being moved costs as much as a wake."""
        if cores is None or cores == self.cores or self.thread.native_id is None:
            return
        try:
            os.sched_setaffinity(self.thread.native_id, cores)
        except OSError:  # a core that has just been taken away
            return
        self.cores = cores


class _JobThreads:
    """All these threads; as many as a call has asked for."""

    def __init__(self) -> None:
        self.threads: list[_JobThread] = []
        self.lock = threading.Lock()
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def take(self, count: int) -> list[_JobThread]:
        """So many of the threads, each on a core of its own; the caller holds the lock."""
        if not all(thread.is_alive for thread in self.threads):
            self.threads = [thread for thread in self.threads if thread.is_alive]
        while len(self.threads) < count:
            self.threads.append(_JobThread(len(self.threads)))
        some = self.threads[:count]
        for thread, cores in zip(some, cores_apart(count), strict=True):
            thread.move(cores)
        return some

    def forget(self) -> None:
        """In a process that was forked there are no such threads."""
        self.threads, self.lock = [], threading.Lock()

    def stop(self) -> None:
        """Before the interpreter ends all of them do."""
        for thread in self.threads:
            thread.mailbox.close()
        for thread in self.threads:
            thread.thread.join()
        self.threads = []


_threads = _JobThreads()


def wake(workers: int) -> None:
    """Wake the threads of a call that is about to have jobs for so many workers."""
    for thread in _threads.threads[: workers - 1]:
        thread.mailbox.wake()


def carry_out(
    jobs_of: Callable[[Item], Iterable[Job]], items: Sequence[Item], workers: int
) -> None:
    """The jobs of all items, each worker's on its contiguous share of them, in order.

    All workers have one item at a time, so that what its jobs hold is soon given back.
    """

    def work(some: Sequence[Item]) -> None:
        for item in some:
            run_jobs(list(jobs_of(item)))

    raise_mmap_threshold()
    *others, last = shares(items, workers)
    if not others:
        work(last)
    elif not has_mailboxes() or not _threads.lock.acquire(blocking=False):
        share(work, items, workers)
    else:
        try:
            threads = _threads.take(len(others))
        except RuntimeError:  # the interpreter ends, and lets no thread begin
            threads = []
        try:
            if not threads:
                work(items)
            else:
                for turn in range(max(map(len, (*others, last)))):
                    turns = [some[turn : turn + 1] for some in (*others, last)]
                    _take_turn(jobs_of, threads, turns)
        finally:
            _threads.lock.release()


def _take_turn(
    jobs_of: Callable[[Item], Iterable[Job]],
    threads: Sequence[_JobThread],
    items: Sequence[Sequence[Item]],
) -> None:
    """At most one item each for some threads, and the last for the caller."""
    given = []
    try:
        for thread, some in zip(threads, items, strict=False):
            for item in some:
                thread.mailbox.give(list(jobs_of(item)))
                given.append(thread)
        for item in items[-1]:
            run_jobs(list(jobs_of(item)))
    finally:
        done = [thread.mailbox.wait() for thread in given]
    if ENDED in done:
        raise RuntimeError("a thread of anyconv has ended before its work; what it raised is above")
    if any(done):
        raise MemoryError(NO_MEMORY)
