"""The model card of a generator: what it learned from, how, how good it is, and what it is not for (Mitchell et al.
2019)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recgan.config import Recipe

__all__ = ["CARD", "model_card"]

CARD = "MODEL_CARD.md"
"""Its name beside the weights."""
FEW = 100
"""A category with fewer training photos is told to be weak."""
_NAMED = 40
"""Categories named one by one, the largest first."""
_ALWAYS = (
    "network",
    "loss",
    "batch_size",
    "generator_learning_rate",
    "discriminator_learning_rate",
    "generator_width",
    "discriminator_width",
    "latent_dim",
)
"""Settings that are shown even where they are the default."""
_FIGURES = {
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "class_consistency": "class consistency, over that of photos",
    "diversity": "diversity within a category, over that of photos",
    "least_diversity": "the same of the least diverse category",
    "memorised": "share of samples nearer to a training photo than 1% of photos are",
    "dead": "share of samples that show nothing",
}


def model_card(
    recipe: Recipe,
    *,
    size: int,
    categories: Sequence[str],
    train_images: np.ndarray,
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
    catalogue: str,
) -> str:
    """Return the card as Markdown.

    Args:
        size: side of its images in pixels.
        categories: the K names, in class order.
        train_images: training images of each, int64 [K].
        metrics, facts: those of the GAN's manifest.
        catalogue: digest of the catalogue.
    """
    parts = [
        f"# {recipe.name}, {size} px",
        f"A class-conditional generator of pictures of {len(categories)} categories, trained by recgan.\n\n"
        f"Recipe: `{recipe.name}`" + (f" ({_plain(recipe.summary)})." if recipe.summary else "."),
        "## Data\n\n" + _data(categories, train_images, facts, catalogue),
        "## Training\n\n" + _training(recipe, categories, metrics, facts),
        "## Figures\n\n" + _figures(metrics, facts),
        "## Use and limits\n\n" + _limits(categories, train_images, facts),
    ]
    return "\n\n".join(parts) + "\n"


def _data(categories: Sequence[str], train_images: np.ndarray, facts: Mapping[str, Any], catalogue: str) -> str:
    order = np.argsort(-train_images, kind="stable")[:_NAMED]
    rows = [f"| {_plain(categories[index])} | {train_images[index]:,} |" for index in order]
    rest = len(categories) - len(rows)
    if rest:
        rows.append(f"| {rest:,} more | {train_images.sum() - train_images[order].sum():,} |")
    held_out = (
        "No photo was held out."
        if "test" in facts["parts"]
        else "A tenth of all photos was held out to choose the checkpoint, and a tenth, which nothing has seen, to "
        "judge the generator (exact duplicates on one side)."
    )
    return (
        f"- Catalogue: {_plain(facts['dataset'])} (digest `{catalogue[:16]}`)\n"
        f"- Licence of the photos: {_plain(facts.get('licence') or 'not known')}\n"
        f"- Training photos: {facts['training_images']:,}, the first of each item. {held_out}\n\n"
        "| category | training photos |\n|---|---|\n" + "\n".join(rows)
    )


def _training(recipe: Recipe, categories: Sequence[str], metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    shown = {name: getattr(recipe, name) for name in _ALWAYS}
    shown |= recipe.model_dump(mode="json", exclude_defaults=True, exclude={"name", "summary"})
    settings = json.dumps(shown, indent=2, ensure_ascii=False)
    begun = f"{_begun(facts['pretrained'], categories)} " if facts.get("pretrained") else ""
    return (
        f"{begun}{metrics['images_seen']:,} real images shown, seed {facts['seed']}, {metrics['seconds']:,.0f} s. "
        "Settings (the others are the defaults of `recgan.config.Recipe`; `manifest.json` has all):"
        f"\n\n```json\n{settings}\n```"
    )


def _begun(pretrained: Mapping[str, Any], categories: Sequence[str]) -> str:
    pairs = ", ".join(f"{_plain(own)} ({_plain(theirs)})" for own, theirs in zip(categories, pretrained["classes"]))
    return (
        f"It began with the weights of another generator (digest `{pretrained['gan'][:16]}`), trained on "
        f"{_plain(pretrained['dataset'])} (licence of those photos: {_plain(pretrained['licence'] or 'not known')}); "
        f"each category with what that one knew of one of its own: {pairs}."
    )


def _figures(metrics: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    best, monitor = metrics.get("best"), facts.get("monitor")
    if best is None:
        return "Nobody looked at the samples while it trained. `recgan evaluate generative` judges it."
    rows = [f"| {label} | {_number(best[name])} |" for name, label in _FIGURES.items()]
    eye = (
        f"`{monitor['extractor']}` at {monitor['extractor_size']} px, on at most {monitor['images']:,} validation "
        "photos and as many samples"
        if monitor
        else "the extractor of the training's looks, on validation photos"
    )
    if best["kid"] < best["blank"]:
        choice = (
            "The state with the lowest KID of all looks was kept, so they flatter a little; "
            "`recgan evaluate generative` judges by photos that nothing has seen."
        )
    else:
        choice = (
            f"It was trained too briefly: no look was nearer to the photos than blank pictures are (KID "
            f"{_number(best['blank'])}), so the last state that had not collapsed was kept."
        )
    return f"By {eye}, after {best['images_seen']:,} images. {choice}\n\n| figure | value |\n|---|---|\n" + "\n".join(
        rows
    )


def _limits(categories: Sequence[str], train_images: np.ndarray, facts: Mapping[str, Any]) -> str:
    weak = [_plain(name) for name, count in zip(categories, train_images) if 0 < count < FEW]
    untrained = [_plain(name) for name, count in zip(categories, train_images) if not count]
    lines = [
        "Made for designing within this catalogue's categories, for demonstrations and for research.",
        "What it shows does not exist: label its pictures as generated, and offer none as goods.",
        "It knows what this catalogue shows, with its gaps and habits, and nothing else.",
        "It may repeat training photos: look at the memorised share before publishing samples.",
        "Whether its weights and samples may be shared depends on the licence of the photos above.",
    ]
    if weak:
        lines.append(f"Weak, with fewer than {FEW} training photos: {', '.join(weak)}.")
    if untrained:
        lines.append(f"Without any training photo, so not to be asked for: {', '.join(untrained)}.")
    return "\n".join(f"- {line}" for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(text: str) -> str:
    """Return a text on one line that breaks no table."""
    return " ".join(str(text).split()).replace("|", "\\|")
