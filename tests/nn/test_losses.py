"""The loss is PyTorch's, and its backward is its gradient on every backend."""

import numpy as np
import pytest

from anyconv.nn import SoftmaxCrossEntropy, softmax
from anyconv.testing import check_gradients


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_backward_is_the_gradient_of_forward(smoothing, xp):
    rng = np.random.default_rng(0)
    scores = xp.asarray(3 * rng.standard_normal((7, 5)))
    labels = xp.asarray(rng.integers(0, 5, 7))
    loss = SoftmaxCrossEntropy(smoothing)
    check_gradients(
        lambda scores: loss.forward(scores, labels), lambda dy: loss.backward() * dy, scores
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_that_of_pytorch(smoothing):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores, labels = 100 * rng.standard_normal((20, 5)), rng.integers(0, 5, 20)
    loss = SoftmaxCrossEntropy(smoothing)
    value = loss.forward(scores, labels)
    theirs = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs, torch.from_numpy(labels), label_smoothing=smoothing
    )
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(loss.backward(), theirs.grad.numpy(), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("dtype", "classes"), [("uint8", 300), ("int8", 200)])
def test_labels_of_small_integers_count_all_classes(dtype, classes, xp):
    """A row of numbers in their dtype would begin anew."""
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((4, classes)), np.asarray([0, 1, 44, 127])
    losses = [
        SoftmaxCrossEntropy(0.1).forward(xp.asarray(scores), xp.asarray(labels, kind))
        for kind in (dtype, "int64")
    ]
    assert float(losses[0]) == float(losses[1])


CUT = -np.inf  # a score that leaves a class out
EXTREMES = {  # dtype, scores, labels, loss, gradient
    "float16": ("float16", [[6e4, -6e4]], [0], 0.0, [[0.0, 0.0]]),
    "float32": ("float32", [[2e38, -2e38]], [0], 0.0, [[0.0, 0.0]]),
    "float64": ("float64", [[1e308, -1e308], [-1e308, 0.0]], [0, 1], 0.0, [[0.0, 0.0]] * 2),
    "wrong class": ("float64", [[0.0, -1e308]], [1], 1e308, [[1.0, -1.0]]),
    "further than any number": ("float32", [[2e38, -2e38]], [1], np.inf, [[1.0, -1.0]]),
    "masked": ("float32", [[0.0, CUT, 0.0]], [2], np.log(2), [[0.5, 0.0, -0.5]]),
    "masked, far below": ("float32", [[-2e38, CUT]], [0], 0.0, [[0.0, 0.0]]),
    "masked target": ("float32", [[0.0, CUT]], [1], np.inf, [[1.0, -1.0]]),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_scores_have_a_loss(name, xp):
    dtype, scores, labels, value, gradient = EXTREMES[name]
    if not xp.has(dtype):
        pytest.skip(f"{xp.name} has no {dtype}")
    loss = SoftmaxCrossEntropy()
    found = loss.forward(xp.asarray(scores, dtype), xp.asarray(labels))
    dx = loss.backward()
    assert xp.dtype_name(found) == xp.dtype_name(dx) == dtype
    np.testing.assert_allclose(xp.to_numpy(found), value, rtol=1e-6)
    np.testing.assert_allclose(xp.to_numpy(dx), gradient, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in EXTREMES if not name.startswith("further")])
def test_extreme_losses_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    dtype, scores, labels, value, _ = EXTREMES[name]
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(scores, dtype=getattr(torch, dtype)), torch.tensor(labels)
    )
    np.testing.assert_allclose(theirs.item(), value, rtol=1e-6)


def test_half_precision_is_summed_in_single(xp):
    if not xp.has("float16"):
        pytest.skip(f"{xp.name} has no float16")
    scores, labels = np.zeros((200, 10)), np.zeros(200, np.int64)
    scores[:, 1] = 1000.0  # all of them wrong by that: the sum is more than float16 holds
    value = SoftmaxCrossEntropy().forward(xp.asarray(scores, "float16"), xp.asarray(labels))
    assert float(value) == 1000.0


def test_a_label_outside_the_classes_is_not_noticed(xp):
    loss = SoftmaxCrossEntropy()
    assert float(loss.forward(xp.asarray(np.zeros((1, 3))), xp.asarray([7]))) == 0.0


def test_softmax_of_huge_scores_is_finite(xp):
    scores = np.array([[1e4, 0.0], [-1e4, -1e4], [2e38, -2e38]], dtype=np.float32)
    y = xp.call(softmax, xp.asarray(scores))
    np.testing.assert_array_equal(xp.to_numpy(y), [[1, 0], [0.5, 0.5], [1, 0]])


def test_misuse_is_told():
    loss = SoftmaxCrossEntropy()
    with pytest.raises(RuntimeError, match=r"`SoftmaxCrossEntropy\.backward` needs a `forward`"):
        loss.backward()
    with pytest.raises(ValueError, match=r"`labels` shape \(m,\), got \(4, 3\) and \(4, 1\)"):
        loss.forward(np.zeros((4, 3)), np.zeros((4, 1), dtype=np.int64))
    with pytest.raises(ValueError, match=r"`label_smoothing` must be .* less than 1, got 1\.0"):
        SoftmaxCrossEntropy(1.0)
