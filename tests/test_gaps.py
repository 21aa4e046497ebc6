"""The gap finder: cohorts of taste, what a judge says of a design and of the stock, and the briefs."""

import copy
import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
import torch

from recgan.cli.run import run
from recgan.config import DVBPRSettings, EmbedSettings, ProofSettings, SplitSettings, VisualKNNSettings
from recgan.dataset.pixels import to_float
from recgan.dataset.split import Pairs
from recgan.design import Designer
from recgan.design.sight import Sight
from recgan.errors import ArtifactError, DataError, MismatchError, NotFoundError, SettingsError
from recgan.evaluation.gaps import choose_judge, find_gaps, load_gaps, load_judge, save_gaps, taste_cohorts
from recgan.evaluation.gaps.cases import cases_of
from recgan.evaluation.gaps.looks import attributes_of, palette, style_words
from recgan.recommenders import train_recommender
from tests.design_world import QUICK, SIZE

# ---- cohorts


def of_two_tastes(designer, likers=(12, 8)):
    """The world's designer with users of two tastes, each with a little of its own; the first are the larger group."""
    model = copy.copy(designer.recommender)
    rng = np.random.default_rng(0)
    taste = model.item_factors[0]
    signs = np.repeat([1.0, -1.0], likers)
    noise = 0.05 * np.abs(taste).mean() * rng.normal(size=(len(signs), len(taste)))
    model.user_factors = model.user_factors.copy()
    model.user_factors[: len(signs)] = signs[:, None] * taste + noise
    model.user_factors[len(signs) :] = taste
    # Whoever took nothing is in no cohort.
    model.seen = type(model.seen)(np.minimum(model.seen.indptr, model.seen.indptr[len(signs)]), model.seen.items)
    return Sight(model, designer.gan), [str(user) for user in model.user_ids[: len(signs)]]


def test_users_of_one_taste_are_one_cohort_however_strongly_they_feel(design_world):
    sight, users = of_two_tastes(design_world.designer)
    sight.recommender.user_factors[3] *= 7
    categories = design_world.designer.category_names
    first, second = taste_cohorts(sight, 2, categories, least=1)
    assert set(first.users) == set(users[:12])
    assert set(second.users) == set(users[12:])
    for cohort in (first, second):
        items = np.concatenate([sight.recommender.user_vector(user).seen for user in cohort.users])
        counted = sight.recommender.items["category"].iloc[items].value_counts()
        assert cohort.taken == {name: int(counted.get(name, 0)) for name in cohort.taken}
        assert list(cohort.taken.values()) == sorted(cohort.taken.values(), reverse=True)


def test_cohorts_follow_from_the_seed_and_small_ones_are_left_out(design_world):
    sight, users = of_two_tastes(design_world.designer)
    categories = design_world.designer.category_names
    assert taste_cohorts(sight, 2, categories, seed=3, least=1) == taste_cohorts(sight, 2, categories, seed=3, least=1)
    assert [len(cohort.users) for cohort in taste_cohorts(sight, 2, categories, least=9)] == [12]
    assert sum(len(one.users) for one in taste_cohorts(sight, 2, categories, most=10, least=1)) == 10
    with pytest.raises(DataError, match="no cohort has 100 users"):
        taste_cohorts(sight, 2, categories, least=100)
    with pytest.raises(DataError, match="too few for 50 cohorts"):
        taste_cohorts(sight, 50, categories)
    with pytest.raises(SettingsError, match="at least one"):
        taste_cohorts(sight, 0, categories)
    assert len(users) == 20


# ---- looks


def test_the_palette_counts_the_figure_and_not_the_ground():
    image = np.full((40, 40, 3), 255, dtype=np.uint8)
    image[8:32, 8:32] = (205, 30, 40)
    image[8:32, 26:32] = (25, 35, 80)  # a quarter of the figure
    found = palette(image)
    assert [(one.name, one.hex) for one in found] == [("red", "#cd1e28"), ("navy", "#192350")]
    assert [one.share for one in found] == pytest.approx([0.75, 0.25])


def test_a_figure_of_one_colour_has_one_swatch():
    image = np.full((32, 32, 3), 255, dtype=np.uint8)
    image[8:24, 8:24] = (20, 20, 22)
    assert [(one.name, one.share) for one in palette(image)] == [("black", 1.0)]


def test_style_is_told_against_the_stock():
    def square(grey):
        image = np.full((64, 64, 3), 255, dtype=np.uint8)
        image[16:48, 16:48] = grey
        return image

    stock = np.stack([square(grey) for grey in (90, 110, 130, 150)])
    assert style_words(square(40), stock) == ["darker than 100% of the stock"]
    assert style_words(square(140), stock) == ["lighter than 75% of the stock"]
    assert style_words(square(120), stock) == []


