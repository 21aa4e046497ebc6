"""The blind test that is shown, and the box that its votes go to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recgan.evaluation.blindtest import BallotBox, PageParts

__all__ = ["BlindTest", "open_blindtest"]


@dataclass(frozen=True)
class BlindTest:
    """One test."""

    box: BallotBox
    parts: PageParts


def open_blindtest(folder: Path) -> BlindTest:
    """Return the test of a folder.

    Raises:
        ArtifactError: it is none, or of another version.
    """
    from recgan.evaluation.blindtest import BallotBox

    box = BallotBox(folder)
    return BlindTest(box, box.parts())
