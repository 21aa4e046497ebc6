"""What the catalogue lacks: the briefs that ``recgan gaps`` wrote, and the cohorts that they are for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from recgan.errors import ArtifactError
from service.links import gap_image_path
from service.schemas import Brief, BriefColour, BriefTrait, Difference, GapCohort, GapList, NearItem

__all__ = ["Cohort", "GapFolder", "read_gaps"]

_MEMBERS = TypeAdapter(tuple[str, ...])


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
    """A folder of briefs, as it was when it was read."""

    told: GapList
    """What its ``gaps.json`` holds; the pictures of items are not pointed to, since items come and go."""
    cohorts: Mapping[int, Cohort]
    """By number."""
    pictures: Sequence[tuple[bytes, str]]
    """PNG of each brief, and its entity tag."""


def read_gaps(folder: Path) -> GapFolder:
    """Return the briefs of a folder.

    Raises:
        ArtifactError: it is none, or is damaged.
    """
    from recgan.evaluation.gaps import load_gaps

    try:
        told = load_gaps(folder)
        cohorts = _cohorts(told["gaps"])
        pictures = [_picture(folder / gap["design"]["image"]) for gap in told["gaps"]]
        return GapFolder(_listed(told, cohorts), cohorts, pictures)
    except OSError as error:
        raise ArtifactError(f"'{folder}' cannot be read ({error}); copy it again, or look for gaps again") from error
    except (AttributeError, KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(
            f"'{folder}' is damaged, or was made by another version ({_fault(error)}); look for gaps again"
        ) from error


def _cohorts(gaps: Sequence[Mapping[str, Any]]) -> dict[int, Cohort]:
    cohorts = {}
    for gap in gaps:
        members = gap["design"]["settings"]["user"]
        members = [members] if isinstance(members, str) else members  # of one, it is not a list
        cohorts[gap["cohort"]] = Cohort(
            gap["cohort"], gap["users"], gap["user_share"], _MEMBERS.validate_python(members)
        )
    return dict(sorted(cohorts.items()))


def _picture(file: Path) -> tuple[bytes, str]:
    png = file.read_bytes()
    return png, f'"{hashlib.sha256(png).hexdigest()[:32]}"'


def _listed(told: Mapping[str, Any], cohorts: Mapping[int, Cohort]) -> GapList:
    return GapList(
        catalogue=told["about"]["catalogue"],
        users=told["users"],
        found=told["found"],
        cohorts=[
            GapCohort(cohort=one.number, users=one.users, user_share=one.user_share, members=len(one.members))
            for one in cohorts.values()
        ],
        briefs=[_brief(place, gap) for place, gap in enumerate(told["gaps"])],
    )


def _brief(place: int, gap: Mapping[str, Any]) -> Brief:
    nearest = [NearItem(item_id=one["item_id"], distance=one["distance"], image_url=None) for one in gap["nearest"]]
    same = ("cohort", "category", "found", "preferred_by", "percentile", "judged", "taken", "style")
    return Brief(
        index=place,
        image_url=gap_image_path(place),
        gap=Difference(**gap["gap"]),
        like_for_like=Difference(**gap["like_for_like"]),
        palette=[BriefColour(**one) for one in gap["palette"]],
        attributes=[BriefTrait(name=name, **one) for name, one in gap["attributes"].items()],
        nearest=nearest,
        **{name: gap[name] for name in same},
    )


def _fault(error: Exception) -> str:
    """Return what is wrong, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{error.title}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
