"""Layers, losses and optimisers on plain arrays of any namespace, small enough to be read.

A network is a `Sequential` of layers. `forward` computes, `backward` sends the loss's gradient back
and leaves each parameter's gradient beside it, an optimiser's `step` changes the parameters: three
explicit calls, no tape. Whatever is random is drawn from NumPy's Generator and then moved, so one
seed gives the same run on every backend, up to rounding.

>>> import numpy as np
>>> from anyconv.nn import SGD, Conv, Dense, Flatten, ReLU, Sequential, SoftmaxCrossEntropy
>>> rng = np.random.default_rng(0)
>>> net = Sequential(Conv(1, 4, 3, rng=rng), ReLU(), Flatten(), Dense(144, 2, rng=rng))
>>> x = rng.standard_normal((20, 8, 8, 1)).astype(np.float32)
>>> labels = (x.mean(axis=(1, 2, 3)) > 0).astype(np.int64)
>>> loss, sgd, losses = SoftmaxCrossEntropy(), SGD(0.05), []
>>> for _ in range(30):
...     losses.append(float(loss.forward(net.forward(x, training=True), labels)))
...     _ = net.backward(loss.backward(), input_gradient=False)
...     sgd.step(net)
>>> losses[-1] < 0.1 * losses[0]
True

For another backend move the network, ``net.to(cupy)``, and hand it arrays of that namespace.
"""

from .elementwise import Dropout, Flatten, ReLU
from .initializers import glorot_uniform, he_normal
from .layer import Layer, Sequential
from .losses import SoftmaxCrossEntropy, softmax
from .norm import BatchNorm
from .optimizers import SGD, Adam, Optimizer, warmup_cosine
from .pooling import AvgPool, MaxPool
from .weighted import Conv, ConvTranspose, Dense

__all__ = [
    "Layer", "Sequential",
    "Conv", "ConvTranspose", "Dense",
    "MaxPool", "AvgPool",
    "BatchNorm", "ReLU", "Dropout", "Flatten",
    "softmax", "SoftmaxCrossEntropy",
    "Optimizer", "SGD", "Adam", "warmup_cosine",
    "glorot_uniform", "he_normal",
]  # fmt: skip
