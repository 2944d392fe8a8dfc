"""One process that continues a forward test: opens it under its lock, records settled days, and tells the decision."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from optimizer.forward.day_log import ForwardAction, ForwardDay
from optimizer.forward.forward_test import (
    FOLDER,
    ForwardTest,
    begin_forward_test,
    continued_forward_test,
    record_days,
    require_code,
)
from optimizer.forward.rule import (
    ForwardRule,
    code_of,
    setup_changes,
)
from optimizer.runs import fingerprint
from optimizer.validation.holdout_log import log_access
from tradeschool.app.context import candles_of, holdout_candles_of
from tradeschool.app.forward.chosen_setup import ChosenSetup, setup_of_file, setup_of_run
from tradeschool.app.forward.decision_message import tell_decision
from tradeschool.app.forward.forward_request import ForwardRequest
from tradeschool.app.forward.new_rule import new_rule
from tradeschool.app.forward.settled_candles import SettledCandles, ready_until
from tradeschool.app.search.search_run import context_of
from tradeschool.app.search.strategy_isolation import load_here
from tradeschool.errors import DataIncomplete, ForwardTestChanged, SettingsError, StoreUnwritable
from tradeschool.markets.timerange import settled_day
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import now, say
from workers.coordinator import event_log
from workers.coordinator.context import RunContext

LOCK_NAME = ".lock"
PART = "forward"
"""Part name of a forward test's candles in the access log."""


class ForwardSession:
    """A forward test that this process continues."""

    def __init__(
        self, settings: Settings, test: ForwardTest, candles: SettledCandles, code: str, *, is_new: bool
    ) -> None:
        self.test, self.settings = test, settings
        self._candles, self._code = candles, code
        self.is_new = is_new
        """Whether this process wrote the rule, and printed it then."""
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
        known = continued_forward_test(folder)
        if known is None:
            test = _begun(context, folder, new_rule(request, chosen, candles, code, now()))
        else:
            test = known
            _require_unchanged(test, request, chosen)
            require_code(test, code, force=request.force)
        yield ForwardSession(settings, test, candles, code, is_new=known is None)


def _begun(context: RunContext, folder: Path, rule: ForwardRule) -> ForwardTest:
    run = context.folder(rule.run)
    log_access(run, PART, level=rule.level, attempt=rule.attempt, trials=[rule.trial], now=now())
    test = begin_forward_test(context.results_dir, folder, rule)
    event_log.record(run, "forward_started", run=rule.run, name=rule.name, start=rule.start.isoformat())
    if rule.start < rule.data_end:
        say(f"days before {rule.data_end} were read by the search: they are no evidence")
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
