"""Editing: where pictures are found, what each edit does to them, and what is refused."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from recgan.cli.run import run
from recgan.config import DesignSettings, EditSettings, InverterSettings, Recipe
from recgan.dataset.pixels import load_pixels, to_float, to_uint8
from recgan.dataset.style import silhouette, srgb_to_lab
from recgan.design import Designer, load_designs, save_designs, seed_of_design
from recgan.design.editing import Editor, UsualDistances
from recgan.design.editing.colour import colour_difference, colour_kept, figure_colour
from recgan.design.objective import Candidates
from recgan.errors import DataError, ImageRefused, MismatchError, NotFoundError, SettingsError
from recgan.evaluation.designs.judges import Judge
from recgan.evaluation.designs.tailoring import draw_pairs, judge_tailoring
from recgan.gan.conditioning import one_hot
from recgan.gan.data import training_rows
from recgan.gan.latent import LatentSpace, Restored, find_directions, save_directions, train_inverter
from recgan.gan.latent.inversion import pixel_error
from tests.conftest import png
from tests.design_world import QUICK, SIZE

FREE = DesignSettings(realism_weight=0, prior_weight=0, steps=15, learning_rate=0.1)
USER = "user-00005"


class Painter(torch.nn.Module):
    """A generator that paints a rectangle on white: tanh of z[:3] is its colour, the class (or classes) its outline."""

    def __init__(self, n_classes):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        masks = torch.zeros(n_classes, SIZE, SIZE)
        for index in range(n_classes):
            masks[index, 6:26, 8 : 12 + index] = 1
        self.register_buffer("masks", masks)

    def forward(self, z, classes):
        weights = classes if classes.ndim == 2 else one_hot(classes, len(self.masks))
        mask = torch.einsum("nc,chw->nhw", weights, self.masks)[:, None]
        return 1 - mask * (1 - torch.tanh(z[:, :3])[:, :, None, None]) + self.shift


@dataclass
class ColourReader:
    """An inverter that knows the painter: it reads the colour, and the rest of z is 1."""

    space: LatentSpace

    def invert(self, images, class_index, *, steps=None, progress=None):
        colours = torch.atanh(images[:, :, 8, 9].clamp(-0.999, 0.999))
        points = torch.cat([colours, torch.ones(len(images), 3)], dim=1)
        made = self.space.images(points, class_index)
        found = Restored(points, made, torch.zeros(len(images)), pixel_error(made, images))
        return found, found


@pytest.fixture(scope="module")
def designer(design_world):
    """A designer with the world's recommender and the painter."""
    real = design_world.designer.gan
    painter = Painter(len(real.category_names)).eval()
    parts = {
        "generator": painter,
        "discriminator": lambda images, class_index: images.mean(dim=(1, 2, 3)),
        "recipe": Recipe(name="toy", latent_dim=6),
        "realism_mean": torch.zeros(len(real.category_names)),
        "realism_deviation": torch.ones(len(real.category_names)),
        "digest": "g" * 64,
    }
    return Designer(design_world.designer.recommender, replace(real, **parts), device="cpu")


@pytest.fixture(scope="module")
def inverter(designer):
    return ColourReader(LatentSpace(designer.gan.generator, designer.gan.recipe))


@pytest.fixture(scope="module")
def editor(design_world, designer, inverter):
    return Editor(designer, design_world.bundle, inverter)


@pytest.fixture(scope="module")
def designs(designer):
    return designer.design(USER, "dress", 2, settings=QUICK)


@pytest.fixture(scope="module")
def item(design_world):
    items = design_world.bundle.items
    return str(items.loc[items["category"] == "dress", "item_id"].iloc[0])


def generated(editor, z, category):
    gan = editor.designer.gan
    kind = torch.tensor([gan.class_index(category)])
    return to_uint8(editor.space.images(torch.as_tensor(z)[None], kind))[0]


# ---- tailoring


