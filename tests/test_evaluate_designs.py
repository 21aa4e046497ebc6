"""The proof of designs: halves of histories, figures by hand, and all of it in a small drawn world."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from recgan import cli
from recgan.cli.designs_table import designs_table
from recgan.config import (
    DesignSettings,
    DVBPRSettings,
    EmbedSettings,
    IdealPointSettings,
    ProofSettings,
    Recipe,
    SimulateSettings,
    SplitSettings,
    VisualKNNSettings,
)
from recgan.dataset.boutique import make_boutique
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.oracle import StyleOracle
from recgan.dataset.pixels import load_pixels
from recgan.dataset.simulate import simulate_users
from recgan.dataset.split import make_split
from recgan.design import Designer, load_designer
from recgan.encoders import load_encoder
from recgan.errors import ArtifactError, DataError, MismatchError, SettingsError
from recgan.evaluation.designs import evaluate_designs, judge_of
from recgan.evaluation.designs.attributes import AttributeReader, attributes_of
from recgan.evaluation.designs.figures import (
    Photos,
    diversity,
    estimate,
    kid_at_matched_classes,
    novelty,
    preferred,
    specificity,
    transfer,
)
from recgan.evaluation.designs.judges import AttributeJudge, StyleJudge
from recgan.evaluation.designs.measuring import method_figures
from recgan.evaluation.designs.methods import REAL, Made
from recgan.evaluation.designs.verdicts import Verdicts
from recgan.evaluation.estimates import Estimate
from recgan.evaluation.showcase import ShownUser
from recgan.gan import train_gan
from recgan.metrics.generative import kernel_distance
from recgan.recommenders import load_recommender, train_recommender

SCORER, JUDGE = SplitSettings(half="scorer"), SplitSettings(half="judge")
KEYS = {
    "win", "lift", "percentile", "transfer", "invisible", "specificity", "kid", "class_accuracy", "diversity",
    "novelty", "intervals",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proof")
    make_boutique(folder / "catalogue", items=200, size=64, seed=0)
    users = SimulateSettings(users=40, interactions=800, seed=0)
    bundle = simulate_users(Bundle.open(folder / "catalogue"), folder / "users", users)
    embed = EmbedSettings(encoder="efficientnet_lite0_levels@48", size=32)
    settings = IdealPointSettings(width=16, dim=4)
    train_recommender(bundle, "ideal_point", settings, split=SCORER, embed=embed, out=folder / "a", device="cpu")
    small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=16, batch_size=8)
    train_gan(bundle, small, out=folder / "gan", size=32, images_seen=64, device="cpu")
    return folder


PROOF = ProofSettings(judge_encoder="efficientnet_lite2@48", reader_images=200, reader_epochs=1, pairs=8)
QUICK = {
    "default": DesignSettings(samples=3, starts=2, steps=2),
    "other": DesignSettings(samples=2, starts=1, steps=1),
}


@pytest.fixture(scope="module")
def report(world):
    return evaluate_designs(
        world / "users", world / "a", world / "gan", PROOF, methods=QUICK, users=6, device="cpu", out=world / "out"
    )


# ---- the halves of a history


def keys(pairs, n_items):
    return set((pairs.users * n_items + pairs.items).tolist())


def test_scorer_and_judge_share_no_interaction_and_leave_none_out(world):
    bundle = Bundle.open(world / "users")
    whole, scorer, judge = (make_split(bundle, settings) for settings in (SplitSettings(), SCORER, JUDGE))
    n = whole.n_items
    assert not keys(scorer.train, n) & keys(judge.train, n)
    assert keys(scorer.train, n) | keys(judge.train, n) == keys(whole.train, n)
    assert keys(scorer.test, n) == keys(whole.test, n)
    assert keys(judge.validation, n) == keys(whole.test, n)
    assert not len(judge.test)
    counts = [np.bincount(split.train.users, minlength=split.n_users) for split in (scorer, judge)]
    assert set((counts[0] - counts[1]).tolist()) <= {0, 1}
    # What is the other's is known to be liked, so it is no negative.
    assert keys(judge.train, n) <= keys(scorer.withheld, n)


def test_a_scorer_that_saw_the_judges_half_is_refused(world, monkeypatch):
    def whole(*args, **options):
        designer = load_designer(*args, **options)
        designer.recommender.facts["split"]["half"] = "both"
        return designer

    monkeypatch.setattr("recgan.evaluation.designs.proving.load_designer", whole)
    with pytest.raises(MismatchError, match="half=scorer"):
        evaluate_designs(world / "users", world / "a", world / "gan", PROOF, methods=QUICK, users=2, device="cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.facts["split"].update(seed=7), "other interactions"),
        (lambda model: setattr(model, "split_digest", ""), "or from more since"),
    ],
)
def test_a_scorer_of_other_interactions_is_refused(world, change, message):
    designer = load_designer(world / "a", world / "gan", bundle=Bundle.open(world / "users"), device="cpu")
    change(designer.recommender)
    with pytest.raises(MismatchError, match=message):
        judge_of(Bundle.open(world / "users"), designer, PROOF)


def test_pseudo_users_have_no_halves(tmp_path):
    with BundleWriter(tmp_path / "b", name="t", licence="-", source="-", pseudo_users=True) as writer:
        writer.set_items(pd.DataFrame({"item_id": list("abc"), "category": "c"}))
        rows = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")]
        writer.set_interactions(pd.DataFrame(rows, columns=["user_id", "item_id"]))
    with pytest.raises(DataError, match="pseudo-users"):
        make_split(Bundle.open(tmp_path / "b"), SCORER)


def test_a_judge_that_looks_through_the_scorers_network_is_refused(world):
    proof = PROOF.model_copy(update={"judge_encoder": "efficientnet_lite0@48"})
    with pytest.raises(MismatchError, match="through one network"):
        evaluate_designs(world / "users", world / "a", world / "gan", proof, methods=QUICK, users=2)


def test_a_scorer_that_was_tuned_on_from_the_judges_network_is_refused(world):
    bundle, designer = Bundle.open(world / "users"), load_designer(world / "a", world / "gan", device="cpu")
    still = DVBPRSettings(backbone="efficientnet_lite2", input_size=48, dim=8, frozen_epochs=1, epochs=1)
    tuned = train_recommender(bundle, "dvbpr", still, split=SCORER, embed=EmbedSettings(size=32), device="cpu")
    for helped in (Designer(tuned, designer.gan), Designer(designer.recommender, designer.gan, companions=[tuned])):
        with pytest.raises(MismatchError, match=r"one network \(dvbpr:efficientnet_lite2\)"):
            judge_of(bundle, helped, PROOF)


def test_an_encoder_at_another_side_is_another_encoder_of_the_same_weights():
    own, small = load_encoder("efficientnet_lite0", "cpu"), load_encoder("efficientnet_lite0@64", "cpu")
    assert (small.name, small.input_size) == ("efficientnet_lite0@64", 64)
    assert small.weights == own.weights
    assert small.digest != own.digest
    for wrong in ("efficientnet_lite0@", "efficientnet_lite0@8", "efficientnet_lite0@big"):
        with pytest.raises(SettingsError, match="pixels"):
            load_encoder(wrong, "cpu")


# ---- figures


def test_wins_are_shares_of_pairs_and_ties_count_half():
    scores = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert preferred(scores, np.array([1.0, 5.0])).tolist() == [0.75, 0.0]
    assert preferred(scores, np.array([[0.0, 2.0], [-1.0, -2.0]])).tolist() == [(1 + 0 + 1 + 0.5) / 4, 1.0]


def test_the_interval_is_over_users_and_leaves_out_what_is_not_known():
    told = estimate(np.array([0.0, 1.0, np.nan, 1.0, 0.0]), seed=0)
    assert told.value == 0.5
    assert told.low < 0.5 < told.high
    assert np.isnan(estimate(np.array([np.nan]), seed=0).value)


def test_specificity_compares_a_users_own_pictures_with_those_of_others():
    # Of two users in one category: the first likes the own picture (3) more than the other's (1), the second less.
    cross = [np.array([[[3.0], [1.0]], [[5.0], [2.0]]]), np.array([[[9.0]]])]
    assert specificity(cross).tolist() == [1.0, 0.0]  # nobody to compare with in the second category


def test_kid_is_to_photos_in_the_same_shares_of_classes():
    rng = np.random.default_rng(0)
    test, classes = rng.normal(size=(60, 4)), np.repeat([0, 1], 30)
    test[classes == 1] += 5
    photos = Photos(test, classes, test, classes)
    pictures = rng.normal(size=(20, 4))  # all of class 0, as like it as can be
    matched = kid_at_matched_classes(pictures, np.zeros(20, dtype=int), photos, seed=0)
    drawn = np.random.default_rng([0, 11]).permutation(30)[:20]
    assert matched.value == pytest.approx(kernel_distance(test[drawn], pictures))
    assert matched.low < 0 < matched.high
    assert kernel_distance(test, pictures) > 10 * abs(matched.value)
    assert np.isnan(kid_at_matched_classes(rng.normal(size=(40, 4)), np.zeros(40, dtype=int), photos, seed=0).value)


def test_diversity_is_told_as_a_share_of_real_photos():
    line = np.array([[0.0], [1.0], [2.0]])  # mean distance 4/3
    photos = Photos(line, np.zeros(3, dtype=int), line, np.zeros(3, dtype=int))
    features = np.array([[[0.0], [1.0]], [[4.0], [5.0]]])
    told = diversity(features, np.array([0, 0]), photos)
    assert told["within"] == pytest.approx(1 / (4 / 3))
    assert told["across"] == pytest.approx(4 / (4 / 3))  # 4, 5, 3, 4


def test_novelty_counts_both_tails():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    zeros = np.zeros(400, dtype=int)
    photos = Photos(train, zeros, test, zeros)
    pictures = np.concatenate([train[:30], rng.normal(size=(30, 2)), 50 + rng.normal(size=(40, 2))])
    told = novelty(pictures, np.zeros(100, dtype=int), photos)
    assert told["near"][:30].all()
    assert told["far"][60:].all()
    assert told["near"].mean() == pytest.approx(0.3, abs=0.05)
    assert told["far"].mean() == pytest.approx(0.4, abs=0.05)
    assert np.isnan(novelty(pictures, np.ones(100, dtype=int), photos)["near"]).all()


def test_transfer_is_a_ratio_of_means_and_nothing_where_the_scorer_may_have_gained_nothing():
    by_scorer = np.array([1.0, 2.0, 3.0, 2.0])
    told = transfer(0.5 * by_scorer, by_scorer, seed=0)
    assert told.value == pytest.approx(0.5)
    assert (told.low, told.high) == pytest.approx((0.5, 0.5))  # paired by user
    assert transfer(np.array([0.0, 1.0, 1.0, 0.0]), by_scorer, seed=0).low < 0.25
    assert np.isnan(transfer(by_scorer, np.array([-1.0, 1.0, 0.1, -0.1]), seed=0).value)


def test_a_methods_figures_are_those_of_its_verdicts():
    """Three users with two pictures each of 2 x 2 pixels, the first of which tells the class that the reader sees."""
    users = [ShownUser(name, "bag") for name in ("u", "v", "w")]
    pixels = np.zeros((3, 2, 2, 2, 3), np.uint8)
    pixels[2] = 1  # the third user's look like the other class
    made = Made(pixels, started=pixels)
    scores = {
        "a": np.array([[2.0, 2.0], [2.0, 2.0], [3.0, 3.0]]),
        "b": np.array([[1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]),
    }
    best = {"a": np.ones((3, 2)), "b": np.array([[0.5, 9.0], [0.5, 9.0], [-0.5, 9.0]])}
    above = {"a": np.full((3, 2), 0.9), "b": np.array([[0.4, 0.6], [0.6, 0.6], [0.9, 0.5]])}
    cross = {who: [np.broadcast_to(told, (3, 3, 2))] for who, told in scores.items()}
    verdicts = Verdicts({"m": scores, REAL: best}, {"m": above}, {"m": cross}, {"m": np.zeros((3, 2))})
    rng = np.random.default_rng(0)
    photos = Photos(rng.normal(size=(40, 2)), np.arange(40) % 2, rng.normal(size=(40, 2)), np.arange(40) % 2)
    told = method_figures("m", made, verdicts, Seen(photos), Alike([1.0, 0.5, 0.0]), users, np.zeros(3, int), seed=0)
    assert told.win["b"].value == pytest.approx((1 + 0.5 + 0.5) / 3)  # against the first of the best real items
    assert told.lift["a"].value == pytest.approx(7 / 3)
    assert told.lift["b"].value == pytest.approx((1 + 0.5 - 0.5) / 3)
    assert told.percentile["b"].value == pytest.approx(60)
    assert told.transfer.value == pytest.approx(1 / 7)
    assert told.invisible.value == pytest.approx(0.5)
    assert told.class_accuracy.value == pytest.approx(2 / 3)
    for one in (told.percentile["b"], told.transfer, told.invisible, told.class_accuracy):
        assert one.low < one.value < one.high
    assert told.as_json()["intervals"]["invisible"] == {"low": told.invisible.low, "high": told.invisible.high}


class Seen:
    """A reading whose reader sees in a picture the class that its first pixel tells."""

    category = 0

    def __init__(self, photos):
        self.photos, self.reader = photos, self

    def look(self, pixels):
        told = pixels[:, 0, 0, 0]
        return [np.eye(2)[told]], np.random.default_rng(1).normal(size=(len(pixels), 2))


class Alike:
    """Says of how many of each user's pictures the gain is not to be seen."""

    def __init__(self, shares):
        self.shares = np.array(shares)

    def share(self, users, pictures, rise):
        assert rise.min() >= -1
        return self.shares


