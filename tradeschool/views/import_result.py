"""Result of an import as lines and as JSON, and its progress on large files."""

import time
from functools import partial

from fetcher.importing.file_facts import FileFacts
from fetcher.importing.importer import ImportedDataset, ImportResult
from tradeschool.views.terminal import console, say

LINE_EVERY = 5.0  # seconds between two lines of progress
PRICES_SHOWN = ("open", "high", "low", "close", "volume", "half_spread")
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


class ImportProgress:
    """Prints a line every few seconds while files are read, on standard error."""

    def __init__(self) -> None:
        self._printed = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Report that `done` of `total` bytes were read, and that `name` is the current file."""
        if time.monotonic() - self._printed < LINE_EVERY:
            return
        self._printed = time.monotonic()
        share = f" ({min(done / total, 1.0):.0%})" if total else ""
        say(f"read {done / 1e6:,.0f} of {total / 1e6:,.0f} MB{share}, {name}")


def show_import(result: ImportResult, *, dry_run: bool) -> None:
    """Print what was understood of each file, with a dry run, and what was or would be sealed."""
    show = partial(console().print, soft_wrap=True, highlight=False, markup=False)
    for dataset in result.datasets:
        for line in [line for facts in dataset.files for line in file_lines(facts, dataset)] if dry_run else []:
            show(line)
        show(dataset_line(dataset))
        findings = [f"{each.kind} ({each.start:%Y}): {each.message}" for each in dataset.ready.findings]
        for line in (*findings, *dataset.notes):
            show(line)
    for name in result.ignored:
        show(f"{name}: ignored, because it is no candle file")
    if dry_run:
        show("dry run: nothing was stored")


def dataset_line(dataset: ImportedDataset) -> str:
    """Return one line about a dataset: its candles, range and source."""
    ready = dataset.ready
    head = f"{ready.dataset}: {ready.rows:,} of {ready.expected:,} candles in {ready.window}"
    if dataset.seal:
        return f"{head} sealed, {dataset.seal.source}"
    missing = sum(gap.slots for gap in ready.gaps)
    return f"{head} would be sealed: {_gaps(len(ready.gaps), missing)}"


def file_lines(facts: FileFacts, dataset: ImportedDataset) -> list[str]:
    """Return what was understood of a file, as lines."""
    gaps, missing = facts.gaps(dataset.ready.dataset.instrument)
    zone = f"times in {facts.zone}" if facts.zone else "times in UTC or with an offset"
    order = ", newest first" if facts.newest_first else ""
    columns = ", ".join(f"{ours}={theirs}" for ours, theirs in facts.columns.items())
    return [
        f"{facts.name}: {facts.form}, {facts.side} prices, {zone}{order}",
        f"  columns {columns}",
        f"  first {_row(facts.first)}",
        f"  last  {_row(facts.last)}",
        f"  {facts.rows:,} rows, step {_duration(facts.step)}, {_gaps(gaps, missing)}",
    ]


def import_json(result: ImportResult, *, dry_run: bool) -> dict[str, object]:
    """Return an import as JSON: the seal of the only dataset, or a list of those of several."""
    datasets = [_dataset_json(dataset) for dataset in result.datasets]
    shared: dict[str, object] = {"ignored": list(result.ignored), "dry_run": dry_run}
    return datasets[0] | shared if len(datasets) == 1 else {"datasets": datasets} | shared


def _dataset_json(dataset: ImportedDataset) -> dict[str, object]:
    ready = dataset.ready
    if dataset.seal:
        told = dataset.seal.model_dump(mode="json", exclude={"files", "gaps"})
    else:
        told = {
            "dataset": ready.dataset.name,
            "start": _utc(ready.window.start),
            "end": _utc(ready.window.end),
            "rows": ready.rows,
            "expected": ready.expected,
            "findings": [finding.model_dump(mode="json") for finding in ready.findings],
        }
    missing = sum(gap.slots for gap in ready.gaps)
    files = [_file_json(facts, dataset) for facts in dataset.files]
    return told | {"missing": missing, "gaps": len(ready.gaps), "notes": list(dataset.notes), "imported": files}


def _file_json(facts: FileFacts, dataset: ImportedDataset) -> dict[str, object]:
    gaps, missing = facts.gaps(dataset.ready.dataset.instrument)
    return {
        "file": facts.name,
        "format": facts.form,
        "columns": facts.columns,
        "time_zone": facts.zone,
        "side": facts.side,
        "newest_first": facts.newest_first,
        "rows": facts.rows,
        "step_seconds": facts.step,
        "gaps": gaps,
        "missing": missing,
        "first": _row_json(facts.first),
        "last": _row_json(facts.last),
    }


def _gaps(count: int, missing: int) -> str:
    if not count:
        return "no gaps"
    return f"{count:,} gap{'s' * (count > 1)} with {missing:,} candle{'s' * (missing > 1)}"


def _row(row: dict[str, object] | None) -> str:
    if row is None:
        return "none"
    values = " ".join(f"{name}={row[name]:.10g}" for name in PRICES_SHOWN if name in row)
    return f"{row['ts']:%Y-%m-%d %H:%M:%S} UTC {values}"


def _row_json(row: dict[str, object] | None) -> dict[str, object] | None:
    return None if row is None else {name: _utc(value) if name == "ts" else value for name, value in row.items()}


def _utc(time: object) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _duration(seconds: int) -> str:
    unit, name = next(((unit, name) for unit, name in UNITS if seconds and seconds % unit == 0), (1, "s"))
    return f"{seconds // unit} {name}"
