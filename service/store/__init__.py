"""What the service remembers: one small module for each group of tables, over SQLite or PostgreSQL."""

from __future__ import annotations

from service.store.counters import revisions
from service.store.database import Database
from service.store.designs import DesignTable
from service.store.events import EventTable
from service.store.items import ItemTable
from service.store.jobs import JobTable
from service.store.keys import KeyTable, RateTable
from service.store.leases import LeaseTable
from service.store.migrate import migrate
from service.store.models import ModelTable
from service.store.workers import WorkerTable

__all__ = ["Store"]


class Store:
    """The whole store. Its parts raise `recgan.errors.StorageError` when there is no room, and
    `service.store.errors.StoreUnavailable` when the database does not answer.

    Args:
        url: of the database; it is brought to the tables of this version.
        keep_seconds: how long a finished job is kept.
        lease_seconds: how long a worker may be silent before its job counts as interrupted.
        connections: kept open at most.
    """

    def __init__(
        self, url: str, *, keep_seconds: float = 3600, lease_seconds: float = 15, connections: int = 8
    ) -> None:
        self.database = Database(url, connections=connections)
        migrate(self.database)
        self.items = ItemTable(self.database)
        self.events = EventTable(self.database)
        self.jobs = JobTable(self.database, keep_seconds=keep_seconds)
        self.leases = LeaseTable(self.database, keep_seconds=keep_seconds, lease_seconds=lease_seconds)
        self.designs = DesignTable(self.database)
        self.workers = WorkerTable(self.database, silent_seconds=lease_seconds)
        self.keys = KeyTable(self.database)
        self.rates = RateTable(self.database)
        self.models = ModelTable(self.database)

    def revisions(self) -> dict[str, int]:
        """Return how often each kind of thing has changed: what is looked at often, to see whether to look closer."""
        return revisions(self.database)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
