"""The service's log: one line a record on standard error, as JSON or for a person, with the request's id in each.

A request keeps the id that it came with (``X-Request-ID``, as a proxy or a client sets it) or is given one; the answer
carries it, and so does every line that is logged on its behalf, in whichever thread.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from uvicorn.logging import DefaultFormatter

__all__ = ["JsonLines", "TextLines", "log_config", "request_id", "trace_id"]

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the request that is being answered here."""
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
"""Id of the trace that it is part of, where there are traces."""


def _noted(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record tells beside its message: the request's id, and what came as ``extra={"noted": …}``."""
    ids = {"request_id": request_id.get(), "trace_id": trace_id.get()}
    return {name: id for name, id in ids.items() if id} | dict(getattr(record, "noted", {}))


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, process, message, what is noted, an error's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_noted(record),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


class TextLines(DefaultFormatter):
    """The same for a person: the message, then the request's id."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        id = _noted(record).get("request_id")
        return f"{line} [{id}]" if id else line


def log_config(form: str) -> dict[str, Any]:
    """Return the settings of Python's logging.

    Args:
        form: ``json``; ``text``; or ``auto``, which is text on a terminal and JSON elsewhere.
    """
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatters = {
        "json": {"()": "service.logs.JsonLines"},
        "text": {"()": "service.logs.TextLines", "fmt": "%(levelprefix)s %(message)s"},
    }
    ours = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": formatters[form]},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "lines"},
        },
        "loggers": {"recgan": ours, "uvicorn": ours},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }
