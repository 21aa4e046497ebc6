import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from recgan.config import EmbedSettings, Recipe, VisualKNNSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.oracle import StyleOracle
from recgan.dataset.pixels import load_pixels
from recgan.dataset.split import make_split
from recgan.design import Designer
from recgan.encoders import embed_items
from recgan.errors import ArtifactError, DataError, MismatchError, SettingsError, StorageError
from recgan.evaluation.ranking.report import Comparison, ModelFigures, RankingReport
from recgan.evaluation.report import make_report, write_report
from recgan.evaluation.report.figures import comparison_rows, interval_plot, labels, ranking_heads, ranking_rows
from recgan.evaluation.report.truth import TrueTaste
from recgan.evaluation.showcase import design_for_shown, draw_users
from recgan.gan import train_gan
from recgan.recommenders import create_recommender, training_data
from tests.design_world import QUICK, SIZE

NAN = float("nan")


def figures(name, auc, cold, *, share=None, saved=False):
    groups = {"all": auc, "warm": auc + 0.01, "cold": cold, "under_5": NAN}
    values = {metric: dict(groups) for metric in ("auc", "ndcg@20", "recall@20")}
    intervals = {metric: {g: (v - 0.02, v + 0.03) for g, v in groups.items()} for metric, groups in values.items()}
    about = {"model": name, "saved": saved}
    return ModelFigures(values, intervals, {"coverage@20": 0.25}, share or {}, about)


def ranking_report(models, oracle=None, comparisons=(), **changes):
    parts = {
        "bundle": "shop",
        "simulated": oracle is not None,
        "pseudo_users": False,
        "part": "test",
        "split": {"protocol": "leave_one_out", "seed": 0, "cold_share": 0.1, "digest": "d"},
        "embed": None,
        "seed": 0,
        "users": 100,
        "skipped": 0,
        "positives": {"all": 100, "warm": 90, "cold": 10, "under_5": 0},
        "candidates": 500,
        "models": models,
        "oracle": oracle,
        "comparisons": list(comparisons),
    }
    return RankingReport(**{**parts, **changes})


@pytest.fixture
def report():
    share = {"all": 0.5, "warm": 0.5, "cold": 0.25}
    return ranking_report(
        {
            "popularity": figures("popularity", 0.60, 0.40, share=share),
            "runs/mine": figures("vbpr", 0.70, 0.65, share=share, saved=True),
        },
        oracle=figures("oracle", 0.90, 0.95),
        comparisons=[Comparison("runs/mine", "popularity", "auc", "all", 0.1, 0.05, 0.15, 0.0001, 0.0004)],
    )


# ---- figures


def test_rows_stand_by_auc_and_a_saved_model_has_its_models_name(report):
    rows = ranking_rows(report)
    assert [row["name"] for row in rows] == ["vbpr", "popularity", "oracle"]
    first = rows[0]["cells"][0]
    assert (first.text, first.interval, first.best) == ("0.700", ".680–.730", True)
    assert [cell.text for cell in rows[0]["cells"][-3:]] == ["50.0%", "25.0%", "25.0%"]
    assert [cell.text for cell in rows[2]["cells"][-3:]] == ["–", "–", "25.0%"]
    assert not any(cell.best for cell in rows[2]["cells"])  # the oracle is no contender
    assert sum(len(head["columns"]) for head in ranking_heads(report)) == len(rows[0]["cells"])


def test_without_an_oracle_there_is_no_share_and_a_lone_model_wins_nothing():
    report = ranking_report({"popularity": figures("popularity", 0.6, NAN)})
    (row,) = ranking_rows(report)
    assert len(row["cells"]) == 10
    assert row["cells"][2].text == "–"  # no cold item was judged
    assert not any(cell.best for cell in row["cells"])
    assert interval_plot(report).ceiling is None


def test_models_of_one_kind_keep_their_own_names():
    report = ranking_report({name: figures("vbpr", 0.6, 0.5, saved=True) for name in ("runs/a", "runs/b")})
    assert labels(report) == {"runs/a": "runs/a", "runs/b": "runs/b"}


