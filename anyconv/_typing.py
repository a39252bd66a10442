"""The types of arguments and arrays."""

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, Literal, TypeAlias

# The array API standard has no static types that NumPy, CuPy and PyTorch all satisfy yet; these
# names say what is meant, the checks of `_arguments` make it so.
Array: TypeAlias = Any
DType: TypeAlias = Any
Device: TypeAlias = Any
Namespace: TypeAlias = Any

Shape: TypeAlias = tuple[int, ...]
Index: TypeAlias = tuple[slice | EllipsisType, ...]

Ints: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[tuple[int, int]]
Layout: TypeAlias = Literal["channels_last", "channels_first"]
PaddingMode: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
Ties: TypeAlias = Literal["first", "all", "split"]

# One of the three maps of a convolution: the output, or the gradient of the input or the weight.
Operation: TypeAlias = Literal["forward", "input", "weight"]