def test_attributes_are_what_half_of_the_nearest_have():
    stock = pd.DataFrame(
        {
            "item_id": list("abcd"),
            "category": "bag",
            "available": True,
            "colour": ["red", "red", "blue", None],
            "name": ["w", "x", "y", "z"],
            "price": [1.0, 2.0, 3.0, 4.0],
            "use": ["casual", "sport", "formal", "home"],
        }
    )
    assert attributes_of(stock.iloc[[0, 1, 2, 3]], stock) == {"colour": ("red", 0.5)}
    assert attributes_of(stock.iloc[[2]], stock) == {
        "colour": ("blue", 1.0),
        "name": ("y", 1.0),
        "use": ("formal", 1.0),
    }


# ---- gaps


@pytest.fixture(scope="module")
def judge(design_world):
    return load_judge(design_world.folder / "judge", design_world.designer, design_world.bundle)


@pytest.fixture(scope="module")
def found(design_world, judge):
    return find_gaps(design_world.bundle, design_world.designer, judge, cohorts=2, designs=2, settings=QUICK)


def test_a_gap_is_what_the_judge_gives_the_design_more_than_the_best_in_stock(design_world, judge, found):
    designer, b = design_world.designer, judge.recommender
    gap = found.gaps[0]
    cohort = taste_cohorts(designer.sight, 2, designer.category_names)[gap.cohort - 1]
    rows = np.flatnonzero((b.items["category"] == gap.category).to_numpy())
    stock = b.item_features[rows].astype(np.float32)
    features = b.load_encoder("cpu")(to_float(gap.design.image[None]))
    told, design = [], []
    for user in cohort.users:
        vector = b.user_vector(user)
        scores = b.factors_from(torch.from_numpy(stock)).numpy() @ vector.values
        unseen = scores if len(cohort.users) > 1 else scores[~np.isin(rows, vector.seen)]
        own = float(b.preference(vector, features, gap.category)[0])  # the public path from pixels
        told.append((scores - unseen.mean()) / unseen.std())
        design.append((own - unseen.mean()) / unseen.std())
    told, design = np.array(told), np.array(design)
    best = told.mean(axis=0).argmax()
    assert gap.best[0] == b.item_ids[rows[best]]
    assert gap.gap.mean == pytest.approx(np.mean(design - told[:, best]), abs=2e-3)
    assert gap.preferred_by == pytest.approx(np.mean(design > told[:, best]))
    assert gap.percentile == pytest.approx(100 * np.mean(told.mean(axis=0) < design.mean()))
    assert gap.gap.low <= gap.gap.mean <= gap.gap.high
    assert gap.gap.mean <= gap.like_for_like.mean  # B's own favourite is the harder rival


def test_the_first_recommender_chooses_the_design_that_is_judged(design_world, found):
    designer = design_world.designer
    gap = found.gaps[0]
    cohort = taste_cohorts(designer.sight, 2, designer.category_names)[gap.cohort - 1]
    made = designer.design(list(cohort.users), gap.category, 2, settings=QUICK)
    chosen = max(made, key=lambda one: one.score)
    np.testing.assert_array_equal(gap.design.image, chosen.image)
    assert gap.judged == gap.users == len(cohort.users)


def test_all_favourites_of_all_cohorts_are_looked_at_the_widest_gap_first(design_world, found):
    cohorts = taste_cohorts(design_world.designer.sight, 2, design_world.designer.category_names)
    expected = {(number, name) for number, one in enumerate(cohorts, 1) for name in list(one.taken)[:2]}
    assert {(gap.cohort, gap.category) for gap in found.gaps} == expected
    means = [gap.gap.mean for gap in found.gaps]
    assert means == sorted(means, reverse=True)
    assert sum(len(cohort.users) for cohort in cohorts) == found.users


def test_what_is_not_in_stock_is_no_rival(design_world, judge):
    designer = design_world.designer
    options = {"cohorts": 1, "categories": ["dress"], "designs": 1, "settings": QUICK}
    (before,) = find_gaps(design_world.bundle, designer, judge, **options).gaps
    model = copy.copy(designer.recommender)
    gone = {before.best[0], before.nearest[0][0]}
    model.items = model.items.assign(available=~model.items["item_id"].isin(gone))
    (after,) = find_gaps(design_world.bundle, Designer(model, designer.gan), judge, **options).gaps
    assert not gone & {after.best[0], after.best[1], *(name for name, _ in after.nearest)}
    assert after.gap.mean > before.gap.mean


def without(designer, gone):
    """The world's designer, all items of some categories being out of stock."""
    model = copy.copy(designer.recommender)
    model.items = model.items.assign(available=~model.items["category"].isin(gone))
    return Designer(model, designer.gan)


