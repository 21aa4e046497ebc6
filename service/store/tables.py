"""The tables, a group for each thing that the service remembers. `migrations` brings a database to them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

from service.store.types import Instant, Json, Key

__all__ = ["metadata"]

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

# ---- what has changed since: a number for each kind of change, counted up in the change's own transaction

counters = Table(
    "counters",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Key, nullable=False),
)

# ---- items: those of the bundle that were changed, and new ones

items = Table(
    "items",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("item_id", Text, nullable=False, unique=True),
    Column("category", Text, nullable=False),
    Column("available", Boolean, nullable=False),
    Column("attributes", Json, nullable=False),
    Column("picture", String(64), index=True),
    Column("deleted", Boolean, nullable=False),
    Column("revision", Key, nullable=False, index=True),
    Column("updated_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
pictures = Table(
    "pictures",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("media_type", String(40), nullable=False),
    Column("data", LargeBinary, nullable=False),
)
picture_features = Table(
    "picture_features",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("eye", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# ---- users: what they did, and who is forgotten

events = Table(
    "events",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("user_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("event", String(64), nullable=False),
    Column("weight", Float, nullable=False),
    Column("happened_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Index("ix_events_user_id", "user_id", "id"),
    sqlite_autoincrement=True,
)
event_batches = Table(
    "event_batches",
    metadata,
    Column("owner", String(40), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("answer", Json, nullable=False),
    Column("received_at", Instant, nullable=False, index=True),
)
forgotten = Table(
    "forgotten",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)

# ---- jobs, their progress, and the designs that they made

jobs = Table(
    "jobs",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(40), nullable=False),
    Column("user_id", Text, index=True),
    Column("request", Json, nullable=False),
    Column("asked", String(64)),
    Column("state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress", Json),
    Column("failure", Json),
    Column("model", Json),
    Column("submitted_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("kept_until", Instant, index=True),
    Column("worker", String(64)),
    Column("lease_until", Instant),
    Index("ix_jobs_state", "state", "owner", "seq"),
    Index("ix_jobs_owner", "owner", "started_at"),
    sqlite_autoincrement=True,
)
job_events = Table(
    "job_events",
    metadata,
    Column("job", Key, ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("data", Json, nullable=False),
)
designs = Table(
    "designs",
    metadata,
    Column("job", Key, ForeignKey("jobs.seq", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("png", LargeBinary, nullable=False),
    Column("etag", String(80), nullable=False),
    Column("category", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("starred", Boolean, nullable=False),
    Column("verdict", String(20)),
    Column("latent", LargeBinary),
)
opinions = Table(
    "opinions",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("user_id", Text, index=True),
    Column("job_id", String(64), nullable=False),
    Column("place", Integer, nullable=False),
    Column("opinion", String(20), nullable=False),
    Column("at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
workers = Table(
    "workers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("device", String(40), nullable=False),
    Column("seconds_a_job", Float, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

# ---- who may ask, and how often

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scope", String(20), nullable=False),
    Column("per_minute", Integer),
    Column("created_at", Instant, nullable=False),
    Column("revoked_at", Instant),
)
rate_counts = Table(
    "rate_counts",
    metadata,
    Column("owner", String(40), primary_key=True),
    Column("minute", Key, primary_key=True),
    Column("taken", Integer, nullable=False),
)

# ---- models that have been served, and which serves now

models = Table(
    "models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("data", Text, nullable=False),
    Column("recommender", Text, nullable=False),
    Column("gan", Text),
    Column("version", Json, nullable=False),
    Column("facts", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("source", String(40), nullable=False),
    Column("registered_at", Instant, nullable=False),
)
activations = Table(
    "activations",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("model", String(40), ForeignKey("models.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
