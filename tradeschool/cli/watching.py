"""What `queue watch` shows: everything that is under way, as one screen; or as a line now and then."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from optimizer.curriculum import Recommend
from tradeschool.acquisition import Acquisition
from tradeschool.cli.context import candles_of, chosen_datasets
from tradeschool.embedded import Valkey
from tradeschool.settings import Settings
from tradeschool.signing_key import signing_key
from workers.monitor import Snapshot, WorkerSnapshot
from workers.names import trials_of
from workers.overview import Lookout, Sources, View
from workers.place import Place
from workers.signing import Signer
from workers.stall import SILENT_SECONDS
from workers.standing import LevelStanding, Standing

MOST_WORKERS, MOST_DOWNLOADS = 16, 12
"""Rows of a screen; what is left out is counted."""
BAR = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that one screen shows."""

    queue: View[Snapshot]
    run: View[Standing]
    download: View[Acquisition]
    now: datetime

    @property
    def troubles(self) -> list[str]:
        """What cannot be seen now."""
        return [view.trouble for view in (self.queue, self.run, self.download) if view.trouble]

    @property
    def stall(self) -> str:
        """Why what is under way cannot go on; empty where it can."""
        found = self.queue.value.stall if self.queue.value else None
        return f"stalled: {found.sentence()}" if found else ""


def sources_of(settings: Settings) -> Sources:
    """Where the settings have everything; starts nothing: an embedded server that is not there is not there."""
    embedded = None if settings.redis_url else Valkey.of(settings.state_dir)
    url = settings.redis_url.get_secret_value() if settings.redis_url else Valkey.of(settings.state_dir).url
    return Sources(
        redis_url=url,
        place=Place.of(settings, candles_of(settings), Signer(signing_key(settings))),
        datasets=chosen_datasets(()),
        embedded=embedded,
    )


def absence_of(settings: Settings) -> str:
    """Why no server runs although nothing is wrong; empty where one does, or should."""
    with closing(Lookout(sources_of(settings), is_quiet=True)) as lookout:
        return lookout.queue().note


@contextmanager
def looking(settings: Settings) -> Iterator[Callable[[], Look]]:
    """A function that looks at everything, until the block ends."""
    lookout = Lookout(sources_of(settings), is_quiet=True)
    try:
        yield lambda: Look(
            queue=lookout.queue(),
            run=lookout.run(),
            download=lookout.download(),
            now=datetime.fromtimestamp(lookout.clock(), UTC),
        )
    finally:
        lookout.close()


def screen(look: Look) -> Group:
    """Everything, for a terminal."""
    parts: list[RenderableType] = [Text(trouble, style="bold red") for trouble in look.troubles]
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
    return Group(*parts, Text("Ctrl-C ends the watching, and nothing else", style="dim"))


def line(look: Look) -> str:
    """Everything, for a log."""
    parts = [each for each in (*look.troubles, look.stall, look.queue.note) if each]
    if queue := look.queue.value:
        parts.append(
            f"{queue.queued:,} queued, {queue.started:,} started, {queue.failed:,} failed, "
            f"{queue.throughput_per_minute:,} a minute, {queue.worker_count:,} workers"
        )
    if (run := look.run.value) and run.current.attempts:
        attempt = run.current.attempts[-1]
        left = f", about {duration(attempt.eta_seconds)} left" if attempt.eta_seconds != 0 else ""
        parts.append(f"level {run.current.name}: {attempt.tally.finished:,} of {attempt.tally.trials:,} trials{left}")
    download = look.download.value
    if download and download.state(look.now) == "running":
        left = f"about {duration(download.eta_seconds)} left"
        parts.append(f"fetched {download.pages_done:,} of {download.pages_total:,} pages, {left}")
    return "; ".join(parts) or "nothing is under way"


def duration(seconds: float | None) -> str:
    """Such as `2 h 5 min`; a dash where nobody knows."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _queue(queue: Snapshot) -> Table:
    table = Table("queued", "running", "finished", "failed", "oldest waits", "a minute", "left", title="queue, in jobs")
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
    table = Table("host", "worker", "state", "heard of", "trial", "done", "failed", title="workers")
    hosts: dict[str, list[WorkerSnapshot]] = defaultdict(list)
    for each in queue.workers:
        hosts[each.host].append(each)
    shown = [each for host in sorted(hosts) for each in hosts[host]][:MOST_WORKERS]
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
        table.caption = "no worker is there; start some: tradeschool worker start -n 2"
    return table


def _age_style(worker: WorkerSnapshot) -> str:
    return "red" if worker.heartbeat_age_seconds > SILENT_SECONDS else ""


def _levels(run: Standing) -> Table:
    table = Table("level", "state", "attempt", "trials", "", "best", "gate", "left", title=f"run {run.name}")
    if run.outcome is None and not run.at_work:
        table.caption = f"nobody is at work on it; go on with: tradeschool optimize resume {run.name}"
    elif isinstance(run.action, Recommend):
        table.caption = run.reason
    elif run.recommendation:
        table.caption = f"recommendation: {run.recommendation.action_words}: {run.recommendation.reason}"
    for level in run.levels:
        table.add_row(*_level(level))
    return table


def _level(level: LevelStanding) -> list[RenderableType]:
    name = f"{level.name}  {level.level.title}"
    if not level.attempts:
        return [name, level.state, "", "", "", "", "", ""]
    attempt = level.attempts[-1]
    met = sum(reading.met for reading in level.gate)
    tally = attempt.tally
    best = "none feasible" if tally.best_value is None else f"{tally.best_value:.3f}"
    return [
        name,
        Text(level.state, style={"passed": "green", "missed": "red", "searching": "cyan"}.get(level.state, "")),
        f"{attempt.row.number}",
        f"{tally.finished:,} of {tally.trials:,}",
        ProgressBar(total=tally.trials, completed=tally.finished, width=BAR),
        best,
        f"{met} of {len(level.gate)} met on {level.gate_part}" if level.gate else "",
        duration(attempt.eta_seconds),
    ]


def _downloads(state: Acquisition, now: datetime) -> Table:
    killed = "" if state.state(now) == "running" else ", not heard of: killed? run tradeschool fetch to go on"
    table = Table("dataset", "pages", "", "reached", "", title=f"download{killed}")
    going = [each for each in state.downloads if each.pages_total and not each.sealed]
    for each in going[:MOST_DOWNLOADS]:
        table.add_row(
            each.dataset,
            f"{each.pages_done:,} of {each.pages_total:,}",
            ProgressBar(total=each.pages_total, completed=each.pages_done, width=BAR),
            f"{each.reached:%Y-%m-%d}" if each.reached else "",
            Text((each.error or "")[:60], style="red"),
        )
    lanes = [f"{lane.provider}: about {duration(lane.eta_seconds)} left" for lane in state.lanes if lane.eta_seconds]
    lanes += [f"{lane.provider} pauses for {lane.paused_seconds:.0f} s" for lane in state.lanes if lane.paused_seconds]
    table.caption = ", ".join(lanes) or None
    return table
