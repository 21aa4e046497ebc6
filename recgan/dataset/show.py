"""Pictures of a bundle: a sheet of its items by category, and a few histograms, to see what was imported."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import decode_image, letterbox
from recgan.dataset.sheets import fit_text, image_grid, label_font, save_picture
from recgan.errors import ArtifactError, ImageRefused

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_CATEGORIES", "show_bundle"]

MOST_CATEGORIES = 40
"""Categories shown at most: the largest ones."""
_CELL = 96
_SIZES_SAMPLED = 2000
_INK = "#33415c"
_BAR = "#5c7fb5"


def show_bundle(bundle: Bundle, out_folder: str | Path, *, per_category: int = 12, seed: int = 0) -> list[Path]:
    """Write pictures of a bundle into a folder and return their paths.

    ``items.png`` has a row of items for each category, an uncurated draw by ``seed``. Then, each where the bundle has
    what it shows: ``items-per-category.png``, ``image-sizes.png``, ``interactions-per-item.png``,
    ``interactions-per-user.png`` and ``interactions-over-time.png``. Of more than `MOST_CATEGORIES` categories the
    largest are shown, and the picture says so.

    Raises:
        ArtifactError: an image of the bundle is damaged.
        StorageError: the folder cannot be written.
    """
    folder = Path(out_folder)
    rng = np.random.default_rng(seed)
    counts = bundle.items["category"].value_counts(sort=False)
    ordered = counts.sort_index().sort_values(ascending=False, kind="stable")
    largest = ordered.head(MOST_CATEGORIES)
    scope = _scope(len(ordered))
    paths = []
    if bundle.header.counts["images"]:
        drawn = [_drawn(bundle, str(name), per_category, rng) for name in largest.index]
        n_images = len(bundle.image_index)
        sample = np.sort(rng.choice(n_images, min(_SIZES_SAMPLED, n_images), replace=False))
        wanted = np.unique(np.concatenate([*drawn, sample]))
        encoded = dict(zip(wanted.tolist(), bundle.image_bytes(wanted.tolist())))
        rows = [_pictures(bundle, {row: encoded[row] for row in part.tolist()}) for part in drawn]
        title = f"{bundle.name}: {len(bundle.items):,} items{scope}; drawn at random, seed {seed}"
        sheet = image_grid(rows, [f"{name} ({count:,})" for name, count in largest.items()], title=title)
        paths.append(save_picture(sheet, folder / "items.png"))
        sizes = np.array([Image.open(io.BytesIO(encoded[row])).size for row in sample.tolist()])
        paths.append(_image_sizes(sizes, n_images, folder / "image-sizes.png"))
    paths.append(_items_per_category(largest, scope, folder / "items-per-category.png"))
    interactions = bundle.interactions
    if len(interactions):
        for column, every in (("item_id", bundle.item_ids), ("user_id", None)):
            each = interactions[column].value_counts()
            none = 0 if every is None else len(every) - len(each)
            what = column.removesuffix("_id")
            paths.append(_activity(each.to_numpy(), none, what, folder / f"interactions-per-{what}.png"))
        times = interactions["timestamp"].dropna()
        if len(times):
            paths.append(_over_time(times, len(interactions), folder / "interactions-over-time.png"))
    return paths


def _scope(n_categories: int) -> str:
    if n_categories <= MOST_CATEGORIES:
        return f" in {n_categories} categories" if n_categories > 1 else " in one category"
    return f", the {MOST_CATEGORIES} largest of {n_categories:,} categories"


def _drawn(bundle: Bundle, category: str, number: int, rng: np.random.Generator) -> np.ndarray:
    """Return the rows of `Bundle.image_index` of the first images of a category's items, drawn at random."""
    rows = bundle.primary_images[bundle.category_index == bundle.category_names.index(category)]
    rows = rows[rows >= 0]
    return rng.permutation(rows)[:number]


