"""What a run shows of itself while it trains: TensorBoard scalars and sample sheets in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from recgan.dataset.sheets import save_picture

__all__ = ["Monitor"]


class Monitor:
    """Writes ``tensorboard/`` and ``sheets/<images seen>.png`` into a run's folder; used as a context manager."""

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

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._folder is not None:
            self._writer.close()