def test_tailoring_begins_where_the_photo_was_found_and_climbs_the_users_liking(editor, inverter, item):
    subject = editor.item(item)
    points, (error,) = editor.places.of([subject])
    (still,) = editor.tailor(subject, USER, search=DesignSettings(steps=0))
    np.testing.assert_array_equal(still.image, generated(editor, points[0], "dress"))
    loose = Editor(editor.designer, editor.bundle, inverter, EditSettings(leash=1000.0))
    shown = []
    (moved,) = loose.tailor(subject, USER, search=FREE, preview=lambda place, draw: shown.append((place, draw())))
    assert {place for place, _ in shown} == {0}
    np.testing.assert_array_equal(shown[0][1], still.image)  # where it begins, and then it changes
    assert not np.array_equal(shown[-1][1], still.image)
    edit = moved.settings["edit"]
    assert edit["score_of_start"] == pytest.approx(still.score, abs=1e-5)
    assert moved.score > edit["score_of_start"]
    assert (edit["verb"], edit["of"], edit["inversion"]) == ("tailor", {"item": item}, error)
    photo = editor.designer.as_design(subject.image, points[0], USER, "dress", 0, FREE)
    assert edit["score_of_subject"] == photo.score
    assert edit["distance"] == editor.eye(subject.image[None], moved.image[None])[0]


def test_a_short_leash_keeps_the_picture_nearer(editor, designs):
    subject = editor.of_design(designs[0])

    def distance(leash):
        held = Editor(editor.designer, editor.bundle, None, EditSettings(leash=leash, leash_weight=50.0))
        (design,) = held.tailor(subject, "user-00001", search=FREE)
        edit = design.settings["edit"]
        assert edit["leash"] == pytest.approx(leash * held.usual("dress"))
        assert edit["within_leash"] == (edit["distance"] <= edit["leash"])
        return edit["distance"]

    far = distance(1000.0)
    near = distance(0.2 * far / editor.usual("dress"))
    assert 0 < near < 0.5 * far


def test_each_picture_is_tailored_as_if_alone(editor, designs, item):
    pairs = [(editor.item(item), USER), (editor.of_design(designs[1]), "user-00003")]
    together = editor.tailor_many(pairs, 2, seed=5, search=QUICK)
    for (subject, user), made in zip(pairs, together):
        alone = editor.tailor(subject, user, 2, seed=5, search=QUICK)
        for one, other in zip(made, alone):
            np.testing.assert_array_equal(one.image, other.image)
            assert (one.score, one.seed, one.settings) == (other.score, other.seed, other.settings)
    assert together[0][1].seed == seed_of_design(5, 1)
    assert not np.array_equal(together[0][0].z, together[0][1].z)


def test_a_design_that_is_tailored_with_no_steps_is_itself(editor, designs):
    (again,) = editor.tailor(editor.of_design(designs[0]), USER, search=DesignSettings(steps=0))
    np.testing.assert_array_equal(again.image, designs[0].image)
    assert again.score == designs[0].score
    assert again.settings["edit"]["inversion"] is None
    assert again.settings["edit"]["distance"] == 0


def test_a_photo_is_edited_like_the_item_that_it_shows(editor, item):
    subject = editor.item(item)
    photo = editor.photo(png(subject.image), "dress")
    one, other = (editor.tailor(which, None, search=QUICK)[0] for which in (subject, photo))
    np.testing.assert_array_equal(one.image, other.image)
    assert set(other.settings["edit"]["of"]) == {"photo", "category"}


def test_cancelling_stops_between_two_steps(editor, designs):
    class Cancelled(Exception):
        pass

    def cancel(step, done, total=None, note=""):
        if step == "climbing" and done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        editor.tailor(editor.of_design(designs[0]), USER, search=FREE, progress=cancel)


# ---- the other edits