# ---- judges


class AllKnowing:
    """Reads every attribute right off a picture, which here is told by the number in its corner."""

    def __init__(self, attributes, items):
        self.attributes, self.items = attributes, items

    def look(self, pixels):
        rows = self.items[pixels[:, 0, 0, 0]]
        told = [np.eye(len(one.values))[one.index[rows]] for one in self.attributes]
        return [read * (one.index[rows] >= 0)[:, None] for read, one in zip(told, self.attributes)], None


def test_the_attribute_oracle_likes_what_has_the_values_that_are_truly_liked(world):
    bundle = Bundle.open(world / "users")
    attributes = attributes_of(bundle)
    assert attributes[0].name == "category"
    assert len(attributes) > 1
    oracle = StyleOracle.load(bundle)
    items, user = np.flatnonzero(bundle.category_index == 0), oracle.user_ids[0]
    numbered = np.zeros((len(items), 4, 4, 3), dtype=np.uint8)
    numbered[:, 0, 0, 0] = np.arange(len(items))
    known = np.ones(len(bundle.items), dtype=bool)
    judge = AttributeJudge(oracle, AllKnowing(attributes, items), attributes, bundle.category_index, known)
    told = judge.raw([user], bundle.category_names[0], numbered)[0]
    taste = oracle.taste_of_items([user], items)[0].astype(np.float64)
    taste -= taste.mean()
    by_hand = np.zeros(len(items))
    for attribute in attributes[1:]:
        value = attribute.index[items]
        for place in np.flatnonzero(value >= 0):
            alike = taste[value == value[place]]
            by_hand[place] += alike.sum() / (len(alike) + 20)
    np.testing.assert_allclose(told, by_hand, atol=1e-9)


