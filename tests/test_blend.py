"""What is `blend`'s own; what every recommender promises is in ``test_recommenders.py``."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from recgan.config import ALSSettings, BlendSettings, IdealPointSettings
from recgan.errors import SettingsError
from recgan.recommenders import create_recommender, load_recommender
from recgan.recommenders.training.validation import Validation
from tests.test_ideal_point import WIDTH, taste_data

ALS = {"factors": 4, "epochs": 4}


@pytest.fixture(scope="module")
def data():
    return taste_data()


def fitted(data, **options):
    settings = {"parts": ("ideal_point", "als"), "options": {"als": ALS}, "width": WIDTH, **options}
    return create_recommender("blend", BlendSettings(**settings)).fit(data, seed=0)


@pytest.fixture(scope="module")
def parts(data):
    seen = create_recommender("ideal_point", IdealPointSettings(width=WIDTH)).fit(data, seed=0)
    return seen, create_recommender("als", ALSSettings(**ALS)).fit(data, seed=0)


def test_a_score_is_the_weighted_sum_of_the_parts_scores(data, parts):
    model = fitted(data, weights=(1, 0.5), cold_bias=0.25)
    first, second = (part.score(list(data.user_ids)) for part in parts)
    # The unit is what makes both vary alike among the items, in the mean over the users.
    unit = np.sqrt(first.var(axis=1).mean() / second.var(axis=1).mean())
    expected = first + 0.5 * unit * second + 0.25 * (data.item_counts == 0)
    np.testing.assert_allclose(model.score(list(data.user_ids)), expected, atol=1e-4)
    liked = ["001", "002"]
    folded = model.score([model.fold_in(liked)])[0]
    first, second = (part.score([part.fold_in(liked)])[0] for part in parts)
    np.testing.assert_allclose(folded, first + 0.5 * unit * second + 0.25 * (data.item_counts == 0), atol=1e-4)


def test_validation_chooses_weights_that_are_no_worse_than_the_first_part_alone(data, parts):
    model = fitted(data)
    judge = Validation(data, "both")
    chosen = judge(model.user_factors, model.item_factors)
    assert chosen == pytest.approx(model.metrics["validation_both"])
    assert chosen >= judge(parts[0].user_factors, parts[0].item_factors)
    both = [Validation(data, one)(model.user_factors, model.item_factors) for one in ("auc", "ndcg")]
    assert chosen == pytest.approx(sum(both))
    for weight in (0, 0.1, 0.5, 2):
        other = fitted(data, weights=(1, weight), cold_bias=model.metrics["cold_bias"])
        assert other.metrics["validation_both"] <= chosen + 0.02  # the search stops at a tolerance


def test_a_part_of_no_weight_is_left_out(data, parts, tmp_path):
    model = fitted(data, weights=(1, 0), cold_bias=0)
    assert model.item_factors.shape[1] == 1 + parts[0].item_factors.shape[1]
    np.testing.assert_allclose(model.score(["user-03"]), parts[0].score(["user-03"]), atol=1e-5)
    model.save(tmp_path / "model")
    loaded = load_recommender(tmp_path / "model")
    np.testing.assert_array_equal(loaded.fold_in(["004"]).values, model.fold_in(["004"]).values)


def test_what_the_parts_chose_is_kept_with_the_blend(data, tmp_path):
    vbpr = {"epochs": 40, "patience": 1, "learning_rate": 1.0}
    model = fitted(data, parts=("ideal_point", "vbpr"), options={"vbpr": vbpr}, weights=(1, 0.5))
    model.save(tmp_path / "model")
    chosen = load_recommender(tmp_path / "model").chosen_settings()
    assert chosen == model.chosen_settings()
    assert chosen.options["vbpr"]["epochs"] == model.metrics["vbpr.best_epoch"] < 40
    assert chosen.options["ideal_point"]["category_weight"] == model.metrics["ideal_point.category_weight"]


def test_without_validation_nothing_looks_tuned(data):
    nothing = data.validation.where(np.zeros(len(data.validation), dtype=bool))
    blind, told = replace(data, validation=nothing), []
    settings = BlendSettings(parts=("vbpr", "als"), options={"als": ALS, "vbpr": {"epochs": 2}}, width=WIDTH)

    def listen(step, done, total=None, note=""):
        told.append(note)

    model = create_recommender("blend", settings).fit(blind, seed=0, progress=listen)
    assert model.metrics == {}
    assert model.untuned() == ["weights", "cold_bias"]
    assert (model.chosen_settings().weights, model.chosen_settings().cold_bias) == (None, None)
    assert any(note.endswith("no validation") for note in told)
    assert not any("nan" in note for note in told)
    given = settings.model_copy(update={"weights": (1.0, 0.5), "cold_bias": 0.25})
    model = create_recommender("blend", given).fit(blind, seed=0)
    assert model.metrics == {"weight_vbpr": 1, "weight_als": 0.5, "cold_bias": 0.25}
    assert model.untuned() == []
    assert fitted(data).untuned() == []


def test_one_that_only_disturbs_gets_no_weight(data, monkeypatch):
    from recgan.recommenders.models.implicit import ImplicitALS

    train = ImplicitALS._train

    def contrary(self, data, *rest):
        train(self, data, *rest)
        truth = np.zeros((data.n_items, data.n_users), dtype=np.float32)
        truth[data.validation.items, data.validation.users] = -1
        self.user_factors, self.item_factors = np.eye(data.n_users, dtype=np.float32), truth

    monkeypatch.setattr(ImplicitALS, "_train", contrary)
    assert fitted(data).metrics["weight_als"] == 0


def test_the_parts_of_a_score_are_those_of_its_models(data):
    model = fitted(data, weights=(1, 0.5))
    parts = model.factor_parts(np.arange(5))
    assert set(parts) == {"popularity", "visual", "category", "latent"}
    np.testing.assert_allclose(sum(parts.values()), model.item_factors[:5], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parts": ("als", "ideal_point")}, "must be a model that sees"),
        ({"parts": ("vbpr", "vbpr")}, "each model once"),
        ({"options": {"bpr": {}}}, "'bpr' is none of the parts"),
        ({"weights": (1, 1)}, "one for each part"),
        ({"weights": (0, 1, 1)}, "the first above"),
    ],
)
def test_wrong_settings_are_refused(options, words):
    with pytest.raises(ValidationError, match=words):
        BlendSettings(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"als": {"factor": 3}}, "options of als: factor=3"),
        ({"ideal_point": {"width": 3}}, "options of ideal_point: set width for the whole blend"),
    ],
)
def test_wrong_options_of_a_part_are_refused_before_anything_is_trained(options, words):
    with pytest.raises(SettingsError, match=words):
        create_recommender("blend", BlendSettings(options=options))
