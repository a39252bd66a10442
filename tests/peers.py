"""The same operations in PyTorch, in float64, where PyTorch has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import oracle
import pytest
from strategies import ConvCase, PoolCase

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")

Arrays = tuple[np.ndarray, ...]


def _to_torch(array: np.ndarray, axes: int, layout: str) -> Any:
    """(batch, C, *spatial), asking for gradients."""
    if layout == "channels_last":
        array = np.moveaxis(array, -1, -1 - axes)
    array = array.reshape(math.prod(array.shape[: -1 - axes]), *array.shape[-1 - axes :])
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind in "fc")


def _weight_to_torch(w: np.ndarray, layout: str) -> Any:
    w = np.moveaxis(w, (-1, -2), (0, 1)) if layout == "channels_last" else w
    return torch.tensor(np.ascontiguousarray(w), requires_grad=True)


def _from_torch(array: Any, batch: tuple[int, ...], layout: str) -> np.ndarray:
    values = array.detach().numpy()
    values = values.reshape(*batch, *values.shape[1:])
    axes = array.ndim - 2
    return np.moveaxis(values, -1 - axes, -1) if layout == "channels_last" else values


def _weight_from_torch(w: Any, layout: str) -> np.ndarray:
    values = w.detach().numpy()
    return np.moveaxis(values, (0, 1), (-1, -2)) if layout == "channels_last" else values


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


def has_conv(case: ConvCase) -> bool:
    """PyTorch convolves up to three axes, and pads circularly by the input's size at most."""
    if torch is None or case.axes > 3:
        return False
    if case.transposed:
        pairs = oracle.conv_transpose_size(
            case.input,
            case.kernel,
            *(case.options[name] for name in ("stride", "padding", "dilation")),
        )[1]
        return all(before == after for before, after in pairs) and "output_size" not in case.options
    spots = case.windows
    return case.options["padding_mode"] != "circular" or all(
        max(pair) <= i for pair, i in zip(spots.padding, spots.input, strict=True)
    )


def conv(case: ConvCase, arrays: dict[str, Any]) -> Arrays:
    """y, dx, dw, db."""
    axes, layout, options = case.axes, case.layout, case.options
    x, w = _to_torch(arrays["x"], axes, layout), _weight_to_torch(arrays["w"], layout)
    b = torch.zeros(case.c_out, dtype=x.dtype) if arrays["b"] is None else torch.tensor(arrays["b"])
    b.requires_grad_(True)
    dy = _to_torch(arrays["dy"], axes, layout)
    stride, dilation = _per_axis(options["stride"], axes), _per_axis(options["dilation"], axes)
    if case.transposed:
        size, pairs = oracle.conv_transpose_size(
            case.input, case.kernel, stride, options["padding"], dilation
        )
        extra = tuple(o - i for o, i in zip(case.output, size, strict=True))
        padding = tuple(before for before, _ in pairs)
        if options["padding"] in ("same", "same_lower"):
            plain = oracle.conv_transpose_size(case.input, case.kernel, stride, pairs, dilation)[0]
            extra = tuple(o - i for o, i in zip(case.output, plain, strict=True))
        function = getattr(functional, f"conv_transpose{axes}d")
        y = function(x, w, b, stride, padding, extra, options["groups"], dilation)
    else:
        mode = {"zeros": "constant"}.get(options["padding_mode"], options["padding_mode"])
        flat = [size for pair in reversed(case.windows.padding) for size in pair]
        padded = functional.pad(x, flat, mode=mode)
        function = getattr(functional, f"conv{axes}d")
        y = function(padded, w, b, stride, 0, dilation, options["groups"])
    dx, dw, db = torch.autograd.grad(y, (x, w, b), dy)
    return (
        _from_torch(y, case.batch, layout),
        _from_torch(dx, case.batch, layout),
        _weight_from_torch(dw, layout),
        db.numpy(),
    )


def has_pool(case: PoolCase, *, dilation: bool) -> bool:
    """PyTorch pools up to three axes, its padding symmetric and at most half the window."""
    if torch is None or case.axes > 3:
        return False
    spots = case.windows
    if not dilation and (
        set(spots.dilation) != {1} or any(map(int.__lt__, case.input, case.kernel))
    ):
        return False  # its averages have no dilation, and no window larger than the input
    return all(
        before == after <= k // 2
        for (before, after), k in zip(spots.padding, spots.kernel, strict=True)
    )


def pool(name: str, case: PoolCase, x: np.ndarray, dy: np.ndarray | None, **extra: Any) -> Arrays:
    """y (and the indices, for max), then dx."""
    spots = case.windows
    padding = tuple(before for before, _ in spots.padding)
    options = {"stride": spots.stride, "padding": padding, "ceil_mode": spots.ceil_mode, **extra}
    if name == "max":
        options |= {"dilation": spots.dilation, "return_indices": True}
    return _pooled(getattr(functional, f"{name}_pool{case.axes}d"), case, x, dy, options)


def adaptive_pool(name: str, case: PoolCase, x: np.ndarray, dy: np.ndarray) -> Arrays:
    """y, dx of pooling to `case.kernel`."""
    return _pooled(getattr(functional, f"adaptive_{name}_pool{case.axes}d"), case, x, dy, {})


def _pooled(
    function: Any, case: PoolCase, x: np.ndarray, dy: np.ndarray | None, options: dict[str, Any]
) -> Arrays:
    data = _to_torch(x, case.axes, case.layout)
    result = function(data, case.kernel, **options)
    results = result if isinstance(result, tuple) else (result,)
    if dy is not None:
        dy = _to_torch(dy, case.axes, case.layout)
        results = (*results, *torch.autograd.grad(results[0], data, dy))
    return tuple(_from_torch(array, case.batch, case.layout) for array in results)


def unpool(
    y: np.ndarray, indices: np.ndarray, case: PoolCase, output_size: tuple[int, ...]
) -> np.ndarray:
    """The maxima at their places, zeros elsewhere."""
    # The indices are flat, so one long axis does for any number; the kernel only sets the size.
    data, where = (_to_torch(array, case.axes, case.layout) for array in (y, indices))
    flat, size = (*data.shape[:2], 1, -1), math.prod(output_size)
    data, where = data.reshape(flat), where.reshape(flat)
    kernel = (1, size - data.shape[-1] + 1)
    result = functional.max_unpool2d(data, where, kernel, stride=1, output_size=(1, size))
    return _from_torch(result.reshape(*data.shape[:2], *output_size), case.batch, case.layout)
