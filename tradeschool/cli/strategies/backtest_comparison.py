"""Comparison of a backtest with the run of its `best_params.json`: setup differences and access to held-back data."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from optimizer.level.spec import Part
from optimizer.runs import fingerprint
from optimizer.runs.fingerprint import LENGTH
from optimizer.validation.holdout_log import window_days
from optimizer.validation.winner_setup import BacktestSetup, WinnerSetup, differences
from tradeschool.errors import DataIncomplete
from tradeschool.settings.model import Settings
from tradeschool.store import Store
from tradeschool.views.terminal import now
from workers.coordinator.run.trial_replay import log_part_access


def compare(settings: Settings, store: Store, setup: WinnerSetup, traded: BacktestSetup) -> list[str]:
    """Return the remarks to print: one line about the setup, and one for each held-back part that is read.

    Raises:
        StoreUnwritable: If the access cannot be logged; the data must not be read then.
    """
    part = min(Part, key=lambda each: len(differences(setup, each, traded)))
    found = [*differences(setup, part, traded), *_others(store, setup)]
    whose = f"trial {setup.trial} of run {setup.run}, level {setup.level}, attempt {setup.attempt}, on {part}"
    said = f"differs from {whose}: {'; '.join(found)}" if found else f"same setup as {whose}: the metrics are equal"
    return [said, *_looks(settings, setup, traded)]


def _others(store: Store, setup: WinnerSetup) -> Iterator[str]:
    """Yield the differences that no option can change: code and candles."""
    code = fingerprint.of_code()
    if code != setup.code:
        yield f"code {code} instead of {setup.code}"
    for each in setup.datasets:
        with suppress(DataIncomplete):  # missing candles are not compared
            digest = store.digest(each.source, each.whole)[:LENGTH]
            if digest != each.candles:
                yield f"candles of {each.dataset} {digest} instead of {each.candles}"


def _looks(settings: Settings, setup: WinnerSetup, traded: BacktestSetup) -> Iterator[str]:
    """Yield a line for each part that the search has not read and the backtest reads."""
    for part in (Part.VALIDATION, Part.TEST):
        own = setup.windows(part)
        if any(dataset == other and window.overlap(each) for dataset, window in traded.windows for other, each in own):
            yield _opened(settings.results_dir / setup.run, setup, part)


def _opened(folder: Path, setup: WinnerSetup, part: Part) -> str:
    if not folder.is_dir():
        return f"the time range overlaps {part}; the access is not logged: {folder} does not exist"
    days = window_days(setup.windows(part))
    return log_part_access(folder, (setup.level, setup.attempt), part, setup.trial, now(), days)
