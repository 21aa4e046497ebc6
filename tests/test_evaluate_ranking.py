"""The ranking protocol end to end, against a plain computation over the whole score matrix."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_distances

from recgan.cli.ranking_table import ranking_tables
from recgan.config import EmbedSettings, SimulateSettings, SplitSettings, VBPRSettings, VisualKNNSettings
from recgan.dataset.simulate import simulate_users
from recgan.dataset.split import make_split
from recgan.encoders import embed_items
from recgan.encoders.registry import _LOADERS, register_encoder
from recgan.errors import ArtifactError, DataError, MismatchError, SettingsError
from recgan.evaluation.kept import KeptParts
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.ranking.comparing import _figures
from recgan.evaluation.ranking.contenders import with_controls
from recgan.evaluation.ranking.judging import GROUPS, Judged
from recgan.recommenders import create_recommender, load_recommender, train_recommender, training_data
from recgan.recommenders.models.visual_knn import VisualKNN
from tests.test_encoders import plain_encoder

EMBED = EmbedSettings(encoder="test-plain", size=32)
SPLIT = SplitSettings(cold_share=0.2)
SMALL = {"vbpr": VBPRSettings(latent_dim=2, visual_dim=2, width=8, epochs=3, batch_size=16)}


@pytest.fixture(scope="module", autouse=True)
def encoder():
    register_encoder("test-plain", plain_encoder)
    yield
    del _LOADERS["test-plain"]


@pytest.fixture(scope="module")
def folders(tiny_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("models")
    for name in ("popularity", "visual_knn"):
        train_recommender(tiny_bundle, name, split=SPLIT, embed=EMBED, out=out / name, device="cpu")
    return out


def plain_figures(bundle, scores, part, keep):
    """AUC, recall@10 and hit count by hand: one user at a time over the full list, random ties averaged by ROC."""
    split = make_split(bundle, SPLIT)
    judged = getattr(split, part)
    # While models are chosen on validation, nobody knows what the user's test items are: they are negatives.
    every = [split.train, split.withheld, split.validation, *([split.test] if part == "test" else [])]
    aucs = []
    for user in np.unique(judged.users):
        mine = [item for item in judged.items[judged.users == user] if keep(split)[item]]
        if not mine:
            continue
        known = np.concatenate([pairs.items[pairs.users == user] for pairs in every])
        negatives = np.setdiff1d(np.flatnonzero(split.candidates), known)
        listed = np.concatenate([mine, negatives])
        truth = np.arange(len(listed)) < len(mine)
        aucs.append(roc_auc_score(truth, scores[user, listed]))
    return float(np.mean(aucs)) if aucs else float("nan")


@pytest.mark.parametrize("part", ["test", "validation"])
def test_figures_are_those_of_the_whole_matrix(tiny_bundle, folders, part, monkeypatch):
    monkeypatch.setattr("recgan.evaluation.ranking.judging._CHUNK_VALUES", 60)  # a few users at a time
    models = [folders / "popularity", folders / "visual_knn"]
    report = evaluate_ranking(tiny_bundle, models, split=SPLIT, embed=EMBED, part=part, device="cpu", resamples=50)
    split = make_split(tiny_bundle, SPLIT)
    counts = np.bincount(split.train.items, minlength=split.n_items)
    groups = {
        "all": lambda s: np.ones(s.n_items, bool),
        "warm": lambda s: ~s.cold,
        "cold": lambda s: s.cold,
        "under_5": lambda s: counts < 5,
    }
    for folder in models:
        scores = load_recommender(folder).score(list(split.user_ids))
        for group, keep in groups.items():
            expected = plain_figures(tiny_bundle, scores, part, keep)
            assert report.models[str(folder)].values["auc"][group] == pytest.approx(expected, nan_ok=True)
    assert report.positives["cold"] > 0
    assert report.positives["all"] == report.positives["warm"] + report.positives["cold"] == report.users
    assert report.users + report.skipped == split.n_users


def test_the_validation_auc_that_chooses_vbprs_epoch_is_the_reports(tiny_bundle):
    options = {"split": SPLIT, "embed": EMBED, "settings": SMALL, "device": "cpu", "resamples": 50}
    figures = evaluate_ranking(tiny_bundle, ["vbpr"], part="validation", **options).models["vbpr"]
    assert figures.values["auc"]["all"] == pytest.approx(figures.about["training"]["validation_auc"], abs=1e-9)


def test_names_are_trained_as_train_recommender_does(tiny_bundle, folders):
    options = {"split": SPLIT, "embed": EMBED, "device": "cpu", "resamples": 50}
    by_name = evaluate_ranking(tiny_bundle, ["popularity", "visual_knn"], **options)
    by_folder = evaluate_ranking(tiny_bundle, [folders / "popularity", str(folders / "visual_knn")], **options)
    for name in ("popularity", "visual_knn"):
        assert by_name.models[name].values == by_folder.models[str(folders / name)].values


def test_lists_hold_no_known_item_but_the_judged_one(tiny_bundle, folders, monkeypatch):
    monkeypatch.setattr("recgan.evaluation.ranking.judging.LIST_LENGTH", 5)  # shorter than what is left to be listed
    report = evaluate_ranking(tiny_bundle, [folders / "popularity"], split=SPLIT, device="cpu", resamples=50)
    split = make_split(tiny_bundle, SPLIT)
    scores = load_recommender(folders / "popularity").score(list(split.user_ids))
    shown = []
    for user in split.test.users:
        parts = (split.train, split.validation, split.withheld)
        known = np.concatenate([pairs.items[pairs.users == user] for pairs in parts])
        listed = [one for one in np.argsort(-scores[user], kind="stable") if one not in known and split.candidates[one]]
        shown += listed[:5]
    counts = np.bincount(shown, minlength=split.n_items)[split.candidates]
    assert report.models[str(folders / "popularity")].lists["coverage@5"] == pytest.approx((counts > 0).mean())
    popular = np.bincount(split.train.items, minlength=split.n_items)
    novelty = -np.log2((popular[shown] + 1) / (len(np.unique(split.train.users)) + 1)).mean()
    lists = report.models[str(folders / "popularity")].lists
    assert lists["novelty@5"] == pytest.approx(novelty)
    categories = tiny_bundle.category_index[np.reshape(shown, (-1, 5))]
    pairs = [(a, b) for a in range(5) for b in range(a)]
    differ = np.mean([[row[a] != row[b] for a, b in pairs] for row in categories])
    assert lists["category_diversity@5"] == pytest.approx(differ)
    assert np.isnan(lists["image_diversity@5"])  # no model was trained on pictures: they were not looked at


def test_diversity_by_pictures_is_that_of_the_encoders_features(tiny_bundle, monkeypatch):
    monkeypatch.setattr("recgan.evaluation.ranking.judging.LIST_LENGTH", 2)
    report = evaluate_ranking(tiny_bundle, ["visual_knn"], split=SPLIT, embed=EMBED, device="cpu", resamples=50)
    split = make_split(tiny_bundle, SPLIT)
    features = embed_items(tiny_bundle, EMBED, device="cpu")
    data = training_data(tiny_bundle, split, features)
    scores = create_recommender("visual_knn").fit(data, device="cpu").score(list(split.user_ids))
    values = []
    for user in split.test.users:
        parts = (split.train, split.validation, split.withheld)
        known = np.concatenate([pairs.items[pairs.users == user] for pairs in parts])
        listed = [one for one in np.argsort(-scores[user], kind="stable") if one not in known and split.candidates[one]]
        values.append(cosine_distances(features.values[listed[:2]])[0, 1])
    assert report.models["visual_knn"].lists["image_diversity@2"] == pytest.approx(np.mean(values), abs=1e-6)


def test_json_has_the_promised_shape_and_no_nan(tiny_bundle):
    models = ["popularity", "visual_knn", "vbpr", "vbpr:permuted", "vbpr:noise", "vbpr:category"]
    warm = SplitSettings(cold_share=0)
    report = evaluate_ranking(tiny_bundle, models, split=warm, embed=EMBED, settings=SMALL, device="cpu", resamples=50)
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert list(found["models"]) == models
    for figures in found["models"].values():
        for metric in ("auc", "ndcg@20", "recall@20", "hit_rate@10", "mrr@10"):
            low, high = figures["intervals"][metric]["all"]
            assert 0 <= low <= figures[metric]["all"] <= high <= 1
            assert set(figures[metric]) == {"all", "warm", "cold", "under_5"}
    assert found["oracle"] is None
    assert found["positives"]["cold"] == 0
    assert found["models"]["vbpr"]["auc"]["cold"] is None
    about = found["models"]["vbpr:noise"]["about"]
    assert about["settings"] == SMALL["vbpr"].model_copy(update={"features": "noise"}).model_dump(mode="json")
    assert about["control"] == "noise"
    # Each visual model against the best image-free one; VBPR against its controls; never a control by itself.
    pairs = {(one["model"], one["against"]) for one in found["comparisons"]}
    assert pairs == {("visual_knn", "popularity"), ("vbpr", "popularity")} | {("vbpr", name) for name in models[3:]}
    for one in found["comparisons"]:
        figures = found["models"]
        group, metric = one["group"], one["metric"]
        assert one["difference"] == pytest.approx(
            figures[one["model"]][metric][group] - figures[one["against"]][metric][group]
        )
        assert one["low"] <= one["difference"] <= one["high"]
        assert one["p"] <= one["p_holm"] <= 1


def test_simulated_users_have_an_oracle_and_shares(make_bundle, tmp_path):
    # Items in plenty, so that the held-out ideals leave enough of them.
    catalogue = make_bundle(items=90, users=1)
    bundle = simulate_users(catalogue, tmp_path / "users", SimulateSettings(users=40, interactions=400, seed=1))
    report = evaluate_ranking(bundle, ["popularity"], split=SPLIT, device="cpu", resamples=200)
    found = report.as_json()
    assert found["simulated"]
    oracle, popularity = found["oracle"]["auc"]["all"], found["models"]["popularity"]["auc"]["all"]
    assert oracle > 0.65
    assert found["oracle"]["share"] is None
    assert found["models"]["popularity"]["share"]["all"] == pytest.approx((popularity - 0.5) / (oracle - 0.5))


def test_the_table_shows_the_best_first(tiny_bundle, folders):
    models = [folders / "popularity", folders / "visual_knn"]
    report = evaluate_ranking(tiny_bundle, models, split=SPLIT, device="cpu", resamples=50)
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(ranking_tables(report))
    text = console.export_text()
    ranked = sorted(models, key=lambda one: -report.models[str(one)].values["auc"]["all"])
    assert text.index(str(ranked[0])) < text.index(str(ranked[1]))
    assert f"{report.models[str(ranked[0])].values['auc']['all']:.4f}" in text
    (auc,) = [one for one in report.comparisons if (one.metric, one.group) == ("auc", "all")]
    assert f"{auc.difference:+.4f} p " in text
    assert f"{auc.low:+.3f} to {auc.high:+.3f}" in text


def test_pairs_that_are_named_are_tested_too(tiny_bundle, folders):
    models = ["popularity", "category", "repurchase"]
    options = {"split": SPLIT, "device": "cpu", "resamples": 50}
    assert evaluate_ranking(tiny_bundle, models, **options).comparisons == []
    pairs = [("category", "popularity"), ("repurchase", "category")]
    report = evaluate_ranking(tiny_bundle, models, compare=pairs, **options)
    assert list(dict.fromkeys((one.model, one.against) for one in report.comparisons)) == pairs
    for pair, message in ((("als", "category"), "not among the models"), (("category", "category"), "with itself")):
        with pytest.raises(SettingsError, match=message):
            evaluate_ranking(tiny_bundle, models, compare=[pair], **options)


def test_however_many_are_compared_a_sure_difference_stays_one():
    rng = np.random.default_rng(0)

    def judged(auc: float) -> Judged:
        values = auc + 0.01 * rng.random(100)
        return Judged({metric: dict.fromkeys(GROUPS, values) for metric in ("auc", "ndcg@20")}, {})

    many = {f"model-{number}": judged(0.8) for number in range(30)} | {"popularity": judged(0.6)}
    about = {name: {"model": name, "visual": name != "popularity", "control": None} for name in many}
    _, _, comparisons = _figures(many, about, None, [], 50, 0)
    assert len(comparisons) == 90
    assert max(one.p_holm for one in comparisons) < 0.05


def test_a_stopped_evaluation_goes_on_where_it_stopped_and_writes_its_folder(tiny_bundle, tmp_path, monkeypatch):
    models = ["popularity", "visual_knn", "visual_knn:noise"]
    options = {"split": SPLIT, "embed": EMBED, "device": "cpu", "resamples": 50}
    whole = evaluate_ranking(tiny_bundle, models, **options).as_json()
    train, trained = VisualKNN._train, []

    def counted(self, *given):
        trained.append(self.settings.features)
        if trained == ["real", "noise"]:
            raise KeyboardInterrupt
        train(self, *given)

    monkeypatch.setattr(VisualKNN, "_train", counted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt, match=r"kept in '.*out\.run'; the same command goes on"):
        evaluate_ranking(tiny_bundle, models, out=out, **options)
    assert not out.exists()
    evaluate_ranking(tiny_bundle, models, out=out, **options)
    assert trained == ["real", "noise", "noise"]
    found = json.loads((out / "ranking.json").read_text())
    for report in (whole, found):
        for figures in report["models"].values():
            del figures["about"]["seconds"]
    assert found == whole
    assert Image.open(out / "ranking.png").width > 400
    assert not (tmp_path / "out.run").exists()
    with pytest.raises(ArtifactError, match="exists already"):
        evaluate_ranking(tiny_bundle, models, out=out, **options)
    assert trained == ["real", "noise", "noise"]  # refused before the training


def test_what_is_kept_is_read_only_where_all_it_depends_on_is_the_same(tmp_path):
    made = []

    def make():
        made.append(len(made))
        return {"x": np.array([made[-1], np.nan])}, {"n": made[-1]}

    def number(common, name, own):
        values, facts = KeptParts(tmp_path / "out", common).of(name, own, make)
        assert values["x"][0] == facts["n"]
        return facts["n"]

    assert number({"seed": 0}, "vbpr", {"width": 8}) == number({"seed": 0}, "vbpr", {"width": 8}) == 0
    assert number({"seed": 1}, "vbpr", {"width": 8}) == 1
    assert number({"seed": 0}, "als", {"width": 8}) == 2
    assert number({"seed": 0}, "vbpr", {"width": 9}) == 3
    assert number({"seed": 0}, "vbpr", {"width": 8}) == 0
    (tmp_path / "out.run" / "config.json").write_text("of a training that was stopped")
    for damaged in (tmp_path / "out.run").glob("*/values.safetensors"):
        damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="does not match its checksum"):
        number({"seed": 0}, "vbpr", {"width": 9})
    with KeptParts(tmp_path / "out", {}):
        pass
    assert [path.name for path in (tmp_path / "out.run").iterdir()] == ["config.json"]


def test_controls_follow_their_models():
    names = ["popularity", "vbpr", "vbpr:noise", "visual_knn"]
    expected = ["popularity", "vbpr", "vbpr:permuted", "vbpr:category", "vbpr:noise"]
    knn = ["visual_knn", "visual_knn:permuted", "visual_knn:noise", "visual_knn:category"]
    assert with_controls(names) == expected + knn
    assert with_controls(["dvbpr"]) == ["dvbpr", "dvbpr:permuted"]  # from pixels: noise is no picture


class TestRefusals:
    def test_a_model_of_another_split_or_of_everything(self, tiny_bundle, folders, tmp_path):
        with pytest.raises(MismatchError, match="another split"):
            evaluate_ranking(tiny_bundle, [folders / "popularity"], split=SplitSettings(seed=5), device="cpu")
        everything = tmp_path / "everything"
        train_recommender(tiny_bundle, "popularity", split=SplitSettings(protocol="all"), out=everything)
        with pytest.raises(MismatchError, match="trained on everything"):
            evaluate_ranking(tiny_bundle, [everything], split=SPLIT, device="cpu")

    def test_a_model_of_another_catalogue(self, make_bundle, folders):
        with pytest.raises(MismatchError, match="another catalogue"):
            evaluate_ranking(make_bundle(seed=9), [folders / "popularity"], split=SPLIT, device="cpu")

    @pytest.mark.parametrize(
        ("models", "words"),
        [
            (["popularty"], "did you mean 'popularity'"),
            (["vbpr:permutted"], "did you mean 'permuted'"),
            (["popularity:noise"], "does not look at pictures"),
            (["dvbpr:noise"], "'dvbpr' has no control 'noise'; its controls are: permuted"),
            (["popularity", "vbpr", "popularity"], "'popularity' is given twice"),
            ([], "at least one"),
        ],
    )
    def test_wrong_models(self, tiny_bundle, models, words):
        with pytest.raises(SettingsError, match=words):
            evaluate_ranking(tiny_bundle, models, split=SPLIT, device="cpu")

    def test_a_wrong_part_settings_or_nothing_held_out(self, tiny_bundle):
        with pytest.raises(SettingsError, match="no part 'train'"):
            evaluate_ranking(tiny_bundle, ["popularity"], part="train")
        with pytest.raises(SettingsError, match="takes VBPRSettings"):
            evaluate_ranking(tiny_bundle, ["vbpr"], settings={"vbpr": VisualKNNSettings()}, embed=EMBED, device="cpu")
        with pytest.raises(SettingsError, match="settings of 'visual_knn', which is not trained here"):
            evaluate_ranking(tiny_bundle, ["popularity"], settings={"visual_knn": VisualKNNSettings()})
        with pytest.raises(DataError, match="holds out nothing"):
            evaluate_ranking(tiny_bundle, ["popularity"], split=SplitSettings(protocol="all"))
