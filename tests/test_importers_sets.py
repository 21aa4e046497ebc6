"""The published data sets, in small: their native layouts, and what is particular to each."""

import gzip
import json
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from torchvision import datasets

from recgan.config import SplitSettings
from recgan.dataset.pixels import decode_image
from recgan.dataset.split import make_split
from recgan.errors import DataError
from tests.shops import picture, pictures_of, png, refusals, take_in, write_files, write_zip

STYLES = """\
id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName
15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Blue Shirt
23124,Unisex,Footwear,Flip Flops,Flip Flops,Navy Blue,Spring,2013,Casual,Converse Liv,Laugh,Love Flip-flops
7491,Women,Apparel,Bottomwear,Shorts,Pink,Summer,,Sports,Nike Tempo 3.5" Pink Short
100,Women,Bags, Purses,Bags,Handbags,Red,Winter,2012,Casual,A comma in another column
101,Women,Apparel,Topwear,Tops,Red,Winter
39403,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Without a photo
"""


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_product_images(tmp_path, packed):
    photos = {f"{number}.jpg": png(number) for number in (15970, 23124, 7491, 100)}
    folder = write_files(tmp_path / "in", {"styles.csv": STYLES})
    if packed:
        write_zip(folder / "images.zip", photos)
    else:
        write_files(folder / "images", photos)
    bundle, summary = take_in(folder, tmp_path / "out", source="fashion-product-images")
    assert dict(zip(bundle.items["item_id"], bundle.items["category"])) == {
        "15970": "Shirts",
        "23124": "Flip Flops",
        "7491": "Shorts",
    }
    assert bundle.items["productDisplayName"].to_list()[1:] == [
        "Converse Liv,Laugh,Love Flip-flops",
        'Nike Tempo 3.5" Pink Short',
    ]
    assert bundle.items["baseColour"].to_list() == ["Navy Blue", "Navy Blue", "Pink"]
    np.testing.assert_array_equal(bundle.items["year"], [2011, 2013, np.nan])
    assert pictures_of(bundle, "23124") == [png(23124)]
    label = "images.zip" if packed else "images"
    assert refusals(bundle) == [
        ("item", "", "malformed_line", "styles.csv:5"),
        ("item", "", "malformed_line", "styles.csv:6"),
        ("image", "100", "no_item", f"{label}:100.jpg"),
        ("item", "39403", "missing_image", "styles.csv:7"),
    ]
    assert summary.repaired_lines == 1
    assert summary.interactions == 0


def test_fashion_product_images_by_another_column_or_in_another_folder(tmp_path):
    inner = write_files(tmp_path / "outer" / "myntradataset", {"styles.csv": STYLES, "images/15970.jpg": png(1)})
    bundle, _ = take_in(inner, tmp_path / "out", "category_column=subCategory", source="fashion-product-images")
    assert bundle.category_names == ["Topwear"]
    assert bundle.items["articleType"].to_list() == ["Shirts"]
    with pytest.raises(DataError, match=r"holds no styles\.csv, but .*myntradataset' does: give that folder"):
        take_in(tmp_path / "outer", tmp_path / "o2", source="fashion-product-images")
    with pytest.raises(DataError, match="has no column 'articletype'; did you mean 'articleType'"):
        take_in(inner, tmp_path / "o2", "category_column=articletype", source="fashion-product-images")


ARTICLES = """\
article_id,product_code,product_type_name,detail_desc
0111565001,0111565,Tights,"Wide, reinforced trim."
0111586001,0111586,Leggings,
0108775015,0108775,Top,"Two
lines"
"""
HM_PHOTOS = {
    f"images/{number[:3]}/{number}.jpg": png(int(number)) for number in ("0111565001", "0111586001", "0108775015")
}