def test_a_mix_has_both_designs_at_its_ends(editor, designs):
    one, other = (editor.of_design(design) for design in designs)
    way = editor.mix(one, other, USER, 5)
    np.testing.assert_array_equal(way[0].image, designs[0].image)
    np.testing.assert_array_equal(way[-1].image, designs[1].image)
    middle = editor.space.between(*(torch.tensor(design.z)[None] for design in designs), torch.tensor([0.5]))[0, 0]
    np.testing.assert_allclose(way[2].z, middle, atol=1e-6)
    assert [design.settings["edit"]["share"] for design in way] == [0, 0.25, 0.5, 0.75, 1]
    assert way[0].score == designs[0].score


def test_a_mix_can_be_stopped_and_tells_how_far_it_is(editor, designs):
    one, other = (editor.of_design(design) for design in designs)
    told = []

    def stop(step, done, total=None, note=""):
        told.append((step, done, total))
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        editor.mix(one, other, USER, 4, progress=stop)
    assert told == [("judging", 0, 4), ("judging", 1, 4), ("judging", 2, 4)]


def test_a_generator_that_was_told_no_category_mixes_none(design_world, editor, designs):
    dress = editor.of_design(designs[0])
    boot = replace(dress, category="boot")
    told_none = Recipe(name="blind", latent_dim=6, generator_classes="none")
    gan = replace(editor.designer.gan, recipe=told_none)
    blind = Editor(Designer(editor.designer.recommender, gan, device="cpu"), design_world.bundle)
    with pytest.raises(SettingsError, match="'dress' and 'boot' cannot be mixed"):
        blind.mix(dress, boot, USER, 3)
    assert len(blind.mix(dress, dress, USER, 3)) == 3


def test_the_category_changes_and_the_latent_stays(editor, designs):
    way = editor.recategorise(editor.of_design(designs[0]), "boot", USER, 3)
    np.testing.assert_array_equal(way[0].image, designs[0].image)
    np.testing.assert_array_equal(way[2].image, generated(editor, designs[0].z, "boot"))
    assert [design.category for design in way] == ["dress", "boot", "boot"]
    assert way[1].settings["edit"]["weights"] == {"dress": 0.5, "boot": 0.5}
    with pytest.raises(DataError, match="mixes categories"):
        editor.of_design(way[1])
    assert editor.of_design(way[2]).category == "boot"


def test_arithmetic_adds_what_the_one_has_and_the_other_lacks(editor, designs):
    one, other = (editor.of_design(design) for design in designs)
    still = editor.arithmetic(one, [other], [one], USER, strength=0.0)
    np.testing.assert_array_equal(still.image, designs[0].image)
    moved = editor.arithmetic(one, [other], [one], USER)
    z = designs[1].z * np.linalg.norm(designs[0].z) / np.linalg.norm(designs[1].z)  # this - this + other, on its shell
    np.testing.assert_allclose(moved.z, z, atol=1e-5)


def test_sliders_move_and_stop_where_pictures_are_believed(editor, designs):
    found = find_directions(editor.designer.gan, count=2, samples=64)
    found = replace(found, low=torch.tensor([-2.0, 0.0]), high=torch.tensor([2.0, 1.0]))
    subject = editor.of_design(designs[0])
    moved = editor.slide(subject, found, {0: -1.5, 1: 0.5}, USER)
    expected = found.moved(editor.space, torch.tensor(designs[0].z)[None], torch.tensor([-1.5, 0.5]))[0]
    np.testing.assert_allclose(moved.z, expected, atol=1e-6)
    np.testing.assert_array_equal(editor.slide(subject, found, {0: 0.0}, None).image, designs[0].image)
    for amounts, message in (
        ({2: 1.0}, "no direction 2"),
        ({1: -0.5}, r"from \+0 to \+1, not to -0.5"),
        ({}, "at least"),
    ):
        with pytest.raises(SettingsError, match=message):
            editor.slide(subject, found, amounts, None)


