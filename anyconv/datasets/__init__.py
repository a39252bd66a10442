"""Real images to train on: embedded digits, SIGNS, and any HDF5 file laid out alike."""

from ._dataset import Dataset, DatasetError, Source
from ._files import load, load_digits, load_file, load_signs
from .augment import random_affine, random_light, warp

__all__ = [
    "Dataset", "DatasetError", "Source",
    "load", "load_digits", "load_signs", "load_file",
    "random_affine", "random_light", "warp",
]  # fmt: skip
