"""Random changes to images that leave the class as it is; plain functions on NumPy arrays.

They run where the images are read, on the CPU, so that every backend trains on the same pictures.
"""

from typing import Any

import numpy as np

Images = np.ndarray[Any, Any]

# So that positions stay finite in float32.
_LARGEST = 1e9
_LARGEST_LOGARITHM = 10.0  # of a magnification: 22026-fold


def random_affine(
    images: Images,
    rng: np.random.Generator,
    *,
    rotation: float = 0.0,
    zoom: float = 0.0,
    stretch: float = 0.0,
    shift: float = 0.0,
    mirror: bool = False,
) -> Images:
    """Rotate, zoom, stretch, shift and mirror each image by its own random amounts.

    Parameters
    ----------
    images : numpy.ndarray, shape (m, height, width, channels)
        float32 (or another real floating dtype): divide stored pixels by their maximum first.
    rng : numpy.random.Generator
        Where the amounts are drawn from.
    rotation : float
        Largest angle, in degrees, to either side.
    zoom, stretch : float
        Largest logarithm of the magnification, and of the ratio of width to height.
    shift : float
        Largest shift along each axis, in pixels.
    mirror : bool
        Whether to exchange left and right in every other image, at random.

    Returns
    -------
    numpy.ndarray
        Images of the same shape, sampled bilinearly; what lies outside continues the edge.

    Raises
    ------
    TypeError
        If `images` is not a NumPy array of a real floating dtype.
    ValueError
        If `images` has not four axes, or an amount is not from 0 to 1e9 (`zoom` and `stretch`: to
        10).

    See Also
    --------
    warp, random_light

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    >>> bool((random_affine(x, np.random.default_rng(0)) == x).all())  # nothing is asked for
    True
    """
    m = _checked(images)[0]
    _require_amounts(_LARGEST, rotation=rotation, shift=shift)
    _require_amounts(_LARGEST_LOGARITHM, zoom=zoom, stretch=stretch)
    angle = np.deg2rad(rng.uniform(-rotation, rotation, m))
    scale = np.exp(rng.uniform(-zoom, zoom, m))
    ratio = np.exp(rng.uniform(-stretch, stretch, m) / 2)
    offset = rng.uniform(-shift, shift, (m, 2))
    side = np.where(rng.random(m) < 0.5, -1.0, 1.0) if mirror else np.ones(m)
    # For each output pixel (row, column), counted from the centre: where it is read from.
    matrices = np.empty((m, 2, 3))
    matrices[:, 0, 0] = np.cos(angle) * scale / ratio
    matrices[:, 0, 1] = np.sin(angle) * scale * ratio
    matrices[:, 1, 0] = -np.sin(angle) * scale / ratio * side
    matrices[:, 1, 1] = np.cos(angle) * scale * ratio * side
    matrices[:, :, 2] = offset
    return warp(images, matrices)


def warp(images: Images, matrices: np.ndarray[Any, Any]) -> Images:
    """Sample each image bilinearly along an affine map.

    Parameters
    ----------
    images : numpy.ndarray, shape (m, height, width, channels)
        float32 (or another real floating dtype): divide stored pixels by their maximum first.
    matrices : numpy.ndarray, shape (m, 2, 3)
        ``matrices[i] @ (row, column, 1)`` is where the output pixel is read from, both counted
        from the centre of the image.

    Returns
    -------
    numpy.ndarray
        Images of the same shape; what lies outside continues the edge.

    Raises
    ------
    TypeError
        If `images` is not a NumPy array of a real floating dtype, or `matrices` not one of numbers.
    ValueError
        If `images` has not four axes, or `matrices` another shape or a number not from -1e9 to 1e9.

    See Also
    --------
    random_affine

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    >>> half_a_pixel_on = np.array([[[1, 0, 0], [0, 1, 0.5]]])
    >>> warp(x, half_a_pixel_on).ravel()
    array([0.5, 1.5, 2.5, 3. ], dtype=float32)
    """
    m, height, width, channels = _checked(images)
    _require_matrices(matrices, m)
    centre = np.array([(height - 1) / 2, (width - 1) / 2], dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None] - centre[0]  # (height, 1)
    columns = np.arange(width, dtype=np.float32) - centre[1]  # (width,)
    a = matrices.astype(np.float32)[..., None, None]  # (m, 2, 3, 1, 1)
    i, di = _cells(a[:, 0, 0] * rows + a[:, 0, 1] * columns + a[:, 0, 2] + centre[0], height)
    j, dj = _cells(a[:, 1, 0] * rows + a[:, 1, 1] * columns + a[:, 1, 2] + centre[1], width)

    flat = images.reshape(m * height * width, channels)
    first = (np.arange(m)[:, None, None] * height + i) * width + j  # (m, height, width)
    down, right = min(height - 1, 1) * width, min(width - 1, 1)

    def along_row(start: np.ndarray[Any, Any]) -> Images:
        here = flat.take(start, axis=0)
        there = flat.take(start + right, axis=0)
        between: Images = here + dj * (there - here)
        return between

    upper, lower = along_row(first), along_row(first + down)
    sampled: Images = upper + di * (lower - upper)
    return sampled


