"""Terms, audiences, views, strategies and the choice of the final few, by numbers that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch

from recgan.config import DesignSettings, overridden
from recgan.design.climbing import STRATEGIES, Climb, cma_es, langevin
from recgan.design.objective import Candidates, Objective
from recgan.design.preference import Eye, crowd_taste, crowd_term, preference_of
from recgan.design.search import passes, search
from recgan.design.select import k_dpp, mmr
from recgan.design.space import Space
from recgan.design.terms import FeatureClouds, class_kept, leash, typicality, unlike, within_radius
from recgan.design.views import _jpeg_noise, _tables, random_views
from recgan.errors import SettingsError
from recgan.progress import quiet


def seen(features, class_index=None, owner=None, z=None):
    features = torch.as_tensor(features, dtype=torch.float32)
    classes = torch.zeros(len(features), dtype=torch.int64) if class_index is None else torch.tensor(class_index)
    return Candidates(
        torch.zeros(len(features), 2) if z is None else torch.as_tensor(z, dtype=torch.float32),
        classes,
        torch.zeros(len(features), 3, 2, 2),
        features,
        owner=None if owner is None else torch.tensor(owner),
    )


# ---- whom it is for


def eye(vectors, mean=0.0, std=1.0):
    table = torch.tensor(vectors, dtype=torch.float32)
    full = torch.full(table.shape[:2], 1.0)
    return Eye(lambda features, classes: features, table, mean * full, std * full)


def test_each_row_is_scored_for_its_own_designs_audience():
    term = preference_of([eye([[[1.0, 0]], [[0, 1.0]]], mean=1.0, std=2.0)], torch.ones(2, 1, dtype=torch.bool))
    values = term(seen([[3.0, 7.0], [3.0, 7.0]], owner=[0, 1]))
    assert values.tolist() == [(3 - 1) / 2, (7 - 1) / 2]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", (3 + 7) / 2),
        ("min", 3.0),
        # Likings 3 and 7 against bests of 3 and 6: a half, and a sigmoid four softnesses up.
        ("share", (0.5 + 1 / (1 + math.exp(-4))) / 2),
    ],
)
def test_a_cohorts_liking_is_its_mean_its_least_or_the_share_beyond_their_best(how, expected):
    # The second design is for one user: the place of a second one is empty and counts for nothing.
    eyes = [eye([[[1.0, 0], [0, 1.0]], [[1.0, 0], [0, 0]]])]
    members = torch.tensor([[True, True], [True, False]])
    term = preference_of(eyes, members, cohort=how, best=torch.tensor([[3.0, 6.0], [3.0, 0.0]]))
    values = term(seen([[3.0, 7.0], [3.0, 7.0]], owner=[0, 1]))
    assert values.tolist() == pytest.approx([expected, 0.5 if how == "share" else 3.0])


def test_the_crowds_taste_is_the_mean_of_what_each_user_thinks_in_the_users_own_unit():
    rng = torch.Generator().manual_seed(0)
    items, users = (
        torch.randn(30, 5, generator=rng),
        torch.randn(7, 5, generator=rng) * torch.logspace(-2, 3, 7)[:, None],
    )
    users[3] = 0  # likes all alike: no opinion
    scores = (items @ users[[0, 1, 2, 4, 5, 6]].T).double()
    expected = ((scores - scores.mean(dim=0)) / scores.std(dim=0, correction=0)).mean(dim=1)
    vector, mean = crowd_taste(items, users)
    assert (items @ vector - mean).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert crowd_taste(items, users[3:4]) == (pytest.approx(torch.zeros(5)), 0.0)

    vectors = torch.stack([vector, torch.zeros(5)])
    term = crowd_term(lambda features, classes: features, vectors, torch.tensor([mean, 0.0]))
    told = term(seen(items[:4], owner=[0, 1, 0, 1])).tolist()
    assert told == pytest.approx([expected[0].item(), 0, expected[2].item(), 0], abs=1e-5)


def test_of_several_eyes_disagreement_counts_against_a_design():
    eyes = [eye([[[1.0, 0]]]), eye([[[0, 1.0]]])]
    term = preference_of(eyes, torch.ones(1, 1, dtype=torch.bool), kappa=0.5)
    assert term(seen([[3.0, 7.0]])).tolist() == pytest.approx([5 - 0.5 * 2], abs=1e-5)
    features = torch.tensor([[4.0, 4.0]], requires_grad=True)  # where all agree the deviation has no slope of its own
    term(seen(features)).sum().backward()
    assert torch.isfinite(features.grad).all()


# ---- what it is to be like


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    index = np.repeat([0, 1], 4000)
    features = rng.normal(size=(8000, 2)) * [1.0, 3.0] + np.array([[0.0, 0.0], [10.0, 0.0]])[index]
    return FeatureClouds.fitted(features, index, 3, lambda f: f, "cpu")


def test_what_lies_farther_out_than_usual_pays_by_the_standard_deviation(clouds):
    usual = math.sqrt(math.pi / 2)  # the mean length of a normal vector of two dimensions, and its spread
    spread = math.sqrt(2 - math.pi / 2)
    told = typicality(clouds)(seen([[0.0, 0.0], [4.0, 0.0], [0.0, 12.0]]))
    far = -(4 - usual) / spread
    assert told.tolist() == pytest.approx([0.0, far, far], rel=0.05)


def test_the_class_is_kept_up_to_one_half(clouds):
    told = class_kept(clouds)(seen([[0.0, 0.0], [5.0, 0.0], [7.0, 0.0]]))
    # Two Gaussians of variance 1, ten apart: at 7 the odds are exp((3^2 - 7^2) / 2).
    assert told[:1].tolist() == [0.0]
    assert told[1].item() == pytest.approx(0.0, abs=0.6)
    assert told[2].item() == pytest.approx(-20 + math.log(2), rel=0.06)


def test_a_class_without_a_picture_is_never_probable(clouds):
    assert class_kept(clouds)(seen([[0.0, 0.0]], [2])).item() == -math.inf


def test_the_leash_is_free_within_its_length():
    term = leash(lambda c: c.features[:, 0], 2.0)
    assert term(seen([[1.0], [2.0], [2.5]])).tolist() == pytest.approx([0.0, 0.0, -2.5])


def test_unlike_is_the_largest_cosine_to_what_is_given():
    term = unlike(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), lambda f: f)
    assert term(seen([[5.0, 0.0], [1.0, 1.0], [-1.0, -1.0]])).tolist() == pytest.approx([-1, -(0.5**0.5), 0.5**0.5])


def test_the_prior_of_w_is_free_within_the_classs_radius():
    term = within_radius(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([1.0, 2.0]))
    told = term(seen([[0.0]] * 3, [0, 0, 1], z=[[0.5, 0.0], [3.0, 0.0], [7.0, 0.0]]))
    assert told.tolist() == pytest.approx([0.0, -(2**2) * 2, -(2**2) * 2], abs=1e-4)


# ---- views


def generators(count, seed=0):
    return [np.random.default_rng([seed, row]) for row in range(count)]


def test_a_view_follows_from_the_rows_own_generator():
    images = torch.rand(4, 3, 16, 16) * 2 - 1
    among = random_views(images, generators(4))
    alone = random_views(images[2:3], generators(4)[2:3])
    torch.testing.assert_close(among[2:3], alone, atol=1e-6, rtol=0)
    assert not torch.equal(among, random_views(images, generators(4, seed=1)))


def test_views_keep_the_range_the_mean_and_the_gradient():
    images = (torch.rand(64, 3, 1, 1) - 0.5).expand(-1, -1, 16, 16).clone().requires_grad_()
    views = random_views(images, generators(64))
    assert views.abs().max() <= 1
    torch.testing.assert_close(views.mean(dim=(2, 3)), images.detach()[:, :, 0, 0], atol=0.1, rtol=0)
    (gradient,) = torch.autograd.grad(views.sum(), images)
    assert (gradient.sum(dim=(1, 2, 3)) > 0).all()


def test_at_strength_nought_a_view_is_the_picture_or_its_mirror():
    images = torch.rand(16, 3, 8, 8) * 2 - 1
    views = random_views(images, generators(16), strength=0)
    mirrored = [torch.allclose(view, image.flip(-1), atol=1e-4) for view, image in zip(views, images)]
    kept = [torch.allclose(view, image, atol=1e-4) for view, image in zip(views, images)]
    assert all(a != b for a, b in zip(mirrored, kept))
    assert 0 < sum(mirrored) < 16


def test_jpeg_noise_is_within_half_a_step_of_each_frequency():
    basis, steps = _tables()
    torch.testing.assert_close(basis @ basis.T, torch.eye(8), atol=1e-6, rtol=0)
    drawn = torch.rand(1, 1, 8, 8) - 0.5
    noise = _jpeg_noise(drawn) * 127.5
    torch.testing.assert_close(basis @ noise[0, 0] @ basis.T, drawn[0, 0] * steps, atol=1e-4, rtol=0)


# ---- strategies

TARGET = torch.tensor([0.25, -0.5, 0.75])


def world(**changes):
    return Space(
        generator=lambda z, classes: torch.tanh(z)[:, :, None, None].expand(-1, -1, 4, 4),
        encoder=lambda images: images.mean(dim=(2, 3)),
        **changes,
    )


NEAR = Objective([(1.0, lambda c: -((c.features - TARGET) ** 2).sum(dim=1))])


def climb(rows=2, space=None, objective=NEAR, validate=None, **settings):
    z = torch.zeros(rows, 3)
    chosen = DesignSettings(samples=rows, starts=rows, **settings)
    classes = torch.zeros(rows, dtype=torch.int64)
    return Climb(space or world(), objective, z, classes, chosen, classes, generators(rows), validate=validate)


def test_cma_es_finds_the_optimum_without_a_gradient():
    stepped = Objective([(1.0, lambda c: -((c.features.detach() - TARGET) ** 2).sum(dim=1))])
    found = cma_es(climb(objective=stepped, steps=60, population=8))
    torch.testing.assert_close(torch.tanh(found), TARGET.expand(2, 3), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_row_goes_its_way_whatever_is_beside_it(name):
    options = {"steps": 5, "keep": "last", "learning_rate": 0.02}
    alone = STRATEGIES[name](climb(1, **options))
    beside = STRATEGIES[name](climb(3, **options))
    torch.testing.assert_close(alone, beside[:1], atol=1e-6, rtol=0)
    if name != "adam":  # which draws nothing
        assert not torch.equal(beside[0], beside[1])


def test_langevin_stays_about_the_optimum_by_as_much_as_the_temperature_says():
    # exp(-|u - 1|^2 / T) is a normal distribution of variance T / 2.
    flat = Space(lambda z, c: z[:, :, None, None].expand(-1, -1, 2, 2), lambda images: images.mean(dim=(2, 3)))
    objective = Objective([(1.0, lambda c: -((c.features - 1) ** 2).sum(dim=1))])
    found = langevin(climb(400, flat, objective, steps=300, keep="last", learning_rate=0.02, temperature=0.1))
    assert found.mean().item() == pytest.approx(1.0, abs=0.03)
    assert found.var().item() == pytest.approx(0.05, rel=0.2)


def test_no_steps_leave_every_strategy_where_it_starts():
    for strategy in STRATEGIES.values():
        assert torch.equal(strategy(climb(steps=0)), torch.zeros(2, 3))


def test_a_box_is_never_left():
    wanted = Objective([(1.0, lambda c: c.z.sum(dim=1))])
    space = world(box=0.5)
    found = STRATEGIES["adam"](climb(2, space, wanted, steps=200, learning_rate=0.2))
    assert (found.abs() <= 0.5).all()
    assert (found > 0.45).all()
    torch.testing.assert_close(space.bound(space.unbound(torch.tensor([[0.1, -0.3]]))), torch.tensor([[0.1, -0.3]]))


@pytest.mark.parametrize("method", STRATEGIES)
@pytest.mark.parametrize("steps", [0, 1])
def test_what_a_search_starts_from_lies_in_the_box_too(method, steps):
    # Whatever is farther out is liked better: were it not for the box, the sample itself would be kept.
    wanted = Objective([(1.0, lambda c: c.z.sum(dim=1))])
    settings = DesignSettings(samples=4, starts=2, steps=steps, method=method, population=4)
    z = torch.tensor([0.1, 0.4, 2.0, 5.0])[None, :, None].expand(2, 4, 3).contiguous()
    found = search(world(box=0.5), wanted, z, 0, settings, quiet, seeds=[1, 2])
    assert (found.z.abs() <= 0.5).all()
    assert (found.z > 0.45).all()


def test_a_box_in_w_is_refused():
    with pytest.raises(SettingsError, match=r"box=2: the box is of z, and the search moves in w; leave it out"):
        overridden(DesignSettings(), ["space=w", "box=2"])
    assert overridden(DesignSettings(), ["space=z", "box=2"]).box == 2


def test_a_held_back_scorer_chooses_the_point_and_ends_the_climb():
    # The scorer likes red of one half, which the climb towards all red passes.
    wanted = Objective([(1.0, lambda c: c.features[:, 0])])
    steps = []
    task = climb(
        1, objective=wanted, validate=lambda c: -(c.features[:, 0] - 0.5).abs(), steps=400, learning_rate=0.05,
        validate_by="companions", validate_every=1, patience=5,
    )  # fmt: skip
    task = Climb(**{**task.__dict__, "step": lambda values, images: steps.append(values)})
    found = STRATEGIES["adam"](task)
    assert torch.tanh(found)[0, 0].item() == pytest.approx(0.5, abs=0.05)
    assert len(steps) < 100


def test_a_point_seen_through_a_random_view_is_no_measure_so_what_is_kept_is_judged_plainly():
    found = STRATEGIES["adam"](climb(2, world(views=1.0), steps=150, learning_rate=0.05))
    torch.testing.assert_close(torch.tanh(found), TARGET.expand(2, 3), atol=0.15, rtol=0)


def test_passes_count_what_the_search_looks_at():
    looked = 0

    def encoder(images):
        nonlocal looked
        looked += len(images)
        return images.mean(dim=(2, 3))

    space = Space(world().generator, encoder)
    settings = DesignSettings(samples=6, starts=2, steps=4, visible=False)
    search(space, NEAR, torch.randn(1, 6, 3), 0, settings, quiet)
    # A step looks forwards once, and its gradient costs about two looks more.
    assert passes(settings) == looked + 2 * 2 * 4
    # Whether start and end look different is asked of each climb by two looks and one more picture of the generator.
    assert passes(settings.model_copy(update={"visible": True})) == passes(settings) + 2 * 3
    looked = 0
    settings = DesignSettings(samples=6, starts=2, steps=4, method="cma_es", population=5, visible=False)
    search(space, NEAR, torch.randn(1, 6, 3), 0, settings, quiet)
    assert passes(settings) == looked


def test_keeping_the_last_point_and_a_held_back_scorer_exclude_each_other():
    with pytest.raises(ValueError, match="keep=last"):
        DesignSettings(keep="last", validate_by="companions")


def test_a_held_back_scorer_must_be_given(real_designer_free):
    with pytest.raises(SettingsError, match="companions"):
        real_designer_free.design("ruby", "bag", 1, settings=DesignSettings(validate_by="companions"))


@pytest.fixture
def real_designer_free():
    from recgan.design import Designer
    from tests.test_design import toy_gan, train_palette

    return Designer(train_palette(), toy_gan(), device="cpu")


# ---- the final few


def test_mmr_takes_the_best_and_then_what_differs():
    features = np.array([[1.0, 0], [1.0, 0.01], [0, 1.0], [-1.0, 0]])
    values = np.array([3.0, 2.9, 1.0, -5.0])
    assert mmr(values, features, 2, balance=1.0).tolist() == [0, 1]
    assert mmr(values, features, 2, balance=0.0).tolist() == [0, 3]
    assert mmr(values, features, 2, balance=0.5).tolist() == [0, 2]


def test_k_dpp_is_the_greedy_choice_of_the_largest_determinant():
    rng = np.random.default_rng(0)
    features, values = rng.normal(size=(7, 4)), rng.normal(size=7)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    quality = np.exp(0.5 * (values - values.mean()) / values.std())
    kernel = quality[:, None] * ((1 + unit @ unit.T) / 2 + 1e-6 * np.eye(7)) * quality
    chosen: list[int] = []
    for _ in range(4):
        left = [row for row in range(7) if row not in chosen]
        chosen.append(max(left, key=lambda row: np.linalg.det(kernel[np.ix_([*chosen, row], [*chosen, row])])))
    assert k_dpp(values, features, 4, balance=0.5).tolist() == chosen
    assert k_dpp(values, features, 3, balance=1.0).tolist() == np.argsort(-values)[:3].tolist()


# ---- all of it, in a shop of one-colour pictures


def test_a_cohort_gets_what_both_like_and_many_requests_are_as_each_alone(real_designer_free):
    designer = real_designer_free
    settings = DesignSettings(steps=10, realism_weight=0, prior_weight=0)
    from recgan.design import Request
    from tests.test_design import same

    requests = [Request("ruby", "bag", 2, 3), Request("hatter", "bag", 1, 4), Request(["ruby", "hatter"], "bag", 1, 5)]
    many = designer.design_many(requests, settings=settings)
    for request, designs in zip(requests, many):
        alone = designer.design(request.user, request.category, request.n, seed=request.seed, settings=settings)
        assert all(same(one, other) for one, other in zip(designs, alone, strict=True))
    colour = many[2][0].image.mean(axis=(0, 1))
    assert colour[0] > 150 and colour[1] > 150  # noqa: PT018  (one likes red, the other green)
    assert many[2][0].settings["user"] == ["ruby", "hatter"]


def test_a_design_for_one_user_is_drawn_towards_what_all_like_and_a_cohorts_is_not(real_designer_free):
    def colours(someone, weight):
        settings = DesignSettings(steps=20, realism_weight=0, prior_weight=0, visible=False, crowd_weight=weight)
        return real_designer_free.design(someone, "bag", 1, seed=3, settings=settings)[0].image

    apart, near = (np.abs(colours("ruby", w).astype(int) - colours("hatter", w)).mean() for w in (0.0, 100.0))
    assert near < 0.2 * apart
    both = ["ruby", "hatter"]
    np.testing.assert_array_equal(colours(both, 0.0), colours(both, 100.0))


def test_every_setting_of_the_objective_and_of_the_method_runs_in_the_designer(real_designer_free):
    for changes in (
        ["typical_weight=1", "class_weight=1", "views=1"],
        ["typical_weight=1", "typical_of=generated"],
        ["method=langevin"],
        ["method=cma_es", "population=4"],
        ["box=2", "truncation=1.5"],
        ["cohort=share"],
    ):
        settings = overridden(DesignSettings(steps=2), changes)
        (design,) = real_designer_free.design("ruby", "bag", 1, settings=settings)
        assert np.isfinite(design.settings["objective"])


def test_companions_help_to_score_or_are_held_back():
    from recgan.design import Designer
    from tests.test_design import toy_gan, train_palette

    free = DesignSettings(steps=40, realism_weight=0, prior_weight=0, crowd_weight=0, kappa=0)
    green = train_palette(ruby=(0, 1, 0))
    designer = Designer(train_palette(), toy_gan(), companions=[green], device="cpu")
    (both,) = designer.design("ruby", "bag", 1, settings=free)
    (one,) = Designer(train_palette(), toy_gan(), device="cpu").design("ruby", "bag", 1, settings=free)
    assert both.image[..., 1].mean() > one.image[..., 1].mean() + 20
    held = overridden(free, ["validate_by=companions", "validate_every=1"])
    (chosen,) = designer.design("ruby", "bag", 1, settings=held)
    assert chosen.score <= one.score  # somewhere on the way to red, where green is liked best
    assert len(both.settings["companions"]) == 1
    (unasked,) = designer.design("ruby", "bag", 1, settings=overridden(free, ["companions=false"]))
    np.testing.assert_array_equal(unasked.image, one.image)
    with pytest.raises(SettingsError, match="cohort=share"):
        designer.design("ruby", "bag", 1, settings=DesignSettings(cohort="share"))
    items = [str(item_id) for item_id in designer.recommender.item_ids[:2]]
    assert designer.design(designer.recommender.fold_in(items[:1]), "bag", 1, settings=free)
    with pytest.raises(SettingsError, match="by liked items alone"):
        designer.design(designer.recommender.fold_in(items[:1], items[1:]), "bag", 1, settings=free)
