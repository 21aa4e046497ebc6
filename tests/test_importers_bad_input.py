"""What goes wrong in a shop's export is refused with a reason, counted, and told; nothing half-done is left."""

import errno
import os
import tracemalloc
import zipfile
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recgan.config import ImportOptions
from recgan.dataset.bundle import Bundle
from recgan.dataset.importers import import_bundle
from recgan.dataset.importers.pictures import MAX_BYTES, open_pictures
from recgan.dataset.pixels import decode_image
from recgan.errors import DataError, ImageRefused, SettingsError, StorageError
from tests.shops import encoded, huge_png, picture, pictures_of, png, refusals, take_in, write_files, write_zip


def catalogue(*ids, category="a"):
    return "item_id,category\n" + "".join(f"{item_id},{category}\n" for item_id in ids)


def shop_of(folder, files, log=None, **ids):
    tables = {"items.csv": catalogue(*(name.split(".")[0] for name in files))}
    if log is not None:
        tables["interactions.csv"] = log
    return write_files(folder, {**tables, **files})


JPEG = encoded(picture(1, (64, 64)), "JPEG")
BAD_IMAGES = {
    "corrupt": JPEG[:40] + bytes(40) + JPEG[80:120],
    "truncated": JPEG[: len(JPEG) // 2],
    "text": b"this is no image",
    "pixel": encoded(Image.new("RGB", (1, 1))),
    "thin": encoded(Image.new("RGB", (200, 7))),
    "huge": huge_png(),
    "enormous": huge_png(60_000, 60_000),
    "empty": b"",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "broken_png": png(1)[:60] + b"\xff" * 8 + png(1)[68:],
}
REASONS = {
    "corrupt": "corrupt",
    "truncated": "corrupt",
    "text": "not_an_image",
    "pixel": "too_small",
    "thin": "too_small",
    "huge": "too_many_pixels",
    "enormous": "too_many_pixels",
    "empty": "empty",
    "svg": "not_an_image",
    "broken_png": "corrupt",
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("packed", [False, True])
def test_a_bad_image_is_refused_for_its_reason_and_its_item_and_interactions_with_it(tmp_path, packed):
    log = "user_id,item_id\n" + "".join(f"u,{name}\n" for name in [*BAD_IMAGES, "good"])
    files = {f"{name}.jpg": data for name, data in {**BAD_IMAGES, "good": JPEG}.items()}
    shop = shop_of(tmp_path / "shop", files, log)
    if packed:
        for name in files:
            (shop / name).unlink()
        write_zip(shop / "images.zip", files)
    bundle, summary = take_in(shop, tmp_path / "out")
    assert bundle.items["item_id"].to_list() == ["good"]
    assert len(bundle.interactions) == 1
    label = "images.zip" if packed else "shop"
    found = {id: (kind, reason, where) for kind, id, reason, where in refusals(bundle) if kind == "item"}
    assert found == {name: ("item", REASONS[name], f"{label}:{name}.jpg") for name in BAD_IMAGES}
    assert summary.quarantined == {
        "unknown_item": len(BAD_IMAGES),
        "corrupt": 3,
        "not_an_image": 2,
        "too_small": 2,
        "too_many_pixels": 2,
        "empty": 1,
    }


def test_unusual_images_are_used_as_they_look(tmp_path):
    upright = picture(3, (40, 24))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    frames = [picture(4, (24, 24)), picture(5, (24, 24))]
    grey16 = Image.fromarray((np.linspace(0, 65535, 24 * 24).reshape(24, 24)).astype(np.uint16))
    clear = Image.new("RGBA", (24, 24), (200, 0, 0, 0))
    files = {
        "cmyk.jpg": encoded(picture(2, (24, 24)).convert("CMYK"), "JPEG"),
        "grey16.png": encoded(grey16),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "turned.png": encoded(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif),
        "clear.png": encoded(clear),
    }
    bundle, summary = take_in(shop_of(tmp_path / "shop", files), tmp_path / "out")
    assert summary.quarantined == {}
    seen = {name: decode_image(pictures_of(bundle, name)[0]) for name in bundle.item_ids}
    assert all(image.mode == "RGB" for image in seen.values())
    np.testing.assert_array_equal(np.asarray(seen["turned"]), np.asarray(upright))
    np.testing.assert_array_equal(np.asarray(seen["clear"]), 255)
    ramp = np.asarray(seen["grey16"])[..., 0].ravel()
    assert (ramp[0], ramp[-1]) == (0, 255)
    assert (np.diff(ramp.astype(int)) >= 0).all()
    np.testing.assert_allclose(np.asarray(seen["cmyk"]), np.asarray(picture(2, (24, 24))), atol=40)
    np.testing.assert_allclose(np.asarray(seen["animated"]), np.asarray(frames[0]), atol=60)
    assert len(bundle.image_index) == 5


def test_an_item_keeps_its_usable_images_and_the_first_of_them_leads(tmp_path):
    shop = shop_of(tmp_path / "shop", {"1.jpg": b"broken"})
    write_files(shop, {"1_2.jpg": png(2), "1_3.jpg": JPEG[:200], "1_4.jpg": png(4)})
    bundle, _ = take_in(shop, tmp_path / "out")
    assert pictures_of(bundle, "1") == [png(2), png(4)]
    assert bundle.primary_images.tolist() == [0]
    assert refusals(bundle) == [
        ("image", "1", "not_an_image", "shop:1.jpg"),
        ("image", "1", "corrupt", "shop:1_3.jpg"),
    ]


def test_a_broken_zip_and_one_with_a_broken_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read as a zip"):
        take_in(write_files(tmp_path, {"a.zip": b"PK no"}) / "a.zip", tmp_path / "out")
    packed = write_zip(tmp_path / "b.zip", {"x/1.png": png(1), "x/2.png": png(2)}, zipfile.ZIP_DEFLATED)
    data = bytearray(packed.read_bytes())
    at = data.find(b"x/2.png") + 20
    data[at : at + 20] = bytes(20)
    packed.write_bytes(data)
    bundle, _ = take_in(packed, tmp_path / "out")
    assert refusals(bundle) == [("item", "2", "corrupt", "b.zip:x/2.png")]


def test_an_image_that_cannot_be_read_is_refused_as_such(tmp_path, monkeypatch):
    shop = shop_of(tmp_path / "shop", {"1.png": png(1), "2.png": png(2)})
    (shop / "2.png").unlink()
    os.symlink(tmp_path / "nowhere", shop / "2.png")
    bundle, _ = take_in(shop, tmp_path / "out")
    assert refusals(bundle) == [("item", "2", "unreadable", "shop:2.png")]


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path):
    shop = shop_of(tmp_path / "shop", {"1.png": png(1)})
    os.mkfifo(shop / "2.png")
    write_files(shop, {"items.csv": catalogue("1", "2")})
    bundle, _ = take_in(shop, tmp_path / "out")
    assert refusals(bundle) == [("item", "2", "unreadable", "shop:2.png")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_that_unpacks_to_too_much_is_refused_without_being_unpacked(tmp_path, monkeypatch, method):
    monkeypatch.setattr("recgan.dataset.importers.pictures.MAX_BYTES", 5000)
    bombs = {"stated.png": bytes(40 << 20), "lied.png": bytes(40 << 20)}
    packed = write_zip(tmp_path / "a.zip", {"good.png": png(1), "full.bmp": bmp_of(5000), **bombs}, method)
    data = packed.read_bytes()
    at = data.rindex(b"lied.png") - 22  # in the central directory: the size that it unpacks to
    assert int.from_bytes(data[at : at + 4], "little") == 40 << 20
    packed.write_bytes(data[:at] + (4000).to_bytes(4, "little") + data[at + 4 :])
    store = open_pictures(packed)
    tracemalloc.start()
    with pytest.raises(ImageRefused) as refused:
        store.picture("stated.png").read()
    assert refused.value.reason == "too_many_bytes"
    with pytest.raises(zipfile.BadZipFile):  # its checksum is of more bytes than it states
        store.picture("lied.png").read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    bundle, summary = take_in(packed, tmp_path / "out", "default_category=a")
    assert sorted(bundle.item_ids) == ["full", "good"]
    assert summary.quarantined["too_many_bytes"] == 1
    assert ("item", "stated", "too_many_bytes", "a.zip:stated.png") in refusals(bundle)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_file_packed_by_a_method_without_bounds_is_refused(tmp_path, method):
    packed = write_zip(tmp_path / "a.zip", {"1.png": png(1)})
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("2.png", png(2), method)
    bundle, _ = take_in(packed, tmp_path / "out", "default_category=a")
    assert refusals(bundle) == [("item", "2", "unreadable", "a.zip:2.png")]
    assert "pack the zip with deflate" in bundle.quarantine["detail"].iloc[0]


def bmp_of(size):
    """A BMP of exactly so many bytes."""
    return encoded(picture(1, (9, 9)), "BMP").ljust(size, b"\0")


def test_a_large_file_in_a_folder_is_refused_before_it_is_read(tmp_path):
    shop = shop_of(tmp_path / "shop", {"1.png": png(1), "2.png": b""})
    with open(shop / "2.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)  # a hole: it takes no room
    bundle, _ = take_in(shop, tmp_path / "out")
    assert refusals(bundle) == [("item", "2", "too_many_bytes", "shop:2.png")]


def test_ids_that_no_web_address_can_hold_are_refused(tmp_path):
    items = "item_id,category,image\n.,a,1.png\n..,a,1.png\n...,a,1.png\n.a,a,1.png\n"
    log = "user_id,item_id\n..,...\n.,.a\nu,.\n. .,...\n"
    shop = write_files(tmp_path / "shop", {"items.csv": items, "interactions.csv": log, "1.png": png(1)})
    bundle, summary = take_in(shop, tmp_path / "out", "image_column=image")
    assert bundle.item_ids.tolist() == ["...", ".a"]
    assert bundle.interactions["user_id"].to_list() == [". ."]
    assert summary.quarantined == {"unaddressable_id": 4, "unknown_item": 1}


def test_items_are_refused_for_their_reasons(tmp_path):
    items = "item_id,category\n1,a\n1,b\n,a\n2,\n3, \n4,nan\n5,a\n 6 ,a\n7,a,extra\n"
    shop = write_files(
        tmp_path / "shop", {"items.csv": items, **{f"{number}.png": png(number) for number in range(1, 8)}}
    )
    (shop / "5.png").unlink()
    bundle, summary = take_in(shop, tmp_path / "out")
    assert dict(zip(bundle.items["item_id"], bundle.items["category"])) == {"1": "a", "6": "a"}
    assert sorted(refusals(bundle)) == sorted(
        [
            ("item", "1", "duplicate_id", "items.csv:3"),
            ("item", "", "missing_id", "items.csv:4"),
            ("item", "2", "empty_category", "items.csv:5"),
            ("item", "3", "empty_category", "items.csv:6"),
            ("item", "4", "empty_category", "items.csv:7"),
            ("item", "5", "missing_image", "items.csv:8"),
            ("item", "", "malformed_line", "items.csv:10"),
            ("image", "7", "no_item", "shop:7.png"),
        ]
    )
    assert sum(summary.quarantined.values()) == 8
    named, _ = take_in(shop, tmp_path / "named", "default_category=other")
    assert set(named.items["item_id"]) == {"1", "2", "3", "4", "6"}


def test_interactions_are_refused_for_their_reasons(tmp_path):
    later = (pd.Timestamp.now() + pd.Timedelta(days=3)).isoformat()
    soon = (pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(hours=5)).isoformat()
    log = (
        "user_id,item_id,timestamp,weight\n"
        "u,1,2024-01-01,1\n"
        "u,9,2024-01-01,1\n"
        ",1,2024-01-01,1\n"
        "u,,2024-01-01,1\n"
        "u,1,NaN,1\n"
        "u,1,,1\n"
        "u,1,yesterday,1\n"
        f"u,1,{later},1\n"
        f"u,1,{soon},1\n"
        "u,1,2024-01-01,inf\n"
        "u,1,2024-01-01,much\n"
        "u,1,2024-01-01,\n"
        "u,1,2024-01-01,1e39\n"  # more than float32 holds
        "u,1,2024-01-01,1\n"  # bought again
        "u,1,2024-01-01\n"
    )
    bundle, summary = take_in(shop_of(tmp_path / "shop", {"1.png": png(1)}, log), tmp_path / "out")
    assert len(bundle.interactions) == 3
    assert [(reason, where) for _, _, reason, where in refusals(bundle)] == [
        ("malformed_line", "interactions.csv:16"),
        ("missing_id", "interactions.csv:4"),
        ("missing_id", "interactions.csv:5"),
        ("unknown_item", "interactions.csv:3"),
        ("bad_timestamp", "interactions.csv:6"),
        ("bad_timestamp", "interactions.csv:7"),
        ("bad_timestamp", "interactions.csv:8"),
        ("future_timestamp", "interactions.csv:9"),
        ("bad_weight", "interactions.csv:11"),
        ("bad_weight", "interactions.csv:12"),
        ("bad_weight", "interactions.csv:13"),
        ("bad_weight", "interactions.csv:14"),
    ]
    assert summary.quarantined["bad_weight"] == 4
    assert bundle.quarantine["detail"].to_list()[3] == "user u"


def test_no_interactions_at_all(tmp_path):
    bundle, summary = take_in(shop_of(tmp_path / "shop", {"1.png": png(1)}, "user_id,item_id\n"), tmp_path / "out")
    assert (summary.interactions, summary.users) == (0, 0)
    assert list(bundle.interactions) == ["user_id", "item_id", "timestamp", "event", "weight"]
    assert bundle.interactions.dtypes["timestamp"] == "datetime64[us]"


def test_interactions_that_are_all_refused_are_warned_of(tmp_path):
    shop = shop_of(tmp_path / "shop", {"1.png": png(1)}, "user_id,item_id\nu,2\n")
    _, summary = take_in(shop, tmp_path / "out")
    assert summary.quarantined == {"unknown_item": 1}
    assert summary.warnings == (
        "categories with a single item: 1 (such as 'a')",
        "none of the 1 interactions could be used",
    )


def test_a_first_chunk_without_usable_rows_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr("recgan.dataset.importers.csv_files._BLOCK", 10)
    log = "user_id,item_id\n" + "u,2\n" * 20 + "u,1\n" * 3
    _, summary = take_in(shop_of(tmp_path / "shop", {"1.png": png(1)}, log), tmp_path / "out")
    assert summary.interactions == 3
    assert summary.quarantined == {"unknown_item": 20}


def test_times_in_another_form_are_told_instead_of_refused_one_by_one(tmp_path):
    log = "user_id,item_id,timestamp\n" + "u,1,31/12/2024\n" * 30
    shop = shop_of(tmp_path / "shop", {"1.png": png(1)}, log)
    with pytest.raises(DataError, match=r"not one of 30 timestamps can be read .*'31/12/2024'.*timestamp_format="):
        take_in(shop, tmp_path / "out")
    bundle, _ = take_in(shop, tmp_path / "out", "timestamp_format=%d/%m/%Y")
    assert (bundle.interactions["timestamp"] == pd.Timestamp("2024-12-31")).all()


def test_one_user_one_item(tmp_path):
    log = "user_id,item_id\nonly,1\n"
    bundle, summary = take_in(shop_of(tmp_path / "shop", {"1.png": png(1)}, log), tmp_path / "out")
    assert summary.as_json()["users"] == summary.items == summary.interactions == 1
    assert bundle.category_names == ["a"]


def test_forty_thousand_categories_are_taken_and_warned_of(tmp_path):
    items = "item_id,category\n" + "".join(f"{number:05d},category {number}\n" for number in range(40_000))
    bundle, summary = take_in(write_files(tmp_path / "shop", {"items.csv": items}), tmp_path / "out")
    assert (summary.items, summary.categories, summary.images) == (40_000, 40_000, 0)
    assert bundle.items["item_id"].iloc[7] == "00007"
    assert [warning.split(":")[0] for warning in summary.warnings] == [
        "no images",
        "40,000 categories",
        "categories with a single item",
    ]
    assert bundle.header.facts["warnings"] == list(summary.warnings)


def test_equal_pixels_are_counted_whatever_the_file(tmp_path):
    image = picture(1)
    files = {
        "1.png": encoded(image),
        "2.bmp": encoded(image, "BMP"),
        "3.png": encoded(image, compress_level=1),
        "4.png": png(2),
    }
    bundle, summary = take_in(shop_of(tmp_path / "shop", files), tmp_path / "out")
    assert summary.duplicates == 2
    assert summary.images == 4
    assert bundle.image_index["sha256"].nunique() == 2


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    shop = shop_of(tmp_path / "shop", {"1.png": b"x", "2.png": b""})
    with pytest.raises(DataError, match=r"no usable item is left \(not_an_image 1, empty 1\)"):
        take_in(shop, tmp_path / "out")
    (shop / "items.csv").write_text("item_id,category\nA1,a\n")
    with pytest.raises(
        DataError, match=r"images are called '1.png': say how with --set image_pattern=.* --set image_column="
    ):
        take_in(shop, tmp_path / "out")
    (shop / "items.csv").write_text("item_id,category\n")
    with pytest.raises(DataError, match=r"no usable item is left \(no_item 2\)"):
        take_in(shop, tmp_path / "out")
    (shop / "items.csv").write_text("item_id,category\n1,\n")
    with pytest.raises(DataError, match="--set default_category=NAME"):
        take_in(shop, tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        take_in(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DataError, match=r"holds no images .* and no items table"):
        take_in(write_files(tmp_path / "bare", {"readme.txt": "x"}), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "shop"]


@pytest.fixture
def good_shop(tmp_path):
    log = "user_id,item_id,timestamp\n" + "".join(f"u{n % 5},{n % 9},2024-01-0{n % 9 + 1}\n" for n in range(90))
    return shop_of(tmp_path / "in" / "shop", {f"{number}.png": png(number) for number in range(9)}, log)


def test_stopping_anywhere_leaves_nothing(good_shop, tmp_path):
    steps = []
    import_bundle("folder", good_shop, tmp_path / "whole", progress=lambda *told: steps.append(told))
    assert {step for step, *_ in steps} == {"reading items", "checking images", "reading interactions"}
    place = tmp_path / "bundles"
    for stop in range(len(steps)):
        outcomes = [None] * stop + [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            import_bundle("folder", good_shop, place / "out", progress=Mock(side_effect=outcomes))
        assert list(place.iterdir()) == []


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("target", ["ParquetWriter.write_table", "ParquetWriter.close", "header", "hash", "fsync"])
def test_a_full_disk_leaves_the_old_bundle_as_it_was(good_shop, tmp_path, monkeypatch, target):
    place = tmp_path / "bundles"
    old, _ = take_in(good_shop, place / "out", "limit=2")
    if target.startswith("ParquetWriter"):
        name = target.split(".")[1]
        works, failures = getattr(pq.ParquetWriter, name), iter([full_disk])
        monkeypatch.setattr(pq.ParquetWriter, name, lambda *args, **options: next(failures, works)(*args, **options))
    elif target == "header":
        monkeypatch.setattr("pathlib.Path.write_text", full_disk)
    elif target == "hash":
        monkeypatch.setattr("recgan.dataset.bundle_writer.sha256_file", full_disk)
    else:
        monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(
        StorageError, match=r"No space left on device; free some space or choose another --out\. Nothing was changed"
    ):
        take_in(good_shop, place / "out", overwrite=True)
    monkeypatch.undo()
    assert [path.name for path in place.iterdir()] == ["out"]
    assert Bundle.open(place / "out", verify=True).digest == old.digest


def test_a_place_that_cannot_be_written_is_told(good_shop, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        import_bundle("folder", good_shop, tmp_path / "file" / "out")
    with pytest.raises(SettingsError, match="'s3://shop/out': a bundle is written to a local folder only"):
        import_bundle("folder", good_shop, "s3://shop/out")


def test_memory_does_not_grow_with_the_images(tmp_path):
    noise = np.random.default_rng(0)
    files = {}
    for number in range(300):
        pixels = noise.integers(0, 256, (256, 340, 3), dtype=np.uint8)
        files[f"x/{number}.bmp"] = encoded(Image.fromarray(pixels), "BMP")
    photos = write_zip(tmp_path / "photos.zip", files)
    total = sum(map(len, files.values()))
    del files
    tracemalloc.start()
    try:
        import_bundle("folder", photos, tmp_path / "out", options=ImportOptions())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 78_000_000
    assert peak < total / 2
