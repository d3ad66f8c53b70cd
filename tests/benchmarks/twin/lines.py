"""Lines of notifications, the shop's and the twin's by hand."""

import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[3]
OURS = (
    "services/notifications/src/shop_notifications/service.py",
    "services/notifications/src/shop_notifications/domain.py",
)
CONTRACT = "protos/shop/notifications/v1/notifications.proto"
TWIN = ("store.py", "worker.py", "server.py", "telemetry.py")


def counted() -> tuple[int, int, int]:
    """Lines of the shop's Python, of its contract, and of the twin."""
    ours, twin = sum(lines(ROOT / file) for file in OURS), sum(lines(Path(__file__).parent / file) for file in TWIN)
    return ours, lines(ROOT / CONTRACT), twin


def lines(file: Path) -> int:
    """Lines of code: without blank ones, comments and docstrings."""
    if file.suffix == ".proto":
        return sum(bool(line.strip()) and not line.strip().startswith("//") for line in file.read_text().splitlines())
    counted: set[int] = set()
    nothing = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    before = tokenize.NEWLINE
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            docstring = token.type == tokenize.STRING and before in (
                tokenize.NEWLINE,
                tokenize.INDENT,
                tokenize.ENCODING,
            )
            if token.type not in (*nothing, tokenize.ENCODING) and not docstring:
                counted |= set(range(token.start[0], token.end[0] + 1))
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.DEDENT):
                before = token.type
    return len(counted)
