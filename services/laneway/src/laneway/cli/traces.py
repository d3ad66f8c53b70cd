"""Traces of a running `laneway up`, asked of its embedded collector."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from laneway.cli.embedded.spans import SpanRecord
from laneway.cli.up.state import State
from laneway.errors import ConfigurationError, NotFound, Unavailable

TRACE_ID = re.compile(r"[0-9a-f]{32}")


def fetch_trace(trace_id: str, data: Path) -> Sequence[SpanRecord]:
    """The spans of a trace.

    Raises:
        ConfigurationError: nothing runs in the data folder, or this is no trace id.
        NotFound: the collector does not know the trace.
    """
    if not TRACE_ID.fullmatch(trace_id):
        raise ConfigurationError(f"{trace_id!r} is no trace id: that is 32 hexadecimal digits, as in `traceparent`.")
    if (state := State.read(data)) is None:
        raise ConfigurationError(f"Nothing runs in {data}; start `laneway up`, or name its folder with --data.")
    try:
        with urllib.request.urlopen(f"{state.urls['traces']}/{trace_id}", timeout=5) as answer:  # noqa: S310
            return [SpanRecord.from_json(span) for span in json.load(answer)]
    except urllib.error.HTTPError:
        raise NotFound(f"The collector knows no trace {trace_id}; it keeps the last ones only.") from None
    except OSError as error:
        raise Unavailable(f"The collector at {state.urls['traces']} does not answer: {error}.") from None
