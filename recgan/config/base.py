"""What all settings are: frozen, strict about names, set by ``name=value``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from recgan.errors import SettingsError, nearest_name

__all__ = ["Settings", "complaint", "overridden"]

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: frozen, strict about names, documented by the docstring under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def overridden(settings: S, assignments: Sequence[str], option: str = "--set") -> S:
    """Return ``settings`` with ``name=value`` assignments applied; a value is JSON, or else taken as a string.
    ``option`` is how the user gave them.

    Raises:
        SettingsError: an assignment has no ``=``, an unknown name (the nearest one is suggested) or a bad value.
    """
    values = settings.model_dump()
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise SettingsError(f"{option} {assignment}: write it as name=value")
        if name not in values:
            known = ", ".join(values)
            hint = nearest_name(name, values) or f"; the settings are: {known}"
            raise SettingsError(f"{option} {assignment}: there is no setting '{name}' here{hint}")
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text.strip()
    try:
        return type(settings)(**values)
    except ValidationError as error:
        raise SettingsError(complaint(error)) from error


def complaint(error: ValidationError) -> str:
    """Return pydantic's first complaint on one line: ``name=value: what is wrong``; of settings that do not fit
    together, only what is wrong, which names them."""
    first = error.errors(include_url=False)[0]
    name, wrong = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    if not name:
        return str(wrong)
    given = repr(first.get("input"))
    return f"{name}={given if len(given) <= 60 else given[:57] + '...'}: {wrong}"
