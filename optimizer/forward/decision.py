"""The decision of a forward test after each day, by its rule alone."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from optimizer.forward.day_log import ForwardAction, ForwardDay
from optimizer.forward.rule import ForwardRule
from optimizer.objective.trial_result import rounded
from optimizer.validation.statistics.confidence_sequence import ConfidenceSequence, Limits


class ForwardJudge:
    """Judges the days of a forward test in order; the state depends on the rule and the days so far."""

    def __init__(self, rule: ForwardRule) -> None:
        self._rule = rule
        self._sequence = ConfidenceSequence(
            bound=rule.bound,
            deviation=rule.deviation,
            alpha_lower=rule.limits.alpha_deploy,
            alpha_upper=rule.limits.alpha_stop,
        )
        self._number, self._equity, self._peak, self._drawdown = 0, 1.0, 1.0, 0.0

    def day(self, day: date, change: float, low: float, now: datetime) -> ForwardDay:
        """Judge the next day. `change`, `low`: return of the day, and to its lowest equity."""
        self._number += 1
        change, low = rounded(change), rounded(low)
        self._drawdown = max(self._drawdown, (self._peak - self._equity * (1.0 + low)) / self._peak)
        self._equity *= 1.0 + change
        self._peak = max(self._peak, self._equity)
        limits = self._sequence.add(change)
        action, reason = self._decide(change, limits)
        return ForwardDay(
            number=self._number,
            day=day,
            daily_return=change,
            low_return=low,
            equity=rounded(self._equity),
            drawdown=rounded(self._drawdown),
            lower=None if limits.lower is None else rounded(limits.lower),
            upper=None if limits.upper is None else rounded(limits.upper),
            e_value=rounded(limits.e_value),
            action=action,
            reason=reason,
            recorded=now,
        )

    def _decide(self, change: float, limits: Limits) -> tuple[ForwardAction, str]:
        """Return the action and its reason; a reason to stop comes before one to deploy."""
        stop = next(self._reasons_to_stop(change, limits), None)
        if stop:
            return ForwardAction.STOP, stop
        rule = self._rule.limits
        if limits.lower is not None and limits.lower >= 0 and self._number >= rule.min_days:
            return ForwardAction.DEPLOY, (
                f"the mean daily return is above zero: e-value {limits.best_e_value:,.3g}, "
                f"required {1 / rule.alpha_deploy:g}, after {self._number:,} days"
            )
        if self._number >= rule.max_days:
            return ForwardAction.STOP, f"no decision after {self._number:,} days"
        return ForwardAction.CONTINUE, (
            f"e-value {limits.e_value:,.3g} of {1 / rule.alpha_deploy:g} after {self._number:,} days"
        )

    def _reasons_to_stop(self, change: float, limits: Limits) -> Iterator[str]:
        rule = self._rule
        if change < -rule.bound:
            yield f"a day lost {-change:.2%}, more than the bound of {rule.bound:.2%}"
        if self._drawdown > rule.limits.max_drawdown:
            yield f"the drawdown of {self._drawdown:.1%} exceeds {rule.limits.max_drawdown:.1%}"
        if limits.upper is not None and limits.upper <= rule.worthwhile_mean:
            yield (
                f"the mean daily return is below {rule.worthwhile_mean:.3g}, a Sharpe ratio of "
                f"{rule.limits.worthwhile_sharpe:g}, after {self._number:,} days"
            )


def judged_days(
    rule: ForwardRule, days: Sequence[date], returns: Sequence[float], lows: Sequence[float], now: datetime
) -> Iterator[ForwardDay]:
    """Yield the judged days up to the one with a final decision."""
    judge = ForwardJudge(rule)
    for day, change, low in zip(days, returns, lows, strict=True):
        judged = judge.day(day, change, low, now)
        yield judged
        if judged.action is not ForwardAction.CONTINUE:
            return