def test_the_plot_places_means_intervals_and_ceiling_on_one_axis(report):
    plot = interval_plot(report)
    # The axis runs from chance, 0.5, to the oracle's upper 0.90: four steps of 0.1.
    assert [tick["label"] for tick in plot.ticks] == ["0.50", "0.60", "0.70", "0.80", "0.90"]
    vbpr, popularity = plot.marks
    assert (vbpr.at, vbpr.low, vbpr.width) == pytest.approx((50.0, 45.0, 12.5))
    assert popularity.at == pytest.approx(25.0)
    assert plot.ceiling == pytest.approx(100.0)
    assert "vbpr 0.700; popularity 0.600; the oracle 0.900" in plot.alt


@pytest.mark.parametrize("auc", [0.5, 0.05, 0.999, 0.7001])
def test_every_mark_lies_on_the_axis(auc):
    plot = interval_plot(ranking_report({"popularity": figures("popularity", auc, NAN)}))
    (mark,) = plot.marks
    assert 0 <= mark.low <= mark.at <= mark.low + mark.width <= 100.001
    assert 2 <= len(plot.ticks) <= 7
    assert plot.ticks[0]["at"] == 0
    assert plot.ticks[-1]["at"] == 100


def test_differences_are_told_by_the_names_of_the_table(report):
    (row,) = comparison_rows(report)
    assert row == {
        "name": "vbpr − popularity",
        "measure": "auc all",
        "mean": "+0.1000",
        "interval": "+0.0500 to +0.1500",
        "p": "< 0.001",
    }


# ---- a small world: drawn catalogue, simulated users, a GAN that has hardly learned


@pytest.fixture(scope="module")
def world(design_world):
    return design_world.folder, design_world.bundle, design_world.designer


def test_users_are_drawn_by_the_seed_and_a_larger_number_only_appends(world):
    _, bundle, designer = world
    ten = draw_users(designer, 10, seed=1)
    assert draw_users(designer, 4, seed=1) == ten[:4]
    assert draw_users(designer, 10, seed=2) != ten
    assert len(draw_users(designer, 1000)) <= 40
    category = dict(zip(bundle.items["item_id"], bundle.items["category"]))
    for user in ten:
        seen = designer.recommender.item_ids[designer.recommender.user_vector(user.user_id).seen]
        taken = pd.Series([category[item] for item in seen]).value_counts()
        assert taken[user.category] == taken.max()


def test_drawing_nobody_is_refused(world):
    _, _, designer = world
    with pytest.raises(SettingsError, match="at least one"):
        draw_users(designer, 0)
    empty = create_recommender("visual_knn")
    empty.__dict__ |= designer.recommender.__dict__
    empty.user_ids = empty.user_ids[:0]
    with pytest.raises(DataError, match="more interactions"):
        draw_users(Designer(empty, designer.gan, device="cpu"), 3)


def test_the_true_taste_is_the_oracles_among_the_real_items(world):
    _, bundle, designer = world
    user = draw_users(designer, 1)[0]
    real = designer.real_items(user.user_id, user.category)
    pixels = load_pixels(bundle, SIZE)[bundle.primary_images[real.rows]]
    taste = StyleOracle.load(bundle).taste([user.user_id], pixels, [user.category] * len(pixels))[0]
    expected = [100 * np.mean(taste < one) for one in taste]
    judge = TrueTaste.of(bundle, SIZE)
    assert judge.percentiles_of_items(user.user_id, user.category, real.rows, real.rows) == pytest.approx(expected)
    assert sorted(expected)[0] == 0


def test_without_an_oracle_there_is_no_true_taste(tiny_bundle):
    assert TrueTaste.of(tiny_bundle, SIZE) is None


