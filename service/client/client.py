"""The client: one method a question, typed by the service's own schemas."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Self

import httpx
from pydantic import ValidationError

from recgan.errors import SettingsError
from service.client.calls import Photo, as_base64, bytes_of, given, segment
from service.client.designs import DesignCalls
from service.client.transport import RetrySettings, Transport, foreign
from service.links import item_image_path
from service.schemas import (
    Category,
    CategoryList,
    EventBatch,
    EventsAccepted,
    Item,
    ItemBatch,
    ItemDetail,
    ItemPage,
    ItemPut,
    ItemsChanged,
    ModelDetail,
    ModelList,
    NewItem,
    Readiness,
    RecommendationList,
    UserEvent,
    UserPage,
    UserRecord,
    Version,
)

__all__ = ["Client"]


class Client(DesignCalls):
    """Asks one service. It may be used by many threads at once, and is closed at the end of a ``with``.

    Errors are `ServiceRefused`, with the service's own ``problem``, and `ServiceUnreachable`; requests are repeated as
    `RetrySettings` says.

    Args:
        url: the service's address, such as ``https://recgan.shop.example``.
        key: an API key, where the service needs one.
        retry: when to ask again.
        timeout: seconds without a byte before a request counts as failed.
        http: a client of one's own, for proxies and certificates; it must know the address, and is not closed.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        retry: RetrySettings | None = None,
        timeout: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        if http is None and httpx.URL(url).scheme not in ("http", "https"):
            raise SettingsError(f"'{url}' is no address of a service; give one such as http://127.0.0.1:8000")
        self._own = http is None
        self._http = http or httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)))
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._transport = Transport(self._http, headers, retry or RetrySettings())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    # ---- recommendations

    def recommendations(
        self,
        user_id: str,
        k: int = 20,
        *,
        categories: Sequence[str] = (),
        candidates: Sequence[str] = (),
        exclude_seen: bool = True,
        explain: bool = False,
    ) -> RecommendationList:
        """Return the items that a user is likely to prefer, best first."""
        params = {
            "k": k,
            "category": list(categories),
            "candidate": list(candidates),
            "exclude_seen": exclude_seen,
            "explain": explain,
        }
        return self._ask(RecommendationList, "GET", f"/v1/users/{segment(user_id)}/recommendations", params=params)

    def session_recommendations(
        self,
        liked: Sequence[str] = (),
        *,
        photos: Sequence[Photo] = (),
        disliked: Sequence[str] = (),
        k: int = 20,
        categories: Sequence[str] = (),
        candidates: Sequence[str] = (),
        explain: bool = False,
    ) -> RecommendationList:
        """Return the same for somebody without an account, from liked and disliked items and photos."""
        asked = {
            "liked": list(liked),
            "photos": [as_base64(photo) for photo in photos],
            "disliked": list(disliked),
            "k": k,
            "categories": list(categories),
            "candidates": list(candidates),
            "explain": explain,
        }
        return self._ask(RecommendationList, "POST", "/v1/sessions/recommendations", json=asked)

    def similar(self, item_id: str, k: int = 20, *, categories: Sequence[str] = ()) -> RecommendationList:
        """Return the items most like one, nearest first."""
        params = {"k": k, "category": list(categories)}
        return self._ask(RecommendationList, "GET", f"/v1/items/{segment(item_id)}/similar", params=params)

    def search(self, photo: Photo, k: int = 20, *, categories: Sequence[str] = ()) -> RecommendationList:
        """Return the items that look most like a photo, nearest first."""
        params = {"k": k, "category": list(categories)}
        return self._ask(RecommendationList, "POST", "/v1/search", params=params, content=bytes_of(photo))

    # ---- items

    def categories(self) -> list[Category]:
        """Return all categories, by name."""
        return self._ask(CategoryList, "GET", "/v1/categories").categories

    def items(self, category: str | None = None) -> Iterator[Item]:
        """Yield the items in the catalogue's order, fetched a page at a time."""
        for page in self._pages(ItemPage, "/v1/items", {"category": category} if category is not None else {}):
            yield from page.items

    def item(self, item_id: str) -> ItemDetail:
        """Return an item."""
        return self._ask(ItemDetail, "GET", f"/v1/items/{segment(item_id)}")

    def put_item(self, item_id: str, item: ItemPut, *, photo: Photo | None = None) -> ItemsChanged:
        """Add an item, or put it in the place of the one that is there; with a photo or without."""
        asked = item.model_copy(update={"image": as_base64(photo)}) if photo is not None else item
        return self._ask(ItemsChanged, "PUT", f"/v1/items/{segment(item_id)}", json=given(asked))

    def put_items(self, items: Sequence[NewItem]) -> ItemsChanged:
        """Add or put many items, all or none."""
        return self._ask(ItemsChanged, "POST", "/v1/items", json=given(ItemBatch(items=list(items))))

    def change_item(self, item_id: str, **changes: Any) -> ItemsChanged:
        """Change what is named (``available``, ``category``, ``attributes``) of an item and leave the rest."""
        return self._ask(ItemsChanged, "PATCH", f"/v1/items/{segment(item_id)}", json=changes)

    def upload_photo(self, item_id: str, photo: Photo) -> ItemsChanged:
        """Give an item another picture."""
        return self._ask(ItemsChanged, "PUT", item_image_path(item_id), content=bytes_of(photo))

    def item_photo(self, item_id: str) -> bytes:
        """Return an item's first picture."""
        return self._picture(item_image_path(item_id))

    def delete_item(self, item_id: str) -> None:
        """Delete an item."""
        self._delete(f"/v1/items/{segment(item_id)}")

    # ---- users and events

    def post_events(self, events: Sequence[UserEvent], *, idempotency_key: str | None = None) -> EventsAccepted:
        """Tell what users did, all or none. They count once, however often the request has to be repeated; and over
        several calls, too, where these give the same ``idempotency_key``."""
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        batch = given(EventBatch(events=list(events)))
        return self._ask(EventsAccepted, "POST", "/v1/events", json=batch, headers=headers)

    def users(self) -> Iterator[str]:
        """Yield the ids of the users whom the recommender was trained on."""
        for page in self._pages(UserPage, "/v1/users", {}):
            yield from page.users

    def user(self, user_id: str) -> UserRecord:
        """Return all that is held of a user."""
        return self._ask(UserRecord, "GET", f"/v1/users/{segment(user_id)}")

    def forget_user(self, user_id: str) -> None:
        """Delete all that is held of a user."""
        self._delete(f"/v1/users/{segment(user_id)}")

    # ---- models and health

    def models(self) -> ModelList:
        """Return all models that are known, and which of them served when."""
        return self._ask(ModelList, "GET", "/v1/models")

    def model(self, model_id: str) -> ModelDetail:
        """Return one model."""
        return self._ask(ModelDetail, "GET", f"/v1/models/{segment(model_id)}")

    def activate(self, model_id: str) -> ModelDetail:
        """Let a model serve."""
        return self._ask(ModelDetail, "POST", f"/v1/models/{segment(model_id)}/activate")

    def roll_back(self) -> ModelDetail:
        """Let the model serve again that served before."""
        return self._ask(ModelDetail, "POST", "/v1/models/rollback", safe=False)

    def version(self) -> Version:
        """Return what runs."""
        return self._ask(Version, "GET", "/version")

    def ready(self) -> Readiness:
        """Return whether requests can be served, and why not; it is not waited for."""
        try:
            response = self._http.get("/health/ready")
        except httpx.TransportError as error:
            return Readiness(status="not ready", reasons=[f"the service does not answer ({error})"])
        try:
            return Readiness.model_validate_json(response.content)
        except ValidationError:
            return Readiness(status="not ready", reasons=[str(foreign("GET", "/health/ready", response))])
