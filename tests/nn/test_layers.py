"""Each layer's backward is the gradient of its forward, on every backend and against PyTorch."""

import numpy as np
import pytest

from anyconv.nn import (
    AvgPool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    ReLU,
    Sequential,
)
from anyconv.testing import check_gradients

IMAGES = (3, 6, 6, 4)  # (m, height, width, channels)
CASES = {
    "Conv": (lambda: Conv(4, 5, 3, rng=1), IMAGES),
    "Conv-same-strided": (lambda: Conv(4, 6, 3, stride=2, padding="same", rng=1), IMAGES),
    "Conv-groups-reflect": (
        lambda: Conv(4, 6, 3, groups=2, padding=1, padding_mode="reflect", rng=1),
        IMAGES,
    ),
    "Conv-no-bias": (lambda: Conv(4, 5, (2, 3), dilation=2, bias=False, rng=1), IMAGES),
    "Conv-1d": (lambda: Conv(2, 3, (3,), rng=1), (3, 9, 2)),
    "Conv-channels-first": (
        lambda: Conv(4, 5, 3, layout="channels_first", rng=1),
        (3, 4, 6, 6),
    ),
    "ConvTranspose": (lambda: ConvTranspose(4, 3, 3, stride=2, padding=1, rng=1), IMAGES),
    "ConvTranspose-groups": (
        lambda: ConvTranspose(4, 6, 3, stride=2, output_padding=1, groups=2, rng=1),
        IMAGES,
    ),
    "ConvTranspose-channels-first": (
        lambda: ConvTranspose(4, 3, 2, stride=2, layout="channels_first", bias=False, rng=1),
        (3, 4, 5, 5),
    ),
    "MaxPool": (lambda: MaxPool(2), IMAGES),
    "MaxPool-overlapping": (lambda: MaxPool(3, stride=2, padding=1), IMAGES),
    "AvgPool": (lambda: AvgPool(3, stride=1, padding=1, count_include_pad=False), IMAGES),
    "AvgPool with holes": (lambda: AvgPool(2, stride=1, dilation=2), IMAGES),
    "BatchNorm": (lambda: BatchNorm(4), IMAGES),
    "BatchNorm-channels-first": (lambda: BatchNorm(4, axis=1), (3, 4, 6, 6)),
    "ReLU": (ReLU, IMAGES),
    "Flatten": (Flatten, IMAGES),
    "Dense": (lambda: Dense(7, 4, rng=1), (5, 7)),
    "Dense-no-bias": (lambda: Dense(7, 4, bias=False, rng=1), (5, 7)),
    "Dropout": (lambda: Dropout(0.4, rng=1), (5, 7)),
    "Sequential": (
        lambda: Sequential(
            Conv(4, 5, 3, rng=1),
            BatchNorm(5),
            ReLU(),
            MaxPool(2),
            Sequential(Flatten(), Dense(20, 3, rng=2)),
        ),
        IMAGES,
    ),
}


def check_layer(layer, x, *, training):
    """Check the gradients of the input and of every parameter at once."""
    places = [(leaf, key) for _, leaf in layer.leaves() for key in leaf.parameters]

    def forward(x, *parameters):
        for (leaf, key), value in zip(places, parameters, strict=True):
            leaf.parameters[key] = value
        for leaf in layer.layers if isinstance(layer, Sequential) else [layer]:
            if isinstance(leaf, Dropout):
                leaf.rng = np.random.default_rng(3)  # the same elements each time
        return layer.forward(x, training=training)

    def backward(dy):
        dx = layer.backward(dy)
        return (dx, *(leaf.gradients[key] for leaf, key in places))

    check_gradients(forward, backward, x, *(leaf.parameters[key] for leaf, key in places))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize("name", CASES)
def test_backward_is_the_gradient_of_forward(name, training, xp):
    if xp.name == "jax-jit":
        pytest.skip("layers remember what they saw; the functions under them are tested in jit")
    make, shape = CASES[name]
    rng = np.random.default_rng(0)
    layer = make().to(xp.namespace, device=xp.device, dtype="float64")
    for _, leaf in layer.leaves():  # first values such as gain 1 and bias 0 hide mistakes
        for held in (leaf.parameters, leaf.state):
            for key, value in held.items():
                held[key] = xp.asarray(rng.uniform(0.5, 1.5, value.shape))
    x = xp.asarray(rng.standard_normal(shape))
    assert xp.owns(layer.forward(x, training=training))
    check_layer(layer, x, training=training)


@pytest.mark.parametrize("name", CASES)
def test_input_gradient_can_be_left_out(name):
    make, shape = CASES[name]
    layer, x = make(), np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y = layer.forward(x, training=True)
    layer.backward(np.ones_like(y))
    full = {(n, k): v for n, leaf in layer.leaves() for k, v in leaf.gradients.items()}
    layer.backward(np.ones_like(y), input_gradient=False)
    for (leaf_name, key), value in full.items():
        again = dict(layer.leaves())[leaf_name].gradients[key]
        np.testing.assert_array_equal(again, value)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=["none", "one", "two"])