def test_hm_transactions(tmp_path):
    log = (
        "t_dat,customer_id,article_id,price,sales_channel_id\n"
        "2018-09-20,aa,0111565001,0.05,2\n"
        "2018-09-20,aa,0111565001,0.05,2\n"
        "2018-09-21,bb,0108775015,0.03,1\n"
        "2018-09-22,bb,0999999999,0.03,1\n"
    )
    folder = write_files(tmp_path / "in", {"articles.csv": ARTICLES, "transactions_train.csv": log, **HM_PHOTOS})
    bundle, summary = take_in(folder, tmp_path / "out", source="hm")
    assert bundle.items["item_id"].to_list() == ["0111565001", "0111586001", "0108775015"]
    assert bundle.items["product_code"].to_list() == ["0111565", "0111586", "0108775"]
    assert bundle.items["detail_desc"].to_list()[2] == "Two\nlines"
    assert bundle.header.pseudo_users is False
    assert bundle.interactions.to_numpy().tolist() == [
        ["aa", "0111565001", pd.Timestamp("2018-09-20"), "purchase", 1.0],
        ["aa", "0111565001", pd.Timestamp("2018-09-20"), "purchase", 1.0],
        ["bb", "0108775015", pd.Timestamp("2018-09-21"), "purchase", 1.0],
    ]
    assert refusals(bundle) == [("interaction", "0999999999", "unknown_item", "transactions_train.csv:5")]
    assert summary.users == 2
    assert take_in(folder, tmp_path / "o2", "since=2018-09-21", source="hm")[1].interactions == 1


def test_hm_without_a_log_and_where_it_is_not(tmp_path):
    folder = write_files(tmp_path / "in", {"articles.csv": ARTICLES, **HM_PHOTOS})
    bundle, summary = take_in(folder, tmp_path / "out", source="hm")
    assert (summary.items, summary.interactions, bundle.header.pseudo_users) == (3, 0, False)
    with pytest.raises(DataError, match=r"holds no images\.zip or images; it holds: articles\.csv"):
        take_in(write_files(tmp_path / "bare", {"articles.csv": ARTICLES}), tmp_path / "o2", source="hm")
    with pytest.raises(DataError, match=r"is a file; give the folder that holds articles\.csv"):
        take_in(folder / "articles.csv", tmp_path / "o2", source="hm")
    with pytest.raises(DataError, match=r"does not exist; give the folder"):
        take_in(tmp_path / "gone", tmp_path / "o2", source="hm")


def test_hm_copurchases_make_pseudo_users_who_never_take_themselves(tmp_path):
    log = (
        "item,copurchased,weight,same_product\n"
        "0111565001,0108775015,0.25,False\n"
        "0111565001,0111565001,1.0,True\n"
        "0108775015,0111565001,0.5,False\n"
        "0108775015,0999999999,0.5,False\n"
    )
    folder = write_files(tmp_path / "in", {"articles.csv": ARTICLES, "copurchases.csv": log})
    write_zip(folder / "images.zip", {name.rsplit("/")[-1]: data for name, data in HM_PHOTOS.items()})
    bundle, _ = take_in(folder, tmp_path / "out", source="hm")
    assert bundle.header.pseudo_users is True
    assert bundle.interactions[["user_id", "item_id", "event", "weight"]].to_numpy().tolist() == [
        ["0111565001", "0108775015", "copurchase", 0.25],
        ["0108775015", "0111565001", "copurchase", 0.5],
    ]
    assert sorted(refusals(bundle)) == [
        ("interaction", "0111565001", "self_pair", "copurchases.csv:3"),
        ("interaction", "0999999999", "unknown_item", "copurchases.csv:5"),
    ]
    make_split(bundle, SplitSettings())  # the split takes the seeds for what they are


RENTALS = """\
user_id,item_id,rating,category,rented_for,fit,size,review_date
420272,2260466,10.0,romper,vacation,fit,14,2016-04-20
273551,153475,,gown,other,fit,12,2013-06-18
273552,2260466,8.0,gown,other,fit,12,2013-06-19
273553,2260466,8.0,romper,other,fit,12,
"""


