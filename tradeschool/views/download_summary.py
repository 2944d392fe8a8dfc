"""Summary of a download: a table, JSON, and `download_summary.csv` in the data folder."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import TypedDict

from rich.table import Column, Table

from fetcher.download.audit import Audit
from fetcher.download.progress import DownloadProgress
from tradeschool.atomic_files import publish_text
from tradeschool.markets.catalogue import find_dataset
from tradeschool.store import Seal, Store
from tradeschool.views.terminal import console, print_json

SUMMARY_NAME = "download_summary"


class DownloadSummaryRow(TypedDict):
    """Summary of one sealed range."""

    dataset: str
    start: str
    end: str
    rows: int
    expected: int
    coverage: float
    density: float
    gaps: int
    missing: int
    derived: bool
    requests: int
    retries: int


def rows_of(progress: Iterable[DownloadProgress]) -> list[DownloadSummaryRow]:
    """Return one row per range sealed by this download; derived ranges count no requests."""
    return [
        _row(seal, each.requests if not seal.derived else 0, each.retries if not seal.derived else 0)
        for each in progress
        for seal in each.seals
    ]


def write(progress: Sequence[DownloadProgress], store: Store) -> None:
    """Write `download_summary.csv` and `.json` if the download sealed anything."""
    rows = rows_of(progress)
    if not rows:
        return
    text = io.StringIO()
    table = csv.DictWriter(text, list(DownloadSummaryRow.__annotations__), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    for name, content in (("csv", text.getvalue()), ("json", json.dumps(rows, indent=1) + "\n")):
        path = store.root / f"{SUMMARY_NAME}.{name}"
        publish_text(store.root, path, content)


def show(progress: Sequence[DownloadProgress], store: Store, *, as_json: bool) -> None:
    """Print the ranges that this download sealed."""
    rows = rows_of(progress)
    if as_json:
        print_json(rows)
        return
    if not rows:
        return
    dataset = Column("dataset", overflow="fold")
    table = Table(dataset, "range", "candles", "expected", "coverage", "density", "gaps", "requests", "retries", "")
    for row in rows:
        table.add_row(
            row["dataset"],
            f"{row['start'][:10]}..{row['end'][:10]}",
            f"{row['rows']:,}",
            f"{row['expected']:,}",
            f"{row['coverage']:.3%}",
            f"{row['density']:.1%}",
            f"{row['gaps']:,}",
            f"{row['requests']:,}",
            f"{row['retries']:,}",
            "derived" if row["derived"] else "",
        )
    console().print(table)
    for line in audit_lines(progress):
        console().print(line)
    console().print(f"data folder {store}, summary {store.root / SUMMARY_NAME}.csv")


def audit_lines(progress: Iterable[DownloadProgress]) -> list[str]:
    """Return the comparison of derived candles with the provider's, one line per dataset."""
    by_dataset: dict[str, list[Audit]] = {}
    for each in progress:
        for audit in each.audits:
            by_dataset.setdefault(audit.page.dataset.name, []).append(audit)
    return [
        f"{name}: {sum(audit.candles for audit in audits):,} derived candles compared with the provider's own: "
        f"{sum(audit.absent for audit in audits)} on one side only, "
        f"{sum(audit.other_prices for audit in audits)} with different prices, "
        f"{sum(audit.other_volumes for audit in audits)} with a different volume"
        for name, audits in by_dataset.items()
    ]


def _row(seal: Seal, requests: int, retries: int) -> DownloadSummaryRow:
    return DownloadSummaryRow(
        dataset=find_dataset(seal.dataset).name,
        start=seal.start.isoformat(),
        end=seal.end.isoformat(),
        rows=seal.rows,
        expected=seal.expected,
        coverage=round(seal.coverage, 6),
        density=round(seal.density, 6),
        gaps=len(seal.gaps),
        missing=seal.missing,
        derived=seal.derived,
        requests=requests,
        retries=retries,
    )
