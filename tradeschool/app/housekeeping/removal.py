"""Old runs and caches: what can be removed, what that frees, and the removal itself."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from optimizer.compilation.cache_folders import user_cache_folder
from optimizer.forward.summary import run_summaries
from optimizer.runs.run_record import RunRecord
from optimizer.search.study import remove_study
from tradeschool.app.context import columns_folder
from tradeschool.app.search.search_run import context_of
from tradeschool.errors import SettingsError, StoreUnwritable
from tradeschool.settings.model import Settings
from workers.coordinator.context import RunContext
from workers.coordinator.leadership import acquire_leadership, has_leader
from workers.coordinator.run import run_persistence

RUN, CACHE = "run", "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A run or a cache: what its removal frees, and why it must stay if it must."""

    kind: str
    name: str
    folder: Path
    size_bytes: int
    note: str
    """What is lost."""
    kept: str = ""
    """Why it is not removed; empty if it can be."""

    def as_json(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "folder": str(self.folder),
            "bytes": self.size_bytes,
            "note": self.note,
            "kept": self.kept,
        }


def removable_caches(settings: Settings) -> list[Removable]:
    """Return the caches; the next search fills them again."""
    found = [("candles as arrays", columns_folder(settings), "decoded again by the next search")]
    code = user_cache_folder()
    if code is not None:
        found.append(("machine code", code, "compiled again by the next backtest, or by tradeschool compile"))
    return [
        Removable(kind=CACHE, name=name, folder=folder, size_bytes=size_of(folder), note=note)
        for name, folder, note in found
        if folder.is_dir()
    ]


def removable_runs(settings: Settings) -> list[Removable]:
    """Return all runs, the oldest first; runs that are running, interrupted or watched have the reason to stay."""
    context = context_of(settings)
    with run_persistence.opened(context) as runs:
        records = sorted(runs.all(), key=lambda record: record.created)
    unfinished = {record.name for record in run_persistence.under_way(context)}
    return [_removable_run(context, record, record.name in unfinished) for record in records]


def _removable_run(context: RunContext, record: RunRecord, is_unfinished: bool) -> Removable:
    folder = context.folder(record.name)
    trials = sum(attempt.verdict.finished for attempt in record.attempts if attempt.verdict)
    return Removable(
        kind=RUN,
        name=record.name,
        folder=folder,
        size_bytes=size_of(folder),
        note=f"started {record.created:%Y-%m-%d}, {trials:,} trials",
        kept=_reason_to_stay(context, record, is_unfinished),
    )


def _reason_to_stay(context: RunContext, record: RunRecord, is_unfinished: bool) -> str:
    if has_leader(context.storage_url, record.name):
        return "it is running"
    if is_unfinished:
        return "it was interrupted and is resumed by itself; end it first: tradeschool optimize resume, then Ctrl-C"
    live = [test["name"] for test in run_summaries(context.folder(record.name)) if test.get("next_day")]
    return f"its forward test {live[0]} continues" if live else ""


def chosen_runs(
    runs: Sequence[Removable], settings: Settings, names: Sequence[str], older_than: int | None, now: datetime
) -> list[Removable]:
    """Return the named runs and those older than a number of days that can be removed.

    Raises:
        SettingsError: If a named run does not exist, or must stay.
    """
    known = {each.name: each for each in runs}
    for name in names:
        if name not in known:
            raise SettingsError(f"no run {name!r}; see: tradeschool optimize list")
        if known[name].kept:
            raise SettingsError(f"run {name} is not removed: {known[name].kept}")
    if older_than is None:
        return [known[name] for name in dict.fromkeys(names)]
    with run_persistence.opened(context_of(settings)) as stored:
        limit = now - timedelta(days=older_than)
        old = {record.name for record in stored.all() if record.created < limit}
    return [each for each in runs if each.name in names or (each.name in old and not each.kept)]


def remove(settings: Settings, each: Removable) -> None:
    """Remove a cache, or a run's folder, trials and record.

    Raises:
        SettingsError: If another process has begun to work on the run.
        StoreUnwritable: If a file cannot be removed.
    """
    if each.kind == RUN:
        _remove_run(context_of(settings), each)
    else:
        _remove_folder(each.folder)


def _remove_run(context: RunContext, each: Removable) -> None:
    """Remove the record last, so that an interrupted removal can be repeated."""
    leadership = acquire_leadership(context.storage_url, each.name)
    if leadership is None:
        raise SettingsError(f"run {each.name} is not removed: a process has begun to work on it")
    try:
        record = run_persistence.read_run(context, each.name)
        for study in _studies(record):
            remove_study(context.storage_url, study)
        _remove_folder(each.folder)
        with run_persistence.opened(context) as runs:
            runs.remove(each.name)
    finally:
        leadership.release()


def _studies(record: RunRecord) -> Iterator[str]:
    for attempt in record.attempts:
        yield record.study(attempt.level, attempt.number)
        for window in attempt.windows:
            yield record.study(attempt.level, attempt.number, window.number)


def _remove_folder(folder: Path) -> None:
    try:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
    except OSError as error:
        raise StoreUnwritable(f"cannot remove {folder}: {error.strerror}; fix its permissions") from error


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size if not path.is_dir() else 0
    return total