def test_attributes_are_columns_of_text_with_few_common_values(world):
    bundle = Bundle.open(world / "users")
    for attribute in attributes_of(bundle)[1:]:
        assert 2 <= len(attribute.values) <= 60
        counts = np.bincount(attribute.index[attribute.index >= 0])
        assert counts.min() >= 20


def test_the_reader_learns_to_tell_colours_apart():
    rng = np.random.default_rng(0)
    value = rng.integers(2, size=300)
    pixels = rng.integers(0, 120, (300, 32, 32, 3), dtype=np.uint8)
    pixels[np.arange(300), :, :, value] += 120
    wanted = np.stack([np.zeros(300, dtype=int), np.where(np.arange(300) < 20, -1, value)], axis=1)
    reader = AttributeReader.learnt(pixels, wanted, [2, 2], 16, epochs=4, seed=0, device=torch.device("cpu"))
    told, features = reader.look(pixels)
    assert (told[1].argmax(axis=1) == value).mean() > 0.95
    assert features.shape == (300, 256)


def test_a_verdict_is_in_the_users_own_unit_among_items_that_are_left(world):
    bundle = Bundle.open(world / "users")
    oracle = StyleOracle.load(bundle)
    items = np.flatnonzero(bundle.category_index == 0)
    pixels = load_pixels(bundle, 64)[bundle.primary_images[items]]
    users, category = oracle.user_ids[:2].tolist(), bundle.category_names[0]
    judge = StyleJudge(oracle)
    truth = oracle.taste_of_items(users, items)
    np.testing.assert_allclose(judge.raw(users, category, pixels), truth, atol=1e-4)
    left = np.ones((2, len(items)), dtype=bool)
    left[1, :3] = False
    told = judge.verdict(users, category, pixels, truth, left)
    own = truth[1, 3:].astype(np.float64)
    np.testing.assert_allclose(told.scores[1], (truth[1] - own.mean()) / own.std(), atol=1e-3)
    assert told.above[1].max() <= 1
    assert told.above[0, truth[0].argmax()] == pytest.approx(1 - 1 / len(items))