def test_a_generator_with_w_moves_in_it_also_without_an_inverter(design_world, designer, item):
    class Mapped(Painter):
        """Has a w: twice z."""

        def mapping(self, z, class_index):
            return 2 * z

        def synthesis(self, w):
            return super().forward(w / 2, torch.zeros(len(w), dtype=torch.int64))

    painter = Mapped(len(designer.gan.category_names)).eval()
    own = Designer(designer.recommender, replace(designer.gan, generator=painter), device="cpu")
    editor = Editor(own, design_world.bundle)
    assert editor.space.name == "w"
    design = own.design(USER, "dress", 1, settings=QUICK)[0]
    points, told = editor.places.of([editor.of_design(design)])
    np.testing.assert_allclose(points[0], 2 * design.z, atol=1e-6)
    assert told == [None]


def test_more_like_this_is_near_and_of_several_the_best_liked(editor, designs):
    subject = editor.of_design(designs[0])

    def variations(**settings):
        own = Editor(editor.designer, editor.bundle, editor.places.inverter, EditSettings(**settings))
        return own.like(subject, USER, 3, seed=2)

    for design in variations(spread=0.0):
        np.testing.assert_array_equal(design.image, designs[0].image)
    near, far = variations(spread=0.1, samples=1), variations(spread=2.0, samples=1)
    assert max(np.linalg.norm(d.z - designs[0].z) for d in near) < min(np.linalg.norm(d.z - designs[0].z) for d in far)
    many = variations(spread=2.0, samples=16)
    assert np.mean([one.settings["objective"] for one in many]) > np.mean([one.settings["objective"] for one in far])


def test_without_a_user_the_average_one_judges(editor, designs):
    (design,) = editor.like(editor.of_design(designs[0]), None, 1)
    model = editor.designer.recommender
    expected = model.preference(model.fold_in(), model.load_encoder("cpu")(to_float(design.image[None])), "dress")
    assert design.score == pytest.approx(float(expected[0]), abs=1e-4)


# ---- measures


def test_the_usual_distance_is_the_median_over_pairs_of_different_items(editor, make_bundle):
    bundle = make_bundle(items=9)  # three of each category: three pairs
    pixels = np.asarray(load_pixels(bundle, SIZE))
    pairs = editor.eye(pixels[[0, 0, 3]], pixels[[3, 6, 6]])
    assert UsualDistances(bundle, SIZE, editor.eye)("bags") == pytest.approx(np.median(pairs))
    lonely = UsualDistances(make_bundle(items=3), SIZE, editor.eye)
    with pytest.raises(SettingsError, match="too few items"):
        lonely("bags")


def test_colours_are_the_mean_lab_of_the_figure(designs):
    picture = designs[0].image[None]
    mask = silhouette(picture)
    own = figure_colour(to_float(picture), torch.from_numpy(mask).float())
    np.testing.assert_allclose(own[0], srgb_to_lab(picture[0])[:, mask[0]].mean(axis=1), atol=1e-2)
    red, rose = (np.full((1, 8, 8, 3), colour, dtype=np.uint8) for colour in ((200, 20, 20), (210, 30, 30)))
    expected = np.linalg.norm(srgb_to_lab(red[0, 0, 0]) - srgb_to_lab(rose[0, 0, 0]))
    assert colour_difference(red, rose)[0] == pytest.approx(expected, abs=1e-3)


def test_a_kept_colour_is_free_at_first_then_costs_and_slopes_back():
    wanted = np.full((1, 8, 8, 3), 128, dtype=np.uint8)
    term = colour_kept(wanted, torch.device("cpu"))
    black = torch.full((1, 3, 8, 8), -1.0, requires_grad=True)
    near = to_float(wanted + 5)

    def of(images):
        return term(Candidates(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), images, torch.zeros(1, 1)))

    assert of(near).item() == 0
    lightness = srgb_to_lab(np.array([128, 128, 128], dtype=np.uint8))[0]
    assert of(black).item() == pytest.approx(-(lightness - 10) / 10, abs=1e-2)
    (slope,) = torch.autograd.grad(of(black).sum(), black)
    assert torch.isfinite(slope).all()
    assert (slope > 0).all()


