"""Product lists for a command: requests those that a name needs, once per provider and command."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tradeschool.markets import registry
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import now, say

if TYPE_CHECKING:
    from fetcher.product_lists import ListRefresh


class ProductLists:
    """The registry's loader of product lists, with the URLs, rates and tokens of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked: set[str] = set()

    def __call__(self, provider: str | None, old_too: bool) -> bool:
        """Request the missing lists of a provider, or of all; with `old_too` also those older than an hour."""
        from fetcher.product_lists import REFRESH_AFTER  # imported here: most names need no list

        stored = registry.current().stored().lists
        names = provider_names() if provider is None else [provider] if is_provider(provider) else []
        due = [
            name
            for name in names
            if name not in stored or (old_too and now() - stored[name].fetched_at >= REFRESH_AFTER)
        ]
        return self.refresh(due)

    def refresh(self, providers: Iterable[str]) -> bool:
        """Request the lists of these providers, unless this command has done so; return whether any has changed."""
        new = [name for name in dict.fromkeys(providers) if name not in self._asked]
        self._asked.update(new)
        done = asyncio.run(self._request(new)) if new else []
        for each in done:
            if each.error:
                say(each.line())
        return any(each.is_fresh for each in done)

    async def _request(self, providers: list[str]) -> list["ListRefresh"]:
        from fetcher.product_lists import refresh_list
        from tradeschool.app.download.dataset_download import access_to

        account = self._settings.fetch.oanda_account
        return await asyncio.gather(
            *(
                refresh_list(
                    name,
                    access_to(name, self._settings),
                    self._settings.data_root,
                    now,
                    account if name == "oanda" else None,
                )
                for name in providers
            )
        )


def provider_names() -> list[str]:
    """Return the names of all providers that candles can be downloaded from, in order."""
    from fetcher.provider_registry import load

    return sorted({each.name for each in load().values()})


def is_provider(name: str) -> bool:
    """Return whether candles can be downloaded from a provider of this name, as far as the name tells."""
    from fetcher.provider_registry import CCXT

    return name.startswith(CCXT) or name in provider_names()


@contextmanager
def known_to_providers(settings: Settings) -> Iterator[ProductLists]:
    """Request product lists for names that are not known until the block ends."""
    lists = ProductLists(settings)
    with registry.loading_lists(lists):
        yield lists
