"""The same convolutions and pools in PyTorch and JAX: forward, input gradient, weight gradient.

A peer gets channels-last NumPy arrays, keeps them as its own library likes them best, and gives
functions without arguments to be timed. What it returns can be read back channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _backends import Absent, Array, Backend, load
from _layers import Layer, Pool


@dataclass(frozen=True)
class Runner:
    """A function to time, how to wait for its work, and how to read its result channels last."""

    run: Callable[[], Any]
    wait: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]


def peers(names: str, ours: Backend) -> dict[str, Backend]:
    """The libraries to compare with, on the device of ours; absent ones are told and left out."""
    found = {}
    for name in filter(None, names.split(",")):
        try:
            peer = load("torch:cuda" if name == "torch" and ours.on_gpu else name)
        except Absent as absent:
            print(f"peer {name}: {absent}")
            continue
        if peer.on_gpu == ours.on_gpu:
            found[name] = peer
        else:
            print(f"peer {name}: it is not on the device of {ours.name}")
    return found


def conv_runners(
    peer: Backend, layer: Layer, operation: str, arrays: dict[str, np.ndarray], dtype: str
) -> dict[str, Runner]:
    """One map of a convolution, in each memory layout that the peer has for it."""
    if peer.compiles:
        return {"jax": _jax_conv(peer, layer, operation, arrays, dtype)}
    formats = ["first"] if len(layer.input) == 1 else ["first", "last"]
    return {f"torch {f}": _torch_conv(peer, layer, operation, arrays, dtype, f) for f in formats}


def _torch_conv(
    peer: Backend,
    layer: Layer,
    operation: str,
    arrays: dict[str, np.ndarray],
    dtype: str,
    memory: str,
) -> Runner:
    import torch
    from torch.nn import functional

    rank = len(layer.input)
    x, dy = (to_torch(peer, arrays[name], rank, dtype, memory) for name in ("x", "dy"))
    w = peer.asarray(np.ascontiguousarray(np.moveaxis(arrays["w"], (-1, -2), (0, 1))), dtype)
    w = in_memory(w, rank, memory)
    symmetric = all(before == after for before, after in layer.pads)
    padding = [before if symmetric else 0 for before, _ in layer.pads]
    flat = [] if symmetric else [size for pair in reversed(layer.pads) for size in pair]
    stride, dilation = [layer.stride] * rank, [layer.dilation] * rank
    convolve = getattr(functional, f"conv{rank}d")

    def gradient(x: Array, wanted: tuple[bool, bool, bool]) -> tuple[Array, Array, Array]:
        return torch.ops.aten.convolution_backward(
            dy, x, w, None, stride, padding, dilation, False, [0] * rank, layer.groups, wanted
        )

    def padded() -> Array:
        return functional.pad(x, flat) if flat else x

    larger = padded()  # the input gradient reads its shape alone
    inner = tuple(
        slice(before, before + size)
        for (before, _), size in zip(layer.pads, layer.input, strict=True)
    )

    def forward() -> Array:
        return convolve(padded(), w, None, stride, padding, dilation, layer.groups)

    def input_gradient() -> Array:
        dx = gradient(larger, (True, False, False))[0]
        return dx[(..., *inner)] if flat else dx

    def weight_gradient() -> Array:
        return gradient(padded(), (False, True, False))[1]

    def to_numpy(result: Array) -> np.ndarray:
        values = peer.to_numpy(result)
        if operation == "dw":
            return np.moveaxis(values, (0, 1), (-1, -2))
        return np.moveaxis(values, 1, -1)

    functions = {"forward": forward, "dx": input_gradient, "dw": weight_gradient}
    return Runner(_without_tape(functions[operation]), peer.wait, to_numpy)


def to_torch(peer: Backend, array: np.ndarray, rank: int, dtype: str, memory: str) -> Array:
    """A channels-last NumPy array as (batch, C, *spatial) in a memory layout."""
    first = peer.asarray(np.ascontiguousarray(np.moveaxis(array, -1, 1)), dtype)
    return in_memory(first, rank, memory)


def in_memory(array: Array, rank: int, memory: str) -> Array:
    """The array with its channels first or last in memory; its shape stays."""
    import torch

    if memory == "first":
        return array.contiguous()
    formats = {2: torch.channels_last, 3: torch.channels_last_3d}
    return array.contiguous(memory_format=formats[rank])


def _without_tape(function: Callable[[], Any]) -> Callable[[], Any]:
    import torch

    def run() -> Any:
        with torch.inference_mode():
            return function()

    return run


def _jax_conv(
    peer: Backend, layer: Layer, operation: str, arrays: dict[str, np.ndarray], dtype: str
) -> Runner:
    import jax

    axes = "DHW"[-len(layer.input) :]
    letters = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    x, w, dy = (peer.asarray(arrays[name], dtype) for name in ("x", "w", "dy"))

    def convolve(x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x,
            w,
            window_strides=(layer.stride,) * len(axes),
            padding=layer.pads,
            rhs_dilation=(layer.dilation,) * len(axes),
            dimension_numbers=letters,
            feature_group_count=layer.groups,
        )

    if operation == "forward":
        function, given = jax.jit(convolve), (x, w)
    elif operation == "dx":
        function = jax.jit(lambda dy, w: jax.linear_transpose(lambda x: convolve(x, w), x)(dy)[0])
        given = (dy, w)
    else:
        function = jax.jit(lambda dy, x: jax.linear_transpose(lambda w: convolve(x, w), w)(dy)[0])
        given = (dy, x)
    return Runner(lambda: function(*given), peer.wait, np.asarray)


def pool_runners(
    peer: Backend, pool: Pool, operation: str, arrays: dict[str, np.ndarray], dtype: str
) -> dict[str, Runner]:
    """One map of a pooling layer in PyTorch, in each memory layout."""
    return {
        f"torch {memory}": _torch_pool(peer, pool, operation, arrays, dtype, memory)
        for memory in ("first", "last")
    }


def _torch_pool(
    peer: Backend,
    pool: Pool,
    operation: str,
    arrays: dict[str, np.ndarray],
    dtype: str,
    memory: str,
) -> Runner:
    import torch
    from torch.nn import functional

    x, dy = (to_torch(peer, arrays[name], 2, dtype, memory) for name in ("x", "dy"))
    sizes = [[size] * 2 for size in (pool.kernel, pool.stride, pool.padding)]
    aten = torch.ops.aten

    # PyTorch's maximum finds its winners forward and hands them to the gradient, which ours finds
    # anew; so its gradient is what follows, and its forward what makes the winners.
    if pool.kind == "max":
        _, winners = functional.max_pool2d_with_indices(x, *sizes)

        def forward() -> Array:
            return functional.max_pool2d(x, *sizes)

        def backward() -> Array:
            return aten.max_pool2d_with_indices_backward(dy, x, *sizes, [1, 1], False, winners)
    else:

        def forward() -> Array:
            return functional.avg_pool2d(x, *sizes)

        def backward() -> Array:
            return aten.avg_pool2d_backward(dy, x, *sizes, False, True, None)

    def to_numpy(result: Array) -> np.ndarray:
        return np.moveaxis(peer.to_numpy(result), 1, -1)

    return Runner(
        _without_tape(forward if operation == "forward" else backward), peer.wait, to_numpy
    )
