"""The commands and their options."""

import platform
import shlex
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import anyconv
from anyconv.datasets import Dataset, load
from anyconv.nn.models import MODELS

from . import _backends, _recipes
from ._errors import CommandError, told
from ._predict import classifier_of, read_image
from ._report import confusion, draw_all, print_confusion, train_with_progress
from ._run_folder import Configuration, RunFolder
from ._training import Trainer, evaluate

app = typer.Typer(
    name="anyconv",
    help="Convolutional networks on NumPy, CuPy, PyTorch or JAX arrays.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)

Backend = Annotated[
    str, typer.Option(help="auto (CuPy where a GPU works, else NumPy), numpy, cupy, torch or jax.")
]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:0; see anyconv devices.")]


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments or ["--help"], prog_name="anyconv", standalone_mode=False)
    except typer.Abort:  # what it makes of Ctrl-C
        raise KeyboardInterrupt from None
    if not arguments:
        return 2
    return result if isinstance(result, int) else 0


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Option(help="digits (if not given), a folder with the SIGNS files, or an HDF5 file."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(MODELS)}; chosen by the image size if not given."),
    ] = None,
    backend: Backend = "auto",
    device: Device = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times each image is seen; by model if not given.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images in a step; by model too.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="Its peak; by model too.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of everything random; 0 if not given.")
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=0.9,
            help="Leave the test images alone and measure on this share of the training images.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/DATA-MODEL if not given.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder, with its settings.")
    ] = None,
) -> int:
    """Train a network on images, and show what it has learnt."""
    if resume is not None:
        fixed = {
            "--model": model,
            "--epochs": epochs,
            "--batch-size": batch_size,
            "--learning-rate": learning_rate,
            "--seed": seed,
            "--hold-out": hold_out,
            "--output": output,
        }
        if given := [option for option, value in fixed.items() if value is not None]:
            raise CommandError(f"--resume takes all settings from the run, leave out {given[0]}")
        return _resume(RunFolder(resume), data, backend, device)

    data = "digits" if data is None else data
    images = _load(data, hold_out)
    model = model or _recipes.default_model(images)
    if model not in MODELS:
        raise CommandError(f"--model must be one of {', '.join(MODELS)}, got {model}")
    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
    }
    with told(ValueError):
        recipe = replace(
            _recipes.recipe(model, images),
            **{name: value for name, value in changes.items() if value is not None},
        )
    chosen = _backends.choose(backend, device)
    seed = 0 if seed is None else seed
    with told(ValueError):
        trainer = Trainer(images, model, recipe, seed, chosen)
    configuration = Configuration(
        data=data if data == "digits" else str(Path(data).resolve()),
        data_digest=images.digest(),
        held_out=hold_out,
        image_shape=images.image_shape,
        classes=images.classes,
        normalisation=trainer.classifier.normalisation,
        model=model,
        recipe=recipe,
        seed=seed,
        backend=chosen.name,
        device=chosen.label,
        command=shlex.join(["anyconv", *sys.argv[1:]]),
        versions=_versions(chosen.name),
    )
    unnamed = Path("runs") / f"{images.name}-{model}"
    folder = RunFolder.numbered(unnamed) if output is None else RunFolder.made(output)
    with folder.locked():
        folder.start(configuration)
        return _go_on(trainer, folder)


def _resume(folder: RunFolder, data: str | None, backend: str, device: str | None) -> int:
    """Continue a run from its last checkpoint, or from its start where there is none."""
    configuration = folder.configuration()
    data = configuration.data if data is None else data
    images = _load(data, configuration.held_out)
    if images.digest() != configuration.data_digest:
        raise CommandError(f"the images in {data} are not those of the run")
    if backend == "auto":
        backend, device = configuration.backend, device or configuration.device
    chosen = _backends.choose(backend, device)
    with told(ValueError):
        trainer = Trainer(
            images, configuration.model, configuration.recipe, configuration.seed, chosen
        )
    with folder.locked():
        if folder.has_checkpoint:
            with folder.loaded() as state:
                trainer.load_state(state)
        return _go_on(trainer, folder)