def test_favourites_are_among_what_is_in_stock(design_world, judge, found):
    gone = {gap.category for gap in found.gaps}
    designer = without(design_world.designer, gone)
    options = {"cohorts": 1, "designs": 1, "settings": QUICK}
    others = find_gaps(design_world.bundle, designer, judge, **options).gaps
    assert len(others) == 2
    assert not gone & {gap.category for gap in others}


def test_what_everybody_of_a_cohort_has_seen_is_no_favourite(design_world, judge):
    designer = design_world.designer
    (cohort,) = taste_cohorts(designer.sight, 1, designer.category_names)
    options = {"categories": [], "favourites": 2, "members": 3}
    first, second = cases_of(designer, judge, [cohort], **options)
    assert [first.category, second.category] == list(cohort.taken)[:2]
    model = copy.copy(designer.recommender)
    pairs = model.seen.as_pairs()
    users = model._user_index.get_indexer(list(first.users))
    items = np.flatnonzero(model.items["category"] == first.category)
    every = np.array([(user, item) for user in users for item in items])
    keys = np.unique(np.concatenate([every, np.stack([pairs.users, pairs.items], axis=1)]), axis=0)
    model.seen = type(model.seen).of(Pairs(keys[:, 0], keys[:, 1]), len(model.user_ids))
    cases = cases_of(Designer(model, designer.gan), judge, [cohort], **options)
    assert [case.category for case in cases] == list(cohort.taken)[1:3]
    with pytest.raises(SettingsError, match=f"seen every item of category '{first.category}'"):
        cases_of(Designer(model, designer.gan), judge, [cohort], **{**options, "categories": [first.category]})


def test_what_cannot_be_judged_is_told_before_anything_is_designed(design_world, judge, monkeypatch):
    def design(*_, **__):
        raise AssertionError("nothing may be designed")

    monkeypatch.setattr(Designer, "design", design)
    designer, options = design_world.designer, {"cohorts": 1, "settings": QUICK}
    with pytest.raises(DataError, match="nothing in stock has a picture"):
        find_gaps(design_world.bundle, without(designer, designer.category_names), judge, **options)
    stranger = copy.copy(judge)
    stranger.recommender = copy.copy(judge.recommender)
    stranger.recommender.user_ids = np.array([f"{user}-b" for user in judge.recommender.user_ids], dtype=object)
    with pytest.raises(MismatchError, match=r"the judge knows none of the [0-9]+ users of cohort 1; train it on"):
        find_gaps(design_world.bundle, designer, stranger, **options)


def test_a_judge_must_have_its_own_eye_of_the_same_catalogue(design_world, tiny_bundle, tmp_path):
    designer, bundle = design_world.designer, design_world.bundle
    with pytest.raises(MismatchError, match="train a judge with another --encoder"):
        load_judge(design_world.folder / "recommender", designer, bundle)
    still = DVBPRSettings(backbone="efficientnet_lite0", input_size=48, dim=8, frozen_epochs=1, epochs=1)
    train_recommender(bundle, "dvbpr", still, out=tmp_path / "dvbpr", embed=EmbedSettings(size=SIZE), device="cpu")
    with pytest.raises(MismatchError, match=r"designs are made with \(dvbpr:efficientnet_lite0\)"):
        load_judge(tmp_path / "dvbpr", designer, bundle)
    train_recommender(bundle, "popularity", out=tmp_path / "popularity")
    with pytest.raises(SettingsError, match="does not look at pictures"):
        load_judge(tmp_path / "popularity", designer, bundle)
    with pytest.raises(MismatchError, match="another catalogue"):
        find_gaps(tiny_bundle, designer, Sight(designer.recommender, designer.gan))


