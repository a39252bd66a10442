"""A run learns, leaves its files, and goes on to the same bits however it was stopped."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from anyconv.cli import main
from anyconv.datasets import load

for extra in ("matplotlib", "rich", "typer"):  # with h5py and pillow: the extra `train`
    pytest.importorskip(extra)
h5py = pytest.importorskip("h5py")
Image = pytest.importorskip("PIL.Image")
_backends = pytest.importorskip("anyconv.cli._backends")
_pictures = pytest.importorskip("anyconv.cli._pictures")
_run_folder = pytest.importorskip("anyconv.cli._run_folder")
_training = pytest.importorskip("anyconv.cli._training")

ROOT = Path(__file__).parents[2]
PICTURES = ("learning_curves.png", "confusion_matrix.png", "filters.png", "predictions.png")


def contents(folder):
    """Everything in a checkpoint but how long it took."""
    found = {}
    with h5py.File(folder / "checkpoint.h5") as file:
        found["steps"] = int(file.attrs["steps"])
        file.visititems(
            lambda name, node: (
                found.update({name: node[...]}) if isinstance(node, h5py.Dataset) else None
            )
        )
    history = [_training.EpochResult(*row) for row in json.loads(found["history"].tobytes())]
    found["history"] = [row._replace(seconds=0, images_per_second=0) for row in history]
    return found


def assert_same_bits(folder, other):
    mine, theirs = contents(folder), contents(other)
    assert mine.keys() == theirs.keys()
    assert mine["history"] == theirs["history"]
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], name)


def command(*arguments):
    """Start the command in a process of its own, which Ctrl-C stops.

    A shell's background jobs ignore it, and so would what such a job's tests start.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "anyconv.cli", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_epoch(process, folder, epoch):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        path = folder / "metrics.csv"
        if path.exists() and len(path.read_text().splitlines()) > epoch:
            return
        time.sleep(0.01)
    process.kill()
    raise AssertionError(process.communicate())


