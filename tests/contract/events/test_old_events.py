"""Every event that was ever written can be read: the golden corpus against today's contracts and upcasters."""

import pytest
from google.protobuf import json_format

from tests.contract.events.golden import FOLDER, Entry, Kind, kinds

KINDS = list(kinds())
ENTRIES = [(kind, entry) for kind in KINDS for entry in kind.entries()]


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=lambda each: getattr(each, "name", ""))
def test_an_old_event_reads_as_it_did(kind: Kind, entry: Entry) -> None:
    read = kind.upcasters.read(kind.name, entry.payload, entry.version, {kind.name: kind.event})

    assert json_format.MessageToDict(read) == entry.reads


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_version_of_an_event_is_in_the_corpus(kind: Kind) -> None:
    versions = {entry.version for entry in kind.entries()}

    assert versions == set(range(1, kind.newest + 1)), "python -m tests.contract.events.golden adds the newest"


def test_an_event_that_was_written_once_is_still_known() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {kind.file.name for kind in KINDS}