# ---- all of it


def test_the_report_has_every_figure_of_every_method(report):
    told = report.as_json()
    assert set(told["methods"]) == {
        "random", "best_of_n", "default", "other", "popular", "best_real", "oracle_of_20", "oracle_of_all"
    }  # fmt: skip
    for figures in told["methods"].values():
        assert set(figures) == KEYS
        assert set(figures["win"]) == {"b", "style", "attribute"}
        assert set(figures["lift"]) == {"a", "b", "style", "attribute"}
        assert set(figures["specificity"]) == {"b", "style"}
    json.dumps(told, allow_nan=False)
    assert told["budget"]["users"] == 6
    # As many samples as the main method looks at pictures: 3 scored, 2 climbed for 2 steps of 3, looked at twice more,
    # compared with their starts by 3.
    assert told["budget"]["settings"]["best_of_n"]["samples"] == 3 + 2 * (3 * 2 + 2 + 3)
    assert told["methods"]["best_real"]["win"]["style"]["share"] is None  # it is what wins are counted against


def test_the_oracle_finds_headroom_in_the_right_order(report):
    headroom = report.as_json()["headroom"]
    assert headroom["best_real"] <= headroom["oracle_of_20"] <= headroom["oracle_of_all"]
    best = report.scores["best_real"]["a"][:, 0]
    for name in ("oracle_of_20", "oracle_of_all"):
        assert (report.scores[name]["a"][:, 0] <= best + 1e-6).all()  # nothing real is liked more by A than A's best


