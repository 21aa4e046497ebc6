"""The `folder` importer: a shop's own export, in every layout it may come in."""

import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from recgan.config import ImportOptions
from recgan.dataset.importers import import_bundle
from recgan.errors import ArtifactError, DataError, SettingsError
from tests.shops import pictures_of, png, refusals, take_in, write_files, write_zip

ITEMS = "item_id,category,price,colour\n007,Shirts,19.90,red\n008,Shirts,,blue\n0010,Shoes,49,red\n"
LOG = (
    "user_id,item_id,timestamp,event,weight\n"
    "u1,007,2024-03-01,purchase,1\n"
    "u1,0010,2024-03-02T10:00:00Z,purchase,2\n"
    "u2,008,2024-03-03 09:30:00+02:00,VIEW,0.5\n"
)
IMAGES = {"007.jpg": png(1), "008.png": png(2), "0010.webp": png(3)}


@pytest.fixture
def shop(tmp_path):
    return write_files(tmp_path / "shop", {"items.csv": ITEMS, "interactions.csv": LOG, **IMAGES})


def test_everything_arrives_as_it_was(shop, tmp_path):
    bundle, summary = take_in(shop, tmp_path / "out")
    assert bundle.name == "shop"
    assert bundle.items["item_id"].to_list() == ["007", "008", "0010"]
    assert bundle.items["category"].to_list() == ["Shirts", "Shirts", "Shoes"]
    assert bundle.items["available"].all()
    assert bundle.items["colour"].to_list() == ["red", "blue", "red"]
    np.testing.assert_array_equal(bundle.items["price"], [19.9, np.nan, 49.0])
    log = bundle.interactions
    assert log[["user_id", "item_id"]].to_numpy().tolist() == [["u1", "007"], ["u1", "0010"], ["u2", "008"]]
    assert log["timestamp"].to_list() == [
        pd.Timestamp("2024-03-01"),
        pd.Timestamp("2024-03-02 10:00"),
        pd.Timestamp("2024-03-03 07:30"),  # in UTC
    ]
    assert log["event"].to_list() == ["purchase", "purchase", "view"]
    assert log["weight"].to_list() == [1, 2, 0.5]
    assert pictures_of(bundle, "0010") == [IMAGES["0010.webp"]]  # the very bytes
    assert summary.as_json() == {
        "items": 3,
        "images": 3,
        "interactions": 3,
        "users": 2,
        "quarantined": {},
        "duplicates": 0,
    }
    json.dumps(summary.as_json())


def test_one_zip_and_tables_beside_it_named_by_option_with_other_columns(tmp_path):
    shop = write_files(
        tmp_path / "export",
        {
            "catalogue.csv": "sku;type;in stock\n007;Shirts;yes\n008;Shoes;no\n",
            "orders.tsv": "customer\tproduct\tday\tkind\tamount\nx\t007\t03/01/2024\tbought\t2\n",
        },
    )
    photos = write_zip(shop / "photos.zip", {"deep/down/007.jpg": png(1), "008.png": png(2)})
    bundle, _ = take_in(
        photos,
        tmp_path / "out",
        "items=catalogue.csv",
        "interactions=orders.tsv",
        "item_id_column=sku",
        "category_column=type",
        "available_column=in stock",
        "user_id_column=customer",
        "interactions_item_id_column=product",
        "timestamp_column=day",
        "timestamp_format=%d/%m/%Y",
        "event_column=kind",
        "weight_column=amount",
        "name=My shop",
        "licence=ours",
    )
    assert (bundle.header.name, bundle.header.licence, bundle.header.source) == ("My shop", "ours", "folder")
    assert bundle.items["available"].to_list() == [True, False]
    row = bundle.interactions.iloc[0]
    assert (row["user_id"], row["item_id"], row["event"], row["weight"]) == ("x", "007", "bought", 2)
    assert row["timestamp"] == pd.Timestamp("2024-01-03")


