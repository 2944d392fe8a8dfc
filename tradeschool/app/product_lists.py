"""Product lists for a command: requests those that a name needs, once per provider and command."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tradeschool.errors import SettingsError
from tradeschool.markets import registry
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import now, say


class ProductLists:
    """The registry's loader of product lists, with the URLs, rates and tokens of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asked: set[str] = set()

    def __call__(self, provider: str | None, old_too: bool) -> bool:
        """Request the missing lists of a provider, or of all; with `old_too` also those older than an hour."""
        from fetcher.product_lists import REFRESH_AFTER  # imported here: most names need no list

        stored = registry.current().stored().lists
        names = [name for name in provider_names() if provider in (None, name)]
        due = [
            name
            for name in names
            if name not in stored or (old_too and now() - stored[name].fetched_at >= REFRESH_AFTER)
        ]
        return self.refresh(due)

    def refresh(self, providers: Iterable[str]) -> bool:
        """Request the lists of these providers, unless this command has done so; return whether any has changed."""
        from fetcher.product_lists import refresh_list
        from tradeschool.app.dataset_download import access_to

        has_changed = False
        for name in providers:
            if name in self._asked:
                continue
            self._asked.add(name)
            account = self._settings.fetch.oanda_account if name == "oanda" else None
            access = access_to(name, self._settings)
            try:
                done = asyncio.run(refresh_list(name, access, self._settings.data_dir, now, account))
            except SettingsError as error:
                say(f"{name}: {error}; its product list was not requested")
                continue
            if done.error:
                say(done.line())
            has_changed |= done.is_fresh
        return has_changed


def provider_names() -> list[str]:
    """Return the names of all providers that candles can be downloaded from, in order."""
    from fetcher.provider_registry import load

    return sorted({each.name for each in load().values()})


@contextmanager
def known_to_providers(settings: Settings) -> Iterator[ProductLists]:
    """Request product lists for names that are not known until the block ends."""
    lists = ProductLists(settings)
    with registry.loading_lists(lists):
        yield lists
