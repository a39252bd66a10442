"""Data sets are read as they are, and what is not one is named for what it is."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from anyconv.datasets import DatasetError, load, load_digits, load_file, load_signs

h5py = pytest.importorskip("h5py")

ROOT = Path(__file__).parents[2]
SIGNS = ROOT.parent / "shared" / "signs"


def arrays(part, m=12, shape=(8, 8, 3), classes=6):
    rng = np.random.default_rng(len(part))
    return {
        f"{part}_set_x": rng.integers(0, 256, (m, *shape), dtype=np.uint8),
        f"{part}_set_y": np.arange(m) % classes,
        "list_classes": np.arange(classes),
    }


def write(path, contents):
    with h5py.File(path, "w") as file:
        for key, value in contents.items():
            if value is not None:
                file[key] = value
    return path


def both(**changes):
    return {**arrays("train"), **arrays("test", m=6), **changes}


def signs_folder(path, *, train="train_signs.h5", **options):
    write(path / train, arrays("train", shape=(64, 64, 3), **options))
    write(path / "test_signs.h5", arrays("test", m=6, shape=(64, 64, 3), **options))
    return path


def refusal(call, *arguments):
    with pytest.raises(DatasetError) as caught:
        call(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---- What is read


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    theirs = datasets.load_digits()
    ours = load_digits()
    assert ours.maximum == 16
    assert ours.classes == tuple("0123456789")
    (source,) = ours.sources
    assert source.genuine
    assert source.note == (
        "digits.h5 is the UCI handwritten digits (CC BY 4.0, doi 10.24432/C50P49)"
    )
    assert ours.train_x.dtype == np.uint8 and ours.train_y.dtype == np.int64

    def rows(x, y):
        return sorted(
            (*image.ravel().astype(int), label) for image, label in zip(x, y, strict=True)
        )

    x = np.concatenate([ours.train_x, ours.test_x])
    y = np.concatenate([ours.train_y, ours.test_y])
    assert rows(x, y) == rows(theirs.images, theirs.target)


def test_digits_have_a_fifth_of_each_class_to_test():
    digits = load_digits()
    total = np.bincount(np.concatenate([digits.train_y, digits.test_y]))
    np.testing.assert_array_equal(np.bincount(digits.test_y), np.round(total * 0.2))


def test_the_script_writes_the_digits_that_are_shipped(tmp_path):
    pytest.importorskip("sklearn")
    script = tmp_path / "make_digits.py"
    script.write_text((ROOT / "data" / "make_digits.py").read_text())
    subprocess.run([sys.executable, "-W", "ignore", str(script)], check=True)
    with h5py.File(tmp_path / "digits.h5") as new, h5py.File(ROOT / "data" / "digits.h5") as old:
        assert sorted(new) == sorted(old)
        for key in new:
            np.testing.assert_array_equal(new[key][...], old[key][...])
            assert dict(new[key].attrs) == dict(old[key].attrs)


def test_one_file_of_both_parts(tmp_path):
    contents = both()
    data = load(str(write(tmp_path / "mine.h5", contents)))
    assert (data.name, data.maximum, data.mirrored) == ("mine", 255, False)
    assert data.image_shape == (8, 8, 3)
    for key, value in contents.items():
        if key != "list_classes":
            np.testing.assert_array_equal(getattr(data, key.replace("_set", "")), value)


def test_labels_may_be_a_row(tmp_path):
    contents = both()
    for key in ("train_set_y", "test_set_y"):
        contents[key] = contents[key][None].astype(np.uint8)
    data = load_file(write(tmp_path / "a.h5", contents))
    np.testing.assert_array_equal(data.train_y, np.arange(12) % 6)
    assert data.train_y.dtype == np.int64


@pytest.mark.parametrize(
    "names",
    [np.array([b"cat", b"dog"]), ["cat", "dog"]],
    ids=["fixed-length bytes", "text of any length"],
)
def test_classes_may_be_text(names, tmp_path):
    contents = both(list_classes=names)
    contents["train_set_y"], contents["test_set_y"] = np.arange(12) % 2, np.arange(6) % 2
    assert load_file(write(tmp_path / "a.h5", contents)).classes == ("cat", "dog")


def test_a_folder_of_any_two_files_of_the_layout(tmp_path):
    write(tmp_path / "train_cats.h5", arrays("train"))
    write(tmp_path / "test_cats.h5", arrays("test"))
    assert load(tmp_path).image_shape == (8, 8, 3)
    write(tmp_path / "train_dogs.h5", arrays("train"))
    assert refusal(load, tmp_path).endswith(
        "must hold one train_*.h5 and one test_*.h5, got 2 and 1"
    )


def test_held_out_images_come_from_the_training_part():
    digits = load_digits()
    chosen = digits.held_out(0.25, seed=3)
    assert len(chosen.train_x) + len(chosen.test_x) == len(digits.train_x)
    np.testing.assert_allclose(
        np.bincount(chosen.test_y), np.bincount(digits.train_y) / 4, atol=0.5
    )
    joined = np.concatenate([chosen.train_x, chosen.test_x]).reshape(len(digits.train_x), -1)
    expected = digits.train_x.reshape(len(digits.train_x), -1)
    np.testing.assert_array_equal(np.sort(joined, axis=0), np.sort(expected, axis=0))
    assert chosen.digest() == digits.held_out(0.25, seed=3).digest()
    assert chosen.digest() != digits.held_out(0.25, seed=4).digest()
    with pytest.raises(ValueError, match=r"`share` must be more than 0 and less than 1, got 1\.0"):
        digits.held_out(1.0)
    with pytest.raises(ValueError, match=r"in both parts, 0\.001 holds out 0 of the 1438"):
        digits.held_out(0.001)


# ---- SIGNS


@pytest.mark.skipif(not SIGNS.is_dir(), reason="../shared/signs is not there")
def test_signs_are_read_and_the_genuine_file_is_known():
    signs = load(SIGNS)
    assert signs.train_x.shape == (1080, 64, 64, 3)
    assert signs.test_x.shape == (120, 64, 64, 3)
    np.testing.assert_array_equal(np.bincount(signs.train_y), [180] * 6)
    np.testing.assert_array_equal(np.bincount(signs.test_y), [20] * 6)
    assert signs.mirrored
    train, test = signs.sources
    assert (train.genuine, test.genuine) == (False, True)
    assert train.note == (
        "train_signs_from_jpg.h5 is not the course's own file but rebuilt from JPEG photographs"
    )
    assert test.note == "test_signs.h5 is the course's own file"


def test_signs_of_another_origin_are_told(tmp_path):
    train, test = load_signs(signs_folder(tmp_path)).sources
    assert (train.genuine, test.genuine) == (False, False)
    size = (tmp_path / "train_signs.h5").stat().st_size
    assert train.note == (
        f"train_signs.h5 is not the course's own file: {size:,} bytes with sha256 "
        f"{train.sha256[:12]}..., the genuine one has 13,281,872 with 47480709d99f..."
    )


def test_the_genuine_name_is_preferred(tmp_path):
    signs_folder(tmp_path, train="train_signs_from_jpg.h5")
    assert load_signs(tmp_path).sources[0].name == "train_signs_from_jpg.h5"
    signs_folder(tmp_path)
    assert load_signs(tmp_path).sources[0].name == "train_signs.h5"


def test_signs_of_another_shape_are_refused(tmp_path):
    write(tmp_path / "train_signs.h5", arrays("train"))
    write(tmp_path / "test_signs.h5", arrays("test"))
    assert refusal(load, tmp_path).endswith(
        "SIGNS must have images of shape (64, 64, 3) in 6 classes, got (8, 8, 3) in 6"
    )
    signs_folder(tmp_path, classes=5)
    assert refusal(load, tmp_path).endswith("in 6 classes, got (64, 64, 3) in 5")


def test_a_missing_half_of_signs_is_told(tmp_path):
    signs_folder(tmp_path)
    (tmp_path / "test_signs.h5").unlink()
    assert refusal(load, tmp_path).endswith("test_signs.h5: there is no such file")
    signs_folder(tmp_path)
    (tmp_path / "train_signs.h5").unlink()
    assert refusal(load, tmp_path).endswith("train_signs.h5: there is no such file")
    assert "must be a folder with train_signs.h5" in refusal(load_signs, tmp_path / "none")


# ---- What people have instead


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4748\nsize 13281872\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\n\n<!DOCTYPE html>\n<html><head>", "is an HTML page saved under this name"),
        (b"\xef\xbb\xbf<html lang='en'>", "is an HTML page saved under this name"),
        (b"<?xml version='1.0'?>\n<html>", "is an HTML page saved under this name"),
        (LFS, "is a Git LFS pointer, not the data it points to: run `git lfs pull`"),
        (b"", "is empty, download it again"),
        (b"PK\x03\x04....", "is not an HDF5 file but a zip archive: unpack it first"),
        (b"\x1f\x8b\x08", "is not an HDF5 file but a gzip archive: unpack it first"),
        (b"\x93NUMPY\x01\x00", "is not an HDF5 file but a NumPy file, not HDF5"),
        (b"\x80\x04\x95.", "a pickle, which is never opened here"),
        (b"\x89HDF\r\n", "is a damaged HDF5 file, download it again"),
        (b"hello", "is not an HDF5 file"),
    ],
)
def test_other_files_are_named(content, text, tmp_path):
    path = tmp_path / "train_signs.h5"
    path.write_bytes(content)
    message = refusal(load_file, path)
    assert message.startswith(f"{path}: ") and text in message


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_told_with_their_sizes(share, tmp_path):
    path = write(tmp_path / "a.h5", both())
    whole = path.read_bytes()
    kept = int(share * len(whole))
    path.write_bytes(whole[:kept])
    assert refusal(load_file, path) == (
        f"{path}: is truncated, {kept} of {len(whole)} bytes are there; download it again"
    )


def test_flipped_bytes_never_come_through_as_another_error(tmp_path):
    path = write(tmp_path / "a.h5", both())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(8, 2500, 60):  # where the structure of the file is
        changed = bytearray(whole)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        with suppress(DatasetError):  # any other error comes through; pixels may pass unnoticed
            load_file(path)


def test_a_pickle_inside_is_not_opened(tmp_path):
    path = tmp_path / "a.h5"
    write(path, both(list_classes=None))
    with h5py.File(path, "a") as file:
        kind = h5py.special_dtype(vlen=np.dtype("uint8"))
        file.create_dataset("list_classes", (6,), dtype=kind)
    assert "`list_classes` must hold integers or text, got object" in refusal(load_file, path)


def test_links_out_of_the_file_are_not_followed(tmp_path):
    write(tmp_path / "secret.h5", {"x": arrays("train")["train_set_x"]})
    path = write(tmp_path / "a.h5", both(train_set_x=None))
    with h5py.File(path, "a") as file:
        file["train_set_x"] = h5py.ExternalLink("secret.h5", "/x")
    assert refusal(load_file, path).endswith(
        "`train_set_x` is a link to another file, which is not followed"
    )
    with h5py.File(path, "a") as file:
        del file["train_set_x"]
        shape = (12, 8, 8, 3)
        raw = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("train_set_x", shape, dtype=np.uint8, external=raw)
    assert "keeps its data in other files" in refusal(load_file, path)


@pytest.mark.parametrize("link", ["/out", "out", "/group/x", "/group/../x", "/inner/again"])
def test_links_that_lead_out_of_the_file_in_the_end_are_not_followed(link, tmp_path):
    """HDF5 follows them all; the other file isn't even opened, so it need not be there."""
    write(tmp_path / "secret.h5", {"x": arrays("train")["train_set_x"]})
    path = write(tmp_path / "a.h5", both(train_set_x=None))
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink("secret.h5", "/x")
        file["group"] = h5py.ExternalLink("secret.h5", "/")
        file["inner/again"] = h5py.SoftLink("/out")
        file["train_set_x"] = h5py.SoftLink(link)
    for _ in range(2):
        assert refusal(load_file, path).endswith(
            "`train_set_x` is a link to another file, which is not followed"
        )
        (tmp_path / "secret.h5").unlink(missing_ok=True)


