"""A forward test in its folder: begun once, continued any number of times, killed at any point.

Each continuation trades the whole test again, checks that every recorded day is the same, and appends the new days.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from optimizer.forward.day_log import AcceptedCode, DayLog, ForwardAction, ForwardDay, read_day_log
from optimizer.forward.decision import judged_days
from optimizer.forward.paper_account import paper_account
from optimizer.forward.rule import ForwardRule, day_after, digest_of, read_rule, write_rule
from optimizer.objective.objective import Read
from tradeschool.errors import ForwardTestChanged

FOLDER = "forward"
"""Folder of all forward tests below a run's folder."""
TOLERANCE = 1e-9
"""Relative difference up to which a repeated day is the same: the last digits of two processors may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTest:
    """A forward test as it is stored."""

    folder: Path
    rule: ForwardRule
    log: DayLog

    @property
    def last(self) -> ForwardDay | None:
        """The last recorded day; None before the first."""
        return self.log.days[-1] if self.log.days else None

    @property
    def action(self) -> ForwardAction:
        """What the rule says now."""
        return self.last.action if self.last else ForwardAction.CONTINUE

    @property
    def is_over(self) -> bool:
        """Whether a decision was made, or a replay has reached its end."""
        return self.action is not ForwardAction.CONTINUE or (
            self.rule.end is not None and self.next_day >= self.rule.end
        )

    @property
    def next_day(self) -> date:
        """The first day that is not recorded yet."""
        return day_after(self.last.day) if self.last else self.rule.start

    @property
    def code(self) -> str:
        """Fingerprint of the code that may continue the test."""
        return self.log.accepted[-1].now if self.log.accepted else self.rule.code


def begin_forward_test(root: Path, folder: Path, rule: ForwardRule) -> ForwardTest:
    """Write the rule and the first line of the log, in a folder inside `root`, and return the test.

    Raises:
        StoreUnwritable: a file cannot be written.
    """
    write_rule(root, folder, rule)
    return _opened(folder, rule)


def read_forward_test(folder: Path) -> ForwardTest | None:
    """Return the forward test of a folder; None if none was begun there. Writes nothing.

    Raises:
        ForwardTestChanged: the rule or a line of the log is not what was written.
    """
    rule = read_rule(folder)
    if rule is None:
        return None
    log = read_day_log(folder)
    if log.rule and log.rule != digest_of(folder):
        raise ForwardTestChanged(
            f"{folder}: the rule was changed after it was written; a forward test with a changed rule is none; "
            "begin another one"
        )
    return ForwardTest(folder=folder, rule=rule, log=log)


def continued_forward_test(folder: Path) -> ForwardTest | None:
    """Return the forward test of a folder for a process that continues it; raises as `read_forward_test`."""
    test = read_forward_test(folder)
    return _opened(folder, test.rule) if test and not test.log.rule else test


def require_code(test: ForwardTest, code: str, *, force: bool) -> None:
    """Check that the code is the one of the test, or that its change is accepted.

    Raises:
        ForwardTestChanged: it changed, and `force` is not set.
    """
    if code != test.code and not force:
        raise ForwardTestChanged(
            f"forward test {test.rule.name} of {test.rule.run}: the code changed (was {test.code}, now {code}); "
            "continue only if every recorded day is reproduced: --force"
        )


def record_days(
    test: ForwardTest,
    read: Read,
    until: date,
    now: Callable[[], datetime],
    *,
    code: str,
    tell: Callable[[ForwardDay], None] = lambda day: None,
) -> ForwardTest:
    """Trade the test up to the day before `until`, check the recorded days and append the new ones, each durably.

    Raises:
        ForwardTestChanged: a recorded day is not reproduced; nothing is appended then.
        StoreUnwritable: the log cannot be written.
        DataError: candles are missing or invalid.
    """
    account = paper_account(test.rule, read, until)
    judged = list(judged_days(test.rule, account.days, account.returns.tolist(), account.low_returns.tolist(), now()))
    for place, was in enumerate(test.log.days):
        _require_same(test, was, judged[place] if place < len(judged) else None)
    log = test.log
    if code != test.code:
        log = log.append_accepted(AcceptedCode(time=now(), was=test.code, now=code))
    for day in judged[len(log.days) :]:
        log = log.append_day(day.model_copy(update={"recorded": now()}))
        tell(day)
    return replace(test, log=log)


def _opened(folder: Path, rule: ForwardRule) -> ForwardTest:
    log = read_day_log(folder)
    return ForwardTest(folder=folder, rule=rule, log=log if log.rule else log.begin(digest_of(folder)))


def _require_same(test: ForwardTest, was: ForwardDay, found: ForwardDay | None) -> None:
    if found is None:
        raise ForwardTestChanged(
            f"{test.folder}: day {was.day} was recorded and is not reproduced: its candles are no longer there, or an "
            "earlier day changed; the forward test cannot continue"
        )
    for name in ("daily_return", "low_return"):
        before, after = getattr(was, name), getattr(found, name)
        if was.day != found.day or not math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=1e-12):
            raise ForwardTestChanged(
                f"{test.folder}: day {was.day} changed: its return was {was.daily_return:.6g}, and is now "
                f"{found.daily_return:.6g} on {found.day}: candles were revised, or the strategy looks ahead; "
                "the forward test cannot continue"
            )
    if was.action is not found.action:
        raise ForwardTestChanged(f"{test.folder}: the decision of day {was.day} was {was.action}, now {found.action}")
