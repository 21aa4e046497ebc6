"""The proof of designs: a recommender makes them, others who never saw them made say what they are worth.

*Scorer A* is the recommender that designs; it has learnt from one half of each user's history (``--split
half=scorer``). *Judge B* is trained here from the other half, looks through another network and has another seed. Where
users are simulated, the *style oracle* and the *attribute oracle* know the truth. The designs of each method stand
beside random samples of the generator, the best of as many samples as the main method looks at, a design for everybody,
the scorer's best real item, and the oracle's choices among real items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recgan.artifacts import json_digest
from recgan.atomic import check_place
from recgan.config import DesignSettings, EmbedSettings, ProofSettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import ORACLE_PARTS, StyleOracle
from recgan.dataset.pixels import load_pixels
from recgan.dataset.split import image_split, make_split
from recgan.design import Designer, load_designer, load_preset
from recgan.design.search import passes
from recgan.design.sight import Sight
from recgan.encoders import load_encoder
from recgan.encoders.perceptual import PerceptualDistance
from recgan.errors import DataError, MismatchError, SettingsError
from recgan.evaluation.attributes import CATEGORY, Attribute, AttributeReader, attributes_of
from recgan.evaluation.design_figures import (
    Photos,
    diversity,
    estimate,
    kid_at_matched_classes,
    novelty,
    paired,
    preferred,
    specificity,
)
from recgan.evaluation.design_judges import AttributeJudge, Judge, RecommenderJudge, StyleJudge
from recgan.evaluation.design_methods import ORACLE_20, ORACLE_ALL, REAL, Made, design_settings, make_all
from recgan.evaluation.design_report import DesignsReport, MethodFigures
from recgan.evaluation.kept import KeptParts
from recgan.evaluation.showcase import ShownUser, draw_users
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, load_recommender, train_recommender

__all__ = ["drawn_users", "evaluate_designs", "judge_of"]

_LEAST_HISTORY = 2
"""Training interactions that a user must have in each half."""
_RISE = 1.0


def evaluate_designs(
    bundle: Bundle | str | Path,
    recommender: str | Path,
    gan: str | Path,
    settings: ProofSettings | None = None,
    *,
    methods: Mapping[str, DesignSettings] | None = None,
    companions: Sequence[str | Path] = (),
    users: int = 200,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> DesignsReport:
    """Design for drawn users by each method, and have the designs judged.

    Args:
        bundle: the catalogue with its users.
        recommender: folder of scorer A: a visual recommender trained with the split ``half=scorer``.
        gan: folder of the generator.
        settings: judge B, the attribute reader, how many designs a user.
        methods: settings by name; the first is the main one. Default: the presets ``default`` and ``kang2017``.
        companions: folders of recommenders, of the same half as A, that help to design.
        users: how many are drawn by the seed among those with a history in both halves.
        seed: of users, designs, judge and bootstrap.
        device: where all of it runs.
        out: folder for ``designs.json`` and a page; None: nothing is written.
        overwrite: replace it.
        progress: told of each step.

    Raises:
        ArtifactError: an artifact is missing or damaged, or ``out`` exists.
        MismatchError: A, a companion and B share what they must not: history, or the network that they look through.
        DataError: no user has a history in both halves.
        SettingsError, TrainingError, NotFoundError: as `Designer.design_many`.
    """
    began = time.perf_counter()
    if out is not None:
        check_place(out, overwrite=overwrite)
    settings = settings or ProofSettings()
    if users < 1 or users > 100_000:
        raise SettingsError(f"users={users}: judge designs for 1 to 100,000 users")
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    chosen = dict(methods) if methods else {name: load_preset(name) for name in ("default", "kang2017")}
    main = next(iter(chosen))
    designer = load_designer(recommender, gan, bundle=bundle, companions=companions, device=device, progress=progress)
    _check_halves(bundle, designer)
    _check_eye(designer, settings)
    shown = drawn_users(bundle, designer, users, seed=seed)
    pixels = load_pixels(bundle, designer.gan.size, progress=progress)

    def photos_of(rows: np.ndarray) -> np.ndarray:
        return np.asarray(pixels[bundle.primary_images[rows]])

    oracle = StyleOracle.load(bundle) if ORACLE_PARTS[0] in bundle.header.parts else None
    all_settings = design_settings(chosen, main)
    about = {
        "bundle": bundle.digest,
        "recommenders": [sight.recommender.digest for sight in (designer.sight, *designer.companions)],
        "gan": designer.gan.digest,
    }
    with KeptParts(out, about) as kept:
        made = make_all(
            designer,
            shown,
            all_settings,
            main,
            photos_of,
            oracle,
            each=settings.designs,
            seed=seed,
            kept=kept,
            progress=progress,
        )
        judge = judge_of(bundle, designer, settings, seed=seed, progress=progress)
        world = _World(bundle, designer, judge, oracle, photos_of, settings, seed, progress)
        judged = world.judged(shown, made, progress)
    best_real = {name: judged.scores[REAL][name][:, 0] for name in judged.scores[REAL]}
    figures = {name: _figures(name, pictures, judged, best_real, world, shown, seed) for name, pictures in made.items()}
    truth = {name: figures[name].lift["style"] for name in (REAL, ORACLE_20, ORACLE_ALL) if name in figures}
    report = DesignsReport(
        methods=figures,
        main=main,
        comparisons={
            name: paired(judged.scores[main], judged.scores[name], seed) for name in all_settings if name != main
        },
        headroom={name: one.value for name, one in truth.items()} if oracle is not None else {},
        budget={
            "users": len(shown),
            "designs_per_user": settings.designs,
            "passes_per_design": {name: passes(one) for name, one in all_settings.items()},
            "settings": {name: one.model_dump(mode="json") for name, one in all_settings.items()},
            "scorer": _told_of(designer.recommender),
            "companions": [_told_of(sight.recommender) for sight in designer.companions],
            "judge": _told_of(judge),
            "gan": {"recipe": designer.gan.recipe.name, "size": designer.gan.size, "digest": designer.gan.digest},
            "reader_accuracy": world.accuracy,
            "bundle": bundle.name,
            "seed": seed,
            "device": str(designer.device),
            "seconds": round(time.perf_counter() - began, 1),
        },
        users=shown,
        made=made,
        scores=judged.scores,
        percentiles={
            name: {who: 100 * above for who, above in by_judge.items()} for name, by_judge in judged.above.items()
        },
    )
    if out is not None:
        from recgan.evaluation.design_page import save_designs_report

        save_designs_report(report, bundle, designer, out, overwrite=overwrite)
    return report


def judge_of(
    bundle: Bundle, designer: Designer, settings: ProofSettings, *, seed: int = 0, progress: Progress = quiet
) -> Recommender:
    """Return judge B of a designer's scorer: trained once, then kept beside the bundle.

    Raises:
        MismatchError: it would look through the network of the scorer or of a companion, or one of these has seen
            its half.
    """
    _check_halves(bundle, designer)
    _check_eye(designer, settings)
    split = SplitSettings(**{**designer.recommender.facts["split"], "half": "judge"})
    embed = EmbedSettings(encoder=settings.judge_encoder, size=designer.gan.size)
    about = {
        "model": settings.judge_model,
        "split": split.model_dump(mode="json"),
        "embed": embed.model_dump(mode="json"),
        "bundle": bundle.digest,
        "seed": seed + 1,
    }
    place = bundle.cache_folder / f"judge-{json_digest(about)[:16]}"
    if not place.is_dir():
        train_recommender(
            bundle,
            settings.judge_model,
            split=split,
            embed=embed,
            out=place,
            seed=seed + 1,
            device=str(designer.device),
            progress=progress,
        )
    return load_recommender(place)


def drawn_users(bundle: Bundle, designer: Designer, users: int, *, seed: int = 0) -> list[ShownUser]:
    """Return users drawn by the seed that have a history in both halves, each with a category.

    Raises:
        DataError: there is none.
    """
    recommender = designer.recommender
    known = set(recommender.user_ids.tolist())
    for half in ("scorer", "judge"):
        split = make_split(bundle, SplitSettings(**{**recommender.facts["split"], "half": half}))
        counts = np.bincount(split.train.users, minlength=split.n_users)
        known &= set(split.user_ids[counts >= _LEAST_HISTORY].tolist())
    drawn = draw_users(designer, len(recommender.user_ids), seed=seed)
    found = [user for user in drawn if user.user_id in known][:users]
    if not found:
        raise DataError(
            f"no user of bundle '{bundle.path}' has {_LEAST_HISTORY} training interactions in each half; "
            "evaluate designs on data with longer histories"
        )
    return found


def _check_eye(designer: Designer, settings: ProofSettings) -> None:
    weights = load_encoder(settings.judge_encoder, "cpu").weights
    for sight in (designer.sight, *designer.companions):
        if sight.encoder.weights == weights:
            raise MismatchError(
                f"judge and scorer would look through one network ({sight.encoder.name}), so the judge is fooled where "
                "the scorer is; set another judge_encoder"
            )


def _check_halves(bundle: Bundle, designer: Designer) -> None:
    """See to it that nobody who helps to design has seen the judge's half of these very histories."""
    expected = designer.recommender.facts["split"]
    digest = make_split(bundle, SplitSettings(**expected)).digest
    for sight in (designer.sight, *designer.companions):
        recommender = sight.recommender
        half = recommender.facts["split"].get("half", "both")
        if half != "scorer":
            raise MismatchError(
                f"this {recommender.name} was trained on half={half} of the histories, so a judge would have nothing "
                "of its own to judge by; train it with: recgan train recommender ... --split half=scorer"
            )
        if recommender.facts["split"] != expected:
            raise MismatchError(
                f"this {recommender.name} was trained on another split than the scorer, whose half overlaps the "
                "judge's; train it with the scorer's --split settings"
            )
        if recommender.split_digest != digest:
            raise MismatchError(
                f"this {recommender.name} learnt from other interactions than those of bundle '{bundle.path}' (or from "
                "more since), so it may have seen the judge's half; train it on this bundle with --split half=scorer"
            )


