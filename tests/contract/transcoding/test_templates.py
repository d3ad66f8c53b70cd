"""google/api/http.proto's path templates."""

from typing import Any

import pytest

from laneway.errors import ConfigurationError
from laneway.lanes.rest.template import Wildcard, parse
from tests.contract.transcoding.tables import cases, table

WILDCARDS = {"*": Wildcard.ONE, "**": Wildcard.MANY, "literal *": "*", "literal **": "**"}


@pytest.mark.parametrize("row", cases(table("templates")["valid"]))
def test_a_template_is_its_segments_variables_and_verb(row: dict[str, Any]) -> None:
    parsed = parse(row["template"])
    assert parsed.segments == tuple(WILDCARDS.get(segment, segment) for segment in row["segments"])
    assert [[each.path, each.begin, each.end] for each in parsed.variables] == row.get("variables", [])
    assert parsed.verb == row.get("verb", "")


@pytest.mark.parametrize("row", cases(table("templates")["invalid"]))
def test_what_is_no_template_is_refused_with_its_place(row: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"invalid at position {row['at']}: "):
        parse(row["template"])
