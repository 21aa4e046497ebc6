"""The ranking protocol: train or load models, judge them exactly on held-out interactions, and compare them.

Every judged item is ranked among *all* candidates that its user is not known to have taken. ``warm`` and ``cold``
restrict which held-out items are judged, never the items that they are ranked among.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recgan.atomic import check_place
from recgan.config import EmbedSettings, Settings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import ORACLE_PARTS, StyleOracle
from recgan.dataset.split import Split, make_split
from recgan.encoders import Features, embed_items
from recgan.errors import MismatchError, SettingsError, nearest_name
from recgan.evaluation.kept import KeptParts, Part
from recgan.evaluation.ranking.contenders import Contender, contenders
from recgan.evaluation.ranking.files import save_ranking
from recgan.evaluation.ranking.judging import GROUPS, HeldOut, Judged, Scorer, inner_products
from recgan.evaluation.ranking.report import Comparison, ModelFigures, RankingReport
from recgan.metrics.stats import bootstrap_means, holm, interval, paired_p_value
from recgan.progress import Progress, quiet
from recgan.recommenders.base import Recommender
from recgan.recommenders.models.visual import CONTROLS
from recgan.recommenders.registry import create_recommender, load_recommender
from recgan.recommenders.train import data_for

__all__ = ["evaluate_ranking"]

_COMPARED = (("auc", "all"), ("auc", "cold"), ("ndcg@20", "all"))
_RESAMPLES_A_COMPARISON = 40
"""So that with Holm's correction the least p there can be, 2 / (resamples + 1), is still below .05."""


