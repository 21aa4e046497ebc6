"""What an import did, for a program and for a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgan.dataset.bundle import Bundle

__all__ = ["ImportSummary"]

_LISTED = 6


@dataclass(frozen=True)
class ImportSummary:
    """The figures of one import, as they stand in the bundle that it wrote."""

    path: Path
    name: str
    items: int
    images: int
    interactions: int
    users: int
    categories: int
    quarantined: dict[str, int]
    """How much was refused, by reason."""
    duplicates: int
    """Images whose pixels equal those of an earlier one; they are kept."""
    repaired_lines: int
    warnings: tuple[str, ...]
    largest: tuple[tuple[str, int], ...]
    """The largest categories and their numbers of items."""

    @classmethod
    def of(cls, bundle: Bundle) -> ImportSummary:
        """Return the summary of a bundle that `recgan.dataset.importers.import_bundle` wrote."""
        header = bundle.header
        sizes = bundle.items["category"].value_counts()
        return cls(
            path=bundle.path,
            name=header.name,
            items=header.counts["items"],
            images=header.counts["images"],
            interactions=header.counts["interactions"],
            users=header.counts["users"],
            categories=header.counts["categories"],
            quarantined=header.quarantined,
            duplicates=header.facts.get("duplicates", 0),
            repaired_lines=header.facts.get("repaired_lines", 0),
            warnings=tuple(header.facts.get("warnings", ())),
            largest=tuple((str(name), int(size)) for name, size in sizes.head(_LISTED).items()),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures that other tools rely on."""
        return {
            "items": self.items,
            "images": self.images,
            "interactions": self.interactions,
            "users": self.users,
            "quarantined": dict(self.quarantined),
            "duplicates": self.duplicates,
        }

    def __rich__(self) -> RenderableType:
        """Return one screen for a person."""
        table = Table(title=Text(self.name), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(justify="right")
        table.add_column()
        more = self.categories - len(self.largest)
        names = ", ".join(f"{name} {size:,}" for name, size in self.largest) + (f", and {more:,} more" if more else "")
        table.add_row(f"{self.items:,}", "items")
        table.add_row(f"{self.categories:,}", Text(f"categories: {names}"))
        table.add_row(f"{self.images:,}", f"images, {self.duplicates:,} of them exact duplicates")
        table.add_row(f"{self.interactions:,}", f"interactions of {self.users:,} users")
        if self.repaired_lines:
            table.add_row(f"{self.repaired_lines:,}", "malformed lines repaired")
        refused = sum(self.quarantined.values())
        reasons = sorted(self.quarantined.items(), key=lambda entry: -entry[1])
        told = ", ".join(f"{reason} {count:,}" for reason, count in reasons[:_LISTED])
        rest = f", and {len(reasons) - _LISTED} more reasons" if len(reasons) > _LISTED else ""
        where = f" ({self.path / 'quarantine.parquet'})" if refused else ""
        table.add_row(f"{refused:,}", Text(f"refused{': ' if told else ''}{told}{rest}{where}"))
        return Group(table, *(Text(f"warning: {warning}", style="yellow") for warning in self.warnings))
