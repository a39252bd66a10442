"""How gradients change parameters: SGD with momentum, Adam, and a learning rate that fades out."""

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from anyconv._checks import fraction, integer, is_sequence, not_negative
from anyconv._namespace import array_namespace
from anyconv._typing import Array

from ._arrays import loaded, to_numpy
from .layer import Layer, joined


class Optimizer(ABC):
    """One step after another, each from the gradients that `backward` left in the layers.

    An optimiser serves one model: what it remembers belongs to that model's parameters.

    Parameters
    ----------
    learning_rate : float
        May be changed between steps.
    weight_decay : float
        Decoupled: each step takes ``learning_rate * weight_decay`` of the weight itself, beside and
        not through the gradient. Only parameters with two or more axes decay, not biases or gains.

    Attributes
    ----------
    steps : int
        Steps taken so far.
    moments : dict of str to dict of str to array
        What is remembered from step to step, for each parameter.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", arXiv:1711.05101,
    algorithms 1 and 2.
    """

    #: Names of the arrays remembered for each parameter.
    moment_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float, *, weight_decay: float = 0.0) -> None:
        self.learning_rate = not_negative("learning_rate", learning_rate)
        self.weight_decay = not_negative("weight_decay", weight_decay)
        self.steps = 0
        self.moments: dict[str, dict[str, Array]] = {}
        self._owners: dict[str, weakref.ref[Layer]] = {}  # the layer of each parameter's moments

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the owners: a copy, or what a file brings back, may serve another model."""
        return {**self.__dict__, "_owners": {}}

    def step(self, model: Layer) -> None:
        """Change all parameters of a model by their gradients.

        Raises
        ------
        RuntimeError
            If a parameter has no gradient; nothing is changed then.
        ValueError
            If the steps before were another model's; likewise.
        """
        for name, layer in model.leaves():
            for key in layer.parameters:
                full = joined(name, key)
                if key not in layer.gradients:
                    raise RuntimeError(f"`step` needs a `backward` first, {full} has no gradient")
                owner = self._owners.get(full)
                if full in self.moments and owner is not None and owner() is not layer:
                    raise ValueError(
                        f"`model` must be the one of the {self.steps} steps before, got another "
                        f"layer's {full}; make an optimiser for each model, or hand the moments "
                        "over with `load_arrays`"
                    )
        self.steps += 1
        for name, layer in model.leaves():
            for key, value in layer.parameters.items():
                full = joined(name, key)
                moments = self._moments(full, value)
                self._owners[full] = weakref.ref(layer)
                if self.weight_decay and value.ndim > 1:
                    value = value * (1.0 - self.learning_rate * self.weight_decay)
                layer.parameters[key] = value - self.change(layer.gradients[key], moments)

    @abstractmethod
    def change(self, gradient: Array, moments: dict[str, Array]) -> Array:
        """Update the moments of one parameter and return what to subtract from it."""

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the moments as NumPy arrays, by names such as ``"velocity/0.w"``."""
        return {
            f"{moment}/{name}": to_numpy(value)
            for name, moments in self.moments.items()
            for moment, value in moments.items()
        }

    def load_arrays(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], model: Layer, *, steps: int
    ) -> None:
        """Go on from saved moments, moved to where the model's parameters are.

        Raises
        ------
        ValueError
            If `steps` is negative, a name is missing or unknown, or a moment has not the shape of
            its parameter; nothing is changed then.
        TypeError
            If `steps` is no whole number, something no NumPy array, or a dtype is not that of the
            parameter; likewise.
        """
        steps = integer("steps", steps, minimum=0)
        models = {}
        for name, layer in model.leaves() if steps else ():  # before the first there are none
            for key, value in layer.parameters.items():
                for moment in self.moment_names:
                    models[f"{moment}/{joined(name, key)}"] = value
        moved = loaded(arrays, models, "moment")
        self.steps, self.moments, self._owners = steps, {}, {}
        for full, value in moved.items():
            moment, _, name = full.partition("/")
            self.moments.setdefault(name, {})[moment] = value

    def _moments(self, name: str, value: Array) -> dict[str, Array]:
        if name not in self.moments:
            xp = array_namespace(value=value)
            self.moments[name] = {moment: xp.zeros_like(value) for moment in self.moment_names}
        return self.moments[name]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    ``velocity = momentum * velocity + gradient``, ``parameter -= learning_rate * velocity``.

    Parameters
    ----------
    learning_rate : float
        Size of a step.
    momentum : float
        How much of the velocity stays, at least 0 and less than 1.
    weight_decay : float
        As in `Optimizer`.

    Raises
    ------
    ValueError
        If a number is out of range.

    See Also
    --------
    Adam

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.nn import Dense
    >>> layer = Dense(1, 1, bias=False, rng=0)
    >>> sgd = SGD(0.1, momentum=0.5)
    >>> for _ in range(50):  # the smallest (w * 1 - 3)^2
    ...     y = layer.forward(np.ones((1, 1), dtype=np.float32))
    ...     _ = layer.backward(2 * (y - 3))
    ...     sgd.step(layer)
    >>> round(float(layer.parameters["w"][0, 0]), 2)
    3.0
    """

    moment_names = ("velocity",)

    def __init__(
        self, learning_rate: float = 0.01, *, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.momentum = fraction("momentum", momentum)

    def change(self, gradient: Array, moments: dict[str, Array]) -> Array:
        """Return ``learning_rate * velocity``."""
        moments["velocity"] = self.momentum * moments["velocity"] + gradient
        return self.learning_rate * moments["velocity"]


class Adam(Optimizer):
    """Adam: a momentum, divided by the root of the mean square of the gradients.

    Parameters
    ----------
    learning_rate : float
        Size of a step.
    betas : tuple of float
        How much of the two means stays from step to step, each at least 0 and less than 1.
    epsilon : float
        Added to the root.
    weight_decay : float
        As in `Optimizer`; with it this is AdamW.

    Raises
    ------
    ValueError
        If a number is out of range.

    See Also
    --------
    SGD

    References
    ----------
    D. Kingma and J. Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from anyconv.nn import Dense
    >>> layer = Dense(1, 1, bias=False, rng=0)
    >>> adam = Adam(0.1)
    >>> for _ in range(200):  # the smallest (w * 1 - 3)^2
    ...     y = layer.forward(np.ones((1, 1), dtype=np.float32))
    ...     _ = layer.backward(2 * (y - 3))
    ...     adam.step(layer)
    >>> round(float(layer.parameters["w"][0, 0]), 2)
    3.0
    """

    moment_names = ("mean", "square")

    def __init__(
        self,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        if not is_sequence(betas) or len(betas) != 2:
            raise ValueError(f"`betas` must be two numbers, got {betas!r}")
        self.betas = fraction("betas", betas[0]), fraction("betas", betas[1])
        self.epsilon = not_negative("epsilon", epsilon)

    def change(self, gradient: Array, moments: dict[str, Array]) -> Array:
        """Return the step, with the two means corrected for their start at zero."""
        first, second = self.betas
        mean = first * moments["mean"] + (1.0 - first) * gradient
        square = second * moments["square"] + (1.0 - second) * (gradient * gradient)
        moments["mean"], moments["square"] = mean, square
        rate = self.learning_rate / (1.0 - first**self.steps)
        root = array_namespace(square=square).sqrt(square / (1.0 - second**self.steps))
        return rate * mean / (root + self.epsilon)


def warmup_cosine(step: int, *, steps: int, warmup: int, peak: float) -> float:
    """Return a learning rate that rises in a line, then falls to zero as half a cosine does.

    Parameters
    ----------
    step : int
        The step about to be taken, from 0.
    steps : int
        Steps of the whole run.
    warmup : int
        Steps of the rise.
    peak : float
        The largest rate.

    Returns
    -------
    float
        The rate of this step.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts.

    Examples
    --------
    >>> [round(warmup_cosine(i, steps=6, warmup=2, peak=1.0), 2) for i in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
