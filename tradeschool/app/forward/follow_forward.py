"""Keeps a forward test up to date: records each day once it is settled, with or without downloading it."""

import time
from collections.abc import Callable

from optimizer.forward.day_log import ForwardDay
from optimizer.forward.rule import midnight
from tradeschool.app.context import candles_of
from tradeschool.app.download.dataset_download import keep_up
from tradeschool.app.forward.forward_session import ForwardSession
from tradeschool.errors import DataIncomplete
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.markets.timerange import DAY
from tradeschool.markets.windows import Window
from tradeschool.views.terminal import say


class _Over(Exception):
    """The forward test is over: ends the download, and is no failure."""


def watch_forward(session: ForwardSession, every: float, tell: Callable[[ForwardDay], None], *, fetch: bool) -> None:
    """Record days until a decision or an interrupt, each `every` seconds; with `fetch`, download settled candles.

    A line tells at once, and after each change, what is waited for.
    """
    said = ""

    def record() -> None:
        nonlocal said
        try:
            why = session.record_settled(tell)
        except DataIncomplete as error:
            why = str(error)
        line = f"waiting for {session.test.next_day}: {why or 'it is not settled yet'}"
        if line != said and not session.test.is_over:
            say(line)
        said = line
        if session.test.is_over:
            raise _Over

    try:
        record()
        if fetch:
            keep_up(_wanted(session), candles_of(session.settings), session.settings, every=every, after_round=record)
        while True:
            time.sleep(every)
            record()
    except _Over:
        return


def _wanted(session: ForwardSession) -> list[DatasetRange]:
    """Return the datasets to follow, from the first day that the test reads."""
    return [
        DatasetRange(dataset=each.source, window=Window(midnight(each.candles_from), midnight(each.candles_from) + DAY))
        for each in session.test.rule.datasets
    ]
