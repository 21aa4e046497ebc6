"""Design requests and their designs, looked up in the store for whoever names them."""

from __future__ import annotations

from service.problems import ProblemError
from service.store import Store
from service.store.designs import StoredDesign
from service.store.job import UNFINISHED, Job

__all__ = ["find_design", "find_job", "finished_job", "no_design", "unknown_design"]


def find_job(store: Store, design_id: str) -> Job:
    """Return a design request.

    Raises:
        ProblemError: unknown-design (404).
    """
    job = store.jobs.get(design_id)
    if job is None:
        raise unknown_design(design_id)
    return job


def finished_job(store: Store, design_id: str) -> Job:
    """Return a design request that has its designs.

    Raises:
        ProblemError: not-ready (409); as `find_job`.
    """
    job = find_job(store, design_id)
    if job.model is None:
        unfinished = job.state in UNFINISHED
        raise ProblemError(
            "not-ready",
            f"design '{design_id}' is {job.state}" + ("; ask again later" if unfinished else ": it has no pictures"),
            headers={"Retry-After": "1"} if unfinished else None,
        )
    return job


def find_design(store: Store, design_id: str, index: int) -> tuple[Job, StoredDesign]:
    """Return a design and the request that it was made for.

    Raises:
        ProblemError: not-found (404), the request has not so many; as `finished_job`.
    """
    job = finished_job(store, design_id)
    designs = store.designs.of([job])[job.seq]
    if index >= len(designs):
        raise no_design(store, job)
    return job, designs[index]


def no_design(store: Store, job: Job) -> ProblemError:
    """Return the problem that a request has not so many designs."""
    count = len(store.designs.of([job])[job.seq])
    return ProblemError("not-found", f"design '{job.id}' has {count} designs, numbered from 0")


def unknown_design(design_id: str) -> ProblemError:
    """Return the problem that there is no such request."""
    return ProblemError("unknown-design", f"there is no design '{design_id}', or it is kept no longer: ask for it anew")
