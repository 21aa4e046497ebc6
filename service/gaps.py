"""What the catalogue lacks: the briefs that ``recgan gaps`` wrote, and the cohorts that they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgan.errors import ArtifactError

__all__ = ["Cohort", "GapFolder", "read_gaps"]


@dataclass(frozen=True)
class Cohort:
    """Users whose tastes are alike."""

    number: int
    """From 1, the largest first."""
    users: int
    user_share: float
    members: tuple[str, ...]
    """Ids of those whom its designs are for."""


@dataclass(frozen=True)
class GapFolder:
    """A folder of briefs."""

    told: Mapping[str, Any]
    """What its ``gaps.json`` holds."""
    cohorts: Mapping[int, Cohort]
    """By number."""
    pictures: Sequence[tuple[Path, str]]
    """Of each brief, and its entity tag."""


def read_gaps(folder: Path) -> GapFolder:
    """Return the briefs of a folder.

    Raises:
        ArtifactError: it is none, or is damaged.
    """
    from recgan.evaluation.gaps import load_gaps

    told = load_gaps(folder)
    cohorts = {}
    try:
        for gap in told["gaps"]:
            members = gap["design"]["settings"]["user"]
            members = (members,) if isinstance(members, str) else tuple(members)  # of one, it is not a list
            cohorts[gap["cohort"]] = Cohort(gap["cohort"], gap["users"], gap["user_share"], members)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"'{folder}' was made by another version ({error}); look for gaps again") from error
    files = [folder / gap["design"]["image"] for gap in told["gaps"]]
    tags = [f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:32]}"' for file in files]
    return GapFolder(told, dict(sorted(cohorts.items())), list(zip(files, tags)))
