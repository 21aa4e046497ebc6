"""The proof's parts by hand: what counts as a gain that cannot be seen, and what the baselines are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recgan.config import DesignSettings, overridden
from recgan.design import Designer
from recgan.evaluation.designs import measuring
from recgan.evaluation.designs.measuring import Invisibility
from recgan.evaluation.designs.methods import Made, design_settings, looks, make_all
from recgan.evaluation.kept import KeptParts
from recgan.evaluation.showcase import ShownUser, draw_users
from recgan.gan.sampling import design_seeds, latents
from tests.design_world import QUICK
from tests.test_design import RAW, toy_gan, train_palette

# ---- gains that cannot be seen


def greys(values):
    """Pictures of one grey each, uint8 [..., 2, 2, 3]."""
    shades = np.asarray(values, dtype=np.uint8)[..., None, None, None]
    return np.broadcast_to(shades, (*np.shape(values), 2, 2, 3)).copy()


@pytest.fixture
def invisibility(monkeypatch):
    """Pictures differ by as much as their greys do. Bags are 2, 4, 6 ... 198 apart, and the two shoes 100."""

    def distance(device):
        return lambda left, right: np.abs(left.astype(float) - right).mean(axis=(1, 2, 3))

    monkeypatch.setattr(measuring, "PerceptualDistance", distance)
    items = {"bag": np.arange(100), "shoe": np.array([100, 101])}
    shades = np.concatenate([2 * np.arange(100), [0, 100]])
    designer = SimpleNamespace(device="cpu", sight=SimpleNamespace(in_category=items.__getitem__))
    return Invisibility(designer, lambda rows: greys(shades[rows]), pairs=5000, seed=0)


USERS = [ShownUser("one", "bag"), ShownUser("other", "shoe")]


def test_what_rose_and_looks_the_same_as_before_counts_by_its_own_category(invisibility):
    # Of bags, pairs 2, 4 and 6 apart are 2, 4 and 6 in a hundred: the nearest twentieth is nearer than 6.
    made = Made(greys([[5, 5, 6, 5], [99, 100, 99, 0]]), started=greys(np.zeros((2, 4))))
    rise = np.array([[1.5, 0.9, 1.5, 1.0], [2.0, 2.0, -2.0, 5.0]])
    counted = np.array([[True, False, False, False], [True, False, False, True]])
    np.testing.assert_array_equal(invisibility.share(USERS, made, rise), counted.mean(axis=1))
    for row, place in np.argwhere(np.ones_like(counted)):
        one = Made(made.pixels[row : row + 1, place : place + 1], made.started[row : row + 1, place : place + 1])
        told = invisibility.share(USERS[row : row + 1], one, rise[row : row + 1, place : place + 1])
        assert told.tolist() == [counted[row, place]]


def test_it_is_the_picture_that_the_search_began_with_that_a_design_must_differ_from(invisibility):
    made = Made(greys([[200, 200]]), started=greys([[197, 100]]))
    assert invisibility.share(USERS[:1], made, np.array([[3.0, 3.0]])).tolist() == [0.5]


def test_where_nothing_was_searched_no_share_is_told(invisibility):
    assert np.isnan(invisibility.share(USERS, Made(greys(np.zeros((2, 1)))), np.full((2, 1), 9.0))).all()


# ---- baselines

SEED = 7


@pytest.fixture(scope="module")
def made(design_world):
    """What all methods make for two users of one category and one of another, and who was asked for."""
    designer = design_world.designer
    drawn = draw_users(designer, 40)
    category = drawn[0].category
    users = [*[user for user in drawn if user.category == category][:2]]
    users.append(next(user for user in drawn if user.category != category))
    asked = []

    class Recorded:
        device = designer.device
        recommender = designer.recommender
        category_names = designer.category_names
        real_items = staticmethod(designer.real_items)

        @staticmethod
        def design_many(requests, *, settings):
            asked.extend((request, settings) for request in requests)
            return designer.design_many(requests, settings=settings)

    settings = design_settings({"main": QUICK}, "main", designer)

    def photos(rows):
        return np.zeros((len(rows), 4, 4, 3), np.uint8)

    made = make_all(Recorded, users, settings, "main", photos, None, each=2, seed=SEED, kept=KeptParts(None, {}))
    return users, made, asked


def test_popular_is_one_design_for_32_users_the_same_for_all_of_a_category(design_world, made):
    users, methods, asked = made
    crowds = {request.category: (request, settings) for request, settings in asked if not isinstance(request.user, str)}
    assert set(crowds) == {user.category for user in users}
    popular = methods["popular"]
    for row, user in enumerate(users):
        request, settings = crowds[user.category]
        assert len(set(request.user)) == 32
        assert settings == QUICK
        designs = design_world.designer.design(request.user, user.category, 2, seed=SEED, settings=QUICK)
        np.testing.assert_array_equal(popular.pixels[row], [one.image for one in designs])
        np.testing.assert_array_equal(popular.started[row], [one.start for one in designs])
    assert len({tuple(request.user) for request, _ in crowds.values()}) == 1
    np.testing.assert_array_equal(popular.pixels[0], popular.pixels[1])
    assert not np.array_equal(popular.pixels[0], popular.pixels[2])
    assert not np.array_equal(methods["main"].pixels[0], methods["main"].pixels[1])  # those are each user's own


def test_methods_without_a_search_have_no_start_and_best_real_is_what_the_scorer_likes_best(design_world, made):
    users, methods, _ = made
    assert {name for name, one in methods.items() if one.started is not None} == {"main", "popular"}
    for row, user in enumerate(users):
        real = design_world.designer.real_items(user.user_id, user.category)
        best, second = np.argsort(-real.scores, kind="stable")[:2]
        assert methods["best_real"].rows[row].tolist() == [real.rows[best], real.rows[second]]


def test_best_of_n_asks_the_scorer_alone_and_looks_as_often_as_the_main_method():
    main = DesignSettings(samples=5, starts=2, steps=3, crowd_weight=2.0, kappa=0.0)
    # A companion that likes green and a crowd that likes blue have no say.
    scorer = train_palette(hatter=(0, 0, 1), nobody=(0, 0, 1), indifferent=(0, 0, 1))
    designer = Designer(scorer, toy_gan(), companions=[train_palette(ruby=(0, 1, 0))], device="cpu")
    best_of_n = design_settings({"main": main}, "main", designer)["best_of_n"]
    assert best_of_n.samples == 5 + 2 * (3 * 3 + 2 + 3)
    left = RAW[1:4, 0]  # the bags less the red one, which ruby has seen
    differs = 0
    for seed in range(6):
        (design,) = designer.design("ruby", "bag", 1, seed=seed, settings=best_of_n)
        drawn = latents(design_seeds(seed, 33), toy_gan().recipe.model_copy(update={"latent_std": 0.7}))
        colours = torch.tanh(drawn[:, :3]).numpy()
        worth = (colours[:, 0] - left.mean()) / left.std() + np.minimum(0, colours.mean(axis=1))  # and looks real to D
        np.testing.assert_allclose(design.z, drawn[worth.argmax()], atol=1e-6)
        helped = best_of_n.model_copy(update={"companions": True, "crowd_weight": 2.0})
        (other,) = designer.design("ruby", "bag", 1, seed=seed, settings=helped)
        differs += not np.array_equal(other.z, design.z)
    assert differs > 2


def test_what_a_companion_sees_through_another_network_is_another_look():
    main = DesignSettings(samples=5, starts=2, steps=3)
    designer = Designer(train_palette(), toy_gan(), companions=[train_palette()], device="cpu")
    assert looks(main, designer) == 5 + 2 * (3 * 3 + 2 + 3)
    designer.companions[0].encoder.digest = "another"
    assert looks(main, designer) == 2 * (5 + 2 * (3 * 3 + 2)) + 2 * 3  # what is visible is asked once
    assert looks(overridden(main, ["companions=false"]), designer) == 5 + 2 * (3 * 3 + 2 + 3)
    held_back = overridden(main, ["validate_by=companions", "validate_every=2"])
    assert looks(held_back, designer) == 5 + 2 * (3 * 3 + 2 + 3) + 2 * 2  # it looks at steps 0 and 2
