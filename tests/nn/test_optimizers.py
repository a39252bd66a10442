"""SGD and Adam take PyTorch's steps, with decoupled decay, on every backend."""

import copy
import pickle

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


def stepped(optimizer, layer):
    layer.gradients = {key: np.ones_like(value) for key, value in layer.parameters.items()}
    optimizer.step(layer)
    return layer


def test_an_optimizer_serves_one_model():
    first, second = Dense(2, 2, rng=0), Dense(2, 2, rng=1)
    adam = Adam(0.1)
    stepped(adam, first)
    before, moments = dict(second.parameters), dict(adam.moments["w"])
    with pytest.raises(ValueError, match="`model` must be the one of the 1 steps before, got ano"):
        stepped(adam, second)
    assert adam.steps == 1 and adam.moments["w"] == moments
    assert all(second.parameters[key] is value for key, value in before.items())
    stepped(adam, first)


def test_an_optimizer_does_not_outlive_its_model_unnoticed():
    sgd = SGD(0.1)
    stepped(sgd, Dense(2, 2, rng=0))
    with pytest.raises(ValueError, match="got another layer's w; make an optimiser for each mod"):
        stepped(sgd, Dense(3, 3, rng=0))


def test_moments_can_be_handed_over():
    first, second = Dense(2, 2, rng=0), Dense(2, 2, rng=1)
    sgd = SGD(0.1)
    stepped(sgd, first)
    sgd.load_arrays(sgd.arrays(), second, steps=sgd.steps)
    stepped(sgd, second)
    assert sgd.steps == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_both_goes_on(copied):
    layer, sgd = Dense(2, 2, rng=0), SGD(0.1)
    stepped(sgd, layer)
    twin, twin_sgd = copied((layer, sgd))
    stepped(sgd, layer)
    stepped(twin_sgd, twin)
    np.testing.assert_array_equal(twin.parameters["w"], layer.parameters["w"])


def saved_moments(**changes):
    arrays = {f"velocity/{key}": np.ones_like(v) for key, v in Dense(2, 3).parameters.items()}
    return {**arrays, **changes}


W = "velocity/w"
WRONG_MOMENTS = {
    "steps": (saved_moments(), 1.5, TypeError, "`steps` must be a whole number, got 1.5"),
    "steps below none": (saved_moments(), -1, ValueError, "`steps` must be at least 0, got -1"),
    "moments before the first step": (
        saved_moments(),
        0,
        ValueError,
        "`arrays` must hold nothing else, got velocity/b, velocity/w",
    ),
    "a name": ({W: np.ones((2, 3), "f4")}, 1, ValueError, "hold every moment, velocity/b not foun"),
    "another name": (saved_moments(square=np.ones(1)), 1, ValueError, "nothing else, got square"),
    "shape": (
        saved_moments(**{W: np.ones((3, 2), "f4")}),
        1,
        ValueError,
        "`arrays['velocity/w']` must have shape (2, 3), got (3, 2)",
    ),
    "dtype": (
        saved_moments(**{W: np.ones((2, 3))}),
        1,
        TypeError,
        "`arrays['velocity/w']` must have dtype float32, got float64",
    ),
    "a list": (
        saved_moments(**{W: [1.0]}),
        1,
        TypeError,
        "`arrays['velocity/w']` must be a NumPy array, got [1.0] (list)",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_MOMENTS)
def test_moments_that_are_refused_change_nothing(wrong):
    arrays, steps, kind, text = WRONG_MOMENTS[wrong]
    layer, sgd = Dense(2, 3, rng=0), SGD(0.1)
    stepped(sgd, layer)
    before = {name: dict(moments) for name, moments in sgd.moments.items()}
    with pytest.raises(kind) as caught:
        sgd.load_arrays(arrays, layer, steps=steps)
    assert text in str(caught.value)
    assert sgd.steps == 1
    assert all(sgd.moments[name]["velocity"] is before[name]["velocity"] for name in before)


def test_step_needs_gradients():
    with pytest.raises(RuntimeError, match="`step` needs a `backward` first, w has no gradient"):
        SGD().step(Dense(2, 2))
