"""What happens to odd and broken images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torchvision.transforms.functional as reference
from data_pictures import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from headstart.data import Preprocessing, open_dataset, resize_for
from headstart.data.reading import read_resized, read_rgb, resized_image, resized_shape, to_rgb
from headstart.errors import HeadstartError


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(int(v) for v in np.asarray(image)[y, x])


def test_sixteen_bit_grey_is_scaled_by_its_full_range(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(values).save(tmp_path / name)
        grey = np.asarray(read_rgb(tmp_path / name))[0, :, 0]
        assert grey.tolist() == [0, 1, 128, 255], name


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating-point"):
        read_rgb(tmp_path / "a.tif")


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    rgba.putpixel((1, 0), (10, 20, 30, 255))
    assert pixel(to_rgb(rgba)) == (255, 255, 255)
    assert pixel(to_rgb(rgba), 1) == (10, 20, 30)
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "a.png", transparency=0)
    read = read_rgb(tmp_path / "a.png")
    assert pixel(read) == (255, 255, 255)
    assert pixel(read, 1) == (0, 200, 0)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red, green, blue = pixel(read_rgb(tmp_path / "a.jpg"))
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    image = picture(1, 40, 24)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        picture(seed, 40, 24).save(tmp_path / folder / "x.png")
    image.save(tmp_path / "b" / "turned.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "b" / "turned.png"))
    dataset = open_dataset(tmp_path)
    position = dataset.ids.index("b/turned.png")
    read = dataset.source.read(position)
    np.testing.assert_array_equal(np.asarray(read), np.asarray(upright))
    assert tuple(dataset.sizes[position]) == (read.height, read.width)


def test_an_animation_gives_its_first_frame_and_a_warning(two_classes: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(two_classes / "cat" / "moves.gif", save_all=True, append_images=frames[1:])
    dataset = open_dataset(two_classes)
    assert any("animated" in w and "cat/moves.gif" in w for w in dataset.warnings)
    assert pixel(dataset.source.read(dataset.ids.index("cat/moves.gif"))) == (255, 0, 0)


def broken_files() -> dict[str, bytes]:
    jpeg, png = io.BytesIO(), io.BytesIO()
    picture(7, 300, 200).save(jpeg, "JPEG", quality=90)
    picture(7, 300, 200).save(png, "PNG")
    return {
        "zero.jpg": b"",
        "text.png": b"this is no image",
        "cut.jpg": jpeg.getvalue()[: len(jpeg.getvalue()) * 2 // 3],
        "cut.png": png.getvalue()[: len(png.getvalue()) * 2 // 3],
        "header.jpg": jpeg.getvalue()[:40],
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_file_is_named_and_left_out(two_classes: Path, name: str) -> None:
    (two_classes / "dog" / name).write_bytes(broken_files()[name])
    dataset = open_dataset(two_classes)
    assert len(dataset) == 40
    assert f"dog/{name}" not in dataset.ids
    assert any(f"dog/{name}" in w and "1 of 41" in w for w in dataset.warnings)


def test_a_decompression_bomb_is_broken(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (300, 300)).save(two_classes / "dog" / "bomb.png")
    # 300 x 300 is over this limit but under twice of it, where Pillow alone would only warn.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    dataset = open_dataset(two_classes)
    assert "dog/bomb.png" not in dataset.ids
    assert any("dog/bomb.png (300 x 300 pixels" in w for w in dataset.warnings)


def test_more_than_five_percent_broken_is_refused(two_classes: Path) -> None:
    for i in range(3):
        (two_classes / "dog" / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(HeadstartError, match=r"3 of 43 .*dog/bad0\.png"):
        open_dataset(two_classes)


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([8, 15, 32]),
    st.sampled_from(["bilinear", "bicubic", "nearest", "lanczos"]),
)
def test_resize_is_torchvisions(width: int, height: int, size: int, interpolation: str) -> None:
    preprocessing = Preprocessing(size, interpolation=interpolation)  # type: ignore[arg-type]
    image = picture(3, width, height)
    resized = resize_for(image, preprocessing)
    assert resized.shape[:2] == resized_shape(height, width, preprocessing)
    assert min(resized.shape[:2]) == preprocessing.resize
    assert max(resized.shape[:2]) <= 4 * preprocessing.resize
    if max(width, height) <= 4 * min(width, height):
        mode = reference.InterpolationMode(interpolation)
        expected = reference.resize(image, [preprocessing.resize], mode)
        np.testing.assert_array_equal(resized, np.asarray(expected))


def saved(image: Image.Image, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_big_jpeg_is_decoded_smaller_and_looks_the_same(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Sides that eight does not divide: the reduced image's last pixel is only a part of one.
    file = saved(picture(4, 603, 437).convert(mode), exif=exif)
    preprocessing = Preprocessing(24)
    whole = resize_for(read_rgb(file), preprocessing)
    file.seek(0)
    reduced = read_resized(file, preprocessing)
    assert reduced.shape == whole.shape
    difference = np.abs(reduced.astype(float) - whole)
    assert 0 < difference.mean() < 0.5  # of 255
    assert difference.max() <= 6


@pytest.mark.parametrize(("size", "same"), [(24, False), (218 * 7 // 8, True)])
def test_only_a_jpeg_twice_as_large_as_needed_is_decoded_smaller(size: int, same: bool) -> None:
    image = picture(4, 600, 436)
    preprocessing = Preprocessing(size + same)
    for kind in ("JPEG", "PNG"):
        file = io.BytesIO()
        image.save(file, kind)
        whole = resize_for(read_rgb(file), preprocessing)
        file.seek(0)
        equal = np.array_equal(read_resized(file, preprocessing), whole)
        assert equal == (same or kind == "PNG")


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([8, 15, 32]))
def test_reading_smaller_keeps_the_shape(width: int, height: int, size: int) -> None:
    preprocessing = Preprocessing(size)
    read = read_resized(saved(picture(3, width, height)), preprocessing)
    assert read.shape[:2] == resized_shape(height, width, preprocessing)


def test_every_source_is_read_and_those_with_files_quickly(tmp_path: Path) -> None:
    image, path = picture(4, 600, 436), tmp_path / "a.jpg"
    path.write_bytes(saved(image).getvalue())
    preprocessing = Preprocessing(24)

    class Plain:
        def read(self, index: int) -> Image.Image:
            return read_rgb(path)

    class WithFiles(Plain):
        def file(self, index: int) -> Path:
            return path

    whole = resize_for(read_rgb(path), preprocessing)
    np.testing.assert_array_equal(resized_image(Plain(), 0, preprocessing), whole)
    quick = resized_image(WithFiles(), 0, preprocessing)
    np.testing.assert_array_equal(quick, read_resized(path, preprocessing))
    assert not np.array_equal(quick, whole)