def test_the_same_seed_gives_the_same_report_from_what_is_kept(world, report):
    again = evaluate_designs(world / "users", world / "a", world / "gan", PROOF, methods=QUICK, users=6, device="cpu")
    told, before = again.as_json(), report.as_json()
    for one in (told, before):
        del one["budget"]["seconds"]
    assert told == before


def test_a_proof_that_is_stopped_while_it_is_saved_keeps_its_designs(world, report, monkeypatch):
    out = world / "stopped"

    def proof():
        return evaluate_designs(
            world / "users", world / "a", world / "gan", PROOF, methods=QUICK, users=2, device="cpu", out=out
        )

    def stopped(*args, **options):
        raise KeyboardInterrupt

    def refused(*args, **options):
        raise AssertionError("designed again")

    with monkeypatch.context() as patched:
        patched.setattr("recgan.evaluation.designs.proving.save_designs_report", stopped)
        with pytest.raises(KeyboardInterrupt, match=r"stopped\.run"):
            proof()
    assert not out.exists()
    monkeypatch.setattr(Designer, "design_many", refused)
    np.testing.assert_array_equal(proof().made["default"].pixels, report.made["default"].pixels[:2])
    assert (out / "designs.html").exists()
    assert not (world / "stopped.run").exists()


def vivid_designer(*args, **options):
    """As loaded, but its generator, which has hardly learned, paints in more than one grey."""
    designer = load_designer(*args, **options)
    made = designer.gan.generator
    gan = replace(designer.gan, generator=lambda z, classes: torch.tanh(3000 * made(z, classes)))
    companions = [sight.recommender for sight in designer.companions]
    return Designer(designer.recommender, gan, companions=companions, device="cpu")


