"""One process that continues a forward test: opens it under its lock, records settled days, and tells the decision."""

import fcntl
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from pydantic import ValidationError

from optimizer.forward.day_log import ForwardAction, ForwardDay
from optimizer.forward.forward_test import (
    FOLDER,
    ForwardTest,
    begin_forward_test,
    continued_forward_test,
    record_days,
    require_code,
)
from optimizer.forward.paper_account import datasets_of, train_account
from optimizer.forward.rule import (
    ForwardDataset,
    ForwardLimits,
    ForwardRule,
    bound_of,
    code_of,
    setup_changes,
)
from optimizer.objective.trial_result import rounded
from optimizer.runs import fingerprint
from optimizer.validation.holdout_log import log_access
from tradeschool.app.context import candles_of, holdout_candles_of
from tradeschool.app.forward.chosen_setup import ChosenSetup, setup_of_file, setup_of_run
from tradeschool.app.forward.decision_message import tell_decision
from tradeschool.app.forward.settled_candles import SettledCandles, first_stored, ready_until
from tradeschool.app.search.search_run import context_of
from tradeschool.app.search.strategy_isolation import load_here
from tradeschool.errors import DataIncomplete, ForwardTestChanged, SettingsError, StoreUnwritable
from tradeschool.markets.timerange import parse_timerange, settled_day
from tradeschool.markets.windows import EPOCH, Window
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import now, say
from workers.coordinator import event_log
from workers.coordinator.context import RunContext

LIVE = "live"
"""Default name of a forward test on candles to come."""
FORWARD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
LOCK_NAME = ".lock"
PART = "forward"
"""Part name of a forward test's candles in the access log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardRequest:
    """What a user asks for; None or empty for options that were not given."""

    run_name: str | None = None
    params: Path | None = None
    name: str | None = None
    replay: str | None = None
    """Range of sealed candles, instead of candles to come."""
    limits: Mapping[str, float | int] = field(default_factory=dict)
    """Changes of the rule's limits by field name."""
    force: bool = False

    @property
    def window(self) -> Window | None:
        """The range of a replay, in whole days.

        Raises:
            SettingsError: it is malformed, or does not begin and end at midnight UTC.
        """
        if self.replay is None:
            return None
        window = parse_timerange(self.replay)
        if any((each - EPOCH) % timedelta(days=1) for each in (window.start, window.end)):
            raise SettingsError(f"--replay {self.replay}: expected whole days, such as 2024-01-01..2025-01-01")
        return window

    @property
    def test_name(self) -> str:
        """Name of the forward test.

        Raises:
            SettingsError: it is no name.
        """
        if self.name and not FORWARD_NAME.fullmatch(self.name):
            raise SettingsError(f"--name {self.name}: expected up to 64 letters, digits, dashes and underscores")
        return self.name or (f"replay-{self.window.name}" if self.window else LIVE)


class ForwardSession:
    """A forward test that this process continues."""

    def __init__(self, settings: Settings, test: ForwardTest, candles: SettledCandles, code: str) -> None:
        self.test, self.settings = test, settings
        self._candles, self._code = candles, code
        self._is_checked = False

    def record_settled(self, tell: Callable[[ForwardDay], None] = lambda day: None) -> str:
        """Record all days that are settled and stored; return what is waited for, empty if nothing is missing.

        Raises:
            DataIncomplete: Candles before the first day are missing.
            ForwardTestChanged: A recorded day changed.
        """
        test = self.test
        if test.is_over:
            return self._announce()
        due = min(settled_day(), test.rule.end or date.max)
        ready, why = ready_until(self._candles, test.rule.datasets, test.rule.start, due)
        until = max(ready, test.next_day)
        if until > test.next_day or (test.log.days and not self._is_checked):
            self.test = record_days(test, self._candles.arrays, until, now, code=self._code, tell=tell)
            self._is_checked = True
        self._announce()
        return "" if self.test.is_over else why

    def _announce(self) -> str:
        if self.test.action is not ForwardAction.CONTINUE:
            tell_decision(self.settings, self.test)
        return ""


