"""That each setting reaches the search: objectives by hand in the shop of one-colour pictures, and where designs go."""

import numpy as np
import pytest
import torch

from recgan.config import DesignSettings, Recipe, overridden
from recgan.dataset.pixels import to_float, to_uint8
from recgan.design import Designer, seed_of_design
from recgan.design.composing import _CLOUD_SAMPLES, _CLOUD_SEED
from recgan.design.objective import Candidates
from recgan.design.select import k_dpp, mmr
from recgan.design.terms import FeatureClouds, class_kept, typicality
from recgan.gan.sampling import design_seeds, latents
from tests.design_world import QUICK
from tests.test_design import CATEGORIES, COLOURS, IDS, RAW, MeanColour, paint, same, toy_gan, train_palette

CHOICES = {"mmr": mmr, "k_dpp": k_dpp}
# One sample that is not climbed: whatever else is set, the picture is the same, and only what is said of it differs.
STILL = DesignSettings(
    samples=1, starts=1, steps=0, realism_weight=0, prior_weight=0, crowd_weight=0, latent_std=1.5, visible=False
)
CLIMB = overridden(STILL, ["samples=4", "steps=40", "learning_rate=0.05", "latent_std=0.7"])
BAG = CATEGORIES.index("bag")


@pytest.fixture
def designer():
    return Designer(train_palette(), toy_gan(), device="cpu")


def colour_of(design):
    return to_float(design.image[None]).mean(dim=(2, 3))[0].double().numpy()


def told(designer, *changes, user="ruby", settings=STILL, **options):
    (design,) = designer.design(user, "bag", 1, settings=overridden(settings, changes), **options)
    return design


def liking(taste, colour, without=()):
    """What a user thinks of a colour, in standard deviations of the bags less those that are seen."""
    bags = [
        RAW[IDS.index(item)] for item, (category, _) in COLOURS.items() if category == "bag" and item not in without
    ]
    scores = np.array(bags, dtype=np.float64) @ taste
    return (colour @ taste - scores.mean()) / scores.std(), (scores.max() - scores.mean()) / scores.std()


def seen(colours):
    features = torch.as_tensor(np.atleast_2d(colours), dtype=torch.float32)
    return Candidates(features, torch.full((len(features),), BAG), torch.zeros(len(features), 3, 2, 2), features)


def clouds(features, class_index):
    return FeatureClouds.fitted(features, class_index, len(CATEGORIES), lambda f: f, "cpu")


def real_clouds():
    return clouds(RAW, np.array([CATEGORIES.index(category) for category, _ in COLOURS.values()]))


def generated_clouds():
    """Of what the generator makes of the designer's own latents; it paints all classes alike."""
    gan = toy_gan()
    painted = to_uint8(paint(latents(design_seeds(_CLOUD_SEED, _CLOUD_SAMPLES), gan.recipe), None))
    colours = to_float(painted).mean(dim=(2, 3)).numpy()
    drawn = np.flatnonzero(gan.train_images)
    return clouds(np.tile(colours, (len(drawn), 1)), np.repeat(drawn, len(colours)))


# ---- what the objective is made of


def test_without_anything_else_the_objective_is_the_users_liking(designer):
    design = told(designer)
    value, _ = liking(np.array([1.0, 0, 0]), colour_of(design), without=["red"])
    assert design.settings["objective"] == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "by_hand"),
    [
        (["typical_weight=2"], lambda colour: 2 * typicality(real_clouds())(seen(colour))),
        (
            ["typical_weight=2", "typical_of=generated"],
            lambda colour: 2 * typicality(generated_clouds())(seen(colour)),
        ),
        (["class_weight=3"], lambda colour: 3 * class_kept(real_clouds())(seen(colour))),
        # D takes a picture for real by how light it is.
        (["realism=least_squares", "realism_weight=2"], lambda colour: -2 * (colour.mean() - 1) ** 2),
        (["realism_weight=2"], lambda colour: 2 * min(0.0, colour.mean())),
    ],
)
def test_a_term_is_added_with_its_weight(designer, changes, by_hand):
    added = []
    for seed in range(8):
        plain, design = told(designer, seed=seed), told(designer, *changes, seed=seed)
        np.testing.assert_array_equal(design.image, plain.image)
        expected = float(by_hand(colour_of(design)))
        got = design.settings["objective"] - plain.settings["objective"]
        assert got == pytest.approx(expected, abs=5e-3)
        added.append(got)
    assert min(added) < -0.5


def test_a_discriminator_of_another_loss_is_brought_to_the_scale_of_least_squares():
    recipe = Recipe(name="toy", latent_dim=6, loss="relativistic", discriminator_norm="none")
    scale = {"realism_mean": torch.full((4,), 0.3), "realism_deviation": torch.full((4,), 0.2)}
    designer = Designer(train_palette(), toy_gan(recipe=recipe, **scale), device="cpu")
    for seed in range(4):
        plain = told(designer, seed=seed).settings["objective"]
        design = told(designer, "realism=least_squares", "realism_weight=2", seed=seed)
        expected = -2 * ((colour_of(design).mean() - 0.3) / 0.2) ** 2
        assert design.settings["objective"] - plain == pytest.approx(float(expected), abs=2e-2)


