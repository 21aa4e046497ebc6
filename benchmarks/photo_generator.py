"""Train the generator that comes with recgan, in calls of bounded length, and judge it.

    python benchmarks/photo_generator.py FPI --out OUT [--recipe modern-small] [--images-seen N] [--seconds 540]
    python benchmarks/photo_generator.py FPI --out OUT [--finish] [--judge] [--ship]

FPI is a bundle of fashion-product-images (`recgan import fashion-product-images`). Its classes here are article type
and gender, where they have at least 400 photos. Each call goes on where the one before it stopped, and ends after
``--seconds``, its checkpoint saved, so that a job of hours fits into calls of ten minutes on a machine that is lent.
The GAN is written after the last image, or by ``--finish`` at any time (recipes without a schedule only; they can be
gone on with afterwards). Once it is written, ``--judge`` compares it with test photos as `recgan evaluate generative`
does, and ``--ship`` puts it into the package in half precision.

On a GPU (not run yet: none was at hand)::

    python benchmarks/photo_generator.py FPI --out OUT --recipe modern --images-seen 5000000 --seconds 540 \
        --set precision=bfloat16
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from recgan.config import GenerativeSettings, MonitorSettings, overridden
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.evaluation.generative import evaluate_generative
from recgan.gan import find_recipe, load_gan, run_folder, train_gan
from recgan.gan.shipped import SHIPPED, write_gan
from recgan.gan.training.checkpoint import latest_checkpoint

SIZE = 64
FEWEST_PHOTOS = 400


def by_gender(photos: Bundle, out: Path) -> Bundle:
    """Return the photos of the types and genders that have enough of them, as a bundle of its own."""
    if out.exists():
        return Bundle.open(out)
    named = photos.items["category"] + " (" + photos.items["gender"].str.lower() + ")"
    kept = named.map(named.value_counts()).to_numpy() >= FEWEST_PHOTOS
    header = photos.header
    with BundleWriter(out, name=f"{header.name}, by gender", licence=header.licence, source=header.source) as writer:
        rows = photos.primary_images[kept]
        ids, digests = photos.item_ids[kept], photos.image_index["sha256"].to_numpy()
        for start in range(0, len(rows), 500):
            block = rows[start : start + 500]
            for item_id, row, data in zip(ids[start : start + 500], block, photos.image_bytes(block)):
                writer.add_image(item_id, data, sha256=digests[row])
        writer.set_items(photos.items.assign(category=named)[kept])
    return Bundle.open(out)


def judge(place: Path, bundle: Bundle, samples: int, seed: int, out: Path) -> None:
    """Judge a GAN, unless that is done, and print the main figures."""
    report = out / "generative.json"
    if not report.exists() or json.loads(report.read_text())["gan"]["digest"] != load_gan(place, "cpu").digest:
        evaluate_generative(place, bundle, GenerativeSettings(samples=samples), seed=seed, out=out, overwrite=True)
    figures = json.loads(report.read_text(encoding="utf-8"))
    for name in ("n", "kid", "fd", "precision", "recall", "coverage", "class_consistency", "memorised"):
        print(f"{name}: {figures[name]}")


class TimeIsUp(Exception):
    """This call has had its seconds."""


def main() -> None:
    """Go on with the training; judge and ship what is finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="modern-small")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE")
    parser.add_argument("--images-seen", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--look-images", type=int, default=500, help="photos, and samples, of a look")
    parser.add_argument("--samples", type=int, default=2000, help="samples, and test photos, of the judgement")
    for flag in ("--finish", "--judge", "--ship"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    given.out.mkdir(parents=True, exist_ok=True)
    bundle = by_gender(Bundle.open(given.photos), given.out / "photos")
    place = given.out / "gan"
    reached = load_gan(place, "cpu").manifest.metrics["images_seen"] if place.exists() else 0
    if not reached or (reached < given.images_seen and not given.finish):
        checkpoint = latest_checkpoint(run_folder(place) / "checkpoints")
        length = int(checkpoint.name) if given.finish and checkpoint else given.images_seen

        def told(step: str, done: int, total: int | None = None, note: str = "") -> None:
            if step == "training the generator" and time.monotonic() - began > given.seconds and done != total:
                raise TimeIsUp
            if step.startswith(("looking", "ALARM")):
                print(f"{step}: {done:,} {note}", flush=True)

        try:
            train_gan(
                bundle,
                overridden(find_recipe(given.recipe), given.settings),
                out=place,
                size=SIZE,
                images_seen=length,
                seed=given.seed,
                resume=checkpoint is not None,
                monitor=MonitorSettings(looks=given.looks, images=given.look_images),
                progress=told,
            )
        except TimeIsUp:
            checkpoint = latest_checkpoint(run_folder(place) / "checkpoints")
            print(f"{int(checkpoint.name) if checkpoint else 0:,} of {length:,} images; run the same command again")
            return
    if given.judge:
        judge(place, bundle, given.samples, given.seed, given.out / "judged")
    if given.ship:
        write_gan(load_gan(place, "cpu"), SHIPPED, half=True, overwrite=True)
        print(f"{sum(path.stat().st_size for path in SHIPPED.iterdir()) / 1e6:.1f} MB in {SHIPPED}")


if __name__ == "__main__":
    main()
