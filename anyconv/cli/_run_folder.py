"""The folder of a run: its configuration, its checkpoint and its metrics.

Each file is written beside its place and then renamed into it, so a crash leaves the old or the new
one, never half a file. The checkpoint holds all that a resumed run needs; the rest is for people.
"""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ._errors import CommandError
from ._recipes import Recipe
from ._training import EpochResult, Normalisation

_CONFIGURATION = "config.json"
_CHECKPOINT = "checkpoint.h5"
_METRICS = "metrics.csv"


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

    def create(self, configuration: Configuration) -> None:
        """Make the folder, which must not hold anything yet."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise CommandError(
                f"{self.path} is there already: choose another --output, "
                f"or go on with --resume {self.path}"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with _replacing(self.path / _CONFIGURATION) as beside:
            beside.write_text(configuration.as_json(), encoding="utf-8")

    def configuration(self) -> Configuration:
        """Read the configuration."""
        path = self.path / _CONFIGURATION
        try:
            return Configuration.from_json(path.read_text(encoding="utf-8"))
        except OSError:
            raise CommandError(
                f"{self.path} is not the folder of a run: no {_CONFIGURATION}"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{path} is damaged: {error}") from None

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch was finished."""
        return (self.path / _CHECKPOINT).exists()

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint."""
        with _replacing(self.path / _CHECKPOINT) as beside, h5py.File(beside, "w") as file:
            for group in ("network", "optimizer"):
                for name, array in state[group].items():
                    file.create_dataset(f"{group}/{name}", data=array)
            file.attrs["steps"] = state["steps"]
            # Data sets, not attributes: these are limited to 64 KiB, a long history is not.
            for text in ("generator", "history"):
                file.create_dataset(text, data=np.frombuffer(state[text].encode(), dtype=np.uint8))

    def write_metrics(self, history: Sequence[EpochResult]) -> None:
        """Write a table with a line for each epoch."""
        with (
            _replacing(self.path / _METRICS) as beside,
            beside.open("w", newline="", encoding="utf-8") as out,
        ):
            table = csv.writer(out)
            table.writerow(EpochResult._fields)
            table.writerows(history)

    def load(self) -> dict[str, Any]:
        """Read the checkpoint."""
        path = self.path / _CHECKPOINT
        if not path.exists():
            raise CommandError(f"{self.path} has no checkpoint: not one epoch was finished")
        try:
            with h5py.File(path, "r") as file:
                state: dict[str, Any] = {"steps": int(file.attrs["steps"])}
                for group in ("network", "optimizer"):
                    state[group] = _datasets(file[group]) if group in file else {}
                for text in ("generator", "history"):
                    state[text] = file[text][...].tobytes().decode()
        except (OSError, KeyError) as error:
            raise CommandError(f"{path} is damaged: {error}") from None
        return state


def _datasets(group: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return every array under a group by its path within it."""
    found: dict[str, np.ndarray[Any, Any]] = {}

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[...]

    group.visititems(visit)
    return found


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put it in the place of `path` once all is on the disk."""
    beside = path.with_name(f"{path.name}.partial")
    yield beside
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