def test_a_companion_helps_the_methods_that_have_one_and_is_named(world, report, monkeypatch):
    embed = EmbedSettings(encoder="efficientnet_lite0@48", size=32)
    train_recommender(
        Bundle.open(world / "users"), "visual_knn", VisualKNNSettings(width=16), split=SCORER, embed=embed,
        out=world / "beside", device="cpu",
    )  # fmt: skip
    monkeypatch.setattr("recgan.evaluation.designs.proving.load_designer", vivid_designer)
    plain = DesignSettings(samples=8, starts=1, steps=0, crowd_weight=0, realism_weight=0)
    helped = evaluate_designs(
        world / "users", world / "a", world / "gan", PROOF, methods={"plain": plain}, companions=[world / "beside"],
        users=3, device="cpu",
    )  # fmt: skip
    budget = helped.as_json()["budget"]
    assert report.as_json()["budget"]["companions"] == []
    (named,) = budget["companions"]
    assert (named["model"], named["encoder"], named["half"]) == ("visual_knn", "efficientnet_lite0@48", "scorer")
    assert named["digest"] == load_recommender(world / "beside").digest
    alone = vivid_designer(world / "a", world / "gan", device="cpu")

    def without(name):
        settings = DesignSettings(**budget["settings"][name])
        asked = enumerate(helped.users)
        designs = [alone.design(one.user_id, one.category, 2, seed=1000 * row, settings=settings) for row, one in asked]
        return np.array([[design.image for design in of_user] for of_user in designs])

    assert not np.array_equal(helped.made["plain"].pixels, without("plain"))
    np.testing.assert_array_equal(helped.made["random"].pixels, without("random"))  # where it has no say
    assert set(helped.methods["plain"].lift) == {"a", "b", "style", "attribute"}


def test_users_do_not_depend_on_how_many_are_asked_for(world, report):
    fewer = evaluate_designs(world / "users", world / "a", world / "gan", PROOF, methods=QUICK, users=3, device="cpu")
    assert fewer.users == report.users[:3]
    np.testing.assert_array_equal(fewer.made["default"].pixels, report.made["default"].pixels[:3])


def test_the_page_is_self_contained_and_names_every_method(world, report):
    page = (world / "out" / "designs.html").read_text()
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for name in report.made:
        assert f"<h4>{name}</h4>" in page
    assert page.count("data:image/png") >= 6 * 2 * 4
    with pytest.raises(ArtifactError):
        evaluate_designs(world / "users", world / "a", world / "gan", users=1, out=world / "out")


def test_the_page_shows_each_users_history_best_real_items_and_what_every_judge_says(world, report):
    page = re.sub(r'src="data:[^"]*"', "", (world / "out" / "designs.html").read_text())
    cards = re.split(r"<h3>(.*?)</h3>", page[page.index('id="users"') :])[1:]
    assert cards[::2] == [f"{user.user_id}, {user.category}" for user in report.users]
    bundle, scorer = Bundle.open(world / "users"), load_recommender(world / "a")
    for row, (user, card) in enumerate(zip(report.users, cards[1::2], strict=True)):
        history, *methods = re.split(r"<h4>", card)[1:]
        known = scorer.item_ids[scorer.user_vector(user.user_id).seen]
        log = bundle.interactions[bundle.interactions["user_id"] == user.user_id]
        last = log.groupby("item_id")["timestamp"].max()[known]
        shown = re.findall(r'alt="item (.*?), ', history)
        assert len(set(shown)) == min(8, len(known))
        assert last[shown].tolist() == sorted(last, reverse=True)[: len(shown)]
        by_name = {method.partition("</h4>")[0]: method for method in methods}
        assert list(by_name) == list(report.made)
        best = [str(bundle.item_ids[item]) for item in report.made["best_real"].rows[row]]
        assert re.findall(r'alt="item (.*?), ', by_name["best_real"]) == best
        for name, method in by_name.items():
            captions = re.findall(r"<figcaption>(.*?)</figcaption>", method)
            assert len(captions) == report.made[name].pixels.shape[1]
            for caption, told in zip(captions, picture_figures(report, name, row), strict=True):
                assert caption.split("<br>") == told


