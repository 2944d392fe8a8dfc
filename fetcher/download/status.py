"""Conversion of a run's progress to the published download status: request rates, counts and ETA."""

import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from fetcher.download.progress import CONFIRM_AFTER, DownloadProgress
from fetcher.http.request_statistics import BOUNDS_SECONDS, Histogram, Traffic
from tradeschool.errors import ProviderBanned
from tradeschool.store.download_status import DownloadState, DownloadStatus, Durations, ProviderState

MEASURED_AFTER = 20.0
"""Seconds after which the ETA uses the measured rate of a provider; before that, its rate limit."""


def download_status(
    progress: Sequence[DownloadProgress], rates: Mapping[str, float], *, elapsed: float, now: datetime, running: bool
) -> DownloadStatus:
    """Return the status of a run after `elapsed` seconds; `rates` are the rate limits in requests per second."""
    states = tuple(
        _provider_state(
            name, rate, [each for each in progress if each.download.dataset.instrument.provider == name], elapsed
        )
        for name, rate in rates.items()
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    return DownloadStatus(
        time=now,
        running=running,
        eta_seconds=max((provider.eta_seconds for provider in states), default=0.0),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
        memory_bytes=used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        providers=states,
        downloads=tuple(_download(each) for each in progress),
    )


def _provider_state(name: str, rate: float, group: Sequence[DownloadProgress], elapsed: float) -> ProviderState:
    traffic = group[0].traffic if group else Traffic()
    done = sum(each.done for each in group)
    pace = done / elapsed if done and elapsed >= MEASURED_AFTER else rate
    return ProviderState(
        provider=name,
        limit_per_second=rate,
        requests=traffic.requests,
        retries=traffic.retries,
        requests_per_second=traffic.requests / elapsed if elapsed > 0 else 0.0,
        waiting_for_token=traffic.waiting_for_token,
        waiting_for_network=traffic.waiting_for_network,
        paused_seconds=traffic.paused_seconds,
        eta_seconds=sum(each.left for each in group) / pace + CONFIRM_AFTER * any(each.short for each in group),
        outcomes={outcome.value: count for outcome, count in traffic.outcomes.items()},
        token_seconds=_durations(traffic.token_seconds),
        response_seconds=_durations(traffic.response_seconds),
    )


def _download(progress: DownloadProgress) -> DownloadState:
    wanted = progress.download.wanted
    return DownloadState(
        dataset=wanted.dataset.name,
        range=str(wanted.window),
        pages_done=progress.done,
        pages_total=max(progress.total, progress.done),
        reached=progress.reached,
        sealed=tuple(seal.dataset for seal in progress.seals),
        error=str(progress.error) if progress.error else None,
        banned=isinstance(progress.error, ProviderBanned),
    )


def _durations(histogram: Histogram) -> Durations:
    return Durations(bounds_seconds=BOUNDS_SECONDS, counts=tuple(histogram.counts), seconds=histogram.seconds)