def test_a_run_learns_and_leaves_its_files(trained, bars):
    configuration = json.loads((trained / "config.json").read_text())
    assert configuration["data"] == str(bars)
    assert configuration["model"] == "small"
    assert configuration["backend"] == "numpy"
    assert configuration["classes"] == ["top", "upper", "lower", "bottom"]
    assert configuration["recipe"]["epochs"] == 6
    assert "numpy" in configuration["versions"]
    with (trained / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["test_accuracy"]) == 1.0
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    for name in PICTURES:
        with Image.open(trained / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert {path.name for path in trained.iterdir()} == {
        *("config.json", "metrics.csv", "checkpoint.h5"),
        *PICTURES,
    }


def test_the_same_seed_gives_the_same_bits(trained, bars, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    options = ["train", "--data", str(bars), "--backend", "numpy", "--epochs", "6"]
    assert main([*options, "--output", str(again)]) == 0
    assert_same_bits(again, trained)
    assert main([*options, "--seed", "1", "--output", str(other)]) == 0
    assert contents(other)["history"] != contents(trained)["history"]


@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_an_interrupted_run_ends_bit_for_bit_where_a_whole_one_does(
    epoch, trained, bars, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "run"
    step, calls = _training.Trainer._step, []

    def interrupted(self, *batch):
        calls.append(batch)
        if len(calls) == 3 * epoch - 1:  # three batches an epoch: in the middle of this one
            raise KeyboardInterrupt
        return step(self, *batch)

    options = ["--backend", "numpy", "--epochs", "6", "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(_training.Trainer, "_step", interrupted)
        assert main(["train", "--data", str(bars), *options]) == 130
    output = capsys.readouterr().out
    assert f"Stopped after {epoch - 1} of 6 epochs" in output
    assert f"anyconv train --resume {run}" in output
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_bits(run, trained)


def test_a_crash_while_saving_leaves_the_last_checkpoint(
    trained, bars, tmp_path, monkeypatch, capsys
):
    run, replace, calls = tmp_path / "run", os.replace, []

    def crash(source, target):
        calls.append(target)
        if Path(target).name == "checkpoint.h5" and len(calls) > 4:
            raise OSError("the disk is gone")
        replace(source, target)

    options = ["--backend", "numpy", "--epochs", "6", "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(_run_folder.os, "replace", crash)
        assert main(["train", "--data", str(bars), *options]) == 1
    assert capsys.readouterr().err == (
        f"anyconv: {run / 'checkpoint.h5'} can't be written: the disk is gone\n"
    )
    assert not (run / "checkpoint.h5.partial").exists()
    assert len(contents(run)["history"]) == 2
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_bits(run, trained)


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_ctrl_c_while_saving_counts_what_is_saved(
    name, trained, bars, tmp_path, monkeypatch, capsys
):
    run, own, calls = tmp_path / "run", getattr(os, name), []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 4:  # config, checkpoint, metrics, and the checkpoint of the second epoch
            raise KeyboardInterrupt
        own(*arguments)

    options = ["--backend", "numpy", "--epochs", "6", "--output", str(run)]
    with monkeypatch.context() as patch:
        patch.setattr(_run_folder.os, name, interrupted)
        assert main(["train", "--data", str(bars), *options]) == 130
    assert "Stopped after 1 of 6 epochs" in capsys.readouterr().out
    assert sorted(path.name for path in run.iterdir()) == [
        *("checkpoint.h5", "config.json", "metrics.csv")
    ]
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_bits(run, trained)


def test_a_full_disk_is_one_line(bars, tmp_path, monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run, own = tmp_path / "run", _run_folder.write

    def limited(path, content):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            own(path, content)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(_run_folder, "write", limited)
    assert main(["train", "--data", str(bars), "--backend", "numpy", "--output", str(run)]) == 1
    assert capsys.readouterr().err == (
        f"anyconv: {run / 'checkpoint.h5'} can't be written: {os.strerror(errno.EFBIG)}\n"
    )
    assert [path.name for path in run.iterdir()] == ["config.json"]


def test_a_picture_that_cannot_be_drawn_is_a_warning(bars, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise MemoryError("no room\nfor it")

    run = tmp_path / "run"
    monkeypatch.setattr(_pictures, "confusion_matrix", broken)
    options = ["--backend", "numpy", "--epochs", "1", "--output", str(run)]
    assert main(["train", "--data", str(bars), *options]) == 0
    output = capsys.readouterr().out
    assert "warning: confusion_matrix.png is not drawn: no room for it\n" in output
    assert "after 1 epochs" in output
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "metrics.csv", "checkpoint.h5"),
        *("learning_curves.png", "filters.png", "predictions.png"),
    }


def test_one_command_at_a_time_writes_to_a_run(trained, capsys):
    pytest.importorskip("fcntl")
    before = (trained / "checkpoint.h5").read_bytes()
    with _run_folder.RunFolder(trained).locked():
        assert main(["train", "--resume", str(trained)]) == 1
    assert capsys.readouterr().err == (
        f"anyconv: {trained} is in use by another anyconv train: wait until it has ended\n"
    )
    assert (trained / "checkpoint.h5").read_bytes() == before
    assert main(["train", "--resume", str(trained)]) == 0


def test_a_finished_run_is_only_drawn_again(trained, capsys):
    before, metrics = contents(trained), (trained / "metrics.csv").read_bytes()
    for name in ("metrics.csv", *PICTURES):  # as if it had been killed after the last checkpoint
        (trained / name).unlink()
    assert main(["train", "--resume", str(trained)]) == 0
    assert "after 6 epochs" in capsys.readouterr().out
    assert contents(trained)["history"] == before["history"]
    assert (trained / "metrics.csv").read_bytes() == metrics
    assert all((trained / name).exists() for name in PICTURES)


@pytest.mark.slow
def test_a_killed_run_loses_at_most_the_epoch_under_way(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ["--data", "digits", "--backend", "numpy", "--epochs", "4", "--output"]
    process = command("train", *options, killed)
    wait_for_epoch(process, killed, 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(contents(killed)["history"]) in (2, 3)
    resumed, uninterrupted = command("train", "--resume", killed), command("train", *options, whole)
    for process in (resumed, uninterrupted):
        _, errors = process.communicate(timeout=300)
        assert (process.returncode, errors) == (0, "")
    assert_same_bits(killed, whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path):
    run = tmp_path / "a run"
    process = command("train", "--backend", "numpy", "--epochs", "500", "--output", run)
    wait_for_epoch(process, run, 1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == ""
    assert f"anyconv train --resume '{run}'" in output


@pytest.mark.parametrize(
    ("backend", "device"), [("torch", "cpu"), ("jax", "cpu"), ("cupy", "cuda"), ("torch", "cuda")]
)
def test_other_backends_train_to_the_same_losses(backend, device, bars, tmp_path):
    try:
        _backends.choose(backend, device)
    except _backends.CommandError as error:
        pytest.skip(str(error))
    for name, place in (("numpy", "cpu"), (backend, device)):
        options = ["--backend", name, "--device", place, "--epochs", "2"]
        output = ["--output", str(tmp_path / name)]
        assert main(["train", "--data", str(bars), *options, *output]) == 0
    mine, numpys = (contents(tmp_path / name)["history"] for name in (backend, "numpy"))
    for epoch, rtol in ((0, 1e-3), (1, 1e-2)):
        np.testing.assert_allclose(mine[epoch].train_loss, numpys[epoch].train_loss, rtol=rtol)


def test_a_run_may_go_on_elsewhere(trained, bars, tmp_path):
    pytest.importorskip("torch")
    run, step, calls = tmp_path / "run", _training.Trainer._step, []

    def interrupted(self, *batch):
        calls.append(batch)
        if len(calls) > 10:
            raise KeyboardInterrupt
        return step(self, *batch)

    options = ["--backend", "numpy", "--epochs", "6", "--output", str(run)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_training.Trainer, "_step", interrupted)
        assert main(["train", "--data", str(bars), *options]) == 130
    assert main(["train", "--resume", str(run), "--backend", "torch", "--device", "cpu"]) == 0
    mine, numpys = contents(run)["history"], contents(trained)["history"]
    assert mine[:3] == numpys[:3]
    np.testing.assert_allclose(mine[3].train_loss, numpys[3].train_loss, rtol=1e-2)


def test_images_are_normalised_by_the_training_part():
    digits = load("digits")
    normalisation = _training.Normalisation.of(digits)
    scaled = normalisation.scaled(digits.train_x)
    assert (scaled.min(), scaled.max(), scaled.dtype) == (0, 1, np.float32)
    normalised = normalisation.normalised(scaled)
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised.mean(dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(normalised.std(dtype=np.float64), 1, rtol=1e-6)


def test_held_out_images_replace_the_test_images(bars, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--backend", "numpy", "--epochs", "1", "--hold-out", "0.25", "--output", str(run)]
    assert main(["train", "--data", str(bars), *options]) == 0
    assert "72 images to train on, 24 to test" in capsys.readouterr().out
    assert main(["train", "--resume", str(run)]) == 0


def test_runs_without_output_get_numbers(bars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("bars-small", "bars-small-2"):
        assert main(["train", "--data", str(bars), "--backend", "numpy", "--epochs", "1"]) == 0
        assert (tmp_path / "runs" / expected / "checkpoint.h5").exists()


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: _run_folder.RunFolder.numbered(tmp_path / "r"), range(40)))
    assert len({folder.path for folder in made}) == 40
