"""From a word, a file or a folder to a data set."""

from pathlib import Path

from ._dataset import Dataset, DatasetError, Source
from ._hdf5 import Part, read_part, sha256

# The files of the course "Convolutional Neural Networks" (deeplearning.ai): bytes and sha256.
_GENUINE = {
    "train_signs.h5": (
        13_281_872,
        "47480709d99f2ea6ae428ecc491fc6f65ff1d05336736dd859d5565e0ad3cf74",
    ),
    "test_signs.h5": (
        1_477_712,
        "539fb746ed9e947eb244cfca73f4d1b03f9bf5524d609eeed2cd76ddb1b179be",
    ),
}
_DIGITS = "39255a90cdcef6db6bbf6739ecaa1ca32c12a94296c60891165630408396a124"
_SIGNS_TRAIN = ("train_signs.h5", "train_signs_from_jpg.h5")
_SIGNS_TEST = "test_signs.h5"
_SIGNS_SHAPE = (64, 64, 3)
_SIGNS_CLASSES = 6


def load(what: str | Path) -> Dataset:
    """Load a data set by name, file or folder.

    Parameters
    ----------
    what : str or path
        ``"digits"``; a folder with the SIGNS files, or with one ``train_*.h5`` and one
        ``test_*.h5`` of the same layout; or one HDF5 file that holds both parts.

    Returns
    -------
    Dataset
        Images and labels.

    Raises
    ------
    DatasetError
        If a file is not what it should be; the message says what it is.

    Examples
    --------
    >>> load("digits").image_shape
    (8, 8, 1)
    """
    if what == "digits":
        return load_digits()
    if not isinstance(what, str | Path):
        raise TypeError(f"`what` must be a name or a path, got {type(what).__name__}")
    if what == "":
        raise DatasetError("`what` must be a name or a path, got an empty text")
    path = Path(what)
    if not path.exists():
        raise DatasetError(f"{what}: there is no such file or folder (nor data set: digits)")
    if not path.is_dir():
        return load_file(path)
    if (path / _SIGNS_TEST).exists() or _signs_train(path).exists():
        return load_signs(path)
    train, test = (sorted(path.glob(f"{part}_*.h5")) for part in ("train", "test"))
    if len(train) != 1 or len(test) != 1:
        raise DatasetError(
            f"{path}: must hold one train_*.h5 and one test_*.h5, got {len(train)} and {len(test)}"
        )
    return _joined(path.name, train[0], test[0])


def load_digits() -> Dataset:
    """Load the 1,797 handwritten digits that come with the package.

    Returns
    -------
    Dataset
        Images of 8 x 8 pixels from 0 to 16 (`maximum` is 16), 10 classes, a fifth of each in the
        test part.

    See Also
    --------
    load_signs

    References
    ----------
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, https://doi.org/10.24432/C50P49, CC BY 4.0.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.train_x.shape, digits.test_x.shape
    ((1438, 8, 8, 1), (359, 8, 8, 1))
    """
    here = Path(__file__).resolve()
    shipped = here.with_name("digits.h5")  # in a wheel
    path = shipped if shipped.exists() else here.parents[2] / "data" / "digits.h5"  # in a checkout
    return _joined("digits", path, path)


def load_signs(folder: str | Path) -> Dataset:
    """Load SIGNS: photographs of hands that show 0 to 5, from the course's two files.

    Parameters
    ----------
    folder : str or path
        Holds ``test_signs.h5`` and ``train_signs.h5`` (or ``train_signs_from_jpg.h5``).

    Returns
    -------
    Dataset
        Images of 64 x 64 pixels in colour, 6 classes. `sources` says whether each file is the
        genuine one, by its sha256.

    Raises
    ------
    DatasetError
        If a file is missing, or not what it should be; the message says what it is.

    See Also
    --------
    load_digits, load_file
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: must be a folder with train_signs.h5 and test_signs.h5")
    signs = _joined("signs", _signs_train(folder), folder / _SIGNS_TEST, mirrored=True)
    if signs.image_shape != _SIGNS_SHAPE or len(signs.classes) != _SIGNS_CLASSES:
        raise DatasetError(
            f"{folder}: SIGNS must have images of shape {_SIGNS_SHAPE} in {_SIGNS_CLASSES} classes,"
            f" got {signs.image_shape} in {len(signs.classes)}"
        )
    return signs


def load_file(path: str | Path) -> Dataset:
    """Load one HDF5 file that holds both parts.

    Parameters
    ----------
    path : str or path
        A file with ``train_set_x`` and ``test_set_x``, uint8 of shape ``(m, height, width,
        channels)``, ``train_set_y`` and ``test_set_y``, integers of shape ``(m,)`` or ``(1, m)``,
        and ``list_classes``. An attribute ``maximum`` of the images is the pixel value of full
        intensity, 255 without.

    Returns
    -------
    Dataset
        Images and labels.

    Raises
    ------
    DatasetError
        If the file is not what it should be; the message says what it is.

    See Also
    --------
    load_signs
    """
    path = Path(path)
    return _joined(path.stem, path, path)


def _joined(name: str, train: Path, test: Path, *, mirrored: bool = False) -> Dataset:
    """Make one data set of a training and a test part that fit each other."""
    first = read_part(train, "train")
    if train != test and not test.exists():
        raise DatasetError(f"{test}: there is no such file")
    second = read_part(test, "test")
    _require_alike(train, first, test, second)
    return Dataset(
        name=name,
        train_x=first.x,
        train_y=first.y,
        test_x=second.x,
        test_y=second.y,
        classes=first.classes,
        maximum=first.maximum,
        mirrored=mirrored,
        sources=tuple(_source(path) for path in dict.fromkeys((train, test))),
    )


def _require_alike(train: Path, first: Part, test: Path, second: Part) -> None:
    facts = (
        ("images of the shape", first.x.shape[1:], second.x.shape[1:]),
        ("the classes", first.classes, second.classes),
        ("the maximum", first.maximum, second.maximum),
    )
    for what, mine, other in facts:
        if mine != other:
            raise DatasetError(f"{test}: must have {what} of {train.name}, {mine}, got {other}")


def _source(path: Path) -> Source:
    """Return what is known of a file."""
    found = sha256(path)
    if path.name in _GENUINE:
        size, expected = _GENUINE[path.name]
        if found == expected:
            return Source(path.name, found, True, f"{path.name} is the course's own file")
        return Source(
            path.name,
            found,
            False,
            f"{path.name} is not the course's own file: {path.stat().st_size:,} bytes with sha256 "
            f"{found[:12]}..., the genuine one has {size:,} with {expected[:12]}...",
        )
    if found == _DIGITS:
        note = f"{path.name} is the UCI handwritten digits (CC BY 4.0, doi 10.24432/C50P49)"
        return Source(path.name, found, True, note)
    if path.name in _SIGNS_TRAIN:
        note = f"{path.name} is not the course's own file but rebuilt from JPEG photographs"
        return Source(path.name, found, False, note)
    return Source(path.name, found, None, f"{path.name} has sha256 {found[:12]}...")


def _signs_train(folder: Path) -> Path:
    """Return the training file of SIGNS under either of its names."""
    genuine, rebuilt = (folder / name for name in _SIGNS_TRAIN)
    return rebuilt if rebuilt.exists() and not genuine.exists() else genuine
