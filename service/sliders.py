"""The directions of the latent space that designs are moved along, with the sheets that show what each changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recgan.artifacts import sha256_file

if TYPE_CHECKING:
    from recgan.gan import TrainedGAN
    from recgan.gan.latent import Directions

__all__ = ["Sliders", "load_sliders"]


@dataclass(frozen=True)
class Sliders:
    """Directions of the generator that serves."""

    directions: Directions
    sheets: tuple[Path, ...]
    """A PNG of each."""
    etags: tuple[str, ...]
    """Entity tags of these."""


def load_sliders(folder: str | Path, gan: TrainedGAN) -> Sliders:
    """Return what ``recgan sample directions`` wrote.

    Raises:
        ArtifactError: not such an artifact, incomplete or damaged.
        MismatchError: it is another generator's.
    """
    from recgan.gan.latent import direction_sheets, load_directions

    directions, sheets = load_directions(folder, gan), direction_sheets(folder)
    return Sliders(directions, tuple(sheets), tuple(f'"{sha256_file(sheet)[:32]}"' for sheet in sheets))
