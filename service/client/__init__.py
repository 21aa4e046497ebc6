"""A typed client of the service: ``with Client("http://localhost:8000", key="rg_…") as shop: …``."""

from service.client.calls import Photo
from service.client.client import Client
from service.client.designs import DesignEvent
from service.client.transport import RetrySettings, ServiceRefused, ServiceUnreachable

__all__ = ["Client", "DesignEvent", "Photo", "RetrySettings", "ServiceRefused", "ServiceUnreachable"]
