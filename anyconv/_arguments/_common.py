"""Sizes, paddings and dtypes as the caller wrote them, checked against each other.

Each check states the argument in backquotes, the rule and the numbers, before any work is done.
"""

from collections.abc import Sequence
from typing import Any

from anyconv._checks import MOST, choice, integer, is_sequence
from anyconv._geometry import Pairs, effective_kernel_size, same_padding
from anyconv._namespace import is_kind, item_bytes
from anyconv._typing import Array, DType, Namespace, Shape

LAYOUTS = ("channels_last", "channels_first")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
PADDING_WORDS = ("valid", "full", "same", "same_lower")

PaddingSpec = int | str | tuple[int, ...] | Pairs


def padding_spec(value: Any) -> PaddingSpec:
    """A padding as the caller wrote it, made hashable; its kinds and signs are checked."""
    if type(value) is int and 0 <= value <= MOST:
        return value
    if isinstance(value, str):
        return choice("padding", value, PADDING_WORDS)
    if not is_sequence(value):
        return integer("padding", value, minimum=0)
    if not any(is_sequence(entry) for entry in value):
        return tuple(integer("padding", entry, minimum=0) for entry in value)
    if not all(is_sequence(entry) and len(entry) == 2 for entry in value):
        raise ValueError(
            "`padding` must be a word, a number, one number for each spatial axis, or one "
            f"(before, after) pair for each, got {value!r}"
        )
    return tuple(
        (integer("padding", before, minimum=0), integer("padding", after, minimum=0))
        for before, after in value
    )


def padding_pairs(
    spec: PaddingSpec, size: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> Pairs:
    """`(before, after)` for each axis."""
    rank = len(kernel)
    if isinstance(spec, str):
        if spec == "valid":
            return ((0, 0),) * rank
        if spec == "full":
            return tuple((d * (k - 1),) * 2 for k, d in zip(kernel, dilation, strict=True))
        lower = spec == "same_lower"
        return tuple(
            same_padding(i, k, s, d, lower=lower)
            for i, k, s, d in zip(size, kernel, stride, dilation, strict=True)
        )
    return explicit_pairs(spec, rank)


def explicit_pairs(spec: int | tuple[int, ...] | Pairs, rank: int) -> Pairs:
    """`(before, after)` for each axis from numbers alone."""
    if isinstance(spec, int):
        return ((spec, spec),) * rank
    if len(spec) != rank:
        raise ValueError(
            f"`padding` must have one entry for each of the {rank} spatial axes, "
            f"got {len(spec)}: {spec}"
        )
    return tuple(entry if isinstance(entry, tuple) else (entry, entry) for entry in spec)


def check_outputs(
    name: str, output: Shape, size: Shape, kernel: Shape, dilation: Shape, padding: Pairs
) -> None:
    """Refuse an axis on which no window fits."""
    for axis, (o, i, k, d, (before, after)) in enumerate(
        zip(output, size, kernel, dilation, padding, strict=True)
    ):
        if o < 1:
            raise ValueError(
                f"`{name}` is too small on spatial axis {axis}: the effective kernel size "
                f"{d} * ({k} - 1) + 1 = {effective_kernel_size(k, d)} is larger than the padded "
                f"input {i} + {before} + {after} = {i + before + after}"
            )


def check_padding_mode(mode: str, size: Shape, padding: Pairs) -> None:
    """Refuse a reflection that would leave the input."""
    if mode != "reflect":
        return
    for axis, (i, pair) in enumerate(zip(size, padding, strict=True)):
        if max(pair) >= i:
            raise ValueError(
                "`padding` must be smaller than the input where it reflects, got "
                f"{pair} on spatial axis {axis} of size {i}"
            )


def check_sizes(name: str, shape: Shape, axes: Sequence[int]) -> None:
    """Refuse zero channels and zero-size spatial axes; an empty batch is fine."""
    if any(shape[axis] < 1 for axis in axes):
        raise ValueError(
            f"`{name}` must have no channels axis and no spatial axis of size zero, "
            f"got shape {shape}"
        )


def check_floating(name: str, xp: Namespace, dtype: DType, *, what: str) -> None:
    """Refuse dtypes that are neither floating nor complex, and complex numbers of halves."""
    if is_kind(xp, dtype, "real floating"):
        return
    if is_kind(xp, dtype, "complex floating") and item_bytes(xp, dtype) >= 8:
        return
    raise TypeError(
        f"{what} takes floating and complex dtypes, got `{name}` of {dtype}; convert it first, "
        f"for example with xp.astype({name}, xp.float32)"
    )


def check_real_floating(name: str, xp: Namespace, dtype: DType, *, what: str) -> None:
    """Refuse dtypes that are not real floating ones."""
    if not is_kind(xp, dtype, "real floating"):
        raise TypeError(
            f"{what} takes real floating dtypes, got `{name}` of {dtype}; convert it first, "
            f"for example with xp.astype({name}, xp.float32)"
        )


def check_numeric(name: str, xp: Namespace, dtype: DType, *, what: str) -> None:
    """Refuse dtypes that cannot be added."""
    if not is_kind(xp, dtype, "numeric"):
        raise TypeError(f"{what} takes numeric dtypes, got `{name}` of {dtype}")


def check_of_numbers(name: str, xp: Namespace, dtype: DType, *, what: str) -> None:
    """Refuse dtypes of anything but numbers and truth values."""
    if not is_kind(xp, dtype, "numeric") and not is_kind(xp, dtype, "bool"):
        raise TypeError(f"{what} takes numeric and boolean dtypes, got `{name}` of {dtype}")


def check_ordered(name: str, xp: Namespace, dtype: DType, *, what: str) -> None:
    """Refuse dtypes that have no order."""
    if not is_kind(xp, dtype, "real floating") and not is_kind(xp, dtype, "integral"):
        raise TypeError(f"{what} takes real floating and integer dtypes, got `{name}` of {dtype}")


def known_shape(name: str, x: Array) -> Shape:
    """The shape of an array, in whole numbers; sizes that Dask does not know are refused."""
    sizes = x.shape
    for size in sizes:
        if size is None or size != size:
            raise ValueError(
                f"`{name}` has an unknown size, shape {tuple(sizes)}; "
                "compute its chunk sizes first, for example with compute_chunk_sizes()"
            )
    return tuple(sizes)
