"""how a design request is known again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on to this version."""
    op.add_column("jobs", sa.Column("asked", sa.String(64), nullable=True))


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_column("jobs", "asked")