def random_light(
    images: Images,
    rng: np.random.Generator,
    *,
    contrast: float = 0.0,
    colour: float = 0.0,
    brightness: float = 0.0,
) -> Images:
    """Change the contrast, the balance of colours and the brightness of each image at random.

    Parameters
    ----------
    images : numpy.ndarray, shape (m, height, width, channels)
        float32 (or another real floating dtype): divide stored pixels by their maximum first.
    rng : numpy.random.Generator
        Where the amounts are drawn from.
    contrast, colour : float
        Largest change of the factor of all channels, and of each.
    brightness : float
        Largest number added.

    Returns
    -------
    numpy.ndarray
        Images of the same shape, not clipped.

    Raises
    ------
    TypeError
        If `images` is not a NumPy array of a real floating dtype.
    ValueError
        If `images` has not four axes, or an amount is not from 0 to 1e9.

    See Also
    --------
    random_affine

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((2, 4, 4, 3), dtype=np.float32)
    >>> random_light(x, np.random.default_rng(0), brightness=0.5).dtype
    dtype('float32')
    """
    m, _, _, channels = _checked(images)
    _require_amounts(_LARGEST, contrast=contrast, colour=colour, brightness=brightness)
    factor = rng.uniform(1 - contrast, 1 + contrast, (m, 1, 1, 1))
    factor = factor * rng.uniform(1 - colour, 1 + colour, (m, 1, 1, channels))
    offset = rng.uniform(-brightness, brightness, (m, 1, 1, 1))
    return images * factor.astype(np.float32) + offset.astype(np.float32)


def _checked(images: Images) -> tuple[int, int, int, int]:
    """Return the shape of a batch of images."""
    if not isinstance(images, np.ndarray):
        raise TypeError(f"`images` must be a NumPy array, got {type(images).__name__}")
    if images.ndim != 4:
        raise ValueError(
            f"`images` must have shape (m, height, width, channels), got {images.shape}"
        )
    if images.dtype.kind != "f":
        raise TypeError(
            f"`images` must have a real floating dtype, got {images.dtype}: divide stored pixels "
            "by their maximum first, images.astype(numpy.float32) / maximum"
        )
    m, height, width, channels = images.shape
    return m, height, width, channels


def _require_amounts(largest: float, **amounts: float) -> None:
    """Check the range of every amount; NaN is in none."""
    for name, value in amounts.items():
        if not 0 <= value <= largest:
            raise ValueError(f"`{name}` must be from 0 to {largest:g}, got {value}")


def _require_matrices(matrices: np.ndarray[Any, Any], m: int) -> None:
    """Check that there is a map for each image, of numbers that can't overflow."""
    if not isinstance(matrices, np.ndarray) or matrices.dtype.kind not in "fiu":
        got = getattr(matrices, "dtype", type(matrices).__name__)
        raise TypeError(f"`matrices` must be a NumPy array of real numbers, got {got}")
    if matrices.shape != (m, 2, 3):
        raise ValueError(f"`matrices` must have shape {(m, 2, 3)}, got {matrices.shape}")
    if not (within := abs(matrices) <= _LARGEST).all():  # NaN is not
        raise ValueError(
            f"`matrices` must hold numbers from {-_LARGEST:g} to {_LARGEST:g}, "
            f"got {matrices[~within][0]}"
        )


def _cells(
    position: np.ndarray[Any, Any], size: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Split positions along an axis into a cell and the way to the next, (m, height, width, 1)."""
    position = np.clip(position, 0, size - 1)
    cell = np.minimum(position.astype(np.intp), max(size - 2, 0))
    return cell, (position - cell).astype(np.float32)[..., None]
