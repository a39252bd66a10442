"""Pictures are drawn whatever the classes are called, and however many there are."""

import io

import numpy as np
import pytest

for extra in ("h5py", "matplotlib", "rich", "typer"):  # with pillow: the extra `train`
    pytest.importorskip(extra)
Image = pytest.importorskip("PIL.Image")
_pictures = pytest.importorskip("anyconv.cli._pictures")


def picture_of(png):
    return Image.open(io.BytesIO(png))


def test_names_are_no_formulas(monkeypatch):
    names, drawn = ("$_$", "US$ and $", "x^2", "\u732b"), []
    monkeypatch.setattr(_pictures, "_png", drawn.append)
    data = _Data(np.zeros((4, 8, 8, 1), np.uint8), np.arange(4), names)
    _pictures.confusion_matrix(np.eye(4, dtype=int), names)
    _pictures.predictions(data, np.eye(4))
    monkeypatch.undo()
    for figure in drawn:
        assert _pictures._png(figure).startswith(b"\x89PNG")
    matrix, images = drawn
    assert tuple(label.get_text() for label in matrix.axes[0].get_xticklabels()) == names
    assert images.axes[0].get_title() == "$_$  100%"


class _Data:
    maximum = 255

    def __init__(self, x, y, classes):
        self.test_x, self.test_y, self.classes = x, y, classes


@pytest.mark.parametrize("classes", [41, 3000])
def test_a_confusion_of_many_classes_has_a_size_that_can_be_drawn(classes):
    matrix = np.eye(classes, dtype=np.int64)
    picture = picture_of(_pictures.confusion_matrix(matrix, [str(c) for c in range(classes)]))
    assert max(picture.size) < 1000
