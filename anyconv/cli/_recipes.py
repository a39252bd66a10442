"""How each network is trained unless the user says otherwise.

All numbers were chosen on images held out of the training sets, never on the test files.
"""

from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np

from anyconv.datasets import Dataset, random_affine, random_light


def is_whole(value: object, least: int) -> bool:
    """Say whether a value is a whole number of at least so much; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require_numbers(**numbers: object) -> None:
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not 0 <= value < inf:
            raise ValueError(f"`{name}` must be a number from 0, got {value!r}")


@dataclass(frozen=True)
class Augmentation:
    """How much the training images are changed at random, the shift as a share of the image."""

    rotation: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    mirror: bool = False
    contrast: float = 0.0
    colour: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        """Check the amounts."""
        amounts = {name: value for name, value in asdict(self).items() if name != "mirror"}
        _require_numbers(**amounts)

    def __call__(
        self, images: np.ndarray[Any, Any], rng: np.random.Generator
    ) -> np.ndarray[Any, Any]:
        """Return changed images: float32 (m, height, width, channels), 0 to 1."""
        if self == Augmentation():
            return images
        moved = random_affine(
            images,
            rng,
            rotation=self.rotation,
            zoom=self.zoom,
            stretch=self.stretch,
            shift=self.shift * max(images.shape[1:3]),
            mirror=self.mirror,
        )
        return random_light(
            moved, rng, contrast=self.contrast, colour=self.colour, brightness=self.brightness
        )


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run: Adam with a rate that rises for an epoch, then fades out."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        """Check the numbers, which come from the command line or from a file."""
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not is_whole(value, 1):
                raise ValueError(f"`{name}` must be a whole number from 1, got {value!r}")
        _require_numbers(
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """Return the recipe that `as_dict` gave these values."""
        return cls(**{**values, "augmentation": Augmentation(**values["augmentation"])})


def default_model(data: Dataset) -> str:
    """Choose a network for a data set: `small` for small images."""
    return "small" if min(data.image_shape[:2]) < 32 else "large"


def recipe(model: str, data: Dataset) -> Recipe:
    """Return the settings for a network on a data set."""
    if model == "notebook":
        return Recipe(epochs=100, batch_size=32, learning_rate=0.03, weight_decay=0.05)
    if model == "small":
        gentle = Augmentation(rotation=10, zoom=0.1, stretch=0.1, shift=0.06, mirror=data.mirrored)
        return Recipe(
            epochs=30,
            batch_size=32,
            learning_rate=3e-3,
            weight_decay=0.05,
            label_smoothing=0.1,
            augmentation=gentle,
        )
    strong = Augmentation(
        rotation=20,
        zoom=0.2,
        stretch=0.13,
        shift=0.08,
        mirror=data.mirrored,
        contrast=0.15,
        colour=0.15,
        brightness=0.075,
    )
    return Recipe(
        epochs=60,
        batch_size=36,
        learning_rate=3e-3,
        weight_decay=0.05,
        label_smoothing=0.1,
        augmentation=strong,
    )
