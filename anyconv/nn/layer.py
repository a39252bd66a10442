"""What every layer is: parameters as plain arrays, an explicit forward and an explicit backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from anyconv._checks import check_shape, choice, shown
from anyconv._namespace import array_namespace, common_namespace, device
from anyconv._typing import Array

from ._arrays import dtype_name, from_numpy, loaded, to_numpy


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

        Raises
        ------
        RuntimeError
            Without a `forward` before it.
        TypeError, ValueError
            If `dy` has not the namespace, dtype, device and shape of that `forward`'s output.
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
            If a name is missing or unknown, or a shape differs; nothing is replaced then.
        TypeError
            If something is no NumPy array, or a dtype differs; likewise.
        """
        self._replace(loaded(arrays, self.arrays(), "parameter"))

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
            If `xp` is no namespace, `dtype` is another word, or the namespace has no such dtype
            (JAX without `jax_enable_x64` has no float64); nothing is moved then.
        """
        if not hasattr(xp, "asarray"):
            raise TypeError(f"`xp` must be an array library's namespace, got {shown(xp)}")
        if dtype is not None:
            choice("dtype", dtype, ("float32", "float64"))
        moved = {}
        for name, value in self.arrays().items():
            host = to_numpy(value)
            moved[name] = from_numpy(host, xp, device=device, dtype=dtype)
            if dtype_name(moved[name]) != (wanted := dtype or host.dtype.name):
                raise ValueError(
                    f"`dtype` must be one that `xp` has, got {wanted}, which became "
                    f"{dtype_name(moved[name])}; with JAX, set "
                    "jax.config.update('jax_enable_x64', True)"
                )
        self._replace(moved)
        for _, layer in self.leaves():
            layer.gradients = {}
            layer._memory = None
        return self

    def _replace(self, arrays: Mapping[str, Array]) -> None:
        """Replace all parameters and states by arrays of the same names."""
        for name, layer in self.leaves():
            for held in (layer.parameters, layer.state):
                for key in held:
                    held[key] = arrays[joined(name, key)]

    def _remember(self, memory: Any, y: Array) -> Array:
        """Keep what `backward` needs, and what an output gradient must be like; return y."""
        xp = array_namespace(y=y)
        model = xp.empty((), dtype=y.dtype, device=device(y))
        self._memory = memory, tuple(y.shape), model
        return y

    def _recall(self, dy: Array) -> Any:
        """Return what `forward` remembered, once `dy` is found to be like its output."""
        if self._memory is None:
            raise RuntimeError(f"`{type(self).__name__}.backward` needs a `forward` before it")
        memory, shape, model = self._memory
        common_namespace(dy=dy, y=model)
        check_shape("dy", dy.shape, shape, "the shape of y")
        return memory

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
    ValueError
        If one layer is there twice, within others or not.

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
        names: dict[int, str] = {}
        for name, layer in self.leaves():
            if (first := names.setdefault(id(layer), name)) != name:
                raise ValueError(
                    f"`layers` must hold each layer once, got the same {type(layer).__name__} as "
                    f"{first} and {name}: it remembers no more than its last `forward`"
                )

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