# ---- whether tailoring does what it says


class Darkness(Judge):
    """Likes what is dark; all users alike."""

    name = "dark"

    def raw(self, users, category, pixels):
        return np.tile(-pixels.mean(axis=(1, 2, 3)), (len(users), 1))


def test_tailoring_is_judged_against_the_photo_and_the_start(editor, designs, item):
    pairs = [(editor.item(item), USER), (editor.item(item), "user-00003")]
    made = [one for (one,) in editor.tailor_many(pairs, search=QUICK)]
    photo, start = pairs[0][0].image, made[0].start
    darker, lighter = np.zeros_like(photo), np.full_like(photo, 255)
    leash = made[0].settings["edit"]["leash"]
    given = [replace(made[0], image=darker), replace(made[1], image=lighter)]
    report = judge_tailoring(editor, pairs, given, [Darkness()])
    assert report.items == 2
    assert report.rises["dark"]["photo"].value == 0.5
    assert report.rises["dark"]["start"].value == 0.5
    items = editor.photos(editor.designer.sight.in_category("dress")).mean(axis=(1, 2, 3))
    gains = [(start.mean() - darker.mean()) / items.std(), (start.mean() - lighter.mean()) / items.std()]
    assert report.lift["dark"]["start"].value == pytest.approx(np.mean(gains))
    far = editor.eye(np.stack([photo, photo]), np.stack([darker, lighter]))
    assert report.figures["distance"].value == pytest.approx(np.mean(far / editor.usual("dress")))
    assert report.figures["within_leash"].value == np.mean(far <= leash)
    assert report.rises["dark"]["photo_within"].value == 0.5 * (far[0] <= leash)
    error = made[0].settings["edit"]["inversion"]["pixel_error"]
    assert report.figures["pixel_error"].value == pytest.approx(error)
    json.dumps(report.as_json(), allow_nan=False)
    with pytest.raises(DataError, match="one design each"):
        judge_tailoring(editor, pairs, given[:1], [Darkness()])


def test_pairs_are_held_out_items_with_users_that_both_recommenders_know(editor, design_world):
    known = [f"user-{number:05d}" for number in range(3, 20)]
    pairs = draw_pairs(design_world.bundle, editor, known, 5, seed=1)
    held_out = set(design_world.bundle.item_ids[training_rows(design_world.bundle, ("test",))])
    assert len(pairs) == 5
    assert {item for item, _ in pairs} <= held_out
    assert len({user for _, user in pairs}) == 5
    assert {user for _, user in pairs} <= set(known)
    assert draw_pairs(design_world.bundle, editor, known, 3, seed=1) == pairs[:3]
    with pytest.raises(SettingsError, match="items=0"):
        draw_pairs(design_world.bundle, editor, known, 0)
    with pytest.raises(DataError, match="no user that both"):
        draw_pairs(design_world.bundle, editor, [], 3)


# ---- refusals


