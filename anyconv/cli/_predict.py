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
    with told(ValueError):
        classifier = Classifier(
            configuration.model,
            configuration.image_shape,
            len(configuration.classes),
            configuration.normalisation,
            backend,
            np.random.default_rng(configuration.seed),
        )
    with folder.loaded() as state:
        classifier.network.load_arrays(state["network"])
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
                upright = _of_eight_bits(upright)
            # Transparent pixels have any colour at all: lay the picture on white first.
            if channels != 4 and upright.has_transparency_data:
                layer = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            converted = upright.convert(_MODES[channels])
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise CommandError(f"{path}: is not a PNG or JPEG image") from None
    except Exception as error:  # damaged files make Pillow raise errors of many kinds
        raise CommandError(f"{path}: can't be read as an image, {error}") from None
    resized = converted.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(resized).reshape(height, width, channels)
    if invert:
        pixels[..., :3] = 255 - pixels[..., :3]  # but not how opaque they are
    maximum = configuration.normalisation.maximum
    return np.rint(pixels.astype(np.float64) * (maximum / 255)).astype(np.uint8)


def _of_eight_bits(deep: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits a pixel in eight; it may name one grey as transparent."""
    pixels = np.asarray(deep)
    picture = Image.fromarray((pixels >> 8).astype(np.uint8))
    if "transparency" in deep.info:
        opaque = pixels != deep.info["transparency"]
        picture.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return picture