def _told_of(recommender: Recommender) -> dict[str, Any]:
    facts = recommender.facts
    return {
        "model": recommender.name,
        "encoder": facts["encoder"],
        "half": facts["split"]["half"],
        "seed": facts["seed"],
        "digest": recommender.digest,
    }


@dataclass(frozen=True)
class _Judged:
    scores: dict[str, dict[str, np.ndarray]]
    """By method and judge, float [U, D]."""
    above: dict[str, dict[str, np.ndarray]]
    cross: dict[str, dict[str, list[np.ndarray]]]
    """By method and judge, one a category: what its users think of each other's pictures, [u, u, D]."""
    started: dict[str, np.ndarray]
    """By method: the scorer's score of what its searches began with, [U, D]."""


class _World:
    """What judging needs of a catalogue: judges, photos, the reader."""

    def __init__(
        self,
        bundle: Bundle,
        designer: Designer,
        judge: Recommender,
        oracle: StyleOracle | None,
        photos_of: Callable[[np.ndarray], np.ndarray],
        settings: ProofSettings,
        seed: int,
        progress: Progress,
    ) -> None:
        self.bundle, self.designer, self.seed = bundle, designer, seed
        self.photos_of = photos_of
        self._pairs = settings.pairs
        self.attributes = attributes_of(bundle)
        self._read(settings, progress)
        self.judges: list[Judge] = [
            RecommenderJudge("a", designer.sight),
            RecommenderJudge("b", Sight(judge, designer.gan)),
        ]
        if oracle is not None:
            self.judges.append(StyleJudge(oracle))
            if len(self.attributes) > 1:
                pictured = bundle.primary_images >= 0
                self.judges.append(
                    AttributeJudge(oracle, self.reader, self.attributes, bundle.category_index, pictured)
                )
        self._perceptual = PerceptualDistance(str(designer.device))
        self._usual: dict[str, float] = {}

    # ---- the reader

    def _read(self, settings: ProofSettings, progress: Progress) -> None:
        bundle, seed = self.bundle, self.seed
        first = bundle.primary_images
        pictured = np.flatnonzero(first >= 0)
        part = image_split(bundle)[first[pictured]]
        rng = np.random.default_rng([seed, 21])
        train = rng.permutation(pictured[part == 0])[: settings.reader_images]
        test = rng.permutation(pictured[part == 2])[: settings.reader_images]
        if len(train) < 2 or len(test) < 2:
            raise DataError(f"bundle '{bundle.path}' has too few pictures to learn to read attributes from")
        sizes = [len(attribute.values) for attribute in self.attributes]
        wanted = np.stack([attribute.index[train] for attribute in self.attributes], axis=1)
        side = min(settings.reader_size, self.designer.gan.size)
        device = self.designer.device

        def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            learnt = AttributeReader.learnt(
                self.photos_of(train),
                wanted,
                sizes,
                side,
                epochs=settings.reader_epochs,
                seed=seed,
                device=device,
                progress=progress,
            )
            arrays = {name: np.atleast_1d(value.cpu().numpy()) for name, value in learnt.state_dict().items()}
            return arrays, {}

        about = {
            "images": bundle.images_digest,
            "catalogue": bundle.catalogue_digest,
            "attributes": [[one.name, list(one.values)] for one in self.attributes],
            "settings": settings.model_dump(mode="json", include={"reader_images", "reader_epochs", "reader_size"}),
            "size": self.designer.gan.size,
            "seed": seed,
        }
        arrays, _ = KeptParts(bundle.cache_folder / "reader", about).of("attribute reader", {}, make)
        self.reader = AttributeReader(sizes, side)
        state = self.reader.state_dict()
        self.reader.load_state_dict(
            {name: torch.from_numpy(np.array(arrays[name])).reshape(state[name].shape) for name in state}
        )
        self.reader.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
        told, seen_test = self.reader.look(self.photos_of(test))
        _, seen_train = self.reader.look(self.photos_of(train))
        self.photos = Photos(seen_train, bundle.category_index[train], seen_test, bundle.category_index[test])
        self.accuracy = {
            attribute.name: _accuracy(read, attribute, test) for attribute, read in zip(self.attributes, told)
        }
        """Of each attribute, on test photos."""

    # ---- judging

    def judged(self, users: Sequence[ShownUser], made: Mapping[str, Made], progress: Progress) -> _Judged:
        """Return what the judges say of all pictures, a category at a time."""
        shape = (len(users), next(iter(made.values())).pixels.shape[1])
        names = [judge.name for judge in self.judges]
        scores = {method: {name: np.empty(shape) for name in names} for method in made}
        above = {method: {name: np.empty(shape) for name in names} for method in made}
        cross: dict[str, dict[str, list[np.ndarray]]] = {method: {name: [] for name in names} for method in made}
        started = {method: np.full(shape, np.nan) for method in made}
        categories = sorted({user.category for user in users})
        for done, category in enumerate(categories):
            rows = np.array([row for row, user in enumerate(users) if user.category == category])
            ids = [users[row].user_id for row in rows]
            items = self.designer.sight.in_category(category)
            left = np.stack([np.isin(items, self.designer.real_items(user_id, category).rows) for user_id in ids])
            stacks, places = [], {}
            for method, pictures in made.items():
                places[method] = len(rows) * shape[1]
                stacks.append(pictures.pixels[rows].reshape(-1, *pictures.pixels.shape[2:]))
            begun = [method for method, pictures in made.items() if pictures.started is not None]
            begins = [_flat(made[method].started, rows) for method in begun]
            pixels = np.concatenate([*stacks, *begins])
            photos = self.photos_of(items)
            for judge in self.judges:
                # What searches began with is the scorer's business alone.
                shown = pixels if judge.name == "a" else pixels[: sum(map(len, stacks))]
                told = judge.verdict(ids, category, shown, judge.real(ids, category, items, photos), left)
                start = 0
                for method in made:
                    own = slice(start, start + places[method])
                    by_all = told.scores[:, own].reshape(len(rows), len(rows), shape[1])
                    diagonal = np.arange(len(rows))
                    scores[method][judge.name][rows] = by_all[diagonal, diagonal]
                    ranks = told.above[:, own].reshape(len(rows), len(rows), shape[1])
                    above[method][judge.name][rows] = ranks[diagonal, diagonal]
                    cross[method][judge.name].append(by_all)
                    start += places[method]
                if judge.name == "a":
                    for method in begun:
                        own = slice(start, start + places[method])
                        by_all = told.scores[:, own].reshape(len(rows), len(rows), shape[1])
                        started[method][rows] = by_all[np.arange(len(rows)), np.arange(len(rows))]
                        start += places[method]
            progress("judging", done + 1, len(categories), category)
        return _Judged(scores, above, cross, started)

    def invisible(self, users: Sequence[ShownUser], pictures: Made, rise: np.ndarray) -> float:
        """Return the share of pictures that look like what their search began with though the scorer likes them much
        more; ``rise`` [U, D] in standard deviations. NaN where nothing was searched."""
        if pictures.started is None:
            return float("nan")
        side = pictures.pixels.shape[2:]
        far = self._perceptual(pictures.pixels.reshape(-1, *side), pictures.started.reshape(-1, *side))
        usual = np.array([self._alike(user.category) for user in users])
        return float(((rise > _RISE) & (far.reshape(rise.shape) < usual[:, None])).mean())

    def _alike(self, category: str) -> float:
        """Return the 5th percentile of the perceptual distance between two real photos of a category."""
        if category not in self._usual:
            items = self.designer.sight.in_category(category)
            rng = np.random.default_rng([self.seed, 31])
            pairs = rng.integers(len(items), size=(2, self._pairs))
            pairs = pairs[:, pairs[0] != pairs[1]]
            left, right = (self.photos_of(items[side]) for side in pairs)
            self._usual[category] = float(np.quantile(self._perceptual(left, right), 0.05)) if len(left) else 0.0
        return self._usual[category]


