"""Continuous download: rounds store settled candles, seal complete years and survive errors."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fetcher.download.follow import FollowPlan, FollowStatus, follow, one_round, settled_until, split
from fetcher.download.page_ledger import PageLedger
from fetcher.protocol.provider import Access
from tradeschool.markets.catalogue import BTC_USD
from tradeschool.markets.instruments import Dataset
from tradeschool.markets.timeframes import Timeframe
from tradeschool.markets.windows import Window

M5, H1 = (Dataset(instrument=BTC_USD, timeframe=timeframe) for timeframe in (Timeframe.M5, Timeframe.H1))
SINCE = datetime(2022, 12, 20, tzinfo=UTC)
FOLLOWING = FollowPlan(datasets=(M5, H1), since=SINCE, settled_after=timedelta(hours=36), native=False)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stored(store) -> Window:
    ledger = PageLedger(store.root)
    covered = ledger.covered(M5)
    ledger.close()
    return Window(covered[0].start, covered[-1].end)


def test_only_settled_hours_are_requested() -> None:
    assert settled_until(FOLLOWING, at("2023-01-05 14:35")) == at("2023-01-04 02:00")
    assert settled_until(FOLLOWING, at("2022-12-20 12:00")) == SINCE


def test_ranges_are_split_at_new_year() -> None:
    years, rest = split(FOLLOWING, at("2023-01-04 02:00"))

    assert {str(want.window) for want in years} == {"2022-12-20..2023-01-01"}
    assert {str(want.window) for want in rest} == {"2023-01-01..2023-01-04 02:00"}


def test_nothing_is_requested_before_the_first_settled_hour() -> None:
    assert split(FOLLOWING, SINCE) == ([], [])


async def test_a_round_seals_the_full_year_and_stores_the_rest(serving, store, fast) -> None:
    async with serving() as served:
        access = {"coinbase": fast(served.url)}
        first = await one_round(FOLLOWING, store=store, access=access, now=lambda: at("2023-01-05 14:35"))
        asked = len(served.requests)
        second = await one_round(FOLLOWING, store=store, access=access, now=lambda: at("2023-01-05 15:35"))

    assert first.errors == second.errors == ()
    assert first.sealed == (M5.name, H1.name)
    assert [str(seal.window) for seal in store.seals(H1)] == ["2022-12-20..2023-01-01"]
    assert stored(store) == Window(SINCE, at("2023-01-04 03:00"))
    assert second.pages == 1
    assert len(served.requests) == asked + 2  # a look at the product, and the hour that has settled since


async def test_a_clock_that_jumps_back_causes_no_request(serving, store, fast) -> None:
    async with serving() as served:
        access = {"coinbase": fast(served.url)}
        await one_round(FOLLOWING, store=store, access=access, now=lambda: at("2023-01-05 14:35"))
        asked = len(served.requests)
        back = await one_round(FOLLOWING, store=store, access=access, now=lambda: at("2022-12-30 14:35"))

    assert (back.errors, back.pages, len(served.requests)) == ((), 0, asked)


async def test_a_clock_ahead_of_the_provider_stores_nothing(serving, store, fast) -> None:
    """An empty response for the future would count as confirmed empty."""
    ahead = datetime.now(UTC) + timedelta(days=30)
    recent = FollowPlan(datasets=(M5,), since=ahead - timedelta(days=3), settled_after=timedelta(hours=1), native=False)
    async with serving() as served:
        health = await one_round(recent, store=store, access={"coinbase": fast(served.url)}, now=lambda: ahead)

    assert health.pages == 0
    assert "correct the clock of this machine" in health.errors[0]


@pytest.mark.parametrize("away", ["http://127.0.0.1:9", "http://exchange.invalid"], ids=["refused", "no such name"])
async def test_rounds_continue_through_an_outage(away: str, serving, store, fast) -> None:
    """The provider is unreachable or its host name unknown in the first round, and reachable in the second."""
    rounds: list[FollowStatus] = []
    access: dict[str, Access] = {"coinbase": fast(away)}

    async def pause() -> None:
        access["coinbase"] = fast(served.url)
        if len(rounds) == 2:
            raise InterruptedError

    async with serving() as served:
        with pytest.raises(InterruptedError):
            await follow(
                FOLLOWING,
                store=store,
                access=access,
                now=lambda: at("2023-01-05 14:35"),
                pause=pause,
                tell=rounds.append,
            )

    assert "does not respond" in rounds[0].line()
    assert rounds[1].line().endswith(": ok")
    assert json.loads((store.root / "follow.json").read_text())["errors"] == []