def picture_figures(report, name, row):
    scores, above = report.scores[name], report.percentiles[name]
    judges = {"a": "A", "b": "B", "style": "style", "attribute": "attributes"}
    return [
        [f"{shown} {scores[who][row, place]:+.2f} ({above[who][row, place]:.0f}%)" for who, shown in judges.items()]
        for place in range(report.made[name].pixels.shape[1])
    ]


def test_the_tables_for_a_person_fit_80_columns(report):
    console = Console(width=80, file=io.StringIO())
    console.print(designs_table(report))
    lines = console.file.getvalue().splitlines()
    assert "…" not in "".join(lines)
    for name, one in report.methods.items():
        assert sum(line.split()[:1] == [name] for line in lines) == 4
        assert any(f"{one.lift['a'].value:.2f}" in line for line in lines if line.split()[:1] == [name])


def test_the_command_prints_the_report(world, monkeypatch, capsys):
    arguments = [
        "evaluate", "designs", str(world / "users"), "--recommender", str(world / "a"), "--gan", str(world / "gan"),
        "--users", "2", "--seed", "0", "--json", "--device", "cpu", "--methods", "default,noisy=default",
        "--set", "noisy.samples=2", "--set", "noisy.steps=1", "--set", "noisy.method=langevin",
        "--set", "judge_encoder=efficientnet_lite2@48", "--set", "reader_images=200", "--set", "reader_epochs=1",
        "--set", "pairs=4", "--set", "default.samples=2", "--set", "default.starts=1", "--set", "default.steps=1",
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["recgan", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert {"methods", "headroom", "budget"} <= set(told)
    assert set(told["preferred"]) == {"default > random", "default > best_of_n", "default > noisy"}
    assert told["budget"]["settings"]["noisy"]["method"] == "langevin"
    assert set(told["preferred"]["default > best_of_n"]["b"]) == {"share", "low", "high"}
    assert told["budget"]["settings"]["default"]["steps"] == 1


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("default,default", "names 'default' twice; call one otherwise, as in other=default"),
        ("x=", "write it as PRESET, or as NAME=PRESET"),
        (" , ", "--methods names no preset"),
        ("random=default", "'random' is a baseline"),
        ("x=defualt", "did you mean 'default'"),
    ],
)
def test_methods_that_cannot_be_are_refused(world, monkeypatch, capsys, methods, said):
    arguments = ["--recommender", str(world / "a"), "--gan", str(world / "gan"), "--methods", methods]
    monkeypatch.setattr("sys.argv", ["recgan", "evaluate", "designs", str(world / "users"), *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ((0.7, 0.6, 0.8), "70% of the time (95% interval 60% to 80%): more often than not"),
        ((0.5, 0.4, 0.6), "50% of the time (95% interval 40% to 60%): as likely as not"),
        ((0.3, 0.2, 0.4), "30% of the time (95% interval 20% to 40%): less often than not"),
    ],
)
def test_what_was_found_is_said_as_far_as_its_interval_goes(report, share, words):
    main = replace(report.methods[report.main], win={"style": Estimate(*share)})
    found = replace(report, methods={report.main: main}, preferred={}, budget=report.budget | {"users": 20})
    who = f"the style oracle prefers a design of '{report.main}' to the scorer's best real item "
    assert found.findings() == [who + words]
    few = replace(found, budget=report.budget | {"users": 19})
    assert few.findings() == [
        "only 19 users were asked: bootstrap intervals over fewer than 20 are too narrow",
        who + words,
    ]
