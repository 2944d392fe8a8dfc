"""Conversion of a run's progress to the published download status: request rates, counts and ETA."""

import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from fetcher.download.progress import CONFIRM_AFTER, Progress
from fetcher.http.request_statistics import BOUNDS_SECONDS, Histogram, Traffic
from tradeschool.store.download_status import Acquisition, DownloadState, Durations, LaneState

MEASURED_AFTER = 20.0
"""Seconds after which the ETA uses the measured rate of a provider; before that, its rate limit."""


def acquisition(
    progress: Sequence[Progress], rates: Mapping[str, float], *, elapsed: float, now: datetime, running: bool
) -> Acquisition:
    """Return the status of a run after `elapsed` seconds; `rates` are the rate limits in requests per second."""
    lanes = tuple(
        _lane(name, rate, [each for each in progress if each.download.dataset.instrument.provider == name], elapsed)
        for name, rate in rates.items()
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Acquisition(
        time=now,
        running=running,
        eta_seconds=max((lane.eta_seconds for lane in lanes), default=0.0),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
        memory_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        lanes=lanes,
        downloads=tuple(_download(each) for each in progress),
    )


def _lane(name: str, rate: float, lane: Sequence[Progress], elapsed: float) -> LaneState:
    traffic = lane[0].traffic if lane else Traffic()
    done = sum(each.done for each in lane)
    pace = done / elapsed if done and elapsed >= MEASURED_AFTER else rate
    return LaneState(
        provider=name,
        limit_per_second=rate,
        requests=traffic.requests,
        retries=traffic.retries,
        requests_per_second=traffic.requests / elapsed if elapsed > 0 else 0.0,
        waiting_for_token=traffic.waiting_for_token,
        waiting_for_network=traffic.waiting_for_network,
        paused_seconds=traffic.paused_seconds,
        eta_seconds=sum(each.left for each in lane) / pace + CONFIRM_AFTER * any(each.short for each in lane),
        outcomes={outcome.value: count for outcome, count in traffic.outcomes.items()},
        token_seconds=_durations(traffic.token_seconds),
        answer_seconds=_durations(traffic.answer_seconds),
    )


def _download(progress: Progress) -> DownloadState:
    wanted = progress.download.wanted
    return DownloadState(
        dataset=wanted.dataset.name,
        range=str(wanted.window),
        pages_done=progress.done,
        pages_total=max(progress.total, progress.done),
        reached=progress.reached,
        sealed=tuple(seal.dataset for seal in progress.seals),
        error=str(progress.error) if progress.error else None,
    )


def _durations(histogram: Histogram) -> Durations:
    return Durations(bounds_seconds=BOUNDS_SECONDS, counts=tuple(histogram.counts), seconds=histogram.seconds)