@contextmanager
def forward_session(settings: Settings, request: ForwardRequest) -> Iterator[ForwardSession]:
    """Open a forward test, or begin it with its rule, until the block ends.

    Raises:
        SettingsError: The run, the file or an option is not valid, or another process continues the test.
        ForwardTestChanged: Rule, parameters or code are not those of the test.
        DataIncomplete: Candles are missing that the rule is made from.
    """
    context = context_of(settings)
    chosen = setup_of_file(request.params) if request.params else setup_of_run(context, str(request.run_name))
    folder = context.folder(chosen.setup.run) / FOLDER / request.test_name
    load_here(chosen.setup.strategy, settings)
    code = code_of(chosen.setup.strategy, fingerprint.of_code())
    stores = [candles_of(settings), holdout_candles_of(settings)]
    with _locked(folder), SettledCandles(stores) as candles:
        test = continued_forward_test(folder)
        if test is None:
            test = _begun(context, folder, _new_rule(request, chosen, candles, code))
        else:
            _require_unchanged(test, request, chosen)
            require_code(test, code, force=request.force)
        yield ForwardSession(settings, test, candles, code)


def _new_rule(request: ForwardRequest, chosen: ChosenSetup, candles: SettledCandles, code: str) -> ForwardRule:
    setup, window = chosen.setup, request.window
    start = window.start.date() if window else chosen.data_end
    train = train_account(setup, candles.arrays, chosen.size)
    deviation = float(train.returns.std(ddof=1)) if len(train.returns) > 1 else 0.0
    if deviation == 0:
        raise SettingsError(f"run {setup.run}: its parameters never trade on train; there is nothing to test")
    datasets = [
        ForwardDataset(
            dataset=each.name,
            warm_up_bars=setup.warm_up(each),
            candles_from=first_stored(candles, each, setup.warm_up(each), start),
        )
        for each in datasets_of(setup)
    ]
    fields = {"max_drawdown": chosen.max_drawdown, **request.limits}
    try:
        return ForwardRule(
            name=request.test_name,
            run=setup.run,
            level=setup.level,
            attempt=setup.attempt,
            trial=setup.trial,
            created=now(),
            start=start,
            end=window.end.date() if window else None,
            strategy=setup.strategy,
            direction=setup.direction,
            parameters=setup.parameters,
            position_fraction=setup.position_fraction,
            size=chosen.size,
            costs=setup.costs,
            datasets=tuple(datasets),
            code=code,
            deviation=rounded(deviation),
            bound=rounded(bound_of(deviation, float(train.returns.min()))),
            limits=ForwardLimits.model_validate(fields),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None


def _begun(context: RunContext, folder: Path, rule: ForwardRule) -> ForwardTest:
    run = context.folder(rule.run)
    log_access(run, PART, level=rule.level, attempt=rule.attempt, trials=[rule.trial], now=now())
    test = begin_forward_test(context.results_dir, folder, rule)
    event_log.record(run, "forward_started", run=rule.run, name=rule.name, start=rule.start.isoformat())
    for line in (f"rule of forward test {rule.name}, written to {folder}:", *rule.sentences):
        say(line)
    return test


def _require_unchanged(test: ForwardTest, request: ForwardRequest, chosen: ChosenSetup) -> None:
    """Check that the parameters, and the limits that are named again, are those of the rule."""
    known = test.rule.limits.model_dump()
    found = setup_changes(test.rule, chosen.setup, chosen.size)
    found += [
        f"{name} was {known[name]}, now {value}" for name, value in request.limits.items() if known[name] != value
    ]
    window = request.window
    if (window.end.date() if window else None, window.start.date() if window else test.rule.start) != (
        test.rule.end,
        test.rule.start,
    ):
        found.append("its days were others")
    if found:
        raise ForwardTestChanged(
            f"forward test {test.rule.name} of {test.rule.run}: {'; '.join(found)}: its rule never changes; begin "
            "another one: --name NAME"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a forward test; the kernel releases it when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a")
    except OSError as error:
        raise StoreUnwritable(f"cannot write in {folder}: {error.strerror}; fix permissions") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"forward test {folder}: another process continues it; wait for it or stop it"
            ) from None
        yield


def require_nothing_missing(session: ForwardSession, why: str) -> None:
    """Report in one line what is missing.

    Raises:
        DataIncomplete: If a settled day is not stored.
    """
    if why:
        raise DataIncomplete(f"forward test {session.test.rule.name} waits for {session.test.next_day}: {why}")
