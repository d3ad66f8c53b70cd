"""The log of events is append-only, and what is derived of it has tables: snapshots, projections, sagas.

The database refuses every change of what has happened. By a trigger, which holds for every role, superusers too; and
on PostgreSQL by the privileges as well, so that with the trigger disabled a statement is refused all the same. Code of
the revision before only appends.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _append_only_on_postgresql()
    else:
        _append_only_on_sqlite()
    _snapshots()
    _projections()
    _sagas()


def downgrade() -> None:
    for table in ("sagas", "projection_holds", "projections", "snapshots"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("GRANT UPDATE, DELETE, TRUNCATE ON events TO CURRENT_USER")
        op.execute("DROP TRIGGER events_append_only ON events")
        op.execute("DROP FUNCTION laneway_append_only()")
        return
    for change in ("update", "delete"):
        op.execute(f"DROP TRIGGER events_no_{change}")


_REFUSE = """
CREATE FUNCTION laneway_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only, % is refused: append one that corrects the other', TG_OP
        USING ERRCODE = 'restrict_violation';
END $$
"""


def _append_only_on_postgresql() -> None:
    op.execute(_REFUSE)
    op.execute(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION laneway_append_only()"
    )
    op.execute("REVOKE UPDATE, DELETE, TRUNCATE ON events FROM PUBLIC, CURRENT_USER")


def _append_only_on_sqlite() -> None:
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER events_no_{change.lower()} BEFORE {change} ON events BEGIN SELECT RAISE(ABORT, "
            f"'events are append-only, {change} is refused: append one that corrects the other'); END"
        )


def _snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("schema", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("taken_at", sa.Double, nullable=False),
    )


def _projections() -> None:
    op.create_table(
        "projections",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("cursor_tx", sa.BigInteger, nullable=False),
        sa.Column("cursor_position", sa.BigInteger, nullable=False),
        sa.Column("applied", sa.BigInteger, nullable=False),
        sa.Column("begun_at", sa.Double, nullable=False),
        sa.Column("live_at", sa.Double),
    )
    op.create_table(
        "projection_holds",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
    )


def _sagas() -> None:
    op.create_table(
        "sagas",
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("correlation", sa.Text),
        sa.Column("started_at", sa.Double),
        sa.Column("step", sa.Text),
        sa.Column("told_at", sa.Double),
        sa.Column("version", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_version", sa.Integer),
    )
    is_open = sa.text("ended_version IS NULL OR version > ended_version")
    op.create_index("sagas_open", "sagas", ["told_at", "stream"], sqlite_where=is_open, postgresql_where=is_open)
