"""What the report says: the sections of the page as plain values, for the template to lay out."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

import recgan
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import to_uint8
from recgan.design import Design, Designer
from recgan.device import available_cores
from recgan.evaluation.pictures import generated_tile, item_tiles
from recgan.evaluation.ranking.report import RankingReport
from recgan.evaluation.report.figures import comparison_rows, interval_plot, labels, ranking_heads, ranking_rows
from recgan.evaluation.report.truth import TrueTaste
from recgan.gan import design_seeds, latents

__all__ = ["page_contents"]

_STRIP = 8
"""Pictures in a strip."""
_CLASSES = 20
"""Classes shown of the generator: those with the most training images."""


def page_contents(
    bundle: Bundle, designer: Designer, ranking: RankingReport, designs: Mapping[str, Sequence[Design]], seed: int
) -> dict[str, Any]:
    """Return the values of ``templates/report.html``."""
    taste = TrueTaste.of(bundle, designer.gan.size)
    everybodys = bundle.interactions
    shown = everybodys[everybodys["user_id"].isin(list(designs))]
    users = [_user(bundle, designer, user_id, list(made), shown, taste) for user_id, made in designs.items() if made]
    counts = bundle.header.counts
    return {
        "title": bundle.name,
        "subtitle": f"{counts['items']:,} items in {counts['categories']:,} categories · {counts['interactions']:,} "
        f"interactions of {counts['users']:,} {_who(ranking)} · recommender {designer.recommender.name} · "
        f"generator {designer.gan.recipe.name} at {designer.gan.size} px",
        "findings": [*_ranking_findings(ranking), *_design_findings(users)],
        "facts": _facts(bundle, designer, ranking, designs, seed),
        "ranking": _ranking(ranking),
        "generator": _generator(bundle, designer, seed),
        "users": users,
        "simulated": taste is not None,
        "pseudo_users": ranking.pseudo_users,
    }


def _who(ranking: RankingReport) -> str:
    if ranking.simulated:
        return "simulated users"
    return "pseudo-users (a seed item stands for a user)" if ranking.pseudo_users else "users"


# ---- ranking


def _ranking(ranking: RankingReport) -> dict[str, Any]:
    heads = ranking_heads(ranking)
    return {
        "plot": interval_plot(ranking),
        "judged": f"{ranking.users:,} {_who(ranking)}, {ranking.positives['all']:,} held-out interactions "
        f"({ranking.positives['cold']:,} of cold items), {ranking.candidates:,} candidates",
        "heads": heads,
        "starts": list(np.cumsum([0, *(len(head["columns"]) for head in heads)])),
        "rows": ranking_rows(ranking),
        "comparisons": comparison_rows(ranking),
    }


def _ranking_findings(ranking: RankingReport) -> list[dict[str, Any]]:
    named = labels(ranking)
    findings = []
    for group, items in (("all", "held-out items"), ("cold", "cold items, which nobody had taken")):
        aucs = {name: figures.values["auc"][group] for name, figures in ranking.models.items()}
        aucs = {name: auc for name, auc in aucs.items() if not np.isnan(auc)}
        if not aucs:
            continue
        best = max(aucs, key=aucs.__getitem__)
        low, high = ranking.models[best].intervals["auc"][group]
        others = ", ".join(f"{named[name]} {auc:.3f}" for name, auc in aucs.items() if name != best)
        text = f"On {items}, {named[best]} ranks best: exact AUC {aucs[best]:.3f} (95% interval {low:.3f}–{high:.3f})"
        text += f" beside {others}." if others else "."
        if ranking.oracle:
            ceiling, share = ranking.oracle.values["auc"][group], ranking.models[best].share[group]
            text += f" The oracle that made these users reaches {ceiling:.3f};"
            text += f" {named[best]} goes {share:.0%} of the way there from chance."
        findings.append({"text": text, "caution": False})
    return findings


# ---- what was run


def _facts(
    bundle: Bundle, designer: Designer, ranking: RankingReport, designs: Mapping[str, Sequence[Design]], seed: int
) -> list[tuple[str, str]]:
    model, gan = designer.recommender, designer.gan
    split = ", ".join(
        f"{name} {ranking.split[name]}" for name in ("protocol", "seed", "cold_share") if name in ranking.split
    )
    made = next((made[0] for made in designs.values() if made), None)
    figures = {name: value for name, value in gan.manifest.metrics.items() if isinstance(value, int | float)}
    facts = [
        ("data", f"{bundle.name} ({bundle.header.source}; licence {bundle.header.licence})"),
        ("catalogue", f"digest {bundle.catalogue_digest[:16]}"),
        ("split", f"{split}; judged on the {ranking.part} part"),
        (
            "recommender",
            f"{model.name}, seed {model.facts['seed']}, {_settings(model.settings.model_dump(mode='json'))}",
        ),
        ("encoder", f"{model.encoder_name} on {model.size} px images ({model.transform})"),
        ("generator", f"{gan.recipe.name} at {gan.size} px; " + _settings(figures)),
    ]
    if made is not None:
        search = {name: value for name, value in made.settings["search"].items() if name != "preset"}
        facts.append(("design search", f"preset {made.settings['preset']}: {_settings(search)}"))
    facts += [
        ("seed of this page", str(seed)),
        ("versions", f"recgan {recgan.__version__}, torch {torch.__version__}, Python {platform.python_version()}"),
        ("machine", f"{_device_name(designer.device)}, {available_cores()} processors"),
    ]
    if model.digest:
        facts.append(("artifacts", f"recommender {model.digest[:16]}, generator {gan.digest[:16]}"))
    return facts


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in values.items()
        if value is not None
    )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()})"


# ---- the generator


def _generator(bundle: Bundle, designer: Designer, seed: int) -> dict[str, Any]:
    gan = designer.gan
    by_count = np.argsort(-gan.train_images, kind="stable")[:_CLASSES]
    classes = sorted(int(index) for index in by_count if gan.train_images[index])
    z = latents(design_seeds(seed, _STRIP), gan.recipe)
    rng = np.random.default_rng([seed, 5])
    rows = []
    for index in classes:
        name = gan.category_names[index]
        pictured = np.flatnonzero((bundle.category_index == index) & (bundle.primary_images >= 0))
        drawn = rng.permutation(pictured)[:_STRIP]
        made = to_uint8(gan.sample(z, torch.full((_STRIP,), index)))
        rows.append(
            {
                "category": name,
                "count": f"{int(gan.train_images[index]):,} training images",
                "real": item_tiles(bundle, drawn.tolist()),
                "made": [
                    generated_tile(image, f"generated {name}, sample {place + 1}") for place, image in enumerate(made)
                ],
            }
        )
    return {"samples": _STRIP, "seed": seed, "rows": rows, "known": int(np.count_nonzero(gan.train_images))}


# ---- users


def _user(
    bundle: Bundle,
    designer: Designer,
    user_id: str,
    designs: list[Design],
    interactions: pd.DataFrame,
    taste: TrueTaste | None,
) -> dict[str, Any]:
    recommender, category = designer.recommender, designs[0].category
    seen = recommender.user_vector(user_id).seen
    recommended = recommender.recommend([user_id], _STRIP)[0]
    real = designer.real_items(user_id, category)
    best = np.argsort(-real.scores, kind="stable")[: len(designs)]
    row_of = {str(item_id): int(row) for item_id, row in zip(real.item_ids, real.rows, strict=True)}
    nearest = [design.nearest[0] for design in designs]

    design_truth: list[float] = []
    real_truth: list[float] = []
    if taste is not None:
        images = np.stack([design.image for design in designs])
        design_truth = taste.percentiles(user_id, category, images, real.rows)
        real_truth = taste.percentiles_of_items(user_id, category, real.rows[best], real.rows)

    def judged(score: float, percentile: float, place: int, truth: list[float]) -> list[str]:
        lines = [f"score {score:.2f}", f"above {percentile:.0f}%"]
        return [*lines, f"true taste {truth[place]:.0f}%"] if truth else lines

    shown = sorted(range(len(designs)), key=lambda place: -designs[place].score)
    return {
        "user_id": user_id,
        "category": category,
        "taken": f"{len(seen):,}",
        "history": item_tiles(bundle, _latest(bundle, interactions[interactions["user_id"] == user_id], seen)),
        "recommended": item_tiles(
            bundle,
            bundle.item_rows([one.item_id for one in recommended]).tolist(),
            [[one.category] for one in recommended],
        ),
        "designs": [
            generated_tile(
                designs[place].image,
                f"designed {category}, score {designs[place].score:.2f}",
                [
                    *judged(designs[place].score, designs[place].percentile, place, design_truth),
                    f"realism {designs[place].realism:+.1f} sd",
                ],
            )
            for place in shown
        ],
        "nearest": item_tiles(
            bundle,
            [row_of[nearest[place][0]] for place in shown],
            [[nearest[place][0], f"distance {nearest[place][1]:.2f}"] for place in shown],
        ),
        "real": item_tiles(
            bundle,
            real.rows[best].tolist(),
            [
                [
                    str(real.item_ids[row]),
                    *judged(float(real.scores[row]), real.percentile(real.scores[row]), place, real_truth),
                ]
                for place, row in enumerate(best)
            ],
        ),
        "verdict": {
            "design_score": max(design.score for design in designs),
            "real_score": float(real.scores[best[0]]),
            "design_truth": design_truth[shown[0]] if design_truth else None,
            "real_truth": real_truth[0] if real_truth else None,
        },
    }


def _latest(bundle: Bundle, interactions: pd.DataFrame, seen: np.ndarray) -> list[int]:
    """Return the rows of one user's latest training items, the latest first; by row where there are no times."""
    times = interactions.groupby("item_id")["timestamp"].max()
    ids = [str(item_id) for item_id in bundle.item_ids[seen]]
    order = times.reindex(ids).reset_index(drop=True).sort_values(ascending=False, kind="stable").index
    return [int(row) for row in seen[order.to_numpy()][:_STRIP]]


def _design_findings(users: list[dict[str, Any]]) -> list[dict[str, Any]]:
    verdicts = [user["verdict"] for user in users]
    if not verdicts:
        return []
    wins = sum(one["design_score"] > one["real_score"] for one in verdicts)
    text = (
        f"By the recommender's own score, the best design beats the best real item for {wins} of {len(verdicts)} "
        "users. That is the score that the search climbs, so it proves nothing by itself."
    )
    if verdicts[0]["design_truth"] is not None:
        agreed = sum(one["design_truth"] > one["real_truth"] for one in verdicts)
        design, real = (np.mean([one[kind] for one in verdicts]) for kind in ("design_truth", "real_truth"))
        text += (
            f" The true taste, which the search never saw, prefers the design for {agreed} of {len(verdicts)}: on "
            f"average that design lies above {design:.0f}% of the real items, and the recommender's best real item "
            f"above {real:.0f}%."
        )
    return [{"text": text, "caution": True}]
