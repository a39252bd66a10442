"""A small data set on which training takes a second."""

import numpy as np
import pytest

from anyconv.cli import main


def draw(rng, label, m):
    """Draw bright bars on a dark ground: four places, one for each class."""
    images = rng.integers(0, 60, (m, 8, 8, 1), dtype=np.uint8)
    for image, place in zip(images, label, strict=True):
        image[2 * place : 2 * place + 2] += 180
    return images


@pytest.fixture(scope="session")
def bars(tmp_path_factory):
    """An HDF5 file of 96 + 24 images of bars in four classes."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path_factory.mktemp("data") / "bars.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for part, m in (("train", 96), ("test", 24)):
            labels = np.arange(m) % 4
            file[f"{part}_set_x"] = draw(rng, labels, m)
            file[f"{part}_set_y"] = labels
        file["list_classes"] = np.array([b"top", b"upper", b"lower", b"bottom"])
    return path


@pytest.fixture(scope="session")
def trained(bars, tmp_path_factory):
    """The folder of a finished run on the bars."""
    folder = tmp_path_factory.mktemp("runs") / "bars"
    options = ["--backend", "numpy", "--epochs", "6", "--output", str(folder)]
    assert main(["train", "--data", str(bars), *options]) == 0
    return folder
