"""What a layer, a loss or an optimiser cannot be, refused by the name of the argument."""

import numpy as np
import pytest

from anyconv.nn import (
    SGD,
    Adam,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    ReLU,
    Sequential,
    SoftmaxCrossEntropy,
    softmax,
)

SCORES = np.ones((2, 3))
RELU = ReLU()
NET = Sequential(ReLU())

MISUSES = {
    "no channels": (lambda: Conv(0, 4, 3), ValueError, "`in_channels` must be at least 1, got 0"),
    "no outputs": (
        lambda: ConvTranspose(3, 0, 3),
        ValueError,
        "`out_channels` must be at least 1, got 0",
    ),
    "a fraction of a channel": (
        lambda: Conv(3.0, 4, 3),
        TypeError,
        "`in_channels` must be a whole number, got 3.0",
    ),
    "no kernel": (lambda: Conv(3, 4, 0), ValueError, "`kernel_size` must be at least 1, got 0"),
    "a kernel of no axis": (lambda: Conv(3, 4, ()), ValueError, "`kernel_size` must have one"),
    "a word for a kernel": (lambda: Conv(3, 4, "3"), TypeError, "`kernel_size` must be a whole"),
    "truth for groups": (lambda: Conv(4, 4, 3, groups=True), TypeError, "`groups` must be a whole"),
    "groups": (lambda: Conv(4, 6, 3, groups=4), ValueError, "the 4 input and 6 output channels"),
    "layout": (lambda: Conv(3, 4, 3, layout="NCHW"), ValueError, "`layout` must be one of"),
    "a dense layer of nothing": (lambda: Dense(0, 3), ValueError, "`inputs` must be at least 1"),
    "a list for x": (
        lambda: Dense(2, 3).forward([[1.0, 2.0]]),
        TypeError,
        "`x` must be an array, got list",
    ),
    "integers for x": (
        lambda: Dense(2, 3).forward(np.ones((1, 2), int)),
        TypeError,
        "must share one dtype: `x` has int64, `w` has float32",
    ),
    "normalised channels": (lambda: BatchNorm(2.0), TypeError, "`channels` must be a whole number"),
    "normalised slowly": (
        lambda: BatchNorm(2, momentum=1.5),
        ValueError,
        "`momentum` must be at most 1, got 1.5",
    ),
    "a negative variance": (
        lambda: BatchNorm(2, epsilon=-1.0),
        ValueError,
        "`epsilon` must be at least 0, got -1.0",
    ),
    "an axis between two": (
        lambda: BatchNorm(2, axis=1.5),
        TypeError,
        "`axis` must be a whole number, got 1.5",
    ),
    "the batch axis": (
        lambda: BatchNorm(2, axis=0),
        ValueError,
        "`axis` must be -1 or at least 1, got 0, which is the batch",
    ),
    "an axis counted from the end": (
        lambda: BatchNorm(2, axis=-2),
        ValueError,
        "`axis` must be at least -1, got -2",
    ),
    "an axis that is not there": (
        lambda: BatchNorm(2, axis=3).forward(np.ones((4, 2), np.float32)),
        ValueError,
        "`x` must have 2 channels on axis 3, got shape (4, 2)",
    ),
    "normalised doubles": (
        lambda: BatchNorm(3).forward(SCORES),
        TypeError,
        "must share one dtype, float32 if x is of half precision: `x` has float64, `gain` has fl",
    ),
    "normalised integers": (
        lambda: BatchNorm(3).forward(SCORES.astype(int)),
        TypeError,
        "`x` has int64, `gain` has float32",
    ),
    "dropped integers": (
        lambda: Dropout(0.5).forward(SCORES.astype(int), training=True),
        TypeError,
        "`x` must be real or complex floating for `Dropout`, got int64: integers cannot be scaled",
    ),
    "epsilon": (lambda: Adam(0.1, epsilon="small"), TypeError, "`epsilon` must be a number"),
    "rate": (lambda: Dropout(1), ValueError, "`rate` must be at least 0 and less than 1, got 1"),
    "a word for a rate": (
        lambda: Dropout("half"),
        TypeError,
        "`rate` must be a number, got 'half'",
    ),
    "ReLU of a list": (lambda: ReLU().forward([1.0]), TypeError, "`x` must be an array, got list"),
    "no batch": (lambda: Flatten().forward(np.asarray(1.0)), ValueError, "`x` must have a batch"),
    "a list of layers": (
        lambda: Sequential([ReLU()]),
        TypeError,
        "`layers[0]` must be a layer, got list",
    ),
    "a name for a namespace": (lambda: ReLU().to("torch"), TypeError, "`xp` must be"),
    "one layer twice": (
        lambda: Sequential(RELU, Flatten(), RELU),
        ValueError,
        "`layers` must hold each layer once, got the same ReLU as 0 and 2: it remembers no more "
        "than its last `forward`",
    ),
    "one layer twice, within others": (
        lambda: Sequential(Sequential(Flatten(), RELU), Sequential(Sequential(RELU))),
        ValueError,
        "got the same ReLU as 0.1 and 1.0.0",
    ),
    "one network twice": (
        lambda: Sequential(NET, NET),
        ValueError,
        "got the same ReLU as 0.0 and 1.0",
    ),
    "dtype": (lambda: Dense(2, 2).to(np, dtype="int32"), ValueError, "`dtype` must be one of"),
    "negative rate": (lambda: SGD(-1.0), ValueError, "`learning_rate` must be at least 0, got -1"),
    "a word for a learning rate": (lambda: SGD("fast"), TypeError, "`learning_rate` must be a nu"),
    "momentum": (lambda: SGD(0.1, momentum=1.0), ValueError, "`momentum` must be at least 0"),
    "one beta": (lambda: Adam(0.1, betas=(0.9,)), ValueError, "`betas` must be two numbers"),
    "betas": (lambda: Adam(0.1, betas=(0.9, 1.0)), ValueError, "`betas` must be at least 0"),
    "labels that are no classes": (
        lambda: SoftmaxCrossEntropy().forward(SCORES, np.ones(2)),
        TypeError,
        "`labels` must be of integers, got float64",
    ),
    "labels of yes and no": (
        lambda: SoftmaxCrossEntropy().forward(SCORES, np.ones(2, bool)),
        TypeError,
        "`labels` must be of integers, got bool",
    ),
    "a list of labels": (
        lambda: SoftmaxCrossEntropy().forward(SCORES, [0, 1]),
        TypeError,
        "`labels` must be an array, got list",
    ),
    "an empty batch": (
        lambda: SoftmaxCrossEntropy().forward(SCORES[:0], np.zeros(0, int)),
        ValueError,
        "`scores` must have one row or more, got shape (0, 3)",
    ),
    "whole scores": (lambda: softmax(SCORES.astype(int)), TypeError, "`scores` must be real"),
    "one row of scores": (lambda: softmax(SCORES[0]), ValueError, "(m, classes), one class or mo"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_refused_with_its_reason(misuse):
    call, error, text = MISUSES[misuse]
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "`" in str(caught.value)


def test_single_precision_jax_is_no_place_for_doubles():
    jax = pytest.importorskip("jax")
    layer = Dense(2, 2, rng=0)
    before = dict(layer.parameters)
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="`dtype` must be one that `xp` has, got float64, whi"):
            layer.to(jax.numpy, dtype="float64")
        assert all(layer.parameters[key] is value for key, value in before.items())
        assert str(layer.to(jax.numpy).parameters["w"].dtype) == "float32"


def test_sizes_may_be_numpy_s():
    layer = Conv(np.int64(3), np.int32(4), np.int64(5), rng=0)
    assert layer.parameters["w"].shape == (5, 5, 3, 4)
