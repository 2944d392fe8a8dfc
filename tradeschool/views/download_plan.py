"""Plan of a download: requests, time, disk space and memory."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from rich.table import Column, Table

from fetcher.download.page_ledger import PageLedger
from fetcher.download.pending import planned_pages, remaining_downloads
from fetcher.download.plan import DownloadPlan
from fetcher.protocol.provider import Access
from tradeschool.errors import StoreUnwritable
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.grid import grid_of
from tradeschool.store import Store
from tradeschool.views.terminal import console, print_json

FILE_BYTES = 25
"""Size of a candle in a sealed parquet file, measured."""
LEDGER_BYTES = 30
"""Size of a requested slot in the page ledger before it is published, measured; the file never shrinks."""
LOG_BYTES = 20_000_000
"""Largest size of the ledger's write-ahead log."""
MEMORY_MEGABYTES = 250
"""Peak memory of the largest download, measured over the whole catalogue."""


class _Row(TypedDict):
    dataset: str
    provider: str
    range: str
    requests: int
    derived: list[str]
    slots: int


def show_plan(
    wanted: Sequence[DatasetRange], store: Store, access: Mapping[str, Access], *, native: bool, as_json: bool
) -> None:
    """Print the plan of a download.

    Raises:
        StoreUnwritable: If the disk is too small; the plan was printed before.
    """
    plan = remaining_downloads(wanted, store, native=native, access=access)
    with PageLedger(store.root) as ledger:
        requests = planned_pages(plan, ledger, access)
    rows = [_planned(each, requests[each.wanted]) for each in plan]
    rates = {name: each.rate for name, each in access.items()}
    totals = {
        name: sum(row["requests"] for row in rows if row["provider"] == name)
        for name in dict.fromkeys(row["provider"] for row in rows)
    }
    seconds = max((totals[name] / rates[name] for name in totals), default=0.0)
    if as_json:
        print_json(
            {
                "downloads": rows,
                "requests": totals,
                "seconds_at_the_limit": round(seconds, 1),
                "disk_bytes": bytes_of(plan),
                "free_bytes": _free_bytes(store.root),
                "memory_bytes": MEMORY_MEGABYTES * 1_000_000,
            }
        )
    else:
        _print(rows, totals, rates)
        console().print(f"all providers in parallel: {seconds / 60:.1f} min")
        console().print(
            f"disk: {bytes_of(plan) / 1e6:,.0f} MB needed, {_free_bytes(store.root) / 1e6:,.0f} MB free; "
            f"memory: up to {MEMORY_MEGABYTES} MB"
        )
    require_space(plan, store)


def require_space(plan: Iterable[DownloadPlan], store: Store) -> None:
    """Refuse a download that does not fit on the disk.

    Raises:
        StoreUnwritable: If the disk is too small; the message contains the needed and the free space.
    """
    needed, free = bytes_of(plan), _free_bytes(store.root)
    if needed > free:
        raise StoreUnwritable(
            f"the download needs about {needed / 1e6:,.1f} MB in {store.root}, but only {free / 1e6:,.1f} MB are free; "
            "free disk space or set data_dir"
        )


def bytes_of(plan: Iterable[DownloadPlan]) -> int:
    """Return the largest disk usage of a download in bytes: parquet files and page ledger."""
    asked = written = 0
    for each in plan:
        asked += 0 if each.from_sealed else _slots(each.wanted)
        written += sum(_slots(want) for want in (each.wanted, *each.derived))
    return written * FILE_BYTES + asked * LEDGER_BYTES + (LOG_BYTES if asked > LOG_BYTES // LEDGER_BYTES else 0)


def _slots(wanted: DatasetRange) -> int:
    return grid_of(wanted.dataset).count(wanted.window)


def _free_bytes(root: Path) -> int:
    """Return the free bytes of the disk that holds, or will hold, a folder."""
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _planned(each: DownloadPlan, requests: int) -> _Row:
    return {
        "dataset": each.dataset.name,
        "provider": each.dataset.instrument.provider,
        "range": str(each.wanted.window),
        "requests": requests,
        "derived": [child.dataset.timeframe.name for child in each.derived],
        "slots": _slots(each.wanted),
    }


def _print(rows: Sequence[_Row], totals: Mapping[str, int], rates: Mapping[str, float]) -> None:
    table = Table(Column("dataset", overflow="fold"), "range", "requests", "derived")
    for row in rows:
        table.add_row(row["dataset"], row["range"], f"{row['requests']:,}", ", ".join(row["derived"]))
    console().print(table)
    for name, total in totals.items():
        console().print(f"{name}: {total:,} requests, {total / rates[name] / 60:.1f} min at {rates[name]:g} requests/s")
