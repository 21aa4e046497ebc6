"""The recipes beside each other on photos, after equal images and after equal time, judged by test photos.

    python benchmarks/gan_photos.py FPI --out OUT [--images 150000] [--seconds 600] [--recipes modern-small:0,...]
                                    [--budget 3600]

FPI is a bundle of fashion-product-images. Each recipe and seed is trained twice at 32 px on one core: on ``--images``
real images, and on as many as it is shown in ``--seconds`` of processor time (measured before by a few steps, so that
other work on the machine does not count; looks are left out of the time). Nothing of a recipe is changed, and all are
held to one rule of which state is kept: that of `train_gan`, with looks at validation photos by EfficientNet-Lite2.
KID and coverage here are by EfficientNet-Lite0 at 128 px, on test photos and as many samples of their classes; in
brackets 95% bootstrap intervals. `kang2017`, whose network has one size, has its row at 64 px, judged at 64 px.

Every run is resumed where it was stopped, and a call ends after ``--budget`` seconds. ``OUT`` holds the GANs,
``figures.jsonl`` and, of all that is finished, ``table.md``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recgan.config import MonitorSettings, Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels, to_uint8
from recgan.encoders import embed_pixels, load_encoder
from recgan.evaluation.generative.figures import Bootstrap
from recgan.gan import build_networks, design_seeds, find_recipe, latents, load_gan, run_folder, train_gan
from recgan.gan.data import training_rows
from recgan.gan.training.checkpoint import latest_checkpoint
from recgan.gan.training.steps import new_state, train_step

ORDER = (
    "dcgan-lsgan:0,modern-small:0,dcgan-lsgan:1,modern-small:1,sngan-projection:0,wgan-gp:0,biggan-lite:0,kang2017:0"
)
EXTRACTOR, EXTRACTOR_SIZE = "efficientnet_lite0", 128
NEIGHBOURS = 5


class TimeIsUp(Exception):
    """This call has had its seconds."""


@dataclass(frozen=True)
class Run:
    """One row of the table."""

    recipe: str
    seed: int
    measure: str
    """``images`` or ``seconds``: what all have had as much of."""
    images: int

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        return 64 if self.recipe == "kang2017" else 32

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.recipe}-{self.seed}-{self.measure}"


def images_per_second(recipe: Recipe, n_classes: int, size: int) -> float:
    """Return how many real images the recipe is shown in a second of processor time."""
    rng = torch.Generator().manual_seed(0)
    state = new_state(recipe, build_networks(recipe, n_classes, size, rng), rng, torch.device("cpu"))
    state.length = 2 * 10**6
    images = torch.rand(recipe.batch_size, 3, size, size) * 2 - 1
    classes = torch.arange(recipe.batch_size) % n_classes
    train_step(state, recipe, images, classes)
    steps = 3 * max(recipe.r1_every, recipe.discriminator_steps, 4)
    began = time.process_time()
    for _ in range(steps):
        train_step(state, recipe, images, classes)
    return steps * recipe.batch_size / (time.process_time() - began)


class Judge:
    """KID and coverage by test photos, which nothing has seen."""

    def __init__(self, bundle: Bundle, samples: int) -> None:
        self.bundle = bundle
        self.rows = np.random.default_rng(0).permutation(training_rows(bundle, ("test",)))[:samples]
        self.classes = torch.tensor(bundle.category_index[self.rows])
        self.encoder = load_encoder(EXTRACTOR, "cpu")
        self.encoder.input_size = EXTRACTOR_SIZE
        self.real: dict[int, np.ndarray] = {}

    def figures(self, folder: Path) -> dict[str, object]:
        """Return the figures of a GAN."""
        gan = load_gan(folder, "cpu")
        if gan.size not in self.real:
            pixels = load_pixels(self.bundle, gan.size)[self.bundle.primary_images[self.rows]]
            self.real[gan.size] = embed_pixels(self.encoder, pixels)
        images = gan.sample(latents(design_seeds(0, len(self.rows)), gan.recipe), self.classes)
        fake = embed_pixels(self.encoder, to_uint8(images))
        likeness, _ = Bootstrap(1000, 0).likeness(self.real[gan.size], fake, NEIGHBOURS)
        figures = {"size": gan.size, "n": len(self.rows), "images": gan.manifest.metrics["images_seen"]}
        for name in ("kid", "coverage", "precision", "recall"):
            estimate = getattr(likeness, name)
            figures[name] = [estimate.value, estimate.low, estimate.high]
        return figures | {"kept_at": gan.manifest.metrics["best"]["images_seen"]}


def train(bundle: Bundle, run: Run, out: Path, until: float) -> None:
    """Train one run, or go on with it; raises `TimeIsUp` after ``until``."""
    place = out / run.name

    def told(step: str, done: int, total: int | None = None, note: str = "") -> None:
        if step == "training the generator" and time.monotonic() > until and done != total:
            raise TimeIsUp
        if step.startswith(("looking", "ALARM")):
            print(f"{run.name}: {step} {done:,} {note}", flush=True)

    train_gan(
        bundle,
        run.recipe,
        out=place,
        size=run.size,
        images_seen=run.images,
        seed=run.seed,
        device="cpu",
        resume=latest_checkpoint(run_folder(place) / "checkpoints") is not None,
        monitor=MonitorSettings(looks=10),
        progress=told,
    )


def table(figures: list[dict[str, object]], measure: str) -> str:
    """Return the finished rows of one measure as Markdown."""
    lines = ["| recipe | seed | px | images seen | KID | coverage | images/s |", "|---|---|---|---|---|---|---|"]
    for row in figures:
        if row["measure"] == measure:
            kid, coverage = ("{:.3f} ({:.3f}-{:.3f})".format(*row[name]) for name in ("kid", "coverage"))  # type: ignore[misc]
            lines.append(
                f"| `{row['recipe']}` | {row['seed']} | {row['size']} | {row['images']:,} | {kid} | {coverage} | "
                f"{row['rate']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Train, judge and tabulate what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=150_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--recipes", default=ORDER, help="recipe:seed, with commas, in the order they are run")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds of wall clock of this call")
    given = parser.parse_args()
    until = time.monotonic() + given.budget
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    bundle, judge = Bundle.open(given.bundle), None
    record, speeds = given.out / "figures.jsonl", given.out / "speeds.json"
    figures = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    rates = json.loads(speeds.read_text()) if speeds.exists() else {}
    for each in given.recipes.split(","):
        name, _, seed = each.partition(":")
        if name not in rates:  # once, since a resumed run has one length
            rates[name] = images_per_second(
                find_recipe(name), len(bundle.category_names), 64 if name == "kang2017" else 32
            )
            speeds.write_text(json.dumps(rates))
        for measure, images in (("images", given.images), ("seconds", round(rates[name] * given.seconds))):
            run = Run(name, int(seed or 0), measure, images)
            if any((row["recipe"], row["seed"], row["measure"]) == (run.recipe, run.seed, measure) for row in figures):
                continue
            try:
                if not (given.out / run.name).exists():
                    train(bundle, run, given.out, until)
            except TimeIsUp:
                print(f"{run.name} is not finished; run the same command again")
                return
            judge = judge or Judge(bundle, given.samples)
            about = {"recipe": name, "seed": run.seed, "measure": measure, "rate": rates[name]}
            figures.append(about | judge.figures(given.out / run.name))
            with record.open("a") as file:
                file.write(json.dumps(figures[-1]) + "\n")
            parts = [f"After {given.images:,} images", table(figures, "images")]
            parts += [f"After {given.seconds:,.0f} s of processor time", table(figures, "seconds")]
            (given.out / "table.md").write_text("\n\n".join(parts) + "\n")
            print(table(figures, measure), flush=True)


if __name__ == "__main__":
    main()
