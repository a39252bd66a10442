"""The training loop, apart from any terminal: a network, its optimiser, and one Generator.

The Generator draws the first weights, the shuffles, the changes to the images and what is dropped
out, in that order, on the CPU. So its state at the end of an epoch, with the arrays of network and
optimiser, is all that the next epoch depends on.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from anyconv._namespace import array_namespace
from anyconv._typing import Array
from anyconv.datasets import Dataset
from anyconv.nn import Adam, SoftmaxCrossEntropy, softmax, warmup_cosine
from anyconv.nn._arrays import to_numpy
from anyconv.nn.models import build

from ._backends import Backend
from ._recipes import Recipe

Images = np.ndarray[Any, Any]
OnBatch = Callable[[int, float, float], None]

_EVALUATION_BATCH = 60


class EpochResult(NamedTuple):
    """What one epoch came to."""

    epoch: int  # from 1
    train_loss: float  # mean over the epoch, on changed images, while the network learns
    train_accuracy: float
    test_loss: float  # after the epoch, without label smoothing
    test_accuracy: float
    learning_rate: float  # of the last step
    seconds: float  # all of the epoch, evaluation included
    images_per_second: float  # while training


class Normalisation(NamedTuple):
    """From stored pixels to what the network sees: ``(x / maximum - mean) / deviation``."""

    maximum: int
    mean: float
    deviation: float

    @classmethod
    def of(cls, data: Dataset) -> "Normalisation":
        """Measure the training images."""
        deviation = float(data.train_x.std(dtype=np.float64)) / data.maximum
        mean = float(data.train_x.mean(dtype=np.float64)) / data.maximum
        return cls(data.maximum, mean, deviation or 1.0)

    def scaled(self, images: Images) -> Images:
        """Return float32 images from 0 to 1."""
        return images.astype(np.float32) / np.float32(self.maximum)

    def normalised(self, scaled: Images) -> Images:
        """Return scaled images with mean zero and deviation one."""
        return (scaled - np.float32(self.mean)) / np.float32(self.deviation)


class Classifier:
    """A network on a device, and how images are prepared for it."""

    def __init__(
        self,
        model: str,
        image_shape: tuple[int, int, int],
        classes: int,
        normalisation: Normalisation,
        backend: Backend,
        rng: np.random.Generator,
    ) -> None:
        self.normalisation = normalisation
        self.backend = backend
        self.network = build(model, image_shape, classes, rng)
        self.network.to(backend.xp, device=backend.device)

    def scores(self, images: Images) -> Array:
        """Return the network's scores for stored pixels: uint8 (m, h, w, c) -> (m, classes)."""
        x = self.normalisation.normalised(self.normalisation.scaled(images))
        return self.network.forward(self.backend.asarray(x))

    def probabilities(self, images: Images) -> Images:
        """Return the probability of each class, in NumPy: uint8 (m, h, w, c) -> (m, classes)."""
        starts = range(0, len(images), _EVALUATION_BATCH)
        parts = [
            to_numpy(softmax(self.scores(images[start : start + _EVALUATION_BATCH])))
            for start in starts
        ]
        return np.concatenate(parts)


class Trainer:
    """A training run between two epochs."""

    def __init__(
        self, data: Dataset, model: str, recipe: Recipe, seed: int, backend: Backend
    ) -> None:
        self.data = data
        self.recipe = recipe
        self.rng = np.random.default_rng(seed)
        self.classifier = Classifier(
            model, data.image_shape, len(data.classes), Normalisation.of(data), backend, self.rng
        )
        self.optimizer = Adam(recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.loss = SoftmaxCrossEntropy(recipe.label_smoothing)
        self.history: list[EpochResult] = []

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.history) >= self.recipe.epochs

    def run_epoch(self, on_batch: OnBatch) -> EpochResult:
        """Train on every image once, then evaluate; `on_batch` gets count, loss and hits so far."""
        start = time.perf_counter()
        shuffled = self.rng.permutation(len(self.data.train_x))
        seen, loss, hits = 0, 0.0, 0
        for first in range(0, len(shuffled), self.recipe.batch_size):
            chosen = shuffled[first : first + self.recipe.batch_size]
            batch_loss, batch_hits = self._step(
                self.data.train_x[chosen], self.data.train_y[chosen]
            )
            seen += len(chosen)
            loss += batch_loss * len(chosen)
            hits += batch_hits
            on_batch(len(chosen), loss / seen, hits / seen)
        trained = time.perf_counter()
        test_loss, test_accuracy = evaluate(self.classifier, self.data.test_x, self.data.test_y)
        result = EpochResult(
            epoch=len(self.history) + 1,
            train_loss=loss / seen,
            train_accuracy=hits / seen,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            learning_rate=self.optimizer.learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=seen / (trained - start),
        )
        self.history.append(result)
        return result

    def _step(self, images: Images, labels: Images) -> tuple[float, int]:
        """Take one step of the optimiser; return the loss before it, and how many it had right."""
        normalisation, network = self.classifier.normalisation, self.classifier.network
        changed = self.recipe.augmentation(normalisation.scaled(images), self.rng)
        asarray = self.classifier.backend.asarray
        x, y = asarray(normalisation.normalised(changed)), asarray(labels)

        scores = network.forward(x, training=True)
        loss = self.loss.forward(scores, y)
        network.backward(self.loss.backward(), input_gradient=False)
        self._set_learning_rate()
        self.optimizer.step(network)

        xp = array_namespace(scores=scores)
        hits = xp.sum(xp.astype(xp.argmax(scores, axis=1) == y, y.dtype))
        return float(loss), int(hits)

    @property
    def _steps_per_epoch(self) -> int:
        return -(-len(self.data.train_x) // self.recipe.batch_size)

    def _set_learning_rate(self) -> None:
        self.optimizer.learning_rate = warmup_cosine(
            self.optimizer.steps,
            steps=self._steps_per_epoch * self.recipe.epochs,
            warmup=self._steps_per_epoch,
            peak=self.recipe.learning_rate,
        )

    def state(self) -> dict[str, Any]:
        """Return all that the next epoch depends on: NumPy arrays, and text."""
        network = self.classifier.network
        return {
            "network": {name: to_numpy(value) for name, value in network.arrays().items()},
            "optimizer": self.optimizer.arrays(),
            "steps": self.optimizer.steps,
            "generator": json.dumps(self.rng.bit_generator.state),
            "history": json.dumps(self.history),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        network = self.classifier.network
        network.load_arrays(state["network"])
        for name, moment in state["optimizer"].items():  # such as mean/0.w, of 0.w
            shape = state["network"][name.partition("/")[2]].shape
            if moment.shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {moment.shape}")
        self.optimizer.load_arrays(state["optimizer"], network, steps=state["steps"])
        self.rng.bit_generator.state = json.loads(state["generator"])
        self.history = [EpochResult(*row) for row in json.loads(state["history"])]
        if not all(isinstance(value, int | float) for row in self.history for value in row):
            raise ValueError("the history must hold numbers")
        steps = len(self.history) * self._steps_per_epoch
        if self.optimizer.steps != steps:
            raise ValueError(f"{len(self.history)} epochs are {steps} steps, got {state['steps']}")


def evaluate(classifier: Classifier, images: Images, labels: Images) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy."""
    probabilities = classifier.probabilities(images)
    own = probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean(dtype=np.float64)
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())
