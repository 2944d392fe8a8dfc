"""Keep datasets up to date for as long as the process lives: settled candles only, a round every few minutes.

Each round starts from the clock and what is stored, so time-outs, maintenance, a suspended machine or a clock
that jumps cost rounds and nothing else. Whole years are sealed as they complete; candles of the current year
wait in the ledger.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fetcher import sync
from fetcher.progress import Progress
from fetcher.provider import Access
from tradeschool.errors import StoreUnwritable, TradeschoolError
from tradeschool.market import Dataset, Wanted, Window
from tradeschool.store import Seal
from tradeschool.store.files import publish_text
from tradeschool.store.frames import FrameStore

log = logging.getLogger(__name__)

HEALTH_NAME = "follow.json"
LONGEST_ROUND = 6 * 3600.0  # seconds; a round that hangs for longer is given up and the next one begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What is kept up to date, and from when on."""

    datasets: tuple[Dataset, ...]
    since: datetime
    settled_after: timedelta
    """Age at which a candle is asked for: providers restate younger ones."""
    native: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What one round came to."""

    time: datetime
    settled: datetime
    """Everything before is stored, unless there is an error."""
    pages: int
    """Stored in this round."""
    sealed: tuple[str, ...]
    """Datasets of which a range was sealed in this round."""
    errors: tuple[str, ...]
    """One line each; tried again in the next round."""

    def line(self) -> str:
        """For people."""
        state = "; ".join(self.errors) if self.errors else "all is well"
        return f"settled candles until {self.settled:%Y-%m-%d %H:%M} UTC, {self.pages} pages this round: {state}"

    def to_json(self) -> str:
        """For programs: the content of `follow.json`."""
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
    following: Following,
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    now: Callable[[], datetime],
    pause: Callable[[], Awaitable[None]],
    tell: Callable[[Health], None],
    on_sealed: Callable[[Seal], None] = lambda seal: None,
) -> None:
    """Round after round until cancelled; after each its health is told, and published as `follow.json`.

    Raises:
        StoreUnwritable: if the disk takes no more: nothing that could be done would be kept.
    """
    while True:
        health = await one_round(following, store=store, access=access, now=now, on_sealed=on_sealed)
        publish_text(store.root, store.root / HEALTH_NAME, health.to_json() + "\n")
        tell(health)
        await pause()


async def one_round(
    following: Following,
    *,
    store: FrameStore,
    access: Mapping[str, Access],
    now: Callable[[], datetime],
    on_sealed: Callable[[Seal], None] = lambda seal: None,
) -> Health:
    """Seal the years that are complete, then store what has settled of the current one.

    Raises:
        StoreUnwritable: if the disk takes no more.
    """
    settled = settled_until(following, now())
    years, rest = split(following, settled)
    progress: list[Progress] = []
    failure: tuple[str, ...] = ()
    try:
        async with asyncio.timeout(LONGEST_ROUND):
            for wanted, seal in ((years, True), (rest, False)):
                progress += await sync.run(
                    wanted,
                    store=store,
                    access=access,
                    native=following.native,
                    now=now,
                    on_sealed=on_sealed,
                    seal=seal,
                )
    except StoreUnwritable:
        raise
    except TimeoutError:
        failure = (f"the round took longer than {LONGEST_ROUND / 3600:g} hours",)
    except TradeschoolError as error:
        failure = (str(error),)
    return Health(
        time=now(),
        settled=settled,
        pages=sum(each.done for each in progress),
        sealed=tuple(seal.dataset for each in progress for seal in each.seals),
        errors=failure + tuple(dict.fromkeys(str(each.error) for each in progress if each.error)),
    )


def settled_until(following: Following, now: datetime) -> datetime:
    """The hour until which candles are settled; never before `since`."""
    settled = (now - following.settled_after).replace(minute=0, second=0, microsecond=0)
    return max(settled, following.since)


def split(following: Following, settled: datetime) -> tuple[list[Wanted], list[Wanted]]:
    """What can be sealed, whole years of each dataset, and what can only be stored so far."""
    this_year = max(datetime(settled.year, 1, 1, tzinfo=UTC), following.since)
    complete = Window(following.since, this_year) if following.since < this_year else None
    begun = Window(this_year, settled) if this_year < settled else None
    years = [
        Wanted(dataset=dataset, window=year)
        for dataset in following.datasets
        for _, year in (complete.years() if complete else ())
    ]
    rest = [Wanted(dataset=dataset, window=begun) for dataset in following.datasets if begun]
    return years, rest
