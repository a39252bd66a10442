"""Sampling along an affine map is SciPy's; the random changes stay within what was asked."""

import numpy as np
import pytest

from anyconv.datasets import random_affine, random_light, warp

ndimage = pytest.importorskip("scipy.ndimage")


@pytest.mark.parametrize("shape", [(9, 12, 3), (8, 8, 1), (1, 5, 1)])
def test_warp_is_that_of_scipy(shape):
    rng = np.random.default_rng(0)
    images = rng.random((4, *shape)).astype(np.float32)
    matrices = rng.normal(size=(4, 2, 3)) + np.eye(2, 3)
    ours = warp(images, matrices)
    assert ours.dtype == np.float32
    centre = (np.array(shape[:2]) - 1) / 2
    for image, matrix, mine in zip(images, matrices, ours, strict=True):
        linear, offset = matrix[:, :2], matrix[:, 2]
        for channel in range(shape[2]):
            expected = ndimage.affine_transform(
                image[..., channel].astype(np.float64),
                linear,
                centre + offset - linear @ centre,
                order=1,
                mode="nearest",
            )
            np.testing.assert_allclose(mine[..., channel], expected, atol=1e-4)


def test_a_quarter_turn_and_a_mirror_are_exact():
    image = np.random.default_rng(0).random((1, 6, 6, 2)).astype(np.float32)
    turned = warp(image, np.array([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]]))
    np.testing.assert_allclose(turned[0], np.rot90(image[0], 1), atol=1e-6)
    mirrored = warp(image, np.array([[[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]]))
    np.testing.assert_allclose(mirrored[0], image[0, :, ::-1], atol=1e-6)


def test_mirror_alone_gives_the_image_or_its_mirror():
    image = np.random.default_rng(0).random((1, 5, 6, 1)).astype(np.float32)
    images = np.repeat(image, 200, axis=0)
    changed = random_affine(images, np.random.default_rng(1), mirror=True)
    same = np.isclose(changed, images, atol=1e-5).all(axis=(1, 2, 3))
    other = np.isclose(changed, images[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    assert (same ^ other).all()
    assert 60 < same.sum() < 140


def test_shift_moves_by_at_most_what_was_asked():
    images = np.zeros((50, 21, 21, 1), dtype=np.float32)
    images[:, 10, 10] = 1
    changed = random_affine(images, np.random.default_rng(0), shift=3)
    rows, columns = np.nonzero(changed.sum(axis=(0, 3)))
    assert (rows.min(), rows.max()) == (7, 13)
    assert (columns.min(), columns.max()) == (7, 13)
    np.testing.assert_allclose(changed.sum(axis=(1, 2, 3)), 1, rtol=1e-4)


def test_zoom_and_rotation_keep_the_middle():
    images = np.random.default_rng(0).random((20, 9, 9, 1)).astype(np.float32)
    changed = random_affine(images, np.random.default_rng(0), rotation=90, zoom=1, stretch=1)
    np.testing.assert_allclose(changed[:, 4, 4], images[:, 4, 4], atol=1e-5)
    assert abs(changed - images).max() > 0.1


def test_the_map_is_a_rotation_after_a_stretch():
    """Read the matrix off two ramps, which bilinear sampling keeps exactly."""
    rows, columns = np.mgrid[:33, :33].astype(np.float32) - 16
    ramps = np.repeat(np.stack([rows, columns], axis=-1)[None], 200, axis=0)
    rng = np.random.default_rng(0)
    changed = random_affine(ramps, rng, rotation=40, zoom=0.4, stretch=0.3, shift=2, mirror=True)
    middle = changed[:, 16, 16]
    along_rows, along_columns = changed[:, 17, 16] - middle, changed[:, 16, 17] - middle
    np.testing.assert_allclose((along_rows * along_columns).sum(axis=1), 0, atol=1e-4)
    lengths = [np.log(np.linalg.norm(each, axis=1)) for each in (along_rows, along_columns)]
    for values, largest in (
        ((lengths[0] + lengths[1]) / 2, 0.4),  # zoom
        (lengths[1] - lengths[0], 0.3),  # stretch
        (np.degrees(np.arctan2(along_columns[:, 0], abs(along_columns[:, 1]))), 40),
        (middle[:, 0], 2),
        (middle[:, 1], 2),
    ):
        assert 0.9 * largest < values.max() < 1.001 * largest
        assert 0.9 * largest < -values.min() < 1.001 * largest
    determinants = np.linalg.det(np.stack([along_rows, along_columns], axis=-1))
    assert 60 < (determinants < 0).sum() < 140  # the mirrored ones


def test_light_is_a_factor_a_channel_and_an_offset():
    images = np.random.default_rng(0).random((30, 5, 5, 3)).astype(np.float32)
    rng = np.random.default_rng(1)
    changed = random_light(images, rng, contrast=0.2, colour=0.1, brightness=0.3)
    offsets = []
    for image, new in zip(images, changed, strict=True):
        for channel in range(3):
            factor, offset = np.polyfit(image[..., channel].ravel(), new[..., channel].ravel(), 1)
            assert 0.8 * 0.9 - 1e-4 < factor < 1.2 * 1.1 + 1e-4
            offsets.append(offset)
    assert max(np.abs(offsets)) < 0.3 + 1e-4
    np.testing.assert_allclose(np.ptp(np.reshape(offsets, (-1, 3)), axis=1), 0, atol=1e-4)


def test_the_same_generator_gives_the_same_images():
    images = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
    options = {"rotation": 10, "zoom": 0.1, "stretch": 0.1, "shift": 1, "mirror": True}
    first, second = (random_affine(images, np.random.default_rng(2), **options) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("change", [random_affine, random_light])
def test_what_is_no_batch_of_images_is_refused(change):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"`images` must have shape \(m, height, .* got \(4, 4, 3"):
        change(np.ones((4, 4, 3), np.float32), rng)
    with pytest.raises(TypeError, match="`images` must be a NumPy array, got list"):
        change([[1.0]], rng)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex64"])
def test_stored_pixels_are_refused(dtype):
    """In uint8 the difference of two pixels would wrap."""
    images, rng = np.ones((1, 4, 4, 1), dtype), np.random.default_rng(0)
    calls = (
        lambda: random_affine(images, rng, rotation=10),
        lambda: random_light(images, rng),
        lambda: warp(images, np.eye(2, 3)[None]),
    )
    for call in calls:
        with pytest.raises(TypeError, match=f"must have a real floating dtype, got {dtype}: div"):
            call()


@pytest.mark.parametrize(
    ("name", "value", "largest"),
    [
        ("zoom", 1000, "10"),
        ("stretch", 10.5, "10"),
        ("rotation", -1.0, r"1e\+09"),
        ("shift", np.inf, r"1e\+09"),
        ("rotation", np.nan, r"1e\+09"),
    ],
)
def test_amounts_out_of_range_are_refused(name, value, largest):
    images, rng = np.ones((1, 4, 4, 1), np.float32), np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"`{name}` must be from 0 to {largest}, got {value}"):
        random_affine(images, rng, **{name: value})


def test_light_of_amounts_out_of_range_is_refused():
    images, rng = np.ones((1, 4, 4, 1), np.float32), np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"`contrast` must be from 0 to 1e\+09, got -0\.5"):
        random_light(images, rng, contrast=-0.5)


def test_the_largest_amounts_are_carried_out():
    images, rng = np.ones((3, 4, 4, 1), np.float32), np.random.default_rng(0)
    changed = random_affine(images, rng, rotation=1e9, zoom=10, stretch=10, shift=1e9)
    np.testing.assert_array_equal(changed, images)


def test_maps_that_are_none_are_refused():
    images, identity = np.ones((1, 4, 4, 1), np.float32), np.eye(2, 3)[None]
    with pytest.raises(TypeError, match="`matrices` must be a NumPy array of real numbers, got li"):
        warp(images, identity.tolist())
    with pytest.raises(TypeError, match="of real numbers, got complex128"):
        warp(images, identity * 1j)
    with pytest.raises(ValueError, match=r"must have shape \(1, 2, 3\), got \(2, 3\)"):
        warp(images, identity[0])
    for value, text in ((np.nan, "nan"), (1e39, r"1e\+39")):
        with pytest.raises(ValueError, match=rf"from -1e\+09 to 1e\+09, got {text}"):
            warp(images, identity * value + 0)
