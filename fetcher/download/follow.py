"""Continuous download: keeps datasets up to date with settled candles, one round every few minutes.

Each round is planned from the clock and the stored data, so time-outs, maintenance, a suspended machine or a clock
change cost single rounds only. Complete years are sealed; candles of the current year stay in the ledger until then.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fetcher.download import run_loop
from fetcher.download.fetch_context import RunOptions
from fetcher.download.progress import DownloadProgress
from fetcher.protocol.provider import Access
from tradeschool.atomic_files import publish_text
from tradeschool.errors import StoreUnwritable, TradeschoolError
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.windows import Window
from tradeschool.store import Seal
from tradeschool.store.frame_store import FrameStore

log = logging.getLogger(__name__)

FOLLOW_STATUS_NAME = "follow.json"
LONGEST_ROUND = 6 * 3600.0  # seconds; a longer round is cancelled and the next one begins


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowPlan:
    """Configuration of a continuous download."""

    datasets: tuple[Dataset, ...]
    since: datetime
    settled_after: timedelta
    """Minimum age of a candle to be requested; providers may still correct younger candles."""
    native: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowStatus:
    """Result of one round."""

    time: datetime
    settled: datetime
    """All candles before this time are stored, unless there are errors."""
    pages: int
    """Pages stored in this round."""
    sealed: tuple[str, ...]
    """Datasets with a range that was sealed in this round."""
    errors: tuple[str, ...]
    """Errors of this round, one line each; the next round retries."""

    def line(self) -> str:
        """Return a one-line summary."""
        state = "; ".join(self.errors) if self.errors else "ok"
        return f"settled candles until {self.settled:%Y-%m-%d %H:%M} UTC, {self.pages} pages this round: {state}"

    def to_json(self) -> str:
        """Return the content of `follow.json`."""
        return json.dumps(
            {
                "time": self.time.isoformat(),
                "settled": self.settled.isoformat(),
                "pages": self.pages,
                "sealed": list(self.sealed),
                "errors": list(self.errors),
            }
        )


async def follow(
    following: FollowPlan,
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    now: Callable[[], datetime],
    pause: Callable[[], Awaitable[None]],
    tell: Callable[[FollowStatus], None],
    on_sealed: Callable[[Seal], None] = lambda seal: None,
) -> None:
    """Run rounds until cancelled; after each round pass its result to `tell` and write it to `follow.json`.

    Raises:
        StoreUnwritable: if a file cannot be written.
    """
    while True:
        health = await one_round(following, store=store, access=access, now=now, on_sealed=on_sealed)
        publish_text(store.root, store.root / FOLLOW_STATUS_NAME, health.to_json() + "\n")
        tell(health)
        await pause()


async def one_round(
    following: FollowPlan,
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    now: Callable[[], datetime],
    on_sealed: Callable[[Seal], None] = lambda seal: None,
) -> FollowStatus:
    """Seal complete years, then store the settled candles of the current year.

    Raises:
        StoreUnwritable: if a file cannot be written.
    """
    settled = settled_until(following, now())
    years, rest = split(following, settled)
    progress: list[DownloadProgress] = []
    failure: tuple[str, ...] = ()
    try:
        async with asyncio.timeout(LONGEST_ROUND):
            for wanted, seal in ((years, True), (rest, False)):
                progress += await run_loop.run(
                    wanted,
                    store=store,
                    access=access,
                    native=following.native,
                    now=now,
                    options=RunOptions(on_sealed=on_sealed, seal=seal),
                )
    except StoreUnwritable:
        raise
    except TimeoutError:
        failure = (f"the round took longer than {LONGEST_ROUND / 3600:g} hours",)
    except TradeschoolError as error:
        failure = (str(error),)
    return _health(now(), settled, progress, failure)


def _health(
    time: datetime, settled: datetime, progress: Sequence[DownloadProgress], failure: tuple[str, ...]
) -> FollowStatus:
    return FollowStatus(
        time=time,
        settled=settled,
        pages=sum(each.done for each in progress),
        sealed=tuple(seal.dataset for each in progress for seal in each.seals),
        errors=failure + tuple(dict.fromkeys(str(each.error) for each in progress if each.error)),
    )


def settled_until(following: FollowPlan, now: datetime) -> datetime:
    """Return the full hour until which candles are settled; not before `since`."""
    settled = (now - following.settled_after).replace(minute=0, second=0, microsecond=0)
    return max(settled, following.since)


def split(following: FollowPlan, settled: datetime) -> tuple[list[DatasetRange], list[DatasetRange]]:
    """Return the complete years of each dataset, which can be sealed, and the current year, which is only stored."""
    this_year = max(datetime(settled.year, 1, 1, tzinfo=UTC), following.since)
    complete = Window(following.since, this_year) if following.since < this_year else None
    begun = Window(this_year, settled) if this_year < settled else None
    years = [
        DatasetRange(dataset=dataset, window=year)
        for dataset in following.datasets
        for _, year in (complete.years() if complete else ())
    ]
    rest = [DatasetRange(dataset=dataset, window=begun) for dataset in following.datasets if begun]
    return years, rest
