"""The bundle: what is written is read back, in any order and amount; what is damaged is never taken for whole."""

import json
import os
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from recgan.dataset import bundle_format, bundle_writer
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.errors import ArtifactError, DataError, NotFoundError, StorageError

ABOUT = {"name": "n", "licence": "l", "source": "s"}


def items(*ids, **columns):
    return pd.DataFrame({"item_id": list(ids), "category": ["a"] * len(ids), **columns}, dtype=object)


def image(number, size=50):
    return bytes([number % 256]) * size


def write(out, count=10, *, per_item=1, change=None, **columns):
    """A bundle of ``count`` items whose images are plain bytes: reading never decodes them."""
    with BundleWriter(out, **ABOUT) as writer:
        for item in range(count):
            for position in range(per_item):
                number = item * per_item + position
                writer.add_image(str(item), image(number), sha256=f"{number:064x}", position=position)
        frame = items(*map(str, range(count))).assign(**columns)
        writer.set_items(frame if change is None else change(frame))
    return Bundle.open(out, verify=True)


def put(out, *, images=(), frame=None, logs=(), overwrite=False):
    """A bundle of these images (by item id), items and interactions."""
    with BundleWriter(out, **ABOUT, overwrite=overwrite) as writer:
        for item_id in images:
            writer.add_image(item_id, b"x", sha256="aa")
        if frame is not None:
            writer.set_items(frame)
        for log in logs:
            writer.add_interactions(log)
    return Bundle.open(out, verify=True)


def taken(user="u", item="1", **columns):
    """One interaction."""
    return pd.DataFrame({"user_id": [user], "item_id": [item], **columns})


@pytest.fixture
def small_parts(monkeypatch):
    """Row groups of three images and parts of ten, so that small bundles have many."""
    monkeypatch.setattr(bundle_writer, "ROW_GROUP", 3)
    monkeypatch.setattr(bundle_writer, "_PART_BYTES", 500)


def test_what_was_written_is_read_back(tmp_path):
    log = pd.DataFrame(
        {
            "user_id": ["u1", "u2", "u1"],
            "item_id": ["007", "x", "007"],
            "timestamp": pd.to_datetime(["2024-01-01", None, "2024-01-02"]),
            "event": ["buy", "view", "buy"],
            "weight": [1, 0.5, 2],
            "split": ["train", "test", "train"],
        }
    )
    with BundleWriter(tmp_path / "b", **ABOUT, pseudo_users=True) as writer:
        writer.add_image("x", b"png", sha256="aa", position=1, role="back", path="p/x.png")
        writer.add_image("x", b"jpg", sha256="bb")
        writer.set_items(items("007", "x", price=[1.5, 2.0], available=[False, True]))
        writer.set_interactions(log)
        writer.refuse("image", "y", "corrupt", "it is broken", "p/y.png")
        writer.facts["duplicates"] = 3
    bundle = Bundle.open(tmp_path / "b", verify=True)
    assert bundle.header.counts == {"items": 2, "images": 2, "interactions": 3, "users": 2, "categories": 1}
    assert (bundle.name, bundle.header.licence, bundle.header.source) == ("n", "l", "s")
    assert bundle.header.pseudo_users
    assert bundle.header.facts == {"duplicates": 3}
    assert list(bundle.items) == ["item_id", "category", "available", "price"]
    assert bundle.items["available"].to_list() == [False, True]
    assert bundle.interactions["timestamp"].isna().to_list() == [False, True, False]
    assert bundle.interactions["split"].to_list() == ["train", "test", "train"]
    assert bundle.interactions["weight"].dtype == np.float32
    assert bundle.image_index.to_numpy().tolist() == [[1, "x", 1, "back", "aa"], [1, "x", 0, "main", "bb"]]
    assert bundle.primary_images.tolist() == [-1, 1]
    assert bundle.image_bytes([1, 0, 1]) == [b"jpg", b"png", b"jpg"]
    assert bundle.quarantine.to_numpy().tolist() == [["image", "y", "corrupt", "it is broken", "p/y.png"]]
    assert bundle.header.quarantined == {"corrupt": 1}
    path = pq.read_table(bundle.path / "images-00000.parquet").column("image")[0].as_py()["path"]
    assert path == "p/x.png"


