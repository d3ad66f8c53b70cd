"""A log and its views are checked on every database."""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import JSON, Column, Integer, MetaData, Table, Text

from laneway.domain import Change, Projection, Put, Recorded, projects
from laneway.domain.upcasting import Upcasters
from laneway.history.projector import Projector
from laneway.history.verify import verify
from laneway.store import Store, events
from laneway.store.events import ANY, NewEvent
from laneway.telemetry.metrics import Metrics

spelt = Table(
    "spelt",
    MetaData(),
    Column("generation", Integer, primary_key=True),
    Column("word", Text, primary_key=True),
    Column("letters", JSON, nullable=False),
)

MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.create_table(
        "spelt",
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("word", sa.Text, primary_key=True),
        sa.Column("letters", sa.JSON, nullable=False),
    )
"""


class Spelt(Projection):
    tables = (spelt,)

    @projects(StringValue)
    def _said(self, event: Recorded[StringValue]) -> Iterator[Change]:
        word = event.message.value
        yield Put(spelt, {"word": word}, {"letters": {"all": list(word), "count": len(word)}})


async def test_a_view_with_a_column_of_json_is_compared_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "0001_spelt.py").write_text(MIGRATION)
    await store.migrate(tmp_path, "spell")
    name = StringValue.DESCRIPTOR.full_name
    await store.commit(events.append("s", ANY, [NewEvent("e", name, StringValue(value="ab").SerializeToString(), 0.0)]))
    keeper = Projector(store, Spelt(), holder="one", metrics=Metrics())
    while await keeper.go_round():
        pass

    report = await verify(store, Upcasters(), lambda _: StringValue, [Spelt()])

    assert (report.events, report.views, report.wrong) == (1, 1, [])
