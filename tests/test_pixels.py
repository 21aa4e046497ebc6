"""From encoded bytes to letterboxed pixels: what is refused, what is kept, and that nothing is stretched."""

import hashlib
import io
import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from recgan.dataset import pixels
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import MAX_PIXELS, MIN_SIDE, decode_image, letterbox, load_pixels, pixel_digest
from recgan.errors import ArtifactError, DataError, ImageRefused
from tests.shops import encoded, huge_png, picture


def refused(data):
    with pytest.raises(ImageRefused) as caught:
        decode_image(data)
    return caught.value.reason


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_reason_to_refuse():
    jpeg = encoded(picture(1, (64, 64)), "JPEG")
    assert refused(b"") == "empty"
    assert refused(b"GIF is not what this is") == "not_an_image"
    assert refused(encoded(picture(1, (MIN_SIDE - 1, 100)))) == "too_small"
    assert refused(huge_png()) == "too_many_pixels"
    assert refused(huge_png(100_000, 100_000)) == "too_many_pixels"
    assert refused(huge_png(1000, MAX_PIXELS // 1000 + 1)) == "too_many_pixels"
    assert refused(jpeg[:-200]) == "corrupt"
    assert refused(encoded(picture(1))[:-30]) == "corrupt"
    assert decode_image(encoded(picture(1, (MIN_SIDE, MIN_SIDE)))).size == (MIN_SIDE, MIN_SIDE)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_come_back_to_the_bit(form):
    image = picture(2)
    options = {"lossless": True} if form == "WEBP" else {}
    np.testing.assert_array_equal(np.asarray(decode_image(encoded(image, form, **options))), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_followed(orientation):
    """Against Pillow's own `ImageOps.exif_transpose`, which tells what each of the eight means."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(3, (20, 12)), "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image)
    np.testing.assert_array_equal(np.asarray(decode_image(data)), np.asarray(expected))


def test_an_orientation_that_is_none_is_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 9
    assert decode_image(encoded(picture(3, (20, 12)), "PNG", exif=exif)).size == (20, 12)


def test_transparency_stands_on_white():
    rgba = np.zeros((10, 10, 4), dtype=np.uint8)
    rgba[..., 0] = 200
    rgba[:5, :, 3] = 255
    rgba[7:, :, 3] = 128
    found = np.asarray(decode_image(encoded(Image.fromarray(rgba))))
    np.testing.assert_array_equal(found[0, 0], [200, 0, 0])
    np.testing.assert_array_equal(found[6, 0], [255, 255, 255])
    np.testing.assert_allclose(found[8, 0], [227, 127, 127], atol=1)  # half of each
    keyed = Image.new("RGB", (10, 10), (1, 2, 3))
    assert decode_image(encoded(keyed, transparency=(1, 2, 3))).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (10, 10), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert decode_image(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_more_than_eight_bits_keep_their_range():
    ramp = np.linspace(0, 65535, 100).reshape(10, 10)
    sixteen = np.asarray(decode_image(encoded(Image.fromarray(ramp.astype(np.uint16)))))
    np.testing.assert_allclose(sixteen[..., 0], ramp / 257, atol=0.51)
    dark = Image.fromarray((ramp / 65535 * 255).astype(np.uint16))  # 16 bits, nearly black: it stays so
    assert np.asarray(decode_image(encoded(dark))).max() == 1
    unit = Image.fromarray((ramp / 65535).astype(np.float32))
    np.testing.assert_allclose(np.asarray(decode_image(encoded(unit, "TIFF")))[..., 0], ramp / 257, atol=0.51)
    for odd in (np.nan, np.inf, -np.inf):
        broken = (ramp / 65535).astype(np.float32)
        broken[0, 0] = odd
        assert refused(encoded(Image.fromarray(broken), "TIFF")) == "corrupt"
    assert decode_image(encoded(Image.new("1", (10, 10), 1))).getpixel((0, 0)) == (255, 255, 255)
    assert decode_image(encoded(Image.new("L", (10, 10), 7))).getpixel((0, 0)) == (7, 7, 7)


def test_only_the_first_frame_is_shown():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        red, _, blue = decode_image(data).getpixel((3, 3))
        assert red > 200 > 50 > blue


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("WEBP", {}),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_damaged_bytes_are_refused_and_never_escape_as_another_error(form, options):
    rng = random.Random(form)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "an image"
    if form in ("JPEG", "PNG", "WEBP"):
        options = {**options, "exif": exif}
    whole = encoded(picture(4, (30, 40)), form, **options)
    reasons = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 2, 5])):
            damaged[rng.randrange(min(len(damaged), rng.choice([60, 400, 10_000])))] = rng.randrange(256)
        try:
            image = decode_image(bytes(damaged[: rng.choice([len(damaged), rng.randrange(1, len(damaged))])]))
            assert image.mode == "RGB"
        except ImageRefused as refusal:
            reasons.add(refusal.reason)
    assert {"corrupt", "not_an_image"} <= reasons


def test_a_damaged_exif_block_does_not_cost_the_image():
    entries = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\x87\x69\0\x04\0\0\0\x01\xff\xff\xff\xf0"  # to nowhere
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + entries + b"\0\0\0\0"
    image = decode_image(encoded(picture(5, (20, 12)), "JPEG", exif=exif))
    assert image.size == (12, 20)


def test_decoding_in_threads_leaves_the_warning_filters_as_they_are():
    before = list(warnings.filters)
    data = [encoded(picture(seed)) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode_image, data))
    assert list(warnings.filters) == before


def test_the_digest_is_of_size_and_pixels_alone():
    image = picture(6, (10, 12))
    expected = hashlib.sha256(b"(10, 12)" + np.asarray(image).tobytes()).hexdigest()
    assert pixel_digest(image) == expected
    same = {pixel_digest(decode_image(encoded(image, form))) for form in ("PNG", "BMP", "TIFF")}
    assert same == {expected}
    blank = Image.new("RGB", (10, 20)), Image.new("RGB", (20, 10))  # the same bytes in another shape
    assert pixel_digest(blank[0]) != pixel_digest(blank[1])
    changed = np.asarray(image).copy()
    changed[0, 0, 0] ^= 1
    assert pixel_digest(Image.fromarray(changed)) != expected


@settings(max_examples=80, deadline=None)
@given(width=st.integers(8, 300), height=st.integers(8, 300), size=st.integers(8, 96), seed=st.integers(0, 99))
@example(
    width=90, height=120, size=42, seed=0
)  # 31.5 pixels wide: the rounding must not depend on the order of factors
def test_letterbox_keeps_the_shape_in_the_middle_of_its_border_colour(width, height, size, seed):
    ground, ink = np.random.default_rng(seed).integers(0, 256, (2, 3))
    image = np.empty((height, width, 3), dtype=np.uint8)
    image[:] = ground
    image[height // 4 : height - height // 4, width // 4 : width - width // 4] = ink
    found = letterbox(Image.fromarray(image), size)
    assert found.shape == (size, size, 3)
    assert found.dtype == np.uint8
    inner_width, inner_height = (max(1, round(side * size / max(width, height))) for side in (width, height))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    outside = np.ones((size, size), dtype=bool)
    outside[top : top + inner_height, left : left + inner_width] = False
    assert (found[outside] == ground).all()
    inner = np.asarray(Image.fromarray(image).resize((inner_width, inner_height), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(found[~outside].reshape(inner.shape), inner)


def test_letterbox_does_not_stretch_a_circle():
    rows, columns = np.mgrid[:192, :96]
    disc = (rows - 95.5) ** 2 + (columns - 47.5) ** 2 < 40**2
    image = np.where(disc[..., None], np.uint8(0), np.uint8(255)).repeat(3, axis=2)
    found = letterbox(Image.fromarray(image), 48)[..., 0] < 128
    tall, wide = np.ptp(np.flatnonzero(found.any(1))) + 1, np.ptp(np.flatnonzero(found.any(0))) + 1
    assert (tall, wide) == (20, 20)  # 80 pixels across, at a quarter of the size
    assert found[23:25, 23:25].all()  # in the middle


def test_letterbox_of_the_right_size_is_the_image_and_fine_detail_is_averaged():
    image = picture(7, (32, 32))
    np.testing.assert_array_equal(letterbox(image, 32), np.asarray(image))
    stripes = np.zeros((256, 256, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    middle = letterbox(Image.fromarray(stripes), 32)[4:-4, 4:-4]
    assert (abs(middle.astype(int) - 127) < 8).all()  # not aliased to black or white


def test_floats_and_bytes_are_each_others_inverse():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    floats = pixels.to_float(every)
    assert floats.shape == (1, 3, 16, 16)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (-1, 1)
    np.testing.assert_array_equal(pixels.to_uint8(floats), every)
    beyond = torch.tensor([-3.0, -1, 0, 1, 3]).reshape(1, 1, 1, 5).repeat(1, 3, 1, 1)
    assert pixels.to_uint8(beyond)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert pixels.to_uint8(torch.zeros(1, 3, 2, 2, requires_grad=True)).shape == (1, 2, 2, 3)


def test_pixels_are_decoded_once_and_shared_by_bundles_of_the_same_images(make_bundle, monkeypatch):
    bundle = make_bundle()
    told = []
    first = load_pixels(bundle, 24, progress=lambda *step: told.append(step))
    assert first.shape == (24, 24, 24, 3)
    assert told[-1][1:3] == (24, 24)
    for row in (0, 7, 23):
        expected = letterbox(decode_image(bundle.image_bytes([row])[0]), 24)
        np.testing.assert_array_equal(first[row], expected)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    monkeypatch.setattr(pixels, "decode_image", None)  # from here on, nothing may be decoded
    np.testing.assert_array_equal(load_pixels(Bundle.open(bundle.path), 24), first)
    with BundleWriter(bundle.path.parent / "again", name="n", licence="l", source="s") as writer:
        writer.link_images(bundle)
        writer.set_items(bundle.items.assign(available=False))
    again = Bundle.open(bundle.path.parent / "again")
    np.testing.assert_array_equal(load_pixels(again, 24), first)
    assert {path.name for path in bundle.cache_folder.iterdir()} == {f"pixels-24-{pixels.TRANSFORM}.npy"}


def test_a_cache_that_was_not_finished_is_not_used(make_bundle):
    bundle = make_bundle()

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pixels(bundle, 16, progress=stop)
    assert list(bundle.cache_folder.iterdir()) == []
    assert load_pixels(bundle, 16).shape == (24, 16, 16, 3)


def test_a_bundle_without_images_has_no_pixels(tmp_path):
    with BundleWriter(tmp_path / "b", name="n", licence="l", source="s") as writer:
        writer.set_items(pd.DataFrame({"item_id": ["1"], "category": ["a"]}))
    with pytest.raises(DataError, match="has no images"):
        load_pixels(Bundle.open(tmp_path / "b"), 16)


def test_images_that_changed_since_the_import_are_not_decoded(make_bundle):
    bundle = make_bundle()
    part = bundle.path / "images-00000.parquet"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"part 'images-00000.parquet' does not match its checksum"):
        load_pixels(Bundle.open(bundle.path), 16)
    assert not bundle.cache_folder.exists()
