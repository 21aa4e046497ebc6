"""One moment of the shop, and who keeps it up to date."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from service.live.catalogue import LiveCatalogue
from service.live.changes import Changes
from service.live.ranking import Ranking
from service.live.tastes import Tastes
from service.models import Models
from service.schemas import ModelVersion
from service.store import Store
from service.store.items import REVISION as ITEMS

__all__ = ["Shop", "ShopKeeper"]

logger = logging.getLogger("recgan.service")


@dataclass(frozen=True)
class Shop:
    """Models and changes of one moment: a request takes one, and all of its answer comes from it."""

    models: Models
    changes: Changes
    catalogue: LiveCatalogue
    tastes: Tastes
    ranking: Ranking

    @property
    def version(self) -> ModelVersion:
        """What answers."""
        return self.models.version


class ShopKeeper:
    """Makes a new `Shop` when the models or the items have changed, in this process or in another.

    Args:
        models: gives the models that serve now.
        store: tells what has changed.
    """

    def __init__(self, models: Callable[[], Models], store: Store) -> None:
        self._models = models
        self._store = store
        self._updating = threading.Lock()
        self._shop: Shop | None = None

    def now(self) -> Shop:
        """Return the shop with every change that was committed before this call.

        Raises:
            ProblemError: loading (503), there are no models yet.
            StoreUnavailable: the store does not answer.
        """
        models = self._models()
        revision = self._store.revisions().get(ITEMS, 0)
        shop = self._shop
        if shop is not None and shop.models is models and shop.changes.revision >= revision:
            return shop
        with self._updating:
            shop = self._shop
            if shop is None or shop.models is not models or shop.changes.revision < revision:
                before = shop.changes if shop is not None and shop.models is models else Changes()
                changed = self._store.items.changed_since(before.revision)
                shop = self._opened(models, before.followed_by(changed, models, self._store.items))
                self._shop = shop
        return shop

    def _opened(self, models: Models, changes: Changes) -> Shop:
        return Shop(
            models=models,
            changes=changes,
            catalogue=LiveCatalogue(models.catalogue, changes, self._store.items),
            tastes=Tastes(models, changes, self._store.events),
            ranking=Ranking(models, changes),
        )
