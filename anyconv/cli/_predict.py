"""A trained network from its folder, and image files as it wants them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ._backends import Backend
from ._errors import CommandError, told
from ._run_folder import Configuration, RunFolder
from ._training import Classifier

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def classifier_of(folder: RunFolder, configuration: Configuration, backend: Backend) -> Classifier:
    """Return the network of a run as its last checkpoint has it."""
    classifier = Classifier(
        configuration.model,
        configuration.image_shape,
        len(configuration.classes),
        configuration.normalisation,
        backend,
        np.random.default_rng(configuration.seed),
    )
    with told(ValueError):
        classifier.network.load_arrays(folder.load()["network"])
    return classifier


def read_image(
    path: Path, configuration: Configuration, *, invert: bool = False
) -> np.ndarray[Any, Any]:
    """Read a PNG or JPEG file in the size and range of the training images: uint8 (h, w, c)."""
    height, width, channels = configuration.image_shape
    if channels not in _MODES:
        raise CommandError(f"images of {channels} channels can't be read from PNG or JPEG files")
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            # Transparent pixels have any colour at all: lay the picture on white first.
            if channels != 4 and upright.has_transparency_data:
                layer = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            converted = upright.convert(_MODES[channels])
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise CommandError(f"{path}: is not a PNG or JPEG image") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CommandError(f"{path}: can't be read as an image, {error}") from None
    resized = converted.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized).reshape(height, width, channels)
    if invert:
        pixels = 255 - pixels
    maximum = configuration.normalisation.maximum
    return np.rint(pixels.astype(np.float64) * (maximum / 255)).astype(np.uint8)
