"""First weights have the variance their papers ask for, and are the same on every backend."""

import numpy as np
import pytest

from anyconv.nn import Conv, ConvTranspose, Dense, glorot_uniform, he_normal


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (lambda init: Conv(64, 96, 3, initializer=init, rng=0), 576, 864),
        (lambda init: Conv(64, 96, 3, groups=4, initializer=init, rng=0), 144, 216),
        (lambda init: Conv(64, 96, 3, layout="channels_first", initializer=init, rng=0), 576, 864),
        (lambda init: Dense(300, 200, initializer=init, rng=0), 300, 200),
    ],
)
def test_variance(layer, fan_in, fan_out):
    he = layer(he_normal).parameters["w"]
    np.testing.assert_allclose(he.var(), 2 / fan_in, rtol=0.03)
    glorot = layer(glorot_uniform).parameters["w"]
    np.testing.assert_allclose(glorot.var(), 2 / (fan_in + fan_out), rtol=0.03)
    assert abs(glorot).max() <= np.float32((6 / (fan_in + fan_out)) ** 0.5)
    for w in (he, glorot):
        assert w.dtype == np.float32
        assert abs(w.mean()) < 4 * (w.var() / w.size) ** 0.5


def test_shapes_follow_the_contract():
    assert Conv(4, 6, (3, 5), groups=2).parameters["w"].shape == (3, 5, 2, 6)
    assert Conv(4, 6, 3, groups=2, layout="channels_first").parameters["w"].shape == (6, 2, 3, 3)
    assert ConvTranspose(4, 6, 3, groups=2).parameters["w"].shape == (3, 3, 3, 4)
    assert ConvTranspose(4, 6, 3, layout="channels_first").parameters["w"].shape == (4, 6, 3, 3)
    assert ConvTranspose(4, 6, 3).parameters["b"].shape == (6,)


def test_one_generator_serves_all_layers():
    rng = np.random.default_rng(5)
    first, second = Conv(3, 4, 3, rng=rng), Conv(3, 4, 3, rng=rng)
    assert (first.parameters["w"] != second.parameters["w"]).any()
    np.testing.assert_array_equal(Conv(3, 4, 3, rng=5).parameters["w"], first.parameters["w"])
