"""Write digits.h5 from the copy of the UCI digits that scikit-learn carries.

    python data/make_digits.py

Needs scikit-learn and h5py. The same versions write the same bytes.
"""

from pathlib import Path

import h5py
import numpy as np
from sklearn.datasets import load_digits

TEST_SHARE = 0.2
SEED = 0


def main() -> None:
    """Split each class at random, a fifth to the test part, and write both in their old order."""
    digits = load_digits()
    x = digits.images.astype(np.uint8)[..., None]  # (1797, 8, 8, 1), values 0 to 16
    y = digits.target.astype(np.int64)
    assert (x[..., 0] == digits.images).all()

    rng = np.random.default_rng(SEED)
    test = np.zeros(len(y), dtype=bool)
    for label in range(10):
        members = rng.permutation(np.flatnonzero(y == label))
        test[members[: round(TEST_SHARE * len(members))]] = True

    with h5py.File(Path(__file__).with_name("digits.h5"), "w") as file:
        for part, chosen in (("train", ~test), ("test", test)):
            images = file.create_dataset(
                f"{part}_set_x", data=x[chosen], compression="gzip", compression_opts=9
            )
            images.attrs["maximum"] = 16
            file.create_dataset(f"{part}_set_y", data=y[chosen])
        file.create_dataset("list_classes", data=np.arange(10))
        file.attrs["origin"] = "https://doi.org/10.24432/C50P49 by way of scikit-learn"
        file.attrs["license"] = "CC BY 4.0"


if __name__ == "__main__":
    main()
