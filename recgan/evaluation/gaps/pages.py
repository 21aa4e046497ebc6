"""Gaps for people and for tables: one page with a printable brief each, ``gaps.csv`` and ``gaps.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from recgan.atomic import atomic_folder
from recgan.dataset.bundle import Bundle
from recgan.errors import ArtifactError
from recgan.evaluation.gaps.finding import Difference, Gap, Gaps
from recgan.evaluation.pages import render_page
from recgan.evaluation.pictures import generated_tile, item_tiles

__all__ = ["load_gaps", "save_gaps"]

TABLE = "gaps.json"


def save_gaps(gaps: Gaps, bundle: Bundle, out: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write ``gaps.html`` (self-contained), ``gaps.csv``, ``gaps.json`` and the designs' pictures into a folder; return
    what ``gaps.json`` holds. The same inputs give the same bytes.

    Raises:
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    names = [f"design-{place:03d}.png" for place in range(len(gaps.gaps))]
    told = {
        "cohorts": gaps.cohorts,
        "users": gaps.users,
        "found": sum(gap.found for gap in gaps.gaps),
        "gaps": [gap.as_json(name) for gap, name in zip(gaps.gaps, names)],
        "about": gaps.about,
    }
    with atomic_folder(out, overwrite=overwrite) as building:
        for gap, name in zip(gaps.gaps, names):
            Image.fromarray(gap.design.image).save(building / name, "PNG")
        text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
        (building / TABLE).write_text(text + "\n", encoding="utf-8")
        _table(gaps, names).to_csv(building / "gaps.csv", index=False)
        (building / "gaps.html").write_text(_page(gaps, bundle), encoding="utf-8")
    return told


def load_gaps(folder: str | Path) -> dict[str, Any]:
    """Return what ``gaps.json`` of a folder holds that `save_gaps` wrote.

    Raises:
        ArtifactError: there is none, it is damaged, or a design's picture is missing.
    """
    folder = Path(folder)
    if not (folder / TABLE).is_file():
        raise ArtifactError(f"'{folder}' holds no {TABLE}; give a folder that 'recgan gaps' wrote with --out")
    try:
        told: dict[str, Any] = json.loads((folder / TABLE).read_text(encoding="utf-8"))
        names = [gap["design"]["image"] for gap in told["gaps"]]
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"'{folder / TABLE}' is damaged ({error}); look for gaps again") from error
    if missing:
        raise ArtifactError(f"'{folder}' lacks the picture {missing[0]}; copy the folder again, or look for gaps again")
    return told


def _table(gaps: Gaps, names: list[str]) -> pd.DataFrame:
    rows = []
    for gap, name in zip(gaps.gaps, names):
        rows.append(
            {
                "cohort": gap.cohort,
                "category": gap.category,
                "found": gap.found,
                "users": gap.users,
                "taken": gap.taken,
                "gap": gap.gap.mean,
                "gap_low": gap.gap.low,
                "gap_high": gap.gap.high,
                "like_for_like": gap.like_for_like.mean,
                "like_for_like_low": gap.like_for_like.low,
                "like_for_like_high": gap.like_for_like.high,
                "preferred_by": gap.preferred_by,
                "percentile": gap.percentile,
                "colours": ", ".join(f"{one.name} {one.hex} {one.share:.0%}" for one in gap.palette),
                "style": "; ".join(gap.style),
                "attributes": "; ".join(f"{key}: {value}" for key, (value, _) in gap.attributes.items()),
                "nearest_in_stock": ", ".join(item_id for item_id, _ in gap.nearest),
                "picture": name,
                "seed": gap.design.seed,
            }
        )
    return pd.DataFrame(rows)


def _page(gaps: Gaps, bundle: Bundle) -> str:
    judge = gaps.about["judge"]
    return render_page(
        "gaps.html",
        style="gaps.css",
        title=bundle.name,
        found=sum(gap.found for gap in gaps.gaps),
        cohorts=gaps.cohorts,
        users=f"{gaps.users:,}",
        judge=f"{judge['name']} through {judge['encoder']}",
        recommender=gaps.about["recommender"]["name"],
        seed=gaps.about["seed"],
        designs=gaps.about["designs"],
        briefs=[_brief(place, gap, bundle) for place, gap in enumerate(gaps.gaps, 1)],
    )


def _brief(place: int, gap: Gap, bundle: Bundle) -> dict[str, Any]:
    ids = [item_id for item_id, _ in gap.nearest]
    nearest = item_tiles(
        bundle, bundle.item_rows(ids).tolist(), [[name, f"distance {distance:.2f}"] for name, distance in gap.nearest]
    )
    best = item_tiles(bundle, bundle.item_rows([gap.best[0]]).tolist(), [[gap.best[0]]])
    return {
        "number": place,
        "category": gap.category,
        "cohort": gap.cohort,
        "found": gap.found,
        "users": f"{gap.users:,}",
        "user_share": f"{gap.user_share:.0%}",
        "taken": f"{gap.taken:,}",
        "judged": f"{gap.judged:,}",
        "gap": _told(gap.gap),
        "like_for_like": _told(gap.like_for_like),
        "preferred_by": f"{gap.preferred_by:.0%}",
        "percentile": f"{gap.percentile:.0f}%",
        "design": generated_tile(_enlarged(gap.design.image), f"designed {gap.category}"),
        "best": best[0],
        "nearest": nearest,
        "palette": [{"hex": one.hex, "name": one.name, "share": f"{one.share:.0%}"} for one in gap.palette],
        "style": gap.style,
        "attributes": [(name, value, f"{share:.0%}") for name, (value, share) in gap.attributes.items()],
        "realism": f"{gap.design.realism:+.1f}",
    }


def _told(difference: Difference) -> str:
    return f"{difference.mean:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"


def _enlarged(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [S, S, 3] smoothly enlarged to at least 256 pixels a side, for print."""
    side = len(image) * max(1, -(-256 // len(image)))
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