def test_times_that_may_lie_in_an_unread_column_are_warned_of(tmp_path):
    files = {"items.csv": "item_id,category\na,Shirts\n", "images/a.png": png(1)}
    log = "user_id,item_id,date\nx,a,2024-01-03\n"
    shop = write_files(tmp_path / "shop", {**files, "interactions.csv": log})
    bundle, summary = take_in(shop, tmp_path / "without")
    assert bundle.interactions["timestamp"].isna().all()
    (warning,) = (warning for warning in summary.warnings if "no times" in warning)
    assert "(date)" in warning
    assert "--set timestamp_column=COLUMN" in warning
    bundle, summary = take_in(shop, tmp_path / "with", "timestamp_column=date")
    assert bundle.interactions["timestamp"].to_list() == [pd.Timestamp("2024-01-03")]
    assert not any("no times" in warning for warning in summary.warnings)


def test_parquet_tables_with_numbers_as_ids_and_times_as_times(tmp_path):
    shop = write_files(tmp_path / "shop", {"images/12.jpg": png(1), "images/7.jpg": png(2)})
    pd.DataFrame({"item_id": [12, 7], "category": pd.Categorical(["a", "b"]), "price": [1.5, 2.0]}).to_parquet(
        shop / "items.parquet"
    )
    pd.DataFrame(
        {
            "user_id": [3.0, np.nan, 4.0],  # a missing id has turned whole numbers into floats
            "item_id": [12, 12, 7],
            "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]).tz_localize("Europe/Berlin"),
        }
    ).to_parquet(shop / "interactions.parquet")
    bundle, _ = take_in(shop, tmp_path / "out")
    assert bundle.items["item_id"].to_list() == ["12", "7"]
    assert bundle.interactions["user_id"].to_list() == ["3", "4"]
    assert bundle.interactions["timestamp"].to_list() == [
        pd.Timestamp("2023-12-31 23:00"),
        pd.Timestamp("2024-01-02 23:00"),
    ]
    assert refusals(bundle) == [("interaction", "12", "missing_id", "interactions.parquet:2")]


def test_several_images_an_item_are_found_by_name_and_the_front_comes_first(tmp_path):
    files = {
        "12_10.jpg": png(10),
        "12_2.jpg": png(2),
        "12.jpg": png(1),
        "13/back.jpg": png(4),
        "13/front.jpg": png(3),
        "14/14-side.jpg": png(5),
        "ab_2.jpg": png(6),  # item ab_2, not the second image of ab
        "ab.jpg": png(7),
        "13/.thumbs/x.jpg": b"hidden",
    }
    items = "item_id,category\n12,a\n13,a\n14,a\nab,a\nab_2,a\n"
    bundle, _ = take_in(write_files(tmp_path / "shop", {"items.csv": items, **files}), tmp_path / "out")
    assert pictures_of(bundle, "12") == [png(1), png(2), png(10)]
    assert pictures_of(bundle, "13") == [png(3), png(4)]
    assert pictures_of(bundle, "14") == [png(5)]
    assert pictures_of(bundle, "ab") == [png(7)]
    assert pictures_of(bundle, "ab_2") == [png(6)]
    roles = bundle.image_index.set_index(["item_id", "position"])["role"].to_dict()
    assert (roles["13", 0], roles["13", 1], roles["14", 0], roles["12", 1]) == ("main", "back", "side", "view")
    assert bundle.header.quarantined == {}


def test_an_image_column_lists_them(tmp_path):
    items = (
        "item_id,category,pictures\n"
        '1,a,"photos/x.jpg|y.jpg"\n'
        "2,a,y.jpg;gone.jpg\n"
        "3,a,https://shop.example/cdn/z.jpg\n"
        "4,a,\n"
        "5,a,../../secret.jpg\n"
        "6,a,other/x.jpg\n"
    )
    files = {"photos/x.jpg": png(1), "photos/y.jpg": png(2), "photos/z.jpg": png(3), "photos/unused.jpg": png(4)}
    shop = write_files(tmp_path / "shop", {"items.csv": items, **files, "../secret.jpg": png(9)})
    bundle, _ = take_in(shop, tmp_path / "out", "image_column=pictures", "images=photos")
    assert pictures_of(bundle, "1") == [png(1), png(2)]
    assert pictures_of(bundle, "2") == [png(2)]
    assert pictures_of(bundle, "3") == [png(3)]
    assert sorted(refusals(bundle)) == [
        ("image", "2", "missing_image", "photos:gone.jpg"),
        ("image", "unused", "no_item", "photos:unused.jpg"),
        ("item", "4", "missing_image", "items.csv:5"),
        ("item", "5", "missing_image", "photos:../../secret.jpg"),
        ("item", "6", "missing_image", "photos:other/x.jpg"),
    ]
    assert "pictures" not in bundle.items


