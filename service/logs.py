"""Where the service's log goes."""

from __future__ import annotations

import copy
from typing import Any

import uvicorn.config

__all__ = ["log_config"]


def log_config() -> dict[str, Any]:
    """Return uvicorn's own logging, to standard error all of it, with our logger beside its."""
    config = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    config["loggers"]["recgan"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
