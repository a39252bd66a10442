"""Threads that carry out jobs, calls of compiled loops, which need no lock of the interpreter's.

They wait for them in compiled code, awake for a while, so that a call of a tenth of a millisecond
is worth a second thread. One call at a time has them; another that comes meanwhile takes the
threads of `_workers`.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Sequence

from anyconv._namespace import NO_MEMORY, Job, Mailbox, has_mailboxes, run_jobs
from anyconv._workers import Item, cores_apart, keep_freed_memory, share, shares


class _Member:
    """A thread, its mailbox, and the cores that it has last been put on."""

    def __init__(self, number: int) -> None:
        self.mailbox = Mailbox()
        name = f"anyconv-crew-{number}"
        self.thread = threading.Thread(target=self.mailbox.serve, name=name, daemon=True)
        self.thread.start()
        self.cores: set[int] | None = None

    def move(self, cores: set[int] | None) -> None:
        """Put the thread on some cores, where it stays: being moved costs as much as a wake."""
        if cores is None or cores == self.cores or self.thread.native_id is None:
            return
        try:
            os.sched_setaffinity(self.thread.native_id, cores)
        except OSError:  # a core that has just been taken away
            return
        self.cores = cores


class _Crew:
    """All these threads; as many as a call has asked for."""

    def __init__(self) -> None:
        self.members: list[_Member] = []
        self.lock = threading.Lock()
        atexit.register(self.dismiss)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def muster(self, count: int) -> list[_Member]:
        """So many members, each on a core of its own; by who has the lock."""
        while len(self.members) < count:
            self.members.append(_Member(len(self.members)))
        some = self.members[:count]
        for member, cores in zip(some, cores_apart(count), strict=True):
            member.move(cores)
        return some

    def forget(self) -> None:
        """In a process that was forked there are no such threads."""
        self.members, self.lock = [], threading.Lock()

    def dismiss(self) -> None:
        """Before the interpreter ends all of them do."""
        for member in self.members:
            member.mailbox.close()
        for member in self.members:
            member.thread.join()
        self.members = []


_crew = _Crew()


def rouse(workers: int) -> None:
    """Wake the threads of a call that is about to have jobs for so many workers."""
    for member in _crew.members[: workers - 1]:
        member.mailbox.rouse()


def carry_out(
    jobs_of: Callable[[Item], Iterable[Job]], items: Sequence[Item], workers: int
) -> None:
    """The jobs of all items, each worker's on its contiguous share of them, in order.

    All workers have one item at a time, so that what its jobs hold is soon given back.
    """

    def work(some: Sequence[Item]) -> None:
        for item in some:
            run_jobs(list(jobs_of(item)))

    keep_freed_memory()
    *others, last = shares(items, workers)
    if not others:
        work(last)
    elif not has_mailboxes() or not _crew.lock.acquire(blocking=False):
        share(work, items, workers)
    else:
        try:
            members = _crew.muster(len(others))
            for turn in range(max(map(len, (*others, last)))):
                _take_turn(jobs_of, members, [some[turn : turn + 1] for some in (*others, last)])
        finally:
            _crew.lock.release()


def _take_turn(
    jobs_of: Callable[[Item], Iterable[Job]],
    members: Sequence[_Member],
    items: Sequence[Sequence[Item]],
) -> None:
    """At most one item each for some members, and the last for the caller."""
    given = []
    try:
        for member, some in zip(members, items, strict=False):
            for item in some:
                member.mailbox.give(list(jobs_of(item)))
                given.append(member)
        for item in items[-1]:
            run_jobs(list(jobs_of(item)))
    finally:
        done = [member.mailbox.wait() for member in given]
    if not all(done):
        raise MemoryError(NO_MEMORY)
