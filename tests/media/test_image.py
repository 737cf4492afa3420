"""Pictures: orientation, modes, and bad files."""

import io

import numpy as np
import pytest
from media_clips import picture
from PIL import Image

from videollama2.media import (
    CorruptMediaError,
    EmptyMediaError,
    MediaError,
    MediaLimits,
    MediaNotFoundError,
    MediaTooLargeError,
    TruncatedMediaError,
    UnsupportedMediaError,
    probe,
    read_image,
    read_video,
)


def encoded(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_kinds_are_exact(kind, tmp_path):
    rgb = picture(3, 33, 21)
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(rgb).save(path)
    np.testing.assert_array_equal(read_image(path), rgb)
    np.testing.assert_array_equal(read_image(path.read_bytes()), rgb)
    assert (probe(path).kind, probe(path).width, probe(path).height) == ("image", 33, 21)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_kinds_are_close(kind):
    rgb = np.full((16, 24, 3), (200, 40, 90), np.uint8)
    found = read_image(encoded(Image.fromarray(rgb), kind))
    assert found.shape == rgb.shape
    assert np.abs(found.astype(int) - rgb).max() < 8


def test_exif_orientation_is_applied():
    rgb = picture(0, 32, 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise for showing
    found = read_image(encoded(Image.fromarray(rgb), "PNG", exif=exif))
    np.testing.assert_array_equal(found, np.rot90(rgb, -1))


def test_a_camera_s_jpeg_with_more_pictures_inside_is_its_first_one():
    """Multi-picture JPEGs (MPO) hold previews or depth maps: no clip."""
    first, second = (Image.new("RGB", size, (200, 10, 10)) for size in ((48, 32), (24, 16)))
    file = io.BytesIO()
    first.save(file, format="MPO", save_all=True, append_images=[second])
    assert probe(file.getvalue()).kind == "image"
    assert read_image(file.getvalue()).shape == (32, 48, 3)
    assert len(read_video(file.getvalue(), num_frames=4).frames) == 1


def test_alpha_palette_grey_and_16_bits():
    rgba = np.dstack([picture(0, 8, 8), np.full((8, 8), 7, np.uint8)])
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(rgba))), rgba[..., :3])
    grey = picture(0, 8, 8)[..., 0]
    np.testing.assert_array_equal(
        read_image(encoded(Image.fromarray(grey))), np.repeat(grey[..., None], 3, 2)
    )
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 17)
    np.testing.assert_array_equal(read_image(encoded(deep))[..., 0], grey)


def test_arrays_and_pillow_images():
    rgb = picture(0, 8, 4)
    np.testing.assert_array_equal(read_image(rgb), rgb)
    np.testing.assert_array_equal(read_image(Image.fromarray(rgb)), rgb)
    with pytest.raises(UnsupportedMediaError):
        read_image([rgb, rgb])


def test_bad_pictures(tmp_path, clip):
    whole = encoded(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), "uint8"))
    )
    with pytest.raises(TruncatedMediaError):
        read_image(whole[: len(whole) // 2])
    with pytest.raises(CorruptMediaError):
        read_image(b"no picture")
    with pytest.raises(CorruptMediaError):
        read_image(clip)
    with pytest.raises(MediaNotFoundError):
        read_image(tmp_path / "missing.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(EmptyMediaError):
        read_image(tmp_path / "empty.png")
    with pytest.raises(UnsupportedMediaError):
        read_image(tmp_path)
    with pytest.raises(MediaTooLargeError):
        read_image(whole, limits=MediaLimits(max_pixels=100))


def test_damage_is_a_media_error_or_a_picture():
    rng = np.random.default_rng(0)
    rgb = picture(0, 24, 24)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        whole = encoded(Image.fromarray(rgb), kind)
        for _ in range(60):
            data = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            data[rng.integers(len(data))] = rng.integers(256)
            try:
                assert read_image(bytes(data)).shape[2] == 3
            except MediaError:
                continue