def test_categories_are_numbered_by_name_and_items_by_row(tmp_path):
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        writer.set_items(pd.DataFrame({"item_id": ["3", "1", "2"], "category": ["b", "a", "b"]}))
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.category_names == ["a", "b"]
    assert bundle.category_index.tolist() == [1, 0, 1]
    assert bundle.item_ids.tolist() == ["3", "1", "2"]
    assert bundle.item_rows(["2", "3", "2"]).tolist() == [2, 0, 2]
    with pytest.raises(NotFoundError, match="has no item '4'"):
        bundle.item_rows(["1", "4"])


@pytest.mark.parametrize("count", [1, 3, 10, 11, 47])
def test_images_are_the_same_one_by_one_and_in_a_stream(tmp_path, small_parts, count):
    bundle = write(tmp_path / "b", count, per_item=2)
    every = [image(number) for number in range(2 * count)]
    assert bundle.header.counts["images"] == len(every)
    assert len(bundle.image_parts) == -(-2 * count // 12)  # parts end with the row group in which they are full
    assert list(bundle.iter_images()) == every
    assert bundle.image_bytes(range(len(every))) == every
    rows = np.random.default_rng(count).integers(0, len(every), 30)
    assert bundle.image_bytes(rows) == [every[row] for row in rows]
    assert bundle.image_bytes([]) == []
    assert bundle.image_index["item"].tolist() == [number // 2 for number in range(2 * count)]
    assert bundle.primary_images.tolist() == list(range(0, 2 * count, 2))
    for row in (-1, len(every)):
        with pytest.raises(NotFoundError, match=f"no image in row {row}; it has {len(every)} images"):
            bundle.image_bytes([0, row])


def test_one_image_is_read_from_its_own_row_group_and_footers_once(tmp_path, small_parts, monkeypatch):
    bundle = write(tmp_path / "b", 47)
    opened, read = [], []
    footer, group = pq.read_metadata, pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq, "read_metadata", lambda path: opened.append(path.name) or footer(path))
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **o: read.append(a[1]) or group(*a, **o))
    for row in (46, 0, 17):
        assert bundle.image_bytes([row]) == [image(row)]
    assert opened == bundle.image_parts
    assert len(read) == 3


def test_large_images_make_small_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_writer, "_GROUP_BYTES", 100)
    bundle = write(tmp_path / "b", 9)
    groups = pq.ParquetFile(bundle.path / "images-00000.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [2, 2, 2, 2, 1]
    assert list(bundle.iter_images()) == [image(number) for number in range(9)]


def test_interactions_can_be_added_bit_by_bit(tmp_path):
    whole = pd.DataFrame(
        {
            "user_id": [f"u{n % 7}" for n in range(100)],
            "item_id": [str(n % 3) for n in range(100)],
            "rating": np.arange(100.0),
        }
    )
    bundles = []
    for name, cuts in (("one", [0, 100]), ("many", [0, 0, 10, 55, 55, 100])):
        with BundleWriter(tmp_path / name, **ABOUT) as writer:
            for start, end in pairwise(cuts):
                writer.add_interactions(whole[start:end])
            writer.set_items(items("0", "1", "2"))
        bundles.append(Bundle.open(tmp_path / name))
    pd.testing.assert_frame_equal(bundles[0].interactions, bundles[1].interactions)
    assert bundles[0].header.counts == bundles[1].header.counts
    assert bundles[0].header.counts["users"] == 7
    assert (bundles[0].interactions["event"] == "interaction").all()
    assert (bundles[0].interactions["weight"] == 1).all()


def test_interactions_of_other_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match="other columns than before"):
        put(tmp_path / "b", frame=items("1"), logs=[taken(split=["train"]), taken()])


def test_interactions_can_be_set_once(tmp_path):
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        writer.set_items(items("1"))
        writer.set_interactions(taken())
        with pytest.raises(DataError, match="set already"):
            writer.set_interactions(taken())
        with pytest.raises(DataError, match="set already"):
            writer.set_items(items("1"))
    assert len(Bundle.open(tmp_path / "b").interactions) == 1


def test_times_with_a_zone_are_kept_in_utc(tmp_path):
    times = pd.to_datetime(["2024-01-01 12:00"]).tz_localize("Asia/Tokyo")
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        writer.set_items(items("1"))
        writer.set_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["1"], "timestamp": times}))
    stored = Bundle.open(tmp_path / "b").interactions["timestamp"]
    assert stored.to_list() == [pd.Timestamp("2024-01-01 03:00")]
    assert stored.dtype == "datetime64[us]"


