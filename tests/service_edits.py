"""Edits in the service's small world: how they are named, asked for and looked at."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from tests.service_world import World, assert_problem, finished


def ref(done: dict, index: int = 0) -> dict:
    """Name a design."""
    return {"design": done["id"], "index": index}


def ask(world: World, kind: str, *of: dict, moves: Sequence[dict] = (), edit: Mapping = MappingProxyType({}), **more):
    """Ask for an edit, ``edit`` being what else it says of itself; return the answer."""
    asked = {"kind": kind, "of": list(of)} | ({"moves": list(moves)} if moves else {}) | dict(edit)
    return world.client.post("/v1/designs", json={"edit": asked, **more})


def edited(world: World, kind: str, *of: dict, **more) -> dict:
    """Ask for an edit, wait for its end, and return its last state."""
    answer = ask(world, kind, *of, **more)
    assert answer.status_code == 202, answer.text
    return finished(world, answer.headers["location"])


def grey(world: World, url: str) -> int:
    """The grey level of a picture."""
    levels = np.unique(np.asarray(Image.open(io.BytesIO(world.client.get(url).content))))
    assert len(levels) == 1
    return int(levels[0])


def faults(answer) -> list[str]:
    """Where a request is not valid."""
    return [fault["pointer"] for fault in assert_problem(answer, "invalid-request")["errors"]]


def without(world: World, *parts: str) -> None:
    """Let the models that serve be without ``sliders`` or ``inverter``."""
    holder = world.service.holder
    models = holder.get()
    absent: dict[str, Any] = dict.fromkeys(parts)
    holder._models = replace(models, **absent)
    vars(holder._models)["editor"] = models.editor