def test_what_is_usual_of_the_catalogue_is_not_what_is_usual_of_the_generator(designer):
    def objectives(which):
        changes = ["typical_weight=1", f"typical_of={which}"]
        return [told(designer, *changes, seed=seed).settings["objective"] for seed in range(8)]

    assert np.abs(np.subtract(objectives("real"), objectives("generated"))).max() > 0.3


TASTES = {"ruby": (1, 0, 0), "indifferent": (1, 0.5, 0), "hatter": (-1, 0, 0.5)}


@pytest.mark.parametrize("how", ["mean", "min", "share"])
def test_a_cohorts_objective_and_score_are_by_the_settings(how):
    designer = Designer(train_palette(**TASTES), toy_gan(), device="cpu")
    for seed in range(4):
        design = told(designer, f"cohort={how}", user=list(TASTES), seed=seed)
        each = [liking(np.array(taste, dtype=float), colour_of(design)) for taste in TASTES.values()]
        values, best = np.array(each).T
        objective, score = {
            "mean": (values.mean(), values.mean()),
            "min": (values.min(), values.min()),
            "share": ((1 / (1 + np.exp(-(values - best) / 0.25))).mean(), (values > best).mean()),
        }[how]
        assert design.settings["objective"] == pytest.approx(objective, abs=2e-3)
        assert design.score == pytest.approx(score, abs=2e-3)


def test_the_least_liking_is_raised_where_the_mean_would_leave_one_of_them_out():
    two_against_one = {"ruby": (1, 0, 0), "indifferent": (1, 0, 0), "hatter": (-1, 0, 0)}
    designer = Designer(train_palette(**two_against_one), toy_gan(), device="cpu")
    mean, least = (
        told(designer, f"cohort={how}", user=list(two_against_one), settings=CLIMB) for how in ("mean", "min")
    )
    assert colour_of(mean)[0] > 0.8
    assert colour_of(least)[0] == pytest.approx(RAW[:4, 0].mean(), abs=0.1)  # what neither side calls worse than usual


@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_disagreement_of_companions_counts_kappa_deviations(kappa):
    green = np.array([0, 1.0, 0])
    designer = Designer(train_palette(), toy_gan(), companions=[train_palette(ruby=tuple(green))], device="cpu")
    for seed in range(4):
        design = told(designer, f"kappa={kappa}", seed=seed)
        eyes = [liking(taste, colour_of(design), without=["red"])[0] for taste in (np.array([1.0, 0, 0]), green)]
        expected = np.mean(eyes) - kappa * np.std(eyes)
        assert design.settings["objective"] == pytest.approx(expected, abs=2e-3)


# ---- where designs go


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        (["typical_weight=20"], lambda colour: typicality(real_clouds())(seen(colour))),
        (["typical_weight=20", "typical_of=generated"], lambda colour: typicality(generated_clouds())(seen(colour))),
        (["class_weight=20"], lambda colour: class_kept(real_clouds())(seen(colour))),
    ],
)
def test_a_climb_heeds_the_term(changes, measure):
    cyan = Designer(train_palette(ruby=(-1, 1, 1)), toy_gan(), device="cpu")  # which no bag is
    free, kept = (float(measure(colour_of(told(cyan, *also, settings=CLIMB)))) for also in ([], changes))
    assert free < -1
    assert kept > 0.5 * free


def test_starts_lie_within_the_truncation(designer):
    drawn = {
        bound: np.abs([told(designer, f"truncation={bound}", seed=seed).z for seed in range(12)]).max()
        for bound in (0.5, 2.0)
    }
    assert 0.6 * 1.5 * 0.5 < drawn[0.5] <= 1.5 * 0.5  # the spread is 1.5
    assert drawn[0.5] < drawn[2.0] <= 1.5 * 2.0


def halves(z, class_index):
    """The left half of each picture is of another colour than the right: a cut or a mirror changes what is seen."""
    left, right = (torch.tanh(part)[:, :, None, None].expand(-1, -1, 8, 4) for part in (z[:, :3], z[:, 3:6]))
    return torch.cat([left, right], dim=3)


@pytest.mark.parametrize("views", [0, 1])
def test_a_climb_looks_through_views_and_what_is_told_of_a_design_does_not(views, monkeypatch):
    made, shown, plain = [], [], []

    class Watching(MeanColour):
        def __call__(self, images):
            (shown if images.requires_grad else plain).append(images.detach())
            return super().__call__(images)

    def generator(z, class_index):
        images = halves(z, class_index)
        made.append(images.detach())
        return images

    monkeypatch.setattr("tests.test_design.SIZE", 8)
    recommender = train_palette()
    recommender.load_encoder = lambda device="auto": Watching()
    designer = Designer(recommender, toy_gan(generator=generator, size=8), device="cpu")
    made.clear()
    design = told(designer, f"views={views}", settings=overridden(CLIMB, ["steps=5", "starts=4"]))
    climbed = [one for one in made if any(one.shape == view.shape for view in shown)]
    assert len(shown) == 5
    unlike = [all(not torch.equal(view, one) for one in climbed) for view in shown]
    assert unlike == [bool(views)] * 5
    last = to_float(design.image[None])
    assert any(torch.equal(one, last) for images in plain for one in images.split(1))


