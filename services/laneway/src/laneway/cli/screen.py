"""What commands show: whole where nobody looks, and following what it tells of where somebody does."""

import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live


def whole(console: Console, columns: int) -> Console:
    """The console; where nobody looks, one of at least so many columns: a row that is cut tells less than a long one.

    What is wider than a terminal is wrapped by it; print with `crop=False`.
    """
    return console if console.is_terminal else Console(file=console.file, width=max(columns, console.width))


def follow(
    render: Callable[[], RenderableType],
    console: Console,
    *,
    columns: int,
    each: float,
    looks: int | None = None,
    screen: bool = False,
) -> None:
    """Show anew every `each` seconds on a terminal, until Ctrl-C or so many looks; elsewhere once."""
    if not console.is_terminal:
        whole(console, columns).print(render(), crop=False)
        return
    with Live(render(), console=console, auto_refresh=False, screen=screen) as live:
        try:
            while looks is None or (looks := looks - 1) > 0:
                time.sleep(each)
                live.update(render(), refresh=True)
        except KeyboardInterrupt:
            return
