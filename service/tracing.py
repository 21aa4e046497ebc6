"""Traces by OpenTelemetry, where they are asked for: one span a request, as part of the trace that it came with.

Where they go, and how many, is said by OpenTelemetry's own environment variables (``OTEL_EXPORTER_OTLP_ENDPOINT``,
``OTEL_TRACES_SAMPLER``, …); they are sent by OTLP over HTTP. A span names the route and never the path or the query,
which hold ids of users.
"""

from __future__ import annotations

import importlib.metadata
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recgan.errors import SettingsError
from service.logs import trace_id
from service.settings import ServiceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

__all__ = ["Tracing", "tracing_of"]


class Tracing:
    """Makes the spans.

    Args:
        provider: of OpenTelemetry; it says what becomes of them.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("recgan.service", importlib.metadata.version("recgan"))

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """A span for the block, which answers a request; `answered` completes it."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(method, parent, SpanKind.SERVER, record_exception=False) as span:
            token = trace_id.set(format(span.get_span_context().trace_id, "032x"))
            try:
                yield span
            finally:
                trace_id.reset(token)

    def answered(self, span: Span, *, method: str, route: str, status: int, id: str) -> None:
        """Say how a request was answered, by OpenTelemetry's names for it."""
        from opentelemetry.trace import StatusCode

        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "recgan.request_id": id,
            }
        )
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    def close(self, seconds: float) -> None:
        """Send what is still to be sent, for so long at most: a collector may be away."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
        ending.start()
        ending.join(seconds)


def tracing_of(settings: ServiceSettings) -> Tracing | None:
    """Return what makes the spans; None where none are asked for.

    Raises:
        SettingsError: they are, and OpenTelemetry is not installed.
    """
    if not settings.otel:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"otel=True: {error.name or 'OpenTelemetry'} is not installed; pip install 'recgan[otel]', or leave it out"
        ) from error
    named = "OTEL_SERVICE_NAME" in os.environ or f"{SERVICE_NAME}=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {SERVICE_NAME: "recgan"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
