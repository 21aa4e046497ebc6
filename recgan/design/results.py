"""A design, and the folder that designs are saved in: one PNG each and ``designs.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from recgan.atomic import atomic_folder
from recgan.dataset.sheets import image_grid
from recgan.errors import ArtifactError, SettingsError

__all__ = ["Design", "load_designs", "save_designs", "sheet_of"]

TABLE = "designs.json"


@dataclass(frozen=True, eq=False)
class Design:
    """One designed item."""

    image: np.ndarray
    """uint8 [S, S, 3]."""
    z: np.ndarray
    """The latent, float32 [dz]."""
    category: str
    seed: int
    """The design's own seed: asking for one design with this seed gives this design again."""
    score: float
    """The user's preference for the 8-bit image (visual terms only), on the recommender's own scale. It is the number
    that the search climbed, so by itself it proves nothing about the user's liking."""
    percentile: float
    """Share, in percent, of the category's real items (less those the user has seen) that score below it."""
    realism: float
    """The discriminator's verdict on the 8-bit image, in standard deviations from the mean of real images."""
    nearest: list[tuple[str, float]]
    """The real items that look most like it: (item id, cosine distance of encoder features), nearest first."""
    settings: dict[str, Any]
    """What reproduces it: settings of the search, user, and the digests of the artifacts."""
    start: np.ndarray | None = field(default=None, repr=False)
    """The picture that its search began with, uint8 [S, S, 3]; not saved."""

    def as_json(self, image: str) -> dict[str, Any]:
        """Return the design as JSON values; ``image`` is the name of its picture file."""
        return {
            "image": image,
            "z": [float(value) for value in self.z],
            "category": self.category,
            "seed": self.seed,
            "score": self.score,
            "percentile": self.percentile,
            "realism": self.realism,
            "nearest": [{"item_id": item_id, "distance": distance} for item_id, distance in self.nearest],
            "settings": self.settings,
        }


class _Pictured(Protocol):
    @property
    def image(self) -> np.ndarray: ...


def sheet_of(rows: Sequence[Sequence[_Pictured]], labels: Sequence[str] | None = None) -> Image.Image:
    """Return one picture of designs, or of what they were made from, in rows (with labels): what has an ``image`` uint8
    [S, S, 3]. Small pixels are repeated, so that each is some 128 px wide."""
    images = [np.stack([one.image for one in row]) for row in rows]
    return image_grid(images, labels, scale=max(1, 128 // images[0].shape[1]))


def save_designs(
    designs: Sequence[Design],
    folder: str | Path,
    *,
    pictures: Mapping[str, Image.Image] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write designs as ``design-000.png`` … and ``designs.json``; return what ``designs.json`` holds. Other
    ``pictures``, by name, are written beside them.

    The folder is there whole or not at all.

    Raises:
        SettingsError: there are no designs.
        ArtifactError: the folder exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    if not designs:
        raise SettingsError("there are no designs to save; ask for at least one")
    table = {"designs": [design.as_json(f"design-{place:03d}.png") for place, design in enumerate(designs)]}
    with atomic_folder(folder, overwrite=overwrite) as building:
        for design, row in zip(designs, table["designs"], strict=True):
            Image.fromarray(design.image).save(building / row["image"], "PNG")
        for name, picture in (pictures or {}).items():
            picture.save(building / name, "PNG")
        text = json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False)
        (building / TABLE).write_text(text + "\n", encoding="utf-8")
    return table


def load_designs(folder: str | Path) -> list[Design]:
    """Return the designs that `save_designs` wrote.

    Raises:
        ArtifactError: there are none, or they are damaged.
    """
    folder = Path(folder)
    if not (folder / TABLE).is_file():
        raise ArtifactError(f"'{folder}' holds no {TABLE}; give a folder that 'recgan design' wrote with --out")
    try:
        rows = json.loads((folder / TABLE).read_text(encoding="utf-8"))["designs"]
        return [
            Design(
                image=np.asarray(Image.open(folder / row["image"], formats=("PNG",))),
                z=np.asarray(row["z"], dtype=np.float32),
                nearest=[(near["item_id"], near["distance"]) for near in row["nearest"]],
                **{name: row[name] for name in ("category", "seed", "score", "percentile", "realism", "settings")},
            )
            for row in rows
        ]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:  # SyntaxError: a torn PNG
        raise ArtifactError(f"'{folder}' is damaged ({error}); design again") from error