def test_convolution_has_any_number_of_batch_axes(batch, layout):
    """The gradient of the bias among them, which cannot see them from its shape alone."""
    rng = np.random.default_rng(0)
    channels_first = layout == "channels_first"
    shape = (*batch, 4, 6, 5) if channels_first else (*batch, 6, 5, 4)
    layer = Conv(4, 3, 3, layout=layout, rng=0).to(np, dtype="float64")
    check_layer(layer, rng.standard_normal(shape), training=True)


@pytest.mark.parametrize("name", [name for name in CASES if name != "Sequential"])
def test_backward_needs_forward(name):
    make, shape = CASES[name]
    layer = make()
    with pytest.raises(RuntimeError, match=r"`\w+\.backward` needs a `forward` before it"):
        layer.backward(np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
def test_batch_norm_is_that_of_pytorch(training):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5, dtype=torch.float64)
    ours.to(np, dtype="float64")
    gain, b = rng.uniform(0.5, 2, 5), rng.standard_normal(5)
    ours.parameters = {"gain": gain, "b": b}
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(gain))
        theirs.bias.copy_(torch.from_numpy(b))
    theirs.train(training)
    for _ in range(3):  # the running statistics follow over several batches
        x, dy = 3 + 2 * rng.standard_normal((2, 40, 5))
        y = ours.forward(x, training=training)
        dx = ours.backward(dy)
        x_torch = torch.tensor(x, requires_grad=True)
        y_torch = theirs(x_torch)
        theirs.zero_grad()
        y_torch.backward(torch.from_numpy(dy))
        for mine, other in (
            (y, y_torch.detach()),
            (dx, x_torch.grad),
            (ours.gradients["gain"], theirs.weight.grad),
            (ours.gradients["b"], theirs.bias.grad),
            (ours.state["running_mean"], theirs.running_mean),
            (ours.state["running_variance"], theirs.running_var),
        ):
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
def test_the_gain_s_gradient_keeps_its_digits(training, xp):
    """It is the sum of dy * y as `forward` gave it, where the mean is a hundred deviations too."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 16, 8, 8, 4)).astype(np.float32)
    layer = BatchNorm(4, epsilon=0.0)
    layer.state["running_mean"] += 10
    layer.state["running_variance"] *= 0.01
    layer.to(xp.namespace, device=xp.device)
    y = xp.to_numpy(layer.forward(xp.asarray(10 + x / 10, "float32"), training=training))
    layer.backward(xp.asarray(dy + 1))
    expected = ((dy + 1) * y.astype(np.float64)).sum((0, 1, 2))
    np.testing.assert_allclose(xp.to_numpy(layer.gradients["gain"]), expected, atol=3e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_batch_norm_sums_half_precision_in_single(dtype, xp):
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    rng = np.random.default_rng(0)
    x = xp.asarray(30 + rng.standard_normal((64, 32, 32, 4)), dtype)
    layer = BatchNorm(4, momentum=1.0).to(xp.namespace, device=xp.device)
    for training in (True, False):
        y = layer.forward(x, training=training)
        dx = layer.backward(y)
        assert {xp.dtype_name(array) for array in (x, y, dx)} == {dtype}
        values = xp.to_numpy(x).astype(np.float64)
        mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2), ddof=1)
        np.testing.assert_allclose(xp.to_numpy(layer.state["running_mean"]), mean, rtol=1e-4)
        np.testing.assert_allclose(
            xp.to_numpy(layer.state["running_variance"]), variance, rtol=1e-3
        )
        expected = (values - mean) / np.sqrt(variance)
        np.testing.assert_allclose(xp.to_numpy(y), expected, rtol=0.01, atol=0.01)
        for held in (layer.state, layer.gradients):
            assert {xp.dtype_name(value) for value in held.values()} == {"float32"}


def test_dropout_keeps_the_mean_and_drops_the_rate():
    dropout = Dropout(0.25, rng=0)
    y = dropout.forward(np.ones((100, 400), dtype=np.float32), training=True)
    assert y.dtype == np.float32
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(y[y != 0], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(dropout.backward(np.ones_like(y)), y)


def test_arrays_go_out_and_in(xp):
    make, _ = CASES["Sequential"]
    network = make().to(xp.namespace, device=xp.device)
    saved = {name: xp.to_numpy(value) for name, value in network.arrays().items()}
    assert list(saved) == [
        *("0.w", "0.b", "1.gain", "1.b", "1.running_mean", "1.running_variance"),
        *("4.1.w", "4.1.b"),
    ]
    changed = {name: value + 1 for name, value in saved.items()}
    network.load_arrays(changed)
    for name, value in network.arrays().items():
        assert xp.owns(value)
        np.testing.assert_array_equal(xp.to_numpy(value), changed[name])


def test_loading_copies():
    layer = Dense(2, 2, rng=0)
    saved = {"w": np.zeros((2, 2), np.float32), "b": np.zeros(2, np.float32)}
    layer.load_arrays(saved)
    saved["w"][0, 0] = 7
    assert layer.parameters["w"][0, 0] == 0


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (
            lambda: Dense(2, 3).load_arrays({"w": np.zeros((2, 3))}),
            ValueError,
            "`arrays` must hold every parameter, b not found",
        ),
        (
            lambda: Dense(2, 3, bias=False).load_arrays({"w": np.zeros((2, 3)), "v": np.zeros(1)}),
            ValueError,
            "`arrays` must hold nothing else, got v",
        ),
        (
            lambda: Dense(2, 3, bias=False).load_arrays({"w": np.zeros((3, 2))}),
            ValueError,
            "`arrays['w']` must have shape (2, 3), got (3, 2)",
        ),
        (
            lambda: Conv(6, 8, 3, groups=4),
            ValueError,
            "`groups` must divide the 6 input and 8 output channels, got 4",
        ),
        (
            lambda: Dense(4, 2).forward(np.zeros((3, 2, 2), np.float32)),
            ValueError,
            "`x` must have shape (m, 4) for this `Dense`, got (3, 2, 2); `Flatten` goes before it",
        ),
        (
            lambda: BatchNorm(3).forward(np.zeros((5, 4), np.float32)),
            ValueError,
            "`x` must have 3 channels on axis -1, got shape (5, 4)",
        ),
        (
            lambda: BatchNorm(3).forward(np.zeros((1, 3), np.float32), training=True),
            ValueError,
            "`x` must hold two elements a channel to train on, got 1",
        ),
        (
            lambda: Dropout(1.0),
            ValueError,
            "`rate` must be at least 0 and less than 1, got 1.0",
        ),
    ],
)
def test_misuse_is_told(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


@pytest.mark.parametrize("name", CASES)
def test_an_output_gradient_unlike_the_output_is_refused(name, xp):
    if xp.name == "jax-jit":
        pytest.skip("layers remember what they saw")
    make, shape = CASES[name]
    layer = make().to(xp.namespace, device=xp.device)
    y = layer.forward(xp.asarray(np.ones(shape), "float32"))
    for wrong in ((1,), (*y.shape, 1), (*y.shape[:-1], y.shape[-1] + 1)):
        dy = xp.asarray(np.ones(wrong), "float32")
        with pytest.raises(ValueError) as caught:
            layer.backward(dy)
        text = f"`dy` must have the shape of y, {tuple(y.shape)}, got {wrong}"
        assert str(caught.value) == text
    with pytest.raises(TypeError, match=r"must share one dtype: `dy` has .*float64, `y` has .*flo"):
        layer.backward(xp.asarray(np.ones(y.shape), "float64"))
    with pytest.raises(TypeError, match="`dy` must be an array, got list"):
        layer.backward([1.0])
    if xp.name not in ("numpy", "numba"):
        with pytest.raises(TypeError, match="must share one namespace: `dy` has numpy, `y` has "):
            layer.backward(np.ones(y.shape, dtype=np.float32))
    layer.backward(xp.asarray(np.ones(y.shape), "float32"))


@pytest.mark.parametrize("name", [name for name in CASES if name != "Sequential"])
def test_a_forward_that_is_refused_is_forgotten(name):
    make, shape = CASES[name]
    layer, x = make(), np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    dy = np.ones_like(layer.forward(x))
    expected, gradients = layer.backward(dy), layer.gradients
    with pytest.raises(TypeError):
        layer.forward(x.tolist())
    np.testing.assert_array_equal(layer.backward(dy), expected)
    for key, value in gradients.items():
        np.testing.assert_array_equal(layer.gradients[key], value)


WRONG_ARRAYS = {
    "shape": (
        np.zeros(3, np.float32),
        ValueError,
        "`arrays['1.b']` must have shape (2,), got (3,)",
    ),
    "dtype": (np.zeros(2), TypeError, "`arrays['1.b']` must have dtype float32, got float64"),
    "kind": ([0.0, 0.0], TypeError, "`arrays['1.b']` must be a NumPy array, got [0.0, 0.0] (list)"),
}


@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
def test_arrays_that_are_refused_change_nothing(wrong, xp):
    value, kind, text = WRONG_ARRAYS[wrong]
    network = Sequential(Dense(2, 2, rng=0), Dense(2, 2, rng=1))
    network.to(xp.namespace, device=xp.device)
    before = network.arrays()
    changed = {name: xp.to_numpy(array) + 1 for name, array in before.items()}
    with pytest.raises(kind) as caught:
        network.load_arrays({**changed, "1.b": value})
    assert str(caught.value) == text
    assert all(array is before[name] for name, array in network.arrays().items())
