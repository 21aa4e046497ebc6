import numpy as np
import pandas as pd
import pytest

from recgan.config import SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.split import image_split, make_split
from recgan.errors import DataError

from .conftest import png


def bundle_of(tmp_path, rows, items="abcdefgh", columns=("user_id", "item_id", "timestamp"), **about):
    frame = pd.DataFrame(rows, columns=list(columns))
    with BundleWriter(tmp_path / "b", name="t", licence="-", source="-", **about) as writer:
        writer.set_items(pd.DataFrame({"item_id": list(items), "category": "c"}))
        writer.set_interactions(frame)
    return Bundle.open(tmp_path / "b")


def ids(split, bundle, part):
    pairs = getattr(split, part)
    return sorted(zip(split.user_ids[pairs.users], bundle.item_ids[pairs.items]))


def day(number):
    return pd.Timestamp("2025-01-01") + pd.Timedelta(days=number)


WARM = SplitSettings(cold_share=0)


def test_leave_one_out_takes_the_last_two_by_time(tmp_path):
    rows = [
        ("u", "c", day(3)),
        ("u", "a", day(1)),
        ("u", "d", day(4)),
        ("u", "b", day(2)),
        ("v", "a", day(1)),
        ("v", "b", day(2)),
    ]
    bundle = bundle_of(tmp_path, rows)
    split = make_split(bundle, WARM)
    assert ids(split, bundle, "test") == [("u", "d")]
    assert ids(split, bundle, "validation") == [("u", "c")]
    # v has two interactions only: they stay in train.
    assert ids(split, bundle, "train") == [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b")]


def test_without_times_the_seed_decides(tmp_path):
    rows = [(f"u{n}", item, None) for n in range(20) for item in "abcdef"]
    bundle = bundle_of(tmp_path, rows)
    first, again, other = (make_split(bundle, SplitSettings(seed=s, cold_share=0)) for s in (0, 0, 1))
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert len(set(first.test.items)) > 2
    assert (np.bincount(first.test.users) == 1).all()
    assert (np.bincount(first.validation.users) == 1).all()


def test_parts_are_disjoint_and_complete(tiny_bundle):
    split = make_split(tiny_bundle)
    parts = [set(zip(p.users, p.items)) for p in (split.train, split.validation, split.test, split.withheld)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(tiny_bundle.interactions)
    assert len(split.withheld) > 0


def test_cold_items_have_no_training_interaction(tiny_bundle):
    split = make_split(tiny_bundle, SplitSettings(cold_share=0.25))
    assert split.cold.sum() >= 6
    assert not split.cold[split.train.items].any()
    assert split.cold[split.withheld.items].all()
    assert split.cold[split.test.items].any()


def test_a_repeated_purchase_counts_once_at_its_first_time(tmp_path):
    rows = [("u", "a", day(1)), ("u", "b", day(2)), ("u", "c", day(3)), ("u", "a", day(9))]
    bundle = bundle_of(tmp_path, rows)
    split = make_split(bundle, WARM)
    assert ids(split, bundle, "test") == [("u", "c")]
    assert ids(split, bundle, "train") == [("u", "a")]


def test_dislikes_returns_and_low_ratings_are_not_positive(tmp_path):
    rows = [
        ("u", "a", "dislike", 1),
        ("u", "b", "return", 1),
        ("u", "c", "rating", 3.5),
        ("u", "d", "rating", 4),
        ("u", "e", "buy", 1),
    ]
    bundle = bundle_of(tmp_path, rows, columns=("user_id", "item_id", "event", "weight"))
    split = make_split(bundle, WARM)
    assert ids(split, bundle, "train") == [("u", "d"), ("u", "e")]


def test_the_last_word_of_a_user_on_an_item_counts(tmp_path):
    rows = [
        ("u", "a", "return", day(9)),  # the order is that of time, not of the log
        ("u", "a", "buy", day(1)),
        ("v", "a", "buy", day(1)),  # somebody else's return takes nothing back
        ("u", "b", "rating", day(2)),
        ("u", "b", "buy", day(1)),
        ("u", "c", "buy", day(2)),
        ("u", "c", "return", day(3)),
        ("u", "c", "buy", day(7)),
        ("u", "c", "buy", day(8)),
        ("u", "d", "buy", day(4)),
        ("u", "d", "return", day(4)),  # at the same time: the later row
        ("u", "e", "dislike", day(4)),
        ("u", "e", "buy", day(4)),
    ]
    frame = [(*row, 2.0 if row[2] == "rating" else 1.0) for row in rows]
    bundle = bundle_of(tmp_path, frame, columns=("user_id", "item_id", "event", "timestamp", "weight"))
    split = make_split(bundle, WARM)
    assert ids(split, bundle, "train") == [("u", "c"), ("u", "e"), ("v", "a")]
    bought_again = split.train.times[(split.train.items == 2) & (split.train.users == 0)]
    assert bought_again.tolist() == [day(7).value // 1000]


def test_an_undirected_pair_of_pseudo_users_is_on_one_side(tmp_path):
    rng = np.random.default_rng(0)
    items = "abcdefghijklmnop"
    rows = [(a, b, None) for a in items for b in items if a != b and rng.random() < 0.5]
    bundle = bundle_of(tmp_path, rows, items=items, pseudo_users=True)
    split = make_split(bundle, WARM)
    train = {frozenset(p) for p in ids(split, bundle, "train")}
    validation = {frozenset(p) for p in ids(split, bundle, "validation")}
    test = {frozenset(p) for p in ids(split, bundle, "test")}
    assert test
    assert validation
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_a_pseudo_users_seed_is_neither_an_answer_nor_a_negative(tmp_path):
    rows = [("a", item, None) for item in "bcd"]
    bundle = bundle_of(tmp_path, rows, pseudo_users=True)
    assert ids(make_split(bundle, WARM), bundle, "withheld") == [("a", "a")]


def test_pseudo_user_seed_need_not_be_an_item(tmp_path):
    rows = [("zz", item, None) for item in "abcd"]
    split = make_split(bundle_of(tmp_path, rows, pseudo_users=True), WARM)
    assert (len(split.train), len(split.validation), len(split.test)) == (2, 1, 1)


def test_global_time_puts_the_latest_in_test(tiny_bundle):
    split = make_split(tiny_bundle, SplitSettings(protocol="global_time", cold_share=0))
    assert split.train.times.max() < split.validation.times.min()
    assert split.validation.times.max() < split.test.times.min()
    assert len(split.test) == pytest.approx(0.1 * len(tiny_bundle.interactions), abs=2)


def test_global_time_without_times_is_refused(tmp_path):
    with pytest.raises(DataError, match="without a timestamp"):
        make_split(bundle_of(tmp_path, [("u", "a", None)]), SplitSettings(protocol="global_time"))


def test_the_given_split_is_kept(tmp_path):
    rows = [("u", "a", "train"), ("u", "b", "test"), ("u", "c", "validation")]
    bundle = bundle_of(tmp_path, rows, columns=("user_id", "item_id", "split"))
    split = make_split(bundle, SplitSettings(protocol="given", cold_share=0.9))  # a given split is not thinned
    assert ids(split, bundle, "train") == [("u", "a")]
    assert ids(split, bundle, "test") == [("u", "b")]
    assert ids(split, bundle, "validation") == [("u", "c")]


def test_given_split_that_is_not_there_is_refused(tiny_bundle):
    with pytest.raises(DataError, match="no split of its own"):
        make_split(tiny_bundle, SplitSettings(protocol="given"))


def test_all_trains_on_everything(tiny_bundle):
    split = make_split(tiny_bundle, SplitSettings(protocol="all"))
    assert len(split.train) == len(tiny_bundle.interactions)
    assert len(split.test) == len(split.withheld) == 0


def test_no_positive_interaction_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"no positive interactions; import some \(--interactions FILE\)"):
        make_split(bundle_of(tmp_path, [("u", "a", "dislike")], columns=("user_id", "item_id", "event")))


def test_an_unavailable_item_nobody_took_is_no_candidate(tmp_path):
    with BundleWriter(tmp_path / "b", name="t", licence="-", source="-") as writer:
        writer.set_items(pd.DataFrame({"item_id": list("abc"), "category": "c", "available": [True, False, False]}))
        writer.set_interactions(pd.DataFrame({"user_id": ["u"], "item_id": ["b"]}))
    split = make_split(Bundle.open(tmp_path / "b"), SplitSettings(protocol="all"))
    assert split.candidates.tolist() == [True, True, False]


def test_images_with_equal_pixels_share_their_part(tmp_path):
    rng = np.random.default_rng(0)
    with BundleWriter(tmp_path / "b", name="t", licence="-", source="-") as writer:
        for index in range(400):
            writer.add_image(
                f"i{index}",
                png(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)),
                sha256=f"digest-{index // 2}",
            )
        writer.set_items(pd.DataFrame({"item_id": [f"i{n}" for n in range(400)], "category": "c"}))
    bundle = Bundle.open(tmp_path / "b")
    part = image_split(bundle)
    assert (part[::2] == part[1::2]).all()
    shares = np.bincount(part, minlength=3) / 400
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.06)
    assert (image_split(bundle, seed=1) != part).any()
