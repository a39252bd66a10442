"""The folder of a run: its configuration, its checkpoint and its metrics.

Each file is written beside its place and then renamed into it, so a crash leaves the old or the new
one, never half a file. The checkpoint holds all that a resumed run needs; the rest is for people.
One command at a time writes to a folder: it locks the folder itself.
"""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from anyconv.nn.models import MODELS

from ._errors import CommandError, told
from ._recipes import Recipe, is_whole
from ._training import EpochResult, Normalisation

_CONFIGURATION = "config.json"
_CHECKPOINT = "checkpoint.h5"
_METRICS = "metrics.csv"
# What reading, and using what was read, trips over where a file is damaged.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, MemoryError)


@dataclass(frozen=True)
class Configuration:
    """All that fixes a run."""

    data: str  # a name, or the absolute path of a file or folder
    data_digest: str
    held_out: float | None  # share of the training part that stands in for the test part
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    normalisation: Normalisation
    model: str
    recipe: Recipe
    seed: int
    backend: str
    device: str
    command: str
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Check what another hand may have changed."""
        sizes, names = self.image_shape, self.classes
        rules = {
            "data": ("text", isinstance(self.data, str)),
            "image_shape": (
                "three whole numbers from 1",
                len(sizes) == 3 and all(is_whole(size, 1) for size in sizes),
            ),
            "classes": (
                "two or more names",
                len(names) > 1 and all(isinstance(name, str) for name in names),
            ),
            "normalisation": (
                "a maximum from 1 to 255, a mean, and a deviation above 0",
                1 <= self.normalisation.maximum <= 255
                and abs(self.normalisation.mean) <= 1
                and 0 < self.normalisation.deviation <= 1,
            ),
            "model": (f"one of {', '.join(MODELS)}", self.model in MODELS),
            "seed": ("a whole number from 0", is_whole(self.seed, 0)),
            "held_out": ("null or a share", self.held_out is None or 0 < self.held_out < 1),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"`{name}` must be {rule}, got {getattr(self, name)!r}")

    def as_json(self) -> str:
        """Return the configuration as readable text."""
        values = asdict(self) | {"normalisation": self.normalisation._asdict()}
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Configuration":
        """Return the configuration that `as_json` wrote."""
        values = json.loads(text)
        return cls(
            **{
                **values,
                "image_shape": tuple(values["image_shape"]),
                "classes": tuple(values["classes"]),
                "normalisation": Normalisation(**values["normalisation"]),
                "recipe": Recipe.from_dict(values["recipe"]),
            }
        )


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def made(cls, path: Path) -> "RunFolder":
        """Make a folder where there is none yet."""
        with _written(path), suppress(FileExistsError):
            path.mkdir(parents=True)
        return cls(path)

    @classmethod
    def numbered(cls, path: Path) -> "RunFolder":
        """Make a new folder of this name, or of the first that is free with a number after it."""
        number, candidate = 1, path
        while True:
            with _written(candidate), suppress(FileExistsError):
                candidate.mkdir(parents=True)  # at once the test and the claim
                return cls(candidate)
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from writing to the folder; Windows has no lock for it."""
        if sys.platform == "win32" or not self.path.is_dir():
            yield
            return
        import fcntl

        held = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    f"{self.path} is in use by another anyconv train: wait until it has ended"
                ) from None
            except OSError:
                pass  # a file system without locks
            yield
        finally:
            os.close(held)

    def start(self, configuration: Configuration) -> None:
        """Write the configuration to the folder, which must not hold anything yet."""
        if not self.path.is_dir() or any(self.path.iterdir()):
            raise CommandError(
                f"{self.path} is there already: choose another --output, "
                f"or go on with --resume {self.path}"
            )
        write(self.path / _CONFIGURATION, configuration.as_json().encode())

    def configuration(self) -> Configuration:
        """Read the configuration."""
        path = self.path / _CONFIGURATION
        try:
            return Configuration.from_json(path.read_text(encoding="utf-8"))
        except OSError:
            raise CommandError(
                f"{self.path} is not the folder of a run: no {_CONFIGURATION}"
            ) from None
        except (ValueError, LookupError, TypeError) as error:
            raise CommandError(f"{path} is damaged: {error}") from None

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch was finished."""
        return (self.path / _CHECKPOINT).exists()

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint."""
        # In memory first: on a full disk the HDF5 library can't even close a file.
        with h5py.File(_CHECKPOINT, "w", driver="core", backing_store=False) as file:
            for group in ("network", "optimizer"):
                for name, array in state[group].items():
                    file.create_dataset(f"{group}/{name}", data=array)
            file.attrs["steps"] = state["steps"]
            # Data sets, not attributes: these are limited to 64 KiB, a long history is not.
            for text in ("generator", "history"):
                file.create_dataset(text, data=np.frombuffer(state[text].encode(), dtype=np.uint8))
            file.flush()
            image = file.id.get_file_image()
        write(self.path / _CHECKPOINT, image)

    def write_metrics(self, history: Sequence[EpochResult]) -> None:
        """Write a table with a line for each epoch."""
        out = io.StringIO(newline="")
        table = csv.writer(out)
        table.writerow(EpochResult._fields)
        table.writerows(history)
        write(self.path / _METRICS, out.getvalue().encode())

    @contextmanager
    def loaded(self) -> Iterator[dict[str, Any]]:
        """Give what `save` was given; what goes wrong in using it, too, is told as damage."""
        path = self.path / _CHECKPOINT
        if not path.exists():
            raise CommandError(f"{self.path} has no checkpoint: not one epoch was finished")
        with told(*_DAMAGE, about=f"{path} is damaged"):
            with h5py.File(path, "r") as file:
                state: dict[str, Any] = {"steps": int(file.attrs["steps"])}
                for group in ("network", "optimizer"):
                    state[group] = _datasets(file[group]) if group in file else {}
                for text in ("generator", "history"):
                    state[text] = file[text][...].tobytes().decode()
            yield state

    def epochs_done(self) -> int:
        """Return how many epochs the checkpoint has."""
        if not self.has_checkpoint:
            return 0
        with self.loaded() as state:
            return len(json.loads(state["history"]))


def _datasets(group: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return every array under a group by its path within it."""
    found: dict[str, np.ndarray[Any, Any]] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[...]

    group.visititems(visit)
    return found


def write(path: Path, content: bytes) -> None:
    """Put a file in its place once all of it is on the disk, or leave the old one there."""
    beside = path.with_name(f"{path.name}.partial")
    try:
        with _written(path):
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
    finally:  # where something went wrong it is there still
        with suppress(OSError):
            beside.unlink()


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Tell what the operating system has against a path in one line."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error