def test_langevin_wanders_the_farther_the_hotter_it_is(designer):
    def designs(method, temperature=1.0):
        changes = [f"method={method}", f"temperature={temperature}", "keep=last", "starts=1", "samples=1"]
        return designer.design("ruby", "bag", 6, settings=overridden(CLIMB, changes))

    start = [design.settings["objective"] for design in designer.design("ruby", "bag", 6, settings=CLIMB_START)]
    adam, cold, hot = designs("adam"), designs("langevin", 1e-6), designs("langevin", 1.0)
    assert all(after.settings["objective"] > before for after, before in zip(cold, start, strict=True))
    assert max(np.abs(one.z[3:] - other.z[3:]).max() for one, other in zip(adam, cold, strict=True)) < 0.02
    assert min(np.abs(one.z[3:] - other.z[3:]).max() for one, other in zip(cold, hot, strict=True)) > 0.5
    assert all(same(one, again) for one, again in zip(hot, designs("langevin", 1.0), strict=True))


CLIMB_START = overridden(CLIMB, ["steps=0", "samples=1"])


def test_cma_es_climbs_where_there_is_no_slope():
    flat = toy_gan(generator=lambda z, class_index: paint(z, class_index).mul(8).round().div(8))
    designer = Designer(train_palette(), flat, device="cpu")
    start, adam, found = (
        told(designer, *also, settings=CLIMB, seed=1) for also in (["steps=0"], [], ["method=cma_es", "starts=1"])
    )
    np.testing.assert_array_equal(adam.z, start.z)
    assert found.settings["objective"] > start.settings["objective"] + 0.2
    assert same(found, told(designer, "method=cma_es", "starts=1", settings=CLIMB, seed=1))


# ---- the final few of a pool


class GreenAndBlue:
    """A discriminator whose features do not know red, which is all that the user likes."""

    def __call__(self, images, class_index):
        return images.mean(dim=(1, 2, 3))

    def features(self, images, class_index):
        return images.mean(dim=(2, 3))[:, 1:]


def spread(features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return 1 - (unit @ unit.T)[np.triu_indices(len(unit), 1)].mean()


@pytest.mark.parametrize("select", sorted(CHOICES))
def test_of_a_pool_those_are_kept_that_differ_to_the_discriminator(select):
    designer = Designer(train_palette(), toy_gan(discriminator=GreenAndBlue()), device="cpu")
    pool = designer.design("ruby", "bag", 12, seed=2, settings=CLIMB)
    colours = np.array([colour_of(design) for design in pool])
    objective = np.array([design.settings["objective"] for design in pool])
    choose = CHOICES[select]
    by_discriminator = np.sort(choose(objective, colours[:, 1:], 3, 0.2))
    (other,) = (CHOICES[name] for name in CHOICES if name != select)
    wrong = [choose(objective, colours, 3, 0.2), other(objective, colours[:, 1:], 3, 0.2), np.arange(3)]
    assert by_discriminator.tolist() not in [np.sort(rows).tolist() for rows in wrong]
    changed = overridden(CLIMB, ["pool=4", f"select={select}", "balance=0.2"])
    kept = designer.design("ruby", "bag", 3, seed=2, settings=changed)
    assert [design.seed for design in kept] == [seed_of_design(2, int(place)) for place in by_discriminator]
    assert all(same(design, pool[place]) for design, place in zip(kept, by_discriminator, strict=True))
    assert spread(colours[by_discriminator, 1:]) > spread(colours[:3, 1:])
    by_worth = designer.design("ruby", "bag", 3, seed=2, settings=overridden(changed, ["balance=1"]))
    assert sorted(design.settings["objective"] for design in by_worth) == sorted(objective)[-3:]


@pytest.mark.parametrize("select", sorted(CHOICES))
def test_a_real_discriminator_chooses_from_a_pool_and_the_same_again(design_world, select):
    designer = design_world.designer
    pool = designer.design("user-00005", "dress", 6, seed=2, settings=QUICK)
    settings = overridden(QUICK, ["pool=3", f"select={select}", "balance=0"])
    kept, again = (designer.design("user-00005", "dress", 2, seed=2, settings=settings) for _ in range(2))
    assert all(same(one, other) for one, other in zip(kept, again, strict=True))
    images = to_float(np.stack([design.image for design in pool]))
    kind = torch.full((6,), designer.gan.class_index("dress"))
    with torch.no_grad():
        features = designer.gan.discriminator.features(images, kind).double().numpy()
    objective = np.array([design.settings["objective"] for design in pool])
    chosen = np.sort(CHOICES[select](objective, features, 2, 0.0))
    assert all(same(design, pool[place]) for design, place in zip(kept, chosen, strict=True))
    assert spread(features[chosen]) > spread(features[:2])
