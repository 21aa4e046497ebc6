"""Events: what users did."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Body, Header

from service.context import CurrentShop, TheService
from service.problems import BODY, ProblemError, documented
from service.schemas import EventBatch, EventsAccepted
from service.security import Writer
from service.store.events import BatchConflict, Event

__all__ = ["router"]

router = APIRouter(prefix="/v1/events", tags=["events"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Sent again within 24 hours with the same events, they count once.",
        examples=["order-4711"],
    ),
]


@router.post(
    "",
    status_code=201,
    summary="Tell what users did",
    responses=documented(*BODY, "other-request", "loading"),
)
def post_events(
    service: TheService,
    shop: CurrentShop,
    caller: Writer,
    batch: Annotated[EventBatch, Body()],
    idempotency_key: IdempotencyKey = None,
) -> EventsAccepted:
    """Write events to the log, all or none. From the answer on they count, on every worker: the item is not recommended
    to the user any more, and the user's taste takes it in."""
    shop.catalogue.check_items([one.item_id for one in batch.events], "/events/{}/item_id")
    received = datetime.now(UTC)
    events = [
        Event(one.user_id, one.item_id, one.event, one.weight, (one.timestamp or received).astimezone(UTC))
        for one in batch.events
    ]
    fingerprint = hashlib.sha256(batch.model_dump_json().encode()).hexdigest()
    try:
        answer = service.store.events.add(events, owner=caller.owner, key=idempotency_key, fingerprint=fingerprint)
    except BatchConflict as error:
        raise ProblemError(
            "other-request", f"the Idempotency-Key '{idempotency_key}' came with other events before; take another"
        ) from error
    return EventsAccepted(**answer)
