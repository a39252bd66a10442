"""SGD and Adam take PyTorch's steps, with decoupled decay, on every backend."""

import numpy as np
import pytest

from anyconv.nn import SGD, Adam, Dense, Sequential, warmup_cosine

STEPS = 7


def problem():
    rng = np.random.default_rng(0)
    return rng.standard_normal((STEPS, 5, 3)), rng.standard_normal((STEPS, 5, 2))


def ours(optimizer, namespace, **place):
    """Minimise <y, dy> for changing x and dy; return the arrays after each step."""
    layer = Dense(3, 2, rng=0).to(namespace, dtype="float64", **place)
    xs, dys = problem()
    seen = []
    for x, dy in zip(xs, dys, strict=True):
        layer.forward(namespace.asarray(x, **place))
        layer.backward(namespace.asarray(dy, **place))
        optimizer.step(layer)
        seen.append(dict(layer.parameters))
    return seen


def theirs(make):
    torch = pytest.importorskip("torch")
    start = Dense(3, 2, rng=0).to(np, dtype="float64").parameters
    w, b = (torch.tensor(start[key], requires_grad=True) for key in ("w", "b"))
    optimizer = make(torch, w, b)
    seen = []
    for x, dy in zip(*problem(), strict=True):
        optimizer.zero_grad()
        ((torch.from_numpy(x) @ w + b) * torch.from_numpy(dy)).sum().backward()
        optimizer.step()
        seen.append({"w": w.detach().numpy().copy(), "b": b.detach().numpy().copy()})
    return seen


def assert_same(mine, expected, to_numpy=np.asarray):
    for one, other in zip(mine, expected, strict=True):
        for key in ("w", "b"):
            np.testing.assert_allclose(to_numpy(one[key]), other[key], rtol=1e-10, atol=1e-12)


def test_sgd_is_that_of_pytorch(xp):
    expected = theirs(lambda torch, w, b: torch.optim.SGD([w, b], lr=0.1, momentum=0.8))
    mine = ours(SGD(0.1, momentum=0.8), xp.namespace, device=xp.device)
    assert_same(mine, expected, xp.to_numpy)


def test_adam_is_the_adamw_of_pytorch(xp):
    def make(torch, w, b):
        groups = [{"params": [w], "weight_decay": 0.3}, {"params": [b], "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95))

    adam = Adam(0.01, betas=(0.8, 0.95), weight_decay=0.3)
    assert_same(ours(adam, xp.namespace, device=xp.device), theirs(make), xp.to_numpy)


def test_sgd_decays_the_weight_beside_the_gradient():
    layer = Dense(2, 2, rng=0)
    before = dict(layer.parameters)
    layer.forward(np.zeros((1, 2), np.float32))
    layer.backward(np.zeros((1, 2), np.float32))  # no gradient at all
    sgd = SGD(0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(2):
        sgd.step(layer)
    np.testing.assert_allclose(layer.parameters["w"], before["w"] * 0.95**2, rtol=1e-6)
    np.testing.assert_array_equal(layer.parameters["b"], before["b"])


@pytest.mark.parametrize("make", [SGD, Adam])
def test_saved_moments_go_on_where_they_were(make):
    whole = ours(make(0.1), np)
    layer, first = Dense(3, 2, rng=0).to(np, dtype="float64"), make(0.1)
    optimizer = first
    for index, (x, dy) in enumerate(zip(*problem(), strict=True)):
        if index == 4:
            optimizer = make(0.1)
            optimizer.load_arrays(first.arrays(), layer, steps=first.steps)
        layer.forward(x)
        layer.backward(dy)
        optimizer.step(layer)
        for key, value in layer.parameters.items():
            np.testing.assert_array_equal(value, whole[index][key])


def test_warmup_cosine_rises_and_fades():
    rates = [warmup_cosine(step, steps=100, warmup=10, peak=2.0) for step in range(100)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.2)
    assert rates[10] == 2.0
    assert all(np.diff(rates[10:]) < 0)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: SGD(-1.0), "`learning_rate` must be at least 0, got -1.0"),
        (lambda: Adam(weight_decay=-0.1), "`weight_decay` must be at least 0, got -0.1"),
        (lambda: SGD(momentum=1.0), "`momentum` must be at least 0 and less than 1, got 1.0"),
        (lambda: Adam(betas=(0.9, 1.0)), "`betas` must be at least 0 and less than 1"),
    ],
)
def test_misuse_is_told(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_a_step_that_is_refused_changes_nothing():
    first, second = Dense(2, 2, rng=0), Dense(2, 2, rng=1)
    first.gradients = {key: np.ones_like(value) for key, value in first.parameters.items()}
    before, adam = dict(first.parameters), Adam(0.1)
    with pytest.raises(RuntimeError, match="has no gradient"):
        adam.step(Sequential(first, second))
    assert adam.steps == 0 and adam.moments == {}
    assert all(first.parameters[key] is value for key, value in before.items())


def test_step_needs_gradients():
    with pytest.raises(RuntimeError, match="`step` needs a `backward` first, w has no gradient"):
        SGD().step(Dense(2, 2))
