"""What each GAN recipe has learned after the same time on one core: a sheet and a table.

    python benchmarks/gan_recipes.py --out OUT [--seconds 75] [--recipes dcgan,modern-small]

Four categories of the drawn catalogue (300 items each) at 32 px. Widths are 128, so that a minute shows something; all
else is the recipe's own. `kang2017`, which has one size, is trained at 64 px. How many images fit into the time is
measured before by a few steps in processor time, so that other work on the machine does not count. KID, coverage and
diversity are those of the last look, on 120 held-out images: fit to tell a collapse from a picture, not two good
recipes apart.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import pandas as pd
import torch
from PIL import Image, ImageDraw

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.boutique import CATEGORIES, draw_item
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import pixel_digest
from recgan.dataset.sheets import label_font
from recgan.gan import RECIPES, build_networks, find_recipe, run_folder, train_gan
from recgan.gan.training.steps import new_state, train_step

KEPT = ("T-shirt", "bag", "sneaker", "trousers")
ITEMS = 300
WIDTH = 128
COLUMNS = 6


def catalogue(out: Path) -> Bundle:
    """Draw the four categories, or open what was drawn before."""
    if out.exists():
        return Bundle.open(out)
    rows = []
    with BundleWriter(out, name="four categories", licence="CC0-1.0", source="drawn by recgan, seed 0") as writer:
        for index in range(len(CATEGORIES) * ITEMS):
            if CATEGORIES[index % len(CATEGORIES)] in KEPT:
                picture, row = draw_item(0, index, 64)
                encoded = io.BytesIO()
                picture.save(encoded, "PNG")
                writer.add_image(row["item_id"], encoded.getvalue(), sha256=pixel_digest(picture))
                rows.append(row)
        writer.set_items(pd.DataFrame(rows))
    return Bundle.open(out)


def narrow(name: str) -> Recipe:
    """Return the recipe at the width of this benchmark, where it is wider."""
    recipe = find_recipe(name)
    if recipe.network in ("dense", "kang2017"):
        return recipe
    widths = {side: min(getattr(recipe, side), WIDTH) for side in ("generator_width", "discriminator_width")}
    return recipe.model_copy(update=widths)


def images_in(seconds: float, recipe: Recipe, size: int) -> int:
    """Return how many images the recipe can be shown in so much processor time."""
    rng = torch.Generator().manual_seed(0)
    state = new_state(recipe, build_networks(recipe, len(KEPT), size, rng), rng, torch.device("cpu"))
    state.length = 2 * 10**6
    state.images_seen = 10**6 // recipe.batch_size * recipe.batch_size  # half-way: a grown network at its full size
    images = torch.rand(recipe.batch_size, 3, size, size) * 2 - 1
    classes = torch.arange(recipe.batch_size) % len(KEPT)
    train_step(state, recipe, images, classes)
    steps = max(4, recipe.discriminator_steps)
    began = time.process_time()
    for _ in range(steps):
        train_step(state, recipe, images, classes)
    return int(steps * recipe.batch_size / (time.process_time() - began) * seconds)


def main() -> None:
    """Train each recipe and write ``recipes.jsonl`` and ``recipes.webp``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=75)
    parser.add_argument("--recipes", default=",".join(name for name in RECIPES if name != "modern"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    bundle = catalogue(given.out / "catalogue")
    for name in given.recipes.split(","):
        if (given.out / name).exists():
            continue
        recipe, size = narrow(name), 64 if name == "kang2017" else 32
        count = images_in(given.seconds, recipe, size)
        monitor = MonitorSettings(looks=2, images=120)
        began = time.process_time()
        gan = train_gan(
            bundle,
            recipe,
            size=size,
            images_seen=count,
            out=given.out / name,
            device="cpu",
            monitor=monitor,
            overwrite=True,  # of what a stopped benchmark left
        )
        looks = (run_folder(given.out / name) / "looks.jsonl").read_text().splitlines()
        figures = {"recipe": name, "seconds": round(time.process_time() - began), **json.loads(looks[-1])}
        with (given.out / "recipes.jsonl").open("a") as file:
            file.write(json.dumps(figures) + "\n")
        gan.sheet(rows=len(KEPT), columns=COLUMNS).save(given.out / name / "shown.png")
        print(
            {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}, flush=True
        )
    montage(given.out)


def montage(out: Path, columns: int = 3, side: int = 480) -> None:
    """Write the sheets of all recipes found in ``out`` as one picture."""
    sheets = {name: out / name / "shown.png" for name in RECIPES if (out / name / "shown.png").exists()}
    tiles = []
    for name, path in sheets.items():
        with Image.open(path) as opened:
            sheet = opened.convert("RGB")
        sheet = sheet.resize((side, round(sheet.height * side / sheet.width)), Image.Resampling.LANCZOS)
        tile = Image.new("RGB", (side, sheet.height + 24), "white")
        tile.paste(sheet, (0, 24))
        ImageDraw.Draw(tile).text((4, 2), name, fill="black", font=label_font(name, 16))
        tiles.append(tile)
    height = max(tile.height for tile in tiles) + 8
    picture = Image.new("RGB", (columns * (side + 8), -(-len(tiles) // columns) * height), "white")
    for number, tile in enumerate(tiles):
        picture.paste(tile, (number % columns * (side + 8), number // columns * height))
    picture.save(out / "recipes.webp", quality=80)


if __name__ == "__main__":
    main()
