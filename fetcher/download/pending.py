"""Remaining work: the wanted ranges and pages minus those that seals and the ledger already cover."""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from fetcher.download.page_ledger import PageLedger
from fetcher.download.plan import DownloadPlan, downloads, pages
from fetcher.protocol.provider import Access, Page, Provider
from fetcher.provider_registry import find
from tradeschool.errors import ForeignFile
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window, merge, subtract
from tradeschool.store import Store

log = logging.getLogger(__name__)

ANY_SOURCE: Mapping[str, Access] = MappingProxyType({})


def remaining(wanted: Sequence[DatasetRange], store: Store) -> list[DatasetRange]:
    """Return the parts of the wanted ranges without a valid seal; seals with damaged files are removed."""
    found = []
    for want in wanted:
        whole = grid_of(want.dataset).whole(want.window)
        sealed = _sound_windows(want.dataset, store) if whole else []
        found += [
            DatasetRange(dataset=want.dataset, window=part) for part in (subtract(whole, sealed) if whole else ())
        ]
    return found


def remaining_downloads(
    wanted: Sequence[DatasetRange], store: Store, *, native: bool, access: Mapping[str, Access] = ANY_SOURCE
) -> list[DownloadPlan]:
    """Plan the downloads for the parts of the wanted ranges without a valid seal.

    `access` names the API of each provider, because two APIs of a provider may have different timeframes.
    """
    left = remaining(wanted, store)
    bases = dict.fromkeys(want.dataset.at(base) for want in left for base in want.dataset.timeframe.finer)
    sealed = {base: merge(_sound_windows(base, store)) for base in bases}

    def is_native(dataset: Dataset) -> bool:
        name = dataset.instrument.provider
        return dataset.timeframe in find(name, access[name].source if name in access else None).timeframes

    return downloads(left, native=native, sealed=sealed, is_native=is_native)


def planned_pages(
    plan: Sequence[DownloadPlan], ledger: PageLedger, access: Mapping[str, Access]
) -> dict[DatasetRange, int]:
    """Return the number of pages that each download will request if no request fails."""
    asked = {name: find(name, each.source) for name, each in access.items()}
    return {
        download.wanted: len(missing_pages(download, ledger, asked[download.dataset.instrument.provider]))
        for download in plan
    }


def missing_pages(download: DownloadPlan, ledger: PageLedger, provider: Provider) -> list[Page]:
    """Return the pages of a download without a stored response."""
    if download.from_sealed:
        return []
    known = [*ledger.covered(download.dataset), *ledger.unconfirmed(download.dataset)]
    return pages(download.dataset, download.wanted.window, known, provider.slots_per_page)


def unconfirmed_pages(download: DownloadPlan, ledger: PageLedger) -> list[Page]:
    """Return the unconfirmed pages of a download, each with the window of its first request."""
    windows = {window for window in ledger.unconfirmed(download.dataset) if window.overlap(download.wanted.window)}
    return [Page(dataset=download.dataset, window=window) for window in sorted(windows)]


def _sound_windows(dataset: Dataset, store: Store) -> list[Window]:
    sound = []
    for seal in store.seals(dataset):
        try:
            for file in seal.files:
                store.check(dataset, file)
        except ForeignFile as error:
            log.warning("Seal removed", extra={"action": "unsealed", "dataset": seal.dataset, "reason": str(error)})
            store.unseal(dataset, seal.window)
        else:
            sound.append(seal.window)
    return sound
