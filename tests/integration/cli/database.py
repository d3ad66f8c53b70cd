"""The database of notifications, and the command line on it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from laneway.store import Store
from tests.fixtures.command import laneway


@dataclass
class Database:
    """One that is at its newest revision."""

    url: str

    def do(self, work: Callable[[Store], Any]) -> Any:
        async def opened() -> Any:
            store = await Store.open(self.url, pool=1)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(opened())

    def laneway(self, *arguments: str, code: int = 0) -> str:
        """What a command says, on the stream that its exit code makes it say it on."""
        ended = laneway(*arguments, LANEWAY_DATABASES__notifications=self.url)
        assert ended.returncode == code, ended.stderr
        return ended.stdout if code == 0 else ended.stderr
