"""How each network is trained unless the user says otherwise.

All numbers were chosen on images held out of the training sets, never on the test files.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anyconv.datasets import Dataset, random_affine, random_light


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
