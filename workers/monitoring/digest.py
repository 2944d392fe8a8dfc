"""Lines of the periodic digest: progress of the run and the download, ETA, and resource usage."""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tradeschool.store.download_status import DownloadStatus
from workers.monitoring.run_status import RunStatus
from workers.monitoring.snapshot import Snapshot

GIGABYTE = 1e9


def summary(
    run: RunStatus | None, download: DownloadStatus | None, before: Mapping[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Return the progress counts by name, and one line for each level and for the download.

    `before` holds the counts of the previous digest; each line shows the difference.
    """
    done: dict[str, int] = {}
    lines: list[str] = []
    for level in run.levels if run else ():
        if level.attempts:
            attempt, trial_counts = level.attempts[-1], level.attempts[-1].counts
            done[attempt.study] = trial_counts.finished
            since = trial_counts.finished - before.get(attempt.study, 0)
            best = "" if trial_counts.best_value is None else f", best {trial_counts.best_value:.3f}"
            left = f", about {minutes(attempt.eta_seconds)} left" if attempt.eta_seconds else ""
            state = f"level {level.name}, attempt {attempt.row.number}: {level.state}"
            lines.append(f"{state}, {trial_counts.finished} of {trial_counts.trials} trials ({since:+d}){best}{left}")
        else:
            lines.append(f"level {level.name}: {level.state}")
    if download:
        done["pages"] = download.pages_done
        since = download.pages_done - min(before.get("pages", 0), download.pages_done)
        pages = f"{download.pages_done:,} of {download.pages_total:,} pages ({since:+,})"
        lines.append(f"download: {pages}, about {minutes(download.eta_seconds)} left")
    return done, lines


def minutes(seconds: float | None) -> str:
    """Format a duration in seconds or minutes; "?" if it is unknown."""
    if seconds is None:
        return "?"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def resources(queue: Snapshot | None, download: DownloadStatus | None, folders: Sequence[Path]) -> list[str]:
    """Return lines on the CPU time and memory of workers (by host) and fetcher, the queue, and the disk usage."""
    lines = []
    if queue:
        memory: dict[str, int] = defaultdict(int)
        cpu: dict[str, float] = defaultdict(float)
        for worker in queue.workers:
            memory[worker.host] += worker.memory_bytes
            cpu[worker.host] += worker.cpu_seconds
        numbers = {host: sum(worker.host == host for worker in queue.workers) for host in memory}
        for host, number in numbers.items():
            used = f"{cpu[host]:,.0f} s of CPU time, {memory[host] / GIGABYTE:.2f} GB of memory"
            lines.append(f"{number} workers on {host}: {used}")
        if queue.workers_not_listed:
            lines.append(f"and {queue.workers_not_listed} more workers")
        lines.append(f"queue: {queue.queued} queued, {queue.started} running, {queue.failed} failed in the last day")
    if download and download.memory_bytes:
        used = f"{download.cpu_seconds:,.0f} s of CPU time, {download.memory_bytes / GIGABYTE:.2f} GB of memory"
        lines.append(f"fetcher: {used}")
    return lines + [_disk(folder) for folder in folders if folder.is_dir()]


def _disk(folder: Path) -> str:
    free = shutil.disk_usage(folder).free
    return f"{folder.name}: {_size(folder) / GIGABYTE:.2f} GB used, {free / GIGABYTE:.0f} GB free"


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).lstat().st_size
            except OSError:
                continue  # deleted in the meantime
    return total
