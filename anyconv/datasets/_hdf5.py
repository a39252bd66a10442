"""Reading HDF5 files of the course's layout, and saying plainly what else people have instead.

A file is data, not trusted: nothing in it is unpickled or executed, and no link out of it followed.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._dataset import DatasetError

_DAMAGED = "is a damaged HDF5 file, download it again"
_MOST_LINKS = 16
_LFS = b"version https://git-lfs.github.com/spec/"
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\x93NUMPY": "a NumPy file, not HDF5",
    b"\x80": "perhaps a pickle, which is never opened here: unpickling runs whatever it holds",
}


class Part(NamedTuple):
    """The images and labels under `train_set_*` or `test_set_*`."""

    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    maximum: int


def read_part(path: Path, part: str) -> Part:
    """Read `{part}_set_x`, `{part}_set_y` and `list_classes` of a file, or say what is wrong."""
    with _opened(path) as file:
        try:
            return _part(path, file, part)
        except DatasetError:
            raise
        except MemoryError:
            raise DatasetError(f"{path}: takes more memory than there is") from None
        except (OSError, RuntimeError, LookupError, ValueError, TypeError):
            # Whatever the HDF5 library trips over where the structure of the file is damaged.
            raise DatasetError(f"{path}: {_DAMAGED}") from None


def _part(path: Path, file: Any, part: str) -> Part:
    keys = {"x": f"{part}_set_x", "y": f"{part}_set_y", "classes": "list_classes"}
    there = sorted(file)  # the names alone: `key in file` would follow links
    if missing := [key for key in keys.values() if key not in there]:
        raise DatasetError(
            f"{path}: `{missing[0]}` is missing, the file holds {', '.join(there) or 'nothing'}"
        )
    nodes = {short: _node(path, file, key) for short, key in keys.items()}
    maximum = int(nodes["x"].attrs.get("maximum", 255))
    x = _images(path, keys["x"], nodes["x"])
    classes = _classes(path, nodes["classes"])
    y = _labels(path, keys["y"], nodes["y"], len(x), len(classes))
    if not 1 <= maximum <= 255 or int(x.max()) > maximum:
        raise DatasetError(
            f"{path}: `{keys['x']}` must not exceed its `maximum` of {maximum}, got {x.max()}"
        )
    return Part(x, y, classes, maximum)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path: Path) -> Any:
    """Open an HDF5 file for reading, or say what it is instead."""
    try:
        import h5py
    except ImportError:
        message = 'reading HDF5 needs h5py, of the extra "train": pip install h5py'
        raise ImportError(message) from None
    try:
        with path.open("rb") as raw:
            head = raw.read(1024)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise DatasetError(f"{path}: is a folder, not an HDF5 file") from None
    except OSError as error:
        raise DatasetError(f"{path}: can't be read, {error.strerror}") from None
    if not h5py.is_hdf5(path):
        raise DatasetError(f"{path}: {_what_it_is(head)}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        size = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", str(error))
        if size:
            raise DatasetError(
                f"{path}: is truncated, {size[1]} of {size[2]} bytes are there; download it again"
            ) from None
        if isinstance(error, BlockingIOError) or "already open for" in str(error):
            raise DatasetError(
                f"{path}: is open for writing in another program, close it there first"
            ) from None
        raise DatasetError(f"{path}: {_DAMAGED}") from None


def _what_it_is(head: bytes) -> str:
    """Say what a file is that is not HDF5, from its first bytes."""
    if not head:
        return "is empty, download it again"
    if head.startswith(_LFS):
        return (
            "is a Git LFS pointer, not the data it points to: run `git lfs pull` in its repository"
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script")) or b"<html" in start:
        return "is an HTML page saved under this name: download the file itself (the raw link)"
    if head.startswith(b"\x89HDF"):
        return _DAMAGED
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            return f"is not an HDF5 file but {what}"
    return "is not an HDF5 file"


def _node(path: Path, file: Any, key: str) -> Any:
    """Return a data set whose bytes lie in this very file."""
    import h5py

    node = _linked(path, file, key)
    if not isinstance(node, h5py.Dataset):
        raise DatasetError(f"{path}: `{key}` must be a data set, got a group")
    if node.external or node.is_virtual:
        raise DatasetError(f"{path}: `{key}` keeps its data in other files, which are not followed")
    return node


def _linked(path: Path, file: Any, key: str) -> Any:
    """Return what a name leads to, link by link, for HDF5 itself would go on in other files."""
    import h5py

    node, steps, links = file, [key], 0
    while steps:
        name = steps.pop(0)
        if name in ("", "."):
            continue
        if not isinstance(node, h5py.Group) or name not in list(node) or links > _MOST_LINKS:
            raise DatasetError(f"{path}: `{key}` is a link that leads nowhere")
        link = node.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DatasetError(f"{path}: `{key}` is a link to another file, which is not followed")
        if isinstance(link, h5py.SoftLink):
            links += 1
            steps = link.path.split("/") + steps
            node = file if link.path.startswith("/") else node
        else:
            node = node[name]
    return node


def _images(path: Path, key: str, node: Any) -> np.ndarray[Any, Any]:
    rule = f"{path}: `{key}` must have shape (m, height, width, channels)"
    shape = tuple(node.shape or ())
    if len(shape) != 4:
        raise DatasetError(f"{rule}, got {shape}")
    if min(shape) == 0:
        raise DatasetError(f"{rule} and hold at least one pixel, got {shape}")
    if shape[3] > 4:
        hint = "; are the channels first?" if shape[1] <= 4 else ""
        raise DatasetError(f"{rule} with 1 to 4 channels, got {shape}{hint}")
    if node.dtype != np.uint8:
        raise DatasetError(f"{path}: `{key}` must be uint8, got {node.dtype}")
    try:
        return np.asarray(node[...])
    except MemoryError:
        raise DatasetError(
            f"{path}: `{key}` of shape {shape} takes more memory than there is, "
            f"{node.nbytes:,} bytes"
        ) from None


def _labels(path: Path, key: str, node: Any, m: int, classes: int) -> np.ndarray[Any, Any]:
    shape = tuple(node.shape or ())
    if shape not in ((m,), (1, m)):
        raise DatasetError(
            f"{path}: `{key}` must have shape ({m},) or (1, {m}), one label an image, got {shape}"
        )
    if node.dtype.kind not in "iu":
        raise DatasetError(f"{path}: `{key}` must hold integers, got {node.dtype}")
    y = np.asarray(node[...]).reshape(-1)
    if y.min() < 0 or y.max() >= classes:
        raise DatasetError(
            f"{path}: `{key}` must hold labels from 0 to {classes - 1}, one for each of the "
            f"{classes} `list_classes`, got {y.min()} to {y.max()}"
        )
    return y.astype(np.int64)


def _classes(path: Path, node: Any) -> tuple[str, ...]:
    import h5py

    shape = tuple(node.shape or ())
    if len(shape) != 1 or shape[0] < 2:
        raise DatasetError(f"{path}: `list_classes` must hold two or more names, got shape {shape}")
    text = h5py.check_string_dtype(node.dtype) is not None
    if not text and node.dtype.kind not in "iu":
        raise DatasetError(f"{path}: `list_classes` must hold integers or text, got {node.dtype}")
    values: Sequence[Any] = node[...].tolist()
    return tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values)
