"""Compiled loops that are kept on disk, by processes one after the other or side by side."""

import importlib
import os
import pickle
import subprocess
import sys
from importlib.resources import files

import pytest

import anyconv._compiled._numba as compiled_mod

pytestmark = pytest.mark.skipif(
    compiled_mod.why_no_compiled_loops() is not None, reason="Numba cannot be imported"
)


def dispatchers_of(values, found):
    """All functions that Numba compiles among some values, and among those that they close over."""
    from numba.core.dispatcher import Dispatcher

    for value in values:
        if isinstance(value, Dispatcher) and value not in found:
            found.append(value)
            cells = value.py_func.__closure__ or ()
            dispatchers_of([cell.cell_contents for cell in cells], found)
    return found


def test_no_two_compiled_functions_have_one_name():
    """What differs but in a number that each process counts is taken for another when loaded."""
    functions = {}
    for file in files("anyconv._compiled").iterdir():
        if file.name.endswith("_loops.py"):
            module = importlib.import_module(f"anyconv._compiled.{file.name[:-3]}")
            for dispatcher in dispatchers_of(vars(module).values(), []):
                function = dispatcher.py_func
                name = function.__module__, function.__qualname__
                functions.setdefault(name, set()).add(function)
    assert len(functions) > 60
    assert {name for name, those in functions.items() if len(those) > 1} == set()


OF_ONE_MAP = """
import itertools, sys
import numpy as np
from numba.core.bytecode import FunctionIdentity
import anyconv

rng = np.random.default_rng(0)
x = rng.integers(-4, 5, (1, 24, 24, 32)).astype("float32")
w = rng.integers(-4, 5, (3, 3, 1, 32)).astype("float32")
dy, given = np.ascontiguousarray(x[:, ::-1]), {"padding": 1, "groups": 32, "algorithm": "taps"}
maps = {
    "forward": lambda: anyconv.conv_forward(x, w, **given),
    "weight": lambda: anyconv.conv_backward_weight(dy, x, w.shape, **given),
}
for name in sys.argv[1:]:
    FunctionIdentity._unique_ids = itertools.count(10_000)
    with anyconv.options(compiled=True):
        found = maps[name]()
    with anyconv.options(compiled=False):
        np.testing.assert_array_equal(found, maps[name]())
np.testing.assert_array_equal(dy, x[:, ::-1])
"""


def test_loops_of_different_processes_get_on(tmp_path):
    """Two of them count functions from the same number, a third loads what both have kept."""
    for maps in (["forward"], ["weight"], ["forward", "weight"]):
        subprocess.run(
            [sys.executable, "-c", OF_ONE_MAP, *maps],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            check=True,
        )
    assert list(tmp_path.rglob("*.nbc"))


def test_each_overload_has_a_file(tmp_path):
    from anyconv._compiled._kept_loops import FileEach

    kept = FileEach(str(tmp_path), "loop", "stamp")
    assert kept.load("float32") is None
    kept.save("float32", [1])
    kept.save("float64", [2])
    assert len(list(tmp_path.iterdir())) == 2
    assert (kept.load("float32"), kept.load("float64")) == ([1], [2])
    kept.save("float32", [3])
    assert kept.load("float32") == [3]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_other_sources_gave_is_not_loaded(tmp_path):
    from anyconv._compiled._kept_loops import FileEach

    FileEach(str(tmp_path), "loop", "before").save("float32", [1])
    after = FileEach(str(tmp_path), "loop", "after")
    assert after.load("float32") is None
    after.save("float32", [2])  # in its place
    assert len(list(tmp_path.iterdir())) == 1
    assert FileEach(str(tmp_path), "loop", "before").load("float32") is None


def test_a_file_of_another_overload_is_not_loaded(tmp_path):
    from anyconv._compiled._kept_loops import FileEach

    kept = FileEach(str(tmp_path), "loop", "stamp")
    kept.save("float32", [1])
    (file,) = tmp_path.iterdir()
    file.write_bytes(pickle.dumps(("stamp", repr("float64"), [2])))
    assert kept.load("float32") is None


def test_the_stamp_is_of_all_sources_of_loops():
    from anyconv._compiled import _depthwise_loops, _kept_loops, _slide_loops

    functions = _depthwise_loops.products, _slide_loops.products
    stamps = {f._cache._cache_file._source_stamp for f in functions}
    assert stamps == {_kept_loops._stamp_of_sources()}


def test_loops_are_compiled_without_a_folder_to_keep_them_in(monkeypatch):
    from anyconv._compiled import _kept_loops

    def no_folder(function):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(_kept_loops, "_Kept", no_folder)
    add = _kept_loops.loop(lambda x: x + 1)
    assert add(1) == 2
    assert type(add._cache).__name__ == "NullCache"


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_file_is_as_none(tmp_path, left):
    from anyconv._compiled._kept_loops import FileEach

    kept = FileEach(str(tmp_path), "loop", "stamp")
    kept.save("float32", list(range(1000)))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:left])
    assert kept.load("float32") is None


def test_what_cannot_be_kept_is_no_error(tmp_path):
    """As on a disk that is full."""
    from anyconv._compiled._kept_loops import FileEach

    kept = FileEach(str(tmp_path / "no such folder"), "loop", "stamp")
    kept.save("float32", [1])
    assert kept.load("float32") is None
