"""Design jobs as answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.links import design_image_path, design_path, item_image_path
from service.problems import Problem
from service.schemas import DesignedItem, DesignProgress, DesignRequest, DesignStatus, ModelVersion, NearItem
from service.store import Store
from service.store.designs import StoredDesign
from service.store.job import Job

__all__ = ["status", "statuses"]


def status(store: Store, version: ModelVersion, job: Job) -> DesignStatus:
    """Return one job as it is shown; ``version``: the models that would design it."""
    return statuses(store, version, [job])[0]


def statuses(store: Store, version: ModelVersion, jobs: Sequence[Job]) -> list[DesignStatus]:
    """Return jobs as they are shown."""
    designs = store.designs.of(list(jobs))
    return [
        DesignStatus(
            id=job.id,
            url=design_path(job.id),
            state=job.state,
            attempt=job.attempt,
            cancel_requested=job.cancel_requested,
            ahead=store.jobs.ahead(job),
            request=DesignRequest.model_validate(job.request),
            progress=DesignProgress.model_validate(job.progress) if job.progress else None,
            results=[_shown(job, design) for design in designs[job.seq]],
            problem=Problem.model_validate(job.failure) if job.failure else None,
            submitted_at=job.submitted_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            kept_until=job.kept_until,
            model=ModelVersion.model_validate(job.model) if job.model else version,
        )
        for job in jobs
    ]


def _shown(job: Job, design: StoredDesign) -> DesignedItem:
    facts: dict[str, Any] = dict(design.facts)
    nearest = [
        NearItem(item_id=item_id, distance=distance, image_url=item_image_path(item_id))
        for item_id, distance in facts.pop("nearest")
    ]
    return DesignedItem(
        index=design.place,
        image_url=design_image_path(job.id, design.place),
        settings_url=design_image_path(job.id, design.place, "json"),
        category=design.category,
        starred=design.starred,
        verdict=design.verdict,
        nearest=nearest,
        **facts,
    )
