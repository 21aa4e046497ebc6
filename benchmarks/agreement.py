"""How far what a model learns without training agrees with training it again.

    python benchmarks/agreement.py BUNDLE --models vbpr,bpr_mf --json agreement.json

Each figure is Spearman's rank correlation of one user's scores of items by two models, the mean over a seeded sample of
users, with a 95% bootstrap interval.

``fold_in``
    A user folded in from what they took in train, against the vector that training gave them; over all candidates that
    the user did not take. ``average_user``: the same of the mean of all users' vectors.
``add_items``
    A model trained without the cold items in its catalogue, to which they are added by their pictures, against one
    that had them in its catalogue from the start; over the added items, and over all candidates.
``partial_fit``
    A model trained on 90% of the interactions that then takes in the other 10%, against one trained on all; over the
    candidates, for users of whom interactions were held back. ``before_partial_fit``: had it not taken them in.
``other_seed``
    Two trainings on the same data with different seeds: no closer can the others be expected to come.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from recgan.config import EmbedSettings, Settings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Pairs, make_split
from recgan.metrics.stats import bootstrap_means, interval
from recgan.recommenders import Recommender, TrainingData, create_recommender
from recgan.recommenders.data import UserRows, concatenated
from recgan.recommenders.train import data_for

HELD_BACK = 0.1
USERS = 500


def spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the rank correlation of each row of two arrays float [U, N], float64 [U]; NaN where a row is constant."""
    ranks = [rankdata(scores, axis=1) for scores in (one, other)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    sizes = [np.sqrt((rank**2).sum(axis=1)) for rank in centred]
    with np.errstate(invalid="ignore"):
        return (centred[0] * centred[1]).sum(axis=1) / (sizes[0] * sizes[1])


def agreement(
    bundle: Bundle, model: str, settings: Settings | None, embed: EmbedSettings, seed: int = 0, device: str = "auto"
) -> dict[str, dict[str, float]]:
    """Return the figures of one model by name: ``mean``, ``low``, ``high``, ``users``."""
    split = make_split(bundle)
    data = data_for(model, bundle, split, embed, device=device)

    def trained(on: TrainingData, seed: int = seed) -> Recommender:
        return create_recommender(model, settings).fit(on, seed=seed, device=device)

    whole, again = trained(data), trained(data, seed + 1)
    taken = UserRows.of(data.train, data.n_users)
    known = UserRows.of(concatenated(data.train, data.withheld), data.n_users)
    rng = np.random.default_rng(seed)
    active = np.flatnonzero(np.diff(taken.indptr))
    users = np.sort(rng.permutation(active)[:USERS])
    rows = np.flatnonzero(data.candidates)

    def figure(users: np.ndarray, ours: np.ndarray, theirs: np.ndarray, rows: np.ndarray = rows) -> dict[str, float]:
        """Compare scores [U, n_items] over ``rows``, less what each user took."""
        found = []
        for user, one, other in zip(users, ours, theirs):
            judged = np.setdiff1d(rows, known[user], assume_unique=True)
            found.append(spearman(one[None, judged], other[None, judged])[0])
        values = np.array(found)[np.isfinite(found)]
        low, high = interval(bootstrap_means(values[:, None], seed=seed)[:, 0])
        return {"mean": float(values.mean()), "low": low, "high": high, "users": len(values)}

    ids = [str(user) for user in data.user_ids]
    scores = whole.score([ids[user] for user in users])
    nobody = np.empty(0, dtype=np.int64)
    average = np.broadcast_to(whole.user_factors.mean(axis=0) @ whole.item_factors.T, scores.shape)
    folded = np.stack([whole.folded(taken[user], nobody) for user in users]) @ whole.item_factors.T
    found = {
        "other_seed": figure(users, again.score([ids[user] for user in users]), scores),
        "average_user": figure(users, average, scores),
        "fold_in": figure(users, folded, scores),
    }

    held = np.zeros(len(data.train), dtype=bool)
    held[rng.permutation(len(held))[: round(HELD_BACK * len(held))]] = True
    # Without the withheld pairs, which a fold-in would take for history, and a training does not learn from.
    nothing = _of(data.withheld, np.zeros(len(data.withheld), dtype=bool))
    part = trained(replace(data, train=_of(data.train, ~held), withheld=nothing))
    affected = np.unique(data.train.users[held])
    affected = np.sort(rng.permutation(affected)[:USERS])
    names = [ids[user] for user in affected]
    theirs = whole.score(names)
    found["before_partial_fit"] = figure(affected, part.score(names), theirs)
    items = data.items["item_id"].to_numpy()
    part.partial_fit(data.user_ids[data.train.users[held]], items[data.train.items[held]])
    found["partial_fit"] = figure(affected, part.score(names), theirs)

    if whole.visual:
        cold = np.flatnonzero(data.candidates & split.cold & (bundle.primary_images >= 0))
        old = np.setdiff1d(np.arange(data.n_items), cold)
        young = trained(without(data, old))
        categories = [str(one) for one in data.items["category"].to_numpy()[cold]]
        pictures = bundle.image_bytes([int(row) for row in bundle.primary_images[cold]])
        young.add_items([str(item) for item in items[cold]], pictures, categories)
        wide = np.empty_like(scores)
        wide[:, np.concatenate([old, cold])] = young.score([ids[user] for user in users])
        found["add_items"] = figure(users, wide, scores, cold)
        found["add_items_all"] = figure(users, wide, scores)
        found["add_items_other_seed"] = figure(users, again.score([ids[user] for user in users]), scores, cold)
    return found


def without(data: TrainingData, old: np.ndarray) -> TrainingData:
    """Return the data of the items ``old`` (rows, int64 [n], sorted) alone."""
    place = np.full(data.n_items, -1)
    place[old] = np.arange(len(old))

    def kept(pairs: Pairs) -> Pairs:
        stay = _of(pairs, place[pairs.items] >= 0)
        return replace(stay, items=place[stay.items])

    features, images = data.features, data.images
    if features is not None:
        features = replace(features, values=features.values[old], has_image=features.has_image[old])
    return replace(
        data,
        items=data.items.iloc[old].reset_index(drop=True),
        category_index=data.category_index[old],
        candidates=data.candidates[old],
        train=kept(data.train),
        validation=kept(data.validation),
        withheld=kept(data.withheld),
        features=features,
        images=images and replace(images, rows=images.rows[old]),
    )


def _of(pairs: Pairs, mask: np.ndarray) -> Pairs:
    times = None if pairs.times is None else pairs.times[mask]
    return Pairs(pairs.users[mask], pairs.items[mask], times)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and, with ``--json``, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--models", default="vbpr,vbpr_ssm,ideal_point,bpr_mf")
    parser.add_argument("--encoder", default="efficientnet_lite0")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    options = parser.parse_args(arguments)
    bundle, embed = Bundle.open(options.bundle), EmbedSettings(encoder=options.encoder, size=options.size)
    result: dict[str, Any] = {}
    for name in options.models.split(","):
        result[name] = agreement(bundle, name, None, embed, options.seed, options.device)
        print(name, file=sys.stderr)
        for key, one in result[name].items():
            print(f"    {key:22} {one['mean']:.3f} ({one['low']:.3f}-{one['high']:.3f})", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
