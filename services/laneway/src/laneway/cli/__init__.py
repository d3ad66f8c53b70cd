"""The `laneway` command. Nothing below knows it; heavy imports wait for the command that needs them."""

import sys

from laneway.errors import ConfigurationError, LanewayError

MISCONFIGURED = 2


def main() -> None:
    """Run the command line; an error that we know is one sentence and an exit code."""
    from laneway.cli.commands import app

    try:
        app(prog_name="laneway")
    except LanewayError as error:
        print(error.message, file=sys.stderr)
        sys.exit(MISCONFIGURED if isinstance(error, ConfigurationError) else 1)
