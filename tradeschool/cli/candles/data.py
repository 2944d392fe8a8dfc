"""`tradeschool data`: inspect, verify, repair, import and export candles on disk."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import click
from rich.table import Table

from fetcher.download import candle_accounting
from fetcher.download.candle_accounting import SlotState
from fetcher.download.page_ledger import PageLedger
from tradeschool.app.context import (
    candles_of,
    chosen_datasets,
    holdout_candles_of,
    known_datasets,
    load_settings,
)
from tradeschool.cli.candles.data_export import export
from tradeschool.cli.candles.data_import import import_
from tradeschool.cli.candles.data_repair import repair
from tradeschool.cli.options.output import json_option
from tradeschool.cli.options.timerange import chosen_range, timerange_options
from tradeschool.markets.calendars import expected_slots
from tradeschool.markets.catalogue import DatasetRange, default_catalogue, find_dataset
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timerange import TimeRange, window_among
from tradeschool.markets.windows import Window
from tradeschool.settings.model import MEGABYTE
from tradeschool.store import Store
from tradeschool.store.bucket_folder import BucketFolder
from tradeschool.store.inventory import inventory_of
from tradeschool.views.terminal import console, print_json


class _Gap(TypedDict):
    dataset: str
    start: str
    end: str
    slots: int
    reason: str


@click.group()
def data() -> None:
    """Inspect and manage candles on disk."""


data.add_command(repair)
data.add_command(import_)
data.add_command(export)


@data.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show all sealed datasets with coverage (accounted for) and density (traded), shares of the expected candles."""
    store = candles_of(load_settings())
    rows = [row for dataset in chosen_datasets((), store) if (row := inventory_of(store, dataset))]
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    if not rows:
        console().print(f"no sealed candles in {store}; run: tradeschool fetch")
        return
    table = Table("dataset", "sealed ranges", "candles", "expected", "coverage", "density", "gaps", "findings", "")
    for row in rows:
        table.add_row(
            row.dataset,
            ", ".join(row.ranges),
            f"{row.rows:,}",
            f"{row.expected:,}",
            f"{row.coverage:.3%}",
            f"{row.density:.3%}",
            f"{row.gaps:,}",
            ", ".join(row.findings),
            "derived" if row.derived else "imported" if row.imported else "",
        )
    console().print(table)


@data.command()
@click.argument("names", metavar="[DATASET]...", nargs=-1)
@json_option
def gaps(names: tuple[str, ...], *, as_json: bool) -> None:
    """Show gaps and failed ranges, with reasons.

    Gaps are missing candles in sealed ranges. Failed ranges are those that an unfinished download could not get.
    """
    store = candles_of(load_settings())
    with PageLedger(store.root) as ledger:
        found = [gap for dataset in chosen_datasets(names, store) for gap in _gaps(dataset, store, ledger)]
    if as_json:
        print_json(found)
        return
    table = Table("dataset", "from", "to", "candles", "reason")
    for gap in found:
        table.add_row(gap["dataset"], gap["start"], gap["end"], f"{gap['slots']:,}", gap["reason"])
    console().print(table)


@data.command()
@click.argument("names", metavar="[DATASET]...", nargs=-1)
@json_option
def findings(names: tuple[str, ...], *, as_json: bool) -> None:
    """Show anomalies in sealed candles, by kind and year."""
    store = candles_of(load_settings())
    found = [
        {"dataset": seal.dataset, "severity": finding.severity, **finding.model_dump(mode="json")}
        for dataset in chosen_datasets(names, store)
        for seal in store.seals(dataset)
        for finding in seal.findings
    ]
    if as_json:
        print_json(found)
        return
    table = Table("dataset", "finding", "first occurrence", "message")
    for finding in found:
        table.add_row(finding["dataset"], finding["kind"], finding["start"], finding["message"])
    console().print(table)


@data.command()
@click.argument("names", metavar="[DATASET]...", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Verify sealed files against their digests; those of a bucket are read from the bucket.

    Exit code 4: a file does not match; the command stops at the first one.
    """
    settings = load_settings()
    store = candles_of(settings)
    for dataset in chosen_datasets(names, store):
        seals = store.verify(dataset)
        if seals:
            console().print(f"{dataset}: {sum(len(seal.files) for seal in seals)} files match their digests")
        for orphan in store.unknown_files(dataset):
            console().print(f"{orphan}: orphaned file: no seal lists it; it is never read")
    if store.bucket and not names:
        _show_unlisted(store.bucket, [store, holdout_candles_of(settings)])


def _show_unlisted(bucket: BucketFolder, stores: Sequence[Store]) -> None:
    """Print how many objects no seal lists: of a fetcher at work, or replaced."""
    sealed = {
        file.sha256
        for store in stores
        for dataset in known_datasets(store)
        for seal in store.seals(dataset)
        for file in seal.files
    }
    if found := bucket.unlisted(sealed):
        size = sum(each.size for each in found) / MEGABYTE
        console().print(f"{len(found):,} objects ({size:,.1f} MB) in {bucket} that no seal lists; they are never read")


@data.command()
@click.argument("names", metavar="[DATASET]...", nargs=-1)
@timerange_options("the catalogue's")
@json_option
def account(names: tuple[str, ...], timerange: str | None, days: int | None, *, as_json: bool) -> None:
    """Count the candle slots of a range by state.

    States: stored, confirmed empty, closed by calendar, failed, not yet requested.
    """
    store = candles_of(load_settings())
    asked = chosen_range(timerange, days)
    with PageLedger(store.root) as ledger:
        found = [candle_accounting.slot_report(want, store, ledger) for want in _wanted(names, asked, store)]
    if as_json:
        print_json(
            [{"dataset": each.wanted.dataset.name, "range": str(each.wanted.window), **each.slots} for each in found]
        )
        return
    table = Table("dataset", "range", *SlotState)
    for each in found:
        counts = (f"{each.slots[state]:,}" for state in SlotState)
        table.add_row(each.wanted.dataset.name, str(each.wanted.window), *counts)
    console().print(table)


def _wanted(names: tuple[str, ...], asked: TimeRange | None, store: Store) -> list[DatasetRange]:
    """Return the catalogue's ranges of the named (or all) datasets, or the range that is asked for.

    An open end of it is that of the sealed candles, or of the catalogue if nothing is sealed.
    """
    named = [find_dataset(name) for name in names] if names else [want.dataset for want in default_catalogue()]
    timeframes = dict.fromkeys(dataset.timeframe for dataset in named)
    catalogue = default_catalogue(dict.fromkeys(dataset.instrument for dataset in named), timeframes)
    wanted = [want for want in catalogue if want.dataset in named]
    if not asked:
        return wanted
    sealed = {want.dataset: [seal.window for seal in store.seals(want.dataset)] or [want.window] for want in wanted}
    return [DatasetRange(dataset=dataset, window=window_among(asked, there)) for dataset, there in sealed.items()]


def _gaps(dataset: Dataset, store: Store, ledger: PageLedger) -> Iterator[_Gap]:
    for seal in store.seals(dataset):
        for gap in seal.gaps:
            yield _gap(dataset, Window(gap.start, gap.end), gap.slots, gap.reason.value)
    for window, reason in ledger.failures(dataset):
        yield _gap(dataset, window, len(expected_slots(dataset, window)), f"failed: {reason}")


def _gap(dataset: Dataset, window: Window, slots: int, reason: str) -> _Gap:
    start, end = (moment.isoformat().replace("+00:00", "Z") for moment in (window.start, window.end))
    return _Gap(dataset=dataset.name, start=start, end=end, slots=slots, reason=reason)