def _go_on(trainer: Trainer, folder: RunFolder) -> int:
    """Train to the end, saving after each epoch; then draw the pictures."""
    backend = trainer.classifier.backend
    for source in trainer.data.sources:
        console.print(escape(source.note), style="dim")
    console.print(
        f"{len(trainer.data.train_x):,} images to train on, {len(trainer.data.test_x):,} to test, "
        f"{len(trainer.data.classes)} classes; {backend.name} on {backend.label}; run in "
        f"[bold]{escape(str(folder.path))}[/bold]"
    )
    try:
        train_with_progress(trainer, folder, console)
    except KeyboardInterrupt:
        console.print(  # what is saved counts, not what is computed
            f"Stopped after {folder.epochs_done()} of {trainer.recipe.epochs} epochs. Go on with\n"
            f"  anyconv train --resume {escape(shlex.quote(str(folder.path)))}"
        )
        return 130
    # Again: the run may have been killed after its last checkpoint, but before these.
    folder.write_metrics(trainer.history)
    draw_all(trainer, folder.path, console)
    last = trainer.history[-1]
    console.print(
        f"[bold]test accuracy {last.test_accuracy:.2%}[/bold] after {last.epoch} epochs, "
        f"{sum(row.seconds for row in trainer.history):.0f} s; "
        f"pictures and metrics in {escape(str(folder.path))}"
    )
    return 0


@app.command()
def predict(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="PNG or JPEG files.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each.")] = 3,
    invert: Annotated[
        bool, typer.Option(help="Exchange dark and light: for dark ink on a light page.")
    ] = False,
    backend: Backend = "auto",
    device: Device = None,
) -> int:
    """Classify image files with a trained network."""
    folder = RunFolder(run_folder)
    configuration = folder.configuration()
    classifier = classifier_of(folder, configuration, _backends.choose(backend, device))
    # All are read before any is shown, so that a wrong name is told at once.
    pixels = [read_image(path, configuration, invert=invert) for path in images]
    table = Table("image", "class", "probability", "others")
    for path, picture in zip(images, pixels, strict=True):
        (row,) = classifier.probabilities(picture[None])
        best = row.argsort()[::-1][:top]
        names = [escape(configuration.classes[index]) for index in best]
        others = ", ".join(
            f"{name} {row[index]:.1%}" for name, index in zip(names[1:], best[1:], strict=True)
        )
        table.add_row(escape(str(path)), names[0], f"{row[best[0]]:.1%}", others)
    console.print(table)
    return 0


@app.command(name="evaluate")
def evaluate_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    data: Annotated[
        str | None,
        typer.Option(help="digits, a folder or an HDF5 file; the run's own if not given."),
    ] = None,
    backend: Backend = "auto",
    device: Device = None,
) -> int:
    """Measure a trained network on the test images of a data set."""
    folder = RunFolder(run_folder)
    configuration = folder.configuration()
    if data is None:
        images = _load(configuration.data, configuration.held_out)
    else:
        images = _load(data, None)
    shape, classes = configuration.image_shape, configuration.classes
    if images.image_shape != shape or images.classes != classes:
        raise CommandError(
            f"the network was trained on images of shape {shape} in {len(classes)} classes, the "
            f"data have {images.image_shape} in {len(images.classes)}"
        )
    # The data's own maximum: from 0 to 1, images of any range are comparable.
    normalisation = configuration.normalisation._replace(maximum=images.maximum)
    configuration = replace(configuration, normalisation=normalisation)
    classifier = classifier_of(folder, configuration, _backends.choose(backend, device))
    loss, accuracy = evaluate(classifier, images.test_x, images.test_y)
    for source in images.sources:
        console.print(escape(source.note), style="dim")
    print_confusion(console, confusion(classifier, images), classes)
    console.print(
        f"[bold]test accuracy {accuracy:.2%}[/bold] on {len(images.test_x):,} images, "
        f"cross-entropy {loss:.4f}"
    )
    return 0


@app.command()
def devices() -> int:
    """List the backends found, and whether a small convolution agrees with float64 on each."""
    table = Table("backend", "version", "device", "small convolution", "")
    good = True
    for found in _backends.findings():
        if found.works:
            verdict = f"[green]agrees[/green] ({found.error:.0e})"
        elif found.error is not None:
            verdict = f"[red]differs[/red] ({found.error:.0e})"
            good = False
        else:
            verdict = "-"
        table.add_row(found.name, found.version, found.device, verdict, escape(found.note))
    console.print(table)
    console.print(f"anyconv {anyconv.__version__}; auto takes {_backends.choose('auto').name}")
    if not good:
        raise CommandError("a backend does not agree with the reference")
    return 0


def _load(what: str, held_out: float | None) -> Dataset:
    with told(ValueError):
        data = load(what)
        return data if held_out is None else data.held_out(held_out)


def _versions(backend: str) -> dict[str, Any]:
    found = {"python": platform.python_version(), "anyconv": anyconv.__version__}
    for name in dict.fromkeys(("numpy", backend, "h5py", "array-api-compat")):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # cupy goes by the name of its CUDA version
    return found
