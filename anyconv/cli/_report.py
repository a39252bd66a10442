"""What a run shows while it trains and when it is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from anyconv.datasets import Dataset
from anyconv.nn._arrays import to_numpy

from . import _pictures
from ._run_folder import RunFolder, write
from ._training import Classifier, EpochResult, Trainer

_MOST_CONFUSED = 10
_ANY_WIDTH = 100_000


def train_with_progress(trainer: Trainer, folder: RunFolder, console: Console) -> None:
    """Run the epochs that are left, with a bar for each image, and save after each epoch."""
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    images = len(trainer.data.train_x)
    total = images * trainer.recipe.epochs
    done = images * len(trainer.history)
    with Progress(*columns, console=console, refresh_per_second=5, transient=True) as progress:
        task = progress.add_task("", total=total, completed=done, epoch="", numbers="")
        while not trainer.finished:
            epoch = f"{len(trainer.history) + 1}/{trainer.recipe.epochs}"
            progress.update(task, epoch=epoch)

            def on_batch(count: int, loss: float, accuracy: float) -> None:
                speed = progress.tasks[0].speed or 0.0
                numbers = f"loss {loss:.3f} accuracy {accuracy:.1%} {speed:,.0f} images/s"
                progress.update(task, advance=count, numbers=numbers)

            result = trainer.run_epoch(on_batch)
            folder.save(trainer.state())
            folder.write_metrics(trainer.history)
            console.print(_line(result, trainer.recipe.epochs))


def draw_all(trainer: Trainer, path: Path, console: Console) -> None:
    """Draw the four pictures of a run that has finished an epoch, or warn of those that fail."""
    data, classifier = trainer.data, trainer.classifier
    probabilities = classifier.probabilities(data.test_x)
    _, first = next(classifier.network.leaves())
    pictures: dict[str, Callable[[], bytes]] = {
        "learning_curves": lambda: _pictures.learning_curves(trainer.history),
        "confusion_matrix": lambda: _pictures.confusion_matrix(
            confusion(classifier, data), data.classes
        ),
        "filters": lambda: _pictures.filters(to_numpy(first.parameters["w"])),
        "predictions": lambda: _pictures.predictions(data, probabilities),
    }
    for name, drawn in pictures.items():
        try:
            write(path / f"{name}.png", drawn())
        except Exception as error:  # the run is trained and saved, whatever a picture comes to
            reason = " ".join(str(error).split()) or type(error).__name__
            console.print(f"warning: {name}.png is not drawn: {escape(reason)}", style="yellow")


def confusion(classifier: Classifier, data: Dataset) -> np.ndarray[Any, Any]:
    """Count how often each class of the test part (row) is taken for each (column)."""
    predicted = classifier.probabilities(data.test_x).argmax(axis=1)
    matrix = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(matrix, (data.test_y, predicted), 1)
    return matrix


def print_confusion(
    console: Console, matrix: np.ndarray[Any, Any], classes: tuple[str, ...]
) -> None:
    """Print a confusion matrix with the accuracy of each class; its largest counts if too wide."""
    if 4 * len(classes) <= console.width:  # a digit and the rest of its column
        table = Table("true \\ predicted", *(escape(name) for name in classes), "right")
        for name, row, own in zip(classes, matrix, np.diag(matrix), strict=True):
            counts = [str(count) if count else "." for count in row]
            table.add_row(escape(name), *counts, f"{own / max(1, row.sum()):.1%}")
        unlimited = console.options.update(width=_ANY_WIDTH)
        if console.measure(table, options=unlimited).maximum <= console.width:
            console.print(table)
            return
    wrong = matrix - np.diag(np.diag(matrix))
    worst = (-wrong).argsort(axis=None, kind="stable")[:_MOST_CONFUSED]
    confused = "confused most often:" if wrong.any() else "none is confused."
    console.print(f"A table of {len(classes)} classes is too wide here; {confused}")
    for row, column in zip(*np.unravel_index(worst, wrong.shape), strict=True):
        if wrong[row, column]:
            console.print(
                f"  {escape(classes[row])} taken for {escape(classes[column])}: "
                f"{wrong[row, column]} of {matrix[row].sum()}"
            )


def _line(result: EpochResult, epochs: int) -> str:
    return (
        f"epoch {result.epoch:>{len(str(epochs))}}/{epochs}  "
        f"train loss {result.train_loss:.3f} {result.train_accuracy:7.2%}  "
        f"test loss {result.test_loss:.3f} {result.test_accuracy:7.2%}  "
        f"{result.images_per_second:,.0f} images/s"
    )