def test_renttherunway(tmp_path):
    folder = tmp_path / "in"
    write_files(folder, {"interactions.csv.gz": gzip.compress(RENTALS.encode())})
    bundle, summary = take_in(folder, tmp_path / "out", source="renttherunway")
    assert dict(zip(bundle.items["item_id"], bundle.items["category"])) == {"2260466": "romper", "153475": "gown"}
    assert bundle.header.facts["items_with_several_categories"] == 1
    log = bundle.interactions
    assert log[["user_id", "event", "weight"]].to_numpy().tolist() == [
        ["420272", "rental", 1.0],
        ["273551", "rental", 1.0],
        ["273552", "rental", 1.0],
    ]
    np.testing.assert_array_equal(log["rating"], [10, np.nan, 8])
    assert log["timestamp"].iloc[0] == pd.Timestamp("2016-04-20")
    assert refusals(bundle) == [("interaction", "2260466", "bad_timestamp", "interactions.csv.gz:5")]
    assert summary.images == 0
    assert bundle.primary_images.tolist() == [-1, -1]
    assert summary.warnings[0].startswith("no images")
    again, _ = take_in(folder / "interactions.csv.gz", tmp_path / "o2", source="renttherunway")  # the file itself
    assert again.header.parts == bundle.header.parts


def test_the_core_of_renttherunway(tmp_path):
    header = RENTALS.splitlines()[0]
    pairs = ["u1 a", "u1 b", "u2 a", "u2 b", "u3 a", "u3 c", "u4 c", "u4 d"]  # without d's, u4 goes, then c and u3
    lines = [f'{user},{item},8,gown,party,fit,12,"April 20, 2016"' for user, item in map(str.split, pairs)]
    write_files(tmp_path / "in", {"interactions.csv": "\n".join([header, *lines])})
    bundle, _ = take_in(tmp_path / "in", tmp_path / "out", "core=2", source="renttherunway")
    assert sorted(bundle.items["item_id"]) == ["a", "b"]
    assert sorted(bundle.interactions["user_id"] + " " + bundle.interactions["item_id"]) == pairs[:4]
    assert bundle.header.facts["interactions_outside_core"] == 4
    with pytest.raises(DataError, match="has no 3-core; give a smaller --set core"):
        take_in(tmp_path / "in", tmp_path / "none", "core=3", source="renttherunway")


def test_renttherunway_as_published(tmp_path):
    rental = {
        "fit": "fit",
        "user_id": "420272",
        "bust size": "34d",
        "item_id": "2260466",
        "weight": "137lbs",  # the body's, not the interaction's
        "rating": "10",
        "category": "romper",
        "review_date": "April 20, 2016",
    }
    lines = [json.dumps(rental), "{broken", json.dumps({**rental, "user_id": None}), json.dumps(["no", "object"])]
    data = gzip.compress("\n".join(lines).encode())
    folder = write_files(tmp_path / "in", {"renttherunway_final_data.json.gz": data})
    bundle, _ = take_in(folder, tmp_path / "out", source="renttherunway")
    assert bundle.interactions.to_numpy().tolist() == [
        ["420272", "2260466", pd.Timestamp("2016-04-20"), "rental", 1.0, 10.0]
    ]
    name = "renttherunway_final_data.json.gz"
    assert refusals(bundle) == [
        ("interaction", "", "malformed_line", f"{name}:2"),
        ("interaction", "", "malformed_line", f"{name}:4"),
        ("interaction", "2260466", "missing_id", f"{name}:3"),
    ]


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def idx_files(seed, *, packed=True, count=6):
    rng = np.random.default_rng(seed)
    files = {}
    for prefix, size in (("train", count), ("t10k", 2)):
        images = np.stack([np.asarray(picture(seed + n, (28, 28)).convert("L")) for n in range(size)])
        labels = rng.permutation(10)[:size].astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx(array)
            files[f"{prefix}-{kind}-ubyte{'.gz' if packed else ''}"] = gzip.compress(data) if packed else data
    return files


