"""What a run shows of itself while it trains: TensorBoard scalars, sample sheets, looks and alarms in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from recgan.atomic import atomic_file
from recgan.dataset.sheets import save_picture

__all__ = ["Monitor", "read_lines"]


def read_lines(folder: Path, name: str, images_seen: int) -> list[dict[str, Any]]:
    """Return the records of ``<name>.jsonl`` up to ``images_seen``, and drop later ones and a half-written last one,
    which a killed run left."""
    path = folder / f"{name}.jsonl"
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record["images_seen"] <= images_seen:
            kept.append(record)
    if path.exists():
        with atomic_file(path) as file:
            file.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept), encoding="utf-8")
    return kept


class Monitor:
    """Writes ``tensorboard/``, ``sheets/<images seen>.png`` and ``*.jsonl`` into a run's folder; used as a context
    manager."""

    def __init__(self, folder: Path | None, images_seen: int = 0) -> None:
        """Open the log; scalars of a killed run beyond ``images_seen`` are dropped by TensorBoard. Without a folder,
        nothing is written."""
        self._folder = folder
        if folder is None:
            return
        # TensorBoard takes a second to import, and only training needs it.
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(folder / "tensorboard", purge_step=images_seen or None)

    def scalars(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Log named figures at ``images_seen``."""
        for name, value in values.items() if self._folder is not None else ():
            self._writer.add_scalar(name, value, images_seen)

    def sheet(self, images_seen: int, picture: Image.Image) -> Path:
        """Save a sample sheet and return its path; a monitor without a folder keeps none."""
        assert self._folder is not None
        return save_picture(picture, self._folder / "sheets" / f"{images_seen:012d}.png")

    def line(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a record to ``<name>.jsonl``."""
        if self._folder is not None:
            with (self._folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._folder is not None:
            self._writer.close()
