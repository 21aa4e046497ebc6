"""Recommendations for all users, streamed to one Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recgan.atomic import atomic_file, check_place
from recgan.progress import Progress, quiet
from recgan.recommenders.base import Recommender
from recgan.recommenders.topk.exact import Best, best_blocks
from recgan.recommenders.topk.filters import Where

__all__ = ["SCHEMA", "recommend_all"]

SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])
"""One row a recommendation, the users in the model's order, each one's best item first (rank 1)."""
_ROW_GROUP = 1 << 18
"""Rows held before they are written."""


def recommend_all(
    model: Recommender,
    out: str | Path,
    k: int = 20,
    *,
    exclude_seen: bool = True,
    categories: Sequence[str] | None = None,
    where: Where | None = None,
    candidates: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> int:
    """Write what `Recommender.recommend` would answer to each user the model knows, and return the number of rows.

    Users are worked on in blocks, so the memory needed does not grow with their number. The file has the columns of
    `SCHEMA` and appears when it is whole.

    Args:
        model: a trained one.
        out: the file.
        k: items a user, at least 1; fewer where the filters leave fewer.
        exclude_seen: as in `Recommender.recommend`, and so the filters.
        categories: only these.
        where: a condition on the items' attributes.
        candidates: only these item ids.
        overwrite: whether ``out`` may exist.
        progress: told of users done.

    Raises:
        SettingsError: k < 1, or a filter of a wrong form.
        NotFoundError: an unknown category, attribute or candidate.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written.
    """
    allowed = model.admitted(categories=categories, where=where, candidates=candidates)
    check_place(out, overwrite=overwrite, file=True)
    own = None if exclude_seen else model.own
    seen = model.seen if exclude_seen or own is not None else None
    users, items = pa.array(model.user_ids, pa.string()), pa.array(model.item_ids, pa.string())
    rows, waiting = 0, 0
    parts: list[pa.Table] = []
    with atomic_file(out) as path, pq.ParquetWriter(path, SCHEMA) as writer:
        for best in best_blocks(model.user_factors, model.item_factors, k, allowed=allowed, seen=seen, own=own):
            parts.append(_table(best, users, items))
            waiting += len(parts[-1])
            if waiting >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(parts))
                rows, waiting, parts = rows + waiting, 0, []
            progress("recommending", best.start + len(best.rows), len(users))
        if parts:
            writer.write_table(pa.concat_tables(parts))
    return rows + waiting


def _table(best: Best, users: pa.Array, items: pa.Array) -> pa.Table:
    user, place = np.nonzero(best.rows >= 0)
    columns = [
        users.take(pa.array(user + best.start)),
        pa.array(place + 1, pa.int32()),
        items.take(pa.array(best.rows[user, place])),
        pa.array(best.scores[user, place], pa.float32()),
    ]
    return pa.table(columns, schema=SCHEMA)