class Page(HTMLParser):
    """What a browser would see: pictures, outer references, and tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.images, self.outside, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        for name in ("src", "href"):
            value = attributes.get(name, "")
            if value and not value.startswith(("data:", "#")):
                self.outside.append(value)
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def page(world):
    folder, _, _ = world
    out = make_report(
        folder / "catalogue",
        folder / "recommender",
        folder / "gan",
        folder / "report.html",
        models=["popularity"],
        users=2,
        designs_per_user=2,
        settings=QUICK,
        device="cpu",
    )
    return out.read_text(encoding="utf-8")


def test_the_page_is_one_self_contained_well_formed_file(page):
    seen = Page(page)
    assert seen.open == []
    assert seen.outside == []
    assert not re.search(r"url\(|@import|<script", page)
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in seen.images)


def test_the_page_shows_every_class_and_every_drawn_user(page, world):
    _, bundle, designer = world
    alts = [image["alt"] for image in Page(page).images]
    for category in bundle.category_names:
        assert sum(alt.startswith(f"generated {category}, sample") for alt in alts) == 8
    users = draw_users(designer, 2)
    assert all(f"<h3>{user.user_id}</h3>" in page for user in users)
    assert sum(alt.startswith("designed ") for alt in alts) == 4
    text = Page(page).text
    assert "popularity" in text
    assert "visual_knn" in text
    assert "it proves nothing by itself" in text
    assert "simulated" in text


def test_the_same_inputs_give_the_same_bytes(world, report, tmp_path):
    _, bundle, designer = world
    users = draw_users(designer, 1)
    designs = design_for_shown(designer, users, 1, settings=QUICK)
    pages = [
        write_report(bundle, designer, tmp_path / name, ranking=report, designs=designs).read_bytes() for name in "ab"
    ]
    assert pages[0] == pages[1]


def test_an_existing_page_is_kept_unless_told_otherwise(world, report, tmp_path):
    _, bundle, designer = world
    out = tmp_path / "page.html"
    out.write_text("mine")
    with pytest.raises(ArtifactError, match="--overwrite"):
        write_report(bundle, designer, out, ranking=report, designs={})
    with pytest.raises(ArtifactError, match="--overwrite"):  # before anything is computed
        make_report("nowhere", "nowhere", "nowhere", out)
    assert out.read_text() == "mine"
    write_report(bundle, designer, out, ranking=report, designs={}, overwrite=True)
    assert "vbpr" in out.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_told(world, report, tmp_path):
    _, bundle, designer = world
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_report(bundle, designer, tmp_path / "file" / "page.html", ranking=report, designs={})


def test_another_catalogue_is_refused(world, report, tiny_bundle, tmp_path):
    _, _, designer = world
    with pytest.raises(MismatchError, match="another catalogue"):
        write_report(tiny_bundle, designer, tmp_path / "page.html", ranking=report, designs={})


def test_names_of_the_shop_are_text_never_markup(make_bundle, tmp_path, report):
    plain = make_bundle(items=9, users=4)
    hostile = "<script>alert(1)</script>"
    with BundleWriter(tmp_path / "shop" / "b", name=hostile, licence="&", source='"') as writer:
        writer.link_images(plain)
        writer.set_items(plain.items.assign(category=[f"{hostile}{i % 3}" for i in range(9)]))
        writer.set_interactions(plain.interactions.assign(user_id=plain.interactions["user_id"] + hostile))
    bundle = Bundle.open(tmp_path / "shop" / "b")
    features = embed_items(bundle, EmbedSettings(size=SIZE), device="cpu")
    model = create_recommender("visual_knn", VisualKNNSettings(width=4))
    model.fit(training_data(bundle, make_split(bundle), features), device="cpu")
    small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, batch_size=2)
    gan = train_gan(bundle, small, out=tmp_path / "gan", size=SIZE, images_seen=2, device="cpu", all_images=True)
    designer = Designer(model, gan, device="cpu")
    designs = design_for_shown(designer, draw_users(designer, 1), 1, settings=QUICK)
    out = write_report(bundle, designer, tmp_path / "page.html", ranking=report, designs=designs)
    text = out.read_text(encoding="utf-8")
    assert "<script" not in text
    assert hostile in Page(text).text  # shown as it is
    assert "makes no such claim" in text  # real users: no oracle to judge the designs