@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_from_idx_files_wherever_they_lie(tmp_path, packed):
    files = idx_files(3, packed=packed)
    write_files(tmp_path / "in" / "share" / "fashion-mnist", files)
    write_files(tmp_path / "in" / "share" / "mnist", idx_files(40, packed=packed))
    bundle, summary = take_in(tmp_path / "in", tmp_path / "out", source="fashion-mnist")
    assert summary.images == 8
    assert bundle.items["item_id"].to_list() == [*(f"train-0000{n}" for n in range(6)), "test-00000", "test-00001"]
    assert bundle.items["partition"].to_list() == ["train"] * 6 + ["test"] * 2
    labels = np.random.default_rng(3).permutation(10)[:6]
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    assert bundle.items["category"].to_list()[:6] == [names[label] for label in labels]
    data = pictures_of(bundle, "train-00002")[0]
    assert data.startswith(b"\x89PNG")
    np.testing.assert_array_equal(
        np.asarray(decode_image(data).convert("L")), np.asarray(picture(5, (28, 28)).convert("L"))
    )
    digits, _ = take_in(tmp_path / "in", tmp_path / "digits", source="mnist")
    assert set(digits.category_names) <= set("0123456789")
    assert digits.header.parts["images-00000.parquet"] != bundle.header.parts["images-00000.parquet"]


def test_mnist_is_downloaded_where_there_is_none_and_a_failure_is_told(tmp_path, monkeypatch):
    def download(root, train, download):
        assert (train, download) == (True, True)
        write_files(tmp_path / "place" / "MNIST" / "raw", idx_files(1))

    monkeypatch.setattr(datasets, "MNIST", download)
    bundle, _ = take_in(tmp_path / "place", tmp_path / "out", source="mnist")
    assert len(bundle.items) == 8

    def unreachable(*_, **__):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nno route to host")

    monkeypatch.setattr(datasets, "FashionMNIST", unreachable)
    with pytest.raises(DataError, match=r"no fashion-mnist idx files.*no route to host.*dataset-fashion-mnist"):
        take_in(tmp_path / "elsewhere", tmp_path / "o2", source="fashion-mnist")


def test_damaged_idx_files_are_told(tmp_path):
    files = idx_files(1, packed=False)
    folder = write_files(tmp_path / "in", files)
    cases = {
        "train-images-idx3-ubyte": files["train-images-idx3-ubyte"][:-1],
        "t10k-labels-idx1-ubyte": idx(np.array([1, 10], dtype=np.uint8)),  # there is no class 10
        "train-labels-idx1-ubyte": idx(np.arange(5, dtype=np.uint8)),  # one too few
        "t10k-images-idx3-ubyte": b"\0\0\x08",
    }
    for name, data in cases.items():
        write_files(folder, {name: data})
        with pytest.raises(DataError, match=name):
            take_in(folder, tmp_path / "out", source="mnist")
        write_files(folder, {name: files[name]})


@pytest.mark.slow
@pytest.mark.real_data
def test_the_real_sets_arrive_whole(real_data, tmp_path):
    whole = {
        "fashion-product-images": {
            "items": 32323,
            "images": 32323,
            "interactions": 0,
            "users": 0,
            "quarantined": {"missing_image": 4},
            "duplicates": 581,
        },
        "hm": {
            "items": 10424,
            "images": 10424,
            "interactions": 38217,
            "users": 8006,
            "quarantined": {},
            "duplicates": 29,
        },
        "renttherunway": {
            "items": 5850,
            "images": 0,
            "interactions": 192544,
            "users": 105571,
            "quarantined": {},
            "duplicates": 0,
        },
    }
    for source, figures in whole.items():
        _, summary = take_in(real_data / source, tmp_path / source, source=source)
        assert summary.as_json() == figures


def test_an_import_does_not_need_torch():
    # Loading it costs seconds and more memory than the import itself.
    code = "import sys; import recgan.dataset.importers, recgan.dataset.boutique; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
