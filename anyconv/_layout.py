"""Between the caller's layout and the canonical one, `(n, *spatial, c)` and `(*kernel, c, k)`."""

from math import prod

from anyconv._typing import Array, Namespace, Shape


def split_shape(shape: Shape, rank: int, layout: str) -> tuple[Shape, Shape, int]:
    """The batch axes, spatial axes and channels of an array's shape."""
    batch, core = shape[: -rank - 1], shape[-rank - 1 :]
    if layout == "channels_first":
        return batch, core[1:], core[0]
    return batch, core[:-1], core[-1]


def join_shape(batch: Shape, spatial: Shape, channels: int, layout: str) -> Shape:
    """The inverse of `split_shape`."""
    if layout == "channels_first":
        return (*batch, channels, *spatial)
    return (*batch, *spatial, channels)


def to_canonical(x: Array, rank: int, layout: str, *, xp: Namespace) -> Array:
    """`(n, *spatial, c)` from the caller's layout."""
    if layout == "channels_first":
        x = xp.moveaxis(x, -rank - 1, -1)
    if x.ndim == rank + 2:
        return x
    return xp.reshape(x, (prod(x.shape[: -rank - 1]), *x.shape[-rank - 1 :]))


def from_canonical(x: Array, batch: Shape, layout: str, *, xp: Namespace) -> Array:
    """The caller's layout and batch axes from `(n, *spatial, c)`."""
    rank = x.ndim - 2
    if len(batch) != 1:
        x = xp.reshape(x, (*batch, *x.shape[1:]))
    if layout == "channels_first":
        x = xp.moveaxis(x, -1, -rank - 1)
    return x


def split_weight_shape(shape: Shape, layout: str) -> tuple[Shape, int, int]:
    """The kernel, C_in / groups and C_out of `(*kernel, c, k)` or `(k, c, *kernel)`."""
    if layout == "channels_first":
        return shape[2:], shape[1], shape[0]
    return shape[:-2], shape[-2], shape[-1]


def weight_to_canonical(w: Array, layout: str, *, xp: Namespace) -> Array:
    """`(*kernel, c, k)` from the caller's layout."""
    if layout == "channels_first":
        return xp.permute_dims(w, (*range(2, w.ndim), 1, 0))
    return w


def weight_from_canonical(w: Array, layout: str, *, xp: Namespace) -> Array:
    """The caller's layout from `(*kernel, c, k)`."""
    if layout == "channels_first":
        return xp.permute_dims(w, (w.ndim - 1, w.ndim - 2, *range(w.ndim - 2)))
    return w
