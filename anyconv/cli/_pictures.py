"""The pictures of a run, as PNG: learning curves, confusion matrix, first filters, predictions.

Names of classes are text of the user's, in which ``$`` begins no formula.
"""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anyconv.datasets import Dataset

from ._training import EpochResult

Images = np.ndarray[Any, Any]

_RIGHT, _WRONG = "#1a7f37", "#cf222e"
_SHEET = 48
_MOST_WRONG = 12
_MOST_NUMBERED = 40  # classes of a confusion matrix with names and counts
_LONGEST_LEVEL = 4  # letters of a name that finds room under its column


def learning_curves(history: Sequence[EpochResult]) -> bytes:
    """Draw loss and accuracy by epoch."""
    figure = _figure(9, 3.6)
    epochs = [row.epoch for row in history]
    for column, what in enumerate(("loss", "accuracy")):
        axes = figure.add_subplot(1, 2, column + 1)
        for part, label in (("train", "train, as it learns"), ("test", "test, after the epoch")):
            values = [getattr(row, f"{part}_{what}") for row in history]
            axes.plot(epochs, values, marker="." if len(epochs) < 40 else None, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
        axes.legend()
        if what == "accuracy":
            axes.set_title(f"test accuracy {history[-1].test_accuracy:.2%}")
    return _png(figure)


def confusion_matrix(matrix: Images, classes: Sequence[str]) -> bytes:
    """Draw how often each class (row) was taken for each (column)."""
    numbered = len(classes) <= _MOST_NUMBERED
    size = 1.5 + 0.5 * len(classes) if numbered else 8.0
    figure = _figure(size + 0.4, size)
    axes = figure.add_subplot()
    axes.imshow(np.sqrt(matrix), cmap="Blues")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if numbered:
        turn = 90 if max(map(len, classes)) > _LONGEST_LEVEL else 0
        axes.set_xticks(range(len(classes)), classes, rotation=turn, parse_math=False)
        axes.set_yticks(range(len(classes)), classes, parse_math=False)
        _write_counts(axes, matrix)
    axes.set_title(f"{np.trace(matrix)} of {matrix.sum()} right")
    return _png(figure)


def _write_counts(axes: Any, matrix: Images) -> None:
    """Write each count into its cell."""
    dark = matrix.max() / 3
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if count > dark else _RIGHT if row == column else _WRONG
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)


def filters(weight: Images) -> bytes:
    """Draw the kernels of the first layer (rows, columns, C_in, C_out), in colour if C_in is 3."""
    count = weight.shape[-1]
    columns = min(8, count)
    rows = -(-count // columns)
    figure = _figure(1.1 * columns, 1.1 * rows + 0.4)
    largest = float(abs(weight).max()) or 1.0
    for index in range(count):
        axes = figure.add_subplot(rows, columns, index + 1)
        kernel = weight[..., index]
        if kernel.shape[2] == 3:
            axes.imshow(0.5 + kernel / (2 * largest))
        else:
            axes.imshow(kernel.mean(axis=2), cmap="RdBu", vmin=-largest, vmax=largest)
        axes.set_axis_off()
    figure.suptitle("filters of the first layer")
    return _png(figure)


def predictions(data: Dataset, probabilities: Images) -> bytes:
    """Draw test images with what they were taken for; wrong ones come first and are marked red."""
    labels, classes = data.test_y, data.classes
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    right = np.flatnonzero(predicted == labels)
    chosen = [*wrong[:_MOST_WRONG], *right][:_SHEET]
    columns = 12
    rows = -(-len(chosen) // columns)
    figure = _figure(1.05 * columns, 1.35 * rows + 0.5)
    for place, index in enumerate(chosen):
        axes = figure.add_subplot(rows, columns, place + 1)
        picture = data.test_x[index].astype(np.float64) / data.maximum
        if picture.shape[2] in (3, 4):
            axes.imshow(picture)
        else:
            axes.imshow(picture[..., 0], cmap="gray_r", vmin=0, vmax=1)
        text = f"{classes[predicted[index]]}  {probabilities[index].max():.0%}"
        colour = _RIGHT
        if predicted[index] != labels[index]:
            text, colour = f"{text}\nis {classes[labels[index]]}", _WRONG
        axes.set_title(text, fontsize=8, color=colour, pad=3, parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(colour)
            spine.set_linewidth(2)
    figure.suptitle(
        f"test images: {len(wrong)} of {len(labels)} wrong"
        + (", these first" if 0 < len(wrong) <= _MOST_WRONG else "")
        + (f", {_MOST_WRONG} of them first" if len(wrong) > _MOST_WRONG else "")
    )
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches that no window or global state belongs to."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    """Return a drawn figure; where the font lacks a letter of a name, it has a box."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.savefig(out, format="png")
    return out.getvalue()