def test_what_cannot_be_edited_is_refused_with_the_mend(editor, design_world, designs, item, tiny_bundle):
    with pytest.raises(NotFoundError, match="no item 'nothing'"):
        editor.item("nothing")
    with pytest.raises(NotFoundError, match="did you mean 'dress'"):
        editor.photo(png(designs[0].image), "dres")
    with pytest.raises(ImageRefused, match=r"holiday\.jpg cannot be used: not one of JPEG"):
        editor.photo(b"%PDF-1.4", "dress", name="holiday.jpg")
    with pytest.raises(ImageRefused, match="give another picture"):
        editor.photo(png(designs[0].image)[:60], "dress")
    bare = Editor(editor.designer, design_world.bundle)
    with pytest.raises(SettingsError, match="recgan train inverter"):
        bare.tailor(bare.item(item), USER)
    with pytest.raises(MismatchError, match="another catalogue"):
        Editor(design_world.designer, tiny_bundle)
    stranger = replace(designs[0], settings={**designs[0].settings, "gan": {"digest": "other"}})
    with pytest.raises(MismatchError, match="another GAN"):
        editor.of_design(stranger)
    in_w = replace(designs[0], settings={**designs[0].settings, "search": {"space": "w"}})
    with pytest.raises(MismatchError, match="made in w"):
        editor.like(editor.of_design(in_w), None, 1)
    subject = editor.of_design(designs[0])
    for n in (0, 10_000):
        with pytest.raises(SettingsError, match=f"n={n}"):
            editor.tailor(subject, USER, n)
    with pytest.raises(SettingsError, match="n=1: ask for 2"):
        editor.mix(subject, subject, None, 1)
    with pytest.raises(SettingsError, match="seed=-1"):
        editor.like(subject, None, 1, seed=-1)
    with pytest.raises(SettingsError, match="both sides"):
        editor.arithmetic(subject, [], [subject])
    with pytest.raises(NotFoundError, match="user-x"):
        editor.tailor(subject, "user-x")
    with pytest.raises(NotFoundError, match="no category 'sofa'"):
        editor.recategorise(subject, "sofa")
    with pytest.raises(SettingsError, match=f"of the category '{subject.category}' already"):
        editor.recategorise(subject, subject.category)


# ---- the command line


@pytest.fixture(scope="module")
def trained(design_world, tmp_path_factory):
    """An inverter of the world's own generator, of a moment's training."""
    out = tmp_path_factory.mktemp("inverter") / "inverter"
    settings = InverterSettings(width=16, images_seen=16, batch_size=16, steps=1, feature_weight=0)
    train_inverter(design_world.designer.gan, out=out, settings=settings)
    return out


@pytest.fixture(scope="module")
def saved(design_world, tmp_path_factory):
    """Two designs of the world's own generator, in a folder."""
    out = tmp_path_factory.mktemp("saved") / "designs"
    save_designs(design_world.designer.design(USER, "dress", 2, settings=QUICK), out)
    return out


@pytest.fixture
def verb(design_world, trained, tmp_path, capsys):
    world = design_world.folder
    parts = ["--recommender", world / "recommender", "--gan", world / "gan", "--data", world / "catalogue"]

    def call(*options, with_inverter=True):
        given = [*parts, *(["--inverter", trained] if with_inverter else []), "--out", tmp_path / "out"]
        code = run(["edit", *map(str, [*options, *given]), "--device", "cpu", "--json"])
        told = capsys.readouterr()
        return code, json.loads(told.out) if told.out else {}, told.err

    return call


def test_tailor_says_when_it_began_beyond_the_leash(verb, item):
    code, answer, told = verb(
        *("tailor", f"item:{item}", "--user", "user-00002", "-n", 1, "--search", "steps=1", "--set", "leash=0.01")
    )
    assert code == 0
    (edit,) = [row["settings"]["edit"] for row in answer["designs"]]
    assert f"beyond the leash already ({edit['inversion']['distance']:.3f})" in told
    assert "0 of 1 within the leash" in told


def test_tailor_writes_designs_and_tells_the_inversions_error(verb, item, tmp_path):
    code, answer, told = verb("tailor", f"item:{item}", "--user", "user-00002", "-n", 2, "--search", "steps=1")
    assert code == 0
    assert "inversion: root mean square error" in told
    edits = [row["settings"]["edit"] for row in answer["designs"]]
    within, leash = sum(edit["within_leash"] for edit in edits), edits[0]["leash"]
    assert f"{within} of 2 within the leash (a perceptual distance of {leash:.3f})" in told
    assert ("beyond the leash already" in told) == (edits[0]["inversion"]["distance"] > leash)
    assert [row["settings"]["edit"]["of"] for row in answer["designs"]] == [{"item": item}] * 2
    assert len(load_designs(tmp_path / "out")) == 2
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > 2 * 128


