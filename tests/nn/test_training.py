"""One seed gives one run: ten steps on every backend, to the same losses."""

import numpy as np
import pytest

from anyconv.nn import SGD, Adam, SoftmaxCrossEntropy
from anyconv.nn.models import MODELS, build

OPTIMIZERS = {"adam": lambda: Adam(3e-3, weight_decay=0.05), "sgd": lambda: SGD(0.03)}


def ten_losses(namespace, dtype, optimizer, model="small", device=None):
    """Train ten steps on made-up images, everything random drawn from one Generator."""
    rng = np.random.default_rng(7)
    images, labels = rng.standard_normal((40, 16, 16, 1)), rng.integers(0, 4, 40)
    network = build(model, (16, 16, 1), 4, rng).to(namespace, device=device, dtype=dtype)
    loss, losses = SoftmaxCrossEntropy(0.1), []
    order = rng.permutation(40)
    for step in range(10):
        chosen = order[4 * step : 4 * step + 4]
        x = namespace.asarray(images[chosen].astype(dtype), device=device)
        y = namespace.asarray(labels[chosen], device=device)
        losses.append(float(loss.forward(network.forward(x, training=True), y)))
        network.backward(loss.backward(), input_gradient=False)
        optimizer.step(network)
    return losses


@pytest.mark.parametrize(
    ("name", "dtype", "rtol"), [("adam", "float64", 1e-8), ("sgd", "float32", 2e-3)]
)
def test_ten_steps_are_alike_on_every_backend(name, dtype, rtol, xp):
    if xp.name == "jax-jit":
        pytest.skip("the loop keeps state between its steps; see jax")
    expected = ten_losses(np, dtype, OPTIMIZERS[name]())
    losses = ten_losses(xp.namespace, dtype, OPTIMIZERS[name](), device=xp.device)
    np.testing.assert_allclose(losses, expected, rtol=rtol)


def test_the_same_seed_gives_the_same_bits():
    first, second = (ten_losses(np, "float32", Adam(3e-3)) for _ in range(2))
    assert first == second


def test_ten_steps_are_those_of_pytorch():
    """The whole chain (notebook network, loss, Adam) against PyTorch's autograd."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    network = build("notebook", (64, 64, 3), 6, 1).to(np, dtype="float64")
    x, labels = rng.standard_normal((4, 64, 64, 3)), rng.integers(0, 6, 4)
    arrays = network.arrays()
    theirs = {name: torch.tensor(value, requires_grad=True) for name, value in arrays.items()}
    adam = torch.optim.Adam(theirs.values(), lr=1e-2)
    functional = torch.nn.functional

    def scores(images):
        a = functional.pad(torch.from_numpy(images).permute(0, 3, 1, 2), (1, 2, 1, 2))
        a = functional.conv2d(a, theirs["0.w"].permute(3, 2, 0, 1), theirs["0.b"])
        a = functional.max_pool2d(functional.relu(a), 8)
        a = functional.pad(a, (0, 1, 0, 1))
        a = functional.conv2d(a, theirs["3.w"].permute(3, 2, 0, 1), theirs["3.b"])
        a = functional.max_pool2d(functional.relu(a), 4)
        return a.permute(0, 2, 3, 1).flatten(1) @ theirs["7.w"] + theirs["7.b"]

    loss, ours = SoftmaxCrossEntropy(), Adam(1e-2)
    for _ in range(10):
        mine = loss.forward(network.forward(x, training=True), labels)
        network.backward(loss.backward(), input_gradient=False)
        ours.step(network)
        adam.zero_grad()
        expected = functional.cross_entropy(scores(x), torch.from_numpy(labels))
        expected.backward()
        adam.step()
        np.testing.assert_allclose(mine, expected.item(), rtol=1e-9)
    assert mine < 0.5


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(64, 64, 3), (33, 50, 1), (32, 32, 4)])
def test_every_model_takes_every_size(name, shape):
    network = build(name, shape, 5, 0)
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    y = network.forward(x, training=True)
    assert y.shape == (2, 5)
    assert network.backward(y).shape == x.shape


def test_notebook_has_the_parameters_of_the_course():
    arrays = build("notebook", (64, 64, 3), 6, 0).arrays()
    assert {name: value.shape for name, value in arrays.items()} == {
        "0.w": (4, 4, 3, 8),
        "0.b": (8,),
        "3.w": (2, 2, 8, 16),
        "3.b": (16,),
        "7.w": (64, 6),
        "7.b": (6,),
    }


def test_misuse_is_told():
    with pytest.raises(ValueError, match=r"`name` must be one of notebook, small, large, got tiny"):
        build("tiny", (8, 8, 1), 10)
    with pytest.raises(ValueError, match=r"`large` needs images of at least 32 x 32 .* got 8 x 8"):
        build("large", (8, 8, 1), 10)
    with pytest.raises(ValueError, match=r"`small` needs images of at least 4 x 4 .* got 3 x 9"):
        build("small", (3, 9, 1), 10)
