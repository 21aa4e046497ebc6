"""The service's settings: from ``recgan serve``, from the environment (``RECGAN_SERVICE_PORT=9000``), or by default."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recgan.config import index_settings
from recgan.errors import SettingsError, nearest_name
from recgan.remote import absolute, is_remote

__all__ = ["ServiceSettings", "service_settings"]

PREFIX = "RECGAN_SERVICE_"
Place = Annotated[str, BeforeValidator(absolute)]
"""Where an artifact lies: a folder, from the root, or an fsspec URL."""


class ServiceSettings(BaseSettings):
    """What the service runs on and how much it takes on at once."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    data: Path
    """Folder of the dataset bundle."""
    recommender: Place
    """Folder or fsspec URL of the trained recommender."""
    gan: Place | None = None
    """The same of the trained GAN; without one the service recommends but takes no design requests."""
    directions: Place | None = None
    """The same of the GAN's directions (``recgan sample directions``), which become sliders; without them there are
    none."""
    inverter: Place | None = None
    """The same of the GAN's inverter (``recgan train inverter``); without one, items and photos cannot be edited."""
    gaps: Path | None = None
    """Folder of what the catalogue lacks (``recgan gaps``), to be shown; and its cohorts, to be designed for."""
    blindtest: Path | None = None
    """Folder of a blind test (``recgan blindtest make``), to be shown at ``/blindtest/``; its votes go there, too."""
    index: str = "flat"
    """How items are searched: ``flat`` exactly; ``ivf`` or ``hnsw`` approximately, as in ``hnsw,search_width=256``."""
    device: str = "auto"
    """Where torch computes: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    store: SecretStr | None = None
    """URL of the database: ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``; None: the file
    ``recgan-service.sqlite`` beside the bundle."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    workers: int = Field(1, ge=1, le=256)
    """Web processes that answer at that address. They share the models' arrays, and one design worker."""

    keys: bool | None = None
    """Whether requests need an API key (``recgan keys``); None: unless the service listens on loopback alone."""
    rate_per_minute: int = Field(30_000, ge=1)
    """Requests that a key may make in a minute, if the key itself does not say."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of which other origins may read answers, such as ``https://shop.example``; by default none."""

    max_body_bytes: int = Field(1 << 20, ge=1024)
    """A request with a longer body is refused (413)."""
    max_upload_bytes: int = Field(16 << 20, ge=1024)
    """The same for requests that may bring pictures."""
    max_picture_pixels: int = Field(25_000_000, ge=64)
    """A picture with more pixels is refused before it is decoded."""
    picture_side: int = Field(1024, ge=64)
    """Pictures are kept with at most so many pixels a side."""
    header_seconds: float = Field(10, gt=0)
    """A connection that has not sent a whole request head after so long is closed."""
    body_seconds: float = Field(60, gt=0)
    """A request whose body has not arrived after so long is refused (408)."""
    max_streams: int = Field(100, ge=1)
    """Clients of one web process that may follow designs at the same time."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """How the log is written: JSON lines, or text for a person; ``auto`` is text on a terminal alone."""

    otel: bool = False
    """Send traces by OpenTelemetry, as its own ``OTEL_…`` variables say; needs ``pip install 'recgan[otel]'``."""

    request_threads: int = Field(4, ge=1)
    """Requests that compute at the same time in a web process, beside the one thread that recommends to known users;
    the others wait, and the event loop goes on."""
    torch_threads: int = Field(1, ge=1)
    """Native threads of one request's arithmetic: more of them fight with the other requests."""

    design_worker: Literal["process", "thread", "none"] = "process"
    """Where designs are made: in a process of their own; in a thread of this one; or, with ``none``, by the workers of
    other services on the same store."""
    design_threads: int | None = Field(None, ge=1)
    """Native threads of the design worker; None: all cores but one, which is left to the requests."""
    design_queue: int = Field(16, ge=1)
    """Designs that may wait; one more is refused (429)."""
    design_share: float = Field(0.5, gt=0, le=1)
    """Share of the queue that the designs of one API key may take."""
    lease_seconds: float = Field(15, gt=0)
    """A design whose worker has been silent for so long counts as interrupted."""
    keep_seconds: float = Field(7 * 24 * 3600, gt=0)
    """How long a finished design and its pictures are kept, unless one of them is starred or approved."""
    shutdown_seconds: float = Field(10, gt=0)
    """How long open requests and the running design may take to end when the service stops."""

    @field_validator("data", "gaps", "blindtest", mode="before")
    @classmethod
    def _on_this_machine(cls, place: Any) -> Any:
        if is_remote(place):
            raise ValueError("it is read from a folder of this machine; copy it there, and give its path")
        return str(place).removeprefix("file://") if isinstance(place, str) else place

    @field_validator("index")
    @classmethod
    def _index_is_one(cls, index: str) -> str:
        try:
            index_settings(index)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return index

    @property
    def store_url(self) -> str:
        """URL of the database."""
        if self.store is not None:
            return self.store.get_secret_value()
        return f"sqlite:///{self.data.absolute().parent / 'recgan-service.sqlite'}"

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def needs_keys(self) -> bool:
        """Whether requests need an API key."""
        return self.keys if self.keys is not None else not self.on_loopback

    @property
    def queue_share(self) -> int:
        """How many designs of one key may wait."""
        return max(1, int(self.design_queue * self.design_share)) if self.needs_keys else self.design_queue

    @model_validator(mode="after")
    def _parts_of_a_generator(self) -> Self:
        for name in ("directions", "inverter"):
            if self.gan is None and getattr(self, name) is not None:
                raise ValueError(f"{name}: it is of a generator; give --gan, too, or leave it out")
        return self

    @model_validator(mode="after")
    def _one_design_worker(self) -> Self:
        if self.workers > 1 and self.design_worker == "thread":
            raise ValueError("several workers share one process that designs; leave out design_worker=thread")
        return self

    @model_validator(mode="after")
    def _keys_where_others_can_reach(self) -> Self:
        if not self.needs_keys and not self.on_loopback:
            raise ValueError("without keys the service listens on loopback alone; leave out keys=false, or the host")
        return self


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
        if not name:
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from error
        told = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}={first.get('input')!r}: {told}") from error
