"""predict, evaluate and devices answer; whatever is wrong is told in one line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from anyconv.cli import main
from anyconv.datasets import load

for extra in ("matplotlib", "rich", "typer"):  # with h5py and pillow: the extra `train`
    pytest.importorskip(extra)
h5py = pytest.importorskip("h5py")
Image = pytest.importorskip("PIL.Image")
Console = pytest.importorskip("rich.console").Console
_app = pytest.importorskip("anyconv.cli._app")
_backends = pytest.importorskip("anyconv.cli._backends")

print_confusion = _app.print_confusion

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr(_app.console, "width", 200)


@pytest.fixture
def picture(bars, tmp_path):
    """A large PNG of the first test image, whose class is `top`."""
    path = tmp_path / "bar.png"
    pixels = load(bars).test_x[0, ..., 0]
    Image.fromarray(pixels).resize((80, 80), Image.Resampling.NEAREST).save(path)
    return path


def failure(capsys, *arguments):
    """The exit code and the one line that tells what is wrong."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("anyconv: ")
    assert "Traceback" not in captured.out + captured.err
    return code, captured.err.removeprefix("anyconv: ").rstrip("\n")


# ---- predict


def test_predict_names_the_class(trained, picture, capsys):
    assert main(["predict", str(trained), str(picture)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "bar.png" in line]
    assert line.split("│")[2].strip() == "top"


def test_predict_reads_jpeg_in_colour_and_upside_down(trained, picture, tmp_path, capsys):
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was held upside down
    with Image.open(picture) as image:
        image.convert("RGB").rotate(180).save(path, exif=exif, quality=95)
    assert main(["predict", str(trained), str(path), str(picture), "--top", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [line.split("│")[2].strip() for line in lines] == ["top", "top"]


def test_predict_inverts(trained, picture, tmp_path, capsys):
    path = tmp_path / "ink.png"
    with Image.open(picture) as image:
        Image.fromarray(255 - np.asarray(image)).save(path)
    assert main(["predict", str(trained), str(path), "--invert"]) == 0
    assert "│ top " in capsys.readouterr().out


def test_predict_lays_transparent_pictures_on_white(trained, tmp_path):
    path = tmp_path / "clear.png"
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(path)
    pixels = _app.read_image(path, _app.RunFolder(trained).configuration())
    np.testing.assert_array_equal(pixels, np.full((8, 8, 1), 255))


def test_predict_scales_pictures_of_sixteen_bits(trained, tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16)).save(path)
    pixels = _app.read_image(path, _app.RunFolder(trained).configuration())
    np.testing.assert_array_equal(pixels, np.full((8, 8, 1), 40_000 >> 8))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_predict_lays_a_transparent_grey_on_white(dtype, trained, tmp_path):
    path = tmp_path / "grey.png"
    grey = np.full((16, 16), 40 * (np.iinfo(dtype).max // 255), dtype=dtype)
    grey[:, 8:] = clear = grey[0, 0] // 2
    Image.fromarray(grey).save(path, transparency=int(clear))
    pixels = _app.read_image(path, _app.RunFolder(trained).configuration())
    np.testing.assert_array_equal(pixels[:, [0, 7], 0], [[40, 255]] * 8)


def test_inverting_leaves_opaque_what_is_opaque(trained, tmp_path):
    configuration = replace(_app.RunFolder(trained).configuration(), image_shape=(8, 8, 4))
    path = tmp_path / "ink.png"
    Image.new("RGBA", (8, 8), (10, 20, 30, 200)).save(path)
    pixels = _app.read_image(path, configuration, invert=True)
    np.testing.assert_array_equal(pixels[0, 0], [245, 235, 225, 200])


def test_pixels_come_in_the_range_of_the_training_images(tmp_path):
    assert main(["train", "--backend", "numpy", "--epochs", "1", "--output", f"{tmp_path}/r"]) == 0
    path = tmp_path / "white.png"
    Image.new("L", (100, 100), 255).save(path)
    pixels = _app.read_image(path, _app.RunFolder(tmp_path / "r").configuration())
    np.testing.assert_array_equal(pixels, np.full((8, 8, 1), 16))


# ---- evaluate


def test_evaluate_gives_the_accuracy_of_the_run(trained, bars, capsys):
    assert main(["evaluate", str(trained)]) == 0
    output = capsys.readouterr().out
    assert "test accuracy 100.00% on 24 images" in output
    assert main(["evaluate", str(trained), "--data", str(bars)]) == 0
    assert capsys.readouterr().out == output


def test_evaluate_counts_what_is_wrong(trained, bars, tmp_path, capsys):
    path = tmp_path / "turned.h5"
    shutil.copy(bars, path)
    with h5py.File(path, "a") as file:
        file["test_set_y"][:6] = 1  # labels 0 1 2 3 0 1: five of the six are wrong now
    assert main(["evaluate", str(trained), "--data", str(path)]) == 0
    assert f"test accuracy {20 / 24:.2%} on 24 images" in capsys.readouterr().out


def test_evaluate_divides_by_the_maximum_of_the_data(trained, bars, tmp_path, capsys):
    """The same pictures in fewer grey levels look the same to the network."""
    path = tmp_path / "dim.h5"
    shutil.copy(bars, path)
    with h5py.File(path, "a") as file:
        for part in ("train", "test"):
            pixels = file[f"{part}_set_x"]
            pixels[...] = np.rint(pixels[...] * (16 / 255)).astype(np.uint8)
            pixels.attrs["maximum"] = 16
    accuracies = []
    for options in ([], ["--data", str(path)]):
        assert main(["evaluate", str(trained), *options]) == 0
        accuracies.append(capsys.readouterr().out.splitlines()[-1])
    own, dim = (float(line.rpartition(" ")[2]) for line in accuracies)
    assert "test accuracy 100.00%" in accuracies[1]
    np.testing.assert_allclose(dim, own, rtol=0.1)


@pytest.mark.parametrize(("width", "classes"), [(40, 4), (80, 26), (80, 1000)])
def test_a_confusion_too_wide_for_the_terminal_is_listed(width, classes, capsys):
    matrix = 5 * np.eye(classes, dtype=np.int64)
    matrix[1, 2], matrix[3, 0] = 2, 4
    names = tuple(f"[c]{number}" for number in range(classes))
    print_confusion(Console(width=width, soft_wrap=True), matrix, names)
    assert capsys.readouterr().out.splitlines() == [
        f"A table of {classes} classes is too wide here; confused most often:",
        "  [c]3 taken for [c]0: 4 of 9",
        "  [c]1 taken for [c]2: 2 of 7",
    ]
    print_confusion(Console(width=width, soft_wrap=True), np.diag(np.diag(matrix)), names)
    assert capsys.readouterr().out.endswith("is too wide here; none is confused.\n")


def test_a_confusion_that_fits_is_a_table(capsys):
    matrix = np.full((12, 12), 7)
    matrix[3, 4] = 12_345
    print_confusion(Console(width=90), matrix, tuple(map(str, range(12))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 + 4
    assert "12345" in lines[6] and "…" not in "".join(lines)


def test_confusion_has_the_true_class_in_rows(bars):
    class Always:
        def probabilities(self, images):
            return np.tile([0.1, 0.2, 0.6, 0.1], (len(images), 1))

    matrix = _app.confusion(Always(), load(bars))
    np.testing.assert_array_equal(matrix, np.outer([6] * 4, [0, 0, 1, 0]))


# ---- devices


def test_devices_lists_what_is_there(capsys):
    assert main(["devices"]) == 0
    output = capsys.readouterr().out
    (line,) = [line for line in output.splitlines() if "numpy" in line and "│" in line]
    assert np.__version__ in line and "cpu" in line and "agrees" in line
    assert "auto takes" in output


def test_devices_fails_where_a_backend_computes_wrongly(monkeypatch, capsys):
    monkeypatch.setattr(_backends, "_small_convolution_error", lambda backend: 0.5)
    assert main(["devices"]) == 1
    captured = capsys.readouterr()
    assert "differs (5e-01)" in captured.out
    assert captured.err == "anyconv: a backend does not agree with the reference\n"


def test_a_library_that_is_not_installed_or_broken_is_listed(monkeypatch, capsys):
    def version_of(name):
        if name == "jax":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(_backends, "version", version_of)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["devices"]) == 0
    output = capsys.readouterr().out
    assert "not installed" in output
    assert "torch can't be imported: import of torch halted" in output


def test_the_small_convolution_is_right():
    assert _backends._small_convolution_error(_backends.choose("numpy")) < 1e-6


def test_auto_takes_cupy_where_a_gpu_works_else_numpy(monkeypatch):
    monkeypatch.setattr(_backends, "_gpu_works", lambda: False)
    assert _backends.choose("auto").name == "numpy"
    monkeypatch.setattr(_backends, "_gpu_works", lambda: True)
    assert _backends.choose("auto", "cpu").name == "numpy"
    monkeypatch.setattr(_backends, "_namespace", lambda name: name)
    monkeypatch.setattr(
        _backends, "_devices", lambda name, xp: {"cuda:0": _Device(0), "cuda:1": _Device(1)}
    )
    chosen = _backends.choose("auto")
    assert (chosen.name, chosen.label, _Device.current) == ("cupy", "cuda:0", 0)
    assert _backends.choose("cupy", "cuda:1").label == "cuda:1"
    assert _Device.current == 1
    with pytest.raises(
        _backends.CommandError, match="--device must be one of cupy's: cuda:0, cuda:1; got c"
    ):
        _backends.choose("cupy", "cuda:2")


class _Device:
    current = None

    def __init__(self, number):
        self.id = number

    def use(self):
        type(self).current = self.id


# ---- What goes wrong


def test_wrong_options_are_told(bars, tmp_path, capsys):
    train = ("train", "--data", bars, "--output", tmp_path / "run")
    for arguments, code, text in (
        (("train", "--data", "none"), 1, "none: there is no such file or folder (nor data set"),
        ((*train, "--model", "huge"), 1, "--model must be one of notebook, small, large, got huge"),
        ((*train, "--model", "large"), 1, "`large` needs images of at least 32 x 32 pixels"),
        ((*train, "--backend", "theano"), 1, "--backend must be auto or one of numpy, cupy, torch"),
        (
            (*train, "--backend", "numpy", "--device", "cuda"),
            1,
            "--device must be one of numpy's: cpu; got cuda",
        ),
        ((*train, "--epochs", "0"), 2, "Invalid value for '--epochs'"),
        ((*train, "--epoch", "3"), 2, "No such option"),
        (("train", "--data", ""), 1, "`what` must be a name or a path, got an empty text"),
        ((*train, "--learning-rate", "inf"), 1, "`learning_rate` must be a number from 0, got inf"),
        (
            (*train, "--output", bars / "run"),
            1,
            f"{bars / 'run'} can't be written: Not a directory",
        ),
        (("fly",), 2, "No such command 'fly'"),
        (("predict",), 2, "Missing argument"),
        (("train", "--resume", tmp_path), 1, f"{tmp_path} is not the folder of a run"),
        (
            ("train", "--resume", tmp_path, "--epochs", "3"),
            1,
            "--resume takes all settings from the run, leave out --epochs",
        ),
        (("evaluate", tmp_path), 1, "is not the folder of a run: no config.json"),
    ):
        actual, line = failure(capsys, *arguments)
        assert text in line
        assert actual == code
    assert not (tmp_path / "run").exists()


def test_wrong_data_are_told_and_leave_no_folder(tmp_path, capsys):
    page = tmp_path / "page.h5"
    page.write_bytes(b"<!DOCTYPE html>")
    code, line = failure(capsys, "train", "--data", page, "--output", tmp_path / "run")
    assert code == 1
    assert line.startswith(f"{page}: is an HTML page saved under this name")
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(trained, bars, capsys):
    code, line = failure(capsys, "train", "--data", bars, "--output", trained)
    assert code == 1
    assert line == (
        f"{trained} is there already: choose another --output, or go on with --resume {trained}"
    )


def test_a_run_goes_on_with_its_own_images_only(trained, capsys):
    code, line = failure(capsys, "train", "--resume", trained, "--data", "digits")
    assert (code, line) == (1, "the images in digits are not those of the run")


def test_images_that_are_none_are_told(trained, tmp_path, capsys):
    text = tmp_path / "notes.png"
    text.write_text("hello")
    broken = tmp_path / "broken.png"
    Image.effect_noise((64, 64), 50).save(broken)
    broken.write_bytes(broken.read_bytes()[:900])
    for path, reason in (
        (tmp_path / "none.png", "there is no such file"),
        (text, "is not a PNG or JPEG image"),
        (broken, "can't be read as an image"),
        (tmp_path, "can't be read as an image"),
    ):
        code, line = failure(capsys, "predict", trained, path)
        assert code == 1
        assert line.startswith(f"{path}: {reason}")


def test_data_of_another_kind_are_told(trained, capsys):
    code, line = failure(capsys, "evaluate", trained, "--data", "digits")
    assert code == 1
    assert line == (
        "the network was trained on images of shape (8, 8, 1) in 4 classes, "
        "the data have (8, 8, 1) in 10"
    )


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"{}", "config.json is damaged"),
        ("checkpoint.h5", b"", "checkpoint.h5 is damaged"),
        ("checkpoint.h5", None, "has no checkpoint: not one epoch was finished"),
    ],
)
def test_damaged_runs_are_told(name, content, text, trained, picture, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    code, line = failure(capsys, "predict", run, picture)
    assert code == 1
    assert text in line


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": "huge"}, "`model` must be one of notebook, small, large, got 'huge'"),
        ({"seed": "a"}, "`seed` must be a whole number from 0, got 'a'"),
        ({"seed": -1}, "`seed` must be a whole number from 0, got -1"),
        ({"data": 5}, "`data` must be text, got 5"),
        ({"held_out": 5}, "`held_out` must be null or a share, got 5"),
        ({"image_shape": [8, 8]}, "`image_shape` must be three whole numbers from 1, got (8, 8)"),
        ({"image_shape": [-1, 8, 1]}, "`image_shape` must be three whole numbers from 1"),
        ({"classes": ["a"]}, "`classes` must be two or more names, got ('a',)"),
        ({"normalisation": {}}, "missing 3 required"),
        ({"normalisation": {"maximum": 0, "mean": 0, "deviation": 1}}, "`normalisation` must be a"),
        ({"extra": 1}, "unexpected keyword argument 'extra'"),
        ({"epochs": "x"}, "`epochs` must be a whole number from 1, got 'x'"),
        ({"batch_size": 0}, "`batch_size` must be a whole number from 1, got 0"),
        ({"learning_rate": None}, "`learning_rate` must be a number from 0, got None"),
        ({"weight_decay": -1}, "`weight_decay` must be a number from 0, got -1"),
        ({"augmentation": {"zoom": "a lot"}}, "`zoom` must be a number from 0, got 'a lot'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["predict", "evaluate", "train"])
def test_wrong_configurations_are_told(command, change, text, trained, picture, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    values = json.loads((run / "config.json").read_text())
    for key, value in change.items():
        (values["recipe"] if key in values["recipe"] else values)[key] = value
    (run / "config.json").write_text(json.dumps(values))
    arguments = {"predict": (run, picture), "evaluate": (run,), "train": ("--resume", run)}
    code, line = failure(capsys, command, *arguments[command])
    assert code == 1
    assert line.startswith(f"{run / 'config.json'} is damaged: ") and text in line


def text_of(content):
    return np.frombuffer(content, dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("history", text_of(b"null")),
        ("history", text_of(b"[]")),
        ("history", text_of(b"[[1]]")),
        ("history", text_of(b'[["a", 0, 0, 0, 0, 0, 0, 0]]')),
        ("history", text_of(b"\xff")),
        ("history", h5py.Empty("u1")),
        ("generator", text_of(b"{}")),
        ("generator", text_of(b"3")),
        ("network", np.zeros(3)),
        ("network", None),
        ("network/0.w", h5py.Empty("f4")),
        ("network/0.w", "text"),
        ("network/0.w", np.zeros(3)),
        ("optimizer", np.zeros(3)),
        ("optimizer", None),
        ("optimizer/mean/0.w", np.zeros(3)),
    ],
    ids=str,
)
def test_wrong_checkpoints_are_told(name, content, trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    with h5py.File(run / "checkpoint.h5", "a") as file:
        assert name in file
        del file[name]
        if content is not None:
            file[name] = content
    code, line = failure(capsys, "train", "--resume", run)
    assert code == 1
    assert line.startswith(f"{run / 'checkpoint.h5'} is damaged: ")


def test_damaged_headers_of_pictures_are_told(trained, picture, tmp_path, capsys):
    """A picture whose first chunk says that it is shorter than a header is."""
    path = tmp_path / "short.png"
    whole = picture.read_bytes()
    path.write_bytes(whole[:11] + b"\x05" + whole[12:])
    code, line = failure(capsys, "predict", trained, path)
    assert code == 1
    assert line.startswith(f"{path}: can't be read as an image, ")


def test_an_error_nobody_foresaw_is_one_line_too(monkeypatch, capsys, bars):
    def broken(*_):
        raise ZeroDivisionError("this\ncan't be")

    monkeypatch.setattr(_app, "_load", broken)
    code, line = failure(capsys, "train", "--data", bars)
    assert code == 1
    assert line == ("unexpected ZeroDivisionError: this can't be (ANYCONV_TRACEBACK=1 shows where)")
    monkeypatch.setenv("ANYCONV_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main(["train", "--data", str(bars)])


def test_ctrl_c_outside_training_leaves_no_traceback(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_app, "_load", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err in ("", "anyconv: interrupted\n")  # as typer's version has it


@pytest.mark.parametrize("missing", ["typer", "rich", "h5py", "matplotlib", "PIL"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import anyconv.cli\n"
        "sys.exit(anyconv.cli.main(['devices']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"anyconv: the command needs more packages ({missing} is missing): "
        'install anyconv with its extra "train", as the README says\n'
    )


def test_nothing_asked_for_is_answered_with_the_help(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.err == ""
    for command in ("train", "predict", "evaluate", "devices"):
        assert command in captured.out


def test_help_is_given():
    done = subprocess.run(
        [sys.executable, "-m", "anyconv.cli", "train", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    for option in ("--data", "--model", "--backend", "--device", "--epochs", "--seed", "--output"):
        assert option in done.stdout