def test_an_image_column_of_lists_in_parquet(tmp_path):
    shop = write_files(tmp_path / "shop", {"images/a/front.jpg": png(1), "images/b/front.jpg": png(2)})
    pd.DataFrame({"item_id": ["1"], "category": ["x"], "files": [["b/front.jpg", "images/a/front.jpg"]]}).to_parquet(
        shop / "items.parquet"
    )
    bundle, _ = take_in(shop, tmp_path / "out", "image_column=files")
    assert pictures_of(bundle, "1") == [png(2), png(1)]


def test_a_pattern_tells_where_the_id_is(tmp_path):
    files = {"3/1.jpg": png(1), "3/2.jpg": png(2), "1/1.jpg": png(3), "2/9.jpg": png(4)}
    shop = write_files(tmp_path / "shop", {"items.csv": "item_id,category\n1,a\n2,a\n3,a\n", **files})
    with pytest.raises(DataError, match=r"could show item '1' or item '3'.*image_pattern"):
        take_in(shop, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    bundle, _ = take_in(shop, tmp_path / "out", "image_pattern={item_id}/*")
    assert pictures_of(bundle, "3") == [png(1), png(2)]
    assert pictures_of(bundle, "1") == [png(3)]
    assert pictures_of(bundle, "2") == [png(4)]


def test_a_pattern_with_alternatives_and_ids_that_hold_the_separator(tmp_path):
    files = {"a_b_1.jpg": png(1), "a_b.jpg": png(2), "c_1_left.jpg": png(3), "other.gif": png(4)}
    shop = write_files(tmp_path / "shop", {"items.csv": "item_id,category\na_b,x\nc,x\n", **files})
    bundle, _ = take_in(shop, tmp_path / "out", "image_pattern={item_id}_*.JPG|{item_id}.jpg")
    assert pictures_of(bundle, "a_b") == [png(2), png(1)]
    assert pictures_of(bundle, "c") == [png(3)]
    assert refusals(bundle) == [("image", "other", "no_item", "shop:other.gif")]


@pytest.mark.parametrize("pattern", ["*.jpg", "{item_id}{item_id}.jpg", "{item_id}*.jpg"])
def test_a_pattern_that_tells_no_id_is_refused(shop, tmp_path, pattern):
    with pytest.raises(DataError, match=r"image_pattern=.*\{item_id\}"):
        take_in(shop, tmp_path / "out", f"image_pattern={pattern}")


def test_without_a_table_the_folders_are_the_categories(tmp_path):
    files = {
        "all/Shirts/x/1.jpg": png(1),
        "all/Shirts/02.png": png(2),
        "all/Shoes/3.jpg": png(3),
        "all/notes.txt": b"hi",
    }
    bundle, _ = take_in(write_files(tmp_path / "shop", files), tmp_path / "out")
    found = dict(zip(bundle.items["item_id"], bundle.items["category"]))
    assert found == {"1": "Shirts", "02": "Shirts", "3": "Shoes"}
    assert pictures_of(bundle, "02") == [png(2)]


def test_without_a_table_odd_names_do_no_harm(tmp_path):
    files = {
        "a/ 1 .jpg": png(1),
        "a/1.png": png(2),
        "a/none.png": png(3),
        "a/x y.z.png": png(4),
        "a/\U0001f457.png": png(5),
    }
    shop = write_files(tmp_path / "shop", files)
    bundle, _ = take_in(shop, tmp_path / "out")
    assert set(bundle.item_ids) == {"1", "x y.z", "\U0001f457"}
    assert pictures_of(bundle, "1") == [png(1)]
    assert sorted(refusals(bundle)) == [
        ("item", "", "missing_id", "shop:a/none.png"),
        ("item", "1", "duplicate_id", "shop:a/1.png"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a name be any bytes")
def test_a_file_name_that_is_no_text(tmp_path):
    shop = write_files(tmp_path / "shop", {"a/1.png": png(1)})
    with open(os.fsencode(shop / "a") + b"/caf\xe9.png", "wb") as file:
        file.write(png(6))
    bundle, _ = take_in(shop, tmp_path / "out")
    assert set(bundle.item_ids) == {"1", "caf\\udce9"}
    assert pictures_of(bundle, "caf\\udce9") == [png(6)]


def test_without_a_table_equal_names_are_told_apart_by_their_paths(tmp_path):
    photos = write_zip(tmp_path / "photos.zip", {"a/1.jpg": png(1), "b/1.jpg": png(2), "b/2.jpg": png(3)})
    bundle, _ = take_in(photos, tmp_path / "out")
    assert dict(zip(bundle.items["item_id"], bundle.items["category"])) == {"a/1": "a", "b/1": "b", "b/2": "b"}
    assert pictures_of(bundle, "b/1") == [png(2)]


def test_without_a_table_a_pattern_gives_items_with_several_images(tmp_path):
    files = {
        "x/Shirts/1/front.jpg": png(1),
        "x/Shirts/1/back.jpg": png(2),
        "x/Hats/2/a.jpg": png(3),
        "stray.jpg": png(4),
    }
    shop = write_files(tmp_path / "shop", files)
    bundle, _ = take_in(shop, tmp_path / "out", "image_pattern={category}/{item_id}/*")
    assert dict(zip(bundle.items["item_id"], bundle.items["category"])) == {"1": "Shirts", "2": "Hats"}
    assert pictures_of(bundle, "1") == [png(1), png(2)]
    assert refusals(bundle) == [("image", "stray", "no_item", "shop:stray.jpg")]
    with pytest.raises(DataError, match="item '1' is in two categories"):
        take_in(write_files(shop, {"x/Hats/1/b.jpg": png(5)}), tmp_path / "o2", "image_pattern={category}/{item_id}/*")


def test_without_a_table_and_without_folders_a_category_must_be_named(tmp_path):
    shop = write_files(tmp_path / "shop", {"1.jpg": png(1), "2.jpg": png(2)})
    with pytest.raises(DataError, match="--items FILE, or --set default_category=NAME"):
        take_in(shop, tmp_path / "out")
    bundle, _ = take_in(shop, tmp_path / "out", "default_category=Things")
    assert bundle.category_names == ["Things"]


def test_a_zip_that_points_outside_harms_nothing(tmp_path):
    photos = write_zip(tmp_path / "in" / "evil.zip", {"../../evil.jpg": png(1), "/etc/evil2.jpg": png(2)})
    before = sorted(path for path in tmp_path.rglob("*"))
    bundle, _ = take_in(photos, tmp_path / "bundles" / "out", "default_category=x")
    assert set(bundle.items["item_id"]) == {"evil", "evil2"}
    written = {path for path in tmp_path.rglob("*") if path not in before}
    assert all(tmp_path / "bundles" in (path, *path.parents) for path in written)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "item_id_column=item_idd",
            "no column 'item_idd'; did you mean 'item_id'.*item_id, category, price, colour",
        ),
        ("category_column=categori", "did you mean 'category'.*--set category_column=COLUMN"),
        ("image_column=photo", "has no column 'photo'.*--set image_column"),
        ("available_column=stock", "has no column 'stock'.*--set available_column"),
        ("user_id_column=user", "interactions.csv' has no column 'user'; did you mean 'user_id'"),
        ("interactions_item_id_column=sku", "has no column 'sku'.*--set interactions_item_id_column"),
        ("timestamp_column=time", "has no column 'time'; did you mean 'timestamp'"),
        ("weight_column=qty", "has no column 'qty'.*--set weight_column"),
        ("items=missing.csv", "items='missing.csv' is neither"),
        ("images=nowhere", "images='nowhere' is neither"),
        ("available_column=colour", "items.csv:2: availability 'red' is neither of"),
    ],
)
def test_a_wrong_option_names_what_there_is(shop, tmp_path, setting, message):
    with pytest.raises(DataError, match=message):
        take_in(shop, tmp_path / "out", setting)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_an_unknown_importer_and_a_useless_option_are_refused(shop, tmp_path):
    with pytest.raises(SettingsError, match="no importer 'foldr'; did you mean 'folder'"):
        import_bundle("foldr", shop, tmp_path / "out")
    with pytest.raises(SettingsError, match="'mnist' has no use for the option 'user_id_column'; it takes: licence"):
        take_in(shop, tmp_path / "out", "user_id_column=x", source="mnist")


