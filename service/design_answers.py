"""Design jobs as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.links import design_image_path, design_path, item_image_path, item_path
from service.problems import Problem
from service.schemas import (
    DesignedItem,
    DesignOrigin,
    DesignProgress,
    DesignRequest,
    DesignStatus,
    EditSubject,
    ModelVersion,
    NearItem,
)
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
    return [_status(store, version, job, designs[job.seq]) for job in jobs]


def _status(store: Store, version: ModelVersion, job: Job, designs: Sequence[StoredDesign]) -> DesignStatus:
    request = DesignRequest.model_validate(job.request)
    return DesignStatus(
        id=job.id,
        url=design_path(job.id),
        state=job.state,
        attempt=job.attempt,
        cancel_requested=job.cancel_requested,
        ahead=store.jobs.ahead(job),
        request=request,
        progress=DesignProgress.model_validate(job.progress) if job.progress else None,
        origins=[_origin(one) for one in request.edit.of] if request.edit else [],
        results=[_shown(job, design) for design in designs],
        problem=Problem.model_validate(job.failure) if job.failure else None,
        submitted_at=job.submitted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        kept_until=job.kept_until,
        model=ModelVersion.model_validate(job.model) if job.model else version,
    )


def _origin(one: EditSubject) -> DesignOrigin:
    url, image_url = None, None
    if one.design is not None:
        assert one.index is not None
        url, image_url = design_path(one.design), design_image_path(one.design, one.index)
    elif one.item is not None:
        url, image_url = item_path(one.item), item_image_path(one.item)
    return DesignOrigin(design=one.design, index=one.index, item_id=one.item, url=url, image_url=image_url)


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
        settings=_brief(facts.pop("settings")),
        **facts,
    )


def _brief(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a design's settings without what the file at ``settings_url`` holds: the users, with the vector and the
    items of each who was folded in, and where the designs lie that it was made of; hundreds of numbers each."""
    settings = {name: value for name, value in settings.items() if name != "user"}
    if "edit" not in settings:
        return settings
    edit = dict(settings["edit"])
    for end in ("of", "end"):
        if "design" in edit.get(end, {}):
            edit[end] = {"design": {name: value for name, value in edit[end]["design"].items() if name != "z"}}
    return {**settings, "edit": edit}
