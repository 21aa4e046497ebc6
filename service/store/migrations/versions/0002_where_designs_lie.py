"""where designs lie"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go on to this version."""
    op.add_column("designs", sa.Column("latent", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Go back to the one before."""
    op.drop_column("designs", "latent")