def test_two_tables_of_one_kind_must_be_told_apart(shop, tmp_path):
    write_files(shop, {"items.tsv": ITEMS.replace(",", "\t")})
    with pytest.raises(DataError, match=r"holds items\.csv and items\.tsv; say which with --items FILE"):
        take_in(shop, tmp_path / "out")
    bundle, _ = take_in(shop, tmp_path / "out", "items=items.tsv")
    assert len(bundle.items) == 3


def test_what_is_there_is_not_overwritten_unasked(shop, tmp_path):
    bundle, _ = take_in(shop, tmp_path / "out")
    with pytest.raises(ArtifactError, match="exists already"):
        take_in(shop, tmp_path / "out")
    again, _ = take_in(shop, tmp_path / "out", overwrite=True)
    assert again.header.parts == bundle.header.parts  # an import is deterministic


def test_columns_called_like_ours_are_kept_under_another_name(tmp_path):
    items = "item_id,sku,category,type,available\nA,1,old,Shirts,yes\n"
    shop = write_files(tmp_path / "shop", {"items.csv": items, "1.jpg": png(1)})
    bundle, _ = take_in(shop, tmp_path / "out", "item_id_column=sku", "category_column=type")
    row = bundle.items.iloc[0]
    assert row[["item_id", "category", "item_id_in_source", "category_in_source"]].to_list() == [
        "1",
        "Shirts",
        "A",
        "old",
    ]
    assert row["available"]


