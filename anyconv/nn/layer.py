"""What every layer is: parameters as plain arrays, an explicit forward and an explicit backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from anyconv._checks import choice, shown
from anyconv._typing import Array

from ._arrays import from_numpy, like, to_numpy


class Layer(ABC):
    """One step of a network.

    Attributes
    ----------
    parameters : dict of str to array
        What an optimiser changes; plain arrays of one namespace and device.
    gradients : dict of str to array
        After `backward`: the gradient of the loss for each parameter, under the same names.
    state : dict of str to array
        Arrays that `forward` keeps from call to call and no gradient reaches: running statistics.

    Notes
    -----
    There is no tape. `forward` remembers what its own `backward` needs, until the next `forward`.
    New layers hold NumPy arrays of float32; `to` moves them to another namespace, device or dtype.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Array] = {}
        self.gradients: dict[str, Array] = {}
        self.state: dict[str, Array] = {}
        self._memory: Any = None

    @abstractmethod
    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the output for a batch `x`; `training` matters to `BatchNorm` and `Dropout`."""

    @abstractmethod
    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Set `gradients` from the output's gradient and return the input's.

        With ``input_gradient=False`` a layer may leave out the work for the input's gradient and
        return None: nobody needs it of a network's first layer.
        """

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield each layer that holds parameters itself, under its name in the network."""
        yield prefix, self

    def arrays(self) -> dict[str, Array]:
        """Return all parameters and states by name, such as ``"0.w"``: what a checkpoint saves."""
        found = {}
        for name, layer in self.leaves():
            for key, value in (*layer.parameters.items(), *layer.state.items()):
                found[joined(name, key)] = value
        return found

    def load_arrays(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Replace all parameters and states by NumPy arrays of the same names, shapes and dtypes.

        Raises
        ------
        ValueError
            If a name is missing or unknown, or a shape differs.
        """
        own = self.arrays()
        if missing := sorted(own.keys() - arrays.keys()):
            raise ValueError(f"`arrays` must hold every parameter, {', '.join(missing)} not found")
        if unknown := sorted(arrays.keys() - own.keys()):
            raise ValueError(f"`arrays` must hold nothing else, got {', '.join(unknown)}")
        for name, layer in self.leaves():
            for held in (layer.parameters, layer.state):
                for key, value in held.items():
                    new = arrays[joined(name, key)]
                    if tuple(new.shape) != tuple(value.shape):
                        raise ValueError(
                            f"`arrays[{joined(name, key)!r}]` must have shape "
                            f"{tuple(value.shape)}, got {tuple(new.shape)}"
                        )
                    held[key] = like(new, value)

    def to(self, xp: Any, *, device: Any = None, dtype: str | None = None) -> Self:
        """Move parameters and states to namespace `xp`; gradients and memories are dropped.

        Parameters
        ----------
        xp : namespace
            numpy, cupy, torch, jax.numpy, or their array-api-compat namespaces.
        device : optional
            A device of that namespace; its default device without.
        dtype : str, optional
            ``"float32"`` or ``"float64"``; as it is without.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        TypeError, ValueError
            If `xp` is no namespace, or `dtype` another word.
        """
        if not hasattr(xp, "asarray"):
            raise TypeError(f"`xp` must be an array library's namespace, got {shown(xp)}")
        if dtype is not None:
            choice("dtype", dtype, ("float32", "float64"))
        for _, layer in self.leaves():
            for held in (layer.parameters, layer.state):
                for key, value in held.items():
                    held[key] = from_numpy(to_numpy(value), xp, device=device, dtype=dtype)
            layer.gradients = {}
            layer._memory = None
        return self

    def _recall(self) -> Any:
        """Return what `forward` remembered."""
        if self._memory is None:
            raise RuntimeError(f"`{type(self).__name__}.backward` needs a `forward` before it")
        return self._memory

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in self.parameters.items())
        return f"{type(self).__name__}({shapes})"


class Sequential(Layer):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Layer
        The layers, in the order of `forward`.

    Raises
    ------
    TypeError
        If something is no layer.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.nn import Conv, Dense, Flatten, MaxPool, ReLU, Sequential
    >>> rng = np.random.default_rng(0)
    >>> conv, dense = Conv(1, 4, 3, rng=rng), Dense(36, 10, rng=rng)
    >>> net = Sequential(conv, ReLU(), MaxPool(2), Flatten(), dense)
    >>> scores = net.forward(np.ones((5, 8, 8, 1), dtype=np.float32))
    >>> scores.shape
    (5, 10)
    >>> net.backward(np.ones_like(scores)).shape
    (5, 8, 8, 1)
    >>> sorted(net.arrays())
    ['0.b', '0.w', '4.b', '4.w']
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        for index, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"`layers[{index}]` must be a layer, got {type(layer).__name__}")
        self.layers = layers

    def forward(self, x: Array, *, training: bool = False) -> Array:
        """Return the last layer's output."""
        for layer in self.layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array:
        """Go back through the layers, and return the gradient of the first one's input."""
        for index in range(len(self.layers) - 1, -1, -1):
            dy = self.layers[index].backward(dy, input_gradient=input_gradient or index > 0)
        return dy

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield the leaves of every layer, named by position."""
        for index, layer in enumerate(self.layers):
            yield from layer.leaves(joined(prefix, str(index)))

    def __repr__(self) -> str:
        lines = "".join(f"  {index}: {layer!r}\n" for index, layer in enumerate(self.layers))
        return f"Sequential(\n{lines})"


def joined(prefix: str, name: str) -> str:
    """Return the name of something within a layer, such as ``"0.w"``."""
    return f"{prefix}.{name}" if prefix else name