def test_a_photo_and_a_saved_design_are_edited(verb, saved, tmp_path):
    (tmp_path / "photo.png").write_bytes((saved / "design-000.png").read_bytes())
    code, answer, _ = verb("mix", f"design:{saved}/1", f"photo:{tmp_path}/photo.png", "--category", "dress", "-n", 3)
    assert code == 0
    assert [row["settings"]["edit"]["share"] for row in answer["designs"]] == [0, 0.5, 1]


def test_sliders_arithmetic_categories_and_variations_have_verbs(verb, design_world, saved, tmp_path):
    gan = design_world.designer.gan
    found = replace(find_directions(gan, count=1, samples=64), high=torch.tensor([2.0]))
    save_directions(found.called({0: "brightness"}), gan, tmp_path / "directions")
    one, other = (f"design:{saved}/{number}" for number in (0, 1))
    liked = str(design_world.bundle.item_ids[1])
    for options, count in (
        (("slide", one, "--directions", tmp_path / "directions", "--move", "0=1.5"), 1),
        (("slide", one, "--directions", tmp_path / "directions", "--move", "brightness=1.5"), 1),
        (("arithmetic", one, "--plus", other, "--minus", one, "--liked", liked), 1),
        (("recategorise", one, "--to", "boot", "-n", 2), 2),
        (("like", one, "-n", 2, "--set", "samples=2"), 2),
    ):
        code, answer, told = verb(*options, "--overwrite", with_inverter=False)
        assert code == 0, told
        assert len(answer["designs"]) == count


def test_a_direction_is_moved_along_once(verb, design_world, saved, tmp_path):
    gan = design_world.designer.gan
    found = replace(find_directions(gan, count=1, samples=64), high=torch.tensor([2.0]), names=("brightness",))
    save_directions(found, gan, tmp_path / "directions")
    twice = ("--move", "0=1.5", "--move", "brightness=-1")
    code, _, told = verb("slide", f"design:{saved}/0", "--directions", tmp_path / "directions", *twice)
    assert code == 2
    assert "--move 0=1.5 --move brightness=-1: move along each direction once" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("tailor", "15970"), "item:ID, photo:FILE or design:DIR/NUMBER"),
        (("tailor", "item:"), "item:ID, photo:FILE or design:DIR/NUMBER"),
        (("tailor", "photo:/nowhere.png"), "--category"),
        (("tailor", "photo:/nowhere.png", "--category", "dress"), "cannot be read"),
        (("tailor", "design:/nowhere/0"), "holds no designs.json"),
        (("tailor", "item:x", "--user", "u", "--liked", "i"), "not both"),
        (("tailor", "item:x", "--set", "leesh=2"), "did you mean 'leash'"),
        (("slide", "item:x", "--directions", "d", "--move", "up"), "DIRECTION=UNITS"),
        (("tailor", "item:x", "--search", "samples=8"), "--search samples=8: tailoring begins at the picture itself"),
        (("tailor", "item:x", "--search", "starts=1"), "--search starts=1: tailoring begins at the picture itself"),
        (("tailor", "item:x", "--search", "pool=2"), "leave it out (-n makes more designs)"),
        (("tailor", "item:x", "--search", "space=w"), "tailoring moves in the inverter's own space; leave it out"),
        (("tailor", "item:x", "--search", "visible=true"), "a tailored picture is to look like itself; leave it out"),
    ],
)
def test_what_cannot_be_edited_is_told_in_one_line(verb, tmp_path, options, said):
    code, answer, told = verb(*options)
    assert (code, answer) == (2, {})
    assert said in told
    assert not (tmp_path / "out").exists()
