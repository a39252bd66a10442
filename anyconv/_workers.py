"""Threads that share one call on NumPy arrays, each with a matrix product of one thread."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


class _SingleThreadedProducts:
    """Keeps NumPy's matrix product to one thread while any call needs it so.

    Not only beside workers: a product that wakes OpenBLAS's own threads leaves them spinning for a
    while, on cores that the workers of this call and the next would have had.

    The limit belongs to the process. Calls in several threads overlap, so the first to come sets it
    and the last to leave restores what was found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._limiter: Any = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._calls += 1
            if self._calls == 1:
                self._limiter = _controller().limit(limits=1, user_api="blas")
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                if self._calls == 0:
                    self._limiter.restore_original_limits()


single_threaded_products = _SingleThreadedProducts()


@cache
def _controller() -> ThreadpoolController:
    # Making one scans every library of the process, so one is kept.
    return ThreadpoolController()


# The names that OpenBLAS gives to its kernels with vectors of 512 bits.
_WIDE_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}


@cache
def has_wide_products() -> bool:
    """Whether NumPy's matrix product uses vectors of 512 bits."""
    return any(found.get("architecture") in _WIDE_KERNELS for found in _controller().info())


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="anyconv")


def share(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], workers: int
) -> list[Result]:
    """Each worker's result on its contiguous share of the items, in order."""
    workers = min(workers, len(items))
    if workers < 2:
        return [work(items)]
    bounds = [len(items) * worker // workers for worker in range(workers + 1)]
    shares = [items[start:stop] for start, stop in pairwise(bounds)]
    with single_threaded_products():
        # The calling thread takes the last share itself.
        futures = [_pool(workers - 1).submit(work, share) for share in shares[:-1]]
        last = work(shares[-1])
        return [*(future.result() for future in futures), last]
