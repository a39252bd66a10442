"""What an installed wheel must do, run outside the checkout."""

from pathlib import Path

import numpy as np

import anyconv
from anyconv.datasets import load_digits

assert "site-packages" in Path(anyconv.__file__).parts, anyconv.__file__
assert Path(anyconv.__file__).with_name("py.typed").exists()

x, w = np.arange(2 * 5 * 5 * 3.0).reshape(2, 5, 5, 3), np.ones((3, 3, 3, 4))
y = anyconv.conv_forward(x, w)
assert y.shape == (2, 3, 3, 4)
assert y[0, 0, 0, 0] == x[0, :3, :3].sum()
dx, dw, db = anyconv.conv_backward(np.ones_like(y), x, w)
assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, (4,))
assert dx[0, 2, 2, 0] == 9 * 4  # the middle is under all nine taps of all four filters
assert anyconv.max_pool_forward(x, 5)[1, 0, 0].tolist() == [147, 148, 149]

digits = load_digits()
assert (len(digits.train_x), len(digits.test_x)) == (1438, 359)
print(f"anyconv {anyconv.__version__} works from its wheel")
