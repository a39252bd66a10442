"""The library behind NumPy's matrix product: its kernels, and its threads.

Known by what threadpoolctl tells of the libraries that the process has loaded.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController


class _SingleThreadedProducts:
    """Keeps NumPy's matrix product to one thread while any call needs it so.

    Not only beside workers: a product that wakes OpenBLAS's own threads leaves them spinning for a
    while, on cores that the workers of this call and the next would have had.

    The limit belongs to the process. Calls in several threads overlap, so the first to come sets it
    and the last to leave restores what was found.
    """

    def __init__(self) -> None:
        self._limiter: Any = None
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """No call needs it so, as in a process that has been forked while others went on."""
        self._lock = threading.Lock()
        self._calls = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        is_counted = False
        try:
            with self._lock:
                is_counted, self._calls = True, self._calls + 1
                if self._calls == 1:
                    self._limiter = _controller().limit(limits=1, user_api="blas")
            yield
        finally:
            if is_counted:
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
def has_wide_kernels() -> bool:
    """Whether NumPy's matrix product is OpenBLAS's for vectors of 512 bits."""
    return bool(_WIDE_KERNELS & {found.get("architecture") for found in _controller().info()})


@cache
def has_wide_products() -> bool:
    """Whether that product takes such vectors each in one step."""
    return has_wide_kernels() and not halves_wide_vectors()


@cache
def halves_wide_vectors() -> bool:
    """Whether the processor is of AMD's family 25, which takes such vectors in two halves."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    about = dict(part.split(":", 1) for part in lines if ":" in part)
    words = {name.strip(): value.strip() for name, value in about.items()}
    return (words.get("vendor_id"), words.get("cpu family")) == ("AuthenticAMD", "25")