def test_links_within_the_file_are_followed(tmp_path):
    contents = both()
    path = write(tmp_path / "a.h5", contents)
    with h5py.File(path, "a") as file:
        file["kept/x"] = file["train_set_x"]
        del file["train_set_x"]
        file["kept/first"] = h5py.SoftLink("x")
        file["kept/second"] = h5py.SoftLink("./first")
        file["train_set_x"] = h5py.SoftLink("/kept//second")
    np.testing.assert_array_equal(load_file(path).train_x, contents["train_set_x"])


@pytest.mark.parametrize("link", ["/none", "/train_set_x", "/list_classes/x"])
def test_links_that_lead_nowhere_are_told(link, tmp_path):
    path = write(tmp_path / "a.h5", both(train_set_x=None))
    with h5py.File(path, "a") as file:
        file["train_set_x"] = h5py.SoftLink(link)
    assert refusal(load_file, path).endswith("`train_set_x` is a link that leads nowhere")


@pytest.mark.skipif(os.name == "nt", reason="Windows locks files in another way")
def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path):
    path = write(tmp_path / "a.h5", both())
    code = (
        "import sys; from anyconv.datasets import load\n"
        "try: load(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    with h5py.File(path, "a"):
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == (
        f"{path}: is open for writing in another program, close it there first\n"
    )


def test_a_file_too_large_for_the_memory_is_not_called_damaged(tmp_path):
    path = write(tmp_path / "a.h5", both(train_set_x=None))
    shape = (2**40, 64, 64, 3)  # of which not one chunk is there
    with h5py.File(path, "a") as file:
        file.create_dataset("train_set_x", shape, np.uint8, chunks=(1, 64, 64, 3))
    assert refusal(load_file, path) == (
        f"{path}: `train_set_x` of shape {shape} takes more memory than there is, "
        f"{2**40 * 64 * 64 * 3:,} bytes"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"train_set_y": None},
            "`train_set_y` is missing, the file holds "
            "list_classes, test_set_x, test_set_y, train_set_x",
        ),
        ({"list_classes": None}, "`list_classes` is missing"),
        ({"test_set_x": None}, "`test_set_x` is missing"),
        (
            {"train_set_x": np.zeros((12, 192), np.uint8)},
            "`train_set_x` must have shape (m, height, width, channels), got (12, 192)",
        ),
        (
            {"train_set_x": np.zeros((12, 3, 8, 8), np.uint8)},
            "with 1 to 4 channels, got (12, 3, 8, 8); are the channels first?",
        ),
        (
            {"train_set_x": np.zeros((0, 8, 8, 3), np.uint8)},
            "and hold at least one pixel, got (0, 8, 8, 3)",
        ),
        ({"train_set_x": np.zeros((12, 8, 8, 3))}, "`train_set_x` must be uint8, got float64"),
        (
            {"train_set_y": np.arange(11)},
            "`train_set_y` must have shape (12,) or (1, 12), one label an image, got (11,)",
        ),
        ({"train_set_y": np.zeros(12)}, "`train_set_y` must hold integers, got float64"),
        (
            {"train_set_y": np.arange(12) % 6 + 1},
            "`train_set_y` must hold labels from 0 to 5, one for each of the 6 `list_classes`, "
            "got 1 to 6",
        ),
        ({"test_set_y": np.arange(6) - 1}, "got -1 to 4"),
        ({"list_classes": np.arange(1)}, "`list_classes` must hold two or more names"),
        ({"list_classes": np.zeros(6)}, "`list_classes` must hold integers or text, got float64"),
        (
            {"test_set_x": np.zeros((6, 9, 8, 3), np.uint8)},
            "must have images of the shape of a.h5, (8, 8, 3), got (9, 8, 3)",
        ),
    ],
)
def test_wrong_contents_are_told(changes, text, tmp_path):
    assert text in refusal(load_file, write(tmp_path / "a.h5", both(**changes)))