def _pictures(bundle: Bundle, encoded: Mapping[int, bytes]) -> np.ndarray:
    pictures = []
    for row, data in encoded.items():
        try:
            pictures.append(letterbox(decode_image(data), _CELL))
        except ImageRefused as error:
            item = bundle.item_ids[bundle.image_index["item"].iloc[row]]
            raise ArtifactError(
                f"'{bundle.path}': the image of item '{item}' is damaged ({error.detail}); import the bundle again"
            ) from error
    return np.stack(pictures) if pictures else np.empty((0, _CELL, _CELL, 3), dtype=np.uint8)


def _items_per_category(largest: pd.Series, scope: str, path: Path) -> Path:
    from matplotlib.font_manager import FontProperties

    def draw(axes: Axes) -> None:
        places = np.arange(len(largest))
        names = [fit_text(str(name), 10, 170) for name in largest.index]
        axes.barh(places, largest.to_numpy(), color=_BAR)
        axes.set_yticks(places, names)
        for tick, name in zip(axes.get_yticklabels(), names):
            tick.set_fontproperties(FontProperties(fname=str(label_font(name, 10).path), size=8))
            tick.set_parse_math(False)
        axes.invert_yaxis()
        axes.set_ylim(len(largest) - 0.4, -0.6)
        axes.set_xlabel("items")

    return _plot(draw, f"Items{scope}", path, height=1.1 + 0.19 * len(largest))


def _image_sizes(sizes: np.ndarray, n_images: int, path: Path) -> Path:
    def draw(axes: Axes) -> None:
        pairs, counts = np.unique(sizes, axis=0, return_counts=True)
        area = 12 + 500 * counts / counts.max()
        axes.scatter(pairs[:, 0], pairs[:, 1], s=area, color=_BAR, alpha=0.55, edgecolors=_INK, linewidths=0.6)
        top = 1.12 * sizes.max()
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_aspect("equal")
        axes.set_xlabel("width in pixels")
        axes.set_ylabel("height in pixels")

    of = f"{len(sizes):,} images" if len(sizes) == n_images else f"{len(sizes):,} of {n_images:,} images, at random"
    return _plot(draw, f"Image sizes ({of}); area: how many", path, height=5.2)


def _activity(each: np.ndarray, none: int, what: str, path: Path) -> Path:
    def draw(axes: Axes) -> None:
        # Whole numbers up to 10, then steps of a factor: on a logarithmic axis the bars stay about as wide.
        top = int(each.max())
        steps = np.unique(np.round(np.geomspace(10, max(top, 11), 30)).astype(np.int64))
        edges = np.concatenate([np.arange(1, 10), steps, [top + 1]])
        edges = np.unique(edges[edges <= top + 1])
        axes.hist(each, bins=(edges - 0.5).tolist(), color=_BAR, edgecolor="white", linewidth=0.4)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.8)  # so that there is a power of ten on the axis, however few bars there are
        if top > 20:
            axes.set_xscale("log")
        else:
            axes.locator_params(axis="x", integer=True)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axis.set_minor_formatter(lambda value, _: "")
        axes.set_xlabel(f"interactions of one {what}")
        axes.set_ylabel(f"{what}s")

    title = f"{len(each):,} {what}s with interactions: median {np.median(each):,.0f}, most {each.max():,}"
    return _plot(draw, title + (f"; {none:,} {what}s have none" if none else ""), path)


def _over_time(times: pd.Series, total: int, path: Path) -> Path:
    def draw(axes: Axes) -> None:
        axes.hist(times.to_numpy(), bins=60, color=_BAR, edgecolor="white", linewidth=0.4)
        axes.set_xlabel("date")
        axes.set_ylabel("interactions")
        axes.tick_params(axis="x", labelrotation=30)

    first, last = times.min(), times.max()
    dated = "" if len(times) == total else f" ({len(times):,} of {total:,} have a time)"
    return _plot(draw, f"Interactions from {first:%Y-%m-%d} to {last:%Y-%m-%d}{dated}", path)


def _plot(draw: Callable[[Axes], None], title: str, path: Path, *, height: float = 3.6) -> Path:
    # matplotlib takes a moment to import; the figure is made without pyplot, which keeps global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.set_title(title, fontsize=10, color=_INK, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # no installed font has it: a box is drawn
        figure.savefig(buffer, format="png")
    return save_picture(Image.open(buffer), path)