def evaluate_ranking(
    bundle: Bundle,
    models: Sequence[str | Path],
    *,
    split: SplitSettings | None = None,
    embed: EmbedSettings | None = None,
    settings: Mapping[str, Settings] | None = None,
    compare: Sequence[tuple[str, str]] = (),
    part: str = "test",
    seed: int = 0,
    resamples: int = 2000,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> RankingReport:
    """Judge models on one part of a bundle's split; exact, unsampled, with 95% bootstrap intervals over users.

    Args:
        bundle: catalogue and interactions; where its users are simulated, their oracle is judged as well.
        models: names to be trained on the train part (``vbpr``), controls (``vbpr:permuted``, ``vbpr:noise``,
            ``vbpr:category``), and folders of saved models (a folder called like a model is written ``./vbpr``).
        split: which interactions are held out.
        embed: the encoder and the size that visual models look through.
        settings: settings by model name; a control takes those of its model.
        compare: pairs of the models, the first to be tested against the second, besides those that always are: each
            visual model against the best one that is image-free, and against its own controls.
        part: ``test``, or ``validation`` while choosing.
        seed: of training and of the bootstrap.
        resamples: of the bootstrap, at least: 40 for each comparison, so that Holm's correction leaves any a chance.
        device: where features are computed and visual models are trained.
        out: folder for the report and a plot (`recgan.evaluation.ranking.files`); until it is written, the models
            judged are kept in ``<out>.run``, so that a stopped evaluation goes on with the next.
        overwrite: whether ``out`` may exist.
        progress: told how far it is.

    Raises:
        SettingsError: an unknown model or part, or a pair of a model that is not judged.
        DataError: nothing is held out.
        MismatchError: a saved model was trained on another catalogue or split, or on the test part.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written (told before the training).
    """
    if out is not None:
        check_place(out, overwrite=overwrite)
    if part not in ("test", "validation"):
        raise SettingsError(f"there is no part '{part}' to judge on; use test or validation")
    runs = contenders(models, settings)
    pairs = _checked(compare, [run.name for run in runs])
    parts = make_split(bundle, split)
    held_out = HeldOut(parts, part, bundle.category_index)
    # Before anything is trained: a folder that cannot be judged should not cost an hour first.
    loaded = {run.name: _load(Path(run.model), bundle, parts) for run in runs if run.saved}
    untrained = {run.name: create_recommender(run.model, run.settings(settings or {})) for run in runs if not run.saved}
    features = None
    if any(run.sees_features for run in runs):
        features = embed_items(bundle, embed, device=device, progress=progress)
    seen = None if features is None else features.values
    common = {
        "bundle": bundle.digest,
        "split": parts.digest,
        "part": part,
        "embed": (embed or EmbedSettings()).model_dump(),
    }

    def train_and_judge(run: Contender) -> Part:
        start = time.perf_counter()
        model = loaded.get(run.name)
        if model is None:
            data = data_for(run.model, bundle, parts, embed, device=device, progress=progress)
            model = untrained.pop(run.name).fit(data, seed=seed, device=device, progress=progress)
        about = _about(model, run.saved, time.perf_counter() - start)
        return held_out.judge(inner_products(model, device), _step(progress, f"judging {run.name}"), seen).as_part(
            about
        )

    judged: dict[str, Judged] = {}
    about: dict[str, dict[str, Any]] = {}
    with KeptParts(out, {**common, "seed": seed}) as kept:
        for run in runs:
            depends: dict[str, Any] = {}
            if run.saved:
                depends["model"] = loaded[run.name].digest
            else:
                depends["settings"] = untrained[run.name].settings.model_dump(mode="json")
            part_of_run = kept.of(run.name, depends, partial(train_and_judge, run))
            judged[run.name], about[run.name] = Judged.of_part(part_of_run)
        oracle = _oracle_scorer(bundle, parts)
        truth = held_out.judge(oracle, _step(progress, "judging the oracle"), seen) if oracle else None
        figures, oracle_figures, comparisons = _figures(judged, about, truth, pairs, resamples, seed)
        report = RankingReport(
            bundle=bundle.name,
            simulated=truth is not None,
            pseudo_users=bundle.header.pseudo_users,
            part=part,
            split={**parts.settings.model_dump(mode="json"), "digest": parts.digest},
            embed=_embed_facts(features),
            seed=seed,
            users=len(held_out.users),
            skipped=held_out.skipped,
            positives=held_out.positives,
            candidates=int(parts.candidates.sum()),
            models=figures,
            oracle=oracle_figures,
            comparisons=comparisons,
        )
        if out is not None:
            save_ranking(report, out, overwrite=overwrite)
    return report


def _load(folder: Path, bundle: Bundle, split: Split) -> Recommender:
    model = load_recommender(folder)
    model.check_fits(bundle)
    if model.split_digest != split.digest:
        if model.facts["split"]["protocol"] == "all":
            why = "it was trained on everything, what is judged here included"
        else:
            why = "it was trained on another split, so it may have seen what is judged here"
        raise MismatchError(f"'{folder}' cannot be judged: {why}; train it anew on this split")
    return model


def _oracle_scorer(bundle: Bundle, split: Split) -> Scorer | None:
    """Return the true taste of simulated users as a scorer; None where users are real."""
    if any(part not in bundle.header.parts for part in ORACLE_PARTS):
        return None
    oracle = StyleOracle.load(bundle)
    return lambda users: np.asarray(oracle.utility(split.user_ids[users]))


def _step(progress: Progress, name: str) -> Any:
    return lambda done, total: progress(name, done, total)


def _about(model: Recommender, saved: bool, seconds: float) -> dict[str, Any]:
    return {
        "model": model.name,
        "visual": model.visual,
        "control": model.facts["features"] if model.facts.get("features") in CONTROLS else None,
        "saved": saved,
        "seconds": round(seconds, 3),
        "settings": model.settings.model_dump(mode="json"),
        "training": model.metrics,
    }


def _embed_facts(features: Features | None) -> dict[str, Any] | None:
    if features is None:
        return None
    return {"encoder": features.encoder, "size": features.size, "transform": features.transform}


def _figures(
    judged: Mapping[str, Judged],
    about: Mapping[str, dict[str, Any]],
    truth: Judged | None,
    named: Sequence[tuple[str, str]],
    resamples: int,
    seed: int,
) -> tuple[dict[str, ModelFigures], ModelFigures | None, list[Comparison]]:
    everyone = {**judged, **({"oracle": truth} if truth else {})}
    names = list(everyone)
    metrics = list(everyone[names[0]].per_user)
    values: dict[str, dict[str, dict[str, float]]] = {name: {metric: {} for metric in metrics} for name in names}
    limits: dict[str, dict[str, dict[str, tuple[float, float]]]] = {name: {m: {} for m in metrics} for name in names}
    pairs = list(dict.fromkeys([*_pairs_to_compare(judged, about), *named]))
    resamples = max(resamples, _RESAMPLES_A_COMPARISON * len(pairs) * len(_COMPARED))
    found: list[tuple[str, str, str, str, float, tuple[float, float], float]] = []
    for group in GROUPS:
        # One resampling of the users serves all models and metrics, so that every difference is paired.
        columns = np.stack([everyone[name].per_user[metric][group] for name in names for metric in metrics], axis=1)
        columns = columns[np.isfinite(columns).all(axis=1)]
        means = bootstrap_means(columns, resamples=resamples, seed=seed)
        place = {pair: column for column, pair in enumerate((n, m) for n in names for m in metrics)}
        for (name, metric), column in place.items():
            values[name][metric][group] = float(columns[:, column].mean()) if len(columns) else float("nan")
            limits[name][metric][group] = interval(means[:, column])
        for metric in [m for m, g in _COMPARED if g == group and len(columns)]:
            for name, other in pairs:
                difference = means[:, place[name, metric]] - means[:, place[other, metric]]
                mean = values[name][metric][group] - values[other][metric][group]
                found.append((name, other, metric, group, mean, interval(difference), paired_p_value(difference)))
    adjusted = holm([row[-1] for row in found])
    comparisons = [
        Comparison(name, other, metric, group, mean, low, high, p, float(p_holm))
        for (name, other, metric, group, mean, (low, high), p), p_holm in zip(found, adjusted)
    ]

    def figures_of(name: str) -> ModelFigures:
        share = {}
        if truth and name != "oracle":
            share = {g: _share(values[name]["auc"][g], values["oracle"]["auc"][g]) for g in GROUPS}
        return ModelFigures(
            values[name], limits[name], everyone[name].lists, share, about.get(name, {"model": "oracle"})
        )

    return {name: figures_of(name) for name in judged}, figures_of("oracle") if truth else None, comparisons


def _share(auc: float, oracle: float) -> float:
    """Return how much of what there is to know a model knows; NaN where the oracle itself knows nothing."""
    return (auc - 0.5) / (oracle - 0.5) if oracle > 0.5 else float("nan")


def _checked(compare: Sequence[tuple[str, str]], names: Sequence[str]) -> list[tuple[str, str]]:
    for pair in compare:
        for name in pair:
            if name not in names:
                hint = nearest_name(name, names) or f"; judged are {', '.join(names)}"
                raise SettingsError(f"'{name}' cannot be compared: it is not among the models{hint}")
        if pair[0] == pair[1]:
            raise SettingsError(f"'{pair[0]}' cannot be compared with itself; name two models")
    return list(compare)


def _pairs_to_compare(judged: Mapping[str, Judged], about: Mapping[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (model, other): each visual model against the best image-free one, and against its own controls."""
    mean = {name: float(np.nanmean(one.per_user["auc"]["all"])) for name, one in judged.items()}
    image_free = [name for name in judged if not about[name]["visual"]]
    pairs = []
    for name in judged:
        if not about[name]["visual"] or about[name]["control"]:
            continue
        if image_free:
            pairs.append((name, max(image_free, key=mean.__getitem__)))
        pairs += [
            (name, other)
            for other in judged
            if about[other]["control"] and about[other]["model"] == about[name]["model"]
        ]
    return pairs
