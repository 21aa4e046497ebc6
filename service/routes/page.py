"""The page at ``/``."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, Response

from service.context import TheService
from service.security import COOKIE

__all__ = ["STATIC", "router"]

UI = Path(__file__).resolve().parent.parent / "ui"
STATIC = UI / "static"
router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(UI / "templates")


@router.get("/")
def page(request: Request, service: TheService) -> HTMLResponse:
    """The page: recommendations and designs for a user, as pictures."""
    return templates.TemplateResponse(
        request,
        "index.html",
        {
            "can_design": service.settings.gan is not None,
            "gaps": service.gaps is not None,
            "blindtest": service.blindtest is not None,
        },
        headers={"Cache-Control": "no-cache"},
    )


class SignIn(BaseModel):
    """An API key."""

    key: str = Field(max_length=200)


@router.post("/sign-in", status_code=204)
async def sign_in(request: Request, service: TheService, given: SignIn) -> Response:
    """Keep an API key in a cookie that scripts cannot read and that other sites cannot use."""
    await service.gate.admit(given.key)
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE, given.key, path="/", httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return response


@router.post("/sign-out", status_code=204)
async def sign_out() -> Response:
    """Forget the cookie."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
