"""The networks of the training command, built for any image size and number of classes."""

from collections.abc import Callable

import numpy as np

from .elementwise import Dropout, Flatten, ReLU
from .initializers import glorot_uniform
from .layer import Layer, Sequential
from .norm import BatchNorm
from .pooling import AvgPool, MaxPool
from .weighted import Conv, Dense

ImageShape = tuple[int, int, int]


def build(
    name: str, image_shape: ImageShape, classes: int, rng: np.random.Generator | int | None = None
) -> Sequential:
    """Build a network by name.

    Parameters
    ----------
    name : str
        One of `MODELS`: ``"notebook"``, ``"small"`` or ``"large"``.
    image_shape : tuple of int
        Height, width and channels.
    classes : int
        How many scores to give for each image.
    rng : numpy.random.Generator or int, optional
        Where the first weights, and later what is dropped out, are drawn from.

    Returns
    -------
    Sequential
        From images ``(m, height, width, channels)`` to scores ``(m, classes)``, in NumPy arrays.

    Raises
    ------
    ValueError
        If there is no such network, or the images are too small for it.

    Examples
    --------
    >>> import numpy as np
    >>> net = build("notebook", (64, 64, 3), 6, rng=0)
    >>> net.forward(np.zeros((2, 64, 64, 3), dtype=np.float32)).shape
    (2, 6)
    """
    if name not in MODELS:
        raise ValueError(f"`name` must be one of {', '.join(MODELS)}, got {name}")
    return MODELS[name](image_shape, classes, np.random.default_rng(rng))


def notebook(image_shape: ImageShape, classes: int, rng: np.random.Generator) -> Sequential:
    """Build the course's network: two convolutions, two large max pools, all of them SAME."""
    height, width, channels = image_shape
    pooled = [-(-size // 32) for size in (height, width)]  # two times SAME: ceil(ceil(n/8)/4)
    return Sequential(
        Conv(channels, 8, 4, padding="same", initializer=glorot_uniform, rng=rng),
        ReLU(),
        MaxPool(8, padding="same"),
        Conv(8, 16, 2, padding="same", initializer=glorot_uniform, rng=rng),
        ReLU(),
        MaxPool(4, padding="same"),
        Flatten(),
        Dense(16 * pooled[0] * pooled[1], classes, rng=rng),
    )


def small(image_shape: ImageShape, classes: int, rng: np.random.Generator) -> Sequential:
    """Build three blocks of 3x3 convolutions for images as small as 4 x 4."""
    return Sequential(
        *_block(image_shape[2], 32, rng),
        *_block(32, 32, rng),
        MaxPool(2),
        *_block(32, 64, rng),
        *_head(_halved(image_shape, 1, "small"), 64, classes, rng),
    )


def large(image_shape: ImageShape, classes: int, rng: np.random.Generator) -> Sequential:
    """Build five blocks that halve the image four times, the default for SIGNS."""
    widths = (16, 32, 64, 96, 128)
    return Sequential(
        *_block(image_shape[2], widths[0], rng, kernel_size=5, stride=2),
        *_block(widths[0], widths[1], rng),
        MaxPool(2),
        *_block(widths[1], widths[2], rng),
        MaxPool(2),
        *_block(widths[2], widths[3], rng),
        MaxPool(2),
        *_block(widths[3], widths[4], rng),
        *_head(_halved(image_shape, 4, "large"), widths[4], classes, rng),
    )


#: Every network that `build` knows.
MODELS: dict[str, Callable[[ImageShape, int, np.random.Generator], Sequential]] = {
    "notebook": notebook,
    "small": small,
    "large": large,
}


def _block(
    in_channels: int,
    out_channels: int,
    rng: np.random.Generator,
    *,
    kernel_size: int = 3,
    stride: int = 1,
) -> tuple[Layer, ...]:
    """Convolve, normalise, rectify; the size stays, or is divided by the stride."""
    conv = Conv(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        bias=False,
        rng=rng,
    )
    return conv, BatchNorm(out_channels), ReLU()


def _head(
    size: tuple[int, int], channels: int, classes: int, rng: np.random.Generator
) -> tuple[Layer, ...]:
    """Take the mean of each channel, and score the classes from these."""
    dense = Dense(channels, classes, rng=rng)
    return AvgPool(size), Flatten(), Dropout(0.2, rng=rng), dense


def _halved(image_shape: ImageShape, times: int, name: str) -> tuple[int, int]:
    """Return the size of an image that is halved so often, the first time rounding up."""
    height, width = image_shape[:2]
    least = 2 ** (times + 1)
    if min(height, width) < least:
        raise ValueError(
            f"the network `{name}` needs images of at least {least} x {least} pixels, "
            f"got {height} x {width}"
        )
    if times == 1:
        return height // 2, width // 2
    rest = 2 ** (times - 1)
    return (height + 1) // 2 // rest, (width + 1) // 2 // rest
