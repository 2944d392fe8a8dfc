"""Live view of `queue watch`: queue, workers, levels and downloads as one screen or as one line."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optimizer.curriculum.state_machine import Recommend
from tradeschool.store.download_status import DownloadStatus
from tradeschool.views.durations import duration
from workers.monitoring.overview import View
from workers.monitoring.run_status import LevelStatus, RunStatus
from workers.monitoring.snapshot import Snapshot
from workers.monitoring.stall_detection import SILENT_SECONDS
from workers.monitoring.worker_snapshot import WorkerSnapshot
from workers.queue.job_names import trials_of

MAX_WORKERS, MAX_DOWNLOADS = 16, 12
"""Most table rows on the screen; further rows are only counted."""
BAR = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueScreen:
    """Data of one screen."""

    queue: View[Snapshot]
    run: View[RunStatus]
    download: View[DownloadStatus]
    now: datetime

    @property
    def errors(self) -> list[str]:
        """Sources that cannot be read now, one line each."""
        return [view.error for view in (self.queue, self.run, self.download) if view.error]

    @property
    def stall(self) -> str:
        """Reason why the search is stalled; empty if it is not."""
        found = self.queue.value.stall if self.queue.value else None
        return f"stalled: {found.sentence()}" if found else ""


def screen(look: QueueScreen) -> Group:
    """Render all data for a terminal."""
    parts: list[RenderableType] = [Text(error, style="bold red") for error in look.errors]
    if look.stall:
        parts.append(Text(look.stall, style="bold red"))
    if look.queue.note:
        parts.append(Text(look.queue.note, style="dim"))
    if look.queue.value:
        parts += [_queue(look.queue.value), _workers(look.queue.value), Text(look.queue.value.advice)]
    if look.run.value:
        parts.append(_levels(look.run.value))
    if look.download.value and look.download.value.state(look.now) != "over":
        parts.append(_downloads(look.download.value, look.now))
    return Group(*parts, Text("Ctrl-C stops this view only", style="dim"))


def line(look: QueueScreen) -> str:
    """Render all data in one line, for a log."""
    parts = [each for each in (*look.errors, look.stall, look.queue.note) if each]
    if queue := look.queue.value:
        parts.append(
            f"{queue.queued:,} queued, {queue.started:,} running, {queue.failed:,} failed, "
            f"{queue.throughput_per_minute:,} jobs/min, {queue.worker_count:,} workers"
        )
    if (run := look.run.value) and run.current.attempts:
        attempt = run.current.attempts[-1]
        left = f", ETA {duration(attempt.eta_seconds)}" if attempt.eta_seconds != 0 else ""
        parts.append(f"level {run.current.name}: {attempt.counts.finished:,} of {attempt.counts.trials:,} trials{left}")
    download = look.download.value
    if download and download.state(look.now) == "running":
        left = f"ETA {duration(download.eta_seconds)}"
        parts.append(f"fetched {download.pages_done:,} of {download.pages_total:,} pages, {left}")
    return "; ".join(parts) or "no run or download is active"


def _queue(queue: Snapshot) -> Table:
    table = Table("queued", "running", "finished", "failed", "oldest queued", "jobs/min", "ETA", title="queue (jobs)")
    table.add_row(
        f"{queue.queued:,}",
        f"{queue.started:,}",
        f"{queue.finished:,}",
        Text(f"{queue.failed:,}", style="bold red" if queue.failed else ""),
        duration(queue.oldest_seconds),
        f"{queue.throughput_per_minute:,}",
        duration(queue.eta_seconds),
    )
    return table


def _workers(queue: Snapshot) -> Table:
    table = Table("host", "worker", "state", "last heartbeat", "trial", "done", "failed", title="workers")
    hosts: dict[str, list[WorkerSnapshot]] = defaultdict(list)
    for each in queue.workers:
        hosts[each.host].append(each)
    shown = [each for host in sorted(hosts) for each in hosts[host]][:MAX_WORKERS]
    for each in shown:
        table.add_row(
            each.host,
            each.name.removeprefix(f"{each.host}-"),
            each.state,
            Text(f"{each.heartbeat_age_seconds:.0f} s ago", style=_age_style(each)),
            trials_of(each.job),
            f"{each.done:,}",
            f"{each.failed:,}",
        )
    if queue.worker_count > len(shown):
        table.caption = f"and {queue.worker_count - len(shown):,} more on {len(hosts)} hosts"
    if not queue.workers:
        table.caption = "no worker is connected; start some: tradeschool worker start -n 2"
    return table


def _age_style(worker: WorkerSnapshot) -> str:
    return "red" if worker.heartbeat_age_seconds > SILENT_SECONDS else ""


def _levels(run: RunStatus) -> Table:
    is_sharpe = all(level.level.objective == ("sharpe",) for level in run.levels)
    best = "best Sharpe" if is_sharpe else "best objective"
    table = Table("level", "state", "attempt", "trials", "", best, "gate", "ETA", title=f"run {run.name}")
    if run.outcome is None and not run.is_active:
        table.caption = f"not running; resume it: tradeschool optimize resume {run.name}"
    elif isinstance(run.action, Recommend):
        table.caption = run.reason
    elif run.recommendation:
        table.caption = f"recommendation: {run.recommendation.action_words}: {run.recommendation.reason}"
    for level in run.levels:
        table.add_row(*_level(level))
    return table


def _level(level: LevelStatus) -> list[RenderableType]:
    name = f"{level.name}  {level.level.title}"
    if not level.attempts:
        return [name, level.state, "", "", "", "", "", ""]
    attempt = level.attempts[-1]
    met = sum(reading.met for reading in level.gate)
    trial_counts = attempt.counts
    best = "none feasible" if trial_counts.best_value is None else f"{trial_counts.best_value:.3f}"
    return [
        name,
        Text(level.state, style={"passed": "green", "failed": "red", "searching": "cyan"}.get(level.state, "")),
        f"{attempt.row.number}",
        f"{trial_counts.finished:,} of {trial_counts.trials:,}",
        ProgressBar(total=trial_counts.trials, completed=trial_counts.finished, width=BAR),
        best,
        f"{met} of {len(level.gate)} met on {level.gate_part}" if level.gate else "",
        duration(attempt.eta_seconds),
    ]


def _downloads(state: DownloadStatus, now: datetime) -> Table:
    killed = "" if state.state(now) == "running" else " (no recent update: killed? resume it: tradeschool fetch)"
    table = Table("dataset", "pages", "", "reached", "", title=f"download{killed}")
    going = [each for each in state.downloads if each.pages_total and not each.sealed]
    for each in going[:MAX_DOWNLOADS]:
        table.add_row(
            each.dataset,
            f"{each.pages_done:,} of {each.pages_total:,}",
            ProgressBar(total=each.pages_total, completed=each.pages_done, width=BAR),
            f"{each.reached:%Y-%m-%d}" if each.reached else "",
            Text((each.error or "")[:60], style="red"),
        )
    providers = [
        f"{provider.provider}: ETA {duration(provider.eta_seconds)}"
        for provider in state.providers
        if provider.eta_seconds
    ]
    providers += [
        f"{provider.provider}: paused for {provider.paused_seconds:.0f} s"
        for provider in state.providers
        if provider.paused_seconds
    ]
    table.caption = ", ".join(providers) or None
    return table
