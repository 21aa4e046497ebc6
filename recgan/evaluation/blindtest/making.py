"""Making a blind test: which pictures meet, under which names, on one page that does not tell.

People answer two questions. First, of pairs: which would you stock? A pair is a design for a user and the real item
that the recommender likes best for the same user and category. Then, of single pictures: real or designed? There a
design stands among as many real items of the same categories, whose photos the generator was not trained on. Nobody
sees a picture twice, and the page says that some are designed only before the second question.

Real items and designs go through the same pixels (8 bits, the generator's size) into the same kind of file, whose
length depends on the size alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import recgan
from recgan.atomic import atomic_folder, check_place
from recgan.config import DesignSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import load_pixels
from recgan.design import Design, Designer
from recgan.errors import DataError, MismatchError, SettingsError
from recgan.evaluation.blindtest.votes import KEY, PAGE, Key
from recgan.evaluation.pages import part_of_page, render_page
from recgan.evaluation.showcase import design_for_shown, draw_users
from recgan.gan.data import training_rows
from recgan.progress import Progress, quiet

__all__ = ["design_for_test", "make_blindtest"]

EACH = 2
"""Designs for a user: one for each question."""
_SECONDS = (6, 4)
"""That a person takes for a pair, and for a single picture."""


def design_for_test(
    designer: Designer,
    users: int,
    *,
    seed: int = 0,
    settings: DesignSettings | None = None,
    progress: Progress = quiet,
) -> dict[str, list[Design]]:
    """Return two designs for each of ``users`` users drawn by ``seed``, in the category that each took most from.

    Raises:
        SettingsError, DataError, TrainingError: as `recgan.evaluation.showcase.draw_users` and `Designer.design`.
    """
    shown = draw_users(designer, users, seed=seed)
    return design_for_shown(designer, shown, EACH, seed=seed, settings=settings, progress=progress)


def make_blindtest(
    bundle: Bundle,
    designer: Designer,
    designs: Mapping[str, Sequence[Design]],
    out: str | Path,
    *,
    title: str = "",
    seed: int = 0,
    overwrite: bool = False,
) -> Key:
    """Write the folder of a blind test: ``page.html`` and ``key.json``; return the key.

    The same inputs give the same bytes. The page is one file that works without a network; whoever has the key, or
    designs again with the seed, can tell the pictures apart, so keep both from those who vote.

    Args:
        bundle: the one that the designer's parts were trained on.
        designs: two or more for each user (`design_for_test`), all of a user of one category: the first is asked
            "real or designed?", the second is paired with the user's best real item, the third is asked again, …
        out: folder to write.
        title: what the page is called; none: the bundle's name.
        seed: of names, order and the choice of real items.

    Raises:
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        SettingsError: there are no designs, or fewer than two for a user.
        DataError: a category has too few real items with a picture.
        MismatchError: the designer is of another catalogue.
        StorageError: it cannot be written.
    """
    check_place(out, overwrite=overwrite)
    designer.recommender.check_fits(bundle)
    if len(designer.recommender.items) != len(bundle.items):
        raise MismatchError(f"the recommender has items that bundle '{bundle.path}' has not; train it on this bundle")
    if not designs or any(len(made) < EACH for made in designs.values()):
        raise SettingsError(f"a blind test needs at least {EACH} designs for each user; design more")
    # Names depend on what is shown: votes on other pictures are never taken for votes on these, and the seed alone does
    # not tell them.
    shown = hashlib.sha256(f"{bundle.digest} {designer.gan.digest} {designer.recommender.digest}".encode())
    for made in designs.values():
        for design in made:
            shown.update(design.image.tobytes())
    test = _Test(bundle, designer, np.random.default_rng([seed, 17, int.from_bytes(shown.digest()[:8], "big")]))
    for user, made in designs.items():
        for place, design in enumerate(made):
            if place % EACH:
                test.pair(user, design)
            else:
                test.single(user, design)
    test.fill_with_real_items()
    key = test.key(
        {
            "bundle": bundle.name,
            "catalogue": bundle.catalogue_digest,
            "seed": seed,
            "size": designer.gan.size,
            "recommender": designer.recommender.digest,
            "gan": designer.gan.digest,
            "recgan": recgan.__version__,
        }
    )
    page = _page(key, test.pixels, title or bundle.name, designer.gan.size)
    with atomic_folder(out, overwrite=overwrite) as building:
        (building / PAGE).write_text(page, encoding="utf-8")
        (building / KEY).write_text(json.dumps(key.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return key


class _Test:
    """Pictures and trials as they are gathered."""

    def __init__(self, bundle: Bundle, designer: Designer, rng: np.random.Generator) -> None:
        self._bundle, self._designer, self._rng = bundle, designer, rng
        self._real = load_pixels(bundle, designer.gan.size)
        self._held_out = set(training_rows(bundle, ("test",)).tolist())
        self._shown: set[int] = set()
        self._named: set[str] = set()
        self.pixels: dict[str, np.ndarray] = {}
        self._pictures: dict[str, dict[str, Any]] = {}
        self._trials: list[list[str]] = []
        self._wanted: list[str] = []

    def single(self, user: str, design: Design) -> None:
        """Ask of a design whether it is real; a real item of its category will be asked of too."""
        self._trials.append([self._design(user, design)])
        self._wanted.append(design.category)

    def pair(self, user: str, design: Design) -> None:
        """Set a design beside the best real item of its user that nobody is shown yet."""
        real = self._designer.real_items(user, design.category)
        best = [int(row) for row in real.rows[np.argsort(-real.scores, kind="stable")]]
        left = [row for row in best if row not in self._shown]
        if not left:
            raise DataError(f"category '{design.category}' has too few real items for this test; take fewer users")
        self._trials.append([self._design(user, design), self._item(left[0], rank=best.index(left[0]) + 1, user=user)])

    def fill_with_real_items(self) -> None:
        """Ask of one real item for each single design: of its category, not trained on where there is such a photo."""
        categories = self._bundle.items["category"].to_numpy(dtype=object)
        pictured = self._bundle.primary_images >= 0
        for category in self._wanted:
            rows = np.flatnonzero((categories == category) & pictured)
            rows = self._rng.permutation([row for row in rows.tolist() if row not in self._shown])
            if not len(rows):
                raise DataError(f"category '{category}' has too few real items for this test; take fewer users")
            unseen = [int(row) for row in rows if int(row) in self._held_out]
            row = unseen[0] if unseen else int(rows[0])
            self._trials.append([self._item(row, held_out=bool(unseen))])

    def key(self, about: dict[str, Any]) -> Key:
        """Return the key, its trials and pictures in an order that tells nothing."""
        order = self._rng.permutation(len(self._trials))
        trials = {self._name(): self._trials[place] for place in order}
        shown = {name: None for trial in trials.values() for name in sorted(trial)}
        return Key(self._name(), {name: self._pictures[name] for name in shown}, trials, about)

    def _design(self, user: str, design: Design) -> str:
        about = {"user": user, "seed": design.seed, "score": design.score, "percentile": design.percentile}
        return self._add(design.image, {"kind": "design", "category": design.category, **about})

    def _item(self, row: int, **about: Any) -> str:
        self._shown.add(row)
        item_id, category = str(self._bundle.item_ids[row]), str(self._bundle.items["category"].iat[row])
        pixels = np.asarray(self._real[self._bundle.primary_images[row]])
        return self._add(pixels, {"kind": "item", "category": category, "item_id": item_id, **about})

    def _add(self, pixels: np.ndarray, about: dict[str, Any]) -> str:
        name = self._name()
        self.pixels[name], self._pictures[name] = pixels, about
        return name

    def _name(self) -> str:
        name = self._rng.bytes(6).hex()
        while name in self._named:
            name = self._rng.bytes(6).hex()
        self._named.add(name)
        return name


def _page(key: Key, pixels: Mapping[str, np.ndarray], title: str, size: int) -> str:
    pairs: list[dict[str, Any]] = []
    singles: list[dict[str, Any]] = []
    for trial, shown in key.trials.items():
        # By name, which is drawn: the design is first as often as not.
        pictures = [{"id": name, "src": _plain_png(pixels[name])} for name in sorted(shown)]
        (singles if len(shown) == 1 else pairs).append({"id": trial, "pictures": pictures})
    return render_page(
        "blindtest.html",
        style="blindtest.css",
        title=title,
        test={"id": key.test, "title": title, "size": size, "pairs": pairs, "singles": singles},
        pairs=len(pairs),
        singles=len(singles),
        minutes=-(-(_SECONDS[0] * len(pairs) + _SECONDS[1] * len(singles)) // 60),
        script=part_of_page("blindtest.js"),
    )


def _plain_png(pixels: np.ndarray) -> str:
    """Return pixels uint8 [S, S, 3] as a data URI of a PNG that is not compressed: its length says nothing."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
