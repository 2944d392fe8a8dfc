"""Tables of forward tests."""

from collections.abc import Sequence

from pydantic import JsonValue
from rich.table import Table

from optimizer.forward.day_log import ForwardDay
from optimizer.forward.forward_test import ForwardTest
from tradeschool.views.run_status import parameters_line
from tradeschool.views.terminal import console, say

SHOWN_DAYS = 10


def show_forward_tests(found: Sequence[dict[str, JsonValue]]) -> None:
    """Print one line for each forward test."""
    table = Table("run", "test", "from", "days", "last day", "equity", "Sharpe", "e-value", "action")
    for each in found:
        if each["error"]:
            table.add_row(str(each["run"]), str(each["name"]), str(each["error"]))
            continue
        table.add_row(
            str(each["run"]),
            str(each["name"]),
            str(each["start"]),
            str(each["days"]),
            str(each["last_day"] or "-"),
            _figure(each["equity"]),
            _figure(each["sharpe"]),
            f"{_figure(each['e_value'])} of {_figure(each['e_value_required'])}",
            str(each["action"]).replace("_", " "),
        )
    console().print(table)


def show_forward_test(test: ForwardTest, summary: dict[str, JsonValue], *, with_rule: bool = True) -> None:
    """Print the rule, the last days and the decision of one forward test."""
    rule = test.rule
    console().print(
        f"forward test {rule.name} of run {rule.run}, level {rule.level}, trial {rule.trial}: "
        f"{rule.strategy}, {rule.direction}, size {rule.size:g}: {parameters_line(rule.parameters)}"
    )
    for sentence in rule.sentences if with_rule else ():
        console().print(f"rule: {sentence}")
    table = Table("day", "return", "equity", "drawdown", "lower limit", "upper limit", "e-value")
    for each in test.log.days[-SHOWN_DAYS:]:
        table.add_row(
            each.day.isoformat(),
            f"{each.daily_return:+.3%}",
            f"{each.equity:.4f}",
            f"{each.drawdown:.2%}",
            _percent(each.lower),
            _percent(each.upper),
            f"{each.e_value:.3g}",
        )
    console().print(table)
    if summary["known_days"]:
        console().print(f"{summary['known_days']} of {summary['days']} days had ended before the rule was written")
    if summary["read_days"]:
        console().print(
            f"{summary['read_days']} of {summary['days']} days were read by the search: they are no evidence"
        )
    console().print(f"{str(summary['action']).replace('_', ' ')}: {summary['reason']}")


def say_day(day: ForwardDay) -> None:
    """Print a recorded day on standard error."""
    say(f"{day.day}: return {day.daily_return:+.3%}, equity {day.equity:.4f}, e-value {day.e_value:.3g}")


def _figure(value: JsonValue) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "-"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3%}"