def test_many_refusals_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_writer, "_REFUSALS_KEPT", 4)
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        for number in range(10):
            writer.refuse("item", str(number), "odd" if number % 2 else "even", "", f"f:{number}")
        frame = pd.DataFrame({"item_id": ["x", "y"], "why": [1.5, None]}, index=[7, 9])
        where = pd.Series(["f:7", "f:9"], frame.index)
        writer.refuse_frame("interaction", frame, "item_id", "late", where, frame["why"])
        writer.refuse("image", "z", "odd", where="caf\udce9.jpg")  # a file name that is no text
        assert writer.quarantined == {"odd": 6, "even": 5, "late": 2}
        writer.set_items(items("1"))
    quarantine = Bundle.open(tmp_path / "b").quarantine
    assert quarantine["where"].to_list() == [*(f"f:{n}" for n in range(10)), "f:7", "f:9", "caf\\udce9.jpg"]
    assert quarantine["detail"].to_list()[10:12] == ["1.5", "nan"]
    assert Bundle.open(tmp_path / "b").header.quarantined == {"odd": 6, "even": 5, "late": 2}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (items(), "no usable item"),
        (items("1", "1"), "item id '1' is there twice"),
        (items("1", ""), "an item has an empty item_id"),
        (items("1", None), "an item has an empty item_id"),
        (items("1").assign(category=np.nan), "an item has an empty category"),
        (items("1").drop(columns="category"), "no column 'category'"),
        (items("1").assign(available="False"), "'available' must be boolean"),
        (items("1").assign(available=None), "'available' must be boolean"),
    ],
)
def test_items_that_cannot_be_are_refused_and_nothing_is_left(tmp_path, frame, message):
    with pytest.raises(DataError, match=message):
        put(tmp_path / "in" / "b", images=["1"], frame=frame)
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("value", ["", None, np.nan])
def test_an_interaction_without_an_id_is_refused(tmp_path, column, value):
    with pytest.raises(DataError, match=f"an interaction has an empty {column}"):
        put(tmp_path / "b", frame=items("1"), logs=[taken().assign(**{column: [value]})])


def test_what_refers_to_no_item_is_refused(tmp_path):
    with pytest.raises(DataError, match="interaction of unknown item '2'"):
        put(tmp_path / "b", frame=items("1"), logs=[taken(), taken(item="2")])
    with pytest.raises(DataError, match="image of unknown item '3'"):
        put(tmp_path / "b", images=["3"], frame=items("1"))
    with pytest.raises(DataError, match="the items were never set"):
        put(tmp_path / "b", images=["1"])
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_closing_a_broken_bundle_hides_nothing(tmp_path, monkeypatch):
    works = pq.ParquetWriter.close

    def close(self):
        works(self)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "close", close)

    def fail():
        with BundleWriter(tmp_path / "b", **ABOUT) as writer:
            writer.add_interactions(taken())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_links_take_over_the_images_and_their_identity(tmp_path, small_parts):
    bundle = write(tmp_path / "a", 11)
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        writer.link_images(bundle)
        writer.set_items(bundle.items)
        writer.set_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["3"]}))
    linked = Bundle.open(tmp_path / "b", verify=True)
    assert linked.images_digest == bundle.images_digest
    assert linked.catalogue_digest == bundle.catalogue_digest
    assert linked.cache_folder == bundle.cache_folder
    assert linked.digest != bundle.digest
    assert list(linked.iter_images()) == list(bundle.iter_images())
    first = bundle.image_parts[0]
    assert os.path.samefile(bundle.path / first, linked.path / first)


def test_links_fall_back_to_copies_and_stand_beside_own_images(tmp_path, small_parts, monkeypatch):
    bundle = write(tmp_path / "a", 5)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another file system")))
    with BundleWriter(tmp_path / "b", **ABOUT) as writer:
        writer.add_image("new", b"before", sha256="aa")
        writer.link_images(bundle)
        writer.add_image("new", b"after", sha256="bb", position=1)
        writer.set_items(items("new", *map(str, range(5))))
    both = Bundle.open(tmp_path / "b", verify=True)
    assert list(both.iter_images()) == [b"before", *(image(number) for number in range(5)), b"after"]
    assert both.header.counts["images"] == 7
    assert not os.path.samefile(bundle.path / bundle.image_parts[0], both.path / both.image_parts[1])


