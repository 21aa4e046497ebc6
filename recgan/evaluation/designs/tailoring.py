"""Whether tailoring does what it says: held-out items, each tailored to a drawn user, judged by who took no part.

The recommender that is climbed (A) proves nothing. A judge B, who looks through another network, and where users are
simulated their true style taste say whether the tailored picture is liked more: than the item's own photo, which is
what a shop would ask, and than what the generator made of the photo before the climb, which is what the climb did.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recgan.dataset.bundle import Bundle
from recgan.design import Design
from recgan.design.editing import Editor, Subject
from recgan.design.editing.colour import FAMILY, colour_difference
from recgan.errors import DataError, SettingsError
from recgan.evaluation.classifier import CatalogueClassifier
from recgan.evaluation.designs.judges import Judge
from recgan.gan.data import training_rows
from recgan.metrics.stats import bootstrap_means, interval, wilson

__all__ = ["Estimate", "TailoringReport", "draw_pairs", "judge_tailoring"]


@dataclass(frozen=True)
class Estimate:
    """A share, or a mean over items, with its 95% interval: Wilson's of shares, else by bootstrap over items."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        """Return the estimate of one value an item, bool or float [n]."""
        mean = float(np.mean(values))
        bounds = (
            wilson(float(values.sum()), len(values))
            if values.dtype == bool
            else interval(bootstrap_means(values[:, None])[:, 0])
        )
        return cls(mean, *bounds)

    def as_json(self) -> dict[str, float]:
        """Return the estimate as JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class TailoringReport:
    """The figures over N items."""

    items: int
    rises: dict[str, dict[str, Estimate]]
    """By judge: share liked more than the ``photo``, than the ``start``, and than the ``photo`` and within the leash
    (``photo_within``), likewise ``start_within``."""
    lift: dict[str, dict[str, Estimate]]
    """By judge: how much more than the ``photo`` and the ``start``, in standard deviations of the user's real items."""
    figures: dict[str, Estimate]
    """``within_leash`` and ``start_within_leash``; ``distance`` and ``start_distance``, in medians of pairs of the
    category; ``pixel_error`` of the inversion; ``class_kept``, ``start_class_kept`` and ``photo_class_known``, by a
    classifier; ``colour_kept`` and ``start_colour_kept``."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""

        def told(found: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
            return {judge: {name: one.as_json() for name, one in own.items()} for judge, own in found.items()}

        figures = {name: one.as_json() for name, one in self.figures.items()}
        return {"items": self.items, "rises": told(self.rises), "lift": told(self.lift), "figures": figures}


def draw_pairs(
    bundle: Bundle, editor: Editor, known: Collection[str], count: int, *, seed: int = 0
) -> list[tuple[str, str]]:
    """Return (item, user) to tailor: items whose photo the generator was not trained on, each with another user that
    the designing recommender has a history of, and who is ``known`` to the judge; all drawn by the seed.

    Raises:
        SettingsError: count < 1.
        DataError: there are no such items or users.
    """
    if count < 1:
        raise SettingsError(f"items={count}: tailor at least one")
    rng = np.random.default_rng([seed, 47])
    drawable = set(editor.designer.category_names)
    held_out = training_rows(bundle, ("test",))
    items = rng.permutation(held_out[bundle.items["category"].iloc[held_out].isin(drawable).to_numpy()])[:count]
    model = editor.designer.recommender
    both = set(model.user_ids[np.diff(model.seen.indptr) > 0]) & set(known)
    users = np.random.default_rng([seed, 53]).permutation(np.array(sorted(both), dtype=object))
    if not len(items) or not len(users):
        raise DataError(f"bundle '{bundle.path}' has no held-out photo, or no user that both recommenders know")
    return [(str(bundle.item_ids[row]), str(users[place % len(users)])) for place, row in enumerate(items)]


def judge_tailoring(
    editor: Editor,
    pairs: Sequence[tuple[Subject, str]],
    designs: Sequence[Design],
    judges: Sequence[Judge],
    classifier: CatalogueClassifier | None = None,
) -> TailoringReport:
    """Return what judges say of pictures that were tailored.

    Args:
        editor: that made them.
        pairs: what was tailored to whom.
        designs: what became of each.
        judges: who tells how much a user likes a picture.
        classifier: of the catalogue's categories, that sees pictures of the generator's size or smaller; None: not
            asked.

    Raises:
        DataError: there is nothing to judge.
    """
    if not len(pairs) or len(pairs) != len(designs):
        raise DataError(f"{len(pairs)} subjects and {len(designs)} designs: give one design each, at least one")
    starts = np.stack([_start(design) for design in designs])
    photos = np.stack([subject.image for subject, _ in pairs])
    made = np.stack([design.image for design in designs])
    leashes = np.array([design.settings["edit"]["leash"] for design in designs])
    usual = leashes / np.array([design.settings["edit"]["settings"]["leash"] for design in designs])
    far = {"": editor.eye(photos, made), "start_": editor.eye(photos, starts)}
    within = far[""] <= leashes
    rises: dict[str, dict[str, Estimate]] = {}
    lift: dict[str, dict[str, Estimate]] = {}
    for judge in judges:
        scores = _verdicts(editor, judge, pairs, np.stack([photos, starts, made], axis=1))
        gains = {"photo": scores[:, 2] - scores[:, 0], "start": scores[:, 2] - scores[:, 1]}
        lift[judge.name] = {name: Estimate.of(gain) for name, gain in gains.items()}
        rises[judge.name] = {name: Estimate.of(gain > 0) for name, gain in gains.items()}
        rises[judge.name] |= {f"{name}_within": Estimate.of((gain > 0) & within) for name, gain in gains.items()}
    figures: dict[str, np.ndarray] = {}
    for name, distance in far.items():
        figures[f"{name}within_leash"] = distance <= leashes
        figures[f"{name}distance"] = distance / usual
    figures["pixel_error"] = np.array([design.settings["edit"]["inversion"]["pixel_error"] for design in designs])
    for name, pictures in (("", made), ("start_", starts)):
        figures[f"{name}colour_kept"] = colour_difference(photos, pictures) <= FAMILY
    if classifier is not None:
        wanted = np.array([editor.designer.gan.class_index(subject.category) for subject, _ in pairs])
        for name, pictures in (("class_kept", made), ("start_class_kept", starts), ("photo_class_known", photos)):
            figures[name] = classifier.look(pictures)[0].argmax(axis=1) == wanted
    return TailoringReport(len(pairs), rises, lift, {name: Estimate.of(values) for name, values in figures.items()})


def _start(design: Design) -> np.ndarray:
    if design.start is None:
        raise DataError("a design that was saved and loaded has lost its start; judge what was just made")
    return design.start


def _verdicts(editor: Editor, judge: Judge, pairs: Sequence[tuple[Subject, str]], pictures: np.ndarray) -> np.ndarray:
    """Return how much each pair's user likes its k pictures [N, k, S, S, 3], in standard deviations of the category's
    items, float [N, k]."""
    categories = np.array([subject.category for subject, _ in pairs], dtype=object)
    told = np.empty(pictures.shape[:2])
    for category in sorted(set(categories)):
        own = np.flatnonzero(categories == category)
        users = [pairs[place][1] for place in own.tolist()]
        items = editor.designer.sight.in_category(category)
        real = judge.real(users, category, items, editor.photos(items)).astype(np.float64)
        shown = pictures[own].reshape(-1, *pictures.shape[2:])
        raw = judge.raw(users, category, shown).astype(np.float64).reshape(len(own), len(own), -1)
        raw = raw[np.arange(len(own)), np.arange(len(own))]
        told[own] = (raw - real.mean(axis=1, keepdims=True)) / np.maximum(real.std(axis=1, keepdims=True), 1e-12)
    return told
