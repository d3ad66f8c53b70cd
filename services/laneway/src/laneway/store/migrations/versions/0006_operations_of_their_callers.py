"""Operations belong to those who started them, tell of their progress, and can be cancelled and swept.

What was there before, and what code of the revision before writes, belongs to the anonymous: whoever knows its id may
ask, as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for name in ("tenant", "principal"):
        op.add_column("operations", sa.Column(name, sa.Text, server_default=sa.text("''")))
    op.add_column("operations", sa.Column("progress", sa.LargeBinary))
    op.add_column("operations", sa.Column("cancelled_at", sa.Double))
    op.create_index("operations_by_caller", "operations", ["tenant", "principal", "created_at", "id"])
    over = sa.text("state <> 'pending' OR method = ''")
    op.create_index("operations_over", "operations", ["updated_at"], sqlite_where=over, postgresql_where=over)


def downgrade() -> None:
    op.drop_index("operations_over", "operations")
    op.drop_index("operations_by_caller", "operations")
    for name in ("cancelled_at", "progress", "principal", "tenant"):
        op.drop_column("operations", name)