def _figures(
    name: str,
    pictures: Made,
    judged: _Judged,
    best_real: Mapping[str, np.ndarray],
    world: _World,
    users: Sequence[ShownUser],
    seed: int,
) -> MethodFigures:
    """Return one method's figures. Of real items all but their likeness is told of the first alone."""
    of_real = pictures.rows is not None
    scores = {who: told[:, :1] if of_real else told for who, told in judged.scores[name].items()}
    above = {who: told[:, :1] if of_real else told for who, told in judged.above[name].items()}
    cross = {
        who: [told[:, :, :1] if of_real else told for told in by_category]
        for who, by_category in judged.cross[name].items()
    }
    lift = {who: estimate(told.mean(axis=1), seed) for who, told in scores.items()}
    names = world.bundle.category_names
    class_index = np.array([names.index(user.category) for user in users])
    side = pictures.pixels.shape
    told, features = world.reader.look(pictures.pixels.reshape(-1, *side[2:]))
    of_class = next(place for place, one in enumerate(world.attributes) if one.name == CATEGORY)
    right = told[of_class].argmax(axis=1).reshape(side[:2]) == class_index[:, None]
    flat_classes = np.repeat(class_index, side[1])
    judges = [who for who in scores if who != "a"]
    nobody = name == REAL
    return MethodFigures(
        win={
            who: estimate(preferred(scores[who], best_real[who]) * (np.nan if nobody else 1.0), seed) for who in judges
        },
        lift=lift,
        percentile={who: float(100 * told.mean()) for who, told in above.items()},
        # Of a lift that may be nought a share means nothing.
        transfer=lift["b"].value / lift["a"].value if lift["a"].low > 0 else float("nan"),
        invisible=world.invisible(users, pictures, judged.scores[name]["a"] - judged.started[name]),
        specificity={who: estimate(specificity(cross[who]), seed) for who in judges if who != "attribute"},
        kid=kid_at_matched_classes(features, flat_classes, world.photos, seed),
        class_accuracy=float(right.mean()),
        diversity=diversity(features.reshape(*side[:2], -1), class_index, world.photos),
        novelty=novelty(features, flat_classes, world.photos),
    )


def _flat(pictures: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    assert pictures is not None
    return pictures[rows].reshape(-1, *pictures.shape[2:])


def _accuracy(read: np.ndarray, attribute: Attribute, rows: np.ndarray) -> float:
    wanted = attribute.index[rows]
    known = wanted >= 0
    return float((read.argmax(axis=1)[known] == wanted[known]).mean()) if known.any() else float("nan")
