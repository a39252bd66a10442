"""What a data set is once it has been read and found sound."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class DatasetError(ValueError):
    """A file that can't be used as a data set; the message says what it is and what to do."""


class Source(NamedTuple):
    """A file that was read, and what is known of it."""

    name: str
    sha256: str
    genuine: bool | None  # None where no published file of this name is known
    note: str  # one sentence for the reader


@dataclass(frozen=True)
class Dataset:
    """Images and labels, in two parts.

    Attributes
    ----------
    name : str
        What to call it.
    train_x, test_x : numpy.ndarray
        Images, uint8, shape ``(m, height, width, channels)``.
    train_y, test_y : numpy.ndarray
        Labels, int64, shape ``(m,)``, from 0.
    classes : tuple of str
        The name of each label.
    maximum : int
        The pixel value of full intensity; ``x / maximum`` is at most 1.
    mirrored : bool
        Whether the mirror image of a picture is a picture of the same class.
    sources : tuple of Source
        The files.
    """

    name: str
    train_x: np.ndarray[Any, Any]
    train_y: np.ndarray[Any, Any]
    test_x: np.ndarray[Any, Any]
    test_y: np.ndarray[Any, Any]
    classes: tuple[str, ...]
    maximum: int = 255
    mirrored: bool = False
    sources: tuple[Source, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train_x.shape[1:]
        return height, width, channels

    def digest(self) -> str:
        """Return the sha256 of all images and labels: equal numbers, equal digest."""
        total = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            total.update(repr(array.shape).encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def held_out(self, share: float = 0.2, *, seed: int = 0) -> "Dataset":
        """Return the training part alone, with a share of each class held out as the test part.

        Models and settings are chosen on this, so that the test part stays unseen.

        Parameters
        ----------
        share : float
            The share of each class to hold out, more than 0 and less than 1.
        seed : int
            Which images are held out.

        Raises
        ------
        ValueError
            If `share` is out of range, or leaves one of the parts without images.
        """
        if not 0.0 < share < 1.0:
            raise ValueError(f"`share` must be more than 0 and less than 1, got {share}")
        held = stratified(self.train_y, share, np.random.default_rng(seed))
        if held.all() or not held.any():
            raise ValueError(
                f"`share` must leave images in both parts, {share} holds out {held.sum()} of the "
                f"{len(held)}"
            )
        return replace(
            self,
            train_x=self.train_x[~held],
            train_y=self.train_y[~held],
            test_x=self.train_x[held],
            test_y=self.train_y[held],
        )


def stratified(
    labels: np.ndarray[Any, Any], share: float, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Choose a share of each class at random: labels (m,) -> bool (m,)."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen[rng.permutation(members)[: round(share * len(members))]] = True
    return chosen
