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


def test_softmax_of_huge_scores_is_finite(xp):
    y = xp.call(softmax, xp.asarray(np.array([[1e4, 0.0], [-1e4, -1e4]], dtype=np.float32)))
    np.testing.assert_array_equal(xp.to_numpy(y), [[1, 0], [0.5, 0.5]])


def test_misuse_is_told():
    loss = SoftmaxCrossEntropy()
    with pytest.raises(RuntimeError, match=r"`SoftmaxCrossEntropy\.backward` needs a `forward`"):
        loss.backward()
    with pytest.raises(ValueError, match=r"`labels` shape \(m,\), got \(4, 3\) and \(4, 1\)"):
        loss.forward(np.zeros((4, 3)), np.zeros((4, 1), dtype=np.int64))
    with pytest.raises(ValueError, match=r"`label_smoothing` must be .* less than 1, got 1\.0"):
        SoftmaxCrossEntropy(1.0)