def test_the_catalogue_digest_knows_items_categories_and_images_alone(tmp_path):
    base = write(tmp_path / "base", 4).catalogue_digest

    def changed(name, **options):
        return write(tmp_path / name, 4, **options).catalogue_digest

    assert changed("same") == base
    assert changed("gone", available=False) == base
    assert changed("dearer", price=[1, 2, 3, 4]) == base
    assert changed("category", category=["a", "a", "a", "b"]) != base
    assert changed("order", change=lambda frame: frame[::-1]) != base
    assert changed("images", per_item=2) != base


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_damage_is_found(tmp_path):
    bundle = write(tmp_path / "b", 4)
    for part in bundle.header.parts:
        data = (bundle.path / part).read_bytes()
        damage(bundle.path / part)
        with pytest.raises(ArtifactError, match=f"part '{part}' does not match its checksum; import the bundle again"):
            Bundle.open(bundle.path, verify=True)
        (bundle.path / part).unlink()
        with pytest.raises(ArtifactError, match=f"part '{part}' is missing"):
            Bundle.open(bundle.path)
        (bundle.path / part).write_bytes(data)
    Bundle.open(bundle.path, verify=True)


@pytest.mark.parametrize(
    ("part", "use"),
    [
        ("items.parquet", lambda bundle: bundle.items),
        ("interactions.parquet", lambda bundle: bundle.interactions),
        ("quarantine.parquet", lambda bundle: bundle.quarantine),
        ("images-00000.parquet", lambda bundle: bundle.image_index),
        ("images-00000.parquet", lambda bundle: list(bundle.iter_images())),
        ("images-00000.parquet", lambda bundle: bundle.image_bytes([0])),
    ],
)
def test_a_part_cut_short_is_told_when_it_is_read(tmp_path, part, use):
    bundle = write(tmp_path / "b", 4)
    data = (bundle.path / part).read_bytes()
    (bundle.path / part).write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match=f"part '{part}' cannot be read .*; import the bundle again"):
        use(Bundle.open(bundle.path))


@pytest.mark.parametrize("part", ["items", "interactions", "quarantine"])
def test_a_changed_value_is_told_when_its_table_is_read(tmp_path, part):
    bundle = write(tmp_path / "b", 4)
    table = getattr(bundle, part)
    table.iloc[:, 0] = "another"
    table.to_parquet(bundle.path / f"{part}.parquet")  # readable as ever
    with pytest.raises(ArtifactError, match=f"part '{part}.parquet' does not match its checksum"):
        getattr(Bundle.open(bundle.path), part)


def test_a_header_that_is_none_or_of_another_time_is_told(tmp_path):
    bundle = write(tmp_path / "b", 4)
    header = bundle.path / bundle_format.HEADER
    content = json.loads(header.read_text())
    for text, message in (
        (header.read_text()[:-40], "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({**content, "unheard_of": 1}), "is damaged"),
        (json.dumps({key: content[key] for key in content if key != "counts"}), "is damaged"),
        (json.dumps({**content, "schema_version": 99}), "has bundle schema 99, not 1; import it again"),
    ):
        header.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ArtifactError, match=message):
            Bundle.open(bundle.path)
    header.unlink()
    with pytest.raises(
        ArtifactError, match=r"holds no dataset\.json: it is not a bundle; make one with 'recgan import"
    ):
        Bundle.open(bundle.path)
    with pytest.raises(ArtifactError, match="does not exist"):
        Bundle.open(tmp_path / "nowhere")


def test_an_unfinished_bundle_is_never_seen(tmp_path):
    seen = []

    def stop():
        with BundleWriter(tmp_path / "b", **ABOUT) as writer:
            writer.add_image("1", b"x", sha256="aa")
            writer.set_items(items("1"))
            seen.append((tmp_path / "b").exists())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []


def test_overwriting_replaces_all_or_nothing(tmp_path):
    old = put(tmp_path / "b", frame=items("1"))
    with pytest.raises(ArtifactError, match="exists already; choose another --out or pass --overwrite"):
        put(tmp_path / "b", frame=items("9"))
    with pytest.raises(DataError):
        put(tmp_path / "b", frame=items(), overwrite=True)
    assert Bundle.open(tmp_path / "b", verify=True).digest == old.digest
    assert put(tmp_path / "b", frame=items("9"), overwrite=True).item_ids.tolist() == ["9"]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "file" / "b", 1)