def test_without_a_judge_one_is_trained_from_the_half_that_the_designer_has_not_seen(design_world, tmp_path, capsys):
    world, bundle, gan = design_world.folder, design_world.bundle, design_world.designer.gan
    with pytest.raises(MismatchError, match="--split half=scorer"):
        choose_judge(bundle, design_world.designer)
    half = {"split": SplitSettings(half="scorer"), "embed": EmbedSettings(size=SIZE), "device": "cpu"}
    scorer = train_recommender(bundle, "visual_knn", VisualKNNSettings(width=16), out=tmp_path / "a", **half)
    proof = ProofSettings(judge_model="visual_knn", judge_encoder="efficientnet_lite2@48")
    judge = choose_judge(bundle, Designer(scorer, gan, device="cpu"), proof, seed=3)
    assert judge.recommender.facts["split"]["half"] == "judge"
    chosen = [f"--set={name}" for name in ("judge_model=visual_knn", "judge_encoder=efficientnet_lite2@48")]
    parts = [f"--recommender={tmp_path / 'a'}", f"--gan={world / 'gan'}", "--seed=3"]
    quick = [f"--set={name}" for name in ("samples=2", "starts=1", "steps=1")]
    options = ["--cohorts=1", "--category=dress", "-n", "1", "--device=cpu", f"--out={tmp_path / 'out'}", "--json"]
    assert run(["gaps", str(world / "catalogue"), *parts, *chosen, *quick, *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["about"]["judge"] == {
        "name": "visual_knn",
        "digest": judge.recommender.digest,  # trained once, then kept beside the bundle
        "encoder": "efficientnet_lite2@48",
    }
    assert run(["gaps", str(world / "catalogue"), *parts, *chosen, f"--judge={world / 'judge'}", *options]) == 2
    assert "leave out --judge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"categories": ["dres"]}, NotFoundError, "did you mean 'dress'"),
        ({"cohorts": 0}, SettingsError, "at least one"),
        ({"cohorts": 10_000}, DataError, "too few"),
        ({"members": 0}, SettingsError, "members=0"),
        ({"designs": 0}, SettingsError, "n=0"),
        ({"designs": 10_000}, SettingsError, "n=10000"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(design_world, judge, asked, kind, message):
    with pytest.raises(kind, match=message):
        find_gaps(design_world.bundle, design_world.designer, judge, **{"cohorts": 1, "settings": QUICK, **asked})


# ---- briefs


def test_briefs_are_one_page_each_in_one_self_contained_file(design_world, found, tmp_path):
    told = save_gaps(found, design_world.bundle, tmp_path / "out")
    page = (tmp_path / "out" / "gaps.html").read_text()
    assert page.count('class="sheet"') == len(found.gaps) + 1
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(|@import|<script""", page)
    for gap in found.gaps:
        assert f"{gap.category} for cohort {gap.cohort}" in page
        assert all(f"item {item_id}, {gap.category}" in page for item_id, _ in gap.nearest)
    table = pd.read_csv(tmp_path / "out" / "gaps.csv")
    assert table["gap"].tolist() == pytest.approx([gap.gap.mean for gap in found.gaps])
    assert load_gaps(tmp_path / "out") == json.loads((tmp_path / "out" / "gaps.json").read_text()) == told
    for gap, read in zip(found.gaps, told["gaps"]):  # whom designs were for is kept: the service designs for them again
        assert read["design"]["settings"]["user"] == gap.design.settings["user"]
        assert len(read["design"]["settings"]["user"]) == gap.judged
    assert told["gaps"][0]["design"]["settings"]["search"]["steps"] == QUICK.steps
    with pytest.raises(ArtifactError, match="--overwrite"):
        save_gaps(found, design_world.bundle, tmp_path / "out")
    save_gaps(found, design_world.bundle, tmp_path / "again")
    assert (tmp_path / "again" / "gaps.html").read_text() == page


def test_a_brief_tells_how_many_it_is_for_its_colours_and_what_its_like_are(design_world, found, tmp_path):
    save_gaps(found, design_world.bundle, tmp_path / "out")
    page = unescape((tmp_path / "out" / "gaps.html").read_text())
    briefs = re.split(r'<section class="sheet" id="brief-[0-9]+">', page)[1:]
    assert all(gap.palette for gap in found.gaps)
    assert any(gap.attributes for gap in found.gaps)
    for gap, brief in zip(found.gaps, briefs, strict=True):
        words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", brief))
        assert f"{gap.users} users, {gap.user_share:.0%} of all; took {gap.taken} of the category" in words
        for colour in gap.palette:
            assert f'style="background:{colour.hex}"' in brief
            assert f"{colour.name} {colour.hex} {colour.share:.0%}" in words
        for name, (value, share) in gap.attributes.items():
            assert f"{name}: {value} ({share:.0%})" in words
        assert all(word in words for word in gap.style)


def test_the_verb_writes_them_and_tells_what_was_found(design_world, tmp_path, capsys):
    world = design_world.folder
    parts = [f"--{name}={world / name}" for name in ("recommender", "gan", "judge")]
    quick = [f"--set={name}" for name in ("samples=2", "starts=1", "steps=1")]
    options = ["--cohorts=1", "--category=dress", "-n", "1", "--device=cpu", f"--out={tmp_path / 'out'}", "--json"]
    assert run(["gaps", str(world / "catalogue"), *parts, *quick, *options]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert [gap["category"] for gap in told["gaps"]] == ["dress"]
    assert "of 1 cases show a gap" in printed.err
    assert told["gaps"][0]["design"]["settings"]["size"] == SIZE