def test_codes_stay_strings_and_numbers_become_numbers(tmp_path):
    items = (
        "item_id,category,ean,code,size,price,empty\n"
        "1,a,4006381333931000001,007,38,1e2,\n"
        "2,a,4006381333931000002,8,40,-3.5,\n"
    )
    shop = write_files(tmp_path / "shop", {"items.csv": items, "1.jpg": png(1), "2.jpg": png(2)})
    frame = take_in(shop, tmp_path / "out")[0].items
    assert frame["ean"].to_list() == ["4006381333931000001", "4006381333931000002"]
    assert frame["code"].to_list() == ["007", "8"]
    assert frame["size"].to_list() == [38, 40]
    assert frame["price"].to_list() == [100, -3.5]
    assert frame["empty"].to_list() == ["", ""]


def test_a_limit_is_for_trials_and_refuses_nothing(shop, tmp_path):
    bundle, summary = take_in(shop, tmp_path / "out", "limit=2")
    assert bundle.items["item_id"].to_list() == ["007", "008"]
    assert summary.interactions == 2
    assert summary.quarantined == {}
    assert bundle.header.facts["interactions_outside_limit"] == 1


def test_since_leaves_out_what_is_older(shop, tmp_path):
    bundle, summary = take_in(shop, tmp_path / "out", "since=2024-03-02")
    assert summary.interactions == 2
    assert summary.quarantined == {}
    assert bundle.header.facts["interactions_before_since"] == 1


def test_the_summary_fits_one_screen_and_tells_what_was_refused(tmp_path):
    rows = "".join(f"{number},category {number % 30}\n" for number in range(60))
    shop = write_files(tmp_path / "shop", {"items.csv": f"item_id,category\n{rows}x,\nx,a\n", "a.jpg": b"no"})
    for number in range(60):
        write_files(shop, {f"{number}.png": png(number % 7)})
    _, summary = take_in(shop, tmp_path / "out")
    with open(os.devnull, "w") as nowhere:
        console = Console(width=100, record=True, file=nowhere)
        console.print(summary)
    text = console.export_text()
    assert len(text.splitlines()) <= 24
    for figure in ("60  items", "30  categories", "60  images, 53 of them exact duplicates", "3  refused"):
        assert figure in text
    for reason in ("duplicate_id 1", "empty_category 1", "no_item 1"):
        assert reason in text
    assert summary.duplicates == 53


def test_the_options_are_documented_and_strict():
    fields = ImportOptions.model_fields
    assert all(fields[name].description for name in fields if not name.endswith(("item_id_column", "user_id_column")))
