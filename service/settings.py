"""The service's settings: from ``recgan serve``, from the environment (``RECGAN_SERVICE_PORT=9000``), or by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recgan.config import index_settings
from recgan.errors import SettingsError, nearest_name

__all__ = ["ServiceSettings", "service_settings"]

PREFIX = "RECGAN_SERVICE_"


class ServiceSettings(BaseSettings):
    """What the service runs on and how much it takes on at once."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    data: Path
    """Folder of the dataset bundle."""
    recommender: Path
    """Folder of the trained recommender."""
    gan: Path | None = None
    """Folder of the trained GAN; without one the service recommends but takes no design requests."""
    index: str = "flat"
    """How items are searched: ``flat`` exactly; ``ivf`` or ``hnsw`` approximately, as in ``hnsw,search_width=256``."""
    device: str = "auto"
    """Where torch computes: ``auto``, ``cpu``, ``cuda``, ``mps``."""
    host: str = "127.0.0.1"
    """Address to listen on. There are no API keys: leave it on loopback, or behind a proxy that authenticates."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    max_body_bytes: int = Field(1 << 20, ge=1024)
    """A request with a longer body is refused (413)."""
    request_threads: int = Field(4, ge=1)
    """Requests that compute at the same time; the others wait their turn, and the event loop goes on."""
    torch_threads: int = Field(1, ge=1)
    """Native threads of one request's arithmetic: more of them fight with the other requests."""
    design_threads: int | None = Field(None, ge=1)
    """Native threads of the design worker; None: all cores but one, which is left to the requests."""
    design_queue: int = Field(16, ge=1)
    """Designs that may wait; one more is refused (429)."""
    keep_seconds: float = Field(3600, gt=0)
    """How long a finished design and its pictures are kept."""
    keep_designs: int = Field(500, ge=1)
    """How many finished designs are kept at most; the oldest go first."""
    shutdown_seconds: float = Field(10, gt=0)
    """How long open requests and the running design may take to end when the service stops."""

    @field_validator("index")
    @classmethod
    def _index_is_one(cls, index: str) -> str:
        try:
            index_settings(index)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return index


def service_settings(**given: Any) -> ServiceSettings:
    """Return the settings from ``given`` values, then the environment, then the defaults; None counts as not given.

    Raises:
        SettingsError: a value is missing or out of range, or a name, in the environment too, is unknown.
    """
    known = ServiceSettings.model_fields
    for variable in os.environ:
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name not in known:
            raise SettingsError(f"environment variable {variable}: there is no such setting{nearest_name(name, known)}")
    try:
        return ServiceSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            raise SettingsError(f"{name} is not given; pass --{name} or set {PREFIX}{name.upper()}") from error
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"there is no service setting '{name}'{nearest_name(name, known)}") from error
        told = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}={first.get('input')!r}: {told}") from error
