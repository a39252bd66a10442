"""How loops are compiled by Numba, and kept on disk for processes that come later or run beside.

Numba tells functions of one name apart by a number that each process counts for itself. Of two that
were compiled by different processes and are loaded by one, the linker may then take either for the
other, which reads and writes what it should not. So each function that a factory makes several
times from one source gets a qualified name of its own (`named`).

Numba's own files on disk have an index that two processes may overwrite at once, after which a file
may be taken for another's, and are found stale when a loop's own file has changed, not when that of
a loop within it has. So each overload has a file here, named by what it is, which says of which
sources it was made.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numba
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class _Apart(CompilerBase):  # type: ignore[misc]
    """Arrays that are written to share no memory with others: each loop need not find that out."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own, with what it assumes of its parallel loops."""
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


# Sums may be contracted to fused multiply-adds, nothing else is left to the compiler's taste.
_OPTIONS = {
    "nogil": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "pipeline_class": _Apart,
}

inner = njit(**_OPTIONS)
inlined = njit(forceinline=True, **_OPTIONS)  # called for a few neighbours


def loop(function: Callable[..., Any], options: dict[str, Any] = _OPTIONS) -> Any:
    """Compiled when it is first called, and kept on disk where Numba finds a place for it."""
    compiled = njit(**options)(function)
    with suppress(RuntimeError):  # that there is no folder that may be written
        compiled._cache = _Kept(function)
    return compiled


def named(*which: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A name of its own for a function that is made of the same text as others."""

    def rename(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__qualname__ = "_".join([function.__qualname__, *map(str, which)])
        return function

    return rename


class _Kept(FunctionCache):  # type: ignore[misc]
    """The overloads of a loop that are kept on disk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _stamp_of_sources() or self._impl.locator.get_source_stamp()
        self._cache_file = FileEach(self._cache_path, self._impl.filename_base, stamp)


class FileEach(IndexDataCacheFile):  # type: ignore[misc]
    """A file for each overload, without an index; written under another name first."""

    def save(self, key: Any, data: Any) -> None:
        """Keep one, if there is room."""
        with suppress(OSError):
            self._save_data(self._name_of(key), (self._source_stamp, repr(key), data))

    def load(self, key: Any) -> Any:
        """What was kept; None where that is nothing, is damaged, or was made of other sources."""
        try:
            stamp, name, data = self._load_data(self._name_of(key))
        except Exception:  # what a damaged file raises may be anything
            return None
        return data if (stamp, name) == (self._source_stamp, repr(key)) else None

    def _name_of(self, key: Any) -> str:
        """Other versions of Numba, whose files this one may not be able to read, have others."""
        digest = sha256(repr((numba.__version__, key)).encode()).hexdigest()
        return str(self._data_name_pattern.format(number=int(digest[:15], 16)))


@cache
def _stamp_of_sources() -> str | None:
    """What tells the sources of all loops from others; None where there are none to be read."""
    try:
        sources = sorted(files("anyconv._compiled").iterdir(), key=lambda file: file.name)
        texts = [file.read_bytes() for file in sources if _has_loops(file.name)]
    except OSError:
        return None
    return sha256(b"".join(texts)).hexdigest() if texts else None


def _has_loops(name: str) -> bool:
    return name.endswith("_loops.py") or name in ("_loop_sizes.py", "_transforms.py")
