"""Pages that need nothing beside themselves: a template, its style sheet and its script in one HTML file."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import recgan

__all__ = ["part_of_page", "render_page"]

_HOME = "recgan.evaluation"


def render_page(template: str, *, style: str, **content: Any) -> str:
    """Return the page that ``template`` makes of ``content``, with the style sheet of that name inside; both are files
    in ``templates``. A name that the template uses and ``content`` lacks is an error of ours (`jinja2.UndefinedError`).
    """
    environment = Environment(
        loader=PackageLoader(_HOME), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**content, css=part_of_page(style), version=recgan.__version__)


def part_of_page(name: str) -> str:
    """Return a style sheet or a script of ``templates`` as text."""
    return (resources.files(_HOME) / "templates" / name).read_text(encoding="utf-8")
