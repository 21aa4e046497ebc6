"""The page at ``/``."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import HTMLResponse

from service.context import TheService

__all__ = ["STATIC", "router"]

UI = Path(__file__).resolve().parent.parent / "ui"
STATIC = UI / "static"
router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(UI / "templates")


@router.get("/")
def page(request: Request, service: TheService) -> HTMLResponse:
    """The page: recommendations and designs for a user, as pictures."""
    return templates.TemplateResponse(
        request, "index.html", {"can_design": service.settings.gan is not None}, headers={"Cache-Control": "no-cache"}
    )