def test_classes_must_agree_between_two_files(tmp_path):
    write(tmp_path / "train_cats.h5", arrays("train"))
    write(tmp_path / "test_cats.h5", arrays("test", classes=4))
    assert "must have the classes of train_cats.h5" in refusal(load, tmp_path)


def test_pixels_must_not_exceed_the_maximum(tmp_path):
    path = write(tmp_path / "a.h5", both())
    with h5py.File(path, "a") as file:
        file["train_set_x"].attrs["maximum"] = 16
    assert "`train_set_x` must not exceed its `maximum` of 16, got 25" in refusal(load_file, path)


def test_a_group_is_no_data_set(tmp_path):
    path = write(tmp_path / "a.h5", both(train_set_x=None))
    with h5py.File(path, "a") as file:
        file.create_group("train_set_x")
    assert refusal(load_file, path).endswith("`train_set_x` must be a data set, got a group")


def test_paths_that_are_not_there(tmp_path):
    assert refusal(load, tmp_path / "none").endswith(
        "there is no such file or folder (nor data set: digits)"
    )
    assert "got 0 and 0" in refusal(load, tmp_path)
    assert refusal(load, "") == "`what` must be a name or a path, got an empty text"


def test_without_h5py_the_extra_is_named():
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from anyconv.datasets import load_digits\n"
        "try: load_digits()\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == 'reading HDF5 needs h5py, of the extra "train": pip install h5py\n'
